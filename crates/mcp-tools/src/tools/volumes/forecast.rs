//! `storage_forecast`: what fills, when, and how sure that is.

use std::sync::Arc;

use api_core::Error;
use async_trait::async_trait;
use estate::Access;
use futures::future::join_all;
use mcp_protocol::JsonObject;
use pbs_client::datastores::DatastoreUsage;
use pve_client::{
    disks,
    rrd::{self, StoragePoint, Timeframe},
    storage::{self, ContentKind},
};
use serde::Deserialize;

use super::trend::{Trend, trend};
use crate::{
    error::ToolError,
    fleet::{GATHER_DEADLINE, Gathered, Pbs, Pve},
    report::{Cell, Report, Table, bytes, percent},
    schema::{Input, Output},
    sight,
    tool::{Cx, Definition, EstateTool},
    tools::{late::Until, parts, tally::counted},
    view::{Storage, View},
};

/// How many storages of a cluster are looked at: the fullest.
const MOST: usize = 40;

/// What fills within so many days leads the answer.
const SOON: f64 = 30.0;

/// From this share on the metadata of a thin pool is worth a warning.
const METADATA: f64 = 0.8;

/// Says what fills and when.
pub(super) struct StorageForecast;

#[derive(Debug, Deserialize)]
struct Args {
    cluster: Option<String>,
    storage: Option<String>,
}

/// One storage or datastore.
struct Row {
    at: String,
    node: Option<String>,
    used: u64,
    size: u64,
    trend: Option<Trend>,
    /// Bytes that its disks may grow to.
    provisioned: Option<u64>,
}

/// A storage, its past, and what its disks may grow to.
type Told = (Storage, Result<Vec<StoragePoint>, Error>, Option<u64>);

/// What a cluster tells.
struct Heard {
    view: View,
    storages: Vec<Told>,
    /// `vg/pool`, node, share of the metadata in use.
    metadata: Vec<(String, String, f64)>,
    left_out: usize,
}

#[async_trait]
impl EstateTool for StorageForecast {
    fn definition(&self) -> Definition {
        Definition {
            name: "storage_forecast",
            title: "What fills, and when",
            description: "Growth of storages and datastores over the last month, when each is \
                full, how sure that is, and thin pools with more promised than there is.",
            input: Input::new().cluster().text("storage", "").fields(),
            output: Output::new()
                .fact("soonest_days", "number")
                .fact("filling", "integer")
                .table("forecast"),
            access: Access::Read,
            idempotent: true,
        }
    }

    fn access(&self, _args: &JsonObject) -> Access {
        Access::Read
    }

    async fn call(&self, cx: &Cx, args: JsonObject) -> Result<Report, ToolError> {
        let mut args: Args = cx.args(args)?;
        args.storage = args.storage.filter(|name| !name.trim().is_empty());
        if args.cluster.is_none()
            && let Some((cluster, name)) =
                args.storage.as_deref().and_then(|name| name.split_once('/'))
        {
            (args.cluster, args.storage) = (Some(cluster.to_owned()), Some(name.to_owned()));
        }
        let (pve, pbs) = cx.fleet.members_for(args.cluster.as_deref())?;
        let until = Until::of(&cx.fleet);
        let only = args.storage.as_deref();
        let load = |member: Arc<Pve>| read(member, only, until);
        let load_server = |member: Arc<Pbs>| async move {
            member.client.call(pbs_client::datastores::usage()).await
        };
        let (clusters, servers) = futures::join!(
            cx.fleet.gather(pve, GATHER_DEADLINE, load),
            cx.fleet.gather(pbs, GATHER_DEADLINE, load_server),
        );
        let mut report = Report::default();
        let mut rows = Vec::new();
        for (member, heard) in &clusters.answers {
            report = take(member, heard, &mut rows, report);
        }
        for (member, stores) in &servers.answers {
            let wanted =
                stores.iter().filter(|store| only.is_none_or(|only| store.name.as_str() == only));
            rows.extend(wanted.map(|store| of_store(member, store)));
        }
        if rows.is_empty()
            && let Some(only) = only
        {
            let what = format!("storage {}", crate::address::quoted(only));
            return Err(crate::address::not_found(&clusters, &what, || {
                format!("there is no {what}")
            })
            .hint("storage_list shows what there is")
            .with_silence(&clusters)
            .with_silence(&servers));
        }
        Ok(servers.tell(clusters.tell(tell(rows, report, &clusters))))
    }
}

