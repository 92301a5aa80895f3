//! The cluster as a whole: version, members, resources, log, options.

use serde::Serialize;
use serde_json::{Value, json};

use crate::call::{Call, Handlers};
use crate::http::{Answer, Fault, Reply, data, index};
use crate::state::{Cluster, Guest, GuestKind};

pub(super) const HANDLERS: Handlers = &[
    ("GET", "/version", version),
    ("GET", "/nodes/{node}/version", version),
    ("GET", "/cluster", |_| {
        index(
            "name",
            &[
                "acme",
                "backup",
                "backup-info",
                "config",
                "ha",
                "log",
                "nextid",
                "notifications",
                "options",
                "replication",
                "resources",
                "status",
                "tasks",
            ],
        )
    }),
    ("GET", "/cluster/status", status),
    ("GET", "/cluster/resources", resources),
    ("GET", "/cluster/log", log),
    ("GET", "/cluster/options", options),
    ("PUT", "/cluster/options", set_options),
    ("GET", "/cluster/nextid", nextid),
    ("GET", "/cluster/config/nodes", config_nodes),
    ("GET", "/cluster/config/join", join),
    ("GET", "/cluster/config/totem", |call| data(totem(call.cluster()))),
];

fn version(call: &mut Call<'_>) -> Answer {
    let (release, version) = call.estate.release.version();
    let own = call.cluster().nodes[call.node].version.clone();
    let version = own.as_deref().unwrap_or(version);
    let release = version.rsplit_once('.').map_or(release, |(release, _)| release);
    data(json!({"release": release, "version": version, "repoid": "5a1e0d9c3b7f2468"}))
}

fn status(call: &mut Call<'_>) -> Answer {
    let cluster = call.cluster();
    let mut rows = Vec::new();
    if let Some(name) = &cluster.name {
        rows.push(json!({
            "type": "cluster", "id": "cluster", "name": name, "nodes": cluster.nodes.len(),
            "quorate": i32::from(cluster.quorate), "version": cluster.nodes.len(),
        }));
    }
    for (at, node) in cluster.nodes.iter().enumerate() {
        rows.push(json!({
            "type": "node", "id": format!("node/{}", node.name), "name": node.name, "ip": node.address,
            "level": "", "local": i32::from(at == call.local), "online": i32::from(node.online),
            "nodeid": if cluster.name.is_some() { at + 1 } else { 0 },
        }));
    }
    data(rows)
}

/// One guest of `/cluster/resources`; serialized straight from the state.
#[derive(Serialize)]
struct GuestRow<'a> {
    id: String,
    #[serde(rename = "type")]
    kind: &'static str,
    vmid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    node: &'a str,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    template: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    maxcpu: Option<u64>,
    #[serde(flatten)]
    usage: Option<Usage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tags: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pool: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lock: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hastate: Option<&'a str>,
}

#[derive(Serialize)]
struct Usage {
    cpu: f64,
    mem: u64,
    maxmem: u64,
    disk: u64,
    maxdisk: u64,
    uptime: i64,
    netin: u64,
    netout: u64,
    diskread: u64,
    diskwrite: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    memhost: Option<u64>,
}

fn guest_row<'a>(call: &'a Call<'_>, cluster: &'a Cluster, guest: &'a Guest) -> GuestRow<'a> {
    let now = call.estate.now;
    let node = &cluster.nodes[guest.node];
    let known = node.online;
    let usage = known.then(|| usage(guest, now, call.estate.release.is_9()));
    let hastate = (!cluster.ha.resources.is_empty())
        .then(|| cluster.ha.resources.get(&crate::state::cluster::sid(guest)))
        .flatten();
    GuestRow {
        id: format!("{}/{}", guest.kind.word(), guest.vmid),
        kind: guest.kind.word(),
        vmid: guest.vmid,
        name: known.then(|| guest.name()),
        node: &node.name,
        status: if known { guest.status() } else { "unknown" },
        template: Some(u8::from(guest.template())),
        maxcpu: known.then(|| guest.cpus()),
        usage,
        tags: guest.tags(),
        pool: guest.pool.as_deref(),
        lock: guest.lock(),
        hastate: hastate.map(|resource| resource.state.as_str()),
    }
}

fn usage(guest: &Guest, now: i64, nine: bool) -> Usage {
    let lxc = guest.kind == GuestKind::Lxc;
    Usage {
        cpu: guest.cpu(now),
        mem: guest.mem(),
        maxmem: guest.maxmem(),
        disk: if lxc && guest.running() { guest.disk_used } else { 0 },
        maxdisk: guest.maxdisk(),
        uptime: guest.uptime(now),
        netin: guest.counter(now, 1),
        netout: guest.counter(now, 2),
        diskread: guest.counter(now, 3),
        diskwrite: guest.counter(now, 4),
        memhost: nine.then(|| if lxc { 0 } else { guest.mem() / 16 * 17 }),
    }
}

