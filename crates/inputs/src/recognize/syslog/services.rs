//! What the daemons say about their own work: slow storage, jobs of the scheduler, notifications that went nowhere.

use event_core::{Kind, Severity};

use super::{
    Known,
    line::{Line, unescaped},
};
use crate::Origin;

pub(super) fn read(line: &Line<'_>, origin: &Origin<'_>) -> Option<Known> {
    let text = line.message;
    notification(text, origin).or_else(|| match line.program? {
        "pvestatd" => statistics(text, origin),
        "pvescheduler" => scheduler(text, origin),
        program if program.starts_with("proxmox-backup-") => request(text, origin),
        _ => None,
    })
}

/// Our own ears: a node that cannot tell us something is worth knowing by another way.
fn notification(text: &str, origin: &Origin<'_>) -> Option<Known> {
    if let Some(rest) = text.strip_prefix("could not notify via target ") {
        let target = rest.split(['`', '\'']).find(|part| !part.is_empty())?.trim_end_matches(':');
        let known = Known::new(Kind::NotificationFailed, Severity::Error, origin);
        return Some(known.label("target", target).told_apart_by(target));
    }
    if let Some(what) =
        text.strip_prefix("send ").and_then(|rest| rest.split_once(" notification failed"))
    {
        let known = Known::new(Kind::NotificationFailed, Severity::Error, origin);
        return Some(known.label("notification", what.0).told_apart_by(what.0));
    }
    let is_sent =
        text.starts_with("notified via target ") || text.starts_with("queued notification ");
    is_sent.then(|| Known::new(Kind::other("notification.sent"), Severity::Debug, origin))
}

fn statistics(text: &str, origin: &Origin<'_>) -> Option<Known> {
    if let Some(rest) = text.strip_prefix("status update time (") {
        // Written only above five seconds: a storage answers slowly.
        let took = rest.split(' ').next()?;
        return Some(
            Known::new(Kind::StorageError, Severity::Warning, origin).label("seconds", took),
        );
    }
    if let Some(cause) = text.strip_prefix("storage status update error: ") {
        let known = Known::new(Kind::StorageError, Severity::Error, origin);
        return Some(known.label("cause", unescaped(cause)));
    }
    if text.starts_with("restarting server after ") {
        return Some(Known::new(Kind::other("service.restarted"), Severity::Debug, origin));
    }
    let is_error = ["node", "qemu", "lxc"].iter().any(|what| {
        text.strip_prefix(what).is_some_and(|rest| rest.starts_with(" status update error"))
    });
    is_error.then(|| Known::new(Kind::other("service.status_error"), Severity::Warning, origin))
}

fn scheduler(text: &str, origin: &Origin<'_>) -> Option<Known> {
    if let Some((job, cause)) = text.split_once(": got unexpected replication job error - ") {
        let mut known = Known::new(Kind::ReplicationFailed, Severity::Error, origin);
        let job = job.rsplit(' ').next().unwrap_or(job);
        known.subject.vmid = job.split('-').next().and_then(|vmid| vmid.parse().ok());
        known.subject.job = Some(job.to_owned());
        return Some(known.label("cause", cause));
    }
    if text.starts_with("replication: ") {
        return Some(Known::new(Kind::other("replication.told"), Severity::Warning, origin));
    }
    text.contains("unresponsive job-worker")
        .then(|| Known::new(Kind::other("service.job_worker_killed"), Severity::Warning, origin))
}

/// `METHOD PATH: 4xx Reason: [client peer] text`
fn request(text: &str, origin: &Origin<'_>) -> Option<Known> {
    let (method, rest) = text.split_once(' ')?;
    if !matches!(method, "GET" | "POST" | "PUT" | "DELETE" | "HEAD") {
        return None;
    }
    let (path, rest) = rest.split_once(": ")?;
    let code =
        rest.split(' ').next().filter(|code| code.len() == 3 && code.starts_with(['4', '5']))?;
    let severity = if code.starts_with('5') { Severity::Warning } else { Severity::Notice };
    let known = Known::new(Kind::other("api.refused"), severity, origin).label("code", code);
    Some(known.told_apart_by(format!("{method} {path} {code}")))
}
