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
    /// What was needed after the last time, in bytes; all is too much before the first.
    needed: u64,
    /// Whether the last look let go: the next one sees what is needed all the same.
    has_let_go: bool,
}

/// Looks for as long as it is polled.
pub async fn let_go_when_idle() {
    let mut idle = Idle::default();
    let mut before = footprint::processor_time();
    loop {
        sleep(LOOK).await;
        let now = footprint::processor_time();
        let computed = now.saturating_sub(before);
        before = now;
        let looked = footprint::program_bytes().and_then(|bytes| {
            if idle.look(computed, bytes) { footprint::let_go() } else { Ok(()) }
        });
        if let Err(error) = looked {
            // A kernel without it, or one that is not asked through a sandbox: then all stays as it is.
            debug!(%error, "cannot let go of the program's pages");
            return;
        }
    }
}

// === impl Idle ===

impl Idle {
    /// Whether to let go, of a program that has this much of itself in memory and computed for so long
    /// since the last look.
    fn look(&mut self, computed: Duration, bytes: u64) -> bool {
        if std::mem::take(&mut self.has_let_go) {
            self.needed = bytes;
        }
        self.has_let_go = computed <= HARDLY && bytes >= self.needed + WORTH;
        self.has_let_go
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const NOTHING: Duration = Duration::from_millis(20);
    const MUCH: Duration = Duration::from_secs(3);

    #[test]
    fn a_start_is_let_go_of_once_and_not_while_it_computes() {
        let mut idle = Idle::default();
        assert!(!idle.look(MUCH, 30 * MIB));
        assert!(idle.look(NOTHING, 30 * MIB));
        // What it needs to do nothing came back, and stays.
        assert!(!idle.look(NOTHING, 9 * MIB));
        assert!(!idle.look(NOTHING, 9 * MIB));
        assert!(!idle.look(NOTHING, 12 * MIB));
    }

    #[test]
    fn so_is_what_a_rush_needed() {
        let mut idle = Idle::default();
        assert!(idle.look(NOTHING, 30 * MIB));
        assert!(!idle.look(NOTHING, 9 * MIB));
        assert!(!idle.look(MUCH, 28 * MIB));
        assert!(idle.look(NOTHING, 28 * MIB));
        assert!(!idle.look(MUCH, 20 * MIB), "what was needed is more now");
        assert!(!idle.look(NOTHING, 22 * MIB));
    }
}
