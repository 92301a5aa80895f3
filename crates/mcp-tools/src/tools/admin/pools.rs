//! `pools_list`: pools with what is in them, and which guests are in none.

use std::{collections::BTreeMap, sync::Arc};

use api_core::Error;
use async_trait::async_trait;
use estate::Access;
use futures::future::join_all;
use mcp_protocol::JsonObject;
use pve_client::{cluster::ResourceKind, pools::Pool};
use serde::Deserialize;
use serde_json::json;

use super::{
    ask::{away, few},
    page::Page,
};
use crate::{
    address::not_found,
    error::ToolError,
    fleet::{GATHER_DEADLINE, Gathered, Pve},
    permissions::Permissions,
    report::{Cell, Report, Table},
    schema::{Input, Output},
    sight,
    tool::{Cx, Definition, EstateTool},
    tools::tally::{Tally, counted},
    view::{View, inert},
};

const NAME: &str = "pools_list";

/// The most pools of a cluster whose storages are looked up for the list.
const LOOKED_UP: usize = 40;

/// Lists pools.
pub struct PoolsList;

#[derive(Debug, Deserialize)]
struct Args {
    cluster: Option<String>,
    pool: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
}

/// What one cluster has.
struct Facts {
    view: View,
    pools: Vec<Pool>,
    /// Storages by pool, where they were looked up.
    storages: BTreeMap<String, Vec<String>>,
    held: Option<Arc<Permissions>>,
}

#[async_trait]
impl EstateTool for PoolsList {
    fn definition(&self) -> Definition {
        Definition {
            name: NAME,
            title: "List pools",
            description: "Pools with guests, storages and comment, and how many guests are in none; pool: its members.",
            input: Input::new().cluster().text("pool", "").paged(),
            output: Output::new()
                .fact("pool_count", "integer")
                .fact("without_pool", "integer")
                .table("pools")
                .table("members"),
            access: Access::Read,
            idempotent: true,
        }
    }

    fn access(&self, _args: &JsonObject) -> Access {
        Access::Read
    }

    async fn call(&self, cx: &Cx, args: JsonObject) -> Result<Report, ToolError> {
        let query = args.clone();
        let args: Args = cx.args(args)?;
        let page = Page::of(NAME, &query, args.cursor.as_deref(), args.limit)?;
        let members = cx.fleet.pve(args.cluster.as_deref())?;
        let wanted = args.pool.as_deref().map(str::trim).filter(|pool| !pool.is_empty());
        // `cluster/pool` is how answers print a pool; nested pools have a slash as well.
        let keys: Vec<String> = members.iter().map(|member| member.key.to_string()).collect();
        let (cluster, wanted) = match wanted.and_then(|it| it.split_once('/')) {
            Some((key, pool)) if keys.iter().any(|it| it == key) => (Some(key), Some(pool)),
            _ => (None, wanted),
        };
        let members = members
            .into_iter()
            .filter(|member| cluster.is_none_or(|key| member.key.as_str() == key))
            .collect();
        let now = cx.now();
        let load = |member: Arc<Pve>| async move {
            let (view, pools, held) = futures::join!(
                View::load(Arc::clone(&member)),
                member.client.call(pve_client::pools::list()),
                sight::of_pve(&member, now),
            );
            let (view, pools) = (view?, pools?);
            let storages = match wanted {
                None if pools.len() <= LOOKED_UP => storages(&member, &pools).await,
                _ => BTreeMap::new(),
            };
            Ok::<_, Error>(Facts { view, pools, storages, held })
        };
        let gathered = cx.fleet.gather(members, GATHER_DEADLINE, load).await;
        match wanted {
            Some(pool) => one(&gathered, pool, page).await,
            None => Ok(list(&gathered, page)),
        }
    }
}

async fn members_of(member: &Pve, pool: &str) -> Result<Pool, Error> {
    match member.client.call(pve_client::pools::get_nested(pool)).await {
        Ok(mut found) if !found.is_empty() => Ok(found.remove(0)),
        // Before 8.1 the list takes no name.
        _ => member.client.call(pve_client::pools::get(pool)).await,
    }
}

async fn storages(member: &Pve, pools: &[Pool]) -> BTreeMap<String, Vec<String>> {
    let asked = pools.iter().map(|pool| async move {
        let found = members_of(member, &pool.id).await.ok()?;
        let mut names: Vec<String> =
            found.members.into_iter().filter_map(|it| Some(it.storage?.to_string())).collect();
        names.sort();
        names.dedup();
        Some((pool.id.clone(), names))
    });
    join_all(asked).await.into_iter().flatten().collect()
}

