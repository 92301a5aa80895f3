//! Checks arguments and results against JSON Schema, and says what is wrong in words that a model can act on.
//!
//! Schemas are compiled at their first use and kept, because most tools are never called in a run.

use std::fmt::Write as _;
use std::sync::OnceLock;

use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::{ValidationError, Validator};
use serde_json::Value;

use crate::JsonObject;

/// So many problems are told in one answer.
const MAX_PROBLEMS: usize = 5;
/// A value is echoed up to so many characters.
const MAX_ECHO: usize = 60;
/// A list of allowed values is told up to so many characters.
const MAX_CHOICES: usize = 400;

/// The object of a schema that was written with `serde_json::json!`; anything but an object becomes an empty one.
///
/// An app whose tool has an empty schema does not build, so the mistake is found by the first test.
pub fn schema_object(value: Value) -> JsonObject {
    match value {
        Value::Object(object) => object,
        _ => JsonObject::new(),
    }
}

/// A schema, compiled at its first use.
#[derive(Default)]
pub(crate) struct LazySchema {
    compiled: OnceLock<Result<Validator, String>>,
}

// === impl LazySchema ===

impl LazySchema {
    /// `Ok` if `instance` conforms; else what is wrong, one line for each problem.
    ///
    /// `schema` must be the same at every call.
    pub(crate) fn check(&self, schema: &JsonObject, instance: &Value) -> Result<(), Vec<String>> {
        let compiled = self.compiled.get_or_init(|| compile(schema));
        let validator = match compiled {
            Ok(validator) => validator,
            Err(reason) => return Err(vec![reason.clone()]),
        };
        let errors: Vec<ValidationError<'_>> =
            validator.iter_errors(instance).take(MAX_PROBLEMS).collect();
        let problems: Vec<String> = errors
            .iter()
            .filter(|error| !says_less(error, &errors))
            .map(|error| describe(error, schema))
            .collect();
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }
}

/// Compiles without any access to files or the network: only references inside the schema resolve.
fn compile(schema: &JsonObject) -> Result<Validator, String> {
    jsonschema::draft202012::options()
        .offline()
        .build(&Value::Object(schema.clone()))
        .map_err(|error| format!("the schema itself cannot be used: {error}"))
}

/// Whether the error tells of a wrong type where another one lists the allowed values.
fn says_less(error: &ValidationError<'_>, errors: &[ValidationError<'_>]) -> bool {
    let is_type = matches!(error.kind(), ValidationErrorKind::Type { .. });
    is_type
        && errors.iter().any(|other| {
            matches!(other.kind(), ValidationErrorKind::Enum { .. })
                && other.instance_path() == error.instance_path()
        })
}

/// Takes out the arguments that are null although their schema does not allow null and nothing requires them.
///
/// Clients that fill in forms send null for "left empty", and that is what it then means.
pub(crate) fn drop_empty_arguments(schema: &JsonObject, args: &mut JsonObject) {
    let required = schema.get("required").and_then(Value::as_array);
    let properties = schema.get("properties").and_then(Value::as_object);
    args.retain(|name, value| {
        let is_required =
            required.is_some_and(|names| names.iter().any(|one| one.as_str() == Some(name)));
        let Some(property) = properties.and_then(|all| all.get(name)) else { return true };
        !value.is_null() || is_required || allows_null(property)
    });
}

/// Gives an argument the type that its schema wants where nothing is lost by it: a number for the text `"5"`, the text
/// `"104"` for a number, a list of one for a single value.
///
/// Models and form-filling clients mix these up; refusing what can only mean one thing would cost them a round for nothing.
pub(crate) fn mend_types(schema: &JsonObject, args: &mut JsonObject) {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return };
    for (name, value) in args.iter_mut() {
        let wanted = properties.get(name).and_then(|property| property.get("type"));
        let Some(wanted) = wanted.and_then(Value::as_str) else { continue };
        if let Some(mended) = mend(wanted, value) {
            *value = mended;
        }
    }
}

/// The value as a `wanted`, if it is not one and can only mean that.
fn mend(wanted: &str, value: &Value) -> Option<Value> {
    match (wanted, value) {
        ("string", Value::Number(number)) => Some(Value::String(number.to_string())),
        ("string", Value::Bool(flag)) => Some(Value::String(flag.to_string())),
        ("integer", Value::String(text)) => text.trim().parse::<i64>().ok().map(Value::from),
        ("integer", Value::Number(number)) if !number.is_i64() && !number.is_u64() => {
            // 5.0 is how some clients write 5.
            let number =
                number.as_f64().filter(|number| number.fract() == 0.0 && number.abs() < 1e15)?;
            Some(Value::from(number as i64))
        }
        ("boolean", Value::String(text)) => match text.trim() {
            "true" => Some(Value::Bool(true)),
            "false" => Some(Value::Bool(false)),
            _ => None,
        },
        ("array", Value::String(_) | Value::Number(_)) => Some(Value::Array(vec![value.clone()])),
        _ => None,
    }
}

