//! What a tool is, and the one path that every call takes: scope, access, run, redact, render.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use estate::Access;
use guard::{Grant, Mode, Principal, Refusal, Verdict};
use mcp_protocol::{
    Annotations, Answer, CallContext, ClientCapabilities, JobHandle, JobId, JsonObject, Notifier,
    Outcome, ToolSpec,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tracing::{Instrument, info, info_span, warn};

use crate::{
    app::Options,
    consent::{self, Consents, Said},
    error::{Kind, ToolError},
    fleet::Fleet,
    jobs::Jobs,
    journal::{Entry, Journal},
    plan::ActionTool,
    redaction::Redaction,
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
///
/// A tool that only reads implements this; one that changes something implements
/// [`ActionTool`], and is an `EstateTool` by that.
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

    /// The same tool as one that changes something, if it is one.
    fn as_action(&self) -> Option<&dyn ActionTool> {
        None
    }
}

/// What a running tool has at hand. Cheap to clone.
#[derive(Clone)]
#[non_exhaustive]
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
    /// Where work goes that outlives its call.
    pub jobs: Option<Arc<Jobs>>,
    /// The programs that may be started in guests.
    pub exec_allow: Arc<[String]>,
    recorder: Option<Arc<Recorder>>,
}

/// Writes down what becomes of one action.
struct Recorder {
    journal: Arc<dyn Journal>,
    redaction: Redaction,
    principal: Principal,
    tool: &'static str,
    target: String,
}

/// A tool as the protocol sees it.
pub(crate) struct Served {
    tool: &'static dyn EstateTool,
    name: &'static str,
    access: Access,
    spec: ToolSpec,
    fleet: Arc<Fleet>,
    options: Arc<Options>,
    shared: Shared,
}

/// What all tools of one server share.
#[derive(Clone, Default)]
pub(crate) struct Shared {
    pub(crate) jobs: Option<Arc<Jobs>>,
    pub(crate) consents: Arc<Consents>,
    /// Kept as long as the app is, so that its followers of jobs are told of them.
    pub(crate) _told: Option<Arc<Notifier>>,
}

/// What a call comes to.
enum Reply {
    Report(Report),
    Question(Outcome),
}

// === impl Cx ===

impl Cx {
    /// For this estate and this request, with the limits of a server that was told nothing else.
    pub fn new(fleet: Arc<Fleet>, call: CallContext) -> Self {
        Self {
            fleet,
            call,
            mode: Mode::default(),
            ceiling: crate::DEFAULT_CEILING,
            task_wait: Duration::from_secs(45),
            jobs: None,
            exec_allow: Arc::from([]),
            recorder: None,
        }
    }

    /// Reads the arguments into the tool's own type.
    pub fn args<T: DeserializeOwned>(&self, args: JsonObject) -> Result<T, ToolError> {
        serde_json::from_value(serde_json::Value::Object(args))
            .map_err(|error| ToolError::new(format!("the arguments do not fit: {error}")))
    }

    /// Now.
    pub fn now(&self) -> jiff::Timestamp {
        self.fleet.now()
    }

    /// Writes down what became of the action, where that is kept. It has happened by then, so a
    /// journal that fails is told of in the log only.
    pub(crate) async fn record(&self, step: &str, said: &str) {
        let Some(recorder) = &self.recorder else { return };
        let mut said = said.to_owned();
        recorder.redaction.text(&mut said);
        let entry = recorder.entry(self.now(), step, json!({"outcome": said}));
        if let Err(why) = recorder.journal.record(entry).await {
            warn!(tool = recorder.tool, why, "outcome is not in the audit log");
        }
    }
}

// === impl Recorder ===

impl Recorder {
    fn entry(&self, time: jiff::Timestamp, step: &str, payload: Value) -> Entry {
        Entry {
            time,
            principal: self.principal.clone(),
            action: format!("{}.{step}", self.tool),
            target: self.target.clone(),
            payload,
        }
    }
}

// === impl Served ===

impl Served {
    pub(crate) fn new(
        tool: &'static dyn EstateTool,
        fleet: Arc<Fleet>,
        options: Arc<Options>,
        shared: Shared,
    ) -> Self {
        let definition = tool.definition();
        let (name, access) = (definition.name, definition.access);
        let spec = spec_of(definition, tool.as_action().is_some());
        Self { tool, name, access, spec, fleet, options, shared }
    }

    /// The most that the tool can do.
    pub(crate) fn access(&self) -> Access {
        self.access
    }

