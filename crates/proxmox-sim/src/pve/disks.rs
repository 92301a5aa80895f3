//! Disks: allocated from `STORAGE:SIZE`, grown, moved.

use serde_json::json;

use crate::call::{Call, Handlers};
use crate::http::{Answer, Fault, data};
use crate::state::guest::{parse_size, show_size, size_of, volume_of};
use crate::state::{Estate, GuestKind, Outcome, Plan, Volume, noise};

use GuestKind::{Lxc, Qemu};

pub(super) const HANDLERS: Handlers = &[
    ("PUT", "/nodes/{node}/qemu/{vmid}/resize", |call| resize(call, Qemu)),
    ("PUT", "/nodes/{node}/lxc/{vmid}/resize", |call| resize(call, Lxc)),
    ("POST", "/nodes/{node}/qemu/{vmid}/move_disk", |call| relocate(call, Qemu)),
    ("POST", "/nodes/{node}/lxc/{vmid}/move_volume", |call| relocate(call, Lxc)),
];

/// Gives a network device an address if it has none.
pub(super) fn with_mac(text: &str, kind: GuestKind) -> String {
    let seed = text.len() as u64 * 7919 + crate::clock::now_ms() as u64;
    let n = (noise(seed) * 16_777_215.0) as u64;
    let mac = format!("BC:24:11:{:02X}:{:02X}:{:02X}", n >> 16 & 255, n >> 8 & 255, n & 255);
    if kind == Lxc {
        return if text.contains("hwaddr=") {
            text.to_owned()
        } else {
            format!("{text},hwaddr={mac}")
        };
    }
    let mut parts = text.split(',');
    let first = parts.next().unwrap_or_default();
    let first = first.strip_prefix("model=").unwrap_or(first);
    let head = if first.contains('=') { first.to_owned() } else { format!("{first}={mac}") };
    let rest: Vec<&str> = parts.collect();
    if rest.is_empty() { head } else { format!("{head},{}", rest.join(",")) }
}

/// A volume's name on a storage, the first that is free.
fn free_name(estate: &Estate, at: usize, storage: &str, vmid: u32, format: &str) -> String {
    let found = estate.clusters[at].storage(storage);
    let file = found.is_some_and(|storage| matches!(storage.plugin, "dir" | "nfs"));
    let name = |n: u32| {
        if file {
            format!("{storage}:{vmid}/vm-{vmid}-disk-{n}.{format}")
        } else {
            format!("{storage}:vm-{vmid}-disk-{n}")
        }
    };
    let taken = |volid: &String| {
        found.is_some_and(|storage| storage.volumes.iter().any(|volume| volume.volid == *volid))
    };
    (0..10_000).map(name).find(|volid| !taken(volid)).unwrap_or_default()
}

/// Adds a volume and returns its id.
pub(super) fn allocate(
    estate: &mut Estate,
    at: usize,
    node: usize,
    storage: &str,
    vmid: u32,
    kind: GuestKind,
    size: u64,
) -> Result<String, String> {
    let format = if kind == Qemu { "qcow2" } else { "raw" };
    let volid = free_name(estate, at, storage, vmid, format);
    let ctime = estate.seconds();
    let content = if kind == Qemu { "images" } else { "rootdir" };
    let found = estate.clusters[at].storage_mut(storage);
    let storage_ = found.ok_or_else(|| format!("storage '{storage}' does not exist"))?;
    if !storage_.holds(content) {
        let word = if kind == Qemu { "vm images" } else { "container directories" };
        return Err(format!("storage '{storage}' does not support {word}"));
    }
    let left = storage_.total - storage_.used_on(node);
    if size / 4 > left {
        return Err(format!("not enough space on storage '{storage}'"));
    }
    let file = matches!(storage_.plugin, "dir" | "nfs");
    storage_.volumes.push(Volume {
        volid: volid.clone(),
        node: (!storage_.shared).then_some(node),
        vmid: Some(vmid),
        content,
        format: if file { format } else { "raw" },
        size,
        ctime,
        notes: None,
        protected: false,
        verified: None,
        subtype: None,
    });
    // Thin: a new disk takes little.
    storage_.add_used(node, (size / 20) as i64);
    Ok(volid)
}

