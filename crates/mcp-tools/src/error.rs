//! A failure that the caller can act on: what failed, on what, why, and what to do next.

use std::fmt;

use serde_json::{Map, Value};

use crate::{
    fleet::Gathered,
    report::{Report, Table},
};

/// Why a tool has no answer. It becomes an `isError` result, rendered like any other report.
#[derive(Debug)]
pub struct ToolError {
    report: Box<Report>,
    kind: Kind,
}

/// What sort of failure it is, where that makes a difference to a program. The answer's fact `error`
/// has the same word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// No more is known than what the sentence says.
    #[default]
    Other,
    /// The estate does not have it: all who could have it answered.
    NotFound,
    /// It may be there: somebody who could have it did not answer.
    Unavailable,
    /// Several fit.
    Ambiguous,
    /// The server's mode or the caller's scope does not allow it.
    Forbidden,
}

// === impl ToolError ===

impl ToolError {
    /// A failure in a sentence without a final period.
    pub fn new(message: impl Into<String>) -> Self {
        Self::from_report(Report::new(message))
    }

    /// What was named does not exist.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(message).of_kind(Kind::NotFound)
    }

    /// The same failure, with what sort it is.
    #[must_use]
    pub fn of_kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    /// What sort of failure it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Adds to what is told.
    #[must_use]
    pub fn map(mut self, more: impl FnOnce(Report) -> Report) -> Self {
        *self.report = more(std::mem::take(&mut *self.report));
        self
    }

    /// A failure with everything that a report can carry, such as a task's log.
    pub fn from_report(report: Report) -> Self {
        Self { report: Box::new(report), kind: Kind::Other }
    }

    /// A call to Proxmox that failed while `doing` something (`read the status of home/104`).
    pub fn api(doing: impl fmt::Display, error: &api_core::Error) -> Self {
        let report = Report::new(format!("cannot {doing}: {}", stdx::Chain(error)));
        let report = match hint(error) {
            Some(hint) => report.note(hint),
            None => report,
        };
        let kind = match error.kind() {
            api_core::ErrorKind::NotFound => Kind::NotFound,
            _ if error.is_unreachable() => Kind::Unavailable,
            _ => Kind::Other,
        };
        Self::from_report(report.fact("error", error_word(error))).of_kind(kind)
    }

    /// Adds what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.report.notes.push(hint.into());
        self
    }

    /// Adds what to choose from.
    #[must_use]
    pub fn choices(mut self, table: Table) -> Self {
        self.report.tables.push(table);
        self
    }

    /// Adds a call that would help.
    #[must_use]
    pub fn next(mut self, tool: &'static str, args: Map<String, Value>) -> Self {
        self.report.next.push(crate::report::Next { tool, args });
        self
    }

    /// Adds what did not answer: what was looked for may be there.
    #[must_use]
    pub fn with_silence<M, T>(self, gathered: &Gathered<M, T>) -> Self {
        self.map(|report| gathered.tell(report))
    }

    /// What is told.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// The report to render.
    pub fn into_report(self) -> Report {
        let mut report = *self.report;
        if let Some(word) = self.kind.word() {
            report.facts.entry("error").or_insert_with(|| word.into());
        }
        report
    }

    /// A fact, if it is a text.
    pub(crate) fn fact(&self, name: &str) -> Option<&str> {
        self.report.facts.get(name).and_then(Value::as_str)
    }

    /// The sentence.
    pub fn message(&self) -> &str {
        &self.report.lead
    }
}

// === impl Kind ===

impl Kind {
    /// The fact `error` of an answer that failed so.
    pub fn word(self) -> Option<&'static str> {
        match self {
            Self::Other => None,
            Self::NotFound => Some("not_found"),
            Self::Unavailable => Some("unreachable"),
            Self::Ambiguous => Some("ambiguous"),
            Self::Forbidden => Some("forbidden"),
        }
    }
}

impl fmt::Display for ToolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.report.lead)
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
