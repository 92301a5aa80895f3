//! Secrets in what servers answer, by the names of fields: rows lose their names on the way out.

use serde_json::Value;
use stdx::redact::{REDACTED, Redactor};

use crate::redaction::{SECRET_FIELDS, is_secret_field};

/// `value` is a secret where a token was made, and beside a name that is one; nowhere else.
const VALUE: &str = "value";
/// The fields that say what the value beside them is.
const NAMES: [&str; 3] = ["key", "name", "property"];

/// Parameters that hold secrets although their names are used for other things as well: keys of
/// certificates, tapes and DNS providers, second factors of users, credentials of ACME plugins.
const HIDDEN: [&str; 4] = ["key", "keys", "data", "input-data"];

/// What stands in files of guests is theirs.
const CONTENT: &str = "content";

/// Whether a parameter of a call to this path is secret. Names that say it are known elsewhere too.
pub(super) fn is_hidden(path: &str, name: &str) -> bool {
    is_secret_field(name) || HIDDEN.contains(&name) || (name == CONTENT && path.contains("/agent/"))
}

/// Takes secrets out of an answer.
pub(super) fn mask(value: &mut Value) {
    let names = SECRET_FIELDS.iter().filter(|name| **name != VALUE);
    walk(&Redactor::new(names), value);
}

fn walk(redactor: &Redactor, value: &mut Value) {
    match value {
        Value::Object(fields) => {
            let named = NAMES.iter().filter_map(|name| fields.get(*name)?.as_str());
            let named_secret = named.clone().any(|name| redactor.is_secret_name(name));
            // A value without a name beside it is what a token or a webhook was given.
            let is_named =
                named.count() > 0 || fields.get(VALUE).is_some_and(|value| !value.is_string());
            for (name, value) in fields.iter_mut() {
                let is_secret = redactor.is_secret_name(name)
                    || (named_secret && matches!(name.as_str(), "value" | "pending" | "default"))
                    || (name == VALUE && !is_named);
                if is_secret { blank(value) } else { walk(redactor, value) }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| walk(redactor, item)),
        _ => redactor.json(value),
    }
}

/// What is under a secret's name, unless it only says that there is none, or that there is one.
fn blank(value: &mut Value) {
    match value {
        Value::Null | Value::Bool(_) => {}
        Value::String(text) if text.is_empty() => {}
        Value::Array(items) if items.is_empty() => {}
        value => *value = REDACTED.into(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_under_a_secret_name_is_taken_out_wherever_it_stands() {
        let mut given = json!([
            {"key": "cores", "value": 2, "pending": 4},
            {"key": "cipassword", "value": "x", "pending": "y"},
            {"name": "net0", "value": "virtio"},
            {"tokenid": "a", "value": "0f5a3c1e"},
            {"metric": "cpu", "value": 0.5},
            {"password": "p", "nested": {"secret": [1], "comment": "password=abc"}, "has-token": true},
            "Authorization: Bearer abc",
        ]);
        mask(&mut given);
        let said = given.to_string();
        assert_eq!(
            given,
            json!([
                {"key": "cores", "value": 2, "pending": 4},
                {"key": "cipassword", "value": REDACTED, "pending": REDACTED},
                {"name": "net0", "value": "virtio"},
                {"tokenid": "a", "value": REDACTED},
                {"metric": "cpu", "value": 0.5},
                {"password": REDACTED, "nested": {"secret": REDACTED, "comment": "password=[redacted]"}, "has-token": true},
                "Authorization: [redacted]",
            ]),
            "{said}"
        );
    }
}
