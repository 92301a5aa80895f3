//! Replies that were recorded or written, read by the types of the calls that ask for them.

use std::{
    any::type_name,
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Case, inner, short};

/// What the recorded replies show.
#[derive(Default)]
pub struct Coverage {
    /// By call: reply type, fields that were recorded, those that have no name, where from.
    rows: Vec<(String, String, usize, Vec<String>)>,
    /// The calls that no recorded reply exercises, with their reply types.
    unexercised: BTreeMap<String, String>,
    /// The exercised types of which no value is looked at.
    unlooked: BTreeSet<String>,
}

/// Reads every recorded reply with the call that asks for it: `replies` are those to a GET on each
/// path, `conversation` whole conversations.
///
/// # Panics
///
/// When a recorded reply cannot be read by its type, or a look at it fails.
pub fn read_recorded(cases: &[Case], replies: &Value, conversation: &Value) -> Coverage {
    let mut coverage = Coverage::default();
    let mut seen_types = BTreeSet::new();
    let mut looked_types = BTreeSet::new();
    let mut seen_calls = BTreeSet::new();
    for case in cases {
        let mut samples = Vec::new();
        if case.other_reply {
            continue;
        }
        if case.method == "GET"
            && let Some(reply) = replies.get(case.template)
            && reply["status"] == 200
        {
            samples.extend(data_of(reply));
        }
        for exchange in conversation.as_array().into_iter().flatten() {
            let request = &exchange["request"];
            let path = request["path"].as_str().unwrap_or_default();
            let method = request["method"].as_str().unwrap_or_default();
            if exchange["status"] == 200 && case.fits(method, path) {
                samples.extend(data_of(exchange));
            }
        }
        let mut fields = BTreeSet::new();
        let mut unnamed = BTreeSet::new();
        let mut looked = false;
        for sample in &samples {
            let look = !looked && !is_empty(sample);
            looked |= look;
            let ignored = (case.read)(sample, look).unwrap_or_else(|error| {
                panic!("{} {} as {}: {error}", case.method, case.template, case.reply)
            });
            paths(sample, "", &mut fields);
            unnamed.extend(ignored.iter().map(|path| general(path)));
        }
        let call = format!("{} {}", case.method, case.template);
        if !looked {
            coverage.unexercised.insert(call, case.reply.clone());
            continue;
        }
        seen_types.insert(inner(&case.reply).to_owned());
        if case.looks {
            looked_types.insert(inner(&case.reply).to_owned());
        }
        // What lies below a field that nobody names is not counted again.
        let below = |path: &String| unnamed.iter().any(|u| path.starts_with(&format!("{u}.")));
        fields.retain(|path| !below(path));
        if !seen_calls.insert((call.clone(), case.reply.clone())) {
            continue;
        }
        let count = if case.table { 0 } else { fields.len() };
        coverage.rows.push((call, case.reply.clone(), count, unnamed.into_iter().collect()));
    }
    coverage.unexercised.retain(|_, reply| !seen_types.contains(inner(reply)));
    coverage.unlooked = seen_types.difference(&looked_types).cloned().collect();
    coverage
}

impl Coverage {
    /// The types of which neither a recorded nor a written reply shows that they are read right.
    pub fn unproven(&self, written: &[Written]) -> Vec<&str> {
        // What says nothing, plain and secret texts and UPIDs cannot be read wrong.
        let plain = ["Done", "String", "Upid", "str"];
        let unexercised = self.unexercised.values().map(|reply| inner(reply));
        let unlooked = self.unlooked.iter().map(String::as_str);
        let known = |name: &str| plain.contains(&name) || written.iter().any(|w| w.reply == name);
        unexercised.chain(unlooked).filter(|name| !known(name)).collect()
    }

