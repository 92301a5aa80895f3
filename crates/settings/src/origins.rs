//! What is in force and where it came from, for `config show --origins`.

use toml::Value;

use crate::error::Origin;
use crate::keys::Key;
use crate::layers::{self, Effective};

/// One value in force.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OriginEntry {
    /// The key, dotted.
    pub key: String,
    /// The value as TOML; a secret is `***`.
    pub value: String,
    /// Where it was written.
    pub origin: Origin,
}

// === impl OriginEntry ===

impl OriginEntry {
    pub(crate) fn new(effective: &Effective<'_>) -> Self {
        let value = if effective.key.is_secret() {
            "***".to_owned()
        } else {
            masked(effective.value).to_string()
        };
        Self { key: layers::name(&effective.path), value, origin: effective.origin.clone() }
    }

    /// The default of a key of a named table, where it has one.
    pub(crate) fn default(path: &[String], key: &Key) -> Option<Self> {
        let value = key.default?.to_owned();
        Some(Self { key: layers::name(path), value, origin: Origin::Default })
    }
}

/// The value with the passwords of its URLs masked.
fn masked(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(without_password(text)),
        Value::Array(items) => Value::Array(items.iter().map(masked).collect()),
        other => other.clone(),
    }
}

/// `http://user:secret@host` as `http://***@host`.
pub(crate) fn without_password(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..end].rfind('@') {
        Some(at) => format!("{scheme}://***{}", &rest[at..]),
        None => text.to_owned(),
    }
}
