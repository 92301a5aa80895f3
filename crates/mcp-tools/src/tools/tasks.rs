//! `tasks_list`: what runs and what ran, on every member, newest first.
//!
//! Without filters a cluster is asked once for its recent tasks; a filter asks the archives of the
//! nodes, which reach further back.

mod ask;
mod job;
mod locate;
mod one;

use std::sync::Arc;

use async_trait::async_trait;
use estate::Access;
use futures::join;
use mcp_protocol::JsonObject;
use serde::Deserialize;

use self::ask::{MOST, Query, of_pbs, of_pve};
pub use self::one::{TaskGet, TaskWait};
use super::{late::Until, since::since};
use crate::{
    address::Purpose,
    cursor,
    error::ToolError,
    fleet::{GATHER_DEADLINE, Pbs, Pve},
    report::{Paging, Report, Table},
    schema::{Input, Output},
    sight,
    tool::{Cx, Definition, EstateTool},
};

const NAME: &str = "tasks_list";
/// Rows of a page unless the caller says otherwise.
const LIMIT: usize = 25;
/// Rows that are asked of a source beyond those that are shown. Small estates are counted in full by
/// it, and a node lists its tasks by their end: one that took long is found in its place.
const MARGIN: u64 = 100;

/// Lists tasks.
pub struct TasksList;

#[derive(Debug, Deserialize)]
struct Args {
    cluster: Option<String>,
    node: Option<String>,
    guest: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    state: Wanted,
    since: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
}

/// Which tasks are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Wanted {
    #[default]
    All,
    Running,
    Failed,
    Finished,
}

#[async_trait]
impl EstateTool for TasksList {
    fn definition(&self) -> Definition {
        Definition {
            name: NAME,
            title: "List tasks",
            description: "Tasks of nodes and backup servers, newest first; failures with cause.",
            input: Input::new()
                .cluster()
                .node()
                .text("guest", "")
                .text("type", "e.g. vzdump, qmstart")
                .choice("state", &["running", "failed", "finished", "all"], "")
                .text("since", "RFC 3339, or age: 2h, 3d")
                .paged(),
            output: Output::new()
                .table("tasks")
                .fact("running", "integer")
                .fact("failed", "integer"),
            access: Access::Read,
            idempotent: true,
        }
    }

    fn access(&self, _args: &JsonObject) -> Access {
        Access::Read
    }

    async fn call(&self, cx: &Cx, args: JsonObject) -> Result<Report, ToolError> {
        let given = args.clone();
        let args: Args = cx.args(args)?;
        let offset = cursor::decode(args.cursor.as_deref(), &given)
            .map_err(|error| ToolError::new(error.to_string()))?;
        list(cx, args, given, offset).await
    }
}

async fn list(
    cx: &Cx,
    args: Args,
    mut given: JsonObject,
    offset: usize,
) -> Result<Report, ToolError> {
    let limit = cursor::limit(args.limit, LIMIT);
    let since = args.since.as_deref().map(|text| since(text, cx.now())).transpose()?;
    let mut query = Query {
        node: None,
        vmid: None,
        kind: args.kind.clone().filter(|kind| !kind.is_empty()),
        wanted: args.state,
        since,
        rows: (offset as u64 + limit as u64 + MARGIN).min(MOST),
        now: cx.now(),
        until: Until::of(&cx.fleet),
    };
    let mut notes = Vec::new();
    let (pve, pbs) = members(cx, &args, &mut query, &mut notes).await?;
    // Whom to ask had to be found first.
    query.until = Until::of(&cx.fleet);
    let is_archive = query.needs_archive();
    let (pve, pbs) = join!(
        cx.fleet.gather(pve, GATHER_DEADLINE, |member| of_pve(member, query.clone())),
        cx.fleet.gather(pbs, GATHER_DEADLINE, |member| of_pbs(member, query.clone())),
    );
    let mut report = pbs.tell(pve.tell(Report::default()));
    let mut rows = Vec::new();
    let mut more = Some(0);
    let found = pve.answers.iter().map(|(member, found)| (member.key.clone(), found));
    let found = found.chain(pbs.answers.iter().map(|(member, found)| (member.key.clone(), found)));
    for (key, found) in found {
        more = more.zip(found.more).map(|(all, more): (u64, u64)| all.saturating_add(more));
        report = report.unreachable(found.unreachable.clone());
        rows.extend(found.rows.iter().map(|row| (key.clone(), row)));
    }
    for (member, found) in &pve.answers {
        report = sight::tell(report, member.key.as_str(), found.permissions.as_deref(), &["audit"]);
    }
    for (member, found) in &pbs.answers {
        let key = member.key.as_str();
        report = sight::tell(report, key, found.permissions.as_deref(), &["pbs_system"]);
    }
    // Running ones are not put first: a list that is read from the top is a list by time.
    rows.sort_by(|(_, a), (_, b)| {
        b.upid.started().cmp(&a.upid.started()).then_with(|| b.upid.as_str().cmp(a.upid.as_str()))
    });
    let is_whole = more == Some(0);
    let total = more.map(|more| rows.len() + usize::try_from(more).unwrap_or(usize::MAX));
    let page = rows.get(offset..).unwrap_or_default();
    let page = &page[..limit.min(page.len())];
    let counted = if is_whole { rows.as_slice() } else { page };
    let tally = Tally {
        total,
        is_whole,
        offset,
        shown: page.len(),
        running: counted.iter().filter(|(_, row)| row.outcome.is_none()).count(),
        failed: counted.iter().filter(|(_, row)| row.has_failed()).count(),
    };
    let mut table = Table::new("tasks", &["cluster", "upid", "started", "took", "result"]);
    for (key, row) in page {
        table.push(row.cells(key.as_str(), query.now));
    }
    given.remove("cursor");
    table.total = total;
    if page.is_empty() && !is_whole {
        report = report.note(format!(
            "pages reach no further than the newest {MOST} tasks of a node; narrow the question"
        ));
        table.total = None;
    } else {
        table.more = total.is_none();
        table.paging = Some(Paging { tool: NAME, args: given, offset });
    }
    let is_dark = pve.answers.is_empty() && pbs.answers.is_empty();
    let is_dark = is_dark && (pve.is_partial() || pbs.is_partial());
    report.lead = if is_dark { sight::NOBODY.to_owned() } else { tally.lead(query.wanted) };
    report.notes.extend(notes);
    if !is_archive && !report.unreachable.is_empty() && page.is_empty() {
        report = report.note("only what answered is counted");
    }
    if !is_archive && total != Some(0) {
        report = report
            .note("recent tasks only; a filter (since, type, guest, node) reaches back further");
    }
    // Counts of a part are not facts about the list: they are left open.
    let fact = |count: usize| (is_whole && !is_dark).then_some(count);
    Ok(report.table(table).fact("running", fact(tally.running)).fact("failed", fact(tally.failed)))
}

