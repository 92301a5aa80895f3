//! Containers: what they are and how they do.

use std::collections::BTreeMap;

use api_core::{Request, path, reply};
use estate::{NodeName, VmId};
use jiff::Timestamp;
use secrecy::SecretString;
use serde_json::Value;

use crate::guest::{Feature, GuestHa, GuestState, PendingValue, Snapshot, guest_path, indexed};

mod actions;
mod params;
mod power;

pub use actions::*;
pub use params::*;
pub use power::*;

reply! {
    /// A container in its node's list.
    pub struct LxcGuest {
        pub vmid: VmId,
        pub name: Option<String>,
        pub status: GuestState,
        pub kind: Option<String> = "type",
        pub template: bool,
        pub tags: Vec<String>,
        pub lock: Option<String>,
        /// Share of `cpus` in use, 0 to 1.
        pub cpu: Option<f64>,
        pub cpus: Option<f64>,
        pub memory_bytes: Option<u64> = "mem",
        pub max_memory_bytes: Option<u64> = "maxmem",
        pub swap_bytes: Option<u64> = "swap",
        pub max_swap_bytes: Option<u64> = "maxswap",
        pub disk_bytes: Option<u64> = "disk",
        pub max_disk_bytes: Option<u64> = "maxdisk",
        pub disk_read_bytes: Option<u64> = "diskread",
        pub disk_write_bytes: Option<u64> = "diskwrite",
        pub network_in_bytes: Option<u64> = "netin",
        pub network_out_bytes: Option<u64> = "netout",
        pub uptime_secs: Option<u64> = "uptime",
        pub pid: Option<u32>,
        pub pressure_cpu_some: Option<f64> = "pressurecpusome",
        pub pressure_cpu_full: Option<f64> = "pressurecpufull",
        pub pressure_io_some: Option<f64> = "pressureiosome",
        pub pressure_io_full: Option<f64> = "pressureiofull",
        pub pressure_memory_some: Option<f64> = "pressurememorysome",
        pub pressure_memory_full: Option<f64> = "pressurememoryfull",
    }
}

reply! {
    /// A container's state just now.
    pub struct LxcStatus {
        pub vmid: VmId,
        pub name: Option<String>,
        pub status: GuestState,
        pub kind: Option<String> = "type",
        pub template: bool,
        pub tags: Vec<String>,
        pub lock: Option<String>,
        pub ha: Option<GuestHa>,
        pub cpu: Option<f64>,
        pub cpus: Option<f64>,
        pub memory_bytes: Option<u64> = "mem",
        pub max_memory_bytes: Option<u64> = "maxmem",
        pub swap_bytes: Option<u64> = "swap",
        pub max_swap_bytes: Option<u64> = "maxswap",
        pub disk_bytes: Option<u64> = "disk",
        pub max_disk_bytes: Option<u64> = "maxdisk",
        pub disk_read_bytes: Option<u64> = "diskread",
        pub disk_write_bytes: Option<u64> = "diskwrite",
        pub network_in_bytes: Option<u64> = "netin",
        pub network_out_bytes: Option<u64> = "netout",
        pub uptime_secs: Option<u64> = "uptime",
        pub pid: Option<u32>,
        pub pressure_cpu_some: Option<f64> = "pressurecpusome",
        pub pressure_cpu_full: Option<f64> = "pressurecpufull",
        pub pressure_io_some: Option<f64> = "pressureiosome",
        pub pressure_io_full: Option<f64> = "pressureiofull",
        pub pressure_memory_some: Option<f64> = "pressurememorysome",
        pub pressure_memory_full: Option<f64> = "pressurememoryfull",
    }
}

reply! {
    /// A container's configuration. What is not set is absent and has PVE's default. Interfaces,
    /// mount points and devices stay under their numbered keys in `rest`: see [`LxcConfig::nets`]
    /// and [`LxcConfig::mount_points`].
    pub struct LxcConfig {
        pub hostname: Option<String>,
        pub description: Option<String>,
        pub tags: Vec<String>,
        /// For optimistic locking.
        pub digest: Option<String>,
        pub memory_mib: Option<u64> = "memory",
        pub swap_mib: Option<u64> = "swap",
        pub cores: Option<u32>,
        pub cpu_limit: Option<f64> = "cpulimit",
        pub cpu_units: Option<u64> = "cpuunits",
        pub arch: Option<String>,
        pub os_type: Option<String> = "ostype",
        pub rootfs: Option<String>,
        pub on_boot: Option<bool> = "onboot",
        pub startup: Option<String>,
        pub protection: bool,
        pub template: bool,
        pub unprivileged: Option<bool>,
        pub features: Option<String>,
        pub lock: Option<String>,
        pub console: Option<bool>,
        pub cmode: Option<String>,
        pub tty: Option<u32>,
        pub debug: Option<bool>,
        pub timezone: Option<String>,
        pub hookscript: Option<String>,
        pub name_server: Option<String> = "nameserver",
        pub search_domain: Option<String> = "searchdomain",
        /// Since 9.1. Holds whatever its maker put there, passwords included.
        pub env: Option<SecretString>,
        /// Since 9.1.
        pub entrypoint: Option<String>,
        /// Lines for LXC itself, as pairs.
        pub raw: Value = "lxc",
        /// In a snapshot's configuration: the snapshot before it.
        pub parent: Option<String>,
        /// In a snapshot's configuration: when it was made.
        pub snapshot_time: Option<Timestamp> = "snaptime",
        ..rest
    }
}

