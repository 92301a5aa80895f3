//! Events as the store holds them: found by what they are about, by their words, and forgotten.
//!
//! Keeping and following them is [`EventLog`](event_core::EventLog)'s; this is the rest. Words are
//! found through an index that is a reader of the log like any other ([`EventStore::index_events`]),
//! so that no event waits for it.
//!
//! For details, see: [`crate::pipeline`] for what follows from events.
//!
//! *Invariant:* a search's text is words and never the language of an engine: no text is an error,
//! and all engines find the same.

use std::fmt;
use std::str::FromStr;

use event_core::{EventId, Logged, Seq, Severity};
use jiff::Timestamp;

use crate::Error;

/// Which events; what is left out lets everything through, what is there has to hold all at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Happened then or later.
    pub since: Option<Timestamp>,
    /// Happened before then.
    pub until: Option<Timestamp>,
    /// One of these kinds (`backup.failed`) or families (`backup`); none for all.
    pub kinds: Vec<String>,
    /// As bad as that or worse.
    pub min_severity: Option<Severity>,
    /// Of the cluster, node or backup server with this settings key.
    pub cluster: Option<String>,
    /// On this node.
    pub node: Option<String>,
    /// About this guest.
    pub vmid: Option<u32>,
    /// About this job, by Proxmox's id.
    pub job: Option<String>,
    /// Heard by the input of this name.
    pub source: Option<String>,
    /// Kept behind this place in the log.
    pub after: Option<Seq>,
    /// Belongs to the incident of this id.
    pub incident: Option<String>,
    /// Holds a word that begins so, for each word of this. Words are runs of letters and digits, of
    /// any case; title, message and original are searched, as far as they are indexed.
    pub text: Option<String>,
}

/// Where a list of events goes on: behind the last one that was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventCursor {
    pub(crate) time_us: i64,
    pub(crate) seq: i64,
}

/// The text says not where a list of events goes on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the place in a list of events that was given: take what a list gave as `next`")]
pub struct InvalidCursor;

/// A part of a list of events.
#[derive(Clone, Debug, Default)]
pub struct EventPage {
    /// The newest first.
    pub events: Vec<Logged>,
    /// Where it goes on; `None` at its end.
    pub next: Option<EventCursor>,
}

/// How much was forgotten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// Events, with what says to which incident they belong.
    pub events: u64,
    /// Incidents that are over.
    pub incidents: u64,
    /// Messages that were delivered.
    pub deliveries: u64,
    /// Names that services gave our messages.
    pub receipts: u64,
    /// Lines of the journal, and silences that had ended.
    pub journal: u64,
}

/// Where events are found.
#[async_trait::async_trait]
pub trait EventStore: Send + Sync + 'static {
    /// The events that the filter lets through, by the time they happened, the newest first: at most
    /// `limit`, behind `cursor` if there is one.
    ///
    /// # Errors
    /// [`Unavailable`](crate::ErrorKind::Unavailable) or [`Corrupt`](crate::ErrorKind::Corrupt).
    async fn find_events(
        &self,
        filter: &EventFilter,
        cursor: Option<EventCursor>,
        limit: u32,
    ) -> Result<EventPage, Error>;

    /// The event of this name.
    ///
    /// # Errors
    /// As [`find_events`](Self::find_events).
    async fn event(&self, id: EventId) -> Result<Option<Logged>, Error>;

    /// Makes the words of further events findable, at most of `limit` events, and says of how many.
    /// It marks how far it is as the reader [`INDEXER`].
    ///
    /// # Errors
    /// As [`find_events`](Self::find_events); nothing is indexed then.
    async fn index_events(&self, limit: u32) -> Result<u64, Error>;

    /// Forgets what is older than that, at most `limit` of each sort in one transaction; to be
    /// called until nothing [is left](Forgotten::is_empty).
    ///
    /// Kept all the same: events that a reader with a mark has not read or that belong to an open
    /// incident, deliveries of an open incident (their receipts are how it is edited), and dead
    /// letters. The source's key of a forgotten event is forgotten with it.
    ///
    /// # Errors
    /// As [`find_events`](Self::find_events); nothing is forgotten then.
    async fn forget(&self, before: Timestamp, limit: u32) -> Result<Forgotten, Error>;
}

/// The reader of the log that makes words findable, by the name of its mark.
pub const INDEXER: &str = "full-text";

// === impl EventCursor ===

impl EventCursor {
    /// Behind this event.
    pub fn behind(logged: &Logged) -> Self {
        Self { time_us: logged.event.time.as_microsecond(), seq: crate::rows::to_i64(logged.seq.0) }
    }
}

impl fmt::Display for EventCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.time_us, self.seq)
    }
}

impl FromStr for EventCursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let read = || {
            let (time, seq) = text.split_once('.')?;
            Some(Self { time_us: time.parse().ok()?, seq: seq.parse().ok()? })
        };
        read().ok_or(InvalidCursor)
    }
}

// === impl EventPage ===

impl EventPage {
    /// Of one more than was asked for, if there were so many.
    pub(crate) fn of(mut events: Vec<Logged>, limit: u32) -> Self {
        let goes_on = events.len() > limit as usize;
        events.truncate(limit as usize);
        let next = events.last().filter(|_| goes_on).map(EventCursor::behind);
        Self { events, next }
    }
}

// === impl Forgotten ===

impl Forgotten {
    /// Whether nothing old is left that can be forgotten.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The most words of a search that count.
const MOST_WORDS: usize = 16;
/// The longest word, in characters; what is longer is found by its head.
const LONGEST_WORD: usize = 64;

/// The words of a text, as they are indexed and searched.
pub(crate) fn words(text: &str) -> impl Iterator<Item = String> {
    let word = |run: &str| -> String {
        let lower = run.chars().flat_map(char::to_lowercase).filter(|c| c.is_alphanumeric());
        lower.take(LONGEST_WORD).collect()
    };
    text.split(|c: char| !c.is_alphanumeric()).map(word).filter(|word| !word.is_empty())
}

/// The words that a search wants.
pub(crate) fn wanted(text: &str) -> Vec<String> {
    words(text).take(MOST_WORDS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn words_are_runs_of_letters_and_digits() {
        let found: Vec<String> = words("/dev/sdB: 12 Pending_sectors, ÄRGER\u{0}x").collect();
        assert_eq!(found, ["dev", "sdb", "12", "pending", "sectors", "ärger", "x"]);
        assert_eq!(wanted(&"a ".repeat(100)).len(), MOST_WORDS);
    }

    proptest! {
        #[test]
        fn places_in_lists_are_read_back(time_us: i64, seq: i64) {
            let cursor = EventCursor { time_us, seq };
            prop_assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }

        #[test]
        fn no_word_holds_what_an_engine_understands(text in ".{0,80}") {
            for word in words(&text) {
                prop_assert!(word.chars().all(char::is_alphanumeric) && !word.is_empty());
            }
        }
    }
}
