//! Lets progress through: strictly growing, not too often, and never after the answer.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

/// So many notifications may go out in a burst, and so many more each [`REFILL`].
const BURST: u32 = 8;
const REFILL: Duration = Duration::from_millis(250);

/// The gate of one call. Its lock is held while a notification goes out, so closing it waits for that one.
#[derive(Debug, Default)]
pub(crate) struct ProgressGate {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    closed: bool,
    last: Option<f64>,
    sent: u32,
    window: Option<Instant>,
}

// === impl ProgressGate ===

impl ProgressGate {
    /// Runs `send` if progress to `current` may be told.
    pub(crate) async fn pass(
        &self,
        current: f64,
        total: Option<f64>,
        send: impl Future<Output = ()>,
    ) {
        let mut state = self.state.lock().await;
        let is_last = total.is_some_and(|total| current >= total);
        if state.admit(current, is_last, Instant::now()) {
            send.await;
        }
    }

    /// Runs `send` if the call is not over.
    pub(crate) async fn pass_unmetered(&self, send: impl Future<Output = ()>) {
        let state = self.state.lock().await;
        if !state.closed {
            send.await;
        }
    }

    /// Lets nothing through any more.
    pub(crate) async fn close(&self) {
        self.state.lock().await.closed = true;
    }
}

// === impl State ===

impl State {
    fn admit(&mut self, current: f64, is_last: bool, now: Instant) -> bool {
        if self.closed || !current.is_finite() || self.last.is_some_and(|last| current <= last) {
            return false;
        }
        let window = *self.window.get_or_insert(now);
        let refills = now.saturating_duration_since(window).as_millis() / REFILL.as_millis();
        if refills > 0 {
            self.sent = self.sent.saturating_sub(u32::try_from(refills).unwrap_or(u32::MAX));
            self.window = Some(now);
        }
        if self.sent >= BURST && !is_last {
            return false;
        }
        self.sent = self.sent.saturating_add(1);
        self.last = Some(current);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_grows_is_metered_and_ends() {
        let start = Instant::now();
        let mut state = State::default();
        assert!(state.admit(1.0, false, start));
        assert!(!state.admit(1.0, false, start), "equal is not growth");
        assert!(!state.admit(f64::NAN, false, start));
        let passed = (2..100).filter(|step| state.admit(f64::from(*step), false, start)).count();
        assert_eq!(passed, 7, "the burst is eight");
        assert!(state.admit(100.0, true, start), "the last one always passes");
        assert!(!state.admit(101.0, false, start));
        assert!(state.admit(102.0, false, start + 3 * REFILL));
        state.closed = true;
        assert!(!state.admit(200.0, true, start + 9 * REFILL));
    }
}
