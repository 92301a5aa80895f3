//! What one disk says of itself, attribute by attribute.

use std::sync::Arc;

use api_core::ErrorKind;
use estate::NodeName;
use serde_json::json;

use super::ask::Where;
use crate::{
    address::Purpose,
    error::ToolError,
    fleet::{Pbs, Pve},
    report::{Cell, Report, Table, Unreachable},
    tool::Cx,
};

/// What a value of SMART means in a row.
struct Attribute {
    id: Option<u32>,
    name: String,
    value: Option<f64>,
    worst: Option<f64>,
    threshold: Option<f64>,
    raw: String,
    fails: bool,
}

/// Attributes whose raw value should be zero: sectors and blocks that are lost or about to be.
const ZERO: &[&str] = &[
    "Reallocated_Sector_Ct",
    "Current_Pending_Sector",
    "Offline_Uncorrectable",
    "Reported_Uncorrect",
    "media_errors",
    "critical_warning",
];

/// The report on one disk of a node, or of a backup server.
pub(super) async fn one(cx: &Cx, place: Where<'_>, disk: &str) -> Result<Report, ToolError> {
    let server = place.node.or(place.cluster).filter(|key| cx.fleet.pbs(Some(*key)).is_ok());
    if let Some(key) = server {
        let member = cx.fleet.pbs(Some(key))?.remove(0);
        return of_server(&member, disk).await;
    }
    let Some(node) = place.node.filter(|node| !node.trim().is_empty()) else {
        return Err(ToolError::new("the values of a disk need its node")
            .hint("give node; for a backup server give cluster")
            .next("disks_list", serde_json::Map::new()));
    };
    let found = cx.fleet.find_node(place.cluster, node, Purpose::Read).await?;
    let at = format!("{}/{}", found.member.key, found.name());
    if !found.node.is_online() {
        let why = format!("the cluster reports it as {}", found.node.status);
        let report =
            Report::new(format!("{at}: {}, so its disks cannot be read", found.node.status))
                .unreachable(vec![Unreachable { what: at, why }]);
        return Ok(found.tell(report));
    }
    let report = of_node(&found.member, found.name(), &at, disk).await;
    report.map(|report| found.tell(report)).map_err(|error| error.map(|it| found.tell(it)))
}

async fn of_node(
    member: &Arc<Pve>,
    node: &NodeName,
    at: &str,
    disk: &str,
) -> Result<Report, ToolError> {
    use pve_client::disks;

    let path = if disk.starts_with("/dev/") { disk.to_owned() } else { format!("/dev/{disk}") };
    let smart = member.client.call(disks::smart(node, &path)).await;
    let smart =
        smart.map_err(|error| failed(at, &path, &error, member.key.as_str(), Some(node)))?;
    let attributes = smart.attributes.into_iter().map(|it| {
        let value = it.normalized.or_else(|| it.value.map(|value| value as f64));
        let threshold = it.threshold.map(|value| value as f64);
        let is_below = matches!((value, threshold), (Some(value), Some(least)) if least > 0.0 && value <= least);
        Attribute {
            fails: it.fail.as_deref().is_some_and(|fail| fail != "-") || is_below,
            id: it.id,
            name: it.name,
            value,
            worst: it.worst.map(|value| value as f64),
            threshold,
            raw: it.raw.unwrap_or_default(),
        }
    });
    let left = smart.wearout.map(|left| left as f64);
    let mut report = told(at, &path, &smart.health, left, attributes.collect());
    if let Some(text) = smart.text.filter(|text| !text.trim().is_empty()) {
        report = report.untrusted(format!("SMART values of {path} on {at}"), text.trim());
    }
    Ok(report)
}

async fn of_server(member: &Arc<Pbs>, disk: &str) -> Result<Report, ToolError> {
    use pbs_client::node;

    let name = disk.strip_prefix("/dev/").unwrap_or(disk);
    let at = member.key.as_str();
    let smart = member.client.call(node::smart(name)).await;
    let smart = smart.map_err(|error| failed(at, name, &error, at, None))?;
    let attributes = smart.attributes.into_iter().map(|it| Attribute {
        fails: matches!((it.normalized, it.threshold), (Some(value), Some(least)) if least > 0.0 && value <= least),
        id: it.id,
        name: it.name,
        value: it.normalized,
        worst: it.worst,
        threshold: it.threshold,
        raw: it.raw.unwrap_or_default(),
    });
    Ok(told(at, name, &smart.status, smart.wearout, attributes.collect()))
}

fn failed(
    at: &str,
    disk: &str,
    error: &api_core::Error,
    cluster: &str,
    node: Option<&NodeName>,
) -> ToolError {
    let told = ToolError::api(format!("read the SMART values of {disk} on {at}"), error);
    if matches!(error.kind(), ErrorKind::PermissionDenied) {
        return told;
    }
    let args = match node {
        Some(node) => json!({"cluster": cluster, "node": node.as_str()}),
        None => json!({"cluster": cluster}),
    };
    told.map(|report| report.next("disks_list", args))
}

fn told(at: &str, disk: &str, health: &str, left: Option<f64>, all: Vec<Attribute>) -> Report {
    let bad = all.iter().filter(|it| it.is_bad()).count();
    let mut report = Report::new(match bad {
        0 => format!("{disk} on {at}: {health}"),
        1 => format!("{disk} on {at}: {health}, 1 value stands out"),
        bad => format!("{disk} on {at}: {health}, {bad} values stand out"),
    })
    .fact("node", at)
    .fact("health", health);
    if let Some(left) = left {
        report = report.detail("life_left", Cell::with(left, format!("{left} %")));
    }
    let columns = ["id", "attribute", "value", "worst", "threshold", "raw", "problem"];
    let mut table = Table::new("attributes", &columns);
    let (wrong, fine): (Vec<_>, Vec<_>) = all.into_iter().partition(Attribute::is_bad);
    for it in wrong.into_iter().chain(fine) {
        let problem = match (it.fails, it.is_bad()) {
            (true, _) => Some("at or below its threshold"),
            (false, true) => Some("should be 0"),
            _ => None,
        };
        // The values are whole; the products send some as fractions.
        let number =
            |value: Option<f64>| value.map_or_else(Cell::none, |it| Cell::number(it as i64));
        table.push(vec![
            Cell::opt(it.id),
            Cell::text(it.name),
            number(it.value),
            number(it.worst),
            number(it.threshold),
            Cell::text(it.raw),
            Cell::opt(problem),
        ]);
    }
    report.table(table)
}

// === impl Attribute ===

impl Attribute {
    /// Whether it stands out.
    fn is_bad(&self) -> bool {
        let is_zero = self.raw.trim().trim_start_matches("0x").trim_start_matches('0').is_empty();
        self.fails || ZERO.contains(&self.name.as_str()) && !is_zero
    }
}
