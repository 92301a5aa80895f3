//! The runaway breaker: a caller that repeats itself, or fails fast again and again, is stopped.
//!
//! What trips it stops that principal for a while, from the tier on that it was about; others go on.
//!
//! *Invariant:* keeps no more than its limits need, for a bounded number of principals.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use estate::Access;
use jiff::Timestamp;

/// When it trips.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The same change asked for so many times within the window.
    pub identical: u32,
    /// So many calls within the window that failed fast.
    pub failing: u32,
    /// The window.
    pub window: Duration,
    /// A failure that took longer than this does not count.
    pub fast: Duration,
    /// For how long it stays open.
    pub pause: Duration,
}

/// A call that has ended.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// Whose.
    pub principal: &'a str,
    /// What: the same text for the same tool and arguments, such as their digest.
    pub what: &'a str,
    /// Its tier.
    pub access: Access,
    /// Whether it failed or was refused.
    pub failed: bool,
    /// How long it took.
    pub took: Duration,
}

/// Why it tripped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The same change again and again.
    Identical,
    /// Failures in a row, each fast.
    Failing,
}

/// It tripped: to be told to the operator, once.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{principal} is stopped until {until}: {}", said(*cause, *count, *window))]
pub struct Trip {
    /// Who is stopped.
    pub principal: String,
    /// Why.
    pub cause: Cause,
    /// How many calls it took.
    pub count: u32,
    /// Within which time.
    pub window: Duration,
    /// From which tier on.
    pub from: Access,
    /// Until when.
    pub until: Timestamp,
}

/// The state of every principal.
#[derive(Clone, Debug)]
pub struct Breaker {
    limits: Limits,
    kept: BTreeMap<String, Track>,
}

#[derive(Clone, Debug, Default)]
struct Track {
    /// Changes that were asked for, the oldest first.
    changes: VecDeque<(Timestamp, String)>,
    /// Fast failures.
    failures: VecDeque<(Timestamp, Access)>,
    open: Option<Trip>,
}

/// The most principals that are watched; the one that was quiet longest is forgotten for a new one.
const MAX_PRINCIPALS: usize = 4096;

// === impl Cause ===

impl Cause {
    /// The word that stores use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Identical => "identical",
            Self::Failing => "failing",
        }
    }

    /// The cause of this word.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Identical, Self::Failing].into_iter().find(|cause| cause.as_str() == word)
    }
}

// === impl Limits ===

impl Default for Limits {
    fn default() -> Self {
        Self {
            identical: 6,
            failing: 20,
            window: Duration::from_mins(1),
            fast: Duration::from_secs(2),
            pause: Duration::from_mins(5),
        }
    }
}

// === impl Breaker ===

impl Breaker {
    /// Nobody is stopped.
    pub fn new(limits: Limits) -> Self {
        Self { limits, kept: BTreeMap::new() }
    }

    /// Whether a call may run.
    ///
    /// # Errors
    /// The principal is stopped.
    pub fn permits(&self, principal: &str, access: Access, now: Timestamp) -> Result<(), Trip> {
        let open = self.kept.get(principal).and_then(|track| track.open.as_ref());
        match open {
            Some(trip) if now < trip.until && access >= trip.from => Err(trip.clone()),
            _ => Ok(()),
        }
    }

    /// Counts a call that has ended; what comes back is told to the operator.
    pub fn record(&mut self, call: &Call<'_>, now: Timestamp) -> Option<Trip> {
        let limits = self.limits;
        self.make_room(call.principal);
        let track = self.kept.entry(call.principal.to_owned()).or_default();
        if track.open.as_ref().is_some_and(|trip| now < trip.until) {
            // What is refused because it is open does not keep it open.
            return None;
        }
        track.open = None;
        track.forget(limits.window, now);
        let trip = |cause, count, from| Trip {
            principal: call.principal.to_owned(),
            cause,
            count,
            window: limits.window,
            from,
            until: now.saturating_add(limits.pause).unwrap_or(Timestamp::MAX),
        };
        let mut tripped = None;
        if call.access > Access::Read && limits.identical > 0 {
            track.changes.push_back((now, call.what.to_owned()));
            let same = track.changes.iter().filter(|(_, what)| what == call.what).count();
            let same = u32::try_from(same).unwrap_or(u32::MAX);
            if same >= limits.identical {
                tripped = Some(trip(Cause::Identical, same, Access::Operate));
            }
        }
        if call.failed && call.took <= limits.fast && limits.failing > 0 {
            track.failures.push_back((now, call.access));
            let count = u32::try_from(track.failures.len()).unwrap_or(u32::MAX);
            if count >= limits.failing && tripped.is_none() {
                // If reads are among them, reads are stopped as well.
                let from = track.failures.iter().map(|(_, access)| *access).min();
                tripped = Some(trip(Cause::Failing, count, from.unwrap_or(Access::Read)));
            }
        }
        // A caller of many different changes is not kept in full: no more than could be the same.
        while track.changes.len() > MAX_CHANGES {
            track.changes.pop_front();
        }
        if tripped.is_some() {
            *track = Track { open: tripped.clone(), ..Track::default() };
        }
        tripped
    }

    /// Takes up a trip that was kept: from before this program was started, or another one's.
    pub fn restore(&mut self, trip: Trip) {
        self.make_room(&trip.principal);
        let track = self.kept.entry(trip.principal.clone()).or_default();
        if track.open.as_ref().is_none_or(|open| open.until < trip.until) {
            *track = Track { open: Some(trip), ..Track::default() };
        }
    }

