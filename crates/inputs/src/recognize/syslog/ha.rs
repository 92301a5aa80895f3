//! High availability: what the cluster's manager and each node's write.

use event_core::{Kind, Severity};

use super::{Known, line::Line};
use crate::Origin;

/// `pve-ha-crm`
pub(super) fn manager(line: &Line<'_>, origin: &Origin<'_>) -> Option<Known> {
    let text = line.message;
    if let Some(service) = between(text, "service ", " is in an error state") {
        return Some(of_service(
            Known::new(Kind::HaError, Severity::Error, origin),
            service.trim_matches('\''),
        ));
    }
    if let Some(rest) = text.strip_prefix("node '") {
        let (node, rest) = rest.split_once('\'')?;
        let change =
            rest.trim_start_matches(':').trim_start().strip_prefix("state changed from ")?;
        let (_, to) = change.split_once(" => ")?;
        return Some(node_changed(node, to.trim_matches('\''), origin));
    }
    if let Some(rest) = text.strip_prefix("service '") {
        let (service, rest) = rest.split_once('\'')?;
        let change =
            rest.trim_start_matches(':').trim_start().strip_prefix("state changed from '")?;
        let (from, rest) = change.split_once("' to '")?;
        let to = rest.split('\'').next()?;
        return Some(service_changed(service, from, to, origin));
    }
    if let Some(node) = between(text, "fencing: acknowledged - got agent lock for node '", "'") {
        let mut known = Known::new(Kind::NodeFenced, Severity::Notice, origin);
        known.subject.node = node.parse().ok();
        return Some(known.label("fencing", "done"));
    }
    if let Some(service) = between(text, "recovering service '", "' from fenced node") {
        let severity = if text.contains("failed") { Severity::Critical } else { Severity::Warning };
        let kind =
            if text.contains("failed") { Kind::HaError } else { Kind::other("ha.recovering") };
        return Some(of_service(Known::new(kind, severity, origin), service));
    }
    let name = if text.starts_with("status change ") {
        "ha.status"
    } else if text.starts_with("got crm command: ") {
        "ha.command"
    } else if text.starts_with("adding new service ") || text.starts_with("removing ") {
        "ha.services"
    } else if text.starts_with("auto rebalance ") {
        "ha.rebalance"
    } else {
        return None;
    };
    Some(Known::new(Kind::other(name), Severity::Info, origin))
}

/// `pve-ha-lrm`
pub(super) fn node(line: &Line<'_>, origin: &Origin<'_>) -> Option<Known> {
    let text = line.message;
    if let Some(rest) = text.strip_prefix("status change ") {
        let (_, to) = rest.split_once(" => ")?;
        // Without its lock the watchdog resets the node soon.
        let known = match to.trim() {
            "lost_agent_lock" => {
                Known::new(Kind::HaError, Severity::Critical, origin).told_apart_by("lock")
            }
            _ => Known::new(Kind::other("ha.status"), Severity::Info, origin),
        };
        return Some(known);
    }
    if text.starts_with("watchdog update failed") {
        return Some(
            Known::new(Kind::HaError, Severity::Critical, origin).told_apart_by("watchdog"),
        );
    }
    if let Some(service) = text.strip_prefix("unable to start service ") {
        return Some(of_service(Known::new(Kind::HaError, Severity::Error, origin), service));
    }
    if let Some(service) = text.strip_prefix("starting service ") {
        return Some(of_service(
            Known::new(Kind::other("ha.starting"), Severity::Info, origin),
            service,
        ));
    }
    let rest = text.strip_prefix("service status ")?;
    let (service, status) = rest.rsplit_once(' ')?;
    let kind = match status {
        "started" => Kind::HaStarted,
        "stopped" => Kind::GuestStopped,
        _ => return None,
    };
    Some(of_service(Known::new(kind, Severity::Info, origin), service))
}

fn node_changed(node: &str, to: &str, origin: &Origin<'_>) -> Known {
    let (kind, severity) = match to {
        "online" => (Kind::NodeOnline, Severity::Info),
        "unknown" => (Kind::NodeOffline, Severity::Error),
        "fence" => (Kind::NodeFenced, Severity::Critical),
        _ => (Kind::other("ha.node"), Severity::Notice),
    };
    let mut known = Known::new(kind, severity, origin).label("state", to);
    // The line is of the node that is spoken of, not of the one that speaks.
    known.subject.node = node.parse().ok();
    known
}

fn service_changed(service: &str, from: &str, to: &str, origin: &Origin<'_>) -> Known {
    let (kind, severity) = match (from, to) {
        (_, "error") => (Kind::HaError, Severity::Error),
        (_, "fence" | "recovery") => (Kind::HaError, Severity::Warning),
        ("fence" | "recovery" | "error", _) => (Kind::HaStarted, Severity::Info),
        _ => (Kind::other("ha.service"), Severity::Info),
    };
    of_service(Known::new(kind, severity, origin).label("state", to), service)
}

/// `vm:104` and `ct:200` are guests.
fn of_service(mut known: Known, service: &str) -> Known {
    if let Some((kind, vmid)) = service.split_once(':') {
        known.subject.guest_kind = kind.parse().ok();
        known = known.guest(vmid);
    }
    known.label("service", service)
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(before)?;
    rest.split_once(after).map(|(inner, _)| inner)
}
