//! Changes to a guest's configuration: at once, or pending while it runs.

use serde_json::{Map, Value, json};

use super::disks;
use crate::call::{Call, Handlers, missing};
use crate::http::{Answer, Fault, data};
use crate::state::guest::volume_of;
use crate::state::{Cluster, Estate, Guest, GuestKind, Outcome, Plan};

use GuestKind::{Lxc, Qemu};

pub(super) const HANDLERS: Handlers = &[
    ("PUT", "/nodes/{node}/qemu/{vmid}/config", |call| now(call, Qemu)),
    ("PUT", "/nodes/{node}/lxc/{vmid}/config", |call| now(call, Lxc)),
    ("POST", "/nodes/{node}/qemu/{vmid}/config", in_task),
];

/// Keys that a running virtual machine takes at once.
const LIVE: &[&str] = &[
    "name",
    "description",
    "tags",
    "onboot",
    "startup",
    "protection",
    "hotplug",
    "shares",
    "agent",
    "hookscript",
    "template",
    "lock",
    "boot",
    "hostname",
    "env",
];

/// Parameters that are not part of the configuration.
const CONTROLS: &[&str] = &[
    "digest",
    "delete",
    "revert",
    "skiplock",
    "force",
    "background_delay",
    "import-working-storage",
];

/// What a request wants to change.
pub(super) struct Change {
    set: Map<String, Value>,
    delete: Vec<String>,
    revert: Vec<String>,
}

fn list(call: &Call<'_>, key: &str) -> Vec<String> {
    let text = call.text(key).unwrap_or_default();
    text.split([',', ';', ' ']).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

/// The privilege that a key needs.
pub(super) fn privilege(key: &str) -> &'static str {
    let stem = key.trim_end_matches(|c: char| c.is_ascii_digit());
    match stem {
        "memory" | "balloon" | "shares" | "swap" => "VM.Config.Memory",
        "cores" | "sockets" | "cpu" | "cpulimit" | "cpuunits" | "vcpus" | "numa" => "VM.Config.CPU",
        "net" | "ipconfig" | "nameserver" | "searchdomain" | "hostname" => "VM.Config.Network",
        "scsi" | "virtio" | "sata" | "ide" | "efidisk" | "tpmstate" | "unused" | "rootfs"
        | "mp" => "VM.Config.Disk",
        "cdrom" => "VM.Config.CDROM",
        "ciuser" | "cipassword" | "cicustom" | "citype" | "ciupgrade" | "sshkeys" => {
            "VM.Config.Cloudinit"
        }
        "hostpci" | "usb" | "serial" | "machine" | "bios" | "scsihw" | "vga" | "kvm" | "arch" => {
            "VM.Config.HWType"
        }
        _ => "VM.Config.Options",
    }
}

/// Checks digest, lock and privileges, and says what to change.
fn wanted(call: &Call<'_>, vmid: u32) -> Result<Change, Fault> {
    let guest = &call.cluster().guests[&vmid];
    if let Some(digest) = call.text("digest")
        && digest != guest.digest()
    {
        return Err(Fault::internal("checksum mismatch (file change by other user?)"));
    }
    if let Some(lock) = guest.lock() {
        return Err(Fault::internal(format!("{} is locked ({lock})", guest.kind.short())));
    }
    let change = Change {
        set: call
            .params
            .iter()
            .filter(|(key, _)| !CONTROLS.contains(&key.as_str()))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect(),
        delete: list(call, "delete"),
        revert: list(call, "revert"),
    };
    for key in change.set.keys().chain(&change.delete) {
        call.need(&format!("/vms/{vmid}"), privilege(key))?;
    }
    Ok(change)
}

fn now(call: &mut Call<'_>, kind: GuestKind) -> Answer {
    let vmid = call.kind(kind)?;
    if !call.cluster().quorate {
        let node = &call.cluster().nodes[call.node].name;
        let file = format!("nodes/{node}/{}/{vmid}.conf", kind.folder());
        return Err(Fault::internal(format!(
            "unable to open file '/etc/pve/{file}.tmp.4711' - Permission denied"
        )));
    }
    let change = wanted(call, vmid)?;
    apply(call.estate, call.home, vmid, change).map_err(Fault::internal)?;
    data(Value::Null)
}

