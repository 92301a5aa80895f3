//! The server's services, journal, packages and disks in depth.

use api_core::{Request, params, path, reply};
use estate::Upid;
use jiff::Timestamp;

use super::{NODE, Service};
use crate::tasks::LogLine;

reply! {
    /// An installed package that matters.
    pub struct AptVersion {
        pub package: String = "Package",
        pub title: Option<String> = "Title",
        pub version: Option<String> = "Version",
        pub old_version: Option<String> = "OldVersion",
        pub origin: Option<String> = "Origin",
        pub section: Option<String> = "Section",
        pub priority: Option<String> = "Priority",
        pub arch: Option<String> = "Arch",
        pub description: Option<String> = "Description",
        /// Such as `running kernel: …` or `running version: …`.
        pub extra: Option<String> = "ExtraInfo",
    }
}

reply! {
    /// What a disk says about itself.
    pub struct Smart {
        /// `passed`, `failed` or `unknown`.
        pub status: String,
        /// Percent of its life that is left.
        pub wearout: Option<f64>,
        pub attributes: Vec<SmartAttribute>,
    }
}

reply! {
    /// A SMART attribute.
    pub struct SmartAttribute {
        pub id: Option<u32>,
        pub name: String,
        pub raw: Option<String> = "raw" | "value",
        pub normalized: Option<f64>,
        pub worst: Option<f64>,
        pub threshold: Option<f64>,
        pub flags: Option<String>,
    }
}

reply! {
    /// A part of a ZFS pool, or the pool itself.
    pub struct ZfsDevice {
        pub name: String,
        pub state: Option<String>,
        pub status: Option<String>,
        pub action: Option<String>,
        /// The last or running scrub or resilver.
        pub scan: Option<String>,
        pub errors: Option<String>,
        pub read_errors: Option<u64> = "read",
        pub write_errors: Option<u64> = "write",
        pub checksum_errors: Option<u64> = "cksum",
        pub message: Option<String> = "msg",
        pub leaf: Option<bool>,
        pub children: Vec<ZfsDevice>,
    }
}

params! {
    /// Which lines of the journal: a count, a range, or from one cursor to another.
    pub struct JournalParams {
        pub since: Option<Timestamp>,
        pub until: Option<Timestamp>,
        pub last_entries: Option<u64> = "lastentries",
        pub start_cursor: Option<String> = "startcursor",
        pub end_cursor: Option<String> = "endcursor",
    }
}

params! {
    /// Which lines of the system log.
    pub struct SyslogParams {
        pub start: Option<u64>,
        pub limit: Option<u64>,
        /// `YYYY-MM-DD`, with a time or without, by the server's clock.
        pub since: Option<String>,
        pub until: Option<String>,
        pub service: Option<String>,
    }
}

/// `GET /nodes/{node}/syslog`: a page, with the count of all. Needs `Sys.Audit` on `/system/log`.
pub fn syslog(options: SyslogParams) -> Request<Vec<LogLine>> {
    Request::get(path!["nodes", NODE, "syslog"]).params(options.into())
}

/// `GET /nodes/{node}/journal`: the first and the last line are cursors. Needs `Sys.Audit` on
/// `/system/log`.
pub fn journal(options: JournalParams) -> Request<Vec<String>> {
    Request::get(path!["nodes", NODE, "journal"]).params(options.into())
}

/// `GET /nodes/{node}/services/{service}/state`. Needs `Sys.Audit` on the service.
pub fn service(service: &str) -> Request<Service> {
    Request::get(path!["nodes", NODE, "services", service, "state"])
}

/// `POST /nodes/{node}/services/{service}/{action}`: `start`, `stop`, `restart` or `reload`. Needs
/// `Sys.Modify` on the service.
pub fn service_action(service: &str, action: &str) -> Request<Option<Upid>> {
    Request::post(path!["nodes", NODE, "services", service, action])
}

/// `GET /nodes/{node}/apt/versions`. Needs `Sys.Audit` on `/`.
pub fn package_versions() -> Request<Vec<AptVersion>> {
    Request::get(path!["nodes", NODE, "apt", "versions"])
}

/// `GET /nodes/{node}/disks/smart`: the disk by its name, such as `sda`. Needs `Sys.Audit` on
/// `/system/disks`.
pub fn smart(disk: &str) -> Request<Smart> {
    Request::get(path!["nodes", NODE, "disks", "smart"]).param("disk", disk)
}

/// `GET /nodes/{node}/disks/zfs/{name}`. Needs `Sys.Audit` on `/system/disks`.
pub fn zfs_pool(name: &str) -> Request<ZfsDevice> {
    Request::get(path!["nodes", NODE, "disks", "zfs", name])
}
