//! Backups read on the backup servers themselves, where PVE does not show them.
//!
//! *Invariant:* a snapshot is a guest's only if an entry of the guest's own cluster points at this
//! server, datastore and namespace, and the type fits; the id alone says nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use estate::{DatastoreName, GuestKind, StorageName, VmId};
use futures::future::join_all;
use jiff::Timestamp;
use pbs_client::{groups::BackupType, snapshots};
use pve_client::storage::StorageConfig;

use super::{
    evidence::{Backup, keep_newer},
    patience::{Lack, Limit},
};
use crate::{
    fleet::{Fleet, Pbs},
    report::Unreachable,
    view::View,
};

/// What the backup servers say.
#[derive(Default)]
pub(super) struct Vaults {
    pub(super) newest: BTreeMap<VmId, Backup>,
    pub(super) copies: Vec<(VmId, Backup)>,
    /// The storage entries whose backups were all read.
    pub(super) read: BTreeSet<StorageName>,
    pub(super) notes: Vec<String>,
    pub(super) unreachable: Vec<Unreachable>,
}

/// A namespace that an entry points at.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) server: Arc<Pbs>,
    pub(crate) store: DatastoreName,
    /// Empty for the root.
    pub(crate) namespace: String,
}

/// Reads what the `entries` of the cluster `key` point at.
pub(super) async fn read(
    fleet: &Fleet,
    key: &str,
    view: &View,
    entries: &[&StorageConfig],
    now: Timestamp,
    limit: Limit,
) -> Vaults {
    let mut out = Vaults::default();
    let mut places = Vec::new();
    for entry in entries {
        match Place::of(fleet, entry) {
            Ok(place) => places.push((entry, place)),
            Err(why) => out.notes.push(format!("{key}: {why}")),
        }
    }
    let asked = places.iter().map(|(entry, place)| async move {
        let namespace = Some(place.namespace.as_str()).filter(|name| !name.is_empty());
        let call = snapshots::list(&place.store, namespace);
        let (list, held) = futures::join!(
            limit.wait(place.server.client.call(call)),
            limit.wait(place.server.permissions(now)),
        );
        (entry, place, list, held)
    });
    for (entry, place, list, held) in join_all(asked).await {
        let list = match list {
            Ok(list) => list,
            Err(lack) => {
                out.missing(key, entry, place, &lack);
                continue;
            }
        };
        let path = place.path();
        // Without it the server lists, and without a word, only what the token itself has made.
        if held.is_ok_and(|held| held.has(&path, "Datastore.Audit")) {
            out.read.insert(entry.storage.clone());
        } else {
            let server = &place.server.key;
            out.notes.push(format!("{server}: the token is not known to hold Datastore.Audit on {path}, so some backups may be missing"));
        }
        out.notes.push(format!(
            "{key}: backups on storage {} were read from {}",
            entry.storage,
            place.label()
        ));
        for snapshot in list {
            out.take(view, place, &snapshot);
        }
    }
    out
}

// === impl Place ===

impl Place {
    /// Where a storage entry of type `pbs` points, among the servers of the settings.
    ///
    /// # Errors
    /// The settings do not have the server, or have several that it could be; in a sentence.
    pub(crate) fn of(fleet: &Fleet, entry: &StorageConfig) -> Result<Self, String> {
        let storage = &entry.storage;
        let host = entry.server.as_deref().unwrap_or_default();
        let shown = stdx::untrusted::line(host, 80);
        let server = match fleet.pbs_at(host, entry.port).as_slice() {
            [server] => Arc::clone(server),
            [] => {
                return Err(format!(
                    "backups on pbs server {shown} (storage {storage}) are not in the settings"
                ));
            }
            several => {
                let keys: Vec<_> = several.iter().map(|server| server.key.as_str()).collect();
                let keys = keys.join(" or ");
                return Err(format!(
                    "pbs server {shown} (storage {storage}) could be {keys} of the settings"
                ));
            }
        };
        let store = entry.datastore.as_deref().unwrap_or_default();
        let store = store.parse().map_err(|error| format!("storage {storage}: {error}"))?;
        Ok(Self { server, store, namespace: entry.namespace.clone().unwrap_or_default() })
    }

    /// Its path in the server's access control.
    pub(crate) fn path(&self) -> String {
        let slash = if self.namespace.is_empty() { "" } else { "/" };
        format!("/datastore/{}{slash}{}", self.store, self.namespace)
    }

    /// `server:datastore/namespace`, as answers call it.
    pub(crate) fn label(&self) -> String {
        let slash = if self.namespace.is_empty() { "" } else { "/" };
        format!("{}:{}{slash}{}", self.server.key, self.store, self.namespace)
    }
}

// === impl Vaults ===

impl Vaults {
    fn missing(&mut self, key: &str, entry: &StorageConfig, place: &Place, lack: &Lack) {
        let part = format!("backups of {key} (storage {})", entry.storage);
        let is_whole = matches!(lack, Lack::Late(_))
            || matches!(lack, Lack::Failed(error) if error.is_unreachable());
        // One that does not answer is away as a whole.
        let what = if is_whole { place.server.key.to_string() } else { place.label() };
        lack.tell(what, &part, &mut self.notes, &mut self.unreachable);
    }

    fn take(&mut self, view: &View, place: &Place, snapshot: &snapshots::Snapshot) {
        let kind = match snapshot.backup_type {
            BackupType::Vm => GuestKind::Qemu,
            BackupType::Ct => GuestKind::Lxc,
            _ => return,
        };
        let Ok(vmid) = snapshot.backup_id.parse::<VmId>() else { return };
        if !view.guests.iter().any(|guest| guest.at.vmid == vmid && guest.kind == kind) {
            return;
        }
        let backup = Backup {
            time: snapshot.time,
            place: place.label(),
            verified: snapshot.verification.as_ref().map(|check| check.state.to_string()),
            verified_at: snapshot
                .verification
                .as_ref()
                .and_then(|check| check.upid.as_ref())
                .map(estate::Upid::started),
            size: snapshot.size_bytes,
        };
        self.copies.push((vmid, backup.clone()));
        keep_newer(&mut self.newest, vmid, backup);
    }
}
