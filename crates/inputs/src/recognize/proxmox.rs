//! The body that we ask PVE and PBS to send: title, message, severity, timestamp and fields.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::notification::Notification;

/// The template of the body, for the target that `proxmox-mcp` sets up and for the documentation.
pub const TEMPLATE: &str = r#"{"title": {{ json title }}, "message": {{ json message }}, "severity": {{ json severity }}, "timestamp": {{ json timestamp }}, "fields": {{ json fields }}}"#;

/// Reads the body; `None` where it is another one.
pub fn read(object: &Map<String, Value>) -> Option<Notification<'_>> {
    let text = |name| object.get(name).and_then(Value::as_str);
    let fields = match object.get("fields") {
        Some(Value::Object(fields)) => fields
            .iter()
            .filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)))
            .collect(),
        Some(Value::Null) | None => BTreeMap::default(),
        Some(_) => return None,
    };
    Some(Notification {
        title: text("title")?,
        message: text("message")?,
        severity: Some(text("severity")?),
        time: object.get("timestamp").and_then(time),
        fields,
    })
}

/// Seconds since the epoch, as a number or, where somebody put quotes around it, as text.
fn time(value: &Value) -> Option<Timestamp> {
    let seconds = value.as_i64().or_else(|| value.as_str()?.parse().ok())?;
    Timestamp::from_second(seconds).ok()
}
