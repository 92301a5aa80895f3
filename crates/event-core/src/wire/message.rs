//! The form of a message that waits in an outbox.
//!
//! One JSON object with `"v": 1`, under the same rules as an event's. Times are RFC 3339, severity,
//! kind and stand their words, fields pairs of name and value in their order.
//!
//! For details, see: [`crate::Message`] for what each part means.
//!
//! *Invariant:* reading what was written gives the same message, whatever texts are in it.

use serde::{Deserialize, Serialize};

use super::{VERSION, WireError, WireEvent, WireSubject, form, parse, read};
use crate::{Message, Stand};

#[derive(Serialize, Deserialize)]
struct WireMessage<'a> {
    v: u32,
    stand: String,
    incident: String,
    severity: String,
    kind: String,
    #[serde(default, skip_serializing_if = "WireSubject::is_empty")]
    subject: WireSubject<'a>,
    title: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    text: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    fields: Vec<(String, String)>,
    began: String,
    written: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    link: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    events: Vec<WireEvent<'a>>,
    #[serde(default)]
    silent: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    route: Option<String>,
}

/// The message as JSON text, in one line.
pub fn to_text(message: &Message) -> String {
    let wire = WireMessage {
        v: VERSION,
        stand: message.stand.to_string(),
        incident: message.incident.clone(),
        severity: message.severity.to_string(),
        kind: message.kind.to_string(),
        subject: WireSubject::of(&message.subject),
        title: message.title.clone(),
        text: message.text.clone(),
        fields: message.fields.clone(),
        began: message.began.to_string(),
        written: message.written.to_string(),
        link: message.link.clone(),
        events: message.events.iter().map(form).collect(),
        silent: message.silent,
        route: message.route.clone(),
    };
    // Strings, numbers and times: it cannot fail.
    serde_json::to_string(&wire).expect("a message is JSON")
}

/// Reads a message from JSON text.
///
/// # Errors
/// It is no JSON of this shape, of a version that is not known, or a field holds what it cannot.
pub fn from_text(text: &str) -> Result<Message, WireError> {
    let wire: WireMessage<'_> = serde_json::from_str(text).map_err(WireError::Shape)?;
    if wire.v != VERSION {
        return Err(WireError::Version(wire.v));
    }
    let stand = Stand::parse(&wire.stand).ok_or_else(|| WireError::Field {
        field: "stand",
        reason: format!("`{}` is no stand of a message", wire.stand),
    })?;
    let events: Result<Vec<_>, WireError> = wire.events.into_iter().map(read).collect();
    Ok(Message {
        stand,
        incident: wire.incident,
        severity: parse("severity", &wire.severity)?,
        kind: parse("kind", &wire.kind)?,
        subject: wire.subject.read()?,
        title: wire.title,
        text: wire.text,
        fields: wire.fields,
        began: parse("began", &wire.began)?,
        written: parse("written", &wire.written)?,
        link: wire.link,
        events: events?,
        silent: wire.silent,
        route: wire.route,
    })
}
