//! One line: what it matches, and what it decides.

use std::{cell::OnceCell, fmt::Write as _, time::Duration};

use condition::{Condition, Shape, Type};
use estate::Access;
use serde_json::{Value, json};

use super::{Ask, Asked, Decided, Decision, Defaults, Hours, Pattern, Target, Transport, VmIds};

/// What a condition (`when`) of a line can name.
///
/// A condition is asked once per target; of a call that touches nothing that is known, `target` has
/// empty texts and the id 0.
pub const SHAPE: Shape = &[
    ("principal", Type::Text),
    ("transport", Type::Text),
    ("tool", Type::Text),
    ("toolsets", Type::List(&Type::Text)),
    ("tier", Type::Text),
    ("nature", Type::Text),
    ("mode", Type::Text),
    ("args", Type::Open),
    (
        "target",
        Type::Record(&[
            ("address", Type::Text),
            ("kind", Type::Text),
            ("cluster", Type::Text),
            ("node", Type::Text),
            ("vmid", Type::Int),
            ("name", Type::Text),
            ("pool", Type::Text),
            ("tags", Type::List(&Type::Text)),
            ("protected", Type::Bool),
        ]),
    ),
    ("targets", Type::Int),
    ("hour", Type::Int),
    ("minute", Type::Int),
    ("weekday", Type::Text),
];

/// One line of the policy.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The name of its table.
    pub name: String,
    /// Where it stands: lines are asked from the lowest to the highest.
    pub order: u32,
    /// What it is for, in the operator's words.
    pub about: Option<String>,
    /// Which calls it speaks of.
    pub matchers: Matchers,
    /// What it decides.
    pub effect: Effect,
}

/// Which calls a line speaks of. Empty lists take everything; of a list one entry must fit.
#[derive(Clone, Debug, Default)]
pub struct Matchers {
    /// Who asks, in the written form of a principal (`token:*`).
    pub principals: Vec<Pattern>,
    /// The way by which the call came.
    pub transports: Vec<Transport>,
    /// The tool's name.
    pub tools: Vec<Pattern>,
    /// A toolset that it is in.
    pub toolsets: Vec<Pattern>,
    /// The tier of the call.
    pub tiers: Vec<Access>,
    /// The key of the target's cluster or backup server.
    pub clusters: Vec<Pattern>,
    /// The target's node.
    pub nodes: Vec<Pattern>,
    /// The target's pool.
    pub pools: Vec<Pattern>,
    /// One of the target's tags.
    pub tags: Vec<Pattern>,
    /// The target's guest id.
    pub vmids: Vec<VmIds>,
    /// The hours of the week.
    pub hours: Vec<Hours>,
    /// Whether it speaks of protected targets, too. A line that denies always does.
    pub protected: bool,
    /// What else must be so.
    pub when: Option<Condition>,
}

/// What a line decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The call runs.
    Allow {
        /// How often in an hour and for one principal; beyond it the call asks.
        per_hour: Option<u32>,
    },
    /// The call runs when people have agreed.
    Ask {
        /// Names of approvers or of their teams; empty: any approver.
        of: Vec<String>,
        /// How many of them.
        count: u32,
        /// Within which time; `None`: as the defaults say.
        within: Option<Duration>,
        /// Whether the person at the asking client counts; `None`: as the defaults say.
        client: Option<bool>,
    },
    /// The call does not run.
    Deny {
        /// What the caller is told.
        reason: Option<String>,
    },
}

/// A call and one of its targets, with what conditions see of them made at most once.
pub(super) struct About<'a> {
    pub(super) asked: &'a Asked<'a>,
    pub(super) target: Option<&'a Target>,
    principal: OnceCell<String>,
    values: OnceCell<Value>,
}

/// Whether a line's matchers fit.
enum Fit {
    /// The matcher that does not.
    No(&'static str),
    Yes,
    /// It counts because what it looks at is not known.
    Unknown(String),
}

// === impl About ===

impl<'a> About<'a> {
    pub(super) fn new(asked: &'a Asked<'a>, target: Option<&'a Target>) -> Self {
        Self { asked, target, principal: OnceCell::new(), values: OnceCell::new() }
    }

    fn principal(&self) -> &str {
        self.principal.get_or_init(|| self.asked.principal.to_string())
    }

    /// For sentences: the target by its address, or the call.
    pub(super) fn named(&self) -> &str {
        self.target.map_or("the call", |target| target.address.as_str())
    }

    pub(super) fn is_change(&self) -> bool {
        self.asked.access > Access::Read
    }

    pub(super) fn is_protected(&self) -> bool {
        let protection =
            |target: &Target| target.protection_from(self.asked.access, self.asked.nature);
        self.target.and_then(protection).is_some()
    }

