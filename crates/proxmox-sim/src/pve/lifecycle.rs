//! Guests move and go: migrate, destroy, turn into templates.

use serde_json::{Map, Value, json};

use crate::call::{Call, Handlers};
use crate::http::{Answer, Fault, data};
use crate::state::guest::{Quirk, size_of, volume_of};
use crate::state::{Cluster, Estate, Guest, GuestKind, Outcome, Plan, Volume};

use GuestKind::{Lxc, Qemu};

pub(super) const HANDLERS: Handlers = &[
    ("DELETE", "/nodes/{node}/qemu/{vmid}", |call| destroy(call, Qemu)),
    ("DELETE", "/nodes/{node}/lxc/{vmid}", |call| destroy(call, Lxc)),
    ("GET", "/nodes/{node}/qemu/{vmid}/migrate", conditions),
    ("GET", "/nodes/{node}/lxc/{vmid}/migrate", container_conditions),
    ("POST", "/nodes/{node}/qemu/{vmid}/migrate", |call| migrate(call, Qemu)),
    ("POST", "/nodes/{node}/lxc/{vmid}/migrate", |call| migrate(call, Lxc)),
    ("POST", "/nodes/{node}/qemu/{vmid}/template", |call| template(call, Qemu)),
    ("POST", "/nodes/{node}/lxc/{vmid}/template", |call| template(call, Lxc)),
];

pub(super) fn task(kind: GuestKind, qemu: &'static str, lxc: &'static str) -> &'static str {
    if kind == Qemu { qemu } else { lxc }
}

fn destroy(call: &mut Call<'_>, kind: GuestKind) -> Answer {
    let vmid = call.kind(kind)?;
    let purge = call.flag("purge") == Some(true);
    let force = call.flag("force") == Some(true) && kind == Lxc;
    let stray = call.flag("destroy-unreferenced-disks") == Some(true);
    let cluster = call.cluster();
    let guest = &cluster.guests[&vmid];
    let short = kind.short();
    if guest.flag("protection") {
        return Err(Fault::internal(format!(
            "can't remove {short} {vmid} - protection mode enabled"
        )));
    }
    if let Some(lock) = guest.lock() {
        return Err(Fault::internal(format!("{short} is locked ({lock})")));
    }
    if !purge {
        if cluster.managed(guest).is_some() {
            return Err(Fault::internal(format!(
                "unable to remove {short} {vmid} - used in HA resources and purge parameter not set."
            )));
        }
        let is_of_guest = |job: &&Map<String, Value>| job.get("guest") == Some(&json!(vmid));
        if let Some(job) = cluster.replication.iter().find(is_of_guest) {
            let id = job.get("id").and_then(Value::as_str).unwrap_or_default();
            return Err(Fault::internal(format!(
                "There is a replication job '{id}' for guest '{vmid}' - Please remove that first."
            )));
        }
    }
    if guest.running() && !force {
        return Err(Fault::internal(format!("{short} {vmid} is running - destroy failed")));
    }
    if let Some(base) = linked(cluster, guest) {
        return Err(Fault::internal(format!(
            "base volume '{base}' is still in use by linked cloned"
        )));
    }
    let lines = if purge {
        vec![format!("purging {short} {vmid} from related configurations..")]
    } else {
        Vec::new()
    };
    let (home, at, node, user) = (call.pve(), call.home, call.node, call.who.to_string());
    let plan = Plan::new(task(kind, "qmdestroy", "vzdestroy"), vmid, 1500.0, move |estate| {
        remove(&mut estate.clusters[at], vmid, stray);
        if purge {
            forget(&mut estate.clusters[at], vmid);
        }
        Outcome::ok()
    });
    data(call.estate.start_task(home, node, &user, plan.lines(lines)))
}

/// Takes a guest away with the volumes that its configuration names, and with `stray` those that
/// only bear its id.
fn remove(cluster: &mut Cluster, vmid: u32, stray: bool) {
    let Some(guest) = cluster.guests.remove(&vmid) else { return };
    let named = |volid: &str| {
        let snapshots = guest.snapshots.iter().flat_map(|snapshot| snapshot.config.values());
        let mut values = guest.config.values().chain(snapshots).filter_map(Value::as_str);
        values.any(|text| volume_of(text) == volid)
    };
    for storage in &mut cluster.storages {
        let goes = |volume: &Volume| {
            volume.vmid == Some(vmid)
                && volume.content != "backup"
                && (stray || named(&volume.volid))
        };
        let gone: Vec<(usize, u64)> = storage
            .volumes
            .iter()
            .filter(|volume| goes(volume))
            .map(|volume| (volume.node.unwrap_or(0), volume.size / 20))
            .collect();
        storage.volumes.retain(|volume| !goes(volume));
        for (node, size) in gone {
            storage.add_used(node, -(size as i64));
        }
    }
}

