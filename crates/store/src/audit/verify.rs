//! Looks at the whole chain and names what is not as it was written.
//!
//! It goes on behind a damage, so that all of them are found: a record whose content does not fit
//! its hash is looked for at other places of the chain before it is called changed, and what follows
//! a record that is out of place is not blamed for that.

use std::fmt;

use jiff::Timestamp;

use super::{AuditLog, AuditRecord, Checkpoint, GENESIS, PublicKey};
use crate::Error;

const PAGE: u32 = 500;

/// How far from its place a record is looked for.
const REACH: u64 = 1000;

/// What is known from elsewhere.
#[derive(Clone, Debug, Default)]
pub struct Expected {
    /// The key that signs; without it no checkpoint is looked at.
    pub key: Option<PublicKey>,
    /// The last checkpoint that was kept outside of the store.
    pub mark: Option<Checkpoint>,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verification {
    /// How many records there are.
    pub records: u64,
    /// The hash of the last one; [`GENESIS`] if there is none.
    pub head: String,
    /// How many checkpoints agree.
    pub checkpoints: u64,
    /// The last record that a checkpoint covers.
    pub signed_to: Option<u64>,
    /// What is wrong, in the order of the chain.
    pub damage: Vec<Damage>,
}

/// One thing that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Damage {
    /// A record's content is not what was hashed.
    Changed {
        /// The record.
        seq: u64,
    },
    /// Records are not there.
    Missing {
        /// The first of them.
        from: u64,
        /// The last of them.
        to: u64,
    },
    /// A record is whole and does not continue the one before it.
    Unlinked {
        /// The record.
        seq: u64,
    },
    /// Records are whole and have taken each other's places.
    Reordered {
        /// Where they stand, and which they were written as.
        records: Vec<(u64, u64)>,
    },
    /// Records are whole and were written under other numbers.
    Renumbered {
        /// The first of them.
        from: u64,
        /// The last of them.
        to: u64,
        /// What the first of them was written as.
        was: u64,
    },
    /// The chain is whole and not the one that was signed.
    Rewritten {
        /// The last record that still is the one that was signed; 0 for none.
        after: u64,
        /// The first that is not.
        seq: u64,
        /// When that was written.
        time: Timestamp,
    },
    /// The chain ends before a record that was signed.
    CutOff {
        /// The first that is not there.
        from: u64,
        /// The last that is known to have been there.
        to: u64,
        /// When that was written.
        time: Timestamp,
    },
    /// A checkpoint is not signed by the key.
    BadSignature {
        /// The record that it names.
        seq: u64,
    },
}

/// Reads the whole log and checks every link and every checkpoint.
///
/// # Errors
///
/// Only when the log cannot be read; a broken chain is an answer.
pub async fn verify(log: &dyn AuditLog, expected: &Expected) -> Result<Verification, Error> {
    let mut signed = Signed::read(log, expected).await?;
    let mut walk = Walk::default();
    loop {
        let page = log.audit_records(walk.last, PAGE).await?;
        if page.is_empty() {
            break;
        }
        for record in page {
            walk.step(&record);
            signed.compare(&record, &mut walk.damage);
        }
    }
    walk.close_moved();
    signed.compare_end(walk.last, &mut walk.damage);
    let mut damage = walk.damage;
    damage.sort_by_key(Damage::place);
    Ok(Verification {
        records: walk.records,
        head: walk.head.unwrap_or_else(|| GENESIS.to_owned()),
        checkpoints: signed.agree,
        signed_to: signed.agrees_to,
        damage,
    })
}

/// The way along the chain.
#[derive(Default)]
struct Walk {
    records: u64,
    last: u64,
    /// The last record's hash, as it stands there.
    head: Option<String>,
    /// Whether the next record's link says anything: not behind a gap or a record out of place.
    is_blind: bool,
    /// Records that were written under other numbers: where they stand and what they were.
    moved: Vec<(u64, u64)>,
    damage: Vec<Damage>,
}

// === impl Walk ===

impl Walk {
    fn step(&mut self, record: &AuditRecord) {
        if record.seq > self.last + 1 {
            self.close_moved();
            self.damage.push(Damage::Missing { from: self.last + 1, to: record.seq - 1 });
            self.is_blind = true;
        }
        let head = self.head.as_deref().unwrap_or(GENESIS);
        let follows = record.prev_hash == head;
        if record.hash == record.computed_hash(record.seq) {
            if !follows && !self.is_blind {
                self.close_moved();
                self.damage.push(Damage::Unlinked { seq: record.seq });
            }
            self.is_blind = false;
        } else if let Some(was) = written_as(record) {
            self.moved.push((record.seq, was));
            self.is_blind = true;
        } else {
            self.close_moved();
            self.damage.push(Damage::Changed { seq: record.seq });
            self.is_blind = false;
        }
        self.records += 1;
        self.last = record.seq;
        self.head = Some(record.hash.clone());
    }

    /// Says what became of the records that are out of place so far.
    fn close_moved(&mut self) {
        let moved = std::mem::take(&mut self.moved);
        let mut places: Vec<u64> = moved.iter().map(|(place, _)| *place).collect();
        let mut written: Vec<u64> = moved.iter().map(|(_, was)| *was).collect();
        places.sort_unstable();
        written.sort_unstable();
        if !moved.is_empty() && places == written {
            self.damage.push(Damage::Reordered { records: moved });
            return;
        }
        let mut runs: Vec<(u64, u64, u64)> = Vec::new();
        for (place, was) in moved {
            match runs.last_mut() {
                // As far from its place as the one before it.
                Some((from, to, first)) if *to + 1 == place && was == *first + (place - *from) => {
                    *to = place;
                }
                _ => runs.push((place, place, was)),
            }
        }
        let renumbered = |(from, to, was)| Damage::Renumbered { from, to, was };
        self.damage.extend(runs.into_iter().map(renumbered));
    }
}

