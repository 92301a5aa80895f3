//! Snapshots of guests.

use serde_json::{Map, Value, json};

use crate::call::{Call, Handlers, missing};
use crate::http::{Answer, Fault, data};
use crate::state::{Cluster, Estate, Guest, GuestKind, Outcome, Plan, Snapshot, Storage};

use GuestKind::{Lxc, Qemu};

pub(super) const HANDLERS: Handlers = &[
    ("GET", "/nodes/{node}/qemu/{vmid}/feature", |call| feature(call, Qemu)),
    ("GET", "/nodes/{node}/lxc/{vmid}/feature", |call| feature(call, Lxc)),
    ("GET", "/nodes/{node}/qemu/{vmid}/snapshot", |call| list(call, Qemu)),
    ("GET", "/nodes/{node}/lxc/{vmid}/snapshot", |call| list(call, Lxc)),
    ("POST", "/nodes/{node}/qemu/{vmid}/snapshot", |call| create(call, Qemu)),
    ("POST", "/nodes/{node}/lxc/{vmid}/snapshot", |call| create(call, Lxc)),
    ("GET", "/nodes/{node}/qemu/{vmid}/snapshot/{snapname}/config", |call| read(call, Qemu)),
    ("GET", "/nodes/{node}/lxc/{vmid}/snapshot/{snapname}/config", |call| read(call, Lxc)),
    ("PUT", "/nodes/{node}/qemu/{vmid}/snapshot/{snapname}/config", |call| describe(call, Qemu)),
    ("PUT", "/nodes/{node}/lxc/{vmid}/snapshot/{snapname}/config", |call| describe(call, Lxc)),
    ("DELETE", "/nodes/{node}/qemu/{vmid}/snapshot/{snapname}", |call| delete(call, Qemu)),
    ("DELETE", "/nodes/{node}/lxc/{vmid}/snapshot/{snapname}", |call| delete(call, Lxc)),
    ("POST", "/nodes/{node}/qemu/{vmid}/snapshot/{snapname}/rollback", |call| rollback(call, Qemu)),
    ("POST", "/nodes/{node}/lxc/{vmid}/snapshot/{snapname}/rollback", |call| rollback(call, Lxc)),
];

/// Whether a storage keeps snapshots as chains of volumes, as files and thick LVM can since 9.0.
fn is_chain(storage: &Storage) -> bool {
    storage.options.get("snapshot-as-volume-chain").is_some_and(|on| on == 1 || on == "1")
}

/// Whether all of the guest's disks can be in a snapshot.
fn can_snapshot(cluster: &Cluster, guest: &Guest) -> bool {
    guest.volumes().iter().all(|volume| {
        let storage = volume.split(':').next().and_then(|name| cluster.storage(name));
        storage.is_some_and(|storage| match storage.plugin {
            "lvmthin" | "rbd" | "zfspool" | "zfs" | "btrfs" => true,
            _ => {
                is_chain(storage)
                    || std::path::Path::new(volume).extension() == Some("qcow2".as_ref())
            }
        })
    })
}

fn feature(call: &mut Call<'_>, kind: GuestKind) -> Answer {
    let vmid = call.kind(kind)?;
    let cluster = call.cluster();
    let guest = &cluster.guests[&vmid];
    let has = match call.text("feature") {
        Some("snapshot") => can_snapshot(cluster, guest),
        _ => true,
    };
    let mut reply = json!({"hasFeature": i32::from(has)});
    if kind == Qemu {
        reply["nodes"] = cluster.nodes.iter().map(|node| json!(node.name)).collect();
    }
    data(reply)
}

fn list(call: &mut Call<'_>, kind: GuestKind) -> Answer {
    let vmid = call.kind(kind)?;
    let guest = &call.cluster().guests[&vmid];
    let mut rows: Vec<Value> = guest
        .snapshots
        .iter()
        .map(|snapshot| {
            let mut row = json!({
                "name": snapshot.name, "description": snapshot.description, "snaptime": snapshot.time,
            });
            if kind == Qemu {
                row["vmstate"] = json!(i32::from(snapshot.vmstate));
            }
            if let Some(parent) = &snapshot.parent {
                row["parent"] = json!(parent);
            }
            row
        })
        .collect();
    let mut current = json!({
        "name": "current", "description": "You are here!", "digest": guest.digest(),
        "running": i32::from(guest.running()),
    });
    if let Some(parent) = &guest.parent {
        current["parent"] = json!(parent);
    }
    rows.push(current);
    data(rows)
}

