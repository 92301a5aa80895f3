//! Where events are kept.

use std::sync::Arc;

use async_trait::async_trait;

use crate::{ComponentId, Cursor, Event, Seq};

/// An event with its place in the log.
#[derive(Clone, Debug, PartialEq)]
pub struct Logged {
    /// Its place.
    pub seq: Seq,
    /// What happened.
    pub event: Event,
}

/// What became of one event of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// It is kept, at this place.
    New(Seq),
    /// The source had told it before; it is at this place.
    Duplicate(Seq),
}

/// A log does not do what it should.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct LogError {
    kind: LogErrorKind,
    message: String,
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// Why a log does not do what it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LogErrorKind {
    /// It cannot be reached or written now: the disk is full, the server is away.
    Unavailable,
    /// It holds what cannot be read.
    Damaged,
}

/// Where events are kept, in the order in which they were heard.
///
/// Its contract, which `testkit` holds every implementation to: what `append` has answered survives
/// a crash of the machine; the batch and the cursors are one transaction; a source's key is kept
/// once; places are given in order, without two events at one.
#[async_trait]
pub trait EventLog: Send + Sync + 'static {
    /// Keeps a batch, and how far its sources have read with it. It is on disk when this returns:
    /// one answer for each event, in their order.
    ///
    /// # Errors
    /// Nothing of the batch is kept.
    async fn append(
        &self,
        events: Vec<Arc<Event>>,
        cursors: Vec<(ComponentId, Cursor)>,
    ) -> Result<Vec<Appended>, LogError>;

    /// How far a source had read.
    ///
    /// # Errors
    /// It cannot be read.
    async fn cursor(&self, source: &ComponentId) -> Result<Option<Cursor>, LogError>;

    /// The events after that place, at most `limit`, in their order.
    ///
    /// # Errors
    /// They cannot be read.
    async fn after(&self, seq: Seq, limit: u32) -> Result<Vec<Logged>, LogError>;

    /// The place of the newest event; 0 where there is none.
    ///
    /// # Errors
    /// It cannot be read.
    async fn head(&self) -> Result<Seq, LogError>;
}

// === impl Appended ===

impl Appended {
    /// Where the event is.
    pub fn seq(self) -> Seq {
        match self {
            Self::New(seq) | Self::Duplicate(seq) => seq,
        }
    }
}

// === impl LogError ===

impl LogError {
    /// This kind, with what failed, on what, why, and what to do.
    pub fn new(kind: LogErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    /// With what it comes from.
    #[must_use]
    pub fn because(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.source = Some(Box::new(source));
        self
    }

    /// Why.
    pub fn kind(&self) -> LogErrorKind {
        self.kind
    }
}
