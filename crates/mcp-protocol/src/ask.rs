//! Questions to the person at the client (elicitation) and to the client itself, and the answers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::JsonObject;
use crate::prompt::PromptMessage;

/// One question.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InputRequest {
    /// Under which key the answer comes back; unique within one [`crate::Outcome::Ask`].
    pub key: String,
    /// The sentence that the person reads; of a question to the client itself, what it is good for.
    pub message: String,
    /// How the answer is given.
    pub kind: InputKind,
}

/// How an answer is given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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
    /// The client's model goes on with a conversation (deprecated in 2026-07-28).
    Sampling {
        /// The conversation, oldest first: texts, pictures and sounds.
        messages: Vec<PromptMessage>,
        /// What the model is told about its part.
        system_prompt: Option<String>,
        /// The most that the model may write, in tokens.
        max_tokens: u32,
    },
    /// The client lists the folders that it works in (deprecated in 2026-07-28).
    Roots,
}

/// What the person or the client did with a question.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum InputAnswer {
    /// Answered; the fields of the form (empty for a page), already checked against the form's schema.
    Accepted(JsonObject),
    /// Said no.
    Declined,
    /// Closed the dialog without deciding; also a client that answered with an error.
    Cancelled,
    /// What the client's model wrote.
    Sampled {
        /// Which model.
        model: String,
        /// Its text; what is not text is left out.
        text: String,
    },
    /// The folders that the client works in.
    Roots(Vec<Root>),
}

/// A folder that the client works in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    /// Where, as a `file://` URI.
    pub uri: String,
    /// Its name for people.
    pub name: Option<String>,
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

    /// Something for the client's model: one text of the person's.
    pub fn sampling(key: impl Into<String>, prompt: impl Into<String>, max_tokens: u32) -> Self {
        let prompt = prompt.into();
        let messages = vec![PromptMessage::user(prompt.clone())];
        let kind = InputKind::Sampling { messages, system_prompt: None, max_tokens };
        Self { key: key.into(), message: prompt, kind }
    }

    /// The client's folders.
    pub fn roots(key: impl Into<String>) -> Self {
        let message = "Which folders are open?".to_owned();
        Self { key: key.into(), message, kind: InputKind::Roots }
    }
}

// === impl Answers ===

impl Answers {
    /// The answer to the question `key`.
    pub fn get(&self, key: &str) -> Option<&InputAnswer> {
        self.by_key.get(key)
    }
}
