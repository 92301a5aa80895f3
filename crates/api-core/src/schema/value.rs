//! Whether a value is what a parameter takes, and how it is sent.

use serde_json::{Map, Value};

use super::{
    Kind, Param, format, pattern,
    problem::{Problem, ProblemKind, listed, nearest},
    property,
};

/// The longest pattern that a message shows.
const SHOWN_PATTERN: usize = 120;

/// The texts to send for `value`: one, or one for each item of an array. What is wrong goes to
/// `problems`.
pub(super) fn texts(
    param: Param<'_>,
    place: &str,
    value: &Value,
    problems: &mut Vec<Problem>,
) -> Vec<String> {
    match (value, param.kind()) {
        (Value::Array(items), Kind::Array | Kind::Any) => {
            items.iter().filter_map(|item| scalar(param.item(), place, item, problems)).collect()
        }
        // One item alone is a list of one.
        (_, Kind::Array) => scalar(param.item(), place, value, problems).into_iter().collect(),
        (Value::Array(items), Kind::String) if takes_lists(param) => {
            let texts: Vec<_> =
                items.iter().filter_map(|item| scalar(None, place, item, problems)).collect();
            vec![texts.join(",")]
        }
        _ => scalar(Some(param), place, value, problems).into_iter().collect(),
    }
}

/// Whether the one text holds a list with commas.
fn takes_lists(param: Param<'_>) -> bool {
    param.format().ends_with("-list")
}

fn scalar(
    param: Option<Param<'_>>,
    place: &str,
    value: &Value,
    problems: &mut Vec<Problem>,
) -> Option<String> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(set) => u8::from(*set).to_string(),
        Value::Object(keys) if param.is_some_and(Param::has_keys) => joined(keys),
        Value::Null | Value::Array(_) | Value::Object(_) => {
            let kind = param.map_or(Kind::Any, Param::kind);
            problems.push(Problem::new(place, ProblemKind::Type, wanted(kind)));
            return None;
        }
    };
    match param {
        Some(param) => check(param, place, text, problems),
        None => Some(text),
    }
}

/// `{model: virtio, bridge: vmbr0}` as `model=virtio,bridge=vmbr0`.
fn joined(keys: &Map<String, Value>) -> String {
    let pairs = keys.iter().map(|(key, value)| match value {
        Value::String(text) => format!("{key}={text}"),
        Value::Bool(set) => format!("{key}={}", u8::from(*set)),
        Value::Array(items) => {
            let items: Vec<_> = items
                .iter()
                .map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned))
                .collect();
            format!("{key}={}", items.join(";"))
        }
        other => format!("{key}={other}"),
    });
    pairs.collect::<Vec<_>>().join(",")
}

/// Checks one text, and gives it as it is sent.
pub(super) fn check(
    param: Param<'_>,
    place: &str,
    text: String,
    problems: &mut Vec<Problem>,
) -> Option<String> {
    let text = match param.kind() {
        Kind::Boolean => match text.as_str() {
            "1" | "true" | "yes" | "on" => "1".to_owned(),
            "0" | "false" | "no" | "off" => "0".to_owned(),
            _ => {
                problems.push(Problem::new(place, ProblemKind::Type, wanted(Kind::Boolean)));
                return None;
            }
        },
        Kind::Integer | Kind::Number => {
            let number = match param.kind() {
                Kind::Integer => text.parse::<i64>().ok().map(|whole| whole as f64),
                _ => text.parse::<f64>().ok().filter(|number| number.is_finite()),
            };
            let Some(number) = number else {
                let range = said_range(param);
                let text = format!("{}{range}", wanted(param.kind()));
                problems.push(Problem::new(place, ProblemKind::Type, text));
                return None;
            };
            if is_outside(number, param.range()) {
                let text = format!("{}{}", wanted(param.kind()), said_range(param));
                problems.push(Problem::new(place, ProblemKind::Range, text));
                return None;
            }
            text
        }
        _ => text,
    };
    if param.choices().len() > 0 && !param.choices().any(|choice| choice == text) {
        let close = nearest(&text, param.choices());
        let close = close.map(|close| format!("; did you mean {close}?")).unwrap_or_default();
        let said = format!("choose from {}{close}", listed(param.choices()));
        problems.push(Problem::new(place, ProblemKind::Choice, said));
        return None;
    }
    if is_outside(text.chars().count() as f64, param.length()) {
        let (least, most) = param.length();
        let said = match (least, most) {
            ("", most) => format!("give at most {most} characters"),
            (least, "") => format!("give at least {least} characters"),
            (least, most) => format!("give {least} to {most} characters"),
        };
        problems.push(Problem::new(place, ProblemKind::Length, said));
        return None;
    }
    if !param.pattern().is_empty() && pattern::matches(param.pattern(), &text) == Some(false) {
        let shown = if param.pattern().len() > SHOWN_PATTERN {
            "the server's pattern for it".to_owned()
        } else {
            param.pattern().to_owned()
        };
        let said = format!("it must match {shown}");
        problems.push(Problem::new(place, ProblemKind::Pattern, said));
        return None;
    }
    if let Some(said) = format::wanted(param.format(), &text) {
        problems.push(Problem::new(place, ProblemKind::Pattern, said));
        return None;
    }
    if param.has_keys() {
        property::check(param, place, &text, problems);
    }
    Some(text)
}

fn wanted(kind: Kind) -> String {
    match kind {
        Kind::Integer => "give a whole number".to_owned(),
        Kind::Number => "give a number".to_owned(),
        Kind::Boolean => "give true or false".to_owned(),
        Kind::String => "give a text".to_owned(),
        Kind::Array => "give a list of texts or numbers".to_owned(),
        Kind::Object | Kind::Any => "give a text, a number or true or false".to_owned(),
    }
}

fn said_range(param: Param<'_>) -> String {
    match param.range() {
        ("", "") => String::new(),
        (least, "") => format!(" of at least {least}"),
        ("", most) => format!(" of at most {most}"),
        (least, most) => format!(" from {least} to {most}"),
    }
}

/// Whether the number is outside of the limits; one that cannot be read does not limit.
fn is_outside(number: f64, (least, most): (&str, &str)) -> bool {
    least.parse::<f64>().is_ok_and(|least| number < least)
        || most.parse::<f64>().is_ok_and(|most| number > most)
}
