//! The lines of the rules: each event goes through all of them, in their order.
//!
//! A line that fits changes the event, sends it to outputs, or drops it. Behind the lines of the
//! settings stand two that are built in: what is a warning or worse and was sent nowhere goes to every
//! output, and everything else is told in the daily digest.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use condition::{Condition, Values};
use event_core::{ComponentId, Event, Key, Severity, correlation::WINDOW_SECS};
use jiff::SignedDuration;

use crate::{
    Limit, RuleError,
    config::{Config, RuleConfig},
    error,
    facts::{self, Field},
    target::{Target, targets},
};

/// A line, checked.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    name: String,
    when: Option<Condition>,
    severity: Option<Raise>,
    config: RuleConfig,
    route: BTreeMap<ComponentId, Option<String>>,
    group_by: Vec<Field>,
    steps: BTreeSet<Step>,
}

#[derive(Clone, Copy, Debug)]
enum Raise {
    To(Severity),
    AtLeast(Severity),
}

/// Somebody else is told after some time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Step {
    pub(crate) after: SignedDuration,
    pub(crate) to: BTreeSet<ComponentId>,
}

/// What became of an event in the lines: whom it is for, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// The line that dropped it.
    pub dropped: Option<String>,
    /// The lines that fit, in order, and what each did.
    pub lines: Vec<Fit>,
    /// What follows for its incident.
    pub(crate) plan: Plan,
}

/// A line that fits an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fit {
    /// The name of the line.
    pub line: String,
    /// What it did, in a few words.
    pub did: String,
}

/// How an incident is told: what the lines of all its events say together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The outputs, and where within each.
    pub(crate) routes: BTreeMap<ComponentId, Option<String>>,
    pub(crate) wait: Option<SignedDuration>,
    pub(crate) repeat: Option<SignedDuration>,
    pub(crate) steps: BTreeSet<Step>,
    /// By the name of the line that sets it.
    pub(crate) limits: BTreeMap<String, Limit>,
}

/// Compiles a condition of the settings.
pub(crate) fn compile(
    table: &str,
    key: &'static str,
    source: &str,
) -> Result<Condition, RuleError> {
    Condition::compile(source, facts::SHAPE)
        .map_err(|error| RuleError::new(table, key, format!("`{source}`"), error.to_string()))
}

/// Fields of the settings.
pub(crate) fn fields(
    table: &str,
    key: &'static str,
    names: &[String],
) -> Result<Vec<Field>, RuleError> {
    let read = |name: &String| {
        let hint = format!("name {}", Field::NAMES);
        Field::parse(name).ok_or_else(|| {
            RuleError::new(table, key, format!("names `{name}`, which is no field"), hint)
        })
    };
    names.iter().map(read).collect()
}

