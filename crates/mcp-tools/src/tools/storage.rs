//! `storage_list`: where there is room, and what lies in one storage.

use std::{collections::BTreeMap, sync::Arc};

use api_core::Error;
use async_trait::async_trait;
use estate::{Access, NodeName, StorageName};
use mcp_protocol::JsonObject;
use pbs_client::datastores::DatastoreUsage;
use pve_client::storage::{self, Volume};
use serde::Deserialize;
use serde_json::json;

use super::{parts, tally::counted};
use crate::{
    address::{not_found_in, quoted},
    error::{Kind, ToolError},
    fleet::{GATHER_DEADLINE, Gathered, Pbs, Pve},
    permissions::Permissions,
    report::{Cell, Report, Table, bytes},
    schema::{Input, Output},
    sight,
    tool::{Cx, Definition, EstateTool},
    view::{Storage, View},
};

const NAME: &str = "storage_list";

/// Lists storages and datastores, or shows one storage.
pub struct StorageList;

#[derive(Debug, Deserialize)]
struct Args {
    cluster: Option<String>,
    node: Option<String>,
    storage: Option<String>,
}

type Seen = (View, Option<Arc<Permissions>>);
type Stores = (Vec<DatastoreUsage>, Option<Arc<Permissions>>);

/// What a name stands for.
enum Place<'a> {
    Storage(&'a Arc<Pve>, &'a View),
    Datastore(&'a Arc<Pbs>, &'a Option<Arc<Permissions>>, &'a DatastoreUsage),
}

#[async_trait]
impl EstateTool for StorageList {
    fn definition(&self) -> Definition {
        Definition {
            name: NAME,
            title: "List storages",
            description: "Storages and backup datastores with usage; with storage: its contents.",
            input: Input::new().cluster().node().text("storage", "").fields(),
            output: Output::new()
                .table("storages")
                .table("datastores")
                .table("contents")
                .fact("count", "integer"),
            access: Access::Read,
            idempotent: true,
        }
    }

    fn access(&self, _args: &JsonObject) -> Access {
        Access::Read
    }

    async fn call(&self, cx: &Cx, args: JsonObject) -> Result<Report, ToolError> {
        let mut args: Args = cx.args(args)?;
        // `cluster/node` and `cluster/storage` are how answers print them.
        for given in [&mut args.node, &mut args.storage] {
            *given = given.take().filter(|text| !text.trim().is_empty());
            if args.cluster.is_none()
                && let Some((cluster, rest)) = given.as_deref().and_then(|at| at.split_once('/'))
            {
                args.cluster = Some(cluster.to_owned());
                *given = Some(rest.to_owned());
            }
        }
        let now = cx.now();
        let (pve, pbs) = cx.fleet.members_for(args.cluster.as_deref())?;
        // A node's storages are asked for: backup servers have nothing to say.
        let pbs = if args.node.is_some() { Vec::new() } else { pbs };
        let load = |member: Arc<Pve>| async move {
            let permissions = sight::of_pve(&member, now);
            let (view, permissions) = futures::join!(View::load(Arc::clone(&member)), permissions);
            Ok::<_, Error>((view?, permissions))
        };
        let load_server = |member: Arc<Pbs>| async move {
            let permissions = sight::of_pbs(&member, now);
            let usage = member.client.call(pbs_client::datastores::usage());
            let (usage, permissions) = futures::join!(usage, permissions);
            Ok::<_, Error>((usage?, permissions))
        };
        let (clusters, servers) = futures::join!(
            cx.fleet.gather(pve, GATHER_DEADLINE, load),
            cx.fleet.gather(pbs, GATHER_DEADLINE, load_server),
        );
        if let Some(node) = args.node.as_deref() {
            crate::address::node_among(&clusters, |(view, _)| view, node)?;
        }
        match args.storage.as_deref() {
            Some(name) => {
                let result = match pick(&clusters, &servers, name)? {
                    Place::Storage(member, view) => {
                        one(cx, member, view, args.node.as_deref(), name).await
                    }
                    Place::Datastore(member, held, store) => {
                        Ok(datastore(member, held.as_deref(), store))
                    }
                };
                let tell = |report| servers.tell(clusters.tell(report));
                result.map(tell).map_err(|error| error.map(tell))
            }
            None => Ok(all(&clusters, &servers, args.node.as_deref())),
        }
    }
}

