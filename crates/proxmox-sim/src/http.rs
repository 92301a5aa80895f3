//! Replies and refusals before they become HTTP, and the parsing of parameters.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::notify::Post;
use crate::schema::check::Shape;

/// What a handler answers.
pub(crate) type Answer = Result<Reply, Fault>;

/// A reply with status 200.
pub(crate) struct Reply {
    pub(crate) data: Data,
    /// Members beside `data`, such as `total`.
    pub(crate) extra: Vec<(&'static str, Value)>,
    /// What is sent before it is answered.
    pub(crate) post: Option<Post>,
}

/// The `data` of a reply.
pub(crate) enum Data {
    Value(Value),
    /// JSON text that is ready to send.
    Raw(Vec<u8>),
    /// Not an envelope at all.
    Text(String),
    /// A file's content.
    File(Vec<u8>),
}

/// A refusal.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    pub(crate) code: u16,
    pub(crate) message: String,
    /// Per parameter, in order.
    pub(crate) errors: Vec<(String, String)>,
    /// PVE sends the reason alone for some codes.
    pub(crate) empty: bool,
    /// Waited for before the reply.
    pub(crate) delay: Duration,
}

// === impl Reply ===

impl Reply {
    pub(crate) fn raw(data: Vec<u8>) -> Self {
        Self { data: Data::Raw(data), extra: Vec::new(), post: None }
    }

    pub(crate) fn file(content: Vec<u8>) -> Self {
        Self { data: Data::File(content), extra: Vec::new(), post: None }
    }

    pub(crate) fn text(text: String) -> Self {
        Self { data: Data::Text(text), extra: Vec::new(), post: None }
    }

    pub(crate) fn with(mut self, key: &'static str, value: impl Into<Value>) -> Self {
        self.extra.push((key, value.into()));
        self
    }

    /// The body as it is sent.
    pub(crate) fn body(self) -> Vec<u8> {
        let data = match self.data {
            Data::Text(text) => return text.into_bytes(),
            Data::File(content) => return content,
            Data::Raw(raw) => raw,
            Data::Value(value) => serde_json::to_vec(&value).unwrap_or_default(),
        };
        let mut out = Vec::with_capacity(data.len() + 32);
        out.push(b'{');
        for (key, value) in &self.extra {
            out.extend_from_slice(format!("{}:{value},", json!(key)).as_bytes());
        }
        out.extend_from_slice(b"\"data\":");
        out.extend_from_slice(&data);
        out.push(b'}');
        out
    }
}

impl From<Value> for Reply {
    fn from(value: Value) -> Self {
        Self { data: Data::Value(value), extra: Vec::new(), post: None }
    }
}

/// `Ok` with a value.
pub(crate) fn data(value: impl Into<Value>) -> Answer {
    Ok(Reply::from(value.into()))
}

/// An index: a list of objects with one key.
pub(crate) fn index(key: &str, names: &[&str]) -> Answer {
    let rows: Vec<Value> = names.iter().map(|name| json!({key: name})).collect();
    data(rows)
}

// === impl Fault ===

impl Fault {
    pub(crate) fn new(code: u16, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            errors: Vec::new(),
            empty: false,
            delay: Duration::ZERO,
        }
    }

    /// PVE's catch-all.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(500, message)
    }

    /// A refusal whose body is empty.
    pub(crate) fn bare(code: u16, message: impl Into<String>) -> Self {
        Self { empty: true, ..Self::new(code, message) }
    }

    /// PVE's refusal of parameters.
    pub(crate) fn params(errors: Vec<(String, String)>) -> Self {
        Self { errors, ..Self::new(400, "Parameter verification failed.") }
    }

    pub(crate) fn param(name: &str, text: impl Into<String>) -> Self {
        Self::params(vec![(name.to_owned(), text.into())])
    }

    /// PBS's usual code for what does not exist or does not work.
    pub(crate) fn bad(message: impl Into<String>) -> Self {
        Self::new(400, message)
    }

    pub(crate) fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// PVE's body.
    pub(crate) fn pve_body(&self) -> Vec<u8> {
        if self.empty {
            return Vec::new();
        }
        let unimplemented = self.code == 501;
        let newline = if unimplemented { "" } else { "\n" };
        let mut body = json!({"data": null, "message": format!("{}{newline}", self.message)});
        if !self.errors.is_empty() {
            let errors: Map<String, Value> =
                self.errors.iter().map(|(name, text)| (name.clone(), json!(text))).collect();
            body["errors"] = Value::Object(errors);
        }
        serde_json::to_vec(&body).unwrap_or_default()
    }

    /// The reason phrase: the first line of the message.
    pub(crate) fn reason(&self) -> &str {
        self.message.lines().next().unwrap_or_default()
    }
}

/// Parses a query or form: repeated keys become arrays.
pub(crate) fn parse_form(text: &str) -> Map<String, Value> {
    let mut map = Map::new();
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        insert(&mut map, unescape(key, true), unescape(value, true));
    }
    map
}

fn insert(map: &mut Map<String, Value>, key: String, value: String) {
    match map.get_mut(&key) {
        None => {
            map.insert(key, Value::String(value));
        }
        Some(Value::Array(items)) => items.push(Value::String(value)),
        Some(found) => *found = Value::Array(vec![found.take(), Value::String(value)]),
    }
}

/// Decodes percent escapes; `plus` also turns `+` into a blank.
pub(crate) fn unescape(text: &str, plus: bool) -> String {
    let text = if plus { text.replace('+', " ") } else { text.to_owned() };
    percent_encoding::percent_decode_str(&text).decode_utf8_lossy().into_owned()
}

/// A file that was uploaded, with the other fields of the form.
pub(crate) struct Upload {
    pub(crate) filename: String,
    pub(crate) size: u64,
}

/// Parses a multipart form as far as an upload needs it.
pub(crate) fn parse_multipart(
    body: &[u8],
    boundary: &str,
) -> Option<(Map<String, Value>, Option<Upload>)> {
    let marker = format!("--{boundary}").into_bytes();
    let mut fields = Map::new();
    let mut upload = None;
    let mut rest = find(body, &marker).map(|at| &body[at + marker.len()..])?;
    while !rest.starts_with(b"--") {
        let head_end = find(rest, b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(&rest[..head_end]).into_owned();
        let after = &rest[head_end + 4..];
        let end = find(after, &marker)?;
        let content = &after[..end.saturating_sub(2)];
        let name = quoted(&head, "name")?;
        match quoted(&head, "filename") {
            Some(filename) => upload = Some(Upload { filename, size: content.len() as u64 }),
            None => insert(&mut fields, name, String::from_utf8_lossy(content).into_owned()),
        }
        rest = &after[end + marker.len()..];
    }
    Some((fields, upload))
}

fn quoted(head: &str, key: &str) -> Option<String> {
    let at = head.find(&format!(" {key}=\""))? + key.len() + 3;
    head[at..].split('"').next().map(str::to_owned)
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

/// Everything a request brings, once it has arrived completely.
pub(crate) struct Incoming {
    pub(crate) verb: String,
    /// Decoded segments below the format.
    pub(crate) path: Vec<String>,
    pub(crate) params: Map<String, Value>,
    pub(crate) shape: Shape,
    pub(crate) upload: Option<Upload>,
    pub(crate) authorization: Option<String>,
    pub(crate) cookies: Vec<(String, String)>,
    pub(crate) csrf: Option<String>,
    /// Index of the node whose listener took it.
    pub(crate) node: usize,
}
