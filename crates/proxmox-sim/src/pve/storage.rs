//! Storages and their content.

use serde_json::{Map, Value, json};

use crate::call::{Call, Handlers};
use crate::estate::vault_of;
use crate::http::{Answer, Fault, data};
use crate::state::guest::parse_size;
use crate::state::{Outcome, Plan, Storage, Volume, noise};

pub(super) const HANDLERS: Handlers = &[
    ("GET", "/storage", definitions),
    ("GET", "/storage/{storage}", definition),
    ("GET", "/nodes/{node}/storage", list),
    ("GET", "/nodes/{node}/storage/{storage}/status", status),
    ("GET", "/nodes/{node}/storage/{storage}/rrddata", rrd),
    ("GET", "/nodes/{node}/storage/{storage}/content", content),
    ("POST", "/nodes/{node}/storage/{storage}/content", allocate),
    ("GET", "/nodes/{node}/storage/{storage}/content/{volume}", volume),
    ("PUT", "/nodes/{node}/storage/{storage}/content/{volume}", change),
    ("DELETE", "/nodes/{node}/storage/{storage}/content/{volume}", delete),
    ("POST", "/nodes/{node}/storage/{storage}/upload", upload),
];

fn show(storage: &Storage) -> Value {
    let mut row: Map<String, Value> = storage.options.clone();
    row.insert("storage".to_owned(), json!(storage.name));
    row.insert("type".to_owned(), json!(storage.plugin));
    row.insert("content".to_owned(), json!(storage.content));
    row.insert("digest".to_owned(), json!(crate::state::digest40(&storage.name)));
    if storage.shared && storage.plugin == "dir" {
        row.insert("shared".to_owned(), json!(1));
    }
    Value::Object(row)
}

fn may_see(call: &Call<'_>, name: &str) -> bool {
    let path = format!("/storage/{name}");
    call.may(&path, "Datastore.Audit") || call.may(&path, "Datastore.AllocateSpace")
}

fn definitions(call: &mut Call<'_>) -> Answer {
    let call = &*call;
    let wanted = call.text("type");
    let storages = call.cluster().storages.iter();
    let shown = storages
        .filter(|storage| may_see(call, &storage.name))
        .filter(|storage| wanted.is_none_or(|kind| storage.plugin == kind));
    data(shown.map(show).collect::<Vec<Value>>())
}

fn definition(call: &mut Call<'_>) -> Answer {
    data(show(find(call)?))
}

fn find<'a>(call: &'a Call<'_>) -> Result<&'a Storage, Fault> {
    let name = call.arg("storage");
    let found = call.cluster().storage(name);
    found.ok_or_else(|| Fault::internal(format!("storage '{name}' does not exist")))
}

fn figures(call: &Call<'_>, storage: &Storage) -> Value {
    let mut used = storage.used_on(call.node);
    if let Some((vault, store, _)) = vault_of(&call.estate.vaults, storage) {
        used = vault.store(&store).map_or(used, |store| store.used);
    }
    json!({
        "type": storage.plugin, "content": storage.content, "shared": i32::from(storage.shared),
        "active": 1, "enabled": 1, "total": storage.total, "used": used, "avail": storage.total - used.min(storage.total),
    })
}

fn list(call: &mut Call<'_>) -> Answer {
    let call = &*call;
    let rows: Vec<Value> = call
        .cluster()
        .storages
        .iter()
        .filter(|storage| may_see(call, &storage.name))
        .filter(|storage| call.text("storage").is_none_or(|name| storage.name == name))
        .filter(|storage| {
            call.text("content")
                .is_none_or(|kinds| kinds.split(',').any(|kind| storage.holds(kind)))
        })
        .map(|storage| {
            let mut row = figures(call, storage);
            row["storage"] = json!(storage.name);
            let share = row["used"].as_f64().unwrap_or(0.0) / storage.total.max(1) as f64;
            row["used_fraction"] = json!(share);
            row
        })
        .collect();
    data(rows)
}

fn status(call: &mut Call<'_>) -> Answer {
    data(figures(call, find(call)?))
}

fn rrd(call: &mut Call<'_>) -> Answer {
    let (step, count) = super::guests::frame(call);
    let now = call.estate.seconds();
    let storage = find(call)?;
    let used = storage.used_on(call.node) as f64;
    let first = now / step * step - step * count;
    let rows = (0..count).map(|at| {
        let time = first + at * step;
        // What keeps backups has grown by four thousandths a day.
        let grows = if storage.plugin == "nfs" { 0.004 } else { 0.0 };
        let then = 1.0 - grows * (now - time) as f64 / 86_400.0;
        let wave = 0.98 + 0.02 * noise(time as u64);
        json!({"time": time, "total": storage.total, "used": used * then * wave})
    });
    data(rows.collect::<Vec<Value>>())
}

