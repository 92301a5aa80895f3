//! Checks parameters against the table, with each product's own wording.

use serde_json::{Map, Value};

use super::kind::{Kind, Param, Prop};

/// How the parameters arrived: text (query and form) is coerced, JSON keeps its types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    Text,
    Json,
}

/// Checks `given` as PVE does. On success integers, numbers and booleans have their JSON types.
pub(crate) fn pve(
    params: &[Param],
    given: Map<String, Value>,
) -> Result<Map<String, Value>, Vec<(String, String)>> {
    let mut errors = Vec::new();
    let mut clean = Map::new();
    for (name, value) in given {
        match params.iter().find(|param| param.covers(&name)) {
            None => errors.push((
                name,
                "property is not defined in schema and the schema does not allow additional properties"
                    .to_owned(),
            )),
            Some(param) => match pve_value(&param.kind, &name, value) {
                Ok(value) => {
                    clean.insert(name, value);
                }
                Err(text) => errors.push((name, text)),
            },
        }
    }
    for param in params {
        if !param.optional && !clean.contains_key(&param.name) {
            let said = errors.iter().any(|(name, _)| *name == param.name);
            if !said {
                let text = "property is missing and it is not optional".to_owned();
                errors.push((param.name.clone(), text));
            }
        }
    }
    if errors.is_empty() { Ok(clean) } else { Err(errors) }
}

/// Checks one value as PVE does.
pub(crate) fn pve_value(kind: &Kind, name: &str, value: Value) -> Result<Value, String> {
    let text = match &value {
        Value::Array(items) if matches!(kind, Kind::List(_)) => {
            let Kind::List(inner) = kind else { return Ok(value) };
            let items: Result<Vec<Value>, String> =
                items.iter().map(|item| pve_value(inner, name, item.clone())).collect();
            return items.map(Value::Array);
        }
        Value::Array(_) => {
            return Err(format!("type check ('{}') failed - got ARRAY", kind.type_name()));
        }
        Value::Object(_) => {
            return Err(format!("type check ('{}') failed - got HASH", kind.type_name()));
        }
        Value::String(text) => text.clone(),
        Value::Bool(on) => i32::from(*on).to_string(),
        Value::Null => String::new(),
        Value::Number(number) => number.to_string(),
    };
    let mistyped = || format!("type check ('{}') failed - got '{text}'", kind.type_name());
    match kind {
        Kind::Bool => match text.as_str() {
            "1" => Ok(Value::Bool(true)),
            "0" => Ok(Value::Bool(false)),
            _ => Err(mistyped()),
        },
        Kind::Int { min, max } => {
            let number: i64 = text.parse().map_err(|_| mistyped())?;
            bounds(number, *min, *max)?;
            Ok(Value::from(number))
        }
        Kind::Num { min, max } => {
            let number: f64 = text.parse().map_err(|_| mistyped())?;
            bounds(number, *min, *max)?;
            Ok(Value::from(number))
        }
        Kind::Str { min, max, format } => {
            let count = text.chars().count();
            if min.is_some_and(|min| count < min) {
                return Err(format!("value must be at least {} characters long", min.unwrap_or(0)));
            }
            if max.is_some_and(|max| count > max) {
                return Err(format!("value may only be {} characters long", max.unwrap_or(0)));
            }
            if let Some(format) = format {
                pve_format(format, &text).map_err(|said| format!("invalid format - {said}\n"))?;
            }
            Ok(Value::String(text))
        }
        Kind::Enum(values) => {
            if values.contains(&text) {
                return Ok(Value::String(text));
            }
            Err(format!(
                "value '{text}' does not have a value in the enumeration '{}'",
                values.join(", ")
            ))
        }
        Kind::List(inner) => {
            pve_value(inner, name, Value::String(text)).map(|one| Value::Array(vec![one]))
        }
        Kind::Props(props) => {
            let wrong = properties(props, name, &text);
            if wrong.is_empty() {
                return Ok(Value::String(text));
            }
            Err(format!("invalid format - format error\n{}\n", wrong.join("\n")))
        }
    }
}

