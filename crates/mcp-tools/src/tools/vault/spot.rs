//! Finds the datastore, namespace, group and snapshot on a backup server that a call means.
//!
//! A group is where it is: server, datastore, namespace, type and id. A guest's own group is found
//! through the storage entries of the guest's cluster, which say where its backups go; the id alone
//! would also fit another cluster's guest. Whatever is not said must be unique, or the error lists
//! what there is to choose from.

use std::sync::Arc;

use estate::{DatastoreName, GuestKind};
use futures::future::join_all;
use jiff::Timestamp;
use pbs_client::{
    datastores,
    groups::{self, BackupType, GroupRef},
    namespaces, snapshots,
    snapshots::Snapshot,
};
use pve_client::storage;
use serde_json::json;

use crate::{
    address::{FoundGuest, quoted},
    error::{Kind, ToolError},
    fleet::{GATHER_DEADLINE, Gathered, Pbs},
    report::{Cell, Table, age, rfc3339},
    tool::Cx,
    tools::{backups::Place, power::named},
};

/// What a call says of the place.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Asked<'a> {
    /// The server's settings key.
    pub(super) cluster: Option<&'a str>,
    pub(super) datastore: Option<&'a str>,
    /// An empty one is the root; none is any.
    pub(super) namespace: Option<&'a str>,
}

/// One group in its place.
#[derive(Clone)]
pub(super) struct Spot {
    pub(super) place: Place,
    pub(super) group: GroupRef,
}

// === impl Spot ===

impl Spot {
    /// `vault:main/lab vm/104`.
    pub(super) fn label(&self) -> String {
        format!("{} {}", self.place.label(), self.name())
    }

    /// `vm/104`.
    pub(super) fn name(&self) -> String {
        format!("{}/{}", self.group.backup_type, self.group.backup_id)
    }

    /// The arguments that name it in a further call.
    pub(super) fn args(&self) -> serde_json::Value {
        json!({
            "cluster": self.place.server.key.as_str(), "datastore": self.place.store.as_str(),
            "namespace": self.place.namespace, "group": self.name(),
        })
    }

    /// Its snapshots, newest first.
    pub(super) async fn snapshots(&self) -> Result<Vec<Snapshot>, ToolError> {
        let call = snapshots::of_group(&self.place.store, &self.group);
        let mut all = self.place.server.client.call(call).await.map_err(|error| {
            ToolError::api(format!("list the snapshots of {}", self.label()), &error)
        })?;
        all.retain(|one| {
            one.backup_type == self.group.backup_type && one.backup_id == self.group.backup_id
        });
        all.sort_by_key(|one| std::cmp::Reverse(one.time));
        Ok(all)
    }
}

/// `vm/104` taken apart.
pub(super) fn parse_group(text: &str) -> Result<(BackupType, String), ToolError> {
    let wrong = || {
        ToolError::new(format!("{} names no backup group", quoted(text))).hint(
            "write type and id, such as vm/104, ct/131 or host/nas; backup_snapshots lists them",
        )
    };
    let (kind, id) = text.trim().split_once('/').ok_or_else(wrong)?;
    let kind = match kind {
        "vm" => BackupType::Vm,
        "ct" => BackupType::Ct,
        "host" => BackupType::Host,
        _ => return Err(wrong()),
    };
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if id.is_empty() || !id.chars().all(fits) {
        return Err(wrong());
    }
    Ok((kind, id.to_owned()))
}

/// The one datastore that is meant.
pub(super) async fn datastore(
    cx: &Cx,
    asked: Asked<'_>,
) -> Result<(Arc<Pbs>, DatastoreName), ToolError> {
    let gathered = stores(cx, asked).await?;
    let mut found = Vec::new();
    for (member, stores) in &gathered.answers {
        let fits = stores
            .iter()
            .filter(|name| asked.datastore.is_none_or(|wanted| name.as_str() == wanted));
        found.extend(fits.map(|name| (Arc::clone(member), name.clone())));
    }
    refuse_silence(asked, &gathered)?;
    let what = match asked.datastore {
        Some(name) => format!("datastore {}", quoted(name)),
        None => "which datastore".to_owned(),
    };
    one(found, &gathered, &what, "datastores", |(member, name)| {
        vec![Cell::text(member.key.as_str()), Cell::text(name.as_str())]
    })
}

