//! Questions to the person at the client (elicitation), and the answers.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::JsonObject;

/// One question.
#[derive(Debug, Clone, PartialEq)]
pub struct InputRequest {
    /// Under which key the answer comes back; unique within one [`crate::Outcome::Ask`].
    pub key: String,
    /// The sentence that the person reads.
    pub message: String,
    /// How the answer is given.
    pub kind: InputKind,
}

/// How an answer is given.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum InputKind {
    /// A form. Never ask for a secret in one.
    Form {
        /// A flat JSON Schema object whose properties are strings, numbers, booleans or enums.
        schema: JsonObject,
    },
    /// A page to visit.
    Url {
        /// Where to go.
        url: String,
    },
}

/// What the person did with a question.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum InputAnswer {
    /// Answered; the fields of the form (empty for a page), already checked against the form's schema.
    Accepted(JsonObject),
    /// Said no.
    Declined,
    /// Closed the dialog without deciding.
    Cancelled,
}

/// The answers to an earlier [`crate::Outcome::Ask`], with the state that went with it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Answers {
    /// What the tool gave to take along; proven to be unchanged.
    pub state: Value,
    /// By key. A question without an answer is missing here: ask again.
    pub by_key: BTreeMap<String, InputAnswer>,
}

// === impl InputRequest ===

impl InputRequest {
    /// A form.
    pub fn form(key: impl Into<String>, message: impl Into<String>, schema: JsonObject) -> Self {
        Self { key: key.into(), message: message.into(), kind: InputKind::Form { schema } }
    }

    /// A page to visit.
    pub fn url(key: impl Into<String>, message: impl Into<String>, url: impl Into<String>) -> Self {
        Self { key: key.into(), message: message.into(), kind: InputKind::Url { url: url.into() } }
    }
}

// === impl Answers ===

impl Answers {
    /// The answer to the question `key`.
    pub fn get(&self, key: &str) -> Option<&InputAnswer> {
        self.by_key.get(key)
    }
}
