//! A node's network: what runs, what is written, and what waits to be applied.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::call::{Call, Handlers};
use crate::http::{Answer, Fault, Reply, data};
use crate::state::{Outcome, Plan};

pub(super) const HANDLERS: Handlers = &[
    ("GET", "/nodes/{node}/network", network),
    ("POST", "/nodes/{node}/network", create),
    ("PUT", "/nodes/{node}/network", apply),
    ("DELETE", "/nodes/{node}/network", revert),
    ("GET", "/nodes/{node}/network/{iface}", interface),
    ("PUT", "/nodes/{node}/network/{iface}", update),
    ("DELETE", "/nodes/{node}/network/{iface}", remove),
];

/// The interfaces of a node that nobody has changed.
fn shipped(call: &Call<'_>) -> Vec<Value> {
    let node = &call.cluster().nodes[call.node];
    let gateway =
        node.address.rsplit_once('.').map_or_else(String::new, |(net, _)| format!("{net}.1"));
    let nic = |name: &str, priority: u32| {
        json!({
            "iface": name, "type": "eth", "method": "manual", "method6": "manual", "active": 1, "exists": 1,
            "families": ["inet"], "priority": priority,
        })
    };
    vec![
        nic("eno1", 3),
        nic("eno2", 4),
        json!({
            "iface": "bond0", "type": "bond", "method": "manual", "method6": "manual", "active": 1, "autostart": 1,
            "families": ["inet"], "slaves": "eno1 eno2", "bond_mode": "802.3ad", "bond_miimon": "100", "priority": 5,
            "bond_xmit_hash_policy": "layer2+3",
        }),
        json!({
            "iface": "vmbr0", "type": "bridge", "method": "static", "method6": "manual", "active": 1, "autostart": 1,
            "families": ["inet"], "address": node.address, "netmask": "24", "cidr": format!("{}/24", node.address),
            "gateway": gateway, "bridge_ports": "bond0", "bridge_stp": "off", "bridge_fd": "0",
            "bridge_vlan_aware": 1, "bridge_vids": "2-4094", "priority": 6,
        }),
    ]
}

/// As it runs, and as it is written.
fn both(call: &Call<'_>) -> (Vec<Value>, Vec<Value>) {
    let kept = call.cluster().nodes[call.node].host.network.clone();
    kept.unwrap_or_else(|| (shipped(call), shipped(call)))
}

fn interfaces(call: &Call<'_>) -> Vec<Value> {
    both(call).1
}

fn write(call: &mut Call<'_>, change: impl FnOnce(&mut Vec<Value>)) -> Answer {
    let (runs, mut written) = both(call);
    change(&mut written);
    let node = call.node;
    call.cluster_mut().nodes[node].host.network = Some((runs, written));
    data(Value::Null)
}

/// The file of the interfaces, as the server writes it.
fn file(interfaces: &[Value]) -> Vec<String> {
    let mut text = String::from("auto lo\niface lo inet loopback\n\n");
    for row in interfaces {
        let word = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
        let name = word("iface");
        if row["autostart"] == 1 {
            let _ = writeln!(text, "auto {name}");
        }
        let method = if row["cidr"].is_string() { "static" } else { "manual" };
        let _ = writeln!(text, "iface {name} inet {method}");
        for (key, shown) in [
            ("cidr", "address"),
            ("gateway", "gateway"),
            ("slaves", "bond-slaves"),
            ("bond_mode", "bond-mode"),
            ("bridge_ports", "bridge-ports"),
            ("bridge_vids", "bridge-vids"),
            ("mtu", "mtu"),
            ("vlan-id", "vlan-id"),
            ("vlan-raw-device", "vlan-raw-device"),
        ] {
            match &row[key] {
                Value::String(value) if !value.is_empty() => {
                    let _ = writeln!(text, "\t{shown} {value}");
                }
                Value::Number(value) => {
                    let _ = writeln!(text, "\t{shown} {value}");
                }
                _ => {}
            }
        }
        if row["bridge_vlan_aware"] == 1 {
            text.push_str("\tbridge-vlan-aware yes\n");
        }
        for line in word("comments").lines() {
            let _ = writeln!(text, "#{line}");
        }
        text.push('\n');
    }
    text.lines().map(str::to_owned).collect()
}

/// What `diff -u` says, with the whole file as one piece; nothing where both are the same.
fn diff(old: &[String], new: &[String]) -> Option<String> {
    if old == new {
        return None;
    }
    let mut table = vec![vec![0_usize; new.len() + 1]; old.len() + 1];
    for (at, left) in old.iter().enumerate().rev() {
        for (to, right) in new.iter().enumerate().rev() {
            table[at][to] = if left == right {
                table[at + 1][to + 1] + 1
            } else {
                table[at + 1][to].max(table[at][to + 1])
            };
        }
    }
    let mut text = String::from("--- /etc/network/interfaces\n+++ /etc/network/interfaces.new\n");
    let _ = writeln!(text, "@@ -1,{} +1,{} @@", old.len(), new.len());
    let (mut at, mut to) = (0, 0);
    while at < old.len() || to < new.len() {
        if at < old.len() && to < new.len() && old[at] == new[to] {
            let _ = writeln!(text, " {}", old[at]);
            (at, to) = (at + 1, to + 1);
        } else if at < old.len() && (to == new.len() || table[at + 1][to] >= table[at][to + 1]) {
            let _ = writeln!(text, "-{}", old[at]);
            at += 1;
        } else {
            let _ = writeln!(text, "+{}", new[to]);
            to += 1;
        }
    }
    Some(text)
}

