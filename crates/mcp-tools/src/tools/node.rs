//! `node_get`: one node in depth. Each part can be missing on its own.

use api_core::Error;
use async_trait::async_trait;
use estate::Access;
use jiff::Timestamp;
use mcp_protocol::JsonObject;
use pve_client::{
    disks::{self, Disk},
    nodes::{self, AptUpdate, Certificate, NodeStatus, Service, Subscription},
};
use serde::Deserialize;
use serde_json::json;

use super::{late, parts};
use crate::{
    address::Purpose,
    error::ToolError,
    report::{Cell, Report, Table, Unreachable, age, percent, rfc3339, span, used_of},
    schema::{Input, Output},
    tool::{Cx, Definition, EstateTool},
};

/// From this many days before its end on, a certificate is told as a problem.
const CERTIFICATE_DAYS: i64 = 30;
/// From this share of life left on, a disk is told as worn.
const WORN_PERCENT: i64 = 10;

/// Shows one node.
pub struct NodeGet;

#[derive(Debug, Deserialize)]
struct Args {
    node: String,
    cluster: Option<String>,
}

struct Parts {
    status: Result<NodeStatus, Error>,
    services: Result<Vec<Service>, Error>,
    updates: Result<Vec<AptUpdate>, Error>,
    certificates: Result<Vec<Certificate>, Error>,
    disks: Result<Vec<Disk>, Error>,
    subscription: Result<Subscription, Error>,
}

#[async_trait]
impl EstateTool for NodeGet {
    fn definition(&self) -> Definition {
        Definition {
            name: "node_get",
            title: "Show a node",
            description: "One node: load, versions, services, updates, certificates, disk health.",
            input: Input::new().node().required("node").cluster(),
            output: Output::new()
                .fact("node", "string")
                .fact("status", "string")
                .table("services_down")
                .table("certificates")
                .table("disks")
                .table("updates"),
            access: Access::Read,
            idempotent: true,
        }
    }

    fn access(&self, _args: &JsonObject) -> Access {
        Access::Read
    }

    async fn call(&self, cx: &Cx, args: JsonObject) -> Result<Report, ToolError> {
        let args: Args = cx.args(args)?;
        let until = late::Until::of(&cx.fleet);
        let found = cx.fleet.find_node(args.cluster.as_deref(), &args.node, Purpose::Read).await?;
        let (member, node) = (&found.member, found.name());
        let at = format!("{}/{node}", member.key);
        if !found.node.is_online() {
            let why = format!("the cluster reports it as {}", found.node.status);
            let report = Report::new(format!("{at}: {}", found.node.status))
                .fact("node", at.clone())
                .fact("status", &*found.node.status)
                .unreachable(vec![Unreachable { what: at, why }])
                .next("cluster_status", json!({"cluster": member.key.as_str()}));
            return Ok(found.tell(report));
        }
        let (client, until) = (&member.client, until.after_search());
        let (status, services, updates, certificates, disks, subscription) = futures::join!(
            until.wait(client.call(nodes::status(node))),
            until.wait(client.call(nodes::services(node))),
            until.wait(client.call(nodes::updates(node))),
            until.wait(client.call(nodes::certificates(node))),
            until.wait(client.call(disks::list(node, false))),
            until.wait(client.call(nodes::subscription(node))),
        );
        let parts = Parts { status, services, updates, certificates, disks, subscription };
        Ok(found.tell(report(&at, parts, cx.now())))
    }
}

fn report(at: &str, parts: Parts, now: Timestamp) -> Report {
    let mut report = Report::new(format!("{at}: online")).fact("node", at).fact("status", "online");
    report = match parts.status {
        Ok(status) => figures(report, at, &status),
        Err(error) => {
            if late::is_late(&error) {
                report
                    .lead
                    .push_str(" as its cluster says, but its own status did not come in time");
            }
            missing(report, at, "status", &error)
        }
    };
    report = match parts.services {
        Ok(services) => tell_services(report, &services),
        Err(error) => missing(report, at, "services", &error),
    };
    report = match parts.certificates {
        Ok(certificates) => tell_certificates(report, &certificates, now),
        Err(error) => missing(report, at, "certificates", &error),
    };
    report = match parts.disks {
        Ok(disks) => tell_disks(report, &disks),
        Err(error) => missing(report, at, "disks", &error),
    };
    report = match parts.updates {
        Ok(updates) => tell_updates(report, &updates),
        Err(error) => missing(report, at, "updates", &error),
    };
    match parts.subscription {
        Ok(subscription) => report.detail("subscription", subscription.status),
        Err(error) => missing(report, at, "subscription", &error),
    }
}

/// A part that is late is told; the node did not fail for it.
fn missing(report: Report, at: &str, part: &str, error: &Error) -> Report {
    if late::is_late(error) {
        return report.note(format!("{part}: {}", late::LATE));
    }
    parts::missing_at(report, at, part, error)
}

