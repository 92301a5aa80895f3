//! `namespaces_list`: the namespaces of datastores, what is in them, and who backs up there.

use std::sync::Arc;

use async_trait::async_trait;
use estate::Access;
use futures::future::join_all;
use mcp_protocol::JsonObject;
use pbs_client::{datastores, groups, namespaces};
use pve_client::storage;
use serde::Deserialize;

use crate::{
    error::ToolError,
    fleet::{GATHER_DEADLINE, Pbs, Pve},
    report::{Cell, Report, Table, age, rfc3339},
    schema::{Input, Output},
    sight,
    tool::{Cx, Definition, EstateTool},
    tools::{backups::Place, tally::counted},
};

/// The tool.
pub struct NamespacesList;

#[derive(Deserialize)]
struct Args {
    cluster: Option<String>,
    datastore: Option<String>,
}

#[async_trait]
impl EstateTool for NamespacesList {
    fn definition(&self) -> Definition {
        Definition {
            name: "namespaces_list",
            title: "Namespaces",
            description: "PBS namespaces: groups, snapshots, newest, owners, and the PVE storages that point there.",
            input: Input::new().text("cluster", "PBS key").text("datastore", "").fields(),
            output: Output::new().table("namespaces"),
            access: Access::Read,
            idempotent: true,
        }
    }

    fn access(&self, _args: &JsonObject) -> Access {
        Access::Read
    }

    async fn call(&self, cx: &Cx, args: JsonObject) -> Result<Report, ToolError> {
        let args: Args = cx.args(args)?;
        let now = cx.now();
        let members = cx.fleet.pbs(args.cluster.as_deref())?;
        if members.is_empty() {
            return Ok(Report::new("no backup server is configured"));
        }
        let wanted = args.datastore.as_deref();
        let entries = |member: Arc<Pve>| async move {
            member.client.call(storage::configs(Some("pbs"))).await
        };
        let (gathered, clusters) = futures::join!(
            cx.fleet.gather(members, GATHER_DEADLINE, |member| walk(member, wanted)),
            cx.fleet.gather(cx.fleet.pve(None)?, GATHER_DEADLINE, entries),
        );
        let mut users: Vec<(String, String)> = Vec::new();
        for (member, entries) in &clusters.answers {
            for entry in entries.iter().filter(|entry| entry.kind == "pbs" && !entry.disabled) {
                if let Ok(place) = Place::of(&cx.fleet, entry) {
                    users.push((place.label(), format!("{}/{}", member.key, entry.storage)));
                }
            }
        }
        let is_whole = !clusters.is_partial();
        let mut table = Table::new(
            "namespaces",
            &["place", "groups", "snapshots", "newest", "storages", "owners"],
        );
        let mut report = clusters.tell(gathered.tell(Report::default()));
        for (member, found) in &gathered.answers {
            for (store, name, answer) in found {
                let slash = if name.is_empty() { "" } else { "/" };
                let place = format!("{}:{store}{slash}{name}", member.key);
                let all = match answer {
                    Ok(all) => all,
                    Err(error) => {
                        let why = stdx::Chain(error);
                        report.notes.push(format!("{place} is not shown: {why}"));
                        continue;
                    }
                };
                let newest = all.iter().filter_map(|group| group.last_backup).max();
                let of_place = users.iter().filter(|(label, _)| *label == place);
                let storages: Vec<String> = of_place.map(|(_, storage)| storage.clone()).collect();
                let mut owners: Vec<String> = all.iter().filter_map(|g| g.owner.clone()).collect();
                owners.sort();
                owners.dedup();
                table.push(vec![
                    Cell::text(place),
                    Cell::number(all.len()),
                    Cell::number(all.iter().map(|group| group.count).sum::<u64>()),
                    newest.map_or_else(Cell::none, |at| Cell::with(rfc3339(at), age(at, now))),
                    if storages.is_empty() && !is_whole {
                        Cell::text("?")
                    } else {
                        Cell::words(&storages)
                    },
                    Cell::words(&owners),
                ]);
            }
            let held = sight::of_pbs(member, now).await;
            report = sight::tell(report, member.key.as_str(), held.as_deref(), &["pbs_datastores"]);
        }
        if let Some(name) = wanted
            && table.rows.is_empty()
            && !gathered.is_partial()
        {
            let name = stdx::untrusted::line(name, 60);
            report.lead = format!("no datastore is called {name:?}, as far as the token sees");
            return Err(ToolError::from_report(report));
        }
        report.lead = sight::lead_of(&gathered, counted(table.rows.len(), "namespace"));
        Ok(report.table(table))
    }
}

type Found = Vec<(String, String, Result<Vec<groups::Group>, api_core::Error>)>;

/// Every namespace of every datastore; the root has an empty name.
async fn walk(member: Arc<Pbs>, wanted: Option<&str>) -> Result<Found, api_core::Error> {
    let client = &member.client;
    let stores = client.call(datastores::list()).await?;
    let stores = stores.into_iter().map(|store| store.name);
    let stores = stores.filter(|name| wanted.is_none_or(|wanted| name.as_str() == wanted));
    let asked = stores.map(|store| async move {
        let spaces = match client.call(namespaces::list(&store, None, None)).await {
            Ok(spaces) => spaces,
            Err(error) => return vec![(store.to_string(), String::new(), Err(error))],
        };
        let store = &store;
        let lists = spaces.into_iter().map(|space| async move {
            let name = Some(space.name.as_str()).filter(|name| !name.is_empty());
            let answer = client.call(groups::list(store, name)).await;
            (store.to_string(), space.name.clone(), answer)
        });
        join_all(lists).await
    });
    Ok(join_all(asked).await.into_iter().flatten().collect())
}
