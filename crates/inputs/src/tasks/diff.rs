//! From what is remembered to what is seen: what has changed, and what of that is news.
//!
//! Pure: the same two and the same time give the same changes. Planned work is no news: a guest's state is left alone
//! while a task works at it or something holds its lock, and what a task's end explains is taken as it is. A guest on a
//! node that does not answer is as it was remembered until the node tells again, and had the time to start its guests.
//!
//! *Invariant:* what is seen and not explained is told after it was seen twice, [`Patience::settle`] apart, so that the
//! list of tasks can explain it first. *Invariant:* with all changes applied, the same look changes nothing more, but
//! for what waits for time to pass.

use std::time::Duration;

use estate::VmId;
use event_core::Kind;
use jiff::Timestamp;

use super::view::{Condition, Doubt, Guest, Look, Sighting, State, View};

/// How long what is seen may be explained by what is heard later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// How long an unexplained change has to be seen.
    pub settle: Duration,
    /// How long after a task's end a node may show what was before it: its collector runs every ten seconds.
    pub lag: Duration,
    /// How long a node that answers again may take to start its guests.
    pub boot: Duration,
}

/// One change of what is remembered, and what is told of it.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// A guest is from now on remembered so, or not at all.
    Guest {
        /// Which.
        vmid: VmId,
        /// As what; none if it is gone.
        guest: Option<Guest>,
        /// What is told; mostly nothing.
        told: Option<Told>,
    },
    /// Something is wrong that was not, or is worse.
    Begun {
        /// The part.
        part: String,
        /// What.
        condition: Condition,
    },
    /// Something is not wrong any more.
    Ended {
        /// The part.
        part: String,
        /// What was.
        condition: Condition,
        /// What says so; none where nothing is told.
        well: Option<Kind>,
    },
}

/// What is told of a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// It does not run any more, and no task says why.
    Stopped,
    /// It runs, and no task says why.
    Started,
    /// It is on another node, and no task says why.
    Moved,
    /// HA has brought it to another node.
    Recovered,
}

// === impl Default ===

impl Default for Patience {
    fn default() -> Self {
        Self {
            settle: Duration::from_secs(10),
            lag: Duration::from_secs(30),
            boot: Duration::from_mins(3),
        }
    }
}

/// What has changed, in an order in which it can be told.
pub fn diff(previous: &View, now: &Look, at: Timestamp, patience: Patience) -> Vec<Change> {
    let mut changes = Vec::new();
    conditions(previous, now, &mut changes);
    if let Some(seen) = &now.guests {
        guests(previous, now, seen, at, patience, &mut changes);
    }
    changes
}

fn conditions(previous: &View, now: &Look, changes: &mut Vec<Change>) {
    for (part, seen) in &now.wrong {
        let before = previous.wrong.get(part);
        for (id, condition) in seen {
            let known = before.and_then(|before| before.get(id));
            if known.is_none_or(|known| known.severity < condition.severity) {
                changes.push(Change::Begun { part: part.clone(), condition: condition.clone() });
            }
        }
        for (id, condition) in before.into_iter().flatten() {
            if seen.contains_key(id) {
                continue;
            }
            // A success would end all that is of its kind and place, so it is told with the last of them.
            let well = condition.well();
            let place = condition.place.to_string();
            let is_like =
                |other: &Condition| other.well() == well && other.place.to_string() == place;
            let told_later = before.into_iter().flatten().any(|(other_id, other)| {
                other_id > id && is_like(other) && !seen.contains_key(other_id)
            });
            let is_last = !told_later && !seen.values().any(is_like);
            changes.push(Change::Ended {
                part: part.clone(),
                condition: condition.clone(),
                well: well.filter(|_| is_last),
            });
        }
    }
}

fn guests(
    previous: &View,
    now: &Look,
    seen: &[Sighting],
    at: Timestamp,
    patience: Patience,
    changes: &mut Vec<Change>,
) {
    for sighting in seen {
        let vmid = sighting.vmid;
        let known = previous.guests.get(&vmid);
        let (guest, told) = match known {
            None => (Guest::of(sighting), None),
            Some(known) => step(known, sighting, now, at, patience),
        };
        if known != Some(&guest) {
            changes.push(Change::Guest { vmid, guest: Some(guest), told });
        }
    }
    for vmid in previous.guests.keys() {
        if !seen.iter().any(|sighting| sighting.vmid == *vmid) {
            changes.push(Change::Guest { vmid: *vmid, guest: None, told: None });
        }
    }
}

/// What a guest is remembered as after a sighting, and what is told of it.
fn step(
    known: &Guest,
    sighting: &Sighting,
    now: &Look,
    at: Timestamp,
    patience: Patience,
) -> (Guest, Option<Told>) {
    let mut guest = known.clone();
    if sighting.name.is_some() {
        guest.name.clone_from(&sighting.name);
    }
    guest.settles = known.settles.filter(|until| at < *until);
    let Some(state) = sighting.state else {
        // Its node does not tell: what was seen before is all that is known.
        (guest.doubt, guest.is_silent) = (None, true);
        return (guest, None);
    };
    if std::mem::take(&mut guest.is_silent) {
        guest.settles = guest.settles.max(Some(at + patience.boot));
    }
    let is_same = known.state.is_none_or(|before| before == state) && known.node == sighting.node;
    if is_same {
        guest.doubt = None;
        // What a task left open is settled when the node had the time to see it.
        if guest.settles.is_none() {
            guest.state = Some(state);
        }
        return (guest, None);
    }
    let is_busy = now.busy.contains(&sighting.vmid) || now.busy_nodes.contains(&sighting.node);
    if sighting.is_locked || is_busy || guest.settles.is_some() {
        guest.doubt = None;
        return (guest, None);
    }
    let may_be_off = state == State::Stopped && now.expected_off.contains(&sighting.vmid);
    if known.state.is_none() || (may_be_off && known.node == sighting.node) {
        return (Guest::of(sighting), None);
    }
    let since = match &known.doubt {
        Some(doubt) if doubt.state == state && doubt.node == sighting.node => doubt.since,
        _ => at,
    };
    if at < since + patience.settle {
        guest.doubt = Some(Doubt { state, node: sighting.node.clone(), since });
        return (guest, None);
    }
    let told = if known.state == Some(state) {
        if sighting.is_ha { Told::Recovered } else { Told::Moved }
    } else if state == State::Stopped {
        Told::Stopped
    } else {
        Told::Started
    };
    (Guest::of(sighting), Some(told))
}

// === impl Guest ===

impl Guest {
    fn of(sighting: &Sighting) -> Self {
        Self {
            kind: sighting.kind,
            name: sighting.name.clone(),
            node: sighting.node.clone(),
            state: sighting.state,
            settles: None,
            is_silent: sighting.state.is_none(),
            doubt: None,
        }
    }
}

// === impl View ===

impl View {
    /// Remembers a change.
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::Guest { vmid, guest: Some(guest), .. } => {
                self.guests.insert(*vmid, guest.clone());
            }
            Change::Guest { vmid, guest: None, .. } => {
                self.guests.remove(vmid);
            }
            Change::Begun { part, condition } => {
                let part = self.wrong.entry(part.clone()).or_default();
                part.insert(condition.id(), condition.clone());
            }
            Change::Ended { part, condition, .. } => {
                if let Some(wrong) = self.wrong.get_mut(part) {
                    wrong.remove(&condition.id());
                    if wrong.is_empty() {
                        self.wrong.remove(part);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
