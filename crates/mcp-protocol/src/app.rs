//! The app: a name, instructions and a catalogue, ready to be served.

use std::collections::BTreeSet;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::FutureExt as _;
use serde_json::Value;
use stdx::{Clock, SystemClock};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::JsonObject;
use crate::completion::Completer;
use crate::context::{CallContext, Caller};
use crate::icon::Icon;
use crate::job::{Job, JobDriver, JobId, JobStore, JobStoreError};
use crate::notify::{Changes, Notifier};
use crate::prompt::Prompts;
use crate::resource::Resources;
use crate::schema::{self, LazySchema};
use crate::tasks::Tasks;
use crate::tool::{Outcome, Tool, ToolSpec};

/// The longest tool name that the protocol recommends clients to accept.
const MAX_NAME: usize = 128;

/// Everything that a server offers. Cheap to clone.
#[derive(Clone)]
pub struct App {
    pub(crate) inner: Arc<Inner>,
}

/// An app that somebody else keeps: for what looks after it as long as it is served.
#[derive(Clone)]
pub struct WeakApp {
    inner: Weak<Inner>,
    gone: CancellationToken,
}

pub(crate) struct Inner {
    pub(crate) implementation: Implementation,
    pub(crate) instructions: String,
    pub(crate) tools: Vec<Entry>,
    pub(crate) resources: Option<Arc<dyn Resources>>,
    pub(crate) prompts: Option<Arc<dyn Prompts>>,
    pub(crate) completer: Option<Arc<dyn Completer>>,
    pub(crate) tasks: Option<Tasks>,
    pub(crate) notifier: Notifier,
    pub(crate) changes: Changes,
    pub(crate) clock: Arc<dyn Clock>,
    observer: Option<Arc<dyn Observer>>,
    listing: Option<Arc<dyn Listing>>,
    pub(crate) caller: Caller,
    pub(crate) page_size: usize,
    pub(crate) list_ttl: Duration,
    pub(crate) end_grace: Duration,
    pub(crate) ask_timeout: Duration,
    /// Ends its token when the last clone of the app is gone.
    alive: DropGuard,
}

pub(crate) struct Entry {
    pub(crate) tool: Arc<dyn Tool>,
    input: LazySchema,
    output: LazySchema,
}

/// What a server says it is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Implementation {
    /// Its name for programs.
    pub name: String,
    /// Its name for people.
    pub title: String,
    /// Its version.
    pub version: String,
    /// Pictures for lists of servers.
    pub icons: Vec<Icon>,
}

/// Is told of every call of a tool as it ends: for metrics.
pub trait Observer: Send + Sync + 'static {
    /// A call has ended, or one round of it if the tool asks something.
    ///
    /// `outcome` is `done`, `failed`, `asked`, `job`, `error` for a fault of the server, or `cancelled` for a call that
    /// nobody waited for any more. Calls of tools that do not exist are not told.
    fn tool_called(&self, name: &str, outcome: &'static str, elapsed: Duration);
}

/// Tells the observer of a call, however that ends.
struct Observed<'a> {
    observer: Option<&'a dyn Observer>,
    name: &'a str,
    begun: Instant,
    outcome: &'static str,
}

/// Says which tools are not worth listing at present: those that nobody could use.
///
/// They can still be called, and then say themselves why they do not work.
#[async_trait]
pub trait Listing: Send + Sync + 'static {
    /// The names of the tools to leave out. Asked for every list, so it answers from memory, or soon.
    async fn hidden(&self) -> Arc<BTreeSet<String>>;
}

/// Puts an [`App`] together.
pub struct AppBuilder {
    inner: Inner,
}

/// Why an app cannot be built: a mistake in the catalogue.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// Two tools with one name.
    #[error("two tools are called {name}")]
    DuplicateTool {
        /// The name.
        name: String,
    },
    /// A name that clients may refuse.
    #[error("{name:?} is not a tool name: 1 to 128 of A-Z a-z 0-9 _ . -")]
    ToolName {
        /// The name.
        name: String,
    },
    /// A schema that is not a flat object.
    #[error("{schema} of tool {tool} must be a JSON Schema with type object at its root")]
    Schema {
        /// Whose.
        tool: String,
        /// Which of the two.
        schema: &'static str,
    },
}

/// Why a call did not reach an outcome.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// There is no such tool.
    #[error("unknown tool {name}{hint}")]
    UnknownTool {
        /// What was asked for.
        name: String,
        /// The nearest name, as ` (did you mean …?)`, or nothing.
        hint: String,
    },
    /// The tool panicked. The cause is in the log, not here.
    #[error("tool {name} failed because of a fault in this server; its log has the details")]
    Panicked {
        /// Which.
        name: String,
    },
    /// The tool's answer contradicts its own output schema. Only checked in debug builds.
    #[error("tool {name} answered against its own output schema: {problem}")]
    OutputSchema {
        /// Which.
        name: String,
        /// What does not fit.
        problem: String,
    },
}