impl LxcConfig {
    /// The network interfaces: `net0`, … with their property strings.
    pub fn nets(&self) -> impl Iterator<Item = (&str, &str)> {
        indexed(&self.rest, &["net"])
    }

    /// The mount points besides the root: `mp0`, … with their property strings.
    pub fn mount_points(&self) -> impl Iterator<Item = (&str, &str)> {
        indexed(&self.rest, &["mp"])
    }

    /// Volumes that belong to the container without being attached.
    pub fn unused(&self) -> impl Iterator<Item = (&str, &str)> {
        indexed(&self.rest, &["unused"])
    }
}

reply! {
    /// An interface inside a running container.
    pub struct LxcInterface {
        pub name: String,
        pub hardware_address: Option<String> = "hardware-address" | "hwaddr",
        /// The first IPv4 address with its prefix length.
        pub inet: Option<String>,
        /// The first IPv6 address with its prefix length.
        pub inet6: Option<String>,
        /// All addresses (since 8.4).
        pub addresses: Vec<LxcAddress> = "ip-addresses",
    }
}

reply! {
    /// An address of an interface.
    pub struct LxcAddress {
        pub address: String = "ip-address",
        /// `inet` or `inet6`.
        pub family: Option<String> = "ip-address-type",
        pub prefix: Option<u8>,
    }
}

reply! {
    /// What stands in the way of a container's move.
    pub struct LxcMigrateCheck {
        pub running: bool,
        pub allowed_nodes: Vec<NodeName> = "allowed-nodes",
        /// Why not, by node.
        pub not_allowed_nodes: BTreeMap<String, Value> = "not-allowed-nodes",
        pub dependent_ha_resources: Vec<String> = "dependent-ha-resources",
    }
}

/// `GET /nodes/{node}/lxc`. Any login; shows what it may audit.
pub fn list(node: &NodeName) -> Request<Vec<LxcGuest>> {
    Request::get(path!["nodes", node, "lxc"]).on(node).protected()
}

/// `GET /nodes/{node}/lxc/{vmid}/status/current`. Needs `VM.Audit` on the guest.
pub fn status(node: &NodeName, vmid: VmId) -> Request<LxcStatus> {
    Request::get(guest_path(node, "lxc", vmid).push("status").push("current")).on(node).protected()
}

/// `GET /nodes/{node}/lxc/{vmid}/config`: with what waits for the next start already in; see
/// [`current_config`]. Needs `VM.Audit` on the guest.
pub fn config(node: &NodeName, vmid: VmId) -> Request<LxcConfig> {
    Request::get(guest_path(node, "lxc", vmid).push("config")).on(node)
}

/// `GET /nodes/{node}/lxc/{vmid}/config?current=1`: what is in force. Needs `VM.Audit` on the
/// guest.
pub fn current_config(node: &NodeName, vmid: VmId) -> Request<LxcConfig> {
    config(node, vmid).param("current", 1)
}

/// `GET /nodes/{node}/lxc/{vmid}/pending`. Needs `VM.Audit` on the guest.
pub fn pending(node: &NodeName, vmid: VmId) -> Request<Vec<PendingValue>> {
    Request::get(guest_path(node, "lxc", vmid).push("pending")).on(node)
}

/// `GET /nodes/{node}/lxc/{vmid}/interfaces`: `None` while it does not run. Needs `VM.Audit` on the
/// guest.
pub fn interfaces(node: &NodeName, vmid: VmId) -> Request<Option<Vec<LxcInterface>>> {
    Request::get(guest_path(node, "lxc", vmid).push("interfaces")).on(node).protected()
}

/// `GET /nodes/{node}/lxc/{vmid}/snapshot`. Needs `VM.Audit` on the guest.
pub fn snapshots(node: &NodeName, vmid: VmId) -> Request<Vec<Snapshot>> {
    Request::get(guest_path(node, "lxc", vmid).push("snapshot")).on(node).protected()
}

/// `GET /nodes/{node}/lxc/{vmid}/snapshot/{snapname}/config`. Needs `VM.Snapshot`,
/// `VM.Snapshot.Rollback` or `VM.Audit` on the guest.
pub fn snapshot_config(node: &NodeName, vmid: VmId, name: &str) -> Request<LxcConfig> {
    Request::get(guest_path(node, "lxc", vmid).push("snapshot").push(name).push("config")).on(node)
}

/// `GET /nodes/{node}/lxc/{vmid}/migrate`: what stands in the way of a move (since 8.4). Needs
/// `VM.Migrate` on the guest.
pub fn migrate_check(
    node: &NodeName,
    vmid: VmId,
    target: Option<&NodeName>,
) -> Request<LxcMigrateCheck> {
    Request::get(guest_path(node, "lxc", vmid).push("migrate"))
        .opt("target", target)
        .on(node)
        .protected()
}

/// `GET /nodes/{node}/lxc/{vmid}/feature`: `feature` is `snapshot`, `clone` or `copy`. Needs
/// `VM.Audit` on the guest.
pub fn feature(node: &NodeName, vmid: VmId, feature: &str) -> Request<Feature> {
    Request::get(guest_path(node, "lxc", vmid).push("feature"))
        .param("feature", feature)
        .on(node)
        .protected()
}
