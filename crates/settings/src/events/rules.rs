//! `[rule.<name>]`, `[maintenance.<name>]` and `[inhibit.<name>]`: into the types of `rules`.

use api_core::endpoint::ExpectedOff;
use condition::Condition;
use event_core::Severity;
use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use rules::{
    Config, Escalation, InhibitConfig, Limit, MuteConfig, MuteTime, RuleConfig, RuleError, Rules,
    SHAPE,
};
use stdx::Hours;

use super::client::Around;
use super::fields::Fields;
use crate::error::Complaint;
use crate::keys::did_you_mean;
use crate::layer::KeyPath;
use crate::layers::{self, Merged};
use crate::load::Loader;

/// The name of the line for the nodes that are meant to be off.
const EXPECTED_OFF: &str = "expected_off";

// === impl Loader ===

impl Loader<'_> {
    /// Puts the tables into the config and checks the whole; `None` after errors that say why not.
    pub(super) fn rules(
        &mut self,
        merged: &Merged,
        around: &Around<'_>,
        config: &mut Config,
    ) -> Option<Rules> {
        if let Some(rule) = expected_off(around) {
            config.rules.insert(EXPECTED_OFF.to_owned(), rule);
        }
        let outputs: Vec<String> = config.outputs.keys().cloned().collect();
        let outputs: Vec<&str> = outputs.iter().map(String::as_str).collect();
        for (name, _) in merged.tables("rule") {
            let mut fields = Fields::open(self, merged, &["rule", name]);
            let rule = fields.rule(&outputs);
            if config.rules.insert(name.to_owned(), rule).is_some() {
                let hint =
                    "it is that of the line for the nodes of `expected_off`; rename this one";
                fields.wrong_table("has a name that is taken", hint);
            }
        }
        for (name, _) in merged.tables("maintenance") {
            let mut fields = Fields::open(self, merged, &["maintenance", name]);
            if let Some(window) = fields.maintenance(&config.zone) {
                config.maintenance.insert(name.to_owned(), window);
            }
        }
        for (name, _) in merged.tables("inhibit") {
            let mut fields = Fields::open(self, merged, &["inhibit", name]);
            if let Some(inhibit) = fields.inhibit() {
                config.inhibits.insert(name.to_owned(), inhibit);
            }
        }
        match Rules::try_new(config) {
            Ok(rules) => Some(rules),
            Err(errors) => {
                for error in errors {
                    self.rule_error(merged, error);
                }
                None
            }
        }
    }

    fn rule_error(&mut self, merged: &Merged, error: RuleError) {
        let RuleError { table, key, reason, hint, .. } = error;
        let path = path_of(&table, key);
        let origin = merged.origin(&path);
        self.findings.error(&origin, layers::name(&path), Complaint::new(reason, hint));
    }
}

/// A line for the nodes that are meant to be off: nobody is told that they are. What is said of
/// guests goes to the input that asks for them.
fn expected_off(around: &Around<'_>) -> Option<RuleConfig> {
    let pve = around.pve.iter().map(|(key, options)| (key, &options.expected_off));
    let pbs = around.pbs.iter().map(|(key, options)| (key, &options.expected_off));
    let mut conditions = Vec::new();
    for (key, off) in pve.chain(pbs) {
        for node in off {
            if let ExpectedOff::Node(node) = node {
                // Neither name has a character that would end the text.
                conditions.push(format!("event.cluster == '{key}' && event.node == '{node}'"));
            }
        }
    }
    if conditions.is_empty() {
        return None;
    }
    let when = format!("event.kind == 'node.offline' && ({})", conditions.join(" || "));
    Some(RuleConfig { when: Some(when), drop: true, ..RuleConfig::default() })
}

/// The settings that the rules mean by their own names.
fn path_of(table: &str, key: Option<&str>) -> KeyPath {
    let path: &[&str] = match (table, key) {
        ("rules", Some("wait")) => &["events", "wait_secs"],
        ("rules", _) => &["events", "update_secs"],
        ("hold", _) => &["events", "hold_secs"],
        ("full", _) => &["events", "full_error_percent"],
        _ => &[],
    };
    if !path.is_empty() {
        return path.iter().map(|&segment| segment.to_owned()).collect();
    }
    let mut path: KeyPath = table.split('.').map(str::to_owned).collect();
    path.extend(key.map(|key| match key {
        "wait" | "repeat" => format!("{key}_secs"),
        key => key.to_owned(),
    }));
    path
}

// === impl Fields ===

