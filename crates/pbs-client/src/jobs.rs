//! Jobs: sync, verification, pruning. The lists under `/admin` say how the last run went, those
//! under `/config` are for changes.

use api_core::{Params, Request, de::Done, params, path, reply, words};
use estate::{DatastoreName, Upid};
use jiff::Timestamp;

use crate::datastores::Keep;

words! {
    /// The kinds of jobs.
    pub enum JobKind {
        /// Copies from or to another server.
        Sync = "sync",
        /// Reads snapshots again.
        Verify = "verify",
        /// Removes old snapshots.
        Prune = "prune",
    }
}

reply! {
    /// A sync job.
    pub struct SyncJob {
        pub id: String,
        pub datastore: DatastoreName = "store",
        pub namespace: Option<String> = "ns",
        /// Absent if the other datastore is on this server.
        pub remote: Option<String>,
        pub remote_datastore: Option<String> = "remote-store",
        pub remote_namespace: Option<String> = "remote-ns",
        /// `pull` or `push` (since 3.3).
        pub direction: Option<String> = "sync-direction",
        pub owner: Option<String>,
        pub schedule: Option<String>,
        pub comment: Option<String>,
        pub max_depth: Option<u32> = "max-depth",
        pub group_filter: Vec<GroupFilter> = "group-filter",
        pub remove_vanished: Option<bool> = "remove-vanished",
        pub resync_corrupt: Option<bool> = "resync-corrupt",
        pub verified_only: Option<bool> = "verified-only",
        pub encrypted_only: Option<bool> = "encrypted-only",
        pub run_on_mount: Option<bool> = "run-on-mount",
        pub unmount_on_done: Option<bool> = "unmount-on-done",
        pub transfer_last: Option<u32> = "transfer-last",
        pub worker_threads: Option<u32> = "worker-threads",
        pub rate_in: Option<String> = "rate-in",
        pub rate_out: Option<String> = "rate-out",
        pub burst_in: Option<String> = "burst-in",
        pub burst_out: Option<String> = "burst-out",
        pub encryption_key: Option<String> = "active-encryption-key",
        pub associated_keys: Vec<String> = "associated-key",
        /// Only from [`sync_jobs`]: `OK`, `WARNINGS: n` or the error.
        pub last_state: Option<String> = "last-run-state",
        pub last_end: Option<Timestamp> = "last-run-endtime",
        pub last_upid: Option<Upid> = "last-run-upid",
        pub next_run: Option<Timestamp> = "next-run",
    }
}

/// Which groups a sync job takes, such as `type:vm`: a text that can hold commas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupFilter(pub String);

impl<'de> api_core::de::Lenient<'de> for GroupFilter {
    fn read<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Self>, D::Error> {
        Ok(String::read(deserializer)?.map(Self))
    }
}

reply! {
    /// A verification job.
    pub struct VerifyJob {
        pub id: String,
        pub datastore: DatastoreName = "store",
        pub namespace: Option<String> = "ns",
        pub max_depth: Option<u32> = "max-depth",
        pub schedule: Option<String>,
        pub comment: Option<String>,
        pub ignore_verified: Option<bool> = "ignore-verified",
        pub outdated_after_days: Option<u32> = "outdated-after",
        pub read_threads: Option<u32> = "read-threads",
        pub verify_threads: Option<u32> = "verify-threads",
        /// Only from [`verify_jobs`]: `OK`, `WARNINGS: n` or the error.
        pub last_state: Option<String> = "last-run-state",
        pub last_end: Option<Timestamp> = "last-run-endtime",
        pub last_upid: Option<Upid> = "last-run-upid",
        pub next_run: Option<Timestamp> = "next-run",
    }
}

reply! {
    /// A prune job.
    pub struct PruneJob {
        pub id: String,
        pub datastore: DatastoreName = "store",
        pub namespace: Option<String> = "ns",
        pub max_depth: Option<u32> = "max-depth",
        pub schedule: Option<String>,
        pub disabled: bool = "disable",
        pub comment: Option<String>,
        pub keep_last: Option<u32> = "keep-last",
        pub keep_hourly: Option<u32> = "keep-hourly",
        pub keep_daily: Option<u32> = "keep-daily",
        pub keep_weekly: Option<u32> = "keep-weekly",
        pub keep_monthly: Option<u32> = "keep-monthly",
        pub keep_yearly: Option<u32> = "keep-yearly",
        /// Only from [`prune_jobs`]: `OK`, `WARNINGS: n` or the error.
        pub last_state: Option<String> = "last-run-state",
        pub last_end: Option<Timestamp> = "last-run-endtime",
        pub last_upid: Option<Upid> = "last-run-upid",
        pub next_run: Option<Timestamp> = "next-run",
    }
}

