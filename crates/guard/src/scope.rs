//! What a credential may do at most: a tier, and what it is kept to.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use estate::{Access, ClusterKey, NodeName};
use jiff::Zoned;

use crate::policy::{Hours, Target, VmIds};

const TOOLSET: &str = "toolset:";
const CLUSTER: &str = "cluster:";
const NODE: &str = "node:";
const POOL: &str = "pool:";
const TAG: &str = "tag:";
const VMID: &str = "vmid:";
const HOURS: &str = "hours:";
const RATE: &str = "rate:";
const CHANGES: &str = "changes:";
const GUESTS: &str = "guests:";
const CHOICES: &str = "read, operate, destroy, toolset:NAME, cluster:KEY, node:NAME, pool:NAME, \
                       tag:NAME, vmid:100-199, hours:mon-fri/08:00-18:00@ZONE, rate:60, changes:5 \
                       or guests:10";
/// The longest toolset name, in bytes; cluster keys have the same ceiling.
const MAX_NAME: usize = 40;

/// What a credential may do at most.
///
/// Written as words with commas between them: one tier, and whatever it is kept to.
///
/// | word | meaning |
/// |---|---|
/// | `read`, `operate`, `destroy` | the highest tier; each includes those before it |
/// | `toolset:NAME` | only tools of this toolset; without any, those that the server offers |
/// | `cluster:KEY` | only this cluster or backup server; without any, all of them |
/// | `node:NAME`, `pool:NAME`, `tag:NAME`, `vmid:100-199` | changes only what is on this node, in this pool, has this tag, is in this range |
/// | `hours:mon-fri/08:00-18:00@Europe/Berlin` | only in these hours |
/// | `rate:60` | at most so many calls a minute |
/// | `changes:5` | at most so many changes an hour |
/// | `guests:10` | at most so many guests in one plan |
///
/// Words of one kind are alternatives; words of different kinds must all hold. What is read is kept
/// to toolsets, clusters, hours and rate; the other words are about changes.
///
/// A scope never widens what the server's own settings allow.
///
/// ```
/// use estate::Access;
/// use guard::Scope;
///
/// let scope: Scope = "operate,toolset:backup,cluster:home".parse()?;
/// assert!(scope.allows(Access::Read) && !scope.allows(Access::Destroy));
/// assert!(scope.allows_cluster("home") && !scope.allows_cluster("lab"));
/// # Ok::<(), guard::InvalidScope>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope {
    /// The highest tier.
    pub access: Access,
    /// The toolsets it is kept to, sorted; empty: those that the server offers.
    pub toolsets: Vec<String>,
    /// The keys of the clusters and backup servers it is kept to, sorted; empty: all of them.
    pub clusters: Vec<String>,
    /// The nodes to which its changes are kept, sorted; empty: all of them.
    pub nodes: Vec<String>,
    /// The pools to which its changes are kept, sorted; empty: any or none.
    pub pools: Vec<String>,
    /// The tags of which a target has one, sorted; empty: any or none.
    pub tags: Vec<String>,
    /// The guest ids to which its changes are kept, sorted; empty: all of them.
    pub vmids: Vec<VmIds>,
    /// The hours in which it is of use, sorted; empty: always.
    pub hours: Vec<Hours>,
    /// The most calls a minute.
    pub rate: Option<u32>,
    /// The most changes an hour.
    pub changes: Option<u32>,
    /// The most guests of one plan.
    pub guests: Option<u32>,
}

/// A call is outside of a scope; reads as an answer to the caller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OutOfScope {
    /// The tier is higher.
    #[error("this credential's scope ends at `{scope}` and the call needs `{needed}`")]
    Tier {
        /// The highest tier of the scope.
        scope: Access,
        /// The tier of the call.
        needed: Access,
    },
    /// It touches something else.
    #[error("this credential's scope is kept to {kept}, and {address} is not within")]
    Target {
        /// What is touched.
        address: String,
        /// The words of the scope.
        kept: String,
    },
    /// Nobody knows what it touches.
    #[error("this credential's scope is kept to {kept}, and what the call touches is not known")]
    Nothing {
        /// The words of the scope.
        kept: String,
    },
    /// It is another hour.
    #[error("this credential is of use in the hours {hours} only")]
    Hours {
        /// The hours of the scope.
        hours: String,
    },
    /// The plan is too large.
    #[error("this credential's scope allows {limit} guests in one plan, and this one has {count}")]
    Guests {
        /// The most.
        limit: u32,
        /// How many there are.
        count: usize,
    },
}

