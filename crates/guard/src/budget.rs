//! How often: calls a minute and changes an hour, per principal.
//!
//! [`Budget::check`] judges counts that are kept elsewhere (the store counts what it has recorded);
//! [`Ledger`] counts by itself, for what may be forgotten at a restart.
//!
//! *Invariant:* a ledger keeps no more moments than its limit, for no more principals than it says.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use jiff::Timestamp;

/// How much one principal may change in an hour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Budget {
    /// Changes of any kind, consented or not; `None` without a limit.
    pub changes_per_hour: Option<u32>,
    /// Changes that nobody was asked about.
    pub unasked_per_hour: Option<u32>,
}

/// What one principal has changed in the last hour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// Changes of any kind.
    pub changes: u32,
    /// Those that nobody was asked about.
    pub unasked: u32,
}

/// A budget is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Spent {
    /// No more changes for now.
    #[error(
        "the {limit} changes an hour of this caller are used up; wait, or let the operator raise the limit"
    )]
    Changes {
        /// How many there are.
        limit: u32,
    },
    /// No more changes without a person's consent for now.
    #[error("the {limit} changes an hour that run unasked are used up; more of them ask a person")]
    Unasked {
        /// How many there are.
        limit: u32,
    },
    /// No more calls for now.
    #[error("the {limit} calls of this caller in {} s are used up; wait {} s", window.as_secs(), wait.as_secs().max(1))]
    Calls {
        /// How many there are.
        limit: u32,
        /// In which time.
        window: Duration,
        /// When the next one is free.
        wait: Duration,
    },
}

/// Counts per key within a sliding window.
#[derive(Clone, Debug)]
pub struct Ledger {
    window: Duration,
    /// Moments per key, the oldest first.
    kept: BTreeMap<String, VecDeque<Timestamp>>,
}

/// The most keys of a ledger; the one that was quiet longest is forgotten for a new one.
const MAX_KEYS: usize = 4096;

// === impl Budget ===

impl Budget {
    /// Whether one more change fits, and whether it may run unasked.
    ///
    /// # Errors
    /// Which limit is reached. [`Spent::Unasked`] is a reason to ask, not to refuse.
    pub fn check(&self, used: Used, unasked: bool) -> Result<(), Spent> {
        if let Some(limit) = self.changes_per_hour.filter(|limit| used.changes >= *limit) {
            return Err(Spent::Changes { limit });
        }
        match self.unasked_per_hour {
            Some(limit) if unasked && used.unasked >= limit => Err(Spent::Unasked { limit }),
            _ => Ok(()),
        }
    }
}

// === impl Ledger ===

impl Ledger {
    /// Empty, over this window.
    pub fn new(window: Duration) -> Self {
        Self { window, kept: BTreeMap::new() }
    }

    /// Takes one from the key's `limit`, if there is one left.
    ///
    /// # Errors
    /// None is left; when the next one is free.
    pub fn take(&mut self, key: &str, limit: u32, now: Timestamp) -> Result<(), Spent> {
        let window = self.window;
        let used = self.used(key, now);
        if used >= limit {
            let oldest = self.kept.get(key).and_then(|moments| moments.front().copied());
            let wait = oldest.map_or(window, |oldest| {
                let passed = now.duration_since(oldest).unsigned_abs();
                window.saturating_sub(passed)
            });
            return Err(Spent::Calls { limit, window, wait });
        }
        if !self.kept.contains_key(key) {
            self.make_room();
        }
        self.kept.entry(key.to_owned()).or_default().push_back(now);
        Ok(())
    }

    /// How many were taken within the window.
    pub fn used(&mut self, key: &str, now: Timestamp) -> u32 {
        let window = self.window;
        let Some(moments) = self.kept.get_mut(key) else { return 0 };
        // A clock that goes back must not keep anything for ever.
        moments.retain(|moment| now.duration_since(*moment).unsigned_abs() < window);
        let used = u32::try_from(moments.len()).unwrap_or(u32::MAX);
        if used == 0 {
            self.kept.remove(key);
        }
        used
    }

    fn make_room(&mut self) {
        if self.kept.len() < MAX_KEYS {
            return;
        }
        let quiet = self.kept.iter().min_by_key(|(_, moments)| moments.back().copied());
        if let Some(key) = quiet.map(|(key, _)| key.clone()) {
            self.kept.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    #[test]
    fn a_budget_refuses_changes_and_asks_about_unasked_ones() {
        let budget = Budget { changes_per_hour: Some(20), unasked_per_hour: Some(5) };
        assert_eq!(budget.check(Used { changes: 5, unasked: 4 }, true), Ok(()));
        let spent = budget.check(Used { changes: 5, unasked: 5 }, true);
        assert_eq!(spent, Err(Spent::Unasked { limit: 5 }));
        assert_eq!(budget.check(Used { changes: 5, unasked: 5 }, false), Ok(()));
        let spent = budget.check(Used { changes: 20, unasked: 0 }, false);
        assert_eq!(spent, Err(Spent::Changes { limit: 20 }));
        assert_eq!(Budget::default().check(Used { changes: 9999, unasked: 9999 }, true), Ok(()));
    }

    #[test]
    fn a_ledger_says_when_to_come_back() {
        let mut ledger = Ledger::new(Duration::from_mins(1));
        for second in [0, 10, 20] {
            assert_eq!(ledger.take("token:n8n", 3, at(second)), Ok(()));
        }
        let error = ledger.take("token:n8n", 3, at(30)).unwrap_err();
        assert_eq!(error.to_string(), "the 3 calls of this caller in 60 s are used up; wait 30 s");
        assert_eq!(ledger.take("token:other", 3, at(30)), Ok(()));
        assert_eq!(ledger.take("token:n8n", 3, at(60)), Ok(()));
        assert!(ledger.take("token:n8n", 3, at(61)).is_err());
    }

    proptest! {
        /// No window of that length ever holds more than the limit.
        #[test]
        fn no_window_holds_more_than_the_limit(
            steps in proptest::collection::vec(0_i64..40, 1..80), limit in 1_u32..6,
        ) {
            let (mut ledger, mut now, mut taken) = (Ledger::new(Duration::from_mins(1)), 0, Vec::new());
            for step in steps {
                now += step;
                if ledger.take("one", limit, at(now)).is_ok() {
                    taken.push(now);
                }
            }
            for first in &taken {
                let within = taken.iter().filter(|it| (*first..*first + 60).contains(*it)).count();
                prop_assert!(within <= limit as usize);
            }
        }

        #[test]
        fn keys_are_bounded(keys in proptest::collection::vec(any::<u32>(), 0..200)) {
            let mut ledger = Ledger::new(Duration::from_mins(1));
            for (second, key) in (0..).zip(&keys) {
                let _ = ledger.take(&key.to_string(), 1, at(second / 10));
            }
            prop_assert!(ledger.kept.len() <= MAX_KEYS);
        }
    }
}
