//! Mail, as a mailbox or an SMTP server takes it.
//!
//! Whose mail it is is known by the address or mailbox that it came to, which is the caller's part. What it is is told
//! by its author, then by its subject; Proxmox's mails have no header of their own. What is not from Proxmox's notifier is
//! what a node's own programs (smartd, ZED, cron, mdadm) wrote to root.

use std::collections::BTreeMap;

use event_core::Event;
use jiff::Timestamp;
use mail_parser::{Message, MessageParser};

use super::{notification::Notification, title};
use crate::origin::Origin;

/// The events of a message: never none, and the first has the original. What cannot be read as mail is a text.
pub fn recognize(original: &[u8], origin: &Origin<'_>) -> Vec<Event> {
    let Some(message) = MessageParser::default().parse(original) else {
        return super::text::events(original, origin);
    };
    let subject = message.subject().unwrap_or_default().trim();
    let text = message.body_text(0).unwrap_or_default();
    let from = message.from().and_then(|from| from.first());
    let author = from.and_then(|from| from.name()).unwrap_or_default();
    let address = from.and_then(|from| from.address()).unwrap_or_default();
    let mut fields = BTreeMap::new();
    if !address.is_empty() {
        fields.insert("from", address);
    }
    let guess = title::guess(subject);
    let is_notifier = is_notifier(author);
    if guess.is_none() && !is_notifier {
        fields.insert("type", "system-mail");
        // A mail of root names its host.
        if let Some((_, host)) = address.split_once('@').filter(|_| is_automatic(&message)) {
            fields.insert("hostname", host);
        }
    }
    if let Some(node) = author.strip_prefix("Proxmox Backup Server - ") {
        fields.insert("hostname", node);
    }
    let first_line = text.lines().map(str::trim).find(|line| !line.is_empty());
    let title =
        if subject.is_empty() { first_line.unwrap_or("mail without subject") } else { subject };
    let notification = Notification {
        title,
        message: &text,
        severity: None,
        time: message.date().and_then(|date| Timestamp::from_second(date.to_timestamp()).ok()),
        fields,
    };
    notification.events(origin, original)
}

/// The authors that Proxmox's notifier gives itself; the last is that of backup jobs with an address of their own.
fn is_notifier(author: &str) -> bool {
    author == "Proxmox VE"
        || author.starts_with("Proxmox Backup Server")
        || author == "vzdump backup tool"
}

/// Whether a program sent it, as far as its headers say. Proxmox's own header ends in a stray semicolon.
fn is_automatic(message: &Message<'_>) -> bool {
    let header = message.header("Auto-Submitted").and_then(|value| value.as_text());
    header.is_some_and(|value| value.trim_start().starts_with("auto-"))
        || message
            .from()
            .and_then(|from| from.first()?.address())
            .is_some_and(|a| a.starts_with("root@"))
}
