//! What the policy leaves of the estate to somebody who reads.
//!
//! A line that refuses reads speaks of callers, tools, hours and clusters; a list cannot be judged by
//! pools or guests before it is read. So each cluster and backup server is judged by itself: what is
//! refused is not asked, and the answer says so ([`Left::said`]).
//!
//! *Invariant:* a read that is refused sends nothing. *Invariant:* what is left out is never silent.

use std::sync::Arc;

use estate::Access;
use guard::{
    Mode, Principal,
    policy::{Asked, Decided, Nature, Policy, Target, TargetKind, Transport},
};
use jiff::Zoned;
use mcp_protocol::{CallContext, JsonObject};
use serde_json::Value;

use crate::{
    app::Options,
    error::{Kind, ToolError},
    explain::toolsets_of,
    fleet::Fleet,
    gate::{Who, told},
    report::{Report, Unreachable},
};

/// Arguments that say which cluster is meant, alone or before a slash.
const NAMING: &[&str] = &["cluster", "guest", "node", "storage", "datastore"];

/// Who reads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    pub(crate) principal: &'a Principal,
    pub(crate) transport: Transport,
    pub(crate) mode: Mode,
    pub(crate) now: &'a Zoned,
}

/// What is left to them.
pub(crate) struct Left {
    /// The estate without what is refused.
    pub(crate) fleet: Arc<Fleet>,
    /// What the call is about, by the keys of clusters and backup servers.
    pub(crate) about: Vec<String>,
    /// What is refused of that.
    pub(crate) without: Vec<(String, Decided)>,
    /// The line that decides about the rest, or that refuses all of it.
    pub(crate) decided: Decided,
}

/// What of `fleet` a caller may read by this tool; documents and completions are read by no tool.
pub(crate) fn left(
    policy: &Policy,
    reader: Reader<'_>,
    fleet: &Arc<Fleet>,
    tool: &str,
    args: &JsonObject,
) -> Left {
    let (toolsets, args) = (toolsets_of(tool), Value::Object(args.clone()));
    let decide = |targets: &[Target]| {
        policy.decide(&Asked {
            principal: reader.principal,
            transport: reader.transport,
            tool,
            toolsets: &toolsets,
            access: Access::Read,
            nature: Nature::Ordinary,
            targets,
            args: &args,
            mode: reader.mode,
            now: reader.now,
        })
    };
    let all: Vec<String> = fleet.keys().map(|(key, _)| key.to_string()).collect();
    let meant = all.iter().find(|key| names(&args, key));
    let about = meant.map_or_else(|| all.clone(), |meant| vec![meant.clone()]);
    let is_about = |key: &String| meant.is_none_or(|meant| meant == key);
    let mut refused = Vec::new();
    let mut rest: Option<Decided> = None;
    for key in &all {
        let decided = decide(&[Target::new(TargetKind::Cluster, key, key)]);
        if decided.is_denied() {
            refused.push((key.clone(), decided));
        } else {
            rest = Some(rest.map_or(decided.clone(), |rest| rest.joined(decided)));
        }
    }
    let without: Vec<_> = refused.iter().filter(|(key, _)| is_about(key)).cloned().collect();
    let fleet = if refused.is_empty() {
        Arc::clone(fleet)
    } else {
        Arc::new(fleet.only(|key| !refused.iter().any(|(other, _)| other == key)))
    };
    let decided = match (without.first(), rest) {
        // All of what it is about is refused.
        (Some((_, line)), _) if without.len() == about.len() => line.clone(),
        (_, Some(rest)) => rest,
        // There is nothing to be about.
        (_, None) => decide(&[]),
    };
    Left { fleet, about, without, decided }
}

/// Whether the arguments say that this cluster or backup server is meant.
fn names(args: &Value, key: &str) -> bool {
    NAMING.iter().filter_map(|name| args.get(*name)?.as_str()).any(|value| {
        value == key || value.strip_prefix(key).is_some_and(|rest| rest.starts_with('/'))
    })
}

/// What of the estate this call may read; nothing where no line refuses any read.
///
/// # Errors
/// A line refuses all of it, or the one that it is about.
pub(crate) fn of_call(
    options: &Options,
    who: &Who,
    fleet: &Arc<Fleet>,
    tool: &str,
    args: &JsonObject,
) -> Result<Option<Left>, ToolError> {
    let guard = &options.guard;
    if !guard.policy().refuses_reads() {
        return Ok(None);
    }
    let now = guard.here(fleet.now());
    let reader = Reader {
        principal: &who.principal,
        transport: who.transport,
        mode: options.mode,
        now: &now,
    };
    let left = left(guard.policy(), reader, fleet, tool, args);
    if left.decided.is_denied() {
        let what = if tool.is_empty() { "refused" } else { tool };
        let error = ToolError::new(format!("{what}: {}", left.decided.why));
        return Err(error.of_kind(Kind::Forbidden).map(|report| told(report, &left.decided)));
    }
    Ok(Some(left))
}

/// What of the estate a document or a completion may tell.
///
/// # Errors
/// A line refuses all of it.
pub(crate) fn of_document(
    options: &Options,
    call: &CallContext,
    fleet: &Arc<Fleet>,
) -> Result<Arc<Fleet>, ToolError> {
    let left = of_call(options, &Who::of(call, options), fleet, "", &JsonObject::new())?;
    Ok(left.map_or_else(|| Arc::clone(fleet), |left| left.fleet))
}

// === impl Left ===

impl Left {
    /// The answer, with what it lacks.
    pub(crate) fn said(&self, mut report: Report) -> Report {
        report.unreachable.extend(
            self.without
                .iter()
                .map(|(key, decided)| Unreachable { what: key.clone(), why: decided.why.clone() }),
        );
        report
    }

    /// The error, with what was not looked at.
    pub(crate) fn blamed(&self, error: ToolError) -> ToolError {
        self.without.iter().fold(error, |error, (key, decided)| {
            error.hint(format!("{key} was not looked at: {}", decided.why))
        })
    }
}
