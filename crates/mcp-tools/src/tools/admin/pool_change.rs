//! `pool_change`: makes, fills, empties, describes and deletes pools.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use async_trait::async_trait;
use estate::{Access, VmId};
use mcp_protocol::JsonObject;
use pve_client::pools::{self, PoolParams};
use serde::Deserialize;
use serde_json::json;

use super::{
    acl_change::effects_of,
    act::{given, object},
    ask::few,
    book::Keeper,
};
use crate::{
    error::ToolError,
    fleet::Pve,
    plan::{ActionTool, Done, Plan, Step, Undo},
    report::{Cell, Report, Table},
    schema::{Input, Output},
    tool::{Cx, Definition},
    tools::tally::counted,
    view::{Guest, View},
};

const NAME: &str = "pool_change";

/// Changes pools.
pub struct PoolChange;

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum Action {
    Create,
    Delete,
    Add,
    Remove,
    Comment,
}

#[derive(Debug, Deserialize)]
struct Args {
    cluster: Option<String>,
    pool: String,
    action: Action,
    #[serde(default)]
    guests: Vec<String>,
    #[serde(default)]
    storages: Vec<String>,
    comment: Option<String>,
}

/// What the action is about.
struct Scene {
    member: Arc<Pve>,
    pool: String,
    comment: Option<String>,
    guests: Vec<Guest>,
    storages: Vec<String>,
}

#[async_trait]
impl ActionTool for PoolChange {
    fn definition(&self) -> Definition {
        Definition {
            name: NAME,
            title: "Change a pool",
            description: "Creates or deletes a pool, puts guests and storages in (also from another pool) or takes them out, sets its comment.",
            input: Input::new()
                .cluster()
                .text("pool", "")
                .required("pool")
                .choice("action", &["create", "delete", "add", "remove", "comment"], "")
                .required("action")
                .texts("guests", "vmid or name")
                .texts("storages", "")
                .text("comment", ""),
            output: Output::new()
                .fact("pool", "string")
                .fact("action", "string")
                .fact("status", "string"),
            access: Access::Destroy,
            idempotent: true,
        }
    }

    fn access(&self, args: &JsonObject) -> Access {
        // With a pool go the lines of who may do what in it, and the backups of what was in it.
        match args.get("action").and_then(|action| action.as_str()) {
            Some("create" | "add" | "remove" | "comment") => Access::Operate,
            _ => Access::Destroy,
        }
    }

    async fn plan(&self, cx: &Cx, args: JsonObject) -> Result<Plan, ToolError> {
        let args: Args = cx.args(args)?;
        let (member, pool) = member_of(cx, &args)?;
        let key = member.key.clone();
        let (view, known) =
            futures::join!(View::load(Arc::clone(&member)), member.client.call(pools::list()),);
        let failed =
            |error: &api_core::Error| ToolError::api(format!("read the pools of {key}"), error);
        let (view, known) = (view.map_err(|it| failed(&it))?, known.map_err(|it| failed(&it))?);
        let found = known.iter().find(|it| it.id == pool);
        let at = format!("{key}/{pool}");
        if args.action == Action::Create {
            if found.is_some() {
                let lead = format!("pool {at} exists already: nothing was done");
                return Ok(Plan::already(Report::new(lead).fact("status", "unchanged")));
            }
            return create(member, pool, &args, &view);
        }
        if found.is_none() {
            let mut table = Table::new("pools", &["pool"]);
            known
                .iter()
                .take(40)
                .for_each(|it| table.push(vec![Cell::text(format!("{key}/{}", it.id))]));
            let shown = stdx::untrusted::line(&pool, 60);
            let error = ToolError::not_found(format!(
                "{key} has no pool `{shown}`, as far as the token sees"
            ));
            return Err(error.choices(table));
        }
        let scene = Scene {
            guests: guests(&view, &args.guests, key.as_str())?,
            storages: storages(&view, &args.storages)?,
            comment: found.and_then(|it| it.comment.clone()),
            member,
            pool,
        };
        match args.action {
            Action::Comment => Ok(comment(scene, given(args.comment.as_ref()).unwrap_or_default())),
            Action::Delete => delete(cx, scene, &view).await,
            Action::Add => fill(cx, scene, true).await,
            Action::Remove | Action::Create => fill(cx, scene, false).await,
        }
    }
}

