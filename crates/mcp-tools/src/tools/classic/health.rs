//! `check_node_health`: a verdict per node, with its reasons.

use std::sync::Arc;

use api_core::Error;
use estate::{NodeName, TaskStatus};
use futures::{future::join_all, join};
use jiff::{SignedDuration, Timestamp};
use pve_client::{
    nodes::{self, NodeStatus, Service, Usage},
    tasks::{self, Task, TaskListParams},
};

use crate::{
    address::Purpose,
    error::ToolError,
    fleet::{GATHER_DEADLINE, Pve},
    follow::clean_cause,
    report::{Cell, Report, Table, Unreachable, percent},
    tool::Cx,
    tools::late::{self, Until},
    tools::tally::counted,
    view::{Node, View},
};

/// Services without which a node is not worth its name.
const VITAL: &[&str] = &["corosync", "pve-cluster", "pvedaemon", "pveproxy", "pvestatd"];

/// Failed tasks are counted for a day.
const DAY: SignedDuration = SignedDuration::from_hours(24);

/// How many that did not answer are named before the rest is counted.
const NAMED: usize = 5;

/// How a node does, worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    Ok,
    /// What was to be judged could not be read.
    Unknown,
    Warning,
    Critical,
}

/// A node's verdict and why.
#[derive(Debug)]
struct Health {
    verdict: Verdict,
    reasons: Vec<String>,
}

/// What a node was asked; each part can be missing.
struct Asked {
    status: Result<NodeStatus, Error>,
    services: Result<Vec<Service>, Error>,
    failed: Result<Vec<Task>, Error>,
}

/// A node's row.
struct Judged {
    at: String,
    health: Health,
    /// Why it did not answer, if it did not.
    absent: Option<String>,
    is_late: bool,
}

/// Judges one node, or all.
pub(super) async fn check(
    cx: &Cx,
    cluster: Option<&str>,
    node: Option<&str>,
) -> Result<Report, ToolError> {
    let (now, until) = (cx.now(), Until::of(&cx.fleet));
    if let Some(found) = cx.fleet.find_opt_node(cluster, node, Purpose::Read).await? {
        let judged = judge_node(&found.member, &found.node, now, until.after_search()).await;
        return Ok(found.tell(report(vec![judged], &[], None)));
    }
    let members = cx.fleet.pve(cluster)?;
    let judge_all = |member: Arc<Pve>| async move {
        let view = View::load(Arc::clone(&member)).await?;
        let judged = view.nodes.iter().map(|node| judge_node(&member, node, now, until));
        Ok::<_, Error>(join_all(judged).await)
    };
    let mut gathered = cx.fleet.gather(members, GATHER_DEADLINE, judge_all).await;
    let rows = gathered.answers.drain(..).flat_map(|(_, judged)| judged).collect();
    // A member that is silent as a whole is nothing that could be called well.
    let silent = gathered.unreachable.iter().map(|part| (part.what.clone(), Verdict::Critical));
    let refused = gathered.refused.iter().map(|(key, _)| (key.to_string(), Verdict::Unknown));
    let silent: Vec<_> = silent.chain(refused).collect();
    let worst = silent.iter().map(|(_, verdict)| *verdict).max();
    let silent: Vec<_> = silent.into_iter().map(|(what, _)| what).collect();
    Ok(gathered.tell(report(rows, &silent, worst)))
}

async fn judge_node(member: &Pve, node: &Node, now: Timestamp, until: Until) -> Judged {
    let at = format!("{}/{}", member.key, node.name);
    if !node.is_online() {
        let reasons = vec![format!("it is {}", node.status)];
        let health = Health { verdict: Verdict::Critical, reasons };
        let absent = Some(format!("node {}", node.status));
        return Judged { at, health, absent, is_late: false };
    }
    let asked = ask(member, &node.name, now, until).await;
    let error = asked.status.as_ref().err().filter(|error| error.is_unreachable());
    let is_late = error.is_some_and(late::is_late);
    let absent = error
        .map(|error| if is_late { late::LATE.to_owned() } else { stdx::Chain(error).to_string() });
    Judged { at, health: judge(&asked), absent, is_late }
}

