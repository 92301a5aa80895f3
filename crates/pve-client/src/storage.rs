//! Storages: what is configured, how full it is on a node, what lies in it.

use std::time::Duration;

use api_core::{Request, de::Done, params, path, reply, words};
use estate::{GuestKind, NodeName, StorageName, Upid, VmId};
use jiff::Timestamp;
use serde_json::Value;

words! {
    /// What a storage may hold.
    pub enum ContentKind {
        /// Disks of machines.
        Images = "images",
        /// Volumes of containers.
        RootDir = "rootdir",
        /// Backups.
        Backup = "backup",
        /// Installation media.
        Iso = "iso",
        /// Templates of containers.
        Template = "vztmpl",
        /// Snippets.
        Snippets = "snippets",
        /// Machines to import (since 8.2).
        Import = "import",
    }
}

words! {
    /// How a checksum is made.
    pub enum ChecksumAlgorithm {
        /// Good against accidents only.
        Md5 = "md5",
        /// Good against accidents only.
        Sha1 = "sha1",
        /// SHA-2.
        Sha224 = "sha224",
        /// SHA-2.
        Sha256 = "sha256",
        /// SHA-2.
        Sha384 = "sha384",
        /// SHA-2.
        Sha512 = "sha512",
    }
}

/// What a file's content must add up to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checksum {
    /// How it is made.
    pub algorithm: ChecksumAlgorithm,
    /// In hexadecimal.
    pub value: String,
}

reply! {
    /// A storage as it is configured for the cluster.
    pub struct StorageConfig {
        pub storage: StorageName,
        /// `dir`, `lvmthin`, `zfspool`, `rbd`, `nfs`, `pbs`, …
        pub kind: String = "type",
        pub content: Vec<ContentKind>,
        /// Only these nodes; all without.
        pub nodes: Vec<NodeName>,
        pub disabled: bool = "disable",
        pub shared: Option<bool>,
        pub path: Option<String>,
        pub server: Option<String>,
        pub export: Option<String>,
        pub share: Option<String>,
        pub pool: Option<String>,
        pub volume_group: Option<String> = "vgname",
        pub thin_pool: Option<String> = "thinpool",
        /// Of a backup server.
        pub datastore: Option<String>,
        pub namespace: Option<String>,
        pub fingerprint: Option<String>,
        pub port: Option<u16>,
        pub username: Option<String>,
        pub encryption_key: Option<String> = "encryption-key",
        pub prune_backups: Value = "prune-backups",
        pub max_protected_backups: Option<i64> = "max-protected-backups",
        /// Snapshots are chains of volumes, and only the newest can be gone back to.
        pub snapshots_as_chain: bool = "snapshot-as-volume-chain",
        pub priority: Option<i64>,
        pub digest: Option<String>,
        ..rest
    }
}

reply! {
    /// A storage as a node sees it.
    pub struct StorageStatus {
        /// Absent where the request named it.
        pub storage: Option<StorageName>,
        pub kind: String = "type",
        pub content: Vec<ContentKind>,
        /// Whether it answers.
        pub active: bool,
        pub enabled: bool,
        pub shared: bool,
        pub total_bytes: Option<u64> = "total",
        pub used_bytes: Option<u64> = "used",
        pub available_bytes: Option<u64> = "avail",
        /// 0 to 1.
        pub used_fraction: Option<f64>,
        pub formats: Value,
        pub select_existing: Option<bool>,
    }
}

reply! {
    /// A volume on a storage.
    pub struct Volume {
        /// Such as `local:iso/debian.iso`.
        pub id: String = "volid",
        pub content: ContentKind,
        pub format: Option<String>,
        pub size_bytes: u64 = "size",
        pub used_bytes: Option<u64> = "used",
        pub created: Option<Timestamp> = "ctime",
        pub vmid: Option<VmId>,
        pub parent: Option<String>,
        /// Of a backup: of what.
        pub guest_kind: Option<GuestKind> = "subtype",
        pub notes: Option<String>,
        pub protected: bool,
        /// Of a backup on a backup server: the key's fingerprint, or `1`.
        pub encrypted: Option<String>,
        pub verification: Option<VolumeVerification>,
        pub approximate_size: Option<bool> = "approximate-size",
    }
}

reply! {
    /// How the last verification of a backup went.
    pub struct VolumeVerification {
        /// `ok` or `failed`.
        pub state: String,
        pub upid: Option<String>,
    }
}

reply! {
    /// One volume's attributes.
    pub struct VolumeInfo {
        pub path: String,
        pub size_bytes: u64 = "size",
        pub used_bytes: u64 = "used",
        pub format: Option<String>,
        pub notes: Option<String>,
        pub protected: bool,
    }
}

