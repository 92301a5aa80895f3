//! The outbox: what is to be told, in order, until it is told or can never be.
//!
//! ```text
//! pending ─▶ done
//!    │ ▲
//!    ▼ │ replay
//!   dead ─▶ purged
//! ```
//!
//! A lane of an output is one queue: only its first pending delivery is ever [due](Outbox::due), so
//! what comes later about an incident is never told before what came earlier.
//!
//! For details, see: [`crate::pipeline`], by which deliveries are made.
//!
//! *Invariant:* a delivery stays pending until its output has said that it has it, or that it never
//! will. *Invariant:* a dead letter is thrown away by people only.

use event_core::wire::WireError;
use event_core::{ComponentId, DeliveryKey, Message, Receipt};
use jiff::Timestamp;

use crate::Error;

/// The most characters of an error that are kept.
pub(crate) const LONGEST_ERROR: usize = 2000;

/// A delivery in the outbox.
#[derive(Debug)]
pub struct Queued {
    /// What makes a second attempt the same delivery.
    pub key: DeliveryKey,
    /// Who is told.
    pub output: ComponentId,
    /// Of which incident.
    pub incident: Option<String>,
    /// What goes out in order.
    pub lane: String,
    /// When it was made.
    pub made: Timestamp,
    /// Not before that.
    pub due: Timestamp,
    /// How often it was tried in vain.
    pub attempts: u32,
    /// What became of it.
    pub state: DeliveryState,
    /// What is told; a later program's message may be unreadable, and is to be buried.
    pub message: Result<Message, WireError>,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
    /// What the service said; of a pending one, to the parts that it has.
    pub receipt: Option<Receipt>,
    /// When it was told or given up.
    pub done: Option<Timestamp>,
}

/// What became of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryState {
    /// It is still to be told.
    Pending,
    /// It was told.
    Done,
    /// It cannot be told.
    Dead,
}

/// What a service said to a delivery, or to the parts of it that it has.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    /// Whose names stand in the receipt, such as `discord`; see [`Outbox::is_ours`].
    pub service: &'a str,
    /// What it said.
    pub receipt: &'a Receipt,
}

/// Which dead letters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dead {
    /// All of them.
    All,
    /// Those of this output.
    Of(ComponentId),
    /// These.
    Keys(Vec<DeliveryKey>),
}

/// How an output is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputCount {
    /// Its name.
    pub output: String,
    /// How many deliveries wait.
    pub pending: u64,
    /// When the one that waits longest was made.
    pub oldest: Option<Timestamp>,
    /// How many could not be told.
    pub dead: u64,
}

/// Where deliveries wait.
#[async_trait::async_trait]
pub trait Outbox: Send + Sync + 'static {
    /// What this output is to be told now: of each lane the first that is pending, if its time has
    /// come. At most `limit`, what was made first before what was made later.
    ///
    /// # Errors
    /// [`Unavailable`](crate::ErrorKind::Unavailable) or [`Corrupt`](crate::ErrorKind::Corrupt), as
    /// of everything here. A handle that had the [`Lease`](crate::Lease) and may not have it any more
    /// gets nothing, since another one tells the same.
    async fn due(
        &self,
        output: &ComponentId,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<Queued>, Error>;

    /// When the next of this output is due, which may be past; `None` where nothing waits.
    ///
    /// # Errors
    /// As [`due`](Self::due).
    async fn next_due(&self, output: &ComponentId) -> Result<Option<Timestamp>, Error>;

    /// It was told. Says whether it was pending.
    ///
    /// # Errors
    /// As [`due`](Self::due).
    async fn delivered(
        &self,
        key: &DeliveryKey,
        told: Told<'_>,
        now: Timestamp,
    ) -> Result<bool, Error>;

    /// It could not be told now; it is tried again at `due`. `so_far` is what the service said to
    /// the parts that it has. Says whether it was pending.
    ///
    /// # Errors
    /// As [`due`](Self::due).
    async fn failed(
        &self,
        key: &DeliveryKey,
        error: &str,
        due: Timestamp,
        so_far: Option<Told<'_>>,
    ) -> Result<bool, Error>;

    /// It can never be told: a dead letter. Says whether it was pending.
    ///
    /// # Errors
    /// As [`due`](Self::due).
    async fn bury(&self, key: &DeliveryKey, error: &str, now: Timestamp) -> Result<bool, Error>;

    /// These dead letters, at most `limit`, the oldest first.
    ///
    /// # Errors
    /// As [`due`](Self::due).
    async fn dead(&self, which: &Dead, limit: u32) -> Result<Vec<Queued>, Error>;

    /// Puts these dead letters back, due now, and says how many.
    ///
    /// # Errors
    /// As [`due`](Self::due).
    async fn replay(&self, which: &Dead, now: Timestamp) -> Result<u64, Error>;

    /// Throws these dead letters away, and says how many.
    ///
    /// # Errors
    /// As [`due`](Self::due).
    async fn purge(&self, which: &Dead) -> Result<u64, Error>;

    /// The delivery of this key.
    ///
    /// # Errors
    /// As [`due`](Self::due).
    async fn delivery(&self, key: &DeliveryKey) -> Result<Option<Queued>, Error>;

    /// What the service said to the last delivery of this incident that this output has: what is
    /// edited.
    ///
    /// # Errors
    /// As [`due`](Self::due).
    async fn prior_receipt(
        &self,
        output: &ComponentId,
        incident: &str,
    ) -> Result<Option<Receipt>, Error>;

    /// Whether this service gave this name to a message of ours, so that an input passes it over.
    ///
    /// # Errors
    /// As [`due`](Self::due).
    async fn is_ours(&self, service: &str, id: &str) -> Result<bool, Error>;

    /// How each output is doing that has anything waiting or dead, by name.
    ///
    /// # Errors
    /// As [`due`](Self::due).
    async fn output_counts(&self) -> Result<Vec<OutputCount>, Error>;
}

// === impl DeliveryState ===

impl DeliveryState {
    /// The word that rows hold.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Done => "done",
            Self::Dead => "dead",
        }
    }

    pub(crate) fn parse(word: &str) -> Option<Self> {
        [Self::Pending, Self::Done, Self::Dead].into_iter().find(|state| state.as_str() == word)
    }
}

/// As much of an error as is kept.
pub(crate) fn kept_error(error: &str) -> String {
    crate::rows::storable(error.chars().take(LONGEST_ERROR).collect())
}

// === impl Dead ===

impl Dead {
    /// The output's name; empty for all of them.
    pub(crate) fn output(&self) -> &str {
        match self {
            Self::Of(output) => output.as_str(),
            Self::All | Self::Keys(_) => "",
        }
    }

    /// The statement for each part of it, with what it is about.
    pub(crate) fn each(
        &self,
        by_output: &'static str,
        by_key: &'static str,
    ) -> Vec<(&'static str, &str)> {
        match self {
            Self::All | Self::Of(_) => vec![(by_output, self.output())],
            Self::Keys(keys) => keys.iter().map(|key| (by_key, key.as_str())).collect(),
        }
    }
}