/// What is known of the nodes; `silent` are members of which nothing is, and `worst` is what that
/// alone amounts to.
fn report(mut rows: Vec<Judged>, silent: &[String], worst: Option<Verdict>) -> Report {
    rows.sort_by(|a, b| b.health.verdict.cmp(&a.health.verdict).then_with(|| a.at.cmp(&b.at)));
    let mut table = Table::new("nodes", &["node", "verdict", "reasons"]);
    let count = |verdict| rows.iter().filter(|row| row.health.verdict == verdict).count();
    let parts = [Verdict::Critical, Verdict::Warning, Verdict::Unknown, Verdict::Ok]
        .map(|verdict| (count(verdict), verdict.as_str()));
    let parts: Vec<_> = parts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    let mut lead = match parts.as_slice() {
        [] => "no node answers".to_owned(),
        parts => format!("{}: {}", counted(rows.len(), "node"), parts.join(", ")),
    };
    let late = rows.iter().filter(|row| row.is_late).map(|row| row.at.as_str());
    let late: Vec<_> = late.chain(silent.iter().map(String::as_str)).collect();
    if !late.is_empty() {
        let more = late.len().saturating_sub(NAMED);
        let named = late[..late.len() - more].join(", ");
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        lead = format!("{lead}; not judged: {named}{more}");
    }
    let worst = rows.iter().map(|row| row.health.verdict).max().max(worst);
    let mut unreachable = Vec::new();
    for Judged { at, health, absent, .. } in rows {
        if let Some(why) = absent {
            unreachable.push(Unreachable { what: at.clone(), why });
        }
        let reasons = health.reasons.join("; ");
        table.push(vec![Cell::text(at), Cell::text(health.verdict.as_str()), Cell::text(reasons)]);
    }
    let report = Report::new(lead).table(table).unreachable(unreachable);
    report.fact("verdict", worst.map_or("unknown", Verdict::as_str))
}

async fn ask(member: &Pve, node: &NodeName, now: Timestamp, until: Until) -> Asked {
    let options = TaskListParams {
        errors: Some(true),
        since: now.checked_sub(DAY).ok(),
        limit: Some(200),
        ..TaskListParams::default()
    };
    let (status, services, failed) = join!(
        until.wait(member.client.call(nodes::status(node))),
        until.wait(member.client.call(nodes::services(node))),
        until.wait(member.client.call(tasks::list(node, options))),
    );
    Asked { status, services, failed }
}

fn judge(asked: &Asked) -> Health {
    let mut health = Health { verdict: Verdict::Ok, reasons: Vec::new() };
    match &asked.status {
        Ok(status) => health.of_status(status),
        // Late is not dead: what it would have said is not known.
        Err(error) if late::is_late(error) => {
            health.add(Verdict::Unknown, late::LATE.to_owned());
        }
        Err(error) if error.is_unreachable() => {
            health.add(Verdict::Critical, "it does not answer".to_owned());
        }
        Err(error) => health.missing("its load", error),
    }
    // One sentence is enough for a node that does not answer at all.
    let is_silent = asked.status.as_ref().is_err_and(Error::is_unreachable);
    let is_told = |error: &Error| is_silent && error.is_unreachable();
    match &asked.services {
        Ok(services) => health.of_services(services),
        Err(error) if is_told(error) => {}
        Err(error) => health.missing("its services", error),
    }
    match &asked.failed {
        Ok(tasks) => health.of_tasks(tasks),
        Err(error) if is_told(error) => {}
        Err(error) => health.missing("its tasks", error),
    }
    health
}

// === impl Health ===

impl Health {
    fn add(&mut self, verdict: Verdict, reason: String) {
        self.verdict = self.verdict.max(verdict);
        self.reasons.push(reason);
    }

    fn missing(&mut self, what: &str, error: &Error) {
        let why = if error.is_permission_denied() {
            "the token may not see it".to_owned()
        } else if late::is_late(error) {
            late::LATE.to_owned()
        } else {
            stdx::Chain(error).to_string()
        };
        self.add(Verdict::Unknown, format!("{what}: {why}"));
    }

    /// Adds a share if it is above one of the limits.
    fn share(&mut self, what: &str, share: f64, warning: f64, critical: f64) {
        let verdict = match share {
            share if share >= critical => Verdict::Critical,
            share if share >= warning => Verdict::Warning,
            _ => return,
        };
        self.add(verdict, format!("{what} {}", percent(share)));
    }

    fn of_status(&mut self, status: &NodeStatus) {
        self.share("cpu", status.cpu, 0.9, 0.98);
        self.share("waiting for disks", status.io_wait, 0.2, 0.5);
        self.share("memory", share_of(&status.memory), 0.9, 0.97);
        if let Some(root) = &status.root {
            self.share("root file system", share_of(root), 0.85, 0.95);
        }
        if let Some(swap) = &status.swap {
            self.share("swap", share_of(swap), 0.8, 1.1);
        }
        let cpus = status.cpu_info.as_ref().map_or(0, |info| info.cpus);
        if let Some(load) = status.load.get(2).filter(|_| cpus > 0) {
            let each = load / f64::from(cpus);
            let words = format!("load {load:.1} over 15 minutes on {cpus} cpus");
            if each >= 2.0 {
                self.add(Verdict::Critical, words);
            } else if each >= 1.0 {
                self.add(Verdict::Warning, words);
            }
        }
    }

    fn of_services(&mut self, services: &[Service]) {
        for service in services {
            let failed =
                service.active_state.as_deref() == Some("failed") || service.state == "failed";
            let is_vital = VITAL.contains(&service.name.as_str());
            let enabled = service.unit_state.as_deref() == Some("enabled");
            // Outside a cluster corosync is enabled and has nothing to do.
            let is_down =
                service.active_state.as_deref() == Some("inactive") && service.name != "corosync";
            if failed || is_vital && enabled && is_down {
                let verdict = if is_vital { Verdict::Critical } else { Verdict::Warning };
                self.add(verdict, format!("service {} is {}", service.name, service.state));
            }
        }
    }

