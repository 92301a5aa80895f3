//! What both clients' tests share: a table of calls, held against the published schema and against
//! the replies that real servers gave.

use std::{
    any::type_name,
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use api_core::{Request, RequestMeta};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Reads a reply, looks at it if it is told to, and gives the fields that have no name.
type Read = dyn Fn(&Value, bool) -> Result<Vec<String>, String>;

/// One call, with its type erased.
pub(crate) struct Case {
    /// Where the path stands in the schema.
    pub(crate) template: &'static str,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) meta: RequestMeta,
    /// The parameters that the sample sends.
    sent: BTreeMap<String, String>,
    /// The parameters that it could send.
    names: BTreeSet<&'static str>,
    /// The reply's type.
    pub(crate) reply: String,
    /// Whether a parameter makes the reply another one than the recorded.
    pub(crate) other_reply: bool,
    /// Whether the reply is a plain table, whose keys are data and no fields.
    table: bool,
    /// Whether a value of the reply is looked at.
    looks: bool,
    read: Box<Read>,
}

/// Makes a [`Case`] of a sample request.
pub(crate) fn case<T: DeserializeOwned + 'static>(
    template: &'static str,
    request: Request<T>,
) -> Case {
    Case { looks: false, ..checked(template, request, |_| {}) }
}

/// Makes a [`Case`] whose reply is looked at, too.
#[expect(
    clippy::needless_pass_by_value,
    reason = "the table reads better without an ampersand each"
)]
pub(crate) fn checked<T: DeserializeOwned + 'static>(
    template: &'static str,
    request: Request<T>,
    check: impl Fn(&T) + 'static,
) -> Case {
    Case {
        template,
        method: request.method().to_string(),
        path: request.path().to_string(),
        meta: request.meta().clone(),
        sent: request.parameters().iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
        names: BTreeSet::new(),
        reply: short(type_name::<T>()),
        other_reply: false,
        table: false,
        looks: true,
        read: Box::new(move |value, look| {
            let mut ignored = Vec::new();
            let reply: T = serde_ignored::deserialize(value, |path| ignored.push(path.to_string()))
                .map_err(|error| error.to_string())?;
            if look {
                check(&reply);
            }
            Ok(ignored)
        }),
    }
}

impl Case {
    /// Adds the names of a struct of options.
    pub(crate) fn takes(mut self, names: &[&'static str]) -> Self {
        self.names.extend(names.iter().filter(|name| !name.is_empty()));
        self
    }

    /// Says that the reply's keys are data.
    pub(crate) fn table(mut self) -> Self {
        self.table = true;
        self
    }

    fn fits(&self, method: &str, path: &str) -> bool {
        let path: Vec<_> = path.split('/').collect();
        let template: Vec<_> = self.template.split('/').collect();
        let same = |(given, known): (&&str, &&str)| known.starts_with('{') || given == known;
        self.method == method
            && path.len() == template.len()
            && path.iter().zip(&template).all(same)
    }
}

/// `alloc::vec::Vec<pve_client::nodes::Node>` as `Vec<nodes::Node>`.
fn short(name: &str) -> String {
    let mut out = String::new();
    for part in name.split_inclusive(['<', '>', ',', ' ']) {
        let words: Vec<_> = part.split("::").collect();
        let keep = if part.contains("_client::") { 2 } else { 1 };
        out.push_str(&words[words.len().saturating_sub(keep)..].join("::"));
    }
    out
}

/// The innermost type: what `Vec` and `Option` hold.
pub(crate) fn inner(reply: &str) -> &str {
    let start = reply.rfind('<').map_or(0, |at| at + 1);
    reply[start..].trim_end_matches('>')
}

// === the published schema ===

/// Fails where a call is not as the schema has it.
pub(crate) fn assert_schema(schema: &Value, cases: &[Case]) {
    let mut methods = BTreeMap::new();
    collect(schema, &mut methods);
    let mut wrong = Vec::new();
    for case in cases {
        let call = format!("{} {}", case.method, case.template);
        if !case.fits(&case.method, &case.path) {
            wrong.push(format!("{call}: builds {}", case.path));
        }
        let Some(info) = methods.get(&(case.template.to_owned(), case.method.clone())) else {
            wrong.push(format!("{call}: not in the schema"));
            continue;
        };
        if let Some(protected) = info.get("protected")
            && truth(Some(protected)) != case.meta.protected
        {
            wrong.push(format!("{call}: protected is {protected} in the schema"));
        }
        if info.get("proxyto").and_then(Value::as_str) == Some("node") && case.meta.node.is_none() {
            wrong.push(format!("{call}: a node's work, not marked so"));
        }
        let empty = serde_json::Map::new();
        let known = info.pointer("/parameters/properties").and_then(Value::as_object);
        let known = known.unwrap_or(&empty);
        let sent = case.sent.keys().map(String::as_str);
        for name in sent.chain(case.names.iter().copied()) {
            let indexed = format!("{}[n]", name.trim_end_matches(|c: char| c.is_ascii_digit()));
            if !known.contains_key(name) && !known.contains_key(&indexed) {
                wrong.push(format!("{call}: no parameter {name}"));
            }
        }
        for (name, spec) in known {
            let in_path = case.template.contains(&format!("{{{name}}}"));
            if !in_path && !truth(spec.get("optional")) && !case.sent.contains_key(name) {
                wrong.push(format!("{call}: the parameter {name} must be sent"));
            }
        }
    }
    assert!(wrong.is_empty(), "not as the schema has it:\n{}", wrong.join("\n"));
}

fn truth(value: Option<&Value>) -> bool {
    matches!(value, Some(Value::Bool(true))) || value.and_then(Value::as_u64) == Some(1)
}

fn collect(nodes: &Value, methods: &mut BTreeMap<(String, String), Value>) {
    for node in nodes.as_array().into_iter().flatten() {
        let path = node["path"].as_str().unwrap_or_default();
        for (method, info) in node["info"].as_object().into_iter().flatten() {
            methods.insert((path.to_owned(), method.clone()), info.clone());
        }
        collect(&node["children"], methods);
    }
}

// === the source ===

/// Fails where a public builder of the crate is in no table: `sources` are the crate's files with
/// their module names, `table` the table's text.
pub(crate) fn assert_complete(root: &std::path::Path, table: &str) {
    let mut missing = Vec::new();
    let mut folders = vec![root.join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("the crate's sources").flatten() {
            let file = entry.path();
            if file.is_dir() {
                folders.push(file);
                continue;
            }
            let text = std::fs::read_to_string(&file).expect("a source file");
            for part in text.split("\npub fn ").skip(1) {
                let signature = part.split('{').next().unwrap_or_default();
                let name = part.split(['(', '<']).next().unwrap_or_default();
                let call = format!("::{name}(");
                if signature.contains("-> Request<") && !table.contains(&call) {
                    missing.push(format!("{}: {name}", file.display()));
                }
            }
        }
    }
    assert!(missing.is_empty(), "in no table:\n{}", missing.join("\n"));
}

// === simulated replies ===

impl Case {
    /// The read with the template's names filled in; `None` for what is no read, or names what
    /// `names` does not hold.
    pub(crate) fn filled(&self, names: &[(&str, &str)]) -> Option<Request<Value>> {
        if self.method != "GET" || self.other_reply {
            return None;
        }
        let mut path = api_core::Path::new();
        for part in self.template.split('/').skip(1) {
            let name = part.strip_prefix('{').and_then(|part| part.strip_suffix('}'));
            path = match name {
                None => path.push(part),
                Some(name) => path.push(names.iter().find(|(known, _)| *known == name)?.1),
            };
        }
        let request = Request::get(path);
        Some(self.sent.iter().fold(request, |request, (key, value)| request.param(key, value)))
    }