/// The text is not a scope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidScope {
    /// A word that means nothing.
    #[error("`{0}` is not a scope: use {CHOICES}")]
    Unknown(String),
    /// A toolset that no name could be.
    #[error("`{0}` names no toolset: a name is made of a-z, 0-9 and _, at most 40 characters")]
    Toolset(String),
    /// A cluster that no key could be.
    #[error("`{0}` names no cluster: a key is made of a-z, 0-9 and _, at most 40 characters")]
    Cluster(String),
    /// A node, pool or tag that nothing is called.
    #[error(
        "`{0}` names nothing: node names are letters, digits, - and .; pools and tags have _, + and / besides"
    )]
    Name(String),
    /// No guest id and no range.
    #[error("`{0}` is no range of guests: write vmid:104 or vmid:100-199")]
    VmIds(String),
    /// No hours.
    #[error("`{0}` are no hours: write hours:mon-fri/08:00-18:00@Europe/Berlin")]
    Hours(String),
    /// No number, or one of no use.
    #[error("`{0}` has no number from 1 to 100000 behind it")]
    Number(String),
    /// No tier among the words.
    #[error("the scope has no tier: add read, operate or destroy")]
    NoTier,
}

// === impl Scope ===

impl Scope {
    /// No limit but the server's own.
    pub fn everything() -> Self {
        Self::tier(Access::Destroy)
    }

    /// Every read, everywhere.
    pub fn read_only() -> Self {
        Self::tier(Access::Read)
    }

    /// This tier, everywhere.
    pub fn tier(access: Access) -> Self {
        Self {
            access,
            toolsets: Vec::new(),
            clusters: Vec::new(),
            nodes: Vec::new(),
            pools: Vec::new(),
            tags: Vec::new(),
            vmids: Vec::new(),
            hours: Vec::new(),
            rate: None,
            changes: None,
            guests: None,
        }
    }

    /// Whether a call of this tier is within the scope.
    pub fn allows(&self, access: Access) -> bool {
        access <= self.access
    }

    /// Whether the tools of this toolset are within the scope, as far as the server offers them.
    pub fn allows_toolset(&self, name: &str) -> bool {
        self.toolsets.is_empty() || self.toolsets.iter().any(|toolset| toolset == name)
    }

    /// Whether this cluster or backup server is within the scope.
    pub fn allows_cluster(&self, key: &str) -> bool {
        self.clusters.is_empty() || self.clusters.iter().any(|cluster| cluster == key)
    }

    /// Whether a call of this tier on these targets is within the scope now. The counts ([`rate`],
    /// [`changes`]) are for whoever counts.
    ///
    /// [`rate`]: Scope::rate
    /// [`changes`]: Scope::changes
    ///
    /// # Errors
    /// What is outside, in words.
    pub fn permits(
        &self,
        access: Access,
        targets: &[Target],
        now: &Zoned,
    ) -> Result<(), OutOfScope> {
        if !self.allows(access) {
            return Err(OutOfScope::Tier { scope: self.access, needed: access });
        }
        if !self.hours.is_empty() && !self.hours.iter().any(|hours| hours.contain(now)) {
            return Err(OutOfScope::Hours { hours: joined(&self.hours) });
        }
        if let Some(out) = targets.iter().find(|target| !self.allows_cluster(&target.cluster)) {
            let kept = self.kept();
            return Err(OutOfScope::Target { address: out.address.clone(), kept });
        }
        if access == Access::Read {
            return Ok(());
        }
        let kept_to_some = !(self.nodes.is_empty()
            && self.pools.is_empty()
            && self.tags.is_empty()
            && self.vmids.is_empty());
        if kept_to_some && targets.is_empty() {
            return Err(OutOfScope::Nothing { kept: self.kept() });
        }
        if let Some(out) = targets.iter().find(|target| !self.allows_target(target)) {
            let kept = self.kept();
            return Err(OutOfScope::Target { address: out.address.clone(), kept });
        }
        let count = targets.iter().filter(|target| target.vmid.is_some()).count();
        match self.guests {
            Some(limit) if count > limit as usize => Err(OutOfScope::Guests { limit, count }),
            _ => Ok(()),
        }
    }

