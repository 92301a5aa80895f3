//! What one look asks for and brings, whichever product it looks at.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

use estate::Upid;
use event_core::live::Part;
use jiff::SignedDuration;
use rules::{Estate, Measured};
use stdx::Chain;
use tokio::time::Instant;
use tracing::{debug, info};

use super::{config::Pace, list::TaskRow, view::Look};
use crate::recognize::syslog::Entry;

/// The most tasks of one list.
pub(super) const MAX_ROWS: u64 = 2000;
/// The most lines that are read of one log.
pub(super) const MAX_LINES: u64 = 20_000;
/// How many entries of the cluster's log are asked for, and how many where those do not reach far enough.
pub(super) const LOG_ENTRIES: (u32, u32) = (100, 2000);
/// How far back the first look goes.
pub(super) const PAST: SignedDuration = SignedDuration::from_hours(24);

/// What a look has seen.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) look: Look,
    pub(super) rows: Vec<TaskRow>,
    /// The latest entries of the cluster's log; none where it could not be seen.
    pub(super) log: Option<Vec<Entry>>,
    /// Tasks that ran and of which the server knows nothing any more.
    pub(super) gone: Vec<Upid>,
    /// How things are.
    pub(super) parts: Vec<Part>,
    pub(super) measured: Vec<Measured>,
    pub(super) estate: Option<Estate>,
}

/// What a look is to ask for besides tasks and states.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wants {
    /// Whole lists of tasks since the last look: it was long ago.
    pub(super) relist: bool,
    pub(super) often: bool,
    pub(super) pools: bool,
    pub(super) jobs: bool,
    pub(super) seldom: bool,
    pub(super) disks: bool,
}

/// When what is due again.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    pace: Pace,
    often: Option<Instant>,
    pools: Option<Instant>,
    jobs: Option<Instant>,
    seldom: Option<Instant>,
    disks: Option<Instant>,
}

/// What could not be seen, so that it is said once and not at every look: a login that may not see something stays so.
#[derive(Debug, Default)]
pub(super) struct Silence(Mutex<BTreeSet<&'static str>>);

// === impl Schedule ===

impl Schedule {
    /// Everything is due.
    pub(super) fn new(pace: Pace) -> Self {
        Self { pace, often: None, pools: None, jobs: None, seldom: None, disks: None }
    }

    /// What is due now; it is due again a pause later.
    pub(super) fn due(&mut self, now: Instant) -> Wants {
        let due = |slot: &mut Option<Instant>, pause| {
            let is_due = slot.is_none_or(|at| at <= now);
            if is_due {
                *slot = Some(now + pause);
            }
            is_due
        };
        Wants {
            relist: false,
            often: due(&mut self.often, self.pace.often),
            pools: due(&mut self.pools, self.pace.pools),
            jobs: due(&mut self.jobs, self.pace.jobs),
            seldom: due(&mut self.seldom, self.pace.seldom),
            disks: due(&mut self.disks, self.pace.disks),
        }
    }
}

// === impl Silence ===

impl Silence {
    /// A part could not be seen: the rest is.
    pub(super) fn note(&self, what: &'static str, error: &api_core::Error) {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if said.insert(what) {
            info!(what, error = %Chain(error), "part of the estate is not seen");
        } else {
            debug!(what, error = %Chain(error), "part of the estate is not seen still");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn each_part_is_due_at_its_own_pace() {
        let mut schedule = Schedule::new(Pace::default());
        let mut count = |looks: u32| {
            let mut seen = [0; 3];
            for at in 0..looks {
                let now = Instant::now() + Duration::from_secs(15) * at;
                let wants = schedule.due(now);
                seen[0] += u32::from(wants.often);
                seen[1] += u32::from(wants.pools);
                seen[2] += u32::from(wants.disks);
            }
            seen
        };
        // A day and a quarter of a minute, every quarter of a minute.
        assert_eq!(count(4 * 60 * 24 + 1), [60 * 24 + 1, 12 * 24 + 1, 2]);
    }
}
