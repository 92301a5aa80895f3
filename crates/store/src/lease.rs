//! One manager has a store at a time.
//!
//! Whoever runs the event pipeline takes the [`Lease`] first. Each that takes it has a number that is
//! greater than the one before. On PostgreSQL a session holds a lock for as long as its connection
//! stands, and what the pipeline writes is written only while the number is still the writer's: one
//! that was cut off cannot write after another took over. On SQLite a lock on a file beside the store
//! does the same for one machine.
//!
//! A program that never took it (`serve`, the tools) writes what it may write beside a manager.
//!
//! For details, see: `docs/dev/store.md`.
//!
//! *Invariant:* two programs never hold it at once. *Invariant:* a handle that had the lease and does
//! not have it now refuses to write what belongs to the pipeline, and to say what is due to be told.

use jiff::Timestamp;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use crate::{Error, ErrorKind};

/// Counts one more that takes it. `$1` holder, `$2` time.
pub(crate) const NEXT: &str = "INSERT INTO lease (id, generation, holder, taken_us) VALUES (1, 1, $1, $2) \
     ON CONFLICT (id) DO UPDATE SET generation = lease.generation + 1, holder = excluded.holder, \
     taken_us = excluded.taken_us RETURNING generation";

/// Who took it last, and when.
pub(crate) const HOLDER: &str = "SELECT holder, taken_us FROM lease WHERE id = 1";

/// Whom a store belongs to.
#[async_trait::async_trait]
pub trait Leases: Send + Sync + 'static {
    /// Takes the store for this holder, who is named to those that come later.
    ///
    /// # Errors
    /// [`Conflict`](ErrorKind::Conflict) at once where another one has it: nobody is waited for.
    /// [`Unavailable`](ErrorKind::Unavailable) where that cannot be found out.
    async fn take_lease(&self, holder: &str, now: Timestamp) -> Result<Lease, Error>;
}

/// That a store is this program's, until it is given back or dropped.
#[derive(Debug)]
pub struct Lease {
    generation: i64,
    hold: watch::Receiver<Hold>,
    back: Option<oneshot::Sender<()>>,
    keeper: Option<JoinHandle<()>>,
}

/// How a handle stands to the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    /// It never took it.
    Never,
    /// It has it, by this number.
    Held(i64),
    /// It had it, and has to find out whether it has it still.
    Doubt,
    /// It has it no more.
    Gone,
}

/// What stands before writes of the pipeline: shared by all clones of a handle.
#[derive(Clone, Debug)]
pub(crate) struct Fence(watch::Sender<Hold>);

/// Why something is not written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotHeld {
    #[error(
        "the connection that holds the store is lost; nothing is written until it stands again"
    )]
    Doubt,
    #[error("another manager has taken over the store, or this one has given it back")]
    Gone,
}

// === impl Lease ===

impl Lease {
    /// A lease that `keeper` keeps until it hears from the other end of `back`, or that it is gone.
    pub(crate) fn new(
        generation: i64,
        fence: &Fence,
        back: oneshot::Sender<()>,
        keeper: JoinHandle<()>,
    ) -> Self {
        fence.0.send_replace(Hold::Held(generation));
        let hold = fence.0.subscribe();
        Self { generation, hold, back: Some(back), keeper: Some(keeper) }
    }

    /// The number that grows with each that takes the store.
    pub fn generation(&self) -> i64 {
        self.generation
    }

    /// Returns when another one has taken the store over, and never while that is not known.
    pub async fn lost(&self) {
        let mut hold = self.hold.clone();
        if hold.wait_for(|hold| *hold == Hold::Gone).await.is_err() {
            // The store itself is gone, which nobody could take over.
            std::future::pending::<()>().await;
        }
    }

    /// Gives it back; another one can take it when this returns.
    pub async fn give_back(mut self) {
        self.back = None;
        if let Some(keeper) = self.keeper.take() {
            // One that failed has nothing to give back.
            let _ = keeper.await;
        }
    }
}

// === impl Fence ===

impl Default for Fence {
    fn default() -> Self {
        Self(watch::Sender::new(Hold::Never))
    }
}

impl Fence {
    pub(crate) fn set(&self, hold: Hold) {
        self.0.send_replace(hold);
    }

    /// The number by which may be written, if one is needed.
    pub(crate) fn pass(&self) -> Result<Option<i64>, sqlx::Error> {
        match *self.0.borrow() {
            Hold::Never => Ok(None),
            Hold::Held(generation) => Ok(Some(generation)),
            Hold::Doubt => Err(NotHeld::Doubt.into()),
            Hold::Gone => Err(NotHeld::Gone.into()),
        }
    }
}

impl From<NotHeld> for sqlx::Error {
    fn from(error: NotHeld) -> Self {
        Self::AnyDriverError(Box::new(error))
    }
}

/// Another one has the store at `place`.
pub(crate) fn taken(place: &str, holder: Option<(String, i64)>) -> Error {
    let who = match holder {
        Some((holder, at)) => {
            let since =
                Timestamp::from_microsecond(at).map_or_else(|_| "?".into(), |at| at.to_string());
            format!("{holder} has it since {since}")
        }
        None => "another manager has it".to_owned(),
    };
    Error::new(
        ErrorKind::Conflict,
        format!(
            "take the store at {place}: {who}; one manager at a time runs on a store, so stop that one first, or give \
             this one a store of its own"
        ),
    )
}
