//! What would be lost is kept first: a snapshot before a rollback, a backup before a deletion or a
//! restore over a guest.
//!
//! What keeps it is the first step of the same plan, so it is said, agreed to and written down with
//! it, and where it fails nothing further is done. That it is really there is looked at before the
//! next step begins.
//!
//! *Invariant:* names do not depend on the time of planning: a plan that people agreed to is planned
//! anew before it runs, and must come out the same.

use std::{cmp::Reverse, sync::Arc};

use estate::{GuestKind, StorageName};
use mcp_protocol::JsonObject;
use pve_client::{
    lxc, qemu,
    storage::{self, ContentKind},
    vzdump::{self, BackupMode, VzdumpParams},
};
use serde_json::json;

use super::{
    compute::parts::{Parts, Volume},
    power::{named, object},
};
use crate::{
    address::quoted,
    error::{Kind, ToolError},
    fleet::Pve,
    permissions::Permissions,
    plan::{Later, Plan, Step, StepOutcome, Undo},
    report::{Cell, Report, Table, bytes},
    schema::Input,
    view::{Guest, Storage, View},
};

/// Says that what is lost is kept nowhere.
const NOTHING: &str = "nothing_kept";

/// Says that some of what is lost is kept nowhere.
const PARTLY: &str = "partly_kept";

/// Storages whose volumes only go back to their newest snapshot: one made before a rollback would
/// stand in its way.
const NEWEST_ONLY: &[&str] = &["zfspool", "zfs", "lvm"];

/// The share of a guest's disks that a backup server has to have free: it stores only what is new.
const NEW_SHARE: u64 = 4;

/// How much earlier than its task a backup can seem to have begun: both are whole seconds of the
/// node's own clock.
const SLACK_SECS: i64 = 2;

/// What the caller wants kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Whatever can be.
    Auto,
    /// Nothing.
    None,
    /// A backup on this storage.
    Storage(String),
}

/// The guest that is about to lose something.
pub(crate) struct Ground<'a> {
    pub(crate) member: &'a Arc<Pve>,
    pub(crate) guest: &'a Guest,
    pub(crate) parts: &'a Parts,
    pub(crate) view: &'a View,
    /// What the token may do, if that can be read.
    pub(crate) held: Option<&'a Permissions>,
}

/// What a plan keeps first. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    way: Way,
    guest: String,
    /// The snapshot or volume, once it is there.
    made: Later,
}

#[derive(Clone, Debug)]
enum Way {
    Snapshot(String),
    Backup,
}

/// The argument by which a caller says what is to be kept.
pub(crate) fn argument(input: Input) -> Input {
    input.text("safety", "what is kept first: auto (default), none, or the storage for a backup")
}

// === impl Wish ===

impl Wish {
    /// As the argument says.
    pub(crate) fn read(text: Option<&str>) -> Self {
        match text.map(str::trim) {
            None | Some("") => Self::Auto,
            Some(word) if word.eq_ignore_ascii_case("auto") => Self::Auto,
            Some(word) if word.eq_ignore_ascii_case("none") => Self::None,
            Some(name) => Self::Storage(name.to_owned()),
        }
    }
}

// === impl Kept ===

impl Kept {
    /// The volume as it stands in a plan.
    pub(crate) fn volume(&self) -> &str {
        self.made.word()
    }

    /// Whether it is a snapshot, and which.
    pub(crate) fn snapshot(&self) -> Option<&str> {
        match &self.way {
            Way::Snapshot(name) => Some(name),
            Way::Backup => None,
        }
    }

    /// An answer that names what was kept.
    pub(crate) fn tell(&self, report: Report) -> Report {
        let Some(made) = self.made.get() else { return report };
        let word = if self.snapshot().is_some() { "snapshot" } else { "backup" };
        report.fact("kept", made).note(format!("kept first: {word} {made} of {}", self.guest))
    }

    /// A failure that says whether anything was lost.
    fn explain(&self, error: ToolError) -> ToolError {
        if self.made.get().is_some() {
            return error.map(|report| self.tell(report));
        }
        if error.report().facts.get("status").is_none_or(|is| is != "failed") {
            return error;
        }
        error.hint(
            "nothing was lost: what keeps it first did not succeed; safety takes the storage for a \
             backup, or none to go on without",
        )
    }
}

