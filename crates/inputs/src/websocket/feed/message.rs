//! One message of a feed: whether it is news, what its events are, and the place that it is at.

use event_core::Event;
use serde_json::Value;

use crate::{
    Origin,
    recognize::json::{self, Mapping, Pointer},
};

/// The longest place that is kept, in bytes.
const MAX_PLACE: usize = 512;

/// Reads messages.
#[derive(Clone, Debug, Default)]
pub struct Reader {
    /// Where the parts of an event stand.
    pub mapping: Mapping,
    /// What a message has to say, and where, to be news; all of it. Without any, every message is.
    pub only: Vec<(Pointer, Vec<String>)>,
    /// Where a message says what it is known by when the feed is opened again.
    pub place: Option<Pointer>,
}

/// What a message has told.
#[derive(Clone, Debug)]
pub struct Heard {
    /// Its events; none where it is no news.
    pub events: Vec<Event>,
    /// From where the feed is to go on.
    pub place: Option<String>,
}

// === impl Reader ===

impl Reader {
    /// Reads a message; nothing where it is no JSON document, such as a feed's answer to a heartbeat.
    pub fn read(&self, message: &[u8], origin: &Origin<'_>) -> Option<Heard> {
        let value: Value = serde_json::from_slice(message).ok()?;
        if !value.is_object() && !value.is_array() {
            return None;
        }
        let place = self.place.as_ref().and_then(|place| place.words(&value));
        let place = place.filter(|place| is_plain(place));
        let is_news = self
            .only
            .iter()
            .all(|(at, words)| at.words(&value).is_some_and(|word| words.contains(&word)));
        let events =
            if is_news { json::events(&value, &self.mapping, message, origin) } else { Vec::new() };
        Some(Heard { events, place })
    }
}

/// Whether a place can be kept and sent back.
fn is_plain(place: &str) -> bool {
    place.len() <= MAX_PLACE && !place.chars().any(char::is_control)
}

/// The text with this in place of a word such as [`PLACE`], as a JSON string has it between its quotes.
pub(super) fn filled(text: &str, word: &str, with: &str) -> String {
    let quoted = Value::from(with).to_string();
    text.replace(word, &quoted[1..quoted.len() - 1])
}

/// What stands for the place in a text.
pub(super) const PLACE: &str = "{place}";
/// What stands for the token in a text.
pub(super) const TOKEN: &str = "{token}";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Identity;
    use proptest::prelude::*;

    fn read(reader: &Reader, message: &str) -> Option<(Vec<String>, Option<String>)> {
        let (source, identity) = ("feed".parse().unwrap(), Identity::default());
        let received = "2026-11-22T12:00:00Z".parse().unwrap();
        let origin = Origin::new(&source, "websocket", &identity, received);
        let heard = reader.read(message.as_bytes(), &origin)?;
        Some((heard.events.into_iter().map(|event| event.title).collect(), heard.place))
    }

    #[test]
    fn news_are_told_and_the_rest_moves_the_place_alone() {
        let reader = Reader {
            only: vec![("/type".parse().unwrap(), vec!["alarm".to_owned(), "clear".to_owned()])],
            place: "/seq".parse().ok(),
            ..Reader::default()
        };
        let told = |message: &str| read(&reader, message);
        let alarm = r#"{"type": "alarm", "seq": 7, "title": "door open"}"#;
        assert_eq!(told(alarm), Some((vec!["door open".to_owned()], Some("7".to_owned()))));
        let other = r#"{"type": "tick", "seq": "8"}"#;
        assert_eq!(told(other), Some((Vec::new(), Some("8".to_owned()))));
        assert_eq!(told(r#"{"title": "x"}"#), Some((Vec::new(), None)));
        for none in ["", "pong", "3", "\"x\"", "{"] {
            assert_eq!(told(none), None, "{none}");
        }
        let hostile = format!(r#"{{"type": "alarm", "title": "x", "seq": "{}"}}"#, "9".repeat(600));
        assert_eq!(told(&hostile).unwrap().1, None);
        assert_eq!(told(r#"{"type": "alarm", "title": "x", "seq": "a\nb"}"#).unwrap().1, None);
    }

    proptest! {
        #[test]
        fn whatever_the_place_is_the_text_stays_json_of_the_same_shape(place in ".{0,40}") {
            let text = filled(r#"{"op": "from", "since": "{place}"}"#, PLACE, &place);
            let value: Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(value["since"].as_str(), Some(place.as_str()));
            prop_assert_eq!(value.as_object().unwrap().len(), 2);
        }
    }
}