/// A namespace of a datastore, checked to be there; none is the whole datastore.
pub(super) async fn namespace(
    cx: &Cx,
    asked: Asked<'_>,
) -> Result<(Arc<Pbs>, DatastoreName, Option<String>), ToolError> {
    let (server, store) = datastore(cx, asked).await?;
    let Some(wanted) = asked.namespace else { return Ok((server, store, None)) };
    let known = spaces(&server, &store).await?;
    if !known.iter().any(|name| name == wanted) {
        let mut table = Table::new("namespaces", &["namespace"]);
        for name in &known {
            let shown = if name.is_empty() { "(root)" } else { name.as_str() };
            table.push(vec![Cell::with(name.as_str(), shown)]);
        }
        let lead = format!("{}:{store} has no namespace {}", server.key, quoted(wanted));
        return Err(ToolError::not_found(lead).choices(table));
    }
    Ok((server, store, Some(wanted.to_owned())))
}

/// The one group that is meant: every namespace that is not ruled out is looked into.
pub(super) async fn group(cx: &Cx, asked: Asked<'_>, text: &str) -> Result<Spot, ToolError> {
    let (kind, id) = parse_group(text)?;
    let gathered = stores(cx, asked).await?;
    let mut places = Vec::new();
    for (member, stores) in &gathered.answers {
        for store in stores {
            if asked.datastore.is_some_and(|wanted| store.as_str() != wanted) {
                continue;
            }
            for name in spaces(member, store).await? {
                if asked.namespace.is_some_and(|wanted| name != wanted) {
                    continue;
                }
                places.push(Place {
                    server: Arc::clone(member),
                    store: store.clone(),
                    namespace: name,
                });
            }
        }
    }
    refuse_silence(asked, &gathered)?;
    let looked = places.into_iter().map(|place| async {
        let namespace = Some(place.namespace.as_str()).filter(|name| !name.is_empty());
        let call = groups::list(&place.store, namespace);
        (place.server.client.call(call).await, place)
    });
    let mut found = Vec::new();
    for (answer, place) in join_all(looked).await {
        let all = answer.map_err(|error| {
            ToolError::api(format!("list the groups in {}", place.label()), &error)
        })?;
        if all.iter().any(|one| one.backup_type == kind && one.backup_id == id) {
            let group = GroupRef::new(kind.clone(), id.as_str());
            let group = group.in_namespace(place.namespace.as_str());
            found.push(Spot { place, group });
        }
    }
    one(found, &gathered, &format!("group {}", quoted(text)), "groups", |spot: &Spot| {
        vec![
            Cell::text(spot.place.server.key.as_str()),
            Cell::text(spot.place.store.as_str()),
            Cell::with(spot.place.namespace.as_str(), shown(&spot.place.namespace)),
            Cell::text(spot.name()),
        ]
    })
}

/// The group with a guest's backups, through the storage entries of its own cluster.
pub(super) async fn of_guest(
    cx: &Cx,
    found: &FoundGuest,
    asked: Asked<'_>,
) -> Result<Spot, ToolError> {
    let (member, guest) = (&found.member, &found.guest);
    let entries = member.client.call(storage::configs(Some("pbs"))).await.map_err(|error| {
        ToolError::api(format!("read which backup servers {} uses", member.key), &error)
    })?;
    let kind = match guest.kind {
        GuestKind::Qemu => BackupType::Vm,
        GuestKind::Lxc => BackupType::Ct,
    };
    let mut spots: Vec<Spot> = Vec::new();
    let mut unattributed = Vec::new();
    for entry in entries.iter().filter(|entry| entry.kind == "pbs" && !entry.disabled) {
        match Place::of(&cx.fleet, entry) {
            Ok(place) => {
                let is_wanted = asked.cluster.is_none_or(|key| place.server.key.as_str() == key)
                    && asked.datastore.is_none_or(|name| place.store.as_str() == name)
                    && asked.namespace.is_none_or(|name| place.namespace == name);
                // Two entries can point at one place.
                let is_new = spots.iter().all(|spot| spot.place.label() != place.label());
                if is_wanted && is_new {
                    let group = GroupRef::new(kind.clone(), guest.at.vmid.to_string());
                    let group = group.in_namespace(place.namespace.as_str());
                    spots.push(Spot { place, group });
                }
            }
            Err(why) => unattributed.push(format!("{}: unattributed: {why}", member.key)),
        }
    }
    let asked = spots.into_iter().map(|spot| async { (spot.snapshots().await, spot) });
    let mut held = Vec::new();
    for (answer, spot) in join_all(asked).await {
        if !answer?.is_empty() {
            held.push(spot);
        }
    }
    let name = named(guest);
    let mut error = match held.len() {
        1 => return Ok(held.remove(0)),
        0 => ToolError::not_found(format!(
            "{name} has no backup on a backup server that its cluster's storages point at"
        ))
        .next("backup_status", object(json!({"guest": guest.at.to_string()}))),
        count => {
            let mut table = Table::new("groups", &["cluster", "datastore", "namespace", "group"]);
            for spot in &held {
                table.push(vec![
                    Cell::text(spot.place.server.key.as_str()),
                    Cell::text(spot.place.store.as_str()),
                    Cell::with(spot.place.namespace.as_str(), shown(&spot.place.namespace)),
                    Cell::text(spot.name()),
                ]);
            }
            ToolError::new(format!("{name} has backups in {count} places"))
                .of_kind(Kind::Ambiguous)
                .hint("give cluster, datastore and namespace of one")
                .choices(table)
        }
    };
    for note in unattributed {
        error = error.hint(note);
    }
    Err(error)
}

