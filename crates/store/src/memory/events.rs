//! Events and what follows from them in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, MutexGuard, PoisonError};

use event_core::{Appended, ComponentId, Cursor, Event, EventId, EventLog, LogError, Logged, Seq};
use jiff::Timestamp;

use super::MemoryStore;
use super::outbox::Waiting;
use crate::event_rows::{self, KeptKey, kept_key};
use crate::events::{self, EventCursor, EventFilter, EventPage, EventStore, Forgotten, INDEXER};
use crate::incidents::{self, CANDIDATES, Incident, IncidentFilter, IncidentStore};
use crate::pipeline::{Entry, Mark, Pipeline, Silence, SilenceChange, Step, Stepped};
use crate::records::micros;
use crate::{Error, Merge};

/// Everything about events, changed under one lock, so that a step is one.
#[derive(Debug, Default)]
pub(super) struct EventState {
    head: u64,
    events: BTreeMap<u64, Event>,
    keys: BTreeMap<KeptKey, u64>,
    cursors: BTreeMap<ComponentId, Cursor>,
    marks: BTreeMap<String, Mark>,
    pub(super) incidents: BTreeMap<String, Incident>,
    reports: BTreeMap<u64, String>,
    journal: Vec<Entry>,
    entries: u64,
    silences: BTreeMap<String, Silence>,
    pub(super) outbox: Vec<Waiting>,
    /// When a service last said it, by service and name.
    pub(super) receipts: BTreeMap<(String, String), Timestamp>,
}

// === impl EventState ===

impl EventState {
    fn append(&mut self, events: impl IntoIterator<Item = Event>) -> Vec<Appended> {
        let mut appended = Vec::new();
        for event in events {
            let key = (event.source.id.to_string(), kept_key(event.source_key.as_str()));
            if let Some(seq) = self.keys.get(&key) {
                appended.push(Appended::Duplicate(Seq(*seq)));
                continue;
            }
            self.head += 1;
            self.keys.insert(key, self.head);
            self.events.insert(self.head, event);
            appended.push(Appended::New(Seq(self.head)));
        }
        appended
    }

    fn find(&self, id: EventId) -> Option<(u64, &Event)> {
        self.events.iter().find(|(_, event)| event.id == id).map(|(seq, event)| (*seq, event))
    }

    /// What this incident is part of, or itself.
    pub(super) fn root(&self, id: &str) -> String {
        let merged = self.incidents.get(id).and_then(|it| it.merged_into.clone());
        merged.unwrap_or_else(|| id.to_owned())
    }

    fn indexed(&self) -> u64 {
        self.marks.get(INDEXER).map_or(0, |mark| mark.seq.0)
    }

