//! What each output is told of an incident, and when.
//!
//! Loud messages (new, worse, again, escalated) pass whatever keeps people from being told: silences,
//! what follows from something else, quiet hours, limits. Silent ones bring a message up to date that
//! is there already. What is over before it was told is in the daily digest only.

use std::collections::{BTreeMap, BTreeSet};

use event_core::{ComponentId, DeliveryKey, Event, Severity, Stand};
use jiff::{SignedDuration, Timestamp};

use crate::{
    Decision, Deliver, Incident, IncidentId, Limit, Status,
    decision::Holder,
    engine::{Due, Step},
    facts,
    lines::{self, Plan},
    message,
};

/// How long after something is over what followed from it is still not told: it has to be asked
/// anew whether it is so.
const RELEASE: SignedDuration = SignedDuration::from_mins(2);

/// What no quiet hours hold back, whatever its severity.
const NEVER_QUIET: [&str; 3] = ["quorum.lost", "node.fenced", "pool.degraded"];

/// What was told of an incident.
#[derive(Clone, Debug, Default)]
pub(crate) struct Telling {
    pub(crate) plan: Plan,
    /// Its outputs have been told.
    pub(crate) told: BTreeMap<ComponentId, Told>,
    holding: BTreeMap<ComponentId, Holder>,
    /// How many messages there were: part of their keys.
    version: u32,
    escalated: BTreeSet<lines::Step>,
    /// It was so before the first start.
    pub(crate) existing: bool,
    was_open: bool,
    /// When it was last seen to be over.
    pub(crate) ended: Option<Timestamp>,
}

/// What one output was told last.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    severity: Severity,
    times: u32,
    reports: u64,
    acknowledged: bool,
    over: bool,
    /// Only as a line of a digest: there is no message to bring up to date.
    listed: bool,
    /// Where within the output.
    place: Option<String>,
    at: Timestamp,
    loud: Timestamp,
}

/// What is to be done about one output.
enum Act {
    Nothing,
    Say(Stand),
    Hold(Holder, Option<Timestamp>),
    /// A silent message has time until then.
    Later(Timestamp),
}

// === impl Telling ===

impl Telling {
    /// Takes over what was told of an incident that is part of this one now.
    pub(crate) fn swallow(&mut self, other: Self) {
        self.plan.join(other.plan);
        for (output, told) in other.told {
            self.told.entry(output).or_insert(told);
        }
        self.escalated.extend(other.escalated);
        self.version = self.version.max(other.version);
    }

    /// Notes that an output is told of it as a line of a digest.
    pub(crate) fn list(&mut self, output: &ComponentId, incident: &Incident, now: Timestamp) {
        let mut told = Told::of(incident, Stand::Digest, now, None);
        told.listed = self.told.get(output).is_none_or(|before| before.listed);
        self.told.insert(output.clone(), told);
        self.holding.remove(output);
    }
}

// === impl Told ===

impl Told {
    fn of(incident: &Incident, stand: Stand, now: Timestamp, before: Option<&Self>) -> Self {
        let loud = if stand.edits() { before.map_or(now, |it| it.loud) } else { now };
        Self {
            severity: incident.severity().max(before.map_or(Severity::Debug, |it| it.severity)),
            times: incident.times(),
            reports: incident.count(),
            acknowledged: incident.acknowledged().is_some(),
            over: stand == Stand::Resolved,
            listed: false,
            place: before.and_then(|it| it.place.clone()),
            at: now,
            loud,
        }
    }
}

// === impl Step ===

