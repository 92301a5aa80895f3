//! What is no JSON: the first line is the title.

use event_core::Event;

use super::chat::Message;
use crate::origin::Origin;

/// The events of a text: never none, and the first has the original. Bytes that are no UTF-8 are shown as such.
pub fn events(original: &[u8], origin: &Origin<'_>) -> Vec<Event> {
    let text = String::from_utf8_lossy(original);
    let title = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("empty report");
    let message = Message { title: title.to_owned(), text: text.trim().to_owned(), time: None };
    message.events(origin, original)
}
