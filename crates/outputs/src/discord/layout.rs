//! From a message to what Discord takes: messages of embeds, within all of its limits.
//!
//! Lengths are counted in UTF-16 units, which is never less than Discord counts. Source of the limits: the page on
//! messages of Discord's API documentation.

use event_core::{Message, Severity, Stand};
use serde_json::{Value, json};

use crate::{
    MARK,
    escape::Escape,
    split::{fit, length, split, utf16},
    template::facts,
};

/// The most embeds of a message.
const MAX_EMBEDS: usize = 10;
/// The most characters of all embeds of a message together.
const MAX_TOTAL: usize = 6000;
const MAX_TITLE: usize = 256;
const MAX_DESCRIPTION: usize = 4096;
const MAX_FIELDS: usize = 25;
const MAX_NAME: usize = 256;
const MAX_VALUE: usize = 1024;
const MAX_URL: usize = 2048;
/// A field that is no longer than this stands beside others.
const SHORT: usize = 40;
/// What the footer may take of a message's total.
const FOOTER: usize = 160;

/// One embed before it is JSON.
#[derive(Default)]
struct Embed {
    title: Option<String>,
    description: Option<String>,
    fields: Vec<(String, String)>,
}

/// The messages of one delivery while they are filled.
struct Filling {
    messages: Vec<Vec<Embed>>,
    /// How much of the last one's total is used.
    used: usize,
}

/// The bodies of the messages, in order, for creating and for editing alike. `title` and `body` are escaped.
pub(super) fn messages(message: &Message, instance: &str, title: &str, body: &str) -> Vec<Value> {
    let (title, whole) = fit(title, MAX_TITLE, utf16);
    let body = whole.map_or_else(|| body.to_owned(), |whole| format!("{whole}\n\n{body}"));
    let mut facts = facts(message);
    let link = message.link.as_deref().filter(|link| is_link(link));
    if let (None, Some(text)) = (link, &message.link) {
        facts.push(("link".to_owned(), text.clone()));
    }
    let mut filling = Filling { messages: vec![Vec::new()], used: 0 };
    let title = (!title.is_empty()).then_some(title);
    filling.embed(Embed { title, ..Embed::default() });
    for part in split(&body, MAX_DESCRIPTION, utf16) {
        filling.describe(part);
    }
    for (name, value) in &facts {
        for field in fields(name, value) {
            filling.field(field);
        }
    }
    let count = filling.messages.len();
    let filled = filling.messages.into_iter().enumerate();
    filled.map(|(at, embeds)| shape(message, instance, link, embeds, (at + 1, count))).collect()
}

// === impl Filling ===

impl Filling {
    /// Makes room in the last message, or a further one.
    fn room(&mut self, size: usize, wants_embed: bool) {
        let embeds = self.messages.last().map_or(0, Vec::len);
        if self.used + size > MAX_TOTAL - FOOTER || (wants_embed && embeds == MAX_EMBEDS) {
            self.messages.push(Vec::new());
            self.used = 0;
        }
        self.used += size;
    }

    fn last(&mut self) -> Option<&mut Embed> {
        self.messages.last_mut()?.last_mut()
    }

    fn embed(&mut self, embed: Embed) {
        let text = [&embed.title, &embed.description];
        let size = text.into_iter().flatten().map(|text| length(text, utf16)).sum();
        self.room(size, true);
        if let Some(embeds) = self.messages.last_mut() {
            embeds.push(embed);
        }
    }

    /// Into the embed of the title if it has none yet, or into a further one.
    fn describe(&mut self, text: String) {
        let size = length(&text, utf16);
        let fits = self.used + size <= MAX_TOTAL - FOOTER;
        match self.last() {
            Some(embed) if fits && embed.description.is_none() && embed.fields.is_empty() => {
                embed.description = Some(text);
                self.used += size;
            }
            _ => self.embed(Embed { description: Some(text), ..Embed::default() }),
        }
    }

    fn field(&mut self, (name, value): (String, String)) {
        let size = length(&name, utf16) + length(&value, utf16);
        let is_full = self.last().is_none_or(|embed| embed.fields.len() == MAX_FIELDS);
        self.room(size, is_full);
        match self.last() {
            Some(embed) if embed.fields.len() < MAX_FIELDS => embed.fields.push((name, value)),
            _ => {
                let embed = Embed { fields: vec![(name, value)], ..Embed::default() };
                if let Some(embeds) = self.messages.last_mut() {
                    embeds.push(embed);
                }
            }
        }
    }
}

/// A fact as fields: one, or several where its value is too long for one.
fn fields(name: &str, value: &str) -> Vec<(String, String)> {
    let (name, value) = (Escape::Markdown.apply(name), Escape::Markdown.apply(value));
    // Room for the number of a part.
    let (name, whole) = fit(&name, MAX_NAME - 8, utf16);
    let name = if name.is_empty() { "–".to_owned() } else { name };
    let value = whole.map_or_else(|| value.to_string(), |whole| format!("{whole}: {value}"));
    let parts = split(&value, MAX_VALUE, utf16);
    if parts.is_empty() {
        return vec![(name, "–".to_owned())];
    }
    let numbered = parts.into_iter().enumerate().map(|(at, part)| match at {
        0 => (name.clone(), part),
        at => (format!("{name} ({})", at + 1), part),
    });
    numbered.collect()
}

fn is_link(link: &str) -> bool {
    let known = link.starts_with("https://") || link.starts_with("http://");
    known && length(link, utf16) <= MAX_URL && !link.contains(char::is_whitespace)
}

