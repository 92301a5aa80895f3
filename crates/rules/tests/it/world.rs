//! Rules with a clock that tests move, and what comes out as lines of text.

use std::{fmt::Write as _, sync::Arc};

use event_core::{Event, Stage as _};
use jiff::{SignedDuration, Timestamp};
use rules::{Config, Decision, Deliver, Holder, Input, Rules, State};

pub(crate) struct World {
    rules: Rules,
    pub(crate) state: State,
    start: Timestamp,
    now: Timestamp,
    next: Option<Timestamp>,
    pub(crate) delivered: Vec<Deliver>,
    said: String,
}

// === impl World ===

impl World {
    /// Rules that begin at that time.
    pub(crate) fn new(config: &Config, start: Timestamp) -> Self {
        let rules = Rules::try_new(config).expect("the rules are right");
        let (state, delivered, said) = (State::default(), Vec::new(), String::new());
        let mut world = Self { rules, state, start, now: start, next: None, delivered, said };
        world.step(start, None);
        world
    }

    /// The rules that are built in, with two outputs.
    pub(crate) fn plain(start: Timestamp) -> Self {
        Self::new(&Config::default().outputs(["ops"]), start)
    }

    fn step(&mut self, now: Timestamp, input: Option<Input>) {
        let (decisions, next) = self.rules.step(&mut self.state, now, input);
        assert!(next.is_none_or(|at| at > now), "a wake-up in the past: {next:?} at {now}");
        self.next = next;
        self.now = now;
        for decision in decisions {
            self.note(&decision);
            match decision {
                // It goes into the log and comes back.
                Decision::Raise(event) => self.step(now, Some(Input::Event(event))),
                Decision::Deliver(deliver) => self.delivered.push(*deliver),
                _ => {}
            }
        }
    }

    /// Lets time pass, waking up whenever the rules want to be asked.
    pub(crate) fn until(&mut self, time: Timestamp) {
        while let Some(at) = self.next.filter(|at| *at < time) {
            self.step(at, None);
        }
        self.step(time.max(self.now), None);
    }

    pub(crate) fn pass(&mut self, seconds: i64) {
        self.until(self.now + SignedDuration::from_secs(seconds));
    }

    /// Something happens, when it is heard.
    pub(crate) fn hear(&mut self, event: Arc<Event>) {
        self.until(event.received);
        self.step(self.now, Some(Input::Event(event)));
    }

    pub(crate) fn put(&mut self, input: Input) {
        self.step(self.now, Some(input));
    }

    /// What came out since the last time, in lines.
    pub(crate) fn said(&mut self) -> String {
        std::mem::take(&mut self.said)
    }

    fn note(&mut self, decision: &Decision) {
        match decision {
            Decision::Hold { by: Holder::Wait, .. }
            | Decision::Taken { .. }
            | Decision::Noted { .. } => return,
            _ => {}
        }
        let since = self.now.duration_since(self.start).as_secs();
        let (days, hours, minutes) = (since / 86400, since / 3600 % 24, since / 60 % 60);
        let days = if days > 0 { format!("{days}d ") } else { String::new() };
        let _ = writeln!(self.said, "{days}{hours:02}:{minutes:02}:{:02} {decision}", since % 60);
    }
}
