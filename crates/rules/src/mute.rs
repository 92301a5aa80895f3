//! What keeps people from being told: silences, maintenance windows, and what follows from something
//! else that is wrong.

use condition::{Condition, Values};
use event_core::Event;
use jiff::{Timestamp, tz::TimeZone};

use crate::{
    RuleError,
    config::{InhibitConfig, MuteConfig, MuteTime},
    error,
    facts::Field,
    lines::{compile, fields},
};

/// A silence or maintenance window, checked.
#[derive(Clone, Debug)]
pub(crate) struct Mute {
    pub(crate) name: String,
    pub(crate) author: String,
    when: Option<Condition>,
    time: MuteTime,
}

/// While one thing is wrong nobody is told of what follows from it.
#[derive(Clone, Debug)]
pub(crate) struct Inhibit {
    pub(crate) name: String,
    source: Condition,
    target: Condition,
    equal: Vec<Field>,
}

/// Those that are built in: name, source, target, what they have in common.
const INHIBITS: [(&str, &str, &str, &[&str]); 3] = [
    (
        "default.blind",
        "event.kind == 'monitor.blind'",
        "event.family in ['cluster', 'node', 'guest', 'storage', 'datastore', 'quorum', 'link', \
         'ha', 'ceph', 'replication', 'input'] || event.kind.endsWith('.missing')",
        &[],
    ),
    (
        "default.cluster",
        "event.kind == 'cluster.unreachable'",
        "event.family in ['node', 'guest', 'storage', 'datastore', 'quorum', 'link', 'ha', 'ceph', \
         'replication', 'backup', 'verify', 'gc', 'sync', 'prune', 'tape', 'input']",
        &["cluster"],
    ),
    (
        "default.node",
        "event.kind in ['node.offline', 'node.fenced']",
        "event.kind in ['guest.stopped', 'storage.error', 'link.down', 'ceph.warning']",
        &["cluster", "node"],
    ),
];

/// All of the settings and those that are built in.
pub(crate) fn inhibits(
    config: &std::collections::BTreeMap<String, InhibitConfig>,
) -> Result<Vec<Inhibit>, Vec<RuleError>> {
    let mut all = Vec::new();
    let mut problems = Vec::new();
    for (name, config) in config {
        match error::name("inhibit", name).and_then(|_| Inhibit::try_new(name, config)) {
            Ok(inhibit) => all.push(inhibit),
            Err(problem) => problems.push(problem),
        }
    }
    for (name, source, target, equal) in INHIBITS {
        let equal = equal.iter().map(|&field| field.to_owned()).collect();
        let config = InhibitConfig { source: source.to_owned(), target: target.to_owned(), equal };
        all.push(Inhibit::try_new(name, &config).map_err(|problem| vec![problem])?);
    }
    if problems.is_empty() { Ok(all) } else { Err(problems) }
}

// === impl Mute ===

impl Mute {
    /// # Errors
    /// Its condition is none, it has no author, or it ends before it begins.
    pub(crate) fn try_new(table: &str, name: &str, config: &MuteConfig) -> Result<Self, RuleError> {
        let table = error::name(table, name)?;
        let when = config.when.as_deref().map(|it| compile(&table, "when", it)).transpose()?;
        if config.author.trim().is_empty() {
            let hint = "say who wants it, so that others can ask";
            return Err(RuleError::new(&table, "author", "is empty", hint));
        }
        if let MuteTime::Once { from, until } = config.time
            && until <= from
        {
            let hint = "let it end after it begins";
            return Err(RuleError::new(&table, "until", "is before its beginning", hint));
        }
        let (name, author) = (name.to_owned(), config.author.clone());
        Ok(Self { name, author, when, time: config.time.clone() })
    }

    /// Until when it is so now; `None` if it is not. What never ends ends in a week, when it is asked
    /// again.
    pub(crate) fn until(&self, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        match &self.time {
            MuteTime::Once { from, until } => (*from <= now && now < *until).then_some(*until),
            MuteTime::Weekly(hours) => {
                let local = now.to_zoned(zone.clone());
                if !hours.contain(&local) {
                    return None;
                }
                let week = jiff::SignedDuration::from_hours(7 * 24);
                hours
                    .end(&local)
                    .map_or_else(|| now.checked_add(week).ok(), |it| Some(it.timestamp()))
            }
        }
    }

    /// Whether it is over for good.
    pub(crate) fn is_over(&self, now: Timestamp) -> bool {
        matches!(self.time, MuteTime::Once { until, .. } if until <= now)
    }

    /// Whether it is about this event. A condition that cannot be told is not.
    pub(crate) fn is_about(&self, values: &Values) -> bool {
        self.when.as_ref().is_none_or(|when| when.holds_for(values).unwrap_or(false))
    }
}

// === impl Inhibit ===

impl Inhibit {
    fn try_new(name: &str, config: &InhibitConfig) -> Result<Self, RuleError> {
        let table = format!("inhibit.{name}");
        Ok(Self {
            name: name.to_owned(),
            source: compile(&table, "source", &config.source)?,
            target: compile(&table, "target", &config.target)?,
            equal: fields(&table, "equal", &config.equal)?,
        })
    }

    /// Whether the event, of which these are the facts, follows from something.
    pub(crate) fn is_target(&self, values: &Values) -> bool {
        self.target.holds_for(values).unwrap_or(false)
    }

    /// Whether it follows from that one.
    pub(crate) fn is_source(&self, source: &Event, target: &Event) -> bool {
        // What is not known of either is nothing that they have in common.
        let is_equal = |field: &Field| {
            let value = field.of(source);
            !value.is_empty() && value == field.of(target)
        };
        self.equal.iter().all(is_equal)
            && self.source.holds_for(&crate::facts::of(source)).unwrap_or(false)
    }
}
