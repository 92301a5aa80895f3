//! Backups now: `vzdump`, to a storage or to the backup server behind one.

use serde_json::json;

use crate::call::{Call, Handlers};
use crate::estate::vault_of;
use crate::http::{Answer, Fault, data};
use crate::state::guest::{Quirk, volume_of};
use crate::state::task::Past;
use crate::state::vault::Backup;
use crate::state::{Estate, Guest, GuestKind, Outcome, Plan, Volume};

pub(super) const HANDLERS: Handlers = &[
    ("POST", "/nodes/{node}/vzdump", start),
    ("GET", "/nodes/{node}/vzdump/defaults", |_| {
        data(json!({
            "all": 0, "bwlimit": 0, "compress": "0", "lockwait": 180, "mode": "snapshot", "prune-backups": "keep-all=1",
            "quiet": 0, "stopwait": 10, "storage": "local", "zstd": 1, "ionice": 7, "pigz": 0, "remove": 1,
            "stdexcludes": 1, "stop": 0, "mailnotification": "always", "notification-mode": "auto",
        }))
    }),
];

/// The options of a run that its guests share.
#[derive(Clone)]
struct Run {
    storage: String,
    mode: String,
    notes: Option<String>,
    protected: bool,
    who: String,
}

fn start(call: &mut Call<'_>) -> Answer {
    let storage = call.text("storage").unwrap_or("local").to_owned();
    let found = call.cluster().storage(&storage);
    let found =
        found.ok_or_else(|| Fault::internal(format!("storage '{storage}' does not exist")))?;
    if !found.holds("backup") {
        return Err(Fault::internal(format!(
            "could not get storage information for '{storage}': storage '{storage}' does not support backups"
        )));
    }
    call.need(&format!("/storage/{storage}"), "Datastore.AllocateSpace")?;
    let list = call.text("vmid").unwrap_or_default().to_owned();
    let listed: Vec<u32> =
        list.split([',', ';', ' ']).filter_map(|vmid| vmid.parse().ok()).collect();
    let pool = call.text("pool").map(str::to_owned);
    let all = call.flag("all") == Some(true);
    if listed.is_empty() && pool.is_none() && !all {
        return Err(Fault::param("vmid", "property is missing and it is not optional"));
    }
    let node = call.node;
    let mut guests = listed.clone();
    if guests.is_empty() {
        let exclude = call.text("exclude").unwrap_or_default();
        let left_out = |vmid: u32| exclude.split([',', ';', ' ']).any(|id| id == vmid.to_string());
        let members = call.cluster().guests.values().filter(|guest| guest.node == node);
        guests = members
            .filter(|guest| pool.is_none() || guest.pool == pool)
            .filter(|guest| !left_out(guest.vmid))
            .map(|guest| guest.vmid)
            .collect();
    }
    for vmid in &guests {
        call.need(&format!("/vms/{vmid}"), "VM.Backup")?;
    }
    let run = Run {
        storage: storage.clone(),
        mode: call.text("mode").unwrap_or("snapshot").to_owned(),
        notes: call.text("notes-template").map(str::to_owned),
        protected: call.flag("protected") == Some(true),
        who: call.who.to_string(),
    };
    let name = call.cluster().nodes[node].name.clone();
    let shown = if list.is_empty() {
        pool.map_or("--all 1".to_owned(), |pool| format!("--pool {pool}"))
    } else {
        list
    };
    let mut lines = vec![format!(
        "INFO: starting new backup job: vzdump {shown} --node {name} --storage {storage} --mode {}",
        run.mode
    )];
    let single = match guests.as_slice() {
        [one] => Some(*one),
        _ => None,
    };
    if let Some(guest) =
        single.and_then(|vmid| call.cluster().guests.get(&vmid)).filter(|guest| guest.node == node)
    {
        lines.extend(opening(guest, call.estate.seconds(), &run));
    }
    let (home, at, user) = (call.pve(), call.home, call.who.to_string());
    let ms = if single.is_some() { 10_000.0 } else { 3_000.0 * guests.len().max(1) as f64 };
    let mut plan = Plan::new(
        "vzdump",
        single.map_or_else(String::new, |vmid| vmid.to_string()),
        ms,
        move |estate| finish(estate, at, node, &guests, single.is_some(), &run),
    )
    .lines(lines);
    let cluster = call.cluster();
    let lockable = single.filter(|vmid| {
        cluster.guests.get(vmid).is_some_and(|guest| guest.node == node && guest.lock().is_none())
    });
    if let Some(vmid) = lockable {
        plan = plan.lock(vmid, "backup");
    }
    data(call.estate.start_task(home, node, &user, plan))
}

/// The lines with which a guest's backup begins.
fn opening(guest: &Guest, now: i64, run: &Run) -> Vec<String> {
    let mut lines = vec![
        format!("INFO: Starting Backup of VM {} ({})", guest.vmid, guest.kind.word()),
        format!("INFO: Backup started at {}", crate::clock::utc(now, "%Y-%m-%d %H:%M:%S")),
        format!("INFO: status = {}", guest.status()),
        format!("INFO: {} Name: {}", guest.kind.short(), guest.name()),
    ];
    for (key, text) in guest.disks() {
        let size =
            text.split("size=").nth(1).and_then(|rest| rest.split(',').next()).unwrap_or_default();
        lines.push(match guest.kind {
            GuestKind::Qemu => format!("INFO: include disk '{key}' '{}' {size}", volume_of(&text)),
            GuestKind::Lxc => "INFO: including mount point rootfs ('/') in backup".to_owned(),
        });
    }
    let mode = if guest.running() { run.mode.as_str() } else { "stop" };
    lines.push(format!("INFO: backup mode: {mode}"));
    lines.push("INFO: ionice priority: 7".to_owned());
    lines
}