/// All storages, each shared one once, the fullest first.
fn all(
    clusters: &Gathered<Pve, Seen>,
    servers: &Gathered<Pbs, Stores>,
    node: Option<&str>,
) -> Report {
    let mut rows: Vec<(&Arc<Pve>, &Storage, usize)> = Vec::new();
    for (member, (view, _)) in &clusters.answers {
        for storage in view.distinct_storages() {
            let seen_by = |other: &&Storage| {
                other.name == storage.name && (storage.shared || other.node == storage.node)
            };
            let on = view.storages.iter().filter(seen_by);
            if node.is_some_and(|node| !on.clone().any(|other| other.node == *node)) {
                continue;
            }
            rows.push((member, storage, on.count()));
        }
    }
    let share = |storage: &Storage| storage.share().unwrap_or_default();
    rows.sort_by(|a, b| {
        let broken = a.1.is_available().cmp(&b.1.is_available());
        broken.then_with(|| share(b.1).total_cmp(&share(a.1)))
    });
    let mut table = storage_table();
    for (member, storage, nodes) in &rows {
        table.push(row(member, storage, *nodes));
    }
    // Storages on a backup server are its datastores, often several times the same one.
    let (used, size) = rows
        .iter()
        .filter(|(_, storage, _)| storage.plugin != "pbs")
        .fold((0, 0), |(used, size), (_, storage, _)| (used + storage.used, size + storage.size));
    let away = rows.iter().filter(|(_, storage, _)| !storage.is_available()).count();
    let mut lead = Vec::new();
    if sight::is_dark(clusters) || clusters.answers.is_empty() && sight::is_dark(servers) {
        lead.push(sight::NOBODY.to_owned());
    } else if !clusters.answers.is_empty() || servers.answers.is_empty() {
        let (used, size) = (bytes(used), bytes(size));
        let count = counted(rows.len(), "storage");
        lead.push(format!("{count}, {used} of {size} used (without PBS)"));
    }
    if away > 0 {
        lead.push(format!("{away} not available"));
    }
    let mut stores = store_table();
    for (member, (usage, _)) in &servers.answers {
        for store in usage {
            stores.push(store_row(member, store));
        }
    }
    if !servers.answers.is_empty() {
        lead.push(counted(stores.rows.len(), "backup datastore"));
    }
    let count = sight::known(clusters, rows.len());
    let mut report = Report::new(lead.join("; ")).fact("count", count).table(table);
    if !stores.rows.is_empty() {
        report = report.table(stores);
    }
    for (member, (_, permissions)) in &clusters.answers {
        report = sight::tell(report, member.key.as_str(), permissions.as_deref(), &["storage"]);
    }
    for (member, (_, permissions)) in &servers.answers {
        let needs = &["pbs_datastores"];
        report = sight::tell(report, member.key.as_str(), permissions.as_deref(), needs);
    }
    servers.tell(clusters.tell(report))
}

fn storage_table() -> Table {
    Table::new("storages", &["storage", "node", "type", "use", "used", "size", "status", "content"])
}

fn row(member: &Pve, storage: &Storage, nodes: usize) -> Vec<Cell> {
    let known = storage.size > 0;
    let node = if storage.shared {
        let text = format!("shared({nodes})");
        Cell::with("shared", text)
    } else {
        Cell::text(storage.node.as_str())
    };
    vec![
        Cell::text(format!("{}/{}", member.key, storage.name)),
        node,
        Cell::text(&*storage.plugin),
        storage.share().map_or_else(Cell::none, Cell::share),
        if known { Cell::bytes(storage.used) } else { Cell::none() },
        if known { Cell::bytes(storage.size) } else { Cell::none() },
        Cell::text(&*storage.status),
        Cell::words(&storage.content),
    ]
}

