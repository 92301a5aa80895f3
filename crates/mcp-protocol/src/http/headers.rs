//! What headers have to say: media types, and the copies of the body's facts that 2026-07-28 wants.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};
use serde_json::Value;

use super::reply::{EVENTS, JSON};
use crate::JsonObject;

pub(crate) const VERSION: &str = "mcp-protocol-version";
pub(crate) const LAST_EVENT_ID: &str = "last-event-id";
pub(crate) const METHOD: &str = "mcp-method";
const NAME: &str = "mcp-name";
const PARAM_PREFIX: &str = "Mcp-Param-";
/// The key of a property's schema that names the header which repeats it.
const ANNOTATION: &str = "x-mcp-header";

/// What is wrong with the headers of a body that is understood.
pub(crate) type Mismatch = String;

/// Whether the client takes `wanted`. One that does not say takes anything.
pub(crate) fn accepts(headers: &HeaderMap, wanted: &str) -> bool {
    let mut values = headers.get_all(ACCEPT).iter().peekable();
    if values.peek().is_none() {
        return true;
    }
    let family = wanted.split('/').next().unwrap_or_default();
    values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let media_type = parts.next().unwrap_or_default();
        let fits = media_type.eq_ignore_ascii_case(wanted)
            || media_type == "*/*"
            || media_type.strip_suffix("/*").is_some_and(|of| of.eq_ignore_ascii_case(family));
        fits && !parts.any(is_zero_weight)
    })
}

/// `q=0`, which means the opposite of being listed.
fn is_zero_weight(parameter: &str) -> bool {
    let Some((name, value)) = parameter.split_once('=') else { return false };
    name.trim().eq_ignore_ascii_case("q")
        && value.trim().starts_with('0')
        && value.trim().trim_start_matches('0').trim_start_matches('.').trim_matches('0').is_empty()
}

/// Both kinds of answer, of which the server chooses one.
pub(crate) fn accepts_both(headers: &HeaderMap) -> bool {
    accepts(headers, JSON) && accepts(headers, EVENTS)
}

/// Whether the body is said to be JSON.
pub(crate) fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = value.and_then(|value| value.split(';').next());
    media_type.is_some_and(|media_type| media_type.trim().eq_ignore_ascii_case(JSON))
}

/// The one value of a header, if it is there.
pub(crate) fn single<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Mismatch> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    // Somebody on the way may go by the other one.
    if values.next().is_some() {
        return Err(format!("the header {name} is there twice"));
    }
    let text = HeaderValue::to_str(value);
    text.map(Some).map_err(|_| format!("the header {name} has characters that it may not have"))
}

/// Holds the headers of a modern request or notification against its body. `schema` is that of the tool that is called.
pub(crate) fn agree(
    headers: &HeaderMap,
    version: &str,
    message: &JsonObject,
    schema: Option<&JsonObject>,
) -> Result<(), Mismatch> {
    expect(headers, VERSION, "the protocol version in _meta", version)?;
    let method = message.get("method").and_then(Value::as_str).unwrap_or_default();
    expect(headers, METHOD, "the body's method", method)?;
    let params = message.get("params");
    if let Some(name) = name_of(method, params) {
        expect_encoded(headers, NAME, "what the body names", name)?;
    }
    match schema.filter(|_| method == "tools/call") {
        Some(schema) => {
            params_agree(headers, params.and_then(|params| params.get("arguments")), schema)
        }
        None => Ok(()),
    }
}

/// Holds the headers that repeat arguments against these.
fn params_agree(
    headers: &HeaderMap,
    arguments: Option<&Value>,
    schema: &JsonObject,
) -> Result<(), Mismatch> {
    let mut annotated = Vec::new();
    collect(schema.get("properties"), &mut Vec::new(), &mut annotated);
    for (path, header) in annotated {
        let header = format!("{PARAM_PREFIX}{header}");
        let argument = path.join(".");
        let value = arguments
            .and_then(|arguments| path.iter().try_fold(arguments, |value, key| value.get(key)));
        let value = value.and_then(|value| match value {
            Value::String(text) => Some(text.clone()),
            Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
            _ => None,
        });
        match value {
            Some(value) => {
                expect_encoded(headers, &header, &format!("the argument {argument}"), &value)?;
            }
            None if single(headers, &header)?.is_some() => {
                return Err(format!("the header {header} repeats {argument}, which is not given"));
            }
            None => {}
        }
    }
    Ok(())
}

/// The annotated properties, as path and header.
fn collect<'a>(
    properties: Option<&'a Value>,
    path: &mut Vec<&'a str>,
    found: &mut Vec<(Vec<&'a str>, &'a str)>,
) {
    let Some(Value::Object(properties)) = properties else { return };
    for (name, schema) in properties {
        path.push(name);
        if let Some(header) = schema.get(ANNOTATION).and_then(Value::as_str)
            && !header.is_empty()
        {
            found.push((path.clone(), header));
        }
        collect(schema.get("properties"), path, found);
        path.pop();
    }
}

