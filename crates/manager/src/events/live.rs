//! Keeps the live state of the estate: what looks see is put in as it comes, and what events tell is read from
//! the log behind them.
//!
//! It is gone with the process and there again after the first looks. How jobs ended last comes from the log.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use event_core::live::LiveState;
use event_core::{Event, Seq};
use jiff::{SignedDuration, Timestamp};
use store::EventFilter;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use super::Change;
use super::recent::Tail;

/// How far back the log is read at the start, and at most how many events.
const PAST: (SignedDuration, u32) = (SignedDuration::from_hours(7 * 24), 5000);
/// The most events of one read.
const PAGE: u32 = 500;

/// The live state, as it is kept. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Live(Arc<Mutex<LiveState>>);

// === impl Live ===

impl Live {
    pub(crate) fn lock(&self) -> MutexGuard<'_, LiveState> {
        // Facts are put in one by one: a panic leaves at worst one too few, which comes again.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Follows the log until it is stopped.
///
/// # Errors
/// The store does not do what it should.
pub(crate) async fn follow(
    live: Live,
    log: Tail,
    mut changes: broadcast::Receiver<Change>,
    now: Timestamp,
    stop: CancellationToken,
) -> Result<(), String> {
    let said = |error: store::Error| stdx::Chain(&error).to_string();
    let store = log.store();
    let mut seq = store.head().await.map_err(|error| stdx::Chain(&error).to_string())?;
    let since = now.checked_sub(PAST.0).ok();
    let filter = EventFilter { since, ..EventFilter::default() };
    let (mut cursor, mut count) = (None, 0);
    loop {
        let page = store.find_events(&filter, cursor, PAGE).await.map_err(said)?;
        hear(&live, page.events.iter().map(|it| &it.event));
        count += PAGE;
        cursor = page.next;
        if cursor.is_none() || count >= PAST.1 || stop.is_cancelled() {
            break;
        }
    }
    loop {
        seq = read(&live, &log, seq).await?;
        match stop.run_until_cancelled(changes.recv()).await {
            // Whoever missed a change reads what came all the same.
            Some(Ok(_) | Err(broadcast::error::RecvError::Lagged(_))) => {}
            Some(Err(broadcast::error::RecvError::Closed)) | None => return Ok(()),
        }
    }
}

/// Reads what is new in the log, and says how far.
async fn read(live: &Live, log: &Tail, mut seq: Seq) -> Result<Seq, String> {
    loop {
        let page = match log.after(seq, PAGE).await {
            Ok(page) => page,
            // It is said by who writes into it; with the next change it is tried again.
            Err(error) if error.kind() == event_core::LogErrorKind::Unavailable => return Ok(seq),
            Err(error) => return Err(stdx::Chain(&error).to_string()),
        };
        let Some((last, _)) = page.last() else { return Ok(seq) };
        seq = *last;
        hear(live, page.iter().map(|(_, event)| event.as_ref()));
    }
}

fn hear<'a>(live: &Live, page: impl Iterator<Item = &'a Event>) {
    let mut state = live.lock();
    for event in page {
        state.heard(event);
    }
}