fn store_table() -> Table {
    Table::new("datastores", &["datastore", "use", "used", "size", "error"])
}

fn store_row(member: &Pbs, store: &DatastoreUsage) -> Vec<Cell> {
    let used = store.used_bytes.unwrap_or_default();
    let size = store.total_bytes.unwrap_or_default();
    let known = size > 0;
    vec![
        Cell::text(format!("{}/{}", member.key, store.name)),
        if known { Cell::share(used as f64 / size as f64) } else { Cell::none() },
        if known { Cell::bytes(used) } else { Cell::none() },
        if known { Cell::bytes(size) } else { Cell::none() },
        Cell::opt(store.error.clone()),
    ]
}

/// The only storage or datastore called `name`.
fn pick<'a>(
    clusters: &'a Gathered<Pve, Seen>,
    servers: &'a Gathered<Pbs, Stores>,
    name: &str,
) -> Result<Place<'a>, ToolError> {
    let storages = clusters.answers.iter().filter_map(|(member, (view, _))| {
        let has = view.storages.iter().any(|storage| storage.name == *name);
        has.then_some(Place::Storage(member, view))
    });
    let stores = servers.answers.iter().flat_map(|(member, (usage, held))| {
        let stores = usage.iter().filter(|store| store.name.as_str() == name);
        stores.map(move |store| Place::Datastore(member, held, store))
    });
    let mut found: Vec<Place<'a>> = storages.chain(stores).collect();
    if found.len() > 1 {
        let mut table = Table::new("storages", &["storage", "type"]);
        for place in &found {
            table.push(place.choice(name));
        }
        let error =
            ToolError::new(format!("storage {} is in {} places", quoted(name), found.len()))
                .of_kind(Kind::Ambiguous)
                .hint("name one as cluster/storage, or give cluster")
                .choices(table);
        return Err(error.with_silence(clusters).with_silence(servers));
    }
    found.pop().ok_or_else(|| no_such_storage(clusters, servers, name))
}

/// One datastore: its figures; what lies in it is told elsewhere.
fn datastore(member: &Pbs, held: Option<&Permissions>, store: &DatastoreUsage) -> Report {
    let at = format!("{}/{}", member.key, store.name);
    let used = store.used_bytes.unwrap_or_default();
    let lead = match (&store.error, store.total_bytes) {
        (Some(error), _) => format!("{at}: backup datastore: {error}"),
        (None, Some(size)) => {
            format!("{at}: backup datastore, {} of {} used", bytes(used), bytes(size))
        }
        (None, None) => format!("{at}: backup datastore, how full it is cannot be seen"),
    };
    let mut table = store_table();
    table.push(store_row(member, store));
    let args = json!({"cluster": member.key.as_str(), "datastore": store.name.as_str()});
    let report = Report::new(lead).fact("storage", at).table(table).next("backup_snapshots", args);
    sight::tell(report, member.key.as_str(), held, &["pbs_datastores"])
}

