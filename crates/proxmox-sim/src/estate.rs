//! Builds the estates: the demo, its empty shell, and one of any size for measurements.

mod edge;
mod lab;
mod net;
mod past;
mod scale;
mod vault;

use std::net::SocketAddr;

use serde_json::{Map, Value, json};

use crate::config::{EstateKind, SimConfig};
use crate::state::access::{Access, Entry, Mask, Realm, Token, User, expand};
use crate::state::{Cluster, Estate, Guest, GuestKind, Storage, Tasks, Vault, Volume};

pub(crate) const GIB: u64 = 1 << 30;
/// The secret of `totp@pve`, base32 `JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP`.
pub(crate) const TOTP_SECRET: &[u8] = b"Hello!\xDE\xAD\xBE\xEFHello!\xDE\xAD\xBE\xEF";
/// The same in the form that settings take.
pub(crate) const TOTP_BASE32: &str = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP";

/// Builds what `config` asks for.
pub(crate) fn build(config: &SimConfig, now: i64) -> Estate {
    let mut estate = Estate::new(now, config.task_speed, config.pve_release);
    if let EstateKind::Scale { nodes, guests } = config.estate {
        estate.clusters.push(scale::cluster(nodes, guests, now));
        return estate;
    }
    let full = config.estate == EstateKind::Demo;
    let mut lab = lab::cluster(now, config.pve_release, full);
    if full {
        net::furnish(&mut lab);
    }
    estate.clusters.push(lab);
    estate.clusters.push(edge::cluster(now, full));
    estate.vaults.push(vault::vault(now, &estate.clusters, full));
    if full {
        past::fill(&mut estate);
    }
    estate
}

/// Users, tokens and roles that every PVE target has.
fn pve_access() -> Access {
    let mut access = Access::new(Realm::Pve);
    let audit = expand(
        Realm::Pve,
        &[
            "Datastore.Audit",
            "Mapping.Audit",
            "Pool.Audit",
            "SDN.Audit",
            "Sys.Audit",
            "VM.Audit",
            "VM.GuestAgent.Audit",
        ],
    );
    let agent = audit
        | expand(
            Realm::Pve,
            &[
                "Datastore.AllocateSpace",
                "Sys.Syslog",
                "VM.Backup",
                "VM.GuestAgent.*",
                "VM.Monitor",
                "VM.PowerMgmt",
                "VM.Snapshot",
                "VM.Snapshot.Rollback",
            ],
        );
    people(&mut access, "mcp@pve", ("McpAgent", agent), ("McpReadonly", audit));
    operator(&mut access, "operator@pve", "Administrator");
    access.users.insert(
        "totp@pve".to_owned(),
        User {
            password: Some("totp-pass".to_owned()),
            enabled: true,
            totp: Some(TOTP_SECRET.to_vec()),
            ..User::default()
        },
    );
    grant(&mut access, "totp@pve", "PVEAuditor");
    access
}

/// Users, tokens and roles of a backup server.
fn pbs_access() -> Access {
    let mut access = Access::new(Realm::Pbs);
    let audit = expand(Realm::Pbs, &["Datastore.Audit", "Remote.Audit", "Sys.Audit", "Tape.Audit"]);
    let agent =
        audit | expand(Realm::Pbs, &["Datastore.Backup", "Datastore.Read", "Datastore.Verify"]);
    people(&mut access, "mcp@pbs", ("McpAgent", agent), ("McpReadonly", audit));
    operator(&mut access, "operator@pbs", "Admin");
    access
}

/// One user with three separated tokens: `agent`, `readonly` and `nothing`.
fn people(access: &mut Access, user: &str, agent: (&str, Mask), audit: (&str, Mask)) {
    access.roles.insert(agent.0.to_owned(), (agent.1, false));
    access.roles.insert(audit.0.to_owned(), (audit.1, false));
    let mut tokens = std::collections::BTreeMap::new();
    for name in ["agent", "readonly", "nothing"] {
        tokens.insert(name.to_owned(), token());
    }
    let comment = Some("used by the MCP server".to_owned());
    let made = User { enabled: true, comment, tokens, ..User::default() };
    access.users.insert(user.to_owned(), made);
    grant(access, user, agent.0);
    grant(access, &format!("{user}!agent"), agent.0);
    grant(access, &format!("{user}!readonly"), audit.0);
}

