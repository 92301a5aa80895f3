//! The firewall's options, rules and names, and virtual networks.

use serde_json::{Map, Value, json};

use crate::call::{Call, Handlers};
use crate::http::{Answer, Fault, data};
use crate::state::{GuestKind, digest40};

pub(super) const HANDLERS: Handlers = &[
    ("GET", "/cluster/firewall/options", |call| options(call, "cluster".to_owned())),
    ("PUT", "/cluster/firewall/options", |call| set_options(call, "cluster".to_owned())),
    ("GET", "/cluster/firewall/rules", |call| rules(call, "cluster".to_owned())),
    ("POST", "/cluster/firewall/rules", |call| add(call, "cluster".to_owned())),
    ("GET", "/cluster/firewall/rules/{pos}", |call| rule(call, "cluster".to_owned())),
    ("PUT", "/cluster/firewall/rules/{pos}", |call| change(call, "cluster".to_owned())),
    ("DELETE", "/cluster/firewall/rules/{pos}", |call| delete(call, "cluster".to_owned())),
    ("GET", "/cluster/firewall/aliases", |call| aliases(call, "cluster".to_owned())),
    ("GET", "/cluster/firewall/ipset", |call| sets(call, "cluster".to_owned())),
    ("GET", "/cluster/firewall/ipset/{name}", |call| set(call, "cluster".to_owned())),
    ("GET", "/cluster/firewall/groups", groups),
    ("GET", "/cluster/firewall/groups/{group}", |call| group(call, rules)),
    ("POST", "/cluster/firewall/groups/{group}", |call| group(call, add)),
    ("PUT", "/cluster/firewall/groups/{group}/{pos}", |call| group(call, change)),
    ("DELETE", "/cluster/firewall/groups/{group}/{pos}", |call| group(call, delete)),
    ("GET", "/nodes/{node}/firewall/options", |call| node(call, options)),
    ("PUT", "/nodes/{node}/firewall/options", |call| node(call, set_options)),
    ("GET", "/nodes/{node}/firewall/rules", |call| node(call, rules)),
    ("POST", "/nodes/{node}/firewall/rules", |call| node(call, add)),
    ("GET", "/nodes/{node}/firewall/rules/{pos}", |call| node(call, rule)),
    ("PUT", "/nodes/{node}/firewall/rules/{pos}", |call| node(call, change)),
    ("DELETE", "/nodes/{node}/firewall/rules/{pos}", |call| node(call, delete)),
    ("GET", "/nodes/{node}/qemu/{vmid}/firewall/options", |call| vm(call, options)),
    ("PUT", "/nodes/{node}/qemu/{vmid}/firewall/options", |call| vm(call, set_options)),
    ("GET", "/nodes/{node}/qemu/{vmid}/firewall/rules", |call| vm(call, rules)),
    ("POST", "/nodes/{node}/qemu/{vmid}/firewall/rules", |call| vm(call, add)),
    ("GET", "/nodes/{node}/qemu/{vmid}/firewall/rules/{pos}", |call| vm(call, rule)),
    ("PUT", "/nodes/{node}/qemu/{vmid}/firewall/rules/{pos}", |call| vm(call, change)),
    ("DELETE", "/nodes/{node}/qemu/{vmid}/firewall/rules/{pos}", |call| vm(call, delete)),
    ("GET", "/nodes/{node}/qemu/{vmid}/firewall/aliases", |call| vm(call, aliases)),
    ("GET", "/nodes/{node}/qemu/{vmid}/firewall/ipset", |call| vm(call, sets)),
    ("GET", "/nodes/{node}/qemu/{vmid}/firewall/ipset/{name}", |call| vm(call, set)),
    ("GET", "/nodes/{node}/lxc/{vmid}/firewall/options", |call| ct(call, options)),
    ("PUT", "/nodes/{node}/lxc/{vmid}/firewall/options", |call| ct(call, set_options)),
    ("GET", "/nodes/{node}/lxc/{vmid}/firewall/rules", |call| ct(call, rules)),
    ("POST", "/nodes/{node}/lxc/{vmid}/firewall/rules", |call| ct(call, add)),
    ("GET", "/nodes/{node}/lxc/{vmid}/firewall/rules/{pos}", |call| ct(call, rule)),
    ("PUT", "/nodes/{node}/lxc/{vmid}/firewall/rules/{pos}", |call| ct(call, change)),
    ("DELETE", "/nodes/{node}/lxc/{vmid}/firewall/rules/{pos}", |call| ct(call, delete)),
    ("GET", "/nodes/{node}/lxc/{vmid}/firewall/aliases", |call| ct(call, aliases)),
    ("GET", "/nodes/{node}/lxc/{vmid}/firewall/ipset", |call| ct(call, sets)),
    ("GET", "/nodes/{node}/lxc/{vmid}/firewall/ipset/{name}", |call| ct(call, set)),
    ("GET", "/cluster/sdn/zones", |call| data(call.cluster().common.sdn.zones.clone())),
    ("GET", "/cluster/sdn/vnets", |call| data(call.cluster().common.sdn.vnets.clone())),
    ("GET", "/cluster/sdn/vnets/{vnet}/subnets", subnets),
];

