//! A failure that the caller can act on: what failed, on what, why, and what to do next.

use std::fmt;

use serde_json::{Map, Value};

use crate::{
    fleet::Gathered,
    report::{Report, Table},
};

/// Why a tool has no answer. It becomes an `isError` result, rendered like any other report.
#[derive(Debug)]
pub struct ToolError(Box<Report>);

// === impl ToolError ===

impl ToolError {
    /// A failure in a sentence without a final period.
    pub fn new(message: impl Into<String>) -> Self {
        Self(Box::new(Report::new(message)))
    }

    /// A failure with everything that a report can carry, such as a task's log.
    pub fn from_report(report: Report) -> Self {
        Self(Box::new(report))
    }

    /// A call to Proxmox that failed while `doing` something (`read the status of home/104`).
    pub fn api(doing: impl fmt::Display, error: &api_core::Error) -> Self {
        let report = Report::new(format!("cannot {doing}: {}", stdx::Chain(error)));
        let report = match hint(error) {
            Some(hint) => report.note(hint),
            None => report,
        };
        Self::from_report(report.fact("error", error_word(error)))
    }

    /// Adds what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.notes.push(hint.into());
        self
    }

    /// Adds what to choose from.
    #[must_use]
    pub fn choices(mut self, table: Table) -> Self {
        self.0.tables.push(table);
        self
    }

    /// Adds a call that would help.
    #[must_use]
    pub fn next(mut self, tool: &'static str, args: Map<String, Value>) -> Self {
        self.0.next.push(crate::report::Next { tool, args });
        self
    }

    /// Adds what did not answer: what was looked for may be there.
    #[must_use]
    pub fn with_silence<M, T>(mut self, gathered: &Gathered<M, T>) -> Self {
        *self.0 = gathered.tell(std::mem::take(&mut *self.0));
        self
    }

    /// The report to render.
    pub fn into_report(self) -> Report {
        *self.0
    }

    /// The sentence.
    pub fn message(&self) -> &str {
        &self.0.lead
    }
}

impl fmt::Display for ToolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.lead)
    }
}

impl std::error::Error for ToolError {}

fn error_word(error: &api_core::Error) -> &'static str {
    use api_core::ErrorKind as K;
    match error.kind() {
        K::Parameter => "parameter",
        K::Unauthorized => "unauthorized",
        K::PermissionDenied => "permission_denied",
        K::NotFound => "not_found",
        K::AlreadyExists => "already_exists",
        K::Busy => "busy",
        K::Conflict => "conflict",
        K::NoQuorum => "no_quorum",
        K::NotImplemented => "not_implemented",
        K::NodeUnreachable | K::Unreachable => "unreachable",
        K::Tls => "tls",
        K::Timeout => "timeout",
        K::Decode => "decode",
        _ => "server",
    }
}

/// What a person can do about it, where that is known.
fn hint(error: &api_core::Error) -> Option<&'static str> {
    use api_core::ErrorKind as K;
    Some(match error.kind() {
        K::Unauthorized => {
            "the server refused the credentials: check token id and secret with `proxmox-mcp test`"
        }
        K::PermissionDenied => {
            "the token lacks a privilege: `proxmox-mcp test` prints the line that grants it"
        }
        K::Busy => "something else holds it: look at tasks_list, then try again",
        K::Conflict => "somebody changed it meanwhile: read it again first",
        K::NoQuorum => "the cluster has no quorum, so nothing can be changed: see cluster_status",
        K::NotImplemented => "this server does not have the call: it needs a newer version",
        K::NodeUnreachable | K::Unreachable | K::Timeout if error.may_have_run() => {
            "the request may have arrived: look at tasks_list before sending it again"
        }
        K::NodeUnreachable => "the node does not answer: see nodes_list",
        K::Unreachable | K::Timeout => "no endpoint answered: see `proxmox-mcp test`",
        K::Tls => "the certificate is not the expected one: `proxmox-mcp test` shows both",
        _ => return None,
    })
}