reply! {
    /// A job that writes a datastore to tape.
    pub struct TapeBackupJob {
        pub id: String,
        pub datastore: DatastoreName = "store",
        pub namespace: Option<String> = "ns",
        /// The media pool.
        pub pool: String,
        pub drive: String,
        pub schedule: Option<String>,
        pub comment: Option<String>,
        pub max_depth: Option<u32> = "max-depth",
        pub group_filter: Vec<GroupFilter> = "group-filter",
        pub latest_only: Option<bool> = "latest-only",
        pub eject_media: Option<bool> = "eject-media",
        pub export_media_set: Option<bool> = "export-media-set",
        pub worker_threads: Option<u32> = "worker-threads",
        /// `notification-system` or `legacy-sendmail`.
        pub notification_mode: Option<String> = "notification-mode",
        pub notify_user: Option<String> = "notify-user",
    }
}

params! {
    /// A sync job to make or to change.
    pub struct SyncJobParams {
        pub datastore: Option<DatastoreName> = "store",
        pub namespace: Option<String> = "ns",
        pub remote: Option<String>,
        pub remote_datastore: Option<String> = "remote-store",
        pub remote_namespace: Option<String> = "remote-ns",
        pub owner: Option<String>,
        pub schedule: Option<String>,
        pub comment: Option<String>,
        pub max_depth: Option<u32> = "max-depth",
        pub group_filter: Vec<String> = "group-filter",
        pub remove_vanished: Option<bool> = "remove-vanished",
        pub resync_corrupt: Option<bool> = "resync-corrupt",
        pub transfer_last: Option<u32> = "transfer-last",
        pub rate_in: Option<String> = "rate-in",
    }
}

params! {
    /// A verification job to make or to change.
    pub struct VerifyJobParams {
        pub datastore: Option<DatastoreName> = "store",
        pub namespace: Option<String> = "ns",
        pub max_depth: Option<u32> = "max-depth",
        pub schedule: Option<String>,
        pub comment: Option<String>,
        pub ignore_verified: Option<bool> = "ignore-verified",
        pub outdated_after_days: Option<u32> = "outdated-after",
    }
}

params! {
    /// A prune job to make or to change.
    pub struct PruneJobParams {
        pub datastore: Option<DatastoreName> = "store",
        pub namespace: Option<String> = "ns",
        pub max_depth: Option<u32> = "max-depth",
        pub schedule: Option<String>,
        pub disabled: Option<bool> = "disable",
        pub comment: Option<String>,
        pub keep: Keep = "",
    }
}

/// `GET /admin/sync`, with the last run of each. Any login; shows jobs that it may audit
/// (`Datastore.Audit` on the datastore, `Remote.Audit` on the remote).
pub fn sync_jobs(store: Option<&DatastoreName>) -> Request<Vec<SyncJob>> {
    Request::get(path!["admin", "sync"]).opt("store", store)
}

/// `GET /admin/verify`, with the last run of each. Any login; shows jobs of datastores on which it
/// has `Datastore.Audit` or `Datastore.Verify`.
pub fn verify_jobs(store: Option<&DatastoreName>) -> Request<Vec<VerifyJob>> {
    Request::get(path!["admin", "verify"]).opt("store", store)
}

/// `GET /admin/prune`, with the last run of each. Any login; shows jobs of datastores on which it
/// has `Datastore.Audit`.
pub fn prune_jobs(store: Option<&DatastoreName>) -> Request<Vec<PruneJob>> {
    Request::get(path!["admin", "prune"]).opt("store", store)
}

/// `GET /config/tape-backup-job`. Any login; shows jobs on which it has `Tape.Audit`.
pub fn tape_backup_jobs() -> Request<Vec<TapeBackupJob>> {
    Request::get(path!["config", "tape-backup-job"])
}

