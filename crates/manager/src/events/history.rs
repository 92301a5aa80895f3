//! The rules' memory after a start: the log is read again, with what they were told beside it.
//!
//! The rules decide the same when they are given the same at the same times, so nothing of what they
//! remember is kept but what they were given. Up to the mark what they decide was kept before and is
//! passed over; behind it they go on.

use std::collections::VecDeque;
use std::sync::Arc;

use event_core::{Logged, Seq, Stage as _};
use jiff::{SignedDuration, Timestamp};
use rules::{Input, Rules, State};
use store::{Entry, Mark, Store};

use super::EventsError;
use super::draft::READER;
use super::hear::is_existing;
use super::told::Told;

/// How far back the rules remember anything.
const MEMORY: SignedDuration = SignedDuration::from_hours(14 * 24);

/// How many are read at a time.
const PAGE: u32 = 512;

/// What the rules remembered when they last kept something.
pub(crate) struct Remembered {
    pub(crate) state: State,
    pub(crate) seq: Seq,
    pub(crate) time: Timestamp,
}

/// Reads the log again up to the mark.
pub(crate) async fn read(
    store: &dyn Store,
    rules: &Rules,
    now: Timestamp,
) -> Result<Remembered, EventsError> {
    let mut state = State::default();
    let Some(Mark { seq: mark, time, .. }) = store.mark(READER).await? else {
        return Ok(Remembered { state, seq: Seq(0), time: now });
    };
    let since = time.checked_sub(MEMORY).unwrap_or(Timestamp::MIN);
    let mut told = Journal { since, ..Journal::default() };
    let mut seq = first_since(store, since, mark).await?;
    while seq < mark {
        let page = store.after(seq, PAGE).await?;
        let Some(last) = page.last().map(|it| it.seq) else { break };
        for Logged { seq, event } in page.into_iter().filter(|it| it.seq <= mark) {
            told.tell_before(store, rules, &mut state, seq).await?;
            let at = event.received;
            rules.step(&mut state, at, Some(input(Arc::new(event))));
        }
        seq = last;
    }
    told.tell_before(store, rules, &mut state, Seq(u64::MAX)).await?;
    rules.step(&mut state, time, None);
    Ok(Remembered { state, seq: mark, time })
}

/// As the rules take an event of the log.
pub(crate) fn input(event: Arc<event_core::Event>) -> Input {
    if is_existing(&event) { Input::Existing(event) } else { Input::Event(event) }
}

/// The last place before the events that were heard since then: the log is in the order of hearing.
async fn first_since(store: &dyn Store, since: Timestamp, mark: Seq) -> Result<Seq, EventsError> {
    let (mut low, mut high) = (0, mark.0);
    while low < high {
        let middle = low + (high - low) / 2;
        let page = store.after(Seq(middle), 1).await?;
        match page.first() {
            Some(it) if it.event.received < since => low = it.seq.0.max(middle + 1),
            _ => high = middle,
        }
    }
    Ok(Seq(low))
}

/// The journal, read on as it is needed.
#[derive(Default)]
struct Journal {
    since: Timestamp,
    page: VecDeque<Entry>,
    last: u64,
    ended: bool,
}

impl Journal {
    /// Tells the rules what they were told before they read the event at this place.
    async fn tell_before(
        &mut self,
        store: &dyn Store,
        rules: &Rules,
        state: &mut State,
        seq: Seq,
    ) -> Result<(), EventsError> {
        loop {
            if self.page.is_empty() && !self.ended {
                self.page = store.journal(self.since, self.last, PAGE).await?.into();
                self.ended = self.page.len() < PAGE as usize;
                self.last = self.page.back().map_or(self.last, |entry| entry.number);
            }
            let is_before = |entry: &mut Entry| entry.entry.after < seq;
            let Some(Entry { number, entry }) = self.page.pop_front_if(is_before) else {
                return Ok(());
            };
            match Told::read(&entry.doc) {
                Some(told) => drop(rules.step(state, entry.time, Some(told.input()))),
                None => tracing::warn!(
                    number,
                    "passed over what another version wrote into the journal"
                ),
            }
        }
    }
}
