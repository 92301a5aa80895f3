//! Backup groups and snapshots.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::datastores::{need, store};
use crate::call::{Call, Handlers};
use crate::http::{Answer, Fault, data};
use crate::state::vault::Backup;

pub(super) const HANDLERS: Handlers = &[
    ("GET", "/admin/datastore/{store}/groups", groups),
    ("DELETE", "/admin/datastore/{store}/groups", delete_group),
    ("GET", "/admin/datastore/{store}/snapshots", list),
    ("DELETE", "/admin/datastore/{store}/snapshots", delete),
    ("GET", "/admin/datastore/{store}/files", |call| {
        let backup = snapshot(call)?;
        data(files(backup))
    }),
    ("GET", "/admin/datastore/{store}/notes", |call| {
        let notes = snapshot(call)?.comment.clone();
        data(notes.unwrap_or_default())
    }),
    ("PUT", "/admin/datastore/{store}/notes", set_notes),
    ("GET", "/admin/datastore/{store}/group-notes", group_notes),
    ("PUT", "/admin/datastore/{store}/group-notes", set_group_notes),
    ("GET", "/admin/datastore/{store}/protected", |call| {
        let protected = snapshot(call)?.protected;
        data(protected)
    }),
    ("PUT", "/admin/datastore/{store}/protected", protect),
];

pub(super) fn ns(call: &Call<'_>) -> String {
    call.text("ns").unwrap_or_default().to_owned()
}

/// Whether the namespace exists.
pub(super) fn known_ns(call: &Call<'_>, ns: &str) -> Result<(), Fault> {
    let store = store(call)?;
    if ns.is_empty() || store.namespaces.iter().any(|known| known == ns) {
        return Ok(());
    }
    Err(Fault::bad(format!("namespace '{ns}' does not exist")))
}

/// Whether a snapshot fits the parameters that name one, or a group.
pub(super) fn fits(call: &Call<'_>, ns: &str, backup: &Backup) -> bool {
    backup.ns == ns
        && call.text("backup-type").is_none_or(|kind| backup.kind == kind)
        && call.text("backup-id").is_none_or(|id| backup.id == id)
        && call.int("backup-time").is_none_or(|time| backup.time == time)
}

fn listed<'a>(call: &'a Call<'_>) -> Result<Vec<&'a Backup>, Fault> {
    let ns = ns(call);
    let store = store(call)?;
    need(call, &ns, "Datastore.Audit", "Datastore.Backup")?;
    known_ns(call, &ns)?;
    let audit = call.grants.may(&super::datastores::acl_path(&store.name, &ns), "Datastore.Audit");
    let who = call.who.to_string();
    let own = |backup: &&Backup| audit || backup.owner == who || backup.owner == call.who.user;
    Ok(store.snapshots.iter().filter(|backup| fits(call, &ns, backup)).filter(own).collect())
}

fn files(backup: &Backup) -> Vec<Value> {
    let files = backup.files().into_iter();
    files
        .map(|(name, size)| json!({"filename": name, "crypt-mode": "none", "size": size}))
        .collect()
}

fn show(backup: &Backup) -> Value {
    let mut row = json!({
        "backup-type": backup.kind, "backup-id": backup.id, "backup-time": backup.time, "files": files(backup),
        "size": backup.total_size(), "owner": backup.owner, "protected": backup.protected,
    });
    if let Some(comment) = &backup.comment {
        row["comment"] = json!(comment);
    }
    if let Some((good, upid)) = &backup.verified {
        row["verification"] = json!({"state": if *good { "ok" } else { "failed" }, "upid": upid});
    }
    row
}

fn list(call: &mut Call<'_>) -> Answer {
    data(listed(call)?.into_iter().map(show).collect::<Vec<Value>>())
}

fn groups(call: &mut Call<'_>) -> Answer {
    let call = &*call;
    let store = store(call)?;
    let mut groups: BTreeMap<(&str, &str), Vec<&Backup>> = BTreeMap::new();
    for backup in listed(call)? {
        groups.entry((backup.kind, backup.id.as_str())).or_default().push(backup);
    }
    let ns = ns(call);
    let rows = groups.into_iter().filter_map(|((kind, id), backups)| {
        let last = backups.iter().max_by_key(|backup| backup.time)?;
        let names: Vec<&str> = last.files().iter().map(|(name, _)| *name).collect();
        let mut row = json!({
            "backup-type": kind, "backup-id": id, "backup-count": backups.len(), "last-backup": last.time,
            "owner": last.owner, "files": names,
        });
        let key = (ns.clone(), kind.to_owned(), id.to_owned());
        if let Some(notes) = store.group_notes.get(&key) {
            row["comment"] = json!(notes.lines().next());
        }
        Some(row)
    });
    data(rows.collect::<Vec<Value>>())
}