/// A user whose token `operator` may do all that a token may.
fn operator(access: &mut Access, user: &str, role: &str) {
    let tokens = std::collections::BTreeMap::from([("operator".to_owned(), token())]);
    access.users.insert(user.to_owned(), User { enabled: true, tokens, ..User::default() });
    grant(access, user, role);
    grant(access, &format!("{user}!operator"), role);
}

fn token() -> Token {
    Token {
        secret: uuid::Uuid::new_v4().to_string(),
        privsep: true,
        expire: 0,
        enabled: true,
        comment: None,
    }
}

fn grant(access: &mut Access, who: &str, role: &str) {
    access.acl.push(Entry {
        path: "/".to_owned(),
        who: who.to_owned(),
        role: role.to_owned(),
        propagate: true,
    });
}

/// What a guest of an estate is made from.
struct Spec {
    vmid: u32,
    kind: GuestKind,
    name: &'static str,
    node: usize,
    cores: u64,
    /// MiB.
    memory: u64,
    /// GiB.
    disk: u64,
    storage: &'static str,
    tags: &'static str,
    pool: &'static str,
    /// Whether it runs.
    on: bool,
    /// Whether its agent answers, for virtual machines.
    agent: bool,
}

/// Makes a guest with its volume.
fn add(cluster: &mut Cluster, spec: &Spec, now: i64) {
    let seed = u64::from(spec.vmid) + cluster.key.len() as u64 * 1_000_003;
    let mac = mac(seed);
    let volume = format!("{}:vm-{}-disk-0", spec.storage, spec.vmid);
    let config = match spec.kind {
        GuestKind::Qemu => qemu(spec, &mac, &volume, now),
        GuestKind::Lxc => lxc(spec, &mac, &volume),
    };
    let mut guest = Guest::new(spec.vmid, spec.kind, spec.node, config);
    if !spec.tags.is_empty() {
        guest.config.insert("tags".to_owned(), spec.tags.into());
    }
    guest.pool = (!spec.pool.is_empty()).then(|| spec.pool.to_owned());
    guest.agent_answers = spec.agent;
    guest.addresses = vec![address(cluster, spec.vmid)];
    guest.disk_used = (spec.disk * GIB) / 5 * 2;
    if spec.on {
        guest.starts(now - 3_600_000 * (5 + i64::from(spec.vmid) * 7 % 400));
    }
    let format = "raw";
    let shared = cluster.storage(spec.storage).is_some_and(|storage| storage.shared);
    if let Some(storage) = cluster.storage_mut(spec.storage) {
        storage.volumes.push(Volume {
            volid: volume,
            node: (!shared).then_some(spec.node),
            vmid: Some(spec.vmid),
            content: if spec.kind == GuestKind::Qemu { "images" } else { "rootdir" },
            format,
            size: spec.disk * GIB,
            ctime: now / 1000 - 9_000_000,
            notes: None,
            protected: false,
            verified: None,
            subtype: None,
        });
    }
    cluster.guests.insert(spec.vmid, guest);
}

fn qemu(spec: &Spec, mac: &str, volume: &str, now: i64) -> Map<String, Value> {
    let mut config = Map::new();
    let id = spec.vmid;
    let mut put = |key: &str, value: Value| config.insert(key.to_owned(), value);
    put("name", json!(spec.name));
    put("cores", json!(spec.cores));
    put("sockets", json!(1));
    // The real server sends this one as text.
    put("memory", json!(spec.memory.to_string()));
    put("cpu", json!("x86-64-v2-AES"));
    put("ostype", json!("l26"));
    put("scsihw", json!("virtio-scsi-single"));
    put("scsi0", json!(format!("{volume},discard=on,iothread=1,size={}G,ssd=1", spec.disk)));
    put("net0", json!(format!("virtio={mac},bridge=vmbr0,firewall=1")));
    put("boot", json!("order=scsi0;net0"));
    put("numa", json!(0));
    put("onboot", json!(1));
    if spec.agent || id.is_multiple_of(3) {
        put("agent", json!("1"));
    }
    put("smbios1", json!(format!("uuid={}", fixed_uuid(u64::from(id)))));
    put("vmgenid", json!(fixed_uuid(u64::from(id) + 500_000)));
    put("meta", json!(format!("creation-qemu=10.0.2,ctime={}", now / 1000 - 9_000_000)));
    config
}