fn list(gathered: &Gathered<Pve, Facts>, page: Page) -> Report {
    let mut rows = Vec::new();
    let mut report = Report::default();
    let (mut count, mut without) = (0, 0);
    for (member, facts) in &gathered.answers {
        let key = member.key.as_str();
        count += facts.pools.len();
        report = report.unreachable(away(key, &facts.view));
        for pool in &facts.pools {
            let guests =
                facts.view.guests.iter().filter(|it| it.pool.as_deref() == Some(pool.id.as_str()));
            let tally: Tally = guests.clone().collect();
            let memory: u64 = guests.map(|guest| guest.max_mem).sum();
            let storages = facts.storages.get(&pool.id).cloned().unwrap_or_default();
            rows.push(vec![
                Cell::text(format!("{key}/{}", pool.id)),
                Cell::number(tally.guests() + tally.templates),
                Cell::number(tally.running),
                Cell::bytes(memory),
                Cell::words(&storages),
                Cell::opt(pool.comment.as_deref().map(Cell::foreign)),
            ]);
        }
        let loose = facts.view.guests.iter().filter(|it| it.pool.is_none() && !it.is_template());
        let loose: Vec<String> = loose.map(|guest| guest.at.to_string()).collect();
        if facts.pools.is_empty() {
            // Where nobody uses pools, nothing is missing from one.
        } else if !loose.is_empty() {
            without += loose.len();
            report.notes.push(format!("in no pool: {}", few(&loose)));
        }
        if facts.storages.is_empty() && facts.pools.len() > LOOKED_UP {
            report.notes.push(format!("{key}: storages are not looked up for so many pools"));
        }
        report = sight::tell(report, key, facts.held.as_deref(), &["pools", "guests"]);
    }
    let lead = format!("{}, {without} guests in none", counted(count, "pool"));
    report.lead = sight::lead_of(gathered, lead);
    let columns = ["pool", "guests", "running", "maxmem", "storages", "comment"];
    let mut table = Table::new("pools", &columns);
    page.fill(&mut table, rows);
    let report = report
        .fact("pool_count", sight::known(gathered, count))
        .fact("without_pool", sight::known(gathered, without))
        .table(table);
    gathered.tell(report)
}

async fn one(
    gathered: &Gathered<Pve, Facts>,
    wanted: &str,
    page: Page,
) -> Result<Report, ToolError> {
    let all = || {
        let members = gathered.answers.iter();
        members.flat_map(|(member, facts)| facts.pools.iter().map(move |pool| (member, pool)))
    };
    let found: Vec<_> = all().filter(|(_, pool)| pool.id == wanted).collect();
    let shown = stdx::untrusted::line(wanted, 60);
    let choices = || {
        let mut table = Table::new("pools", &["pool"]);
        for (member, pool) in all().take(40) {
            table.push(vec![Cell::text(format!("{}/{}", member.key, pool.id))]);
        }
        table
    };
    let member = match found.as_slice() {
        [(member, _)] => *member,
        [] => {
            let error = not_found(gathered, &format!("pool `{shown}`"), || {
                format!("no pool is called `{shown}`, as far as the tokens see")
            });
            return Err(error.choices(choices()).with_silence(gathered));
        }
        several => {
            let error = ToolError::new(format!("pool `{shown}` is in {} clusters", several.len()));
            return Err(error
                .of_kind(crate::error::Kind::Ambiguous)
                .hint("name one as cluster/pool")
                .choices(choices()));
        }
    };
    let key = member.key.as_str();
    let pool = members_of(member, wanted)
        .await
        .map_err(|error| ToolError::api(format!("read pool {shown} of {key}"), &error))?;
    let mut rows = Vec::new();
    let (mut guests, mut running) = (0, 0);
    let mut seen = std::collections::BTreeSet::new();
    for it in &pool.members {
        let at = match (&it.kind, it.vmid, &it.storage) {
            (ResourceKind::Qemu | ResourceKind::Lxc, Some(vmid), _) => {
                guests += 1;
                running += usize::from(it.status == "running");
                format!("{key}/{vmid}")
            }
            (_, _, Some(storage)) => format!("{key}/{storage}"),
            _ => continue,
        };
        let kind = match it.kind {
            ResourceKind::Qemu => "vm",
            ResourceKind::Lxc => "ct",
            _ => "storage",
        };
        // A shared storage has a row for each node.
        if !seen.insert((kind, at.clone())) {
            continue;
        }
        rows.push(vec![
            Cell::text(at),
            Cell::text(kind),
            Cell::text(&*it.status),
            Cell::opt(it.name.as_deref().map(inert)),
        ]);
    }
    let storages = rows.len() - guests;
    let lead = format!(
        "pool {key}/{shown}: {} ({running} running), {}",
        counted(guests, "guest"),
        counted(storages, "storage")
    );
    let mut table = Table::new("members", &["member", "kind", "status", "name"]);
    page.fill(&mut table, rows);
    let report = Report::new(lead)
        .detail("comment", Cell::opt(pool.comment.as_deref().map(Cell::foreign)))
        .table(table)
        .next("access_explain", json!({"cluster": key, "path": format!("/pool/{wanted}")}));
    Ok(gathered.tell(report))
}
