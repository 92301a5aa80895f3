//! The mail itself.

use std::time::SystemTime;

use event_core::{ComponentId, Delivery, DeliveryKey, Severity};
use lettre::{
    Message,
    message::{
        MultiPart, MultiPartKind, SinglePart,
        header::{HeaderName, HeaderValue},
    },
};

use super::config::Addresses;
use crate::{
    Kit, MARKER_HEADER, Wording,
    escape::Escape,
    split::{fit, utf16},
    template::{PLAIN_BODY, Slot, TITLE, Templates, context, urgency},
};

/// The longest subject; programs show no more, and the text has all of it.
const MAX_SUBJECT: usize = 300;

const HTML_BODY: &str = r#"<!doctype html>
<html><body style="font-family: sans-serif">
<p style="font-size: 1.2em"><b>{{ mark }} {{ lead }}{{ title }}</b></p>
{% if text %}<p style="white-space: pre-wrap">{{ text }}</p>
{% endif %}<table cellpadding="4">
{% for fact in facts %}<tr><td style="color: #666">{{ fact.name }}</td><td>{{ fact.value }}</td></tr>
{% endfor %}</table>
{% if link %}<p><a href="{{ link }}">Open</a></p>
{% endif %}<p style="color: #666; font-size: 0.8em">{{ severity }} · {{ instance }} · {{ incident }}</p>
</body></html>"#;

pub(super) fn slots(wording: &Wording) -> Vec<Slot<'_>> {
    let slot = |name, own, default, escape| Slot { name, own, default, escape };
    let mut slots = vec![
        slot("title", wording.title.as_ref(), TITLE, Escape::None),
        slot("body", wording.body.as_ref(), PLAIN_BODY, Escape::None),
    ];
    if wording.html.is_some() || wording.body.is_none() {
        slots.push(slot("html", wording.html.as_ref(), HTML_BODY, Escape::Html));
    }
    slots
}

/// The name of the mail: the same for every attempt of a delivery.
pub(super) fn message_id(delivery: &Delivery, addresses: &Addresses) -> String {
    format!("<{}@{}>", delivery.key.as_str(), addresses.from.email.domain())
}

/// The mail as it is sent.
pub(super) fn write(
    delivery: &Delivery,
    templates: &Templates,
    kit: &Kit,
    addresses: &Addresses,
    output: &ComponentId,
) -> Result<Vec<u8>, lettre::error::Error> {
    let message = &delivery.message;
    let context = context(message, &kit.instance);
    let title = templates.render("title", &context);
    let (subject, whole) = fit(&title, MAX_SUBJECT, utf16);
    let text = templates.render("body", &context);
    let text = whole.map_or_else(|| text.clone(), |whole| format!("{whole}\n\n{text}"));

    // All mails of an incident answer one that was never sent, which is enough to keep them together.
    let domain = addresses.from.email.domain();
    let thread = DeliveryKey::of(["thread", output.as_str(), &message.incident]);
    let thread = format!("<{}@{domain}>", thread.as_str());
    let prior = delivery.prior.as_ref().and_then(|receipt| receipt.ids.first());
    let references = prior.map_or_else(|| thread.clone(), |prior| format!("{thread} {prior}"));

    let mut building = Message::builder()
        .message_id(Some(message_id(delivery, addresses)))
        .date(SystemTime::from(kit.clock.now()))
        .from(addresses.from.clone())
        .subject(subject)
        .in_reply_to(prior.unwrap_or(&thread).clone())
        .references(references)
        .raw_header(header("Auto-Submitted", "auto-generated"))
        .raw_header(header("X-Auto-Response-Suppress", "All"))
        .raw_header(header(MARKER_HEADER, &kit.instance));
    if urgency(message) == Severity::Critical && !message.silent {
        building = building.raw_header(header("Importance", "high"));
    }
    building = match Addresses::route(message.route.as_deref()) {
        Some(mailbox) => building.to(mailbox),
        None => addresses.to.iter().cloned().fold(building, lettre::message::MessageBuilder::to),
    };
    let plain = SinglePart::plain(text);
    if !templates.has("html") {
        return Ok(building.singlepart(plain)?.formatted());
    }
    let html = templates.render("html", &context);
    // Made from the key as well, so that a second attempt is the same to the last byte.
    let boundary = format!("=_{}", delivery.key.as_str());
    let parts = MultiPart::builder()
        .kind(MultiPartKind::Alternative)
        .boundary(boundary)
        .singlepart(plain)
        .singlepart(SinglePart::html(html));
    Ok(building.multipart(parts)?.formatted())
}

fn header(name: &str, value: &str) -> HeaderValue {
    let name = HeaderName::new_from_ascii(name.to_owned()).expect("a name that is written above");
    HeaderValue::new(name, value.to_owned())
}