async fn read(member: Arc<Pve>, only: Option<&str>, until: Until) -> Result<Heard, Error> {
    let view = View::load(Arc::clone(&member)).await?;
    let online = |name: &str| view.nodes.iter().any(|node| node.name == *name && node.is_online());
    let mut chosen: Vec<Storage> = view
        .distinct_storages()
        .into_iter()
        // A backup server's storages are told as its datastores.
        .filter(|row| row.plugin != "pbs" && only.is_none_or(|only| row.name == *only))
        .filter(|row| row.size > 0)
        .cloned()
        .collect();
    for row in chosen.iter_mut().filter(|row| row.shared && !online(row.node.as_str())) {
        let other = view.storages.iter().find(|it| it.name == row.name && online(it.node.as_str()));
        if let Some(other) = other {
            row.node = other.node.clone();
        }
    }
    chosen.retain(|row| online(row.node.as_str()));
    let share = |row: &Storage| row.share().unwrap_or_default();
    chosen.sort_by(|a, b| share(b).total_cmp(&share(a)));
    let left_out = chosen.len().saturating_sub(MOST);
    chosen.truncate(MOST);
    let client = &member.client;
    let asked = chosen.into_iter().map(|row| async move {
        let points = rrd::storage(&row.node, &row.name, &Timeframe::Month, None);
        let points = until.wait(client.call(points));
        let promised = async {
            if !is_thin(&row.plugin) {
                return None;
            }
            let call = storage::content(&row.node, &row.name, None, None);
            let volumes = until.wait(client.call(call)).await.ok()?;
            let disks = volumes
                .iter()
                .filter(|it| matches!(it.content, ContentKind::Images | ContentKind::RootDir));
            Some(disks.map(|it| it.size_bytes).sum())
        };
        let (points, promised) = futures::join!(points, promised);
        (row, points, promised)
    });
    let storages = join_all(asked).await;
    let mut nodes: Vec<_> = storages
        .iter()
        .filter(|(row, ..)| row.plugin == "lvmthin")
        .map(|(row, ..)| row.node.clone())
        .collect();
    nodes.dedup();
    let pools = nodes.iter().map(|node| async move {
        let pools = until.wait(client.call(disks::thin_pools(node))).await;
        (node, pools.unwrap_or_default())
    });
    let mut metadata = Vec::new();
    for (node, pools) in join_all(pools).await {
        for pool in pools {
            if pool.metadata_size_bytes > 0 {
                let share = pool.metadata_used_bytes as f64 / pool.metadata_size_bytes as f64;
                metadata.push((
                    format!("{}/{}", pool.group.as_deref().unwrap_or("-"), pool.name),
                    format!("{}/{node}", member.key),
                    share,
                ));
            }
        }
    }
    Ok(Heard { view, storages, metadata, left_out })
}

/// Where disks take what is written, not what they may hold.
fn is_thin(plugin: &str) -> bool {
    matches!(plugin, "lvmthin" | "zfspool" | "rbd" | "btrfs")
}

/// Takes a cluster's storages over, and says what is missing.
fn take(member: &Pve, heard: &Heard, rows: &mut Vec<Row>, mut report: Report) -> Report {
    let key = &member.key;
    for (row, points, provisioned) in &heard.storages {
        let at = format!("{key}/{}", row.name);
        let past = match points {
            Ok(points) => points
                .iter()
                .filter_map(|point| Some((point.time?.as_second(), point.used_bytes?)))
                .collect(),
            Err(error) => {
                let what = format!("{key}/{}", row.node);
                report = parts::missing_at(report, &what, &format!("the past of {at}"), error);
                Vec::new()
            }
        };
        rows.push(Row {
            at,
            node: (!row.shared).then(|| row.node.to_string()),
            used: row.used,
            size: row.size,
            trend: trend(&past),
            provisioned: *provisioned,
        });
    }
    for (pool, at, share) in heard.metadata.iter().filter(|(.., share)| *share >= METADATA) {
        report = report.note(format!(
            "{at}: the metadata of thin pool {pool} is {} full: a pool whose metadata is full stops, however much room its data has",
            percent(*share)
        ));
    }
    if heard.left_out > 0 {
        report = report.note(format!(
            "{key}: only the {MOST} fullest storages were looked at, {} are left out: name one",
            heard.left_out
        ));
    }
    for node in heard.view.offline_nodes() {
        report.unreachable.push(crate::report::Unreachable {
            what: format!("{key}/{}", node.name),
            why: format!("node {}", node.status),
        });
    }
    report
}