type At = fn(&mut Call<'_>, String) -> Answer;

fn node(call: &mut Call<'_>, act: At) -> Answer {
    let level = format!("node/{}", call.cluster().nodes[call.node].name);
    act(call, level)
}

fn vm(call: &mut Call<'_>, act: At) -> Answer {
    let vmid = call.kind(GuestKind::Qemu)?;
    act(call, format!("guest/{vmid}"))
}

fn ct(call: &mut Call<'_>, act: At) -> Answer {
    let vmid = call.kind(GuestKind::Lxc)?;
    act(call, format!("guest/{vmid}"))
}

fn group(call: &mut Call<'_>, act: At) -> Answer {
    let name = call.arg("group").to_owned();
    let level = format!("group/{name}");
    if !call.cluster().common.firewall.rules.contains_key(&level) {
        return Err(Fault::internal(format!("no such security group '{name}'")));
    }
    act(call, level)
}

fn groups(call: &mut Call<'_>) -> Answer {
    let levels = call.cluster().common.firewall.rules.keys();
    let names = levels.filter_map(|level| level.strip_prefix("group/"));
    data(names.map(|name| json!({"group": name, "digest": digest40(name)})).collect::<Vec<_>>())
}

/// The digest of a level's file.
fn digest(call: &Call<'_>, level: &str) -> String {
    let firewall = &call.cluster().common.firewall;
    let (rules, options) = (firewall.rules.get(level), firewall.options.get(level));
    if rules.is_none() && options.is_none() {
        return digest40("");
    }
    digest40(&format!("{rules:?}{options:?}"))
}

#[expect(clippy::needless_pass_by_value, reason = "every handler of a level takes it so")]
fn options(call: &mut Call<'_>, level: String) -> Answer {
    let mut shown = call.cluster().common.firewall.options.get(&level).cloned().unwrap_or_default();
    if level == "cluster" && !shown.contains_key("enable") {
        shown.insert("enable".to_owned(), json!(0));
    }
    shown.insert("digest".to_owned(), json!(digest(call, &level)));
    data(Value::Object(shown))
}

fn set_options(call: &mut Call<'_>, level: String) -> Answer {
    unmoved(call, &level)?;
    let given = fields(call);
    let gone: Vec<String> =
        call.text("delete").unwrap_or_default().split(',').map(str::to_owned).collect();
    let options = call.cluster_mut().common.firewall.options.entry(level).or_default();
    options.retain(|name, _| !gone.contains(name));
    options.extend(given);
    data(Value::Null)
}

#[expect(clippy::needless_pass_by_value, reason = "every handler of a level takes it so")]
fn rules(call: &mut Call<'_>, level: String) -> Answer {
    let digest = digest(call, &level);
    let rules = call.cluster().common.firewall.rules.get(&level);
    let rows = rules.into_iter().flatten().enumerate().map(|(at, rule)| {
        let mut row = rule.clone();
        row.insert("pos".to_owned(), json!(at));
        row.insert("digest".to_owned(), json!(digest));
        Value::Object(row)
    });
    data(rows.collect::<Vec<Value>>())
}

fn position(call: &Call<'_>, level: &str) -> Result<usize, Fault> {
    let count = call.cluster().common.firewall.rules.get(level).map_or(0, Vec::len);
    let at = call.arg("pos").parse::<usize>().ok().filter(|at| *at < count);
    at.ok_or_else(|| Fault::param("pos", format!("no rule at position {}", call.arg("pos"))))
}

#[expect(clippy::needless_pass_by_value, reason = "every handler of a level takes it so")]
fn rule(call: &mut Call<'_>, level: String) -> Answer {
    let at = position(call, &level)?;
    let mut row = call.cluster().common.firewall.rules[&level][at].clone();
    row.insert("pos".to_owned(), json!(at));
    data(Value::Object(row))
}

/// Refuses what somebody else changed meanwhile.
fn unmoved(call: &Call<'_>, level: &str) -> Result<(), Fault> {
    let now = digest(call, level);
    match call.text("digest") {
        Some(given) if given != now => Err(Fault::internal(
            "detected modified configuration - file changed by other user? Try again.",
        )),
        _ => Ok(()),
    }
}

/// The fields of a rule among the parameters.
fn fields(call: &Call<'_>) -> Map<String, Value> {
    let rest = ["pos", "digest", "delete", "moveto"];
    let given = call.params.iter().filter(|(key, _)| !rest.contains(&key.as_str()));
    given.map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn valid(call: &Call<'_>, rule: &Map<String, Value>) -> Result<(), Fault> {
    let text = |key: &str| rule.get(key).and_then(Value::as_str);
    let kind = text("type").unwrap_or_default();
    let action = text("action").unwrap_or_default();
    if kind == "group" {
        let level = format!("group/{action}");
        if !call.cluster().common.firewall.rules.contains_key(&level) {
            return Err(Fault::param("action", format!("no such security group '{action}'")));
        }
    } else if !matches!(action, "ACCEPT" | "DROP" | "REJECT") {
        return Err(Fault::param("action", format!("unknown action '{action}'")));
    }
    let has_ports = rule.contains_key("dport") || rule.contains_key("sport");
    if has_ports && !rule.contains_key("proto") && !rule.contains_key("macro") {
        return Err(Fault::param(
            "proto",
            "missing property - 'dport' and 'sport' require 'proto'",
        ));
    }
    for key in ["source", "dest"] {
        let Some(given) = text(key) else { continue };
        if let Some(name) = given.strip_prefix('+') {
            let name = name.trim_start_matches("dc/").trim_start_matches("guest/");
            let known = call.cluster().common.firewall.sets.keys().any(|(_, set)| set == name);
            if !known {
                return Err(Fault::param(key, format!("no such ipset '{name}'")));
            }
        }
    }
    Ok(())
}

fn add(call: &mut Call<'_>, level: String) -> Answer {
    unmoved(call, &level)?;
    let rule = fields(call);
    valid(call, &rule)?;
    let rules = call.cluster_mut().common.firewall.rules.entry(level).or_default();
    rules.insert(0, rule);
    data(Value::Null)
}

fn change(call: &mut Call<'_>, level: String) -> Answer {
    let at = position(call, &level)?;
    unmoved(call, &level)?;
    if let Some(to) = call.int("moveto") {
        let rules = call.cluster_mut().common.firewall.rules.entry(level).or_default();
        let to = usize::try_from(to).unwrap_or(0).min(rules.len());
        let rule = rules.remove(at);
        let to = if to > at { to - 1 } else { to };
        rules.insert(to, rule);
        return data(Value::Null);
    }
    let mut rule = call.cluster().common.firewall.rules[&level][at].clone();
    for key in call.text("delete").unwrap_or_default().split(',') {
        rule.shift_remove(key);
    }
    rule.extend(fields(call));
    valid(call, &rule)?;
    if let Some(rules) = call.cluster_mut().common.firewall.rules.get_mut(&level) {
        rules[at] = rule;
    }
    data(Value::Null)
}

#[expect(clippy::needless_pass_by_value, reason = "every handler of a level takes it so")]
fn delete(call: &mut Call<'_>, level: String) -> Answer {
    let at = position(call, &level)?;
    unmoved(call, &level)?;
    if let Some(rules) = call.cluster_mut().common.firewall.rules.get_mut(&level) {
        rules.remove(at);
    }
    data(Value::Null)
}

#[expect(clippy::needless_pass_by_value, reason = "every handler of a level takes it so")]
fn aliases(call: &mut Call<'_>, level: String) -> Answer {
    let found = call.cluster().common.firewall.aliases.get(&level);
    data(found.cloned().unwrap_or_default())
}

#[expect(clippy::needless_pass_by_value, reason = "every handler of a level takes it so")]
fn sets(call: &mut Call<'_>, level: String) -> Answer {
    let sets = call.cluster().common.firewall.sets.keys();
    let names = sets.filter(|(at, _)| *at == level).map(|(_, name)| json!({"name": name}));
    data(names.collect::<Vec<Value>>())
}

fn set(call: &mut Call<'_>, level: String) -> Answer {
    let name = call.arg("name").to_owned();
    let found = call.cluster().common.firewall.sets.get(&(level, name.clone()));
    let found = found.cloned();
    data(found.ok_or_else(|| Fault::internal(format!("no such IPSet '{name}'")))?)
}

fn subnets(call: &mut Call<'_>) -> Answer {
    let name = call.arg("vnet");
    let subnets = call.cluster().common.sdn.subnets.iter();
    let rows = subnets.filter(|(vnet, _)| *vnet == name).map(|(_, row)| row.clone());
    data(rows.collect::<Vec<Value>>())
}
