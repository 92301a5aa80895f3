//! A program that does nothing lets go of the code that only its start or its last rush needed
//! (ADR 0011).

use std::time::Duration;

use tokio::time::sleep;
use tracing::debug;

/// How often is looked; a program that hardly computed for so long does nothing.
const LOOK: Duration = Duration::from_secs(10);

/// What it may compute meanwhile: its clocks, a look at the estate.
const HARDLY: Duration = Duration::from_millis(200);

/// So much more than what it needs to do nothing is worth it.
const WORTH: u64 = 4 << 20;

/// When to let go.
#[derive(Debug, Default)]
struct Idle {
    /// For how long it had computed at the last look.
    computed: Duration,
    /// What was needed after the last time, in bytes; all is too much before the first.
    needed: u64,
    /// Whether the last look let go: the next one sees what is needed all the same.
    has_let_go: bool,
}

/// Looks for as long as it is polled.
pub async fn let_go_when_idle() {
    let mut idle = Idle::default();
    loop {
        sleep(LOOK).await;
        if let Err(error) = idle.look() {
            // A kernel without it, or one that a sandbox keeps from being asked: then all stays as it is.
            debug!(%error, "cannot let go of the program's pages");
            return;
        }
    }
}

// === impl Idle ===

impl Idle {
    fn look(&mut self) -> std::io::Result<()> {
        let (computed, bytes) = (footprint::processor_time()?, footprint::program_bytes()?);
        if self.is_worth_it(computed, bytes) { footprint::let_go() } else { Ok(()) }
    }

    /// Whether to let go, of a program that has computed for so long since it began, and has this much of
    /// itself in memory.
    fn is_worth_it(&mut self, computed: Duration, bytes: u64) -> bool {
        if std::mem::take(&mut self.has_let_go) {
            self.needed = bytes;
        }
        let since = computed.saturating_sub(std::mem::replace(&mut self.computed, computed));
        self.has_let_go = since <= HARDLY && bytes >= self.needed + WORTH;
        self.has_let_go
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    /// A program that computed for so much since the last look, of each of these.
    fn told(looks: &[(u64, u64)]) -> Vec<bool> {
        let (mut idle, mut computed) = (Idle::default(), Duration::ZERO);
        let mut look = |&(ms, mib)| {
            computed += Duration::from_millis(ms);
            idle.is_worth_it(computed, mib * MIB)
        };
        looks.iter().map(&mut look).collect()
    }

    #[test]
    fn a_start_is_let_go_of_once_and_not_while_it_computes() {
        // What it needs to do nothing comes back, and stays.
        let looks = [(3000, 30), (20, 30), (20, 9), (20, 9), (20, 12)];
        assert_eq!(told(&looks), [false, true, false, false, false]);
    }

    #[test]
    fn so_is_what_a_rush_needed() {
        let looks = [(20, 30), (20, 9), (3000, 28), (20, 28)];
        assert_eq!(told(&looks), [true, false, false, true]);
    }

    #[test]
    fn what_is_needed_is_what_is_there_at_the_next_look() {
        let looks = [(20, 30), (3000, 20), (20, 22), (20, 24)];
        assert_eq!(told(&looks), [true, false, false, true]);
    }
}
