//! Whether the store takes events in, as everybody who writes into it finds.
//!
//! It counts as away when it has not taken anything in for [`PATIENCE`]: a moment is no news. It
//! counts as back when it took in all that waited, and did so for [`STEADY`]: a store that comes and
//! goes is away once.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use event_core::desk::SpoolView;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;

/// How long it may take nothing in without being away.
pub(crate) const PATIENCE: SignedDuration = SignedDuration::from_secs(4);
/// How long it has to take everything in to be back.
pub(crate) const STEADY: Duration = Duration::from_secs(30);

/// What is known of it. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Away {
    state: Arc<Mutex<State>>,
    changed: Arc<Notify>,
}

#[derive(Debug, Default)]
struct State {
    /// Since when nothing was taken in, and why not.
    failing: Option<(Timestamp, String)>,
    away: Option<Absence>,
    put: u64,
    refused: u64,
}

/// One stretch of time in which it is away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Absence {
    pub(crate) since: Timestamp,
    pub(crate) error: String,
    /// Whether it has taken in all that waited, and only has to stay so.
    pub(crate) is_ending: bool,
    /// How many reports were put aside in it, and how many refused.
    pub(crate) put: u64,
    pub(crate) refused: u64,
}

// === impl Away ===

impl Away {
    /// Something was not taken in.
    pub(crate) fn failed(&self, error: &str, now: Timestamp) {
        let mut state = self.lock();
        let since = state.failing.get_or_insert_with(|| (now, error.to_owned())).0;
        if now.duration_since(since) >= PATIENCE {
            self.begin(&mut state, since, error);
        }
    }

    /// Something was taken in.
    pub(crate) fn worked(&self) {
        self.lock().failing = None;
    }

    /// It is away since then.
    pub(crate) fn begins(&self, since: Timestamp, error: &str) {
        self.begin(&mut self.lock(), since, error);
    }

    /// It was away since then when an earlier run ended, which left so many reports aside.
    pub(crate) fn recalls(&self, since: Timestamp, error: &str, left: u64) {
        let mut state = self.lock();
        self.begin(&mut state, since, error);
        if let Some(absence) = &mut state.away {
            absence.put += left;
        }
    }

    fn begin(&self, state: &mut State, since: Timestamp, error: &str) {
        match &mut state.away {
            Some(absence) if !absence.is_ending => return,
            // It is gone again before it was quite back.
            Some(absence) => (absence.is_ending, absence.error) = (false, error.to_owned()),
            none => {
                tracing::error!(%since, error, "the store takes no events in; what can wait waits, and the rest is put aside or refused");
                let error = error.to_owned();
                *none = Some(Absence { since, error, is_ending: false, put: 0, refused: 0 });
            }
        }
        self.changed.notify_one();
    }

    /// So many more reports were put aside, and so many refused.
    pub(crate) fn count(&self, put: usize, refused: usize) {
        let mut state = self.lock();
        let (put, refused) = (put as u64, refused as u64);
        state.put += put;
        state.refused += refused;
        if let Some(absence) = &mut state.away {
            absence.put += put;
            absence.refused += refused;
        }
        self.changed.notify_one();
    }

    /// It has taken in all that waited.
    pub(crate) fn is_ending(&self) {
        if let Some(absence) = &mut self.lock().away {
            absence.is_ending = true;
        }
    }

    /// It is back.
    pub(crate) fn ends(&self) {
        self.lock().away = None;
    }

    /// The stretch of time in which it is away, if it is.
    pub(crate) fn absence(&self) -> Option<Absence> {
        self.lock().away.clone()
    }

    /// Since when it is away and why, if it is and nothing says that it comes back.
    pub(crate) fn since(&self) -> Option<(Timestamp, String)> {
        let state = self.lock();
        let absence = state.away.as_ref().filter(|absence| !absence.is_ending)?;
        Some((absence.since, absence.error.clone()))
    }

    /// Comes back when something is another way.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// As people see it.
    pub(crate) fn view(&self) -> SpoolView {
        let (put, refused) = {
            let state = self.lock();
            (state.put, state.refused)
        };
        let (away_since, error) = self.since().unzip();
        SpoolView { away_since, error, put, refused, ..SpoolView::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Each change is one step: a panic leaves nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + seconds).unwrap()
    }

    #[test]
    fn a_moment_is_no_news() {
        let away = Away::default();
        away.failed("it is busy", at(0));
        away.failed("it is busy", at(3));
        away.worked();
        away.failed("it is busy", at(5));
        assert_eq!(away.absence(), None);
        away.failed("it is gone", at(9));
        assert_eq!(away.since(), Some((at(5), "it is gone".to_owned())));
    }

    #[test]
    fn what_comes_and_goes_is_away_once() {
        let away = Away::default();
        away.begins(at(0), "it is gone");
        away.count(3, 1);
        away.is_ending();
        assert_eq!(away.since(), None);
        away.begins(at(20), "it is gone again");
        away.count(2, 0);
        let absence = away.absence().unwrap();
        assert_eq!((absence.since, absence.put, absence.refused), (at(0), 5, 1));
        assert_eq!((absence.is_ending, absence.error.as_str()), (false, "it is gone again"));
        away.ends();
        away.begins(at(100), "it is gone");
        assert_eq!(away.absence().unwrap().put, 0);
        assert_eq!((away.view().put, away.view().refused), (5, 1), "since the start");
    }
}