/// The figures of a node: cpu, mem, disk, maxdisk.
pub(super) fn node_figures(call: &Call<'_>, at: usize) -> (f64, u64, u64, u64) {
    let cluster = call.cluster();
    let node = &cluster.nodes[at];
    let guests = cluster.guests.values().filter(|guest| guest.node == at);
    let (mut cpu, mut mem) = (0.4, 3 << 30);
    for guest in guests {
        cpu += guest.cpu(call.estate.now) * guest.cpus() as f64;
        mem += guest.mem();
    }
    let local = cluster.storage("local");
    let disk = local.map_or(0, |storage| storage.used_on(at));
    let total = local.map_or(0, |storage| storage.total);
    ((cpu / node.cpus as f64).min(0.99), mem.min(node.memory), disk, total)
}

fn resources(call: &mut Call<'_>) -> Answer {
    let call = &*call;
    let wanted = call.text("type");
    let wants = |kind: &str| wanted.is_none_or(|wanted| wanted == kind);
    let cluster = call.cluster();
    let mut out: Vec<u8> = Vec::with_capacity(512 * cluster.guests.len() + 4096);
    out.push(b'[');
    let mut push = |row: &dyn ErasedRow| {
        if out.len() > 1 {
            out.push(b',');
        }
        row.write(&mut out);
    };
    if wants("pool") || wanted.is_none() {
        for name in cluster.pools.keys() {
            if wanted.is_none() && call.may(&format!("/pool/{name}"), "Pool.Audit") {
                push(&json!({"type": "pool", "id": format!("/pool/{name}"), "pool": name}));
            }
        }
    }
    if wants("vm") {
        let everything = call.grants.may("/vms", "VM.Audit")
            && call
                .grants
                .paths()
                .iter()
                .all(|path| !path.starts_with("/vms/") && !path.starts_with("/pool"));
        for guest in cluster.guests.values() {
            if everything || call.may(&format!("/vms/{}", guest.vmid), "VM.Audit") {
                push(&guest_row(call, cluster, guest));
            }
        }
    }
    if wants("node") {
        for (at, node) in cluster.nodes.iter().enumerate() {
            if call.may(&format!("/nodes/{}", node.name), "Sys.Audit") {
                push(&node_row(call, at, "resources"));
            } else if wanted.is_none() || wanted == Some("node") {
                push(&json!({
                    "type": "node", "id": format!("node/{}", node.name), "node": node.name,
                    "status": if node.online { "online" } else { "offline" },
                }));
            }
        }
    }
    if wants("storage") {
        for (at, node) in cluster.nodes.iter().enumerate() {
            for storage in &cluster.storages {
                if !call.may(&format!("/storage/{}", storage.name), "Datastore.Audit")
                    && !call.may(&format!("/storage/{}", storage.name), "Datastore.AllocateSpace")
                {
                    continue;
                }
                let mut row = json!({
                    "type": "storage", "id": format!("storage/{}/{}", node.name, storage.name),
                    "storage": storage.name, "node": node.name, "plugintype": storage.plugin,
                    "content": storage.content, "shared": i32::from(storage.shared),
                    "status": if node.online { "available" } else { "unknown" },
                });
                if node.online {
                    row["disk"] = json!(storage.used_on(at));
                    row["maxdisk"] = json!(storage.total);
                }
                push(&row);
            }
        }
    }
    if wants("sdn") {
        for node in &cluster.nodes {
            if call.may("/sdn/zones/localnetwork", "SDN.Audit") {
                let network = if call.estate.release.is_9() { "network" } else { "sdn" };
                push(&json!({
                    "type": network, "id": format!("{network}/{}/zone/localnetwork", node.name),
                    "network": "localnetwork", "network-type": "zone", "node": node.name,
                    "status": if node.online { "ok" } else { "unknown" },
                }));
            }
        }
    }
    out.push(b']');
    Ok(Reply::raw(out))
}

/// A row that can write itself, so that typed rows and values share one loop.
trait ErasedRow {
    fn write(&self, out: &mut Vec<u8>);
}

impl<T: Serialize> ErasedRow for T {
    fn write(&self, out: &mut Vec<u8>) {
        let _ = serde_json::to_writer(out, self);
    }
}

