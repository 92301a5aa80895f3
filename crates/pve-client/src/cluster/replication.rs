//! Storage replication: jobs of the cluster and how they go on a node.

use api_core::{Request, de::Done, params, path, reply};
use estate::{NodeName, Upid, VmId};
use jiff::Timestamp;

use crate::tasks::LogLine;

reply! {
    /// A replication job.
    pub struct ReplicationJob {
        /// `<vmid>-<number>`.
        pub id: String,
        pub guest: VmId,
        pub number: u32 = "jobnum",
        pub source: Option<NodeName>,
        pub target: NodeName,
        pub kind: Option<String> = "type",
        pub schedule: Option<String>,
        pub disabled: bool = "disable",
        pub comment: Option<String>,
        /// In MB/s.
        pub rate: Option<f64>,
        pub remove_job: Option<String>,
        pub digest: Option<String>,
    }
}

reply! {
    /// How a replication job goes, on the node where the guest is.
    pub struct ReplicationStatus {
        pub id: String,
        pub guest: VmId,
        pub number: u32 = "jobnum",
        pub source: Option<NodeName>,
        pub target: Option<NodeName>,
        pub kind: Option<String> = "type",
        pub guest_kind: Option<String> = "vmtype",
        pub schedule: Option<String>,
        pub disabled: bool = "disable",
        pub comment: Option<String>,
        pub rate: Option<f64>,
        pub last_sync: Option<Timestamp> = "last_sync",
        pub last_try: Option<Timestamp> = "last_try",
        pub next_sync: Option<Timestamp> = "next_sync",
        pub duration_secs: Option<f64> = "duration",
        pub fail_count: u32 = "fail_count",
        /// Why the last try failed.
        pub error: Option<String>,
        pub pid: Option<u32>,
        pub remove_job: Option<String>,
        pub digest: Option<String>,
    }
}

params! {
    /// A new replication job, or changes to one.
    pub struct ReplicationParams {
        pub schedule: Option<String>,
        pub rate: Option<f64>,
        pub disabled: Option<bool> = "disable",
        pub comment: Option<String>,
        pub source: Option<NodeName>,
    }
}

/// `GET /cluster/replication`. Any login; shows jobs of guests that it may audit.
pub fn jobs() -> Request<Vec<ReplicationJob>> {
    Request::get(path!["cluster", "replication"])
}

/// `GET /cluster/replication/{id}`. Needs `VM.Audit` on the guest.
pub fn job(id: &str) -> Request<ReplicationJob> {
    Request::get(path!["cluster", "replication", id])
}

/// `POST /cluster/replication`. Needs `VM.Replicate` on the guest (`Datastore.Allocate` on
/// `/storage` before 9).
pub fn create_job(id: &str, target: &NodeName, options: ReplicationParams) -> Request<Done> {
    Request::post(path!["cluster", "replication"])
        .param("id", id)
        .param("target", target)
        .param("type", "local")
        .params(options.into())
        .protected()
}

/// `PUT /cluster/replication/{id}`. Needs `VM.Replicate` on the guest.
pub fn update_job(id: &str, options: ReplicationParams) -> Request<Done> {
    Request::put(path!["cluster", "replication", id]).params(options.into()).protected()
}

/// `DELETE /cluster/replication/{id}`: marks it for removal; `keep` leaves the copies. Needs
/// `VM.Replicate` on the guest.
pub fn delete_job(id: &str, keep: bool) -> Request<Done> {
    Request::delete(path!["cluster", "replication", id])
        .flag("keep", keep.then_some(true))
        .protected()
}

/// `GET /nodes/{node}/replication`: how the jobs of this node's guests go. Any login; shows guests
/// that it may audit.
pub fn status(node: &NodeName, guest: Option<VmId>) -> Request<Vec<ReplicationStatus>> {
    Request::get(path!["nodes", node, "replication"]).opt("guest", guest).on(node).protected()
}

/// `GET /nodes/{node}/replication/{id}/log`. Needs `VM.Audit` on the guest, or `Sys.Audit` on the
/// node.
pub fn log(node: &NodeName, id: &str, limit: Option<u32>) -> Request<Vec<LogLine>> {
    Request::get(path!["nodes", node, "replication", id, "log"])
        .opt("limit", limit)
        .on(node)
        .protected()
}

/// `POST /nodes/{node}/replication/{id}/schedule_now`. Needs `VM.Replicate` on the guest.
pub fn schedule_now(node: &NodeName, id: &str) -> Request<Option<Upid>> {
    Request::post(path!["nodes", node, "replication", id, "schedule_now"]).on(node).protected()
}
