//! Datastores: list, how full they are, settings, garbage collection, verification, pruning.

use api_core::{Request, de::Done, params, path, reply, words};
use estate::{DatastoreName, Upid};
use jiff::Timestamp;
use serde_json::Value;

mod config;

pub use config::*;

words! {
    /// Whether a removable datastore is there.
    pub enum MountStatus {
        /// It is not a removable one.
        NonRemovable = "nonremovable",
        /// It is there.
        Mounted = "mounted",
        /// It is not.
        NotMounted = "notmounted",
    }
}

reply! {
    /// A datastore in the list.
    pub struct Datastore {
        pub name: DatastoreName = "store",
        pub comment: Option<String>,
        /// `read-only`, `offline`, … with a message, while it is in maintenance.
        pub maintenance: Option<String>,
        /// Since 3.3.
        pub mount_status: Option<MountStatus> = "mount-status",
        /// `filesystem` or `s3` (since 4).
        pub backend: Option<String> = "backend-type",
    }
}

reply! {
    /// How full a datastore is, over time.
    pub struct DatastoreUsage {
        pub name: DatastoreName = "store",
        /// Absent, as the other figures, where it cannot be read: see `error`.
        pub total_bytes: Option<u64> = "total",
        pub used_bytes: Option<u64> = "used",
        pub available_bytes: Option<u64> = "avail",
        /// When it will be full if it goes on like this.
        pub estimated_full: Option<Timestamp> = "estimated-full-date",
        pub error: Option<String>,
        pub maintenance: Option<String>,
        pub mount_status: Option<MountStatus> = "mount-status",
        pub backend: Option<String> = "backend-type",
        /// Shares in use, 0 to 1, one every `history_step_secs` from `history_start` on.
        pub history: Vec<Option<f64>>,
        pub history_start: Option<Timestamp> = "history-start",
        pub history_step_secs: Option<u64> = "history-delta",
        pub gc: Option<GcStatus> = "gc-status",
    }
}

reply! {
    /// How full a datastore is.
    pub struct DatastoreStatus {
        pub total_bytes: u64 = "total",
        pub used_bytes: u64 = "used",
        pub available_bytes: u64 = "avail",
        pub backend: Option<String> = "backend-type",
        /// Only with `verbose`.
        pub counts: Option<Counts>,
        /// Only with `verbose`.
        pub gc: Option<GcStatus> = "gc-status",
        pub s3_statistics: Option<Value> = "s3-statistics",
    }
}

reply! {
    /// How many groups and snapshots there are, by type.
    pub struct Counts {
        pub vm: Option<TypeCounts>,
        pub ct: Option<TypeCounts>,
        pub host: Option<TypeCounts>,
        pub other: Option<TypeCounts>,
    }
}

reply! {
    /// How many groups and snapshots of one type there are.
    pub struct TypeCounts {
        pub groups: u64,
        pub snapshots: u64,
    }
}

reply! {
    /// What the last garbage collection did, and when it runs again.
    pub struct GcStatus {
        pub name: Option<DatastoreName> = "store",
        /// Absent if it never ran.
        pub upid: Option<Upid>,
        /// `OK`, `WARNINGS: n` or the error.
        pub last_state: Option<String> = "last-run-state",
        pub last_end: Option<Timestamp> = "last-run-endtime",
        pub duration_secs: Option<u64> = "duration",
        pub schedule: Option<String>,
        pub next_run: Option<Timestamp> = "next-run",
        /// What lies on disk.
        pub disk_bytes: u64 = "disk-bytes",
        pub disk_chunks: u64 = "disk-chunks",
        /// What it would be without deduplication.
        pub index_data_bytes: u64 = "index-data-bytes",
        pub index_files: u64 = "index-file-count",
        /// What the next run may remove.
        pub pending_bytes: u64 = "pending-bytes",
        pub pending_chunks: u64 = "pending-chunks",
        pub removed_bytes: u64 = "removed-bytes",
        pub removed_chunks: u64 = "removed-chunks",
        pub removed_bad: u64 = "removed-bad",
        /// Chunks that are known to be bad and still in use.
        pub still_bad: u64 = "still-bad",
        pub cache: Option<CacheStats> = "cache-stats",
    }
}

impl GcStatus {
    /// How many times over the data would lie on disk without deduplication.
    pub fn dedup_factor(&self) -> Option<f64> {
        (self.disk_bytes > 0).then(|| self.index_data_bytes as f64 / self.disk_bytes as f64)
    }
}

reply! {
    /// How the cache of a garbage collection fared.
    pub struct CacheStats {
        pub hits: u64,
        pub misses: u64,
    }
}

reply! {
    /// Who reads and writes just now.
    pub struct ActiveOperations {
        pub read: u64,
        pub write: u64,
    }
}

reply! {
    /// A datastore's figures at one time; what was not measured is absent.
    pub struct DatastorePoint {
        pub time: Option<Timestamp>,
        pub total_bytes: Option<f64> = "total",
        pub used_bytes: Option<f64> = "used",
        pub available_bytes: Option<f64> = "available",
        pub read_bytes_per_sec: Option<f64> = "read_bytes",
        pub write_bytes_per_sec: Option<f64> = "write_bytes",
        pub reads_per_sec: Option<f64> = "read_ios",
        pub writes_per_sec: Option<f64> = "write_ios",
        pub io_ticks: Option<f64>,
    }
}

