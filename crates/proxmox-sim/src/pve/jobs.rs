//! Backup jobs.

use serde_json::{Map, Value, json};

use crate::call::{Call, Handlers};
use crate::http::{Answer, Fault, data, index};
use crate::state::{Cluster, Guest};

pub(super) const HANDLERS: Handlers = &[
    ("GET", "/cluster/backup", list),
    ("POST", "/cluster/backup", create),
    ("GET", "/cluster/backup/{id}", read),
    ("PUT", "/cluster/backup/{id}", update),
    ("DELETE", "/cluster/backup/{id}", delete),
    ("GET", "/cluster/backup/{id}/included_volumes", included),
    ("GET", "/cluster/backup-info", |_| index("subdir", &["not-backed-up"])),
    ("GET", "/cluster/backup-info/not-backed-up", uncovered),
];

fn list(call: &mut Call<'_>) -> Answer {
    let jobs = &call.cluster().backup_jobs;
    data(jobs.iter().cloned().map(Value::Object).collect::<Vec<Value>>())
}

fn find<'a>(call: &'a Call<'_>) -> Result<&'a Map<String, Value>, Fault> {
    let id = call.arg("id");
    let found = call
        .cluster()
        .backup_jobs
        .iter()
        .find(|job| job.get("id").is_some_and(|known| known == id));
    found.ok_or_else(|| Fault::param("id", format!("No such job '{id}'")))
}

fn read(call: &mut Call<'_>) -> Answer {
    data(Value::Object(find(call)?.clone()))
}

fn create(call: &mut Call<'_>) -> Answer {
    super::cluster::quorum(call)?;
    let mut job = std::mem::take(&mut call.params);
    let taken = call.estate.now;
    job.entry("id").or_insert_with(|| json!(format!("backup-{taken:x}")));
    job.insert("type".to_owned(), json!("vzdump"));
    normalize(&mut job);
    job.entry("enabled").or_insert(json!(1));
    let id = job["id"].clone();
    if call.cluster().backup_jobs.iter().any(|known| known.get("id") == Some(&id)) {
        return Err(Fault::param(
            "id",
            format!("Job '{}' already exists", id.as_str().unwrap_or_default()),
        ));
    }
    call.cluster_mut().backup_jobs.push(job);
    data(Value::Null)
}

/// Switches are stored as numbers.
fn normalize(job: &mut Map<String, Value>) {
    for value in job.values_mut() {
        if let Value::Bool(on) = value {
            *value = json!(i32::from(*on));
        }
    }
}

fn update(call: &mut Call<'_>) -> Answer {
    super::cluster::quorum(call)?;
    let id = find(call)?["id"].clone();
    let mut changes = std::mem::take(&mut call.params);
    normalize(&mut changes);
    let removed = changes.shift_remove("delete");
    let jobs = &mut call.cluster_mut().backup_jobs;
    if let Some(job) = jobs.iter_mut().find(|job| job.get("id") == Some(&id)) {
        for key in
            removed.as_ref().and_then(Value::as_str).unwrap_or_default().split([',', ';', ' '])
        {
            job.shift_remove(key);
        }
        job.extend(changes);
    }
    data(Value::Null)
}

fn delete(call: &mut Call<'_>) -> Answer {
    super::cluster::quorum(call)?;
    let id = find(call)?["id"].clone();
    call.cluster_mut().backup_jobs.retain(|job| job.get("id") != Some(&id));
    data(Value::Null)
}

/// Whether a job backs a guest up.
pub(super) fn covers(cluster: &Cluster, job: &Map<String, Value>, guest: &Guest) -> bool {
    let text = |key: &str| job.get(key).and_then(Value::as_str);
    let listed = |list: &str| list.split([',', ';', ' ']).any(|id| id == guest.vmid.to_string());
    if let Some(node) = text("node")
        && cluster.nodes[guest.node].name != node
    {
        return false;
    }
    if text("exclude").is_some_and(listed) {
        return false;
    }
    if let Some(pool) = text("pool") {
        return guest.pool.as_deref() == Some(pool);
    }
    if let Some(list) = text("vmid") {
        return listed(list);
    }
    job.get("all").is_some_and(|all| *all == json!(1))
}

fn included(call: &mut Call<'_>) -> Answer {
    let job = find(call)?;
    let cluster = call.cluster();
    let guests = cluster.guests.values().filter(|guest| covers(cluster, job, guest));
    let children: Vec<Value> = guests
        .filter(|guest| call.may(&format!("/vms/{}", guest.vmid), "VM.Audit"))
        .map(|guest| {
            let disks = guest.disks();
            let volumes: Vec<Value> = disks
                .iter()
                .map(|(key, text)| {
                    json!({
                        "id": key, "name": crate::state::guest::volume_of(text),
                        "included": i32::from(!text.contains("backup=0")), "reason": "enabled",
                    })
                })
                .collect();
            json!({"id": guest.vmid, "name": guest.name(), "type": guest.kind.word(), "children": volumes})
        })
        .collect();
    data(json!({"children": children}))
}

fn uncovered(call: &mut Call<'_>) -> Answer {
    let cluster = call.cluster();
    let jobs: Vec<&Map<String, Value>> = cluster
        .backup_jobs
        .iter()
        .filter(|job| job.get("enabled").is_none_or(|on| *on != json!(0)))
        .collect();
    let guests =
        cluster.guests.values().filter(|guest| !jobs.iter().any(|job| covers(cluster, job, guest)));
    let rows = guests
        .filter(|guest| call.may(&format!("/vms/{}", guest.vmid), "VM.Audit"))
        .map(|guest| json!({"vmid": guest.vmid, "name": guest.name(), "type": guest.kind.word()}));
    data(rows.collect::<Vec<Value>>())
}