fn snapshot<'a>(call: &'a Call<'_>) -> Result<&'a Backup, Fault> {
    let ns = ns(call);
    let store = store(call)?;
    need(call, &ns, "Datastore.Audit", "Datastore.Backup")?;
    known_ns(call, &ns)?;
    store.snapshots.iter().find(|backup| fits(call, &ns, backup)).ok_or_else(|| absent(call))
}

pub(super) fn absent(call: &Call<'_>) -> Fault {
    let time = crate::clock::utc(call.int("backup-time").unwrap_or(0), "%Y-%m-%dT%H:%M:%SZ");
    let (kind, id) =
        (call.text("backup-type").unwrap_or_default(), call.text("backup-id").unwrap_or_default());
    Fault::bad(format!(
        "unable to load blob '\"/mnt/datastore/{}/{kind}/{id}/{time}/index.json.blob\"' - No such file or directory (os error 2)",
        call.arg("store")
    ))
}

/// Changes the snapshot that the parameters name.
fn change(call: &mut Call<'_>, edit: impl FnOnce(&mut Backup)) -> Result<(), Fault> {
    let ns = ns(call);
    store(call)?;
    need(call, &ns, "Datastore.Modify", "Datastore.Backup")?;
    known_ns(call, &ns)?;
    let at = store(call)?
        .snapshots
        .iter()
        .position(|backup| fits(call, &ns, backup))
        .ok_or_else(|| absent(call))?;
    let name = call.arg("store").to_owned();
    if let Some(store) = call.vault_mut().store_mut(&name) {
        edit(&mut store.snapshots[at]);
    }
    Ok(())
}

fn set_notes(call: &mut Call<'_>) -> Answer {
    let notes = call.text("notes").unwrap_or_default().to_owned();
    change(call, |backup| backup.comment = (!notes.is_empty()).then_some(notes))?;
    data(Value::Null)
}

fn protect(call: &mut Call<'_>) -> Answer {
    let protected = call.flag("protected") == Some(true);
    change(call, |backup| backup.protected = protected)?;
    data(Value::Null)
}

fn group_key(call: &Call<'_>) -> (String, String, String) {
    let text = |key: &str| call.text(key).unwrap_or_default().to_owned();
    (ns(call), text("backup-type"), text("backup-id"))
}

fn group_notes(call: &mut Call<'_>) -> Answer {
    let key = group_key(call);
    let notes = store(call)?.group_notes.get(&key).cloned();
    need(call, &key.0, "Datastore.Audit", "Datastore.Backup")?;
    data(notes.unwrap_or_default())
}

fn set_group_notes(call: &mut Call<'_>) -> Answer {
    let key = group_key(call);
    store(call)?;
    need(call, &key.0, "Datastore.Modify", "Datastore.Backup")?;
    let notes = call.text("notes").unwrap_or_default().to_owned();
    let name = call.arg("store").to_owned();
    if let Some(store) = call.vault_mut().store_mut(&name) {
        store.group_notes.insert(key, notes);
    }
    data(Value::Null)
}

fn delete(call: &mut Call<'_>) -> Answer {
    let ns = ns(call);
    store(call)?;
    need(call, &ns, "Datastore.Modify", "Datastore.Prune")?;
    let found = store(call)?.snapshots.iter().find(|backup| fits(call, &ns, backup)).cloned();
    let found = found.ok_or_else(|| absent(call))?;
    let name = call.arg("store").to_owned();
    if found.protected {
        return Err(Fault::bad("failed to delete snapshot - cannot remove protected snapshot"));
    }
    if let Some(store) = call.vault_mut().store_mut(&name) {
        store.forget(|backup| {
            (&backup.ns, backup.kind, &backup.id, backup.time)
                == (&found.ns, found.kind, &found.id, found.time)
        });
    }
    data(Value::Null)
}

fn delete_group(call: &mut Call<'_>) -> Answer {
    let ns = ns(call);
    store(call)?;
    need(call, &ns, "Datastore.Modify", "Datastore.Prune")?;
    let members = store(call)?.snapshots.iter().filter(|backup| fits(call, &ns, backup));
    let guarded: Vec<bool> = members.map(|backup| backup.protected).collect();
    if guarded.is_empty() {
        return Err(Fault::bad("group not found"));
    }
    let protected = guarded.iter().filter(|guarded| **guarded).count();
    let (kind, id) = (call.text("backup-type").map(str::to_owned), call.text("backup-id"));
    let (id, name) = (id.map(str::to_owned), call.arg("store").to_owned());
    let mut removed = 0;
    if let Some(store) = call.vault_mut().store_mut(&name) {
        removed = store.forget(|backup| {
            backup.ns == ns
                && Some(backup.kind) == kind.as_deref()
                && Some(&backup.id) == id.as_ref()
                && !backup.protected
        });
    }
    if protected > 0 && call.flag("error-on-protected") != Some(false) {
        return Err(Fault::bad("group only partially deleted due to protected snapshots"));
    }
    data(
        json!({"protected-snapshots": protected, "removed-groups": i32::from(protected == 0), "removed-snapshots": removed}),
    )
}
