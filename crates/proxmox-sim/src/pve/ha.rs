//! High availability: the wishes, and the manager that comes round to them later.

use serde_json::{Value, json};

use super::power::{Action, plan};
use crate::call::{Call, Handlers};
use crate::http::{Answer, Fault, data, index};
use crate::state::ha::{Resource, Rule};
use crate::state::{Estate, Home};

pub(super) const HANDLERS: Handlers = &[
    ("GET", "/cluster/ha", |_| index("id", &["status", "resources", "groups", "rules"])),
    ("GET", "/cluster/ha/status", |_| index("name", &["current", "manager_status"])),
    ("GET", "/cluster/ha/resources", list),
    ("POST", "/cluster/ha/resources", create),
    ("GET", "/cluster/ha/resources/{sid}", read),
    ("PUT", "/cluster/ha/resources/{sid}", update),
    ("DELETE", "/cluster/ha/resources/{sid}", delete),
    ("GET", "/cluster/ha/groups", groups),
    ("GET", "/cluster/ha/rules", rules),
    ("POST", "/cluster/ha/rules", create_rule),
    ("GET", "/cluster/ha/rules/{rule}", rule),
    ("PUT", "/cluster/ha/rules/{rule}", update_rule),
    ("DELETE", "/cluster/ha/rules/{rule}", delete_rule),
    ("GET", "/cluster/ha/status/current", current),
    ("GET", "/cluster/ha/status/manager_status", manager),
];

/// How long the manager takes to notice a wish, in milliseconds at demo pace.
const ROUND: f64 = 2500.0;

/// Records what is wanted of a managed guest; the manager acts on it a round later.
pub(super) fn wish(estate: &mut Estate, home: Home, sid: &str, wish: &str) {
    let Home::Pve(at) = home else { return };
    let Some(resource) = estate.clusters[at].ha.resources.get_mut(sid) else { return };
    resource.generation += 1;
    resource.failures = 0;
    wish.clone_into(&mut resource.wish);
    resource.state = match wish {
        "started" if resource.state != "started" => "starting",
        "stopped" | "disabled" if resource.state == "started" => "request_stop",
        "disabled" => "disabled",
        _ => resource.state.as_str(),
    }
    .to_owned();
    let generation = resource.generation;
    let sid = sid.to_owned();
    estate.after(ROUND, move |estate| act(estate, at, &sid, generation));
}

/// One round of the manager for one guest.
fn act(estate: &mut Estate, at: usize, sid: &str, generation: u64) {
    let cluster = &estate.clusters[at];
    let Some(resource) = cluster.ha.resources.get(sid) else { return };
    let vmid: u32 = sid.split(':').nth(1).and_then(|vmid| vmid.parse().ok()).unwrap_or(0);
    let Some(guest) = cluster.guests.get(&vmid) else { return };
    if resource.generation != generation || !cluster.quorate {
        return;
    }
    let (kind, node, running) = (guest.kind, guest.node, guest.running());
    let start = resource.wish == "started";
    if start == running {
        settle(estate, at, sid, if start { "started" } else { "stopped" });
        return;
    }
    let action = if start { Action::Start } else { Action::Shutdown };
    let home = Home::Pve(at);
    let mut task = plan(estate, home, node, vmid, kind, action, None, true);
    let inner = task.end;
    let key = sid.to_owned();
    task.end = Box::new(move |estate| {
        let outcome = inner(estate);
        followed(estate, at, &key, generation, outcome.result.is_ok());
        outcome
    });
    estate.start_task(home, node, "root@pam", task);
}

/// What the manager makes of a task's end.
fn followed(estate: &mut Estate, at: usize, sid: &str, generation: u64, good: bool) {
    let Some(resource) = estate.clusters[at].ha.resources.get_mut(sid) else { return };
    if resource.generation != generation {
        return;
    }
    if good {
        let state = if resource.wish == "started" { "started" } else { "stopped" };
        settle(estate, at, sid, state);
        return;
    }
    resource.failures += 1;
    if resource.failures <= resource.max_restart {
        let sid = sid.to_owned();
        estate.after(ROUND, move |estate| act(estate, at, &sid, generation));
    } else {
        settle(estate, at, sid, "error");
    }
}

fn settle(estate: &mut Estate, at: usize, sid: &str, state: &str) {
    let now = estate.seconds();
    let cluster = &mut estate.clusters[at];
    let Some(resource) = cluster.ha.resources.get_mut(sid) else { return };
    let before = std::mem::replace(&mut resource.state, state.to_owned());
    if before != state {
        let node = cluster.nodes[0].name.clone();
        let text = format!("service '{sid}': state changed from '{before}' to '{state}'");
        cluster.note(now, &node, "", "pve-ha-crm", if state == "error" { 3 } else { 6 }, &text);
    }
}