    fn lets_through(&self, filter: &EventFilter, seq: u64, event: &Event) -> bool {
        let subject = &event.subject;
        let is = |wanted: &Option<String>, found: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| found == Some(wanted))
        };
        let kind = event.kind.as_str();
        let of_family = |it: &String| {
            kind == it || kind.strip_prefix(it.as_str()).is_some_and(|rest| rest.starts_with('.'))
        };
        let time = micros::floor(event.time);
        filter.since.is_none_or(|since| time >= micros::floor(since))
            && filter.until.is_none_or(|until| time < micros::floor(until))
            && (filter.kinds.is_empty() || filter.kinds.iter().any(of_family))
            && filter.min_severity.is_none_or(|least| event.severity >= least)
            && is(&filter.cluster, subject.cluster.as_ref().map(estate::ClusterKey::as_str))
            && is(&filter.node, subject.node.as_ref().map(estate::NodeName::as_str))
            && filter.vmid.is_none_or(|vmid| subject.vmid.is_some_and(|it| it.get() == vmid))
            && is(&filter.job, subject.job.as_deref())
            && is(&filter.source, Some(event.source.id.as_str()))
            && filter.after.is_none_or(|after| seq > after.0)
            && filter
                .incident
                .as_ref()
                .is_none_or(|id| self.reports.get(&seq) == Some(&self.root(id)))
            && filter.text.as_ref().is_none_or(|text| self.holds(text, seq, event))
    }

    fn holds(&self, text: &str, seq: u64, event: &Event) -> bool {
        let wanted = events::wanted(text);
        let words = event_rows::words_of_event(event);
        let is_there = |wanted: &String| words.iter().any(|word| word.starts_with(wanted));
        seq <= self.indexed() && !wanted.is_empty() && wanted.iter().all(is_there)
    }

    fn put_incident(&mut self, mut incident: Incident) {
        for time in [&mut incident.opened, &mut incident.updated] {
            *time = micros::floor(*time);
        }
        incident.ended = incident.ended.map(micros::floor);
        for said in [&mut incident.acknowledged, &mut incident.closed].into_iter().flatten() {
            said.at = micros::floor(said.at);
        }
        let before = self.incidents.get(&incident.id).and_then(|it| it.merged_into.clone());
        incident.is_open &= before.is_none();
        incident.merged_into = before;
        self.incidents.insert(incident.id.clone(), incident);
    }

    fn merge(&mut self, merge: &Merge) {
        let (from, into) = (&merge.from, self.root(&merge.into));
        if *from == into {
            return;
        }
        for incident in self.incidents.values_mut() {
            if incident.id == *from || incident.merged_into.as_ref() == Some(from) {
                incident.merged_into = Some(into.clone());
                incident.is_open = false;
            }
        }
        for incident in self.reports.values_mut().filter(|it| *it == from) {
            incident.clone_from(&into);
        }
        for waiting in &mut self.outbox {
            if waiting.incident.as_ref() == Some(from) {
                waiting.incident = Some(into.clone());
                if waiting.lane == *from {
                    waiting.lane.clone_from(&into);
                }
            }
        }
    }

    fn step(&mut self, step: Step) -> Stepped {
        let raised = self.append(step.raised);
        for incident in step.incidents {
            self.put_incident(incident);
        }
        for (event, incident) in step.reports {
            let root = self.root(&incident);
            if let Some((seq, _)) = self.find(event) {
                self.reports.insert(seq, root);
            }
        }
        for merge in &step.merges {
            self.merge(merge);
        }
        let deliveries = step.deliveries.into_iter().filter_map(|new| self.queue(new)).count();
        for mut entry in step.journal {
            entry.time = micros::floor(entry.time);
            self.entries += 1;
            self.journal.push(Entry { number: self.entries, entry });
        }
        for change in step.silences {
            match change {
                SilenceChange::Put(mut silence) => {
                    silence.until = micros::floor(silence.until);
                    self.silences.insert(silence.name.clone(), silence);
                }
                SilenceChange::Drop(name) => drop(self.silences.remove(&name)),
            }
        }
        if let Some(mut mark) = step.mark {
            mark.time = micros::floor(mark.time);
            self.marks.insert(mark.consumer.clone(), mark);
        }
        Stepped { raised, deliveries: deliveries as u64 }
    }

    fn is_open(&self, incident: Option<&String>) -> bool {
        incident.and_then(|id| self.incidents.get(id)).is_some_and(|it| it.is_open)
    }

    fn forget(&mut self, before: Timestamp, limit: usize) -> Forgotten {
        let mut forgotten = Forgotten::default();
        let read = self.marks.values().map(|mark| mark.seq.0).min().unwrap_or(u64::MAX);
        let old = self.events.iter().filter(|(seq, event)| {
            event.received < before && **seq <= read && !self.is_open(self.reports.get(seq))
        });
        let old: Vec<u64> = old.map(|(seq, _)| *seq).take(limit).collect();
        forgotten.events = old.len() as u64;
        for seq in old {
            self.events.remove(&seq);
            self.reports.remove(&seq);
        }
        let events = &self.events;
        self.keys.retain(|_, seq| events.contains_key(seq));
        let open: BTreeSet<String> =
            self.incidents.values().filter(|it| it.is_open).map(|it| it.id.clone()).collect();
        let is_open = |id: &Option<String>| id.as_ref().is_some_and(|id| open.contains(id));
        forgotten.deliveries = drop_some(&mut self.outbox, limit, |it| {
            it.done_before(before) && !is_open(&it.incident)
        });
        let (reports, ids) =
            (&self.reports, self.incidents.keys().cloned().collect::<BTreeSet<_>>());
        let old: Vec<String> = self
            .incidents
            .values()
            .filter(|it| !it.is_open && it.updated < before)
            .filter(|it| !reports.values().any(|id| *id == it.id))
            .filter(|it| it.merged_into.as_ref().is_none_or(|id| !ids.contains(id)))
            .map(|it| it.id.clone())
            .take(limit)
            .collect();
        forgotten.incidents = old.len() as u64;
        for id in old {
            self.incidents.remove(&id);
        }
        let old = self.receipts.iter().filter(|(_, at)| **at < before);
        let old: Vec<_> = old.map(|(key, _)| key.clone()).take(limit).collect();
        forgotten.receipts = old.len() as u64;
        for key in old {
            self.receipts.remove(&key);
        }
        forgotten.journal = drop_some(&mut self.journal, limit, |it| it.entry.time < before);
        let old = self.silences.values().filter(|it| it.until < before);
        let old: Vec<_> = old.map(|it| it.name.clone()).take(limit).collect();
        forgotten.journal += old.len() as u64;
        for name in old {
            self.silences.remove(&name);
        }
        forgotten
    }
}

