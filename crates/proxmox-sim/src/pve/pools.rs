//! Pools.

use serde_json::{Value, json};

use crate::call::{Call, Handlers};
use crate::http::{Answer, Fault, data};

pub(super) const HANDLERS: Handlers = &[
    ("GET", "/pools", list),
    ("POST", "/pools", create),
    ("PUT", "/pools", update),
    ("DELETE", "/pools", delete),
    ("GET", "/pools/{poolid}", read),
];

fn list(call: &mut Call<'_>) -> Answer {
    let call = &*call;
    if let Some(pool) = call.text("poolid") {
        return data(json!([show(call, pool)?]));
    }
    let pools = call.cluster().pools.iter();
    let rows = pools.filter(|(name, _)| call.may(&format!("/pool/{name}"), "Pool.Audit")).map(
        |(name, comment)| {
            let mut row = json!({"poolid": name});
            if let Some(comment) = comment {
                row["comment"] = json!(comment);
            }
            row
        },
    );
    data(rows.collect::<Vec<Value>>())
}

fn show(call: &Call<'_>, name: &str) -> Result<Value, Fault> {
    let cluster = call.cluster();
    let comment = cluster
        .pools
        .get(name)
        .ok_or_else(|| Fault::internal(format!("pool '{name}' does not exist")))?;
    let now = call.estate.now;
    let members: Vec<Value> = cluster
        .guests
        .values()
        .filter(|guest| guest.pool.as_deref() == Some(name))
        .map(|guest| {
            json!({
                "id": format!("{}/{}", guest.kind.word(), guest.vmid), "type": guest.kind.word(), "vmid": guest.vmid,
                "name": guest.name(), "node": cluster.nodes[guest.node].name, "status": guest.status(),
                "template": i32::from(guest.template()), "uptime": guest.uptime(now), "cpu": guest.cpu(now),
                "maxcpu": guest.cpus(), "mem": guest.mem(), "maxmem": guest.maxmem(), "disk": 0,
                "maxdisk": guest.maxdisk(), "netin": guest.counter(now, 1), "netout": guest.counter(now, 2),
                "diskread": guest.counter(now, 3), "diskwrite": guest.counter(now, 4),
            })
        })
        .collect();
    let mut members = members;
    for (at, node) in cluster.nodes.iter().enumerate() {
        let held = cluster.common.pool_storages.get(name).into_iter().flatten();
        for storage in held.filter_map(|held| cluster.storage(held)) {
            members.push(json!({
                "id": format!("storage/{}/{}", node.name, storage.name), "type": "storage", "storage": storage.name,
                "node": node.name, "plugintype": storage.plugin, "content": storage.content,
                "shared": i32::from(storage.shared), "status": if node.online { "available" } else { "unknown" },
                "disk": storage.used_on(at), "maxdisk": storage.total,
            }));
        }
    }
    let mut pool = json!({"poolid": name, "members": members});
    if let Some(comment) = comment {
        pool["comment"] = json!(comment);
    }
    Ok(pool)
}

fn read(call: &mut Call<'_>) -> Answer {
    data(show(call, call.arg("poolid"))?)
}

fn create(call: &mut Call<'_>) -> Answer {
    super::cluster::quorum(call)?;
    let name = call.text("poolid").unwrap_or_default().to_owned();
    let comment = call.text("comment").map(str::to_owned);
    if call.cluster().pools.contains_key(&name) {
        return Err(Fault::internal(format!("create pool failed: pool '{name}' already exists")));
    }
    call.cluster_mut().pools.insert(name, comment);
    data(Value::Null)
}

fn update(call: &mut Call<'_>) -> Answer {
    super::cluster::quorum(call)?;
    let name = call.text("poolid").unwrap_or_default().to_owned();
    let (comment, remove) =
        (call.text("comment").map(str::to_owned), call.flag("delete") == Some(true));
    let vms = call.text("vms").unwrap_or_default().to_owned();
    let list = call.text("storage").unwrap_or_default().to_owned();
    let storages: Vec<&str> = list.split([',', ';', ' ']).filter(|it| !it.is_empty()).collect();
    for vmid in vms.split([',', ';', ' ']).filter(|vmid| !vmid.is_empty()) {
        let known = vmid.parse().is_ok_and(|vmid: u32| call.cluster().guests.contains_key(&vmid));
        if !remove && !known {
            return Err(Fault::internal(format!("update pools failed: VM {vmid} does not exist")));
        }
    }
    for storage in &storages {
        if !remove && call.cluster().storage(storage).is_none() {
            return Err(Fault::internal(format!(
                "update pools failed: storage '{storage}' does not exist"
            )));
        }
    }
    let move_ = call.flag("allow-move") == Some(true);
    let cluster = call.cluster_mut();
    let Some(kept) = cluster.pools.get_mut(&name) else {
        return Err(Fault::internal(format!("update pools failed: pool '{name}' does not exist")));
    };
    if comment.is_some() {
        *kept = comment;
    }
    for vmid in vms.split([',', ';', ' ']).filter_map(|vmid| vmid.parse::<u32>().ok()) {
        let Some(guest) = cluster.guests.get_mut(&vmid) else { continue };
        match (&guest.pool, remove) {
            (Some(held), true) if *held == name => guest.pool = None,
            (_, true) => {
                return Err(Fault::internal(format!(
                    "update pools failed: VM {vmid} is not a pool member"
                )));
            }
            (Some(other), false) if *other != name && !move_ => {
                return Err(Fault::internal(format!(
                    "update pools failed: VM {vmid} belongs already to pool '{other}' and 'allow-move' is not set"
                )));
            }
            _ => guest.pool = Some(name.clone()),
        }
    }
    let held = cluster.common.pool_storages.entry(name).or_default();
    for storage in storages {
        if remove {
            held.remove(storage);
        } else {
            held.insert(storage.to_owned());
        }
    }
    data(Value::Null)
}

fn delete(call: &mut Call<'_>) -> Answer {
    super::cluster::quorum(call)?;
    let name = call.text("poolid").unwrap_or_default().to_owned();
    let cluster = call.cluster_mut();
    if !cluster.pools.contains_key(&name) {
        return Err(Fault::internal(format!("delete pool failed: pool '{name}' does not exist")));
    }
    if cluster.guests.values().any(|guest| guest.pool.as_deref() == Some(&name)) {
        return Err(Fault::internal(format!("delete pool failed: pool '{name}' is not empty")));
    }
    if cluster.common.pool_storages.get(&name).is_some_and(|held| !held.is_empty()) {
        return Err(Fault::internal(format!("delete pool failed: pool '{name}' is not empty")));
    }
    cluster.pools.remove(&name);
    let path = format!("/pool/{name}");
    cluster.access.acl.retain(|entry| entry.path != path);
    data(Value::Null)
}
