//! Ceph: status, daemons, pools, monitors; absent where no storage needs it.

use serde_json::{Value, json};

use crate::call::{Call, Handlers};
use crate::http::{Answer, Fault, data};
use crate::state::{Cluster, noise};

pub(super) const HANDLERS: Handlers = &[
    ("GET", "/cluster/ceph/status", status),
    ("GET", "/nodes/{node}/ceph/status", status),
    ("GET", "/nodes/{node}/ceph/osd", osds),
    ("GET", "/nodes/{node}/ceph/pool", pools),
    ("GET", "/nodes/{node}/ceph/mon", monitors),
];

/// Daemons on each node.
const EACH: usize = 2;
/// Placement groups of the pool for guests; one more belongs to the manager's own pool.
const GROUPS: u64 = 128;
const VERSION: &str = "19.2.3";
const GIB: u64 = 1 << 30;

fn has_ceph(call: &Call<'_>) -> Result<(), Fault> {
    if call.cluster().storages.iter().any(|storage| storage.plugin == "rbd") {
        return Ok(());
    }
    Err(Fault::internal("binary not installed: /usr/bin/ceph-mon"))
}

/// Whether a daemon answers.
fn is_up(cluster: &Cluster, osd: usize) -> bool {
    cluster.nodes[osd / EACH].online && !cluster.common.ceph.down.contains(&osd)
}

fn check(is_error: bool, count: usize, message: &str, detail: Vec<String>) -> Value {
    let detail: Vec<Value> = detail.into_iter().map(|it| json!({"message": it})).collect();
    json!({
        "severity": if is_error { "HEALTH_ERR" } else { "HEALTH_WARN" }, "muted": false,
        "summary": {"message": message, "count": count}, "detail": detail,
    })
}

fn status(call: &mut Call<'_>) -> Answer {
    has_ceph(call)?;
    let cluster = call.cluster();
    let all = cluster.nodes.len() * EACH;
    let down: Vec<usize> = (0..all).filter(|osd| !is_up(cluster, *osd)).collect();
    let away = cluster.nodes.iter().filter(|node| !node.online).count();
    let mut checks = serde_json::Map::new();
    let mut put = |code: &str, value: Value| checks.insert(code.to_owned(), value);
    if away > 0 {
        put("OSD_HOST_DOWN", check(false, away, &format!("{away} host(s) down"), Vec::new()));
    }
    let degraded = down.len() as u64 * 21;
    if !down.is_empty() {
        let lines = down.iter().map(|osd| {
            let host = &cluster.nodes[osd / EACH].name;
            format!("osd.{osd} (root=default,host={host}) is down")
        });
        put(
            "OSD_DOWN",
            check(false, down.len(), &format!("{} osds down", down.len()), lines.collect()),
        );
        let text = format!(
            "Degraded data redundancy: {}/812341 objects degraded, {degraded} pgs degraded, {degraded} pgs undersized",
            down.len() * 41_210
        );
        put("PG_DEGRADED", check(false, degraded as usize, &text, Vec::new()));
    }
    for (code, (is_error, message)) in &cluster.common.ceph.checks {
        put(code, check(*is_error, 1, message, Vec::new()));
    }
    let is_error = checks.values().any(|check| check["severity"] == "HEALTH_ERR");
    let health = match (checks.is_empty(), is_error) {
        (true, _) => "HEALTH_OK",
        (false, false) => "HEALTH_WARN",
        (false, true) => "HEALTH_ERR",
    };
    let (total, used) = space(cluster);
    let online: Vec<&str> = cluster.nodes.iter().filter(|n| n.online).map(|n| &*n.name).collect();
    let mons = cluster.nodes.iter().enumerate().map(|(rank, node)| {
        json!({"rank": rank, "name": node.name, "addr": format!("{}:6789/0", node.address)})
    });
    let mut states = vec![json!({"state_name": "active+clean", "count": GROUPS + 1 - degraded})];
    if degraded > 0 {
        states.push(json!({"state_name": "active+undersized+degraded", "count": degraded}));
    }
    let mut groups = json!({
        "bytes_total": total, "bytes_used": used, "bytes_avail": total.saturating_sub(used), "data_bytes": used / 3,
        "num_pgs": GROUPS + 1, "num_pools": 2, "num_objects": 812_341, "pgs_by_state": states,
        "read_bytes_sec": (noise(call.estate.now as u64 / 10_000) * 4e7) as u64, "write_bytes_sec": 11_000_000,
    });
    if degraded > 0 {
        groups["degraded_objects"] = json!(down.len() * 41_210);
        groups["degraded_total"] = json!(812_341 * 3);
        groups["degraded_ratio"] = json!((down.len() * 41_210) as f64 / (812_341.0 * 3.0));
    }
    data(json!({
        "fsid": "0f3c2b1a-5d4e-4f6a-8b7c-9d0e1f2a3b4c",
        "health": {"status": health, "checks": checks, "mutes": []},
        "quorum_names": online,
        "monmap": {"epoch": 3, "mons": mons.collect::<Vec<Value>>()},
        "mgrmap": {
            "available": true, "active_name": online.first(),
            "standbys": online.iter().skip(1).map(|name| json!({"name": name})).collect::<Vec<_>>(),
        },
        "osdmap": {
            "num_osds": all, "num_up_osds": all - down.len(), "num_in_osds": all, "num_remapped_pgs": 0,
        },
        "pgmap": groups,
    }))
}