/// What is known of the list.
struct Tally {
    /// How many there are, where every source says so.
    total: Option<usize>,
    /// Whether all of them were read, so that the counts are of all of them.
    is_whole: bool,
    offset: usize,
    shown: usize,
    running: usize,
    failed: usize,
}

impl Tally {
    fn lead(&self, wanted: Wanted) -> String {
        let word = match wanted {
            Wanted::All => "",
            Wanted::Running => "running ",
            Wanted::Failed => "failed ",
            Wanted::Finished => "finished ",
        };
        let plural = |count: usize| if count == 1 { "" } else { "s" };
        let mut counts = Vec::new();
        if wanted != Wanted::Running && self.running > 0 {
            counts.push(format!("{} running", self.running));
        }
        if wanted != Wanted::Failed && self.failed > 0 {
            counts.push(format!("{} failed", self.failed));
        }
        let counts = counts.join(", ");
        if let (Some(total), true) = (self.total, self.is_whole) {
            if total == 0 {
                return format!("no {word}tasks match");
            }
            let counts = if counts.is_empty() { counts } else { format!("; {counts}") };
            return format!("{total} {word}task{}, newest first{counts}", plural(total));
        }
        if self.shown == 0 {
            return format!("no further {word}tasks are to be had");
        }
        let counts = if counts.is_empty() { counts } else { format!("; of those shown {counts}") };
        let range = if self.offset == 0 {
            format!("the newest {} {word}task{}", self.shown, plural(self.shown))
        } else {
            format!("{word}tasks {} to {}", self.offset + 1, self.offset + self.shown)
        };
        let of = match self.total {
            Some(total) => format!(" of {total}"),
            None => ", more exist".to_owned(),
        };
        format!("{range}{of}{counts}")
    }
}

/// Whom to ask. A guest or node belongs to one cluster; without them both products are asked.
async fn members(
    cx: &Cx,
    args: &Args,
    query: &mut Query,
    notes: &mut Vec<String>,
) -> Result<(Vec<Arc<Pve>>, Vec<Arc<Pbs>>), ToolError> {
    let cluster = args.cluster.as_deref();
    if let Some(guest) = args.guest.as_deref() {
        let guest = match cluster {
            Some(cluster) if !guest.contains('/') => format!("{cluster}/{guest}"),
            _ => guest.to_owned(),
        };
        let found = cx.fleet.find_guest(&guest, Purpose::Read).await?;
        notes.extend(found.notes);
        query.vmid = Some(found.guest.at.vmid);
        if let Some(node) = args.node.as_deref() {
            let key = found.member.key.as_str().to_owned();
            query.node =
                Some(cx.fleet.find_node(Some(&key), node, Purpose::Read).await?.name().clone());
        }
        return Ok((vec![found.member], Vec::new()));
    }
    if let Some(node) = args.node.as_deref() {
        let found = cx.fleet.find_node(cluster, node, Purpose::Read).await?;
        notes.extend(found.notes.iter().cloned());
        query.node = Some(found.name().clone());
        return Ok((vec![found.member], Vec::new()));
    }
    let Some(cluster) = cluster else { return Ok((cx.fleet.pve(None)?, cx.fleet.pbs(None)?)) };
    // The key can be of either product, and of both.
    match (cx.fleet.pve(Some(cluster)), cx.fleet.pbs(Some(cluster))) {
        (Ok(pve), Ok(pbs)) => Ok((pve, pbs)),
        (Ok(pve), Err(_)) => Ok((pve, Vec::new())),
        (Err(_), Ok(pbs)) => Ok((Vec::new(), pbs)),
        (Err(error), Err(_)) => Err(error),
    }
}