/// How a storage says that the backup server behind it does not answer, if that is so.
pub(super) fn away(call: &Call<'_>, storage: &Storage) -> Option<String> {
    silent(&call.estate.vaults, storage)
}

/// As [`away`], where no call is at hand.
pub(super) fn silent(vaults: &[crate::state::Vault], storage: &Storage) -> Option<String> {
    let (vault, ..) = vault_of(vaults, storage)?;
    let server = storage.options.get("server").and_then(Value::as_str).unwrap_or_default();
    let port = storage.options.get("port").and_then(Value::as_u64).unwrap_or(8007);
    (!vault.online).then(|| {
        format!(
            "{}: error fetching datastores - 500 Can't connect to {server}:{port} (Connection refused)",
            storage.name
        )
    })
}

/// All volumes that a node sees on a storage; a backup server's are read from it.
pub(super) fn volumes(call: &Call<'_>, storage: &Storage) -> Vec<Volume> {
    volumes_of(&call.estate.vaults, storage, call.node)
}

/// As [`volumes`], where no call is at hand.
pub(super) fn volumes_of(
    vaults: &[crate::state::Vault],
    storage: &Storage,
    node: usize,
) -> Vec<Volume> {
    let mut volumes: Vec<Volume> = storage.volumes_on(node).cloned().collect();
    let Some((vault, store, ns)) = vault_of(vaults, storage) else { return volumes };
    let Some(store) = vault.store(&store) else { return volumes };
    for backup in store.snapshots.iter().filter(|backup| backup.ns == ns && backup.kind != "host") {
        let ct = backup.kind == "ct";
        volumes.push(Volume {
            volid: format!("{}:backup/{}", storage.name, backup.path()),
            node: None,
            vmid: backup.id.parse().ok(),
            content: "backup",
            format: if ct { "pbs-ct" } else { "pbs-vm" },
            size: backup.total_size(),
            ctime: backup.time,
            notes: backup.comment.clone(),
            protected: backup.protected,
            verified: backup.verified.clone(),
            subtype: Some(if ct { "lxc" } else { "qemu" }),
        });
    }
    volumes
}

fn show_volume(volume: &Volume) -> Value {
    let mut row = json!({
        "volid": volume.volid, "content": volume.content, "format": volume.format, "size": volume.size,
        "ctime": volume.ctime,
    });
    if let Some(vmid) = volume.vmid {
        row["vmid"] = json!(vmid);
    }
    if matches!(volume.content, "images" | "rootdir") {
        row["parent"] = Value::Null;
        row["used"] = json!(volume.size / 20);
    }
    if let Some(subtype) = volume.subtype {
        row["subtype"] = json!(subtype);
    }
    if let Some(notes) = &volume.notes {
        row["notes"] = json!(notes);
    }
    if volume.protected {
        row["protected"] = json!(1);
    }
    if let Some((good, upid)) = &volume.verified {
        row["verification"] = json!({"state": if *good { "ok" } else { "failed" }, "upid": upid});
    }
    row
}

/// Backups need more than the right to look at the storage.
pub(super) fn may_see_volume(call: &Call<'_>, storage: &Storage, volume: &Volume) -> bool {
    let path = format!("/storage/{}", storage.name);
    if call.may(&path, "Datastore.Allocate") {
        return true;
    }
    match (volume.content, volume.vmid) {
        ("backup", Some(vmid)) => {
            call.may(&path, "Datastore.AllocateSpace")
                && call.may(&format!("/vms/{vmid}"), "VM.Backup")
        }
        ("images" | "rootdir", Some(vmid)) => {
            call.may(&path, "Datastore.Audit")
                || call.may(&format!("/vms/{vmid}"), "VM.Config.Disk")
        }
        _ => call.may(&path, "Datastore.Audit") || call.may(&path, "Datastore.AllocateSpace"),
    }
}

