//! What PVE and PBS send to a Gotify server: title, fenced message, and a priority for the severity.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{body, notification::Notification};

/// Reads the body; `None` where it is another one.
pub fn read(object: &Map<String, Value>) -> Option<Notification<'_>> {
    let message = object.get("message")?.as_str()?;
    Some(Notification {
        title: object.get("title").and_then(Value::as_str).unwrap_or_else(|| first_line(message)),
        message: body::unfenced(message),
        severity: object.get("priority").and_then(Value::as_i64).and_then(severity),
        time: None,
        fields: BTreeMap::new(),
    })
}

/// Proxmox sends 1 for info, 5 for warning and 9 for error; 3 is notice as well as unknown, so it says nothing. Other
/// programs use the numbers between.
fn severity(priority: i64) -> Option<&'static str> {
    match priority {
        ..=2 => Some("info"),
        3 | 4 => None,
        5..=7 => Some("warning"),
        8.. => Some("error"),
    }
}

fn first_line(text: &str) -> &str {
    text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default()
}