// === impl App ===

impl App {
    /// Begins an app; `instructions` tell the model how to use it as a whole.
    pub fn builder(implementation: Implementation, instructions: impl Into<String>) -> AppBuilder {
        AppBuilder {
            inner: Inner {
                implementation,
                instructions: instructions.into(),
                tools: Vec::new(),
                resources: None,
                prompts: None,
                completer: None,
                tasks: None,
                notifier: Notifier::new(),
                changes: Changes::NONE,
                clock: SystemClock::shared(),
                observer: None,
                listing: None,
                caller: Caller::new("local"),
                page_size: 500,
                list_ttl: Duration::from_mins(5),
                end_grace: Duration::from_millis(500),
                ask_timeout: Duration::from_mins(5),
                alive: CancellationToken::new().drop_guard(),
            },
        }
    }

    /// What the server says it is.
    pub fn implementation(&self) -> &Implementation {
        &self.inner.implementation
    }

    /// What every client is told at the start.
    pub fn instructions(&self) -> &str {
        &self.inner.instructions
    }

    /// What clients are told about each tool, in the order of the list.
    pub fn tool_specs(&self) -> impl ExactSizeIterator<Item = &ToolSpec> {
        self.inner.tools.iter().map(|entry| entry.tool.spec())
    }

    /// The tools that are worth listing now, as clients get them.
    pub async fn listed_specs(&self) -> Vec<&ToolSpec> {
        self.listed().await.into_iter().map(|entry| entry.tool.spec()).collect()
    }

    pub(crate) async fn listed(&self) -> Vec<&Entry> {
        let hidden = match &self.inner.listing {
            Some(listing) => listing.hidden().await,
            None => Arc::default(),
        };
        let tools = self.inner.tools.iter();
        tools.filter(|entry| !hidden.contains(&entry.tool.spec().name)).collect()
    }

    /// What suggests names, if there is anything: for embedders that ask it without a client.
    pub fn completer(&self) -> Option<&Arc<dyn Completer>> {
        self.inner.completer.as_ref()
    }

    /// The resources, if there are any: for embedders that read them without a client.
    pub fn resources(&self) -> Option<&Arc<dyn Resources>> {
        self.inner.resources.as_ref()
    }

    /// How a job of this owner is now, looked at again if it is not finished: for embedders that tell it elsewhere than in
    /// the protocol. `None` for another's job, as for one that nobody has.
    ///
    /// # Errors
    ///
    /// When the store has no answer.
    pub async fn job(&self, owner: &str, id: &JobId) -> Result<Option<Job>, JobStoreError> {
        match &self.inner.tasks {
            Some(tasks) => tasks.look(owner, id, self.inner.clock.now()).await,
            None => Ok(None),
        }
    }

    /// Stops a job of this owner, as far as it can be stopped, and tells how it is then.
    ///
    /// # Errors
    ///
    /// When the store has no answer.
    pub async fn cancel_job(&self, owner: &str, id: &JobId) -> Result<Option<Job>, JobStoreError> {
        match &self.inner.tasks {
            Some(tasks) => tasks.cancel(owner, id, self.inner.clock.now()).await,
            None => Ok(None),
        }
    }

    /// The same app, without keeping it.
    pub fn downgrade(&self) -> WeakApp {
        WeakApp { inner: Arc::downgrade(&self.inner), gone: self.inner.alive.token().clone() }
    }

    /// Tells clients what has changed; only what [`AppBuilder::notifier`] announces is heard.
    pub fn notifier(&self) -> Notifier {
        self.inner.notifier.clone()
    }

    /// Who calls when the transport does not say.
    pub fn caller(&self) -> &Caller {
        &self.inner.caller
    }

    /// Calls a tool as a client's call would: checks the arguments, catches a panic.
    ///
    /// Wrong arguments are an [`Outcome::Failed`] that says what is wrong.
    ///
    /// # Errors
    ///
    /// [`CallError::UnknownTool`] if there is none of that name; the other two are faults in the tool.
    pub async fn call_tool(
        &self,
        cx: &CallContext,
        name: &str,
        args: JsonObject,
    ) -> Result<Outcome, CallError> {
        let entry = self.entry(name)?;
        let spec = entry.tool.spec();
        let mut observed = self.observed(&spec.name);
        let result = Self::call_entry(entry, cx, args).await;
        observed.outcome = match &result {
            Ok(outcome) => outcome.word(),
            Err(_) => "error",
        };
        drop(observed);
        result
    }

