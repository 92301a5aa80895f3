//! How an output does: whether to use it now, and whether to say that it is down. Pure.

use std::time::Duration;

use event_core::Retry;
use jiff::Timestamp;
use stdx::Backoff;

use super::{Pace, signed};

/// Whether to use an output now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    /// Yes.
    Open,
    /// With one delivery, to see.
    Probe,
    /// Not before that.
    Shut(Timestamp),
}

/// How an output does.
#[derive(Debug)]
pub(super) struct Health {
    failures: u32,
    /// Refusals in a row: of one message they say nothing about the output, of several they do.
    refusals: u32,
    shut_until: Option<Timestamp>,
    pauses: Backoff,
    failing_since: Option<Timestamp>,
    is_told: bool,
    error: Option<String>,
    failures_to_shut: u32,
    down_after: Duration,
}

// === impl Health ===

impl Health {
    pub(super) fn new(pace: &Pace) -> Self {
        let first = pace.first_pause.saturating_mul(6).min(pace.longest_pause);
        Self {
            failures: 0,
            refusals: 0,
            shut_until: None,
            pauses: Backoff::new(first, pace.longest_pause),
            failing_since: None,
            is_told: false,
            error: None,
            failures_to_shut: pace.failures.max(1),
            down_after: pace.down_after,
        }
    }

    pub(super) fn gate(&self, now: Timestamp) -> Gate {
        match self.shut_until {
            Some(until) if until > now => Gate::Shut(until),
            _ if self.failures >= self.failures_to_shut => Gate::Probe,
            _ => Gate::Open,
        }
    }

    /// It told something. Gives since when it was down, if that was said.
    pub(super) fn works(&mut self) -> Option<Timestamp> {
        self.failures = 0;
        self.refusals = 0;
        self.shut_until = None;
        self.pauses.reset();
        self.error = None;
        let since = self.failing_since.take();
        since.filter(|_| std::mem::take(&mut self.is_told))
    }

    /// It failed.
    pub(super) fn fails(&mut self, retry: Retry, error: &str, now: Timestamp) {
        self.error = Some(error.to_owned());
        match retry {
            Retry::After(pause) => {
                // It is there, and says when it has time: that is no failure, but nothing is told either.
                self.failing_since.get_or_insert(now);
                let until = now + signed(pause);
                self.shut_until = Some(self.shut_until.map_or(until, |known| known.max(until)));
            }
            Retry::Backoff => {
                self.refusals = 0;
                self.count(now);
            }
            Retry::Never => {
                self.refusals += 1;
                if self.refusals >= self.failures_to_shut || self.failures > 0 {
                    self.failures = self.failures.max(self.refusals - 1);
                    self.count(now);
                }
            }
        }
    }

    fn count(&mut self, now: Timestamp) {
        self.failing_since.get_or_insert(now);
        self.failures = self.failures.saturating_add(1);
        if self.failures >= self.failures_to_shut {
            let until = now + signed(self.pauses.next_delay());
            self.shut_until = Some(self.shut_until.map_or(until, |known| known.max(until)));
        }
    }

    /// When it has been failing for so long that it is said, if it was not yet.
    pub(super) fn overdue_at(&self) -> Option<Timestamp> {
        let since = self.failing_since.filter(|_| !self.is_told)?;
        Some(since + signed(self.down_after))
    }

    /// Since when it is down, and why; once.
    pub(super) fn is_overdue(&mut self, now: Timestamp) -> Option<(Timestamp, String)> {
        self.overdue_at().filter(|at| *at <= now)?;
        self.is_told = true;
        Some((self.failing_since?, self.error.clone().unwrap_or_default()))
    }

    pub(super) fn failing_since(&self) -> Option<Timestamp> {
        self.failing_since
    }

    pub(super) fn shut_until(&self) -> Option<Timestamp> {
        self.shut_until
    }

    pub(super) fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    fn shut_for(health: &Health, now: Timestamp) -> i64 {
        match health.gate(now) {
            Gate::Shut(until) => until.duration_since(now).as_secs(),
            gate => panic!("{gate:?}"),
        }
    }

    #[test]
    fn five_failures_in_a_row_shut_it_and_a_probe_opens_it_or_shuts_it_for_longer() {
        let mut health = Health::new(&Pace::default());
        for n in 0..4 {
            health.fails(Retry::Backoff, "away", after(n));
            assert_eq!(health.gate(after(n)), Gate::Open);
        }
        health.fails(Retry::Backoff, "away", after(4));
        assert!((15..=30).contains(&shut_for(&health, after(4))));
        assert_eq!(health.gate(after(34)), Gate::Probe);
        let mut longest = 0;
        for n in 1..12 {
            let now = after(n * 1000);
            assert_eq!(health.gate(now), Gate::Probe);
            health.fails(Retry::Backoff, "away", now);
            longest = longest.max(shut_for(&health, now));
        }
        assert!((450..=900).contains(&longest), "{longest}");
        assert_eq!(health.works(), None, "nobody was told that it was down");
        assert_eq!(health.gate(after(20_000)), Gate::Open);
    }

    #[test]
    fn a_service_that_asks_for_a_pause_gets_it_and_does_not_count_as_broken() {
        let mut health = Health::new(&Pace::default());
        for n in 0..10 {
            health.fails(Retry::After(Duration::from_secs(40)), "busy", after(n * 40));
            assert_eq!(health.gate(after(n * 40 + 39)), Gate::Shut(after(n * 40 + 40)));
            assert_eq!(health.gate(after(n * 40 + 40)), Gate::Open);
        }
    }

    #[test]
    fn one_message_that_is_refused_is_its_own_fault_and_five_are_the_outputs() {
        let mut health = Health::new(&Pace::default());
        for n in 0..4 {
            health.fails(Retry::Never, "refused", after(n));
            assert_eq!((health.gate(after(n)), health.failing_since()), (Gate::Open, None));
        }
        health.fails(Retry::Never, "refused", after(4));
        assert!(shut_for(&health, after(4)) >= 15);
        assert_eq!(health.failing_since(), Some(after(4)));
    }

    #[test]
    fn that_it_is_down_is_said_once_and_that_it_is_back_as_well() {
        let mut health = Health::new(&Pace::default());
        health.fails(Retry::Backoff, "away", after(0));
        assert_eq!(health.overdue_at(), Some(after(900)));
        assert_eq!(health.is_overdue(after(899)), None);
        health.fails(Retry::Backoff, "still away", after(899));
        assert_eq!(health.is_overdue(after(900)), Some((after(0), "still away".to_owned())));
        assert_eq!((health.is_overdue(after(5000)), health.overdue_at()), (None, None));
        assert_eq!(health.works(), Some(after(0)));
        assert_eq!(health.works(), None);
    }
}