    /// Lets a principal go on at once.
    pub fn reset(&mut self, principal: &str) {
        self.kept.remove(principal);
    }

    /// Who is stopped.
    pub fn open(&self, now: Timestamp) -> impl Iterator<Item = &Trip> {
        let open = self.kept.values().filter_map(|track| track.open.as_ref());
        open.filter(move |trip| now < trip.until)
    }

    fn make_room(&mut self, newcomer: &str) {
        if self.kept.len() < MAX_PRINCIPALS || self.kept.contains_key(newcomer) {
            return;
        }
        // One that is stopped is not let go by others' noise.
        let quiet = self.kept.iter().min_by_key(|(_, track)| (track.open.is_some(), track.last()));
        if let Some(key) = quiet.map(|(key, _)| key.clone()) {
            self.kept.remove(&key);
        }
    }
}

/// How many changes of one principal are remembered within the window.
const MAX_CHANGES: usize = 256;

// === impl Track ===

impl Track {
    fn forget(&mut self, window: Duration, now: Timestamp) {
        let recent = |moment: &Timestamp| now.duration_since(*moment).unsigned_abs() < window;
        self.changes.retain(|(moment, _)| recent(moment));
        self.failures.retain(|(moment, _)| recent(moment));
    }

    fn last(&self) -> Option<Timestamp> {
        let change = self.changes.back().map(|(moment, _)| *moment);
        let failure = self.failures.back().map(|(moment, _)| *moment);
        change.max(failure)
    }
}

fn said(cause: Cause, count: u32, window: Duration) -> String {
    let window = window.as_secs();
    match cause {
        Cause::Identical => format!("it asked for the same change {count} times in {window} s"),
        Cause::Failing => format!("{count} of its calls failed at once in {window} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn call(what: &str, access: Access, failed: bool) -> Call<'_> {
        Call { principal: "local:1000", what, access, failed, took: Duration::from_millis(5) }
    }

    #[test]
    fn the_same_change_again_and_again_stops_changes_of_that_principal() {
        let mut breaker = Breaker::new(Limits::default());
        for second in 0..5 {
            assert_eq!(
                breaker.record(&call("start 104", Access::Operate, false), at(second)),
                None
            );
            assert_eq!(breaker.record(&call("list", Access::Read, false), at(second)), None);
        }
        let trip = breaker.record(&call("start 104", Access::Operate, false), at(5)).unwrap();
        assert_eq!(
            trip.to_string(),
            "local:1000 is stopped until 2027-01-15T08:05:05Z: it asked for the same change 6 times in 60 s"
        );
        assert!(breaker.permits("local:1000", Access::Operate, at(6)).is_err());
        assert!(breaker.permits("local:1000", Access::Read, at(6)).is_ok());
        assert!(breaker.permits("local:1001", Access::Operate, at(6)).is_ok());
        // What is refused meanwhile neither prolongs it nor is told again.
        assert_eq!(breaker.record(&call("start 104", Access::Operate, true), at(299)), None);
        assert!(breaker.permits("local:1000", Access::Operate, at(304)).is_err());
        assert!(breaker.permits("local:1000", Access::Operate, at(305)).is_ok());
        assert_eq!(breaker.record(&call("start 104", Access::Operate, false), at(305)), None);
    }

    #[test]
    fn fast_failures_stop_what_failed_and_slow_ones_do_not() {
        let mut breaker = Breaker::new(Limits { failing: 3, ..Limits::default() });
        let slow = Call { took: Duration::from_secs(9), ..call("a", Access::Operate, true) };
        for second in 0..5 {
            let slow = Call { what: &second.to_string(), ..slow };
            assert_eq!(breaker.record(&slow, at(second)), None);
        }
        for (second, what) in (0..).zip(["b", "c"]) {
            assert_eq!(breaker.record(&call(what, Access::Read, true), at(second)), None);
        }
        let trip = breaker.record(&call("d", Access::Operate, true), at(4)).unwrap();
        assert_eq!((trip.cause, trip.from), (Cause::Failing, Access::Read));
        assert!(breaker.permits("local:1000", Access::Read, at(5)).is_err());
        breaker.reset("local:1000");
        assert!(breaker.permits("local:1000", Access::Destroy, at(5)).is_ok());
    }

    #[test]
    fn old_calls_do_not_count() {
        let mut breaker = Breaker::new(Limits::default());
        for minute in 0..50 {
            let call = call("start 104", Access::Operate, true);
            assert_eq!(breaker.record(&call, at(minute * 15)), None, "{minute}");
        }
    }

    #[test]
    fn nobody_escapes_by_the_noise_of_others() {
        let mut breaker = Breaker::new(Limits { identical: 1, ..Limits::default() });
        assert!(breaker.record(&call("x", Access::Operate, false), at(0)).is_some());
        let quiet = Limits::default();
        breaker.limits = quiet;
        for other in 0..5000 {
            let principal = format!("token:{other}");
            let call = Call { principal: &principal, ..call("x", Access::Operate, false) };
            breaker.record(&call, at(1));
        }
        assert!(breaker.permits("local:1000", Access::Operate, at(2)).is_err());
        assert!(breaker.kept.len() <= MAX_PRINCIPALS);
    }
}