// === impl Ground ===

impl Ground<'_> {
    /// A rollback keeps a snapshot where that can be, and else a backup.
    ///
    /// # Errors
    /// The storage that was named cannot take a backup of it.
    pub(crate) async fn before_rollback(
        &self,
        plan: Plan,
        wish: &Wish,
        taken: &[&str],
    ) -> Result<(Plan, Option<Kept>), ToolError> {
        if *wish != Wish::Auto {
            return self.by_backup(plan, wish, None);
        }
        match self.no_snapshot().await {
            None => {
                let (plan, kept) = self.by_snapshot(plan, taken);
                Ok((plan, Some(kept)))
            }
            Some(why) => self.by_backup(plan, wish, Some(why)),
        }
    }

    /// A deletion or a restore over the guest keeps a backup.
    ///
    /// # Errors
    /// The storage that was named cannot take a backup of it.
    pub(crate) fn before_loss(
        &self,
        plan: Plan,
        wish: &Wish,
    ) -> Result<(Plan, Option<Kept>), ToolError> {
        self.by_backup(plan, wish, None)
    }

    /// The call that puts the whole guest back over what it is then.
    pub(crate) fn restore_over(&self, kept: &Kept) -> Undo {
        let args = json!({
            "guest": self.guest.at.to_string(), "from": kept.volume(), "over": true,
        });
        Undo::Call("backup_restore", object(args))
    }

    /// Why no snapshot can be made that a rollback would leave alone.
    async fn no_snapshot(&self) -> Option<String> {
        let (node, vmid) = (&self.guest.node, self.guest.at.vmid);
        if let Some((name, sort)) =
            newest_only(self.member, self.view, self.guest, self.parts).await
        {
            return Some(format!(
                "a snapshot made now would stand in the way: storage {name} ({sort}) goes back to \
                 its newest one only"
            ));
        }
        if !self.may_on_guest("VM.Snapshot") {
            return Some(format!("the token lacks VM.Snapshot on /vms/{vmid} for a snapshot"));
        }
        let asked = match self.guest.kind {
            GuestKind::Qemu => qemu::feature(node, vmid, "snapshot"),
            GuestKind::Lxc => lxc::feature(node, vmid, "snapshot"),
        };
        match self.member.client.call(asked).await {
            Ok(feature) if feature.available => None,
            Ok(_) => Some("its disks as they are now cannot be in a snapshot".to_owned()),
            Err(error) => {
                let why = stdx::Chain(&error);
                Some(format!("whether a snapshot can be made is not known: {why}"))
            }
        }
    }

    fn by_snapshot(&self, plan: Plan, taken: &[&str]) -> (Plan, Kept) {
        let guest = named(self.guest);
        // The lowest number that is free, so that the same state gives the same plan.
        let mut names = (1_u32..).map(|number| format!("safety-{number}"));
        let name = names.find(|name| !taken.contains(&name.as_str())).unwrap_or_default();
        let (node, vmid) = (&self.guest.node, self.guest.at.vmid);
        let description = Some("made by proxmox-mcp before a rollback".to_owned());
        let request = match self.guest.kind {
            GuestKind::Qemu => {
                let options = qemu::QemuSnapshotParams { description, with_memory: None };
                qemu::create_snapshot(node, vmid, &name, options)
            }
            GuestKind::Lxc => lxc::create_snapshot(node, vmid, &name, description.as_deref()),
        };
        let made = Later::of_step(plan.steps.len() + 1, "snapshot");
        let what = format!("snapshot {name} of {guest}");
        let (member, of, wanted, note) =
            (Arc::clone(self.member), self.guest.clone(), name.clone(), made.clone());
        let step = Step::pve(self.member, what, request)
            .task(&["qmsnapshot", "vzsnapshot"], vmid.to_string())
            .around(
                || async {},
                move |_, outcome| is_snapshot_there(member, of, wanted, note, outcome),
            );
        let plan = plan.step(step).effect(format!(
            "step 1 keeps the guest as it is now in snapshot {name}, which stays until it is \
             deleted (snapshot_delete)"
        ));
        let kept = Kept { way: Way::Snapshot(name), guest, made };
        (explained(plan, &kept), kept)
    }

    fn by_backup(
        &self,
        plan: Plan,
        wish: &Wish,
        why_not: Option<String>,
    ) -> Result<(Plan, Option<Kept>), ToolError> {
        let nothing = |plan: Plan, why: String| {
            let both = why_not.iter().cloned().chain([why]).collect::<Vec<_>>().join("; ");
            (plan.warn(NOTHING, format!("nothing of what is lost is kept: {both}")), None)
        };
        let chosen = match wish {
            Wish::None => return Ok(nothing(plan, "safety is none".to_owned())),
            Wish::Storage(name) => self.named_storage(name)?,
            Wish::Auto => match self.some_storage() {
                Ok(storage) => storage,
                Err(why) => return Ok(nothing(plan, why)),
            },
        };
        Ok(self.backed_up(plan, chosen, why_not))
    }

    fn backed_up(
        &self,
        plan: Plan,
        storage: &Storage,
        why_not: Option<String>,
    ) -> (Plan, Option<Kept>) {
        let guest = named(self.guest);
        let (node, vmid, name) = (&self.guest.node, self.guest.at.vmid, storage.name.clone());
        let options = VzdumpParams {
            vmids: std::iter::once(vmid).collect(),
            storage: Some(name.clone()),
            mode: Some(BackupMode::Snapshot),
            compress: (storage.plugin != "pbs").then(|| "zstd".to_owned()),
            notes_template: Some("{{guestname}}, kept by proxmox-mcp before a loss".to_owned()),
            // Unless it is told not to, a run prunes by the storage's own rule.
            remove: Some(false),
            ..VzdumpParams::default()
        };
        let made = Later::of_step(plan.steps.len() + 1, "volume");
        let (member, of, on, note) =
            (Arc::clone(self.member), self.guest.clone(), name.clone(), made.clone());
        let step = Step::pve(self.member, format!("backup of {guest}"), vzdump::run(node, options))
            .task(&["vzdump"], vmid.to_string())
            .stoppable()
            .around(|| async {}, move |_, outcome| is_backup_there(member, of, on, note, outcome));
        let mut plan = plan.step(step).later(made.clone()).effect(format!(
            "step 1 keeps its configuration and disks in a backup on {name}; no older backup is \
             removed"
        ));
        let left_out = self.parts.disks().filter(|disk| !disk.is_backed_up);
        let left_out: Vec<String> =
            left_out.map(|disk| format!("{} ({})", disk.key, disk.id)).collect();
        if !left_out.is_empty() {
            plan = plan.warn(
                PARTLY,
                format!("not in the backup, and lost for good: {}", left_out.join(", ")),
            );
        }
        if let Some(why) = why_not {
            plan = plan.note(format!("a backup and no snapshot: {why}"));
        }
        let (need, room) = (self.size(), room(storage));
        if room < need {
            plan = plan.warn(
                "space",
                format!(
                    "{name} has {} free, less than the guest's disks ({})",
                    bytes(room),
                    bytes(need)
                ),
            );
        }
        let kept = Kept { way: Way::Backup, guest, made };
        (explained(plan, &kept), Some(kept))
    }

    /// The most that a backup can take.
    fn size(&self) -> u64 {
        self.parts.disks().filter(|disk| disk.is_backed_up).map(|disk| disk.size).sum()
    }

    /// The storages that the guest's node could back it up to.
    fn storages(&self) -> impl Iterator<Item = &Storage> {
        let node = &self.guest.node;
        let all = self.view.storages.iter().filter(move |storage| storage.node == *node);
        all.filter(|storage| storage.content.iter().any(|kind| kind == "backup"))
    }

    /// The best one: a backup server before what all nodes share before what one node has, then by
    /// room.
    fn some_storage(&self) -> Result<&Storage, String> {
        let at = format!("{}/{}", self.guest.at.cluster, self.guest.node);
        let vmid = self.guest.at.vmid;
        if !self.may_on_guest("VM.Backup") {
            return Err(format!("the token lacks VM.Backup on /vms/{vmid} for a backup"));
        }
        let mut fit: Vec<&Storage> =
            self.storages().filter(|storage| storage.is_available()).collect();
        if fit.is_empty() {
            return Err(format!("no storage on {at} takes backups, as far as the token sees"));
        }
        fit.retain(|storage| self.may_on_storage(&storage.name));
        if fit.is_empty() {
            return Err(format!(
                "the token lacks Datastore.AllocateSpace on the storages of {at} that take backups"
            ));
        }
        let need = self.size();
        let is_server = |storage: &Storage| storage.plugin == "pbs";
        fit.sort_by_key(|storage| {
            let order = (!is_server(storage), !storage.shared, Reverse(room(storage)));
            (order, storage.name.clone())
        });
        let has_room = |storage: &&&Storage| {
            let need = if is_server(storage) { need / NEW_SHARE } else { need };
            room(storage) > 0 && room(storage) >= need
        };
        fit.iter().find(has_room).copied().ok_or_else(|| {
            let most = fit.iter().map(|storage| room(storage)).max().unwrap_or_default();
            format!(
                "no storage on {at} has room for a backup of {}: the emptiest has {}",
                bytes(need),
                bytes(most)
            )
        })
    }

    fn named_storage(&self, name: &str) -> Result<&Storage, ToolError> {
        let (cluster, node) = (&self.guest.at.cluster, &self.guest.node);
        let bare = match name.split_once('/') {
            Some((key, bare)) if key == cluster.as_str() => bare,
            _ => name,
        };
        let Some(found) = self.storages().find(|storage| storage.name.as_str() == bare) else {
            let lead =
                format!("{cluster}/{node} has no storage {} that takes backups", quoted(bare));
            return Err(ToolError::not_found(lead)
                .hint("safety is auto, none, or the storage for a backup")
                .choices(self.table()));
        };
        let what = format!("storage {} on {cluster}/{node}", found.name);
        if !found.is_available() {
            return Err(ToolError::new(format!("{what} is {}", found.status))
                .of_kind(Kind::Unavailable)
                .choices(self.table()));
        }
        if room(found) == 0 {
            return Err(ToolError::new(format!("{what} has no room")).choices(self.table()));
        }
        let vmid = self.guest.at.vmid;
        let mut missing = Vec::new();
        if !self.may_on_guest("VM.Backup") {
            missing.push(format!("VM.Backup on /vms/{vmid}"));
        }
        if !self.may_on_storage(&found.name) {
            missing.push(format!("Datastore.AllocateSpace on /storage/{}", found.name));
        }
        if missing.is_empty() {
            return Ok(found);
        }
        let lead = format!("the token of {cluster} lacks {}", missing.join(", "));
        let report = Report::new(lead).fact("error", "permission_denied").fact("status", "refused");
        Err(ToolError::from_report(report))
    }

    fn table(&self) -> Table {
        let mut table = Table::new("storages", &["storage", "type", "status", "free"]);
        for storage in self.storages() {
            table.push(vec![
                Cell::text(storage.name.as_str()),
                Cell::text(&*storage.plugin),
                Cell::text(&*storage.status),
                Cell::bytes(room(storage)),
            ]);
        }
        table
    }

    /// Where the permissions cannot be read the server decides.
    fn may_on_guest(&self, privilege: &str) -> bool {
        let Some(held) = self.held else { return true };
        let pool = self.guest.pool.as_ref().map(|pool| format!("/pool/{pool}"));
        let path = format!("/vms/{}", self.guest.at.vmid);
        std::iter::once(path).chain(pool).any(|path| held.has(&path, privilege))
    }

    fn may_on_storage(&self, name: &StorageName) -> bool {
        let path = format!("/storage/{name}");
        self.held.is_none_or(|held| held.has(&path, "Datastore.AllocateSpace"))
    }
}