/// All lines in their order, with those that are built in; everything that is wrong otherwise.
pub(crate) fn build(config: &Config) -> Result<Vec<Line>, Vec<RuleError>> {
    let mut problems = Vec::new();
    let mut lines = Vec::new();
    for (name, rule) in &config.rules {
        match error::name("rule", name).and_then(|_| Line::try_new(name, rule, config)) {
            Ok(line) => lines.push(line),
            Err(problem) => problems.push(problem),
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    lines.sort_by(|one, other| {
        (one.config.order, &one.name).cmp(&(other.config.order, &other.name))
    });
    // PBS calls it an info that a certificate could not be renewed.
    let renewal = "event.kind == 'certificate.expiring' && event.source_kind != 'tasks'";
    let acme = RuleConfig { when: Some(renewal.to_owned()), ..RuleConfig::default() };
    let mut acme = Line::try_new("default.acme", &acme, config).map_err(|problem| vec![problem])?;
    acme.severity = Some(Raise::AtLeast(Severity::Error));
    lines.insert(0, acme);
    Ok(lines)
}

/// The event as the lines make it, and what follows.
pub(crate) fn judge(
    lines: &[Line],
    outputs: &BTreeSet<ComponentId>,
    event: &Arc<Event>,
) -> (Arc<Event>, Verdict) {
    let mut event = Arc::clone(event);
    let mut verdict = Verdict::default();
    let mut values = None;
    let mut is_sent = false;
    for line in lines {
        let looks = line.when.is_some();
        if looks && !line.fits(values.get_or_insert_with(|| facts::of(&event))) {
            continue;
        }
        let did = line.apply(&mut event, &mut verdict.plan);
        // What a line changed later lines see.
        values = None;
        verdict.lines.push(Fit { line: line.name.clone(), did });
        if line.config.drop {
            verdict.dropped = Some(line.name.clone());
            return (event, verdict);
        }
        is_sent |= !line.route.is_empty() || line.config.digest;
        if line.config.last {
            break;
        }
    }
    if !is_sent {
        let (line, did) = if event.severity >= Severity::Warning {
            verdict.plan.send(outputs.iter().map(|output| (output.clone(), None)));
            ("default.alert", "is a warning or worse: every output".to_owned())
        } else {
            ("default.digest", "is told in the daily digest".to_owned())
        };
        verdict.lines.push(Fit { line: line.to_owned(), did });
    }
    (event, verdict)
}

// === impl Line ===

impl Line {
    fn try_new(name: &str, config: &RuleConfig, all: &Config) -> Result<Self, RuleError> {
        let table = format!("rule.{name}");
        let wrong = |key, reason: &str, hint: &str| Err(RuleError::new(&table, key, reason, hint));
        let when = config.when.as_deref().map(|it| compile(&table, "when", it)).transpose()?;
        let route = targets(&table, "route", &config.route, all)?;
        let group_by = fields(&table, "group_by", &config.group_by)?;
        let mut steps = BTreeSet::new();
        for step in &config.escalate {
            error::span(&table, "escalate", step.after, SignedDuration::from_secs(1))?;
            if step.to.is_empty() {
                let hint = "give each step the outputs that are told, as `to`";
                return wrong("escalate", "has a step without an output", hint);
            }
            let to = targets(&table, "escalate", &step.to, all)?;
            if let Some((output, _)) = to.iter().find(|(_, place)| place.is_some()) {
                // Where it was told before is where this output would tell it again.
                let reason = format!("names a place of `{output}`");
                let hint = "name the output alone, or add an output for that place";
                return wrong("escalate", &reason, hint);
            }
            steps.insert(Step { after: step.after, to: to.into_keys().collect() });
        }
        if config.drop && (!route.is_empty() || config.digest) {
            let hint = "take out `drop`, or the outputs";
            return wrong("drop", "drops what it also sends to somebody", hint);
        }
        if config.digest && !route.is_empty() {
            let hint = "take out `digest`, or the outputs";
            return wrong("digest", "is for the digest only and has outputs as well", hint);
        }
        if let Some(limit) = config.throttle {
            limit.check(&table, "throttle")?;
        }
        if let Some(wait) = config.wait {
            error::span(&table, "wait", wait, SignedDuration::ZERO)?;
        }
        if let Some(repeat) = config.repeat {
            error::span(&table, "repeat", repeat, SignedDuration::from_mins(1))?;
        }
        let severity = config.severity.map(Raise::To);
        let (name, config) = (name.to_owned(), config.clone());
        Ok(Self { name, when, severity, config, route, group_by, steps })
    }

    /// A condition that cannot be told does not fit.
    fn fits(&self, values: &Values) -> bool {
        self.when.as_ref().is_none_or(|when| when.holds_for(values).unwrap_or(false))
    }

    fn apply(&self, event: &mut Arc<Event>, plan: &mut Plan) -> String {
        let mut did = Vec::new();
        let config = &self.config;
        if config.drop {
            return "drops it".to_owned();
        }
        let severity = match self.severity {
            Some(Raise::To(severity)) => severity,
            Some(Raise::AtLeast(severity)) => severity.max(event.severity),
            None => event.severity,
        };
        if severity != event.severity {
            did.push(format!("makes it {severity}"));
            Arc::make_mut(event).severity = severity;
        }
        if let Some(title) = &config.title {
            did.push("gives it a title".to_owned());
            Arc::make_mut(event).title.clone_from(title);
        }
        if !config.labels.is_empty() {
            let names: Vec<&str> = config.labels.keys().map(String::as_str).collect();
            did.push(format!("puts on {}", names.join(", ")));
            Arc::make_mut(event).labels.extend(config.labels.clone());
        }
        if !self.group_by.is_empty() {
            did.push(format!("groups by {}", config.group_by.join(", ")));
            let keys = self.group_keys(event);
            Arc::make_mut(event).keys.extend(keys);
        }
        if !self.route.is_empty() {
            did.push(format!("sends it to {}", config.route.join(", ")));
            plan.send(self.route.clone());
        }
        if config.digest {
            did.push("tells it in the daily digest".to_owned());
        }
        let limit = config.throttle.map(|limit| (self.name.clone(), limit));
        let further = Plan {
            routes: BTreeMap::new(),
            wait: config.wait,
            repeat: config.repeat,
            steps: self.steps.clone(),
            limits: limit.into_iter().collect(),
        };
        plan.join(further);
        if did.is_empty() { "fits".to_owned() } else { did.join("; ") }
    }

    /// Events in a group share a key, as reports of one fact do.
    fn group_keys(&self, event: &Event) -> [Key; 2] {
        let window = event.time.as_second().div_euclid(WINDOW_SECS);
        let parts: Vec<String> = self.group_by.iter().map(|field| field.of(event)).collect();
        [window, window + 1].map(|window| {
            let window = window.to_string();
            let all =
                ["group", &self.name, &window].into_iter().chain(parts.iter().map(String::as_str));
            Key::Own(format!("group:{}", event_core::Fingerprint::of(all)))
        })
    }
}

// === impl Limit ===

impl Limit {
    pub(crate) fn check(self, table: &str, key: &'static str) -> Result<(), RuleError> {
        if self.count == 0 {
            let hint = "let at least one message through, or route to the digest";
            return Err(RuleError::new(table, key, "lets nothing through", hint));
        }
        error::span(table, key, self.per, SignedDuration::from_secs(1))
    }
}

// === impl Plan ===

impl Plan {
    /// Sends it to these as well. The first line that names a place of an output decides on it.
    fn send(&mut self, routes: impl IntoIterator<Item = (ComponentId, Option<String>)>) {
        for (output, place) in routes {
            let before = self.routes.entry(output).or_default();
            *before = before.take().or(place);
        }
    }

    /// Where it is told.
    pub(crate) fn targets(&self) -> BTreeSet<Target> {
        let routes = self.routes.clone().into_iter();
        routes.map(|(output, place)| Target { output, place }).collect()
    }

    /// The two together: whatever either wants, and the shorter time of both.
    pub(crate) fn join(&mut self, other: Self) {
        let shorter = |one: Option<SignedDuration>, other: Option<SignedDuration>| {
            one.into_iter().chain(other).min()
        };
        self.send(other.routes);
        self.wait = shorter(self.wait, other.wait);
        self.repeat = shorter(self.repeat, other.repeat);
        self.steps.extend(other.steps);
        self.limits.extend(other.limits);
    }
}
