//! The outbox in memory. Rows are as in the other engines, so that what is read back is the same.

use std::collections::BTreeMap;

use event_core::{ComponentId, DeliveryKey, Message, Receipt};
use jiff::Timestamp;

use super::MemoryStore;
use super::events::EventState;
use crate::Error;
use crate::event_rows::kept_key;
use crate::outbox::{Dead, DeliveryState, Outbox, OutputCount, Queued, Told, kept_error};
use crate::pipeline::NewDelivery;
use crate::records::micros;

/// A delivery in memory; see [`Queued`].
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    key: DeliveryKey,
    output: ComponentId,
    pub(super) incident: Option<String>,
    pub(super) lane: String,
    made: Timestamp,
    due: Timestamp,
    attempts: u32,
    state: DeliveryState,
    message: Message,
    last_error: Option<String>,
    receipt: Option<Receipt>,
    done: Option<Timestamp>,
}

// === impl Waiting ===

impl Waiting {
    /// Whether it was told before that.
    pub(super) fn done_before(&self, before: Timestamp) -> bool {
        self.state == DeliveryState::Done && self.done.is_some_and(|done| done < before)
    }

    fn queued(&self) -> Queued {
        let it = self.clone();
        Queued {
            key: it.key,
            output: it.output,
            incident: it.incident,
            lane: it.lane,
            made: it.made,
            due: it.due,
            attempts: it.attempts,
            state: it.state,
            message: Ok(it.message),
            last_error: it.last_error,
            receipt: it.receipt,
            done: it.done,
        }
    }

    fn is_dead(&self, which: &Dead) -> bool {
        let is_meant = match which {
            Dead::All => true,
            Dead::Of(output) => self.output == *output,
            Dead::Keys(keys) => keys.contains(&self.key),
        };
        self.state == DeliveryState::Dead && is_meant
    }
}

// === impl EventState ===

impl EventState {
    /// Adds a delivery whose key was never there.
    pub(super) fn queue(&mut self, new: NewDelivery) -> Option<()> {
        if self.outbox.iter().any(|it| it.key == new.key) {
            return None;
        }
        self.outbox.push(Waiting {
            key: new.key,
            output: new.output,
            incident: new.incident,
            lane: kept_key(&new.lane),
            made: micros::floor(new.made),
            due: micros::floor(new.due),
            attempts: 0,
            state: DeliveryState::Pending,
            message: new.message,
            last_error: None,
            receipt: None,
            done: None,
        });
        Some(())
    }

    /// The first pending of each lane of an output.
    fn heads<'a>(&'a self, output: &'a ComponentId) -> impl Iterator<Item = &'a Waiting> {
        let mut heads: BTreeMap<&str, &Waiting> = BTreeMap::new();
        for it in self.outbox.iter().filter(|it| it.output == *output) {
            if it.state == DeliveryState::Pending {
                heads.entry(&it.lane).or_insert(it);
            }
        }
        heads.into_values()
    }

    fn pending(&mut self, key: &DeliveryKey) -> Option<&mut Waiting> {
        let found = self.outbox.iter_mut().find(|it| it.key == *key);
        found.filter(|it| it.state == DeliveryState::Pending)
    }

    fn keep_names(&mut self, told: Told<'_>, now: Timestamp) {
        for id in &told.receipt.ids {
            self.receipts.insert((kept_key(told.service), kept_key(id)), now);
        }
    }
}

