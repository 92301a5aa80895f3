//! Datastores: space, namespaces, garbage collection.

use serde_json::{Value, json};

use crate::call::{Call, Handlers};
use crate::http::{Answer, Fault, Reply, data};
use crate::state::{Datastore, noise};

pub(super) const HANDLERS: Handlers = &[
    ("GET", "/admin/datastore", list),
    ("GET", "/admin/datastore/{store}/status", status),
    ("GET", "/admin/datastore/{store}/namespace", namespaces),
    ("POST", "/admin/datastore/{store}/namespace", create_namespace),
    ("DELETE", "/admin/datastore/{store}/namespace", delete_namespace),
    ("GET", "/admin/datastore/{store}/gc", gc),
    ("GET", "/admin/datastore/{store}/active-operations", |call| {
        store(call)?;
        data(json!({"read": 0, "write": 0}))
    }),
    ("GET", "/admin/datastore/{store}/rrd", rrd),
    ("GET", "/admin/gc", all_gc),
    ("GET", "/config/datastore", configs),
    ("GET", "/config/datastore/{name}", config),
    ("PUT", "/config/datastore/{name}", change),
    ("GET", "/status/datastore-usage", usage),
];

/// The datastore in the path; its absence comes before the lack of a privilege.
pub(super) fn store<'a>(call: &'a Call<'_>) -> Result<&'a Datastore, Fault> {
    let name = call.arg("store");
    call.vault().store(name).ok_or_else(|| Fault::bad(format!("no such datastore '{name}'")))
}

/// The path of a namespace in access control.
pub(super) fn acl_path(store: &str, ns: &str) -> String {
    if ns.is_empty() { format!("/datastore/{store}") } else { format!("/datastore/{store}/{ns}") }
}

/// Fails unless the caller has the first privilege, or the second and owns what it asks about.
pub(super) fn need(call: &Call<'_>, ns: &str, first: &str, second: &str) -> Result<(), Fault> {
    let path = acl_path(call.arg("store"), ns);
    if call.grants.may(&path, first) || call.grants.may(&path, second) {
        return Ok(());
    }
    let mut names = [first, second];
    names.sort_unstable();
    Err(Fault::new(403, format!("permission check failed - missing {} on {path}", names.join("|"))))
}

pub(super) fn visible(call: &Call<'_>, name: &str) -> bool {
    let path = format!("/datastore/{name}");
    ["Datastore.Audit", "Datastore.Backup", "Datastore.Modify"]
        .iter()
        .any(|privilege| call.grants.may(&path, privilege))
}

fn list(call: &mut Call<'_>) -> Answer {
    let call = &*call;
    let stores = call.vault().datastores.iter().filter(|store| visible(call, &store.name));
    let rows = stores.map(|store| {
        json!({"store": store.name, "comment": store.comment, "backend-type": "filesystem", "mount-status": "nonremovable"})
    });
    data(rows.collect::<Vec<Value>>())
}

fn status(call: &mut Call<'_>) -> Answer {
    let store = store(call)?;
    need(call, "", "Datastore.Audit", "Datastore.Backup")?;
    data(json!({
        "total": store.total, "used": store.used, "avail": store.total - store.used, "backend-type": "filesystem",
    }))
}

fn namespaces(call: &mut Call<'_>) -> Answer {
    let store = store(call)?;
    let parent = call.text("parent").unwrap_or_default();
    let depth = call.int("max-depth").map_or(usize::MAX, |depth| depth as usize);
    let mut names = vec![String::new()];
    names.extend(store.namespaces.iter().cloned());
    let rows = names.into_iter().filter(|ns| {
        let below = ns
            .strip_prefix(parent)
            .is_some_and(|rest| parent.is_empty() || rest.is_empty() || rest.starts_with('/'));
        let level = ns.split('/').filter(|part| !part.is_empty()).count();
        below && level <= depth && call.grants.may(&acl_path(&store.name, ns), "Datastore.Audit")
    });
    data(rows.map(|ns| json!({"ns": ns})).collect::<Vec<Value>>())
}

