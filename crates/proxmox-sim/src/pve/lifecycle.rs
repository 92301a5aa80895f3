//! Guests come and go: create, clone, migrate, destroy, turn into templates.

use serde_json::{Map, Value, json};

use super::{config, disks};
use crate::call::{Call, Handlers};
use crate::http::{Answer, Fault, data};
use crate::state::guest::{Quirk, size_of, volume_of};
use crate::state::{Estate, Guest, GuestKind, Outcome, Plan};

use GuestKind::{Lxc, Qemu};

pub(super) const HANDLERS: Handlers = &[
    ("POST", "/nodes/{node}/qemu", |call| create(call, Qemu)),
    ("POST", "/nodes/{node}/lxc", |call| create(call, Lxc)),
    ("DELETE", "/nodes/{node}/qemu/{vmid}", |call| destroy(call, Qemu)),
    ("DELETE", "/nodes/{node}/lxc/{vmid}", |call| destroy(call, Lxc)),
    ("POST", "/nodes/{node}/qemu/{vmid}/clone", |call| clone(call, Qemu)),
    ("POST", "/nodes/{node}/lxc/{vmid}/clone", |call| clone(call, Lxc)),
    ("GET", "/nodes/{node}/qemu/{vmid}/migrate", conditions),
    ("POST", "/nodes/{node}/qemu/{vmid}/migrate", |call| migrate(call, Qemu)),
    ("POST", "/nodes/{node}/lxc/{vmid}/migrate", |call| migrate(call, Lxc)),
    ("POST", "/nodes/{node}/qemu/{vmid}/template", |call| template(call, Qemu)),
    ("POST", "/nodes/{node}/lxc/{vmid}/template", |call| template(call, Lxc)),
];

/// Parameters of creation that are not configuration.
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

fn task(kind: GuestKind, qemu: &'static str, lxc: &'static str) -> &'static str {
    if kind == Qemu { qemu } else { lxc }
}

fn taken(call: &Call<'_>, vmid: u32, kind: GuestKind) -> Option<Fault> {
    let cluster = call.cluster();
    let found = cluster.guests.get(&vmid)?;
    let node = &cluster.nodes[found.node].name;
    let (short, there) = (kind.short(), found.kind.short());
    Some(Fault::internal(format!(
        "unable to create {short} {vmid} - {there} {vmid} already exists on node '{node}'"
    )))
}

fn create(call: &mut Call<'_>, kind: GuestKind) -> Answer {
    let vmid = call.int("vmid").unwrap_or(0) as u32;
    let pool = call.text("pool").map(str::to_owned);
    let allowed = call.may(&format!("/vms/{vmid}"), "VM.Allocate")
        || pool.as_ref().is_some_and(|pool| call.may(&format!("/pool/{pool}"), "VM.Allocate"));
    if !allowed {
        return Err(Fault::new(403, format!("Permission check failed (/vms/{vmid}, VM.Allocate)")));
    }
    if let Some(fault) = taken(call, vmid, kind) {
        return Err(fault);
    }
    if !call.cluster().quorate {
        return Err(Fault::internal("unable to create VM - no quorum?"));
    }
    if let Some(pool) = &pool
        && !call.cluster().pools.contains_key(pool)
    {
        return Err(Fault::internal(format!("pool '{pool}' does not exist")));
    }
    let mut params: Map<String, Value> = call
        .params
        .iter()
        .filter(|(key, _)| !CONTROLS.contains(&key.as_str()))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    if kind == Lxc {
        let default = call.text("storage").unwrap_or("local-lvm");
        params.entry("rootfs").or_insert_with(|| json!(format!("{default}:4")));
        params.entry("memory").or_insert(json!(512));
        params.entry("swap").or_insert(json!(512));
        params.entry("arch").or_insert(json!("amd64"));
        params.entry("hostname").or_insert_with(|| json!(format!("CT{vmid}")));
        params.entry("ostype").or_insert(json!("debian"));
    }
    let start = call.flag("start") == Some(true);
    let (home, at, node, user) = (call.pve(), call.home, call.node, call.who.to_string());
    let seconds = call.estate.seconds();
    // The id is taken from the first moment on.
    let mut first = Map::new();
    first.insert("lock".to_owned(), json!("create"));
    let mut guest = Guest::new(vmid, kind, node, first);
    guest.pool = pool;
    call.cluster_mut().guests.insert(vmid, guest);
    let plan = Plan::new(task(kind, "qmcreate", "vzcreate"), vmid, 2000.0, move |estate| {
        let mut lines = Vec::new();
        let mut made = Map::new();
        for (key, value) in params {
            let mut value = config::stored(&key, value, kind);
            if let Some(text) = value.as_str()
                && config::privilege(&key) == "VM.Config.Disk"
            {
                match disks::materialize(estate, at, node, vmid, kind, text) {
                    Ok(disk) => {
                        lines.push(format!("{key}: successfully created disk '{disk}'"));
                        value = json!(disk);
                    }
                    Err(cause) => {
                        estate.clusters[at].guests.remove(&vmid);
                        let short = kind.short();
                        return Outcome {
                            lines,
                            result: Err(format!("unable to create {short} {vmid} - {cause}")),
                        };
                    }
                }
            }
            made.insert(key, value);
        }
        if kind == Qemu {
            made.entry("boot").or_insert(json!(""));
            made.entry("smbios1")
                .or_insert_with(|| json!(format!("uuid={}", uuid::Uuid::new_v4())));
            made.entry("vmgenid").or_insert_with(|| json!(uuid::Uuid::new_v4().to_string()));
            made.insert("meta".to_owned(), json!(format!("creation-qemu=10.0.2,ctime={seconds}")));
        }
        let now = estate.now;
        if let Some(guest) = estate.clusters[at].guests.get_mut(&vmid) {
            guest.config = made;
            guest.addresses = vec![format!("10.40.99.{}", vmid % 250)];
            guest.agent_answers = false;
            if start {
                guest.starts(now);
            }
        }
        Outcome::with(lines)
    });
    data(call.estate.start_task(home, node, &user, plan))
}

