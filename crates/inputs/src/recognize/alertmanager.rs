//! What Prometheus' Alertmanager posts: one event per alert.

use event_core::{Event, Key, Kind, Raw, Severity};
use serde_json::{Map, Value};

use crate::origin::{Origin, digest, distinct, node_of};

/// The most alerts of one body that are read.
const MAX_ALERTS: usize = 1000;

/// Reads the body; `None` where it is another one.
pub fn events(
    object: &Map<String, Value>,
    original: &[u8],
    origin: &Origin<'_>,
) -> Option<Vec<Event>> {
    let alerts = object.get("alerts")?.as_array()?;
    if !object.contains_key("groupKey") && !object.contains_key("receiver") {
        return None;
    }
    let alerts = alerts.iter().take(MAX_ALERTS).filter_map(Value::as_object);
    let mut events = distinct(alerts.map(|alert| event(alert, origin)).collect());
    // A body without alerts is told as any other JSON, with all that it holds.
    events.first_mut()?.raw = Some(Raw::of(original));
    Some(events)
}

fn event(alert: &Map<String, Value>, origin: &Origin<'_>) -> Event {
    let text = |name: &str| alert.get(name).and_then(Value::as_str).unwrap_or_default();
    let of = |map: &'static str, name: &str| alert.get(map).and_then(|map| map.get(name)?.as_str());
    let label = |name: &str| of("labels", name);
    let name = label("alertname").unwrap_or("alert");
    let is_over = text("status") == "resolved";
    // Alerts may name a kind of our list themselves; then their end is told as what resolves that kind is.
    let kind = label("event_kind").and_then(|kind| kind.parse().ok());
    let kind = kind.unwrap_or_else(|| Kind::other(&format!("alert.{name}")));
    let severity = if is_over { Severity::Info } else { severity(label("severity")) };
    let moment = |name: &str| text(name).parse::<jiff::Timestamp>().ok();
    let began = moment("startsAt");
    let time = if is_over { moment("endsAt") } else { began };
    let raw = Value::Object(alert.clone()).to_string();
    let print = match text("fingerprint") {
        "" => {
            digest(&[alert.get("labels").map(ToString::to_string).unwrap_or_default().as_bytes()])
        }
        print => print.to_owned(),
    };
    let began = text("startsAt");
    let [cluster, host] = origin.whose();
    let told = [&print, text("status"), began, text("endsAt")].map(str::as_bytes);
    let key = digest(&[[cluster, host].as_slice(), &told].concat());
    let mut subject = origin.subject();
    let node =
        label("node").or_else(|| label("instance").map(|at| at.split(':').next().unwrap_or(at)));
    subject.node = subject.node.or_else(|| node.and_then(node_of));
    subject.vmid = label("vmid").and_then(|vmid| vmid.parse().ok());
    let told = of("annotations", "summary").or_else(|| of("annotations", "description"));
    let what = told.map_or_else(String::new, |told| format!(": {told}"));
    let over = if is_over { " is over" } else { "" };
    let mut builder = origin
        .event(key, kind, time.unwrap_or(origin.received))
        .severity(severity)
        .subject(subject)
        .title(format!("{name}{over}{what}"))
        .message(of("annotations", "description").unwrap_or_default())
        .raw(raw.as_bytes())
        .label("status", text("status"))
        .told_apart_by(print.clone())
        // The end of an alert belongs to its beginning, however long it lasted.
        .key(Key::Own(format!("alert:{}", digest(&[cluster, print.as_bytes(), began.as_bytes()]))));
    for (name, value) in alert.get("labels").and_then(Value::as_object).into_iter().flatten() {
        if let Some(value) = value.as_str().filter(|_| name != "severity" && name != "alertname") {
            builder = builder.label(name, value);
        }
    }
    builder.build(origin.received)
}

/// The words that rules of Prometheus use; who says nothing wants to be heard.
fn severity(word: Option<&str>) -> Severity {
    match word.unwrap_or("warning").to_ascii_lowercase().as_str() {
        "critical" | "page" | "emergency" => Severity::Critical,
        "error" | "high" | "major" => Severity::Error,
        "notice" => Severity::Notice,
        "info" | "informational" | "none" | "low" => Severity::Info,
        "debug" => Severity::Debug,
        _ => Severity::Warning,
    }
}
