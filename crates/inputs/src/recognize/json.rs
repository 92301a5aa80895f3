//! Any other JSON, by a mapping: where in the body each part of the event stands.

use std::{collections::BTreeMap, str::FromStr};

use event_core::{Event, Key, Kind, Severity};
use jiff::Timestamp;
use serde_json::Value;

use crate::origin::{Origin, digest, distinct, node_of};

/// Where each part of an event stands: places that are tried in their order. The first that holds something counts.
#[derive(Clone, Debug)]
pub struct Mapping {
    /// The list whose items are the events; without one the body is a single event.
    pub each: Option<Pointer>,
    /// One line.
    pub title: Vec<Pointer>,
    /// The text.
    pub message: Vec<Pointer>,
    /// A word or a number for how bad it is, read by `severities` first.
    pub severity: Vec<Pointer>,
    /// Words of `severity` that mean something else than they seem to.
    pub severities: BTreeMap<String, Severity>,
    /// When it happened: RFC 3339, or seconds or milliseconds since the epoch.
    pub time: Vec<Pointer>,
    /// A kind of our list; another text becomes `other.<text>`.
    pub kind: Vec<Pointer>,
    /// What is the same in a redelivery, and in nothing else.
    pub key: Vec<Pointer>,
    /// What the reports of one fact have in common, such as the number of an alarm.
    pub correlation: Vec<Pointer>,
    /// The node.
    pub node: Vec<Pointer>,
    /// The guest's id.
    pub vmid: Vec<Pointer>,
    /// The storage.
    pub storage: Vec<Pointer>,
    /// Labels by their names.
    pub labels: BTreeMap<String, Pointer>,
}

/// A place in a JSON document, as RFC 6901 writes it: `/alarm/name`; empty for the whole document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pointer(String);

/// The text is no pointer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidPointer(String);

/// The most items of a list that become events.
const MAX_ITEMS: usize = 1000;

// === impl Mapping ===

impl Default for Mapping {
    /// The names that most programs use.
    fn default() -> Self {
        let places =
            |names: &[&str]| names.iter().map(|name| Pointer(format!("/{name}"))).collect();
        Self {
            each: None,
            title: places(&["title", "subject", "summary", "name", "alertname"]),
            message: places(&["message", "body", "text", "description", "msg"]),
            severity: places(&["severity", "level", "priority"]),
            severities: BTreeMap::new(),
            time: places(&["timestamp", "time", "@timestamp", "date"]),
            kind: places(&["kind"]),
            key: places(&["id", "uuid"]),
            correlation: Vec::new(),
            node: places(&["node", "hostname", "host"]),
            vmid: places(&["vmid"]),
            storage: places(&["storage"]),
            labels: BTreeMap::new(),
        }
    }
}

// === impl Pointer ===

impl FromStr for Pointer {
    type Err = InvalidPointer;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // The only escapes are those of the tilde and the slash.
        let escapes = text.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
        if (text.is_empty() || text.starts_with('/')) && escapes {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidPointer(text.chars().take(80).collect()))
        }
    }
}

impl Pointer {
    /// What people would read at that place.
    pub(crate) fn words(&self, document: &Value) -> Option<String> {
        words(document.pointer(&self.0)?)
    }
}