fn network(call: &mut Call<'_>) -> Answer {
    let wanted = call.text("type");
    let (runs, written) = both(call);
    let changes = diff(&file(&runs), &file(&written));
    let rows = written.into_iter().filter(|row| match wanted {
        None => true,
        Some("any_bridge" | "any_local_bridge") => row["type"] == "bridge",
        Some(kind) => row["type"] == kind,
    });
    let reply = Reply::from(Value::from(rows.collect::<Vec<Value>>()));
    Ok(match changes {
        Some(changes) => reply.with("changes", changes),
        None => reply,
    })
}

fn interface(call: &mut Call<'_>) -> Answer {
    let name = call.arg("iface");
    let found = interfaces(call).into_iter().find(|row| row["iface"] == name);
    let mut row = found.ok_or_else(|| Fault::param("iface", "interface does not exist"))?;
    if let Some(map) = row.as_object_mut() {
        map.shift_remove("iface");
    }
    data(row)
}

/// Puts the parameters into an interface.
fn set(row: &mut Value, params: &serde_json::Map<String, Value>) {
    for (key, value) in params {
        if key == "delete" {
            for gone in value.as_str().unwrap_or_default().split(',') {
                if let Some(map) = row.as_object_mut() {
                    map.shift_remove(gone);
                    if gone == "cidr" {
                        map.shift_remove("address");
                        map.shift_remove("netmask");
                        map.insert("method".to_owned(), json!("manual"));
                    }
                }
            }
            continue;
        }
        row[key] = match value {
            Value::Bool(flag) => json!(i32::from(*flag)),
            other => other.clone(),
        };
        if key == "cidr" {
            let (address, mask) =
                value.as_str().and_then(|cidr| cidr.split_once('/')).unwrap_or_default();
            row["address"] = json!(address);
            row["netmask"] = json!(mask);
            row["method"] = json!("static");
        }
    }
}

fn check(call: &Call<'_>, name: &str) -> Result<(), Fault> {
    let gateway = call.text("gateway");
    let other =
        interfaces(call).into_iter().find(|row| row["gateway"].is_string() && row["iface"] != name);
    if let (Some(_), Some(other)) = (gateway, other) {
        let other = other["iface"].as_str().unwrap_or_default().to_owned();
        return Err(Fault::param(
            "gateway",
            format!("Default gateway already exists on interface '{other}'."),
        ));
    }
    Ok(())
}

fn create(call: &mut Call<'_>) -> Answer {
    let name = call.text("iface").unwrap_or_default().to_owned();
    if interfaces(call).iter().any(|row| row["iface"] == name.as_str()) {
        return Err(Fault::param("iface", "interface already exists"));
    }
    check(call, &name)?;
    let params = call.params.clone();
    write(call, |written| {
        let mut row = json!({
            "iface": name, "method": "manual", "method6": "manual", "families": ["inet"],
            "priority": written.len() + 3,
        });
        set(&mut row, &params);
        written.push(row);
    })
}

fn update(call: &mut Call<'_>) -> Answer {
    let name = call.arg("iface").to_owned();
    if !interfaces(call).iter().any(|row| row["iface"] == name.as_str()) {
        return Err(Fault::param("iface", "interface does not exist"));
    }
    check(call, &name)?;
    let params = call.params.clone();
    write(call, |written| {
        for row in written.iter_mut().filter(|row| row["iface"] == name.as_str()) {
            set(row, &params);
        }
    })
}

fn remove(call: &mut Call<'_>) -> Answer {
    let name = call.arg("iface").to_owned();
    if !interfaces(call).iter().any(|row| row["iface"] == name.as_str()) {
        return Err(Fault::param("iface", "interface does not exist"));
    }
    write(call, |written| written.retain(|row| row["iface"] != name.as_str()))
}

fn revert(call: &mut Call<'_>) -> Answer {
    let node = call.node;
    let network = &mut call.cluster_mut().nodes[node].host.network;
    if let Some((runs, _)) = network.take() {
        *network = Some((runs.clone(), runs));
    }
    data(Value::Null)
}

fn apply(call: &mut Call<'_>) -> Answer {
    let (home, node, user, at) = (call.pve(), call.node, call.who.to_string(), call.home);
    let (_, written) = both(call);
    // A bridge over a port that is not there ends the reload.
    let names: Vec<String> =
        written.iter().filter_map(|row| row["iface"].as_str().map(str::to_owned)).collect();
    let lost = written.iter().find_map(|row| {
        let ports = row["bridge_ports"].as_str().unwrap_or_default();
        let lost = ports
            .split_whitespace()
            .find(|port| *port != "none" && !names.iter().any(|name| name == port))?;
        Some((row["iface"].as_str().unwrap_or_default().to_owned(), lost.to_owned()))
    });
    let plan = Plan::new("srvreload", "networking", 2000.0, move |estate| {
        if let Some((bridge, port)) = lost {
            return Outcome::fail(format!(
                "command 'ifreload -a' failed: error: {bridge}: bridge port {port} does not exist"
            ));
        }
        let network = &mut estate.clusters[at].nodes[node].host.network;
        if let Some((runs, written)) = network.as_mut() {
            for row in written.iter_mut().filter(|row| row["autostart"] == 1) {
                row["active"] = json!(1);
            }
            runs.clone_from(written);
        }
        Outcome::ok()
    });
    data(call.estate.start_task(home, node, &user, plan))
}
