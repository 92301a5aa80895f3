//! What may stand at a key: how it is read from the text of a variable, and how it is checked.

use toml::Value;

use crate::error::Complaint;
use crate::keys::did_you_mean;

/// What may stand at a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// Free text.
    Text,
    /// A secret: never shown.
    Secret,
    /// The path of a file.
    File,
    /// The path of a file that holds a secret.
    SecretFile,
    /// The path of a folder.
    Folder,
    /// A path at which nothing need be yet.
    Path,
    /// `true` or `false`.
    Boolean,
    /// A whole number between two bounds, both included.
    Integer(i64, i64),
    /// One of a few words.
    Choice(&'static [&'static str]),
    /// A list of texts.
    List,
    /// A list of texts in which numbers may stand as such.
    ListOrNumbers,
    /// A moment, with its offset or by the operator's clock.
    Time,
    /// Named texts, for example `{ site = "home" }`.
    Map,
    /// Named whole numbers between two bounds, both included.
    MapOfIntegers(i64, i64),
    /// Texts by any names, for example `{ "pve1.example.lan" = "home/pve1" }`.
    MapOfTexts,
    /// Named texts or lists of texts, for example `{ pve1 = "AB:…", pve2 = ["CD:…", "EF:…"] }`.
    MapOfLists,
    /// A text or a list of texts.
    TextOrList,
}

// === impl Kind ===

impl Kind {
    /// The kind in a few words, for the reference page and for messages.
    pub fn describe(self) -> String {
        match self {
            Self::Text => "text".to_owned(),
            Self::Secret => "secret text".to_owned(),
            Self::File => "the path of a file".to_owned(),
            Self::SecretFile => "the path of a file with a secret".to_owned(),
            Self::Folder => "the path of a folder".to_owned(),
            Self::Path => "a path".to_owned(),
            Self::Boolean => "true or false".to_owned(),
            Self::Integer(low, high) => format!("a whole number from {low} to {high}"),
            Self::Choice(words) => format!("one of {}", quoted(words)),
            Self::List => "a list of texts".to_owned(),
            Self::ListOrNumbers => "a list of texts and numbers".to_owned(),
            Self::Time => "a moment".to_owned(),
            Self::Map | Self::MapOfTexts => "a table of texts".to_owned(),
            Self::MapOfIntegers(low, high) => {
                format!("a table of whole numbers from {low} to {high}")
            }
            Self::MapOfLists => "a table of texts or of lists of texts".to_owned(),
            Self::TextOrList => "text or a list of texts".to_owned(),
        }
    }

    /// Whether the value is a path that is taken relative to the file that names it.
    pub(crate) fn is_path(self) -> bool {
        matches!(self, Self::File | Self::SecretFile | Self::Folder | Self::Path)
    }

    /// Whether the value's entries are keys of their own, merged one by one.
    pub(crate) fn is_map(self) -> bool {
        matches!(self, Self::Map | Self::MapOfTexts | Self::MapOfLists | Self::MapOfIntegers(..))
    }

    /// The kind of a map's entries.
    pub(crate) fn entry(self) -> Self {
        match self {
            Self::MapOfLists => Self::TextOrList,
            Self::MapOfIntegers(low, high) => Self::Integer(low, high),
            _ => Self::Text,
        }
    }

    /// Reads a value from the plain text of a variable or a flag.
    ///
    /// Text is taken as it is, so that a token `00123` keeps its zeros.
    pub(crate) fn read(self, text: &str) -> Value {
        let trimmed = text.trim();
        match self {
            Self::Boolean => match trimmed.to_ascii_lowercase().as_str() {
                "true" | "yes" | "on" | "1" => Value::Boolean(true),
                "false" | "no" | "off" | "0" => Value::Boolean(false),
                _ => Value::String(trimmed.to_owned()),
            },
            Self::Integer(..) => trimmed
                .parse::<i64>()
                .map_or_else(|_| Value::String(trimmed.to_owned()), Value::Integer),
            Self::List | Self::ListOrNumbers => list(trimmed),
            Self::TextOrList if trimmed.starts_with('[') || trimmed.contains(',') => list(trimmed),
            Self::Secret => Value::String(text.to_owned()),
            _ => Value::String(trimmed.to_owned()),
        }
    }

    /// Checks one value; the complaint never repeats the value of a secret.
    pub(crate) fn check(self, value: &Value) -> Result<(), Complaint> {
        let wrong = || {
            let hint = match self {
                Self::Secret => "write it in quotes".to_owned(),
                _ => format!("it takes {}", self.describe()),
            };
            Err(Complaint::new(format!("is {}", type_name(value)), hint))
        };
        match (self, value) {
            (Self::Text | Self::Secret | Self::TextOrList | Self::Time, Value::String(_))
            | (Self::Time, Value::Datetime(_))
            | (Self::Boolean, Value::Boolean(_)) => Ok(()),
            (Self::File | Self::SecretFile | Self::Folder | Self::Path, Value::String(path)) => {
                if path.is_empty() {
                    Err(Complaint::new("is empty", "name a path or remove the key"))
                } else {
                    Ok(())
                }
            }
            (Self::Integer(low, high), Value::Integer(number)) => {
                if (low..=high).contains(number) {
                    return Ok(());
                }
                let reason = format!("is {number}");
                Err(Complaint::new(reason, format!("it takes a number from {low} to {high}")))
            }
            (Self::Choice(words), Value::String(word)) => {
                if words.contains(&word.as_str()) {
                    return Ok(());
                }
                let hint = did_you_mean(word, words, "it takes one of");
                Err(Complaint::new(format!("is {:?}", shortened(word)), hint))
            }
            (Self::ListOrNumbers, Value::Array(items))
                if items.iter().all(|item| item.is_str() || item.is_integer()) =>
            {
                Ok(())
            }
            (Self::List | Self::ListOrNumbers | Self::TextOrList, Value::Array(items)) => {
                match items.iter().find(|item| !item.is_str()) {
                    None => Ok(()),
                    Some(item) => {
                        let reason = format!("holds {}", type_name(item));
                        Err(Complaint::new(reason, "each entry is text in quotes"))
                    }
                }
            }
            _ => wrong(),
        }
    }
}

/// A list written as TOML (`["a", "b"]`) or plainly (`a,b`).
fn list(text: &str) -> Value {
    if text.starts_with('[')
        && let Ok(Value::Array(items)) = text.parse::<Value>()
    {
        return Value::Array(items);
    }
    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
    Value::Array(items.map(|item| Value::String(item.to_owned())).collect())
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "text",
        Value::Integer(_) | Value::Float(_) => "a number",
        Value::Boolean(_) => "true or false",
        Value::Datetime(_) => "a date",
        Value::Array(_) => "a list",
        Value::Table(_) => "a table",
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(40).collect()
}

fn quoted(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}