fn of_store(member: &Pbs, store: &DatastoreUsage) -> Row {
    let size = store.total_bytes.unwrap_or_default();
    let start = store.history_start.map(jiff::Timestamp::as_second);
    let step = store.history_step_secs.and_then(|step| i64::try_from(step).ok());
    let past: Vec<(i64, f64)> = match (start, step) {
        (Some(start), Some(step)) => (0_i64..)
            .zip(&store.history)
            .filter_map(|(at, share)| Some((start + at * step, (*share)? * size as f64)))
            .collect(),
        _ => Vec::new(),
    };
    Row {
        at: format!("{}/{}", member.key, store.name),
        node: None,
        used: store.used_bytes.unwrap_or_default(),
        size,
        trend: trend(&past),
        provisioned: None,
    }
}

// === impl Row ===

impl Row {
    fn room(&self) -> f64 {
        self.size.saturating_sub(self.used) as f64
    }

    /// Days until it is full.
    fn days(&self) -> Option<f64> {
        self.trend.as_ref()?.days_for(self.room())
    }

    fn label(&self) -> String {
        match &self.node {
            Some(node) => format!("{} on {node}", self.at),
            None => self.at.clone(),
        }
    }

    fn cells(&self) -> Vec<Cell> {
        let days = |days: f64| format!("{}d", days.round());
        let known = self.size > 0;
        let trend = self.trend.as_ref();
        let range =
            trend.map(|trend| trend.range_for(self.room())).filter(|_| self.days().is_some());
        let range = range.map(|(soon, late)| {
            let word = |it: Option<f64>| it.map_or_else(|| "never".to_owned(), days);
            format!("{}..{}", word(soon), word(late))
        });
        let full = match (trend, self.days()) {
            (None, _) => Cell::none(),
            (Some(_), None) => Cell::text("not_filling"),
            (Some(_), Some(left)) => Cell::with((left * 10.0).round() / 10.0, days(left)),
        };
        vec![
            Cell::text(&*self.at),
            Cell::opt(self.node.clone()),
            if known { Cell::share(self.used as f64 / self.size as f64) } else { Cell::none() },
            if known { Cell::bytes(self.used) } else { Cell::none() },
            if known { Cell::bytes(self.size) } else { Cell::none() },
            trend.map_or_else(Cell::none, |trend| {
                Cell::with(trend.per_day.round(), signed(trend.per_day))
            }),
            full,
            Cell::opt(range),
            Cell::opt(trend.map(|trend| trend.sure().as_str())),
            Cell::opt(trend.map(|trend| days(trend.days))),
            self.provisioned.map_or_else(Cell::none, Cell::bytes),
        ]
    }
}

/// A size with its sign.
fn signed(size: f64) -> String {
    // A slope of bytes a day is far below what an integer holds.
    let text = bytes(size.abs().min(1e18) as u64);
    format!("{}{text}", if size < 0.0 { "-" } else { "+" })
}

fn tell(mut rows: Vec<Row>, mut report: Report, clusters: &Gathered<Pve, Heard>) -> Report {
    let key = |row: &Row| row.days().unwrap_or(f64::INFINITY);
    let share = |row: &Row| row.used as f64 / row.size.max(1) as f64;
    rows.sort_by(|a, b| key(a).total_cmp(&key(b)).then_with(|| share(b).total_cmp(&share(a))));
    let soon: Vec<String> = rows
        .iter()
        .filter(|row| row.days().is_some_and(|days| days <= SOON))
        .filter_map(|row| {
            let (days, sure) = (row.days()?, row.trend.as_ref()?.sure().as_str());
            Some(format!("{} full in about {} days ({sure})", row.label(), days.round()))
        })
        .collect();
    let filling = rows.iter().filter(|row| row.days().is_some()).count();
    let unknown = rows.iter().filter(|row| row.trend.is_none()).count();
    let lead = if soon.is_empty() {
        format!(
            "{}: none is full within {SOON} days by its growth; {filling} grow",
            counted(rows.len(), "storage and datastore")
        )
    } else {
        format!("{}; {filling} of {} grow", soon.join("; "), rows.len())
    };
    report.lead = sight::lead_of(clusters, lead);
    for row in &rows {
        if let Some(promised) = row.provisioned.filter(|promised| *promised > row.size) {
            report = report.note(format!(
                "{}: its disks may grow to {}, {} of what there is: a full thin pool stops its guests",
                row.label(),
                bytes(promised),
                percent(promised as f64 / row.size.max(1) as f64)
            ));
        }
    }
    if unknown > 0 {
        report = report.note(format!("{unknown} have no past to tell from"));
    }
    let mut table = Table::new(
        "forecast",
        &[
            "storage", "node", "use", "used", "size", "per_day", "full_in", "range", "sure",
            "past", "promised",
        ],
    );
    for row in &rows {
        table.push(row.cells());
    }
    let soonest = rows.first().and_then(Row::days).map(|days| (days * 10.0).round() / 10.0);
    report.fact("soonest_days", soonest).fact("filling", filling).table(table)
}
