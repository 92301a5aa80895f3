//! `ceph_health`: what Ceph says is wrong, its daemons, placement groups and pools.

use std::sync::Arc;

use api_core::Error;
use async_trait::async_trait;
use estate::Access;
use mcp_protocol::JsonObject;
use pve_client::ceph::{self, CephBucket, CephMonitor, CephOsdTree, CephPool, CephStatus};
use serde::Deserialize;

use super::{
    ask::{away, few},
    page::{Page, Rows},
};
use crate::{
    error::ToolError,
    fleet::{GATHER_DEADLINE, Pve},
    permissions::Permissions,
    report::{Cell, Report, Table, bytes, percent},
    schema::{Input, Output},
    sight,
    tool::{Cx, Definition, EstateTool},
    tools::{cluster::is_without_ceph, late::Until, parts, tally::counted},
    view::View,
};

const NAME: &str = "ceph_health";

/// From this share in use on, what is nearly full stands out: Ceph itself warns at 85 %.
const FULL: f64 = 0.80;
/// From this latency on, a daemon stands out.
const SLOW_MS: f64 = 100.0;

/// Flags that somebody set, and that somebody should take away again.
const FLAGS: &[&str] = &[
    "noout",
    "noin",
    "noup",
    "nodown",
    "nobackfill",
    "norebalance",
    "norecover",
    "noscrub",
    "nodeep-scrub",
    "notieragent",
    "pause",
    "pauserd",
    "pausewr",
    "full",
    "nearfull",
];

/// Shows how Ceph is.
pub struct CephHealth;

#[derive(Debug, Deserialize)]
struct Args {
    cluster: Option<String>,
    #[serde(default)]
    all: bool,
    limit: Option<usize>,
    cursor: Option<String>,
}

/// What one cluster says.
struct Facts {
    view: View,
    /// Nothing where there is no Ceph.
    ceph: Option<Ceph>,
    held: Option<Arc<Permissions>>,
}

struct Ceph {
    status: Result<CephStatus, Error>,
    osds: Result<CephOsdTree, Error>,
    pools: Result<Vec<CephPool>, Error>,
    monitors: Result<Vec<CephMonitor>, Error>,
}

/// The rows of all tables.
#[derive(Default)]
struct Tables {
    checks: Vec<Vec<Cell>>,
    osds: Rows,
    pools: Rows,
}