fn allows_null(property: &Value) -> bool {
    match property.get("type") {
        Some(Value::String(one)) => one == "null",
        Some(Value::Array(several)) => several.iter().any(|one| one == "null"),
        _ => true,
    }
}

fn describe(error: &ValidationError<'_>, schema: &JsonObject) -> String {
    let place = place(error);
    match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected }
        | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
            unknown_names(&place, unexpected, error, schema)
        }
        ValidationErrorKind::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            let full = if place.is_empty() { name.to_owned() } else { format!("{place}.{name}") };
            let hint = property_schema(schema, &full).map(expectation).unwrap_or_default();
            format!("`{full}` is required{hint}")
        }
        ValidationErrorKind::Enum { options } => {
            let echo = echo(error.instance());
            let Some(options) = options.as_array() else {
                return format!("`{place}` is {echo}, which is not allowed");
            };
            let near = nearest_value(error.instance(), options);
            format!("`{place}` is {echo}; allowed: {}{near}", list(options))
        }
        ValidationErrorKind::Constant { expected_value } => {
            format!("`{place}` is {}; allowed: {expected_value}", echo(error.instance()))
        }
        ValidationErrorKind::Type { kind } => {
            let wanted = match kind {
                TypeKind::Single(one) => one.to_string(),
                TypeKind::Multiple(several) => {
                    let names: Vec<String> = several.iter().map(|one| one.to_string()).collect();
                    names.join(" or ")
                }
            };
            let echo = echo(error.instance());
            let subject = subject(&place);
            format!("{subject} must be {} {wanted}, not {echo}", article(&wanted))
        }
        ValidationErrorKind::Minimum { limit } => {
            format!("`{place}` is {}; the least is {limit}", echo(error.instance()))
        }
        ValidationErrorKind::Maximum { limit } => {
            format!("`{place}` is {}; the most is {limit}", echo(error.instance()))
        }
        ValidationErrorKind::Pattern { pattern } => {
            format!("`{place}` is {}; it must match {pattern}", echo(error.instance()))
        }
        ValidationErrorKind::MinLength { limit } => {
            format!("`{place}` is too short; at least {limit} characters")
        }
        ValidationErrorKind::MaxLength { limit } => {
            format!("`{place}` is too long; at most {limit} characters")
        }
        _ => {
            let message = error.masked().to_string();
            format!("{}: {message}", subject(&place))
        }
    }
}

/// The path of the faulty value with dots: `filter.tags.0`.
fn place(error: &ValidationError<'_>) -> String {
    error.instance_path().as_str().trim_start_matches('/').replace('/', ".")
}

fn subject(place: &str) -> String {
    if place.is_empty() { "the arguments".to_owned() } else { format!("`{place}`") }
}

fn article(noun: &str) -> &'static str {
    if noun.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" }
}

fn unknown_names(
    place: &str,
    unexpected: &[String],
    error: &ValidationError<'_>,
    schema: &JsonObject,
) -> String {
    let holder = if place.is_empty() { Some(schema) } else { property_schema(schema, place) };
    let known: Vec<&str> = holder
        .and_then(|holder| holder.get("properties"))
        .and_then(Value::as_object)
        .map(|properties| properties.keys().map(String::as_str).collect())
        .unwrap_or_default();
    let mut text = String::new();
    for name in unexpected {
        let near = nearest(name, known.iter().copied());
        let near = near.map(|near| format!(" (did you mean `{near}`?)")).unwrap_or_default();
        let separator = if text.is_empty() { "" } else { ", " };
        // Writing to a `String` cannot fail.
        let _ = write!(text, "{separator}`{name}`{near}");
    }
    let whose = if place.is_empty() { String::new() } else { format!(" in `{place}`") };
    let is_are = if unexpected.len() == 1 { "is not an argument" } else { "are not arguments" };
    let known = if known.is_empty() {
        let has_some = error.instance().as_object().is_some_and(|object| !object.is_empty());
        if has_some { "there are none".to_owned() } else { String::new() }
    } else {
        format!("known: {}", known.join(", "))
    };
    format!("{text} {is_are}{whose}; {known}")
}

/// The schema of the property at a dotted path, as far as it is written out plainly.
fn property_schema<'a>(schema: &'a JsonObject, path: &str) -> Option<&'a JsonObject> {
    let mut current = schema;
    for part in path.split('.') {
        let next = match current.get("properties").and_then(Value::as_object) {
            Some(properties) => properties.get(part),
            None => current.get("items"),
        };
        current = next?.as_object()?;
    }
    Some(current)
}

/// What a property wants: its allowed values, else its type.
fn expectation(property: &JsonObject) -> String {
    if let Some(options) = property.get("enum").and_then(Value::as_array) {
        return format!("; allowed: {}", list(options));
    }
    match property.get("type").and_then(Value::as_str) {
        Some(kind) => format!(" ({kind})"),
        None => String::new(),
    }
}