/// One message as Discord takes it.
fn shape(
    message: &Message,
    instance: &str,
    link: Option<&str>,
    embeds: Vec<Embed>,
    (number, count): (usize, usize),
) -> Value {
    let (incident, _) = fit(&message.incident, 60, utf16);
    // Every message has a footer, and with it the mark by which an input knows that it is ours.
    let mut footer = format!("{MARK} · {instance} · {incident}");
    if count > 1 {
        footer = format!("{footer} · {number}/{count}");
    }
    let last = embeds.len().saturating_sub(1);
    let shaped = embeds.into_iter().enumerate().map(|(at, embed)| {
        let mut shaped = json!({ "color": color(message.stand, message.severity) });
        if let Some(title) = embed.title {
            shaped["title"] = title.into();
            if let Some(link) = link {
                shaped["url"] = link.into();
            }
        }
        if let Some(description) = embed.description {
            shaped["description"] = description.into();
        }
        if !embed.fields.is_empty() {
            let field = |(name, value): (String, String)| {
                let inline = length(&value, utf16) <= SHORT;
                json!({ "name": name, "value": value, "inline": inline })
            };
            shaped["fields"] = embed.fields.into_iter().map(field).collect();
        }
        if at == last {
            shaped["footer"] = json!({ "text": footer });
            // Without fractions: nine digits of them are more than Discord knows.
            shaped["timestamp"] = message.began.strftime("%Y-%m-%dT%H:%M:%SZ").to_string().into();
        }
        shaped
    });
    let embeds: Vec<Value> = shaped.collect();
    json!({ "embeds": embeds, "allowed_mentions": { "parse": [] } })
}

/// The color of the bar beside the text.
fn color(stand: Stand, severity: Severity) -> u32 {
    match (stand, severity) {
        (Stand::Resolved, _) => 0x2e_a0_43,
        (Stand::Acknowledged, _) => 0x6e_77_81,
        (_, Severity::Critical) => 0x8b_00_1a,
        (_, Severity::Error) => 0xd7_3a_49,
        (_, Severity::Warning) => 0xe3_a0_08,
        (_, Severity::Notice) => 0x3b_82_f6,
        (_, Severity::Info | Severity::Debug) => 0x8b_94_9e,
    }
}

#[cfg(test)]
mod tests {
    use event_core::Kind;
    use proptest::prelude::*;

    use super::*;

    fn text<'a>(value: &'a Value, name: &str) -> &'a str {
        value[name].as_str().unwrap_or_default()
    }

    /// Holds a message to Discord's limits, and gives its text.
    fn checked(message: &Value) -> String {
        let mut whole = String::new();
        let mut total = 0;
        let embeds = message["embeds"].as_array().unwrap();
        assert!((1..=MAX_EMBEDS).contains(&embeds.len()), "{} embeds", embeds.len());
        assert_eq!(message["allowed_mentions"], json!({ "parse": [] }));
        let mut count = |text: &str, most: usize| {
            let length = text.encode_utf16().count();
            assert!(length <= most && text.trim() == text, "{length} of {most}: {text:?}");
            total += length;
        };
        for embed in embeds {
            for (name, most) in [("title", MAX_TITLE), ("description", MAX_DESCRIPTION)] {
                count(text(embed, name), most);
                whole.push_str(text(embed, name));
                assert_ne!(embed[name], "", "an empty {name} is refused");
            }
            count(text(&embed["footer"], "text"), FOOTER);
            let fields = embed["fields"].as_array().map_or(&[][..], Vec::as_slice);
            assert!(fields.len() <= MAX_FIELDS);
            for field in fields {
                for (name, most) in [("name", MAX_NAME), ("value", MAX_VALUE)] {
                    count(text(field, name), most);
                    assert!(!text(field, name).is_empty(), "an empty {name} is refused");
                }
                whole.push_str(text(field, "value"));
            }
        }
        assert!(total <= MAX_TOTAL, "{total} of {MAX_TOTAL}");
        let is_marked =
            |embed: &Value| text(&embed["footer"], "text").starts_with("proxmox-mcp · ");
        assert!(embeds.iter().any(is_marked), "an input would take it: {message}");
        whole
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_message_is_within_the_limits_and_whole(
            title in r"(\PC|[a-z ]|😀){0,40}",
            words in r"(\PC|[*_<@ \n]|😀){1,60}",
            fields in proptest::collection::vec((r"\PC{0,20}", r"(\PC|[*_\n ]){0,30}"), 0..40),
            (times, wide) in (0_usize..400, 1_usize..200),
            link in prop_oneof!["https://[a-z]{1,20}", "https://[a-z]{2100}", r"\PC{0,30}"],
        ) {
            let now = jiff::Timestamp::UNIX_EPOCH;
            let mut message = Message::new(Stand::New, "x".repeat(100), Kind::BackupFailed, Severity::Error, "", now);
            let widened = fields.into_iter().enumerate().map(|(at, (name, value))| match at % 4 {
                0 => (name.repeat(wide), value.repeat(wide)),
                _ => (name, value),
            });
            message.fields = widened.collect();
            message.link = Some(link);
            let body = Escape::Markdown.apply(&words.repeat(times)).into_owned();
            let title = Escape::Markdown.apply(&title.repeat(1 + wide / 20)).into_owned();
            let parts = messages(&message, "home", &title, &body);
            let whole: String = parts.iter().map(checked).collect();
            let bare = |text: &str| text.split_whitespace().collect::<String>();
            let whole = bare(&whole);
            prop_assert!(whole.contains(&bare(&title)));
            prop_assert!(whole.contains(&bare(&body)));
            for (_, value) in &message.fields {
                prop_assert!(whole.contains(&bare(&Escape::Markdown.apply(value))), "{}", value);
            }
        }
    }
}
