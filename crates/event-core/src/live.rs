//! How an estate is now, as facts of which each has its time: what looks have seen and what events have
//! told since, whichever is newer.
//!
//! [`LiveState`] is pure: it is told facts, and asked for a [`snapshot`](LiveState::snapshot) at a time.
//! What was not heard of for longer than it is good for is `unknown`, with what it was.
//!
//! *Invariant:* of two facts about one thing the newer one holds, in whatever order they come; looks at one
//! cluster come in their order. *Invariant:* it never holds more than [`MAX_FACTS`].

use std::collections::BTreeMap;

use estate::ClusterKey;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{Event, Kind};

/// The most facts that are held; what is beyond is not.
pub const MAX_FACTS: usize = 50_000;

/// What a fact is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// A cluster or server as a whole.
    Cluster,
    /// A node.
    Node,
    /// A guest.
    Guest,
    /// A storage.
    Storage,
    /// A datastore.
    Datastore,
    /// A job.
    Job,
}

/// Which fact it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Of which cluster or server.
    pub cluster: ClusterKey,
    /// About what.
    pub what: What,
    /// Its name: a node, a guest's number, `node/storage`, a job.
    pub name: String,
    /// Which of its facts: `state`, `node`, `fill`, `next`, `last`.
    pub word: &'static str,
}

/// A fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// Which.
    pub key: Key,
    /// What is so; none if it is there and nobody tells.
    pub value: Option<String>,
    /// What people call it.
    pub label: String,
}

/// All facts of one sort in a cluster, as a look saw them: what is missing is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The sort.
    pub what: What,
    /// The facts.
    pub facts: Vec<Fact>,
}

/// What a look at a cluster has seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Looked {
    /// Which.
    pub cluster: ClusterKey,
    /// When.
    pub at: Timestamp,
    /// Who looked.
    pub source: String,
    /// What, each with how long it is good for.
    pub parts: Vec<(Part, SignedDuration)>,
}

/// A fact as it is held.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Held {
    at: Timestamp,
    /// Of two facts of one time, what an event says holds.
    is_told: bool,
    value: String,
    label: String,
    source: String,
}

/// How the sorts of a cluster stand.
#[derive(Clone, Debug, Default)]
struct Seen {
    /// When the last look was.
    at: Option<Timestamp>,
    good_for: Option<SignedDuration>,
    /// What was there then, and from when on what is told of it is about that one.
    there: BTreeMap<Key, Timestamp>,
}

/// How an estate is.
#[derive(Clone, Debug, Default)]
pub struct LiveState {
    facts: BTreeMap<Key, Held>,
    seen: BTreeMap<(ClusterKey, What), Seen>,
    is_cut: bool,
}

/// Which facts; what is left out lets everything through.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LiveQuery {
    /// Of the cluster or server with this settings key.
    pub cluster: Option<String>,
    /// About these.
    pub what: Option<What>,
}

/// How an estate is at a time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveView {
    /// Whether anything listens and looks.
    pub runs: bool,
    /// When it was so.
    pub at: Option<Timestamp>,
    /// By cluster, sort and name.
    pub facts: Vec<FactView>,
    /// Whether there is more than is held.
    pub is_cut: bool,
}

/// A fact for people and tools.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FactView {
    /// Of the cluster or server with this settings key.
    pub cluster: String,
    /// About what.
    pub what: What,
    /// Its name. Data.
    pub name: String,
    /// What people call it. Data.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub label: String,
    /// Which fact.
    pub fact: String,
    /// What is so; `unknown` where it was not heard of for too long.
    pub value: String,
    /// What it was, where it is `unknown`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub was: Option<String>,
    /// As of when.
    pub at: Timestamp,
    /// How old that is, in seconds.
    pub age_secs: u64,
    /// Who says so: an input, and for events the kind.
    pub source: String,
}

/// What is not known any more.
const UNKNOWN: &str = "unknown";

/// For how long a fact is good where no look says so.
const GOOD_FOR: SignedDuration = SignedDuration::from_mins(5);

// === impl What ===

impl What {
    /// In a word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cluster => "cluster",
            Self::Node => "node",
            Self::Guest => "guest",
            Self::Storage => "storage",
            Self::Datastore => "datastore",
            Self::Job => "job",
        }
    }
}

// === impl Key ===

impl Key {
    /// A fact of that word.
    pub fn new(what: What, cluster: &ClusterKey, name: &str, word: &'static str) -> Self {
        Self { cluster: cluster.clone(), what, name: name.to_owned(), word }
    }
}

// === impl Fact ===

impl Fact {
    /// That this is so.
    pub fn of(key: Key, value: Option<String>) -> Self {
        Self { key, value, label: String::new() }
    }

    /// With what people call it.
    #[must_use]
    pub fn named(mut self, label: &str) -> Self {
        label.clone_into(&mut self.label);
        self
    }
}

// === impl LiveState ===

impl LiveState {
    /// Takes what a look has seen. One that is older than the last one says nothing new.
    pub fn looked(&mut self, looked: Looked) {
        let Looked { cluster, at, source, parts } = looked;
        for (part, good_for) in parts {
            let what = part.what;
            let seen = self.seen.entry((cluster.clone(), what)).or_default();
            if seen.at.is_some_and(|last| last > at) {
                continue;
            }
            let before = seen.at.unwrap_or(Timestamp::MIN);
            let known = std::mem::take(&mut seen.there);
            // Until then others of the same name may have been there.
            let born = |key: &Key| known.get(key).copied().unwrap_or(before);
            seen.there =
                part.facts.iter().map(|fact| (fact.key.clone(), born(&fact.key))).collect();
            (seen.at, seen.good_for) = (Some(at), Some(good_for));
            let there = seen.there.clone();
            // What jobs came to is told by events alone, and a look at jobs does not take it away.
            self.facts.retain(|key, held| {
                key.cluster != cluster
                    || key.what != what
                    || key.word == LAST
                    || held.at >= at
                    || there.contains_key(key)
            });
            for Fact { key, value, label } in part.facts {
                let Some(value) = value else { continue };
                let source = source.clone();
                self.put(key, Held { at, is_told: false, value, label, source });
            }
        }
    }