/// Drops the first so many of those that are old, and says how many.
fn drop_some<T>(all: &mut Vec<T>, limit: usize, is_old: impl Fn(&T) -> bool) -> u64 {
    let mut dropped = 0;
    all.retain(|it| {
        let goes = dropped < limit && is_old(it);
        dropped += usize::from(goes);
        !goes
    });
    dropped as u64
}

fn logged(seq: u64, event: &Event) -> Logged {
    Logged { seq: Seq(seq), event: event.clone() }
}

impl MemoryStore {
    /// A panic elsewhere left it whole enough to be read: nothing outlives the process.
    pub(super) fn events(&self) -> MutexGuard<'_, EventState> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait::async_trait]
impl EventLog for MemoryStore {
    async fn append(
        &self,
        events: Vec<Arc<Event>>,
        cursors: Vec<(ComponentId, Cursor)>,
    ) -> Result<Vec<Appended>, LogError> {
        let mut state = self.events();
        state.cursors.extend(cursors);
        Ok(state.append(events.into_iter().map(Arc::unwrap_or_clone)))
    }

    async fn cursor(&self, source: &ComponentId) -> Result<Option<Cursor>, LogError> {
        Ok(self.events().cursors.get(source).cloned())
    }

    async fn after(&self, seq: Seq, limit: u32) -> Result<Vec<Logged>, LogError> {
        let state = self.events();
        let later = state.events.range(seq.0.saturating_add(1)..).take(limit as usize);
        Ok(later.map(|(seq, event)| logged(*seq, event)).collect())
    }

    async fn head(&self) -> Result<Seq, LogError> {
        Ok(Seq(self.events().head))
    }
}

#[async_trait::async_trait]
impl EventStore for MemoryStore {
    async fn find_events(
        &self,
        filter: &EventFilter,
        cursor: Option<EventCursor>,
        limit: u32,
    ) -> Result<EventPage, Error> {
        let state = self.events();
        let mut found: Vec<Logged> = state
            .events
            .iter()
            .filter(|(seq, event)| state.lets_through(filter, **seq, event))
            .map(|(seq, event)| logged(*seq, event))
            .collect();
        let place = |it: &Logged| {
            let cursor = EventCursor::behind(it);
            (cursor.time_us, cursor.seq)
        };
        found.retain(|it| cursor.is_none_or(|behind| place(it) < (behind.time_us, behind.seq)));
        found.sort_by_key(|it| std::cmp::Reverse(place(it)));
        Ok(EventPage::of(found, limit))
    }

