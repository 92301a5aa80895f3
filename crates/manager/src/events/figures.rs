//! What the pipeline counts, since this program was started.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use event_core::desk::SpoolView;
use event_core::{Appended, ComponentId, Cursor, Event, EventLog, LogError, Logged, Seq};
use jiff::Timestamp;
use tokio::time::timeout;

use super::desk::STORE_ANSWERS;
use super::health::Health;
use super::{Events, InputHealth, OutputHealth};

/// The bounds of [`Latency`], in seconds: from what is done at once to what waited for a store that was
/// away.
pub const LATENCY_SECONDS: [f64; 12] =
    [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 300.0];

/// Everything that is counted, as it is now.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// The inputs, and how many messages of our own outputs each has dropped.
    pub inputs: BTreeMap<ComponentId, (InputHealth, u64)>,
    /// The outputs.
    pub outputs: BTreeMap<String, OutputFigures>,
    /// Why the store could not be asked what waits in the outbox, which is not known then.
    pub unknown: Option<String>,
    /// What waits beside the store; `None` where nothing can.
    pub spool: Option<SpoolView>,
    /// How many incidents are open.
    pub incidents_open: u64,
    /// How often the log did not take a batch of events: it is tried again, or its sources are told.
    pub log_failures: u64,
    /// How long it took from hearing an event until what follows from it was kept.
    pub latency: Latency,
}

/// One output.
#[derive(Clone, Debug, Default)]
pub struct OutputFigures {
    /// How it is doing.
    pub health: OutputHealth,
    /// How many attempts failed that are made again.
    pub retried: u64,
    /// How many messages were given up.
    pub buried: u64,
}

/// How often something took how long.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Latency {
    /// How many took at most as long as the bound of the same place in [`LATENCY_SECONDS`] and longer
    /// than the one before; the last is of those that took longer than all of them.
    pub counts: [u64; LATENCY_SECONDS.len() + 1],
    /// All together, in seconds.
    pub sum: f64,
}

/// What is counted while the pipeline runs. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally(Arc<Counted>);

#[derive(Debug, Default)]
struct Counted {
    open: AtomicU64,
    log_failures: AtomicU64,
    latency: Mutex<Latency>,
}

/// A log, with what it does counted.
pub(crate) struct CountedLog {
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) health: Health,
    pub(crate) tally: Tally,
}

// === impl Latency ===

impl Latency {
    fn add(&mut self, seconds: f64) {
        let place = LATENCY_SECONDS.iter().position(|bound| seconds <= *bound);
        self.counts[place.unwrap_or(LATENCY_SECONDS.len())] += 1;
        self.sum += seconds;
    }
}

// === impl Tally ===

impl Tally {
    /// What follows from the events that were heard at these times is kept now.
    pub(crate) fn settled(&self, heard: impl IntoIterator<Item = Timestamp>, now: Timestamp) {
        // Counts are changed in one step each: a panic leaves at worst one too few.
        let mut latency = self.0.latency.lock().unwrap_or_else(PoisonError::into_inner);
        for at in heard {
            latency.add(now.duration_since(at).as_secs_f64().max(0.0));
        }
    }

    /// So many incidents are open.
    pub(crate) fn open(&self, count: usize) {
        self.0.open.store(count as u64, Ordering::Relaxed);
    }
}

#[async_trait]
impl EventLog for CountedLog {
    async fn append(
        &self,
        events: Vec<Arc<Event>>,
        cursors: Vec<(ComponentId, Cursor)>,
    ) -> Result<Vec<Appended>, LogError> {
        let sources: Vec<ComponentId> = events.iter().map(|it| it.source.id.clone()).collect();
        let appended = self.log.append(events, cursors).await.inspect_err(|_| {
            self.tally.0.log_failures.fetch_add(1, Ordering::Relaxed);
        })?;
        for (source, appended) in sources.iter().zip(&appended) {
            if let Appended::Duplicate(_) = appended {
                self.health.duplicate(source);
            }
        }
        Ok(appended)
    }

    async fn cursor(&self, source: &ComponentId) -> Result<Option<Cursor>, LogError> {
        self.log.cursor(source).await
    }

    async fn after(&self, seq: Seq, limit: u32) -> Result<Vec<Logged>, LogError> {
        self.log.after(seq, limit).await
    }

    async fn head(&self) -> Result<Seq, LogError> {
        self.log.head().await
    }
}

// === impl Events ===

impl Events {
    /// Everything that is counted. A store that does not answer leaves out what is counted in it: the
    /// rest is wanted most then.
    pub async fn figures(&self) -> Figures {
        let counts = match timeout(STORE_ANSWERS, self.inner.store.output_counts()).await {
            Ok(counts) => counts.map_err(|error| stdx::Chain(&error).to_string()),
            Err(_) => Err(format!("it did not answer within {} s", STORE_ANSWERS.as_secs())),
        };
        let unknown = counts.as_ref().err().cloned();
        let mut outputs: BTreeMap<String, OutputFigures> = BTreeMap::new();
        for (id, health) in self.outputs_with(counts.unwrap_or_default()) {
            outputs.entry(id).or_default().health = health;
        }
        for (id, reached) in &self.inner.outputs {
            let standing = reached.standing.borrow();
            let it = outputs.entry(id.to_string()).or_default();
            it.retried = standing.failed.saturating_sub(standing.buried);
            it.buried = standing.buried;
        }
        let dropped = |id: &ComponentId| {
            self.inner.echoes.get(id).map(inputs::Echo::dropped).unwrap_or_default()
        };
        let inputs = self.inner.health.all().into_iter();
        let counted = &self.inner.tally.0;
        let latency = counted.latency.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Figures {
            inputs: inputs.map(|(id, health)| (id.clone(), (health, dropped(&id)))).collect(),
            outputs,
            unknown,
            spool: self.spool(),
            incidents_open: counted.open.load(Ordering::Relaxed),
            log_failures: counted.log_failures.load(Ordering::Relaxed),
            latency,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_has_its_place() {
        let tally = Tally::default();
        let now: Timestamp = "2026-11-22T01:00:00Z".parse().unwrap();
        let ago = |millis| now - jiff::SignedDuration::from_millis(millis);
        // A clock that was set back is no time at all.
        tally.settled([ago(-5), ago(0), ago(2), ago(3), ago(400_000)], now);
        let latency = tally.0.latency.lock().unwrap().clone();
        let mut counts = [0; LATENCY_SECONDS.len() + 1];
        (counts[0], counts[1], counts[LATENCY_SECONDS.len()]) = (3, 1, 1);
        assert_eq!(latency.counts, counts);
        assert!((latency.sum - 400.005).abs() < 1e-9);
    }
}
