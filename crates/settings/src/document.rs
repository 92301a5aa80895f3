//! What is made from the table of keys: the default file, the reference page, the JSON schema.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use crate::keys::{Key, Kind, Place, Section, Type};
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
    for place in SECTIONS.iter().flat_map(Section::places) {
        text.push('\n');
        comment(&mut text, &place.fill(place.doc()));
        if !has_table(place) {
            continue;
        }
        let is_shown = place.section.named;
        let _ = writeln!(text, "{}[{}]", if is_shown { "#" } else { "" }, place.header());
        if let (Some(of_type), None) = (place.of_type, place.nested) {
            let _ = writeln!(text, "#type = \"{}\"", of_type.name);
        }
        for key in common(place).chain(place.keys()) {
            text.push('\n');
            comment(&mut text, &place.fill(&about(key)));
            match key.default {
                Some(default) if !is_shown => {
                    let _ = writeln!(text, "{} = {default}", key.name);
                }
                Some(value) => {
                    let _ = writeln!(text, "#{} = {value}", key.name);
                }
                None => {
                    let _ = writeln!(text, "#{} = {}", key.name, place.fill(key.example));
                }
            }
        }
    }
    text
}

/// Whether the default file has a table for it. The keys that all types have in common stand in the
/// table of the first type.
fn has_table(place: Place) -> bool {
    place.section.types.is_empty() || place.of_type.is_some()
}

/// The section's own keys, in the table of its first type.
fn common(place: Place) -> impl Iterator<Item = &'static Key> {
    let is_first = match (place.of_type, place.nested) {
        (Some(of_type), None) => {
            place.section.types.first().is_some_and(|it| it.name == of_type.name)
        }
        _ => false,
    };
    let keys = if is_first { place.section.keys } else { &[] };
    keys.iter().filter(|key| key.name != "type")
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
    for place in SECTIONS.iter().flat_map(Section::places) {
        let level = if place.of_type.is_some() { "###" } else { "##" };
        let with = match place.of_type {
            Some(of_type) => format!(" with `type = \"{}\"`", of_type.name),
            None => String::new(),
        };
        let pattern = place.pattern();
        let _ = write!(text, "\n{level} `[{pattern}]`{with}\n\n{}\n", place.fill(place.doc()));
        for key in place.keys() {
            let _ = write!(text, "\n{level}# `{}`\n\n{}\n\n", key.name, place.fill(key.doc));
            let _ = writeln!(text, "- Takes: {}", key.kind.describe());
            match key.default {
                Some(default) => {
                    let _ = writeln!(text, "- Default: `{default}`");
                }
                None => {
                    let state = if key.required { "required" } else { "unset" };
                    let _ = writeln!(text, "- Default: {state}");
                    let _ = writeln!(text, "- Example: `{}`", place.fill(key.example));
                }
            }
            let _ = writeln!(text, "- Variable: `{}`", place.variable(key));
        }
    }
    text
}

/// The JSON schema of a settings file.
pub fn json_schema() -> Value {
    let mut properties = Map::new();
    for section in SECTIONS {
        let table = if section.types.is_empty() {
            table_schema(section, None)
        } else {
            let types = section.types.iter().map(|it| table_schema(section, Some(it)));
            json!({ "oneOf": types.collect::<Vec<_>>() })
        };
        let schema = if section.named { named(&section.fill(section.doc), &table) } else { table };
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

/// A table of a section, or of one type of it.
fn table_schema(section: &'static Section, of_type: Option<&'static Type>) -> Value {
    let place = Place { section, of_type, nested: None };
    let keys = section.keys.iter().chain(of_type.map_or(&[][..], |it| it.keys));
    let mut schema = keys_schema(place, keys);
    if let Some(of_type) = of_type {
        schema["properties"]["type"] = json!({ "const": of_type.name });
    }
    for nested in section.tables.iter().chain(of_type.map_or(&[][..], |it| it.tables)) {
        let place = Place { nested: Some(nested), ..place };
        let tables = keys_schema(place, nested.keys.iter());
        schema["properties"][nested.name] = named(&place.fill(place.doc()), &tables);
    }
    schema
}

fn keys_schema(place: Place, keys: impl Iterator<Item = &'static Key> + Clone) -> Value {
    let properties: Map<String, Value> =
        keys.clone().map(|key| (key.name.to_owned(), key_schema(place, key))).collect();
    let mut schema = json!({
        "type": "object",
        "description": place.fill(place.doc()),
        "additionalProperties": false,
        "properties": properties,
    });
    // In settings of several files a table may be completed by another one; the schema judges
    // whole settings.
    let required: Vec<&str> = keys.filter(|key| key.required).map(|key| key.name).collect();
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

/// Tables by their names.
fn named(description: &str, table: &Value) -> Value {
    json!({
        "type": "object",
        "description": description,
        "additionalProperties": false,
        "patternProperties": { "^[a-z0-9_]{1,40}$": table },
    })
}

fn key_schema(place: Place, key: &Key) -> Value {
    let mut schema = kind_schema(key.kind);
    schema["description"] = json!(place.fill(key.doc));
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
        Kind::Text | Kind::Secret | Kind::Time => json!({ "type": "string" }),
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
        Kind::MapOfLists | Kind::MapOfTexts | Kind::MapOfIntegers(..) => json!({
            "type": "object", "additionalProperties": kind_schema(kind.entry()),
        }),
    }
}

/// What the default file says about a key.
fn about(key: &Key) -> String {
    let takes = match key.kind {
        // The example or the sentence shows these well enough.
        Kind::Text
        | Kind::Time
        | Kind::Secret
        | Kind::File
        | Kind::SecretFile
        | Kind::Folder
        | Kind::Path => String::new(),
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
