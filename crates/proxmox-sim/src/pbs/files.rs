//! Single files of snapshots, and who owns a group.

use serde_json::Value;

use super::datastores::{acl_path, need, store};
use super::snapshots::{absent, fits, known_ns, ns};
use crate::call::{Call, Handlers};
use crate::http::{Answer, Fault, Reply, data};
use crate::state::files;
use crate::state::vault::Backup;

pub(super) const HANDLERS: Handlers = &[
    ("POST", "/admin/datastore/{store}/change-owner", change_owner),
    ("GET", "/admin/datastore/{store}/catalog", catalog),
    ("GET", "/admin/datastore/{store}/pxar-file-download", download),
];

fn change_owner(call: &mut Call<'_>) -> Answer {
    let ns = ns(call);
    store(call)?;
    need(call, &ns, "Datastore.Modify", "Datastore.Backup")?;
    known_ns(call, &ns)?;
    let owner = call.text("new-owner").unwrap_or_default().to_owned();
    let (user, token) = owner.split_once('!').map_or((owner.as_str(), None), |(u, t)| (u, Some(t)));
    let known = call.vault().access.users.get(user);
    if !known.is_some_and(|user| token.is_none_or(|token| user.tokens.contains_key(token))) {
        let word = if token.is_some() { "API token" } else { "user" };
        return Err(Fault::bad(format!("{word} '{owner}' is inactive or non-existent")));
    }
    let members: Vec<bool> =
        store(call)?.snapshots.iter().map(|backup| fits(call, &ns, backup)).collect();
    if !members.contains(&true) {
        return Err(Fault::bad("group not found"));
    }
    let name = call.arg("store").to_owned();
    if let Some(store) = call.vault_mut().store_mut(&name) {
        for (backup, _) in store.snapshots.iter_mut().zip(members).filter(|(_, is)| *is) {
            backup.owner.clone_from(&owner);
        }
    }
    data(Value::Null)
}

/// The snapshot that is meant, for those who may read what is in it.
fn opened<'a>(call: &'a Call<'_>) -> Result<&'a Backup, Fault> {
    let ns = ns(call);
    let store = store(call)?;
    need(call, &ns, "Datastore.Read", "Datastore.Backup")?;
    known_ns(call, &ns)?;
    let found = store.snapshots.iter().find(|backup| fits(call, &ns, backup));
    let backup = found.ok_or_else(|| absent(call))?;
    let reads = call.grants.may(&acl_path(&store.name, &ns), "Datastore.Read");
    if !reads && backup.owner != call.who.to_string() && backup.owner != call.who.user {
        return Err(Fault::new(
            403,
            format!("backup owner check failed ({} != {})", call.who, backup.owner),
        ));
    }
    Ok(backup)
}

fn catalog(call: &mut Call<'_>) -> Answer {
    let backup = opened(call)?;
    if backup.kind == "vm" {
        return Err(Fault::bad("archive 'catalog.pcat1.didx' not found in the manifest"));
    }
    let path = files::decode(call.text("filepath").unwrap_or_default());
    let entries = files::list(backup.kind, &path);
    data(entries.ok_or_else(|| Fault::bad(format!("no such directory: {path:?}")))?)
}

fn download(call: &mut Call<'_>) -> Answer {
    let backup = opened(call)?;
    let path = files::decode(call.text("filepath").unwrap_or_default());
    let content = files::content(backup.kind, &backup.id, &path);
    content.map(Reply::file).ok_or_else(|| Fault::bad(format!("could not open {path:?}")))
}