#[async_trait]
impl EstateTool for CephHealth {
    fn definition(&self) -> Definition {
        Definition {
            name: NAME,
            title: "Check Ceph",
            description: "Ceph health by check, OSDs that stand out (all: every OSD), placement groups, pools, monitors, flags.",
            input: Input::new().cluster().boolean("all", "").paged(),
            output: Output::new()
                .fact("health", "object")
                .table("checks")
                .table("osds")
                .table("pools"),
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
        let (now, until) = (cx.now(), Until::of(&cx.fleet));
        let load = |member: Arc<Pve>| async move {
            let (view, held) =
                futures::join!(View::load(Arc::clone(&member)), sight::of_pve(&member, now));
            let view = view?;
            let ceph = ceph_of(&member, &view, until).await;
            Ok::<_, Error>(Facts { view, ceph, held })
        };
        let gathered = cx.fleet.gather(members, GATHER_DEADLINE, load).await;
        let mut tables = Tables::default();
        let (mut report, mut summary, mut without) = (Report::default(), Vec::new(), Vec::new());
        let mut health = serde_json::Map::new();
        for (member, facts) in &gathered.answers {
            let key = member.key.as_str();
            let Some(ceph) = &facts.ceph else {
                without.push(key);
                continue;
            };
            report = report.unreachable(away(key, &facts.view));
            let (told, line, word) = tables.add(report, key, ceph);
            report = sight::tell(told, key, facts.held.as_deref(), &["audit"]);
            summary.push(line);
            health.insert(key.to_owned(), word.into());
        }
        report.lead = match (summary.is_empty(), without.is_empty()) {
            (true, true) => "the settings have no PVE cluster".to_owned(),
            (true, false) => format!("no Ceph on {}", few(&without)),
            (false, true) => summary.join("; "),
            (false, false) => format!("{}; no Ceph on {}", summary.join("; "), few(&without)),
        };
        report.lead = sight::lead_of(&gathered, std::mem::take(&mut report.lead));
        let mut checks = Table::new("checks", &["cluster", "check", "severity", "message"]);
        checks.rows = tables.checks;
        let columns =
            ["osd", "host", "status", "in", "use", "size", "groups", "latency_ms", "problem"];
        let mut osds = Table::new("osds", &columns);
        page.fill(&mut osds, tables.osds.into_rows(args.all));
        let columns = ["pool", "type", "copies", "groups", "used", "use", "problem"];
        let mut pools = Table::new("pools", &columns);
        pools.rows = tables.pools.into_rows(true);
        let report = report.fact("health", health).table(checks).table(osds).table(pools);
        Ok(gathered.tell(report))
    }
}

async fn ceph_of(member: &Arc<Pve>, view: &View, until: Until) -> Option<Ceph> {
    let client = &member.client;
    let status = until.wait(client.call(ceph::status())).await;
    if status.as_ref().is_err_and(is_without_ceph) {
        return None;
    }
    let late = || Error::new(api_core::ErrorKind::NodeUnreachable, "ceph", "no node is online");
    let Some(node) = view.nodes.iter().find(|node| node.is_online()) else {
        return Some(Ceph { status, osds: Err(late()), pools: Err(late()), monitors: Err(late()) });
    };
    let (osds, pools, monitors) = futures::join!(
        until.wait(client.call(ceph::osds(&node.name))),
        until.wait(client.call(ceph::pools(&node.name))),
        until.wait(client.call(ceph::monitors(&node.name))),
    );
    Some(Ceph { status, osds, pools, monitors })
}

/// How many daemons that hold data are on a node; none where there is no Ceph, or it does not tell.
pub(super) async fn daemons_on(member: &Pve, node: &estate::NodeName) -> usize {
    let tree = member.client.call(ceph::osds(node)).await.ok();
    let root = tree.and_then(|tree| tree.root);
    let daemons = root.iter().flat_map(CephBucket::daemons);
    daemons.filter(|daemon| daemon.host.as_deref() == Some(node.as_str())).count()
}

// === impl Tables ===

impl Tables {
    /// Adds a cluster; says its line, and its health in a word.
    fn add(&mut self, mut report: Report, key: &str, ceph: &Ceph) -> (Report, String, String) {
        let (line, word) = match &ceph.status {
            Ok(status) => {
                self.status(key, status);
                if let Some(groups) = &status.groups {
                    report.notes.extend(movement(key, groups));
                }
                (summary(key, status), status.health.status.clone())
            }
            Err(error) => {
                report = parts::missing(report, &format!("{key} Ceph"), error);
                (format!("{key}: Ceph does not tell its health"), "unknown".to_owned())
            }
        };
        match &ceph.osds {
            Ok(tree) => {
                let flags = tree.flags.as_deref().unwrap_or_default().split(',');
                let set: Vec<&str> = flags.filter(|flag| FLAGS.contains(flag)).collect();
                if !set.is_empty() {
                    report.notes.push(format!("{key}: flags are set: {}", set.join(", ")));
                }
                let daemons = tree.root.iter().flat_map(CephBucket::daemons);
                daemons.for_each(|daemon| self.osd(key, daemon));
            }
            Err(error) => report = parts::missing(report, &format!("{key} OSDs"), error),
        }
        match &ceph.pools {
            Ok(pools) => pools.iter().for_each(|pool| self.pool(key, pool)),
            Err(error) => report = parts::missing(report, &format!("{key} Ceph pools"), error),
        }
        match &ceph.monitors {
            Ok(monitors) => {
                let out = monitors.iter().filter(|it| it.quorum != Some(true));
                let out: Vec<&str> = out.map(|it| it.name.as_str()).collect();
                if !out.is_empty() {
                    report.notes.push(format!("{key}: monitors out of quorum: {}", few(&out)));
                }
                if monitors.len() < 3 {
                    let count = counted(monitors.len(), "monitor");
                    report.notes.push(format!("{key}: {count}: the loss of one stops Ceph"));
                }
            }
            Err(error) => report = parts::missing(report, &format!("{key} monitors"), error),
        }
        (report, line, word)
    }

    fn status(&mut self, key: &str, status: &CephStatus) {
        let mut checks: Vec<_> = status.health.checks.iter().collect();
        // Errors before warnings.
        checks.sort_by_key(|(code, check)| (check.severity != "HEALTH_ERR", (*code).clone()));
        for (code, check) in checks {
            let mut message =
                check.summary.as_ref().map_or_else(String::new, |it| it.message.clone());
            let detail: Vec<&str> = check.detail.iter().map(|it| it.message.as_str()).collect();
            if !detail.is_empty() {
                message = format!("{message} ({})", few(&detail));
            }
            if check.muted {
                message.push_str(" [muted]");
            }
            self.checks.push(vec![
                Cell::text(key),
                Cell::text(code),
                Cell::text(check.severity.trim_start_matches("HEALTH_")),
                Cell::text(stdx::untrusted::line(&message, 300).into_owned()),
            ]);
        }
    }

