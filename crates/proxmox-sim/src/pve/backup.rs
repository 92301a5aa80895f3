//! Backups now: `vzdump`, to a storage or to the backup server behind one.

use std::sync::Arc;

use serde_json::json;

use crate::call::{Call, Handlers};
use crate::estate::vault_of;
use crate::http::{Answer, Fault, data};
use crate::state::guest::{Quirk, volume_of};
use crate::state::task::Past;
use crate::state::vault::{Backup, Image};
use crate::state::{Estate, Guest, GuestKind, Outcome, Plan, Volume};

pub(super) const HANDLERS: Handlers =
    &[("POST", "/nodes/{node}/vzdump", start), ("GET", "/nodes/{node}/vzdump/defaults", defaults)];

/// What only who may audit the node is told of its defaults.
const NODES_OWN: [&str; 2] = ["mailto", "ionice"];

/// The options of a run that its guests share.
#[derive(Clone)]
struct Run {
    storage: String,
    mode: String,
    /// The ending of files that are compressed, such as `.zst`.
    ending: &'static str,
    notes: Option<String>,
    protected: bool,
    /// Whether older backups are pruned afterwards.
    prune: bool,
    /// By which rule, if not the storage's own.
    rule: Option<String>,
    who: String,
}

fn defaults(call: &mut Call<'_>) -> Answer {
    let mut all = json!({
        "all": 0, "bwlimit": 0, "compress": "0", "lockwait": 180, "mode": "snapshot", "prune-backups": "keep-all=1",
        "quiet": 0, "stopwait": 10, "storage": "local", "zstd": 1, "ionice": 7, "pigz": 0, "remove": 1,
        "stdexcludes": 1, "stop": 0, "mailnotification": "always", "notification-mode": "auto",
    });
    let node = &call.cluster().nodes[call.node];
    for (name, value) in &node.host.vzdump {
        all[name] = json!(value);
    }
    if !call.grants.may(&format!("/nodes/{}", node.name), "Sys.Audit") {
        let all = all.as_object_mut().expect("it was made as one");
        all.retain(|name, _| !NODES_OWN.contains(&name.as_str()));
    }
    data(all)
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
        ending: match call.text("compress") {
            Some("zstd") => ".zst",
            Some("gzip" | "1") => ".gz",
            Some("lzo") => ".lzo",
            _ => "",
        },
        notes: call.text("notes-template").map(str::to_owned),
        protected: call.flag("protected") == Some(true),
        // Unless it is told not to, a run prunes.
        prune: call.flag("remove") != Some(false),
        rule: call.text("prune-backups").map(str::to_owned),
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
        // Its own task holds the lock `backup`; any other was there before.
        if let Some(lock) = guest.lock().filter(|lock| !opened || *lock != "backup") {
            failed = true;
            let short = guest.kind.short();
            lines.push(format!("ERROR: Backup of VM {vmid} failed - {short} is locked ({lock})"));
            lines.push(format!("INFO: Failed at {time}"));
            continue;
        }
        match store(estate, at, node, &guest, run) {
            Ok(more) => {
                lines.extend(more);
                lines.extend(prune(estate, at, node, *vmid, run));
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

/// Removes what the run's rule does not keep of the guest's older backups.
fn prune(estate: &mut Estate, at: usize, node: usize, vmid: u32, run: &Run) -> Vec<String> {
    if !run.prune {
        return Vec::new();
    }
    let Some(found) = estate.clusters[at].storage(&run.storage).cloned() else { return Vec::new() };
    let mut backups = super::storage::volumes_of(&estate.vaults, &found, node);
    backups.retain(|volume| volume.vmid == Some(vmid));
    super::retention::after_run(estate, at, &found, backups, run.rule.as_deref())
}

/// Puts a backup where it belongs and returns the log's lines.
fn store(
    estate: &mut Estate,
    at: usize,
    node: usize,
    guest: &Guest,
    run: &Run,
) -> Result<Vec<String>, String> {
    let mut now = estate.seconds();
    let size = (guest.maxdisk() / 3).max(1 << 20);
    let notes = run.notes.as_ref().map(|text| {
        text.replace("{{guestname}}", &guest.name())
            .replace("{{vmid}}", &guest.vmid.to_string())
            .replace("{{node}}", &estate.clusters[at].nodes[node].name)
            .replace("{{cluster}}", &estate.clusters[at].key)
            .replace("\\n", "\n")
            .replace("\\\\", "\\")
    });
    let image = Arc::new(Image::of(guest));
    let cluster = &estate.clusters[at];
    let owner = format!("backup@pbs!{}", cluster.key);
    let found = cluster
        .storage(&run.storage)
        .cloned()
        .ok_or_else(|| format!("storage '{}' does not exist", run.storage))?;
    let address = cluster.nodes[node].address.clone();
    if let Some((_, datastore, ns)) = vault_of(&estate.vaults, &found) {
        if let Some(cause) = super::storage::silent(&estate.vaults, &found) {
            return Err(cause);
        }
        let vault = &mut estate.vaults[0];
        let kind = if guest.kind == GuestKind::Qemu { "vm" } else { "ct" };
        let vmid = guest.vmid.to_string();
        let taken = |time: i64| {
            let list = vault.store(&datastore).map(|store| &store.snapshots);
            list.into_iter().flatten().any(|backup| {
                (backup.ns.as_str(), backup.kind, &backup.id, backup.time)
                    == (ns.as_str(), kind, &vmid, time)
            })
        };
        // Simulated time can be so fast that two runs begin within one second.
        while taken(now) {
            now += 1;
        }
        let backup = Backup {
            ns,
            kind,
            id: vmid,
            time: now,
            size,
            owner: owner.clone(),
            protected: run.protected,
            comment: notes,
            verified: None,
            corrupt: false,
            image: Some(image),
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
        let no_space = "backup write data failed: command error: write_data upload error: pipelined request failed: inserting chunk on store failed - No space left on device (os error 28)";
        let store = vault
            .store_mut(&datastore)
            .ok_or_else(|| format!("error - datastore '{datastore}' does not exist"))?;
        if store.used + backup.own_bytes() > store.total {
            return Err(no_space.to_owned());
        }
        store.store(backup);
        let gib = size as f64 / (1_u64 << 30) as f64;
        return Ok(vec![
            format!("INFO: creating Proxmox Backup Server archive '{path}'"),
            "INFO: starting backup via QMP command".to_owned(),
            format!("INFO: 100% ({gib:.1} GiB of {gib:.1} GiB) in 10s"),
            format!("INFO: backup was done incrementally, reused {:.2} GiB (96%)", gib * 0.96),
            format!("INFO: transferred {gib:.2} GiB in 10 seconds"),
        ]);
    }
    let format = match (guest.kind, run.ending) {
        (GuestKind::Qemu, ".zst") => "vma.zst",
        (GuestKind::Qemu, ".gz") => "vma.gz",
        (GuestKind::Qemu, ".lzo") => "vma.lzo",
        (GuestKind::Qemu, _) => "vma",
        (GuestKind::Lxc, ".zst") => "tar.zst",
        (GuestKind::Lxc, ".gz") => "tar.gz",
        (GuestKind::Lxc, ".lzo") => "tar.lzo",
        (GuestKind::Lxc, _) => "tar",
    };
    let name = |time: i64| {
        let stamp = crate::clock::utc(time, "%Y_%m_%d-%H_%M_%S");
        format!("vzdump-{}-{}-{stamp}.{format}", guest.kind.word(), guest.vmid)
    };
    let taken = |time: i64| {
        let volid = format!("{}:backup/{}", run.storage, name(time));
        found.volumes.iter().any(|volume| volume.volid == volid)
    };
    while taken(now) {
        now += 1;
    }
    let file = name(now);
    let volid = format!("{}:backup/{file}", run.storage);
    let folder = cluster.storage(&run.storage).and_then(|found| found.options.get("path"));
    let folder = folder.and_then(serde_json::Value::as_str).unwrap_or("/var/lib/vz").to_owned();
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
    estate.images.insert((at, volid), image);
    Ok(vec![
        format!("INFO: creating vzdump archive '{folder}/dump/{file}'"),
        "INFO: starting backup via QMP command".to_owned(),
        "INFO: 100% done".to_owned(),
        format!("INFO: archive file size: {}MB", size >> 20),
    ])
}
