//! `tasks_list`: what runs and what ran, on every member, newest first.
//!
//! Without filters a cluster is asked once for its recent tasks; a filter asks the archives of the
//! nodes, which reach further back.

mod locate;
mod one;

use std::sync::Arc;

use api_core::Error;
use async_trait::async_trait;
use estate::{Access, NodeName, TaskStatus, Upid, VmId};
use futures::{future::join_all, join};
use jiff::Timestamp;
use mcp_protocol::JsonObject;
use pve_client::tasks::{self, TaskSource};
use serde::Deserialize;

pub use self::one::{TaskGet, TaskWait};
use super::since::since;
use crate::{
    address::Purpose,
    cursor,
    error::ToolError,
    fleet::{GATHER_DEADLINE, Pbs, Pve},
    follow::clean_cause,
    permissions::Permissions,
    report::{Cell, Paging, Report, Table, Unreachable},
    schema::{Input, Output},
    sight,
    tool::{Cx, Definition, EstateTool},
    view::View,
};

const NAME: &str = "tasks_list";
/// Rows of a page unless the caller says otherwise.
const LIMIT: usize = 25;
/// The most rows that are asked of one node.
const MOST: u64 = 2000;

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

/// What every member is asked.
#[derive(Clone, Debug)]
struct Query {
    node: Option<NodeName>,
    vmid: Option<VmId>,
    kind: Option<String>,
    wanted: Wanted,
    since: Option<Timestamp>,
    /// How many of the newest are needed.
    rows: u64,
    now: Timestamp,
}

/// A task of any product.
#[derive(Clone, Debug)]
struct Row {
    upid: Upid,
    ended: Option<Timestamp>,
    /// `None` while it runs.
    outcome: Option<TaskStatus>,
}

