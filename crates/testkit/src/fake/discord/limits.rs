//! What Discord takes for a message, by the page on messages of its documentation.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::fake::Reply;

const MAX_CONTENT: usize = 2000;
const MAX_EMBEDS: usize = 10;
const MAX_FIELDS: usize = 25;
/// Of all embeds of a message together.
const MAX_TOTAL: usize = 6000;
const MAX_NONCE: usize = 25;

/// The answer to a message that is too much, or nothing.
pub(super) fn problem(body: &Value) -> Option<Reply> {
    let Value::Object(_) = body else {
        return Some(Reply::json(
            400,
            &json!({ "message": "The request body contains invalid JSON.", "code": 50_109 }),
        ));
    };
    let embeds = list(body, "embeds");
    if text(&body["content"]).is_empty() && embeds.is_empty() {
        return Some(Reply::json(
            400,
            &json!({ "message": "Cannot send an empty message", "code": 50_006 }),
        ));
    }
    if length(&body["content"]) > MAX_CONTENT {
        return Some(refused("content", "Must be 2000 or fewer in length."));
    }
    if length(&body["nonce"]) > MAX_NONCE {
        return Some(refused("nonce", "Must be 25 or fewer in length."));
    }
    if embeds.len() > MAX_EMBEDS {
        return Some(refused("embeds", "Must be 10 or fewer in length."));
    }
    let mut total = 0;
    for embed in embeds {
        let fields = list(embed, "fields");
        if fields.len() > MAX_FIELDS {
            return Some(refused("embeds.fields", "Must be 25 or fewer in length."));
        }
        let mut parts = vec![
            ("title", &embed["title"], 256),
            ("description", &embed["description"], 4096),
            ("footer.text", &embed["footer"]["text"], 2048),
            ("author.name", &embed["author"]["name"], 256),
        ];
        for field in fields {
            for (name, most) in [("name", 256), ("value", 1024)] {
                if length(&field[name]) == 0 {
                    return Some(refused("embeds.fields", "This field is required"));
                }
                parts.push((name, &field[name], most));
            }
        }
        for (name, value, most) in parts {
            total += length(value);
            if length(value) > most {
                return Some(refused(name, &format!("Must be {most} or fewer in length.")));
            }
        }
    }
    (total > MAX_TOTAL).then(|| refused("embeds", "Embed size exceeds maximum size of 6000"))
}

/// The answer to a form with a mistake in it.
pub(super) fn refused(field: &str, why: &str) -> Reply {
    let errors = json!({ field: { "_errors": [{ "code": "BASE_TYPE_BAD", "message": why }] } });
    Reply::json(400, &json!({ "message": "Invalid Form Body", "code": 50_035, "errors": errors }))
}

/// Whether it could alert somebody, with other words in it.
pub(super) fn alarms(body: &Value) -> bool {
    body["allowed_mentions"] != json!({ "parse": [] })
}

/// Everything that people see of it.
pub(super) fn words(body: &Value) -> String {
    let mut words = text(&body["content"]).to_owned();
    for embed in list(body, "embeds") {
        for name in ["title", "description"] {
            words.push_str(text(&embed[name]));
            words.push('\n');
        }
        for field in list(embed, "fields") {
            // Writing to a string cannot fail.
            let _ = write!(words, "{} {} ", field["name"], text(&field["value"]));
        }
    }
    words.replace('\n', " \n")
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// As Discord counts: characters, without white space at the ends.
fn length(value: &Value) -> usize {
    text(value).trim().chars().count()
}
