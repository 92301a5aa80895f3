//! How the inputs are doing, for people who ask.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use event_core::ComponentId;
use jiff::Timestamp;

/// How every input is doing. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Health(Arc<Mutex<BTreeMap<ComponentId, InputHealth>>>);

/// How one input is doing, since this program was started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InputHealth {
    /// What it is: `syslog`, `webhook`, …
    pub kind: String,
    /// How many reports it heard.
    pub heard: u64,
    /// How many of each family of kinds: `backup`, `guest`, …
    pub families: BTreeMap<String, u64>,
    /// How many it had told before.
    pub duplicates: u64,
    /// How many were lost that nobody can bring back.
    pub lost: u64,
    /// The same by the reason.
    pub losses: BTreeMap<&'static str, u64>,
    /// How many were refused, for lack of room or because nothing could be written: their senders may
    /// send them again.
    pub refused: u64,
    /// How often it was started.
    pub starts: u64,
    /// When it last heard anything.
    pub last: Option<Timestamp>,
    /// When it last said that it hears, whether or not there was anything.
    pub alive: Option<Timestamp>,
    /// Why it failed last, and when.
    pub error: Option<(Timestamp, String)>,
}

// === impl InputHealth ===

impl InputHealth {
    /// Whether it hears: it has said so, and has not failed since.
    pub fn is_up(&self) -> bool {
        let failed = self.error.as_ref().map(|(at, _)| *at);
        self.alive.is_some_and(|alive| failed.is_none_or(|failed| failed < alive))
    }
}

// === impl Health ===

impl Health {
    pub(crate) fn all(&self) -> BTreeMap<ComponentId, InputHealth> {
        self.lock().clone()
    }

    pub(crate) fn know(&self, input: &ComponentId, kind: &str) {
        kind.clone_into(&mut self.lock().entry(input.clone()).or_default().kind);
    }

    pub(crate) fn started(&self, input: &ComponentId) {
        self.lock().entry(input.clone()).or_default().starts += 1;
    }

    pub(crate) fn heard(&self, input: &ComponentId, family: &str, now: Timestamp) {
        self.of(input, |it| {
            it.heard += 1;
            match it.families.get_mut(family) {
                Some(count) => *count += 1,
                None => drop(it.families.insert(family.to_owned(), 1)),
            }
            (it.last, it.alive) = (Some(now), Some(now));
        });
    }

    pub(crate) fn hears(&self, input: &ComponentId, now: Timestamp) {
        self.of(input, |it| it.alive = Some(now));
    }

    pub(crate) fn lost(&self, input: &ComponentId, count: u64, reason: &'static str) {
        self.of(input, |it| {
            it.lost += count;
            *it.losses.entry(reason).or_default() += count;
        });
    }

    pub(crate) fn duplicate(&self, input: &ComponentId) {
        self.of(input, |it| it.duplicates += 1);
    }

    pub(crate) fn refused(&self, input: &ComponentId) {
        self.of(input, |it| it.refused += 1);
    }

    pub(crate) fn failed(&self, input: &ComponentId, error: &str, now: Timestamp) {
        self.of(input, |it| it.error = Some((now, error.to_owned())));
    }

    /// It cannot hear yet, and says so again and again.
    pub(crate) fn waits(&self, input: &ComponentId, why: &str, now: Timestamp) {
        self.of(input, |it| {
            if it.error.as_ref().is_none_or(|(_, said)| said != why) {
                it.error = Some((now, why.to_owned()));
            }
        });
    }

    /// Only of inputs that run: what the program says of itself comes into the log as well, and so does what waited for
    /// an input that is gone by now.
    fn of(&self, input: &ComponentId, change: impl FnOnce(&mut InputHealth)) {
        if let Some(health) = self.lock().get_mut(input) {
            change(health);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ComponentId, InputHealth>> {
        // Counts are changed in one step each: a panic leaves at worst one too few.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_input_is_not_counted_as_one() {
        let health = Health::default();
        let (hook, own) = ("hook".parse().unwrap(), "manager".parse().unwrap());
        health.know(&hook, "webhook");
        for id in [&hook, &own] {
            health.duplicate(id);
            health.refused(id);
            health.lost(id, 2, "the kernel dropped them");
        }
        let all = health.all();
        assert_eq!(all.keys().collect::<Vec<_>>(), [&hook]);
        let hook = &all[&hook];
        assert_eq!((hook.duplicates, hook.refused, hook.lost), (1, 1, 2));
    }
}
