//! Any body of a webhook: told apart by its shape, unless the settings say what comes.

use event_core::Event;
use serde_json::{Map, Value};

use super::{alertmanager, chat, gotify, json, proxmox, text};
use crate::origin::Origin;

/// What a webhook's bodies are.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum Format {
    /// Whatever their shape says.
    #[default]
    Auto,
    /// The body that we ask PVE and PBS to send.
    Proxmox,
    /// What a Gotify server takes.
    Gotify,
    /// What Discord's webhooks take.
    Discord,
    /// What Slack's webhooks take.
    Slack,
    /// What Alertmanager sends.
    Alertmanager,
    /// Any other JSON.
    Json(Box<json::Mapping>),
    /// No JSON.
    Text,
}

/// Reads a body. What does not have the shape that the settings say is read by the shape that it has, and what has
/// none is text: something has happened in any case, and is told.
pub fn recognize(original: &[u8], format: &Format, origin: &Origin<'_>) -> Vec<Event> {
    let value = match format {
        Format::Text => None,
        _ => serde_json::from_slice::<Value>(original).ok(),
    };
    let Some(value) = value else { return text::events(original, origin) };
    if let Format::Json(mapping) = format {
        return json::events(&value, mapping, original, origin);
    }
    let read = value.as_object().and_then(|object| match format {
        Format::Proxmox => proxmox::read(object).map(|n| n.events(origin, original)),
        Format::Gotify => gotify::read(object).map(|n| n.events(origin, original)),
        Format::Discord => chat::discord(object).map(|message| message.events(origin, original)),
        Format::Slack => chat::slack(object).map(|message| message.events(origin, original)),
        Format::Alertmanager => alertmanager::events(object, original, origin),
        _ => None,
    });
    let read = read.or_else(|| by_shape(value.as_object()?, original, origin));
    read.unwrap_or_else(|| json::events(&value, &json::Mapping::default(), original, origin))
}

/// The order matters: a body for Gotify has title and message as ours has, but no severity.
fn by_shape(
    object: &Map<String, Value>,
    original: &[u8],
    origin: &Origin<'_>,
) -> Option<Vec<Event>> {
    if let Some(notification) = proxmox::read(object) {
        return Some(notification.events(origin, original));
    }
    if let Some(events) = alertmanager::events(object, original, origin) {
        return Some(events);
    }
    if object.contains_key("priority") || object.contains_key("extras") {
        return gotify::read(object).map(|notification| notification.events(origin, original));
    }
    if object.contains_key("embeds") || object.contains_key("content") {
        return chat::discord(object).map(|message| message.events(origin, original));
    }
    let is_slack = ["blocks", "attachments", "text"].iter().any(|key| object.contains_key(*key));
    if is_slack && !object.contains_key("title") {
        return chat::slack(object).map(|message| message.events(origin, original));
    }
    None
}
