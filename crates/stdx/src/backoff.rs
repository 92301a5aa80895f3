//! Growing pauses with jitter, so that many who wait do not come back at once.

use std::time::Duration;

use rand::RngExt as _;

/// Pauses that double from `first` to `longest`, each shortened at random by up to half.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    attempt: u32,
}

// === impl Backoff ===

impl Backoff {
    /// Begins with about `first` and never exceeds `longest`.
    pub fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, attempt: 0 }
    }

    /// As if so many pauses had been handed out already: for whoever counts attempts elsewhere.
    pub fn resumed(first: Duration, longest: Duration, attempts: u32) -> Self {
        Self { first, longest, attempt: attempts }
    }

    /// The next pause.
    pub fn next_delay(&mut self) -> Duration {
        let delay = self.delay(rand::rng().random_range(0.0..1.0));
        self.attempt = self.attempt.saturating_add(1);
        delay
    }

    /// How many pauses were handed out since the start or the last reset.
    pub fn attempts(&self) -> u32 {
        self.attempt
    }

    /// Begins anew: it worked.
    pub fn reset(&mut self) {
        self.attempt = 0;
    }

    /// The pause for the current attempt with `chance` from 0 to 1 in place of the dice.
    fn delay(&self, chance: f64) -> Duration {
        let factor = 2_u32.saturating_pow(self.attempt.min(31));
        let full = self.first.saturating_mul(factor).min(self.longest);
        full.mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(10));
        let mut full = Vec::new();
        for _ in 0..6 {
            full.push(backoff.delay(1.0).as_secs());
            assert_eq!(backoff.delay(0.0) * 2, backoff.delay(1.0));
            let drawn = backoff.clone().next_delay();
            assert!(backoff.delay(0.0) <= drawn && drawn <= backoff.delay(1.0));
            backoff.next_delay();
        }
        assert_eq!(full, [1, 2, 4, 8, 10, 10]);
        backoff.reset();
        assert_eq!(backoff.delay(1.0), Duration::from_secs(1));
        let resumed = Backoff::resumed(Duration::from_secs(1), Duration::from_secs(10), 2);
        assert_eq!(resumed.delay(1.0), Duration::from_secs(4));
        backoff.attempt = u32::MAX;
        assert_eq!(backoff.delay(1.0), Duration::from_secs(10));
    }
}
