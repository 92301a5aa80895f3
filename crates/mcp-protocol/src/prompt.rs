//! Prompts: prepared conversations that a person picks at the client.

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ask::InputRequest;
use crate::content::Content;
use crate::context::CallContext;
use crate::icon::Icon;

/// Serves an app's prompts.
///
/// The boundary answers for unknown names and for missing or unknown arguments before [`Prompts::get`] is called.
#[async_trait]
pub trait Prompts: Send + Sync + 'static {
    /// All prompts, in a fixed order.
    fn list(&self) -> &[PromptSpec];

    /// The conversation of the prompt `name`.
    async fn get(
        &self,
        cx: &CallContext,
        name: &str,
        args: BTreeMap<String, String>,
    ) -> Result<PromptReply, PromptError>;
}

/// What clients are told about a prompt.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PromptSpec {
    /// Unique name.
    pub name: String,
    /// Name for people.
    pub title: Option<String>,
    /// What the prompt is good for.
    pub description: Option<String>,
    /// Its arguments, in the order in which to ask for them.
    pub arguments: Vec<PromptArgument>,
    /// Pictures for lists.
    pub icons: Vec<Icon>,
}

/// One argument of a prompt; always text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PromptArgument {
    /// Its name.
    pub name: String,
    /// What to put there.
    pub description: Option<String>,
    /// Whether the prompt cannot do without it.
    pub required: bool,
}

/// The conversation that a prompt begins with.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PromptReply {
    /// What this conversation is about.
    pub description: Option<String>,
    /// The messages, oldest first.
    pub messages: Vec<PromptMessage>,
}

/// One message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PromptMessage {
    /// Who says it.
    pub role: Role,
    /// What is said.
    pub content: Content,
}

/// Who says a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The person.
    User,
    /// The model.
    Assistant,
}

/// Why a prompt could not be made. The text goes to the client.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PromptError {
    /// An argument has a value that does not work.
    #[error("{message}")]
    InvalidArgument {
        /// Which argument, and what would work.
        message: String,
    },
    /// The prompt needs something that is not to be had now.
    #[error("{message}")]
    Unavailable {
        /// What failed, fit for the client.
        message: String,
    },
    /// The prompt needs answers first, then is asked for again with them in [`CallContext::answers`]; see
    /// [`crate::Outcome::Ask`].
    #[error("the prompt needs answers first")]
    Ask {
        /// What to ask, each under its own key.
        inputs: Vec<InputRequest>,
        /// What comes back with the answers.
        state: Value,
    },
}

// === impl PromptMessage ===

impl PromptMessage {
    /// A text that the person says.
    pub fn user(text: impl Into<String>) -> Self {
        Self { role: Role::User, content: Content::text(text) }
    }

    /// A text that the model says.
    pub fn assistant(text: impl Into<String>) -> Self {
        Self { role: Role::Assistant, content: Content::text(text) }
    }
}
