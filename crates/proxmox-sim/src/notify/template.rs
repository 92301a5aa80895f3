//! The templates of webhooks: `{{ title }}`, `{{ json fields }}`, `{{ secrets.token }}`.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};

/// What a template can name.
pub(super) struct Words<'a> {
    pub(super) title: &'a str,
    pub(super) message: &'a str,
    pub(super) severity: &'a str,
    pub(super) timestamp: i64,
    pub(super) fields: Map<String, Value>,
    pub(super) secrets: Map<String, Value>,
}

// === impl Words ===

impl Words<'_> {
    /// The template with its values. What it names and there is not leaves nothing.
    pub(super) fn fill(&self, template: &str) -> String {
        let mut out = String::with_capacity(template.len());
        let mut rest = template;
        while let Some((before, after)) = rest.split_once("{{") {
            out.push_str(before);
            let Some((mut inside, after)) = after.split_once("}}") else {
                out.push_str("{{");
                rest = after;
                continue;
            };
            // Three braces say "unescaped", which everything is here.
            (rest, inside) = match inside.strip_prefix('{') {
                Some(raw) => (after.strip_prefix('}').unwrap_or(after), raw),
                None => (after, inside),
            };
            out.push_str(&self.value(inside));
        }
        out.push_str(rest);
        out
    }

    fn value(&self, inside: &str) -> String {
        let mut words = inside.split_whitespace();
        match (words.next(), words.next()) {
            (Some("json"), Some(name)) => self.named(name).to_string(),
            (Some("escape"), Some(name)) => {
                let quoted = json!(plain(&self.named(name))).to_string();
                quoted[1..quoted.len() - 1].to_owned()
            }
            (Some("url-encode"), Some(name)) => {
                utf8_percent_encode(&plain(&self.named(name)), NON_ALPHANUMERIC).to_string()
            }
            (Some(name), None) => plain(&self.named(name)),
            _ => String::new(),
        }
    }

    fn named(&self, name: &str) -> Value {
        match name {
            "title" => json!(self.title),
            "message" => json!(self.message),
            "severity" => json!(self.severity),
            "timestamp" => json!(self.timestamp),
            "fields" => Value::Object(self.fields.clone()),
            _ => {
                let (list, key) = name.split_once('.').unwrap_or_default();
                let list = match list {
                    "fields" => &self.fields,
                    "secrets" => &self.secrets,
                    _ => return Value::Null,
                };
                list.get(key).cloned().unwrap_or_default()
            }
        }
    }
}

/// A value where text is wanted.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(template: &str) -> String {
        let fields = json!({"type": "vzdump", "hostname": "alder"});
        let words = Words {
            title: "a \"b\"",
            message: "one\ntwo & three",
            severity: "error",
            timestamp: 1_795_370_864,
            fields: fields.as_object().unwrap().clone(),
            secrets: json!({"token": "s3cret"}).as_object().unwrap().clone(),
        };
        words.fill(template)
    }

    #[test]
    fn a_template_is_filled_with_values_helpers_and_secrets() {
        for (template, wanted) in [
            ("Bearer {{ secrets.token }}", "Bearer s3cret"),
            ("{{title}}|{{{ severity }}}|{{ timestamp }}", "a \"b\"|error|1795370864"),
            ("{{ json title }} {{ json timestamp }}", r#""a \"b\"" 1795370864"#),
            ("{\"a\": {{ json severity }}}", r#"{"a": "error"}"#),
            (r#""{{ escape message }}""#, r#""one\ntwo & three""#),
            ("{{ url-encode message }}", "one%0Atwo%20%26%20three"),
            ("{{ json fields }}", r#"{"type":"vzdump","hostname":"alder"}"#),
            ("{{ fields.type }}-{{ fields.none }}-{{ nothing }}", "vzdump--"),
            ("no end {{ title", "no end {{ title"),
        ] {
            assert_eq!(filled(template), wanted, "{template}");
        }
    }
}