    /// Whether changes of this target are within the scope.
    pub fn allows_target(&self, target: &Target) -> bool {
        let one_of = |names: &[String], name: Option<&String>| {
            names.is_empty() || name.is_some_and(|name| names.contains(name))
        };
        self.allows_cluster(&target.cluster)
            && one_of(&self.nodes, target.node.as_ref())
            && one_of(&self.pools, target.pool.as_ref())
            && (self.tags.is_empty() || target.tags.iter().any(|tag| self.tags.contains(tag)))
            && (self.vmids.is_empty()
                || target.vmid.is_some_and(|id| self.vmids.iter().any(|ids| ids.contains(id))))
    }

    /// The words that say which targets it is kept to.
    fn kept(&self) -> String {
        let words = self.to_string();
        let kept = [CLUSTER, NODE, POOL, TAG, VMID];
        let words = words.split(',').filter(|word| kept.iter().any(|it| word.starts_with(it)));
        words.collect::<Vec<_>>().join(" ")
    }

    /// Whether everything that `other` allows is within this scope, as far as the words tell:
    /// toolsets, nodes, pools and tags are compared by name.
    pub fn covers(&self, other: &Self) -> bool {
        let limit = |mine: Option<u32>, theirs: Option<u32>| {
            mine.is_none_or(|mine| theirs.is_some_and(|theirs| theirs <= mine))
        };
        let same = |one: &String, other: &String| one == other;
        self.allows(other.access)
            && within(&self.toolsets, &other.toolsets, same)
            && within(&self.clusters, &other.clusters, same)
            && within(&self.nodes, &other.nodes, same)
            && within(&self.pools, &other.pools, same)
            && within(&self.tags, &other.tags, same)
            && within(&self.vmids, &other.vmids, |one, other| one.covers(*other))
            && within(&self.hours, &other.hours, Hours::cover)
            && limit(self.rate, other.rate)
            && limit(self.changes, other.changes)
            && limit(self.guests, other.guests)
    }

    /// What both allow; `None` where that is nothing. Names and hours are compared as they are
    /// written, so of two tags on one guest, or of hours that overlap, it may be less than both.
    pub fn intersection(&self, other: &Self) -> Option<Self> {
        let least = |one: Option<u32>, other: Option<u32>| match (one, other) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        let same = |one: &String, other: &String| (one == other).then(|| one.clone());
        let hours = |one: &Hours, other: &Hours| {
            if one.cover(other) {
                Some(other.clone())
            } else {
                other.cover(one).then(|| one.clone())
            }
        };
        Some(Self {
            access: self.access.min(other.access),
            toolsets: common(&self.toolsets, &other.toolsets, same)?,
            clusters: common(&self.clusters, &other.clusters, same)?,
            nodes: common(&self.nodes, &other.nodes, same)?,
            pools: common(&self.pools, &other.pools, same)?,
            tags: common(&self.tags, &other.tags, same)?,
            vmids: common(&self.vmids, &other.vmids, |one, other| {
                let (first, last) = (one.first.max(other.first), one.last.min(other.last));
                (first <= last).then_some(VmIds { first, last })
            })?,
            hours: common(&self.hours, &other.hours, hours)?,
            rate: least(self.rate, other.rate),
            changes: least(self.changes, other.changes),
            guests: least(self.guests, other.guests),
        })
    }

