//! Backup jobs, what they cover, and what none covers.

use std::collections::BTreeMap;

use api_core::{
    Request,
    de::{CommaList, Done},
    params, path, reply,
};
use estate::{GuestKind, NodeName, StorageName, VmId};
use jiff::Timestamp;

reply! {
    /// A backup job.
    pub struct BackupJob {
        pub id: String,
        pub enabled: Option<bool>,
        pub schedule: Option<String>,
        pub next_run: Option<Timestamp> = "next-run",
        pub storage: Option<StorageName>,
        /// Only guests of this node; all nodes without.
        pub node: Option<NodeName>,
        /// Every guest but `exclude`.
        pub all: bool,
        pub pool: Option<String>,
        pub vmids: Vec<VmId> = "vmid",
        pub exclude: Vec<VmId>,
        /// `snapshot`, `suspend` or `stop`.
        pub mode: Option<String>,
        pub compress: Option<String>,
        pub comment: Option<String>,
        pub kind: Option<String> = "type",
        /// `keep-last=3` and the like: a text, or an object since 8.
        pub prune_backups: serde_json::Value = "prune-backups",
        pub protected: Option<bool>,
        pub repeat_missed: Option<bool> = "repeat-missed",
        pub notes_template: Option<String> = "notes-template",
        pub notification_mode: Option<String> = "notification-mode",
        pub mailnotification: Option<String>,
        pub mailto: Option<String>,
        pub bwlimit: Option<u64>,
        pub fleecing: serde_json::Value,
        pub performance: serde_json::Value,
        pub exclude_path: Vec<String> = "exclude-path",
        pub dow: Option<String>,
        pub starttime: Option<String>,
        pub remove: Option<bool>,
        pub quiet: Option<bool>,
        pub zstd: Option<u32>,
        pub dumpdir: Option<String>,
        pub digest: Option<String>,
    }
}

impl BackupJob {
    /// Whether it runs on schedule: jobs are on unless turned off.
    pub fn is_enabled(&self) -> bool {
        self.enabled.unwrap_or(true)
    }
}

reply! {
    /// The guests of a backup job with their volumes.
    pub struct IncludedVolumes {
        pub children: Vec<IncludedGuest>,
    }
}

reply! {
    /// A guest that a backup job takes.
    pub struct IncludedGuest {
        /// The guest's id; not a number where its configuration cannot be read.
        pub vmid: Option<VmId> = "id",
        pub name: Option<String>,
        /// `qemu`, `lxc`, or `unknown`.
        pub kind: String = "type",
        pub children: Vec<IncludedVolume>,
    }
}

reply! {
    /// A volume of a guest, and whether the backup takes it.
    pub struct IncludedVolume {
        /// The configuration key: `scsi0`, `rootfs`, …
        pub id: String,
        /// The volume's id.
        pub name: String,
        pub included: bool,
        pub reason: String,
    }
}

reply! {
    /// A guest that no backup job takes.
    pub struct NotBackedUp {
        pub vmid: VmId,
        pub name: Option<String>,
        pub kind: Option<GuestKind> = "type",
    }
}

params! {
    /// A new backup job, or changes to one.
    pub struct BackupJobParams {
        pub id: Option<String>,
        pub schedule: Option<String>,
        pub enabled: Option<bool>,
        pub storage: Option<StorageName>,
        pub node: Option<NodeName>,
        pub all: Option<bool>,
        pub pool: Option<String>,
        pub vmids: CommaList = "vmid",
        pub exclude: CommaList,
        pub mode: Option<String>,
        pub compress: Option<String>,
        pub comment: Option<String>,
        pub prune_backups: Option<String> = "prune-backups",
        pub protected: Option<bool>,
        pub repeat_missed: Option<bool> = "repeat-missed",
        pub notes_template: Option<String> = "notes-template",
        pub notification_mode: Option<String> = "notification-mode",
        pub bwlimit: Option<u64>,
        pub fleecing: Option<String>,
    }
}

/// `GET /cluster/backup`. Needs `Sys.Audit` on `/`.
pub fn jobs() -> Request<Vec<BackupJob>> {
    Request::get(path!["cluster", "backup"])
}

/// `GET /cluster/backup/{id}`. Needs `Sys.Audit` on `/`.
pub fn job(id: &str) -> Request<BackupJob> {
    Request::get(path!["cluster", "backup", id])
}

/// `POST /cluster/backup`. Needs `Sys.Modify` on `/`.
pub fn create_job(options: BackupJobParams) -> Request<Done> {
    Request::post(path!["cluster", "backup"]).params(options.into()).protected()
}

/// `PUT /cluster/backup/{id}`; `delete` names the settings to take away. Needs `Sys.Modify` on `/`.
pub fn update_job(id: &str, options: BackupJobParams, delete: &[&str]) -> Request<Done> {
    let delete = (!delete.is_empty()).then(|| delete.join(","));
    let options = BackupJobParams { id: None, ..options };
    Request::put(path!["cluster", "backup", id])
        .params(options.into())
        .opt("delete", delete)
        .protected()
}

/// `DELETE /cluster/backup/{id}`. Needs `Sys.Modify` on `/`.
pub fn delete_job(id: &str) -> Request<Done> {
    Request::delete(path!["cluster", "backup", id]).protected()
}

/// `GET /cluster/backup/{id}/included_volumes`. Needs `Sys.Audit` on `/`; shows the guests that
/// the login may audit.
pub fn included_volumes(id: &str) -> Request<IncludedVolumes> {
    Request::get(path!["cluster", "backup", id, "included_volumes"]).protected()
}

/// `GET /cluster/backup-info/not-backed-up`: guests in no job. Needs `Sys.Audit` on `/`; shows the
/// guests that the login may audit.
pub fn not_backed_up() -> Request<Vec<NotBackedUp>> {
    Request::get(path!["cluster", "backup-info", "not-backed-up"]).protected()
}

reply! {
    /// When a schedule would run.
    pub struct ScheduledRun {
        pub time: Option<Timestamp> = "timestamp",
        /// The same for people, in UTC.
        pub utc: String,
    }
}

/// `GET /cluster/jobs/schedule-analyze`: the next `iterations` runs of a calendar schedule. Any
/// login.
pub fn analyze_schedule(schedule: &str, iterations: Option<u32>) -> Request<Vec<ScheduledRun>> {
    Request::get(path!["cluster", "jobs", "schedule-analyze"])
        .param("schedule", schedule)
        .opt("iterations", iterations)
}

impl IncludedVolumes {
    /// Which volumes of which guest are taken, by guest id.
    pub fn by_guest(&self) -> BTreeMap<VmId, Vec<&IncludedVolume>> {
        let guests = self.children.iter().filter_map(|guest| Some((guest.vmid?, guest)));
        guests
            .map(|(vmid, guest)| (vmid, guest.children.iter().filter(|v| v.included).collect()))
            .collect()
    }
}
