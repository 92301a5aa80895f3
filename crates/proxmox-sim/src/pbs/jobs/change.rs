//! Jobs made, changed and removed.

use serde_json::{Map, Value, json};

use crate::call::Call;
use crate::http::{Answer, Fault, data};
use crate::state::digest64;

type Jobs = Vec<Map<String, Value>>;

/// What is said when a configuration is not as the caller saw it.
pub(in crate::pbs) fn conflict() -> Fault {
    Fault::bad("detected modified configuration - file changed by other user? Try again.")
}

/// The texts of a parameter that is a list.
pub(in crate::pbs) fn listed(params: &Map<String, Value>, key: &str) -> Vec<String> {
    match params.get(key) {
        Some(Value::Array(items)) => {
            items.iter().filter_map(Value::as_str).map(str::to_owned).collect()
        }
        Some(Value::String(one)) => vec![one.clone()],
        _ => Vec::new(),
    }
}

fn jobs<'a>(call: &'a mut Call<'_>, kind: &str) -> &'a mut Jobs {
    let vault = call.vault_mut();
    match kind {
        "verify" => &mut vault.verify_jobs,
        "prune" => &mut vault.prune_jobs,
        "tape-backup" => &mut vault.tape_jobs,
        _ => &mut vault.sync_jobs,
    }
}

fn word(kind: &str) -> &'static str {
    match kind {
        "verify" => "verification",
        "prune" => "prune",
        "tape-backup" => "tape-backup",
        _ => "sync",
    }
}

/// What it takes to touch a job of this kind on this datastore.
fn allowed(call: &Call<'_>, kind: &str, store: &str) -> Result<(), Fault> {
    if call.vault().store(store).is_none() {
        return Err(Fault::bad(format!("no such datastore '{store}'")));
    }
    let privilege = match kind {
        // What it takes stands with the path.
        "tape-backup" => return Ok(()),
        "verify" => "Datastore.Verify",
        "prune" => "Datastore.Modify",
        _ => "Datastore.Backup",
    };
    let path = format!("/datastore/{store}");
    if call.grants.may(&path, privilege) {
        return Ok(());
    }
    Err(Fault::new(403, format!("permission check failed - missing {privilege} on {path}")))
}

/// The index of the job in the path; the digest, if one is given, must be the present one.
fn find(call: &mut Call<'_>, kind: &str) -> Result<usize, Fault> {
    let id = call.arg("id").to_owned();
    let given = call.params.shift_remove("digest");
    let jobs = jobs(call, kind);
    let digest = digest64(&format!("{jobs:?}"));
    if given.is_some_and(|given| given != digest.as_str()) {
        return Err(conflict());
    }
    let found = jobs.iter().position(|job| job["id"] == id.as_str());
    let at = found.ok_or_else(|| Fault::bad(format!("no such {} '{id}'", word(kind))))?;
    let store = jobs[at]["store"].as_str().unwrap_or_default().to_owned();
    allowed(call, kind, &store)?;
    Ok(at)
}

pub(super) fn create(call: &mut Call<'_>, kind: &str) -> Answer {
    let store = call.text("store").unwrap_or_default().to_owned();
    allowed(call, kind, &store)?;
    let job = std::mem::take(&mut call.params);
    let id = job["id"].clone();
    let jobs = jobs(call, kind);
    if jobs.iter().any(|known| known["id"] == id) {
        return Err(Fault::bad(format!(
            "job '{}' already exists.",
            id.as_str().unwrap_or_default()
        )));
    }
    jobs.push(job);
    data(Value::Null)
}

pub(super) fn update(call: &mut Call<'_>, kind: &str) -> Answer {
    let at = find(call, kind)?;
    let gone = listed(&call.params, "delete");
    let mut changes = std::mem::take(&mut call.params);
    changes.shift_remove("delete");
    changes.retain(|_, value| *value != json!(null));
    if let Some(store) = changes.get("store").and_then(Value::as_str).map(str::to_owned) {
        allowed(call, kind, &store)?;
    }
    let job = &mut jobs(call, kind)[at];
    for key in gone {
        job.shift_remove(&key);
    }
    job.extend(changes);
    data(Value::Null)
}

pub(super) fn delete(call: &mut Call<'_>, kind: &str) -> Answer {
    let at = find(call, kind)?;
    jobs(call, kind).remove(at);
    data(Value::Null)
}