reply! {
    /// What pruning would do with a backup.
    pub struct PruneMark {
        pub volume: String = "volid",
        pub created: Option<Timestamp> = "ctime",
        /// `keep`, `remove`, `protected` or `renamed`.
        pub mark: String,
        pub kind: Option<GuestKind> = "type",
        pub vmid: Option<VmId>,
    }
}

params! {
    /// Which storages of a node.
    pub struct StorageListParams {
        pub content: Option<ContentKind>,
        pub storage: Option<StorageName>,
        /// Only those that are enabled, here and on `target`.
        pub enabled: Option<bool>,
        pub target: Option<NodeName>,
        pub format: Option<bool>,
    }
}

params! {
    /// What is to be fetched from the web.
    pub struct DownloadUrlParams {
        pub url: String,
        pub content: Option<ContentKind>,
        pub filename: String,
        pub checksum: Option<String>,
        pub checksum_algorithm: Option<String> = "checksum-algorithm",
        pub compression: Option<String>,
        pub verify_certificates: Option<bool> = "verify-certificates",
    }
}

params! {
    /// Which backups to prune and what to keep.
    pub struct PruneParams {
        /// Such as `keep-last=3,keep-daily=7`; the storage's own setting without.
        pub keep: Option<String> = "prune-backups",
        pub kind: Option<String> = "type",
        pub vmid: Option<VmId>,
    }
}

/// The parameter of an upload that is the file itself.
pub(crate) const FILE_NAME: &str = "filename";
/// How long an upload may take: a ceiling, since one that stands still ends with the request's
/// timeout.
const UPLOAD_DEADLINE: Duration = Duration::from_hours(6);

fn on_node(node: &NodeName, storage: &StorageName) -> api_core::Path {
    path!["nodes", node, "storage", storage]
}

/// `GET /storage`. Any login; shows storages on which it has `Datastore.Audit` or
/// `Datastore.AllocateSpace`.
pub fn configs(kind: Option<&str>) -> Request<Vec<StorageConfig>> {
    Request::get(path!["storage"]).opt("type", kind)
}

/// `GET /storage/{storage}`. Needs `Datastore.Allocate` on the storage.
pub fn config(storage: &StorageName) -> Request<StorageConfig> {
    Request::get(path!["storage", storage])
}

/// `GET /nodes/{node}/storage`. Any login; shows storages on which it has `Datastore.Audit` or
/// `Datastore.AllocateSpace`.
pub fn list(node: &NodeName, options: StorageListParams) -> Request<Vec<StorageStatus>> {
    Request::get(path!["nodes", node, "storage"]).params(options.into()).on(node).protected()
}

/// `GET /nodes/{node}/storage/{storage}/status`. Needs `Datastore.Audit` or
/// `Datastore.AllocateSpace` on the storage.
pub fn status(node: &NodeName, storage: &StorageName) -> Request<StorageStatus> {
    Request::get(on_node(node, storage).push("status")).on(node).protected()
}

/// `GET /nodes/{node}/storage/{storage}/content`. Needs `Datastore.Audit` or
/// `Datastore.AllocateSpace` on the storage; backups are shown only with `Datastore.Allocate`, or
/// `Datastore.AllocateSpace` and `VM.Backup` on the guest.
pub fn content(
    node: &NodeName,
    storage: &StorageName,
    kind: Option<&ContentKind>,
    vmid: Option<VmId>,
) -> Request<Vec<Volume>> {
    Request::get(on_node(node, storage).push("content"))
        .opt("content", kind)
        .opt("vmid", vmid)
        .on(node)
        .protected()
}

/// `GET /nodes/{node}/storage/{storage}/content/{volume}`. Needs to be allowed to read the volume.
pub fn volume(node: &NodeName, storage: &StorageName, volume: &str) -> Request<VolumeInfo> {
    Request::get(on_node(node, storage).push("content").push(volume)).on(node).protected()
}

/// `PUT /nodes/{node}/storage/{storage}/content/{volume}`: notes and protection of a backup. Needs
/// to be allowed to read the volume, and `Datastore.Allocate`, or `VM.Backup` on the guest, to
/// protect it.
pub fn update_volume(
    node: &NodeName,
    storage: &StorageName,
    volume: &str,
    notes: Option<&str>,
    protected: Option<bool>,
) -> Request<Done> {
    Request::put(on_node(node, storage).push("content").push(volume))
        .opt("notes", notes)
        .flag("protected", protected)
        .on(node)
        .protected()
        .idempotent()
}

