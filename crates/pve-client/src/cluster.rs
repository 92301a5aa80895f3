//! The cluster as a whole: members, resources, recent tasks, log, options.

use api_core::{Request, de::CommaList, params, path, reply, words};
use estate::{NodeName, StorageName, Upid, VmId};
use jiff::Timestamp;

pub mod backup;
pub mod replication;

words! {
    /// What a row of the cluster's status is about.
    pub enum MemberKind {
        /// The cluster itself; absent on a standalone node.
        Cluster = "cluster",
        /// A node.
        Node = "node",
    }
}

words! {
    /// What a resource is.
    pub enum ResourceKind {
        /// A virtual machine.
        Qemu = "qemu",
        /// A container.
        Lxc = "lxc",
        /// A node.
        Node = "node",
        /// A storage on one node.
        Storage = "storage",
        /// A pool.
        Pool = "pool",
        /// A zone of the software-defined network (until 9.0).
        Sdn = "sdn",
        /// A network (since 9.1).
        Network = "network",
    }
}

words! {
    /// What [`resources`] can be limited to.
    pub enum ResourceFilter {
        /// Virtual machines and containers.
        Guests = "vm",
        /// Nodes.
        Nodes = "node",
        /// Storages.
        Storages = "storage",
        /// Zones and networks.
        Sdn = "sdn",
    }
}

reply! {
    /// A row of the cluster's status: the cluster, or a node.
    pub struct ClusterStatus {
        pub kind: MemberKind = "type",
        pub id: String,
        pub name: String,
        /// Of the cluster: how many nodes it has.
        pub nodes: Option<u32>,
        /// Of the cluster: whether it may decide.
        pub quorate: Option<bool>,
        /// Of the cluster: the version of its configuration.
        pub version: Option<u64>,
        /// Of a node.
        pub ip: Option<String>,
        /// Of a node: whether it answered just now.
        pub online: Option<bool>,
        /// Of a node: whether it is the one that was asked.
        pub local: Option<bool>,
        /// Of a node: 0 outside a cluster.
        pub node_id: Option<u32> = "nodeid",
        /// Of a node: its subscription level.
        pub level: Option<String>,
    }
}

reply! {
    /// A guest, node, storage, pool or network. Figures are those that the node's own collector
    /// last reported, up to about ten seconds old.
    pub struct Resource {
        pub kind: ResourceKind = "type",
        pub id: String,
        pub node: Option<NodeName>,
        /// `running`, `stopped`, `online`, `available`, `unknown`, …
        pub status: String,
        pub vmid: Option<VmId>,
        pub name: Option<String>,
        pub template: bool,
        pub tags: Vec<String>,
        pub pool: Option<String>,
        pub lock: Option<String>,
        /// The state that the HA manager sees.
        pub ha_state: Option<String> = "hastate",
        /// Share of `max_cpu` in use, 0 to 1.
        pub cpu: Option<f64>,
        pub max_cpu: Option<f64> = "maxcpu",
        pub memory_bytes: Option<u64> = "mem",
        pub max_memory_bytes: Option<u64> = "maxmem",
        /// What the guest costs on the host (since 9.0).
        pub host_memory_bytes: Option<u64> = "memhost",
        pub disk_bytes: Option<u64> = "disk",
        pub max_disk_bytes: Option<u64> = "maxdisk",
        pub disk_read_bytes: Option<u64> = "diskread",
        pub disk_write_bytes: Option<u64> = "diskwrite",
        pub network_in_bytes: Option<u64> = "netin",
        pub network_out_bytes: Option<u64> = "netout",
        pub uptime_secs: Option<u64> = "uptime",
        /// Of a node: its subscription level.
        pub level: Option<String>,
        pub cgroup_mode: Option<u32> = "cgroup-mode",
        pub host_arch: Option<String> = "host-arch",
        pub storage: Option<StorageName>,
        /// Of a storage: its type.
        pub plugin: Option<String> = "plugintype",
        /// Of a storage: what it may hold.
        pub content: Vec<String>,
        /// Of a storage: whether all nodes see the same one.
        pub shared: bool,
        pub sdn: Option<String>,
        pub network: Option<String>,
        pub network_kind: Option<String> = "network-type",
        pub protocol: Option<String>,
        pub zone_kind: Option<String> = "zone-type",
    }
}

