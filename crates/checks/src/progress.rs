//! How far a run is, for whoever waits.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::finding::Finding;

/// How far a run is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Checks that are done.
    pub done: usize,
    /// All checks of the run.
    pub total: usize,
    /// What was done last: subject and check.
    pub last: String,
}

/// Counts checks and tells.
pub(crate) struct Meter<'a> {
    done: AtomicUsize,
    total: usize,
    tell: &'a (dyn Fn(Progress) + Send + Sync),
}

// === impl Meter ===

impl<'a> Meter<'a> {
    pub(crate) fn new(total: usize, tell: &'a (dyn Fn(Progress) + Send + Sync)) -> Self {
        Self { done: AtomicUsize::new(0), total, tell }
    }

    /// Passes a finding on, and says that it is done.
    pub(crate) fn done(&self, finding: Finding) -> Finding {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        let last = format!("{} {}", finding.subject, finding.check);
        (self.tell)(Progress { done, total: self.total, last });
        finding
    }
}