/// The image that a drive is to be made from.
pub(super) fn import_source(text: &str) -> Option<&str> {
    text.split(',').find_map(|part| part.strip_prefix("import-from="))
}

/// The size of the disk inside an image: a file of qcow2 holds less than it stands for.
fn imported(estate: &Estate, at: usize, node: usize, source: &str) -> Result<u64, String> {
    const GIB: u64 = 1 << 30;
    let size = super::create::find(estate, at, node, source)
        .ok_or_else(|| format!("volume '{source}' does not exist"))?;
    let whole = size.div_ceil(GIB) * GIB;
    Ok(if source.rsplit('.').next() == Some("raw") { whole } else { whole.max(3 * GIB) })
}

/// The drive that cloud-init reads: a tiny volume with a name of its own.
fn cloudinit(
    estate: &mut Estate,
    at: usize,
    node: usize,
    vmid: u32,
    storage: &str,
) -> Result<String, String> {
    let made = allocate(estate, at, node, storage, vmid, Qemu, 4 << 20)?;
    let volid = match made.split_once(':') {
        Some((_, path)) if path.contains('/') => {
            format!("{storage}:{vmid}/vm-{vmid}-cloudinit.qcow2")
        }
        _ => format!("{storage}:vm-{vmid}-cloudinit"),
    };
    if let Some(storage) = estate.clusters[at].storage_mut(storage) {
        storage.volumes.retain(|volume| volume.volid != volid);
        for volume in storage.volumes.iter_mut().filter(|volume| volume.volid == made) {
            volume.volid.clone_from(&volid);
        }
    }
    Ok(format!("{volid},media=cdrom,size=4M"))
}

/// Turns `STORAGE:GIBIBYTES,…` into a volume that exists, from an image if it names one, and
/// `STORAGE:cloudinit` into the drive of that; leaves other values as they are.
pub(super) fn materialize(
    estate: &mut Estate,
    at: usize,
    node: usize,
    vmid: u32,
    kind: GuestKind,
    text: &str,
) -> Result<String, String> {
    let volume = volume_of(text);
    if let Some((storage, "cloudinit")) = volume.split_once(':') {
        return cloudinit(estate, at, node, vmid, storage);
    }
    let size = volume
        .split_once(':')
        .and_then(|(storage, size)| Some((storage, size.parse::<f64>().ok()?)));
    let Some((storage, gib)) = size else { return Ok(text.to_owned()) };
    let bytes = match import_source(text) {
        Some(source) => imported(estate, at, node, source)?,
        None => (gib * (1_u64 << 30) as f64) as u64,
    };
    let volid = allocate(estate, at, node, storage, vmid, kind, bytes)?;
    let rest: Vec<&str> = text
        .split(',')
        .skip(1)
        .filter(|part| {
            !["format=", "size=", "import-from="].iter().any(|key| part.starts_with(key))
        })
        .collect();
    let mut out = volid;
    for part in rest {
        out.push(',');
        out.push_str(part);
    }
    Ok(format!("{out},size={}", show_size(bytes)))
}

/// Refuses where the caller means another configuration than there is.
fn digest_fits(call: &Call<'_>, guest: &crate::state::Guest) -> Result<(), Fault> {
    match call.text("digest") {
        Some(digest) if digest != guest.digest() => {
            Err(Fault::internal("checksum mismatch (file change by other user?)"))
        }
        _ => Ok(()),
    }
}

fn disk_key<'a>(call: &'a Call<'_>) -> &'a str {
    call.text("disk").or_else(|| call.text("volume")).unwrap_or_default()
}

/// Replaces the size in a disk's property string.
fn with_size(text: &str, bytes: u64) -> String {
    let parts = text.split(',').filter(|part| !part.starts_with("size="));
    format!("{},size={}", parts.collect::<Vec<_>>().join(","), show_size(bytes))
}

