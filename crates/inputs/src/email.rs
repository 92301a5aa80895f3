//! The email inputs: a mailbox that is read ([`imap`]) and a server that nodes send to ([`smtp`]).
//!
//! What a mail says is read by [`recognize::mail`](crate::recognize::mail); here is whose it is, and when its sender is told
//! that it is kept.

pub mod imap;
pub mod smtp;

use event_core::Event;
use mail_parser::MessageParser;

use crate::{Echo, MARKER, Origin, recognize::mail};

/// The kind of input that their events name.
pub const KIND: &str = "email";

/// The events of a mail; none if one of our own outputs sent it.
fn events(original: &[u8], origin: &Origin<'_>, echo: &Echo) -> Vec<Event> {
    let headers = MessageParser::new().parse_headers(original);
    let is_marked = headers.as_ref().is_some_and(|it| it.header(MARKER).is_some());
    let id = headers.as_ref().and_then(|it| it.message_id());
    let mark = id.map(|id| format!("message-id:{id}"));
    if echo.is_ours(is_marked, mark.as_deref()) {
        return Vec::new();
    }
    mail::recognize(original, origin)
}