impl Step<'_> {
    /// Looks at an incident: what is to be told to whom, now or later.
    pub(crate) fn review(&mut self, id: IncidentId) {
        let Some(incident) = self.state.incidents.get(id) else { return };
        let id = incident.id();
        let Some(mut telling) = self.state.telling.remove(&id) else { return };
        let status = incident.status(self.now);
        if status == Status::Note || (telling.existing && self.state.existing) {
            self.state.telling.insert(id, telling);
            return;
        }
        let is_open = matches!(status, Status::Open | Status::Flapping);
        let mut acts: Vec<(ComponentId, Act)> = Vec::new();
        let outputs: BTreeSet<&ComponentId> =
            telling.plan.routes.keys().chain(telling.told.keys()).collect();
        for output in outputs {
            acts.push((output.clone(), self.look(incident, &telling, output)));
        }
        if is_open {
            self.escalate(incident, &mut telling, &mut acts);
        }
        let flaps_until = incident.flaps_until();
        let is_unseen = !is_open && telling.told.is_empty() && telling.was_open;
        if let Some(until) = flaps_until.filter(|_| status == Status::Flapping) {
            self.schedule(until, Due::Review(id));
        }
        let is_over_now = telling.was_open && !is_open;
        telling.was_open = is_open;
        telling.ended =
            if is_over_now { Some(self.now) } else { telling.ended.filter(|_| !is_open) };
        self.state.held.remove(&id);
        self.state.telling.insert(id, telling);
        for (output, act) in acts {
            self.act(id, &output, act);
        }
        if is_over_now {
            if is_unseen {
                self.out.push(Decision::Passed { incident: id });
            }
            // What followed from it is asked anew.
            self.release(self.now + RELEASE);
        }
    }

    /// What one output is to be told now.
    fn look(&self, incident: &Incident, telling: &Telling, output: &ComponentId) -> Act {
        let now = self.now;
        let status = incident.status(now);
        let is_open = matches!(status, Status::Open | Status::Flapping);
        let Some(told) = telling.told.get(output) else {
            return if is_open {
                self.loud(incident, telling, output, Stand::New)
            } else {
                Act::Nothing
            };
        };
        if !is_open {
            return if told.over || told.listed { Act::Nothing } else { Act::Say(Stand::Resolved) };
        }
        let again = told.over || (incident.times() > told.times && status != Status::Flapping);
        let repeat = telling.plan.repeat.map(|repeat| told.loud + repeat);
        if incident.severity() > told.severity && !told.over {
            return self.loud(incident, telling, output, Stand::Worse);
        }
        if again {
            return self.loud(incident, telling, output, Stand::Again);
        }
        if incident.acknowledged().is_none()
            && let Some(at) = repeat
        {
            if at <= now {
                return self.loud(incident, telling, output, Stand::Escalated);
            }
            if incident.count() == told.reports {
                return Act::Later(at);
            }
        }
        if told.listed {
            return Act::Nothing;
        }
        if incident.acknowledged().is_some() && !told.acknowledged {
            return Act::Say(Stand::Acknowledged);
        }
        if incident.count() > told.reports {
            let at = told.at + self.rules.update;
            return if at <= now { Act::Say(Stand::Update) } else { Act::Later(at) };
        }
        Act::Nothing
    }

    /// A message that people are alerted by: if nothing keeps it back.
    fn loud(
        &self,
        incident: &Incident,
        telling: &Telling,
        output: &ComponentId,
        stand: Stand,
    ) -> Act {
        let due = self.due(incident, telling);
        if due > self.now {
            return Act::Hold(Holder::Wait, Some(due));
        }
        match self.kept_back(incident, output) {
            Some((holder, until)) => Act::Hold(holder, until),
            None => Act::Say(stand),
        }
    }

    /// When the first of what is wrong has been so for long enough.
    fn due(&self, incident: &Incident, telling: &Telling) -> Timestamp {
        let wait = telling.plan.wait.unwrap_or(self.rules.wait);
        let of = |lead: &Event| {
            self.rules.hold.get(lead.kind.as_str()).map_or(wait, |hold| wait.max(*hold))
        };
        let problems = incident.open_problems().map(|it| it.heard + of(&it.lead));
        problems.min().unwrap_or(self.now)
    }

    /// What keeps people from being told of all that is wrong in it, and until when.
    pub(crate) fn kept_back(
        &self,
        incident: &Incident,
        output: &ComponentId,
    ) -> Option<(Holder, Option<Timestamp>)> {
        let mut first = None;
        let mut all = true;
        let mut problems = incident.open_problems().peekable();
        if problems.peek().is_none() {
            all = false;
        }
        for problem in problems {
            match self.kept_back_problem(incident.id(), &problem.lead) {
                Some(holder) => drop(first.get_or_insert(holder)),
                None => {
                    all = false;
                    break;
                }
            }
        }
        if all {
            return first;
        }
        let urgent = incident.severity() == Severity::Critical
            || incident.open_problems().any(|it| NEVER_QUIET.contains(&it.lead.kind.as_str()));
        let hours = self.rules.outputs.get(output).map(|it| it.quiet_hours.as_slice())?;
        let local = self.now.to_zoned(self.rules.zone.clone());
        let quiet = hours.iter().find(|it| !urgent && it.contain(&local))?;
        Some((Holder::Quiet, quiet.end(&local).map(|end| end.timestamp())))
    }

    fn kept_back_problem(
        &self,
        id: IncidentId,
        lead: &Event,
    ) -> Option<(Holder, Option<Timestamp>)> {
        let values = facts::of(lead);
        for mute in self.rules.maintenance.iter().chain(self.state.mutes.values()) {
            if let Some(until) = mute.until(self.now, &self.rules.zone)
                && mute.is_about(&values)
            {
                let (name, author) = (mute.name.clone(), mute.author.clone());
                return Some((Holder::Mute { name, author }, Some(until)));
            }
        }
        for inhibit in self.rules.inhibits.iter().filter(|it| it.is_target(&values)) {
            for source in self.state.incidents.iter_troubled().filter(|it| it.id() != id) {
                let ended = self.state.telling.get(&source.id()).and_then(|it| it.ended);
                let lately = ended.is_some_and(|at| self.now < at + RELEASE);
                let leads = source.open_problems().map(|it| &it.lead);
                let was = source.problems().iter().map(|it| &it.lead).filter(|_| lately);
                if leads.chain(was).any(|it| inhibit.is_source(it, lead)) {
                    let (name, source) = (inhibit.name.clone(), source.id());
                    return Some((Holder::Inhibit { name, source }, None));
                }
            }
        }
        None
    }

    /// Whoever else is told, since nobody has acknowledged it.
    fn escalate(
        &self,
        incident: &Incident,
        telling: &mut Telling,
        acts: &mut Vec<(ComponentId, Act)>,
    ) {
        let Some(told) = incident.told().filter(|_| incident.acknowledged().is_none()) else {
            return;
        };
        for step in telling.plan.steps.difference(&telling.escalated.clone()) {
            let at = told + step.after;
            let mut is_done = true;
            for output in &step.to {
                let act = if at > self.now {
                    Act::Later(at)
                } else {
                    self.loud(incident, telling, output, Stand::Escalated)
                };
                is_done &= matches!(act, Act::Say(_));
                // An escalation says more than what that output would be told otherwise.
                match acts.iter_mut().find(|(other, _)| other == output) {
                    Some((_, before)) if matches!(act, Act::Say(_)) => *before = act,
                    Some((_, Act::Say(_) | Act::Hold(..))) => {}
                    _ => acts.push((output.clone(), act)),
                }
            }
            if is_done {
                telling.escalated.insert(step.clone());
            }
        }
    }

    fn act(&mut self, id: IncidentId, output: &ComponentId, act: Act) {
        match act {
            Act::Nothing => {}
            Act::Later(at) => self.schedule(at, Due::Review(id)),
            Act::Hold(by, until) => {
                if let Some(until) = until {
                    self.schedule(until, Due::Review(id));
                }
                if by != Holder::Wait {
                    self.state.held.insert(id);
                }
                self.hold(id, output, by, until);
            }
            Act::Say(stand) if stand.edits() => self.say(id, output, stand),
            Act::Say(stand) => match self.exceeded(id, output) {
                Some((limit, per)) => {
                    let flood = self.state.floods.entry(output.clone()).or_default();
                    if flood.is_empty() {
                        let at = self.now + per;
                        self.schedule(at, Due::Flood(output.clone()));
                    }
                    self.state.floods.entry(output.clone()).or_default().insert(id);
                    self.hold(id, output, Holder::Flood { limit }, None);
                }
                None => self.say(id, output, stand),
            },
        }
    }

    fn hold(
        &mut self,
        incident: IncidentId,
        output: &ComponentId,
        by: Holder,
        until: Option<Timestamp>,
    ) {
        let Some(telling) = self.state.telling.get_mut(&incident) else { return };
        // Said once, not at every look.
        if telling.holding.insert(output.clone(), by.clone()).as_ref() != Some(&by) {
            self.out.push(Decision::Hold { incident, output: output.clone(), by, until });
        }
    }

    /// The limit that one more loud message would exceed; otherwise it is counted.
    fn exceeded(
        &mut self,
        id: IncidentId,
        output: &ComponentId,
    ) -> Option<(String, SignedDuration)> {
        let incident = self.state.incidents.get(id)?;
        let own = self.rules.outputs.get(output)?.flood;
        // What is critical has as much room again.
        let room = if incident.severity() == Severity::Critical { 2 } else { 1 };
        let own = Limit { count: own.count * room, per: own.per };
        let lines =
            self.state.telling.get(&id).map(|it| it.plan.limits.clone()).unwrap_or_default();
        let limits: Vec<(String, Limit)> =
            [("output".to_owned(), own)].into_iter().chain(lines).collect();
        for (name, limit) in &limits {
            let sent = self.state.sent.entry((name.clone(), output.clone())).or_default();
            while sent.front().is_some_and(|at| *at + limit.per <= self.now) {
                sent.pop_front();
            }
            if sent.len() >= limit.count {
                return Some((name.clone(), limit.per));
            }
        }
        for (name, _) in limits {
            self.state.sent.entry((name, output.clone())).or_default().push_back(self.now);
        }
        None
    }

    fn say(&mut self, id: IncidentId, output: &ComponentId, stand: Stand) {
        let now = self.now;
        if !stand.edits() {
            self.state.incidents.tell(id, now);
        }
        let Some(incident) = self.state.incidents.get(id) else { return };
        let Some(telling) = self.state.telling.get_mut(&id) else { return };
        telling.version += 1;
        telling.holding.remove(output);
        let before = telling.told.get(output);
        let mut told = Told::of(incident, stand, now, before);
        if before.is_none_or(|before| before.listed) {
            // Its first message: there it stays, whatever later reports say.
            told.place = telling.plan.routes.get(output).cloned().flatten();
        }
        let mut message = message::of(self.rules, incident, stand, now);
        message.route.clone_from(&told.place);
        telling.told.insert(output.clone(), told);
        let version = telling.version.to_string();
        let key = DeliveryKey::of([id.to_string().as_str(), &version, output.as_str()]);
        let deliver = Deliver { output: output.clone(), incident: Some(id), key, message };
        self.out.push(Decision::Deliver(Box::new(deliver)));
        // What comes later: a repetition, the first step of an escalation.
        self.schedule(now, Due::Review(id));
    }

    /// Says on the messages of an incident that is part of another one now where it goes on.
    pub(crate) fn close_thread(&mut self, from: IncidentId, into: IncidentId, telling: &Telling) {
        let Some(incident) = self.state.incidents.get(into) else { return };
        for (output, told) in telling.told.iter().filter(|(_, told)| !told.listed) {
            let mut message = message::of(self.rules, incident, Stand::Update, self.now);
            message.route.clone_from(&told.place);
            message.incident = from.short();
            message.text =
                format!("It is part of incident {} now.\n{}", into.short(), message.text);
            let parts = [from.to_string(), "merged".to_owned(), output.to_string()];
            let key = DeliveryKey::of(parts.iter().map(String::as_str));
            let (output, incident) = (output.clone(), Some(from));
            let deliver = Deliver { output, incident, key, message };
            self.out.push(Decision::Deliver(Box::new(deliver)));
        }
    }
}