fn create_namespace(call: &mut Call<'_>) -> Answer {
    store(call)?;
    need(call, "", "Datastore.Modify", "Datastore.Modify")?;
    let parent = call.text("parent").unwrap_or_default();
    let name = call.text("name").unwrap_or_default();
    let full = if parent.is_empty() { name.to_owned() } else { format!("{parent}/{name}") };
    let at = call.arg("store").to_owned();
    if let Some(store) = call.vault_mut().store_mut(&at) {
        if store.namespaces.contains(&full) {
            return Err(Fault::bad("namespace already exists"));
        }
        store.namespaces.push(full.clone());
    }
    data(full)
}

fn delete_namespace(call: &mut Call<'_>) -> Answer {
    let ns = call.text("ns").unwrap_or_default().to_owned();
    let parent = ns.rsplit_once('/').map_or("", |(parent, _)| parent).to_owned();
    let groups = call.flag("delete-groups") == Some(true);
    let known = store(call)?.has_namespace(&ns);
    need(call, &parent, "Datastore.Modify", "Datastore.Modify")?;
    if ns.is_empty() {
        return Err(Fault::bad("cannot remove root namespace!"));
    }
    if !known {
        return Err(Fault::bad(format!("namespace '{ns}' does not exist")));
    }
    let below = |name: &str| super::prune::within(name, &ns, None);
    let store = store(call)?;
    let protected = store.snapshots.iter().any(|backup| below(&backup.ns) && backup.protected);
    // Namespaces below that are empty go with it.
    let empty = !store.snapshots.iter().any(|backup| below(&backup.ns));
    if groups && protected && call.flag("error-on-protected") != Some(false) {
        return Err(Fault::bad("group only partially deleted due to protected snapshots"));
    }
    if !groups && !empty {
        return Err(Fault::bad(format!("only partially deleted namespace '{ns}'")));
    }
    let name = call.arg("store").to_owned();
    if let Some(store) = call.vault_mut().store_mut(&name) {
        store.forget(|backup| super::prune::within(&backup.ns, &ns, None));
        store.namespaces.retain(|name| !super::prune::within(name, &ns, None));
    }
    data(Value::Null)
}

/// The figures of the last garbage collection.
fn gc_figures(store: &Datastore) -> Value {
    let index = store.index_bytes();
    json!({
        "cache-stats": {"hits": 1_204_331, "misses": 88_120},
        "disk-bytes": store.used, "disk-chunks": store.used / 2_400_000, "index-data-bytes": index,
        "index-file-count": store.snapshots.len() * 2, "pending-bytes": store.gc.pending,
        "pending-chunks": store.gc.pending / 2_400_000, "removed-bad": 0,
        "removed-bytes": store.gc.removed, "removed-chunks": store.gc.removed / 2_400_000, "still-bad": 0,
        "upid": store.gc.upid,
    })
}

fn gc_row(call: &Call<'_>, store: &Datastore) -> Value {
    let mut row = gc_figures(store);
    row["store"] = json!(store.name);
    row["duration"] = json!(store.gc.duration);
    row["last-run-endtime"] = json!(store.gc.end);
    row["last-run-state"] = json!(store.gc.state);
    if let Some(schedule) = &store.gc_schedule {
        row["schedule"] = json!(schedule);
        row["next-run"] = json!(super::jobs::next(call, schedule));
    }
    row
}

fn gc(call: &mut Call<'_>) -> Answer {
    let store = store(call)?;
    need(call, "", "Datastore.Audit", "Datastore.Audit")?;
    data(gc_row(call, store))
}

fn all_gc(call: &mut Call<'_>) -> Answer {
    let call = &*call;
    let stores = call.vault().datastores.iter().filter(|store| visible(call, &store.name));
    data(stores.map(|store| gc_row(call, store)).collect::<Vec<Value>>())
}