/// The number under which this content was hashed, if it is one nearby.
fn written_as(record: &AuditRecord) -> Option<u64> {
    let nearby = (1..=REACH).flat_map(|away| {
        [record.seq.checked_add(away), record.seq.checked_sub(away)].into_iter().flatten()
    });
    nearby.filter(|seq| *seq > 0).find(|seq| record.hash == record.computed_hash(*seq))
}

/// The checkpoints, by record.
struct Signed {
    waiting: std::collections::VecDeque<Checkpoint>,
    agree: u64,
    agrees_to: Option<u64>,
    /// Whether one did not agree and none has since: what follows from that is not said again.
    is_off: bool,
    bad: Vec<Damage>,
}

// === impl Signed ===

impl Signed {
    async fn read(log: &dyn AuditLog, expected: &Expected) -> Result<Self, Error> {
        let mut waiting = Vec::new();
        let mut bad = Vec::new();
        if let Some(key) = expected.key {
            let mut kept: Vec<Checkpoint> = expected.mark.clone().into_iter().collect();
            let mut after = 0;
            loop {
                let page = log.checkpoints(after, PAGE).await?;
                let Some(last) = page.last() else { break };
                after = last.seq;
                kept.extend(page);
            }
            for checkpoint in kept {
                if checkpoint.is_signed_by(key) {
                    waiting.push(checkpoint);
                } else {
                    bad.push(Damage::BadSignature { seq: checkpoint.seq });
                }
            }
        }
        waiting.sort_by_key(|checkpoint| checkpoint.seq);
        Ok(Self { waiting: waiting.into(), agree: 0, agrees_to: None, is_off: false, bad })
    }

    fn compare(&mut self, record: &AuditRecord, damage: &mut Vec<Damage>) {
        while let Some(next) = self.waiting.front() {
            if next.seq > record.seq {
                return;
            }
            // One of a record that is missing: that it is has been said.
            if next.seq == record.seq {
                if next.head == record.hash {
                    self.agree += 1;
                    self.agrees_to = Some(record.seq);
                    self.is_off = false;
                } else if !self.is_off {
                    self.is_off = true;
                    let after = self.agrees_to.unwrap_or(0);
                    damage.push(Damage::Rewritten { after, seq: next.seq, time: next.time });
                }
            }
            self.waiting.pop_front();
        }
    }

    fn compare_end(&mut self, last: u64, damage: &mut Vec<Damage>) {
        damage.append(&mut self.bad);
        if let Some(end) = self.waiting.back().filter(|end| end.seq > last) {
            damage.push(Damage::CutOff { from: last + 1, to: end.seq, time: end.time });
        }
    }
}

// === impl Verification ===

impl Verification {
    /// Whether nothing is wrong.
    pub fn is_intact(&self) -> bool {
        self.damage.is_empty()
    }
}

// === impl Damage ===

impl Damage {
    /// The record at which it shows.
    fn place(&self) -> u64 {
        match self {
            Self::Changed { seq }
            | Self::Unlinked { seq }
            | Self::Rewritten { seq, .. }
            | Self::BadSignature { seq } => *seq,
            Self::Missing { from, .. }
            | Self::Renumbered { from, .. }
            | Self::CutOff { from, .. } => *from,
            Self::Reordered { records } => records.first().map_or(0, |(place, _)| *place),
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Changed { seq } => {
                write!(f, "record {seq} was changed: its content is not what was hashed")
            }
            Self::Missing { from, to } => {
                let are = if from == to { "is" } else { "are" };
                write!(f, "{} {are} missing", Range(*from, *to))
            }
            Self::Unlinked { seq } => {
                let before = seq - 1;
                write!(
                    f,
                    "record {seq} does not follow record {before}: one of the two was written \
                     anew or put in"
                )
            }
            Self::Reordered { records } => {
                write!(f, "records are out of order:")?;
                for (index, (place, was)) in records.iter().enumerate() {
                    let comma = if index == 0 { "" } else { "," };
                    write!(f, "{comma} at {place} stands what was written as {was}")?;
                }
                Ok(())
            }
            Self::Renumbered { from, to, was } => {
                let (records, was_written) = (Range(*from, *to), Range(*was, was + (to - from)));
                let count = was.abs_diff(*from);
                let (n, were) = if count == 1 { ("record", "was") } else { ("records", "were") };
                let how = if was > from { "taken out" } else { "put in" };
                let them = if from == to { "it" } else { "them" };
                let verb = if from == to { "was" } else { "were" };
                write!(
                    f,
                    "{records} {verb} written as {was_written}: {count} {n} before {them} {were} \
                     {how}"
                )
            }
            Self::Rewritten { after, seq, time } => {
                let range = Range(after + 1, *seq);
                write!(
                    f,
                    "record {seq} is not the one that was signed ({time}): among {range} something \
                     was written anew"
                )
            }
            Self::CutOff { from, to, time } => {
                let (range, are) = (Range(*from, *to), if from == to { "is" } else { "are" });
                write!(f, "{range} {are} cut off the end: record {to} was signed ({time})")
            }
            Self::BadSignature { seq } => {
                write!(f, "the checkpoint of record {seq} is not signed by this key")
            }
        }
    }
}

/// `record 3` or `records 3 to 5`.
struct Range(u64, u64);

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(from, to) = self;
        if from == to { write!(f, "record {from}") } else { write!(f, "records {from} to {to}") }
    }
}