    async fn run(&self, call: &CallContext, mut args: JsonObject) -> Result<Reply, ToolError> {
        let action = self.tool.as_action();
        let plan_only = action.is_some() && args.remove("plan") == Some(true.into());
        let (principal, scope) = match call.caller().get::<Grant>() {
            Some(grant) => (&grant.principal, Some(&grant.scope)),
            None => (&self.options.principal, None),
        };
        let mut cx = Cx {
            fleet: Arc::clone(&self.fleet),
            call: call.clone(),
            mode: self.options.mode,
            ceiling: self.options.ceiling,
            task_wait: self.options.task_wait,
            jobs: self.shared.jobs.clone(),
            exec_allow: self.options.exec_allow.as_slice().into(),
            recorder: None,
        };
        let access = self.tool.access(&args).min(self.access);
        if let Some(action) = action.filter(|_| plan_only) {
            let plan = action.plan(&cx, args).await?;
            if plan.is_nothing() {
                return Ok(Reply::Report(plan.nothing()));
            }
            let form = plan.form(self.name, &principal.to_string());
            return Ok(Reply::Report(plan.report(&form, access)));
        }
        let refused = |refusal: Refusal| {
            let error =
                ToolError::new(format!("{}: {refusal}", self.name)).of_kind(Kind::Forbidden);
            if action.is_none() {
                return error;
            }
            let mut plan = args.clone();
            plan.insert("plan".to_owned(), true.into());
            error.next(self.name, plan)
        };
        if let Some(scope) = scope.filter(|scope| !scope.allows(access)) {
            let refusal = Refusal::Scope { scope: scope.access, needed: access };
            return Err(refused(refusal));
        }
        let verdict = self.options.mode.permits(access).map_err(refused)?;
        if access == Access::Read {
            return self.tool.call(&cx, args).await.map(Reply::Report);
        }
        let Some(action) = action else {
            return Err(ToolError::new(format!("{} cannot say what it would do", self.name)));
        };
        let plan = action.plan(&cx, args.clone()).await?;
        if plan.is_nothing() {
            return Ok(Reply::Report(plan.nothing()));
        }
        let form = plan.form(self.name, &principal.to_string());
        if verdict == Verdict::Ask {
            let who = principal.to_string();
            if !call.capabilities().elicitation_form {
                return Err(consent::cannot_ask(self.name).next(self.name, {
                    let mut plan = args;
                    plan.insert("plan".to_owned(), true.into());
                    plan
                }));
            }
            let said = self.shared.consents.read(call, &form, &who, cx.now())?;
            if let Said::Ask(before) = said {
                let question = consent::ask(&plan, &form, &who, cx.now(), before.as_deref());
                return Ok(Reply::Question(question));
            }
        }
        if let Some(journal) = &self.options.journal {
            let recorder = Recorder {
                journal: Arc::clone(journal),
                redaction: self.options.redaction.clone(),
                principal: principal.clone(),
                tool: self.name,
                target: target_of(&args),
            };
            let mut asked = args.clone();
            action.conceal(&mut asked);
            let mut asked = Value::Object(asked);
            self.options.redaction.json(&mut asked);
            let payload = json!({"arguments": asked, "plan": form.digest().as_str()});
            journal.record(recorder.entry(cx.now(), "begin", payload)).await.map_err(|why| {
                ToolError::new(format!("{}: nothing was done: {why}", self.name))
                    .hint("what changes the estate is written into the audit log first: make the state folder writable")
            })?;
            cx.recorder = Some(Arc::new(recorder));
        }
        let result = action.run(&cx, args, plan).await;
        match &result {
            // The end of a job is written down when it comes.
            Ok(report) if report.job.is_some() => cx.record("running", &report.lead).await,
            Ok(report) => cx.record("done", &report.lead).await,
            Err(error) => cx.record("failed", error.message()).await,
        }
        result.map(Reply::Report)
    }
}

/// What a call is about, for the audit log: its addresses as they were given.
fn target_of(args: &JsonObject) -> String {
    let names = ["cluster", "node", "guest", "vmid", "storage", "datastore", "path", "upid"];
    let parts = names.iter().filter_map(|name| {
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
        let reply = result.unwrap_or_else(|error| {
            info!(tool = self.name, error = %error, "tool call failed");
            Reply::Report(error.into_report())
        });
        let mut report = match reply {
            Reply::Report(report) => report,
            Reply::Question(question) => return question,
        };
        self.options.redaction.report(&mut report);
        let job = report.job.take();
        let rendered = report.render(self.options.ceiling);
        let answer = Answer::text(rendered.text).with_structured(rendered.structured);
        match job {
            _ if failed => Outcome::Failed(answer),
            Some(id) => Outcome::Job(JobHandle { id: JobId::from_text(id.as_ref()), answer }),
            None => Outcome::Done(answer),
        }
    }
}

/// The protocol's description of a tool, annotations derived from its tier.
fn spec_of(definition: Definition, is_action: bool) -> ToolSpec {
    let input = if is_action { definition.input.planned() } else { definition.input };
    ToolSpec {
        name: definition.name.to_owned(),
        title: definition.title.to_owned(),
        description: definition.description.to_owned(),
        input_schema: input.build(),
        output_schema: Some(definition.output.build()),
        annotations: Annotations {
            read_only: definition.access == Access::Read,
            // Stopping a guest can lose what it had not written, so everything that is not a pure
            // read is announced as what may hurt unless it is additive.
            destructive: definition.access > Access::Read && !definition.idempotent,
            idempotent: definition.idempotent || definition.access == Access::Read,
            open_world: false,
        },
        requires: ClientCapabilities::default(),
        icons: Vec::new(),
    }
}