fn rrd(call: &mut Call<'_>) -> Answer {
    let store = store(call)?;
    let now = call.estate.seconds() / 1800 * 1800;
    let rows = (0..48).map(|at| {
        let time = now - (48 - at) * 1800;
        let wave = 0.99 + 0.01 * noise(time as u64);
        json!({
            "time": time, "total": store.total as f64, "used": store.used as f64 * wave,
            "available": (store.total - store.used) as f64, "read_ios": 12.0 * wave, "write_ios": 40.0 * wave,
            "read_bytes": 1e6 * wave, "write_bytes": 8e6 * wave, "io_ticks": 0.02 * wave,
        })
    });
    data(rows.collect::<Vec<Value>>())
}

fn config_row(store: &Datastore) -> Value {
    let mut row = json!({"name": store.name, "path": store.path});
    if let Some(comment) = &store.comment {
        row["comment"] = json!(comment);
    }
    if let Some(schedule) = &store.gc_schedule {
        row["gc-schedule"] = json!(schedule);
    }
    if let Some(mode) = &store.maintenance {
        row["maintenance-mode"] = json!(mode);
    }
    for (key, value) in &store.notification {
        row[key] = value.clone();
    }
    row
}

/// Changes settings; what is to be taken away stands in `delete`.
fn change(call: &mut Call<'_>) -> Answer {
    let name = call.arg("name").to_owned();
    let missing = || Fault::bad(format!("no such datastore '{name}'"));
    let digest = config_digest(call.vault().store(&name).ok_or_else(missing)?);
    if call.text("digest").is_some_and(|given| given != digest) {
        return Err(super::jobs::conflict());
    }
    let text = |key: &str| call.text(key).map(str::to_owned);
    let (comment, schedule, mode) =
        (text("comment"), text("gc-schedule"), text("maintenance-mode"));
    let gone = super::jobs::listed(&call.params, "delete");
    let told = ["notification-mode", "notify", "notify-user"];
    let told = told.map(|key| text(key).map(|value| (key.to_owned(), json!(value))));
    let store = call.vault_mut().store_mut(&name).ok_or_else(missing)?;
    for key in gone {
        match key.as_str() {
            "comment" => store.comment = None,
            "gc-schedule" => store.gc_schedule = None,
            "maintenance-mode" => store.maintenance = None,
            other => drop(store.notification.shift_remove(other)),
        }
    }
    store.comment = comment.or_else(|| store.comment.take());
    store.gc_schedule = schedule.or_else(|| store.gc_schedule.take());
    store.maintenance = mode.or_else(|| store.maintenance.take());
    store.notification.extend(told.into_iter().flatten());
    data(Value::Null)
}

fn config_digest(store: &Datastore) -> String {
    crate::state::digest64(&config_row(store).to_string())
}

fn configs(call: &mut Call<'_>) -> Answer {
    let call = &*call;
    let stores = call.vault().datastores.iter().filter(|store| visible(call, &store.name));
    let rows: Vec<Value> = stores.map(config_row).collect();
    let digest = crate::state::digest64(&format!("{rows:?}"));
    Ok(Reply::from(Value::Array(rows)).with("digest", digest))
}

fn config(call: &mut Call<'_>) -> Answer {
    let name = call.arg("name");
    let store = call
        .vault()
        .store(name)
        .ok_or_else(|| Fault::bad(format!("no such datastore '{name}'")))?;
    Ok(Reply::from(config_row(store)).with("digest", config_digest(store)))
}

fn usage(call: &mut Call<'_>) -> Answer {
    let call = &*call;
    let now = call.estate.seconds();
    let stores = call.vault().datastores.iter().filter(|store| visible(call, &store.name));
    let rows = stores.map(|store| {
        let share = store.used as f64 / store.total.max(1) as f64;
        let history: Vec<f64> = (0..30).map(|day| share - 0.0008 * f64::from(30 - day)).collect();
        let left = (1.0 - share) / 0.0008 * 86_400.0;
        json!({
            "store": store.name, "total": store.total, "used": store.used, "avail": store.total - store.used,
            "backend-type": "filesystem", "mount-status": "nonremovable", "history": history, "history-delta": 86_400,
            "history-start": now - 30 * 86_400, "estimated-full-date": now + left as i64, "gc-status": gc_figures(store),
        })
    });
    data(rows.collect::<Vec<Value>>())
}