    async fn call_entry(
        entry: &Entry,
        cx: &CallContext,
        mut args: JsonObject,
    ) -> Result<Outcome, CallError> {
        let spec = entry.tool.spec();
        let name = &spec.name;
        if let Some(lacking) = spec.requires.lacking(cx.capabilities()) {
            return Ok(Outcome::failed(format!("{name} was not called: {lacking}")));
        }
        schema::drop_empty_arguments(&spec.input_schema, &mut args);
        schema::mend_types(&spec.input_schema, &mut args);
        let args = Value::Object(args);
        if let Err(problems) = entry.input.check(&spec.input_schema, &args) {
            return Ok(Outcome::failed(format!("{name} was not called: {}", problems.join("\n"))));
        }
        let Value::Object(args) = args else { unreachable!("made from an object above") };
        let call = AssertUnwindSafe(entry.tool.call(cx, args)).catch_unwind().await;
        let Ok(outcome) = call else {
            tracing::error!(tool = name, request_id = cx.request_id(), "tool panicked");
            return Err(CallError::Panicked { name: name.clone() });
        };
        if cfg!(debug_assertions) {
            entry.check_output(&outcome)?;
        }
        Ok(outcome)
    }

    /// Holds arguments against a tool's schema without calling it, as [`App::call_tool`] does before it calls. What is
    /// wrong is listed; nothing is when they fit.
    ///
    /// # Errors
    ///
    /// [`CallError::UnknownTool`] if there is none of that name.
    pub fn check_arguments(&self, name: &str, args: &JsonObject) -> Result<Vec<String>, CallError> {
        let entry = self.entry(name)?;
        let schema = &entry.tool.spec().input_schema;
        let mut args = args.clone();
        schema::drop_empty_arguments(schema, &mut args);
        schema::mend_types(schema, &mut args);
        Ok(entry.input.check(schema, &Value::Object(args)).err().unwrap_or_default())
    }

    fn observed<'a>(&'a self, name: &'a str) -> Observed<'a> {
        let observer = self.inner.observer.as_deref();
        Observed { observer, name, begun: Instant::now(), outcome: "cancelled" }
    }

    pub(crate) fn entry(&self, name: &str) -> Result<&Entry, CallError> {
        let tools = &self.inner.tools;
        if let Some(entry) = tools.iter().find(|entry| entry.tool.spec().name == name) {
            return Ok(entry);
        }
        let names = tools.iter().map(|entry| entry.tool.spec().name.as_str());
        let hint = schema::nearest(name, names)
            .map(|near| format!(" (did you mean {near}?)"))
            .unwrap_or_default();
        // A name of any length may come from outside; what goes back is bounded.
        let name = name.chars().take(MAX_NAME).collect();
        Err(CallError::UnknownTool { name, hint })
    }
}

// === impl WeakApp ===

impl WeakApp {
    /// The app, if anybody still has it.
    pub fn upgrade(&self) -> Option<App> {
        self.inner.upgrade().map(|inner| App { inner })
    }

    /// Waits until nobody has the app any more.
    pub async fn gone(&self) {
        self.gone.cancelled().await;
    }
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App")
            .field("implementation", &self.inner.implementation)
            .field("tools", &self.inner.tools.len())
            .finish_non_exhaustive()
    }
}

// === impl Entry ===

impl Entry {
    fn check_output(&self, outcome: &Outcome) -> Result<(), CallError> {
        let spec = self.tool.spec();
        let Outcome::Done(answer) = outcome else { return Ok(()) };
        let Some(schema) = &spec.output_schema else { return Ok(()) };
        let problem = match &answer.structured {
            None => "there is no structured content".to_owned(),
            Some(structured) => {
                match self.output.check(schema, &Value::Object(structured.clone())) {
                    Ok(()) => return Ok(()),
                    Err(problems) => problems.join("; "),
                }
            }
        };
        Err(CallError::OutputSchema { name: spec.name.clone(), problem })
    }
}

// === impl Observed ===

impl Drop for Observed<'_> {
    fn drop(&mut self) {
        if let Some(observer) = self.observer {
            observer.tool_called(self.name, self.outcome, self.begun.elapsed());
        }
    }
}

// === impl Implementation ===

impl Implementation {
    /// A name for programs, a name for people, a version.
    pub fn new(
        name: impl Into<String>,
        title: impl Into<String>,
        version: impl Into<String>,
    ) -> Self {
        let (name, title, version) = (name.into(), title.into(), version.into());
        Self { name, title, version, icons: Vec::new() }
    }

    /// Adds a picture.
    #[must_use]
    pub fn with_icon(mut self, icon: Icon) -> Self {
        self.icons.push(icon);
        self
    }
}

// === impl AppBuilder ===

