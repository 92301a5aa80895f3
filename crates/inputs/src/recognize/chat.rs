//! Bodies that were made for Discord's and Slack's webhooks.
//!
//! A notification target that posts to a chat needs only another URL to reach us. What it posts is words for people;
//! a title of Proxmox's in it is recognized as in a mail.

use std::{collections::BTreeMap, fmt::Write as _};

use event_core::Event;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{notification::Notification, title};
use crate::origin::Origin;

/// What the footer of an embed begins with, and what a block is called, that one of our outputs sent.
pub const MARK: &str = "proxmox-mcp";

/// A chat message, as words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// One line.
    pub title: String,
    /// All of it.
    pub text: String,
    /// When it was written, where it says so.
    pub time: Option<Timestamp>,
}

/// The most embeds, blocks or fields that are read; the services themselves take fewer.
const MAX_PARTS: usize = 100;
/// How deep components may lie in each other.
const MAX_DEPTH: usize = 4;
/// Discord's number for a component that is text.
const TEXT_DISPLAY: u64 = 10;

// === impl Message ===

impl Message {
    /// The events of this message.
    pub fn events(&self, origin: &Origin<'_>, original: &[u8]) -> Vec<Event> {
        let notification = Notification {
            title: &self.title,
            message: &self.text,
            severity: None,
            time: self.time,
            fields: BTreeMap::new(),
        };
        notification.events(origin, original)
    }

    fn of(parts: &[String], time: Option<Timestamp>) -> Option<Self> {
        let text = parts.join("\n");
        // Marks of emphasis around a whole line are no part of it.
        let bare =
            |line: &str| line.trim().trim_matches(['*', '_', '#', '`', '~']).trim().to_owned();
        let mut lines = text.lines().map(bare).filter(|line| !line.is_empty());
        // A greeting or a fallback may stand above the title.
        let known = lines.clone().find(|line| title::guess(line).is_some());
        let title = known.or_else(|| lines.next())?;
        Some(Self { title, text: text.clone(), time })
    }
}

/// Reads a body for Discord; `None` where it holds no words.
pub fn discord(object: &Map<String, Value>) -> Option<Message> {
    let mut parts = Vec::new();
    let mut time = None;
    push(&mut parts, object.get("content"));
    for embed in list(object.get("embeds")) {
        push(&mut parts, embed.get("title"));
        push(&mut parts, embed.get("description"));
        for field in list(embed.get("fields")) {
            push_pair(&mut parts, field.get("name"), field.get("value"));
        }
        push(&mut parts, embed.get("footer").and_then(|footer| footer.get("text")));
        let written = embed.get("timestamp").and_then(Value::as_str);
        time = time.or_else(|| written?.parse().ok());
    }
    push_components(&mut parts, object.get("components"), MAX_DEPTH);
    Message::of(&parts, time)
}

/// Whether a body says itself that one of our outputs sent it: for Discord in the footer of an embed, for Slack in the
/// name of a block.
pub fn is_marked(object: &Map<String, Value>) -> bool {
    let footer = |embed: &Value| {
        let text = embed.get("footer").and_then(|footer| footer.get("text"));
        let rest = text.and_then(Value::as_str).and_then(|text| text.strip_prefix(MARK));
        rest.is_some_and(|rest| rest.starts_with(" · "))
    };
    let block = |block: &Value| block.get("block_id").is_some_and(|id| id == MARK);
    list(object.get("embeds")).any(footer) || list(object.get("blocks")).any(block)
}

/// Text of Discord's newer kind of messages, which have components in place of embeds.
fn push_components(parts: &mut Vec<String>, components: Option<&Value>, depth: usize) {
    if depth == 0 {
        return;
    }
    for component in list(components) {
        if component.get("type").and_then(Value::as_u64) == Some(TEXT_DISPLAY) {
            push(parts, component.get("content"));
        }
        push_components(parts, component.get("components"), depth - 1);
    }
}

/// Reads a body for Slack; `None` where it holds no words.
pub fn slack(object: &Map<String, Value>) -> Option<Message> {
    let mut parts = Vec::new();
    push(&mut parts, object.get("text"));
    push_blocks(&mut parts, object.get("blocks"));
    for attachment in list(object.get("attachments")) {
        for name in ["pretext", "title", "text"] {
            push(&mut parts, attachment.get(name));
        }
        for field in list(attachment.get("fields")) {
            push_pair(&mut parts, field.get("title"), field.get("value"));
        }
        push_blocks(&mut parts, attachment.get("blocks"));
    }
    for part in &mut parts {
        // The three characters that Slack has escaped; the ampersand last, so that nothing is unescaped twice.
        *part = part.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
    }
    Message::of(&parts, None)
}

fn push_blocks(parts: &mut Vec<String>, blocks: Option<&Value>) {
    for block in list(blocks) {
        push(parts, block.get("text").and_then(|text| text.get("text")));
        for part in list(block.get("fields")).chain(list(block.get("elements"))) {
            push(parts, part.get("text"));
        }
    }
}

fn list(value: Option<&Value>) -> impl Iterator<Item = &Value> {
    value.and_then(Value::as_array).into_iter().flatten().take(MAX_PARTS)
}

fn push(parts: &mut Vec<String>, value: Option<&Value>) {
    if let Some(text) = value.and_then(Value::as_str).filter(|text| !text.trim().is_empty()) {
        parts.push(text.to_owned());
    }
}

fn push_pair(parts: &mut Vec<String>, name: Option<&Value>, value: Option<&Value>) {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut pair = text(name);
    // Writing to a string cannot fail.
    let _ = write!(pair, ": {}", text(value));
    if pair.len() > 2 {
        parts.push(pair);
    }
}