/// Takes a guest out of everything that names it.
fn forget(cluster: &mut Cluster, vmid: u32) {
    for prefix in ["vm", "ct"] {
        cluster.ha.resources.remove(&format!("{prefix}:{vmid}"));
    }
    cluster.replication.retain(|job| job.get("guest") != Some(&json!(vmid)));
    for job in &mut cluster.backup_jobs {
        for key in ["vmid", "exclude"] {
            if let Some(list) = job.get(key).and_then(Value::as_str) {
                let kept: Vec<&str> =
                    list.split(',').filter(|id| *id != vmid.to_string()).collect();
                let kept = json!(kept.join(","));
                job.insert(key.to_owned(), kept);
            }
        }
    }
    // A job that named this guest alone goes with it.
    cluster.backup_jobs.retain(|job| job.get("vmid") != Some(&json!("")));
}

/// A base volume of a template that clones still hang on.
fn linked(cluster: &Cluster, template: &Guest) -> Option<String> {
    if !template.template() {
        return None;
    }
    let bases = template.volumes();
    let others = cluster.guests.values().filter(|guest| guest.vmid != template.vmid);
    let used: Vec<String> = others.flat_map(Guest::volumes).collect();
    bases.into_iter().find(|base| used.iter().any(|volume| volume.starts_with(&format!("{base}/"))))
}

/// Whether a guest has disks on storage that only its node has.
fn local_disks(estate: &Estate, at: usize, guest: &Guest) -> Vec<(String, String)> {
    let cluster = &estate.clusters[at];
    let local = |text: &str| {
        let name = volume_of(text).split(':').next().unwrap_or_default();
        cluster.storage(name).is_some_and(|storage| !storage.shared)
    };
    guest.disks().into_iter().filter(|(_, text)| local(text)).collect()
}

fn conditions(call: &mut Call<'_>) -> Answer {
    let vmid = call.kind(Qemu)?;
    let cluster = call.cluster();
    let guest = &cluster.guests[&vmid];
    let local: Vec<Value> = local_disks(call.estate, call.home, guest)
        .iter()
        .map(|(key, text)| {
            json!({
                "drivename": key, "volid": volume_of(text), "size": size_of(text), "cdrom": 0, "shared": 0, "replicate": 1,
                "is_attached": 1, "is_unused": 0, "is_vmstate": 0, "is_cloudinit": 0, "is_tpmstate": 0,
            })
        })
        .collect();
    let resources: Vec<&String> = guest
        .config
        .keys()
        .filter(|key| key.starts_with("hostpci") || key.starts_with("usb"))
        .collect();
    let (allowed, refused) = takers(cluster, guest);
    data(json!({
        "running": i32::from(guest.running()), "local_disks": local, "local_resources": resources, "mapped-resources": [],
        "mapped-resource-info": {}, "allowed_nodes": allowed, "not_allowed_nodes": refused, "has-dbus-vmstate": 1,
    }))
}

/// The nodes that could take a guest, and why the others cannot.
fn takers(cluster: &Cluster, guest: &Guest) -> (Vec<String>, Map<String, Value>) {
    let mut allowed = Vec::new();
    let mut refused = Map::new();
    for (at, node) in cluster.nodes.iter().enumerate() {
        if at == guest.node || !node.online {
            continue;
        }
        match cluster.barred.get(&node.name) {
            Some(storage) => {
                refused.insert(node.name.clone(), json!({"unavailable_storages": [storage]}));
            }
            None => allowed.push(node.name.clone()),
        }
    }
    (allowed, refused)
}

fn container_conditions(call: &mut Call<'_>) -> Answer {
    let vmid = call.kind(Lxc)?;
    let cluster = call.cluster();
    let guest = &cluster.guests[&vmid];
    let (allowed, refused) = takers(cluster, guest);
    data(json!({
        "running": i32::from(guest.running()), "allowed-nodes": allowed, "not-allowed-nodes": refused,
    }))
}

