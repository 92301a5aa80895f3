//! The backup files of a cluster: on its storages as PVE shows them, else on its backup servers.
//!
//! PVE leaves out of a list what the token may not see. So for each guest it is worked out whether
//! every place that can hold a backup of it was read; only then is "none found" the same as "none".

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use estate::{NodeName, StorageName, Upid, VmId};
use futures::future::join_all;
use jiff::Timestamp;
use pve_client::storage::{self, Volume};

use super::{
    evidence::{Backup, keep_newer},
    patience::{Lack, Limit, Patience},
    runs::TASK_DAYS,
    vaults,
};
use crate::{
    fleet::{Fleet, Pve},
    needs,
    permissions::Permissions,
    report::Unreachable,
    view::View,
};

/// The newest backup of each guest, and for whom there may be others.
#[derive(Default)]
pub(super) struct Files {
    pub(super) newest: BTreeMap<VmId, Backup>,
    /// Every copy.
    pub(super) copies: BTreeMap<VmId, Vec<Backup>>,
    /// Where storages on backup servers point.
    pub(super) points: Vec<(StorageName, Result<vaults::Place, String>)>,
    /// Guests that may have backups where nothing was read.
    pub(super) unseen: BTreeSet<VmId>,
    pub(super) notes: Vec<String>,
    pub(super) unreachable: Vec<Unreachable>,
}

/// A storage that can hold backups; a local one is a place of its own on each node.
struct Place<'a> {
    storage: &'a StorageName,
    node: &'a NodeName,
    is_pbs: bool,
    /// Whether there is a node that can be asked.
    can_ask: bool,
}

/// Reads the files of one cluster.
pub(super) async fn read(
    fleet: &Fleet,
    member: &Arc<Pve>,
    view: &View,
    held: Option<&Permissions>,
    now: Timestamp,
    patience: Patience,
) -> Files {
    let mut out = Files::default();
    let places = places(view);
    let limit = patience.until(50);
    let (listed, entries) = futures::join!(
        join_all(places.iter().map(|place| list(member, place, limit))),
        limit.wait(member.client.call(storage::configs(Some("pbs")))),
    );
    let all: BTreeSet<VmId> = view.guests.iter().map(|guest| guest.at.vmid).collect();
    // Guests whose backups on a backup server are hidden, by storage.
    let mut closed: BTreeMap<&StorageName, BTreeSet<VmId>> = BTreeMap::new();
    let mut lacks_privilege = false;
    for (place, answer) in places.iter().zip(listed) {
        let hidden = match answer {
            Some(Ok(volumes)) => {
                out.take(view, place.storage, volumes);
                let is_hidden = |vmid: &&VmId| !may_see(held, place.storage, **vmid);
                let hidden: BTreeSet<VmId> = all.iter().filter(is_hidden).copied().collect();
                lacks_privilege |= !hidden.is_empty();
                hidden
            }
            Some(Err(lack)) => {
                let what = format!("{}/{}", member.key, place.storage);
                let part = format!("backups on {} ({})", place.storage, place.node);
                lack.tell(what, &part, &mut out.notes, &mut out.unreachable);
                all.clone()
            }
            // The node is away, and listed so.
            None => all.clone(),
        };
        if place.is_pbs {
            closed.entry(place.storage).or_default().extend(hidden);
        } else {
            out.unseen.extend(hidden);
        }
    }
    let sees_storages =
        held.is_some_and(|held| needs::need("storage").is_some_and(|need| need.is_met(held)));
    if !sees_storages {
        let key = &member.key;
        out.notes.push(format!("{key}: the token is not known to see all storages (Datastore.Audit on /storage), so backups may lie where nothing was read"));
    }
    let all_nodes_told = view
        .nodes
        .iter()
        .all(|node| node.is_online() || places.iter().any(|place| place.node == &node.name));
    if !sees_storages || !all_nodes_told {
        out.unseen.extend(&all);
    }
    out.privileges(member, held, lacks_privilege);
    closed.retain(|_, hidden| !hidden.is_empty());
    let entries = match entries {
        Ok(entries) => entries,
        Err(lack) if closed.is_empty() && sees_storages => {
            tracing::debug!(cluster = %member.key, error = %lack, "cannot read the storage entries");
            Vec::new()
        }
        Err(lack) => {
            let key = member.key.to_string();
            lack.tell(key, "which backup servers it uses", &mut out.notes, &mut out.unreachable);
            Vec::new()
        }
    };
    let wanted: Vec<_> = entries
        .iter()
        // A server that ignores the filter sends storages of every type.
        .filter(|entry| entry.kind == "pbs" && !entry.disabled)
        .filter(|entry| {
            closed.contains_key(&entry.storage)
                || !places.iter().any(|place| *place.storage == entry.storage)
        })
        .collect();
    let key = member.key.as_str();
    let read = vaults::read(fleet, key, view, &wanted, now, patience.until(90)).await;
    let pointing = entries.iter().filter(|entry| entry.kind == "pbs" && !entry.disabled);
    out.points =
        pointing.map(|entry| (entry.storage.clone(), vaults::Place::of(fleet, entry))).collect();
    for (vmid, backup) in read.copies {
        out.copies.entry(vmid).or_default().push(backup);
    }
    for (vmid, backup) in read.newest {
        keep_newer(&mut out.newest, vmid, backup);
    }
    out.notes.extend(read.notes);
    out.unreachable.extend(read.unreachable);
    let still_closed = closed.into_iter().filter(|(storage, _)| !read.read.contains(*storage));
    out.unseen.extend(still_closed.flat_map(|(_, hidden)| hidden));
    out
}

