//! How often somebody may come: one bucket of tokens for each.
//!
//! *Invariant:* pure: whoever asks brings the time. *Invariant:* what is remembered is bounded; a bucket that has filled
//! up again is the same as none.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// With fewer buckets than this, none is forgotten.
const SWEEP_AT: usize = 4096;
/// With more buckets than this in use at a time, a new name shares one with all other new names.
const MOST: usize = 65_536;
const OTHERS: &str = "";

/// Buckets by name, all of one size.
#[derive(Debug)]
pub(crate) struct RateLimit {
    per_second: f64,
    size: f64,
    buckets: Mutex<Buckets>,
}

#[derive(Debug)]
struct Buckets {
    by_name: HashMap<String, Bucket>,
    /// With so many, it is time to forget the full ones. Twice what was left the last time, so that it is not tried with
    /// every newcomer.
    sweep_at: usize,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

// === impl RateLimit ===

impl RateLimit {
    /// `burst` at once and `per_minute` in the long run; zero a minute is no limit at all.
    pub(crate) fn new(per_minute: u32, burst: u32) -> Self {
        Self {
            per_second: f64::from(per_minute) / 60.0,
            size: f64::from(burst.max(1)),
            buckets: Mutex::new(Buckets { by_name: HashMap::new(), sweep_at: SWEEP_AT }),
        }
    }

    /// Takes one token from the bucket of this name.
    ///
    /// # Errors
    ///
    /// For how long to wait, where there is none.
    pub(crate) fn take(&self, name: &str, now: Instant) -> Result<(), Duration> {
        if self.per_second <= 0.0 {
            return Ok(());
        }
        let mut buckets = self.lock();
        let is_new = !buckets.by_name.contains_key(name);
        if is_new && buckets.by_name.len() >= buckets.sweep_at {
            buckets.by_name.retain(|_, bucket| self.level(*bucket, now) < self.size);
            buckets.sweep_at = (buckets.by_name.len() * 2).clamp(SWEEP_AT, MOST);
        }
        let crowded = is_new && buckets.by_name.len() >= MOST;
        let name = if crowded { OTHERS } else { name };
        let full = Bucket { tokens: self.size, at: now };
        let bucket = buckets.by_name.entry(name.to_owned()).or_insert(full);
        let level = self.level(*bucket, now);
        *bucket = Bucket { tokens: level, at: now };
        if level < 1.0 {
            return Err(self.wait(level));
        }
        bucket.tokens -= 1.0;
        Ok(())
    }

    /// For how long the bucket of this name stays empty, if it is; takes nothing.
    pub(crate) fn empty_for(&self, name: &str, now: Instant) -> Option<Duration> {
        if self.per_second <= 0.0 {
            return None;
        }
        let level = self.level(*self.lock().by_name.get(name)?, now);
        (level < 1.0).then(|| self.wait(level))
    }

    fn level(&self, bucket: Bucket, now: Instant) -> f64 {
        let passed = now.saturating_duration_since(bucket.at).as_secs_f64();
        (bucket.tokens + passed * self.per_second).min(self.size)
    }

    fn wait(&self, level: f64) -> Duration {
        Duration::from_secs_f64((1.0 - level) / self.per_second)
    }

    fn lock(&self) -> MutexGuard<'_, Buckets> {
        // A panic while the lock was held cannot leave a bucket half written.
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_burst_then_the_rate() {
        let start = Instant::now();
        let limit = RateLimit::new(60, 3);
        for _ in 0..3 {
            assert_eq!(limit.take("a", start), Ok(()));
        }
        assert_eq!(limit.take("a", start), Err(SECOND));
        assert_eq!(limit.take("b", start), Ok(()), "everybody has a bucket of their own");
        assert_eq!(limit.empty_for("a", start + SECOND / 2), Some(SECOND / 2));
        assert_eq!(limit.empty_for("a", start + SECOND), None);
        assert_eq!(limit.empty_for("unknown", start), None);
        assert_eq!(limit.take("a", start + SECOND), Ok(()));
        assert!(limit.take("a", start + SECOND).is_err());
        // A long rest fills no bucket beyond its size.
        let later = start + SECOND * 3600;
        assert_eq!((0..10).filter(|_| limit.take("a", later).is_ok()).count(), 3);
    }

    #[test]
    fn zero_is_no_limit() {
        let limit = RateLimit::new(0, 0);
        let now = Instant::now();
        assert!((0..10_000).all(|_| limit.take("a", now).is_ok()));
        assert_eq!(limit.lock().by_name.len(), 0);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let limit = RateLimit::new(60, 2);
        let start = Instant::now();
        for caller in 0..SWEEP_AT {
            limit.take(&caller.to_string(), start).unwrap();
        }
        limit.take("one more", start + SECOND * 10).unwrap();
        assert_eq!(limit.lock().by_name.len(), 1, "all others have filled up again");
        for caller in 0..MOST + 10 {
            let _ = limit.take(&format!("x{caller}"), start);
        }
        assert!(limit.lock().by_name.len() <= MOST + 1);
        assert!(limit.take("newcomer", start).is_err(), "newcomers share a bucket");
    }
}
