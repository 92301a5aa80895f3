//! One cell of a row: what a program reads and what a person reads.

use std::{borrow::Cow, fmt::Write as _};

use serde_json::Value;

use super::units;

/// A value and how it looks in the text.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    value: Value,
    look: Look,
}

/// What people read of a value. Figures are put into words only when they are printed.
#[derive(Clone, Debug, PartialEq)]
enum Look {
    /// The value itself.
    Plain,
    /// A size in bytes.
    Bytes,
    /// A share of one.
    Share(f64),
    /// Seconds.
    Span,
    /// Words of its own.
    Words(String),
    /// The words of somebody else, in quotes.
    Foreign,
}

// === impl Cell ===

impl Cell {
    /// Nothing: `null`, printed `-`.
    pub fn none() -> Self {
        Self { value: Value::Null, look: Look::Plain }
    }

    /// A word.
    pub fn text(text: impl Into<String>) -> Self {
        Self { value: Value::String(text.into()), look: Look::Plain }
    }

    /// A value with its own short form.
    pub fn with(value: impl Into<Value>, text: impl Into<String>) -> Self {
        Self { value: value.into(), look: Look::Words(text.into()) }
    }

    /// A number that prints as it is.
    pub fn number(value: impl Into<Value>) -> Self {
        Self { value: value.into(), look: Look::Plain }
    }

    /// A size: bytes for programs, an IEC unit for people.
    pub fn bytes(size: u64) -> Self {
        Self { value: size.into(), look: Look::Bytes }
    }

    /// A share of one: three digits for programs, whole percents for people.
    pub fn share(share: f64) -> Self {
        Self { value: ((share * 1000.0).round() / 1000.0).into(), look: Look::Share(share) }
    }

    /// A time span: seconds for programs.
    pub fn span(seconds: u64) -> Self {
        Self { value: seconds.into(), look: Look::Span }
    }

    /// A moment: RFC 3339 for programs, and its age beside it for people.
    pub fn moment(then: jiff::Timestamp, now: jiff::Timestamp) -> Self {
        let time = super::rfc3339(then);
        let text = format!("{time}({})", super::age(then, now).replace(' ', "_"));
        Self::with(time, text)
    }

    /// Words, joined by commas for people; nothing if there are none.
    pub fn words(words: &[String]) -> Self {
        if words.is_empty() { Self::none() } else { Self::with(words.to_vec(), words.join(",")) }
    }

    /// A cell if there is something, nothing otherwise.
    pub fn opt(cell: Option<impl Into<Self>>) -> Self {
        cell.map_or_else(Self::none, Into::into)
    }

    /// Whether it is nothing.
    pub fn is_none(&self) -> bool {
        self.value.is_null() && self.look == Look::Plain
    }

    /// Text that somebody else wrote: a comment, a description, a message. People read it in quotes
    /// of its own, which none of it can close, so that it is not taken for a word of ours.
    pub fn foreign(text: impl Into<String>) -> Self {
        let text = text.into();
        if text.trim().is_empty() {
            return Self::none();
        }
        Self { value: Value::String(text), look: Look::Foreign }
    }

    /// Whether somebody else wrote it.
    pub fn is_foreign(&self) -> bool {
        self.look == Look::Foreign
    }

    /// Takes the value out, unless there is none or it only says that there is one.
    pub fn redact(&mut self) {
        if !matches!(self.value, Value::Null | Value::Bool(_)) {
            *self = Self::text(stdx::redact::REDACTED);
        }
    }

    /// Rewrites what the cell says, in both forms.
    pub fn edit(&mut self, rewrite: impl Fn(&str) -> Cow<'_, str>) {
        edit_strings(&mut self.value, &rewrite);
        if let Look::Words(text) = &mut self.look
            && let Cow::Owned(clean) = rewrite(text)
        {
            *text = clean;
        }
    }

    /// What programs read.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// The same, when the cell is not needed any more.
    pub(super) fn into_value(self) -> Value {
        self.value
    }

    /// Writes what people read. Blanks become `_` unless it is the last of its row.
    pub(super) fn print(&self, out: &mut String, last: bool) {
        let number = self.value.as_u64().unwrap_or_default();
        match (&self.look, &self.value) {
            (Look::Bytes, _) => units::write_bytes(out, number),
            (Look::Share(share), _) => units::write_percent(out, *share),
            (Look::Span, _) => units::write_span(out, number),
            (Look::Foreign, Value::String(text)) => quoted(out, text, last),
            (Look::Words(text), _) | (Look::Plain, Value::String(text)) => word(out, text, last),
            (_, Value::Null) => out.push('-'),
            (Look::Plain, Value::Number(number)) => {
                let _ = write!(out, "{number}");
            }
            (_, other) => word(out, &other.to_string(), last),
        }
    }
}

/// Writes a text so that it stays one cell.
fn word(out: &mut String, text: &str, last: bool) {
    let text = text.trim();
    if text.is_empty() {
        out.push('-');
    } else if text.bytes().all(|byte| byte.is_ascii_graphic()) {
        out.push_str(text);
    } else if last {
        out.extend(text.chars().map(|c| if matches!(c, '\n' | '\r' | '\t') { ' ' } else { c }));
    } else {
        out.extend(text.chars().map(|c| if c.is_whitespace() { '_' } else { c }));
    }
}

/// Writes somebody else's text so that it stays one cell, and so that its end is where it says.
fn quoted(out: &mut String, text: &str, last: bool) {
    out.push('"');
    out.extend(text.trim().chars().map(|c| match c {
        '"' | '“' | '”' | '„' | '‟' | '＂' => '\'',
        c if !last && c.is_whitespace() => '_',
        '\n' | '\r' | '\t' => ' ',
        c => c,
    }));
    out.push('"');
}

fn edit_strings(value: &mut Value, rewrite: &impl Fn(&str) -> Cow<'_, str>) {
    match value {
        Value::String(text) => {
            if let Cow::Owned(clean) = rewrite(text) {
                *text = clean;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| edit_strings(item, rewrite)),
        Value::Object(fields) => {
            fields.values_mut().for_each(|field| edit_strings(field, rewrite));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::text(text)
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::text(text)
    }
}

impl From<u64> for Cell {
    fn from(number: u64) -> Self {
        Self::number(number)
    }
}

impl From<u32> for Cell {
    fn from(number: u32) -> Self {
        Self::number(number)
    }
}
