//! All stages together: a step over a state.
//!
//! An event is judged by the lines, put to its incident, and the incident is looked at: what has each
//! output been told, what is so now, and does anything keep people from being told? What has to wait
//! is looked at again when its time has come.
//!
//! Time passes in order: whatever is due before the time of a step is done first, each at its own
//! time. So one long step does what many short ones do, and reading the log again gives the same
//! messages with the same keys.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use event_core::{ComponentId, Event, Stage};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};

use crate::{
    Decision, IncidentId, Incidents, Input, Place, Room, RuleError, Thresholds, Verdict,
    config::{Config, MuteConfig, OutputConfig},
    decision::word,
    ears::{Ears, Inputs},
    error,
    lines::{self, Line},
    meter::Level,
    mute::{self, Inhibit, Mute},
    recovery::is_problem,
    tell::Telling,
    watch::Watch,
};

/// How often what is old is forgotten.
const FORGET: SignedDuration = SignedDuration::from_hours(6);

/// The most bytes of a message that are remembered of what is not wrong.
const NOTE: usize = 512;

/// The rules, checked.
#[derive(Clone, Debug)]
pub struct Rules {
    pub(crate) lines: Vec<Line>,
    pub(crate) outputs: BTreeMap<ComponentId, OutputConfig>,
    pub(crate) inputs: Inputs,
    pub(crate) maintenance: Vec<Mute>,
    pub(crate) inhibits: Vec<Inhibit>,
    pub(crate) hold: BTreeMap<String, SignedDuration>,
    pub(crate) wait: SignedDuration,
    pub(crate) update: SignedDuration,
    pub(crate) full: Thresholds,
    pub(crate) digest: jiff::civil::Time,
    pub(crate) zone: TimeZone,
    /// The names of `outputs`.
    everybody: BTreeSet<ComponentId>,
}

/// What the rules remember.
#[derive(Clone, Debug, Default)]
pub struct State {
    pub(crate) incidents: Incidents,
    pub(crate) telling: BTreeMap<IncidentId, Telling>,
    pub(crate) mutes: BTreeMap<String, Mute>,
    /// When loud messages went out, by limit and output.
    pub(crate) sent: BTreeMap<(String, ComponentId), VecDeque<Timestamp>>,
    /// What an output is told of in the next digest of a flood.
    pub(crate) floods: BTreeMap<ComponentId, BTreeSet<IncidentId>>,
    /// What is held back by something that may end at any time.
    pub(crate) held: BTreeSet<IncidentId>,
    pub(crate) watch: Watch,
    pub(crate) ears: Ears,
    pub(crate) levels: BTreeMap<(Room, String), Level>,
    /// Whether the present state is still being told.
    pub(crate) existing: bool,
    pub(crate) digested: Option<Timestamp>,
    /// What the next daily digest counts of what is no incident, by kind.
    pub(crate) noted: BTreeMap<String, usize>,
    due: BTreeSet<(Timestamp, Due)>,
    now: Option<Timestamp>,
}

/// What is to be done at some time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Due {
    /// An incident is looked at.
    Review(IncidentId),
    /// A flood is summed up.
    Flood(ComponentId),
    /// What was expected is looked for.
    Expect,
    /// What inputs were to tell of is looked for.
    Listen,
    /// The daily digest.
    Digest,
    /// What is old is forgotten.
    Forget,
}

/// One step.
pub(crate) struct Step<'a> {
    pub(crate) rules: &'a Rules,
    pub(crate) state: &'a mut State,
    pub(crate) now: Timestamp,
    pub(crate) out: Vec<Decision>,
}

// === impl Rules ===