/// The snapshot that `time` means: `latest`, or a time as it is printed or its beginning.
pub(super) fn pick<'a>(
    spot: &Spot,
    all: &'a [Snapshot],
    time: &str,
    now: Timestamp,
) -> Result<&'a Snapshot, ToolError> {
    let label = spot.label();
    let Some(newest) = all.first() else {
        return Err(ToolError::not_found(format!(
            "{label} has no snapshots, as far as the token sees"
        )));
    };
    let time = time.trim();
    if time.eq_ignore_ascii_case("latest") {
        return Ok(newest);
    }
    let fits: Vec<&Snapshot> = match time.parse::<Timestamp>() {
        Ok(at) => all.iter().filter(|one| one.time.as_second() == at.as_second()).collect(),
        Err(_) => all.iter().filter(|one| rfc3339(one.time).starts_with(time)).collect(),
    };
    if let [one] = fits.as_slice()
        && !time.is_empty()
    {
        return Ok(one);
    }
    let mut table = Table::new("snapshots", &["time", "age"]);
    for one in all {
        table.push(vec![Cell::text(rfc3339(one.time)), Cell::text(age(one.time, now))]);
    }
    let error = if fits.is_empty() {
        ToolError::not_found(format!("{label} has no snapshot of {}", quoted(time)))
    } else {
        ToolError::new(format!("{} fits {} snapshots of {label}", quoted(time), fits.len()))
            .of_kind(Kind::Ambiguous)
    };
    Err(error.hint("give time as it is printed, or latest").choices(table))
}

/// The namespaces of a datastore, the root as an empty name.
pub(super) async fn spaces(server: &Pbs, store: &DatastoreName) -> Result<Vec<String>, ToolError> {
    let found = server.client.call(namespaces::list(store, None, None)).await.map_err(|error| {
        ToolError::api(format!("list the namespaces of {}:{store}", server.key), &error)
    })?;
    Ok(found.into_iter().map(|namespace| namespace.name).collect())
}

/// Every snapshot below `top` (all of a datastore if there is none), with its namespace. Namespaces
/// that cannot be read are in the notes.
pub(super) async fn walk(
    server: &Arc<Pbs>,
    store: &DatastoreName,
    only: Option<&str>,
) -> Result<(Vec<(String, Snapshot)>, Vec<String>), ToolError> {
    let names = match only {
        Some(name) => vec![name.to_owned()],
        None => spaces(server, store).await?,
    };
    let asked = names.into_iter().map(|name| async {
        let namespace = Some(name.as_str()).filter(|name| !name.is_empty());
        (server.client.call(snapshots::list(store, namespace)).await, name)
    });
    let (mut all, mut notes) = (Vec::new(), Vec::new());
    for (answer, name) in join_all(asked).await {
        match answer {
            Ok(list) => all.extend(list.into_iter().map(|one| (name.clone(), one))),
            Err(error) if only.is_some() || error.is_unreachable() => {
                let what = format!("list the snapshots in {}:{store}/{name}", server.key);
                return Err(ToolError::api(what, &error));
            }
            Err(error) => notes.push(format!(
                "{}:{store}/{name} is not shown: {}",
                server.key,
                stdx::Chain(&error)
            )),
        }
    }
    all.sort_by(|(a, x), (b, y)| {
        let key = |one: &Snapshot| (one.backup_type.to_string(), one.backup_id.clone());
        (a, key(x), std::cmp::Reverse(x.time)).cmp(&(b, key(y), std::cmp::Reverse(y.time)))
    });
    Ok((all, notes))
}

