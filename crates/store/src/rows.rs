//! How things are written in rows, the same for every engine: version 2 of what is on disk.
//!
//! Times are microseconds since 1970 in UTC, ids and digests lowercase hexadecimal, principals
//! their written forms, what a job stands for one text per line (the column is still called `upids`,
//! after what it began as), states words, JSON its text.

use guard::Principal;

use crate::approvals::{Approval, ApprovalState};
use crate::audit::AuditRecord;
use crate::error::{Error, ErrorKind};
use crate::jobs::{Job, JobState};

/// `id, owner, label, upids, state, created_us, updated_us, result`.
pub(crate) type JobRow = (String, String, String, String, String, i64, i64, Option<String>);

/// `id, plan_digest, requested_by, asked_us, expires_us, state, decided_by, decided_us`.
pub(crate) type ApprovalRow =
    (String, String, String, i64, i64, String, Option<String>, Option<i64>);

/// `seq, time_us, principal, action, target, payload, prev_hash, hash`.
pub(crate) type AuditRow = (i64, i64, String, String, String, String, String, String);

/// Times as rows hold them.
pub(crate) mod micros {
    use jiff::Timestamp;

    use crate::error::{Error, ErrorKind};

    /// The time as it will be read back.
    pub(crate) fn floor(time: Timestamp) -> Timestamp {
        let micros = time.as_microsecond();
        Timestamp::from_microsecond(micros).expect("it was a timestamp's own value")
    }

    pub(crate) fn read(micros: i64, what: &str) -> Result<Timestamp, Error> {
        Timestamp::from_microsecond(micros).map_err(|_| {
            Error::new(ErrorKind::Corrupt, format!("read {what}: {micros} µs is no time"))
        })
    }
}

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

pub(crate) fn approval(row: ApprovalRow) -> Result<Approval, Error> {
    let (id, plan_digest, requested_by, asked, expires, state, decided_by, decided) = row;
    let what = format!("approval {id}");
    Ok(Approval {
        id: read(&id, &what, "id")?,
        plan_digest: read(&plan_digest, &what, "plan digest")?,
        requested_by: read(&requested_by, &what, "asker")?,
        asked_at: micros::read(asked, &what)?,
        expires_at: micros::read(expires, &what)?,
        state: ApprovalState::parse(&state).ok_or_else(|| unreadable(&what, "state"))?,
        decided_by: decided_by
            .map(|text| read::<Principal>(&text, &what, "decider"))
            .transpose()?,
        decided_at: decided.map(|time| micros::read(time, &what)).transpose()?,
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

/// A number of records or a sequence as engines count them.
pub(crate) fn to_i64(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn read<T: std::str::FromStr>(text: &str, what: &str, part: &str) -> Result<T, Error> {
    text.parse().map_err(|_| unreadable(what, part))
}

fn unreadable(what: &str, part: &str) -> Error {
    Error::new(ErrorKind::Corrupt, format!("read {what}: its {part} is unreadable"))
}
