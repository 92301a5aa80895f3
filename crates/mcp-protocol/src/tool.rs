//! Tools: what a client may call, what it is told about them, and what a call can end in.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::JsonObject;
use crate::ask::InputRequest;
use crate::content::Content;
use crate::context::{CallContext, ClientCapabilities};
use crate::icon::Icon;
use crate::job::JobHandle;

/// One callable tool.
///
/// The arguments given to [`Tool::call`] have passed the tool's input schema. The future is dropped when the client cancels
/// the request; work that must outlive it belongs into a task of its own.
#[async_trait]
pub trait Tool: Send + Sync + 'static {
    /// What clients are told about this tool. Must answer the same every time.
    fn spec(&self) -> &ToolSpec;

    /// Runs the tool.
    async fn call(&self, cx: &CallContext, args: JsonObject) -> Outcome;
}

/// What clients are told about a tool.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolSpec {
    /// Unique name; `[a-z0-9_]`, at most 40 characters, so that clients that prefix names do not cut it.
    pub name: String,
    /// Name for people.
    pub title: String,
    /// What the tool does and when to use it, for the model.
    pub description: String,
    /// JSON Schema (2020-12) of the arguments: a flat object without a `$ref` or `oneOf` at its root.
    pub input_schema: JsonObject,
    /// JSON Schema of [`Answer::structured`], an object; checked in debug builds.
    pub output_schema: Option<JsonObject>,
    /// Hints for the client's own consent dialogs.
    pub annotations: Annotations,
    /// What the client must be able to do for the tool to be called at all; as a rule nothing. A modern client without it
    /// gets the protocol's error for that, an older one an `isError` that says so.
    pub requires: ClientCapabilities,
    /// Pictures for lists.
    pub icons: Vec<Icon>,
}

/// The four hints of a tool. All are said, because the protocol's defaults assume the worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Annotations {
    /// The tool changes nothing.
    pub read_only: bool,
    /// The tool may destroy something; only meaningful if it is not read-only.
    pub destructive: bool,
    /// Calling it twice with the same arguments changes nothing more than calling it once.
    pub idempotent: bool,
    /// The tool reaches an open world of things (the web), rather than a closed one.
    pub open_world: bool,
}

/// How a tool call ends.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Outcome {
    /// It worked.
    Done(Answer),
    /// It did not, and the reader of the answer can act on it (`isError`).
    Failed(Answer),
    /// The tool needs answers from the person at the client, then is called again with them in
    /// [`CallContext::answers`]. A client that cannot ask gets an `isError` that says so.
    Ask {
        /// What to ask, each under its own key.
        inputs: Vec<InputRequest>,
        /// What the tool wants back with the answers. It travels through the client, authenticated but not encrypted:
        /// nothing secret belongs here.
        state: Value,
    },
    /// The work goes on behind a job; the handle carries the answer for a client that does not know jobs.
    Job(JobHandle),
}

/// The content of a tool's answer. As JSON it is what job stores keep; that form does not change.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// Blocks for the model and the person; the text alone must answer.
    pub content: Vec<Content>,
    /// The same as data; always an object, because older clients drop anything else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub structured: Option<JsonObject>,
}

// === impl ToolSpec ===

impl ToolSpec {
    /// A tool with its required fields.
    pub fn new(
        name: impl Into<String>,
        title: impl Into<String>,
        description: impl Into<String>,
        input_schema: JsonObject,
        annotations: Annotations,
    ) -> Self {
        Self {
            name: name.into(),
            title: title.into(),
            description: description.into(),
            input_schema,
            output_schema: None,
            annotations,
            requires: ClientCapabilities::default(),
            icons: Vec::new(),
        }
    }
}

// === impl Annotations ===

impl Annotations {
    /// Reads from a closed world: safe to call at any time.
    pub const READ: Self =
        Self { read_only: true, destructive: false, idempotent: true, open_world: false };

    /// Changes something that can be changed back.
    pub const OPERATE: Self =
        Self { read_only: false, destructive: false, idempotent: false, open_world: false };

    /// May lose data or interrupt a service.
    pub const DESTROY: Self =
        Self { read_only: false, destructive: true, idempotent: false, open_world: false };
}

// === impl Outcome ===

impl Outcome {
    /// A text answer.
    pub fn done(text: impl Into<String>) -> Self {
        Self::Done(Answer::text(text))
    }

    /// A text that says what went wrong and what to do about it.
    pub fn failed(text: impl Into<String>) -> Self {
        Self::Failed(Answer::text(text))
    }

    /// The answer of an outcome that is final; `None` for [`Outcome::Ask`].
    pub fn answer(&self) -> Option<&Answer> {
        match self {
            Self::Done(answer) | Self::Failed(answer) => Some(answer),
            Self::Job(handle) => Some(&handle.answer),
            Self::Ask { .. } => None,
        }
    }

    /// The word for the way it ended, as observers are told it.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Done(_) => "done",
            Self::Failed(_) => "failed",
            Self::Ask { .. } => "asked",
            Self::Job(_) => "job",
        }
    }

    /// Whether the client will see `isError`.
    pub fn is_failure(&self) -> bool {
        matches!(self, Self::Failed(_))
    }
}

// === impl Answer ===

impl Answer {
    /// One text block.
    pub fn text(text: impl Into<String>) -> Self {
        Self { content: vec![Content::text(text)], structured: None }
    }

    /// Adds the structured form.
    #[must_use]
    pub fn with_structured(mut self, structured: JsonObject) -> Self {
        self.structured = Some(structured);
        self
    }

    /// Adds a further block.
    #[must_use]
    pub fn with_content(mut self, content: Content) -> Self {
        self.content.push(content);
        self
    }

    /// All text blocks, joined by newlines.
    pub fn plain_text(&self) -> String {
        let texts: Vec<&str> = self.content.iter().filter_map(Content::as_text).collect();
        texts.join("\n")
    }
}