impl Rules {
    /// Checks what the settings say.
    ///
    /// # Errors
    /// Everything that is wrong with it, each with what to do.
    pub fn try_new(config: &Config) -> Result<Self, Vec<RuleError>> {
        let mut problems = Vec::new();
        let mut keep = |found: Option<RuleError>| problems.extend(found);
        let mut more = Vec::new();
        let mut outputs = BTreeMap::new();
        for (name, output) in &config.outputs {
            let table = format!("output.{name}");
            match name.parse::<ComponentId>() {
                Ok(id) => drop(outputs.insert(id, output.clone())),
                Err(_) => keep(error::name("output", name).err()),
            }
            keep(output.flood.check(&table, "flood").err());
        }
        for (key, it) in [("wait", config.wait), ("update", config.update)] {
            keep(error::span("rules", key, it, SignedDuration::ZERO).err());
        }
        for (kind, hold) in &config.hold {
            if let Err(error) = kind.parse::<event_core::Kind>() {
                let hint = "take a kind of the list in the reference";
                keep(Some(RuleError::new("hold", "kind", error.to_string(), hint)));
            }
            keep(error::span("hold", "hold", *hold, SignedDuration::ZERO).err());
        }
        keep(config.full.check().err());
        let lines = lines::build(config).unwrap_or_else(|found| {
            more.extend(found);
            Vec::new()
        });
        let inhibits = mute::inhibits(&config.inhibits).unwrap_or_else(|found| {
            more.extend(found);
            Vec::new()
        });
        let mut maintenance = Vec::new();
        for (name, config) in &config.maintenance {
            match Mute::try_new("maintenance", name, config) {
                Ok(mute) => maintenance.push(mute),
                Err(problem) => keep(Some(problem)),
            }
        }
        problems.extend(more);
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Self {
            lines,
            everybody: outputs.keys().cloned().collect(),
            outputs,
            inputs: config.inputs.clone(),
            maintenance,
            inhibits,
            hold: config.hold.clone(),
            wait: config.wait,
            update: config.update,
            full: config.full,
            digest: config.digest,
            zone: config.zone.clone(),
        })
    }

    /// Which lines fit an event and what they make of it, without remembering anything: for
    /// `rules test`.
    pub fn judge(&self, event: &Arc<Event>) -> (Arc<Event>, Verdict) {
        lines::judge(&self.lines, &self.everybody, event)
    }

    /// Checks a silence before it is put in.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check_mute(&self, name: &str, config: &MuteConfig) -> Result<(), RuleError> {
        Mute::try_new("silence", name, config).map(drop)
    }
}

impl Stage for Rules {
    type State = State;
    type Input = Input;
    type Output = Decision;

    fn step(
        &self,
        state: &mut State,
        now: Timestamp,
        input: Option<Input>,
    ) -> (Vec<Decision>, Option<Timestamp>) {
        // A clock that was set back does not undo what was done.
        let now = state.now.map_or(now, |before| before.max(now));
        if state.now.is_none() {
            state.digested = Some(now);
            state.due.insert((now + FORGET, Due::Forget));
            let mut step = Step { rules: self, state, now, out: Vec::new() };
            step.schedule_digest();
        }
        let mut out = Vec::new();
        while let Some((at, due)) = state.due.first().cloned().filter(|(at, _)| *at <= now) {
            state.due.pop_first();
            let mut step = Step { rules: self, state, now: at, out };
            step.run(due);
            out = step.out;
        }
        state.now = Some(now);
        let mut step = Step { rules: self, state, now, out };
        if let Some(input) = input {
            step.take(input);
        }
        let out = step.out;
        (out, state.due.first().map(|(at, _)| *at))
    }
}

// === impl State ===

impl State {
    /// The incidents that are remembered.
    pub fn incidents(&self) -> &Incidents {
        &self.incidents
    }
}

// === impl Step ===

