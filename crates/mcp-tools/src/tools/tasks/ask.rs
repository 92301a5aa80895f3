//! What a cluster, a node or a backup server knows of its tasks.

use std::{collections::BTreeSet, sync::Arc};

use api_core::Error;
use estate::{NodeName, TaskStatus, Upid, VmId};
use futures::{future::join_all, join};
use jiff::Timestamp;
use pve_client::tasks::{self, TaskSource};

use super::Wanted;
use crate::{
    fleet::{Pbs, Pve},
    follow::clean_cause,
    permissions::Permissions,
    report::{Cell, Unreachable},
    sight,
    tools::late::Until,
    view::View,
};

/// The most rows that are read of one node.
pub(super) const MOST: u64 = 2000;

/// What every member is asked.
#[derive(Clone, Debug)]
pub(super) struct Query {
    pub(super) node: Option<NodeName>,
    pub(super) vmid: Option<VmId>,
    pub(super) kind: Option<String>,
    pub(super) wanted: Wanted,
    pub(super) since: Option<Timestamp>,
    /// How many of the newest are needed.
    pub(super) rows: u64,
    pub(super) now: Timestamp,
    pub(super) until: Until,
}

/// A task of any product.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) upid: Upid,
    pub(super) ended: Option<Timestamp>,
    /// `None` while it runs.
    pub(super) outcome: Option<TaskStatus>,
}

/// What one member has.
pub(super) struct Found {
    pub(super) rows: Vec<Row>,
    /// How many there are beyond these: `None` if that is not known, and some may be.
    pub(super) more: Option<u64>,
    pub(super) unreachable: Vec<Unreachable>,
    pub(super) permissions: Option<Arc<Permissions>>,
}

/// A part of a list as a server gives it.
struct Batch {
    rows: Vec<Row>,
    /// How many the server has in all, where its number means that.
    total: Option<u64>,
}

/// The wanted rows of one list.
struct List {
    rows: Vec<Row>,
    more: Option<u64>,
}

/// Reads a list until there are enough rows that are wanted, until it ends, or until the most was
/// read: servers filter more loosely than was asked.
async fn read<F>(query: &Query, ask: impl Fn(u64) -> F) -> Result<List, Error>
where
    F: Future<Output = Result<Batch, Error>>,
{
    let mut rows = Vec::new();
    let mut seen = BTreeSet::new();
    let mut start = 0;
    loop {
        let batch = ask(start).await?;
        let count = batch.rows.len() as u64;
        start += count;
        let ended = match batch.total {
            Some(total) => count == 0 || start >= total,
            None => count < query.rows,
        };
        // A task that began meanwhile moves the rest down, so a row can come twice.
        let wanted = batch.rows.into_iter().filter(|row| query.takes(row));
        rows.extend(wanted.filter(|row| seen.insert(row.upid.as_str().to_owned())));
        let kept = rows.len() as u64;
        if ended {
            return Ok(List { rows, more: Some(0) });
        }
        if kept >= query.rows || start >= MOST {
            // The server's number is that of the wanted ones only if all that it gave are.
            let more = batch.total.filter(|_| kept == start).map(|total| total - start);
            return Ok(List { rows, more });
        }
    }
}

async fn of_node(member: &Pve, query: &Query, node: &NodeName) -> Result<List, Error> {
    read(query, |start| async move {
        let page = member.client.call_page(query.of_node(node, start)).await?;
        let rows = page.data.into_iter().map(|task| Row {
            outcome: task.outcome(),
            upid: task.upid,
            ended: task.ended,
        });
        Ok(Batch { rows: rows.collect(), total: page.total })
    })
    .await
}

pub(super) async fn of_pve(member: Arc<Pve>, query: Query) -> Result<Found, Error> {
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
        return Ok(Found { rows, more: Some(0), unreachable: Vec::new(), permissions });
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
    let asked = nodes.iter().map(|node| query.until.wait(of_node(&member, &query, node)));
    let (answers, permissions) = join!(join_all(asked), permissions);
    let mut rows = Vec::new();
    let mut more = Some(0);
    let mut answered = false;
    let mut refused = None;
    for (node, answer) in nodes.iter().zip(answers) {
        match answer {
            Ok(list) => {
                answered = true;
                more = more.zip(list.more).map(|(all, more): (u64, u64)| all + more);
                rows.extend(list.rows);
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

pub(super) async fn of_pbs(member: Arc<Pbs>, query: Query) -> Result<Found, Error> {
    let (client, asked) = (&member.client, &query);
    let list = read(asked, |start| async move {
        let list = client.call(pbs_client::tasks::list(asked.of_server(start))).await?;
        let rows = list.into_iter().map(|task| Row {
            outcome: task.outcome(),
            upid: task.upid,
            ended: task.ended,
        });
        // The server's total is not the grand one.
        Ok(Batch { rows: rows.collect(), total: None })
    });
    let (list, permissions) = join!(list, sight::of_pbs(&member, query.now));
    let List { rows, more } = list?;
    Ok(Found { rows, more, unreachable: Vec::new(), permissions })
}

fn outcome(status: Option<&str>) -> Option<TaskStatus> {
    status.filter(|status| *status != "RUNNING").map(TaskStatus::parse)
}

// === impl Query ===

impl Query {
    /// Whether the cluster's list of recent tasks is not enough.
    pub(super) fn needs_archive(&self) -> bool {
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

    fn of_node(&self, node: &NodeName, start: u64) -> api_core::Request<Vec<tasks::Task>> {
        let source = match self.wanted {
            Wanted::All => TaskSource::All,
            Wanted::Running => TaskSource::Active,
            Wanted::Failed | Wanted::Finished => TaskSource::Archive,
        };
        let options = tasks::TaskListParams {
            source: Some(source),
            start: (start > 0).then_some(start),
            limit: Some(self.rows),
            vmid: self.vmid,
            kind: self.kind.clone(),
            errors: (self.wanted == Wanted::Failed).then_some(true),
            since: self.since,
            ..tasks::TaskListParams::default()
        };
        tasks::list(node, options)
    }

    fn of_server(&self, start: u64) -> pbs_client::tasks::TaskListParams {
        pbs_client::tasks::TaskListParams {
            start: (start > 0).then_some(start),
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
    pub(super) fn has_failed(&self) -> bool {
        matches!(self.outcome, Some(TaskStatus::Failed(_)))
    }

    pub(super) fn cells(&self, key: &str, now: Timestamp) -> Vec<Cell> {
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
