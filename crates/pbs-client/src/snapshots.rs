//! Snapshots: single backups with their files, notes, protection and verification.

use std::fmt;

use api_core::{Params, Request, de::Done, path, reply, words};
use estate::{DatastoreName, Upid};
use jiff::Timestamp;

use crate::groups::{BackupType, GroupRef, group_params};

words! {
    /// How a verification went.
    pub enum VerifyState {
        /// Everything could be read.
        Ok = "ok",
        /// Something could not.
        Failed = "failed",
    }
}

/// Where a snapshot is: its group and time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SnapshotRef {
    /// The group.
    pub group: GroupRef,
    /// When the backup began.
    pub time: Timestamp,
}

impl fmt::Display for SnapshotRef {
    /// As its folder is called: `vm/100/2026-11-22T17:52:09Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.group, self.time)
    }
}

reply! {
    /// A snapshot.
    pub struct Snapshot {
        pub backup_type: BackupType = "backup-type",
        pub backup_id: String = "backup-id",
        pub time: Timestamp = "backup-time",
        pub owner: Option<String>,
        pub size_bytes: Option<u64> = "size",
        pub protected: bool,
        /// Absent if it was never verified.
        pub verification: Option<Verification>,
        /// The first line of the notes.
        pub comment: Option<String>,
        pub files: Vec<SnapshotFile>,
        /// Of the key that it is encrypted with.
        pub fingerprint: Option<String>,
    }
}

impl Snapshot {
    /// Where it is, given the namespace that was listed.
    pub fn reference(&self, namespace: &str) -> SnapshotRef {
        let group = GroupRef::new(self.backup_type.clone(), self.backup_id.clone());
        SnapshotRef { group: group.in_namespace(namespace), time: self.time }
    }
}

reply! {
    /// The last verification of a snapshot.
    pub struct Verification {
        pub state: VerifyState,
        pub upid: Option<Upid>,
    }
}

reply! {
    /// A file of a snapshot.
    pub struct SnapshotFile {
        pub name: String = "filename",
        pub size_bytes: Option<u64> = "size",
        /// `none`, `encrypt` or `sign-only`.
        pub crypt_mode: Option<String> = "crypt-mode",
    }
}

fn at(store: &DatastoreName, part: &str) -> api_core::Path {
    path!["admin", "datastore", store, part]
}

fn snapshot_params(snapshot: &SnapshotRef) -> Params {
    let mut params = group_params(&snapshot.group);
    params.push("backup-time", snapshot.time.as_second());
    params
}

/// `GET /admin/datastore/{store}/snapshots`: of one namespace, not of those below. Needs
/// `Datastore.Audit` on the namespace; with `Datastore.Backup` one's own.
pub fn list(store: &DatastoreName, namespace: Option<&str>) -> Request<Vec<Snapshot>> {
    Request::get(at(store, "snapshots")).opt("ns", namespace)
}

/// `GET /admin/datastore/{store}/snapshots` of one group. Needs the same as [`list`].
pub fn of_group(store: &DatastoreName, group: &GroupRef) -> Request<Vec<Snapshot>> {
    Request::get(at(store, "snapshots")).params(group_params(group))
}

/// `GET /admin/datastore/{store}/files`. Needs `Datastore.Audit` or `Datastore.Read` on the
/// namespace, or `Datastore.Backup` and to own the group.
pub fn files(store: &DatastoreName, snapshot: &SnapshotRef) -> Request<Vec<SnapshotFile>> {
    Request::get(at(store, "files")).params(snapshot_params(snapshot))
}

/// `GET /admin/datastore/{store}/notes`. Needs `Datastore.Audit` on the namespace, or
/// `Datastore.Backup` and to own the group.
pub fn notes(store: &DatastoreName, snapshot: &SnapshotRef) -> Request<String> {
    Request::get(at(store, "notes")).params(snapshot_params(snapshot))
}

/// `PUT /admin/datastore/{store}/notes`. Needs `Datastore.Modify` on the namespace, or
/// `Datastore.Backup` and to own the group.
pub fn set_notes(store: &DatastoreName, snapshot: &SnapshotRef, notes: &str) -> Request<Done> {
    Request::put(at(store, "notes"))
        .params(snapshot_params(snapshot))
        .param("notes", notes)
        .idempotent()
}

/// `GET /admin/datastore/{store}/protected`. Needs `Datastore.Audit` on the namespace, or
/// `Datastore.Backup` and to own the group.
pub fn protected(store: &DatastoreName, snapshot: &SnapshotRef) -> Request<bool> {
    Request::get(at(store, "protected")).params(snapshot_params(snapshot))
}

/// `PUT /admin/datastore/{store}/protected`. Needs `Datastore.Modify` on the namespace, or
/// `Datastore.Backup` and to own the group.
pub fn set_protected(
    store: &DatastoreName,
    snapshot: &SnapshotRef,
    protected: bool,
) -> Request<Done> {
    Request::put(at(store, "protected"))
        .params(snapshot_params(snapshot))
        .flag("protected", Some(protected))
        .idempotent()
}

/// `DELETE /admin/datastore/{store}/snapshots`. Needs `Datastore.Modify` on the namespace, or
/// `Datastore.Prune` and to own the group.
pub fn delete(store: &DatastoreName, snapshot: &SnapshotRef) -> Request<Done> {
    Request::delete(at(store, "snapshots")).params(snapshot_params(snapshot))
}

reply! {
    /// An entry of a folder in an archive.
    pub struct CatalogEntry {
        /// The whole path, in base64.
        pub path: String = "filepath",
        /// The name.
        pub name: String = "text",
        /// `f` for a file, `d` for a folder, `v` for an archive, `l` for a link, ...
        pub kind: String = "type",
        pub leaf: bool,
        pub size_bytes: Option<u64> = "size",
        pub modified: Option<Timestamp> = "mtime",
    }
}

/// `GET /admin/datastore/{store}/catalog`: a folder in the file archives of a snapshot; `path` is `/`
/// or a path in base64. Needs `Datastore.Read` on the namespace, or `Datastore.Backup` and to own the
/// group.
pub fn catalog(
    store: &DatastoreName,
    snapshot: &SnapshotRef,
    path: &str,
) -> Request<Vec<CatalogEntry>> {
    Request::get(at(store, "catalog")).params(snapshot_params(snapshot)).param("filepath", path)
}

/// `GET /admin/datastore/{store}/pxar-file-download`: a file's content; `path` in base64, beginning
/// with the archive. Not an envelope: read it with `Client::open`. Needs what [`catalog`] needs.
pub fn file(store: &DatastoreName, snapshot: &SnapshotRef, path: &str) -> Request<()> {
    Request::get(at(store, "pxar-file-download"))
        .params(snapshot_params(snapshot))
        .param("filepath", path)
}
