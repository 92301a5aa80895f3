//! `guests_list`: the estate's guests as rows, filtered, sorted and paged.

use std::{cmp::Ordering, collections::BTreeSet, sync::Arc};

use api_core::Error;
use async_trait::async_trait;
use estate::{Access, GuestKind};
use futures::join;
use mcp_protocol::JsonObject;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::tally::Tally;
use crate::{
    cursor,
    error::ToolError,
    fleet::{GATHER_DEADLINE, Gathered, Pve},
    permissions::Permissions,
    report::{Cell, Paging, Report, Table, Unreachable},
    schema::{Input, Output},
    sight,
    tool::{Cx, Definition, EstateTool},
    view::{Guest, GuestStatus, View},
};

const NAME: &str = "guests_list";
const KINDS: &[&str] = &["vm", "ct"];
const STATUSES: &[&str] = &["running", "stopped", "paused", "unknown", "template"];
const SORTS: &[&str] = &["id", "name", "cpu", "mem", "disk", "uptime", "status"];

/// Lists guests.
pub struct GuestsList;

/// Which guests, and how they are shown.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Filter {
    pub(super) cluster: Option<String>,
    pub(super) node: Option<String>,
    pub(super) kind: Option<String>,
    pub(super) status: Option<String>,
    pub(super) tag: Option<String>,
    pub(super) pool: Option<String>,
    pub(super) text: Option<String>,
    pub(super) sort: Option<String>,
    pub(super) limit: Option<usize>,
    pub(super) cursor: Option<String>,
}

/// What a further column shows of a guest.
type ShowFn = fn(&Guest) -> Cell;

/// A cluster's rows and what its token may see.
pub(super) type Seen = (View, Option<Arc<Permissions>>);

#[async_trait]
impl EstateTool for GuestsList {
    fn definition(&self) -> Definition {
        Definition {
            name: NAME,
            title: "List guests",
            description: "VMs and containers with status and load; filters combine.",
            input: Input::new()
                .cluster()
                .node()
                .choice("kind", KINDS, "")
                .choice("status", STATUSES, "")
                .text("tag", "")
                .text("pool", "")
                .text("text", "in name, id or tags")
                .choice("sort", SORTS, "")
                .paged(),
            output: Output::new().table("guests").fact("count", "integer").fact("tally", "object"),
            access: Access::Read,
            idempotent: true,
        }
    }

    fn access(&self, _args: &JsonObject) -> Access {
        Access::Read
    }

    async fn call(&self, cx: &Cx, args: JsonObject) -> Result<Report, ToolError> {
        let query = Map::clone(&args);
        let mut args: Filter = cx.args(args)?;
        let offset = cursor::decode(args.cursor.as_deref(), &query)
            .map_err(|error| ToolError::new(error.to_string()))?;
        args.node = args.node.filter(|node| !node.trim().is_empty());
        // `cluster/node` is how answers print a node, so it is taken as a filter, too.
        if args.cluster.is_none()
            && let Some((cluster, node)) = args.node.as_deref().and_then(|at| at.split_once('/'))
        {
            (args.cluster, args.node) = (Some(cluster.to_owned()), Some(node.to_owned()));
        }
        let now = cx.now();
        let members = cx.fleet.pve(args.cluster.as_deref())?;
        let load = |member: Arc<Pve>| async move {
            let (view, permissions) =
                join!(View::load(Arc::clone(&member)), sight::of_pve(&member, now));
            Ok::<_, Error>((view?, permissions))
        };
        let gathered = cx.fleet.gather(members, GATHER_DEADLINE, load).await;
        check_filters(&args, &gathered)?;
        Ok(report(&args, query, offset, &gathered))
    }
}