fn find<'a>(guest: &'a Guest, name: &str) -> Result<&'a Snapshot, Fault> {
    let found = guest.snapshots.iter().find(|snapshot| snapshot.name == name);
    found.ok_or_else(|| Fault::internal(format!("snapshot '{name}' does not exist")))
}

fn read(call: &mut Call<'_>, kind: GuestKind) -> Answer {
    let vmid = call.kind(kind)?;
    let snapshot = find(&call.cluster().guests[&vmid], call.arg("snapname"))?;
    let mut config: Map<String, Value> = snapshot.config.clone();
    config.insert("snaptime".to_owned(), json!(snapshot.time));
    if !snapshot.description.is_empty() {
        config.insert("description".to_owned(), json!(snapshot.description));
    }
    data(Value::Object(config))
}

fn describe(call: &mut Call<'_>, kind: GuestKind) -> Answer {
    let vmid = call.kind(kind)?;
    let name = call.arg("snapname").to_owned();
    find(&call.cluster().guests[&vmid], &name)?;
    let text = call.text("description").map(str::to_owned);
    let guest = call.cluster_mut().guests.get_mut(&vmid);
    let snapshot =
        guest.and_then(|guest| guest.snapshots.iter_mut().find(|found| found.name == name));
    if let (Some(snapshot), Some(text)) = (snapshot, text) {
        snapshot.description = text;
    }
    data(Value::Null)
}

/// A task that fails before it has begun.
fn refused(kind: &'static str, vmid: u32, cause: impl Into<String>) -> Plan {
    let cause = cause.into();
    Plan::new(kind, vmid, 60.0, move |_| Outcome::fail(cause))
}

/// The guest's disks as lines of a log.
fn disk_lines(guest: &Guest, word: &str) -> Vec<String> {
    let disks = guest.disks().into_iter();
    disks
        .map(|(key, text)| {
            format!("{word} 'drive-{key}' ({})", crate::state::guest::volume_of(&text))
        })
        .collect()
}

fn create(call: &mut Call<'_>, kind: GuestKind) -> Answer {
    let vmid = call.vmid();
    let (home, node) = (call.pve(), call.node);
    let name = call.text("snapname").unwrap_or_default().to_owned();
    let description = call.text("description").unwrap_or_default().to_owned();
    let vmstate = call.flag("vmstate") == Some(true);
    if name == "current" || name == "pending" {
        return Err(Fault::internal(format!(
            "unable to use snapshot name '{name}' (reserved name)"
        )));
    }
    let task = if kind == Qemu { "qmsnapshot" } else { "vzsnapshot" };
    let user = call.who.to_string();
    let at = call.home;
    let cluster = call.cluster();
    let plan = match cluster.guest_on(vmid, kind, node) {
        None => refused(task, vmid, missing(&cluster.nodes[node].name, kind, vmid)),
        Some(guest) => {
            if let Some(lock) = guest.lock() {
                refused(task, vmid, format!("{} is locked ({lock})", kind.short()))
            } else if guest.snapshots.iter().any(|snapshot| snapshot.name == name) {
                refused(task, vmid, format!("snapshot name '{name}' already used"))
            } else if !can_snapshot(cluster, guest) {
                refused(task, vmid, "snapshot feature is not available")
            } else {
                let lines = disk_lines(guest, "snapshotting");
                let running = guest.running();
                Plan::new(task, vmid, 1500.0, move |estate: &mut Estate| {
                    let time = estate.seconds();
                    if let Some(guest) = estate.clusters[at].guests.get_mut(&vmid) {
                        let mut config = guest.config.clone();
                        config.shift_remove("lock");
                        let parent = guest.parent.replace(name.clone());
                        guest.snapshots.push(Snapshot {
                            name,
                            description,
                            time,
                            parent,
                            vmstate: vmstate && running,
                            config,
                        });
                    }
                    Outcome::ok()
                })
                .lines(lines)
                .lock(vmid, "snapshot")
            }
        }
    };
    data(call.estate.start_task(home, node, &user, plan))
}