/// Splits a property string and says what is wrong with it, a line each.
fn properties(props: &[Prop], name: &str, text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (key, value) = match part.split_once('=') {
            Some((key, value)) => (key, value),
            None => match props.iter().find(|prop| prop.default) {
                Some(prop) => (prop.name.as_str(), part),
                None => {
                    wrong.push(format!(
                        "{name}: value without key, but schema does not define a default key"
                    ));
                    continue;
                }
            },
        };
        match props.iter().find(|prop| prop.name == key) {
            None => wrong.push(format!(
                "{name}.{key}: property is not defined in schema and the schema does not allow additional properties"
            )),
            Some(prop) => {
                // Switches inside property strings may be written as words.
                let value = match (&prop.kind, value) {
                    (Kind::Bool, "on" | "yes" | "true") => "1",
                    (Kind::Bool, "off" | "no" | "false") => "0",
                    (_, value) => value,
                };
                if let Err(said) = pve_value(&prop.kind, key, Value::from(value)) {
                    wrong.push(format!("{name}.{key}: {said}"));
                }
            }
        }
    }
    wrong
}

fn bounds<T: PartialOrd + std::fmt::Display + Copy>(
    value: T,
    min: Option<T>,
    max: Option<T>,
) -> Result<(), String> {
    if let Some(min) = min
        && value < min
    {
        return Err(format!("value must have a minimum value of {min}"));
    }
    if let Some(max) = max
        && value > max
    {
        return Err(format!("value must have a maximum value of {max}"));
    }
    Ok(())
}

/// The named formats that are worth refusing; the others accept everything.
fn pve_format(format: &str, text: &str) -> Result<(), String> {
    let id = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_alphabetic())
            && text.len() > 1
            && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c))
    };
    match format {
        "pve-configid" if !id(text) => Err(format!("invalid configuration ID '{text}'")),
        "pve-storage-id"
            if !(id(text)
                || text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)))
                || text.len() < 2 =>
        {
            Err(format!("storage ID '{text}' contains illegal characters"))
        }
        "pve-userid" if !text.contains('@') => {
            Err(format!("value '{text}' does not look like a valid user name"))
        }
        "dns-name"
            if text.is_empty()
                || !text.chars().all(|c| c.is_ascii_alphanumeric() || "-.".contains(c)) =>
        {
            Err("value does not look like a valid DNS name".to_owned())
        }
        // What is not escaped stands out by a blank or a stray percent sign.
        "urlencoded" if text.contains([' ', '\n']) => Err("invalid urlencoded string".to_owned()),
        "pve-vmid-list" => {
            let bad = text.split([',', ';', ' ']).find(|part| part.parse::<u32>().is_err());
            bad.map_or(Ok(()), |_| Err("value does not look like a valid VM ID".to_owned()))
        }
        "pve-ha-resource-or-vm-id" => {
            let bare =
                text.strip_prefix("vm:").or_else(|| text.strip_prefix("ct:")).unwrap_or(text);
            if bare.parse::<u32>().is_ok() {
                return Ok(());
            }
            Err("value does not look like a valid ha resource id".to_owned())
        }
        _ => Ok(()),
    }
}

/// Checks `given` as PBS does; the error is the text after `parameter verification failed - `.
pub(crate) fn pbs(
    params: &[Param],
    given: Map<String, Value>,
    shape: Shape,
) -> Result<Map<String, Value>, Vec<(String, String)>> {
    let mut errors = Vec::new();
    let mut clean = Map::new();
    for (name, value) in given {
        match params.iter().find(|param| param.covers(&name)) {
            None => errors.push((name, "schema does not allow additional properties.".to_owned())),
            Some(param) => match pbs_value(&param.kind, value, shape) {
                Ok(value) => {
                    clean.insert(name, value);
                }
                Err(text) => errors.push((name, text)),
            },
        }
    }
    for param in params {
        let said = errors.iter().any(|(name, _)| *name == param.name);
        if !param.optional && !clean.contains_key(&param.name) && !said {
            errors.push((
                param.name.clone(),
                "parameter is missing and it is not optional.".to_owned(),
            ));
        }
    }
    if errors.is_empty() { Ok(clean) } else { Err(errors) }
}