/// The storage under one of the guest's disks that goes back to its newest snapshot only, and its
/// sort. Storages of files do where they keep snapshots as chains of volumes.
pub(crate) async fn newest_only(
    member: &Pve,
    view: &View,
    guest: &Guest,
    parts: &Parts,
) -> Option<(StorageName, String)> {
    let under = |volume: &Volume| {
        let mut storages = view.storages.iter();
        storages.find(|one| one.name == volume.storage && one.node == guest.node)
    };
    let under: Vec<&Storage> = parts.disks().filter_map(under).collect();
    if let Some(found) = under.iter().find(|one| NEWEST_ONLY.contains(&one.plugin.as_str())) {
        return Some((found.name.clone(), found.plugin.clone()));
    }
    // Only storages of files have the option, so the others cost no call.
    let files = |one: &&&Storage| matches!(one.plugin.as_str(), "dir" | "nfs" | "cifs");
    let of_files: Vec<&&Storage> = under.iter().filter(files).collect();
    if of_files.is_empty() {
        return None;
    }
    let entries = member.client.call(storage::configs(None)).await.unwrap_or_default();
    let chained = entries.into_iter().find(|entry| {
        entry.snapshots_as_chain && of_files.iter().any(|one| one.name == entry.storage)
    })?;
    Some((chained.storage, format!("{}, snapshots as volume chains", chained.kind)))
}