#[async_trait::async_trait]
impl Outbox for MemoryStore {
    async fn due(
        &self,
        output: &ComponentId,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<Queued>, Error> {
        let state = self.events();
        let now = micros::floor(now);
        let mut due: Vec<&Waiting> = state.heads(output).filter(|it| it.due <= now).collect();
        let place = |it: &Waiting| state.outbox.iter().position(|other| other.key == it.key);
        due.sort_by_key(|it| (it.made, place(it)));
        Ok(due.into_iter().take(limit as usize).map(Waiting::queued).collect())
    }

    async fn next_due(&self, output: &ComponentId) -> Result<Option<Timestamp>, Error> {
        Ok(self.events().heads(output).map(|it| it.due).min())
    }

    async fn delivered(
        &self,
        key: &DeliveryKey,
        told: Told<'_>,
        now: Timestamp,
    ) -> Result<bool, Error> {
        let mut state = self.events();
        let now = micros::floor(now);
        state.keep_names(told, now);
        let Some(waiting) = state.pending(key) else { return Ok(false) };
        waiting.state = DeliveryState::Done;
        waiting.receipt = Some(told.receipt.clone());
        waiting.done = Some(now);
        Ok(true)
    }

    async fn failed(
        &self,
        key: &DeliveryKey,
        error: &str,
        due: Timestamp,
        so_far: Option<Told<'_>>,
    ) -> Result<bool, Error> {
        let mut state = self.events();
        let due = micros::floor(due);
        if let Some(told) = so_far {
            state.keep_names(told, due);
        }
        let Some(waiting) = state.pending(key) else { return Ok(false) };
        waiting.attempts += 1;
        waiting.last_error = Some(kept_error(error));
        waiting.due = due;
        if let Some(told) = so_far {
            waiting.receipt = Some(told.receipt.clone());
        }
        Ok(true)
    }

    async fn bury(&self, key: &DeliveryKey, error: &str, now: Timestamp) -> Result<bool, Error> {
        let mut state = self.events();
        let Some(waiting) = state.pending(key) else { return Ok(false) };
        waiting.state = DeliveryState::Dead;
        waiting.last_error = Some(kept_error(error));
        waiting.done = Some(micros::floor(now));
        Ok(true)
    }

    async fn dead(&self, which: &Dead, limit: u32) -> Result<Vec<Queued>, Error> {
        let state = self.events();
        let dead = state.outbox.iter().filter(|it| it.is_dead(which));
        Ok(dead.take(limit as usize).map(Waiting::queued).collect())
    }

    async fn replay(&self, which: &Dead, now: Timestamp) -> Result<u64, Error> {
        let mut state = self.events();
        let mut count = 0;
        for waiting in state.outbox.iter_mut().filter(|it| it.is_dead(which)) {
            waiting.state = DeliveryState::Pending;
            waiting.attempts = 0;
            waiting.due = micros::floor(now);
            waiting.done = None;
            count += 1;
        }
        Ok(count)
    }

    async fn purge(&self, which: &Dead) -> Result<u64, Error> {
        let mut state = self.events();
        let before = state.outbox.len();
        state.outbox.retain(|it| !it.is_dead(which));
        Ok((before - state.outbox.len()) as u64)
    }

    async fn delivery(&self, key: &DeliveryKey) -> Result<Option<Queued>, Error> {
        let state = self.events();
        Ok(state.outbox.iter().find(|it| it.key == *key).map(Waiting::queued))
    }

    async fn prior_receipt(
        &self,
        output: &ComponentId,
        incident: &str,
    ) -> Result<Option<Receipt>, Error> {
        let state = self.events();
        let root = state.root(incident);
        let done = state.outbox.iter().filter(|it| {
            it.output == *output
                && it.incident.as_ref() == Some(&root)
                && it.state == DeliveryState::Done
        });
        Ok(done.max_by_key(|it| it.done).and_then(|it| it.receipt.clone()))
    }

    async fn is_ours(&self, service: &str, id: &str) -> Result<bool, Error> {
        Ok(self.events().receipts.contains_key(&(kept_key(service), kept_key(id))))
    }

    async fn output_counts(&self) -> Result<Vec<OutputCount>, Error> {
        let state = self.events();
        let mut counts: BTreeMap<String, OutputCount> = BTreeMap::new();
        for it in state.outbox.iter().filter(|it| it.state != DeliveryState::Done) {
            let output = it.output.to_string();
            let none = OutputCount { output: output.clone(), pending: 0, oldest: None, dead: 0 };
            let count = counts.entry(output).or_insert(none);
            if it.state == DeliveryState::Dead {
                count.dead += 1;
                continue;
            }
            count.pending += 1;
            count.oldest = count.oldest.into_iter().chain([it.made]).min();
        }
        Ok(counts.into_values().collect())
    }
}
