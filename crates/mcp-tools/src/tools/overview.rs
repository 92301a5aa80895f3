//! `fleet_overview`: the whole estate in a few lines, worst first.
//!
//! Three calls a cluster and two a backup server, side by side; never one per guest or node.

mod problems;

use std::{fmt::Write as _, sync::Arc};

use api_core::Error;
use async_trait::async_trait;
use estate::Access;
use jiff::{Timestamp, ToSpan};
use mcp_protocol::JsonObject;
use pve_client::cluster::{self, ClusterStatus, ClusterTask, MemberKind};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use self::problems::{Problem, Rank};
use super::tally::{Tally, counted};
use crate::{
    error::ToolError,
    fleet::{Fleet, GATHER_DEADLINE, Gathered, Pbs, Pve},
    permissions::Permissions,
    report::{Cell, Report, Table, Unreachable, used_of},
    schema::{Input, Output},
    sight,
    tool::{Cx, Definition, EstateTool},
    view::{Guest, View},
};

const NAME: &str = "fleet_overview";
/// How many problems are told; the rest is counted.
const MOST_PROBLEMS: usize = 8;
/// How far back failed tasks count.
pub(super) const DAY_HOURS: i64 = 24;

/// Shows the estate at a glance.
pub struct FleetOverview;

#[derive(Debug, Deserialize)]
struct Args {
    cluster: Option<String>,
}

/// What one cluster says.
#[derive(Debug)]
pub(crate) struct ClusterFacts {
    pub(crate) view: View,
    pub(crate) status: Result<Vec<ClusterStatus>, Error>,
    pub(crate) tasks: Result<Vec<ClusterTask>, Error>,
    pub(crate) permissions: Option<Arc<Permissions>>,
}

/// Whether a cluster may decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quorum {
    Held,
    Lost,
    /// A node that is no cluster.
    Single,
    /// The token may not see it.
    Unseen,
}

/// What one backup server says.
#[derive(Debug)]
pub(crate) struct ServerFacts {
    pub(crate) datastores: Vec<pbs_client::datastores::DatastoreUsage>,
    pub(crate) tasks: Result<Vec<pbs_client::tasks::Task>, Error>,
    pub(crate) permissions: Option<Arc<Permissions>>,
}

