//! What is a problem, and what says that it is over.
//!
//! Proxmox sends no "resolved". A later success of the same thing is one: a finished backup of the
//! guest whose backup failed, a node that answers again.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use event_core::{Event, Severity};
use jiff::Timestamp;

/// The most recoveries that are remembered of one thing.
const MOST: usize = 16;

/// Whether an event tells of something that is wrong.
///
/// Whatever is a warning or worse is: a stop that a person asked for is an info. A success that says
/// "with warnings" is a problem that only a success without them ends.
pub fn is_problem(event: &Event) -> bool {
    event.severity >= Severity::Warning
}

/// Where an event belongs, for asking whether a success is of what failed: the subject's address, and
/// for tasks what they do, since all tasks of one node have its address. `None` for what is
/// known so little that nothing can be said to be the same.
pub(crate) fn place(event: &Event) -> Option<String> {
    // What this program says of itself is of no cluster.
    if event.kind.family() == "monitor" {
        return Some("monitor".to_owned());
    }
    event.subject.cluster.as_ref()?;
    let address = event.subject.address();
    if event.kind.family() != "task" {
        return Some(address);
    }
    let upid = event.subject.upid.as_ref()?;
    Some(format!("{address}/task/{}/{}", upid.kind(), upid.id()))
}

/// The places at which a success ends this problem: its own, and its job's if it is of one guest in
/// a job.
pub(crate) fn places(event: &Event) -> BTreeSet<String> {
    let mut places: BTreeSet<String> = place(event).into_iter().collect();
    if event.subject.vmid.is_some() && event.subject.job.is_some() {
        let mut whole = event.subject.clone();
        whole.vmid = None;
        places.insert(whole.address());
    }
    places
}

/// The kinds whose problems this event ends.
fn ends(event: &Event) -> Vec<&str> {
    let mut kinds = event.kind.resolves().to_vec();
    if is_problem(event) {
        return kinds;
    }
    if !kinds.is_empty() {
        // It was "with warnings" before.
        kinds.push(event.kind.as_str());
    }
    kinds
}

/// Which things were well again when, by kind of problem and place.
#[derive(Clone, Debug, Default)]
pub struct Recoveries(BTreeMap<String, BTreeMap<String, BTreeMap<Timestamp, Arc<Event>>>>);

// === impl Recoveries ===

impl Recoveries {
    /// Remembers what an event says to be well again; whether it says so of anything.
    pub fn take(&mut self, event: &Arc<Event>) -> bool {
        let kinds = ends(event);
        let Some(place) = place(event).filter(|_| !kinds.is_empty()) else { return false };
        for kind in kinds {
            let places = self.0.entry(kind.to_owned()).or_default();
            let times = places.entry(place.clone()).or_default();
            // Of two that say it of one moment the first in their order is kept, whichever came first.
            let kept = times.entry(event.time).or_insert_with(|| Arc::clone(event));
            if (&event.source.id, &event.source_key) < (&kept.source.id, &kept.source_key) {
                *kept = Arc::clone(event);
            }
            if times.len() > MOST {
                times.pop_first();
            }
        }
        true
    }

    /// When problems of this kind at these places were over, in order.
    pub fn of<'a>(&'a self, kind: &str, places: &BTreeSet<String>) -> Vec<&'a Arc<Event>> {
        let Some(known) = self.0.get(kind) else { return Vec::new() };
        let mut found: Vec<&Arc<Event>> =
            places.iter().filter_map(|place| known.get(place)).flat_map(BTreeMap::values).collect();
        found.sort_by(|one, other| {
            let key = |it: &Event| (it.time, it.source.id.clone(), it.source_key.clone());
            key(one).cmp(&key(other))
        });
        found
    }

    /// The newest recovery of problems of this kind at any of these places.
    pub fn last(&self, kind: &str, places: &BTreeSet<String>) -> Option<Timestamp> {
        self.of(kind, places).last().map(|event| event.time)
    }

    /// Forgets what is older.
    pub fn forget(&mut self, before: Timestamp) {
        for places in self.0.values_mut() {
            for times in places.values_mut() {
                // The newest stays: "when was the last good one" is asked for long.
                while times.len() > 1 && times.keys().next().is_some_and(|time| *time < before) {
                    times.pop_first();
                }
            }
        }
    }
}