/// Every place that can hold backups. A shared storage is asked once, through a node on which it
/// is available if there is one; a local one through its own node.
fn places(view: &View) -> Vec<Place<'_>> {
    let online = |node: &NodeName| view.nodes.iter().any(|n| n.name == *node && n.is_online());
    let holds = |content: &[String]| content.iter().any(|word| word == "backup");
    let mut rows: Vec<_> = view.storages.iter().filter(|row| holds(&row.content)).collect();
    // Of a shared storage's rows the first is taken, so the best stands first.
    rows.sort_by_key(|row| std::cmp::Reverse((online(&row.node), row.is_available())));
    let mut places = BTreeMap::new();
    for row in rows {
        let is_pbs = row.plugin == "pbs";
        let local = (!row.shared && !is_pbs).then_some(&row.node);
        places.entry((&row.name, local)).or_insert_with(|| Place {
            storage: &row.name,
            node: &row.node,
            is_pbs,
            can_ask: online(&row.node),
        });
    }
    places.into_values().collect()
}

/// Asks for the files of one place, if anybody can be asked.
async fn list(member: &Pve, place: &Place<'_>, limit: Limit) -> Option<Result<Vec<Volume>, Lack>> {
    if !place.can_ask {
        return None;
    }
    let kind = Some(&storage::ContentKind::Backup);
    let call = storage::content(place.node, place.storage, kind, None);
    Some(limit.wait(member.client.call(call)).await)
}

/// Whether PVE shows the token backups of this guest on this storage.
fn may_see(held: Option<&Permissions>, storage: &StorageName, vmid: VmId) -> bool {
    let path = format!("/storage/{storage}");
    held.is_some_and(|held| {
        held.has(&path, "Datastore.Allocate")
            || held.has(&path, "Datastore.AllocateSpace")
                && held.has(&format!("/vms/{vmid}"), "VM.Backup")
    })
}

// === impl Files ===

impl Files {
    fn take(&mut self, view: &View, storage: &StorageName, volumes: Vec<Volume>) {
        for volume in volumes {
            let (Some(vmid), Some(time)) = (volume.vmid, volume.created) else { continue };
            // An id that now names a guest of the other kind belonged to one that is gone.
            let kind = view.guests.iter().find(|guest| guest.at.vmid == vmid).map(|g| g.kind);
            if kind.is_some() && volume.guest_kind.is_some() && kind != volume.guest_kind {
                continue;
            }
            let backup = Backup {
                time,
                place: storage.to_string(),
                verified_at: volume
                    .verification
                    .as_ref()
                    .and_then(|check| check.upid.as_deref()?.parse::<Upid>().ok())
                    .map(|upid| upid.started()),
                verified: volume.verification.map(|check| check.state),
                size: Some(volume.size_bytes),
            };
            self.copies.entry(vmid).or_default().push(backup.clone());
            keep_newer(&mut self.newest, vmid, backup);
        }
    }

    /// Says which privileges hide files.
    fn privileges(&mut self, member: &Pve, held: Option<&Permissions>, is_hidden: bool) {
        let key = &member.key;
        let Some(held) = held else {
            self.notes.push(format!(
                "{key}: what the token may see is not known, so backup files may be hidden from it"
            ));
            return;
        };
        if !is_hidden {
            return;
        }
        let ids = ["backup_volumes_storage", "backup_volumes_guest"];
        let unmet = ids.iter().filter_map(|id| needs::need(id)).filter(|need| !need.is_met(held));
        let unmet: Vec<_> = unmet.map(|need| need.privileges[0]).collect();
        self.notes.push(format!(
            "{key}: the token lacks {}, so backup files on storages are hidden from it; backup servers and tasks of the last {TASK_DAYS} days (place `task`) stand in",
            unmet.join(" and ")
        ));
    }
}