    /// What either allows, where one scope can say that; `None` where a scope that holds both would
    /// hold more than both (`read,cluster:a` and `destroy,cluster:b`).
    pub fn union(&self, other: &Self) -> Option<Self> {
        if self.covers(other) {
            return Some(self.clone());
        }
        if other.covers(self) {
            return Some(other.clone());
        }
        let same = [
            self.access == other.access,
            self.toolsets == other.toolsets,
            self.clusters == other.clusters,
            self.nodes == other.nodes,
            self.pools == other.pools,
            self.tags == other.tags,
            self.vmids == other.vmids,
            self.hours == other.hours,
            self.rate == other.rate,
            self.changes == other.changes,
            self.guests == other.guests,
        ];
        // Two boxes make a box only if they differ along one edge.
        if same.iter().filter(|same| !**same).count() != 1 {
            return None;
        }
        // `None` is no limit, so it is the most.
        let most = |one: Option<u32>, other: Option<u32>| Some(one?.max(other?));
        Some(Self {
            access: self.access.max(other.access),
            toolsets: both(&self.toolsets, &other.toolsets),
            clusters: both(&self.clusters, &other.clusters),
            nodes: both(&self.nodes, &other.nodes),
            pools: both(&self.pools, &other.pools),
            tags: both(&self.tags, &other.tags),
            vmids: both(&self.vmids, &other.vmids),
            hours: both(&self.hours, &other.hours),
            rate: most(self.rate, other.rate),
            changes: most(self.changes, other.changes),
            guests: most(self.guests, other.guests),
        })
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.access)?;
        for name in &self.toolsets {
            write!(f, ",{TOOLSET}{name}")?;
        }
        for key in &self.clusters {
            write!(f, ",{CLUSTER}{key}")?;
        }
        for (word, names) in [(NODE, &self.nodes), (POOL, &self.pools), (TAG, &self.tags)] {
            for name in names {
                write!(f, ",{word}{name}")?;
            }
        }
        for ids in &self.vmids {
            write!(f, ",{VMID}{ids}")?;
        }
        for hours in &self.hours {
            write!(f, ",{HOURS}{hours}")?;
        }
        for (word, limit) in [(RATE, self.rate), (CHANGES, self.changes), (GUESTS, self.guests)] {
            if let Some(limit) = limit {
                write!(f, ",{word}{limit}")?;
            }
        }
        Ok(())
    }
}

impl FromStr for Scope {
    type Err = InvalidScope;

    /// Takes commas, spaces or both between the words; of several tiers the highest counts, of
    /// several limits the lowest.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut access = None;
        let mut scope = Self::read_only();
        let words = text.split(|c: char| c == ',' || c.is_whitespace());
        for word in words.filter(|word| !word.is_empty()) {
            let Some(tier) = TIERS.into_iter().find(|tier| tier.as_str() == word) else {
                scope.keep(word)?;
                continue;
            };
            access = access.max(Some(tier));
        }
        scope.access = access.ok_or(InvalidScope::NoTier)?;
        Ok(scope.tidy())
    }
}

const TIERS: [Access; 3] = [Access::Read, Access::Operate, Access::Destroy];

impl Scope {
    /// Adds a word that keeps it to something.
    fn keep(&mut self, word: &str) -> Result<(), InvalidScope> {
        let number = |text: &str| {
            let number = text.parse::<u32>().ok().filter(|number| (1..=100_000).contains(number));
            // One written form per number.
            number
                .filter(|number| number.to_string() == text)
                .ok_or_else(|| InvalidScope::Number(shown(word)))
        };
        let lower = |limit: &mut Option<u32>, number: u32| {
            *limit = Some(limit.map_or(number, |known| known.min(number)));
        };
        let Some(colon) = word.find(':') else { return Err(InvalidScope::Unknown(shown(word))) };
        let (kind, value) = word.split_at(colon + 1);
        match kind {
            TOOLSET if is_toolset(value) => self.toolsets.push(value.to_owned()),
            TOOLSET => return Err(InvalidScope::Toolset(shown(word))),
            CLUSTER if ClusterKey::try_new(value).is_ok() => self.clusters.push(value.to_owned()),
            CLUSTER => return Err(InvalidScope::Cluster(shown(word))),
            NODE if NodeName::try_new(value).is_ok() => self.nodes.push(value.to_owned()),
            POOL if is_name(value) => self.pools.push(value.to_owned()),
            TAG if is_name(value) => self.tags.push(value.to_owned()),
            NODE | POOL | TAG => return Err(InvalidScope::Name(shown(word))),
            VMID => {
                let ids = value.parse().map_err(|_| InvalidScope::VmIds(shown(word)))?;
                self.vmids.push(ids);
            }
            HOURS => {
                let hours = value.parse().map_err(|_| InvalidScope::Hours(shown(word)))?;
                self.hours.push(hours);
            }
            RATE => lower(&mut self.rate, number(value)?),
            CHANGES => lower(&mut self.changes, number(value)?),
            GUESTS => lower(&mut self.guests, number(value)?),
            _ => return Err(InvalidScope::Unknown(shown(word))),
        }
        Ok(())
    }

    /// Everything once and in order.
    fn tidy(mut self) -> Self {
        fn once<T: Ord>(values: &mut Vec<T>) {
            values.sort();
            values.dedup();
        }
        once(&mut self.toolsets);
        once(&mut self.clusters);
        once(&mut self.nodes);
        once(&mut self.pools);
        once(&mut self.tags);
        once(&mut self.vmids);
        once(&mut self.hours);
        self
    }
}