    /// What conditions see.
    fn values(&self) -> &Value {
        self.values.get_or_init(|| {
            let asked = self.asked;
            let nowhere = Target::new(super::TargetKind::Cluster, "", "");
            let target = self.target.unwrap_or(&nowhere);
            let kind = self.target.map_or("", |target| target.kind.as_str());
            let text = |text: &Option<String>| text.clone().unwrap_or_default();
            let args = if asked.args.is_object() { asked.args.clone() } else { json!({}) };
            json!({
                "principal": self.principal(),
                "transport": asked.transport.as_str(),
                "tool": asked.tool,
                "toolsets": asked.toolsets,
                "tier": asked.access.as_str(),
                "nature": asked.nature.as_str(),
                "mode": asked.mode.as_str(),
                "args": args,
                "target": {
                    "address": target.address,
                    "kind": kind,
                    "cluster": target.cluster,
                    "node": text(&target.node),
                    "vmid": target.vmid.unwrap_or_default(),
                    "name": text(&target.name),
                    "pool": text(&target.pool),
                    "tags": target.tags,
                    "protected": target.protection.is_some(),
                },
                "targets": asked.targets.len(),
                "hour": asked.now.hour(),
                "minute": asked.now.minute(),
                "weekday": weekday(asked.now.weekday()),
            })
        })
    }
}

fn weekday(day: jiff::civil::Weekday) -> &'static str {
    use jiff::civil::Weekday;

    match day {
        Weekday::Monday => "mon",
        Weekday::Tuesday => "tue",
        Weekday::Wednesday => "wed",
        Weekday::Thursday => "thu",
        Weekday::Friday => "fri",
        Weekday::Saturday => "sat",
        Weekday::Sunday => "sun",
    }
}

// === impl Rule ===

impl Rule {
    /// The tiers that it speaks of. A question is about a plan, and a read has none; a line that looks
    /// closer than at the cluster speaks of changes, since what a list holds is known only when it is
    /// read.
    pub fn speaks_of(&self, access: Access) -> bool {
        let of_changes =
            matches!(self.effect, Effect::Ask { .. }) || self.matchers.looks_closer().is_some();
        (self.matchers.tiers.is_empty() || self.matchers.tiers.contains(&access))
            && !(of_changes && access == Access::Read)
    }

    /// Whether it speaks of protected targets.
    pub fn speaks_of_protected(&self) -> bool {
        self.matchers.protected || matches!(self.effect, Effect::Deny { .. })
    }

    /// Whether it looks at what a call touches.
    pub(super) fn weighs_targets(&self) -> bool {
        !self.matchers.clusters.is_empty() || self.matchers.looks_closer().is_some()
    }

    /// What it decides about this call, if it speaks of it.
    pub(super) fn decide(&self, about: &About<'_>, defaults: &Defaults) -> Option<Decided> {
        let unknown = match self.fit(about) {
            Fit::No(_) => return None,
            Fit::Yes => None,
            Fit::Unknown(why) => Some(why),
        };
        let mut why = format!("line `{}` ", self.name);
        let (decision, per_hour) = match &self.effect {
            Effect::Allow { per_hour } => {
                why.push_str("allows it");
                (Decision::Allow, *per_hour)
            }
            Effect::Ask { of, count, within, client } => {
                let usual = defaults.ask(about.asked.access);
                let ask = Ask {
                    of: of.clone(),
                    count: *count,
                    within: within.unwrap_or(usual.within),
                    client: client.unwrap_or(usual.client),
                };
                why.push_str("asks ");
                why.push_str(&ask.whom());
                (Decision::Ask(ask), None)
            }
            Effect::Deny { .. } => {
                why.push_str("refuses it");
                (Decision::Deny, None)
            }
        };
        if let Some(unknown) = unknown {
            // Writing to a string cannot fail.
            let _ = write!(why, ", to be safe: {unknown}");
        } else if let Some(matched) = self.matchers.said(about.target) {
            let _ = write!(why, ": {matched}");
        }
        if let Effect::Deny { reason: Some(reason) } = &self.effect {
            let _ = write!(why, "; {reason}");
        }
        Some(Decided { decision, line: self.name.clone(), why, unasked_per_hour: per_hour })
    }