params! {
    /// What to verify.
    pub struct VerifyParams {
        pub namespace: Option<String> = "ns",
        pub max_depth: Option<u32> = "max-depth",
        pub backup_type: Option<String> = "backup-type",
        pub backup_id: Option<String> = "backup-id",
        pub backup_time: Option<Timestamp> = "backup-time",
        /// Leave out what was verified, …
        pub ignore_verified: Option<bool> = "ignore-verified",
        /// … unless that is so many days ago.
        pub outdated_after_days: Option<u32> = "outdated-after",
    }
}

params! {
    /// What to keep.
    pub struct Keep {
        pub last: Option<u32> = "keep-last",
        pub hourly: Option<u32> = "keep-hourly",
        pub daily: Option<u32> = "keep-daily",
        pub weekly: Option<u32> = "keep-weekly",
        pub monthly: Option<u32> = "keep-monthly",
        pub yearly: Option<u32> = "keep-yearly",
    }
}

params! {
    /// What to prune in a datastore.
    pub struct PruneDatastoreParams {
        pub keep: Keep = "",
        pub namespace: Option<String> = "ns",
        pub max_depth: Option<u32> = "max-depth",
        pub dry_run: Option<bool> = "dry-run",
    }
}

fn part(store: &DatastoreName, part: &str) -> api_core::Path {
    path!["admin", "datastore", store, part]
}

/// `GET /admin/datastore`. Any login; shows datastores on which it has `Datastore.Audit` or
/// `Datastore.Backup`.
pub fn list() -> Request<Vec<Datastore>> {
    Request::get(path!["admin", "datastore"])
}

/// `GET /status/datastore-usage`. Any login; shows datastores on which it has `Datastore.Audit` or
/// `Datastore.Backup`.
pub fn usage() -> Request<Vec<DatastoreUsage>> {
    Request::get(path!["status", "datastore-usage"])
}

/// `GET /admin/datastore/{store}/status`: `verbose` counts, which takes long. Needs
/// `Datastore.Audit` on the datastore; `Datastore.Backup` sees less.
pub fn status(store: &DatastoreName, verbose: bool) -> Request<DatastoreStatus> {
    Request::get(part(store, "status")).flag("verbose", verbose.then_some(true))
}

/// `GET /admin/datastore/{store}/active-operations`. Needs `Datastore.Audit` on the datastore.
pub fn active_operations(store: &DatastoreName) -> Request<ActiveOperations> {
    Request::get(part(store, "active-operations"))
}

/// `GET /admin/datastore/{store}/rrd`: `timeframe` is `hour`, `day`, … Needs `Datastore.Audit` or
/// `Datastore.Backup` on the datastore.
pub fn rrd(store: &DatastoreName, timeframe: &str) -> Request<Vec<DatastorePoint>> {
    Request::get(part(store, "rrd")).param("timeframe", timeframe).param("cf", "AVERAGE")
}

/// `GET /admin/gc`: every datastore's. Any login; shows datastores on which it has
/// `Datastore.Audit`.
pub fn gc_statuses() -> Request<Vec<GcStatus>> {
    Request::get(path!["admin", "gc"])
}

/// `GET /admin/datastore/{store}/gc`. Needs `Datastore.Audit` on the datastore.
pub fn gc_status(store: &DatastoreName) -> Request<GcStatus> {
    Request::get(part(store, "gc"))
}

/// `POST /admin/datastore/{store}/gc`. Needs `Datastore.Modify` on the datastore.
pub fn start_gc(store: &DatastoreName) -> Request<Upid> {
    Request::post(part(store, "gc"))
}

/// `POST /admin/datastore/{store}/verify`. Needs `Datastore.Verify` on the namespace, or
/// `Datastore.Backup` for one's own groups.
pub fn verify(store: &DatastoreName, options: VerifyParams) -> Request<Upid> {
    Request::post(part(store, "verify")).params(options.into())
}

/// `POST /admin/datastore/{store}/prune-datastore`. Needs `Datastore.Modify` or `Datastore.Prune` on
/// the namespace.
pub fn prune(store: &DatastoreName, options: PruneDatastoreParams) -> Request<Upid> {
    Request::post(part(store, "prune-datastore")).params(options.into())
}

/// `GET /config/datastore`. Any login; shows datastores on which it has `Datastore.Audit`.
pub fn configs() -> Request<Vec<DatastoreConfig>> {
    Request::get(path!["config", "datastore"])
}

/// `GET /config/datastore/{name}`. Needs `Datastore.Audit` on the datastore.
pub fn config(store: &DatastoreName) -> Request<DatastoreConfig> {
    Request::get(path!["config", "datastore", store])
}

/// `PUT /config/datastore/{name}`. Needs `Datastore.Modify` on the datastore.
pub fn update_config(store: &DatastoreName, options: DatastoreParams) -> Request<Done> {
    Request::put(path!["config", "datastore", store]).params(options.into())
}