/// What a run leaves behind, at its end.
fn finish(
    estate: &mut Estate,
    at: usize,
    node: usize,
    guests: &[u32],
    opened: bool,
    run: &Run,
) -> Outcome {
    let now = estate.seconds();
    let time = crate::clock::utc(now, "%Y-%m-%d %H:%M:%S");
    let mut lines = Vec::new();
    let mut failed = false;
    for vmid in guests {
        let guest =
            estate.clusters[at].guests.get(vmid).filter(|guest| guest.node == node).cloned();
        let Some(guest) = guest else {
            failed = true;
            lines.push(format!("ERROR: Backup of VM {vmid} failed - unable to find VM '{vmid}'"));
            lines.push(format!("INFO: Failed at {time}"));
            continue;
        };
        if !opened {
            lines.extend(opening(&guest, now, run));
        }
        if let Quirk::BackupFails(cause) = &guest.quirk {
            failed = true;
            lines.push(format!("ERROR: {cause}"));
            lines.push("INFO: aborting backup job".to_owned());
            lines.push(format!("ERROR: Backup of VM {vmid} failed - {cause}"));
            lines.push(format!("INFO: Failed at {time}"));
            continue;
        }
        match store(estate, at, node, &guest, run) {
            Ok(volid) => {
                lines.push(format!("INFO: creating vzdump archive '{volid}'"));
                lines.push("INFO:  100% done".to_owned());
                lines.push(format!("INFO: Finished Backup of VM {vmid} (00:00:10)"));
                lines.push(format!("INFO: Backup finished at {time}"));
            }
            Err(cause) => {
                failed = true;
                lines.push(format!("ERROR: Backup of VM {vmid} failed - {cause}"));
                lines.push(format!("INFO: Failed at {time}"));
            }
        }
    }
    if failed {
        lines.push("INFO: Backup job finished with errors".to_owned());
        return Outcome { lines, result: Err("job errors".to_owned()) };
    }
    lines.push("INFO: Backup job finished successfully".to_owned());
    Outcome::with(lines)
}

/// Puts a backup where it belongs and returns its volume id.
fn store(
    estate: &mut Estate,
    at: usize,
    node: usize,
    guest: &Guest,
    run: &Run,
) -> Result<String, String> {
    let now = estate.seconds();
    let size = (guest.maxdisk() / 3).max(1 << 20);
    let notes = run.notes.as_ref().map(|text| {
        text.replace("{{guestname}}", &guest.name()).replace("{{vmid}}", &guest.vmid.to_string())
    });
    let cluster = &estate.clusters[at];
    let owner = format!("backup@pbs!{}", cluster.key);
    let found = cluster
        .storage(&run.storage)
        .cloned()
        .ok_or_else(|| format!("storage '{}' does not exist", run.storage))?;
    let address = cluster.nodes[node].address.clone();
    if let Some((_, datastore, ns)) = vault_of(&estate.vaults, &found) {
        let vault = &mut estate.vaults[0];
        if !vault.online {
            return Err(format!(
                "{}: error fetching datastores - 500 Can't connect to 10.40.0.50:8007 (Connection refused)",
                run.storage
            ));
        }
        let kind = if guest.kind == GuestKind::Qemu { "vm" } else { "ct" };
        let backup = Backup {
            ns,
            kind,
            id: guest.vmid.to_string(),
            time: now,
            size,
            owner: owner.clone(),
            protected: run.protected,
            comment: notes.or_else(|| Some(guest.name())),
            verified: None,
        };
        let path = backup.path();
        let (name, booted) = (vault.node.clone(), vault.booted);
        let line = format!(
            "{}: starting new backup on datastore '{datastore}' from ::ffff:{address}: \"{path}\"",
            crate::clock::utc(now, "%Y-%m-%dT%H:%M:%S+00:00")
        );
        vault.tasks.past(Past {
            node: &name,
            booted,
            kind: "backup",
            id: &format!("{datastore}:{kind}/{}", guest.vmid),
            user: &owner,
            start: now,
            seconds: 0,
            status: "OK",
            log: vec![line],
        });
        if let Some(store) = vault.store_mut(&datastore) {
            store.used = (store.used + size / 30).min(store.total);
            store.snapshots.push(backup);
        }
        return Ok(format!("{}:backup/{path}", run.storage));
    }
    let stamp = crate::clock::utc(now, "%Y_%m_%d-%H_%M_%S");
    let (ext, format) = match guest.kind {
        GuestKind::Qemu => ("vma.zst", "vma.zst"),
        GuestKind::Lxc => ("tar.zst", "tar.zst"),
    };
    let volid =
        format!("{}:backup/vzdump-{}-{}-{stamp}.{ext}", run.storage, guest.kind.word(), guest.vmid);
    let storage = estate.clusters[at]
        .storage_mut(&run.storage)
        .ok_or_else(|| "storage is gone".to_owned())?;
    if size > storage.total - storage.used_on(node) {
        return Err("vma_queue_write: write error - No space left on device".to_owned());
    }
    storage.volumes.push(Volume {
        volid: volid.clone(),
        node: (!storage.shared).then_some(node),
        vmid: Some(guest.vmid),
        content: "backup",
        format,
        size,
        ctime: now,
        notes,
        protected: run.protected,
        verified: None,
        subtype: Some(guest.kind.word()),
    });
    storage.add_used(node, size as i64);
    tracing::debug!(by = %run.who, volid, "simulated backup");
    Ok(volid)
}
