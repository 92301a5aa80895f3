//! What a tool is, and the one path that every call takes: scope, access, run, redact, render.

use std::{fmt::Write as _, sync::Arc, time::Duration};

use async_trait::async_trait;
use estate::Access;
use event_core::desk::EventDesk;
use guard::{Mode, Principal, Refusal, breaker::Call};
use mcp_protocol::{
    Annotations, Answer, CallContext, ClientCapabilities, JobHandle, JobId, JsonObject, Notifier,
    Outcome, ToolSpec,
};
use serde::de::DeserializeOwned;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;
use tracing::{Instrument, info, info_span, warn};

use crate::{
    app::Options,
    consent::Consents,
    error::{Kind, ToolError},
    fleet::Fleet,
    gate::{self, Guard, Next, Passage, Permit, Sending, Who, Work},
    jobs::Jobs,
    journal::Entry,
    plan::{ActionTool, shown_by_plan},
    reading,
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
    /// Who calls.
    pub principal: Principal,
    /// The event pipeline, where there is one.
    pub events: Option<Arc<dyn EventDesk>>,
    /// The action that this call is, once it was let through.
    pub(crate) work: Option<Arc<Work>>,
    options: Option<Arc<Options>>,
}

/// A tool as the protocol sees it.
pub(crate) struct Served {
    tool: &'static dyn EstateTool,
    name: &'static str,
    access: Access,
    selects: bool,
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
            principal: Principal::local(0),
            events: None,
            work: None,
            options: None,
        }
    }

    /// The same, as these options say.
    pub(crate) fn of(
        fleet: Arc<Fleet>,
        call: CallContext,
        options: &Arc<Options>,
        principal: Principal,
    ) -> Self {
        Self {
            mode: options.mode,
            ceiling: options.ceiling,
            task_wait: options.task_wait,
            exec_allow: options.exec_allow.as_slice().into(),
            principal,
            events: options.events.clone(),
            options: Some(Arc::clone(options)),
            ..Self::new(fleet, call)
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

    /// Takes secrets out of what leaves by another way than the answer.
    pub(crate) fn clean(&self, text: &mut String) {
        match &self.options {
            Some(options) => options.redaction.text(text),
            None => Redaction::default().text(text),
        }
    }

    /// Tells how far it is, in seconds and in a line that others may have written.
    pub(crate) async fn tell(&self, seconds: f64, line: &str) {
        let mut line = line.to_owned();
        match &self.options {
            Some(options) => options.redaction.sentence(&mut line),
            None => Redaction::default().sentence(&mut line),
        }
        self.call.progress(seconds, None, Some(&line)).await;
    }

    /// What the gate goes by; nothing outside of a server.
    pub(crate) fn guard(&self) -> Option<&Guard> {
        self.options.as_ref().map(|options| &options.guard)
    }

    /// Asks to send something: refused while changes are stopped, and written down before. A call
    /// that no gate has let through, as in a test of one tool, notes nothing.
    ///
    /// # Errors
    /// It must not be sent, or cannot be written down.
    pub(crate) async fn permit(&self, sending: Sending) -> Result<Permit, ToolError> {
        match &self.work {
            Some(work) => work.permit(sending).await,
            None => Ok(Permit::default()),
        }
    }

    /// Writes down what became of the action. Only the first word counts.
    pub(crate) async fn ended(&self, result: Result<&Report, &ToolError>) {
        if let Some(work) = &self.work {
            work.end(result).await;
        }
    }

    /// Writes something down that is no action on the estate.
    pub(crate) async fn journal(&self, action: &str, target: &str, mut payload: Value) {
        let Some(options) = &self.options else { return };
        let Some(journal) = &options.journal else { return };
        options.redaction.json(&mut payload);
        let entry = Entry {
            time: self.now(),
            principal: self.principal.clone(),
            action: action.to_owned(),
            target: target.to_owned(),
            payload,
        };
        if let Err(why) = journal.record(entry).await {
            warn!(action, why, "an entry is not in the audit log");
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
        let selects = definition.input.selects();
        let spec = spec_of(definition, tool.as_action().is_some());
        Self { tool, name, access, selects, spec, fleet, options, shared }
    }

    /// The most that the tool can do.
    pub(crate) fn access(&self) -> Access {
        self.access
    }

    /// The one path of every call: whoever went wild is stopped, everything else is judged, and
    /// counted.
    async fn run(&self, call: &CallContext, mut args: JsonObject) -> Result<Reply, ToolError> {
        let plan_only = self.tool.as_action().is_some() && args.remove("plan") == Some(true.into());
        let who = Who::of(call, &self.options);
        let access = self.tool.access(&args).min(self.access);
        let (guard, now) = (&self.options.guard, self.fleet.now());
        let caller = who.principal.to_string();
        guard.admits(&caller, access, now).await.map_err(|trip| {
            ToolError::new(format!("{}: nothing was done: {trip}", self.name))
                .of_kind(Kind::Forbidden)
                .hint("look at what fails, or ask the operator, before you go on")
        })?;
        if let Some(rate) = who.scope.as_ref().and_then(|scope| scope.rate) {
            guard.take(&caller, rate, now).map_err(|spent| {
                ToolError::new(format!("{}: {spent}", self.name)).of_kind(Kind::Forbidden)
            })?;
        }
        let (began, what) = (Instant::now(), self.what(&args));
        let result = self.go(call, &who, access, args, plan_only).await;
        let access = if plan_only { Access::Read } else { access };
        let ended = Call {
            principal: &caller,
            what: &what,
            access,
            failed: result.is_err(),
            took: began.elapsed(),
        };
        if !matches!(result, Ok(Reply::Question(_)))
            && let Some(trip) = guard.note(&ended, self.fleet.now()).await
        {
            warn!(principal = caller, %trip, "a caller went wild and is stopped");
            gate::journal_trip(&self.options, &who.principal, &trip, self.fleet.now()).await;
        }
        result
    }

    async fn go(
        &self,
        call: &CallContext,
        who: &Who,
        access: Access,
        args: JsonObject,
        plan_only: bool,
    ) -> Result<Reply, ToolError> {
        let fleet = Arc::clone(&self.fleet);
        let mut cx = Cx::of(fleet, call.clone(), &self.options, who.principal.clone());
        cx.jobs = self.shared.jobs.clone();
        let beyond = who.scope.as_ref().filter(|scope| !scope.allows(access));
        if let Some(scope) = beyond.filter(|_| !plan_only) {
            let refusal = Refusal::Scope { scope: scope.access, needed: access };
            return Err(self.forbidden(refusal, args));
        }
        // A plan reads, and says what it found.
        let mut left = None;
        if access == Access::Read || plan_only {
            left = reading::of_call(&self.options, who, &cx.fleet, self.name, &args)?;
            cx.fleet = left.as_ref().map_or(cx.fleet, |left| Arc::clone(&left.fleet));
        }
        let lacking = |result: Result<Report, ToolError>| match &left {
            Some(left) => {
                result.map(|it| left.said(it)).map_err(|it| left.blamed(it)).map(Reply::Report)
            }
            None => result.map(Reply::Report),
        };
        if access == Access::Read && !plan_only {
            let fields = args.get("fields").and_then(Value::as_str).filter(|_| self.selects);
            let fields = fields.unwrap_or_default().to_owned();
            let report = self.tool.call(&cx, args).await;
            return lacking(report.and_then(|report| select(report, &fields)));
        }
        let Some(action) = self.tool.as_action() else {
            return Err(ToolError::new(format!("{} cannot say what it would do", self.name)));
        };
        let passage = Passage {
            name: self.name,
            action,
            access,
            options: &self.options,
            shared: &self.shared,
            who,
            cx,
            args,
        };
        if plan_only {
            return lacking(passage.show().await);
        }
        passage.unless_frozen().await?;
        let planned = match passage.plan().await? {
            Ok(planned) => planned,
            Err(nothing) => return Ok(Reply::Report(nothing)),
        };
        match passage.consent(&planned.case).await? {
            Next::Run(terms) => passage.perform(planned, terms).await.map(Reply::Report),
            Next::Question(question) => Ok(Reply::Question(question)),
            Next::Wait(report) => Ok(Reply::Report(report)),
        }
    }

    fn forbidden(&self, refusal: Refusal, args: JsonObject) -> ToolError {
        let error = ToolError::new(format!("{}: {refusal}", self.name)).of_kind(Kind::Forbidden);
        match self.tool.as_action() {
            Some(action) => {
                shown_by_plan(error, (self.name, action), args, &self.options.redaction)
            }
            None => error,
        }
    }

    /// The call, by which the breaker knows it again.
    fn what(&self, args: &JsonObject) -> String {
        let mut hasher = Sha256::new();
        hasher.update(self.name);
        hasher.update([0]);
        hasher.update(Value::Object(args.clone()).to_string());
        hasher.finalize().iter().take(16).fold(String::new(), |mut out, byte| {
            // Writing to a string cannot fail.
            let _ = write!(out, "{byte:02x}");
            out
        })
    }
}

/// Cuts an answer to the columns that the caller wants; all of them where it names none.
fn select(mut report: Report, fields: &str) -> Result<Report, ToolError> {
    let fields: Vec<&str> = fields.split(',').map(str::trim).filter(|it| !it.is_empty()).collect();
    report.select(&fields).map_err(|field| {
        let columns = report.tables.iter().flat_map(|table| &table.columns);
        let columns = columns.map(AsRef::as_ref).collect::<Vec<_>>().join(", ");
        ToolError::new(format!("no column is called {}", crate::address::quoted(&field)))
            .hint(format!("the columns here are {columns}"))
    })?;
    Ok(report)
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
            Reply::Question(question) => return self.options.redaction.question(question),
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