/// Whether a pool or a tag can be called so.
fn is_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_-+./".contains(&b);
    (1..=128).contains(&name.len()) && name.bytes().all(plain)
}

fn is_toolset(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(plain)
}

/// Whether each of `some` is within one of `all`; an empty list stands for everything.
fn within<T>(all: &[T], some: &[T], covers: impl Fn(&T, &T) -> bool) -> bool {
    all.is_empty()
        || (!some.is_empty() && some.iter().all(|one| all.iter().any(|it| covers(it, one))))
}

/// What is in both lists, an empty list standing for everything; `None` where there is nothing.
fn common<T: Clone + Ord>(
    one: &[T],
    other: &[T],
    meet: impl Fn(&T, &T) -> Option<T>,
) -> Option<Vec<T>> {
    match (one.is_empty(), other.is_empty()) {
        (true, _) => Some(other.to_vec()),
        (_, true) => Some(one.to_vec()),
        (false, false) => {
            let met: BTreeSet<T> = one
                .iter()
                .flat_map(|mine| other.iter().filter_map(|theirs| meet(mine, theirs)))
                .collect();
            (!met.is_empty()).then(|| met.into_iter().collect())
        }
    }
}

/// What is in either list, an empty list standing for everything.
fn both<T: Clone + Ord>(one: &[T], other: &[T]) -> Vec<T> {
    if one.is_empty() || other.is_empty() {
        return Vec::new();
    }
    one.iter().chain(other).cloned().collect::<BTreeSet<_>>().into_iter().collect()
}