fn list(options: &[Value]) -> String {
    let mut text = String::new();
    for (index, option) in options.iter().enumerate() {
        let option = option.as_str().map_or_else(|| option.to_string(), str::to_owned);
        if text.len() + option.len() > MAX_CHOICES {
            let _ = write!(text, " and {} more", options.len() - index);
            break;
        }
        if index > 0 {
            text.push_str(", ");
        }
        text.push_str(&option);
    }
    text
}

fn nearest_value(value: &Value, options: &[Value]) -> String {
    let Some(value) = value.as_str() else { return String::new() };
    nearest(value, options.iter().filter_map(Value::as_str))
        .map(|near| format!(" (did you mean {near}?)"))
        .unwrap_or_default()
}

/// The candidate that is most like `given`, if one is close enough to be a slip of the pen.
pub(crate) fn nearest<'a>(
    given: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    let given = given.to_lowercase();
    let allowed = (given.chars().count() / 3).max(1);
    candidates
        .map(|candidate| (strsim::osa_distance(&given, &candidate.to_lowercase()), candidate))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, _)| *distance <= allowed)
        .map(|(_, candidate)| candidate)
}

/// A value as it is shown back: short, on one line.
fn echo(value: &Value) -> String {
    let text = match value {
        Value::Object(_) => return "an object".to_owned(),
        Value::Array(_) => return "an array".to_owned(),
        other => other.to_string(),
    };
    if text.chars().count() <= MAX_ECHO {
        return text;
    }
    let cut: String = text.chars().take(MAX_ECHO).collect();
    format!("{cut}…")
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::json;

    use super::*;

    #[expect(clippy::needless_pass_by_value, reason = "reads better with `expect!` given by value")]
    fn check(args: Value, expected: Expect) {
        let schema = schema_object(json!({
            "type": "object",
            "properties": {
                "cluster": { "type": "string", "minLength": 1 },
                "vmid": { "type": "integer", "minimum": 100 },
                "action": { "type": "string", "enum": ["start", "stop", "shutdown"] },
                "tags": { "type": "array", "items": { "type": "string" } },
                "name": { "type": ["string", "null"], "pattern": "^[a-z]+$" },
            },
            "required": ["action"],
            "additionalProperties": false,
        }));
        let mut args = schema_object(args);
        drop_empty_arguments(&schema, &mut args);
        mend_types(&schema, &mut args);
        let actual = match LazySchema::default().check(&schema, &Value::Object(args)) {
            Ok(()) => "ok".to_owned(),
            Err(problems) => problems.join("\n"),
        };
        expected.assert_eq(&actual);
    }

    #[test]
    fn a_type_is_mended_only_where_nothing_is_lost() {
        for (wanted, given, mended) in [
            ("integer", json!("104"), Some(json!(104))),
            ("integer", json!(5.0), Some(json!(5))),
            ("integer", json!(5.5), None),
            ("integer", json!("1e3"), None),
            ("integer", json!(7), None),
            ("string", json!(104), Some(json!("104"))),
            ("string", json!(["a"]), None),
            ("boolean", json!("true"), Some(json!(true))),
            ("boolean", json!("yes"), None),
            ("array", json!("status"), Some(json!(["status"]))),
        ] {
            assert_eq!(mend(wanted, &given), mended, "{wanted} from {given}");
        }
    }

    #[test]
    fn problems_name_the_argument_and_what_is_allowed() {
        check(json!({"action": "start", "vmid": null, "name": null}), expect!["ok"]);
        check(json!({"action": null}), expect!["`action` is null; allowed: start, stop, shutdown"]);
        check(json!({}), expect!["`action` is required; allowed: start, stop, shutdown"]);
        check(
            json!({"action": "strat"}),
            expect!["`action` is \"strat\"; allowed: start, stop, shutdown (did you mean start?)"],
        );
        check(
            json!({"action": "stop", "vmid": "web"}),
            expect!["`vmid` must be an integer, not \"web\""],
        );
        check(json!({"action": "stop", "vmid": 7}), expect!["`vmid` is 7; the least is 100"]);
        check(
            json!({"action": "stop", "vmids": 100, "x": 1}),
            expect![
                "`vmids` (did you mean `vmid`?), `x` are not arguments; known: cluster, vmid, action, tags, name"
            ],
        );
        check(
            json!({"action": "stop", "tags": ["a", 2]}),
            expect!["`tags.1` must be a string, not 2"],
        );
        check(
            json!({"action": "stop", "cluster": ""}),
            expect!["`cluster` is too short; at least 1 characters"],
        );
        check(
            json!({"action": "stop", "name": "A"}),
            expect![[r#"`name` is "A"; it must match ^[a-z]+$"#]],
        );
    }

    #[test]
    fn a_schema_that_reaches_out_is_refused() {
        let schema = schema_object(json!({"type": "object", "$ref": "https://example.org/s.json"}));
        let problems = LazySchema::default().check(&schema, &json!({})).unwrap_err();
        assert!(problems[0].starts_with("the schema itself cannot be used"), "{problems:?}");
    }
}