    async fn event(&self, id: EventId) -> Result<Option<Logged>, Error> {
        Ok(self.events().find(id).map(|(seq, event)| logged(seq, event)))
    }

    async fn index_events(&self, limit: u32) -> Result<u64, Error> {
        let mut state = self.events();
        let later = state.events.range(state.indexed() + 1..).take(limit as usize);
        let places: Vec<(u64, Timestamp)> =
            later.map(|(seq, event)| (*seq, micros::floor(event.received))).collect();
        if let Some((seq, time)) = places.last() {
            let mark = Mark { consumer: INDEXER.to_owned(), seq: Seq(*seq), time: *time };
            state.marks.insert(INDEXER.to_owned(), mark);
        }
        Ok(places.len() as u64)
    }

    async fn forget(&self, before: Timestamp, limit: u32) -> Result<Forgotten, Error> {
        Ok(self.events().forget(before, limit as usize))
    }
}

#[async_trait::async_trait]
impl Pipeline for MemoryStore {
    async fn commit_step(&self, step: Step) -> Result<Stepped, Error> {
        Ok(self.events().step(step))
    }

    async fn mark(&self, consumer: &str) -> Result<Option<Mark>, Error> {
        Ok(self.events().marks.get(consumer).cloned())
    }

    async fn drop_mark(&self, consumer: &str) -> Result<(), Error> {
        self.events().marks.remove(consumer);
        Ok(())
    }

    async fn journal(&self, since: Timestamp, after: u64, limit: u32) -> Result<Vec<Entry>, Error> {
        let state = self.events();
        let since = micros::floor(since);
        let later = state.journal.iter().filter(|it| it.entry.time >= since && it.number > after);
        Ok(later.take(limit as usize).cloned().collect())
    }

    async fn silences(&self, now: Timestamp) -> Result<Vec<Silence>, Error> {
        let state = self.events();
        Ok(state.silences.values().filter(|it| it.until > micros::floor(now)).cloned().collect())
    }
}

#[async_trait::async_trait]
impl IncidentStore for MemoryStore {
    async fn incidents(&self, filter: &IncidentFilter, limit: u32) -> Result<Vec<Incident>, Error> {
        let state = self.events();
        let is =
            |wanted: &Option<String>, found: &Option<String>| wanted.is_none() || wanted == found;
        let mut found: Vec<Incident> = state
            .incidents
            .values()
            .filter(|it| {
                it.merged_into.is_none()
                    && filter.is_open.is_none_or(|is_open| it.is_open == is_open)
                    && filter.since.is_none_or(|since| it.updated >= micros::floor(since))
                    && filter.min_severity.is_none_or(|least| it.severity >= least)
                    && is(&filter.cluster, &it.cluster)
                    && is(&filter.node, &it.node)
                    && (filter.vmid.is_none() || filter.vmid == it.vmid)
            })
            .cloned()
            .collect();
        found.sort_by(|a, b| b.updated.cmp(&a.updated).then_with(|| a.id.cmp(&b.id)));
        found.truncate(limit as usize);
        Ok(found)
    }

    async fn incident(&self, name: &str) -> Result<Option<Incident>, Error> {
        let state = self.events();
        let named = state.incidents.keys().filter(|id| id.starts_with(name));
        let known = |id: &String| {
            let root = state.root(id);
            if state.incidents.contains_key(&root) { root } else { id.clone() }
        };
        let ids: BTreeSet<String> = named.map(known).take(CANDIDATES as usize).collect();
        incidents::the_one(name, ids.iter().map(|id| state.incidents[id].clone()).collect())
    }

    async fn incident_events(
        &self,
        id: &str,
        after: Seq,
        limit: u32,
    ) -> Result<Vec<Logged>, Error> {
        let state = self.events();
        let reports = state.reports.range(after.0.saturating_add(1)..);
        let of_it = reports.filter(|(_, incident)| *incident == id).take(limit as usize);
        Ok(of_it.map(|(seq, _)| logged(*seq, &state.events[seq])).collect())
    }
}
