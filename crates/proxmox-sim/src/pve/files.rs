//! Single files of backups on backup servers.

use super::storage::{away, may_see_volume, volumes};
use crate::call::{Call, Handlers};
use crate::http::{Answer, Fault, Reply, data};
use crate::state::{Volume, files};

pub(super) const HANDLERS: Handlers = &[
    ("GET", "/nodes/{node}/storage/{storage}/file-restore/list", list),
    ("GET", "/nodes/{node}/storage/{storage}/file-restore/download", download),
];

/// The backup that is meant, its kind on the server, and the path.
fn opened(call: &Call<'_>) -> Result<(Volume, &'static str, String), Fault> {
    let name = call.arg("storage");
    let storage = call.cluster().storage(name);
    let storage =
        storage.ok_or_else(|| Fault::internal(format!("storage '{name}' does not exist")))?;
    if storage.plugin != "pbs" {
        return Err(Fault::param("storage", "only PBS storages supported for file-restore"));
    }
    if let Some(why) = away(call, storage) {
        return Err(Fault::internal(why));
    }
    let wanted = call.text("volume").unwrap_or_default();
    let full = format!("{name}:{wanted}");
    let found = volumes(call, storage)
        .into_iter()
        .find(|volume| volume.volid == wanted || volume.volid == full);
    let volume =
        found.ok_or_else(|| Fault::internal(format!("volume '{wanted}' does not exist")))?;
    if !may_see_volume(call, storage, &volume) {
        return Err(Fault::new(403, format!("Permission check failed (/storage/{name})")));
    }
    let kind = if volume.format == "pbs-vm" { "vm" } else { "ct" };
    Ok((volume, kind, files::decode(call.text("filepath").unwrap_or_default())))
}

fn list(call: &mut Call<'_>) -> Answer {
    let (_, kind, path) = opened(call)?;
    let entries = files::list(kind, &path);
    data(entries.ok_or_else(|| Fault::internal(format!("no such file or directory: {path}")))?)
}

fn download(call: &mut Call<'_>) -> Answer {
    let (volume, kind, path) = opened(call)?;
    let id = volume.vmid.map_or_else(String::new, |vmid| vmid.to_string());
    let content = files::content(kind, &id, &path);
    content.map(Reply::file).ok_or_else(|| Fault::internal(format!("cannot read {path}")))
}
