//! From a message to what Slack takes: messages of blocks, within its limits.
//!
//! Source of the limits: the pages on blocks of Slack's documentation. That a message may not exceed some 13 kB of
//! blocks is not written there; beyond that Slack answers `msg_blocks_too_long`.

use event_core::Message;
use serde_json::{Value, json};

use crate::{
    MARK,
    escape::Escape,
    split::{fit, json as as_json, length, split, utf16},
    template::{facts, mark},
};

const MAX_BLOCKS: usize = 50;
/// The most bytes of all blocks of a message.
const MAX_TOTAL: usize = 12_000;
/// What the mark takes of it.
const MARKED: usize = 40;
const MAX_HEADER: usize = 150;
const MAX_TEXT: usize = 3000;
const MAX_FIELDS: usize = 10;
/// The longest that stands in a section's field; what is longer gets a section.
const MAX_FIELD: usize = 300;
/// What notifications show; Slack recommends no more.
const MAX_NOTIFICATION: usize = 4000;
const MAX_LINK: usize = 2000;

/// The texts that the templates made.
pub(super) struct Words {
    /// Plain.
    pub(super) title: String,
    /// The title again, escaped.
    pub(super) notification: String,
    /// Escaped.
    pub(super) body: String,
}

/// The bodies of the messages, in order, for posting and for editing alike.
pub(super) fn messages(message: &Message, instance: &str, words: &Words) -> Vec<Value> {
    let mark = mark(message.stand, message.severity);
    let (header, whole) = fit(&format!("{mark} {}", words.title), MAX_HEADER, utf16);
    let mut blocks =
        vec![json!({ "type": "header", "text": { "type": "plain_text", "text": header } })];
    let mut body = words.body.clone();
    if whole.is_some() {
        body = format!("{}\n\n{body}", words.notification);
    }
    blocks.extend(split(&body, MAX_TEXT, as_json).iter().map(|part| section(part)));
    let mut facts = facts(message);
    let link = message.link.as_deref().filter(|link| is_link(link));
    if let (None, Some(text)) = (link, &message.link) {
        facts.push(("link".to_owned(), text.clone()));
    }
    blocks.extend(fact_blocks(&facts));
    blocks.push(context(message, instance, link));

    let mut messages: Vec<Vec<Value>> = vec![Vec::new()];
    let mut used = MARKED;
    for block in blocks {
        let size = block.to_string().len() + 1;
        let is_full = messages.last().is_none_or(|blocks| blocks.len() == MAX_BLOCKS);
        if is_full || used + size > MAX_TOTAL {
            messages.push(Vec::new());
            used = MARKED;
        }
        used += size;
        if let Some(blocks) = messages.last_mut() {
            blocks.push(block);
        }
    }
    let (notification, _) = fit(&words.notification, MAX_NOTIFICATION, utf16);
    let shape = |mut blocks: Vec<Value>| {
        // The mark by which an input knows that it is ours.
        blocks[0]["block_id"] = MARK.into();
        json!({
            "text": notification,
            "blocks": blocks,
            "unfurl_links": false,
            "unfurl_media": false,
        })
    };
    messages.into_iter().map(shape).collect()
}

/// Text as Slack's markup, of which nothing is made a link or a mention that is not one.
fn markup(text: &str) -> Value {
    json!({ "type": "mrkdwn", "text": text, "verbatim": true })
}

fn section(text: &str) -> Value {
    json!({ "type": "section", "text": markup(text) })
}

/// Short facts side by side, long ones below each other.
fn fact_blocks(facts: &[(String, String)]) -> Vec<Value> {
    let mut blocks = Vec::new();
    let mut fields: Vec<Value> = Vec::new();
    let flush = |fields: &mut Vec<Value>, blocks: &mut Vec<Value>| {
        if !fields.is_empty() {
            blocks.push(json!({ "type": "section", "fields": std::mem::take(fields) }));
        }
    };
    for (name, value) in facts {
        let text = format!("*{}*\n{}", Escape::Slack.apply(name), Escape::Slack.apply(value));
        if length(&text, as_json) <= MAX_FIELD {
            fields.push(markup(&text));
            if fields.len() == MAX_FIELDS {
                flush(&mut fields, &mut blocks);
            }
        } else {
            flush(&mut fields, &mut blocks);
            blocks.extend(split(&text, MAX_TEXT, as_json).iter().map(|part| section(part)));
        }
    }
    flush(&mut fields, &mut blocks);
    blocks
}

