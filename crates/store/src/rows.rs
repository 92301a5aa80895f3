//! How jobs and audit records are written in rows, the same for every engine; the guard's nouns are
//! in [`crate::records`]. Version 3 of what is on disk.
//!
//! Times are microseconds since 1970 in UTC, ids and digests lowercase hexadecimal, principals
//! their written forms, what a job stands for one text per line (the column is still called `upids`,
//! after what it began as), states words, JSON its text.

use crate::audit::{AuditRecord, Checkpoint};
use crate::error::Error;
use crate::jobs::{Job, JobState};
use crate::records::{Changes, micros, read, unreadable};

/// `id, owner, label, upids, state, created_us, updated_us, result`.
pub(crate) type JobRow = (String, String, String, String, String, i64, i64, Option<String>);

/// `seq, time_us, principal, action, target, payload, prev_hash, hash`.
pub(crate) type AuditRow = (i64, i64, String, String, String, String, String, String);

/// PostgreSQL has no NUL in text, and a guest's name must not keep a record from being written.
pub(crate) fn storable(text: String) -> String {
    if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text }
}

/// What a job stands for as it will be read back: each a line.
pub(crate) fn storable_refs(refs: Vec<String>) -> Vec<String> {
    let line = |text: String| storable(text).replace(['\n', '\r'], " ");
    refs.into_iter().map(line).collect()
}

/// Those, as a row holds them.
pub(crate) fn refs_text(refs: &[String]) -> String {
    refs.iter().flat_map(|text| [text.as_str(), "\n"]).collect()
}

pub(crate) fn job(row: JobRow) -> Result<Job, Error> {
    let (id, owner, label, refs, state, created, updated, result) = row;
    let what = format!("job {id}");
    Ok(Job {
        id: read(&id, &what, "id")?,
        owner: read(&owner, &what, "owner")?,
        label,
        refs: refs.lines().map(str::to_owned).collect(),
        state: JobState::parse(&state).ok_or_else(|| unreadable(&what, "state"))?,
        created: micros::read(created, &what)?,
        updated: micros::read(updated, &what)?,
        result: result
            .map(|text| serde_json::from_str(&text).map_err(|_| unreadable(&what, "result")))
            .transpose()?,
    })
}

pub(crate) fn audit_record(row: AuditRow) -> Result<AuditRecord, Error> {
    let (seq, time, principal, action, target, payload, prev_hash, hash) = row;
    let what = format!("audit record {seq}");
    Ok(AuditRecord {
        seq: seq.try_into().map_err(|_| unreadable(&what, "number"))?,
        time: micros::read(time, &what)?,
        principal,
        action,
        target,
        payload,
        prev_hash,
        hash,
    })
}

/// `seq, head, time_us, key, signature`.
pub(crate) type CheckpointRow = (i64, String, i64, String, String);

pub(crate) fn checkpoint(row: CheckpointRow) -> Result<Checkpoint, Error> {
    let (seq, head, time, key, signature) = row;
    let what = format!("checkpoint {seq}");
    Ok(Checkpoint {
        seq: seq.try_into().map_err(|_| unreadable(&what, "number"))?,
        head,
        time: micros::read(time, &what)?,
        key,
        signature,
    })
}

/// A number of records or a sequence as engines count them.
pub(crate) fn to_i64(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// What was counted: all changes, and those that nobody was asked about.
pub(crate) fn changes((all, unasked): (i64, i64)) -> Changes {
    let count = |number: i64| u64::try_from(number).unwrap_or_default();
    Changes { all: count(all), unasked: count(unasked) }
}
