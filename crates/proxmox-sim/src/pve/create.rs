//! Guests come into being: from parameters, a disk image, a template.

use serde_json::{Map, Value, json};

use super::lifecycle::task;
use super::{config, disks};
use crate::call::{Call, Handlers};
use crate::http::{Answer, Fault, data, unescape};
use crate::state::guest::volume_of;
use crate::state::{Estate, Guest, GuestKind, Outcome, Plan};

use GuestKind::{Lxc, Qemu};

pub(super) const HANDLERS: Handlers = &[
    ("POST", "/nodes/{node}/qemu", |call| create(call, Qemu)),
    ("POST", "/nodes/{node}/lxc", |call| create(call, Lxc)),
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
    "import-working-storage",
];

/// How long a system needs from its start until its agent answers, milliseconds at demo pace.
pub(super) const BOOT_MS: f64 = 6000.0;

/// Makers whose cloud images bring the guest agent along.
const WITH_AGENT: &[&str] = &["rocky", "almalinux", "centos", "fedora", "opensuse"];

/// That the id is in use, if it is.
pub(super) fn taken(call: &Call<'_>, vmid: u32, kind: GuestKind) -> Option<Fault> {
    let cluster = call.cluster();
    let found = cluster.guests.get(&vmid)?;
    let node = &cluster.nodes[found.node].name;
    let (short, there) = (kind.short(), found.kind.short());
    Some(Fault::internal(format!(
        "unable to create {short} {vmid} - {there} {vmid} already exists on node '{node}'"
    )))
}

fn create(call: &mut Call<'_>, kind: GuestKind) -> Answer {
    if super::restore::is_restore(call, kind) {
        return super::restore::restore(call, kind);
    }
    let vmid = call.int("vmid").unwrap_or(0) as u32;
    let pool = call.text("pool").map(str::to_owned);
    let allowed = call.may(&format!("/vms/{vmid}"), "VM.Allocate")
        || pool.as_ref().is_some_and(|pool| call.may(&format!("/pool/{pool}"), "VM.Allocate"));
    if !allowed {
        return Err(Fault::new(403, format!("Permission check failed (/vms/{vmid}, VM.Allocate)")));
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
        container_defaults(call, vmid, &mut params)?;
    }
    keys(call)?;
    resources(call, &params)?;
    let in_pool = |privilege: &str| {
        pool.as_ref().is_some_and(|pool| call.may(&format!("/pool/{pool}"), privilege))
    };
    for key in params.keys() {
        let privilege = config::privilege(key);
        if !in_pool(privilege) {
            call.need(&format!("/vms/{vmid}"), privilege)?;
        }
    }
    if let Some(fault) = taken(call, vmid, kind) {
        return Err(fault);
    }
    if !call.cluster().quorate {
        return Err(Fault::internal("unable to create VM - no quorum?"));
    }
    if kind == Qemu && !params.contains_key("boot") {
        let order = boot_order(&params);
        params.insert("boot".to_owned(), json!(order));
    }
    let image = image(&params);
    let agent = image.is_some_and(|name| WITH_AGENT.iter().any(|maker| name.starts_with(maker)));
    let start = call.flag("start") == Some(true);
    let (home, at, node, user) = (call.pve(), call.home, call.node, call.who.to_string());
    let seconds = call.estate.seconds();
    // The id is taken from the first moment on.
    let mut first = Map::new();
    first.insert("lock".to_owned(), json!("create"));
    let mut guest = Guest::new(vmid, kind, node, first);
    guest.pool = pool;
    call.cluster_mut().guests.insert(vmid, guest);
    let boot_ms = (BOOT_MS / call.estate.speed).ceil() as i64;
    let ms = if params.values().any(is_import) { 4000.0 } else { 2000.0 };
    let plan = Plan::new(task(kind, "qmcreate", "vzcreate"), vmid, ms, move |estate| {
        let (lines, made) = match fill(estate, at, node, vmid, kind, params) {
            Ok(done) => done,
            Err(outcome) => return outcome,
        };
        let now = estate.now;
        if let Some(guest) = estate.clusters[at].guests.get_mut(&vmid) {
            guest.config = made;
            if kind == Qemu {
                let meta = format!("creation-qemu=10.0.2,ctime={seconds}");
                guest.config.insert("meta".to_owned(), json!(meta));
            }
            guest.addresses = vec![format!("10.40.99.{}", vmid % 250)];
            guest.agent_answers = agent;
            guest.boot_ms = boot_ms;
            if start {
                guest.starts(now);
            }
        }
        Outcome::with(lines)
    })
    .undo(move |estate| forget(estate, at, vmid));
    data(call.estate.start_task(home, node, &user, plan))
}

