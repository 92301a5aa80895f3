//! The audit log: append-only, each record bound to the one before it.
//!
//! A record's hash is the SHA-256 of `proxmox-mcp/audit/v1\0`, its number, its time, then
//! principal, action, target and payload each behind its length, then the hash before it. So a
//! record that was changed, taken out or put in breaks the chain at that place, and [`verify()`]
//! names it. What a chain alone cannot show is that its *end* was cut off, or that all of it was
//! written anew: signed [`Checkpoint`]s do.

mod checkpoint;
mod signed;
mod verify;

use guard::Principal;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use crate::ids::hex;
use crate::records::micros;
use crate::rows::{storable, to_i64};
use crate::{Error, ErrorKind};

pub use checkpoint::{Checkpoint, CheckpointKey, InvalidKey, PublicKey};
pub use signed::{AuditCopies, AuditFiles, SignedLog, read_mark};
pub use verify::{Damage, Expected, Verification, verify};

/// The hash before the first record's.
pub const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

const DOMAIN: &[u8] = b"proxmox-mcp/audit/v1\0";

/// What happened, to be written down.
#[derive(Clone, Debug)]
pub struct NewAuditRecord {
    /// When it happened; kept to the microsecond.
    pub time: Timestamp,
    /// Who did it.
    pub principal: Principal,
    /// What was done, as a dotted word such as `guest.start`.
    pub action: String,
    /// What it was done to, such as `home/104`.
    pub target: String,
    /// The rest, redacted by the caller.
    pub payload: serde_json::Value,
}

/// What happened, as it is written down.
///
/// Fields are as the store holds them, so that a record that was tampered with can be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuditRecord {
    /// Its number: 1, 2, 3, … without gaps.
    pub seq: u64,
    /// When it happened.
    pub time: Timestamp,
    /// Who did it, in the written form of [`Principal`].
    pub principal: String,
    /// What was done.
    pub action: String,
    /// What it was done to.
    pub target: String,
    /// The rest, as the JSON text that was hashed.
    pub payload: String,
    /// The hash of the record before, in lowercase hexadecimal; [`GENESIS`] for the first.
    pub prev_hash: String,
    /// This record's hash, in lowercase hexadecimal.
    pub hash: String,
}

/// Where the audit log is kept.
#[async_trait::async_trait]
pub trait AuditLog: Send + Sync + 'static {
    /// Writes a record at the end of the chain. It is on disk when this returns.
    async fn append(&self, record: NewAuditRecord) -> Result<AuditRecord, Error>;

    /// The records after number `after` (0 for the beginning), at most `limit`, in order.
    async fn audit_records(&self, after: u64, limit: u32) -> Result<Vec<AuditRecord>, Error>;

    /// Keeps a checkpoint; of one record only the first.
    async fn keep_checkpoint(&self, checkpoint: &Checkpoint) -> Result<(), Error>;

    /// The checkpoints of records after number `after`, at most `limit`, in order.
    async fn checkpoints(&self, after: u64, limit: u32) -> Result<Vec<Checkpoint>, Error>;
}

// === impl AuditRecord ===

impl AuditRecord {
    /// The record that `new` becomes behind the record with this number and hash.
    pub(crate) fn chained(new: NewAuditRecord, last_seq: u64, last_hash: &str) -> Self {
        let mut record = Self {
            seq: last_seq + 1,
            time: micros::floor(new.time),
            principal: new.principal.to_string(),
            action: storable(new.action),
            target: storable(new.target),
            payload: new.payload.to_string(),
            prev_hash: last_hash.to_owned(),
            hash: String::new(),
        };
        record.hash = record.computed_hash(record.seq);
        record
    }

    /// The record that `new` becomes behind the last row, if there is one.
    pub(crate) fn after(last: Option<(i64, String)>, new: NewAuditRecord) -> Result<Self, Error> {
        let Some((seq, hash)) = last else { return Ok(Self::chained(new, 0, GENESIS)) };
        let seq = u64::try_from(seq).map_err(|_| {
            let message = format!("append to the audit log: its last record has number {seq}");
            Error::new(ErrorKind::Corrupt, message)
        })?;
        Ok(Self::chained(new, seq, &hash))
    }

    /// What the next record is bound to: this one's number and hash.
    pub(crate) fn end(&self) -> (i64, String) {
        (to_i64(self.seq), self.hash.clone())
    }

    /// The record as one line of JSON; its payload is in it as the very text that was hashed, unless
    /// somebody made it something else than JSON.
    pub fn to_line(&self) -> String {
        let payload = match serde_json::value::RawValue::from_string(self.payload.clone()) {
            // A line is a line.
            Ok(raw) if !raw.get().contains(['\n', '\r']) => raw.get().to_owned(),
            _ => serde_json::Value::from(self.payload.as_str()).to_string(),
        };
        let head = serde_json::json!({
            "seq": self.seq,
            "time": self.time.to_string(),
            "principal": self.principal,
            "action": self.action,
            "target": self.target,
        });
        let tail = serde_json::json!({ "prev_hash": self.prev_hash, "hash": self.hash });
        let (head, tail) = (head.to_string(), tail.to_string());
        // Joined by hand, so that the payload's text stays what it is.
        format!("{},\"payload\":{payload},{}", &head[..head.len() - 1], &tail[1..])
    }

    /// The hash of this content under that number.
    fn computed_hash(&self, seq: u64) -> String {
        let mut hasher = Sha256::new();
        hasher.update(DOMAIN);
        hasher.update(seq.to_be_bytes());
        hasher.update(self.time.as_microsecond().to_be_bytes());
        for text in [&self.principal, &self.action, &self.target, &self.payload] {
            hasher.update((text.len() as u64).to_be_bytes());
            hasher.update(text.as_bytes());
        }
        hasher.update(self.prev_hash.as_bytes());
        hex(&hasher.finalize())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    /// The canonical bytes are for ever: a change here breaks every log that exists.
    #[test]
    fn the_hash_of_a_known_record() {
        let new = NewAuditRecord {
            time: "2026-11-22T12:00:00.123456789Z".parse().unwrap(),
            principal: Principal::local(1000),
            action: "guest.start".to_owned(),
            target: "home/104".to_owned(),
            payload: serde_json::json!({ "upid": null }),
        };
        let first = AuditRecord::chained(new.clone(), 0, GENESIS);
        expect!["16ad1bca0c85721e41c3156959090f28597288392154eb7e4ce3b5b9490ac4f8"]
            .assert_eq(&first.hash);
        let second = AuditRecord::chained(new, first.seq, &first.hash);
        expect!["0b52fab3b4fb69bf299e9315deffbd4ff1510876cc92e11080855362f0556925"]
            .assert_eq(&second.hash);
    }
}