    /// The matcher that keeps it from speaking of this call; `None` if it does.
    pub(super) fn why_not(&self, about: &About<'_>) -> Option<&'static str> {
        match self.fit(about) {
            Fit::No(matcher) => Some(matcher),
            Fit::Yes | Fit::Unknown(_) => None,
        }
    }

    fn fit(&self, about: &About<'_>) -> Fit {
        let (it, asked) = (&self.matchers, about.asked);
        let any = |patterns: &[Pattern], name: &str| {
            patterns.is_empty() || patterns.iter().any(|pattern| pattern.fits(name))
        };
        if !self.speaks_of(asked.access) {
            return Fit::No("tier");
        }
        if !(it.transports.is_empty() || it.transports.contains(&asked.transport)) {
            return Fit::No("transport");
        }
        if !any(&it.tools, asked.tool) {
            return Fit::No("tool");
        }
        if !(it.toolsets.is_empty() || asked.toolsets.iter().any(|set| any(&it.toolsets, set))) {
            return Fit::No("toolset");
        }
        if !(it.principals.is_empty() || any(&it.principals, about.principal())) {
            return Fit::No("principal");
        }
        if !(it.hours.is_empty() || it.hours.iter().any(|hours| hours.contain(asked.now))) {
            return Fit::No("hours");
        }
        if about.is_protected() && !self.speaks_of_protected() {
            return Fit::No("protected");
        }
        match about.target {
            Some(target) => {
                if let Some(matcher) = it.unfit_for(target) {
                    return Fit::No(matcher);
                }
            }
            None if self.weighs_targets() => {
                // A change that touches nothing that is known may touch what this line protects.
                if matches!(self.effect, Effect::Deny { .. }) && about.is_change() {
                    return Fit::Unknown("nothing is known of what the call touches".to_owned());
                }
                return Fit::No("target");
            }
            None => {}
        }
        let Some(when) = &it.when else { return Fit::Yes };
        match when.holds(about.values()) {
            Ok(true) => Fit::Yes,
            Ok(false) => Fit::No("when"),
            // What cannot be told makes a line that refuses or asks count, and one that allows not.
            Err(_) if matches!(self.effect, Effect::Allow { .. }) => Fit::No("when"),
            Err(error) => Fit::Unknown(error.to_string()),
        }
    }
}

// === impl Matchers ===

impl Matchers {
    /// The matcher that does not fit the target.
    fn unfit_for(&self, target: &Target) -> Option<&'static str> {
        let fits = |patterns: &[Pattern], name: Option<&str>| {
            patterns.is_empty()
                || name.is_some_and(|name| patterns.iter().any(|pattern| pattern.fits(name)))
        };
        let tagged = self.tags.is_empty()
            || target.tags.iter().any(|tag| self.tags.iter().any(|pattern| pattern.fits(tag)));
        let numbered = self.vmids.is_empty()
            || target.vmid.is_some_and(|id| self.vmids.iter().any(|ids| ids.contains(id)));
        let matchers = [
            ("cluster", fits(&self.clusters, Some(&target.cluster))),
            ("node", fits(&self.nodes, target.node.as_deref())),
            ("pool", fits(&self.pools, target.pool.as_deref())),
            ("tag", tagged),
            ("vmid", numbered),
        ];
        matchers.into_iter().find(|(_, fits)| !fits).map(|(name, _)| name)
    }

    /// The matcher that looks closer at what is touched than at its cluster.
    pub(super) fn looks_closer(&self) -> Option<&'static str> {
        let in_when = |name| self.when.as_ref().is_some_and(|when| when.names(name));
        match () {
            () if !self.nodes.is_empty() => Some("node"),
            () if !self.pools.is_empty() => Some("pool"),
            () if !self.tags.is_empty() => Some("tag"),
            () if !self.vmids.is_empty() => Some("vmid"),
            () if in_when("target") || in_when("targets") => Some("when"),
            () => None,
        }
    }

    /// Whether it names exactly one guest.
    pub fn is_one_guest(&self) -> bool {
        let one_cluster = matches!(self.clusters.as_slice(), [one] if one.is_literal());
        let one_guest = matches!(self.vmids.as_slice(), [one] if one.is_one());
        one_cluster && one_guest
    }

    /// What matched, as the operator wrote it.
    pub fn said(&self, target: Option<&Target>) -> Option<String> {
        let mut parts = Vec::new();
        let mut part = |word: &str, values: Vec<String>| {
            if !values.is_empty() {
                parts.push(format!("{word} {}", values.join(" or ")));
            }
        };
        fn texts<T: ToString>(values: &[T]) -> Vec<String> {
            values.iter().map(ToString::to_string).collect()
        }
        part("principal", texts(&self.principals));
        part("transport", self.transports.iter().map(|it| it.as_str().to_owned()).collect());
        part("tool", texts(&self.tools));
        part("toolset", texts(&self.toolsets));
        part("tier", texts(&self.tiers));
        part("cluster", texts(&self.clusters));
        part("node", texts(&self.nodes));
        part("pool", texts(&self.pools));
        part("tag", texts(&self.tags));
        part("guest", texts(&self.vmids));
        part("hours", texts(&self.hours));
        part("condition", self.when.iter().map(|when| when.source().to_owned()).collect());
        if let Some(target) = target.filter(|_| !parts.is_empty()) {
            parts.push(format!("target {}", target.address));
        }
        (!parts.is_empty()).then(|| parts.join(", "))
    }
}

// === impl Ask ===

impl Ask {
    /// Who is asked, in words: `any approver`, `two of alice, ops`.
    pub fn whom(&self) -> String {
        match (self.of.as_slice(), self.count) {
            ([], 0 | 1) => "any approver".to_owned(),
            ([], count) => format!("{count} approvers"),
            ([one], 0 | 1) => one.clone(),
            (names, count) => format!("{} of {}", count.max(1), names.join(", ")),
        }
    }
}