/// What a container has where nothing is said, and whether its template is there.
fn container_defaults(
    call: &Call<'_>,
    vmid: u32,
    params: &mut Map<String, Value>,
) -> Result<(), Fault> {
    let template = call.text("ostemplate").unwrap_or_default();
    if template.contains(":vztmpl/") && find(call.estate, call.home, call.node, template).is_none()
    {
        return Err(Fault::internal(format!("volume '{template}' does not exist")));
    }
    if call.flag("unprivileged") == Some(false) {
        call.need("/", "Sys.Modify")?;
    }
    let system = template.rsplit('/').next().unwrap_or_default();
    let known = ["debian", "ubuntu", "alpine", "fedora", "archlinux", "centos", "opensuse"];
    let system = known.into_iter().find(|name| system.starts_with(name)).unwrap_or("unmanaged");
    let default = call.text("storage").unwrap_or("local");
    let given = params.get("rootfs").and_then(Value::as_str);
    let rootfs = match given {
        Some(text) => text.to_owned(),
        None => format!("{default}:4"),
    };
    params.insert("rootfs".to_owned(), json!(rootfs));
    params.entry("memory").or_insert(json!(512));
    params.entry("swap").or_insert(json!(512));
    params.entry("arch").or_insert(json!("amd64"));
    params.entry("hostname").or_insert_with(|| json!(format!("CT{vmid}")));
    params.entry("ostype").or_insert(json!(system));
    params.entry("unprivileged").or_insert(json!(1));
    Ok(())
}

/// Checks the public keys as they were given: one a line.
fn keys(call: &Call<'_>) -> Result<(), Fault> {
    let given = match call.text("sshkeys") {
        Some(escaped) => unescape(escaped, false),
        None => call.text("ssh-public-keys").unwrap_or_default().to_owned(),
    };
    let known = ["ssh-", "ecdsa-", "sk-"];
    let lines = given.lines().map(str::trim).filter(|line| !line.is_empty());
    let is_key = |line: &str| {
        known.iter().any(|kind| line.starts_with(kind)) && line.split_whitespace().count() >= 2
    };
    if lines.clone().all(is_key) {
        return Ok(());
    }
    Err(Fault::internal("SSH public key validation error"))
}

/// Checks that the caller may use the storages and bridges of a configuration, and that what is to
/// be imported is an image.
pub(super) fn resources(call: &Call<'_>, params: &Map<String, Value>) -> Result<(), Fault> {
    for (key, value) in params {
        let Some(text) = value.as_str() else { continue };
        if key.starts_with("net") && key != "nested" {
            bridge(call, text)?;
        }
        if config::privilege(key) != "VM.Config.Disk" {
            continue;
        }
        let volume = volume_of(text);
        let Some((storage, rest)) = volume.split_once(':') else { continue };
        let is_new = rest == "cloudinit" || rest.parse::<f64>().is_ok();
        if is_new {
            if call.cluster().storage(storage).is_none() {
                return Err(Fault::internal(format!("storage '{storage}' does not exist")));
            }
            call.need(&format!("/storage/{storage}"), "Datastore.AllocateSpace")?;
        }
        if let Some(source) = disks::import_source(text) {
            let kind = source.split_once(':').map_or("", |(_, path)| path);
            let kind = kind.split_once('/').map_or("images", |(kind, _)| kind);
            if matches!(kind, "iso" | "vztmpl" | "backup" | "snippets") {
                let text = format!("{source} has wrong type '{kind}' - not an image");
                return Err(Fault::param(key, text));
            }
        }
    }
    Ok(())
}

/// Checks that the caller may use the bridge of a network device.
pub(super) fn bridge(call: &Call<'_>, text: &str) -> Result<(), Fault> {
    let part = |name: &str| text.split(',').find_map(|part| part.strip_prefix(name));
    let Some(bridge) = part("bridge=") else { return Ok(()) };
    let path = match part("tag=") {
        Some(tag) => format!("/sdn/zones/localnet/{bridge}/{tag}"),
        None => format!("/sdn/zones/localnet/{bridge}"),
    };
    call.need(&path, "SDN.Use")
}

