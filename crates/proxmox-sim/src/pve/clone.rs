//! Copies of guests: full ones, and linked ones of templates.

use serde_json::{Map, Value, json};

use super::create::{bridge, forget, taken};
use super::disks;
use super::lifecycle::task;
use crate::call::{Call, Handlers};
use crate::http::{Answer, Fault, data};
use crate::state::guest::{size_of, volume_of};
use crate::state::{Estate, Guest, GuestKind, Outcome, Plan};

use GuestKind::{Lxc, Qemu};

pub(super) const HANDLERS: Handlers = &[
    ("POST", "/nodes/{node}/qemu/{vmid}/clone", |call| clone(call, Qemu)),
    ("POST", "/nodes/{node}/lxc/{vmid}/clone", |call| clone(call, Lxc)),
];

/// A copy on its way.
struct Copy {
    at: usize,
    target: usize,
    newid: u32,
    kind: GuestKind,
    full: bool,
    storage: Option<String>,
}

fn clone(call: &mut Call<'_>, kind: GuestKind) -> Answer {
    let vmid = call.kind(kind)?;
    let newid = call.int("newid").unwrap_or(0) as u32;
    if let Some(fault) = taken(call, newid, kind) {
        return Err(fault);
    }
    let target = match call.text("target") {
        None => call.node,
        Some(name) => call
            .cluster()
            .node(name)
            .ok_or_else(|| Fault::param("target", format!("no such cluster node '{name}'")))?,
    };
    let snapname = call.text("snapname").map(str::to_owned);
    let guest = &call.cluster().guests[&vmid];
    if let Some(lock) = guest.lock() {
        return Err(Fault::internal(format!("{} is locked ({lock})", kind.short())));
    }
    let full = call.flag("full").unwrap_or(!guest.template());
    if !full && !guest.template() {
        return Err(Fault::internal(
            "Linked clone feature is not supported for a VM that is not a template",
        ));
    }
    let mut source = guest.config.clone();
    if let Some(name) = &snapname {
        let found = guest.snapshots.iter().find(|snapshot| snapshot.name == *name);
        let found =
            found.ok_or_else(|| Fault::internal(format!("snapshot '{name}' does not exist")))?;
        source.clone_from(&found.config);
    }
    let storage = call.text("storage").map(str::to_owned);
    let disks_: Vec<(String, String)> = guest.disks();
    check_storages(call, storage.as_deref(), full, target != call.node, &disks_)?;
    for (key, value) in &guest.config {
        if key.starts_with("net")
            && let Some(text) = value.as_str()
        {
            bridge(call, text)?;
        }
    }
    let pool = call.text("pool").map(str::to_owned);
    let key = if kind == Qemu { "name" } else { "hostname" };
    let name = call
        .text(key)
        .map_or_else(|| format!("Copy-of-{}-{}", kind.short(), guest.name()), str::to_owned);
    let description = call.text("description").map(str::to_owned);
    let (agent, boot_ms) = (guest.agent_answers, (6000.0 / call.estate.speed).ceil() as i64);
    let mut draft = Guest::new(newid, kind, target, Map::new());
    draft.pool = pool;
    draft.config.insert("lock".to_owned(), json!("clone"));
    let mut lines = vec![format!("creating a clone of {} {vmid} with ID {newid}", kind.short())];
    for (disk, text) in &disks_ {
        let word = if full { "full" } else { "linked" };
        lines.push(format!("create {word} clone of drive {disk} ({})", volume_of(text)));
        let gib = size_of(text) as f64 / (1_u64 << 30) as f64;
        if full {
            lines.push(format!("transferred 0.0 B of {gib:.1} GiB (0.00%)"));
            lines.push(format!("transferred {gib:.1} GiB of {gib:.1} GiB (100.00%)"));
        }
    }
    let (home, at, node, user) = (call.pve(), call.home, call.node, call.who.to_string());
    call.cluster_mut().guests.insert(newid, draft);
    let ms = if full { 5000.0 } else { 1500.0 };
    let copy = Copy { at, target, newid, kind, full, storage };
    let plan = Plan::new(task(kind, "qmclone", "vzclone"), vmid, ms, move |estate| {
        source.shift_remove("lock");
        source.shift_remove("template");
        source.shift_remove("protection");
        source.insert(key.to_owned(), json!(name));
        if let Some(text) = description {
            source.insert("description".to_owned(), json!(text));
        }
        if kind == Qemu {
            source.insert("smbios1".to_owned(), json!(format!("uuid={}", uuid::Uuid::new_v4())));
            source.insert("vmgenid".to_owned(), json!(uuid::Uuid::new_v4().to_string()));
        }
        if let Err(cause) = copy_drives(estate, &copy, &mut source, disks_) {
            forget(estate, at, newid);
            return Outcome::fail(format!("clone failed: {cause}"));
        }
        if let Some(guest) = estate.clusters[at].guests.get_mut(&newid) {
            guest.config = source;
            guest.addresses = vec![format!("10.40.98.{}", newid % 250)];
            guest.agent_answers = agent;
            guest.boot_ms = boot_ms;
        }
        Outcome::ok()
    });
    let plan = plan.lines(lines).lock(vmid, "clone").undo(move |estate| forget(estate, at, newid));
    data(call.estate.start_task(home, node, &user, plan))
}

