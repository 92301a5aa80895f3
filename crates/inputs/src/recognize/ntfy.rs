//! What an ntfy server passes on: one JSON object per line.

use std::collections::BTreeMap;

use event_core::Event;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::notification::Notification;
use crate::origin::Origin;

/// The tag of a message that one of our outputs sent, alone or with a dash and the manager's name behind it.
pub const MARK: &str = "proxmox-mcp";

/// One line of the stream.
#[derive(Clone, Debug, PartialEq)]
pub enum Line {
    /// The stream is open: what comes from now on is news. With the server's time.
    Open(Option<Timestamp>),
    /// Somebody posted something.
    Message(Box<Posted>),
    /// It lives, or something that tells nothing.
    Other,
}

/// A message of a server.
#[derive(Clone, Debug, PartialEq)]
pub struct Posted {
    /// The server's name for it.
    pub id: String,
    /// Where it was posted.
    pub topic: String,
    /// When, by the server's clock.
    pub time: Option<Timestamp>,
    /// Whether it says itself that one of our outputs sent it.
    pub is_marked: bool,
    object: Map<String, Value>,
}

/// Reads a line; `None` where it is no line of ntfy's.
pub fn line(text: &[u8]) -> Option<Line> {
    let Ok(Value::Object(object)) = serde_json::from_slice(text) else { return None };
    let word = |name: &str| object.get(name).and_then(Value::as_str);
    let seconds = object.get("time").and_then(Value::as_i64);
    let time = seconds.and_then(|seconds| Timestamp::from_second(seconds).ok());
    match word("event")? {
        "open" => Some(Line::Open(time)),
        "message" => {
            let tags = object.get("tags").and_then(Value::as_array);
            let is_mark = |tag: &str| {
                tag.strip_prefix(MARK).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
            };
            let is_marked =
                tags.is_some_and(|tags| tags.iter().filter_map(Value::as_str).any(is_mark));
            let (id, topic) = (word("id")?.to_owned(), word("topic")?.to_owned());
            // It becomes a part of the next address.
            let is_plain =
                !id.is_empty() && id.len() <= 64 && id.bytes().all(|c| c.is_ascii_alphanumeric());
            is_plain.then(|| Line::Message(Box::new(Posted { id, topic, time, is_marked, object })))
        }
        _ => Some(Line::Other),
    }
}

// === impl Posted ===

impl Posted {
    /// The events of this message: never none, and the first has the original.
    pub fn events(&self, origin: &Origin<'_>) -> Vec<Event> {
        let original = serde_json::to_string(&self.object).expect("JSON can be written");
        let word = |name: &str| self.object.get(name).and_then(Value::as_str);
        let message = word("message").unwrap_or_default();
        let first_line = message.lines().map(str::trim).find(|line| !line.is_empty());
        let title = word("title").filter(|title| !title.trim().is_empty()).or(first_line);
        let tags: Vec<&str> = self
            .object
            .get("tags")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let tags = tags.join(",");
        let mut fields = BTreeMap::from([
            // The name makes two that say the same two.
            ("message-id", self.id.as_str()),
            ("topic", self.topic.as_str()),
        ]);
        if !tags.is_empty() {
            fields.insert("tags", &tags);
        }
        let attachment = self.object.get("attachment").and_then(|it| it.get("url"));
        // A message of more than 4096 bytes is one.
        if let Some(url) = attachment.and_then(Value::as_str) {
            fields.insert("attachment", url);
        }
        let notification = Notification {
            title: title.unwrap_or("message without text"),
            message,
            severity: self.object.get("priority").and_then(Value::as_i64).and_then(severity),
            time: self.time,
            fields,
        };
        notification.events(origin, original.as_bytes())
    }
}

/// 3 is what a message has that says nothing of it; the server leaves that out.
fn severity(priority: i64) -> Option<&'static str> {
    match priority {
        ..=2 => Some("info"),
        3 => None,
        4 => Some("warning"),
        5.. => Some("error"),
    }
}