#[async_trait]
impl EstateTool for FleetOverview {
    fn definition(&self) -> Definition {
        Definition {
            name: NAME,
            title: "Estate overview",
            description: "Start here: state of all clusters, guests, storages and backup servers, problems first.",
            input: Input::new().cluster(),
            output: Output::new()
                .table("problems")
                .table("clusters")
                .table("datastores")
                .fact("guests", "object")
                .fact("problem_count", "integer"),
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
        let (pve, pbs) = cx.fleet.members_for(args.cluster.as_deref())?;
        let (clusters, servers) = futures::join!(
            cx.fleet.gather(pve, GATHER_DEADLINE, |member| load_cluster(member, now)),
            cx.fleet.gather(pbs, GATHER_DEADLINE, |member| load_server(member, now)),
        );
        Ok(report(&cx.fleet, &clusters, &servers, now))
    }
}

async fn load_cluster(member: Arc<Pve>, now: Timestamp) -> Result<ClusterFacts, Error> {
    let (view, status, tasks, permissions) = futures::join!(
        View::load(Arc::clone(&member)),
        member.client.call(cluster::status()),
        member.client.call(cluster::tasks()),
        sight::of_pve(&member, now),
    );
    Ok(ClusterFacts { view: view?, status, tasks, permissions })
}

async fn load_server(member: Arc<Pbs>, now: Timestamp) -> Result<ServerFacts, Error> {
    let options = pbs_client::tasks::TaskListParams {
        since: Some(day_before(now)),
        errors: Some(true),
        limit: Some(500),
        ..pbs_client::tasks::TaskListParams::default()
    };
    let (datastores, tasks, permissions) = futures::join!(
        member.client.call(pbs_client::datastores::usage()),
        member.client.call(pbs_client::tasks::list(options)),
        sight::of_pbs(&member, now),
    );
    Ok(ServerFacts { datastores: datastores?, tasks, permissions })
}

/// The time from which failed tasks count.
pub(super) fn day_before(now: Timestamp) -> Timestamp {
    now.checked_sub(DAY_HOURS.hours()).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn report(
    fleet: &Fleet,
    clusters: &Gathered<Pve, ClusterFacts>,
    servers: &Gathered<Pbs, ServerFacts>,
    now: Timestamp,
) -> Report {
    let guests: Vec<&Guest> =
        clusters.answers.iter().flat_map(|(_, facts)| &facts.view.guests).collect();
    let tally: Tally = guests.iter().copied().collect();

    let mut problems = Vec::new();
    let away = |key: &str, product: &'static str, why: &str, out: &mut Vec<Problem>| {
        let mut about = fleet.members().filter(|member| member.key == key);
        let is_expected = about.any(|member| member.traits.expects_off(key));
        problems::of_silence(key, product, is_expected, why, out);
    };
    for (key, why) in missing(clusters) {
        away(key, "pve", why, &mut problems);
    }
    for (key, why) in missing(servers) {
        away(key, "pbs", why, &mut problems);
    }
    for (member, facts) in &clusters.answers {
        let key = member.key.as_str();
        problems::of_cluster(key, &member.traits, facts, now, &mut problems);
    }
    for (member, facts) in &servers.answers {
        problems::of_server(member.key.as_str(), facts, now, &mut problems);
    }
    problems.sort_by(|a, b| a.rank.cmp(&b.rank).then_with(|| a.what.cmp(&b.what)));

    let mut report = Report::new(lead(&tally, clusters, servers, &problems))
        .fact("guests", if sight::is_dark(clusters) { Value::Null } else { tally.value() })
        .fact("problem_count", count(&problems));
    report = clusters.tell(report);
    report = servers.tell(report);
    for (member, facts) in &clusters.answers {
        for node in facts.view.offline_nodes() {
            if !member.traits.expects_off(node.name.as_str()) {
                let what = format!("{}/{}", member.key, node.name);
                report.unreachable.push(Unreachable { what, why: format!("node {}", node.status) });
            }
        }
    }
    report = report.table(problem_table(&problems));
    if !clusters.answers.is_empty() {
        report = report.table(cluster_table(clusters));
    }
    if !servers.answers.is_empty() {
        report = report.table(datastore_table(servers));
    }
    for (member, facts) in &clusters.answers {
        let key = member.key.as_str();
        let needs = &["audit", "guests", "storage"];
        report = tell_sight(report, key, facts.permissions.as_deref(), needs);
        for (part, error) in
            [("quorum", facts.status.as_ref().err()), ("tasks", facts.tasks.as_ref().err())]
        {
            if let Some(error) = error.filter(|error| !error.is_permission_denied()) {
                report = super::parts::missing(report, &format!("{key} {part}"), error);
            }
        }
    }
    for (member, facts) in &servers.answers {
        let key = member.key.as_str();
        report = tell_sight(report, key, facts.permissions.as_deref(), &["pbs_datastores"]);
        if let Err(error) = &facts.tasks {
            report = super::parts::missing(report, &format!("{key} tasks"), error);
        }
    }
    let next = problems.first().and_then(|problem| problem.next.clone());
    match next {
        Some((tool, args)) => report.next(tool, args),
        None => report,
    }
}

/// Who said nothing, and why.
fn missing<M, T>(gathered: &Gathered<M, T>) -> impl Iterator<Item = (&str, &str)> {
    let silent = gathered.unreachable.iter().map(|part| (part.what.as_str(), part.why.as_str()));
    silent.chain(gathered.refused.iter().map(|(key, why)| (key.as_str(), why.as_str())))
}

/// How many are problems and not merely worth a word.
fn count(problems: &[Problem]) -> usize {
    problems.iter().filter(|problem| problem.rank < Rank::Notice).count()
}

/// As [`sight::tell`]; that nothing is known of the token is said as well.
fn tell_sight(report: Report, key: &str, held: Option<&Permissions>, needs: &[&str]) -> Report {
    if held.is_none() {
        return report.note(format!(
            "{key}: what the token may see cannot be read, so parts may be missing"
        ));
    }
    sight::tell(report, key, held, needs)
}

fn lead(
    tally: &Tally,
    clusters: &Gathered<Pve, ClusterFacts>,
    servers: &Gathered<Pbs, ServerFacts>,
    problems: &[Problem],
) -> String {
    let nodes = clusters.answers.iter().flat_map(|(_, facts)| &facts.view.nodes);
    let (online, nodes) =
        nodes.fold((0, 0), |(on, all), node| (on + usize::from(node.is_online()), all + 1));
    let held = clusters.answers.iter().map(|(_, facts)| facts.permissions.as_deref());
    let held = held.chain(servers.answers.iter().map(|(_, facts)| facts.permissions.as_deref()));
    let is_blind = held.clone().flatten().any(Permissions::is_empty);
    let is_unsure = held.clone().any(|held| held.is_none());
    let single = clusters.answers.iter().filter(|(_, facts)| is_single(facts)).count();
    let joined = clusters.answers.len() - single;
    let mut parts = Vec::new();
    if !clusters.answers.is_empty() {
        let what = [(joined, "PVE cluster"), (single, "standalone node")];
        let what = what.into_iter().filter(|(count, _)| *count > 0);
        let what: Vec<_> = what.map(|(count, what)| counted(count, what)).collect();
        let nodes = counted(nodes, "node");
        parts.push(format!("{tally}; {online}/{nodes} online in {}", what.join(" and ")));
    }
    if !servers.answers.is_empty() {
        parts.push(format!("{} PBS", servers.answers.len()));
    }
    if parts.is_empty() {
        let is_dark = sight::is_dark(clusters) || sight::is_dark(servers);
        parts.push(if is_dark { sight::NOBODY } else { "nothing is configured" }.to_owned());
    }
    let mut lead = parts.join(", ");
    match count(problems) {
        0 if is_blind => lead.push_str("; the token sees too little to tell problems"),
        0 if is_unsure => {
            lead.push_str("; no problems seen, but what the token may see is unknown");
        }
        0 if clusters.answers.is_empty() && servers.answers.is_empty() => {}
        0 => lead.push_str("; no problems seen"),
        count => {
            let _ = write!(lead, "; {}", counted(count, "problem"));
        }
    }
    lead
}

/// Whether it is a node that is no cluster. Every token sees the nodes, not every one the quorum.
fn is_single(facts: &ClusterFacts) -> bool {
    match quorum(facts) {
        Quorum::Single => true,
        Quorum::Unseen => facts.view.nodes.len() == 1,
        Quorum::Held | Quorum::Lost => false,
    }
}

fn problem_table(problems: &[Problem]) -> Table {
    let mut table = Table::new("problems", &["level", "what", "problem"]);
    for problem in problems.iter().take(MOST_PROBLEMS) {
        table.push(vec![
            Cell::text(problem.rank.as_str()),
            Cell::text(&*problem.what),
            Cell::text(&*problem.text),
        ]);
    }
    table.total = Some(problems.len()).filter(|all| *all > MOST_PROBLEMS);
    table
}

fn cluster_table(clusters: &Gathered<Pve, ClusterFacts>) -> Table {
    let columns = &["cluster", "quorum", "nodes", "guests", "running", "cpu", "mem"];
    let mut table = Table::new("clusters", columns);
    for (member, facts) in &clusters.answers {
        let tally: Tally = facts.view.guests.iter().collect();
        let nodes = &facts.view.nodes;
        let online = nodes.iter().filter(|node| node.is_online()).count();
        let (cpus, busy) = nodes
            .iter()
            .fold((0.0, 0.0), |(cpus, busy), node| (cpus + node.cpus, busy + node.cpu * node.cpus));
        let (mem, max) =
            nodes.iter().fold((0, 0), |(mem, max), node| (mem + node.mem, max + node.max_mem));
        let share = if cpus > 0.0 { busy / cpus } else { 0.0 };
        table.push(vec![
            Cell::text(member.key.as_str()),
            match quorum(facts) {
                Quorum::Held => Cell::with(true, "ok"),
                Quorum::Lost => Cell::with(false, "LOST"),
                Quorum::Single => Cell::text("single"),
                Quorum::Unseen => Cell::none(),
            },
            Cell::text(format!("{online}/{}", nodes.len())),
            Cell::number(tally.guests() as u64),
            Cell::number(tally.running as u64),
            if max > 0 { Cell::share(share) } else { Cell::none() },
            if max > 0 {
                Cell::with(json!({"used": mem, "max": max}), used_of(mem, max))
            } else {
                Cell::none()
            },
        ]);
    }
    table
}

/// Whether the cluster may decide.
pub(super) fn quorum(facts: &ClusterFacts) -> Quorum {
    let Ok(rows) = facts.status.as_ref() else { return Quorum::Unseen };
    match rows.iter().find(|row| row.kind == MemberKind::Cluster) {
        None => Quorum::Single,
        Some(row) if row.quorate == Some(true) => Quorum::Held,
        Some(_) => Quorum::Lost,
    }
}

fn datastore_table(servers: &Gathered<Pbs, ServerFacts>) -> Table {
    let mut table = Table::new("datastores", &["datastore", "use", "used"]);
    for (member, facts) in &servers.answers {
        for store in &facts.datastores {
            let (used, total) = problems::datastore_figures(store);
            let share = if total > 0 { Some(used as f64 / total as f64) } else { None };
            table.push(vec![
                Cell::text(format!("{}/{}", member.key, store.name)),
                share.map_or_else(Cell::none, Cell::share),
                Cell::with(json!({"used": used, "max": total}), used_of(used, total)),
            ]);
        }
    }
    table
}

/// The arguments of a follow-up that only names the cluster.
pub(super) fn only(cluster: &str) -> Map<String, Value> {
    Map::from_iter([("cluster".to_owned(), cluster.into())])
}