    /// Reads a reply, and gives the fields that have no name.
    pub(crate) fn fields_without_name(&self, reply: &Value) -> Result<BTreeSet<String>, String> {
        let ignored = (self.read)(reply, false)?;
        Ok(ignored.iter().map(|path| general(path)).collect())
    }
}

// === written replies ===

/// A reply that we wrote, in the shape that servers give it.
pub(crate) struct Written {
    pub(crate) reply: String,
    pub(crate) read: Box<dyn Fn()>,
}

/// Makes a [`Written`] that must be read with every field named.
pub(crate) fn written<T: DeserializeOwned + 'static>(
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

// === recorded replies ===

/// What the recorded replies show.
#[derive(Default)]
pub(crate) struct Coverage {
    /// By call: reply type, fields that were recorded, those that have no name, where from.
    rows: Vec<(String, String, usize, Vec<String>)>,
    /// The calls that no recorded reply exercises, with their reply types.
    pub(crate) unexercised: BTreeMap<String, String>,
    /// The exercised types of which no value is looked at.
    unlooked: BTreeSet<String>,
}

/// Reads every recorded reply with the call that asks for it: `replies` are those to a GET on each
/// path, `conversation` whole conversations.
pub(crate) fn read_recorded(cases: &[Case], replies: &Value, conversation: &Value) -> Coverage {
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
    pub(crate) fn unproven(&self, written: &[Written]) -> Vec<&str> {
        // What says nothing, plain and secret texts and UPIDs cannot be read wrong.
        let plain = ["Done", "String", "Upid", "str"];
        let unexercised = self.unexercised.values().map(|reply| inner(reply));
        let unlooked = self.unlooked.iter().map(String::as_str);
        let known = |name: &str| plain.contains(&name) || written.iter().any(|w| w.reply == name);
        unexercised.chain(unlooked).filter(|name| !known(name)).collect()
    }

    /// The table for people, and the share of recorded fields that have a name.
    pub(crate) fn report(&self) -> (String, f64) {
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
fn general(path: &str) -> String {
    let step = |part: &str| {
        if part.bytes().all(|b| b.is_ascii_digit()) { "0".to_owned() } else { part.to_owned() }
    };
    path.split('.').map(step).collect::<Vec<_>>().join(".")
}

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