/// What one member has.
struct Found {
    rows: Vec<Row>,
    /// How many there are beyond these, at least.
    more: u64,
    unreachable: Vec<Unreachable>,
    permissions: Option<Arc<Permissions>>,
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
    let limit = args.limit.unwrap_or(LIMIT);
    let since = args.since.as_deref().map(|text| since(text, cx.now())).transpose()?;
    let mut query = Query {
        node: None,
        vmid: None,
        kind: args.kind.clone().filter(|kind| !kind.is_empty()),
        wanted: args.state,
        since,
        rows: (offset as u64 + limit as u64 + 1).min(MOST),
        now: cx.now(),
    };
    let mut notes = Vec::new();
    let (pve, pbs) = members(cx, &args, &mut query, &mut notes).await?;
    let is_archive = query.needs_archive();
    let (pve, pbs) = join!(
        cx.fleet.gather(pve, GATHER_DEADLINE, |member| of_pve(member, query.clone())),
        cx.fleet.gather(pbs, GATHER_DEADLINE, |member| of_pbs(member, query.clone())),
    );
    let mut report = pbs.tell(pve.tell(Report::default()));
    let mut rows = Vec::new();
    let mut more = 0;
    let found = pve.answers.iter().map(|(member, found)| (member.key.clone(), found));
    let found = found.chain(pbs.answers.iter().map(|(member, found)| (member.key.clone(), found)));
    for (key, found) in found {
        more += found.more;
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
    let total = rows.len() + usize::try_from(more).unwrap_or(usize::MAX);
    let page: Vec<_> = rows.into_iter().skip(offset).take(limit).collect();
    let running = page.iter().filter(|(_, row)| row.outcome.is_none()).count();
    let failed = page.iter().filter(|(_, row)| row.has_failed()).count();
    let mut table = Table::new("tasks", &["cluster", "upid", "started", "took", "result"]);
    for (key, row) in &page {
        table.push(row.cells(key.as_str(), query.now));
    }
    given.remove("cursor");
    table.total = Some(total.max(offset + page.len()));
    table.paging = Some(Paging { tool: NAME, args: given, offset });
    report.lead = lead(&query, page.len(), total, running, failed);
    report.notes.extend(notes);
    if !is_archive && !report.unreachable.is_empty() && page.is_empty() {
        report = report.note("only what answered is counted");
    }
    if !is_archive && total > 0 {
        report = report
            .note("recent tasks only; a filter (since, type, guest, node) reaches back further");
    }
    Ok(report.table(table).fact("running", running).fact("failed", failed))
}

fn lead(query: &Query, shown: usize, total: usize, running: usize, failed: usize) -> String {
    let word = match query.wanted {
        Wanted::All => "",
        Wanted::Running => "running ",
        Wanted::Failed => "failed ",
        Wanted::Finished => "finished ",
    };
    if shown == 0 {
        return format!("no {word}tasks match");
    }
    let of = if total > shown { format!(" of {total}") } else { String::new() };
    let plural = if shown == 1 && total == 1 { "" } else { "s" };
    let also = |count: usize, what: &str, is_wanted: bool| {
        if is_wanted && count > 0 { format!("; {count} {what}") } else { String::new() }
    };
    let running = also(running, "running", query.wanted != Wanted::Running);
    let failed = also(failed, "failed", query.wanted != Wanted::Failed);
    format!("{shown}{of} {word}task{plural}, newest first{running}{failed}")
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
            query.node = Some(cx.fleet.find_node(Some(&key), node).await?.name().clone());
        }
        return Ok((vec![found.member], Vec::new()));
    }
    if let Some(node) = args.node.as_deref() {
        let found = cx.fleet.find_node(cluster, node).await?;
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

async fn of_pve(member: Arc<Pve>, query: Query) -> Result<Found, Error> {
    let permissions = sight::of_pve(&member, query.now);
    if !query.needs_archive() {
        let recent = member.client.call(pve_client::cluster::tasks());
        let (recent, permissions) = join!(recent, permissions);
        let rows = recent?.into_iter().map(|task| Row {
            outcome: outcome(task.status.as_deref()),
            upid: task.upid,
            ended: task.ended,
        });
        let rows: Vec<_> = rows.filter(|row| query.takes(row)).collect();
        return Ok(Found { rows, more: 0, unreachable: Vec::new(), permissions });
    }
    let (nodes, mut unreachable) = match &query.node {
        Some(node) => (vec![node.clone()], Vec::new()),
        None => {
            let view = View::load(Arc::clone(&member)).await?;
            let away = view.offline_nodes().map(|node| Unreachable {
                what: format!("{}/{}", member.key, node.name),
                why: format!("node {}", node.status),
            });
            let away = away.collect();
            let online = view.nodes.iter().filter(|node| node.is_online());
            (online.map(|node| node.name.clone()).collect(), away)
        }
    };
    let asked = nodes.iter().map(|node| member.client.call_page(query.of_node(node)));
    let (answers, permissions) = join!(join_all(asked), permissions);
    let mut rows = Vec::new();
    let mut more = 0;
    let mut answered = false;
    let mut refused = None;
    for (node, answer) in nodes.iter().zip(answers) {
        match answer {
            Ok(page) => {
                answered = true;
                let given = page.data.len() as u64;
                more += page.total.unwrap_or(0).saturating_sub(given);
                let read = page.data.into_iter().map(|task| Row {
                    outcome: task.outcome(),
                    upid: task.upid,
                    ended: task.ended,
                });
                rows.extend(read.filter(|row| query.takes(row)));
            }
            Err(error) if error.is_unreachable() => unreachable.push(Unreachable {
                what: format!("{}/{node}", member.key),
                why: stdx::Chain(&error).to_string(),
            }),
            Err(error) => refused = Some(error),
        }
    }
    match refused {
        Some(error) if !answered => Err(error),
        _ => Ok(Found { rows, more, unreachable, permissions }),
    }
}

async fn of_pbs(member: Arc<Pbs>, query: Query) -> Result<Found, Error> {
    let list = member.client.call(pbs_client::tasks::list(query.of_server()));
    let (list, permissions) = join!(list, sight::of_pbs(&member, query.now));
    let list = list?;
    // The server's total is not the grand one, so a full page only says that there is more.
    let more = u64::from(list.len() as u64 >= query.rows);
    let rows = list.into_iter().map(|task| Row {
        outcome: task.outcome(),
        upid: task.upid,
        ended: task.ended,
    });
    let rows: Vec<_> = rows.filter(|row| query.takes(row)).collect();
    Ok(Found { rows, more, unreachable: Vec::new(), permissions })
}

fn outcome(status: Option<&str>) -> Option<TaskStatus> {
    status.filter(|status| *status != "RUNNING").map(TaskStatus::parse)
}

// === impl Query ===

impl Query {
    /// Whether the cluster's list of recent tasks is not enough.
    fn needs_archive(&self) -> bool {
        self.node.is_some()
            || self.vmid.is_some()
            || self.kind.is_some()
            || self.since.is_some()
            || matches!(self.wanted, Wanted::Failed | Wanted::Finished)
    }

    /// Whether the row is wanted; servers filter most of it, but not all releases all of it.
    fn takes(&self, row: &Row) -> bool {
        (match self.wanted {
            Wanted::All => true,
            Wanted::Running => row.outcome.is_none(),
            Wanted::Failed => row.has_failed(),
            Wanted::Finished => row.outcome.is_some(),
        }) && self.kind.as_deref().is_none_or(|kind| row.upid.kind() == kind)
            && self.since.is_none_or(|since| row.upid.started() >= since)
    }

    fn of_node(&self, node: &NodeName) -> api_core::Request<Vec<tasks::Task>> {
        let source = match self.wanted {
            Wanted::All => TaskSource::All,
            Wanted::Running => TaskSource::Active,
            Wanted::Failed | Wanted::Finished => TaskSource::Archive,
        };
        let options = tasks::TaskListParams {
            source: Some(source),
            limit: Some(self.rows),
            vmid: self.vmid,
            kind: self.kind.clone(),
            errors: (self.wanted == Wanted::Failed).then_some(true),
            since: self.since,
            ..tasks::TaskListParams::default()
        };
        tasks::list(node, options)
    }

    fn of_server(&self) -> pbs_client::tasks::TaskListParams {
        pbs_client::tasks::TaskListParams {
            limit: Some(self.rows),
            running: (self.wanted == Wanted::Running).then_some(true),
            errors: (self.wanted == Wanted::Failed).then_some(true),
            kind: self.kind.clone(),
            since: self.since,
            ..pbs_client::tasks::TaskListParams::default()
        }
    }
}

// === impl Row ===

impl Row {
    fn has_failed(&self) -> bool {
        matches!(self.outcome, Some(TaskStatus::Failed(_)))
    }

    fn cells(&self, key: &str, now: Timestamp) -> Vec<Cell> {
        let took = self.ended.map(|ended| {
            let seconds = ended.as_second() - self.upid.started().as_second();
            Cell::span(u64::try_from(seconds).unwrap_or(0))
        });
        let result = match &self.outcome {
            None => Cell::text("running"),
            Some(TaskStatus::Failed(cause)) => {
                let cause = clean_cause(cause);
                Cell::with(cause.as_str(), format!("failed: {cause}"))
            }
            Some(other) => Cell::text(other.to_string()),
        };
        vec![
            Cell::text(key),
            Cell::text(self.upid.as_str()),
            Cell::moment(self.upid.started(), now),
            took.unwrap_or_else(Cell::none),
            result,
        ]
    }
}