fn lxc(spec: &Spec, mac: &str, volume: &str) -> Map<String, Value> {
    let mut config = Map::new();
    let mut put = |key: &str, value: Value| config.insert(key.to_owned(), value);
    put("hostname", json!(spec.name));
    put("arch", json!("amd64"));
    put("ostype", json!("debian"));
    put("cores", json!(spec.cores));
    put("memory", json!(spec.memory));
    put("swap", json!(512));
    put("rootfs", json!(format!("{volume},size={}G", spec.disk)));
    put("net0", json!(format!("name=eth0,bridge=vmbr0,firewall=1,hwaddr={mac},ip=dhcp,type=veth")));
    put("unprivileged", json!(1));
    put("onboot", json!(1));
    put("features", json!("nesting=1"));
    config
}

fn mac(seed: u64) -> String {
    let n = (crate::state::noise(seed) * 16_777_215.0) as u64;
    format!("BC:24:11:{:02X}:{:02X}:{:02X}", n >> 16 & 255, n >> 8 & 255, n & 255)
}

fn address(cluster: &Cluster, vmid: u32) -> String {
    let net = if cluster.name.is_some() { 20 } else { 30 };
    format!("10.40.{}.{}", net + vmid / 250, vmid % 250)
}

/// A UUID that is the same in every run.
fn fixed_uuid(seed: u64) -> String {
    let a = (crate::state::noise(seed) * u64::MAX as f64) as u64;
    let b = (crate::state::noise(seed ^ 0xFFFF) * u64::MAX as f64) as u64;
    format!(
        "{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}",
        a >> 32,
        a >> 16 & 0xFFFF,
        a & 0xFFF,
        b >> 52,
        b & 0xFFFF_FFFF_FFFF
    )
}

fn storage(
    name: &str,
    plugin: &'static str,
    content: &'static str,
    shared: bool,
    total: u64,
    used: &[f64],
    options: Value,
) -> Storage {
    let options = match options {
        Value::Object(map) => map,
        _ => Map::new(),
    };
    Storage {
        name: name.to_owned(),
        plugin,
        content,
        shared,
        total: total * GIB,
        used: used.iter().map(|share| (share * (total * GIB) as f64) as u64).collect(),
        options,
        volumes: Vec::new(),
    }
}

fn iso(storage: &mut Storage, node: Option<usize>, name: &str, size: u64, now: i64) {
    let template = name.ends_with(".tar.zst");
    let (content, format) = match name {
        _ if template => ("vztmpl", "tzst"),
        _ if name.rsplit('.').next() == Some("qcow2") => ("import", "qcow2"),
        _ => ("iso", "iso"),
    };
    storage.volumes.push(Volume {
        volid: format!("{}:{content}/{name}", storage.name),
        node,
        vmid: None,
        content,
        format,
        size,
        ctime: now / 1000 - 12_000_000,
        notes: None,
        protected: false,
        verified: None,
        subtype: None,
    });
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

fn new_cluster(key: &str, name: Option<&str>) -> Cluster {
    Cluster::new(key, name, pve_access(), Tasks::new(false))
}

/// The keys, so that callers need not know the builders.
pub(crate) fn vault_of<'a>(
    vaults: &'a [Vault],
    storage: &Storage,
) -> Option<(&'a Vault, String, String)> {
    let text =
        |key: &str| storage.options.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    (storage.plugin == "pbs").then_some(())?;
    vaults.first().map(|vault| (vault, text("datastore"), text("namespace")))
}

/// Lets the storages of type `pbs` name the address where the backup server really listens, as they
/// do on a real cluster.
pub(crate) fn point_at(clusters: &mut [Cluster], address: SocketAddr, fingerprint: &str) {
    let storages = clusters.iter_mut().flat_map(|cluster| cluster.storages.iter_mut());
    for storage in storages.filter(|storage| storage.plugin == "pbs") {
        storage.options.insert("server".to_owned(), json!(address.ip().to_string()));
        storage.options.insert("port".to_owned(), json!(address.port()));
        storage.options.insert("fingerprint".to_owned(), json!(fingerprint));
    }
}