/// The cluster that is meant: named beside or in front of the pool, or the only one.
fn member_of(cx: &Cx, args: &Args) -> Result<(Arc<Pve>, String), ToolError> {
    let pool = args.pool.trim().trim_matches('/');
    if pool.is_empty() {
        return Err(ToolError::new("no pool is named: `pool` is empty"));
    }
    let all = cx.fleet.pve(None)?;
    let (cluster, pool) = match pool.split_once('/') {
        Some((key, rest)) if all.iter().any(|it| it.key.as_str() == key) => (Some(key), rest),
        _ => (given(args.cluster.as_ref()), pool),
    };
    let mut members = cx.fleet.pve(cluster)?;
    if members.len() != 1 {
        let keys: Vec<String> = members.iter().map(|member| member.key.to_string()).collect();
        return Err(ToolError::new("say in which cluster the pool is")
            .of_kind(crate::error::Kind::Ambiguous)
            .hint(format!("give cluster: {}", keys.join(", "))));
    }
    Ok((members.remove(0), pool.to_owned()))
}

fn guests(view: &View, named: &[String], key: &str) -> Result<Vec<Guest>, ToolError> {
    let mut found = Vec::new();
    for name in named {
        let bare = name.trim().strip_prefix(&format!("{key}/")).unwrap_or(name.trim());
        let fits = |guest: &&Guest| match bare.parse::<VmId>() {
            Ok(vmid) => guest.at.vmid == vmid,
            Err(_) => guest.name.eq_ignore_ascii_case(bare),
        };
        let all: Vec<&Guest> = view.guests.iter().filter(fits).collect();
        match all.as_slice() {
            [one] => found.push((*one).clone()),
            several => {
                let shown = stdx::untrusted::line(name, 60);
                let lead = match several.len() {
                    0 => format!("{key} has no guest `{shown}`, as far as the token sees"),
                    count => format!("`{shown}` fits {count} guests of {key}"),
                };
                return Err(ToolError::new(lead).hint("name guests by their id"));
            }
        }
    }
    Ok(found)
}

fn storages(view: &View, named: &[String]) -> Result<Vec<String>, ToolError> {
    let known: BTreeSet<&str> = view.storages.iter().map(|it| it.name.as_str()).collect();
    let unknown: Vec<&String> = named.iter().filter(|it| !known.contains(it.trim())).collect();
    if unknown.is_empty() {
        return Ok(named.iter().map(|it| it.trim().to_owned()).collect());
    }
    let unknown: Vec<String> =
        unknown.iter().map(|it| stdx::untrusted::line(it, 60).into_owned()).collect();
    let known: Vec<&str> = known.into_iter().collect();
    Err(ToolError::not_found(format!("no storage is called {}", few(&unknown)))
        .hint(format!("there are: {}", few(&known))))
}

fn create(member: Arc<Pve>, pool: String, args: &Args, view: &View) -> Result<Plan, ToolError> {
    let at = format!("{}/{pool}", member.key);
    if !args.guests.is_empty() || !args.storages.is_empty() {
        // Two calls, since making a pool takes no members.
        let _ = (guests(view, &args.guests, member.key.as_str())?, storages(view, &args.storages)?);
    }
    let text = given(args.comment.as_ref());
    let mut plan = Plan::new(format!("creation of pool {at}"))
        .fact("pool", at.as_str())
        .fact("action", "create")
        .target(at.as_str(), [("exists", "no")])
        .change("pool", "-", pool.as_str())
        .undo(Undo::Call(NAME, object(json!({"pool": at, "action": "delete"}))))
        .step(Step::pve(&member, format!("creation of pool {at}"), pools::create(&pool, text)));
    let members = guests(view, &args.guests, member.key.as_str())?;
    let held = storages(view, &args.storages)?;
    if !members.is_empty() || !held.is_empty() {
        plan = plan.step(Step::pve(
            &member,
            format!("filling of pool {at}"),
            pools::update(&pool, params(&members, &held, false)),
        ));
        for guest in &members {
            plan = plan.change(
                guest.at.to_string(),
                guest.pool.as_deref().unwrap_or("-"),
                pool.as_str(),
            );
        }
    }
    Ok(settled(plan, member, pool, "create"))
}

fn params(guests: &[Guest], storages: &[String], remove: bool) -> PoolParams {
    let moves = guests.iter().any(|guest| guest.pool.is_some());
    PoolParams {
        guests: guests.iter().map(|guest| guest.at.vmid).collect(),
        storages: storages.iter().collect(),
        delete: remove.then_some(true),
        allow_move: (moves && !remove).then_some(true),
        ..PoolParams::default()
    }
}

