//! Takes secrets out of texts and JSON before anybody sees them.
//!
//! Three ways: by name (the value of `password`, `…_token`, `Authorization` and their like, in JSON,
//! `key=value`, `key: value` and `--key value`), by looks (private keys, `scheme://user:pass@`, JWTs,
//! API tokens `user@realm!name=uuid`, tickets, crypt hashes, the keys of well-known services), and by
//! value (the secrets that this process holds, wherever they stand).
//! When in doubt it redacts: a lost word is cheaper than a lost password.
//!
//! *Invariant:* one pass over a text, in time proportional to its length whatever stands in it: every
//! answer and every line of the log comes through here, and others write what is in them.

mod looks;
mod names;
mod pairs;
#[cfg(test)]
mod tests;
mod values;

use std::{borrow::Cow, fmt, ops::Range, sync::Arc};

use secrecy::SecretString;
use serde_json::Value;

/// What stands in a secret's place.
pub const REDACTED: &str = "[redacted]";

/// Knows which names and values are secret. Cheap to clone.
#[derive(Clone, Default)]
pub struct Redactor {
    names: Arc<names::SecretNames>,
    values: Arc<values::Values>,
}

// === impl Redactor ===

impl Redactor {
    /// Knows the usual names and `extra` ones (case, `-` and `_` do not matter).
    pub fn new(extra: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        Self { names: Arc::new(names::SecretNames::with(extra)), values: Arc::default() }
    }

    /// Also knows these names, as [`Redactor::new`] does.
    #[must_use]
    pub fn with_names(mut self, extra: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        Arc::make_mut(&mut self.names).add_names(extra);
        self
    }

    /// Also takes what stands under these names in JSON. In texts they are words like any other:
    /// `recovery: 12 MiB/s` is no secret, and the field `recovery` of a second factor is.
    #[must_use]
    pub fn with_fields(mut self, names: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        Arc::make_mut(&mut self.names).add_fields(names);
        self
    }

    /// Also redacts these very texts wherever they stand: the secrets that this process holds, as
    /// they are and as URLs and JSON spell them.
    /// Those of fewer than eight characters are left out; they would hit ordinary words.
    #[must_use]
    pub fn with_values(mut self, values: impl IntoIterator<Item = SecretString>) -> Self {
        Arc::make_mut(&mut self.values).add(values);
        self
    }

    /// Whether a field of this name holds a secret.
    pub fn is_secret_name(&self, name: &str) -> bool {
        self.names.is_field(name)
    }

    /// The text without its secrets; untouched text is not copied.
    pub fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut found = Vec::new();
        self.scan(text, &mut found);
        if found.is_empty() { Cow::Borrowed(text) } else { Cow::Owned(cut(text, found)) }
    }

    /// Redacts in place: values under secret names whatever they are, and secrets inside strings.
    pub fn json(&self, value: &mut Value) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields.iter_mut() {
                    if self.is_secret_name(name) { blank(value) } else { self.json(value) }
                }
            }
            Value::Array(items) => {
                self.words(items);
                for item in items {
                    self.json(item);
                }
            }
            Value::String(text) => {
                if let Cow::Owned(redacted) = self.text(text) {
                    *text = redacted;
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// Redacts in place what stands behind a flag that names a secret: in the arguments of a program each is a text of
    /// its own.
    pub fn words(&self, words: &mut [Value]) {
        for at in 1..words.len() {
            let (Value::String(flag), Value::String(word)) = (&words[at - 1], &words[at]) else {
                continue;
            };
            if self.is_secret_word(flag, word) {
                words[at] = REDACTED.into();
            }
        }
    }

    /// Whether an argument is a secret for the flag before it, such as `--password`.
    pub fn is_secret_word(&self, flag: &str, word: &str) -> bool {
        if !flag.starts_with("--") || flag.contains(['=', ' ']) {
            return false;
        }
        let line = format!("{flag} {word}");
        matches!(self.text(&line), Cow::Owned(told) if told.strip_prefix(flag).is_some_and(|it| it.starts_with(" [")))
    }

    /// Adds where secrets lie. What was found is not looked at again, so that text made of a
    /// thousand beginnings costs no more than one.
    fn scan(&self, text: &str, found: &mut Vec<Range<usize>>) {
        // By itself: what a rule takes for the end of a value may lie inside of a known one.
        self.values.find(text, found);
        let bytes = text.as_bytes();
        let mut looks = looks::Looks::new(text);
        // What was found ahead; the way there is looked at as well.
        let mut ahead: Vec<Range<usize>> = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            if !ahead.is_empty() {
                ahead.retain(|range| range.end > at);
                if let Some(range) = ahead.iter().find(|range| range.start <= at) {
                    at = range.end;
                    continue;
                }
            }
            let (byte, after) = (bytes[at], bytes.get(at + 1).copied().unwrap_or_default());
            if !looks::BEGINS.has(byte, after) {
                at += 1;
                continue;
            }
            let named = match byte {
                b'=' | b':' => self.names.after_separator(text, at),
                b'-' if after == b'-' => self.names.after_flag(text, at),
                _ => None,
            };
            let hit = named.or_else(|| looks.at(at));
            if let Some(range) = hit {
                ahead.push(range.clone());
                found.push(range);
            }
            at += 1;
        }
    }
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redactor").field("values", &self.values.len()).finish_non_exhaustive()
    }
}

/// Redacts a value under a secret name. Null, booleans and the empty string say that there is none,
/// or only that there is one.
pub fn blank(value: &mut Value) {
    match value {
        Value::Null | Value::Bool(_) => {}
        Value::String(text) if text.is_empty() => {}
        Value::Array(items) if items.is_empty() => {}
        value => *value = REDACTED.into(),
    }
}

/// The text with the ranges replaced; ranges that overlap or touch become one.
fn cut(text: &str, mut ranges: Vec<Range<usize>>) -> String {
    ranges.sort_by_key(|range| (range.start, range.end));
    let mut out = String::with_capacity(text.len());
    let mut done = 0;
    for range in ranges {
        if range.end <= done {
            continue;
        }
        if range.start >= done && !(done > 0 && range.start == done) {
            out.push_str(&text[done..range.start]);
            out.push_str(REDACTED);
        }
        done = range.end;
    }
    out.push_str(&text[done..]);
    out
}
