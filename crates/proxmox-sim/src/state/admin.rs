//! What administrators look after beside guests: services, pools of disks, Ceph, replication.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

/// What belongs to one host.
#[derive(Debug, Clone, Default)]
pub(crate) struct Host {
    /// Services that are not as they should be: `dead` or `failed`.
    pub(crate) services: BTreeMap<String, &'static str>,
    pub(crate) pools: Vec<Zpool>,
    /// How full the metadata of the thin pool is, 0 to 1, if somebody said so.
    pub(crate) thin_metadata: Option<f64>,
    /// A kernel that is installed and does not run yet.
    pub(crate) new_kernel: Option<&'static str>,
    /// What services wrote into the journal, oldest first.
    pub(crate) journal: Vec<Line>,
    /// Interfaces as they run and as they are written, once somebody changed them.
    pub(crate) network: Option<(Vec<Value>, Vec<Value>)>,
    /// What `/etc/vzdump.conf` says.
    pub(crate) vzdump: BTreeMap<String, String>,
}

/// A line of a journal.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    /// Seconds since the epoch.
    pub(crate) time: i64,
    pub(crate) unit: String,
    pub(crate) text: String,
}

/// A pool of ZFS.
#[derive(Debug, Clone)]
pub(crate) struct Zpool {
    pub(crate) name: &'static str,
    /// `ONLINE`, `DEGRADED`, `FAULTED`
    pub(crate) health: &'static str,
    pub(crate) size: u64,
    pub(crate) used: u64,
    /// The kind of its one group, such as `mirror-0`.
    pub(crate) group: &'static str,
    /// Device and state.
    pub(crate) devices: Vec<(&'static str, &'static str)>,
}

/// What belongs to a cluster as a whole.
#[derive(Debug, Clone, Default)]
pub(crate) struct Common {
    pub(crate) ceph: Ceph,
    /// By job.
    pub(crate) replication: BTreeMap<String, Replicated>,
    /// Storages by pool.
    pub(crate) pool_storages: BTreeMap<String, BTreeSet<String>>,
    pub(crate) firewall: Firewall,
    pub(crate) sdn: Sdn,
}

/// The firewall of a cluster, by level: `cluster`, `node/NAME`, `guest/ID`, `group/NAME`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Firewall {
    pub(crate) options: BTreeMap<String, Map<String, Value>>,
    pub(crate) rules: BTreeMap<String, Vec<Map<String, Value>>>,
    pub(crate) aliases: BTreeMap<String, Vec<Value>>,
    /// By level and name.
    pub(crate) sets: BTreeMap<(String, String), Vec<Value>>,
}

/// Virtual networks.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sdn {
    pub(crate) zones: Vec<Value>,
    pub(crate) vnets: Vec<Value>,
    /// Virtual network and subnet.
    pub(crate) subnets: Vec<(&'static str, Value)>,
}

/// What is wrong with Ceph.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ceph {
    /// Daemons that are down.
    pub(crate) down: BTreeSet<usize>,
    /// By code: whether it is an error, and the words.
    pub(crate) checks: BTreeMap<String, (bool, String)>,
    pub(crate) flags: BTreeSet<String>,
}

/// How a replication job goes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Replicated {
    /// The last run that went well; without it the schedule is kept.
    pub(crate) last_sync: Option<i64>,
    pub(crate) last_try: Option<i64>,
    pub(crate) failures: u32,
    /// Why runs fail.
    pub(crate) cause: Option<String>,
}

// === impl Zpool ===

impl Zpool {
    /// Sets how it is; the first device is what is wrong with it.
    pub(crate) fn set_health(&mut self, health: &'static str) {
        self.health = health;
        if let Some(first) = self.devices.first_mut() {
            first.1 = match health {
                "ONLINE" => "ONLINE",
                "DEGRADED" => "REMOVED",
                _ => "UNAVAIL",
            };
        }
    }
}