fn figures(mut report: Report, at: &str, status: &NodeStatus) -> Report {
    let version = status.pve_version.as_deref().unwrap_or_default();
    // `pve-manager/9.2.11/14a22df35955d97d`: the middle is what people call the version.
    let version = version.split('/').nth(1).unwrap_or(version);
    report.lead = format!("{at}: online for {}, PVE {version}", span(status.uptime_secs));
    let (used, all) = (status.memory.used_bytes, status.memory.total_bytes);
    let load: Vec<String> = status.load.iter().map(|load| format!("{load:.2}")).collect();
    let processors = status.cpu_info.as_ref();
    let cpus = processors.map_or(0, |cpu| cpu.cpus);
    let of = if cpus > 0 { format!(" of {cpus}") } else { String::new() };
    let model = processors.map(|cpu| cpu.model.clone());
    let cpu = format!("{}{of}, io wait {}", percent(status.cpu), percent(status.io_wait));
    let share = |value: f64| (value * 1000.0).round() / 1000.0;
    report = report
        .fact("uptime", status.uptime_secs)
        .fact("version", version)
        .detail(
            "cpu",
            Cell::with(
                json!({"share": share(status.cpu), "cpus": cpus, "io_wait": share(status.io_wait)}),
                cpu,
            ),
        )
        .detail("load", Cell::with(status.load.clone(), load.join(" ")))
        .detail("mem", Cell::with(json!({"used": used, "max": all}), used_of(used, all)));
    for (key, usage) in [("swap", &status.swap), ("root", &status.root)] {
        let Some(usage) = usage.as_ref().filter(|usage| usage.total_bytes > 0) else { continue };
        let (used, all) = (usage.used_bytes, usage.total_bytes);
        let value = json!({"used": used, "max": all});
        report = report.detail(key, Cell::with(value, used_of(used, all)));
    }
    let kernel = status.kernel.as_ref().map(|kernel| kernel.release.clone());
    let boot = status.boot.as_ref().map(|boot| boot.mode.clone());
    report
        .detail("kernel", Cell::opt(kernel))
        .detail("boot", Cell::opt(boot))
        .detail("model", Cell::opt(model))
}

/// Services that are set up to run and do not.
fn tell_services(report: Report, services: &[Service]) -> Report {
    let is_down = |service: &&Service| {
        let installed =
            !matches!(service.unit_state.as_deref(), Some("not-found" | "masked" | "disabled"));
        let up = service.state == "running" || service.active_state.as_deref() == Some("active");
        let failed = service.active_state.as_deref() == Some("failed");
        failed || installed && !up
    };
    let mut table = Table::new("services_down", &["service", "state", "unit", "description"]);
    for service in services.iter().filter(is_down) {
        let state = service.active_state.as_deref().unwrap_or(&service.state);
        table.push(vec![
            Cell::text(&*service.service),
            Cell::text(state),
            Cell::opt(service.unit_state.clone()),
            Cell::text(&*service.description),
        ]);
    }
    let text = match table.rows.len() {
        0 => "all that should run do".to_owned(),
        count => format!("{count} down"),
    };
    report.detail("services", text).table(table)
}

fn tell_certificates(mut report: Report, all: &[Certificate], now: Timestamp) -> Report {
    let mut table = Table::new("certificates", &["certificate", "expires", "in", "issuer"]);
    for certificate in all {
        let Some(end) = certificate.not_after else { continue };
        let days = (end.as_second() - now.as_second()).div_euclid(86_400);
        if days < CERTIFICATE_DAYS {
            let word = if days < 0 { "has expired" } else { "expires soon" };
            report.notes.push(format!("certificate {} {word}", certificate.filename));
        }
        let left = if days < 0 { format!("-{}", age(end, now)) } else { format!("{days}d") };
        table.push(vec![
            Cell::text(&*certificate.filename),
            Cell::text(rfc3339(end)),
            Cell::with(days, left),
            Cell::opt(certificate.issuer.clone()),
        ]);
    }
    report.table(table)
}

fn tell_disks(mut report: Report, disks: &[Disk]) -> Report {
    let mut table =
        Table::new("disks", &["disk", "type", "size", "health", "life_left", "used", "model"]);
    for disk in disks.iter().filter(|disk| disk.parent.is_none()) {
        let health = disk.health.as_deref().unwrap_or("unknown");
        if !matches!(health.to_ascii_uppercase().as_str(), "PASSED" | "OK" | "UNKNOWN") {
            report.notes.push(format!("disk {} health is {health}", disk.path));
        }
        if disk.wearout.is_some_and(|left| left <= WORN_PERCENT) {
            let left = disk.wearout.unwrap_or_default();
            report.notes.push(format!("disk {} is worn: {left} % of its life left", disk.path));
        }
        table.push(vec![
            Cell::text(&*disk.path),
            Cell::opt(disk.kind.clone()),
            disk.size_bytes.map_or_else(Cell::none, Cell::bytes),
            Cell::text(health),
            disk.wearout.map_or_else(Cell::none, |left| Cell::with(left, format!("{left}%"))),
            Cell::opt(disk.used.clone()),
            Cell::opt(disk.model.clone()),
        ]);
    }
    report.table(table)
}

fn tell_updates(report: Report, updates: &[AptUpdate]) -> Report {
    let mut table = Table::new("updates", &["package", "installed", "new", "origin"]);
    for update in updates {
        table.push(vec![
            Cell::text(&*update.package),
            Cell::opt(update.old_version.clone()),
            Cell::text(&*update.version),
            Cell::opt(update.origin.clone()),
        ]);
    }
    let text = match updates.len() {
        0 => "none pending, as of the last refresh".to_owned(),
        count => format!("{count} pending, as of the last refresh"),
    };
    report.detail("updates_pending", Cell::with(updates.len() as u64, text)).table(table)
}
