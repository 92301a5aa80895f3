//! The copies of a guest's backups as its cluster's storages show them: what can be restored.
//!
//! A guest need not exist any more: its address then is `cluster/vmid`.

use std::sync::Arc;

use estate::{GuestKind, GuestRef, NodeName, StorageName, VmId};
use futures::future::join_all;
use jiff::Timestamp;
use pve_client::storage::{self, ContentKind, StorageConfig, Volume};

use crate::{
    address::{Purpose, quoted},
    error::{Kind, ToolError},
    fleet::{GATHER_DEADLINE, Pve},
    needs,
    report::{Cell, Table, age, bytes, rfc3339},
    tool::Cx,
    tools::{backups::Place, power::named},
    view::{Guest, View},
};

/// A guest, or the id of one that is gone.
pub(super) struct Whose {
    pub(super) member: Arc<Pve>,
    pub(super) at: GuestRef,
    pub(super) guest: Option<Guest>,
    pub(super) view: View,
    pub(super) notes: Vec<String>,
}

/// One copy of a backup.
pub(super) struct Copy {
    pub(super) storage: StorageName,
    /// The node that showed it; of a storage that only this node has, the only one that can use it.
    pub(super) node: NodeName,
    /// Whether only `node` can read it.
    pub(super) is_local: bool,
    pub(super) volume: Volume,
    /// Where it really lies, if that is a namespace of a backup server of the settings.
    pub(super) place: Option<Place>,
}

/// What was found, newest first, and what was not seen.
pub(super) struct Search {
    pub(super) copies: Vec<Copy>,
    pub(super) notes: Vec<String>,
}

/// What `text` means: as everywhere, or the id of a guest that is gone.
pub(super) async fn whose(cx: &Cx, text: &str) -> Result<Whose, ToolError> {
    let text = text.trim();
    let by_id = match text.split_once('/') {
        Some((cluster, id)) => id.trim().parse::<VmId>().ok().map(|vmid| (cluster.trim(), vmid)),
        None => None,
    };
    let Some((cluster, vmid)) = by_id else {
        let found = cx.fleet.find_guest(text, Purpose::Write).await.map_err(|error| {
            if error.kind() == Kind::NotFound {
                error.hint("a guest that is gone is addressed as cluster/vmid")
            } else {
                error
            }
        })?;
        let view = view_of(cx, &found.member).await?;
        let at = found.guest.at.clone();
        return Ok(Whose {
            member: found.member,
            at,
            guest: Some(found.guest),
            view,
            notes: found.notes,
        });
    };
    let member = cx.fleet.pve(Some(cluster))?.remove(0);
    let view = view_of(cx, &member).await?;
    let guest = view.guests.iter().find(|guest| guest.at.vmid == vmid).cloned();
    let at = GuestRef { cluster: member.key.clone(), vmid };
    Ok(Whose { member, at, guest, view, notes: Vec::new() })
}

/// A cluster's guests, nodes and storages, or that it does not answer.
pub(super) async fn view_of(cx: &Cx, member: &Arc<Pve>) -> Result<View, ToolError> {
    let mut gathered = cx.fleet.gather(vec![Arc::clone(member)], GATHER_DEADLINE, View::load).await;
    match gathered.answers.pop() {
        Some((_, view)) => Ok(view),
        None => Err(ToolError::new(format!("{} cannot be asked", member.key))
            .of_kind(Kind::Unavailable)
            .with_silence(&gathered)),
    }
}

// === impl Whose ===

impl Whose {
    /// `lab/104 db-main`, or `lab/104` where it is gone.
    pub(super) fn name(&self) -> String {
        self.guest.as_ref().map_or_else(|| self.at.to_string(), named)
    }

