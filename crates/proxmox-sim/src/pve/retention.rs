//! Pruning of the backups on a storage: what would stay, and doing it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::storage::{remove, volumes};
use crate::call::{Call, Handlers};
use crate::http::{Answer, Fault, data};
use crate::pbs::prune::{Mark, decide};
use crate::state::{Estate, Outcome, Plan, Storage, Volume};

pub(super) const HANDLERS: Handlers = &[
    ("GET", "/nodes/{node}/storage/{storage}/prunebackups", |call| prune(call, false)),
    ("DELETE", "/nodes/{node}/storage/{storage}/prunebackups", |call| prune(call, true)),
];

/// The rule of a call, else of the storage, else to keep all.
fn rule_of(given: Option<&str>, storage: &Storage) -> String {
    let own = storage.options.get("prune-backups").and_then(Value::as_str);
    given.or(own).unwrap_or("keep-all=1").to_owned()
}

/// How many `keep-last=3,keep-daily=7` keeps by a rule.
fn count(rule: &str, name: &str) -> usize {
    let part = rule.split(',').find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
    part.and_then(|count| count.parse().ok()).unwrap_or(0)
}

/// Whether a file has the name that a backup run gives; others are never pruned.
fn is_standard(volume: &Volume) -> bool {
    let name = volume.volid.rsplit('/').next().unwrap_or_default();
    volume.format.starts_with("pbs-")
        || name.starts_with("vzdump-qemu-")
        || name.starts_with("vzdump-lxc-")
}

/// The backups with what becomes of them, by guest, oldest first.
pub(super) fn marks(mut backups: Vec<Volume>, rule: &str) -> Vec<(Volume, &'static str)> {
    backups.retain(|volume| volume.content == "backup");
    let mut groups: BTreeMap<(Option<&str>, Option<u32>), Vec<Volume>> = BTreeMap::new();
    let mut marked = Vec::new();
    for volume in backups {
        if is_standard(&volume) {
            groups.entry((volume.subtype, volume.vmid)).or_default().push(volume);
        } else {
            marked.push((volume, "renamed"));
        }
    }
    for mut members in groups.into_values() {
        members.sort_by_key(|volume| std::cmp::Reverse(volume.ctime));
        let times: Vec<(i64, bool)> =
            members.iter().map(|volume| (volume.ctime, volume.protected)).collect();
        let fates = decide(&times, |name| count(rule, name));
        marked.extend(members.into_iter().zip(fates.into_iter().map(Mark::word)).rev());
    }
    marked
}

/// Prunes a guest's backups after a run, as the storage's own rule says; returns the log's lines.
pub(super) fn after_run(
    estate: &mut Estate,
    at: usize,
    found: &Storage,
    backups: Vec<Volume>,
    given: Option<&str>,
) -> Vec<String> {
    let rule = rule_of(given, found);
    let gone: Vec<Volume> = marks(backups, &rule)
        .into_iter()
        .filter(|(_, mark)| *mark == "remove")
        .map(|(volume, _)| volume)
        .collect();
    let mut lines = vec![format!("INFO: prune older backups with retention: {rule}")];
    for volume in &gone {
        lines.push(format!("INFO: removing backup '{}'", volume.volid));
        remove(estate, at, &found.name, volume);
    }
    lines.push(format!(
        "INFO: pruned {} backup(s) not covered by keep-retention policy",
        gone.len()
    ));
    lines
}

fn prune(call: &mut Call<'_>, act: bool) -> Answer {
    let name = call.arg("storage").to_owned();
    let storage = call
        .cluster()
        .storage(&name)
        .ok_or_else(|| Fault::internal(format!("storage '{name}' does not exist")))?;
    let vmid = call.int("vmid").map(|vmid| vmid as u32);
    if act && !call.may(&format!("/storage/{name}"), "Datastore.Allocate") {
        let Some(vmid) = vmid else {
            return Err(Fault::new(
                403,
                format!("Permission check failed (/storage/{name}, Datastore.Allocate)"),
            ));
        };
        call.need(&format!("/storage/{name}"), "Datastore.AllocateSpace")?;
        call.need(&format!("/vms/{vmid}"), "VM.Backup")?;
    }
    if let Some(cause) = super::storage::away(call, storage) {
        return Err(Fault::internal(cause));
    }
    let kind = call.text("type");
    let rule = rule_of(call.text("prune-backups"), storage);
    let mut backups = volumes(call, storage);
    backups.retain(|volume| {
        vmid.is_none_or(|vmid| volume.vmid == Some(vmid))
            && kind.is_none_or(|kind| volume.subtype == Some(kind))
    });
    let marked = marks(backups, &rule);
    if !act {
        let rows = marked.iter().map(|(volume, mark)| {
            json!({
                "volid": volume.volid, "vmid": volume.vmid, "ctime": volume.ctime, "mark": mark,
                "type": volume.subtype.unwrap_or("unknown"),
            })
        });
        return data(rows.collect::<Vec<Value>>());
    }
    let (home, node, user, at) = (call.pve(), call.node, call.who.to_string(), call.home);
    let id = vmid.map_or_else(|| name.clone(), |vmid| format!("{vmid}@{name}"));
    let gone: Vec<Volume> = marked
        .into_iter()
        .filter(|(_, mark)| *mark == "remove")
        .map(|(volume, _)| volume)
        .collect();
    let lines = gone.iter().map(|volume| format!("removing backup '{}'", volume.volid)).collect();
    let plan = Plan::new("prunebackups", id, 900.0, move |estate| {
        for volume in &gone {
            remove(estate, at, &name, volume);
        }
        Outcome::ok()
    });
    data(call.estate.start_task(home, node, &user, plan.lines(lines)))
}