fn sid(call: &Call<'_>) -> Result<String, Fault> {
    let given = call.arg("sid");
    let bare = given.strip_prefix("vm:").or_else(|| given.strip_prefix("ct:")).unwrap_or(given);
    let vmid: u32 = bare.parse().map_err(|_| {
        Fault::param("sid", "invalid format - value does not look like a valid ha resource id\n")
    })?;
    let guest = call.cluster().guests.get(&vmid);
    let sid = guest.map_or_else(|| given.to_owned(), crate::state::cluster::sid);
    if call.cluster().ha.resources.contains_key(&sid) {
        return Ok(sid);
    }
    Err(Fault::internal(format!("no such resource '{given}'")))
}

fn show(sid: &str, resource: &Resource) -> Value {
    let kind = sid.split(':').next().unwrap_or("vm");
    let mut row = json!({
        "sid": sid, "type": kind, "state": resource.wish, "max_restart": resource.max_restart,
        "max_relocate": resource.max_relocate, "digest": crate::state::digest40(sid),
    });
    if let Some(comment) = &resource.comment {
        row["comment"] = json!(comment);
    }
    if let Some(group) = &resource.group {
        row["group"] = json!(group);
    }
    if let Some(failback) = resource.failback {
        row["failback"] = json!(i32::from(failback));
    }
    row
}

fn list(call: &mut Call<'_>) -> Answer {
    let resources = &call.cluster().ha.resources;
    data(resources.iter().map(|(sid, resource)| show(sid, resource)).collect::<Vec<Value>>())
}

fn read(call: &mut Call<'_>) -> Answer {
    let sid = sid(call)?;
    data(show(&sid, &call.cluster().ha.resources[&sid]))
}

fn create(call: &mut Call<'_>) -> Answer {
    super::cluster::quorum(call)?;
    let given = call.text("sid").unwrap_or_default().to_owned();
    let bare = given.rsplit(':').next().unwrap_or_default();
    let vmid: u32 = bare.parse().unwrap_or(0);
    let cluster = call.cluster();
    let Some(guest) = cluster.guests.get(&vmid) else {
        return Err(Fault::internal(format!("resource 'vm:{vmid}' does not exist in cluster")));
    };
    let sid = crate::state::cluster::sid(guest);
    if cluster.ha.resources.contains_key(&sid) {
        return Err(Fault::internal(format!("resource ID '{sid}' already defined")));
    }
    let state = guest.status().replace("running", "started");
    let asked = call.text("state").unwrap_or("started").to_owned();
    let asked = if asked == "enabled" { "started".to_owned() } else { asked };
    let mut resource = Resource::new(&asked, &state);
    resource.comment = call.text("comment").map(str::to_owned);
    resource.group = group_of(call)?;
    resource.failback = call.flag("failback");
    resource.max_restart = call.int("max_restart").unwrap_or(1) as u32;
    resource.max_relocate = call.int("max_relocate").unwrap_or(1) as u32;
    call.cluster_mut().ha.resources.insert(sid.clone(), resource);
    let home = call.pve();
    wish(call.estate, home, &sid, &asked);
    data(Value::Null)
}

fn update(call: &mut Call<'_>) -> Answer {
    super::cluster::quorum(call)?;
    let sid = sid(call)?;
    let comment = call.text("comment").map(str::to_owned);
    let asked = call.text("state").map(str::to_owned);
    let group = group_of(call)?;
    let failback = call.flag("failback");
    let restart = call.int("max_restart").map(|count| count as u32);
    let relocate = call.int("max_relocate").map(|count| count as u32);
    let delete = call.text("delete").unwrap_or_default().to_owned();
    if let Some(resource) = call.cluster_mut().ha.resources.get_mut(&sid) {
        for key in delete.split([',', ';', ' ']) {
            match key {
                "comment" => resource.comment = None,
                "group" => resource.group = None,
                "failback" => resource.failback = None,
                _ => {}
            }
        }
        resource.comment = comment.or(resource.comment.take());
        resource.group = group.or(resource.group.take());
        resource.failback = failback.or(resource.failback);
        resource.max_restart = restart.unwrap_or(resource.max_restart);
        resource.max_relocate = relocate.unwrap_or(resource.max_relocate);
    }
    if let Some(asked) = asked {
        let asked = if asked == "enabled" { "started".to_owned() } else { asked };
        let home = call.pve();
        wish(call.estate, home, &sid, &asked);
    }
    data(Value::Null)
}