    /// Its backups on the storages of its cluster; `from` is one storage or one volume.
    pub(super) async fn copies(&self, cx: &Cx, from: Option<&str>) -> Result<Search, ToolError> {
        let only = from.map(|from| from.split_once(':').map_or(from, |(storage, _)| storage));
        let rows = places(&self.view, only);
        if let (true, Some(only)) = (rows.is_empty(), only) {
            return Err(self.no_such_storage(only));
        }
        let entries = self.member.client.call(storage::configs(Some("pbs"))).await;
        let entries: Vec<StorageConfig> = entries.unwrap_or_default();
        let asked = rows.iter().map(|(name, node, _)| {
            let call = storage::content(node, name, Some(&ContentKind::Backup), Some(self.at.vmid));
            // PVE shows backups only to who may make and restore them: the token for changes.
            self.member.operator.call(call)
        });
        let mut search = Search { copies: Vec::new(), notes: Vec::new() };
        for ((name, node, is_local), answer) in rows.iter().zip(join_all(asked).await) {
            let volumes = match answer {
                Ok(volumes) => volumes,
                Err(error) if only.is_some() => {
                    let what = format!("list the backups on {}/{name}", self.member.key);
                    return Err(ToolError::api(what, &error));
                }
                Err(error) => {
                    let why = stdx::Chain(&error);
                    search.notes.push(format!(
                        "backups on {}/{name} ({node}) are not seen: {why}",
                        self.member.key
                    ));
                    continue;
                }
            };
            let entry = entries.iter().find(|entry| entry.storage == **name);
            let place = match entry.map(|entry| Place::of(&cx.fleet, entry)) {
                Some(Ok(place)) => Some(place),
                Some(Err(why)) => {
                    search.notes.push(format!("{}: unattributed: {why}", self.member.key));
                    None
                }
                None => None,
            };
            let mine = volumes.into_iter().filter(|volume| volume.vmid == Some(self.at.vmid));
            search.copies.extend(mine.map(|volume| Copy {
                storage: (*name).clone(),
                node: (*node).clone(),
                is_local: *is_local,
                volume,
                place: place.clone(),
            }));
        }
        // An id that now names a guest of the other kind belonged to one that is gone.
        if let Some(guest) = &self.guest {
            let before = search.copies.len();
            search.copies.retain(|copy| copy.kind().is_none_or(|kind| kind == guest.kind));
            let other = before - search.copies.len();
            if other > 0 {
                search.notes.push(format!(
                    "{other} backups under this id are of a guest of the other kind that is gone"
                ));
            }
        }
        if let Some(volid) = from.filter(|from| from.contains(':')) {
            search.copies.retain(|copy| copy.volume.id == volid);
        }
        search.copies.sort_by_key(|copy| std::cmp::Reverse(copy.volume.created));
        self.tell_hidden(cx, &mut search).await;
        Ok(search)
    }

    /// The copy that `time` means.
    pub(super) fn pick(
        &self,
        mut search: Search,
        time: Option<&str>,
        now: Timestamp,
    ) -> Result<(Copy, Vec<String>), ToolError> {
        let name = self.name();
        let time = time.unwrap_or("latest").trim();
        let wanted = time.parse::<Timestamp>();
        let is_meant = |copy: &Copy| match (&wanted, copy.volume.created) {
            _ if time.eq_ignore_ascii_case("latest") => true,
            (Ok(at), Some(made)) => made.as_second() == at.as_second(),
            (Err(_), Some(made)) => !time.is_empty() && rfc3339(made).starts_with(time),
            (_, None) => false,
        };
        let fits: Vec<usize> =
            search.copies.iter().enumerate().filter(|(_, c)| is_meant(c)).map(|(i, _)| i).collect();
        let is_latest = time.eq_ignore_ascii_case("latest");
        match fits.as_slice() {
            [first, ..] if is_latest || fits.len() == 1 => {
                let notes = std::mem::take(&mut search.notes);
                Ok((search.copies.swap_remove(*first), notes))
            }
            [] => {
                let lead = if search.copies.is_empty() {
                    format!("no backup of {name} is found on the storages of {}", self.member.key)
                } else {
                    format!("{name} has no backup of {}", quoted(time))
                };
                let error = ToolError::not_found(lead).choices(search.table(now));
                Err(search.notes.into_iter().fold(error, ToolError::hint))
            }
            several => Err(ToolError::new(format!(
                "{} fits {} backups of {name}",
                quoted(time),
                several.len()
            ))
            .of_kind(Kind::Ambiguous)
            .hint("give time as it is printed, and from: a storage or a volume")
            .choices(search.table(now))),
        }
    }

