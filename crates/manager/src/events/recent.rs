//! The newest events of the log, in memory: whoever follows it closely does not read from the disk what was written a
//! moment ago.
//!
//! *Invariant:* what is given is what the log has behind that place, in order and without a gap; what is not here, or
//! not here any more, is read from the store.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use event_core::{Event, LogError, Logged, Seq};
use store::Store;

/// How many events are held at most, and about how many bytes of them.
const MOST: (usize, usize) = (2048, 4 << 20);

/// What an event takes beside its texts, about.
const ONE: usize = 1024;

/// An event with its place.
pub(crate) type Placed = (Seq, Arc<Event>);

/// The newest events. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recent(Arc<Mutex<Ring>>);

#[derive(Debug, Default)]
struct Ring {
    events: VecDeque<Placed>,
    bytes: usize,
}

/// The log as its followers read it.
#[derive(Clone)]
pub(crate) struct Tail {
    store: Arc<dyn Store>,
    recent: Recent,
}

// === impl Recent ===

impl Recent {
    /// Holds these, which are in the log by now.
    pub(crate) fn hold(&self, events: impl IntoIterator<Item = Placed>) {
        let mut ring = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (seq, event) in events {
            ring.bytes += size(&event);
            // Two writers may come here in another order than their transactions.
            let at = ring.events.partition_point(|(other, _)| *other < seq);
            ring.events.insert(at, (seq, event));
        }
        while ring.events.len() > MOST.0 || ring.bytes > MOST.1 {
            let Some((_, gone)) = ring.events.pop_front() else { break };
            ring.bytes -= size(&gone);
        }
    }

    /// The events that follow on that place, at most so many; none if the first of them is not here.
    fn after(&self, seq: Seq, limit: usize) -> Vec<Placed> {
        let ring = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let from = ring.events.partition_point(|(other, _)| *other <= seq);
        let next = ring.events.range(from..).zip(seq.0 + 1..);
        let in_row = next.take_while(|((seq, _), wanted)| seq.0 == *wanted);
        in_row.take(limit).map(|(placed, _)| placed.clone()).collect()
    }
}

// === impl Tail ===

impl Tail {
    pub(crate) fn new(store: Arc<dyn Store>, recent: Recent) -> Self {
        Self { store, recent }
    }

    /// Where the whole log is.
    pub(crate) fn store(&self) -> &dyn Store {
        self.store.as_ref()
    }

    /// The events after that place, at most so many, in their order.
    ///
    /// # Errors
    /// They cannot be read.
    pub(crate) async fn after(&self, seq: Seq, limit: u32) -> Result<Vec<Placed>, LogError> {
        let found = self.recent.after(seq, limit as usize);
        if !found.is_empty() {
            return Ok(found);
        }
        let read = self.store.after(seq, limit).await?;
        Ok(read.into_iter().map(|Logged { seq, event }| (seq, Arc::new(event))).collect())
    }
}

fn size(event: &Event) -> usize {
    let raw = event.raw.as_ref().map_or(0, |raw| raw.text.len());
    ONE + event.title.len() + event.message.len() + raw
}

#[cfg(test)]
mod tests {
    use event_core::Kind;
    use jiff::Timestamp;

    use super::*;

    fn event(number: u64, length: usize) -> Arc<Event> {
        let source = "lines".parse().unwrap();
        let time = Timestamp::UNIX_EPOCH;
        let builder =
            Event::builder(&source, "syslog", number.to_string(), Kind::GuestStarted, time);
        Arc::new(builder.message("x".repeat(length)).build(time))
    }

    fn held(seqs: impl IntoIterator<Item = u64>) -> Recent {
        let recent = Recent::default();
        recent.hold(seqs.into_iter().map(|seq| (Seq(seq), event(seq, 10))));
        recent
    }

    fn after(recent: &Recent, seq: u64, limit: usize) -> Vec<u64> {
        recent.after(Seq(seq), limit).iter().map(|(seq, _)| seq.0).collect()
    }

    #[test]
    fn what_is_given_has_no_gap() {
        // Another one wrote 6 beside this program.
        let recent = held([3, 5, 4, 7, 8]);
        assert_eq!(after(&recent, 2, 10), [3, 4, 5], "in order, up to the gap");
        assert_eq!(after(&recent, 3, 1), [4], "no more than was asked for");
        assert_eq!(after(&recent, 1, 10), [0; 0], "2 is not here");
        assert_eq!(after(&recent, 5, 10), [0; 0], "6 is not here");
        assert_eq!(after(&recent, 6, 10), [7, 8]);
        assert_eq!(after(&recent, 8, 10), [0; 0]);
    }

    #[test]
    fn the_oldest_goes_first_by_number_and_by_size() {
        let many = held(1..=5000);
        assert_eq!(after(&many, 2951, 1), [0; 0]);
        assert_eq!(after(&many, 2952, 1), [2953]);
        let large = Recent::default();
        large.hold((1..=100).map(|seq| (Seq(seq), event(seq, 15 << 10))));
        assert_eq!(after(&large, 0, 1), [1], "a hundred of 16 KiB fit");
        large.hold((101..=600).map(|seq| (Seq(seq), event(seq, 15 << 10))));
        let held = (0..600).filter(|seq| !after(&large, *seq, 1).is_empty()).count();
        assert!((250..=256).contains(&held), "{held} of 16 KiB and a bit are 4 MiB");
        assert_eq!(after(&large, 599, 1), [600]);
    }

    #[tokio::test]
    async fn what_is_not_here_comes_from_the_store() {
        let store: Arc<dyn Store> = Arc::new(store::MemoryStore::default());
        let kept: Vec<Arc<Event>> = (1..=4).map(|seq| event(seq, 10)).collect();
        event_core::EventLog::append(store.as_ref(), kept.clone(), Vec::new()).await.unwrap();
        let recent = Recent::default();
        recent.hold([(Seq(4), Arc::clone(&kept[3]))]);
        let tail = Tail::new(store, recent);
        let read = tail.after(Seq(1), 2).await.unwrap();
        assert_eq!(read, [(Seq(2), Arc::clone(&kept[1])), (Seq(3), Arc::clone(&kept[2]))]);
        let newest = tail.after(Seq(3), 2).await.unwrap();
        assert!(Arc::ptr_eq(&newest[0].1, &kept[3]), "held in memory");
    }
}
