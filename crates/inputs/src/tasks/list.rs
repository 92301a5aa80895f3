//! Lists of tasks: which began and which ended since the last look.
//!
//! A list has what runs and some of what has ended, and filters by when a task began. So besides the latest beginning the
//! tasks that ran at the last look are remembered by name, however long ago they began, and those that ended lately, so
//! that overlapping lists tell nothing twice.
//!
//! *Invariant:* however the lists overlap, each beginning and each end is told once, as long as no more than
//! [`MAX_ENDED`] tasks end within the overlap.

use std::collections::{BTreeMap, BTreeSet};

use estate::{NodeName, TaskStatus, Upid, VmId};
use jiff::{SignedDuration, Timestamp};

/// How far lists overlap: how late a task may show up in one.
const OVERLAP: SignedDuration = SignedDuration::from_mins(2);

/// The most ended tasks that are remembered by name. If more end within the overlap, the oldest may be told again, under
/// the same key.
const MAX_ENDED: usize = 1000;

/// A cluster's list has the latest 25 ended tasks of each node; with as many that are all new, there may be more.
const FULL: usize = 20;

/// A task in a list.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskRow {
    /// Its name.
    pub upid: Upid,
    /// When and how it ended; none while it runs.
    pub end: Option<(Timestamp, TaskStatus)>,
}

/// What is known of tasks.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Known {
    /// What began before is told, but for what ran then; none before the first look.
    pub since: Option<Timestamp>,
    /// The latest beginning on each node.
    pub newest: BTreeMap<NodeName, Timestamp>,
    /// What ran at the last look.
    pub running: BTreeSet<String>,
    /// What ended lately, with its beginning.
    pub ended: BTreeMap<String, Timestamp>,
}

/// What a task has done since the last look.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// It began, and runs.
    Began(Upid),
    /// It ended.
    Ended {
        /// Which.
        upid: Upid,
        /// When.
        at: Timestamp,
        /// How.
        status: TaskStatus,
    },
}

/// What is new in these rows, in the order in which it happened.
pub fn read_tasks(known: &Known, rows: &[TaskRow]) -> Vec<Step> {
    let mut steps: BTreeMap<(Timestamp, &str, bool), Step> = BTreeMap::new();
    // The same task may be in two lists, running in the earlier one.
    let ends: BTreeSet<&str> =
        rows.iter().filter(|row| row.end.is_some()).map(|row| row.upid.as_str()).collect();
    for row in rows {
        let name = row.upid.as_str();
        let (ran, has_ended) = (known.running.contains(name), known.ended.contains_key(name));
        let is_old = known.floor(row.upid.node()).is_some_and(|floor| row.upid.started() < floor);
        match &row.end {
            Some((at, status)) if !has_ended && (ran || !is_old) => {
                let (upid, status) = (row.upid.clone(), status.clone());
                steps.insert((*at, name, true), Step::Ended { upid, at: *at, status });
            }
            None if !ran && !has_ended && !ends.contains(name) => {
                let began = Step::Began(row.upid.clone());
                steps.insert((row.upid.started(), name, false), began);
            }
            _ => {}
        }
    }
    steps.into_values().collect()
}

// === impl Known ===

impl Known {
    /// What began on this node before that is told.
    pub fn floor(&self, node: &NodeName) -> Option<Timestamp> {
        let newest = self.newest.get(node).copied().or(self.since)?;
        Some(newest.checked_sub(OVERLAP).unwrap_or(Timestamp::MIN))
    }

    /// Remembers a step.
    pub fn apply(&mut self, step: &Step) {
        match step {
            Step::Began(upid) => {
                self.running.insert(upid.as_str().to_owned());
                self.heard_of(upid);
            }
            Step::Ended { upid, .. } => {
                self.running.remove(upid.as_str());
                self.ended.insert(upid.as_str().to_owned(), upid.started());
                self.heard_of(upid);
            }
        }
    }

    fn heard_of(&mut self, upid: &Upid) {
        let newest = self.newest.entry(upid.node().clone()).or_insert(Timestamp::MIN);
        *newest = upid.started().max(*newest);
    }

    /// Ends a look at which these lists were whole: what is older than the overlap need not be remembered by name.
    pub fn settle(&mut self) {
        let mut ended = std::mem::take(&mut self.ended);
        ended.retain(|name, started| {
            let node = name.split(':').nth(1).and_then(|node| NodeName::try_new(node).ok());
            node.and_then(|node| self.floor(&node)).is_none_or(|floor| *started >= floor)
        });
        while ended.len() > MAX_ENDED {
            let oldest = ended.iter().min_by_key(|(_, started)| **started);
            let Some(oldest) = oldest.map(|(name, _)| name.clone()) else { break };
            ended.remove(&oldest);
        }
        self.ended = ended;
    }

    /// The guests that running tasks work at.
    pub fn busy(&self) -> BTreeSet<VmId> {
        let upids = self.running.iter().filter_map(|name| name.parse::<Upid>().ok());
        let is_at_guest =
            |upid: &Upid| ["qm", "vz", "ha"].iter().any(|prefix| upid.kind().starts_with(prefix));
        upids.filter(is_at_guest).filter_map(|upid| upid.id().parse().ok()).collect()
    }

    /// The nodes of which running tasks start, stop or move all guests, one after another.
    pub fn busy_nodes(&self) -> BTreeSet<NodeName> {
        let upids = self.running.iter().filter_map(|name| name.parse::<Upid>().ok());
        let is_at_all =
            |upid: &Upid| upid.kind().ends_with("all") || upid.kind().starts_with("bulk");
        upids.filter(is_at_all).map(|upid| upid.node().clone()).collect()
    }

    /// The nodes of which a cluster's list may have left something out.
    pub(super) fn gaps(&self, rows: &[TaskRow]) -> BTreeSet<NodeName> {
        let mut count: BTreeMap<&NodeName, (usize, bool)> = BTreeMap::new();
        for row in rows.iter().filter(|row| row.end.is_some()) {
            let (ended, met) = count.entry(row.upid.node()).or_default();
            *ended += 1;
            let floor = self.floor(row.upid.node());
            *met |= self.ended.contains_key(row.upid.as_str())
                || floor.is_none_or(|floor| row.upid.started() < floor);
        }
        let gaps = count.into_iter().filter(|(_, (ended, met))| *ended >= FULL && !met);
        gaps.map(|(node, _)| node.clone()).collect()
    }

    /// The tasks that ran and are in none of the rows: they have ended unseen.
    pub(super) fn missing(&self, rows: &[TaskRow]) -> Vec<Upid> {
        let listed: BTreeSet<&str> = rows.iter().map(|row| row.upid.as_str()).collect();
        let missing = self.running.iter().filter(|name| !listed.contains(name.as_str()));
        missing.filter_map(|name| name.parse().ok()).collect()
    }
}

#[cfg(test)]
mod tests;
