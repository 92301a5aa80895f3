//! What follows from events, one transaction a step.
//!
//! Whoever follows the log (the rules, above all) hands over everything that a stretch of it led to
//! as one [`Step`], its mark included. After a crash it reads on behind the mark; what it makes
//! again has the same keys, and nothing is there twice.
//!
//! For details, see: [`crate::incidents`] for what it makes, [`crate::outbox`] for whom it tells.
//!
//! *Invariant:* a mark never moves without what was made of the events before it. *Invariant:* a
//! delivery whose key was there once is not made again, whatever became of it.

use event_core::{Appended, ComponentId, DeliveryKey, Event, EventId, Message, Seq};
use jiff::Timestamp;
use serde_json::Value;

use crate::{Error, Incident};

/// How far a reader of the log has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The reader's name.
    pub consumer: String,
    /// The last place that it has read.
    pub seq: Seq,
    /// Until when its time has passed: what waited for a time before is done.
    pub time: Timestamp,
}

/// What a stretch of the log led to. Made in the order of the fields.
#[derive(Clone, Debug, Default)]
pub struct Step {
    /// Events that the reader itself found: appended to the log.
    pub raised: Vec<Event>,
    /// Incidents as they are now; each replaces what was kept of it.
    pub incidents: Vec<Incident>,
    /// Which event belongs to which incident. An event that is not in the log is passed over.
    pub reports: Vec<(EventId, String)>,
    /// Which incident is part of which other one from now on.
    pub merges: Vec<Merge>,
    /// What is to be told.
    pub deliveries: Vec<NewDelivery>,
    /// What the rules were told beside events.
    pub journal: Vec<NewEntry>,
    /// Silences that began, changed or ended.
    pub silences: Vec<SilenceChange>,
    /// How far the reader is with it.
    pub mark: Option<Mark>,
}

/// An incident that is part of another one from now on: its reports and deliveries are the other's,
/// and whoever asks for it is given the other one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merge {
    /// Which.
    pub from: String,
    /// Of which.
    pub into: String,
}

/// A message that is to be told.
#[derive(Clone, Debug, PartialEq)]
pub struct NewDelivery {
    /// The same for the same message, also when the log is read again.
    pub key: DeliveryKey,
    /// Who is told.
    pub output: ComponentId,
    /// Of which incident; a digest is of none.
    pub incident: Option<String>,
    /// What goes out in order: the deliveries of one lane of one output, one after the other.
    pub lane: String,
    /// When it was made.
    pub made: Timestamp,
    /// Not before that.
    pub due: Timestamp,
    /// What is told.
    pub message: Message,
}

/// What the rules were told beside an event, to be told again when the log is read again.
#[derive(Clone, Debug, PartialEq)]
pub struct NewEntry {
    /// The last place in the log that they had read by then.
    pub after: Seq,
    /// When they were told.
    pub time: Timestamp,
    /// What, in a form of the caller's.
    pub doc: Value,
}

/// What the rules were told, with its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Its number: the order in which it was said.
    pub number: u64,
    /// What it was.
    pub entry: NewEntry,
}

/// A time in which people are not told.
#[derive(Clone, Debug, PartialEq)]
pub struct Silence {
    /// Its name.
    pub name: String,
    /// Its end.
    pub until: Timestamp,
    /// Who wanted it.
    pub author: String,
    /// Why.
    pub reason: String,
    /// What it silences, in a form of the caller's.
    pub doc: Value,
}

/// What becomes of a silence.
#[derive(Clone, Debug, PartialEq)]
pub enum SilenceChange {
    /// It begins, or is another one from now on.
    Put(Silence),
    /// It ends before its time.
    Drop(String),
}

/// What became of a step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stepped {
    /// One for each raised event, in their order.
    pub raised: Vec<Appended>,
    /// How many deliveries are new; the others were there already.
    pub deliveries: u64,
}

/// Where readers of the log keep what they made of it.
#[async_trait::async_trait]
pub trait Pipeline: Send + Sync + 'static {
    /// Keeps all of a step, or nothing. It is on disk when this returns.
    ///
    /// # Errors
    /// [`Unavailable`](crate::ErrorKind::Unavailable) or [`Corrupt`](crate::ErrorKind::Corrupt).
    async fn commit_step(&self, step: Step) -> Result<Stepped, Error>;

    /// How far a reader has come; `None` for one that never was.
    ///
    /// # Errors
    /// As [`commit_step`](Self::commit_step).
    async fn mark(&self, consumer: &str) -> Result<Option<Mark>, Error>;

    /// Forgets a reader that is no more, so that nothing is kept for it.
    ///
    /// # Errors
    /// As [`commit_step`](Self::commit_step).
    async fn drop_mark(&self, consumer: &str) -> Result<(), Error>;

    /// What the rules were told at that time or later, behind this number (0 for all), at most
    /// `limit`, in order.
    ///
    /// # Errors
    /// As [`commit_step`](Self::commit_step).
    async fn journal(&self, since: Timestamp, after: u64, limit: u32) -> Result<Vec<Entry>, Error>;

    /// The silences that end after that time, by name.
    ///
    /// # Errors
    /// As [`commit_step`](Self::commit_step).
    async fn silences(&self, now: Timestamp) -> Result<Vec<Silence>, Error>;
}
