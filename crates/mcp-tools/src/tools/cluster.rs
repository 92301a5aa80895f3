//! `cluster_status`: quorum, HA, replication and Ceph, what is wrong first.

use std::sync::Arc;

use api_core::{Error, Request, path};
use async_trait::async_trait;
use estate::{Access, NodeName};
use jiff::Timestamp;
use mcp_protocol::JsonObject;
use pve_client::{
    cluster::{
        self, ClusterStatus, MemberKind,
        replication::{self, ReplicationStatus},
    },
    ha::{self, HaRowKind, HaStatus},
};
use serde::Deserialize;
use serde_json::Value;

use super::{parts, tally::counted};
use crate::{
    error::ToolError,
    fleet::{GATHER_DEADLINE, Gathered, Pve},
    permissions::Permissions,
    report::{Cell, Report, Table, Unreachable, age},
    schema::{Input, Output},
    sight,
    tool::{Cx, Definition, EstateTool},
    view::View,
};

/// Shows how clusters hold together.
pub struct ClusterStatusTool;

#[derive(Debug, Deserialize)]
struct Args {
    cluster: Option<String>,
}

/// What one cluster says.
#[derive(Debug)]
struct Facts {
    view: View,
    members: Result<Vec<ClusterStatus>, Error>,
    ha: Result<Vec<HaStatus>, Error>,
    /// By node; only nodes that are online are asked.
    replication: Vec<(String, Result<Vec<ReplicationStatus>, Error>)>,
    /// Nothing where there is no Ceph.
    ceph: Option<Result<Value, Error>>,
    permissions: Option<Arc<Permissions>>,
}