/// Checks that copies may go where they would.
fn check_storages(
    call: &Call<'_>,
    storage: Option<&str>,
    full: bool,
    elsewhere: bool,
    drives: &[(String, String)],
) -> Result<(), Fault> {
    let cluster = call.cluster();
    if let Some(name) = storage {
        if !full {
            return Err(Fault::internal("parameter 'storage' not allowed for linked clones"));
        }
        let found = cluster.storage(name);
        let found =
            found.ok_or_else(|| Fault::internal(format!("storage '{name}' does not exist")))?;
        if elsewhere && !found.shared {
            return Err(Fault::internal(format!("can't clone to non-shared storage '{name}'")));
        }
    }
    for (_, text) in drives {
        let own = volume_of(text).split(':').next().unwrap_or_default();
        let place = storage.unwrap_or(own);
        call.need(&format!("/storage/{place}"), "Datastore.AllocateSpace")?;
        let is_shared = cluster.storage(own).is_some_and(|storage| storage.shared);
        if elsewhere && !is_shared {
            let node = call.text("target").unwrap_or_default();
            return Err(Fault::internal(format!(
                "can't clone VM to node '{node}' (VM uses local storage)"
            )));
        }
    }
    Ok(())
}

/// Gives the copy volumes and addresses of its own.
fn copy_drives(
    estate: &mut Estate,
    copy: &Copy,
    config: &mut Map<String, Value>,
    drives: Vec<(String, String)>,
) -> Result<(), String> {
    let Copy { at, target, newid, kind, full, storage } = copy;
    for (disk, text) in drives {
        let old = volume_of(&text).to_owned();
        let own = old.split(':').next().unwrap_or_default().to_owned();
        let place = storage.clone().unwrap_or(own);
        let new = disks::allocate(estate, *at, *target, &place, *newid, *kind, size_of(&text))?;
        let new = if *full { new } else { hang_on(estate, *at, &old, &new) };
        config.insert(disk, json!(text.replacen(&old, &new, 1)));
    }
    let others: Vec<(String, String)> = config
        .iter()
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect();
    for (key, text) in others {
        if text.contains("-cloudinit") {
            let own = volume_of(&text).split(':').next().unwrap_or_default();
            let place = storage.as_deref().unwrap_or(own);
            let drive = format!("{place}:cloudinit");
            let made = disks::materialize(estate, *at, *target, *newid, *kind, &drive)?;
            config.insert(key, json!(made));
        } else if key.starts_with("net") {
            config.insert(key, json!(disks::with_mac(&without_mac(&text, *kind), *kind)));
        }
    }
    Ok(())
}

/// Names a linked clone's volume after the one that it hangs on.
fn hang_on(estate: &mut Estate, at: usize, base: &str, made: &str) -> String {
    let (_, short) = made.split_once(':').unwrap_or_default();
    let linked = format!("{base}/{short}");
    let storages = estate.clusters[at].storages.iter_mut();
    for volume in storages.flat_map(|storage| storage.volumes.iter_mut()) {
        if volume.volid == made {
            volume.volid.clone_from(&linked);
        }
    }
    linked
}

/// A network device as it was before it had an address.
fn without_mac(text: &str, kind: GuestKind) -> String {
    let parts = text.split(',').enumerate().filter_map(|(at, part)| match (kind, at) {
        (Qemu, 0) => part.split('=').next(),
        (Lxc, _) if part.starts_with("hwaddr=") => None,
        _ => Some(part),
    });
    parts.collect::<Vec<_>>().join(",")
}