    fn of_tasks(&mut self, tasks: &[Task]) {
        let failed: Vec<_> = tasks
            .iter()
            .filter_map(|task| match task.outcome() {
                Some(TaskStatus::Failed(cause)) => Some((task, cause)),
                _ => None,
            })
            .collect();
        let newest = failed.iter().max_by_key(|(task, _)| task.upid.started());
        let Some((task, cause)) = newest else { return };
        let what = format!("{} {}", task.upid.kind(), task.upid.display_id());
        let reason = format!(
            "{} in a day, last {}: {}",
            counted(failed.len(), "failed task"),
            what.trim(),
            clean_cause(cause)
        );
        self.add(Verdict::Warning, reason);
    }
}

// === impl Verdict ===

impl Verdict {
    fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unknown => "unknown",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

fn share_of(usage: &Usage) -> f64 {
    if usage.total_bytes == 0 { 0.0 } else { usage.used_bytes as f64 / usage.total_bytes as f64 }
}

#[cfg(test)]
mod tests {
    use api_core::ErrorKind;
    use serde_json::json;

    use super::*;

    fn check(
        status: serde_json::Value,
        services: serde_json::Value,
        tasks: serde_json::Value,
    ) -> String {
        let asked = Asked {
            status: Ok(serde_json::from_value(status).unwrap()),
            services: Ok(serde_json::from_value(services).unwrap()),
            failed: Ok(serde_json::from_value(tasks).unwrap()),
        };
        let health = judge(&asked);
        format!("{}: {}", health.verdict.as_str(), health.reasons.join("; "))
    }

    fn status(cpu: f64, memory: u64, root: u64, load: f64) -> serde_json::Value {
        json!({
            "uptime": 100, "cpu": cpu, "wait": 0.01, "loadavg": ["0.1", "0.2", load.to_string()],
            "memory": {"used": memory, "total": 100}, "rootfs": {"used": root, "total": 100},
            "cpuinfo": {"model": "x", "cpus": 4, "sockets": 1},
        })
    }

    #[test]
    fn each_reason_counts() {
        assert_eq!(check(status(0.1, 50, 50, 1.0), json!([]), json!([])), "ok: ");
        assert_eq!(
            check(status(0.95, 98, 86, 4.5), json!([]), json!([])),
            "critical: cpu 95%; memory 98%; root file system 86%; load 4.5 over 15 minutes on 4 cpus"
        );
        let service = |name: &str, state: &str, active: &str, unit: &str| {
            json!({"service": name, "name": name, "desc": name, "state": state,
                "active-state": active, "unit-state": unit})
        };
        let services = json!([
            service("postfix", "failed", "failed", "enabled"),
            service("corosync", "dead", "inactive", "enabled"),
            service("pvestatd", "dead", "inactive", "enabled"),
            service("chrony", "dead", "inactive", "not-found"),
        ]);
        assert_eq!(
            check(status(0.1, 50, 50, 1.0), services, json!([])),
            "critical: service postfix is failed; service pvestatd is dead"
        );
        let task = |start: &str, status: &str| {
            json!({"upid": format!("UPID:alder:00000001:00000001:{start}:qmstart:108:root@pam:"),
                "node": "alder", "type": "qmstart", "user": "root@pam", "status": status})
        };
        let tasks = json!([
            task("6B033EDB", "start failed"),
            task("6B033EDA", "older"),
            task("6B033EDC", "WARNINGS: 1"),
        ]);
        assert_eq!(
            check(status(0.1, 50, 50, 1.0), json!([]), tasks),
            "warning: 2 failed tasks in a day, last qmstart 108: start failed"
        );
    }

    #[test]
    fn what_cannot_be_read_is_not_ok() {
        let refused =
            || Error::new(ErrorKind::PermissionDenied, "GET /x", "Permission check failed");
        let asked =
            Asked { status: Err(refused()), services: Err(refused()), failed: Ok(Vec::new()) };
        let health = judge(&asked);
        assert_eq!(health.verdict, Verdict::Unknown);
        let away = || Error::new(ErrorKind::NodeUnreachable, "GET /x", "No route to host");
        let asked = Asked { status: Err(away()), services: Err(away()), failed: Err(away()) };
        let health = judge(&asked);
        assert_eq!(health.reasons, ["it does not answer"]);
        assert_eq!(health.verdict, Verdict::Critical);
        let late = || Error::new(ErrorKind::Timeout, "a part", "");
        let asked = Asked { status: Err(late()), services: Err(late()), failed: Err(late()) };
        let health = judge(&asked);
        assert_eq!(health.reasons, ["no answer in time"]);
        assert_eq!(health.verdict, Verdict::Unknown);
    }
}
