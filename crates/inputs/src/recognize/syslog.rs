//! Lines of syslog: RFC 3164 and 5424, and what PVE and PBS write in them.
//!
//! What the catalogue (`tasks`, `access`, `backups`, `guests`, `cluster`, `ha`, `machine`, `services`) knows becomes
//! a typed event; every other line is `other.syslog.<program>`, as bad as its level says.

mod access;
mod backups;
mod cluster;
mod cluster_log;
mod guests;
mod ha;
mod line;
mod machine;
mod services;
mod tasks;

use event_core::{
    Builder, Event, Key, Kind, Severity, SourceKey, Subject, correlation::WINDOW_SECS,
};

pub use self::cluster_log::{Entry, recognize_entry};
use self::line::Line;
use crate::origin::{Origin, digest};

/// The longest line that is read, in bytes; what is behind it is cut off.
pub const MAX_LINE: usize = 64 * 1024;

/// What the catalogue says of a line.
#[derive(Clone, Debug)]
struct Known {
    kind: Kind,
    severity: Severity,
    subject: Subject,
    labels: Vec<(&'static str, String)>,
    told_apart: Vec<String>,
}

/// Reads one line, without its framing. `key` is what makes a redelivery of the line the same event: where it came from
/// and its number there.
pub fn recognize(original: &[u8], origin: &Origin<'_>, key: impl Into<SourceKey>) -> Event {
    let head = &original[..original.len().min(MAX_LINE)];
    let text = String::from_utf8_lossy(head);
    event(&line::read(&text, origin), original, origin, key)
}

fn event(
    line: &Line<'_>,
    original: &[u8],
    origin: &Origin<'_>,
    key: impl Into<SourceKey>,
) -> Event {
    let known = known(line, origin);
    let is_known = known.is_some();
    let known = known.unwrap_or_else(|| {
        let program = line.program.unwrap_or("unnamed");
        Known::new(Kind::other(&format!("syslog.{program}")), line.severity, origin)
    });
    let builder: Builder =
        origin.event(key, known.kind.clone(), line.time).severity(known.severity);
    let mut builder = with_keys(builder, &known.kind, line, origin);
    for (name, value) in [("program", line.program), ("host", line.host)] {
        if let Some(value) = value {
            builder = builder.label(name, value);
        }
    }
    for (name, value) in known.labels {
        builder = builder.label(name, value);
    }
    for part in known.told_apart {
        builder = builder.told_apart_by(part);
    }
    if !is_known {
        // Only its words tell such a line from others of the same program.
        builder = builder.told_apart_by(line.message);
    }
    let title = if line.message.is_empty() { "empty line" } else { line.message };
    if title.chars().count() > event_core::MAX_TITLE {
        builder = builder.message(title);
    }
    builder.subject(known.subject).title(title).raw(original).build(origin.received)
}

/// A login that fails is of the cluster, and one way names the node of it where another does not: the words are what they
/// have in common.
fn with_keys(builder: Builder, kind: &Kind, line: &Line<'_>, origin: &Origin<'_>) -> Builder {
    let Some(cluster) = origin.identity.cluster.as_ref().filter(|_| *kind == Kind::AuthFailed)
    else {
        return builder;
    };
    let words = match line.message.strip_prefix('<').and_then(|rest| rest.split_once("> ")) {
        Some((_, words)) => words,
        None => line.message,
    };
    let words = digest(&[cluster.as_str().as_bytes(), words.as_bytes()]);
    let window = line.time.as_second().div_euclid(WINDOW_SECS);
    // In its own stretch of time and in the next, as subjects are.
    [window, window + 1]
        .into_iter()
        .fold(builder, |builder, window| builder.key(Key::Own(format!("auth:{words}:{window}"))))
}

/// What a line says of its host: for a relay, whose settings say which host is who.
pub fn host(original: &[u8]) -> Option<String> {
    let head = &original[..original.len().min(1024)];
    line::host(&String::from_utf8_lossy(head)).map(str::to_owned)
}

/// Whether the catalogue knows a line; for settings that keep only those.
pub fn is_known(event: &Event) -> bool {
    !event.kind.as_str().starts_with("other.syslog.")
}

fn known(line: &Line<'_>, origin: &Origin<'_>) -> Option<Known> {
    if line.message.is_empty() {
        return None;
    }
    tasks::read(line, origin)
        .or_else(|| access::read(line, origin))
        .or_else(|| backups::read(line, origin))
        .or_else(|| match line.program? {
            "pmxcfs" => cluster::filesystem(line, origin),
            "corosync" => cluster::corosync(line, origin),
            "pve-ha-crm" => ha::manager(line, origin),
            "pve-ha-lrm" => ha::node(line, origin),
            "qmeventd" => guests::ended(line, origin),
            _ => machine::read(line, origin),
        })
        .or_else(|| guests::read(line, origin))
        .or_else(|| services::read(line, origin))
}

// === impl Known ===

impl Known {
    fn new(kind: Kind, severity: Severity, origin: &Origin<'_>) -> Self {
        Self {
            kind,
            severity,
            subject: origin.subject(),
            labels: Vec::new(),
            told_apart: Vec::new(),
        }
    }

    fn label(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.labels.push((name, value.into()));
        self
    }

    fn told_apart_by(mut self, part: impl Into<String>) -> Self {
        self.told_apart.push(part.into());
        self
    }

    fn guest(mut self, vmid: &str) -> Self {
        self.subject.vmid = vmid.parse().ok();
        self
    }
}

#[cfg(test)]
mod tests;
