//! Ceph as the cluster's nodes run it: health, daemons, pools.
//!
//! A cluster without Ceph refuses each of these with 500 `binary not installed: …` or
//! `… not initialized`.

use std::collections::BTreeMap;

use api_core::{Request, path, reply};
use estate::NodeName;
use serde_json::Value;

reply! {
    /// What `ceph status` prints as JSON; what it says beside has no field here.
    pub struct CephStatus {
        pub fsid: Option<String>,
        pub health: CephHealth,
        /// The monitors that agree.
        pub quorum_names: Vec<String>,
        pub monitors: Option<CephMonitorMap> = "monmap",
        pub osds: Option<CephOsdMap> = "osdmap",
        pub groups: Option<CephGroupMap> = "pgmap",
        pub managers: Option<CephManagerMap> = "mgrmap",
    }
}

reply! {
    /// What Ceph thinks of itself.
    pub struct CephHealth {
        /// `HEALTH_OK`, `HEALTH_WARN` or `HEALTH_ERR`.
        pub status: String,
        /// By its code, such as `OSD_DOWN`.
        pub checks: BTreeMap<String, CephCheck>,
    }
}

reply! {
    /// One thing that is not as it should be.
    pub struct CephCheck {
        /// `HEALTH_WARN` or `HEALTH_ERR`.
        pub severity: String,
        pub summary: Option<CephMessage>,
        pub detail: Vec<CephMessage>,
        /// Whether somebody silenced it.
        pub muted: bool,
    }
}

reply! {
    /// A sentence of Ceph.
    pub struct CephMessage {
        pub message: String,
        pub count: Option<u64>,
    }
}

reply! {
    /// The monitors that should be there.
    pub struct CephMonitorMap {
        pub monitors: Vec<CephNamed> = "mons",
    }
}

reply! {
    /// Something of which only the name matters.
    pub struct CephNamed {
        pub name: String,
    }
}

reply! {
    /// How many daemons hold data.
    pub struct CephOsdMap {
        pub all: u32 = "num_osds",
        /// That answer.
        pub up: u32 = "num_up_osds",
        /// That data is put on.
        pub members: u32 = "num_in_osds",
    }
}

reply! {
    /// Placement groups, and what they hold.
    pub struct CephGroupMap {
        pub count: u64 = "num_pgs",
        pub states: Vec<CephGroupState> = "pgs_by_state",
        pub pools: Option<u32> = "num_pools",
        pub objects: Option<u64> = "num_objects",
        pub used_bytes: u64 = "bytes_used",
        pub available_bytes: u64 = "bytes_avail",
        pub total_bytes: u64 = "bytes_total",
        pub degraded_objects: Option<u64>,
        /// 0 to 1.
        pub degraded_ratio: Option<f64>,
        pub misplaced_objects: Option<u64>,
        /// 0 to 1.
        pub misplaced_ratio: Option<f64>,
        pub read_bytes_per_sec: Option<u64> = "read_bytes_sec",
        pub write_bytes_per_sec: Option<u64> = "write_bytes_sec",
        pub recovery_bytes_per_sec: Option<u64> = "recovering_bytes_per_sec",
    }
}

reply! {
    /// How many placement groups are in one state.
    pub struct CephGroupState {
        /// Such as `active+clean`.
        pub name: String = "state_name",
        pub count: u64,
    }
}

reply! {
    /// The managers.
    pub struct CephManagerMap {
        pub available: Option<bool>,
        pub active: Option<String> = "active_name",
        pub standbys: Vec<CephNamed>,
    }
}

reply! {
    /// The tree of daemons that hold data.
    pub struct CephOsdTree {
        /// Flags of the whole cluster, such as `noout`.
        pub flags: Option<String>,
        pub root: Option<CephBucket>,
    }
}

reply! {
    /// A part of that tree: a root, a host, a daemon.
    pub struct CephBucket {
        pub id: Option<i64>,
        pub name: String,
        /// `root`, `host`, `osd`, …
        pub kind: Option<String> = "type",
        /// Of a daemon: `up` or `down`.
        pub status: Option<String>,
        /// Of a daemon: whether data is put on it.
        pub member: Option<bool> = "in",
        /// Of a daemon: its host.
        pub host: Option<String>,
        pub class: Option<String> = "device_class",
        /// In percent.
        pub used_percent: Option<f64> = "percent_used",
        pub total_bytes: Option<u64> = "total_space",
        pub used_bytes: Option<u64> = "bytes_used",
        pub groups: Option<u32> = "pgs",
        pub apply_latency_ms: Option<f64>,
        pub commit_latency_ms: Option<f64>,
        pub version: Option<String> = "ceph_version_short",
        pub reweight: Option<f64>,
        pub children: Vec<CephBucket>,
    }
}

reply! {
    /// A pool of Ceph.
    pub struct CephPool {
        pub id: u32 = "pool",
        pub name: String = "pool_name",
        /// `replicated` or `erasure`.
        pub kind: Option<String> = "type",
        /// How many copies there should be.
        pub size: u32,
        /// Below this many copies, nothing is written.
        pub min_size: u32,
        pub groups: u32 = "pg_num",
        pub groups_wanted: Option<u32> = "pg_num_final",
        /// `on`, `warn` or `off`.
        pub autoscale: Option<String> = "pg_autoscale_mode",
        pub rule: Option<String> = "crush_rule_name",
        pub used_bytes: Option<u64> = "bytes_used",
        /// 0 to 1.
        pub used_share: Option<f64> = "percent_used",
        pub applications: Value = "application_metadata",
    }
}

reply! {
    /// A monitor.
    pub struct CephMonitor {
        pub name: String,
        pub host: Option<String>,
        pub address: Option<String> = "addr",
        pub quorum: Option<bool>,
        /// `running`, `stopped` or `unknown`.
        pub state: Option<String>,
        pub version: Option<String> = "ceph_version_short",
    }
}

fn get<T>(node: &NodeName, part: &str) -> Request<T> {
    Request::get(path!["nodes", node, "ceph", part]).on(node).protected()
}

/// `GET /cluster/ceph/status`. Needs `Sys.Audit` or `Datastore.Audit` on `/`.
pub fn status() -> Request<CephStatus> {
    Request::get(path!["cluster", "ceph", "status"]).protected()
}

/// `GET /nodes/{node}/ceph/osd`. Needs `Sys.Audit` or `Datastore.Audit` on `/`.
pub fn osds(node: &NodeName) -> Request<CephOsdTree> {
    get(node, "osd")
}

/// `GET /nodes/{node}/ceph/pool`. Needs `Sys.Audit` or `Datastore.Audit` on `/`.
pub fn pools(node: &NodeName) -> Request<Vec<CephPool>> {
    get(node, "pool")
}

/// `GET /nodes/{node}/ceph/mon`. Needs `Sys.Audit` or `Datastore.Audit` on `/`.
pub fn monitors(node: &NodeName) -> Request<Vec<CephMonitor>> {
    get(node, "mon")
}

// === impl CephBucket ===

impl CephBucket {
    /// The daemons of this part of the tree.
    pub fn daemons(&self) -> Vec<&Self> {
        if self.kind.as_deref() == Some("osd") {
            return vec![self];
        }
        self.children.iter().flat_map(Self::daemons).collect()
    }
}