fn migrate(call: &mut Call<'_>, kind: GuestKind) -> Answer {
    let vmid = call.kind(kind)?;
    let (home, at, node, user) = (call.pve(), call.home, call.node, call.who.to_string());
    let wanted = call.text("target").unwrap_or_default().to_owned();
    let cluster = call.cluster();
    let target = cluster
        .node(&wanted)
        .ok_or_else(|| Fault::param("target", format!("no such cluster node '{wanted}'")))?;
    if target == node {
        return Err(Fault::param("target", "target is local node."));
    }
    if !cluster.nodes[target].online {
        return Err(Fault::internal(format!("node '{wanted}' is not online")));
    }
    let guest = &cluster.guests[&vmid];
    let running = guest.running();
    let address = cluster.nodes[target].address.clone();
    if let Some(sid) = cluster.managed(guest) {
        let line = format!("Requesting HA migration for {} {vmid} to node {wanted}", kind.short());
        let plan = Plan::new("hamigrate", vmid, 400.0, move |estate| {
            estate.after(2500.0, move |estate| {
                if estate.clusters[at].ha.resources.contains_key(&sid) {
                    let plan = moving(estate, at, vmid, kind, target, &address);
                    estate.start_task(home, node, "root@pam", plan);
                }
            });
            Outcome::ok()
        });
        return data(call.estate.start_task(home, node, &user, plan.lines(vec![line])));
    }
    if let Some(lock) = guest.lock() {
        return Err(Fault::internal(format!("{} is locked ({lock})", kind.short())));
    }
    if running && kind == Qemu && call.flag("online") != Some(true) {
        return Err(Fault::internal("can't migrate running VM without --online"));
    }
    if running && kind == Lxc && call.flag("restart") != Some(true) {
        return Err(Fault::internal(
            "can't migrate running container without --online or --restart",
        ));
    }
    let local = local_disks(call.estate, at, guest);
    let plan = if running
        && kind == Qemu
        && !local.is_empty()
        && call.flag("with-local-disks") != Some(true)
    {
        let lines = vec![format!("starting migration of VM {vmid} to node '{wanted}' ({address})")];
        Plan::new("qmigrate", vmid, 800.0, |_| {
            Outcome::fail("Problem found while scanning volumes - can't live migrate attached local disks without with-local-disks option")
        })
        .lines(lines)
    } else {
        moving(call.estate, at, vmid, kind, target, &address)
    };
    data(call.estate.start_task(home, node, &user, plan))
}

/// The task that moves a guest.
fn moving(
    estate: &Estate,
    at: usize,
    vmid: u32,
    kind: GuestKind,
    target: usize,
    address: &str,
) -> Plan {
    let time = crate::clock::utc(estate.seconds(), "%Y-%m-%d %H:%M:%S");
    let cluster = &estate.clusters[at];
    let name = &cluster.nodes[target].name;
    let short = kind.short();
    let mut lines =
        vec![format!("{time} starting migration of {short} {vmid} to node '{name}' ({address})")];
    if let Some(guest) = cluster.guests.get(&vmid) {
        for (_, text) in local_disks(estate, at, guest) {
            lines.push(format!("{time} found local disk '{}' (attached)", volume_of(&text)));
            lines.push(format!("{time} copying local disk images"));
        }
    }
    lines.push(format!("{time} migration finished successfully (duration 00:00:06)"));
    Plan::new(task(kind, "qmigrate", "vzmigrate"), vmid, 6000.0, move |estate| {
        let cluster = &mut estate.clusters[at];
        if let Some(guest) = cluster.guests.get_mut(&vmid) {
            guest.node = target;
            let volumes = guest.volumes();
            for storage in cluster.storages.iter_mut().filter(|storage| !storage.shared) {
                for volume in
                    storage.volumes.iter_mut().filter(|volume| volumes.contains(&volume.volid))
                {
                    volume.node = Some(target);
                }
            }
        }
        Outcome::ok()
    })
    .lines(lines)
    .lock(vmid, "migrate")
}

fn template(call: &mut Call<'_>, kind: GuestKind) -> Answer {
    let vmid = call.kind(kind)?;
    let guest = &call.cluster().guests[&vmid];
    let short = kind.short();
    if guest.running() {
        return Err(Fault::internal(format!(
            "you can't convert a {short} to template if {short} is running"
        )));
    }
    if guest.template() {
        return Err(Fault::internal(format!(
            "you can't convert a template to a template ({short} {vmid})"
        )));
    }
    if !guest.snapshots.is_empty() {
        return Err(Fault::internal("you can't convert a VM to template if it has snapshots"));
    }
    let (home, at, node, user) = (call.pve(), call.home, call.node, call.who.to_string());
    let plan = Plan::new(task(kind, "qmtemplate", "vztemplate"), vmid, 900.0, move |estate| {
        let cluster = &mut estate.clusters[at];
        if let Some(guest) = cluster.guests.get_mut(&vmid) {
            guest.config.insert("template".to_owned(), json!(1));
            guest.quirk = Quirk::None;
            for (key, text) in guest.disks() {
                let old = volume_of(&text).to_owned();
                let new = old.replace(&format!("vm-{vmid}-"), &format!("base-{vmid}-"));
                guest.config.insert(key, json!(text.replacen(&old, &new, 1)));
                let volumes =
                    cluster.storages.iter_mut().flat_map(|storage| storage.volumes.iter_mut());
                for volume in volumes.filter(|volume| volume.volid == old) {
                    volume.volid.clone_from(&new);
                }
            }
        }
        Outcome::ok()
    });
    data(call.estate.start_task(home, node, &user, plan))
}