fn content(call: &mut Call<'_>) -> Answer {
    let call = &*call;
    let storage = find(call)?;
    if let Some(cause) = away(call, storage) {
        return Err(Fault::internal(cause));
    }
    let wanted = call.text("content");
    let vmid = call.int("vmid");
    let rows: Vec<Value> = volumes(call, storage)
        .iter()
        .filter(|volume| wanted.is_none_or(|kind| volume.content == kind))
        .filter(|volume| vmid.is_none_or(|vmid| volume.vmid.map(i64::from) == Some(vmid)))
        .filter(|volume| may_see_volume(call, storage, volume))
        .map(show_volume)
        .collect();
    data(rows)
}

/// The volume named in the path, with or without the storage before it.
fn find_volume(call: &Call<'_>) -> Result<Volume, Fault> {
    let storage = find(call)?;
    let given = call.arg("volume");
    let volid = if given.contains(':') && given.starts_with(&storage.name) {
        given.to_owned()
    } else {
        format!("{}:{given}", storage.name)
    };
    let all = volumes(call, storage);
    let found = all.into_iter().find(|volume| volume.volid == volid);
    let volume = found.ok_or_else(|| {
        let name = volid.split_once(':').map_or("", |(_, name)| name);
        Fault::internal(format!("unable to parse {} volume name '{name}'", storage.plugin))
    })?;
    if may_see_volume(call, storage, &volume) {
        return Ok(volume);
    }
    Err(Fault::new(
        403,
        format!("Permission check failed (/storage/{}, Datastore.AllocateSpace)", storage.name),
    ))
}

fn volume(call: &mut Call<'_>) -> Answer {
    let volume = find_volume(call)?;
    let mut row = show_volume(&volume);
    if let Some(map) = row.as_object_mut() {
        for key in ["volid", "content", "ctime", "vmid", "subtype", "parent"] {
            map.shift_remove(key);
        }
    }
    row["used"] = json!(volume.size);
    row["path"] = json!(format!("/mnt/sim/{}", volume.volid.replace(':', "/")));
    data(row)
}

fn change(call: &mut Call<'_>) -> Answer {
    let volume = find_volume(call)?;
    let notes = call.text("notes").map(str::to_owned);
    let protected = call.flag("protected");
    let name = call.arg("storage").to_owned();
    edit(call, &name, &volume.volid, |kept_notes, kept_protected| {
        if notes.is_some() {
            *kept_notes = notes;
        }
        if let Some(protected) = protected {
            *kept_protected = protected;
        }
    });
    data(Value::Null)
}

/// Changes a volume where it is: on the storage, or on the backup server behind it.
fn edit(
    call: &mut Call<'_>,
    storage: &str,
    volid: &str,
    change: impl FnOnce(&mut Option<String>, &mut bool),
) {
    let home = call.home;
    let Some(found) = call.cluster().storage(storage).cloned() else { return };
    let target = vault_of(&call.estate.vaults, &found).map(|(_, store, ns)| (store, ns));
    if let Some((store, ns)) = target {
        let store = call.estate.vaults[0].store_mut(&store);
        let backups = store.map(|store| store.snapshots.iter_mut()).into_iter().flatten();
        for backup in backups {
            if backup.ns == ns && volid.ends_with(&backup.path()) {
                change(&mut backup.comment, &mut backup.protected);
                return;
            }
        }
        return;
    }
    let storage = call.estate.clusters[home].storage_mut(storage);
    let volume =
        storage.and_then(|storage| storage.volumes.iter_mut().find(|volume| volume.volid == volid));
    if let Some(volume) = volume {
        change(&mut volume.notes, &mut volume.protected);
    }
}

fn delete(call: &mut Call<'_>) -> Answer {
    let volume = find_volume(call)?;
    let name = call.arg("storage").to_owned();
    if volume.content == "backup" {
        call.need(&format!("/storage/{name}"), "Datastore.AllocateSpace")?;
    } else {
        call.need(&format!("/storage/{name}"), "Datastore.Allocate")?;
    }
    if volume.protected {
        return Err(Fault::internal(format!("can't remove protected volume '{}'", volume.volid)));
    }
    let (home, node, user, at) = (call.pve(), call.node, call.who.to_string(), call.home);
    let id = format!(
        "{}@{name}",
        volume.volid.split_once(':').map_or("", |(_, rest)| rest).replace(['/', ':'], "-")
    );
    let plan = Plan::new("imgdel", id, 800.0, move |estate| {
        remove(estate, at, &name, &volume);
        Outcome::with(vec![format!("Removed volume '{}'", volume.volid)])
    });
    data(call.estate.start_task(home, node, &user, plan))
}

