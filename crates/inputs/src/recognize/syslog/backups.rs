//! What a run of vzdump writes, under the name of whatever started it.

use event_core::{Kind, Severity};

use super::{Known, line::Line};
use crate::Origin;

pub(super) fn read(line: &Line<'_>, origin: &Origin<'_>) -> Option<Known> {
    let message = line.message;
    if let Some(text) = message.strip_prefix("INFO: ") {
        return told(text, origin);
    }
    let text = message.strip_prefix("ERROR: ")?;
    if let Some((vmid, cause)) =
        text.strip_prefix("Backup of VM ").and_then(|rest| rest.split_once(" failed - "))
    {
        let known = Known::new(Kind::BackupFailed, Severity::Error, origin);
        return Some(known.guest(vmid).label("cause", cause));
    }
    let cause = text.strip_prefix("Backup job failed - ")?;
    Some(Known::new(Kind::BackupFailed, Severity::Error, origin).label("cause", cause))
}

fn told(text: &str, origin: &Origin<'_>) -> Option<Known> {
    let known = |kind, severity| Some(Known::new(kind, severity, origin));
    if text.starts_with("starting new backup job:") {
        return known(Kind::BackupStarted, Severity::Info);
    }
    if let Some(rest) = text.strip_prefix("Starting Backup of VM ") {
        let (vmid, kind) = rest.split_once(' ')?;
        let mut known = known(Kind::BackupStarted, Severity::Info)?.guest(vmid);
        known.subject.guest_kind = kind.trim_matches(['(', ')']).parse().ok();
        return Some(known);
    }
    if let Some(rest) = text.strip_prefix("Finished Backup of VM ") {
        let (vmid, took) = rest.split_once(' ').unwrap_or((rest, ""));
        let known = known(Kind::BackupFinished, Severity::Info)?.guest(vmid);
        return Some(known.label("took", took.trim_matches(['(', ')'])));
    }
    match text {
        "Backup job finished successfully" => known(Kind::BackupFinished, Severity::Info),
        "Backup job finished with errors" => known(Kind::BackupFailed, Severity::Error),
        _ => None,
    }
}
