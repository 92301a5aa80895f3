//! The cluster's log: which of its entries are new.
//!
//! A node answers with its copy of the log, the newest first, into which the entries of other nodes come a little later.
//! So for each node the time of its latest entry is remembered, and by name those that are not much older.
//!
//! *Invariant:* however the answers overlap, each entry is news once, as long as no more than [`MAX_SEEN`] are written
//! within the overlap.

use std::collections::BTreeMap;

use estate::NodeName;
use jiff::{SignedDuration, Timestamp};

use crate::recognize::syslog::Entry;

/// How late an entry of a node may come after one that it wrote later.
const OVERLAP: SignedDuration = SignedDuration::from_mins(2);
/// The most entries that are remembered by name.
const MAX_SEEN: usize = 500;

/// What is known of a cluster's log.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Journal {
    /// What was written before is told; none before the first look.
    pub since: Option<Timestamp>,
    /// When the latest entry of each node was written.
    pub newest: BTreeMap<NodeName, Timestamp>,
    /// The late entries, by what they are known by, with their times.
    pub seen: BTreeMap<String, Timestamp>,
}

// === impl Journal ===

impl Journal {
    /// What is new among these, in the order in which it was written.
    pub fn news<'a>(&self, entries: &'a [Entry]) -> Vec<&'a Entry> {
        let is_new = |entry: &&Entry| {
            let is_late = self.floor(&entry.node).is_none_or(|floor| entry.time >= floor);
            is_late && !self.seen.contains_key(&entry.key())
        };
        let mut news: Vec<&Entry> = entries.iter().filter(is_new).collect();
        // Numbers of one node grow, and have as many digits as they need.
        news.sort_by_key(|entry| (entry.time, &entry.node, entry.uid.len(), &entry.uid));
        news.dedup_by_key(|entry| entry.key());
        news
    }

    /// Whether entries may be missing that are older than all of these.
    pub(super) fn is_gap(&self, entries: &[Entry]) -> bool {
        let Some(newest) = self.newest.values().max().copied().max(self.since) else {
            return false;
        };
        let floor = newest.checked_sub(OVERLAP).unwrap_or(Timestamp::MIN);
        entries.iter().map(|entry| entry.time).min().is_some_and(|oldest| oldest > floor)
    }

    fn floor(&self, node: &NodeName) -> Option<Timestamp> {
        let newest = self.newest.get(node).copied().or(self.since)?;
        Some(newest.checked_sub(OVERLAP).unwrap_or(Timestamp::MIN))
    }

    /// Remembers an entry.
    pub fn apply(&mut self, entry: &Entry) {
        let newest = self.newest.entry(entry.node.clone()).or_insert(Timestamp::MIN);
        *newest = entry.time.max(*newest);
        self.seen.insert(entry.key(), entry.time);
    }

    /// Forgets by name what is older than the overlap.
    pub fn settle(&mut self) {
        let mut seen = std::mem::take(&mut self.seen);
        seen.retain(|key, time| {
            let node = key.split('/').nth(1).and_then(|node| NodeName::try_new(node).ok());
            node.and_then(|node| self.floor(&node)).is_none_or(|floor| *time >= floor)
        });
        if seen.len() > MAX_SEEN {
            let mut times: Vec<Timestamp> = seen.values().copied().collect();
            times.sort_unstable();
            let least = times[times.len() - MAX_SEEN];
            seen.retain(|_, time| *time >= least);
        }
        self.seen = seen;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry(node: &str, uid: u64, second: i64) -> Entry {
        Entry {
            node: node.parse().unwrap(),
            pid: 1,
            uid: uid.to_string(),
            time: at(second),
            priority: 6,
            tag: "pvedaemon".to_owned(),
            user: String::new(),
            message: "words".to_owned(),
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_795_370_000 + second).unwrap()
    }

    #[test]
    fn what_comes_late_from_another_node_is_news_and_what_is_old_is_not() {
        let mut journal = Journal { since: Some(at(0)), ..Journal::default() };
        for it in [entry("alder", 9, 1000), entry("alder", 10, 1000)] {
            journal.apply(&it);
        }
        journal.settle();
        let all = [
            entry("alder", 11, 990),
            entry("alder", 10, 1000),
            entry("alder", 9, 1000),
            entry("birch", 4, 700),
            entry("alder", 8, 500),
            entry("birch", 3, -600),
        ];
        let news: Vec<&str> = journal.news(&all).iter().map(|it| it.uid.as_str()).collect();
        assert_eq!(news, ["4", "11"]);
        assert!(!journal.is_gap(&all) && journal.is_gap(&all[..3]));
        assert!(!Journal::default().is_gap(&all[..1]), "before the first look nothing is missing");
        assert!(!journal.is_gap(&[]));
    }

    #[test]
    fn what_is_remembered_by_name_is_bounded() {
        let mut journal = Journal::default();
        for uid in 0..3000 {
            journal.apply(&entry("alder", uid, uid.cast_signed() / 100));
        }
        journal.settle();
        assert!((1..=MAX_SEEN + 100).contains(&journal.seen.len()), "{}", journal.seen.len());
    }

    proptest! {
        /// Two nodes write; every look sees the latest entries of both, those of the other node late.
        #[test]
        fn every_entry_is_news_once(
            pauses in proptest::collection::vec(0_i64..20, 1..60),
            late in 0_i64..100,
            every in 1_usize..7,
        ) {
            let mut second = 0;
            let mut written = Vec::new();
            for (uid, pause) in pauses.iter().enumerate() {
                second += pause;
                written.push(entry(if uid % 3 == 0 { "birch" } else { "alder" }, uid as u64, second));
            }
            let mut journal = Journal { since: Some(at(0)), ..Journal::default() };
            let mut told: Vec<String> = Vec::new();
            for until in (every..=written.len()).step_by(every).chain([written.len()]) {
                let now = written[until - 1].time;
                let is_here = |it: &&Entry| {
                    it.node.as_str() == "alder" || it.time <= now - SignedDuration::from_secs(late)
                };
                let seen: Vec<Entry> = written[..until].iter().filter(is_here).rev().cloned().collect();
                for it in journal.news(&seen) {
                    told.push(it.key());
                }
                for it in &seen {
                    journal.apply(it);
                }
                journal.settle();
            }
            for it in journal.news(&written) {
                told.push(it.key());
            }
            let mut all: Vec<String> = written.iter().map(Entry::key).collect();
            all.sort_unstable();
            told.sort_unstable();
            prop_assert_eq!(told, all);
        }
    }
}