    /// The table for people, and the share of recorded fields that have a name.
    pub fn report(&self) -> (String, f64) {
        // Writing into a text cannot fail.
        let mut text = String::new();
        let (mut all, mut named) = (0, 0);
        for (call, reply, fields, unnamed) in &self.rows {
            let ours = fields.saturating_sub(unnamed.len());
            all += fields;
            named += ours;
            let share = if *fields == 0 { 100.0 } else { ours as f64 * 100.0 / *fields as f64 };
            let _ = write!(text, "{share:5.1} % {ours:3}/{fields:3}  {call}  {reply}");
            if !unnamed.is_empty() {
                let _ = write!(text, "  without a name: {}", unnamed.join(" "));
            }
            text.push('\n');
        }
        let share = if all == 0 { 0.0 } else { named as f64 * 100.0 / all as f64 };
        let _ = writeln!(
            text,
            "{share:5.1} % of {all} recorded fields in {} calls have a name of their own",
            self.rows.len()
        );
        text += "never exercised by a recorded reply:\n";
        for (call, reply) in &self.unexercised {
            let _ = writeln!(text, "  {call}  {reply}");
        }
        (text, share)
    }
}

fn data_of(reply: &Value) -> Option<Value> {
    if let Some(json) = reply.get("json") {
        return json.get("data").cloned();
    }
    // Long replies were cut: the whole rows at their head are still good.
    let text = reply.get("text")?.as_str()?;
    let mut rest = text.strip_prefix("{\"data\":[")?;
    let mut rows = Vec::new();
    loop {
        let mut stream = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
        let Some(Ok(row)) = stream.next() else { break };
        rows.push(row);
        let Some(next) = rest[stream.byte_offset()..].strip_prefix(',') else { break };
        rest = next;
    }
    Some(Value::Array(rows))
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(table) => table.is_empty(),
        _ => false,
    }
}

fn paths(value: &Value, at: &str, out: &mut BTreeSet<String>) {
    let below = |key: &str| if at.is_empty() { key.to_owned() } else { format!("{at}.{key}") };
    match value {
        Value::Array(list) => list.iter().for_each(|item| paths(item, &below("0"), out)),
        Value::Object(table) => {
            for (key, value) in table {
                out.insert(below(key));
                paths(value, &below(key), out);
            }
        }
        _ => {}
    }
}

/// A path without the positions in lists.
pub(super) fn general(path: &str) -> String {
    let step = |part: &str| {
        if part.bytes().all(|b| b.is_ascii_digit()) { "0".to_owned() } else { part.to_owned() }
    };
    path.split('.').map(step).collect::<Vec<_>>().join(".")
}

/// A reply that we wrote, in the shape that servers give it.
pub struct Written {
    reply: String,
    /// Reads it, and panics when it cannot be read or a field has no name.
    pub read: Box<dyn Fn()>,
}

/// Makes a [`Written`] that must be read with every field named.
pub fn written<T: DeserializeOwned + 'static>(
    json: &'static str,
    check: impl Fn(&T) + 'static,
) -> Written {
    let reply = short(type_name::<T>());
    let name = reply.clone();
    let read = move || {
        let value: Value = serde_json::from_str(json).unwrap_or_else(|e| panic!("{name}: {e}"));
        let mut ignored = Vec::new();
        let reply: T = serde_ignored::deserialize(&value, |path| ignored.push(path.to_string()))
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(ignored.is_empty(), "{name} has no field for {ignored:?}");
        check(&reply);
    };
    Written { reply: inner(&reply).to_owned(), read: Box::new(read) }
}

#[cfg(test)]
mod tests {
    use api_core::Request;

    use super::*;
    use crate::calls::case;

    #[test]
    fn a_field_without_a_name_is_counted() {
        use serde_json::json;

        api_core::reply! {
            struct Row {
                pub node: String,
            }
        }
        let cases = [case::<Vec<Row>>("/rows", Request::get(api_core::path!["rows"]))];
        let replies = json!({"/rows": {"status": 200, "json": {"data": [{"node": "a", "new": {"x": 1}}, {"node": "b"}]}}});
        let (table, share) = read_recorded(&cases, &replies, &Value::Null).report();
        assert!((share - 50.0).abs() < f64::EPSILON, "{table}");
        assert!(table.contains("without a name: 0.new"), "{table}");
    }
}
