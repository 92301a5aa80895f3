//! The server's network, names and disks.

use api_core::{Request, path, reply};

use serde_json::Value;

use super::NODE;

reply! {
    /// A network interface.
    pub struct Interface {
        pub name: String = "name" | "iface",
        pub kind: String = "type",
        pub active: bool,
        pub autostart: bool,
        pub method: Option<String>,
        pub method6: Option<String>,
        /// Address with prefix length.
        pub cidr: Option<String>,
        pub cidr6: Option<String>,
        pub gateway: Option<String>,
        pub gateway6: Option<String>,
        pub mtu: Option<u32>,
        pub comments: Option<String>,
        pub comments6: Option<String>,
        pub bridge_ports: Vec<String>,
        pub bridge_vlan_aware: Option<bool>,
        pub slaves: Vec<String>,
        pub bond_mode: Option<String>,
        pub bond_primary: Option<String> = "bond-primary",
        pub bond_xmit_hash_policy: Option<String>,
        pub vlan_id: Option<u16> = "vlan-id",
        pub vlan_raw_device: Option<String> = "vlan-raw-device",
        pub alternative_names: Vec<String> = "altnames",
        pub options: Vec<String>,
        pub options6: Vec<String>,
        pub digest: Option<String>,
    }
}

reply! {
    /// Where the server looks up names.
    pub struct Dns {
        pub search: Option<String>,
        pub dns1: Option<String>,
        pub dns2: Option<String>,
        pub dns3: Option<String>,
        pub digest: Option<String>,
    }
}

reply! {
    /// A disk.
    pub struct Disk {
        pub name: String,
        pub path: Option<String> = "devpath",
        pub size_bytes: Option<u64> = "size",
        pub model: Option<String>,
        pub vendor: Option<String>,
        pub serial: Option<String>,
        pub wwn: Option<String>,
        /// `ssd`, `hdd`, `usb`, `unknown`.
        pub kind: Option<String> = "disk-type",
        /// What SMART says: `passed`, `failed`, `unknown`.
        pub status: Option<String>,
        /// Percent of its life that is left.
        pub wearout: Option<f64>,
        pub rpm: Option<u64>,
        pub used: Option<String>,
        pub gpt: bool,
        pub partitions: Value,
    }
}

reply! {
    /// A ZFS pool.
    pub struct ZfsPool {
        pub name: String,
        /// `ONLINE`, `DEGRADED`, `FAULTED`, …
        pub health: String,
        pub size_bytes: u64 = "size",
        pub allocated_bytes: u64 = "alloc",
        pub free_bytes: u64 = "free",
        /// Percent.
        pub fragmentation: Option<f64> = "frag",
        pub dedup: Option<f64>,
    }
}

/// `GET /nodes/{node}/network`. Needs `Sys.Audit` on `/system/network/interfaces`.
pub fn network() -> Request<Vec<Interface>> {
    Request::get(path!["nodes", NODE, "network"])
}

/// `GET /nodes/{node}/network/{iface}`. Needs `Sys.Audit` on the interface.
pub fn interface(name: &str) -> Request<Interface> {
    Request::get(path!["nodes", NODE, "network", name])
}

/// `GET /nodes/{node}/dns`. Needs `Sys.Audit` on `/system/network/dns`.
pub fn dns() -> Request<Dns> {
    Request::get(path!["nodes", NODE, "dns"])
}

/// `GET /nodes/{node}/disks/list`: `skip_smart` is faster. Needs `Sys.Audit` on `/system/disks`.
pub fn disks(skip_smart: bool) -> Request<Vec<Disk>> {
    Request::get(path!["nodes", NODE, "disks", "list"])
        .flag("skipsmart", skip_smart.then_some(true))
}

/// `GET /nodes/{node}/disks/zfs`. Needs `Sys.Audit` on `/system/disks`.
pub fn zfs() -> Request<Vec<ZfsPool>> {
    Request::get(path!["nodes", NODE, "disks", "zfs"])
}
