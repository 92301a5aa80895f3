//! Who logged in, who could not, and who changed users or the membership of the cluster.

use event_core::{Kind, Severity};

use super::{Known, line::Line};
use crate::Origin;

pub(super) fn read(line: &Line<'_>, origin: &Origin<'_>) -> Option<Known> {
    let message = line.message;
    // Lines of the cluster's log begin with who did it.
    let (actor, text) = match message.strip_prefix('<').and_then(|rest| rest.split_once("> ")) {
        Some((actor, text)) => (Some(actor), text),
        None => (None, message),
    };
    if let Some(user) = quoted(text, "successful auth for user '") {
        let mut known = Known::new(Kind::AuthSucceeded, Severity::Info, origin);
        known.subject.user = Some(user.to_owned());
        return Some(known);
    }
    if let Some(known) = failure(text, origin) {
        return Some(known);
    }
    if let Some(user) = quoted(text, "changed password for user '") {
        let mut known = Known::new(Kind::UserChanged, Severity::Notice, origin);
        known.subject.user = Some(user.to_owned());
        return Some(with_actor(known, actor).told_apart_by("password"));
    }
    for (before, after, name) in [
        ("adding node ", " to cluster", "cluster.member_added"),
        ("deleting node ", " from cluster", "cluster.member_removed"),
    ] {
        if let Some(node) = text.strip_prefix(before).and_then(|rest| rest.strip_suffix(after)) {
            let mut known = Known::new(Kind::other(name), Severity::Notice, origin);
            known.subject.node = node.parse().ok();
            return Some(with_actor(known, actor));
        }
    }
    None
}

fn with_actor(known: Known, actor: Option<&str>) -> Known {
    match actor {
        Some(actor) => known.label("actor", actor),
        None => known,
    }
}

/// `authentication failure; rhost=… user=… msg=…`, in the forms of PVE, of PBS (with a port) and of OpenID (no user).
fn failure(text: &str, origin: &Origin<'_>) -> Option<Known> {
    let (way, rest) = text.split_once("authentication failure; ")?;
    if !matches!(way, "" | "openid ") {
        return None;
    }
    let field = |name: &str| {
        let (_, rest) = rest.split_once(name)?;
        rest.split(' ').next().filter(|value| !value.is_empty())
    };
    let mut known = Known::new(Kind::AuthFailed, Severity::Warning, origin);
    // A message may hold anything, a second `user=` among it; the fields stand before it.
    let head = rest.split("msg=").next().unwrap_or_default();
    if head.contains("user=") {
        known.subject.user = field("user=").map(str::to_owned);
    }
    let address = field("rhost=").map(address).unwrap_or_default();
    Some(known.label("rhost", address).told_apart_by(address))
}

/// The address alone: `::ffff:10.0.0.9`, `[10.0.0.9]:51234` and `[fd00::9]:51234` have more around it.
fn address(rhost: &str) -> &str {
    let inner = rhost.strip_prefix('[').and_then(|rest| rest.split(']').next()).unwrap_or(rhost);
    let inner = inner.strip_prefix("::ffff:").unwrap_or(inner);
    match inner.split_once(':') {
        // One colon parts a port from an address of the old kind.
        Some((host, port)) if !port.contains(':') => host,
        _ => inner,
    }
}

/// What stands between this beginning and the quote at the end.
fn quoted<'a>(text: &'a str, before: &str) -> Option<&'a str> {
    text.strip_prefix(before)?.split('\'').next().filter(|name| !name.is_empty())
}