/// What a request is about, for whoever routes by headers alone.
fn name_of<'a>(method: &str, params: Option<&'a Value>) -> Option<&'a str> {
    let key = match method {
        "tools/call" | "prompts/get" => "name",
        "resources/read" => "uri",
        "tasks/get" | "tasks/update" | "tasks/cancel" => "taskId",
        _ => return None,
    };
    params?.get(key)?.as_str()
}

fn expect(headers: &HeaderMap, name: &str, what: &str, wanted: &str) -> Result<(), Mismatch> {
    match single(headers, name)? {
        Some(given) if given == wanted => Ok(()),
        Some(given) => Err(format!("the header {name} says {given}, but {what} is {wanted}")),
        None => Err(format!("the header {name} is missing; {what} is {wanted}")),
    }
}

/// The same for a value that may be written as `=?base64?…?=`.
fn expect_encoded(
    headers: &HeaderMap,
    name: &str,
    what: &str,
    wanted: &str,
) -> Result<(), Mismatch> {
    let Some(given) = single(headers, name)? else {
        return Err(format!("the header {name} is missing; {what} is {wanted}"));
    };
    let decoded = match given.strip_prefix("=?base64?").and_then(|given| given.strip_suffix("?=")) {
        None => given.to_owned(),
        Some(encoded) => {
            let bytes = STANDARD.decode(encoded).ok();
            bytes
                .and_then(|bytes| String::from_utf8(bytes).ok())
                .ok_or_else(|| format!("the header {name} is not Base64 of a text"))?
        }
    };
    if decoded == wanted {
        Ok(())
    } else {
        Err(format!("the header {name} says {decoded}, but {what} is {wanted}"))
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::json;

    use super::*;
    use crate::schema::schema_object;

    fn headers(lines: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines.lines() {
            let (name, value) = line.trim().split_once(": ").unwrap();
            let name: http::HeaderName = name.parse().unwrap();
            headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        headers
    }

    #[test]
    fn media_types_are_read_as_programs_write_them() {
        for (accept, expected) in [
            ("accept: application/json, text/event-stream", true),
            ("accept: application/json\naccept: Text/Event-Stream;q=0.5", true),
            ("accept: */*", true),
            ("accept: application/*, text/*", true),
            ("accept: application/json", false),
            ("accept: application/json, text/event-stream;q=0.0", false),
            ("accept: text/html", false),
        ] {
            assert_eq!(accepts_both(&headers(accept)), expected, "{accept}");
        }
        assert!(accepts_both(&HeaderMap::new()), "who does not say takes anything");
        assert!(is_json(&headers("content-type: Application/JSON; charset=utf-8")));
        assert!(!is_json(&headers("content-type: text/json")));
        assert!(!is_json(&HeaderMap::new()));
    }

    fn check(lines: &str, message: Value, expected: &Expect) {
        let schema = schema_object(json!({
            "type": "object",
            "properties": {
                "region": { "type": "string", "x-mcp-header": "Region" },
                "deep": { "properties": { "level": { "type": "integer", "x-mcp-header": "Level" } } },
            },
        }));
        let message = schema_object(message);
        let result = agree(&headers(lines), "2026-07-28", &message, Some(&schema));
        expected.assert_eq(&result.err().unwrap_or_default());
    }

    #[test]
    fn headers_repeat_the_body() {
        let call = |arguments: Value| json!({ "method": "tools/call", "params": { "name": "é", "arguments": arguments } });
        let base =
            "mcp-protocol-version: 2026-07-28\nmcp-method: tools/call\nmcp-name: =?base64?w6k=?=";
        check(base, call(json!({})), &expect![""]);
        let full = format!("{base}\nMcp-Param-Region: eu\nMcp-Param-Level: 3");
        check(&full, call(json!({ "region": "eu", "deep": { "level": 3 } })), &expect![""]);
        check(
            &full,
            call(json!({ "region": "us", "deep": { "level": 3 } })),
            &expect!["the header Mcp-Param-Region says eu, but the argument region is us"],
        );
        check(
            &full,
            call(json!({ "region": "eu" })),
            &expect!["the header Mcp-Param-Level repeats deep.level, which is not given"],
        );
        check(
            base,
            call(json!({ "region": "eu" })),
            &expect!["the header Mcp-Param-Region is missing; the argument region is eu"],
        );
        let list = json!({ "method": "tools/list" });
        check(
            "x: y",
            list.clone(),
            &expect![
                "the header mcp-protocol-version is missing; the protocol version in _meta is 2026-07-28"
            ],
        );
        check(
            "mcp-protocol-version: 2026-07-28\nmcp-method: tools/call",
            list.clone(),
            &expect!["the header mcp-method says tools/call, but the body's method is tools/list"],
        );
        check(
            "mcp-protocol-version: 2026-07-28\nmcp-method: tools/list\nmcp-method: tools/list",
            list,
            &expect!["the header mcp-method is there twice"],
        );
        check(
            "mcp-protocol-version: 2026-07-28\nmcp-method: tools/call\nmcp-name: =?base64?!?=",
            call(json!({})),
            &expect!["the header mcp-name is not Base64 of a text"],
        );
    }
}