/// A filter on something that does not exist is a mistake, not an empty answer.
pub(super) fn check_filters(
    args: &Filter,
    gathered: &Gathered<Pve, Seen>,
) -> Result<(), ToolError> {
    if let Some(name) = args.node.as_deref() {
        crate::address::node_among(gathered, |(view, _)| view, name)?;
    }
    let known = |list: fn(&View) -> Vec<&str>| {
        let lists = gathered.answers.iter().flat_map(|(_, (view, _))| list(view));
        lists.collect::<BTreeSet<_>>()
    };
    let check = |kind: &str, wanted: Option<&str>, known: &BTreeSet<&str>| match wanted {
        Some(wanted) if !known.contains(wanted) => {
            let wanted = stdx::untrusted::line(wanted, 60);
            let known = known.iter().copied().collect::<Vec<_>>().join(", ");
            let known = if known.is_empty() { "none".to_owned() } else { known };
            let what = format!("a guest with the {kind} `{wanted}`");
            let error = crate::address::not_found(gathered, &what, || {
                format!("no guest has the {kind} `{wanted}`")
            });
            let error = error.hint(format!("{kind}s in use: {known}")).with_silence(gathered);
            Err(gathered.answers.iter().fold(error, |error, (member, (_, held))| {
                let key = member.key.as_str();
                error.map(|report| sight::tell(report, key, held.as_deref(), &["guests"]))
            }))
        }
        _ => Ok(()),
    };
    check(
        "tag",
        args.tag.as_deref(),
        &known(|view| {
            view.guests.iter().flat_map(|guest| &guest.tags).map(String::as_str).collect()
        }),
    )?;
    check(
        "pool",
        args.pool.as_deref(),
        &known(|view| {
            let used = view.guests.iter().filter_map(|guest| guest.pool.as_deref());
            used.chain(view.pools.iter().map(String::as_str)).collect()
        }),
    )
}

fn report(
    args: &Filter,
    query: JsonObject,
    offset: usize,
    gathered: &Gathered<Pve, Seen>,
) -> Report {
    let all: Vec<&Guest> =
        gathered.answers.iter().flat_map(|(_, (view, _))| &view.guests).collect();
    let mut chosen: Vec<&Guest> = all.iter().copied().filter(|guest| args.fit(guest)).collect();
    sort(&mut chosen, args.sort.as_deref().unwrap_or("id"));

    let tally: Tally = chosen.iter().copied().collect();
    let lead = if chosen.len() == all.len() {
        tally.to_string()
    } else {
        format!("{tally}, of {} in all", all.len())
    };
    let tally = if sight::is_dark(gathered) { Value::Null } else { tally.value() };
    let mut report = Report::new(sight::lead_of(gathered, lead))
        .fact("count", sight::known(gathered, chosen.len()))
        .fact("tally", tally);

    let table = table(args, query, offset, &chosen);
    let locked: Vec<String> = chosen
        .iter()
        .filter_map(|guest| Some(format!("{} ({})", guest.at, guest.lock.as_ref()?)))
        .collect();
    report = report.table(table);
    if !locked.is_empty() {
        let more = if locked.len() > 10 { ", …" } else { "" };
        let first = locked.iter().take(10).map(String::as_str).collect::<Vec<_>>().join(", ");
        report = report.note(format!("locked: {first}{more}"));
    }
    for (member, (view, permissions)) in &gathered.answers {
        for node in view.offline_nodes() {
            report.unreachable.push(Unreachable {
                what: format!("{}/{}", member.key, node.name),
                why: format!("node {}", node.status),
            });
        }
        report = sight::tell(report, member.key.as_str(), permissions.as_deref(), &["guests"]);
    }
    report = gathered.tell(report);
    match chosen.as_slice() {
        [one] => report.next("guest_get", json!({"guest": one.at.to_string()})),
        [] if !all.is_empty() => report.note("no guest fits all filters").next(NAME, json!({})),
        _ => report,
    }
}

