//! Reads a schema as a server publishes it.
//!
//! The served text is JavaScript: an array literal in JSON, with the viewer's code around it. What
//! is not understood inside it is left out, never an error: a newer server may say more than we
//! know.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value, value::RawValue};

use super::{
    SchemaError,
    table::{Builder, EndpointRow, Kind, List, ParamRow, Table},
};

/// The most characters of a description that are kept: the first sentences say what it is.
const ABOUT_CHARS: usize = 360;
/// The most characters of the sketch of what a call returns.
const RETURNS_CHARS: usize = 240;

/// One path of the tree.
#[derive(Deserialize)]
struct Node<'a> {
    #[serde(default)]
    path: String,
    #[serde(borrow, default)]
    info: BTreeMap<String, &'a RawValue>,
    #[serde(borrow, default)]
    children: Vec<Node<'a>>,
}

/// The JSON array of the served text, without the code around it.
pub(super) fn array_of(served: &str) -> Result<&str, SchemaError> {
    let text = served.trim_start_matches('\u{feff}').trim_start();
    let start = if text.starts_with('[') {
        0
    } else {
        let name = text.find("apiSchema").ok_or(SchemaError::NoSchema)?;
        let assigned = text[name..].find('=').ok_or(SchemaError::NoSchema)? + name;
        text[assigned..].find('[').ok_or(SchemaError::NoSchema)? + assigned
    };
    let text = &text[start..];
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<&RawValue>();
    match values.next() {
        Some(Ok(array)) => Ok(array.get()),
        Some(Err(error)) => Err(SchemaError::Json(error)),
        None => Err(SchemaError::NoSchema),
    }
}

/// The tables of the served text.
pub(super) fn parse(served: &str) -> Result<Table, SchemaError> {
    let array = array_of(served)?;
    let nodes: Vec<Node<'_>> = serde_json::from_str(array).map_err(SchemaError::Json)?;
    let mut builder = Builder::default();
    for node in &nodes {
        add_node(&mut builder, node);
    }
    if builder.endpoints.is_empty() {
        return Err(SchemaError::Empty);
    }
    Ok(builder.finish())
}

fn add_node(builder: &mut Builder, node: &Node<'_>) {
    for (method, info) in &node.info {
        // A method that cannot be sent cannot be described either.
        let Some(method) = super::method_of(method) else { continue };
        if !node.path.starts_with('/') {
            continue;
        }
        if let Ok(Value::Object(info)) = serde_json::from_str(info.get()) {
            add_endpoint(builder, method, &node.path, &info);
        }
    }
    for child in &node.children {
        add_node(builder, child);
    }
}

fn add_endpoint(
    builder: &mut Builder,
    method: &'static str,
    path: &str,
    info: &Map<String, Value>,
) {
    let parameters = info.get("parameters").and_then(Value::as_object);
    let properties =
        parameters.and_then(|given| given.get("properties")).and_then(Value::as_object);
    let params = properties.map(|given| params_of(builder, given)).unwrap_or_default();
    let open = parameters.is_none_or(|given| match given.get("additionalProperties") {
        // PVE leaves the word out where it takes nothing.
        None => properties.is_some(),
        Some(word) => is_set(Some(word)),
    });
    let returns = info.get("returns");
    let row = EndpointRow {
        method,
        path: builder.text(path),
        name: builder.text(text_of(info.get("name"))),
        about: builder.text(&about_of(info)),
        returns: builder.text(&returns.map(returns_of).unwrap_or_default()),
        permissions: builder.text(&permissions_of(info.get("permissions"))),
        params,
        protected: is_set(info.get("protected")),
        open,
    };
    builder.endpoints.push(row);
}

fn params_of(builder: &mut Builder, properties: &Map<String, Value>) -> List {
    let mut rows = Vec::with_capacity(properties.len());
    for (name, given) in properties {
        if let Value::Object(given) = given {
            let row = param_of(builder, name, given);
            rows.push(builder.param(row));
        }
    }
    builder.list(rows)
}

fn param_of(builder: &mut Builder, name: &str, given: &Map<String, Value>) -> ParamRow {
    let mut row = ParamRow {
        name: builder.text(name),
        about: builder.text(&about_of(given)),
        kind: Kind::of(text_of(given.get("type"))),
        optional: is_set(given.get("optional")),
        default_key: is_set(given.get("default_key")),
        open: false,
        default: builder.text(&scalar_of(given.get("default"))),
        pattern: builder.text(text_of(given.get("pattern"))),
        minimum: builder.text(&scalar_of(given.get("minimum"))),
        maximum: builder.text(&scalar_of(given.get("maximum"))),
        min_length: builder.text(&scalar_of(given.get("minLength"))),
        max_length: builder.text(&scalar_of(given.get("maxLength"))),
        requires: builder.text(text_of(given.get("requires"))),
        alias: builder.text(text_of(given.get("alias"))),
        ..ParamRow::default()
    };
    if let Some(choices) = given.get("enum").and_then(Value::as_array) {
        let texts = choices.iter().map(|choice| builder.text(&scalar_of(Some(choice)))).collect();
        row.choices = builder.choices(texts);
    }
    match given.get("format") {
        Some(Value::String(format)) => row.format = builder.text(format),
        Some(Value::Object(format)) => nest(builder, &mut row, format),
        _ => {}
    }
    if let Some(Value::Object(item)) = given.get("items") {
        let item = param_of(builder, "", item);
        let item = builder.param(item);
        row.item = builder.list(vec![item]);
    }
    row
}