#[async_trait]
impl EstateTool for ClusterStatusTool {
    fn definition(&self) -> Definition {
        Definition {
            name: "cluster_status",
            title: "Cluster status",
            description: "Quorum, nodes, HA services, replication and Ceph; what is wrong first.",
            input: Input::new().cluster(),
            output: Output::new()
                .table("members")
                .table("services")
                .table("replication")
                .table("ceph"),
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
        let members = cx.fleet.pve(args.cluster.as_deref())?;
        let gathered = cx.fleet.gather(members, GATHER_DEADLINE, |member| load(member, now)).await;
        Ok(report(&gathered, now))
    }
}

async fn load(member: Arc<Pve>, now: Timestamp) -> Result<Facts, Error> {
    let client = &member.client;
    let (view, members, ha, ceph, permissions) = futures::join!(
        View::load(Arc::clone(&member)),
        client.call(cluster::status()),
        client.call(ha::current()),
        client.call(ceph_status()),
        sight::of_pve(&member, now),
    );
    let view = view?;
    let online = view.nodes.iter().filter(|node| node.is_online());
    let asked = online.map(|node| async move {
        (node.name.to_string(), client.call(replication::status(&node.name, None)).await)
    });
    let replication = futures::future::join_all(asked).await;
    let ceph = Some(ceph).filter(|ceph| !ceph.as_ref().is_err_and(is_without_ceph));
    Ok(Facts { view, members, ha, replication, ceph, permissions })
}

/// `GET /cluster/ceph/status`: what `ceph status` prints as JSON.
fn ceph_status() -> Request<Value> {
    Request::get(path!["cluster", "ceph", "status"])
}

/// Whether the refusal only means that there is no Ceph.
pub(super) fn is_without_ceph(error: &Error) -> bool {
    let says = |words: &str| error.message().contains(words);
    error.kind() == api_core::ErrorKind::NotImplemented
        || says("not installed")
        || says("not configured")
        || says("not initialized")
        || says("does not exist")
}

fn report(gathered: &Gathered<Pve, Facts>, now: Timestamp) -> Report {
    let mut report = Report::default();
    let mut summary = Vec::new();
    let mut members = Table::new("members", &["node", "online", "id", "ip"]);
    let mut services = Table::new("services", &["service", "state", "wished", "node", "problem"]);
    let mut copies =
        Table::new("replication", &["job", "guest", "to", "last", "failures", "error"]);
    let mut ceph = Table::new("ceph", &["cluster", "health", "problems"]);
    let mut wrong: Vec<Vec<Cell>> = Vec::new();
    let mut fine: Vec<Vec<Cell>> = Vec::new();
    let mut failing = 0;
    for (member, facts) in &gathered.answers {
        let key = member.key.as_str();
        summary.push(format!("{key}: {}", quorum(facts)));
        for node in facts.view.offline_nodes() {
            let why = format!("node {}", node.status);
            report.unreachable.push(Unreachable { what: format!("{key}/{}", node.name), why });
        }
        match &facts.members {
            Ok(rows) => rows
                .iter()
                .filter(|row| row.kind == MemberKind::Node)
                .for_each(|row| members.push(member_row(key, row))),
            Err(error) => report = parts::missing(report, &format!("{key} quorum"), error),
        }
        match &facts.ha {
            Ok(rows) => {
                for row in rows {
                    match row.kind {
                        HaRowKind::Service => {
                            let (is_wrong, row) = service_row(key, row);
                            if is_wrong { wrong.push(row) } else { fine.push(row) }
                        }
                        HaRowKind::Lrm | HaRowKind::Master if is_stale(row) => {
                            report.notes.push(format!("{key} HA {}: {}", row.id, row.status));
                        }
                        _ => {}
                    }
                }
            }
            Err(error) => report = parts::missing(report, &format!("{key} HA"), error),
        }
        for (node, jobs) in &facts.replication {
            match jobs {
                Ok(jobs) => {
                    failing += jobs.iter().filter(|job| is_failing(job)).count();
                    copies.rows.extend(jobs.iter().map(|job| copy_row(key, job, now)));
                }
                Err(error) => {
                    let what = format!("{key}/{node}");
                    report = parts::missing_at(report, &what, "replication", error);
                }
            }
        }
        match &facts.ceph {
            Some(Ok(status)) => ceph.push(ceph_row(key, status)),
            Some(Err(error)) => report = parts::missing(report, &format!("{key} Ceph"), error),
            None => {}
        }
        report = sight::tell(report, key, facts.permissions.as_deref(), &["audit"]);
    }
    let managed = wrong.len() + fine.len();
    if managed > 0 {
        let managed = counted(managed, "HA service");
        summary.push(format!("{managed}, {} with problems", wrong.len()));
    }
    if !copies.rows.is_empty() {
        let count = counted(copies.rows.len(), "replication job");
        summary.push(format!("{count}, {failing} failing"));
    }
    services.rows = wrong.into_iter().chain(fine).collect();
    copies.rows.sort_by_key(|row| row[5].is_none());
    report.lead = if summary.is_empty() {
        "the settings have no PVE cluster".to_owned()
    } else {
        summary.join("; ")
    };
    report.lead = sight::lead_of(gathered, std::mem::take(&mut report.lead));
    let tables = [members, services, copies, ceph];
    let tables = tables.into_iter().filter(|table| !table.rows.is_empty());
    gathered.tell(tables.fold(report, Report::table))
}

fn quorum(facts: &Facts) -> String {
    let Ok(rows) = &facts.members else { return "quorum unknown".to_owned() };
    let nodes: Vec<_> = rows.iter().filter(|row| row.kind == MemberKind::Node).collect();
    let online = nodes.iter().filter(|row| row.online == Some(true)).count();
    match rows.iter().find(|row| row.kind == MemberKind::Cluster) {
        None => "single node, no cluster".to_owned(),
        Some(cluster) => {
            let has = if cluster.quorate == Some(true) { "quorum ok" } else { "NO QUORUM" };
            format!("{has}, {online}/{} online", counted(nodes.len(), "node"))
        }
    }
}

fn member_row(key: &str, row: &ClusterStatus) -> Vec<Cell> {
    let online = row.online.unwrap_or_default();
    vec![
        Cell::text(format!("{key}/{}", row.name)),
        Cell::with(online, if online { "yes" } else { "NO" }),
        Cell::opt(row.node_id),
        Cell::opt(row.ip.clone()),
    ]
}

/// Whether a manager has not been heard of in time.
pub(super) fn is_stale(row: &HaStatus) -> bool {
    row.status.contains("old timestamp") || row.status.contains("dead")
}

fn service_row(key: &str, row: &HaStatus) -> (bool, Vec<Cell>) {
    let sid = row.sid.as_deref().or_else(|| row.id.strip_prefix("service:")).unwrap_or(&row.id);
    let state = row.state.as_deref().or(row.crm_state.as_deref()).unwrap_or("unknown");
    let wished = row.request_state.as_ref().map_or("started", |wish| wish.as_str());
    let problem = ha_problem(wished, state);
    let row = vec![
        Cell::text(format!("{key}/{sid}")),
        Cell::text(state),
        Cell::text(wished),
        Cell::opt(row.node.as_ref().map(NodeName::as_str)),
        Cell::opt(problem),
    ];
    (problem.is_some(), row)
}

/// What is wrong with a managed guest, if anything is.
pub(super) fn ha_problem(wished: &str, state: &str) -> Option<&'static str> {
    let settled = matches!(
        (wished, state),
        ("started" | "enabled", "started") | ("stopped" | "disabled", "stopped") | ("ignored", _)
    );
    match state {
        "error" => Some("needs a person: set it to disabled, repair it, then started"),
        "fence" | "recovery" => Some("its node was lost, it is being recovered"),
        "freeze" => Some("held while its node's manager is away"),
        _ if !settled => Some("not in the wished state"),
        _ => None,
    }
}

fn is_failing(job: &ReplicationStatus) -> bool {
    job.fail_count > 0 || job.error.is_some()
}

fn copy_row(key: &str, job: &ReplicationStatus, now: Timestamp) -> Vec<Cell> {
    let last = job.last_sync.map(|time| {
        let ago = age(time, now);
        Cell::with(crate::report::rfc3339(time), ago)
    });
    let error = job.error.as_deref().map(|error| stdx::untrusted::line(error, 120).into_owned());
    vec![
        Cell::text(format!("{key}/{}", job.id)),
        Cell::number(job.guest.get()),
        Cell::opt(job.target.as_ref().map(NodeName::as_str)),
        Cell::opt(last),
        Cell::number(job.fail_count),
        Cell::opt(error),
    ]
}

fn ceph_row(key: &str, status: &Value) -> Vec<Cell> {
    let health = &status["health"];
    let word = health["status"].as_str().unwrap_or("unknown");
    let checks = health["checks"].as_object();
    let checks = checks.into_iter().flatten().map(|(name, check)| {
        let text = check["summary"]["message"].as_str().unwrap_or_default();
        format!("{name}: {text}")
    });
    let checks = checks.collect::<Vec<_>>().join("; ");
    let checks = if checks.is_empty() { None } else { Some(checks) };
    vec![Cell::text(key), Cell::text(word), Cell::opt(checks)]
}
