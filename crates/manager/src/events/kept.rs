//! The log as the pipeline's writers see it: the store's, which says how it does and whom to wake.
//!
//! The log is in the order of hearing, and the rules decide by that time. What could not be kept for a
//! while is therefore heard when it is kept: the time at which it came stands in the label [`CAME`].

use std::sync::Arc;

use async_trait::async_trait;
use event_core::{Appended, ComponentId, Cursor, Event, EventLog, LogError, Logged, Seq};
use jiff::{SignedDuration, Timestamp};
use stdx::Clock;
use store::Store;
use tokio::sync::watch;

use super::away::Away;
use super::recent::Recent;

/// When an event came that could only be kept later. Sources cannot set it.
pub(crate) const CAME: &str = "_came";

/// What was kept within this time was kept at once; shorter than the judge's lag.
const AT_ONCE: SignedDuration = SignedDuration::from_millis(500);

/// The store's log.
pub(crate) struct KeptLog {
    store: Arc<dyn Store>,
    away: Away,
    clock: Arc<dyn Clock>,
    kept: watch::Sender<Seq>,
    recent: Recent,
}

// === impl KeptLog ===

impl KeptLog {
    /// `kept` is told of every new place, and `recent` holds what is there.
    pub(crate) fn new(
        store: Arc<dyn Store>,
        away: Away,
        clock: Arc<dyn Clock>,
        kept: watch::Sender<Seq>,
        recent: Recent,
    ) -> Self {
        Self { store, away, clock, kept, recent }
    }
}

#[async_trait]
impl EventLog for KeptLog {
    async fn append(
        &self,
        mut events: Vec<Arc<Event>>,
        cursors: Vec<(ComponentId, Cursor)>,
    ) -> Result<Vec<Appended>, LogError> {
        let now = self.clock.now();
        for event in &mut events {
            hear_now(event, now);
        }
        match EventLog::append(self.store.as_ref(), events.clone(), cursors).await {
            Ok(appended) => {
                self.away.worked();
                let placed = appended.iter().zip(events);
                let new = placed.filter(|(it, _)| matches!(it, Appended::New(_)));
                self.recent.hold(new.map(|(it, event)| (it.seq(), event)));
                let new = appended.iter().filter(|it| matches!(it, Appended::New(_)));
                if let Some(newest) = new.map(|it| it.seq()).max() {
                    self.kept.send_modify(|seq| *seq = newest.max(*seq));
                }
                Ok(appended)
            }
            Err(error) => {
                self.away.failed(&stdx::Chain(&error).to_string(), self.clock.now());
                Err(error)
            }
        }
    }

    async fn cursor(&self, source: &ComponentId) -> Result<Option<Cursor>, LogError> {
        self.store.cursor(source).await
    }

    async fn after(&self, seq: Seq, limit: u32) -> Result<Vec<Logged>, LogError> {
        self.store.after(seq, limit).await
    }

    async fn head(&self) -> Result<Seq, LogError> {
        self.store.head().await
    }
}

fn hear_now(event: &mut Arc<Event>, now: Timestamp) {
    if now.duration_since(event.received) < AT_ONCE {
        return;
    }
    let event = Arc::make_mut(event);
    let came = std::mem::replace(&mut event.received, now);
    // The first time counts, if it had to wait twice.
    event.labels.entry(CAME.to_owned()).or_insert_with(|| came.to_string());
}