fn resize(call: &mut Call<'_>, kind: GuestKind) -> Answer {
    let vmid = call.kind(kind)?;
    let key = disk_key(call).to_owned();
    let asked = call.text("size").unwrap_or_default().to_owned();
    let guest = &call.cluster().guests[&vmid];
    if let Some(lock) = guest.lock() {
        return Err(Fault::internal(format!("{} is locked ({lock})", kind.short())));
    }
    digest_fits(call, guest)?;
    let text =
        guest.text(&key).ok_or_else(|| Fault::internal(format!("disk '{key}' does not exist")))?;
    let old = size_of(text);
    let new = match asked.strip_prefix('+') {
        Some(more) => old + parse_size(more),
        None => parse_size(&asked),
    };
    if new < old {
        return Err(Fault::internal("shrinking disks is not supported"));
    }
    let (text, volid) = (with_size(text, new), volume_of(text).to_owned());
    let (home, at, node, user) = (call.pve(), call.home, call.node, call.who.to_string());
    let plan = Plan::new("resize", vmid, 900.0, move |estate| {
        let cluster = &mut estate.clusters[at];
        if let Some(guest) = cluster.guests.get_mut(&vmid) {
            guest.config.insert(key, json!(text));
        }
        let volumes = cluster.storages.iter_mut().flat_map(|storage| storage.volumes.iter_mut());
        for volume in volumes.filter(|volume| volume.volid == volid) {
            volume.size = new;
        }
        Outcome::with(vec!["Image resized.".to_owned()])
    });
    data(call.estate.start_task(home, node, &user, plan))
}

fn relocate(call: &mut Call<'_>, kind: GuestKind) -> Answer {
    let vmid = call.kind(kind)?;
    let key = disk_key(call).to_owned();
    let target = call.text("storage").unwrap_or_default().to_owned();
    let keep = call.flag("delete") != Some(true);
    let guest = &call.cluster().guests[&vmid];
    let text = guest
        .text(&key)
        .ok_or_else(|| Fault::internal(format!("disk '{key}' does not exist")))?
        .to_owned();
    if let Some(lock) = guest.lock() {
        return Err(Fault::internal(format!("{} is locked ({lock})", kind.short())));
    }
    digest_fits(call, guest)?;
    if kind == Lxc && guest.running() {
        return Err(Fault::internal("cannot move volumes of a running container"));
    }
    let named = |value: &serde_json::Value| {
        value.as_str().is_some_and(|one| volume_of(one) == volume_of(&text))
    };
    if !keep && guest.snapshots.iter().any(|snapshot| snapshot.config.values().any(named)) {
        return Err(Fault::internal("you can't move a disk with snapshots and delete the source"));
    }
    if call.cluster().storage(&target).is_none() {
        return Err(Fault::internal(format!("storage '{target}' does not exist")));
    }
    call.need(&format!("/storage/{target}"), "Datastore.AllocateSpace")?;
    let old = volume_of(&text).to_owned();
    if old.starts_with(&format!("{target}:")) {
        return Err(Fault::internal("you can't move to the same storage with same format"));
    }
    let size = size_of(&text);
    let gib = size as f64 / (1_u64 << 30) as f64;
    let lines = vec![
        format!("create full clone of drive {key} ({old})"),
        format!("transferred 0.0 B of {gib:.1} GiB (0.00%)"),
        format!("transferred {gib:.1} GiB of {gib:.1} GiB (100.00%)"),
    ];
    let (home, at, node, user) = (call.pve(), call.home, call.node, call.who.to_string());
    let task = if kind == Qemu { "qmmove" } else { "move_volume" };
    let plan = Plan::new(task, vmid, 5000.0, move |estate| {
        let new = match allocate(estate, at, node, &target, vmid, kind, size) {
            Ok(new) => new,
            Err(cause) => return Outcome::fail(cause),
        };
        let cluster = &mut estate.clusters[at];
        if let Some(guest) = cluster.guests.get_mut(&vmid) {
            guest.config.insert(key, json!(text.replacen(&old, &new, 1)));
            if keep {
                let free = (0..100)
                    .map(|n| format!("unused{n}"))
                    .find(|name| !guest.config.contains_key(name));
                guest.config.insert(free.unwrap_or_default(), json!(old));
            }
        }
        if !keep {
            for storage in &mut cluster.storages {
                storage.volumes.retain(|volume| volume.volid != old);
            }
        }
        Outcome::ok()
    });
    data(call.estate.start_task(home, node, &user, plan.lines(lines).lock(vmid, "disk")))
}