fn comment(scene: Scene, text: &str) -> Plan {
    let Scene { member, pool, comment, .. } = scene;
    let at = format!("{}/{pool}", member.key);
    let before = comment.unwrap_or_default();
    if before == text {
        let lead = format!("the comment of pool {at} says so already: nothing was done");
        return Plan::already(Report::new(lead).fact("status", "unchanged"));
    }
    let options = PoolParams { comment: Some(text.to_owned()), ..PoolParams::default() };
    let step = Step::pve(&member, format!("comment of pool {at}"), pools::update(&pool, options));
    let plan = Plan::new(format!("comment of pool {at}"))
        .fact("pool", at.as_str())
        .fact("action", "comment")
        .target(at.as_str(), [("comment", before.as_str())])
        .change(
            "comment",
            if before.is_empty() { "-" } else { before.as_str() },
            if text.is_empty() { "-" } else { text },
        )
        .undo(Undo::Call(NAME, object(json!({"pool": at, "action": "comment", "comment": before}))))
        .step(step);
    settled(plan, member, pool, "comment")
}

/// What was put into a pool goes back: out of it, or into the pool where it was.
fn back_to_where_they_were(at: &str, guests: &[Guest], storages: &[String]) -> Undo {
    let mut from: BTreeMap<Option<&str>, Vec<String>> = BTreeMap::new();
    for guest in guests {
        from.entry(guest.pool.as_deref()).or_default().push(guest.at.vmid.to_string());
    }
    let key = at.split_once('/').map_or(at, |(key, _)| key);
    let outside = from.remove(&None).unwrap_or_default();
    let mut calls = Vec::new();
    if !outside.is_empty() || !storages.is_empty() {
        let back = json!({"pool": at, "action": "remove", "guests": outside, "storages": storages});
        calls.push((NAME, object(back)));
    }
    for (pool, ids) in from {
        let pool = format!("{key}/{}", pool.unwrap_or_default());
        calls.push((NAME, object(json!({"pool": pool, "action": "add", "guests": ids}))));
    }
    match calls.len() {
        1 => {
            let (tool, args) = calls.remove(0);
            Undo::Call(tool, args)
        }
        _ => Undo::Calls(calls),
    }
}

/// Puts guests and storages in, or takes them out.
async fn fill(cx: &Cx, scene: Scene, adds: bool) -> Result<Plan, ToolError> {
    let Scene { member, pool, mut guests, storages, .. } = scene;
    let at = format!("{}/{pool}", member.key);
    if guests.is_empty() && storages.is_empty() {
        return Err(ToolError::new("nothing is named: give guests or storages"));
    }
    let is_in = |guest: &Guest| guest.pool.as_deref() == Some(pool.as_str());
    guests.retain(|guest| is_in(guest) != adds);
    if guests.is_empty() && storages.is_empty() {
        let state = if adds { "are in" } else { "are not in" };
        let lead = format!("the guests {state} pool {at} already: nothing was done");
        return Ok(Plan::already(Report::new(lead).fact("status", "unchanged")));
    }
    let (word, verb) = if adds { ("add", "into") } else { ("remove", "out of") };
    let parts = [(guests.len(), "guest"), (storages.len(), "storage")];
    let parts = parts.iter().filter(|(count, _)| *count > 0);
    let parts: Vec<String> = parts.map(|(count, what)| counted(*count, what)).collect();
    let what = format!("move of {} {verb} pool {at}", parts.join(" and "));
    let step =
        Step::pve(&member, what.as_str(), pools::update(&pool, params(&guests, &storages, !adds)));
    let ids: Vec<String> = guests.iter().map(|guest| guest.at.vmid.to_string()).collect();
    let undo = if adds {
        back_to_where_they_were(&at, &guests, &storages)
    } else {
        let back = json!({"pool": at, "action": "add", "guests": ids, "storages": storages});
        Undo::Call(NAME, object(back))
    };
    let mut plan =
        Plan::new(what).fact("pool", at.as_str()).fact("action", word).undo(undo).step(step);
    for guest in &guests {
        let before = guest.pool.as_deref().unwrap_or("-");
        plan = plan.target(guest.at.to_string(), [("pool", before)]).change(
            guest.at.to_string(),
            before,
            if adds { pool.as_str() } else { "-" },
        );
    }
    plan = backups(plan, &member, &pool, &guests, adds).await;
    // Who may do what on them changes with the pool.
    if let Ok(read) = Keeper::Pve(Arc::clone(&member)).read(cx).await
        && read.gaps.is_empty()
    {
        let mut after = read.book.clone();
        let mut paths = BTreeSet::new();
        let guests = guests.iter().map(|guest| format!("/vms/{}", guest.at.vmid));
        for path in guests {
            let held = after.pools.entry(path.clone()).or_default();
            held.clear();
            if adds {
                held.insert(pool.clone());
            }
            paths.insert(path);
        }
        for storage in &storages {
            let path = format!("/storage/{storage}");
            let held = after.pools.entry(path.clone()).or_default();
            if adds {
                held.insert(pool.clone())
            } else {
                held.remove(&pool)
            };
            paths.insert(path);
        }
        for effect in effects_of(&read.book, &after, &paths) {
            plan = plan.effect(effect);
        }
    } else {
        plan = plan.note("who gains and loses access with the pool is not known to this token");
    }
    Ok(settled(plan, member, pool, word))
}