/// One storage: its figures on each node, and a summary of what lies in it.
async fn one(
    cx: &Cx,
    member: &Pve,
    view: &View,
    node: Option<&str>,
    name: &str,
) -> Result<Report, ToolError> {
    let here = view
        .storages
        .iter()
        .filter(|storage| storage.name == *name && node.is_none_or(|node| storage.node == *node));
    let mut here: Vec<&Storage> = here.collect();
    if here.is_empty() {
        let node = node.unwrap_or_default();
        return Err(ToolError::new(format!(
            "node {} does not have storage {}",
            quoted(node),
            quoted(name)
        )));
    }
    let at = format!("{}/{name}", member.key);
    let nodes = here.len();
    let shared = here.first().is_some_and(|storage| storage.shared);
    if shared {
        // All nodes see the same: one that is up speaks for all.
        here.sort_by_key(|storage| !storage.is_available());
        here.truncate(1);
    }
    let mut table = storage_table();
    for storage in &here {
        table.push(row(member, storage, nodes));
    }
    let mut report = Report::new(String::new()).fact("storage", &*at).table(table);
    let asked = here.iter().map(|storage| contents(member, &storage.node, &storage.name));
    let mut summary: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for (storage, answer) in here.iter().zip(futures::future::join_all(asked).await) {
        match answer {
            Ok(volumes) => {
                for volume in volumes {
                    let sum = summary.entry(volume.content.to_string()).or_default();
                    *sum = (sum.0 + 1, sum.1 + volume.size_bytes);
                }
            }
            Err(error) => {
                let what = format!("{}/{}", member.key, storage.node);
                report = parts::missing_at(report, &what, &format!("contents of {at}"), &error);
            }
        }
    }
    let mut contents = Table::new("contents", &["content", "count", "size"]);
    for (content, (count, size)) in summary {
        contents.push(vec![Cell::text(content), Cell::number(count), Cell::bytes(size)]);
    }
    let volumes: u64 = contents.rows.iter().filter_map(|row| row[1].value().as_u64()).sum();
    let used = here.iter().map(|storage| storage.used).sum();
    let size = here.iter().map(|storage| storage.size).sum();
    report.lead = format!(
        "{at}: {} of {} used{}, {}",
        bytes(used),
        bytes(size),
        if shared { " (shared)" } else { "" },
        counted(usize::try_from(volumes).unwrap_or(usize::MAX), "volume")
    );
    if node.is_none() && !shared && nodes > 1 {
        report = report.note(format!("{name} is another storage on each of {nodes} nodes"));
    }
    report = report.table(contents);
    let permissions = sight::of_pve(member, cx.now()).await;
    if here.iter().any(|storage| storage.content.iter().any(|content| content == "backup")) {
        let needs = &["backup_volumes_storage", "backup_volumes_guest"];
        report = sight::tell(report, member.key.as_str(), permissions.as_deref(), needs);
        report = report.next("backup_status", json!({"cluster": member.key.as_str()}));
    }
    Ok(report)
}

async fn contents(member: &Pve, node: &NodeName, name: &StorageName) -> Result<Vec<Volume>, Error> {
    member.client.call(storage::content(node, name, None, None)).await
}

fn no_such_storage(
    clusters: &Gathered<Pve, Seen>,
    servers: &Gathered<Pbs, Stores>,
    name: &str,
) -> ToolError {
    let mut table = Table::new("storages", &["storage", "type"]);
    for (member, (view, _)) in &clusters.answers {
        let mut last = None;
        for storage in &view.storages {
            if last.replace(&storage.name) != Some(&storage.name) {
                let at = format!("{}/{}", member.key, storage.name);
                table.push(vec![Cell::text(at), Cell::text(&*storage.plugin)]);
            }
        }
    }
    for (member, (usage, held)) in &servers.answers {
        for store in usage {
            let name = store.name.as_str();
            table.push(Place::Datastore(member, held, store).choice(name));
        }
    }
    // Whoever was silent, of either product, could have it.
    let asked = clusters.answers.iter().map(|(member, _)| member.key.as_str());
    let asked = asked.chain(servers.answers.iter().map(|(member, _)| member.key.as_str()));
    let is_partial = clusters.is_partial() || servers.is_partial();
    let what = format!("storage {}", quoted(name));
    let mut error =
        not_found_in(asked, is_partial, &what, || format!("no storage is called {}", quoted(name)));
    if table.rows.is_empty() {
        error = error.hint("the token may see none: it needs Datastore.Audit");
    }
    error.choices(table).with_silence(clusters).with_silence(servers)
}

// === impl Place ===

impl Place<'_> {
    /// A row of what can be chosen.
    fn choice(&self, name: &str) -> Vec<Cell> {
        match self {
            Self::Storage(member, view) => {
                let storage = view.storages.iter().find(|storage| storage.name == *name);
                let plugin = storage.map(|storage| storage.plugin.clone());
                vec![Cell::text(format!("{}/{name}", member.key)), Cell::opt(plugin)]
            }
            Self::Datastore(member, ..) => {
                vec![Cell::text(format!("{}/{name}", member.key)), Cell::text("datastore")]
            }
        }
    }
}

#[cfg(test)]
mod tests;