    /// Takes what an event says of how things are; most say nothing of that.
    pub fn heard(&mut self, event: &Event) {
        let Some(cluster) = &event.subject.cluster else { return };
        for (what, name, word, value) in said(event) {
            let key = Key::new(what, cluster, &name, word);
            let held = Held {
                // A sender whose clock is ahead knows nothing of the future.
                at: event.time.min(event.received),
                is_told: true,
                value,
                label: event.subject.guest_name.clone().unwrap_or_default(),
                source: format!("{} ({})", event.source.id, event.kind),
            };
            self.put(key, held);
        }
    }

    fn put(&mut self, key: Key, held: Held) {
        if key.word != LAST
            && let Some(seen) = self.seen.get(&(key.cluster.clone(), key.what))
        {
            let from = seen.there.get(&key).copied().or(seen.at);
            if from.is_some_and(|from| held.at < from) {
                return;
            }
        }
        let is_full = self.facts.len() >= MAX_FACTS;
        match self.facts.get_mut(&key) {
            Some(known) if held.rank() > known.rank() => {
                let label = std::mem::take(&mut known.label);
                *known = held;
                if known.label.is_empty() {
                    known.label = label;
                }
            }
            Some(_) => {}
            None if is_full => self.is_cut = true,
            None => drop(self.facts.insert(key, held)),
        }
    }

    /// How it is at that time.
    pub fn snapshot(&self, query: &LiveQuery, now: Timestamp) -> LiveView {
        let fits = |key: &&Key| {
            query.cluster.as_deref().is_none_or(|cluster| cluster == key.cluster.as_str())
                && query.what.is_none_or(|what| what == key.what)
        };
        let facts = self.facts.iter().filter(|(key, _)| fits(key)).map(|(key, held)| {
            let age = now.duration_since(held.at).max(SignedDuration::ZERO);
            let is_stale = key.word != LAST && age > self.good_for(key);
            FactView {
                cluster: key.cluster.to_string(),
                what: key.what,
                name: key.name.clone(),
                label: held.label.clone(),
                fact: key.word.to_owned(),
                value: if is_stale { UNKNOWN.to_owned() } else { held.value.clone() },
                was: is_stale.then(|| held.value.clone()),
                at: held.at,
                age_secs: age.unsigned_abs().as_secs(),
                source: held.source.clone(),
            }
        });
        LiveView { runs: true, at: Some(now), facts: facts.collect(), is_cut: self.is_cut }
    }

    fn good_for(&self, key: &Key) -> SignedDuration {
        let seen = self.seen.get(&(key.cluster.clone(), key.what));
        seen.and_then(|seen| seen.good_for).unwrap_or(GOOD_FOR)
    }
}

// === impl Held ===

impl Held {
    /// Of two facts the one of the greater rank holds; equal ones are the same.
    fn rank(&self) -> (Timestamp, bool, &str, &str) {
        (self.at, self.is_told, &self.value, &self.source)
    }
}

/// How a job ended last: that does not get old.
const LAST: &str = "last";

/// What an event says of how things are.
fn said(event: &Event) -> Vec<(What, String, &'static str, String)> {
    let subject = &event.subject;
    let node = subject.node.as_ref().map(ToString::to_string);
    let guest = subject.vmid.map(|vmid| vmid.to_string());
    let one = |what, name: Option<String>, value: &str| {
        name.map(|name| (what, name, "state", value.to_owned())).into_iter().collect::<Vec<_>>()
    };
    let cluster = || subject.cluster.as_ref().map(ToString::to_string);
    match event.kind {
        Kind::NodeOnline => one(What::Node, node, "online"),
        Kind::NodeOffline | Kind::NodeFenced => one(What::Node, node, "offline"),
        Kind::GuestStarted => {
            let mut said = one(What::Guest, guest.clone(), "running");
            said.extend(guest.zip(node).map(|(guest, node)| (What::Guest, guest, "node", node)));
            said
        }
        Kind::GuestStopped | Kind::GuestCrashed => one(What::Guest, guest, "stopped"),
        Kind::GuestMigrated => {
            let moved = guest.zip(node).map(|(guest, node)| (What::Guest, guest, "node", node));
            moved.into_iter().collect()
        }
        Kind::ClusterUnreachable => one(What::Cluster, cluster(), "unreachable"),
        Kind::ClusterReachable => one(What::Cluster, cluster(), "reachable"),
        _ => job(event),
    }
}

/// How a job ended, if the event says that.
fn job(event: &Event) -> Vec<(What, String, &'static str, String)> {
    let Some((work, end)) = event.kind.as_str().split_once('.') else { return Vec::new() };
    let is_job = matches!(work, "backup" | "gc" | "verify" | "sync" | "prune" | "replication");
    if !is_job || !matches!(end, "finished" | "failed") {
        return Vec::new();
    }
    let subject = &event.subject;
    let datastore = subject.datastore.as_ref().map(ToString::to_string);
    let guest = subject.vmid.map(|vmid| format!("of {vmid}"));
    let Some(of) = subject.job.clone().or(datastore).or(guest) else { return Vec::new() };
    vec![(What::Job, format!("{work} {of}"), LAST, end.to_owned())]
}

#[cfg(test)]
mod tests;