/// A warning for a plan where the token is known to hold none of `privileges` on `path`.
pub(super) async fn lacks(
    cx: &Cx,
    server: &Pbs,
    path: &str,
    privileges: &[&str],
) -> Option<String> {
    let held = server.operator_permissions(cx.now()).await.ok()?;
    if privileges.iter().any(|privilege| held.has(path, privilege)) {
        return None;
    }
    Some(format!(
        "{}: the token for changes holds no {} on {path}, so the server will refuse",
        server.key,
        privileges.join(" or ")
    ))
}

/// An object of arguments.
pub(super) fn object(value: serde_json::Value) -> mcp_protocol::JsonObject {
    match value {
        serde_json::Value::Object(object) => object,
        _ => mcp_protocol::JsonObject::new(),
    }
}

fn shown(namespace: &str) -> &str {
    if namespace.is_empty() { "(root)" } else { namespace }
}

/// The datastores of all servers that can be meant.
async fn stores(cx: &Cx, asked: Asked<'_>) -> Result<Gathered<Pbs, Vec<DatastoreName>>, ToolError> {
    let members = cx.fleet.pbs(asked.cluster)?;
    if members.is_empty() {
        return Err(ToolError::new("no backup server is configured")
            .hint("add one to the settings: `proxmox-mcp config add`"));
    }
    let ask = |member: Arc<Pbs>| async move {
        let list = member.client.call(datastores::list()).await?;
        Ok(list.into_iter().map(|store| store.name).collect())
    };
    Ok(cx.fleet.gather(members, GATHER_DEADLINE, ask).await)
}

/// A server that is silent could have the same name: nothing is done by an address that leaves it
/// open.
fn refuse_silence<T>(asked: Asked<'_>, gathered: &Gathered<Pbs, T>) -> Result<(), ToolError> {
    if !gathered.is_partial() {
        return Ok(());
    }
    let mut who: Vec<String> = gathered.unreachable.iter().map(|part| part.what.clone()).collect();
    who.extend(gathered.refused.iter().map(|(key, _)| key.to_string()));
    let lead = format!("{} cannot be asked", who.join(", "));
    let error = ToolError::new(if asked.cluster.is_some() {
        lead
    } else {
        format!("{lead} and could be meant as well")
    });
    let error = error.of_kind(Kind::Unavailable).with_silence(gathered);
    Err(if asked.cluster.is_some() { error } else { error.hint("give cluster") })
}

/// The only one; else the error that lists them.
fn one<T>(
    mut found: Vec<T>,
    gathered: &Gathered<Pbs, Vec<DatastoreName>>,
    what: &str,
    table: &'static str,
    row: impl Fn(&T) -> Vec<Cell>,
) -> Result<T, ToolError> {
    if found.len() == 1 {
        return Ok(found.remove(0));
    }
    if found.is_empty() {
        let mut known = Table::new("datastores", &["cluster", "datastore"]);
        for (member, stores) in &gathered.answers {
            for store in stores {
                known.push(vec![Cell::text(member.key.as_str()), Cell::text(store.as_str())]);
            }
        }
        let lead = format!("{what} is not found, as far as the token sees");
        return Err(ToolError::not_found(lead).choices(known));
    }
    let columns: &[&'static str] = match table {
        "datastores" => &["cluster", "datastore"],
        _ => &["cluster", "datastore", "namespace", "group"],
    };
    let mut choices = Table::new(table, columns);
    for one in &found {
        choices.push(row(one));
    }
    let lead = match what.strip_prefix("which ") {
        Some(what) => format!("there are {} {what}s: say which", found.len()),
        None => format!("{what} is in {} places", found.len()),
    };
    Err(ToolError::new(lead).of_kind(Kind::Ambiguous).choices(choices))
}
