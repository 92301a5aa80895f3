//! Our boundary to the Model Context Protocol: apps, tools, resources, prompts and completion, served over stdio and HTTP.
//!
//! An [`App`] is a name, instructions and a catalogue of [`Tool`]s, with optional [`Resources`], [`Prompts`] and a
//! [`Completer`]. [`serve_stdio`] on one byte stream and [`http::HttpService`] on one endpoint speak both eras of the
//! protocol: the stateless revision 2026-07-28, and the `initialize`-based ones from 2024-11-05 to 2025-11-25.
//!
//! | an embedder wants | it uses |
//! |---|---|
//! | to tell clients what has changed | [`Notifier`], announced by [`AppBuilder::notifier`] |
//! | work that goes on after its call | a [`JobStore`] and a [`JobDriver`] ([`AppBuilder::jobs`]), [`Outcome::Job`] |
//! | to ask the person, or the client itself | [`Outcome::Ask`], [`JobState::Asking`] |
//! | to count calls | [`Observer`] |
//!
//! What a tool does not have to care about: its arguments have been checked against its input schema before
//! [`Tool::call`] runs, its panics are caught, its future is dropped when the client cancels, progress goes out only when
//! it was asked for, and lists come in a fixed order with opaque cursors.
//!
//! *Invariant:* knows nothing of Proxmox. *API boundary:* the SDK underneath (`rmcp`) is named in one private module, and
//! none of its types can be reached from here.
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use mcp_protocol::{
//!     Annotations, Answer, App, CallContext, Implementation, JsonObject, Outcome, Tool, ToolSpec, async_trait, schema_object,
//! };
//!
//! struct Hello(ToolSpec);
//!
//! #[async_trait]
//! impl Tool for Hello {
//!     fn spec(&self) -> &ToolSpec {
//!         &self.0
//!     }
//!     async fn call(&self, _cx: &CallContext, args: JsonObject) -> Outcome {
//!         let name = args.get("name").and_then(|name| name.as_str()).unwrap_or("world");
//!         Outcome::Done(Answer::text(format!("hello {name}")))
//!     }
//! }
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let schema = schema_object(serde_json::json!({
//!     "type": "object",
//!     "properties": { "name": { "type": "string" } },
//!     "additionalProperties": false,
//! }));
//! let hello =
//!     Hello(ToolSpec::new("hello", "Say hello", "Greets someone by name.", schema, Annotations::READ));
//! let app = App::builder(Implementation::new("hello", "Hello", "1.0"), "Greets people.").tool(Arc::new(hello)).build()?;
//! let shutdown = tokio_util::sync::CancellationToken::new();
//! mcp_protocol::serve_stdio(app, tokio::io::stdin(), tokio::io::stdout(), shutdown).await?;
//! # Ok(())
//! # }
//! ```

mod adapter;
mod app;
mod ask;
mod completion;
mod content;
mod context;
mod cursor;
#[doc(hidden)]
pub mod fuzzing;
pub mod http;
mod icon;
mod job;
mod lines;
mod notify;
mod progress;
mod prompt;
mod resource;
mod schema;
mod serve;
mod tasks;
mod tool;

pub use async_trait::async_trait;

pub use crate::app::{
    App, AppBuilder, BuildError, CallError, Implementation, Listing, Observer, WeakApp,
};
pub use crate::ask::{Answers, InputAnswer, InputKind, InputRequest, Root};
pub use crate::completion::{Completer, Completion, CompletionRef};
pub use crate::content::{Audience, Content, ContentBody};
pub use crate::context::{
    CallContext, Caller, ClientCapabilities, ClientInfo, Era, LogLevel, ProgressListener,
    TraceContext,
};
pub use crate::icon::Icon;
pub use crate::job::{
    Job, JobDriver, JobHandle, JobId, JobState, JobStore, JobStoreError, MemoryJobs, NewJob,
    Questions,
};
pub use crate::notify::{Changes, Notifier};
pub use crate::prompt::{
    PromptArgument, PromptError, PromptMessage, PromptReply, PromptSpec, Prompts, Role,
};
pub use crate::resource::{
    Resource, ResourceBody, ResourceContents, ResourceError, ResourceTemplate, Resources,
};
pub use crate::schema::schema_object;
pub use crate::serve::{ServeError, serve_stdio};
pub use crate::tool::{Annotations, Answer, Outcome, Tool, ToolSpec};

/// A JSON object, in the order in which its keys were written.
pub type JsonObject = serde_json::Map<String, serde_json::Value>;
