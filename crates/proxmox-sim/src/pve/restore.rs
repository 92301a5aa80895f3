//! Guests come back from backups: to a new id, or over one that is there.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{config, disks};
use crate::call::{Call, Handlers};
use crate::estate::vault_of;
use crate::http::{Answer, Fault, data};
use crate::state::guest::{size_of, volume_of};
use crate::state::vault::Image;
use crate::state::{Estate, Guest, GuestKind, Outcome, Plan, Volume};

use GuestKind::{Lxc, Qemu};

pub(super) const HANDLERS: Handlers = &[("GET", "/nodes/{node}/vzdump/extractconfig", extract)];

/// Parameters of a restore that are not configuration.
const CONTROLS: &[&str] = &[
    "vmid",
    "archive",
    "force",
    "live-restore",
    "pool",
    "start",
    "storage",
    "unique",
    "bwlimit",
    "ostemplate",
    "password",
    "restore",
    "ssh-public-keys",
    "ignore-unpack-errors",
    "ha-managed",
];

/// A backup that a volume id names.
struct Found {
    volume: Volume,
    image: Arc<Image>,
    corrupt: bool,
}

/// Whether a creation is a restore.
pub(super) fn is_restore(call: &Call<'_>, kind: GuestKind) -> bool {
    match kind {
        Qemu => call.params.contains_key("archive"),
        Lxc => {
            let template = call.text("ostemplate").unwrap_or_default();
            call.flag("restore") == Some(true) || template.contains(":backup/")
        }
    }
}

/// The backup that `volid` names, if the caller may read it.
fn find(call: &Call<'_>, volid: &str) -> Result<Found, Fault> {
    let name = volid.split_once(':').map_or("", |(name, _)| name);
    if name.is_empty() {
        return Err(Fault::internal(format!("unable to parse volume ID '{volid}'")));
    }
    let storage = call
        .cluster()
        .storage(name)
        .ok_or_else(|| Fault::internal(format!("storage '{name}' does not exist")))?;
    if let Some(cause) = super::storage::away(call, storage) {
        return Err(Fault::internal(cause));
    }
    let all = super::storage::volumes(call, storage);
    let volume = all.into_iter().find(|volume| volume.volid == volid);
    let volume =
        volume.ok_or_else(|| Fault::internal(format!("volume '{volid}' does not exist")))?;
    if !super::storage::may_see_volume(call, storage, &volume) {
        return Err(Fault::new(
            403,
            format!("Permission check failed (/storage/{name}, Datastore.AllocateSpace)"),
        ));
    }
    let mut kept = None;
    let mut corrupt = false;
    if let Some((vault, store, ns)) = vault_of(&call.estate.vaults, storage) {
        let backups = vault.store(&store).map(|store| store.snapshots.iter());
        let mut backups = backups.into_iter().flatten();
        let backup = backups.find(|backup| backup.ns == ns && volid.ends_with(&backup.path()));
        if let Some(backup) = backup {
            corrupt = backup.corrupt;
            kept.clone_from(&backup.image);
        }
    } else {
        kept = call.estate.images.get(&(call.home, volid.to_owned())).cloned();
    }
    // What was backed up before the simulator began was as the guest is now.
    let image = kept.or_else(|| {
        let guest = volume.vmid.and_then(|vmid| call.cluster().guests.get(&vmid))?;
        Some(Arc::new(Image::of(guest)))
    });
    let image = image
        .ok_or_else(|| Fault::internal(format!("unable to read configuration of '{volid}'")))?;
    Ok(Found { volume, image, corrupt })
}

fn extract(call: &mut Call<'_>) -> Answer {
    let volid = call.text("volume").unwrap_or_default().to_owned();
    let found = find(call, &volid)?;
    let name = volid.split_once(':').map_or("", |(name, _)| name);
    call.need(&format!("/storage/{name}"), "Datastore.AllocateSpace")?;
    if let Some(vmid) = found.volume.vmid {
        call.need(&format!("/vms/{vmid}"), "VM.Backup")?;
    }
    let lines = found.image.config.iter().map(|(key, value)| {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        format!("{key}: {text}\n")
    });
    data(lines.collect::<String>())
}

