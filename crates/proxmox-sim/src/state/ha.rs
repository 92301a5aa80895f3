//! High availability: what is managed, and the manager that follows requests after a while.

use std::collections::BTreeMap;

/// The state of high availability of a cluster.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ha {
    /// By resource id (`vm:104`).
    pub(crate) resources: BTreeMap<String, Resource>,
    /// Groups (release 8) or rules (release 9), in their order.
    pub(crate) rules: Vec<Rule>,
}

/// A group of nodes (release 8), or a rule (release 9).
#[derive(Debug, Clone, Default)]
pub(crate) struct Rule {
    pub(crate) name: String,
    /// `node-affinity` or `resource-affinity`; groups have none.
    pub(crate) kind: String,
    /// Each with its priority: `birch:2,alder:1`.
    pub(crate) nodes: Option<String>,
    pub(crate) resources: Vec<String>,
    pub(crate) strict: bool,
    pub(crate) affinity: Option<String>,
    pub(crate) disabled: bool,
    pub(crate) comment: Option<String>,
}

/// One managed guest.
#[derive(Debug, Clone)]
pub(crate) struct Resource {
    /// What was asked for: `started`, `stopped`, `disabled`, `ignored`.
    pub(crate) wish: String,
    /// What the manager says: `started`, `starting`, `stopped`, `error`, …
    pub(crate) state: String,
    pub(crate) comment: Option<String>,
    /// Only in release 8.
    pub(crate) group: Option<String>,
    pub(crate) failback: Option<bool>,
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
            group: None,
            failback: None,
            max_restart: 1,
            max_relocate: 1,
            failures: 0,
            generation: 0,
        }
    }
}