/// Says which backup jobs go by the pools that are touched.
async fn backups(mut plan: Plan, member: &Pve, pool: &str, guests: &[Guest], adds: bool) -> Plan {
    let Ok(jobs) = member.client.call(pve_client::cluster::backup::jobs()).await else {
        return plan.note("which backup jobs go by the pool is not known to this token");
    };
    let of = |name: &str| {
        let jobs = jobs.iter().filter(|job| job.pool.as_deref() == Some(name));
        jobs.map(|job| job.id.clone()).collect::<Vec<_>>()
    };
    let here = of(pool);
    if adds && !here.is_empty() {
        plan = plan.effect(format!("they are backed up by {} from now on", few(&here)));
    }
    let left: BTreeSet<&str> = guests.iter().filter_map(|guest| guest.pool.as_deref()).collect();
    for name in left {
        let jobs = of(name);
        if !jobs.is_empty() {
            plan = plan.warn(
                "backup_lost",
                format!("{} goes by pool {name}: it no longer backs them up", few(&jobs)),
            );
        }
    }
    plan
}

async fn delete(cx: &Cx, scene: Scene, view: &View) -> Result<Plan, ToolError> {
    let Scene { member, pool, comment, .. } = scene;
    let at = format!("{}/{pool}", member.key);
    let held: Vec<String> = view
        .guests
        .iter()
        .filter(|guest| guest.pool.as_deref() == Some(pool.as_str()))
        .map(|guest| guest.at.to_string())
        .collect();
    if !held.is_empty() {
        return Err(ToolError::new(format!("pool {at} is not empty: {}", few(&held)))
            .hint("take its guests out first (action remove), or move them to another pool")
            .next("pools_list", object(json!({"pool": at}))));
    }
    let what = format!("deletion of pool {at}");
    let text = comment.as_deref().unwrap_or_default();
    let mut plan = Plan::new(what.as_str())
        .fact("pool", at.as_str())
        .fact("action", "delete")
        .target(at.as_str(), [("guests", "0")])
        .change("pool", pool.as_str(), "-")
        .undo(Undo::By(format!(
            "make it again with pool_change action create{}, and give the roles on it again",
            if text.is_empty() { String::new() } else { format!(" comment {text:?}") }
        )))
        .step(Step::pve(&member, what, pools::delete(&pool)));
    let jobs = member.client.call(pve_client::cluster::backup::jobs()).await.unwrap_or_default();
    let jobs: Vec<&str> = jobs
        .iter()
        .filter(|job| job.pool.as_deref() == Some(pool.as_str()))
        .map(|job| job.id.as_str())
        .collect();
    if !jobs.is_empty() {
        let text =
            format!("{} goes by the pool, and fails or covers nothing without it", few(&jobs));
        plan = plan.warn("backup_lost", text);
    }
    if let Ok(read) = Keeper::Pve(Arc::clone(&member)).read(cx).await {
        let path = format!("/pool/{pool}");
        let lines = read.book.lines.iter().filter(|line| line.path == path);
        let lines: Vec<String> =
            lines.map(|line| format!("{} for {}", line.role, line.who)).collect();
        if !lines.is_empty() {
            plan = plan.warn("access_lost", format!("its roles go with it: {}", few(&lines)));
        }
    }
    Ok(settled(plan, member, pool, "delete"))
}

/// Reads the pool back, and says whether it is as was asked.
fn settled(plan: Plan, member: Arc<Pve>, pool: String, word: &'static str) -> Plan {
    plan.settle(move |_, done: Done| async move {
        let at = format!("{}/{pool}", member.key);
        let known = member.client.call(pools::list()).await;
        let known =
            known.map_err(|error| ToolError::api(format!("read pool {at} back"), &error))?;
        let is_there = known.iter().any(|it| it.id == pool);
        if is_there == (word == "delete") {
            let lead = format!("{word} of pool {at} was asked for, but the list does not say so");
            return Err(ToolError::from_report(done.report(lead).fact("status", "failed")));
        }
        if word == "delete" {
            return Ok(done.report(format!("pool {at} is gone")));
        }
        let view = View::load(Arc::clone(&member)).await;
        let count = view.ok().map(|view| {
            view.guests.iter().filter(|guest| guest.pool.as_deref() == Some(pool.as_str())).count()
        });
        let held =
            count.map_or_else(String::new, |count| format!(", {} in it", counted(count, "guest")));
        let lead = format!("pool {at}: {word} is done{held}");
        Ok(done.report(lead).next("pools_list", json!({"pool": at})))
    })
}
