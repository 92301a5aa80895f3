//! What a tool is, and the one path that every call takes: scope, access, run, redact, render.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use estate::Access;
use guard::Mode;
use mcp_protocol::{Annotations, Answer, CallContext, JsonObject, Outcome, ToolSpec};
use serde::de::DeserializeOwned;
use serde_json::json;
use tracing::{Instrument, info, info_span, warn};

use crate::{
    app::Options,
    error::ToolError,
    fleet::Fleet,
    journal::Entry,
    report::Report,
    schema::{Input, Output},
};

/// What is said of a tool before it runs.
#[derive(Clone, Debug)]
pub struct Definition {
    /// `[a-z0-9_]`, at most 40 characters.
    pub name: &'static str,
    /// For people.
    pub title: &'static str,
    /// For the model: what it answers, in as few words as do.
    pub description: &'static str,
    /// Its arguments.
    pub input: Input,
    /// What programs get.
    pub output: Output,
    /// The most that it can do, whatever its arguments.
    pub access: Access,
    /// Whether calling it again with the same arguments does nothing more.
    pub idempotent: bool,
}

/// A tool over the estate.
#[async_trait]
pub trait EstateTool: Send + Sync + 'static {
    /// What is said of it.
    fn definition(&self) -> Definition;

    /// What this call can do: never more than the definition's `access`.
    fn access(&self, args: &JsonObject) -> Access;

    /// Runs it.
    ///
    /// # Errors
    /// Whatever the caller can act on; it becomes an `isError` result.
    async fn call(&self, cx: &Cx, args: JsonObject) -> Result<Report, ToolError>;
}

/// What a running tool has at hand. Cheap to clone.
#[derive(Clone)]
pub struct Cx {
    /// The estate.
    pub fleet: Arc<Fleet>,
    /// The request: progress, cancellation, who asks.
    pub call: CallContext,
    /// What the server was started for.
    pub mode: Mode,
    /// The most bytes of an answer.
    pub ceiling: usize,
    /// The longest that a call follows a task.
    pub task_wait: Duration,
}

/// A tool as the protocol sees it.
pub(crate) struct Served {
    tool: &'static dyn EstateTool,
    name: &'static str,
    access: Access,
    spec: ToolSpec,
    fleet: Arc<Fleet>,
    options: Options,
}

// === impl Cx ===

impl Cx {
    /// Reads the arguments into the tool's own type.
    pub fn args<T: DeserializeOwned>(&self, args: JsonObject) -> Result<T, ToolError> {
        serde_json::from_value(serde_json::Value::Object(args))
            .map_err(|error| ToolError::new(format!("the arguments do not fit: {error}")))
    }

    /// Now.
    pub fn now(&self) -> jiff::Timestamp {
        self.fleet.now()
    }
}

// === impl Served ===

impl Served {
    pub(crate) fn new(tool: &'static dyn EstateTool, fleet: Arc<Fleet>, options: Options) -> Self {
        let definition = tool.definition();
        let (name, access) = (definition.name, definition.access);
        Self { tool, name, access, spec: spec_of(definition), fleet, options }
    }

    /// The most that the tool can do.
    pub(crate) fn access(&self) -> Access {
        self.access
    }

    async fn run(&self, call: &CallContext, args: JsonObject) -> Result<Report, ToolError> {
        let access = self.tool.access(&args).min(self.access);
        self.options
            .mode
            .permits(access)
            .map_err(|refusal| ToolError::new(format!("{}: {refusal}", self.name)))?;
        let cx = Cx {
            fleet: Arc::clone(&self.fleet),
            call: call.clone(),
            mode: self.options.mode,
            ceiling: self.options.ceiling,
            task_wait: self.options.task_wait,
        };
        let Some(journal) = self.options.journal.as_ref().filter(|_| access > Access::Read) else {
            return self.tool.call(&cx, args).await;
        };
        let entry = |step: &str, payload: serde_json::Value| Entry {
            time: cx.now(),
            principal: self.options.principal.clone(),
            action: format!("{}.{step}", self.name),
            target: target_of(&args),
            payload,
        };
        let mut asked = serde_json::Value::Object(args.clone());
        self.options.redaction.json(&mut asked);
        journal.record(entry("begin", asked)).await.map_err(|why| {
            ToolError::new(format!("{}: nothing was done: {why}", self.name))
                .hint("what changes the estate is written into the audit log first: make the state folder writable")
        })?;
        let result = self.tool.call(&cx, args.clone()).await;
        let (step, mut said) = match &result {
            Ok(report) => ("done", report.lead.clone()),
            Err(error) => ("failed", error.message().to_owned()),
        };
        self.options.redaction.text(&mut said);
        if let Err(why) = journal.record(entry(step, json!({"outcome": said}))).await {
            warn!(tool = self.name, why, "outcome is not in the audit log");
        }
        result
    }
}

/// What a call is about, for the audit log: its addresses as they were given.
fn target_of(args: &JsonObject) -> String {
    let parts = ["cluster", "node", "guest", "vmid", "upid"].iter().filter_map(|name| {
        let value = args.get(*name)?;
        Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned))
    });
    let target = parts.collect::<Vec<_>>().join("/");
    stdx::untrusted::line(&target, 200).into_owned()
}

#[async_trait]
impl mcp_protocol::Tool for Served {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    async fn call(&self, call: &CallContext, args: JsonObject) -> Outcome {
        let span = info_span!("mcp.tool", tool = self.name);
        let result = self.run(call, args).instrument(span).await;
        let failed = result.is_err();
        let mut report = result.unwrap_or_else(|error| {
            info!(tool = self.name, error = %error, "tool call failed");
            error.into_report()
        });
        self.options.redaction.report(&mut report);
        let rendered = report.render(self.options.ceiling);
        let answer = Answer::text(rendered.text).with_structured(rendered.structured);
        if failed { Outcome::Failed(answer) } else { Outcome::Done(answer) }
    }
}

/// The protocol's description of a tool, annotations derived from its tier.
fn spec_of(definition: Definition) -> ToolSpec {
    ToolSpec {
        name: definition.name.to_owned(),
        title: definition.title.to_owned(),
        description: definition.description.to_owned(),
        input_schema: definition.input.build(),
        output_schema: Some(definition.output.build()),
        annotations: Annotations {
            read_only: definition.access == Access::Read,
            // Stopping a guest can lose what it had not written, so everything that is not a pure
            // read is announced as what may hurt unless it is additive.
            destructive: definition.access > Access::Read && !definition.idempotent,
            idempotent: definition.idempotent || definition.access == Access::Read,
            open_world: false,
        },
    }
}