impl Step<'_> {
    /// Does something later; what is to be done at once, at the next moment.
    pub(crate) fn schedule(&mut self, at: Timestamp, due: Due) {
        let soonest = self.now.checked_add(SignedDuration::from_millis(1)).unwrap_or(at);
        self.state.due.insert((at.max(soonest), due));
    }

    fn run(&mut self, due: Due) {
        match due {
            Due::Review(incident) => self.review(incident),
            Due::Flood(output) => self.sum_up(&output),
            Due::Expect => self.expect(),
            Due::Listen => self.listen(),
            Due::Digest => {
                self.digest();
                self.schedule_digest();
            }
            Due::Forget => {
                for incident in self.state.incidents.forget(self.now) {
                    self.review(incident);
                }
                let state = &mut *self.state;
                let incidents = &state.incidents;
                let known = |id: &IncidentId| incidents.get(*id).is_some_and(|it| it.id() == *id);
                state.telling.retain(|id, _| known(id));
                state.held.retain(known);
                state.mutes.retain(|_, mute| !mute.is_over(self.now));
                state.ears.forget(self.now);
                self.schedule(self.now + FORGET, Due::Forget);
            }
        }
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Event(event) => self.take_event(&event, false),
            Input::Existing(event) => {
                self.state.existing = true;
                self.take_event(&event, true);
            }
            Input::ExistingEnd => self.sum_up_existing(),
            Input::Started => self.state.ears.start_again(),
            Input::Estate(estate) => self.watch(estate),
            Input::Measured(measured) => self.measure(&measured),
            Input::Acknowledge { incident, by } => {
                self.state.incidents.acknowledge(incident, word(&by, self.now));
                self.review(incident);
            }
            Input::Close { incident, by } => {
                self.state.incidents.close(incident, word(&by, self.now));
                self.review(incident);
            }
            Input::Mute { name, mute } => {
                // What is wrong with it was said when it was checked.
                if let Ok(mute) = Mute::try_new("silence", &name, &mute) {
                    self.state.mutes.insert(name, mute);
                }
            }
            Input::Unmute { name } => {
                if self.state.mutes.remove(&name).is_some() {
                    self.release(self.now);
                }
            }
        }
    }

    fn take_event(&mut self, event: &Arc<Event>, existing: bool) {
        let (event, verdict) = self.rules.judge(&not_in_the_future(event));
        if !existing {
            self.hears(&event);
        }
        if let Some(by) = &verdict.dropped {
            let (place, by) = (Place::of(&event), by.clone());
            self.out.push(Decision::Dropped { event: event.id, place, by });
            for incident in self.state.incidents.recover(&event) {
                self.review(incident);
            }
            return;
        }
        if event.keys.is_empty() && !is_problem(&event) {
            self.note(&event, verdict, existing);
            return;
        }
        let event = remembered(event);
        let taken = self.state.incidents.take(&event);
        if taken.known {
            return;
        }
        if !existing {
            self.await_elsewhere(&event);
        }
        let mut telling = self.state.telling.remove(&taken.incident).unwrap_or_default();
        telling.plan.join(verdict.plan.clone());
        for from in &taken.merged {
            let other = self.state.telling.remove(from);
            self.state.held.remove(from);
            self.out.push(Decision::Merged { from: *from, into: taken.incident });
            if let Some(other) = other {
                self.close_thread(*from, taken.incident, &other);
                telling.swallow(other);
            }
        }
        telling.existing |= existing;
        self.state.telling.insert(taken.incident, telling);
        let (id, place) = (event.id, Place::of(&event));
        self.out.push(Decision::Taken { event: id, place, incident: taken.incident, verdict });
        if existing && event.subject.upid.is_some() {
            // A task that has ended is history; what is wrong now is told by the present state.
            let by = word("the first start", event.time.max(self.now));
            self.state.incidents.close(taken.incident, by);
        }
        self.review(taken.incident);
        for incident in taken.touched {
            self.review(incident);
        }
        if event.kind.family() == "cluster" {
            self.look_around();
        }
    }

    /// Nothing is wrong, and nothing else can be about the same: no incident is made of it. Nodes write such lines all
    /// day, and people want to know how many there were.
    fn note(&mut self, event: &Arc<Event>, verdict: Verdict, existing: bool) {
        if !existing {
            self.await_elsewhere(event);
        }
        *self.state.noted.entry(event.kind.to_string()).or_default() += 1;
        self.out.push(Decision::Noted { event: event.id, place: Place::of(event), verdict });
        for incident in self.state.incidents.recover(event) {
            self.review(incident);
        }
        if event.kind.family() == "cluster" {
            self.look_around();
        }
    }

    /// What was held back is looked at again.
    pub(crate) fn release(&mut self, at: Timestamp) {
        for incident in self.state.held.clone() {
            self.schedule(at, Due::Review(incident));
        }
    }
}

/// What is remembered of an event for days: not the original, which the log has, and of what is not
/// told in words of its own only the beginning of them.
fn remembered(mut event: Arc<Event>) -> Arc<Event> {
    let is_long = !is_problem(&event) && event.message.len() > NOTE;
    if event.raw.is_none() && !is_long {
        return event;
    }
    let it = Arc::make_mut(&mut event);
    it.raw = None;
    if is_long {
        let mut end = NOTE;
        while !it.message.is_char_boundary(end) {
            end -= 1;
        }
        it.message.truncate(end);
    }
    event
}

/// What a node whose clock is ahead says to have happened later than we heard of it has happened by
/// then. Otherwise a success by another clock would seem to be before the failure that it mends.
fn not_in_the_future(event: &Arc<Event>) -> Arc<Event> {
    let mut event = Arc::clone(event);
    if event.time > event.received {
        let it = Arc::make_mut(&mut event);
        it.time = it.received;
        it.keys.extend(event_core::correlation::keys(it));
    }
    event
}
