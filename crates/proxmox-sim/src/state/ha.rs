//! High availability: what is managed, and the manager that follows requests after a while.

use std::collections::BTreeMap;

/// The state of high availability of a cluster.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ha {
    /// By resource id (`vm:104`).
    pub(crate) resources: BTreeMap<String, Resource>,
    /// Groups (release 8) or rules (release 9): name, nodes, resources.
    pub(crate) placements: Vec<(String, String, String)>,
}

/// One managed guest.
#[derive(Debug, Clone)]
pub(crate) struct Resource {
    /// What was asked for: `started`, `stopped`, `disabled`, `ignored`.
    pub(crate) wish: String,
    /// What the manager says: `started`, `starting`, `stopped`, `error`, …
    pub(crate) state: String,
    pub(crate) comment: Option<String>,
    pub(crate) max_restart: u32,
    pub(crate) max_relocate: u32,
    /// Failed attempts to start since the last wish.
    pub(crate) failures: u32,
    /// Counts wishes, so that an outdated attempt knows itself.
    pub(crate) generation: u64,
}

// === impl Resource ===

impl Resource {
    pub(crate) fn new(wish: &str, state: &str) -> Self {
        Self {
            wish: wish.to_owned(),
            state: state.to_owned(),
            comment: None,
            max_restart: 1,
            max_relocate: 1,
            failures: 0,
            generation: 0,
        }
    }
}