/// Removes a volume wherever it is.
pub(super) fn remove(estate: &mut crate::state::Estate, at: usize, storage: &str, volume: &Volume) {
    let Some(found) = estate.clusters[at].storage(storage).cloned() else { return };
    let target = vault_of(&estate.vaults, &found).map(|(_, store, ns)| (store, ns));
    if let Some((store, ns)) = target
        && volume.content == "backup"
    {
        if let Some(store) = estate.vaults[0].store_mut(&store) {
            store.forget(|backup| backup.ns == ns && volume.volid.ends_with(&backup.path()));
        }
        return;
    }
    if let Some(storage) = estate.clusters[at].storage_mut(storage) {
        storage.volumes.retain(|kept| kept.volid != volume.volid || kept.node != volume.node);
        storage.add_used(volume.node.unwrap_or(0), -(volume.size as i64));
    }
}

fn allocate(call: &mut Call<'_>) -> Answer {
    let storage = find(call)?;
    let name = storage.name.clone();
    let shared = storage.shared;
    call.need(&format!("/storage/{name}"), "Datastore.AllocateSpace")?;
    let file = call.text("filename").unwrap_or_default().to_owned();
    let size = parse_size(call.text("size").unwrap_or_default());
    // A bare number means kibibytes here.
    let size = if call.text("size").is_some_and(|size| size.ends_with(char::is_alphabetic)) {
        size
    } else {
        size << 10
    };
    let volid = format!("{name}:{file}");
    let (node, now) = (call.node, call.estate.seconds());
    let vmid = call.int("vmid").map(|vmid| vmid as u32);
    if let Some(storage) = call.cluster_mut().storage_mut(&name) {
        storage.volumes.push(Volume {
            volid: volid.clone(),
            node: (!shared).then_some(node),
            vmid,
            content: "images",
            format: "raw",
            size,
            ctime: now,
            notes: None,
            protected: false,
            verified: None,
            subtype: None,
        });
        storage.add_used(node, size as i64);
    }
    data(volid)
}

/// The extensions that each kind of content may have.
pub(super) fn extension(content: &str, file: &str) -> bool {
    let ends = |list: &[&str]| list.iter().any(|end| file.to_lowercase().ends_with(end));
    match content {
        "iso" => ends(&[".iso", ".img"]),
        "vztmpl" => ends(&[".tar.gz", ".tar.xz", ".tar.zst", ".tar.bz2"]),
        "import" => ends(&[".ova", ".ovf", ".qcow2", ".raw", ".vmdk"]),
        _ => false,
    }
}

fn upload(call: &mut Call<'_>) -> Answer {
    let Some((file, size)) =
        call.upload.as_ref().map(|upload| (upload.filename.clone(), upload.size))
    else {
        return Err(Fault::bare(400, "Bad Request"));
    };
    let lines = vec![
        format!("starting file import from: /var/tmp/pveupload-{:x}", size),
        format!("file size is: {size}"),
    ];
    arrive(call, "imgcopy", file, size, lines)
}

fn arrive(
    call: &mut Call<'_>,
    kind: &'static str,
    file: String,
    size: u64,
    lines: Vec<String>,
) -> Answer {
    let content = call.text("content").unwrap_or("iso").to_owned();
    let storage = find(call)?;
    let (name, shared, good) = (storage.name.clone(), storage.shared, storage.holds(&content));
    call.need(&format!("/storage/{name}"), "Datastore.AllocateTemplate")?;
    if !good {
        return Err(Fault::internal(format!(
            "storage '{name}' is not configured for content-type '{content}'"
        )));
    }
    if !extension(&content, &file) {
        return Err(Fault::param("filename", "wrong file extension"));
    }
    let (home, node, user, at) = (call.pve(), call.node, call.who.to_string(), call.home);
    let content: &'static str = if content == "vztmpl" {
        "vztmpl"
    } else if content == "iso" {
        "iso"
    } else {
        "import"
    };
    let plan = Plan::new(kind, "", 2500.0, move |estate| {
        let ctime = estate.seconds();
        if let Some(storage) = estate.clusters[at].storage_mut(&name) {
            storage.volumes.push(Volume {
                volid: format!("{name}:{content}/{file}"),
                node: (!shared).then_some(node),
                vmid: None,
                content,
                format: if content == "iso" { "iso" } else { "tzst" },
                size,
                ctime,
                notes: None,
                protected: false,
                verified: None,
                subtype: None,
            });
            storage.add_used(node, size as i64);
        }
        Outcome::ok()
    });
    data(call.estate.start_task(home, node, &user, plan.lines(lines)))
}