fn delete(call: &mut Call<'_>, kind: GuestKind) -> Answer {
    let vmid = call.vmid();
    let (home, node, at) = (call.pve(), call.node, call.home);
    let name = call.arg("snapname").to_owned();
    let task = if kind == Qemu { "qmdelsnapshot" } else { "vzdelsnapshot" };
    let user = call.who.to_string();
    let cluster = call.cluster();
    let plan = match cluster.guest_on(vmid, kind, node) {
        None => refused(task, vmid, missing(&cluster.nodes[node].name, kind, vmid)),
        Some(guest) => match (find(guest, &name), guest.lock()) {
            (Err(fault), _) => refused(task, vmid, fault.message),
            (_, Some(lock)) => refused(task, vmid, format!("{} is locked ({lock})", kind.short())),
            (Ok(_), None) => Plan::new(task, vmid, 1500.0, move |estate: &mut Estate| {
                if let Some(guest) = estate.clusters[at].guests.get_mut(&vmid) {
                    let gone = guest.snapshots.iter().position(|snapshot| snapshot.name == name);
                    let parent = gone.and_then(|gone| guest.snapshots.remove(gone).parent);
                    for snapshot in &mut guest.snapshots {
                        if snapshot.parent.as_deref() == Some(&name) {
                            snapshot.parent.clone_from(&parent);
                        }
                    }
                    if guest.parent.as_deref() == Some(&name) {
                        guest.parent = parent;
                    }
                }
                Outcome::ok()
            })
            .lock(vmid, "snapshot-delete"),
        },
    };
    data(call.estate.start_task(home, node, &user, plan))
}

/// A volume whose storage goes back to its newest snapshot only, where this one is not it.
fn newer_in_the_way(cluster: &Cluster, guest: &Guest, snapshot: &Snapshot) -> Option<String> {
    let volume = guest.volumes().into_iter().find(|volume| {
        let storage = volume.split(':').next().and_then(|name| cluster.storage(name));
        storage.is_some_and(|storage| {
            matches!(storage.plugin, "zfspool" | "zfs" | "lvm") || is_chain(storage)
        })
    })?;
    let newer = guest.snapshots.iter().any(|one| one.time > snapshot.time);
    newer.then_some(volume)
}

fn rollback(call: &mut Call<'_>, kind: GuestKind) -> Answer {
    let vmid = call.vmid();
    let (home, node, at) = (call.pve(), call.node, call.home);
    let name = call.arg("snapname").to_owned();
    let start = call.flag("start") == Some(true);
    let task = if kind == Qemu { "qmrollback" } else { "vzrollback" };
    let user = call.who.to_string();
    let cluster = call.cluster();
    let plan = match cluster.guest_on(vmid, kind, node) {
        None => refused(task, vmid, missing(&cluster.nodes[node].name, kind, vmid)),
        Some(guest) => match (find(guest, &name), guest.lock()) {
            (Err(fault), _) => refused(task, vmid, fault.message),
            (_, Some(lock)) => refused(task, vmid, format!("{} is locked ({lock})", kind.short())),
            (Ok(snapshot), None) if newer_in_the_way(cluster, guest, snapshot).is_some() => {
                let volume = newer_in_the_way(cluster, guest, snapshot).unwrap_or_default();
                let cause = format!(
                    "can't rollback, '{}' is not most recent snapshot on '{volume}'",
                    snapshot.name
                );
                refused(task, vmid, cause)
            }
            (Ok(snapshot), None) => {
                let (config, vmstate) = (snapshot.config.clone(), snapshot.vmstate);
                Plan::new(task, vmid, 2500.0, move |estate: &mut Estate| {
                    let now = estate.now;
                    if let Some(guest) = estate.clusters[at].guests.get_mut(&vmid) {
                        guest.stops();
                        // Its notes and unused disks stay.
                        let stays = |key: &str| key == "description" || key.starts_with("unused");
                        let old = std::mem::replace(&mut guest.config, config);
                        guest.config.retain(|key, _| !stays(key));
                        guest.config.extend(old.into_iter().filter(|(key, _)| stays(key)));
                        guest.pending.clear();
                        guest.parent = Some(name);
                        if vmstate || start {
                            guest.starts(now);
                        }
                    }
                    Outcome::ok()
                })
                .lock(vmid, "rollback")
            }
        },
    };
    data(call.estate.start_task(home, node, &user, plan))
}