fn delete(call: &mut Call<'_>) -> Answer {
    super::cluster::quorum(call)?;
    let sid = sid(call)?;
    let purge = call.flag("purge") != Some(false);
    let ha = &mut call.cluster_mut().ha;
    ha.resources.remove(&sid);
    if purge {
        for rule in &mut ha.rules {
            rule.resources.retain(|held| *held != sid);
        }
        ha.rules.retain(|rule| rule.kind.is_empty() || !rule.resources.is_empty());
    }
    data(Value::Null)
}

fn groups(call: &mut Call<'_>) -> Answer {
    if call.estate.release.is_9() {
        return Err(Fault::internal("cannot index groups: ha groups have been migrated to rules"));
    }
    let rows = call.cluster().ha.rules.iter().map(|group| {
        json!({
            "group": group.name, "nodes": group.nodes, "type": "group", "nofailback": 0,
            "restricted": i32::from(group.strict), "digest": crate::state::digest40(&group.name),
        })
    });
    data(rows.collect::<Vec<Value>>())
}

/// The group of the parameters; only release 8 has any.
fn group_of(call: &Call<'_>) -> Result<Option<String>, Fault> {
    let Some(group) = call.text("group") else { return Ok(None) };
    if call.estate.release.is_9() {
        return Err(Fault::param("group", "ha groups have been migrated to rules"));
    }
    if !call.cluster().ha.rules.iter().any(|rule| rule.name == group) {
        return Err(Fault::internal(format!("HA group '{group}' does not exist")));
    }
    Ok(Some(group.to_owned()))
}

fn show_rule(rule: &Rule, order: usize) -> Value {
    let mut row = json!({
        "rule": rule.name, "type": rule.kind, "resources": rule.resources.join(","), "order": order + 1,
        "digest": crate::state::digest40(&format!("{rule:?}")),
    });
    if let Some(nodes) = &rule.nodes {
        row["nodes"] = json!(nodes);
        row["strict"] = json!(i32::from(rule.strict));
    }
    if let Some(affinity) = &rule.affinity {
        row["affinity"] = json!(affinity);
    }
    if rule.disabled {
        row["disable"] = json!(1);
    }
    if let Some(comment) = &rule.comment {
        row["comment"] = json!(comment);
    }
    row
}

fn rules(call: &mut Call<'_>) -> Answer {
    let rules = call.cluster().ha.rules.iter().enumerate();
    data(rules.map(|(at, rule)| show_rule(rule, at)).collect::<Vec<Value>>())
}

fn place_of(call: &Call<'_>) -> Result<usize, Fault> {
    let name = call.arg("rule");
    let found = call.cluster().ha.rules.iter().position(|rule| rule.name == name);
    found.ok_or_else(|| Fault::internal(format!("HA rule '{name}' does not exist")))
}

fn rule(call: &mut Call<'_>) -> Answer {
    let at = place_of(call)?;
    data(show_rule(&call.cluster().ha.rules[at], at))
}

/// What the parameters make of a rule.
fn changed(call: &Call<'_>, mut rule: Rule) -> Result<Rule, Fault> {
    let text = |name: &str| call.text(name).map(str::to_owned);
    if let Some(list) = call.text("resources") {
        rule.resources = list.split([',', ';', ' ']).map(str::to_owned).collect();
    }
    rule.nodes = text("nodes").or(rule.nodes);
    rule.affinity = text("affinity").or(rule.affinity);
    rule.comment = text("comment").or(rule.comment);
    rule.strict = call.flag("strict").unwrap_or(rule.strict);
    rule.disabled = call.flag("disable").unwrap_or(rule.disabled);
    for sid in &rule.resources {
        if !call.cluster().ha.resources.contains_key(sid) {
            return Err(Fault::param(
                "resources",
                format!("cannot use unmanaged resource(s) {sid}."),
            ));
        }
        let elsewhere = call.cluster().ha.rules.iter().find(|other| {
            other.name != rule.name
                && other.kind == rule.kind
                && rule.kind == "node-affinity"
                && other.resources.contains(sid)
        });
        if elsewhere.is_some() {
            let text = format!("resource '{sid}' is already used in another node affinity rule");
            return Err(Fault::param("resources", text));
        }
    }
    Ok(rule)
}

fn create_rule(call: &mut Call<'_>) -> Answer {
    super::cluster::quorum(call)?;
    let name = call.text("rule").unwrap_or_default().to_owned();
    if call.cluster().ha.rules.iter().any(|rule| rule.name == name) {
        return Err(Fault::param("rule", format!("HA rule '{name}' already exists")));
    }
    let kind = call.text("type").unwrap_or_default().to_owned();
    let missing = if kind == "node-affinity" { "nodes" } else { "affinity" };
    if call.text(missing).is_none() {
        return Err(Fault::param(missing, "property is missing and it is not optional"));
    }
    let rule = changed(call, Rule { name, kind, ..Rule::default() })?;
    call.cluster_mut().ha.rules.push(rule);
    data(Value::Null)
}

