//! What hears: a source re-synchronizes, then streams what changes.

use async_trait::async_trait;
use futures::stream::BoxStream;
use jiff::Timestamp;
use std::{fmt, sync::Arc, time::Duration};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::{ComponentId, Cursor, Event};

/// An input: something that tells what happened.
///
/// Its contract, which `testkit` holds every implementation to:
///
/// - A run begins with `SyncStarted`, tells what is there already as `Existing`, and ends that with
///   `SyncFinished` and the cursor from which changes follow. A source that knows no "already"
///   sends `SyncStarted` and `SyncFinished` at once.
/// - A run that is given the cursor of an earlier one goes on there: what came between is `Changed`.
/// - It acknowledges to its own peer (HTTP 2xx, SMTP 250, `\Seen`) only after [`Ack`] has said that
///   the event is kept: in the log, or for a peer that cannot wait ([`Ack::promise`]) beside it.
/// - It ends within a second once [`RunContext::stop`] is canceled.
/// - An `Err` says that it cannot go on; whoever runs it starts it again, with a growing pause.
#[async_trait]
pub trait EventSource: Send + Sync + 'static {
    /// Its name in the settings.
    fn id(&self) -> &ComponentId;

    /// Whether it would work now: binds, logs in, makes a round trip. For the tester.
    ///
    /// # Errors
    /// What is in the way, and what to do about it.
    async fn check(&self) -> Result<String, SourceError>;

    /// Tells, until it is stopped or fails.
    fn run(
        &self,
        cx: RunContext,
        resume: Option<Cursor>,
    ) -> BoxStream<'static, Result<Signal, SourceError>>;
}

/// What a source is given for one run.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RunContext {
    /// Canceled when it is to end.
    pub stop: CancellationToken,
    /// The time.
    pub clock: Arc<dyn stdx::Clock>,
}

/// What a source says.
#[derive(Debug)]
pub enum Signal {
    /// What follows is there already.
    SyncStarted,
    /// Something that is so already, not news.
    Existing(Event),
    /// All that is there has been told; changes follow from this place.
    SyncFinished(Cursor),
    /// News.
    Changed {
        /// What happened.
        event: Event,
        /// How far the source has read with it; kept together with it.
        cursor: Option<Cursor>,
        /// Told when it is kept, or cannot be.
        ack: Ack,
    },
    /// It hears nothing, and that is as it should be: a heartbeat, at least every half minute.
    Idle,
    /// It cannot hear yet, which may be as it should be, such as a guest that is off: why, and what to do about it. Said
    /// in place of `Idle`, and as often, until it hears; it needs no new start.
    Waiting(String),
    /// It lost this many reports that nobody can bring back, such as datagrams that the kernel
    /// dropped.
    Lost {
        /// How many.
        count: u64,
        /// Why, in a few words.
        reason: &'static str,
    },
}

/// Tells a source what became of an event.
#[derive(Debug)]
pub struct Ack {
    sender: Option<oneshot::Sender<Ruling>>,
    is_promise: bool,
}

/// What becomes of the event that this belongs to.
#[derive(Debug)]
pub struct AckReceiver(oneshot::Receiver<Ruling>);

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// It is on disk.
    Committed,
    /// It is on disk since an earlier time: the same report again.
    Duplicate,
    /// It is on disk beside the log, which is away, and gets its place when that is back.
    Aside,
    /// It could not be kept: the peer is to send it again.
    Rejected,
}

/// A source cannot go on.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct SourceError {
    kind: SourceErrorKind,
    message: String,
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
    after: Option<Duration>,
}

/// Why a source cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SourceErrorKind {
    /// It will be better later: the peer is away.
    Unavailable,
    /// A person has to change something: an address in use, a password that is wrong.
    Settings,
    /// The peer does not speak as it should.
    Protocol,
}

// === impl RunContext ===

impl RunContext {
    /// For one run.
    pub fn new(stop: CancellationToken, clock: Arc<dyn stdx::Clock>) -> Self {
        Self { stop, clock }
    }

    /// Now.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

// === impl Signal ===

impl Signal {
    /// News that nobody waits for.
    pub fn changed(event: Event, cursor: Option<Cursor>) -> Self {
        Self::Changed { event, cursor, ack: Ack::none() }
    }
}

// === impl Ack ===

impl Ack {
    /// One that somebody waits for, who can wait: what it is about can be read again.
    pub fn pair() -> (Self, AckReceiver) {
        let (sender, receiver) = oneshot::channel();
        (Self { sender: Some(sender), is_promise: false }, AckReceiver(receiver))
    }

    /// One that a peer waits for now, who may never say it again. While the log is away its event
    /// is put aside, where it is as safe, so that the peer has its answer in time.
    pub fn promise() -> (Self, AckReceiver) {
        let (ack, receiver) = Self::pair();
        (Self { is_promise: true, ..ack }, receiver)
    }

    /// One that nobody waits for.
    pub fn none() -> Self {
        Self { sender: None, is_promise: false }
    }

    /// Whether a peer waits who may never say it again.
    pub fn is_promise(&self) -> bool {
        self.is_promise
    }

    /// Says what became of it.
    pub fn resolve(self, ruling: Ruling) {
        if let Some(sender) = self.sender {
            // Who waited may have gone; the event is kept all the same.
            let _ = sender.send(ruling);
        }
    }
}

// === impl AckReceiver ===

impl AckReceiver {
    /// Waits for it. Whoever drops an [`Ack`] unsaid has not kept the event.
    pub async fn ruling(self) -> Ruling {
        self.0.await.unwrap_or(Ruling::Rejected)
    }
}

// === impl Ruling ===

impl Ruling {
    /// Whether the peer may be told that we have it.
    pub fn is_kept(self) -> bool {
        self != Self::Rejected
    }
}

// === impl SourceError ===

impl SourceError {
    /// This kind, with what failed, on what, why, and what to do.
    pub fn new(kind: SourceErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None, after: None }
    }

    /// With what it comes from.
    #[must_use]
    pub fn because(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.source = Some(Box::new(source));
        self
    }

    /// Not to be tried again before that.
    #[must_use]
    pub fn after(mut self, pause: Duration) -> Self {
        self.after = Some(pause);
        self
    }

    /// Why.
    pub fn kind(&self) -> SourceErrorKind {
        self.kind
    }

    /// How long the peer asks us to wait.
    pub fn pause(&self) -> Option<Duration> {
        self.after
    }
}

impl fmt::Display for SourceErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unavailable => "unavailable",
            Self::Settings => "settings",
            Self::Protocol => "protocol",
        })
    }
}