fn in_task(call: &mut Call<'_>) -> Answer {
    let vmid = call.kind(Qemu)?;
    let change = wanted(call, vmid)?;
    let shown: Vec<String> =
        change.set.iter().map(|(key, value)| format!("-{key} {}", plain(value))).collect();
    let line = format!("update VM {vmid}: {}", shown.join(" "));
    let (home, at, node, user) = (call.pve(), call.home, call.node, call.who.to_string());
    let plan =
        Plan::new("qmconfig", vmid, 300.0, move |estate| match apply(estate, at, vmid, change) {
            Ok(()) => Outcome::ok(),
            Err(cause) => Outcome::fail(cause),
        });
    data(call.estate.start_task(home, node, &user, plan.lines(vec![line])))
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The form in which a configuration stores a value.
pub(super) fn stored(key: &str, value: Value, kind: GuestKind) -> Value {
    match value {
        Value::Bool(on) => json!(i32::from(on)),
        Value::Number(number) if kind == Qemu && key == "memory" => json!(number.to_string()),
        Value::String(text) if key.starts_with("net") => json!(disks::with_mac(&text, kind)),
        Value::String(_) if key == "cipassword" => json!("**********"),
        value => value,
    }
}

/// Changes a guest, allocating disks where the values ask for new ones.
pub(super) fn apply(
    estate: &mut Estate,
    at: usize,
    vmid: u32,
    change: Change,
) -> Result<(), String> {
    let cluster = &mut estate.clusters[at];
    let Some(guest) = cluster.guests.get(&vmid) else {
        return Err(missing(&cluster.nodes[0].name, Qemu, vmid));
    };
    let (kind, running, node) = (guest.kind, guest.running(), guest.node);
    for (key, value) in change.set {
        let mut value = stored(&key, value, kind);
        if let Some(text) = value.as_str()
            && privilege(&key) == "VM.Config.Disk"
        {
            value = json!(disks::materialize(estate, at, node, vmid, kind, text)?);
        }
        let Some(guest) = estate.clusters[at].guests.get_mut(&vmid) else { continue };
        put(guest, &key, value, running);
    }
    for key in change.delete {
        detach(&mut estate.clusters[at], vmid, &key);
        let Some(guest) = estate.clusters[at].guests.get_mut(&vmid) else { return Ok(()) };
        if running && !LIVE.contains(&key.as_str()) && guest.config.contains_key(&key) {
            guest.pending.insert(key, Value::Null);
        } else {
            guest.config.shift_remove(&key);
            guest.pending.shift_remove(&key);
        }
    }
    let Some(guest) = estate.clusters[at].guests.get_mut(&vmid) else { return Ok(()) };
    for key in change.revert {
        guest.pending.shift_remove(&key);
    }
    Ok(())
}

/// What becomes of a volume whose key is deleted: a disk stays as an unused one, and an unused one
/// is destroyed. Disks of machines go at once, hot-unplugged.
fn detach(cluster: &mut Cluster, vmid: u32, key: &str) {
    let Some(guest) = cluster.guests.get_mut(&vmid) else { return };
    if privilege(key) != "VM.Config.Disk" {
        return;
    }
    let Some(text) = guest.text(key).map(str::to_owned) else { return };
    guest.config.shift_remove(key);
    let volume = volume_of(&text).to_owned();
    if key.starts_with("unused") {
        for storage in &mut cluster.storages {
            storage.volumes.retain(|one| one.volid != volume);
        }
    } else if !text.contains("media=cdrom") {
        let mut names = (0..256).map(|n| format!("unused{n}"));
        let free = names.find(|name| !guest.config.contains_key(name)).unwrap_or_default();
        guest.config.insert(free, json!(volume));
    }
}

fn put(guest: &mut Guest, key: &str, value: Value, running: bool) {
    if running && !LIVE.contains(&key) {
        guest.pending.insert(key.to_owned(), value);
    } else {
        guest.pending.shift_remove(key);
        guest.config.insert(key.to_owned(), value);
    }
}
