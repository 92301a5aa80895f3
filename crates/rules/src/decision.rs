//! What goes into the rules, and what comes out.

use std::{fmt, sync::Arc};

use event_core::{ComponentId, DeliveryKey, Event, EventId, Message};
use jiff::Timestamp;

use crate::{
    Incident, IncidentId, Measured, Place, Verdict, Word, config::MuteConfig, watch::Estate,
};

/// What happens to the rules.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Input {
    /// Something happened, and it is kept in the log.
    Event(Arc<Event>),
    /// Something that was so before the program's first start.
    Existing(Arc<Event>),
    /// All that was so has been told: one message sums it up.
    ExistingEnd,
    /// The program was started again: what came since the last step nobody has heard.
    Started,
    /// The estate as it is now: what is expected of it.
    Estate(Estate),
    /// Something was measured.
    Measured(Measured),
    /// Somebody has an incident.
    Acknowledge {
        /// Which.
        incident: IncidentId,
        /// Who.
        by: String,
    },
    /// Somebody says that an incident is over.
    Close {
        /// Which.
        incident: IncidentId,
        /// Who.
        by: String,
    },
    /// A silence begins, or is changed.
    Mute {
        /// Its name.
        name: String,
        /// What it says.
        mute: MuteConfig,
    },
    /// A silence ends before its time.
    Unmute {
        /// Its name.
        name: String,
    },
}

/// What follows.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Decision {
    /// An event belongs to an incident; with the lines that fit it.
    Taken {
        /// Which event.
        event: EventId,
        /// Where it stands among others.
        place: Place,
        /// Its incident.
        incident: IncidentId,
        /// Which lines fit, and what they did.
        verdict: Verdict,
    },
    /// An event is of no incident: nothing is wrong with it, and no other report can be of the same. It is counted in the
    /// daily digest.
    Noted {
        /// Which event.
        event: EventId,
        /// Where it stands among others.
        place: Place,
        /// Which lines fit, and what they did.
        verdict: Verdict,
    },
    /// A line of the rules dropped an event.
    Dropped {
        /// Which event.
        event: EventId,
        /// Where it would stand among others.
        place: Place,
        /// The line.
        by: String,
    },
    /// An incident is part of another one from now on.
    Merged {
        /// Which.
        from: IncidentId,
        /// Of which.
        into: IncidentId,
    },
    /// An output is to be told: a row of the outbox.
    Deliver(Box<Deliver>),
    /// An output is not told yet.
    Hold {
        /// Of what.
        incident: IncidentId,
        /// Which.
        output: ComponentId,
        /// What holds it back.
        by: Holder,
        /// Until when, if that is known.
        until: Option<Timestamp>,
    },
    /// An incident was over before anybody was told; it is in the daily digest.
    Passed {
        /// Which.
        incident: IncidentId,
    },
    /// The rules found something by themselves: an event for the log, from which it comes back.
    Raise(Arc<Event>),
}

/// A message for one output.
#[derive(Clone, Debug)]
pub struct Deliver {
    /// Who is told.
    pub output: ComponentId,
    /// Of what; a digest is of none.
    pub incident: Option<IncidentId>,
    /// The same for the same message, also when the log is read again.
    pub key: DeliveryKey,
    /// What is told. Its events are without their originals, which the log has.
    pub message: Message,
}

/// What holds a message back.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Holder {
    /// Further reports are waited for, or whether it stays wrong.
    Wait,
    /// A silence or maintenance window.
    Mute {
        /// Its name.
        name: String,
        /// Who wanted it.
        author: String,
    },
    /// Something that is wrong and that this follows from.
    Inhibit {
        /// The line that says so.
        name: String,
        /// What is wrong.
        source: IncidentId,
    },
    /// The quiet hours of the output.
    Quiet,
    /// There were so many messages that it is told in a digest, by this line's limit or the
    /// output's.
    Flood {
        /// The line; `output` for the output's own.
        limit: String,
    },
}

// === impl Input ===

impl From<Arc<Event>> for Input {
    fn from(event: Arc<Event>) -> Self {
        Self::Event(event)
    }
}

// === impl Holder ===

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wait => f.write_str("wait"),
            Self::Mute { name, author } => write!(f, "silence {name} of {author}"),
            Self::Inhibit { name, source } => write!(f, "{name}: follows from {}", source.short()),
            Self::Quiet => f.write_str("quiet hours"),
            Self::Flood { limit } => write!(f, "too many messages ({limit})"),
        }
    }
}

// === impl Decision ===

impl Decision {
    /// The message, if it is one.
    pub fn delivered(&self) -> Option<&Deliver> {
        match self {
            Self::Deliver(deliver) => Some(deliver),
            _ => None,
        }
    }
}

/// What somebody said, at that time.
pub(crate) fn word(by: &str, at: Timestamp) -> Word {
    Word { by: by.to_owned(), at }
}

/// The titles of these, for a list: at most so many, and how many more there are.
pub(crate) fn titles<'a>(
    incidents: impl IntoIterator<Item = &'a Incident>,
    most: usize,
) -> (Vec<String>, usize) {
    let mut all: Vec<&Incident> = incidents.into_iter().collect();
    all.sort_by_key(|it| (std::cmp::Reverse(it.severity()), it.began(), it.id()));
    let line = |it: &&Incident| format!("- {}: {}", it.severity(), it.lead().title);
    (all.iter().take(most).map(line).collect(), all.len().saturating_sub(most))
}
