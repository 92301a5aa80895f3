//! What is made from the table of keys: the default file, the reference page, the JSON schema.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use crate::keys::{Key, Kind, Section};
use crate::table::SECTIONS;

/// The embedded default settings, `config/default.toml`.
pub const DEFAULT: &str = include_str!("../../../config/default.toml");

/// A first settings file to fill in, for `config init`.
pub fn starter() -> &'static str {
    include_str!("starter.toml")
}

/// The text of `config/default.toml`: each key, with its meaning and its default or an example.
pub fn default_toml() -> String {
    let mut text = String::from(
        "# Every setting of proxmox-mcp with its default. This file is made from the table of keys in\n\
         # crates/settings and is embedded in the program; write what you change into your own file.\n\
         # Lines that begin with # and no blank are settings that are unset, with an example.\n",
    );
    for section in SECTIONS {
        text.push('\n');
        comment(&mut text, &section.fill(section.doc));
        let _ = writeln!(text, "{}[{}]", if section.named { "#" } else { "" }, section.header());
        for key in section.keys {
            text.push('\n');
            comment(&mut text, &section.fill(&about(key)));
            match key.default {
                Some(default) if !section.named => {
                    let _ = writeln!(text, "{} = {default}", key.name);
                }
                Some(value) => {
                    let _ = writeln!(text, "#{} = {value}", key.name);
                }
                None => {
                    let _ = writeln!(text, "#{} = {}", key.name, section.fill(key.example));
                }
            }
        }
    }
    text
}

/// The text of `docs/reference/config.md`.
pub fn reference() -> String {
    let mut text = String::from(
        "# Settings\n\n\
         This page is made from the table of keys in `crates/settings`; do not edit it.\n\
         How to choose among them is told in the [guide](../guide/settings.md).\n\n\
         Each key may stand in the settings file, in a file of `conf.d` beside it, or in the \
         variable that is named with it.\n",
    );
    for section in SECTIONS {
        let name = if section.named { "<name>" } else { "" };
        let dot = if section.named { "." } else { "" };
        let _ =
            write!(text, "\n## `[{}{dot}{name}]`\n\n{}\n", section.name, section.fill(section.doc));
        for key in section.keys {
            let _ = write!(text, "\n### `{}`\n\n{}\n\n", key.name, section.fill(key.doc));
            let _ = writeln!(text, "- Takes: {}", key.kind.describe());
            match key.default {
                Some(default) => {
                    let _ = writeln!(text, "- Default: `{default}`");
                }
                None => {
                    let state = if key.required { "required" } else { "unset" };
                    let _ = writeln!(text, "- Default: {state}");
                    let _ = writeln!(text, "- Example: `{}`", section.fill(key.example));
                }
            }
            let _ = writeln!(text, "- Variable: `{}`", section.variable(key));
        }
    }
    text
}

/// The JSON schema of a settings file.
pub fn json_schema() -> Value {
    let mut properties = Map::new();
    for section in SECTIONS {
        let mut keys = Map::new();
        for key in section.keys {
            keys.insert(key.name.to_owned(), key_schema(section, key));
        }
        let required: Vec<&str> =
            section.keys.iter().filter(|key| key.required).map(|key| key.name).collect();
        let mut table = json!({
            "type": "object",
            "description": section.fill(section.doc),
            "additionalProperties": false,
            "properties": keys,
        });
        // In settings of several files a table may be completed by another one; the schema judges
        // whole settings.
        if !required.is_empty() {
            table["required"] = json!(required);
        }
        let schema = if section.named {
            json!({
                "type": "object",
                "description": section.fill(section.doc),
                "additionalProperties": false,
                "patternProperties": { "^[a-z0-9_]{1,40}$": table },
            })
        } else {
            table
        };
        properties.insert(section.name.to_owned(), schema);
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Settings of proxmox-mcp",
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
    })
}

fn key_schema(section: &Section, key: &Key) -> Value {
    let mut schema = kind_schema(key.kind);
    schema["description"] = json!(section.fill(key.doc));
    if let Some(Ok(default)) = key.default.map(str::parse::<toml::Value>)
        && let Ok(default) = serde_json::to_value(default)
    {
        schema["default"] = default;
    }
    if key.is_secret() {
        schema["writeOnly"] = json!(true);
    }
    schema
}

fn kind_schema(kind: Kind) -> Value {
    match kind {
        Kind::Text | Kind::Secret => json!({ "type": "string" }),
        Kind::File | Kind::SecretFile | Kind::Folder | Kind::Path => {
            json!({ "type": "string", "minLength": 1 })
        }
        Kind::Boolean => json!({ "type": "boolean" }),
        Kind::Integer(low, high) => json!({ "type": "integer", "minimum": low, "maximum": high }),
        Kind::Choice(words) => json!({ "enum": words }),
        Kind::List => json!({ "type": "array", "items": { "type": "string" } }),
        Kind::ListOrNumbers => json!({
            "type": "array", "items": { "type": ["string", "integer"] },
        }),
        Kind::TextOrList => json!({
            "type": ["string", "array"], "items": { "type": "string" },
        }),
        Kind::Map => json!({
            "type": "object",
            "additionalProperties": false,
            "patternProperties": { "^[a-z0-9_]{1,40}$": kind_schema(kind.entry()) },
        }),
        Kind::MapOfLists => json!({
            "type": "object", "additionalProperties": kind_schema(kind.entry()),
        }),
    }
}

/// What the default file says about a key.
fn about(key: &Key) -> String {
    let takes = match key.kind {
        // The example or the sentence shows these well enough.
        Kind::Text | Kind::Secret | Kind::File | Kind::SecretFile | Kind::Folder | Kind::Path => {
            String::new()
        }
        kind => format!(" Takes: {}.", kind.describe().replace('`', "")),
    };
    let required = if key.required { " Required." } else { "" };
    format!("{}{takes}{required}", key.doc.replace('`', ""))
}

/// Writes a comment wrapped at 100 columns.
fn comment(text: &mut String, prose: &str) {
    let mut column = 0;
    for word in prose.split_whitespace() {
        let width = word.chars().count() + 1;
        if column == 0 || column + width > 100 {
            text.push_str(if column == 0 { "#" } else { "\n#" });
            column = 1;
        }
        text.push(' ');
        text.push_str(word);
        column += width;
    }
    text.push('\n');
}
