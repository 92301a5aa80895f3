//! `<USER> starting task UPID` and `<USER> end task UPID STATUS`, which every daemon of PVE writes.

use estate::TaskStatus;
use event_core::{Kind, Severity};

use super::{Known, line::Line};
use crate::{
    Origin,
    recognize::task::{self, Stand},
};

pub(super) fn read(line: &Line<'_>, origin: &Origin<'_>) -> Option<Known> {
    let (before, upid, after) = task::find(line.message)?;
    let before = before.trim_end();
    let stand = if before.ends_with("starting task") {
        Stand::Started
    } else if before.ends_with("end task") {
        Stand::Ended(TaskStatus::parse(after.trim()))
    } else if is_asked(before) {
        Stand::Started
    } else {
        return None;
    };
    let mut known = Known::new(task::kind(&upid, &stand), task::severity(&stand), origin);
    if matches!(&stand, Stand::Ended(TaskStatus::Failed(status)) if status.is_empty() || status == "unknown")
    {
        // How it ended is not known: that is no failure yet.
        (known.kind, known.severity) = (Kind::TaskFailed, Severity::Warning);
    }
    if let Stand::Ended(status) = &stand {
        known = known.label("status", status.to_string());
    }
    task::describe(&upid, &mut known.subject);
    Some(known)
}

/// `start VM 104: UPID:…` and its like, which say that somebody asked for it.
fn is_asked(before: &str) -> bool {
    const VERBS: [&str; 9] = [
        "start",
        "stop",
        "shutdown",
        "requesting reboot of",
        "reset",
        "suspend",
        "resume",
        "destroy",
        "reboot",
    ];
    let before = before.trim_end_matches(':');
    // Some lines begin with who asked.
    let before = before.split_once("> ").map_or(before, |(_, rest)| rest);
    VERBS.iter().any(|verb| {
        let rest = before.strip_prefix(verb).map(str::trim_start);
        rest.is_some_and(|rest| rest.starts_with("VM ") || rest.starts_with("CT "))
    })
}