/// Restores a guest: `POST` of a new one with an archive.
pub(super) fn restore(call: &mut Call<'_>, kind: GuestKind) -> Answer {
    let vmid = call.int("vmid").unwrap_or(0) as u32;
    let key = if kind == Qemu { "archive" } else { "ostemplate" };
    let volid = call.text(key).unwrap_or_default().to_owned();
    let pool = call.text("pool").map(str::to_owned);
    let force = call.flag("force") == Some(true);
    let there = call.cluster().guests.get(&vmid).cloned();
    let path = format!("/vms/{vmid}");
    let allowed = call.may(&path, "VM.Allocate")
        || pool.as_ref().is_some_and(|pool| call.may(&format!("/pool/{pool}"), "VM.Allocate"))
        || (force && there.is_some() && call.may(&path, "VM.Backup"));
    if !allowed {
        return Err(Fault::new(403, format!("Permission check failed ({path}, VM.Allocate)")));
    }
    let found = find(call, &volid)?;
    let short = kind.short();
    let refuse = |why: String| Fault::internal(format!("unable to restore {short} {vmid} - {why}"));
    if !call.cluster().quorate {
        return Err(refuse("no quorum?".to_owned()));
    }
    if found.image.kind != kind {
        let word = found.image.kind.word();
        return Err(refuse(format!("archive '{volid}' is a {word} backup")));
    }
    if let Some(guest) = &there {
        let node = &call.cluster().nodes[guest.node].name;
        if !force || guest.kind != kind || guest.node != call.node {
            let other = guest.kind.short();
            return Err(refuse(format!("{other} {vmid} already exists on node '{node}'")));
        }
        if let Some(lock) = guest.lock() {
            return Err(refuse(format!("{short} is locked ({lock})")));
        }
    }
    let target = call.text("storage").map(str::to_owned);
    if let Some(target) = &target {
        call.need(&format!("/storage/{target}"), "Datastore.AllocateSpace")?;
        if call.cluster().storage(target).is_none() {
            return Err(Fault::internal(format!("storage '{target}' does not exist")));
        }
    }
    let overrides: Map<String, Value> = call
        .params
        .iter()
        .filter(|(key, _)| !CONTROLS.contains(&key.as_str()))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    let order = Order {
        at: call.home,
        node: call.node,
        vmid,
        kind,
        image: Arc::clone(&found.image),
        corrupt: found.corrupt,
        volid,
        target,
        overrides,
        unique: call.flag("unique") == Some(true),
        start: call.flag("start") == Some(true),
        pool,
        there,
    };
    // The id is taken from the first moment on.
    if order.there.is_none() {
        let first = json!({"lock": "create"}).as_object().cloned().unwrap_or_default();
        let mut guest = Guest::new(vmid, kind, order.node, first);
        guest.pool.clone_from(&order.pool);
        call.cluster_mut().guests.insert(vmid, guest);
    }
    let (home, node, user) = (call.pve(), call.node, call.who.to_string());
    let lines = match kind {
        Qemu => vec![format!("restore of VM archive '{}'", order.volid)],
        Lxc => vec![
            format!("recovering backed-up configuration from '{}'", order.volid),
            format!("restoring '{}' now..", order.volid),
        ],
    };
    let task = if kind == Qemu { "qmrestore" } else { "vzrestore" };
    let lock = order.there.is_some();
    let mut plan = Plan::new(task, vmid, 4000.0, move |estate| order.run(estate)).lines(lines);
    if lock {
        plan = plan.lock(vmid, "create");
    }
    data(call.estate.start_task(home, node, &user, plan))
}

/// A restore on its way.
struct Order {
    at: usize,
    node: usize,
    vmid: u32,
    kind: GuestKind,
    image: Arc<Image>,
    corrupt: bool,
    volid: String,
    target: Option<String>,
    overrides: Map<String, Value>,
    unique: bool,
    start: bool,
    pool: Option<String>,
    /// The guest that is restored over.
    there: Option<Guest>,
}

// === impl Order ===