/// Bytes in all and in use, copies counted.
fn space(cluster: &Cluster) -> (u64, u64) {
    let pool = cluster.storages.iter().find(|storage| storage.plugin == "rbd");
    let total = 6000 * GIB * 3;
    (total, pool.map_or(0, |pool| pool.used_on(0)) * 3)
}

fn osds(call: &mut Call<'_>) -> Answer {
    has_ceph(call)?;
    let cluster = call.cluster();
    let count = cluster.nodes.len() * EACH;
    let (total, used) = space(cluster);
    let (each, taken) = (total / count as u64, used / count as u64);
    let hosts = cluster.nodes.iter().enumerate().map(|(at, node)| {
        let daemons = (at * EACH..(at + 1) * EACH).map(|osd| {
            let up = is_up(cluster, osd);
            json!({
                "id": osd.to_string(), "name": format!("osd.{osd}"), "type": "osd", "leaf": 1,
                "status": if up { "up" } else { "down" }, "in": 1, "host": node.name, "device_class": "nvme",
                "crush_weight": 2.93, "reweight": 1, "percent_used": taken as f64 * 100.0 / each as f64,
                "total_space": each, "bytes_used": taken, "pgs": if up { GROUPS * 3 / count as u64 } else { 0 },
                "apply_latency_ms": u64::from(up), "commit_latency_ms": u64::from(up),
                "ceph_version_short": VERSION, "osdtype": "bluestore",
            })
        });
        let daemons: Vec<Value> = daemons.collect();
        let id = (-3 - at as i64 * 2).to_string();
        json!({"id": id, "name": node.name, "type": "host", "children": daemons, "leaf": 0, "version": VERSION})
    });
    let hosts: Vec<Value> = hosts.collect();
    let mut flags = vec!["sortbitwise", "recovery_deletes", "purged_snapdirs", "pglog_hardlimit"];
    flags.extend(cluster.common.ceph.flags.iter().map(String::as_str));
    data(json!({
        "flags": flags.join(","),
        "root": {"leaf": 0, "children": [{"id": "-1", "name": "default", "type": "root", "leaf": 0, "children": hosts}]},
    }))
}

fn pools(call: &mut Call<'_>) -> Answer {
    has_ceph(call)?;
    let (total, used) = space(call.cluster());
    let row = |id: u32, name: &str, groups: u64, used: u64, application: &str| {
        json!({
            "pool": id, "pool_name": name, "type": "replicated", "size": 3, "min_size": 2, "pg_num": groups,
            "pg_num_final": groups, "pg_autoscale_mode": "on", "crush_rule": 0, "crush_rule_name": "replicated_rule",
            "bytes_used": used, "percent_used": used as f64 / total as f64, "application_metadata": {application: {}},
        })
    };
    let name = call.cluster().storages.iter().find(|storage| storage.plugin == "rbd");
    let name = name.map_or("ceph-vm", |storage| storage.name.as_str());
    data(json!([row(1, ".mgr", 1, 2 << 20, "mgr"), row(2, name, GROUPS, used, "rbd")]))
}

fn monitors(call: &mut Call<'_>) -> Answer {
    has_ceph(call)?;
    let rows = call.cluster().nodes.iter().enumerate().map(|(rank, node)| {
        let mut row = json!({
            "name": node.name, "host": node.name, "addr": format!("{}:6789/0", node.address), "rank": rank,
            "service": 1, "direxists": 1, "state": if node.online { "running" } else { "stopped" },
        });
        if node.online {
            row["quorum"] = json!(1);
            row["ceph_version_short"] = json!(VERSION);
        }
        row
    });
    data(rows.collect::<Vec<Value>>())
}