impl std::fmt::Display for InvalidPointer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}` is no place in a JSON document: write it as `/alarm/name`", self.0)
    }
}

impl std::error::Error for InvalidPointer {}

/// The events of a document: never none, and the first has the original.
pub fn events(
    value: &Value,
    mapping: &Mapping,
    original: &[u8],
    origin: &Origin<'_>,
) -> Vec<Event> {
    let items = mapping.each.as_ref().and_then(|each| value.pointer(&each.0)?.as_array());
    let items: Vec<&Value> = match items {
        Some(items) if !items.is_empty() => items.iter().take(MAX_ITEMS).collect(),
        _ => vec![value],
    };
    let single = items.len() == 1;
    let one = |(at, item): (usize, &&Value)| {
        let own = if single { None } else { Some((*item).to_string()) };
        let bytes = own.as_deref().map_or(original, str::as_bytes);
        let raw = if at == 0 { original } else { bytes };
        event(item, mapping, bytes, origin).raw(raw).build(origin.received)
    };
    distinct(items.iter().enumerate().map(one).collect())
}

fn event(
    item: &Value,
    mapping: &Mapping,
    bytes: &[u8],
    origin: &Origin<'_>,
) -> event_core::Builder {
    let find = |places: &[Pointer]| places.iter().find_map(|place| words(item.pointer(&place.0)?));
    let time = mapping.time.iter().find_map(|place| moment(item.pointer(&place.0)?));
    let word = find(&mapping.severity);
    let severity = word.map_or(Severity::Warning, |word| {
        mapping.severities.get(&word).copied().unwrap_or_else(|| severity(&word))
    });
    let kind = find(&mapping.kind).map_or_else(
        || Kind::other("json"),
        |kind| kind.parse().unwrap_or_else(|_| Kind::other(kind.trim_start_matches("other."))),
    );
    // Without a key or a time, the same words again are another report; and always what another cluster says.
    let [cluster, host] = origin.whose();
    let key = match (find(&mapping.key), time) {
        (Some(key), _) => digest(&[cluster, host, b"key", key.as_bytes()]),
        (None, Some(_)) => digest(&[cluster, host, bytes]),
        (None, None) => {
            let heard = origin.received.as_nanosecond().to_string();
            digest(&[cluster, host, bytes, heard.as_bytes()])
        }
    };
    let mut subject = origin.subject();
    subject.node = subject.node.or_else(|| find(&mapping.node).and_then(|host| node_of(&host)));
    subject.vmid = find(&mapping.vmid).and_then(|vmid| vmid.parse().ok());
    subject.storage = find(&mapping.storage).and_then(|name| name.parse().ok());
    let message = find(&mapping.message).unwrap_or_else(|| item.to_string());
    let title = find(&mapping.title).unwrap_or_else(|| {
        message.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default().to_owned()
    });
    let mut builder = origin
        .event(key, kind, time.unwrap_or(origin.received))
        .severity(severity)
        .subject(subject)
        .title(&title)
        .message(message)
        .told_apart_by(title);
    if let Some(correlation) = find(&mapping.correlation) {
        let source = origin.source.as_str().as_bytes();
        let key = digest(&[source, origin.cluster(), correlation.as_bytes()]);
        builder = builder.key(Key::Own(format!("json:{key}")));
    }
    for (name, place) in &mapping.labels {
        if let Some(value) = item.pointer(&place.0).and_then(words) {
            builder = builder.label(name, value);
        }
    }
    builder
}

/// What people would read there; lists and objects as JSON.
fn words(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) if text.trim().is_empty() => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

fn moment(value: &Value) -> Option<Timestamp> {
    match value {
        Value::String(text) => {
            let numeric = || Some(Value::Number(text.parse::<i64>().ok()?.into()));
            text.parse().ok().or_else(|| moment(&numeric()?))
        }
        Value::Number(number) => {
            let number = number.as_i64().or_else(|| Some(number.as_f64()? as i64))?;
            // Seconds have ten digits until the year 2286, milliseconds have thirteen.
            if number.unsigned_abs() < 100_000_000_000 {
                Timestamp::from_second(number).ok()
            } else {
                Timestamp::from_millisecond(number).ok()
            }
        }
        _ => None,
    }
}

/// Words of many programs, and the numbers of syslog; what is none of them is worth a look.
fn severity(word: &str) -> Severity {
    if let Ok(level) = word.parse::<u8>() {
        return Severity::from_syslog(level);
    }
    match word.trim().to_ascii_lowercase().as_str() {
        "debug" | "trace" => Severity::Debug,
        "info" | "information" | "informational" | "ok" | "success" | "resolved" => Severity::Info,
        "notice" | "low" => Severity::Notice,
        "error" | "err" | "high" | "major" | "failed" => Severity::Error,
        "critical" | "crit" | "fatal" | "emergency" | "emerg" | "alert" | "disaster" => {
            Severity::Critical
        }
        _ => Severity::Warning,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_are_checked() {
        for good in ["", "/a", "/a/0/b~1c", "/~0"] {
            assert!(good.parse::<Pointer>().is_ok(), "{good}");
        }
        for bad in ["a", "/a~", "/a~2", "a/b"] {
            assert!(bad.parse::<Pointer>().unwrap_err().to_string().contains(bad), "{bad}");
        }
    }

    #[test]
    fn moments_are_read_in_every_common_form() {
        let read = |value: Value| moment(&value).map(|time| time.to_string());
        let noon = Some("2026-11-22T12:00:00Z".to_owned());
        for value in [
            serde_json::json!("2026-11-22T12:00:00Z"),
            serde_json::json!("2026-11-22T13:00:00+01:00"),
            serde_json::json!(1_795_348_800),
            serde_json::json!(1_795_348_800_000_i64),
            serde_json::json!("1795348800"),
            serde_json::json!(1_795_348_800.0),
        ] {
            assert_eq!(read(value.clone()), noon, "{value}");
        }
        assert_eq!(read(serde_json::json!("yesterday")), None);
        assert_eq!(read(serde_json::json!(i64::MAX)), None);
    }
}