fn joined<T: ToString>(values: &[T]) -> String {
    values.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The start of a word, fit for a message.
fn shown(word: &str) -> String {
    word.chars().take(60).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use proptest::prelude::*;
    use std::fmt::Write as _;

    fn any_tier() -> impl Strategy<Value = Access> {
        prop_oneof![Just(Access::Read), Just(Access::Operate), Just(Access::Destroy)]
    }

    fn any_scope() -> impl Strategy<Value = Scope> {
        // Few names, so that scopes overlap.
        let names = || {
            proptest::collection::btree_set("[abc]", 0..3)
                .prop_map(|names| names.into_iter().collect::<Vec<String>>())
        };
        let range =
            (100_u32..110, 0_u32..6).prop_map(|(first, more)| VmIds { first, last: first + more });
        let ranges = proptest::collection::btree_set(range, 0..3);
        let hours = proptest::collection::btree_set(
            prop_oneof![
                Just("mon-fri/08:00-18:00"),
                Just("08:00-18:00"),
                Just("sat/10:00-11:00@UTC")
            ]
            .prop_map(|text| text.parse::<Hours>().unwrap()),
            0..3,
        );
        let limit = || proptest::option::of(1_u32..4);
        (
            (any_tier(), names(), names(), names(), names(), names()),
            (ranges, hours, limit(), limit(), limit()),
        )
            .prop_map(|((access, toolsets, clusters, nodes, pools, tags), more)| Scope {
                access,
                toolsets,
                clusters,
                nodes,
                pools,
                tags,
                vmids: more.0.into_iter().collect(),
                hours: more.1.into_iter().collect(),
                rate: more.2,
                changes: more.3,
                guests: more.4,
            })
    }

    fn any_target() -> impl Strategy<Value = Target> {
        let name = || proptest::option::of("[abcd]");
        let tags = proptest::collection::vec("[abcd]", 0..2);
        ("[abcd]", name(), name(), tags, proptest::option::of(98_u32..118)).prop_map(
            |(cluster, node, pool, tags, vmid)| Target {
                node,
                vmid,
                pool,
                tags,
                ..Target::new(crate::policy::TargetKind::Guest, cluster, "x")
            },
        )
    }

    fn allows_all(scope: &Scope, access: Access, toolset: &str, cluster: &str) -> bool {
        scope.allows(access) && scope.allows_toolset(toolset) && scope.allows_cluster(cluster)
    }

    proptest! {
        #[test]
        fn written_form_reads_back(scope in any_scope()) {
            prop_assert_eq!(scope.to_string().parse::<Scope>(), Ok(scope));
        }

        #[test]
        fn what_parses_is_stable(text in "(read|operate|destroy|toolset:[a-c_]{0,3}|cluster:[a-cA]{0,3}|[, ]|[ -~]){0,6}") {
            if let Ok(scope) = text.parse::<Scope>() {
                prop_assert_eq!(scope.to_string().parse::<Scope>(), Ok(scope));
            }
        }

        #[test]
        fn sets_mean_what_they_say(
            one in any_scope(), other in any_scope(), access in any_tier(),
            // `d` stands for a name that neither lists.
            toolset in "[abcd]", cluster in "[abcd]",
        ) {
            let by_one = allows_all(&one, access, &toolset, &cluster);
            let by_other = allows_all(&other, access, &toolset, &cluster);
            if let Some(both) = one.intersection(&other) {
                let by_both = allows_all(&both, access, &toolset, &cluster);
                prop_assert_eq!(by_both, by_one && by_other);
            }
            if let Some(union) = one.union(&other) {
                let by_either = allows_all(&union, access, &toolset, &cluster);
                prop_assert_eq!(by_either, by_one || by_other);
            }
            if one.covers(&other) {
                prop_assert!(by_one || !by_other);
            }
        }
    }

    proptest! {
        /// No combination of two scopes permits what it should not.
        #[test]
        fn combinations_never_widen(
            one in any_scope(), other in any_scope(), access in any_tier(),
            targets in proptest::collection::vec(any_target(), 0..3), minute in 0_i64..7 * 24 * 60,
        ) {
            let start: Zoned = "2026-11-23T00:00[UTC]".parse().unwrap();
            let now = start.checked_add(jiff::Span::new().minutes(minute)).unwrap();
            let permits = |scope: &Scope| scope.permits(access, &targets, &now).is_ok();
            let (by_one, by_other) = (permits(&one), permits(&other));
            if one.intersection(&other).is_some_and(|both| permits(&both)) {
                prop_assert!(by_one && by_other);
            }
            if one.covers(&other) {
                prop_assert!(by_one || !by_other);
            }
            if let Some(union) = one.union(&other) {
                prop_assert!(permits(&union) || !(by_one || by_other));
            }
            // One target by itself tells a wider union from an exact one.
            if let (Some(union), [target]) = (one.union(&other), targets.as_slice())
                && union.allows_target(target)
            {
                prop_assert!(one.allows_target(target) || other.allows_target(target));
            }
        }
    }

    #[test]
    fn what_is_outside_is_said() {
        let scope: Scope =
            "operate,cluster:lab,pool:web,vmid:100-199,hours:mon-fri/08:00-18:00,guests:1"
                .parse()
                .unwrap();
        let guest = |vmid, pool: &str| Target {
            vmid: Some(vmid),
            pool: Some(pool.to_owned()),
            ..Target::new(crate::policy::TargetKind::Guest, "lab", format!("lab/{vmid}"))
        };
        let day: Zoned = "2026-11-27T12:00[UTC]".parse().unwrap();
        let night: Zoned = "2026-11-27T22:00[UTC]".parse().unwrap();
        let mut table = String::new();
        for (access, targets, now) in [
            (Access::Operate, vec![guest(104, "web")], &day),
            (Access::Operate, vec![guest(104, "db")], &day),
            (Access::Read, vec![guest(104, "db")], &day),
            (Access::Operate, vec![guest(204, "web")], &day),
            (Access::Operate, vec![], &day),
            (Access::Destroy, vec![guest(104, "web")], &day),
            (Access::Read, vec![guest(104, "web")], &night),
            (Access::Operate, vec![guest(104, "web"), guest(105, "web")], &day),
        ] {
            let said = match scope.permits(access, &targets, now) {
                Ok(()) => "within".to_owned(),
                Err(error) => error.to_string(),
            };
            writeln!(table, "{said}").unwrap();
        }
        expect![[r#"
            within
            this credential's scope is kept to cluster:lab pool:web vmid:100-199, and lab/104 is not within
            within
            this credential's scope is kept to cluster:lab pool:web vmid:100-199, and lab/204 is not within
            this credential's scope is kept to cluster:lab pool:web vmid:100-199, and what the call touches is not known
            this credential's scope ends at `operate` and the call needs `destroy`
            this credential is of use in the hours mon-fri/08:00-18:00 only
            this credential's scope allows 1 guests in one plan, and this one has 2
        "#]].assert_eq(&table);
    }

    #[test]
    fn words_and_their_mistakes() {
        let mut table = String::new();
        for text in [
            "read",
            "destroy, read operate",
            "read,toolset:default,toolset:backup,toolset:default,cluster:home",
            "write",
            "Read",
            "toolset:default",
            "",
            "read,toolset:",
            "read,toolset:All",
            "read,cluster:a/b",
            "read,\u{1b}[31m",
            "operate tag:web node:pve-1.lan pool:prod/web vmid:300 vmid:100-199 rate:60 rate:30 changes:5 guests:10 hours:sat+sun/22:00-06:00@Europe/Berlin hours:12:00-13:00",
            "read,node:a/b",
            "read,tag:",
            "read,vmid:5-1",
            "read,hours:always",
            "read,rate:0",
            "read,rate:007",
            "read,speed:5",
        ] {
            match text.parse::<Scope>() {
                Ok(scope) => writeln!(table, "{text:?}: {scope}").unwrap(),
                Err(error) => writeln!(table, "{text:?}: error: {error}").unwrap(),
            }
        }
        expect![[r#"
            "read": read
            "destroy, read operate": destroy
            "read,toolset:default,toolset:backup,toolset:default,cluster:home": read,toolset:backup,toolset:default,cluster:home
            "write": error: `write` is not a scope: use read, operate, destroy, toolset:NAME, cluster:KEY, node:NAME, pool:NAME, tag:NAME, vmid:100-199, hours:mon-fri/08:00-18:00@ZONE, rate:60, changes:5 or guests:10
            "Read": error: `Read` is not a scope: use read, operate, destroy, toolset:NAME, cluster:KEY, node:NAME, pool:NAME, tag:NAME, vmid:100-199, hours:mon-fri/08:00-18:00@ZONE, rate:60, changes:5 or guests:10
            "toolset:default": error: the scope has no tier: add read, operate or destroy
            "": error: the scope has no tier: add read, operate or destroy
            "read,toolset:": error: `toolset:` names no toolset: a name is made of a-z, 0-9 and _, at most 40 characters
            "read,toolset:All": error: `toolset:All` names no toolset: a name is made of a-z, 0-9 and _, at most 40 characters
            "read,cluster:a/b": error: `cluster:a/b` names no cluster: a key is made of a-z, 0-9 and _, at most 40 characters
            "read,\u{1b}[31m": error: `�[31m` is not a scope: use read, operate, destroy, toolset:NAME, cluster:KEY, node:NAME, pool:NAME, tag:NAME, vmid:100-199, hours:mon-fri/08:00-18:00@ZONE, rate:60, changes:5 or guests:10
            "operate tag:web node:pve-1.lan pool:prod/web vmid:300 vmid:100-199 rate:60 rate:30 changes:5 guests:10 hours:sat+sun/22:00-06:00@Europe/Berlin hours:12:00-13:00": operate,node:pve-1.lan,pool:prod/web,tag:web,vmid:100-199,vmid:300,hours:sat-sun/22:00-06:00@Europe/Berlin,hours:12:00-13:00,rate:30,changes:5,guests:10
            "read,node:a/b": error: `node:a/b` names nothing: node names are letters, digits, - and .; pools and tags have _, + and / besides
            "read,tag:": error: `tag:` names nothing: node names are letters, digits, - and .; pools and tags have _, + and / besides
            "read,vmid:5-1": error: `vmid:5-1` is no range of guests: write vmid:104 or vmid:100-199
            "read,hours:always": error: `hours:always` are no hours: write hours:mon-fri/08:00-18:00@Europe/Berlin
            "read,rate:0": error: `rate:0` has no number from 1 to 100000 behind it
            "read,rate:007": error: `rate:007` has no number from 1 to 100000 behind it
            "read,speed:5": error: `speed:5` is not a scope: use read, operate, destroy, toolset:NAME, cluster:KEY, node:NAME, pool:NAME, tag:NAME, vmid:100-199, hours:mon-fri/08:00-18:00@ZONE, rate:60, changes:5 or guests:10
        "#]].assert_eq(&table);
    }

    #[test]
    fn nothing_in_common_is_not_everything() {
        let [one, other] =
            ["destroy,cluster:a", "read,cluster:b"].map(|it| it.parse::<Scope>().unwrap());
        assert_eq!(one.intersection(&other), None);
        assert_eq!(one.union(&other), None);
        assert_eq!(one.intersection(&Scope::read_only()).unwrap().to_string(), "read,cluster:a");
    }
}
