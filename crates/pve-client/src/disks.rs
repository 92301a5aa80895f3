//! A node's disks, their health, and what is built on them.

use api_core::{Request, path, reply};
use estate::NodeName;
use serde_json::Value;

reply! {
    /// A disk, or a partition of one.
    pub struct Disk {
        pub path: String = "devpath",
        pub size_bytes: Option<u64> = "size",
        pub model: Option<String>,
        pub vendor: Option<String>,
        pub serial: Option<String>,
        pub wwn: Option<String>,
        /// `ssd`, `hdd`, `nvme`, `usb`, `unknown`.
        pub kind: Option<String> = "type",
        /// What SMART says: `PASSED`, `FAILED`, `UNKNOWN`, …
        pub health: Option<String>,
        /// Percent of its life that is left; absent where the disk does not tell (`N/A`).
        pub wearout: Option<i64>,
        pub rpm: Option<i64>,
        /// What it is used for: `LVM`, `ZFS`, `partitions`, `mounted`, …
        pub used: Option<String>,
        pub mounted: Option<bool>,
        pub gpt: bool,
        pub parent: Option<String>,
        pub by_id: Option<String> = "by_id_link",
        pub osd_id: Option<i64> = "osdid",
        pub osd_ids: Value = "osdid-list",
        pub bluestore: Option<bool>,
        pub osd_encrypted: Option<bool>,
        pub journals: Option<u32>,
        pub db: Option<u32>,
        pub wal: Option<u32>,
    }
}

reply! {
    /// What a disk says about itself.
    pub struct Smart {
        /// `PASSED`, `OK`, `FAILED`, …
        pub health: String,
        /// `ata` or `text`.
        pub kind: Option<String> = "type",
        pub attributes: Vec<SmartAttribute>,
        /// The whole output, for disks without attributes.
        pub text: Option<String>,
        pub wearout: Option<i64>,
    }
}

reply! {
    /// A SMART attribute.
    pub struct SmartAttribute {
        pub id: Option<u32>,
        pub name: String,
        pub value: Option<i64>,
        pub normalized: Option<f64>,
        pub worst: Option<i64>,
        pub threshold: Option<i64>,
        pub raw: Option<String>,
        pub flags: Option<String>,
        /// `-` while it is fine.
        pub fail: Option<String>,
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

reply! {
    /// A ZFS pool with its devices.
    pub struct ZfsPoolStatus {
        pub name: String,
        pub state: String,
        /// What is wrong, in words.
        pub status: Option<String>,
        pub action: Option<String>,
        /// The last or running scrub or resilver.
        pub scan: Option<String>,
        pub errors: Option<String>,
        pub children: Vec<ZfsDevice>,
    }
}

reply! {
    /// A part of a ZFS pool.
    pub struct ZfsDevice {
        pub name: String,
        pub state: Option<String>,
        pub read_errors: Option<u64> = "read",
        pub write_errors: Option<u64> = "write",
        pub checksum_errors: Option<u64> = "cksum",
        pub message: Option<String> = "msg",
        pub leaf: Option<bool>,
        pub children: Vec<ZfsDevice>,
    }
}

reply! {
    /// The volume groups of LVM.
    pub struct LvmTree {
        pub leaf: Option<bool>,
        pub children: Vec<LvmGroup>,
    }
}

reply! {
    /// A volume group, or a physical volume of one.
    pub struct LvmGroup {
        pub name: String,
        pub size_bytes: u64 = "size",
        pub free_bytes: u64 = "free",
        pub leaf: Option<bool>,
        pub lv_count: Option<u32> = "lvcount",
        pub children: Vec<LvmGroup>,
    }
}

reply! {
    /// A thin pool of LVM.
    pub struct ThinPool {
        pub name: String = "lv",
        pub group: Option<String> = "vg",
        pub size_bytes: u64 = "lv_size",
        pub used_bytes: u64 = "used",
        pub metadata_size_bytes: u64 = "metadata_size",
        /// A thin pool whose metadata is full stops.
        pub metadata_used_bytes: u64 = "metadata_used",
    }
}

reply! {
    /// A file system that was made as storage.
    pub struct DirectoryMount {
        pub path: String,
        pub device: Option<String>,
        pub kind: Option<String> = "type",
        pub options: Option<String>,
        pub unit_file: Option<String> = "unitfile",
    }
}

fn get<T>(node: &NodeName, part: &str) -> Request<T> {
    Request::get(path!["nodes", node, "disks", part]).on(node).protected()
}

/// `GET /nodes/{node}/disks/list`: `skip_smart` is faster. Needs `Sys.Audit` on the node.
pub fn list(node: &NodeName, skip_smart: bool) -> Request<Vec<Disk>> {
    get(node, "list").flag("skipsmart", skip_smart.then_some(true))
}

/// `GET /nodes/{node}/disks/smart`. Needs `Sys.Audit` on `/`.
pub fn smart(node: &NodeName, disk: &str) -> Request<Smart> {
    get(node, "smart").param("disk", disk)
}

/// `GET /nodes/{node}/disks/zfs`. Needs `Sys.Audit` on `/`.
pub fn zfs(node: &NodeName) -> Request<Vec<ZfsPool>> {
    get(node, "zfs")
}

/// `GET /nodes/{node}/disks/zfs/{name}`. Needs `Sys.Audit` on `/`.
pub fn zfs_pool(node: &NodeName, name: &str) -> Request<ZfsPoolStatus> {
    Request::get(path!["nodes", node, "disks", "zfs", name]).on(node).protected()
}

/// `GET /nodes/{node}/disks/lvm`. Needs `Sys.Audit` on `/`.
pub fn lvm(node: &NodeName) -> Request<LvmTree> {
    get(node, "lvm")
}

/// `GET /nodes/{node}/disks/lvmthin`. Needs `Sys.Audit` on `/`.
pub fn thin_pools(node: &NodeName) -> Request<Vec<ThinPool>> {
    get(node, "lvmthin")
}

/// `GET /nodes/{node}/disks/directory`. Needs `Sys.Audit` on `/`.
pub fn directories(node: &NodeName) -> Request<Vec<DirectoryMount>> {
    get(node, "directory")
}
