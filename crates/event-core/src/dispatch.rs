//! The way from sources into the log: in batches, each on disk before anybody is told so.
//!
//! Sources push into one bounded channel, so a slow disk holds up its sources and never fills
//! memory. The writer waits a moment for company ([`Batching::wait`]), since one sync of the disk
//! costs the same for one event and for five hundred.
//!
//! *Invariant:* an [`Ack`] is `Committed` only after [`EventLog::append`] has returned. *Invariant:* a
//! batch that could not be kept is tried again until it can, patience ends or the writer is stopped,
//! and only then are its sources told `Rejected`.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{Ack, Appended, ComponentId, Cursor, Event, EventLog, Ruling, Seq};

/// How often it is said that a batch is not kept yet.
const SAY_EVERY: Duration = Duration::from_secs(30);

/// What goes through the channel: something to be kept.
#[derive(Debug)]
pub struct Report {
    /// What happened.
    pub event: Event,
    /// How far its source has read with it.
    pub cursor: Option<Cursor>,
    /// Who waits for it.
    pub ack: Ack,
}

/// How batches are made.
#[derive(Clone, Copy, Debug)]
pub struct Batching {
    /// How long the first event of a batch waits for company.
    pub wait: Duration,
    /// The most events of a batch.
    pub most: usize,
    /// How long a batch that could not be kept waits before the next try.
    pub pause: Duration,
    /// How long it is tried before its sources are told that it is not kept; `None` for as long as
    /// it takes.
    pub patience: Option<Duration>,
}

/// How a writer ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// How many events are new in the log.
    pub kept: u64,
    /// How many were there already.
    pub duplicates: u64,
    /// How many could not be kept.
    pub rejected: u64,
}

// === impl Batching ===

impl Default for Batching {
    /// 5 ms or 512 events, as DESIGN has it; patience ends before a webhook's 10 s do.
    fn default() -> Self {
        Self {
            wait: Duration::from_millis(5),
            most: 512,
            pause: Duration::from_millis(250),
            patience: Some(Duration::from_secs(5)),
        }
    }
}

/// Keeps what comes through the channel, until every sender is gone or `stop` is canceled; what is
/// in the channel by then is kept as well. `kept` is told of every new place, for whoever follows
/// the log.
pub async fn write(
    log: Arc<dyn EventLog>,
    mut reports: mpsc::Receiver<Report>,
    batching: Batching,
    stop: CancellationToken,
    kept: impl Fn(Seq),
) -> Written {
    let mut written = Written::default();
    while let Some(batch) = gather(&mut reports, batching, &stop).await {
        keep(log.as_ref(), batch, batching, &stop, &mut written, &kept).await;
    }
    written
}

/// The next batch; `None` when every sender is gone, or `stop` is canceled and nothing is left.
pub async fn gather(
    reports: &mut mpsc::Receiver<Report>,
    batching: Batching,
    stop: &CancellationToken,
) -> Option<Vec<Report>> {
    let first = tokio::select! {
        biased;
        first = reports.recv() => first,
        () = stop.cancelled() => {
            // No more from now on; what was taken in before is kept.
            reports.close();
            reports.recv().await
        }
    };
    let mut batch = vec![first?];
    let until = Instant::now() + batching.wait;
    while batch.len() < batching.most {
        let room = batching.most - batch.len();
        // Nothing, since all senders are gone or the time is over.
        if let Ok(0) | Err(_) = timeout_at(until, reports.recv_many(&mut batch, room)).await {
            break;
        }
    }
    Some(batch)
}

/// One batch: kept, or after all patience refused.
async fn keep(
    log: &dyn EventLog,
    batch: Vec<Report>,
    batching: Batching,
    stop: &CancellationToken,
    written: &mut Written,
    kept: &impl Fn(Seq),
) {
    let mut events = Vec::with_capacity(batch.len());
    let mut acks = Vec::with_capacity(batch.len());
    // The last word of each source is how far it has read.
    let mut cursors: BTreeMap<ComponentId, Cursor> = BTreeMap::new();
    for Report { event, cursor, ack } in batch {
        if let Some(cursor) = cursor {
            cursors.insert(event.source.id.clone(), cursor);
        }
        events.push(Arc::new(event));
        acks.push(ack);
    }
    let cursors: Vec<_> = cursors.into_iter().collect();
    let began = Instant::now();
    let mut said: Option<Instant> = None;
    let mut is_last = false;
    let appended = loop {
        match log.append(events.clone(), cursors.clone()).await {
            Ok(appended) => break appended,
            Err(error) => {
                let chain = stdx::Chain(&error);
                if said.is_none_or(|said| said.elapsed() >= SAY_EVERY) {
                    warn!(events = events.len(), error = %chain, "batch of events is not kept yet");
                    said = Some(Instant::now());
                }
                if is_last || batching.patience.is_some_and(|most| began.elapsed() >= most) {
                    written.rejected += acks.len() as u64;
                    for ack in acks {
                        ack.resolve(Ruling::Rejected);
                    }
                    return;
                }
            }
        }
        tokio::select! {
            () = sleep(batching.pause) => {}
            // One more try at once, and then no more patience.
            () = stop.cancelled() => {
                sleep(batching.pause.min(Duration::from_millis(50))).await;
                is_last = true;
            }
        }
    };
    if said.is_some() {
        info!(
            events = events.len(),
            waited_ms = began.elapsed().as_millis(),
            "batch of events is kept now"
        );
    }
    let mut newest = None;
    for (ack, appended) in acks.into_iter().zip(appended) {
        match appended {
            Appended::New(seq) => {
                written.kept += 1;
                newest = newest.max(Some(seq));
                ack.resolve(Ruling::Committed);
            }
            Appended::Duplicate(_) => {
                written.duplicates += 1;
                ack.resolve(Ruling::Duplicate);
            }
        }
    }
    if let Some(seq) = newest {
        kept(seq);
    }
}