impl AppBuilder {
    /// Adds a tool; tools are listed in the order in which they were added.
    #[must_use]
    pub fn tool(mut self, tool: Arc<dyn Tool>) -> Self {
        self.inner.tools.push(Entry {
            tool,
            input: LazySchema::default(),
            output: LazySchema::default(),
        });
        self
    }

    /// Adds several tools.
    #[must_use]
    pub fn tools(self, tools: impl IntoIterator<Item = Arc<dyn Tool>>) -> Self {
        tools.into_iter().fold(self, Self::tool)
    }

    /// Serves resources.
    #[must_use]
    pub fn resources(mut self, resources: Arc<dyn Resources>) -> Self {
        self.inner.resources = Some(resources);
        self
    }

    /// Serves prompts.
    #[must_use]
    pub fn prompts(mut self, prompts: Arc<dyn Prompts>) -> Self {
        self.inner.prompts = Some(prompts);
        self
    }

    /// Serves completion.
    #[must_use]
    pub fn completer(mut self, completer: Arc<dyn Completer>) -> Self {
        self.inner.completer = Some(completer);
        self
    }

    /// Answers clients that know the tasks extension with a task where a tool's work goes on as a job.
    ///
    /// `store` is where the tools keep their jobs; give them the one of [`Notifier::jobs`], so that clients that follow a
    /// job hear of its end. A job that has not ended is looked at again through `driver` whenever somebody asks.
    #[must_use]
    pub fn jobs(mut self, store: Arc<dyn JobStore>, driver: Arc<dyn JobDriver>) -> Self {
        self.inner.tasks = Some(Tasks::new(store, driver));
        self
    }

    /// Announces these kinds of changes, and tells them through `notifier`; without this none.
    ///
    /// Apps that serve the same things to different callers may share one notifier.
    #[must_use]
    pub fn notifier(mut self, notifier: Notifier, changes: Changes) -> Self {
        self.inner.notifier = notifier;
        self.inner.changes = changes;
        self
    }

    /// Leaves tools out of the list.
    #[must_use]
    pub fn listing(mut self, listing: Arc<dyn Listing>) -> Self {
        self.inner.listing = Some(listing);
        self
    }

    /// Is told of every call of a tool.
    #[must_use]
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.inner.observer = Some(observer);
        self
    }

    /// What time it is for jobs; without this the machine's clock.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.inner.clock = clock;
        self
    }

    /// Who calls when the transport does not say, as over stdio; without this `local`.
    #[must_use]
    pub fn caller(mut self, caller: Caller) -> Self {
        self.inner.caller = caller;
        self
    }

    /// How many items a page of a list holds, at least one; without this 500, because some clients read one page only.
    #[must_use]
    pub fn page_size(mut self, items: usize) -> Self {
        self.inner.page_size = items.max(1);
        self
    }

    /// For how long clients may keep lists and the discovery answer; without this five minutes.
    #[must_use]
    pub fn list_ttl(mut self, ttl: Duration) -> Self {
        self.inner.list_ttl = ttl;
        self
    }

    /// How long requests in flight may go on after the end of input; without this half a second.
    ///
    /// With nothing in flight the server ends at once. The grace is what makes `printf '…' | server` print its answers.
    #[must_use]
    pub fn end_of_input_grace(mut self, grace: Duration) -> Self {
        self.inner.end_grace = grace;
        self
    }

    /// How long a person may take over one question; without this five minutes. No answer counts as cancelled.
    #[must_use]
    pub fn ask_timeout(mut self, timeout: Duration) -> Self {
        self.inner.ask_timeout = timeout;
        self
    }

    /// The app.
    ///
    /// # Errors
    ///
    /// [`BuildError`] for a mistake in the catalogue, which a test finds before a user does.
    pub fn build(self) -> Result<App, BuildError> {
        let tools = &self.inner.tools;
        for (index, entry) in tools.iter().enumerate() {
            let spec = entry.tool.spec();
            let name = &spec.name;
            if !is_tool_name(name) {
                return Err(BuildError::ToolName { name: name.clone() });
            }
            if tools[..index].iter().any(|earlier| earlier.tool.spec().name == *name) {
                return Err(BuildError::DuplicateTool { name: name.clone() });
            }
            let is_object =
                |schema: &JsonObject| schema.get("type").and_then(Value::as_str) == Some("object");
            let fault = if !is_object(&spec.input_schema) {
                Some("input schema")
            } else if spec.output_schema.as_ref().is_some_and(|schema| !is_object(schema)) {
                Some("output schema")
            } else {
                None
            };
            if let Some(schema) = fault {
                return Err(BuildError::Schema { tool: name.clone(), schema });
            }
        }
        Ok(App { inner: Arc::new(self.inner) })
    }
}

fn is_tool_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
}