/// `DELETE /nodes/{node}/storage/{storage}/content/{volume}`: waits `delay_secs` for the end, then
/// answers with the task. Needs `Datastore.Allocate` on the storage; for backups
/// `Datastore.AllocateSpace` and `VM.Backup` on the guest do.
pub fn delete_volume(
    node: &NodeName,
    storage: &StorageName,
    volume: &str,
    delay_secs: Option<u32>,
) -> Request<Option<Upid>> {
    Request::delete(on_node(node, storage).push("content").push(volume))
        .opt("delay", delay_secs)
        .on(node)
        .protected()
}

/// `POST /nodes/{node}/storage/{storage}/upload`: an installation medium, a container's template or
/// a machine to import, under this name, which the server tidies; to be run by
/// [`Client::upload`](crate::Client::upload), which brings the content. Where a checksum is given
/// and the content differs, the task fails. Needs `Datastore.AllocateTemplate` on the storage.
pub fn upload(
    node: &NodeName,
    storage: &StorageName,
    content: &ContentKind,
    file_name: &str,
    checksum: Option<&Checksum>,
) -> Request<Upid> {
    // In this order: the server takes what it must know of the file only before the file.
    Request::post(on_node(node, storage).push("upload"))
        .param("content", content)
        .opt("checksum-algorithm", checksum.map(|checksum| &checksum.algorithm))
        .opt("checksum", checksum.map(|checksum| &checksum.value))
        .param(FILE_NAME, file_name)
        .deadline(UPLOAD_DEADLINE)
        .on(node)
        .protected()
}

/// `POST /nodes/{node}/storage/{storage}/download-url`. Needs `Datastore.AllocateTemplate` on the
/// storage, and `Sys.Audit` and `Sys.Modify` on `/` or `Sys.AccessNetwork` on the node.
pub fn download_url(
    node: &NodeName,
    storage: &StorageName,
    options: DownloadUrlParams,
) -> Request<Upid> {
    Request::post(on_node(node, storage).push("download-url"))
        .params(options.into())
        .on(node)
        .protected()
}

/// `GET /nodes/{node}/storage/{storage}/prunebackups`: what pruning would do. Needs
/// `Datastore.Audit` or `Datastore.AllocateSpace` on the storage.
pub fn prune_preview(
    node: &NodeName,
    storage: &StorageName,
    options: PruneParams,
) -> Request<Vec<PruneMark>> {
    Request::get(on_node(node, storage).push("prunebackups"))
        .params(options.into())
        .on(node)
        .protected()
}

/// `DELETE /nodes/{node}/storage/{storage}/prunebackups`. Needs `Datastore.Allocate` on the storage;
/// for one guest `Datastore.AllocateSpace` and `VM.Backup` do.
pub fn prune(node: &NodeName, storage: &StorageName, options: PruneParams) -> Request<Upid> {
    Request::delete(on_node(node, storage).push("prunebackups"))
        .params(options.into())
        .on(node)
        .protected()
}

reply! {
    /// An entry of a folder in a backup.
    pub struct BackupEntry {
        /// The whole path, in base64.
        pub path: String = "filepath",
        /// The name.
        pub name: String = "text",
        /// `f` for a file, `d` for a folder, `v` for an archive, a disk or a partition.
        pub kind: String = "type",
        pub leaf: bool,
        pub size_bytes: Option<u64> = "size",
        pub modified: Option<Timestamp> = "mtime",
    }
}

/// `GET /nodes/{node}/storage/{storage}/file-restore/list`: a folder in a backup on a backup server;
/// `path` is `/` or a path in base64. For disks the node starts a small machine that reads them. Needs
/// to see the volume (`Datastore.AllocateSpace` and `VM.Backup`).
pub fn backup_files(
    node: &NodeName,
    storage: &StorageName,
    volume: &str,
    path: &str,
) -> Request<Vec<BackupEntry>> {
    Request::get(on_node(node, storage).push("file-restore").push("list"))
        .param("volume", volume)
        .param("filepath", path)
        .on(node)
        .protected()
}

/// `GET /nodes/{node}/storage/{storage}/file-restore/download`: a file's content; `path` in base64.
/// Not an envelope: read it with `Client::open`. Needs what [`backup_files`] needs.
pub fn backup_file(
    node: &NodeName,
    storage: &StorageName,
    volume: &str,
    path: &str,
) -> Request<()> {
    Request::get(on_node(node, storage).push("file-restore").push("download"))
        .param("volume", volume)
        .param("filepath", path)
        .on(node)
        .protected()
}
