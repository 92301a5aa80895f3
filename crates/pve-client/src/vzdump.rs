//! Backups now: run one, see the defaults, read a backup's configuration.

use api_core::{Request, de::CommaList, params, path, reply, words};
use estate::{NodeName, StorageName, Upid};
use secrecy::SecretString;
use serde_json::Value;

words! {
    /// How a guest is held while it is backed up.
    pub enum BackupMode {
        /// Not at all: from a snapshot.
        Snapshot = "snapshot",
        /// Suspended.
        Suspend = "suspend",
        /// Stopped and started again.
        Stop = "stop",
    }
}

params! {
    /// What to back up, where to, and how.
    pub struct VzdumpParams {
        pub vmids: CommaList = "vmid",
        /// Every guest of the node but `exclude`.
        pub all: Option<bool>,
        pub pool: Option<String>,
        pub exclude: CommaList,
        pub storage: Option<StorageName>,
        pub mode: Option<BackupMode>,
        /// `zstd`, `gzip`, `lzo` or `0`.
        pub compress: Option<String>,
        pub notes_template: Option<String> = "notes-template",
        pub protected: Option<bool>,
        /// Prune older ones afterwards.
        pub remove: Option<bool>,
        pub prune_backups: Option<String> = "prune-backups",
        /// In KiB/s.
        pub bwlimit: Option<u64>,
        pub io_nice: Option<u8> = "ionice",
        pub zstd_threads: Option<u32> = "zstd",
        pub fleecing: Option<String>,
        pub notification_mode: Option<String> = "notification-mode",
        pub pbs_change_detection: Option<String> = "pbs-change-detection-mode",
    }
}

reply! {
    /// What a backup does where nothing is said.
    pub struct VzdumpDefaults {
        pub storage: Option<StorageName>,
        pub mode: BackupMode,
        pub compress: Option<String>,
        pub all: bool,
        pub bwlimit: Option<u64>,
        pub dump_dir: Option<String> = "dumpdir",
        pub temporary_dir: Option<String> = "tmpdir",
        pub exclude_path: Vec<String> = "exclude-path",
        pub standard_excludes: Option<bool> = "stdexcludes",
        pub fleecing: Value,
        pub performance: Value,
        pub io_nice: Option<u8> = "ionice",
        pub lock_wait_mins: Option<u64> = "lockwait",
        pub stop_wait_mins: Option<u64> = "stopwait",
        pub notification_mode: Option<String> = "notification-mode",
        pub mail_notification: Option<String> = "mailnotification",
        pub mail_to: Option<String> = "mailto",
        pub notes_template: Option<String> = "notes-template",
        pub protected: Option<bool>,
        pub prune_backups: Value = "prune-backups",
        pub remove: Option<bool>,
        pub quiet: Option<bool>,
        pub stop: Option<bool>,
        pub pigz: Option<u32>,
        pub zstd: Option<u32>,
        pub script: Option<String>,
        pub pool: Option<String>,
        pub node: Option<NodeName>,
        pub pbs_change_detection: Option<String> = "pbs-change-detection-mode",
    }
}

/// `POST /nodes/{node}/vzdump`. Needs `VM.Backup` on each guest, and `Datastore.AllocateSpace` on
/// the storage. Guests that are on other nodes are left out without an error.
pub fn run(node: &NodeName, options: VzdumpParams) -> Request<Upid> {
    Request::post(path!["nodes", node, "vzdump"]).params(options.into()).on(node).protected()
}

/// `GET /nodes/{node}/vzdump/defaults`. Needs `Datastore.Audit` or `Datastore.AllocateSpace` on the
/// storage.
pub fn defaults(node: &NodeName, storage: Option<&StorageName>) -> Request<VzdumpDefaults> {
    Request::get(path!["nodes", node, "vzdump", "defaults"]).opt("storage", storage).on(node)
}

/// `GET /nodes/{node}/vzdump/extractconfig`: a backup's configuration, passwords included. Needs to
/// be allowed to read the volume, and `VM.Backup` on the guest.
pub fn extract_config(node: &NodeName, volume: &str) -> Request<SecretString> {
    Request::get(path!["nodes", node, "vzdump", "extractconfig"])
        .param("volume", volume)
        .on(node)
        .protected()
}
