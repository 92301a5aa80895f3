//! What a credential may do at most: a tier, and the toolsets and clusters it is kept to.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use estate::{Access, ClusterKey};

const TOOLSET: &str = "toolset:";
const CLUSTER: &str = "cluster:";
const CHOICES: &str = "read, operate, destroy, toolset:NAME or cluster:KEY";
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
        Self { access, toolsets: Vec::new(), clusters: Vec::new() }
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

    /// Whether everything that `other` allows is within this scope. Toolsets are compared by name.
    pub fn covers(&self, other: &Self) -> bool {
        let within = |all: &[String], some: &[String]| {
            all.is_empty() || (!some.is_empty() && some.iter().all(|name| all.contains(name)))
        };
        self.allows(other.access)
            && within(&self.toolsets, &other.toolsets)
            && within(&self.clusters, &other.clusters)
    }

    /// What both allow; `None` where that is nothing. Toolsets are compared by name.
    pub fn intersection(&self, other: &Self) -> Option<Self> {
        Some(Self {
            access: self.access.min(other.access),
            toolsets: common(&self.toolsets, &other.toolsets)?,
            clusters: common(&self.clusters, &other.clusters)?,
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
        ];
        // Two boxes make a box only if they differ along one edge.
        if same.iter().filter(|same| !**same).count() != 1 {
            return None;
        }
        Some(Self {
            access: self.access.max(other.access),
            toolsets: both(&self.toolsets, &other.toolsets),
            clusters: both(&self.clusters, &other.clusters),
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
        Ok(())
    }
}

impl FromStr for Scope {
    type Err = InvalidScope;

    /// Takes commas, spaces or both between the words; of several tiers the highest counts.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (mut access, mut toolsets, mut clusters) = (None, BTreeSet::new(), BTreeSet::new());
        let words = text.split(|c: char| c == ',' || c.is_whitespace());
        for word in words.filter(|word| !word.is_empty()) {
            if let Some(name) = word.strip_prefix(TOOLSET) {
                if !is_toolset(name) {
                    return Err(InvalidScope::Toolset(shown(word)));
                }
                toolsets.insert(name.to_owned());
            } else if let Some(key) = word.strip_prefix(CLUSTER) {
                if ClusterKey::try_new(key).is_err() {
                    return Err(InvalidScope::Cluster(shown(word)));
                }
                clusters.insert(key.to_owned());
            } else {
                let tiers = [Access::Read, Access::Operate, Access::Destroy];
                let tier = tiers.into_iter().find(|tier| tier.as_str() == word);
                access = access.max(Some(tier.ok_or_else(|| InvalidScope::Unknown(shown(word)))?));
            }
        }
        Ok(Self {
            access: access.ok_or(InvalidScope::NoTier)?,
            toolsets: toolsets.into_iter().collect(),
            clusters: clusters.into_iter().collect(),
        })
    }
}

fn is_toolset(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(plain)
}

/// Names in both lists, an empty list standing for every name; `None` where there are none.
fn common(one: &[String], other: &[String]) -> Option<Vec<String>> {
    match (one.is_empty(), other.is_empty()) {
        (true, _) => Some(other.to_vec()),
        (_, true) => Some(one.to_vec()),
        (false, false) => {
            let names: Vec<_> = one.iter().filter(|name| other.contains(name)).cloned().collect();
            (!names.is_empty()).then_some(names)
        }
    }
}

/// Names in either list, an empty list standing for every name.
fn both(one: &[String], other: &[String]) -> Vec<String> {
    if one.is_empty() || other.is_empty() {
        return Vec::new();
    }
    one.iter().chain(other).cloned().collect::<BTreeSet<_>>().into_iter().collect()
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
        let names = || proptest::collection::btree_set("[abc]", 0..3);
        (any_tier(), names(), names()).prop_map(|(access, toolsets, clusters)| Scope {
            access,
            toolsets: toolsets.into_iter().collect(),
            clusters: clusters.into_iter().collect(),
        })
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
            let intersection = one.intersection(&other);
            let by_both = intersection.is_some_and(|it| allows_all(&it, access, &toolset, &cluster));
            prop_assert_eq!(by_both, by_one && by_other);
            if let Some(union) = one.union(&other) {
                let by_either = allows_all(&union, access, &toolset, &cluster);
                prop_assert_eq!(by_either, by_one || by_other);
            }
            if one.covers(&other) {
                prop_assert!(by_one || !by_other);
            }
        }
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
            "write": error: `write` is not a scope: use read, operate, destroy, toolset:NAME or cluster:KEY
            "Read": error: `Read` is not a scope: use read, operate, destroy, toolset:NAME or cluster:KEY
            "toolset:default": error: the scope has no tier: add read, operate or destroy
            "": error: the scope has no tier: add read, operate or destroy
            "read,toolset:": error: `toolset:` names no toolset: a name is made of a-z, 0-9 and _, at most 40 characters
            "read,toolset:All": error: `toolset:All` names no toolset: a name is made of a-z, 0-9 and _, at most 40 characters
            "read,cluster:a/b": error: `cluster:a/b` names no cluster: a key is made of a-z, 0-9 and _, at most 40 characters
            "read,\u{1b}[31m": error: `�[31m` is not a scope: use read, operate, destroy, toolset:NAME or cluster:KEY
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
