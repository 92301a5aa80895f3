//! What a guest does just now.

use std::fmt::Write as _;

use estate::GuestRef;
use pve_client::{guest::GuestHa, lxc::LxcStatus, qemu::QemuStatus};
use serde_json::json;

use crate::{
    fleet::Place,
    report::{Cell, Report, percent, span, used_of},
    view::{Guest, GuestStatus, inert, kind_word},
};

/// The status of either kind of guest.
#[derive(Debug)]
pub(super) struct Now {
    pub(super) name: String,
    pub(super) status: GuestStatus,
    pub(super) tags: Vec<String>,
    pub(super) lock: Option<String>,
    pub(super) ha: Option<GuestHa>,
    /// Of a machine: whether the agent is turned on.
    pub(super) agent: bool,
    cpu: f64,
    cpus: f64,
    mem: u64,
    max_mem: u64,
    disk: u64,
    max_disk: u64,
    uptime: u64,
}

impl From<QemuStatus> for Now {
    fn from(now: QemuStatus) -> Self {
        let word = match now.qmp_status.as_deref() {
            // Finer than the status, which calls a paused machine running.
            Some(word @ ("paused" | "suspended" | "prelaunch")) => word,
            _ => now.status.as_str(),
        };
        Self {
            status: GuestStatus::parse(word, now.template),
            name: now.name.map(|name| inert(&name)).unwrap_or_default(),
            tags: now.tags,
            lock: now.lock,
            ha: now.ha,
            agent: now.agent,
            cpu: now.cpu.unwrap_or_default(),
            cpus: now.cpus.unwrap_or_default(),
            mem: now.memory_bytes.unwrap_or_default(),
            max_mem: now.max_memory_bytes.unwrap_or_default(),
            disk: 0,
            max_disk: now.max_disk_bytes.unwrap_or_default(),
            uptime: now.uptime_secs.unwrap_or_default(),
        }
    }
}

impl From<LxcStatus> for Now {
    fn from(now: LxcStatus) -> Self {
        Self {
            status: GuestStatus::parse(now.status.as_str(), now.template),
            name: now.name.map(|name| inert(&name)).unwrap_or_default(),
            tags: now.tags,
            lock: now.lock,
            ha: now.ha,
            agent: false,
            cpu: now.cpu.unwrap_or_default(),
            cpus: now.cpus.unwrap_or_default(),
            mem: now.memory_bytes.unwrap_or_default(),
            max_mem: now.max_memory_bytes.unwrap_or_default(),
            disk: now.disk_bytes.unwrap_or_default(),
            max_disk: now.max_disk_bytes.unwrap_or_default(),
            uptime: now.uptime_secs.unwrap_or_default(),
        }
    }
}

/// The one sentence.
pub(super) fn lead(at: &GuestRef, place: &Place, now: &Now) -> Report {
    let Place { node, kind } = place;
    let name = if now.name.is_empty() { String::new() } else { format!(" {}", now.name) };
    let mut lead = format!("{at}{name}: {} {} on {node}", kind_word(*kind), now.status.as_str());
    if now.status.is_on() {
        let _ = write!(lead, " for {}", span(now.uptime));
    }
    if let Some(lock) = &now.lock {
        let _ = write!(lead, ", locked ({lock})");
    }
    Report::new(lead)
        .fact("guest", at.to_string())
        .fact("name", &*now.name)
        .fact("kind", kind_word(*kind))
        .fact("node", node.as_str())
        .fact("status", now.status.as_str())
        .fact("lock", now.lock.clone())
}

/// The figures. `row` is what the cluster's list adds, where it was read.
pub(super) fn tell(report: Report, now: &Now, row: Option<&Guest>) -> Report {
    let on = now.status.is_on();
    let cpu = format!("{} of {}", percent(now.cpu), now.cpus);
    let cpu_value = json!({"share": (now.cpu * 1000.0).round() / 1000.0, "cpus": now.cpus});
    let mem_value = json!({"used": now.mem, "max": now.max_mem});
    let ha = now.ha.as_ref().filter(|ha| ha.managed).map(|ha| {
        let wished = ha.state.as_deref().unwrap_or("started");
        let is = row.and_then(|row| row.ha_state.as_deref());
        let text = match is {
            Some(is) => format!("{is} (wished: {wished})"),
            None => format!("managed (wished: {wished})"),
        };
        Cell::with(json!({"wished": wished, "state": is}), text)
    });
    let report = report
        .fact("uptime", if on { Some(now.uptime) } else { None })
        .detail("tags", Cell::words(&now.tags))
        .detail("pool", Cell::opt(row.and_then(|row| row.pool.clone())))
        .detail("ha", Cell::opt(ha));
    if on {
        let report = report
            .detail("cpu", Cell::with(cpu_value, cpu))
            .detail("mem", Cell::with(mem_value, used_of(now.mem, now.max_mem)));
        if now.disk == 0 {
            return report;
        }
        let value = json!({"used": now.disk, "max": now.max_disk});
        return report.detail("disk", Cell::with(value, used_of(now.disk, now.max_disk)));
    }
    report
}
