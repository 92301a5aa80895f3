//! Which reports are of one fact.
//!
//! Reports that share a key ([`event_core::Key`]) are of one incident, and so is everything that hangs
//! together by such pairs. A report that shares keys with two incidents makes one of them. What fails
//! again while it still is not well belongs to the incident that is open about it.
//!
//! *Invariant:* the incidents are a function of the set of reports: neither their order nor doubles
//! among them matter. Of two that become one, that stays which people were told of first.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use event_core::{ComponentId, Event, Fingerprint, Key, Kind, SourceKey};
use jiff::{SignedDuration, Timestamp};

use crate::{
    Incident, IncidentId, Recoveries, Status, Word,
    recovery::{self, is_problem},
};

/// For how long what is over is remembered: longer than any two keys of one fact are apart.
const KEEP: SignedDuration = SignedDuration::from_hours(72);

/// For how long what went on is remembered: until it is in the daily digest, on the longest day.
const KEEP_NOTES: SignedDuration = SignedDuration::from_hours(26);

/// For how long it is remembered that something was well.
const KEEP_RECOVERIES: SignedDuration = SignedDuration::from_hours(14 * 24);

/// After how long without a report an incident that nothing can end is taken for over.
const STALE: SignedDuration = SignedDuration::from_hours(7 * 24);

/// All incidents that are remembered.
#[derive(Clone, Debug, Default)]
pub struct Incidents {
    all: BTreeMap<IncidentId, Incident>,
    by_key: BTreeMap<Key, IncidentId>,
    by_report: BTreeMap<(ComponentId, SourceKey), IncidentId>,
    /// Those in which something is or was wrong.
    troubled: BTreeSet<IncidentId>,
    /// Which of those have a problem of that fingerprint.
    by_problem: BTreeMap<Fingerprint, BTreeSet<IncidentId>>,
    /// Which of those have a problem that a success at that place ends.
    by_place: BTreeMap<String, BTreeSet<IncidentId>>,
    merged: BTreeMap<IncidentId, IncidentId>,
    recoveries: Recoveries,
}

/// What became of a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The incident that it belongs to.
    pub incident: IncidentId,
    /// Whether it was known: the same report of the same source.
    pub known: bool,
    /// The incidents that are part of that one since.
    pub merged: Vec<IncidentId>,
    /// Other incidents that are over, or not over, through it.
    pub touched: BTreeSet<IncidentId>,
}

// === impl Incidents ===

impl Incidents {
    /// Takes a report in.
    pub fn take(&mut self, event: &Arc<Event>) -> Taken {
        if let Some(incident) = self.by_report.get(&report(event)) {
            let (incident, merged, touched) = (*incident, Vec::new(), BTreeSet::new());
            return Taken { incident, known: true, merged, touched };
        }
        let mut touched = self.recover(event);
        let mut joined: BTreeSet<IncidentId> =
            event.keys.iter().filter_map(|key| self.by_key.get(key).copied()).collect();
        if is_problem(event) {
            joined.extend(self.unmended(event));
        }
        let (incident, merged) = self.join(joined, event);
        for key in &event.keys {
            self.by_key.insert(key.clone(), incident);
        }
        self.by_report.insert(report(event), incident);
        let counted = self.all.get_mut(&incident).and_then(|it| it.take(event));
        if let Some(place) = counted {
            // Told twice it would be counted twice; but a log keeps a report once.
            self.by_report.remove(&(place.source, place.key));
        }
        self.refresh(incident);
        touched.remove(&incident);
        touched.retain(|it| !merged.contains(it));
        Taken { incident, known: false, merged, touched }
    }

    /// Takes note of what an event says to be well again, without making it part of an incident; what
    /// it changes.
    pub fn recover(&mut self, event: &Arc<Event>) -> BTreeSet<IncidentId> {
        if !self.recoveries.take(event) {
            return BTreeSet::new();
        }
        let Some(place) = recovery::place(event) else { return BTreeSet::new() };
        // What is over can get a better end as well, so that what it says does not hang on the order.
        let found = self.by_place.get(&place).cloned().unwrap_or_default();
        for incident in &found {
            self.refresh(*incident);
        }
        found
    }

    /// The open incidents about the same thing, if it was not well since.
    fn unmended(&self, event: &Event) -> Vec<IncidentId> {
        let Some(same_thing) = self.by_problem.get(&event.fingerprint) else { return Vec::new() };
        let recovered = self.recoveries.of(event.kind.as_str(), &recovery::places(event));
        let apart = |from: Timestamp, to: Timestamp| {
            let (from, to) = (from.min(to), from.max(to));
            recovered.iter().any(|it| from < it.time && it.time < to)
        };
        let same = |incident: &Incident| {
            let mut open = incident.open_problems();
            open.any(|it| it.fingerprint == event.fingerprint && !apart(event.time, it.last))
        };
        let known = same_thing.iter().filter_map(|id| self.all.get(id));
        known.filter(|it| same(it)).map(Incident::id).collect()
    }