    fn no_such_storage(&self, name: &str) -> ToolError {
        let mut table = Table::new("storages", &["storage", "type"]);
        for storage in self.view.distinct_storages() {
            if storage.content.iter().any(|word| word == "backup") {
                table.push(vec![Cell::text(storage.name.as_str()), Cell::text(&*storage.plugin)]);
            }
        }
        let key = &self.member.key;
        ToolError::not_found(format!("{key} has no storage {} with backups", quoted(name)))
            .choices(table)
    }

    /// Says that the token may not see everything, where that is so.
    async fn tell_hidden(&self, cx: &Cx, search: &mut Search) {
        let Ok(held) = self.member.operator_permissions(cx.now()).await else { return };
        for id in ["backup_volumes_storage", "backup_volumes_guest"] {
            let Some(need) = needs::need(id).filter(|need| !need.is_met(&held)) else { continue };
            search.notes.push(format!(
                "{}: the token for changes lacks {} on {}, so backups may be hidden from it",
                self.member.key, need.privileges[0], need.path
            ));
        }
    }
}

/// Storages that can hold backups, with the node to ask: a shared one once, a local one per node.
fn places<'a>(view: &'a View, only: Option<&str>) -> Vec<(&'a StorageName, &'a NodeName, bool)> {
    let is_online =
        |node: &NodeName| view.nodes.iter().any(|one| one.name == *node && one.is_online());
    let mut rows: Vec<_> = view
        .storages
        .iter()
        .filter(|row| row.content.iter().any(|word| word == "backup"))
        .filter(|row| only.is_none_or(|only| row.name.as_str() == only))
        .filter(|row| is_online(&row.node))
        .collect();
    rows.sort_by_key(|row| (&row.name, std::cmp::Reverse(row.is_available()), &row.node));
    let mut places: Vec<(&StorageName, &NodeName, bool)> = Vec::new();
    for row in rows {
        let is_local = !row.shared && row.plugin != "pbs";
        if is_local || !places.iter().any(|(name, ..)| **name == row.name) {
            places.push((&row.name, &row.node, is_local));
        }
    }
    places
}

// === impl Search ===

impl Search {
    /// The copies to choose from.
    pub(super) fn table(&self, now: Timestamp) -> Table {
        let mut table =
            Table::new("backups", &["time", "age", "size", "verified", "where", "volume"]);
        for copy in &self.copies {
            let made = copy.volume.created;
            table.push(vec![
                Cell::opt(made.map(rfc3339)),
                Cell::opt(made.map(|made| age(made, now))),
                Cell::with(copy.volume.size_bytes, bytes(copy.volume.size_bytes)),
                Cell::text(copy.verified().unwrap_or("never")),
                Cell::text(copy.label()),
                Cell::text(&*copy.volume.id),
            ]);
        }
        table
    }
}

// === impl Copy ===

impl Copy {
    /// Of what kind of guest it is, where the volume tells.
    pub(super) fn kind(&self) -> Option<GuestKind> {
        let by_name = || {
            let id = &self.volume.id;
            let qemu = id.contains("/vm/") || id.contains("vzdump-qemu-");
            let lxc = id.contains("/ct/") || id.contains("vzdump-lxc-");
            match (qemu, lxc) {
                (true, false) => Some(GuestKind::Qemu),
                (false, true) => Some(GuestKind::Lxc),
                _ => None,
            }
        };
        self.volume.guest_kind.or_else(by_name)
    }

    /// The namespace where it lies, or the storage.
    pub(super) fn label(&self) -> String {
        self.place.as_ref().map_or_else(|| self.storage.to_string(), Place::label)
    }

    /// `ok` or `failed`; nothing if it was never verified.
    pub(super) fn verified(&self) -> Option<&str> {
        self.volume.verification.as_ref().map(|check| check.state.as_str())
    }

    /// `2026-11-22T17:52:09Z (3h ago)`.
    pub(super) fn when(&self, now: Timestamp) -> String {
        let made = self.volume.created;
        made.map_or_else(
            || "of unknown age".to_owned(),
            |made| format!("{} ({} ago)", rfc3339(made), age(made, now)),
        )
    }
}