fn update_rule(call: &mut Call<'_>) -> Answer {
    super::cluster::quorum(call)?;
    let at = place_of(call)?;
    let old = call.cluster().ha.rules[at].clone();
    let digest = crate::state::digest40(&format!("{old:?}"));
    if call.text("digest").is_some_and(|given| given != digest) {
        return Err(Fault::internal(
            "detected modified configuration - file changed by other user? Try again.",
        ));
    }
    let rule = changed(call, old)?;
    call.cluster_mut().ha.rules[at] = rule;
    data(Value::Null)
}

fn delete_rule(call: &mut Call<'_>) -> Answer {
    super::cluster::quorum(call)?;
    let at = place_of(call)?;
    call.cluster_mut().ha.rules.remove(at);
    data(Value::Null)
}

fn current(call: &mut Call<'_>) -> Answer {
    let cluster = call.cluster();
    let now = call.estate.seconds();
    let local = &cluster.nodes[call.local].name;
    let quorum = i32::from(cluster.quorate);
    let mut rows = vec![json!({
        "id": "quorum", "type": "quorum", "node": local, "quorate": quorum,
        "status": if cluster.quorate { "OK" } else { "No quorum on node" },
    })];
    if cluster.ha.resources.is_empty() {
        return data(rows);
    }
    let time = crate::clock::utc(now - now % 10, "%a %b %e %H:%M:%S %Y");
    let master =
        cluster.nodes.iter().find(|node| node.online).map_or("", |node| node.name.as_str());
    rows.push(json!({
        "id": "master", "type": "master", "node": master, "timestamp": now - now % 10,
        "status": format!("{master} (active, {time})"),
    }));
    if call.estate.release.is_9() {
        rows.push(json!({"id": "fencing", "type": "fencing", "node": master, "armed-state": "armed", "status": "armed (CRM watchdog active)"}));
    }
    for node in &cluster.nodes {
        let state = if node.online { "active" } else { "old timestamp - dead?" };
        rows.push(json!({
            "id": format!("lrm:{}", node.name), "type": "lrm", "node": node.name, "timestamp": now - now % 10,
            "status": format!("{} ({state}, {time})", node.name),
        }));
    }
    for (sid, resource) in &cluster.ha.resources {
        let vmid: u32 = sid.split(':').nth(1).and_then(|vmid| vmid.parse().ok()).unwrap_or(0);
        let node =
            cluster.guests.get(&vmid).map_or("", |guest| cluster.nodes[guest.node].name.as_str());
        rows.push(json!({
            "id": format!("service:{sid}"), "type": "service", "sid": sid, "node": node,
            "state": resource.state, "crm_state": resource.state, "request_state": resource.wish,
            "max_restart": resource.max_restart, "max_relocate": resource.max_relocate,
            "status": format!("{sid} ({node}, {})", resource.state),
        }));
    }
    data(rows)
}

fn manager(call: &mut Call<'_>) -> Answer {
    let cluster = call.cluster();
    let now = call.estate.seconds();
    let local = &cluster.nodes[call.local].name;
    let quorum = json!({"node": local, "quorate": if cluster.quorate { "1" } else { "0" }});
    if cluster.ha.resources.is_empty() {
        return data(json!({"manager_status": {"node_status": {}}, "quorum": quorum}));
    }
    let mut states = serde_json::Map::new();
    let mut lrm = serde_json::Map::new();
    for node in &cluster.nodes {
        let state = if node.online { "online" } else { "unknown" };
        states.insert(node.name.clone(), json!(state));
        lrm.insert(
            node.name.clone(),
            json!({"mode": "active", "state": "active", "timestamp": now, "results": {}}),
        );
    }
    let mut services = serde_json::Map::new();
    for (sid, resource) in &cluster.ha.resources {
        let vmid: u32 = sid.split(':').nth(1).and_then(|vmid| vmid.parse().ok()).unwrap_or(0);
        let node =
            cluster.guests.get(&vmid).map_or("", |guest| cluster.nodes[guest.node].name.as_str());
        services.insert(sid.clone(), json!({"node": node, "state": resource.state, "uid": format!("sim{vmid}"), "running": i32::from(resource.state == "started")}));
    }
    data(json!({
        "lrm_status": lrm, "quorum": quorum,
        "manager_status": {"master_node": cluster.nodes[0].name, "node_status": states, "service_status": services, "timestamp": now},
    }))
}