/// A node's row in `/nodes` and `/cluster/resources`.
pub(super) fn node_row(call: &Call<'_>, at: usize, list: &str) -> Value {
    let node = &call.cluster().nodes[at];
    let mut row = json!({
        "type": "node", "id": format!("node/{}", node.name), "node": node.name,
        "status": if node.online { "online" } else { "offline" },
    });
    if list == "nodes" {
        row["ssl_fingerprint"] = json!(node.fingerprint);
    } else {
        row["cgroup-mode"] = json!(2);
    }
    row["level"] = json!("");
    if node.online {
        let (cpu, mem, disk, maxdisk) = node_figures(call, at);
        row["cpu"] = json!(cpu);
        row["maxcpu"] = json!(node.cpus);
        row["mem"] = json!(mem);
        row["maxmem"] = json!(node.memory);
        row["disk"] = json!(disk);
        row["maxdisk"] = json!(maxdisk);
        row["uptime"] = json!((call.estate.now - node.booted) / 1000);
    }
    row
}

fn log(call: &mut Call<'_>) -> Answer {
    let max = call.int("max").unwrap_or(50) as usize;
    let all = call.may("/", "Sys.Syslog") || call.may("/", "Sys.Audit");
    let who = call.who.to_string();
    let lines = call.cluster().log.iter();
    let mine = lines.filter(|line| {
        all || line["user"] == who.as_str() || line["user"] == call.who.user.as_str()
    });
    data(mine.take(max).cloned().collect::<Vec<Value>>())
}

fn options(call: &mut Call<'_>) -> Answer {
    data(Value::Object(call.cluster().options.clone()))
}

fn set_options(call: &mut Call<'_>) -> Answer {
    quorum(call)?;
    let delete = call.text("delete").unwrap_or_default().to_owned();
    let params = std::mem::take(&mut call.params);
    let options = &mut call.cluster_mut().options;
    for key in delete.split([',', ';', ' ']) {
        options.shift_remove(key);
    }
    for (key, value) in params {
        if key != "delete" {
            options.insert(key, value);
        }
    }
    data(Value::Null)
}

/// Writing to the shared configuration waits for a quorum that does not come.
pub(super) fn quorum(call: &Call<'_>) -> Result<(), Fault> {
    if call.cluster().quorate {
        return Ok(());
    }
    let wait = std::time::Duration::from_secs_f64(10.0 / call.estate.speed.max(0.1));
    Err(Fault::internal("cfs-lock 'file-user_cfg' error: no quorum!").after(wait))
}

fn nextid(call: &mut Call<'_>) -> Answer {
    let guests = &call.cluster().guests;
    if let Some(vmid) = call.int("vmid") {
        if guests.contains_key(&(vmid as u32)) {
            return Err(Fault::param("vmid", format!("VM {vmid} already exists")));
        }
        return data(vmid.to_string());
    }
    let free = (100..1_000_000).find(|vmid| !guests.contains_key(vmid)).unwrap_or(100);
    data(free.to_string())
}

fn config_nodes(call: &mut Call<'_>) -> Answer {
    let cluster = call.cluster();
    if cluster.name.is_none() {
        return data(json!([]));
    }
    let rows: Vec<Value> = cluster
        .nodes
        .iter()
        .enumerate()
        .map(|(at, node)| {
            json!({
                "node": node.name, "name": node.name, "nodeid": (at + 1).to_string(),
                "quorum_votes": "1", "ring0_addr": node.address,
            })
        })
        .collect();
    data(rows)
}

fn totem(cluster: &Cluster) -> Value {
    let Some(name) = &cluster.name else { return json!({}) };
    json!({
        "cluster_name": name, "config_version": cluster.nodes.len().to_string(), "version": "2",
        "ip_version": "ipv4-6", "secauth": "on", "link_mode": "passive", "token_coefficient": "125",
        "interface": {"0": {"linknumber": "0"}},
    })
}

fn join(call: &mut Call<'_>) -> Answer {
    let cluster = call.cluster();
    if cluster.name.is_none() {
        return Err(Fault::internal("node is not in a cluster, no join info available!"));
    }
    let nodes: Vec<Value> = cluster
        .nodes
        .iter()
        .enumerate()
        .map(|(at, node)| {
            json!({
                "name": node.name, "nodeid": (at + 1).to_string(), "pve_addr": node.address,
                "ring0_addr": node.address, "quorum_votes": "1", "pve_fp": node.fingerprint,
            })
        })
        .collect();
    data(json!({
        "nodelist": nodes, "totem": totem(cluster), "preferred_node": cluster.nodes[call.local].name,
        "config_digest": crate::state::digest40(&cluster.key),
    }))
}
