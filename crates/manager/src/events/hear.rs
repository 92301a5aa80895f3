//! One input, from its signals into the log.
//!
//! *Invariant:* a source is told that an event is kept by the log's writers alone. *Invariant:* how far
//! a source has read is kept only when all is kept that it told before.

use std::sync::Arc;

use event_core::{
    Ack, AckReceiver, Event, EventLog, EventSource, RunContext, Signal, dispatch::Report,
};
use futures::StreamExt as _;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::health::Health;
use super::judge::Order;
use super::own::{self, OwnTasks};

/// The label of what was so before the first start. Sources cannot set it.
const EXISTING: &str = "_existing";

/// Where a source's reports go.
#[derive(Clone)]
pub(crate) struct Ways {
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) reports: mpsc::Sender<Report>,
    /// For those whose peer waits now and may never say it again.
    pub(crate) promises: mpsc::Sender<Report>,
    pub(crate) orders: mpsc::Sender<Order>,
    pub(crate) health: Health,
    pub(crate) own: Option<OwnTasks>,
    pub(crate) clock: Arc<dyn stdx::Clock>,
}

impl Ways {
    /// Says whose task an event is about, if it is one of ours.
    async fn mark(&self, event: &mut Event) {
        own::clear(event);
        if let Some(own) = &self.own {
            own.mark(event).await;
        }
    }
}

/// Whether an event tells what was so before the first start.
pub(crate) fn is_existing(event: &Event) -> bool {
    event.labels.contains_key(EXISTING)
}

/// Runs a source until it is stopped.
///
/// # Errors
/// It cannot go on, in its own words.
pub(crate) async fn hear(
    source: Arc<dyn EventSource>,
    ways: Ways,
    stop: CancellationToken,
) -> Result<(), String> {
    let id = source.id().clone();
    let resume = ways.log.cursor(&id).await.map_err(|error| stdx::Chain(&error).to_string())?;
    let is_first = resume.is_none();
    let cx = RunContext::new(stop.clone(), Arc::clone(&ways.clock));
    let mut signals = source.run(cx, resume);
    let mut existing: Vec<AckReceiver> = Vec::new();
    ways.health.started(&id);
    while let Some(signal) = signals.next().await {
        match signal {
            Ok(Signal::SyncStarted) => existing.clear(),
            // How it is now, a source that goes on where it was has told before.
            Ok(Signal::Existing(_)) if !is_first => {}
            Ok(Signal::Existing(mut event)) => {
                ways.mark(&mut event).await;
                event.labels.insert(EXISTING.to_owned(), "yes".to_owned());
                let (ack, kept) = Ack::pair();
                existing.push(kept);
                if ways.reports.send(Report { event, cursor: None, ack }).await.is_err() {
                    return Ok(());
                }
            }
            Ok(Signal::SyncFinished(cursor)) => {
                let told = !existing.is_empty();
                for kept in existing.drain(..) {
                    if !kept.ruling().await.is_kept() {
                        return Err(
                            "the events could not be kept; see the store's error".to_owned()
                        );
                    }
                }
                let cursors = vec![(id.clone(), cursor)];
                let kept = ways.log.append(Vec::new(), cursors).await;
                kept.map_err(|error| stdx::Chain(&error).to_string())?;
                if is_first && told {
                    // Whoever judges may be gone by now; then nothing is summed up.
                    let _ = ways.orders.send(Order::Synced).await;
                }
                ways.health.hears(&id, ways.clock.now());
            }
            Ok(Signal::Changed { mut event, cursor, ack }) => {
                event.labels.remove(EXISTING);
                ways.mark(&mut event).await;
                ways.health.heard(&id, event.kind.family(), ways.clock.now());
                // A cursor is kept together with its event, which is in the log alone.
                let is_promise = ack.is_promise() && cursor.is_none();
                let way = if is_promise { &ways.promises } else { &ways.reports };
                if way.send(Report { event, cursor, ack }).await.is_err() {
                    return Ok(());
                }
            }
            Ok(Signal::Idle) => ways.health.hears(&id, ways.clock.now()),
            Ok(Signal::Waiting(why)) => ways.health.waits(&id, &why, ways.clock.now()),
            Ok(Signal::Lost { count, reason }) => {
                tracing::warn!(input = %id, count, reason, "reports were lost that nobody can bring back");
                ways.health.lost(&id, count, reason);
            }
            Err(error) => {
                let text = stdx::Chain(&error).to_string();
                ways.health.failed(&id, &text, ways.clock.now());
                if let Some(pause) = error.pause() {
                    stop.run_until_cancelled(tokio::time::sleep(pause)).await;
                }
                return Err(text);
            }
        }
    }
    if stop.is_cancelled() { Ok(()) } else { Err("it ended by itself".to_owned()) }
}