fn table(args: &Filter, query: JsonObject, offset: usize, chosen: &[&Guest]) -> Table {
    let mut columns = vec!["guest", "name", "kind", "node", "status", "cpu", "mem", "maxmem"];
    // What is sorted by is shown.
    let extra: Option<(&str, ShowFn)> = match args.sort.as_deref() {
        Some("disk") => Some(("disk", |guest| match guest.disk.max(guest.max_disk) {
            0 => Cell::none(),
            size => Cell::bytes(size),
        })),
        Some("uptime") => Some(("uptime", |guest| {
            if guest.status.is_on() { Cell::span(guest.uptime) } else { Cell::none() }
        })),
        _ => None,
    };
    columns.extend(extra.map(|(column, _)| column));
    let mut table = Table::new("guests", &columns);
    let limit = cursor::limit(args.limit, cursor::PAGE);
    let end = (offset + limit).min(chosen.len());
    for guest in chosen.get(offset..end).unwrap_or_default() {
        let mut row = row(guest);
        row.extend(extra.map(|(_, cell)| cell(guest)));
        table.push(row);
    }
    table.total = Some(chosen.len());
    let mut args: Map<String, Value> = query;
    args.remove("cursor");
    table.paging = Some(Paging { tool: NAME, args, offset });
    table
}

fn row(guest: &Guest) -> Vec<Cell> {
    let on = guest.status.is_on();
    vec![
        Cell::text(guest.at.to_string()),
        Cell::text(&*guest.name),
        Cell::text(guest.kind_word()),
        Cell::text(guest.node.as_str()),
        Cell::text(guest.status.as_str()),
        if on { Cell::share(guest.cpu) } else { Cell::none() },
        if on { Cell::bytes(guest.mem) } else { Cell::none() },
        // The cluster knows no figures of a guest whose node has been away for long.
        if guest.max_mem > 0 { Cell::bytes(guest.max_mem) } else { Cell::none() },
    ]
}

fn sort(guests: &mut [&Guest], by: &str) {
    // All but names and states: the most first. Equals stay in the order of their ids.
    let order: fn(&Guest, &Guest) -> Ordering = match by {
        "name" => |a, b| a.name.to_lowercase().cmp(&b.name.to_lowercase()),
        "cpu" => |a, b| b.cpu.total_cmp(&a.cpu),
        "mem" => |a, b| b.mem.cmp(&a.mem),
        "disk" => |a, b| b.disk.max(b.max_disk).cmp(&a.disk.max(a.max_disk)),
        "uptime" => |a, b| b.uptime.cmp(&a.uptime),
        "status" => |a, b| rank(&a.status).cmp(&rank(&b.status)),
        _ => |_, _| Ordering::Equal,
    };
    guests.sort_by(|a, b| order(a, b).then_with(|| a.at.cmp(&b.at)));
}

/// Worst first.
fn rank(status: &GuestStatus) -> u8 {
    match status {
        GuestStatus::Unknown => 0,
        GuestStatus::Other(_) => 1,
        GuestStatus::Paused => 2,
        GuestStatus::Stopped => 3,
        GuestStatus::Running => 4,
        GuestStatus::Template => 5,
    }
}

// === impl Filter ===

impl Filter {
    pub(super) fn fit(&self, guest: &Guest) -> bool {
        let is = |wanted: Option<&str>, has: &str| wanted.is_none_or(|wanted| wanted == has);
        let kind = match self.kind.as_deref() {
            Some("vm") => guest.kind == GuestKind::Qemu,
            Some("ct") => guest.kind == GuestKind::Lxc,
            _ => true,
        };
        kind && is(self.node.as_deref(), guest.node.as_str())
            && is(self.status.as_deref(), guest.status.as_str())
            && self.tag.as_ref().is_none_or(|tag| guest.tags.contains(tag))
            && is(self.pool.as_deref(), guest.pool.as_deref().unwrap_or_default())
            && self.text.as_deref().is_none_or(|text| mentions(guest, text))
    }
}

fn mentions(guest: &Guest, text: &str) -> bool {
    let text = text.trim().to_lowercase();
    guest.name.to_lowercase().contains(&text)
        || guest.at.to_string().contains(&text)
        || guest.tags.iter().any(|tag| tag.to_lowercase().contains(&text))
}

#[cfg(test)]
mod tests;
