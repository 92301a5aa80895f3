//! What Discord says about a message: the words are those of [`chat`], with who wrote them, and where.

use std::collections::BTreeMap;

use event_core::Event;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{
    chat::{self, Message},
    notification::Notification,
};
use crate::origin::Origin;

/// The kinds of messages that somebody wrote: plain, a reply, and two of commands. Others say that somebody joined, that
/// something was pinned, and the like.
const WRITTEN: [u64; 4] = [0, 19, 20, 23];

/// Where Discord's time begins, in milliseconds.
const EPOCH: i64 = 1_420_070_400_000;
/// What it is called if it has none.
const WORDLESS: &str = "a message without words";

/// A message of Discord's. Its numbers grow with time, within a channel and beyond.
#[derive(Clone, Debug, PartialEq)]
pub struct Posted {
    /// Its number.
    pub id: u64,
    /// The channel or thread that it stands in.
    pub channel: u64,
    /// The server that the channel is of, where that is told.
    pub guild: Option<u64>,
    /// Who wrote it.
    pub author: Option<u64>,
    /// The webhook that it came through.
    pub webhook: Option<u64>,
    /// Whom it mentions by name.
    pub mentions: Vec<u64>,
    /// Whether somebody wrote it, and not Discord itself.
    pub is_written: bool,
    /// Whether it says itself that one of our outputs sent it.
    pub is_marked: bool,
    object: Map<String, Value>,
}

/// Reads a message; `None` where it is something else.
pub fn posted(value: Value) -> Option<Posted> {
    let Value::Object(object) = value else { return None };
    let author = object.get("author").and_then(|author| number(author.get("id")));
    let mentions = object.get("mentions").and_then(Value::as_array);
    let mentions = mentions.into_iter().flatten().filter_map(|user| number(user.get("id")));
    Some(Posted {
        id: number(object.get("id"))?,
        channel: number(object.get("channel_id"))?,
        guild: number(object.get("guild_id")),
        author,
        webhook: number(object.get("webhook_id")),
        mentions: mentions.collect(),
        is_written: WRITTEN.contains(&object.get("type").and_then(Value::as_u64).unwrap_or(0)),
        is_marked: chat::is_marked(&object),
        object,
    })
}

// === impl Posted ===

impl Posted {
    /// The events of this message: never none, and the first has the original.
    pub fn events(&self, origin: &Origin<'_>) -> Vec<Event> {
        let original = serde_json::to_string(&self.object).expect("JSON can be written");
        let words = self.words();
        // What is the same however it is read: the server of a message that stands in a list is not told.
        let numbers = [
            ("message-id", Some(self.id)),
            ("channel", Some(self.channel)),
            ("author", self.author),
            ("webhook", self.webhook),
        ];
        let numbers = numbers.map(|(name, number)| (name, number.map(|it| it.to_string())));
        let fields: BTreeMap<&str, &str> =
            numbers.iter().filter_map(|(name, number)| Some((*name, number.as_deref()?))).collect();
        let notification = Notification {
            title: &words.title,
            message: &words.text,
            severity: None,
            time: self.time(),
            fields,
        };
        let mut events = notification.events(origin, original.as_bytes());
        if let (Some(guild), Some(first)) = (self.guild, events.first_mut()) {
            first.labels.entry("guild".to_owned()).or_insert_with(|| guild.to_string());
        }
        events
    }

    /// When it was written, which its number tells.
    fn time(&self) -> Option<Timestamp> {
        let since = i64::try_from(self.id >> 22).ok()?;
        Timestamp::from_millisecond(since + EPOCH).ok()
    }

    /// What it says: its own words, those that it passes on, and the names of what hangs on it.
    fn words(&self) -> Message {
        let mut object = self.object.clone();
        if let Some(Value::String(content)) = object.get_mut("content") {
            *content = without_salutation(content).to_owned();
        }
        let mut found = chat::discord(&object);
        let passed_on = object.get("message_snapshots").and_then(Value::as_array);
        let passed_on = passed_on.into_iter().flatten();
        let passed_on = passed_on.filter_map(|it| chat::discord(it.get("message")?.as_object()?));
        for more in passed_on.take(1) {
            found = Some(match found {
                None => more,
                Some(own) => Message { text: format!("{}\n{}", own.text, more.text), ..own },
            });
        }
        let attached = object.get("attachments").and_then(Value::as_array);
        let names = attached.into_iter().flatten().filter_map(|it| it.get("filename")?.as_str());
        let names: Vec<String> = names.take(10).map(|name| format!("attached: {name}")).collect();
        let mut words = found.unwrap_or_else(|| Message {
            title: names.first().map_or_else(|| WORDLESS.to_owned(), Clone::clone),
            ..Message::default()
        });
        for name in names {
            if !words.text.is_empty() {
                words.text.push('\n');
            }
            words.text.push_str(&name);
        }
        words
    }
}

/// The text without the mentions that it begins with.
fn without_salutation(text: &str) -> &str {
    let mut rest = text.trim_start();
    while let Some((name, behind)) = rest.strip_prefix("<@").and_then(|it| it.split_once('>')) {
        let digits = name.trim_start_matches(['!', '&']);
        if digits.is_empty() || !digits.bytes().all(|c| c.is_ascii_digit()) {
            break;
        }
        rest = behind.trim_start_matches([' ', ',', ':', '\n']);
    }
    rest
}

/// Discord writes its numbers as text.
fn number(value: Option<&Value>) -> Option<u64> {
    value?.as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_salutation_is_no_part_of_what_is_said() {
        for (text, rest) in [
            ("<@900> backup failed", "backup failed"),
            ("<@!900>, <@&12>: hello", "hello"),
            ("a <@900> b", "a <@900> b"),
            ("<@everyone> x", "<@everyone> x"),
            ("<@> x", "<@> x"),
            ("<@900", "<@900"),
            ("", ""),
        ] {
            assert_eq!(without_salutation(text), rest, "{text}");
        }
    }
}