impl Fields<'_, '_> {
    fn rule(&mut self, outputs: &[&str]) -> RuleConfig {
        let per = self.span("throttle_secs").unwrap_or_default();
        if self.has("throttle_secs") && !self.has("throttle") {
            let hint = "say with `throttle` how many messages there may be, or take it out";
            self.wrong("throttle_secs", "means nothing without throttle", hint);
        }
        let mut escalate = Vec::new();
        for name in self.names_below("escalate") {
            let mut step = self.below("escalate", &name);
            let to = step.outputs("to", outputs);
            if let (Some(after), false) = (step.span("after_secs"), to.is_empty()) {
                escalate.push(Escalation { after, to });
            }
        }
        RuleConfig {
            order: self.number("order").and_then(|order| order.try_into().ok()).unwrap_or_default(),
            when: self.condition("when"),
            drop: self.flag("drop"),
            severity: self.severity("severity"),
            title: self.text("title"),
            labels: self.texts("labels"),
            route: self.outputs("route", outputs),
            digest: self.flag("digest"),
            group_by: self.list("group_by"),
            wait: self.span("wait_secs"),
            repeat: self.span("repeat_secs"),
            throttle: self.number("throttle").map(|_| Limit { count: self.count("throttle"), per }),
            escalate,
            last: self.flag("last"),
        }
    }

    fn maintenance(&mut self, zone: &TimeZone) -> Option<MuteConfig> {
        let when = self.condition("when");
        let author = self.text("author").unwrap_or_else(|| "settings".to_owned());
        let reason = self.text("reason").unwrap_or_default();
        let time = self.mute_time(zone)?;
        Some(MuteConfig { when, time, author, reason })
    }

    /// Hours of every week, or once.
    fn mute_time(&mut self, zone: &TimeZone) -> Option<MuteTime> {
        match (self.has("hours"), self.has("from"), self.has("until")) {
            (true, false, false) => Some(MuteTime::Weekly(self.hours("hours").pop()?)),
            (false, true, true) => {
                let from = self.moment("from", zone);
                let until = self.moment("until", zone);
                Some(MuteTime::Once { from: from?, until: until? })
            }
            (true, ..) => {
                let key = if self.has("from") { "from" } else { "until" };
                let hint = "a window is weekly or once: keep `hours`, or `from` and `until`";
                self.wrong(key, "is set, and hours too", hint);
                None
            }
            (false, true, false) => {
                self.wrong("from", "is set without until", "say when it ends");
                None
            }
            (false, false, true) => {
                self.wrong("until", "is set without from", "say when it begins");
                None
            }
            (false, false, false) => {
                let hint = "set hours = \"sun/02:00-06:00\", or from and until";
                if self.is_good() {
                    self.wrong_table("has no time", hint);
                }
                None
            }
        }
    }

    fn inhibit(&mut self) -> Option<InhibitConfig> {
        let (source, target) = (self.condition("source"), self.condition("target"));
        Some(InhibitConfig { source: source?, target: target?, equal: self.list("equal") })
    }

    /// A condition that can be compiled; `None` after the complaint that says why not.
    fn condition(&mut self, key: &str) -> Option<String> {
        let source = self.text(key)?;
        match Condition::compile(&source, SHAPE) {
            Ok(_) => Some(source),
            Err(error) => {
                let (line, column, reason) = (error.line(), error.column(), error.reason());
                let reason = match line {
                    1 => format!("at column {column}: {reason}"),
                    line => format!("at line {line}, column {column}: {reason}"),
                };
                self.wrong(key, reason, error.hint());
                None
            }
        }
    }

    /// The names of outputs; those that there are not are complained about and left out.
    fn outputs(&mut self, key: &str, known: &[&str]) -> Vec<String> {
        let mut names = self.list(key);
        if names.is_empty() && self.has(key) {
            self.wrong(key, "names nobody", "name outputs, or take it out");
        }
        names.retain(|target| {
            // Whether the output has that place, the rules say.
            let name = target.split_once(':').map_or(target.as_str(), |(output, _)| output);
            if known.contains(&name) {
                return true;
            }
            let shown: String = name.chars().take(40).collect();
            let hint = match known {
                [] => format!("add a table [output.{shown}]; there is no output yet"),
                _ => did_you_mean(name, known, "the outputs are"),
            };
            self.wrong(key, format!("names {shown:?}, which is no output"), hint);
            false
        });
        names
    }

    pub(super) fn hours(&mut self, key: &str) -> Vec<Hours> {
        self.parsed(key, |text| text.parse::<Hours>().map_err(|error| error.to_string()))
    }

    pub(super) fn severity(&self, key: &str) -> Option<Severity> {
        self.text(key)?.parse().ok()
    }

    /// A moment with its offset, or by the clock of the zone.
    fn moment(&mut self, key: &str, zone: &TimeZone) -> Option<Timestamp> {
        let text = self.time(key)?;
        let absolute = text.parse::<Timestamp>().ok();
        let local =
            || zone.to_ambiguous_timestamp(text.parse::<DateTime>().ok()?).compatible().ok();
        let moment = absolute.or_else(local);
        if moment.is_none() {
            let shown: String = text.chars().take(40).collect();
            let hint =
                "write it as 2026-12-05 22:00, or with its offset as 2026-12-05T22:00:00+01:00";
            self.wrong(key, format!("is {shown:?}, which is no moment"), hint);
        }
        moment
    }
}