    fn osd(&mut self, key: &str, osd: &CephBucket) {
        let use_share = osd.used_percent.map(|percent| percent / 100.0);
        let latency = [osd.apply_latency_ms, osd.commit_latency_ms].into_iter().flatten();
        let latency =
            latency.fold(None, |max: Option<f64>, it| Some(max.map_or(it, |m| m.max(it))));
        let is_up = osd.status.as_deref() == Some("up");
        let problem = match (is_up, osd.member) {
            (false, Some(true)) => Some("down, and data waits for it"),
            (false, _) => Some("down"),
            (true, Some(false)) => Some("out: no data is put on it"),
            _ if use_share.is_some_and(|share| share >= FULL) => Some("nearly full"),
            _ if latency.is_some_and(|ms| ms >= SLOW_MS) => Some("slow"),
            _ => None,
        };
        let member = osd.member.unwrap_or_default();
        self.osds.push(
            problem.is_some(),
            vec![
                Cell::text(format!("{key}/{}", osd.name)),
                Cell::opt(osd.host.clone()),
                Cell::opt(osd.status.clone()),
                Cell::with(member, if member { "yes" } else { "NO" }),
                use_share.map_or_else(Cell::none, Cell::share),
                osd.total_bytes.map_or_else(Cell::none, Cell::bytes),
                Cell::opt(osd.groups),
                latency.map_or_else(Cell::none, Cell::number),
                Cell::opt(problem),
            ],
        );
    }

    fn pool(&mut self, key: &str, pool: &CephPool) {
        let is_full = pool.used_share.is_some_and(|share| share >= FULL);
        let problem = if is_full {
            Some("nearly full".to_owned())
        } else if pool.kind.as_deref() != Some("erasure") && pool.size < 2 {
            Some("one copy only: the loss of a disk is the loss of data".to_owned())
        } else if pool.kind.as_deref() != Some("erasure") && pool.min_size < 2 && pool.size > 1 {
            Some("writes go on with one copy left (min_size 1)".to_owned())
        } else {
            None
        };
        self.pools.push(
            problem.is_some(),
            vec![
                Cell::text(format!("{key}/{}", pool.name)),
                Cell::opt(pool.kind.clone()),
                Cell::text(format!("{}/{}", pool.size, pool.min_size)),
                Cell::number(pool.groups),
                pool.used_bytes.map_or_else(Cell::none, Cell::bytes),
                pool.used_share.map_or_else(Cell::none, Cell::share),
                Cell::opt(problem),
            ],
        );
    }
}

/// One cluster's Ceph in a line.
fn summary(key: &str, status: &CephStatus) -> String {
    let mut parts = vec![format!("{key}: {}", status.health.status)];
    let checks = status.health.checks.len();
    if checks > 0 {
        parts.push(counted(checks, "check"));
    }
    if let Some(osds) = &status.osds {
        parts.push(format!("{} OSDs ({} up, {} in)", osds.all, osds.up, osds.members));
    }
    if let Some(groups) = &status.groups {
        let clean = groups.states.iter().filter(|it| it.name.starts_with("active+clean"));
        let clean: u64 = clean.map(|it| it.count).sum();
        parts.push(format!("{clean} of {} placement groups clean", groups.count));
        if groups.total_bytes > 0 {
            let share = groups.used_bytes as f64 / groups.total_bytes as f64;
            parts.push(format!("{} of {} used", percent(share), bytes(groups.total_bytes)));
        }
    }
    parts.join(", ")
}

/// What is not where it should be, and how fast it is put there.
fn movement(key: &str, groups: &ceph::CephGroupMap) -> Vec<String> {
    let mut notes = Vec::new();
    let states = groups.states.iter().filter(|it| !it.name.starts_with("active+clean"));
    let states: Vec<String> = states.map(|it| format!("{} {}", it.count, it.name)).collect();
    if !states.is_empty() {
        notes.push(format!("{key}: placement groups: {}", few(&states)));
    }
    if let Some(ratio) = groups.degraded_ratio.filter(|ratio| *ratio > 0.0) {
        notes.push(format!("{key}: {:.2} % of the objects lack copies", ratio * 100.0));
    }
    if let Some(ratio) = groups.misplaced_ratio.filter(|ratio| *ratio > 0.0) {
        notes.push(format!("{key}: {:.2} % of the objects are being moved", ratio * 100.0));
    }
    if let Some(speed) = groups.recovery_bytes_per_sec.filter(|speed| *speed > 0) {
        notes.push(format!("{key}: recovery at {}/s", bytes(speed)));
    }
    notes
}