reply! {
    /// A recent task of any node.
    pub struct ClusterTask {
        pub upid: Upid,
        pub node: NodeName,
        pub kind: String = "type",
        pub id: Option<String>,
        pub user: String,
        pub started: Option<Timestamp> = "starttime",
        /// Absent while it runs.
        pub ended: Option<Timestamp> = "endtime",
        /// `OK`, `WARNINGS: n` or the error; absent while it runs.
        pub status: Option<String>,
        pub token_id: Option<String> = "tokenid",
        /// Whether the node has written it to its archive.
        pub saved: bool,
        pub pid: Option<u32>,
        pub pstart: Option<u64>,
        pub worker_id: Option<String> = "worker_id",
    }
}

reply! {
    /// A line of the cluster's log.
    pub struct LogEntry {
        pub id: Option<String>,
        pub uid: Option<String>,
        pub node: Option<NodeName>,
        pub time: Option<Timestamp>,
        pub user: String,
        pub tag: String,
        /// The syslog priority: 0 emergency to 7 debug.
        pub priority: u8 = "pri",
        pub message: String = "msg",
        pub pid: Option<u32>,
    }
}

reply! {
    /// The datacenter's options.
    pub struct ClusterOptions {
        pub description: Option<String>,
        pub mac_prefix: Option<String>,
        pub allowed_tags: Vec<String> = "allowed-tags",
        pub keyboard: Option<String>,
        pub language: Option<String>,
        pub console: Option<String>,
        pub email_from: Option<String>,
        pub http_proxy: Option<String>,
        pub fencing: Option<String>,
        pub max_workers: Option<u32>,
        ..rest
    }
}

params! {
    /// What [`set_options`] changes. Needs `Sys.Modify` on `/`.
    pub struct ClusterOptionsParams {
        pub description: Option<String>,
        pub keyboard: Option<String>,
        pub language: Option<String>,
        pub console: Option<String>,
        pub email_from: Option<String>,
        pub http_proxy: Option<String>,
        pub max_workers: Option<u32>,
        pub mac_prefix: Option<String>,
        pub bwlimit: Option<String>,
        pub migration: Option<String>,
        /// Options to take away.
        pub delete: CommaList,
    }
}

/// `GET /cluster/status`. Needs `Sys.Audit` on `/`.
pub fn status() -> Request<Vec<ClusterStatus>> {
    Request::get(path!["cluster", "status"]).protected()
}

/// `GET /cluster/resources`. Any login; shows what it may audit.
pub fn resources(filter: Option<&ResourceFilter>) -> Request<Vec<Resource>> {
    Request::get(path!["cluster", "resources"]).opt("type", filter)
}

/// `GET /cluster/tasks`: the recent tasks of all nodes. Any login; others' tasks need `Sys.Audit`
/// on `/`.
pub fn tasks() -> Request<Vec<ClusterTask>> {
    Request::get(path!["cluster", "tasks"])
}

/// `GET /cluster/log`: at most `max` lines. Any login; others' lines need `Sys.Syslog` on `/`.
pub fn log(max: Option<u32>) -> Request<Vec<LogEntry>> {
    Request::get(path!["cluster", "log"]).opt("max", max)
}

/// `GET /cluster/nextid`: the lowest free guest id, or `vmid` if that is free. Any login.
pub fn next_id(vmid: Option<VmId>) -> Request<VmId> {
    Request::get(path!["cluster", "nextid"]).opt("vmid", vmid)
}

/// `GET /cluster/options`. Any login sees a few; the rest needs `Sys.Audit` on `/`.
pub fn options() -> Request<ClusterOptions> {
    Request::get(path!["cluster", "options"])
}

/// `PUT /cluster/options`. Needs `Sys.Modify` on `/`.
pub fn set_options(options: ClusterOptionsParams) -> Request<api_core::de::Done> {
    Request::put(path!["cluster", "options"]).params(options.into()).protected()
}
