//! A program that does nothing lets go of the code that only its start or its last rush needed
//! (ADR 0011).

use std::time::Duration;

use tokio::time::sleep;
use tracing::debug;

/// How often is looked; a program that hardly computed for so long does nothing.
const LOOK: Duration = Duration::from_secs(10);

/// What it may compute meanwhile: its clocks, a look at the estate.
const HARDLY: Duration = Duration::from_millis(200);

/// So much is worth it, and so much more than what was needed to do nothing is a rush.
const WORTH: u64 = 4 << 20;

/// For so many looks after letting go what is needed is read page by page where the kernel heeds that,
/// so that what is needed again and again is there and little around it. Then the disk is read
/// ahead again: who comes now is in a hurry.
const SPARING: u32 = 3;

/// The longest pause, in looks: an hour.
const LONGEST: u32 = 360;

/// When to let go: at the first quiet look, and again after pauses that double, since what was needed
/// once after a start is found out by letting go only. A rush begins this anew.
#[derive(Debug, Default)]
struct Idle {
    /// For how long it had computed at the last look.
    computed: Duration,
    /// What was needed after the last time, in bytes; all is too much before the first.
    needed: u64,
    /// Whether the last look let go: this one sees what is needed all the same.
    has_let_go: bool,
    /// Whether what is needed is read page by page.
    is_sparing: bool,
    /// Looks since the last time, and how many it takes to the next.
    looks: u32,
    pause: u32,
}

/// What a look comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Nothing,
    LetGo,
    ReadAhead,
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
        match self.next(footprint::processor_time()?, footprint::program_bytes()?) {
            Next::Nothing => Ok(()),
            Next::LetGo => footprint::let_go(),
            Next::ReadAhead => footprint::read_ahead(),
        }
    }

    /// What is to be done, of a program that has computed for so long since it began, and has this much of
    /// itself in memory.
    fn next(&mut self, computed: Duration, bytes: u64) -> Next {
        if std::mem::take(&mut self.has_let_go) {
            self.needed = bytes;
        }
        let since = computed.saturating_sub(std::mem::replace(&mut self.computed, computed));
        let is_quiet = since <= HARDLY;
        self.looks = self.looks.saturating_add(1);
        if bytes >= self.needed + WORTH {
            self.pause = 1;
        }
        if is_quiet && bytes >= WORTH && self.looks >= self.pause {
            self.looks = 0;
            self.pause = (self.pause * 2).min(LONGEST);
            self.has_let_go = true;
            self.is_sparing = true;
            return Next::LetGo;
        }
        if self.is_sparing && (!is_quiet || self.looks >= SPARING) {
            self.is_sparing = false;
            return Next::ReadAhead;
        }
        Next::Nothing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    /// A program that computed for so much since the last look, of each of these.
    fn told(looks: &[(u64, u64)]) -> Vec<Next> {
        let (mut idle, mut computed) = (Idle::default(), Duration::ZERO);
        let mut look = |&(ms, mib)| {
            computed += Duration::from_millis(ms);
            idle.next(computed, mib * MIB)
        };
        looks.iter().map(&mut look).collect()
    }

    /// At which looks that was to be done.
    fn at(told: &[Next], next: Next) -> Vec<usize> {
        (0..told.len()).filter(|&look| told[look] == next).collect()
    }

    #[test]
    fn a_start_is_let_go_of_when_it_has_ended_and_what_came_back_after_pauses_that_double() {
        let mut looks = vec![(3000, 30), (20, 30)];
        looks.extend([(20, 9); 15]);
        let told = told(&looks);
        assert_eq!(at(&told, Next::LetGo), [1, 3, 7, 15]);
        // Not between the first two, which come sooner.
        assert_eq!(at(&told, Next::ReadAhead), [6, 10]);
    }

    #[test]
    fn a_rush_begins_it_anew_when_it_has_ended() {
        let looks = [(20, 30), (20, 9), (20, 9), (20, 9), (3000, 28), (20, 28), (20, 9), (20, 9)];
        let told = told(&looks);
        assert_eq!(at(&told, Next::LetGo), [0, 2, 5, 7]);
        // As soon as it is seen to compute.
        assert_eq!(at(&told, Next::ReadAhead), [4]);
    }

    #[test]
    fn who_has_little_or_computes_lets_go_of_nothing() {
        assert_eq!(told(&[(20, 3), (20, 3), (20, 3)]), [Next::Nothing; 3]);
        assert_eq!(told(&[(3000, 30), (3000, 30), (3000, 30)]), [Next::Nothing; 3]);
    }

    #[test]
    fn the_longest_pause_is_an_hour() {
        let told = at(&told(&vec![(20, 9); 2000]), Next::LetGo);
        let [.., before, last] = told[..] else { panic!("too few: {told:?}") };
        assert_eq!(last - before, 360);
    }
}
