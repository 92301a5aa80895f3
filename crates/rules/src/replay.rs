//! What rules would do: with one event (`rules test`), and with a log (`rules replay`).

use std::{collections::BTreeSet, fmt, sync::Arc};

use event_core::{Event, Stage as _};
use jiff::Timestamp;

use crate::{Decision, Input, Rules, State, Target, Verdict};

/// Something that follows, and when.
#[derive(Clone, Debug)]
pub struct Happened {
    /// When.
    pub at: Timestamp,
    /// What.
    pub decision: Decision,
}

/// What the lines are to make of an event: a case that users write beside their rules.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its name.
    pub name: String,
    /// The event.
    pub event: Arc<Event>,
    /// What is to become of it.
    pub expected: Fate,
}

/// What becomes of an event in the lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// These outputs are told, each there.
    Told(BTreeSet<Target>),
    /// It is in the daily digest.
    Digest,
    /// It is dropped.
    Dropped,
}

/// A case that does not come out as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// The name of the case.
    pub case: String,
    /// What it expects.
    pub expected: Fate,
    /// What becomes of the event.
    pub found: Fate,
    /// The lines that fit, and why it is so.
    pub verdict: Verdict,
}

/// What the rules do with these events, which are in the order in which they were heard, and with the
/// time after them.
///
/// It begins without any memory, so an incident that was open before the first event is not known.
pub fn replay(
    rules: &Rules,
    events: impl IntoIterator<Item = Arc<Event>>,
    until: Timestamp,
) -> Vec<Happened> {
    let mut state = State::default();
    let mut happened = Vec::new();
    let mut next = None;
    for event in events {
        let now = event.received;
        pass(rules, &mut state, &mut next, now, &mut happened);
        next = step(rules, &mut state, now, Some(Input::Event(event)), &mut happened);
    }
    pass(rules, &mut state, &mut next, until, &mut happened);
    happened
}

/// Wakes the rules up whenever they want to be, until then.
fn pass(
    rules: &Rules,
    state: &mut State,
    next: &mut Option<Timestamp>,
    until: Timestamp,
    happened: &mut Vec<Happened>,
) {
    while let Some(at) = next.filter(|at| *at <= until) {
        *next = step(rules, state, at, None, happened);
    }
}

/// One step; what the rules raise comes back at once, as it does through the log.
fn step(
    rules: &Rules,
    state: &mut State,
    now: Timestamp,
    input: Option<Input>,
    happened: &mut Vec<Happened>,
) -> Option<Timestamp> {
    let (decisions, mut next) = rules.step(state, now, input);
    for decision in decisions {
        let raised = match &decision {
            Decision::Raise(event) => Some(Arc::clone(event)),
            _ => None,
        };
        happened.push(Happened { at: now, decision });
        if let Some(event) = raised {
            next = step(rules, state, now, Some(Input::Event(event)), happened);
        }
    }
    next
}

// === impl Rules ===

impl Rules {
    /// Whether a case comes out as it is written.
    ///
    /// # Errors
    /// What becomes of the event instead, and by which lines.
    pub fn check_case(&self, case: &Case) -> Result<(), Box<Mismatch>> {
        let (_, verdict) = self.judge(&case.event);
        let found = verdict.fate();
        if found == case.expected {
            return Ok(());
        }
        let (name, expected) = (case.name.clone(), case.expected.clone());
        Err(Box::new(Mismatch { case: name, expected, found, verdict }))
    }
}

// === impl Verdict ===

impl Verdict {
    /// What becomes of the event.
    pub fn fate(&self) -> Fate {
        if self.dropped.is_some() {
            Fate::Dropped
        } else if self.plan.routes.is_empty() {
            Fate::Digest
        } else {
            Fate::Told(self.plan.targets())
        }
    }
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Told(outputs) => {
                let names: Vec<String> = outputs.iter().map(Target::to_string).collect();
                write!(f, "told to {}", names.join(", "))
            }
            Self::Digest => f.write_str("in the daily digest"),
            Self::Dropped => f.write_str("dropped"),
        }
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "case `{}` is {} and not {}", self.case, self.found, self.expected)?;
        for fit in &self.verdict.lines {
            write!(f, "\n  {}: {}", fit.line, fit.did)?;
        }
        if self.verdict.lines.is_empty() {
            f.write_str("\n  no line fits")?;
        }
        Ok(())
    }
}

impl std::error::Error for Mismatch {}

// === impl Happened ===

impl fmt::Display for Happened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.at, self.decision)
    }
}

// === impl Decision ===

impl fmt::Display for Decision {
    /// One line for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Taken { place, incident, verdict, .. } => {
                write!(f, "{} of {} is of {}", place.key, place.source, incident.short())?;
                lines(f, verdict)
            }
            Self::Noted { place, verdict, .. } => {
                write!(f, "{} of {} is counted", place.key, place.source)?;
                lines(f, verdict)
            }
            Self::Dropped { place, by, .. } => {
                write!(f, "{} of {} dropped by {by}", place.key, place.source)
            }
            Self::Merged { from, into } => {
                write!(f, "{} is part of {} now", from.short(), into.short())
            }
            Self::Deliver(deliver) => {
                let message = &deliver.message;
                let quietly = if message.silent { " quietly" } else { "" };
                let (stand, severity) = (message.stand, message.severity);
                let (output, place) = (deliver.output.clone(), message.route.clone());
                let to = Target { output, place };
                write!(f, "{to} {stand}{quietly}: {severity} {}", message.title)
            }
            Self::Hold { incident, output, by, until } => {
                write!(f, "{output} held of {}: {by}", incident.short())?;
                until.map_or(Ok(()), |until| write!(f, ", until {until}"))
            }
            Self::Passed { incident } => write!(f, "{} passed untold", incident.short()),
            Self::Raise(event) => write!(f, "raised {}: {}", event.kind, event.title),
        }
    }
}

/// The lines that fit, and what they did.
fn lines(f: &mut fmt::Formatter<'_>, verdict: &Verdict) -> fmt::Result {
    verdict.lines.iter().try_for_each(|fit| write!(f, "; {}: {}", fit.line, fit.did))
}
