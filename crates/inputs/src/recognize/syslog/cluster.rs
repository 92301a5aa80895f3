//! The cluster's file system and its messaging: quorum, membership, links.

use event_core::{Kind, Severity};

use super::{Known, line::Line};
use crate::Origin;

/// `[GROUP] PRI: text` of pmxcfs.
pub(super) fn filesystem(line: &Line<'_>, origin: &Origin<'_>) -> Option<Known> {
    let (group, rest) = line.message.strip_prefix('[')?.split_once("] ")?;
    let (level, text) = rest.split_once(": ")?;
    let other = |name: &str, severity| Some(Known::new(Kind::other(name), severity, origin));
    match text {
        "node lost quorum" => return Some(quorum(Kind::QuorumLost, Severity::Critical, origin)),
        "node has quorum" => return Some(quorum(Kind::QuorumRegained, Severity::Info, origin)),
        _ => {}
    }
    if text.starts_with("members: ") {
        return other("cluster.members", Severity::Debug);
    }
    if text.starts_with("cpg_send_message retry") {
        return other("cluster.retry", Severity::Notice);
    }
    let severity = match level {
        "emerg" | "alert" | "crit" | "err" | "error" => Severity::Error,
        "warn" | "warning" => Severity::Warning,
        _ => return None,
    };
    Some(other("cluster.filesystem", severity)?.label("group", group).told_apart_by(group))
}

/// `[SUBSYS] text` of corosync.
pub(super) fn corosync(line: &Line<'_>, origin: &Origin<'_>) -> Option<Known> {
    let (part, text) = line.message.strip_prefix('[')?.split_once(']')?;
    let text = text.trim();
    let other = |name: &str, severity| Some(Known::new(Kind::other(name), severity, origin));
    match part.trim() {
        "QUORUM" if text.contains("within the non-primary component") => {
            Some(quorum(Kind::QuorumLost, Severity::Critical, origin))
        }
        "QUORUM" if text.contains("within the primary component") => {
            Some(quorum(Kind::QuorumRegained, Severity::Info, origin))
        }
        "QUORUM" if text.starts_with("Members[") => other("cluster.members", Severity::Debug),
        "TOTEM" if text.starts_with("Token has not been received") => {
            other("cluster.token_late", Severity::Warning)
        }
        "TOTEM" if text.starts_with("A processor failed") => {
            other("cluster.token_lost", Severity::Warning)
        }
        "TOTEM" if text.starts_with("Retransmit List") => {
            other("cluster.retransmit", Severity::Notice)
        }
        "TOTEM" if text.starts_with("A new membership") => {
            // Numbers of corosync, which are no names.
            let left = text.split_once(" left: ").map(|(_, left)| left.trim().to_owned());
            let left = left.filter(|left| !left.is_empty());
            let severity = if left.is_some() { Severity::Warning } else { Severity::Notice };
            let known = other("cluster.membership", severity)?;
            Some(match left {
                Some(left) => known.label("left", left),
                None => known,
            })
        }
        "KNET" => link(text, origin),
        _ => None,
    }
}

/// `link: host: 2 link: 0 is down`
fn link(text: &str, origin: &Origin<'_>) -> Option<Known> {
    let rest = text.strip_prefix("link: host: ")?;
    let (host, rest) = rest.split_once(" link: ")?;
    let (link, state) = rest.split_once(" is ")?;
    let (kind, severity) = match state.split([' ', '.']).next()? {
        "down" => (Kind::LinkDown, Severity::Warning),
        "up" => (Kind::LinkUp, Severity::Info),
        _ => return None,
    };
    let known = Known::new(kind, severity, origin).label("peer", host).label("link", link);
    Some(known.told_apart_by(format!("{host}/{link}")))
}

/// Quorum is the cluster's: every node that loses it tells of the same thing.
fn quorum(kind: Kind, severity: Severity, origin: &Origin<'_>) -> Known {
    let mut known = Known::new(kind, severity, origin);
    if known.subject.cluster.is_some()
        && let Some(node) = known.subject.node.take()
    {
        known = known.label("node", node.as_str());
    }
    known
}