    /// Makes one of these, or a new one if there are none.
    fn join(
        &mut self,
        joined: BTreeSet<IncidentId>,
        event: &Event,
    ) -> (IncidentId, Vec<IncidentId>) {
        let order = |id: &IncidentId| {
            let it = &self.all[id];
            (it.told().unwrap_or(Timestamp::MAX), it.opened(), *id)
        };
        let Some(stays) = joined.iter().copied().min_by_key(order) else {
            let new = Incident::new(event);
            let id = new.id();
            self.all.insert(id, new);
            return (id, Vec::new());
        };
        let goes: Vec<IncidentId> = joined.into_iter().filter(|id| *id != stays).collect();
        for id in &goes {
            let Some(gone) = self.all.remove(id) else { continue };
            self.drop_problems(&gone);
            for key in gone.keys() {
                self.by_key.insert(key.clone(), stays);
            }
            for event in gone.reports() {
                self.by_report.insert(report(event), stays);
            }
            if let Some(stays) = self.all.get_mut(&stays) {
                for place in stays.swallow(gone) {
                    self.by_report.remove(&(place.source, place.key));
                }
            }
            for into in self.merged.values_mut().filter(|into| *into == id) {
                *into = stays;
            }
            self.merged.insert(*id, stays);
        }
        (stays, goes)
    }

    fn refresh(&mut self, id: IncidentId) {
        let Some(mut incident) = self.all.remove(&id) else { return };
        self.drop_problems(&incident);
        incident.derive(&self.recoveries);
        for problem in incident.problems() {
            self.troubled.insert(id);
            self.by_problem.entry(problem.fingerprint).or_default().insert(id);
            for place in &problem.places {
                self.by_place.entry(place.clone()).or_default().insert(id);
            }
        }
        self.all.insert(id, incident);
    }

    /// Nothing is found by the problems of this incident any more.
    fn drop_problems(&mut self, incident: &Incident) {
        let id = incident.id();
        self.troubled.remove(&id);
        for problem in incident.problems() {
            take_out(&mut self.by_problem, &problem.fingerprint, id);
            for place in &problem.places {
                take_out(&mut self.by_place, place, id);
            }
        }
    }

    /// The incident of that name, or that it is part of now.
    pub fn get(&self, id: IncidentId) -> Option<&Incident> {
        self.all.get(&self.merged.get(&id).copied().unwrap_or(id))
    }

    fn get_mut(&mut self, id: IncidentId) -> Option<&mut Incident> {
        self.all.get_mut(&self.merged.get(&id).copied().unwrap_or(id))
    }

    /// All that are remembered.
    pub fn iter(&self) -> impl Iterator<Item = &Incident> {
        self.all.values()
    }

    /// Those in which something is or was wrong.
    pub(crate) fn iter_troubled(&self) -> impl Iterator<Item = &Incident> {
        self.troubled.iter().filter_map(|id| self.all.get(id))
    }

    /// Those with something wrong.
    pub fn open(&self) -> impl Iterator<Item = &Incident> {
        self.iter_troubled().filter(|it| it.open_problems().next().is_some())
    }

    /// What was well again when.
    pub fn recoveries(&self) -> &Recoveries {
        &self.recoveries
    }

    /// Somebody has it.
    pub fn acknowledge(&mut self, id: IncidentId, word: Word) {
        if let Some(incident) = self.get_mut(id) {
            incident.acknowledge(word);
        }
    }

    /// People were told of it.
    pub fn tell(&mut self, id: IncidentId, at: Timestamp) {
        if let Some(incident) = self.get_mut(id) {
            incident.tell(at);
        }
    }

    /// Somebody says that it is over. It opens again if something happens after that.
    pub fn close(&mut self, id: IncidentId, word: Word) {
        if let Some(incident) = self.get_mut(id) {
            let id = incident.id();
            incident.close(word);
            self.refresh(id);
        }
    }

    /// Forgets what is over for long; what is taken for over now, since nothing was heard of it for
    /// long.
    pub fn forget(&mut self, now: Timestamp) -> Vec<IncidentId> {
        let since = |span| now.checked_sub(span).unwrap_or(Timestamp::MIN);
        self.recoveries.forget(since(KEEP_RECOVERIES));
        let is_stale = |it: &&Incident| it.heard() < since(STALE) && can_not_end(it);
        let stale: Vec<IncidentId> = self.open().filter(is_stale).map(Incident::id).collect();
        for id in &stale {
            let by = "nothing was heard of it for seven days".to_owned();
            self.close(*id, Word { by, at: now });
        }
        let is_old = |it: &&Incident| match it.status(now) {
            Status::Open | Status::Flapping => false,
            Status::Note => it.heard() < since(KEEP_NOTES),
            Status::Resolved => it.heard() < since(KEEP) && !stale.contains(&it.id()),
        };
        let old: Vec<IncidentId> = self.iter().filter(is_old).map(Incident::id).collect();
        for id in &old {
            let Some(gone) = self.all.remove(id) else { continue };
            self.drop_problems(&gone);
            for key in gone.keys() {
                self.by_key.remove(key);
            }
            for event in gone.reports() {
                self.by_report.remove(&report(event));
            }
        }
        self.merged.retain(|_, into| self.all.contains_key(into));
        stale
    }
}

fn take_out<K: Ord>(index: &mut BTreeMap<K, BTreeSet<IncidentId>>, key: &K, id: IncidentId) {
    if let Some(ids) = index.get_mut(key) {
        ids.remove(&id);
        if ids.is_empty() {
            index.remove(key);
        }
    }
}

fn report(event: &Event) -> (ComponentId, SourceKey) {
    (event.source.id.clone(), event.source_key.clone())
}

/// Whether no event of the list says that any of it is over.
fn can_not_end(incident: &Incident) -> bool {
    let ends = |kind: &Kind| {
        let mut all = Kind::LIST.iter().filter_map(|(word, _)| word.parse::<Kind>().ok());
        all.any(|it| it.resolves().contains(&kind.as_str()))
    };
    incident.open_problems().all(|it| it.places.is_empty() || !ends(&it.lead.kind))
}