/// Bytes that are left on a storage; one without figures is taken to have none.
fn room(storage: &Storage) -> u64 {
    storage.size.saturating_sub(storage.used)
}

fn explained(plan: Plan, kept: &Kept) -> Plan {
    let kept = kept.clone();
    plan.explain(move |error| async move { kept.explain(error) })
}

/// Goes on only if the snapshot is in the list.
async fn is_snapshot_there(
    member: Arc<Pve>,
    guest: Guest,
    name: String,
    made: Later,
    outcome: StepOutcome,
) -> Result<StepOutcome, ToolError> {
    let (node, vmid) = (&guest.node, guest.at.vmid);
    let all = match guest.kind {
        GuestKind::Qemu => member.client.call(qemu::snapshots(node, vmid)).await,
        GuestKind::Lxc => member.client.call(lxc::snapshots(node, vmid)).await,
    };
    let all = all.map_err(|error| {
        ToolError::api(format!("read back the snapshots of {}", named(&guest)), &error)
    })?;
    if all.iter().any(|one| one.name == name) {
        made.comes(name);
        return Ok(outcome);
    }
    let lead = format!("the task of snapshot {name} ended OK, but it is not in the list");
    Err(ToolError::new(lead))
}

/// Goes on only if a new backup of the guest lies there.
async fn is_backup_there(
    member: Arc<Pve>,
    guest: Guest,
    on: StorageName,
    made: Later,
    outcome: StepOutcome,
) -> Result<StepOutcome, ToolError> {
    let vmid = guest.at.vmid;
    let call = storage::content(&guest.node, &on, Some(&ContentKind::Backup), Some(vmid));
    // PVE shows backups only to who may make and restore them: the token for changes.
    let volumes = member.operator.call(call).await.map_err(|error| {
        ToolError::api(format!("read back the backup of {} on {on}", named(&guest)), &error)
    })?;
    let began = outcome.upid.as_ref().map(|upid| upid.started().as_second() - SLACK_SECS);
    let new = volumes.into_iter().filter(|volume| {
        let created = volume.created.map(jiff::Timestamp::as_second);
        volume.vmid == Some(vmid) && created.zip(began).is_some_and(|(at, began)| at >= began)
    });
    match new.max_by_key(|volume| volume.created) {
        Some(volume) => {
            made.comes(volume.id);
            Ok(outcome)
        }
        None => {
            let lead = format!(
                "the backup of {} ended OK, but no new one is to be seen on {on}",
                named(&guest)
            );
            Err(ToolError::new(lead)
                .hint("the token needs VM.Backup on the guest and Datastore.AllocateSpace there"))
        }
    }
}

/// The call that makes a deleted guest again.
pub(crate) fn restore_deleted(guest: &Guest, kept: &Kept) -> Undo {
    let mut args: JsonObject = object(json!({
        "guest": guest.at.to_string(), "from": kept.volume(), "vmid": guest.at.vmid.get(),
        "node": guest.node.as_str(),
    }));
    if let Some(pool) = &guest.pool {
        args.insert("pool".to_owned(), pool.as_str().into());
    }
    Undo::Call("backup_restore", args)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_argument_is_a_word_or_a_storage() {
        for text in [None, Some(""), Some(" "), Some("auto"), Some("Auto")] {
            assert_eq!(Wish::read(text), Wish::Auto, "{text:?}");
        }
        assert_eq!(Wish::read(Some("none")), Wish::None);
        assert_eq!(Wish::read(Some(" vault ")), Wish::Storage("vault".to_owned()));
    }
}