impl Order {
    /// What happens when the task has run its time.
    fn run(self, estate: &mut Estate) -> Outcome {
        let mut lines = Vec::new();
        let short = self.kind.short();
        if let Some(there) = &self.there {
            let protected = estate.clusters[self.at]
                .guests
                .get(&self.vmid)
                .is_some_and(|guest| guest.flag("protection"));
            let cause = if protected {
                Some("protection mode enabled")
            } else if there.running() {
                Some(if self.kind == Qemu {
                    "vm is running"
                } else {
                    "can't overwrite running container"
                })
            } else {
                None
            };
            if let Some(cause) = cause {
                return Outcome::fail(format!("unable to restore {short} {} - {cause}", self.vmid));
            }
        }
        let mut config = self.image.config.clone();
        let mut made = Vec::new();
        let sizes: Vec<(String, String)> = {
            let draft = Guest::new(self.vmid, self.kind, self.node, config.clone());
            draft.disks()
        };
        for (key, text) in sizes {
            let old = volume_of(&text).to_owned();
            let own = old.split(':').next().unwrap_or_default().to_owned();
            let place = self.target.clone().unwrap_or(own);
            let size = size_of(&text);
            match disks::allocate(estate, self.at, self.node, &place, self.vmid, self.kind, size) {
                Ok(new) => {
                    lines.push(format!("new volume ID is '{new}'"));
                    config.insert(key, json!(text.replacen(&old, &new, 1)));
                    made.push(new);
                }
                Err(cause) => return self.fails(estate, lines, &made, &cause),
            }
        }
        if self.corrupt {
            lines.push("progress 12%".to_owned());
            lines.push(
                "restore failed: reading chunk failed - blob too small (0 bytes).".to_owned(),
            );
            let cause = match self.kind {
                Qemu => format!(
                    "command '/usr/bin/pbs-restore --repository … {}' failed: exit code 255",
                    self.volid
                ),
                Lxc => "command 'proxmox-backup-client restore …' failed: exit code 255".to_owned(),
            };
            return self.fails(estate, lines, &made, &cause);
        }
        lines.push("progress 100%".to_owned());
        if self.kind == Qemu {
            lines.push("rescan volumes...".to_owned());
            config.insert("vmgenid".to_owned(), json!(uuid::Uuid::new_v4().to_string()));
        }
        for (key, value) in &self.overrides {
            config.insert(key.clone(), config::stored(key, value.clone(), self.kind));
        }
        if self.unique {
            self.renew(&mut config);
        }
        self.put(estate, config);
        Outcome::with(lines)
    }

    /// Gives the network devices new addresses.
    fn renew(&self, config: &mut Map<String, Value>) {
        for (key, value) in config.iter_mut().filter(|(key, _)| key.starts_with("net")) {
            let Some(text) = value.as_str() else { continue };
            let bare = text.split(',').filter(|part| !part.starts_with("hwaddr="));
            let bare: Vec<&str> = bare
                .map(|part| match (self.kind, part.split_once('=')) {
                    (Qemu, Some((model, mac))) if mac.split(':').count() == 6 => model,
                    _ => part,
                })
                .collect();
            tracing::trace!(key, "new address");
            *value = json!(disks::with_mac(&bare.join(","), self.kind));
        }
        if self.kind == Qemu {
            config.insert("smbios1".to_owned(), json!(format!("uuid={}", uuid::Uuid::new_v4())));
        }
    }

    /// Puts the guest in its place.
    fn put(self, estate: &mut Estate, config: Map<String, Value>) {
        let (now, speed) = (estate.now, estate.speed);
        let cluster = &mut estate.clusters[self.at];
        let mut guest = Guest::new(self.vmid, self.kind, self.node, config);
        guest.agent_answers = self.image.agent_answers;
        guest.addresses.clone_from(&self.image.addresses);
        guest.disk_used = self.image.disk_used;
        guest.quirk = self.image.quirk.clone();
        guest.pool = self.pool;
        guest.boot_ms = (super::create::BOOT_MS / speed).ceil() as i64;
        if let Some(there) = self.there {
            guest.pool = guest.pool.or(there.pool.clone());
            let old = there.volumes();
            for storage in &mut cluster.storages {
                storage.volumes.retain(|volume| !old.contains(&volume.volid));
            }
        }
        if self.start {
            guest.starts(now);
        }
        cluster.guests.insert(self.vmid, guest);
    }

    /// Takes back what was made.
    fn fails(
        &self,
        estate: &mut Estate,
        lines: Vec<String>,
        made: &[String],
        cause: &str,
    ) -> Outcome {
        let cluster = &mut estate.clusters[self.at];
        for storage in &mut cluster.storages {
            storage.volumes.retain(|volume| !made.contains(&volume.volid));
        }
        if self.there.is_none() {
            cluster.guests.remove(&self.vmid);
        }
        let short = self.kind.short();
        Outcome { lines, result: Err(format!("unable to restore {short} {} - {cause}", self.vmid)) }
    }
}