fn destroy(call: &mut Call<'_>, kind: GuestKind) -> Answer {
    let vmid = call.kind(kind)?;
    let purge = call.flag("purge") == Some(true);
    let force = call.flag("force") == Some(true) && kind == Lxc;
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
    if let Some(sid) = cluster.managed(guest)
        && !purge
    {
        let text = format!(
            "unable to remove {short} {} - used in HA resources and purge parameter not set.",
            sid.split(':').nth(1).unwrap_or_default()
        );
        return Err(Fault::internal(text));
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
        let cluster = &mut estate.clusters[at];
        if let Some(guest) = cluster.guests.remove(&vmid) {
            let sid = crate::state::cluster::sid(&guest);
            cluster.ha.resources.remove(&sid);
        }
        for storage in &mut cluster.storages {
            storage
                .volumes
                .retain(|volume| volume.vmid != Some(vmid) || volume.content == "backup");
        }
        if purge {
            for job in &mut cluster.backup_jobs {
                if let Some(list) = job.get("vmid").and_then(Value::as_str) {
                    let kept: Vec<&str> =
                        list.split(',').filter(|id| *id != vmid.to_string()).collect();
                    let kept = json!(kept.join(","));
                    job.insert("vmid".to_owned(), kept);
                }
            }
        }
        Outcome::ok()
    });
    data(call.estate.start_task(home, node, &user, plan.lines(lines)))
}

/// A base volume of a template that clones still hang on.
fn linked(cluster: &crate::state::Cluster, template: &Guest) -> Option<String> {
    if !template.template() {
        return None;
    }
    let bases = template.volumes();
    let others = cluster.guests.values().filter(|guest| guest.vmid != template.vmid);
    let used: Vec<String> = others.flat_map(Guest::volumes).collect();
    bases.into_iter().find(|base| used.iter().any(|volume| volume.starts_with(&format!("{base}/"))))
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
    let pool = call.text("pool").map(str::to_owned).or_else(|| guest.pool.clone());
    let key = if kind == Qemu { "name" } else { "hostname" };
    let name = call
        .text(key)
        .map_or_else(|| format!("Copy-of-{}-{}", kind.short(), guest.name()), str::to_owned);
    let description = call.text("description").map(str::to_owned);
    let mut draft = Guest::new(newid, kind, target, Map::new());
    draft.pool = pool;
    draft.config.insert("lock".to_owned(), json!("clone"));
    let disks_: Vec<(String, String)> = guest.disks();
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
    let plan = Plan::new(task(kind, "qmclone", "vzclone"), vmid, ms, move |estate| {
        source.shift_remove("lock");
        source.shift_remove("template");
        source.insert(key.to_owned(), json!(name));
        if let Some(text) = description {
            source.insert("description".to_owned(), json!(text));
        }
        if kind == Qemu {
            source.insert("smbios1".to_owned(), json!(format!("uuid={}", uuid::Uuid::new_v4())));
            source.insert("vmgenid".to_owned(), json!(uuid::Uuid::new_v4().to_string()));
        }
        for (disk, text) in disks_ {
            let old = volume_of(&text).to_owned();
            let place = storage
                .clone()
                .unwrap_or_else(|| old.split(':').next().unwrap_or_default().to_owned());
            match disks::allocate(estate, at, target, &place, newid, kind, size_of(&text)) {
                Ok(new) => {
                    let new = if full {
                        new
                    } else {
                        format!("{old}/{}", new.split(':').nth(1).unwrap_or_default())
                    };
                    source.insert(disk, json!(text.replacen(&old, &new, 1)));
                }
                Err(cause) => {
                    estate.clusters[at].guests.remove(&newid);
                    return Outcome::fail(format!("clone failed: {cause}"));
                }
            }
        }
        if let Some(guest) = estate.clusters[at].guests.get_mut(&newid) {
            guest.config = source;
            guest.addresses = vec![format!("10.40.98.{}", newid % 250)];
        }
        Outcome::ok()
    });
    data(call.estate.start_task(home, node, &user, plan.lines(lines).lock(vmid, "clone")))
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
    let others =
        cluster.nodes.iter().enumerate().filter(|(at, node)| *at != guest.node && node.online);
    let allowed: Vec<&str> = others.map(|(_, node)| node.name.as_str()).collect();
    data(json!({
        "running": i32::from(guest.running()), "local_disks": local, "local_resources": resources, "mapped-resources": [],
        "mapped-resource-info": {}, "allowed_nodes": allowed, "not_allowed_nodes": {}, "has-dbus-vmstate": 1,
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
