//! A feed: the messages that wait for one reader, and the stream of events that they become.
//!
//! Writers never wait. What a reader has not taken is kept up to a bound, beyond which the oldest notifications are
//! dropped; answers and questions are not. A feed that can be resumed keeps what was taken as well, within the same bound.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{Stream, unfold};
use tokio::sync::Notify;

/// So many messages are kept, and so many bytes of them.
const MAX_EVENTS: usize = 256;
const MAX_BYTES: usize = 1024 * 1024;

/// After so long a client whose stream broke may come back, in milliseconds.
const RETRY_MILLIS: u32 = 1000;

/// One way out to a client.
pub(crate) struct Feed {
    /// What its events are called, so that they can be resumed; `None` if they cannot.
    name: Option<u64>,
    state: Mutex<State>,
    changed: Notify,
}

struct State {
    events: VecDeque<Event>,
    bytes: usize,
    /// The number of the last event that was written; they count from 1.
    written: u64,
    /// The number of the last event that was taken by a reader.
    taken: u64,
    /// Which reader is served; an earlier one that is still there hears nothing more.
    reader: u64,
    /// Readers up to this one are to go, and come back if they like.
    let_go: u64,
    ended: bool,
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    number: u64,
    pub(crate) kind: Kind,
    /// The message as JSON.
    pub(crate) data: Bytes,
}

/// What a message is to the request that the feed belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A notification.
    Note,
    /// A question of the server.
    Question,
    /// The answer; if it is an error, its code. Nothing follows.
    Answer(Option<i32>),
}

/// How an answer begins.
pub(crate) enum Opening {
    /// It is complete.
    Whole(Event),
    /// It will come as events.
    Events,
    /// There will be none.
    Nothing,
}

// === impl Feed ===

impl Feed {
    pub(crate) fn new(name: Option<u64>) -> Self {
        let state = State {
            events: VecDeque::new(),
            bytes: 0,
            written: 0,
            taken: 0,
            reader: 0,
            let_go: 0,
            ended: false,
        };
        Self { name, state: Mutex::new(state), changed: Notify::new() }
    }

    /// Appends a message; after the end it is dropped. An answer is the end.
    pub(crate) fn push(&self, kind: Kind, data: impl Into<Bytes>) {
        let mut state = self.lock();
        if state.ended {
            return;
        }
        let data = data.into();
        state.written += 1;
        state.bytes += data.len();
        let number = state.written;
        state.events.push_back(Event { number, kind, data });
        state.ended = matches!(kind, Kind::Answer(_));
        state.shrink();
        drop(state);
        self.changed.notify_waiters();
    }

    /// Appends a notification, unless the same one waits to be read already.
    pub(crate) fn push_once(&self, data: Bytes) {
        let state = self.lock();
        let waits = |event: &Event| event.number > state.taken && event.data == data;
        if !state.events.iter().any(waits) {
            drop(state);
            self.push(Kind::Note, data);
        }
    }

    /// Says that nothing follows.
    pub(crate) fn end(&self) {
        self.lock().ended = true;
        self.changed.notify_waiters();
    }

    /// Ends the stream of whoever reads now, or reads first; what follows is kept for when they come back.
    pub(crate) fn let_go(&self) {
        let mut state = self.lock();
        state.let_go = state.reader.max(1);
        drop(state);
        self.changed.notify_waiters();
    }

    /// Whether everything was written and taken, so that nobody needs the feed any more.
    pub(crate) fn is_spent(&self) -> bool {
        let state = self.lock();
        state.ended && state.taken == state.written
    }

    /// Waits up to `patience` for a beginning: if the answer is all there is, it needs no stream.
    pub(crate) async fn opening(&self, patience: Duration) -> Opening {
        let begun = async {
            loop {
                let changed = self.changed.notified();
                {
                    let mut state = self.lock();
                    if let [Event { kind: Kind::Answer(_), .. }] = state.events.make_contiguous()
                        && let Some(event) = state.events.pop_front()
                    {
                        state.taken = event.number;
                        state.bytes -= event.data.len();
                        return Opening::Whole(event);
                    }
                    if !state.events.is_empty() || state.let_go > 0 {
                        return Opening::Events;
                    }
                    if state.ended {
                        return Opening::Nothing;
                    }
                }
                changed.await;
            }
        };
        tokio::time::timeout(patience, begun).await.unwrap_or(Opening::Events)
    }

