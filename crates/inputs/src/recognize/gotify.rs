//! What PVE and PBS send to a Gotify server, and what the server passes on: title, fenced message, and a priority for the
//! severity.

use std::collections::BTreeMap;

use event_core::Event;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{body, notification::Notification};
use crate::origin::Origin;

/// What a key of a message's extras begins with that one of our outputs sent.
pub const MARK: &str = "proxmox-mcp::";

/// A message of a server: what was posted, with the server's numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Posted {
    /// The server counts its messages.
    pub id: u64,
    /// The application that posted it.
    pub application: u64,
    /// When, by the server's clock.
    pub date: Option<Timestamp>,
    /// Whether it says itself that one of our outputs sent it.
    pub is_marked: bool,
    object: Map<String, Value>,
}

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

/// Reads a message as a server passes it on, in its stream and its lists; `None` where it is something else.
pub fn posted(value: Value) -> Option<Posted> {
    let Value::Object(object) = value else { return None };
    let number = |name| object.get(name).and_then(Value::as_u64);
    let is_marked = is_marked(&object);
    object.get("message")?.as_str()?;
    let date = object.get("date").and_then(Value::as_str).and_then(|date| date.parse().ok());
    Some(Posted { id: number("id")?, application: number("appid")?, date, is_marked, object })
}

/// Whether a message says itself that one of our outputs sent it.
pub fn is_marked(object: &Map<String, Value>) -> bool {
    let extras = object.get("extras").and_then(Value::as_object);
    extras.is_some_and(|it| it.keys().any(|key| key.starts_with(MARK)))
}

// === impl Posted ===

impl Posted {
    /// The events of this message: never none, and the first has the original.
    pub fn events(&self, origin: &Origin<'_>) -> Vec<Event> {
        let original = serde_json::to_string(&self.object).expect("JSON can be written");
        let (id, application) = (self.id.to_string(), self.application.to_string());
        let mut notification = read(&self.object).expect("it has a message");
        // The number makes two that say the same two.
        notification.fields.insert("message-id", &id);
        notification.fields.insert("application", &application);
        notification.time = self.date;
        if notification.title.trim().is_empty() {
            notification.title = first_line(notification.message);
        }
        notification.events(origin, original.as_bytes())
    }
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
