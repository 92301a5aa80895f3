//! From lines as they are written to a policy: what no line may be, and lines that never decide.

use std::fmt;

use estate::Access;

use super::{Defaults, Effect, Matchers, Pattern, Policy, Rule};

/// The most lines of a policy.
const MAX_LINES: usize = 500;

/// A policy that cannot be meant.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PolicyError {
    /// The line that it is about.
    pub line: String,
    /// The key of the line that is wrong, if it is one.
    pub key: Option<&'static str>,
    /// What is wrong.
    pub reason: String,
    /// What to do about it.
    pub hint: String,
}

// === impl Policy ===

impl Policy {
    /// Checks the lines and puts them in their order.
    ///
    /// # Errors
    /// Two lines at one place, a line that no call reaches, or one that goes too far.
    pub fn try_new(mut rules: Vec<Rule>, defaults: Defaults) -> Result<Self, PolicyError> {
        match Self::problems(&mut rules).into_iter().next() {
            Some(problem) => Err(problem),
            None => Ok(Self { rules, defaults }),
        }
    }

    /// Everything that is wrong with these lines, for a report of all of it; puts them in their
    /// order.
    pub fn problems(rules: &mut [Rule]) -> Vec<PolicyError> {
        rules.sort_by(|one, other| (one.order, &one.name).cmp(&(other.order, &other.name)));
        let mut problems = Vec::new();
        if rules.len() > MAX_LINES {
            let reason = format!("is one of {} lines", rules.len());
            let line = rules[MAX_LINES].name.clone();
            let hint = format!("a policy has at most {MAX_LINES}");
            problems.push(PolicyError { line, key: None, reason, hint });
            return problems;
        }
        for (at, rule) in rules.iter().enumerate() {
            problems.extend(rule.problem());
            let earlier = &rules[..at];
            if let Some(other) = earlier.iter().find(|other| other.order == rule.order) {
                problems.push(PolicyError {
                    line: rule.name.clone(),
                    key: Some("order"),
                    reason: format!("is {}, as that of line `{}`", rule.order, other.name),
                    hint: "give each line a place of its own".to_owned(),
                });
            }
            if let Some(other) = earlier.iter().find(|other| other.shadows(rule)) {
                problems.push(PolicyError {
                    line: rule.name.clone(),
                    key: None,
                    reason: format!(
                        "is never reached: line `{}` decides every call that `{}` speaks of",
                        other.name, rule.name
                    ),
                    hint: format!(
                        "give `{}` a lower `order` than `{}`, or take one of them out",
                        rule.name, other.name
                    ),
                });
            }
        }
        problems
    }
}

// === impl Rule ===

impl Rule {
    /// What this line may not be, whatever the others are.
    fn problem(&self) -> Option<PolicyError> {
        let error = |key, reason: &str, hint: &str| {
            let (reason, hint) = (reason.to_owned(), hint.to_owned());
            Some(PolicyError { line: self.name.clone(), key, reason, hint })
        };
        match &self.effect {
            Effect::Allow { .. } => {
                let one_guest = self.matchers.is_one_guest();
                if self.speaks_of(Access::Destroy) && !one_guest {
                    return error(
                        Some("decision"),
                        "allows what may lose something without consent, and names no single guest",
                        "add `tier = [\"read\", \"operate\"]`, or one `cluster` and one `vmid`, or \
                         let it ask",
                    );
                }
                if self.matchers.protected && self.speaks_of(Access::Operate) && !one_guest {
                    return error(
                        Some("protected"),
                        "allows what is done to protected targets without consent, and names no \
                         single guest",
                        "name one `cluster` and one `vmid`, or let it ask",
                    );
                }
                None
            }
            Effect::Ask { of, count, .. } => {
                if !(self.speaks_of(Access::Operate) || self.speaks_of(Access::Destroy)) {
                    return error(
                        Some("decision"),
                        "asks about reads only, which have no plan to agree to",
                        "let it allow or deny them, or take other tiers",
                    );
                }
                if *count == 0 {
                    return error(Some("count"), "is 0", "it takes at least one approver");
                }
                let dupes = of.iter().enumerate().any(|(at, name)| of[..at].contains(name));
                if dupes {
                    return error(Some("of"), "names somebody twice", "name each once");
                }
                None
            }
            Effect::Deny { .. } => {
                let closer = self.matchers.looks_closer();
                closer.filter(|_| self.matchers.tiers.contains(&Access::Read)).and_then(|matcher| {
                    error(
                        Some(matcher),
                        "looks closer than at the cluster, which nothing does about a read",
                        "take `read` out of `tier`, or refuse reads by `cluster`, `tool`, \
                         `toolset`, `principal` or `hours`",
                    )
                })
            }
        }
    }

    /// Whether no call that `later` speaks of gets past this line.
    fn shadows(&self, later: &Self) -> bool {
        if self.matchers.when.is_some() {
            return false;
        }
        let tiers = [Access::Read, Access::Operate, Access::Destroy];
        let mut theirs = tiers.into_iter().filter(|tier| later.speaks_of(*tier)).peekable();
        if theirs.peek().is_none() {
            return false;
        }
        let changes = later.speaks_of(Access::Operate) || later.speaks_of(Access::Destroy);
        let protected = !changes || self.speaks_of_protected() || !later.speaks_of_protected();
        theirs.all(|tier| self.speaks_of(tier)) && protected && self.matchers.cover(&later.matchers)
    }
}

// === impl Matchers ===

impl Matchers {
    /// Whether every call and target that fits `other` fits this, tiers and protection aside.
    fn cover(&self, other: &Self) -> bool {
        let (one, two) = (self, other);
        patterns(&one.principals, &two.principals)
            && within(&one.transports, &two.transports, |one, two| one == two)
            && patterns(&one.tools, &two.tools)
            && patterns(&one.toolsets, &two.toolsets)
            && patterns(&one.clusters, &two.clusters)
            && patterns(&one.nodes, &two.nodes)
            && patterns(&one.pools, &two.pools)
            && patterns(&one.tags, &two.tags)
            && within(&one.vmids, &two.vmids, |one, two| one.covers(*two))
            && within(&one.hours, &two.hours, super::Hours::cover)
    }
}

fn patterns(one: &[Pattern], other: &[Pattern]) -> bool {
    // A `*` alone is everything, but only of what has a name there: a target without a pool is in
    // none, so it is not the same as no matcher.
    within(one, other, Pattern::covers)
}

/// Whether each of `other` is within one of `one`; an empty list stands for everything.
fn within<T>(one: &[T], other: &[T], covers: impl Fn(&T, &T) -> bool) -> bool {
    one.is_empty()
        || (!other.is_empty()
            && other.iter().all(|theirs| one.iter().any(|mine| covers(mine, theirs))))
}

// === impl PolicyError ===

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key {
            Some(key) => {
                write!(f, "`{key}` of line `{}` {}: {}", self.line, self.reason, self.hint)
            }
            None => write!(f, "line `{}` {}: {}", self.line, self.reason, self.hint),
        }
    }
}

impl std::error::Error for PolicyError {}