    /// Begins to read; whoever read before hears nothing more. `after` is the last event that the client has seen, if it
    /// says so; without it, reading goes on where it stopped.
    fn attach(&self, after: Option<u64>) -> u64 {
        let mut state = self.lock();
        state.reader += 1;
        if let Some(after) = after {
            state.taken = after.min(state.written);
        }
        state.reader
    }

    /// The next events for `reader`, as text; empty for one that was replaced, `None` at the end.
    fn take(&self, reader: u64) -> Option<String> {
        let mut state = self.lock();
        if reader <= state.let_go {
            return None;
        }
        if state.reader != reader {
            return (!state.ended).then(String::new);
        }
        let taken = state.taken;
        let mut text = String::new();
        for event in state.events.iter().filter(|event| event.number > taken) {
            self.write(&mut text, event.number, &event.data);
        }
        state.taken = state.written;
        if self.name.is_none() {
            state.events.clear();
            state.bytes = 0;
        }
        (!text.is_empty() || !state.ended).then_some(text)
    }

    /// Waits for the next events, or until a comment is due; `None` at the end.
    async fn next(
        &self,
        reader: u64,
        priming: Option<String>,
        keep_alive: Duration,
    ) -> Option<Bytes> {
        let idle = tokio::time::sleep(keep_alive);
        tokio::pin!(idle);
        let mut begun = priming.unwrap_or_default();
        loop {
            let changed = self.changed.notified();
            let events = self.take(reader);
            let is_over = events.is_none();
            begun.push_str(&events.unwrap_or_default());
            if !begun.is_empty() {
                return Some(Bytes::from(begun));
            }
            if is_over {
                return None;
            }
            tokio::select! {
                () = changed => {}
                () = &mut idle => return Some(Bytes::from_static(b": keep-alive\n\n")),
            }
        }
    }

    fn write(&self, text: &mut String, number: u64, data: &[u8]) {
        if let Some(name) = self.name {
            let _ = writeln!(text, "id: {name}-{number}");
        }
        text.push_str("data: ");
        text.push_str(&String::from_utf8_lossy(data));
        text.push_str("\n\n");
    }

    /// The text that lets a client resume before the first event has come.
    fn priming(&self) -> Option<String> {
        let name = self.name?;
        let taken = self.lock().taken;
        Some(format!("id: {name}-{taken}\nretry: {RETRY_MILLIS}\ndata: \n\n"))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing here panics while the lock is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How a feed is read.
#[derive(Clone, Copy)]
pub(crate) struct Reading {
    /// The last event that the client has seen, if it says so.
    pub(crate) after: Option<u64>,
    /// Whether to begin with an event of no content, from which a client can resume.
    pub(crate) primed: bool,
    /// After so long without an event, a comment.
    pub(crate) keep_alive: Duration,
}

/// The feed as a stream of events, to its end. The guard is dropped with it.
pub(crate) fn events<G: Send + 'static>(
    feed: Arc<Feed>,
    reading: Reading,
    guard: G,
) -> impl Stream<Item = Bytes> + Send + 'static {
    let reader = feed.attach(reading.after);
    let priming = if reading.primed { feed.priming() } else { None };
    let keep_alive = reading.keep_alive;
    unfold((feed, priming, guard), move |(feed, priming, guard)| async move {
        let bytes = feed.next(reader, priming, keep_alive).await?;
        Some((bytes, (feed, None, guard)))
    })
}

// === impl State ===

impl State {
    /// Drops the oldest notifications, and what was taken, beyond the bound.
    fn shrink(&mut self) {
        while self.events.len() > MAX_EVENTS || self.bytes > MAX_BYTES {
            let taken = self.taken;
            let expendable = |event: &Event| event.kind == Kind::Note || event.number <= taken;
            let Some(index) = self.events.iter().position(expendable) else { return };
            let Some(event) = self.events.remove(index) else { return };
            self.bytes -= event.data.len();
        }
    }
}
