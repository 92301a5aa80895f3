//! What the machine under the guests says: the kernel that takes a guest's memory away, disks, pools of ZFS.
//!
//! The forms are those of Linux (`mm/oom_kill.c`, `block/blk-core.c`), of ZFS's event daemon (`all-syslog.sh`) and of
//! smartmontools (`smartd`).

use estate::GuestKind;
use event_core::{Kind, Severity};

use super::{Known, line::Line};
use crate::Origin;

/// What smartd says of a disk that has failed or will; all else of what it says is as bad as its level.
const FAILS: &[&str] = &[
    "FAILED SMART self-check",
    "Failed SMART usage Attribute",
    "FAILED SMART",
    "Currently unreadable (pending) sectors",
    "Offline uncorrectable sectors",
];

/// How ZFS calls a pool or device that is as it should be.
const WHOLE: &str = "ONLINE";

pub(super) fn read(line: &Line<'_>, origin: &Origin<'_>) -> Option<Known> {
    match line.program? {
        "kernel" => kernel(line.message, origin),
        "zed" => zed(line.message, origin),
        "smartd" => smartd(line.message, origin),
        _ => None,
    }
}

fn kernel(message: &str, origin: &Origin<'_>) -> Option<Known> {
    let text = without_clock(message);
    if let Some(rest) = text.strip_prefix("oom-kill:") {
        return Some(killed_for_memory(rest, origin));
    }
    if let Some(rest) = text.split_once("I/O error, dev ").map(|(_, rest)| rest) {
        let device = rest.split([',', ' ']).next().filter(|device| !device.is_empty())?;
        let known = Known::new(Kind::DiskFailing, Severity::Warning, origin);
        return Some(known.label("what", device).told_apart_by(device));
    }
    text.starts_with("Kernel panic - not syncing")
        .then(|| Known::new(Kind::other("kernel.panic"), Severity::Critical, origin))
}

/// The fields of `oom-kill:`, of which `task_memcg` says whose process it was: `/qemu.slice/104.scope` is a virtual
/// machine as a whole, `/lxc/105/…` is one process of a container, which may live on.
fn killed_for_memory(fields: &str, origin: &Origin<'_>) -> Known {
    let field = |name: &str| {
        fields.split(',').find_map(|field| field.strip_prefix(name)?.strip_prefix('='))
    };
    let group = field("task_memcg").unwrap_or_default();
    let task = field("task").unwrap_or_default();
    let machine = group
        .strip_prefix("/qemu.slice/")
        .and_then(|rest| rest.split_once(".scope"))
        .map(|(vmid, _)| vmid)
        .filter(|vmid| vmid.parse::<estate::VmId>().is_ok());
    let container = group.strip_prefix("/lxc/").and_then(|rest| rest.split('/').next());
    let is_machine = machine.is_some();
    let kind = if is_machine { Kind::GuestCrashed } else { Kind::other("kernel.out_of_memory") };
    let mut known = Known::new(kind, Severity::Error, origin).label("process", task);
    if let Some(vmid) = machine.or(container) {
        known = known.guest(vmid);
        let kind = if is_machine { GuestKind::Qemu } else { GuestKind::Lxc };
        known.subject.guest_kind = known.subject.vmid.map(|_| kind);
    }
    if is_machine { known.label("cause", "killed by the kernel: out of memory") } else { known }
}

/// `eid=7 class=statechange pool='tank' vdev=sdb1 vdev_state=FAULTED`
fn zed(message: &str, origin: &Origin<'_>) -> Option<Known> {
    let field = |name: &str| {
        message.split(' ').find_map(|field| field.strip_prefix(name)?.strip_prefix('='))
    };
    let class = field("class")?;
    let pool = field("pool")?.trim_matches('\'');
    let state = field("vdev_state").or_else(|| field("pool_state")).unwrap_or_default();
    let (kind, severity) = match class {
        "statechange" if state == WHOLE => (Kind::PoolRestored, Severity::Info),
        "statechange" => (Kind::PoolDegraded, Severity::Critical),
        // A checksum or a read that failed and was mended: the pool is whole, a disk may not be.
        "checksum" | "io" | "data" | "io_failure" => {
            (Kind::other("pool.errors"), Severity::Warning)
        }
        _ => return None,
    };
    let mut known = Known::new(kind, severity, origin).label("what", pool).told_apart_by(pool);
    if let Some(device) = field("vdev") {
        known = known.label("device", device);
    }
    Some(if state.is_empty() { known } else { known.label("state", state) })
}

/// `Device: /dev/sda [SAT], 8 Currently unreadable (pending) sectors`
fn smartd(message: &str, origin: &Origin<'_>) -> Option<Known> {
    let (device, says) = message.strip_prefix("Device: ")?.split_once(", ")?;
    if !FAILS.iter().any(|word| says.contains(word)) {
        return None;
    }
    let device = device.split(' ').next().unwrap_or(device).trim_start_matches("/dev/");
    let known = Known::new(Kind::DiskFailing, Severity::Error, origin);
    Some(known.label("what", device).told_apart_by(device))
}

/// Without `[53542.948247] `, which the kernel may put in front.
fn without_clock(message: &str) -> &str {
    let rest = message.strip_prefix('[').and_then(|rest| rest.split_once("] "));
    match rest {
        Some((clock, rest)) if clock.trim().bytes().all(|it| it.is_ascii_digit() || it == b'.') => {
            rest
        }
        _ => message,
    }
}