fn is_import(value: &Value) -> bool {
    value.as_str().is_some_and(|text| disks::import_source(text).is_some())
}

/// The name of the image that a configuration imports.
fn image(params: &Map<String, Value>) -> Option<String> {
    let source =
        params.values().filter_map(Value::as_str).find_map(disks::import_source)?.to_lowercase();
    source.rsplit('/').next().map(str::to_owned)
}

/// The order that PVE writes where none is given: first disk, CD-ROM, network.
fn boot_order(params: &Map<String, Value>) -> String {
    let stems = ["scsi", "virtio", "sata", "ide"];
    let text = |key: &String| params[key].as_str().unwrap_or_default().to_owned();
    let is_cd = |key: &String| text(key).contains("media=cdrom");
    let is_init = |key: &String| text(key).contains(":cloudinit");
    let keys = |stem: &'static str| {
        let all = params.keys();
        all.filter(move |key| key.trim_end_matches(|c: char| c.is_ascii_digit()) == stem)
    };
    let drives: Vec<&String> = stems.into_iter().flat_map(keys).collect();
    let disk = drives.iter().find(|key| !is_cd(key) && !is_init(key));
    let cd = drives.iter().find(|key| is_cd(key));
    let net = keys("net").next();
    let order: Vec<&str> =
        [disk.copied(), cd.copied(), net].into_iter().flatten().map(String::as_str).collect();
    if order.is_empty() { String::new() } else { format!("order={}", order.join(";")) }
}

/// Makes the volumes of a new guest; the guest is gone again where that fails.
fn fill(
    estate: &mut Estate,
    at: usize,
    node: usize,
    vmid: u32,
    kind: GuestKind,
    params: Map<String, Value>,
) -> Result<(Vec<String>, Map<String, Value>), Outcome> {
    let mut lines = Vec::new();
    let mut made = Map::new();
    for (key, value) in params {
        let mut value = config::stored(&key, value, kind);
        if let Some(text) = value.as_str()
            && config::privilege(&key) == "VM.Config.Disk"
        {
            let imported = disks::import_source(text).map(str::to_owned);
            match disks::materialize(estate, at, node, vmid, kind, text) {
                Ok(disk) => {
                    if let Some(source) = imported {
                        lines.push(format!("importing disk '{source}' to VM {vmid}"));
                        lines.push("transferred 0.0 B of 3.0 GiB (0.00%)".to_owned());
                        lines.push("transferred 3.0 GiB of 3.0 GiB (100.00%)".to_owned());
                    }
                    lines.push(format!("{key}: successfully created disk '{disk}'"));
                    value = json!(disk);
                }
                Err(cause) => {
                    forget(estate, at, vmid);
                    let short = kind.short();
                    let result = Err(format!("unable to create {short} {vmid} - {cause}"));
                    return Err(Outcome { lines, result });
                }
            }
        }
        made.insert(key, value);
    }
    if kind == Qemu {
        made.entry("smbios1").or_insert_with(|| json!(format!("uuid={}", uuid::Uuid::new_v4())));
        made.entry("vmgenid").or_insert_with(|| json!(uuid::Uuid::new_v4().to_string()));
        if made.values().filter_map(Value::as_str).any(|text| text.contains("-cloudinit")) {
            lines.push("generating cloud-init ISO".to_owned());
        }
    } else {
        lines.push("extracting archive".to_owned());
        lines.push("Detected container architecture: amd64".to_owned());
        lines.push(
            "Creating SSH host key 'ssh_host_ed25519_key' - this may take some time ...".to_owned(),
        );
    }
    Ok((lines, made))
}

/// Takes a guest away that was not finished, with what it had of volumes.
pub(super) fn forget(estate: &mut Estate, at: usize, vmid: u32) {
    let cluster = &mut estate.clusters[at];
    cluster.guests.remove(&vmid);
    for storage in &mut cluster.storages {
        storage.volumes.retain(|volume| volume.vmid != Some(vmid) || volume.content == "backup");
    }
}

/// The volume with this id, where the node sees it: its size in bytes.
pub(super) fn find(estate: &Estate, at: usize, node: usize, volid: &str) -> Option<u64> {
    let (storage, _) = volid.split_once(':')?;
    let storage = estate.clusters[at].storage(storage)?;
    storage.volumes_on(node).find(|volume| volume.volid == volid).map(|volume| volume.size)
}
