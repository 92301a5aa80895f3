//! One cell of a row: what a program reads and what a person reads.

use serde_json::Value;

/// A value and, where it differs, its short form for the text.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    value: Value,
    text: Option<String>,
}

// === impl Cell ===

impl Cell {
    /// Nothing: `null`, printed `-`.
    pub fn none() -> Self {
        Self { value: Value::Null, text: None }
    }

    /// A word.
    pub fn text(text: impl Into<String>) -> Self {
        Self { value: Value::String(text.into()), text: None }
    }

    /// A value with its own short form.
    pub fn with(value: impl Into<Value>, text: impl Into<String>) -> Self {
        Self { value: value.into(), text: Some(text.into()) }
    }

    /// A number that prints as it is.
    pub fn number(value: impl Into<Value>) -> Self {
        Self { value: value.into(), text: None }
    }

    /// A size: bytes for programs, an IEC unit for people.
    pub fn bytes(size: u64) -> Self {
        Self::with(size, super::bytes(size))
    }

    /// A share of one: three digits for programs, whole percents for people.
    pub fn share(share: f64) -> Self {
        Self::with((share * 1000.0).round() / 1000.0, super::percent(share))
    }

    /// A time span: seconds for programs.
    pub fn span(seconds: u64) -> Self {
        Self::with(seconds, super::span(seconds))
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
        self.value.is_null() && self.text.is_none()
    }

    /// Rewrites what the cell says, in both forms.
    pub fn edit(&mut self, rewrite: impl Fn(&str) -> std::borrow::Cow<'_, str>) {
        edit_strings(&mut self.value, &rewrite);
        if let Some(text) = &mut self.text
            && let std::borrow::Cow::Owned(clean) = rewrite(text)
        {
            *text = clean;
        }
    }

    /// What programs read.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// What people read. Blanks become `_` unless it is the last of its row.
    pub(super) fn print(&self, last: bool) -> String {
        let text = match (&self.text, &self.value) {
            (Some(text), _) | (None, Value::String(text)) => text.clone(),
            (None, Value::Null) => String::new(),
            (None, other) => other.to_string(),
        };
        let text = text.trim();
        if text.is_empty() {
            return "-".to_owned();
        }
        let line_breaks = |c: char| c == '\n' || c == '\r' || c == '\t';
        if last {
            return text.replace(line_breaks, " ");
        }
        text.replace(char::is_whitespace, "_")
    }
}

fn edit_strings(value: &mut Value, rewrite: &impl Fn(&str) -> std::borrow::Cow<'_, str>) {
    match value {
        Value::String(text) => {
            if let std::borrow::Cow::Owned(clean) = rewrite(text) {
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