/// The keys of a property string: PVE lists them directly, PBS as the properties of an object.
fn nest(builder: &mut Builder, row: &mut ParamRow, format: &Map<String, Value>) {
    if !format.get("type").is_some_and(Value::is_string) {
        row.nested = params_of(builder, format);
        return;
    }
    match (format.get("properties"), format.get("items")) {
        (Some(Value::Object(properties)), _) => {
            let mut properties = properties.clone();
            let default_key = text_of(format.get("default_key"));
            if let Some(Value::Object(key)) = properties.get_mut(default_key) {
                key.insert("default_key".to_owned(), true.into());
            }
            row.nested = params_of(builder, &properties);
            row.open = is_set(format.get("additionalProperties"));
        }
        (_, Some(Value::Object(item))) => {
            let item = param_of(builder, "", item);
            let item = builder.param(item);
            row.item = builder.list(vec![item]);
        }
        _ => {}
    }
}

/// PVE writes yes as 1 or true, and seldom as "1".
fn is_set(value: Option<&Value>) -> bool {
    match value {
        Some(Value::Bool(set)) => *set,
        Some(Value::Number(number)) => number.as_f64().is_some_and(|number| number != 0.0),
        Some(Value::String(text)) => !matches!(text.as_str(), "" | "0"),
        _ => false,
    }
}

fn text_of(value: Option<&Value>) -> &str {
    value.and_then(Value::as_str).unwrap_or_default()
}

fn scalar_of(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Bool(set)) => u8::from(*set).to_string(),
        Some(Value::Number(number)) => number.to_string(),
        _ => String::new(),
    }
}

/// The description on one line, without its far end.
fn about_of(info: &Map<String, Value>) -> String {
    one_line(text_of(info.get("description")), ABOUT_CHARS)
}

fn one_line(text: &str, most: usize) -> String {
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    if let Some((cut, _)) = line.char_indices().nth(most) {
        line.truncate(cut);
        line.push('…');
    }
    line
}

/// A sketch of what a call returns: `list of {vmid, name, status}`.
fn returns_of(returns: &Value) -> String {
    let kind = text_of(returns.get("type"));
    let sketch = match kind {
        "array" => match returns.get("items").map(returns_of) {
            Some(items) if !items.is_empty() => format!("list of {items}"),
            _ => "list".to_owned(),
        },
        "object" => match returns.get("properties").and_then(Value::as_object) {
            Some(properties) if !properties.is_empty() => {
                let names: Vec<_> = properties.keys().map(String::as_str).collect();
                format!("{{{}}}", names.join(", "))
            }
            _ => "object".to_owned(),
        },
        other => other.to_owned(),
    };
    one_line(&sketch, RETURNS_CHARS)
}

/// Who may call it: `VM.Audit on /vms/{vmid}`.
fn permissions_of(permissions: Option<&Value>) -> String {
    let Some(Value::Object(permissions)) = permissions else { return String::new() };
    let mut said = match text_of(permissions.get("user")) {
        "" => String::new(),
        "all" => "any user".to_owned(),
        "world" => "anybody".to_owned(),
        other => other.to_owned(),
    };
    let rule = permissions.get("check").map(rule_of).unwrap_or_default();
    let rule = if rule.is_empty() { joined(permissions) } else { rule };
    if !rule.is_empty() {
        said = rule;
    }
    let about = one_line(text_of(permissions.get("description")), ABOUT_CHARS);
    match (said.is_empty(), about.is_empty()) {
        (_, true) => said,
        (true, false) => about,
        (false, false) => format!("{said}. {about}"),
    }
}

/// PBS: `{path, privs, partial}`, or `and` and `or` of such.
fn joined(rule: &Map<String, Value>) -> String {
    for word in ["and", "or"] {
        if let Some(Value::Array(rules)) = rule.get(word) {
            let rules: Vec<_> = rules.iter().map(rule_of).filter(|rule| !rule.is_empty()).collect();
            return rules.join(&format!(" {word} "));
        }
    }
    let names = |name: &str| -> Vec<&str> {
        let list = rule.get(name).and_then(Value::as_array);
        list.map(|list| list.iter().filter_map(Value::as_str).collect()).unwrap_or_default()
    };
    let privileges = names("privs");
    if privileges.is_empty() {
        return String::new();
    }
    let word = if is_set(rule.get("partial")) { " or " } else { " and " };
    format!("{} on /{}", privileges.join(word), names("path").join("/"))
}

/// PVE: `["perm", path, [privileges], "any", 1]`, or `["or", rule, …]`.
fn rule_of(rule: &Value) -> String {
    let rule = match rule {
        Value::Object(rule) => return joined(rule),
        Value::Array(rule) => rule,
        _ => return String::new(),
    };
    let word = text_of(rule.first());
    if matches!(word, "and" | "or") {
        let rules: Vec<_> = rule[1..].iter().map(rule_of).filter(|rule| !rule.is_empty()).collect();
        return if rules.len() > 1 {
            format!("({})", rules.join(&format!(" {word} ")))
        } else {
            rules.concat()
        };
    }
    let mut out = String::new();
    let options: Vec<_> = rule.iter().skip(2).collect();
    let any = options.windows(2).any(|pair| *pair[0] == "any" && is_set(Some(pair[1])));
    let lists = rule.iter().skip(1).filter_map(Value::as_array);
    for list in lists {
        let names: Vec<_> = list.iter().filter_map(Value::as_str).collect();
        out = names.join(if any { " or " } else { " and " });
    }
    let place = rule.iter().skip(1).find_map(Value::as_str).unwrap_or_default();
    match (word, out.is_empty()) {
        ("perm", false) => format!("{out} on {place}"),
        (_, false) => format!("{word} {out}"),
        (_, true) => format!("{word} {place}").trim_end().to_owned(),
    }
}