fn pbs_value(kind: &Kind, value: Value, shape: Shape) -> Result<Value, String> {
    match (kind, shape, value) {
        (Kind::List(inner), _, Value::Array(items)) => {
            let items: Result<Vec<Value>, String> =
                items.into_iter().map(|item| pbs_value(inner, item, shape)).collect();
            items.map(Value::Array)
        }
        (Kind::List(inner), Shape::Text, value) => {
            pbs_value(inner, value, shape).map(|one| Value::Array(vec![one]))
        }
        (Kind::List(_), Shape::Json, _) => Err("Expected array - got scalar value.".to_owned()),
        (Kind::Bool, _, Value::Bool(on)) => Ok(Value::Bool(on)),
        (Kind::Bool, Shape::Text, Value::String(text)) => match text.to_lowercase().as_str() {
            "1" | "on" | "yes" | "true" => Ok(Value::Bool(true)),
            "0" | "off" | "no" | "false" => Ok(Value::Bool(false)),
            _ => Err("Unable to parse boolean option.".to_owned()),
        },
        (Kind::Bool, _, _) => Err("Expected boolean value.".to_owned()),
        (Kind::Int { min, max }, _, Value::Number(number)) => {
            let number = number.as_i64().ok_or("Expected integer value.")?;
            pbs_bounds(number, *min, *max)
        }
        (Kind::Int { min, max }, Shape::Text, Value::String(text)) => {
            let number: i64 =
                text.parse().map_err(|error: std::num::ParseIntError| error.to_string())?;
            pbs_bounds(number, *min, *max)
        }
        (Kind::Int { .. }, _, _) => Err("Expected integer value.".to_owned()),
        (Kind::Num { .. }, _, Value::Number(number)) => Ok(Value::Number(number)),
        (Kind::Num { .. }, Shape::Text, Value::String(text)) => {
            text.parse::<f64>().map(Value::from).map_err(|error| error.to_string())
        }
        (Kind::Num { .. }, _, _) => Err("Expected number value.".to_owned()),
        (Kind::Enum(values), _, Value::String(text)) => {
            if values.contains(&text) {
                return Ok(Value::String(text));
            }
            Err(format!("value '{text}' is not defined in the enumeration."))
        }
        (Kind::Str { min, max, .. }, _, Value::String(text)) => {
            let count = text.chars().count();
            if let Some(min) = min
                && count < *min
            {
                return Err(format!("value must be at least {min} characters long"));
            }
            if let Some(max) = max
                && count > *max
            {
                return Err(format!("value may only be {max} characters long"));
            }
            Ok(Value::String(text))
        }
        (Kind::Props(_), _, Value::String(text)) => Ok(Value::String(text)),
        (Kind::Str { .. } | Kind::Enum(_) | Kind::Props(_), _, Value::Array(_)) => {
            Err("Expected string - got array.".to_owned())
        }
        (Kind::Str { .. } | Kind::Enum(_) | Kind::Props(_), _, _) => {
            Err("Expected string value.".to_owned())
        }
    }
}

fn pbs_bounds(number: i64, min: Option<i64>, max: Option<i64>) -> Result<Value, String> {
    if let Some(min) = min
        && number < min
    {
        return Err(format!("value must have a minimum value of {min} (got {number})"));
    }
    if let Some(max) = max
        && number > max
    {
        return Err(format!("value must have a maximum value of {max} (got {number})"));
    }
    Ok(Value::from(number))
}
