//! Backup groups: all snapshots of one guest or host.

use std::fmt;

use api_core::{
    Params, Request,
    de::{Done, ParamValue},
    params, path, reply, words,
};
use estate::{DatastoreName, Upid};
use jiff::Timestamp;

use crate::datastores::Keep;

words! {
    /// What is backed up.
    pub enum BackupType {
        /// A virtual machine.
        Vm = "vm",
        /// A container.
        Ct = "ct",
        /// A host, or anything else that ran the client.
        Host = "host",
    }
}

/// Where a group is: type and id in a namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupRef {
    /// The namespace; empty for the root.
    pub namespace: String,
    /// What is backed up.
    pub backup_type: BackupType,
    /// The guest's id or the host's name.
    pub backup_id: String,
}

impl GroupRef {
    /// A group in the root namespace.
    pub fn new(backup_type: BackupType, backup_id: impl Into<String>) -> Self {
        Self { namespace: String::new(), backup_type, backup_id: backup_id.into() }
    }

    /// The same group in another namespace.
    #[must_use]
    pub fn in_namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }
}

impl fmt::Display for GroupRef {
    /// `vm/100`, or `lab:vm/100` in the namespace `lab`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.namespace.is_empty() {
            write!(f, "{}:", self.namespace)?;
        }
        write!(f, "{}/{}", self.backup_type, self.backup_id)
    }
}

impl ParamValue for GroupRef {
    /// Adds namespace, type and id under the names that every call gives them.
    fn add_to(&self, _key: &str, params: &mut Params) {
        if !self.namespace.is_empty() {
            params.push("ns", &self.namespace);
        }
        params.push("backup-type", &self.backup_type);
        params.push("backup-id", &self.backup_id);
    }
}

pub(crate) fn group_params(group: &GroupRef) -> Params {
    let mut params = Params::new();
    group.add_to("", &mut params);
    params
}

reply! {
    /// A group.
    pub struct Group {
        pub backup_type: BackupType = "backup-type",
        pub backup_id: String = "backup-id",
        pub last_backup: Option<Timestamp> = "last-backup",
        pub count: u64 = "backup-count",
        pub owner: Option<String>,
        /// The first line of the notes.
        pub comment: Option<String>,
        /// The files of the last snapshot.
        pub files: Vec<String>,
    }
}

reply! {
    /// What a deletion did.
    pub struct GroupsDeleted {
        pub protected_snapshots: u64 = "protected-snapshots",
        pub removed_groups: u64 = "removed-groups",
        pub removed_snapshots: u64 = "removed-snapshots",
    }
}

reply! {
    /// What pruning did, or would do, with a snapshot.
    pub struct PruneMark {
        pub backup_type: BackupType = "backup-type",
        pub backup_id: String = "backup-id",
        pub time: Timestamp = "backup-time",
        pub keep: bool,
        pub protected: bool,
    }
}

params! {
    /// What to prune in a group.
    pub struct PruneGroupParams {
        pub keep: Keep = "",
        pub dry_run: Option<bool> = "dry-run",
    }
}

fn at(store: &DatastoreName, part: &str) -> api_core::Path {
    path!["admin", "datastore", store, part]
}

/// `GET /admin/datastore/{store}/groups`. Needs `Datastore.Audit` on the namespace; with
/// `Datastore.Backup` one's own.
pub fn list(store: &DatastoreName, namespace: Option<&str>) -> Request<Vec<Group>> {
    Request::get(at(store, "groups")).opt("ns", namespace)
}

/// `GET /admin/datastore/{store}/group-notes`. Needs `Datastore.Audit` on the namespace, or
/// `Datastore.Backup` and to own the group.
pub fn notes(store: &DatastoreName, group: &GroupRef) -> Request<String> {
    Request::get(at(store, "group-notes")).params(group_params(group))
}

/// `PUT /admin/datastore/{store}/group-notes`. Needs `Datastore.Modify` on the namespace, or
/// `Datastore.Backup` and to own the group.
pub fn set_notes(store: &DatastoreName, group: &GroupRef, notes: &str) -> Request<Done> {
    Request::put(at(store, "group-notes"))
        .params(group_params(group))
        .param("notes", notes)
        .idempotent()
}

/// `POST /admin/datastore/{store}/prune`: at once, and answers what it did. Needs
/// `Datastore.Modify` on the namespace, or `Datastore.Prune` and to own the group.
pub fn prune(
    store: &DatastoreName,
    group: &GroupRef,
    options: PruneGroupParams,
) -> Request<Vec<PruneMark>> {
    Request::post(at(store, "prune")).params(group_params(group)).params(options.into())
}

/// `POST /admin/datastore/{store}/prune` in a task. Needs the same as [`prune`].
pub fn prune_task(
    store: &DatastoreName,
    group: &GroupRef,
    options: PruneGroupParams,
) -> Request<Upid> {
    prune(store, group, options).param("use-task", 1).cast()
}

/// `DELETE /admin/datastore/{store}/groups`: every snapshot that is not protected. Needs
/// `Datastore.Modify` on the namespace, or `Datastore.Prune` and to own the group.
pub fn delete(store: &DatastoreName, group: &GroupRef) -> Request<GroupsDeleted> {
    Request::delete(at(store, "groups")).params(group_params(group))
}

/// `POST /admin/datastore/{store}/change-owner`. Needs `Datastore.Modify` on the namespace, or
/// `Datastore.Backup` to give one's own group to a token or user of one's own.
pub fn change_owner(store: &DatastoreName, group: &GroupRef, owner: &str) -> Request<Done> {
    Request::post(at(store, "change-owner"))
        .params(group_params(group))
        .param("new-owner", owner)
        .idempotent()
}
