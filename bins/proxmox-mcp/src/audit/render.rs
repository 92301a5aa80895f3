//! Records for people and for machines.
//!
//! What guests and callers wrote is in them: control characters and terminal escapes are taken out
//! of everything that is printed as text.

use std::fmt::Write as _;

use jiff::tz::TimeZone;
use serde_json::json;
use stdx::untrusted;
use store::audit::Expected;
use store::{AuditRecord, Checkpoint, Verification};

use super::when::local;

/// How much of one cell is shown.
const CELL: usize = 60;
const DETAIL: usize = 160;

/// One record as one line of JSON for a terminal: the control characters that JSON lets through are
/// written as escapes, which says the same.
pub(crate) fn shown_line(record: &AuditRecord) -> String {
    let mut shown = String::new();
    for c in record.to_line().chars() {
        if c.is_control() {
            // Writing to a string cannot fail.
            let _ = write!(shown, "\\u{:04x}", u32::from(c));
        } else {
            shown.push(c);
        }
    }
    shown
}

/// One checkpoint as one line of JSON.
pub(crate) fn checkpoint_line(checkpoint: &Checkpoint) -> String {
    format!("{{\"checkpoint\":{}}}", checkpoint.to_line())
}

/// Columns for people.
pub(crate) fn table(records: &[AuditRecord], zone: &TimeZone) -> String {
    let head = ["NO", "TIME", "WHO", "WHAT", "TO WHAT", "MORE"].map(str::to_owned);
    let rows = records.iter().map(|record| {
        [
            record.seq.to_string(),
            local(record.time, zone),
            untrusted::line(&record.principal, CELL).into_owned(),
            untrusted::line(&record.action, CELL).into_owned(),
            untrusted::line(&record.target, CELL).into_owned(),
            untrusted::line(&record.payload, DETAIL).into_owned(),
        ]
    });
    crate::output::columns(&std::iter::once(head).chain(rows).collect::<Vec<_>>())
}

/// What `verify` says to people.
pub(crate) fn verification(found: &Verification, expected: &Expected, notes: &[String]) -> String {
    let mut text = String::new();
    let records = match found.records {
        1 => "1 record".to_owned(),
        count => format!("{count} records"),
    };
    // Writing to a string cannot fail.
    let _ = if found.is_intact() {
        writeln!(text, "intact: {records}, each as it was written")
    } else {
        writeln!(text, "damaged: {records} are there, and")
    };
    for damage in &found.damage {
        let _ = writeln!(text, "- {damage}");
    }
    if let Some(key) = expected.key {
        let signed = found.signed_to.map_or("no record".to_owned(), |seq| format!("record {seq}"));
        let checkpoints = match found.checkpoints {
            1 => "1 checkpoint".to_owned(),
            count => format!("{count} checkpoints"),
        };
        let _ = writeln!(text, "signed up to {signed} ({checkpoints}), key {key}");
    }
    for note in notes {
        let _ = writeln!(text, "note: {note}");
    }
    let _ = writeln!(text, "head {}", found.head);
    text
}

/// What `verify` says to machines.
pub(crate) fn verification_json(found: &Verification, expected: &Expected) -> String {
    let damage: Vec<String> = found.damage.iter().map(ToString::to_string).collect();
    json!({
        "intact": found.is_intact(),
        "records": found.records,
        "head": found.head,
        "checkpoints": found.checkpoints,
        "signed_to": found.signed_to,
        "key": expected.key.map(|key| key.to_string()),
        "damage": damage,
    })
    .to_string()
}