/// `GET /config/sync/{id}`. Needs what [`sync_jobs`] needs.
pub fn sync_job(id: &str) -> Request<SyncJob> {
    Request::get(path!["config", "sync", id])
}

/// `GET /config/verify/{id}`. Needs `Datastore.Audit` or `Datastore.Verify` on the datastore.
pub fn verify_job(id: &str) -> Request<VerifyJob> {
    Request::get(path!["config", "verify", id])
}

/// `GET /config/prune/{id}`. Needs `Datastore.Audit` on the datastore.
pub fn prune_job(id: &str) -> Request<PruneJob> {
    Request::get(path!["config", "prune", id])
}

/// `POST /admin/{kind}/{id}/run`: now. Needs what the job's work needs: `Datastore.Backup` and
/// `Remote.Read` to pull, `Datastore.Verify`, `Datastore.Modify` to prune.
pub fn run(kind: &JobKind, id: &str) -> Request<Upid> {
    Request::post(path!["admin", kind, id, "run"])
}

/// `POST /config/sync`. Needs `Datastore.Backup` (and `.Prune` to remove what vanished) on the
/// datastore, and `Remote.Read` on the remote's datastore.
pub fn create_sync_job(id: &str, options: SyncJobParams) -> Request<Done> {
    Request::post(path!["config", "sync"]).param("id", id).params(options.into())
}

/// `PUT /config/sync/{id}`. Needs what [`create_sync_job`] needs.
pub fn update_sync_job(id: &str, options: SyncJobParams) -> Request<Done> {
    Request::put(path!["config", "sync", id]).params(options.into())
}

/// `POST /config/verify`. Needs `Datastore.Verify` on the datastore.
pub fn create_verify_job(id: &str, options: VerifyJobParams) -> Request<Done> {
    Request::post(path!["config", "verify"]).param("id", id).params(options.into())
}

/// `PUT /config/verify/{id}`. Needs `Datastore.Verify` on the datastore.
pub fn update_verify_job(id: &str, options: VerifyJobParams) -> Request<Done> {
    Request::put(path!["config", "verify", id]).params(options.into())
}

/// `POST /config/prune`. Needs `Datastore.Modify` on the datastore.
pub fn create_prune_job(id: &str, options: PruneJobParams) -> Request<Done> {
    Request::post(path!["config", "prune"]).param("id", id).params(options.into())
}

/// `PUT /config/prune/{id}`. Needs `Datastore.Modify` on the datastore.
pub fn update_prune_job(id: &str, options: PruneJobParams) -> Request<Done> {
    Request::put(path!["config", "prune", id]).params(options.into())
}

/// `DELETE /config/{kind}/{id}`. Needs what making it needs.
pub fn delete(kind: &JobKind, id: &str) -> Request<Done> {
    Request::delete(path!["config", kind, id])
}

/// `GET /config/{kind}/{id}` as the server keeps it, whatever the release knows; the envelope has the
/// digest of all jobs of the kind. Needs what the typed one needs.
pub fn config(kind: &JobKind, id: &str) -> Request<serde_json::Map<String, serde_json::Value>> {
    Request::get(path!["config", kind, id])
}

/// `POST /config/{kind}` with settings by their own names. Needs what the typed one needs.
pub fn create(kind: &JobKind, id: &str, settings: Params) -> Request<Done> {
    Request::post(path!["config", kind]).param("id", id).params(settings)
}

/// `PUT /config/{kind}/{id}` with settings by their own names; `remove` names those to take away,
/// and with a `digest` the server refuses if it is not the present one. Needs what the typed one
/// needs.
pub fn update(
    kind: &JobKind,
    id: &str,
    settings: Params,
    remove: &[String],
    digest: Option<&str>,
) -> Request<Done> {
    let request = Request::put(path!["config", kind, id]).params(settings);
    remove.iter().fold(request, |request, key| request.param("delete", key)).opt("digest", digest)
}

/// [`delete`], unless the digest of all jobs of the kind is another by then.
pub fn delete_as(kind: &JobKind, id: &str, digest: Option<&str>) -> Request<Done> {
    delete(kind, id).opt("digest", digest)
}