/// The small print.
fn context(message: &Message, instance: &str, link: Option<&str>) -> Value {
    let (incident, _) = fit(&message.incident, 60, utf16);
    let incident = Escape::Slack.apply(&incident);
    let mut text = format!("{} · {instance} · {incident}", message.severity);
    if let Some(link) = link {
        let link = link.replace('<', "%3C").replace('>', "%3E").replace('|', "%7C");
        text = format!("{text} · <{}|Open>", link.replace('&', "&amp;"));
    }
    json!({ "type": "context", "elements": [markup(&text)] })
}

fn is_link(link: &str) -> bool {
    let known = link.starts_with("https://") || link.starts_with("http://");
    known && length(link, as_json) <= MAX_LINK && !link.contains(char::is_whitespace)
}

#[cfg(test)]
mod tests {
    use event_core::{Kind, Severity, Stand};
    use proptest::prelude::*;

    use super::*;

    /// Holds a message to Slack's limits, and gives its text.
    fn checked(message: &Value) -> String {
        let blocks = message["blocks"].as_array().unwrap();
        assert!((1..=MAX_BLOCKS).contains(&blocks.len()), "{} blocks", blocks.len());
        assert_eq!(blocks[0]["block_id"], "proxmox-mcp", "an input would take it");
        assert!(message["blocks"].to_string().len() <= 13_000);
        assert!(message["text"].as_str().unwrap().chars().count() <= 4000);
        let mut whole = String::new();
        let mut text = |value: &Value, most: usize| {
            let text = value["text"].as_str().unwrap();
            let length = text.encode_utf16().count();
            assert!((1..=most).contains(&length), "{length} of {most}");
            assert!(!text.contains("<!"), "an order: {text}");
            whole.push_str(text);
        };
        for block in blocks {
            match block["type"].as_str().unwrap() {
                "header" => text(&block["text"], 150),
                "section" => {
                    let fields = block["fields"].as_array().map_or(&[][..], Vec::as_slice);
                    assert!(fields.len() <= 10);
                    for field in fields {
                        text(field, 2000);
                    }
                    if fields.is_empty() {
                        text(&block["text"], 3000);
                    }
                }
                "context" => text(&block["elements"][0], 3000),
                other => panic!("{other}"),
            }
        }
        whole
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_message_is_within_the_limits_and_whole(
            title in r"([a-z ]|é|😀){0,40}",
            words in r"(\PC|[*<!&\n ]|😀){1,60}",
            fields in proptest::collection::vec((r"[a-z]{1,20}", r"(\PC|[<&\n ]){1,30}"), 0..60),
            (times, wide) in (0_usize..400, 1_usize..200),
            link in prop_oneof!["https://[a-z&|>]{1,20}", "https://[a-z]{2100}"],
        ) {
            let now = jiff::Timestamp::UNIX_EPOCH;
            let mut message = Message::new(Stand::New, "i", Kind::BackupFailed, Severity::Error, "", now);
            let widened = fields.into_iter().enumerate().map(|(at, (name, value))| match at % 7 {
                0 => (name, value.repeat(wide)),
                _ => (name, value),
            });
            message.fields = widened.collect();
            message.link = Some(link);
            let title = title.repeat(wide);
            let words = Words {
                notification: Escape::Slack.apply(&title).into_owned(),
                body: Escape::Slack.apply(&words.repeat(times)).into_owned(),
                title,
            };
            let parts = messages(&message, "home", &words);
            let whole: String = parts.iter().map(checked).collect();
            let bare = |text: &str| text.split_whitespace().collect::<String>();
            let whole = bare(&whole);
            prop_assert!(whole.contains(&bare(&words.title)));
            prop_assert!(whole.contains(&bare(&words.body)));
            for (_, value) in &message.fields {
                prop_assert!(whole.contains(&bare(&Escape::Slack.apply(value))), "{}", value);
            }
        }
    }
}
