//! What a handler knows about the call that it serves, and what it may say while it works.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::JsonObject;
use crate::ask::Answers;
use crate::progress::ProgressGate;

/// The extension that hands out tasks.
pub(crate) const TASKS: &str = "io.modelcontextprotocol/tasks";

/// The surroundings of one call. Cheap to clone; a clone that outlives the call can do no harm, because nothing is sent
/// after the answer.
#[derive(Clone)]
pub struct CallContext {
    inner: Arc<Inner>,
}

struct Inner {
    request: Request,
    caller: Caller,
    cancelled: CancellationToken,
    answers: Option<Answers>,
    unasked: Option<Answers>,
    progress: Arc<ProgressGate>,
    outlet: Arc<dyn Outlet>,
}

/// What the request said about itself.
#[derive(Debug, Clone, Default)]
pub(crate) struct Request {
    pub(crate) id: String,
    pub(crate) era: Era,
    pub(crate) protocol_version: String,
    pub(crate) client: ClientInfo,
    pub(crate) capabilities: ClientCapabilities,
    pub(crate) trace: TraceContext,
    pub(crate) log_level: Option<LogLevel>,
    pub(crate) wants_progress: bool,
}

/// The way out for notifications that belong to a call. The adapter has one over the wire; [`Nowhere`] is the other.
#[async_trait]
pub(crate) trait Outlet: Send + Sync + 'static {
    async fn progress(&self, current: f64, total: Option<f64>, message: Option<String>);
    async fn log(&self, level: LogLevel, logger: Option<String>, data: Value);
    /// Ends the stream that the call's client waits on, where it can come back for the rest.
    fn let_go(&self) {}
}

/// An outlet that drops everything.
pub(crate) struct Nowhere;

/// Hears how far a call is: for a transport of the embedder's own.
#[async_trait]
pub trait ProgressListener: Send + Sync + 'static {
    /// The call is so far, of so much, in words.
    async fn progress(&self, current: f64, total: Option<f64>, message: Option<String>);
}

/// The way out to a listener.
struct Told(Arc<dyn ProgressListener>);

/// Who calls.
///
/// The subject is an opaque text to this crate; whoever builds the app may attach a richer value and get it back by type.
#[derive(Clone)]
pub struct Caller {
    subject: Arc<str>,
    attached: Option<Arc<dyn Any + Send + Sync>>,
}

/// Which half of the protocol a request uses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Era {
    /// A revision with `initialize`: 2024-11-05 to 2025-11-25.
    #[default]
    Legacy,
    /// A stateless revision: 2026-07-28 and later.
    Modern,
}

/// What the client says it is. Never a reason to trust it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientInfo {
    /// Its name; empty if it did not say.
    pub name: String,
    /// Its version; empty if it did not say.
    pub version: String,
    /// Its name for people.
    pub title: Option<String>,
}

/// What the client can do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientCapabilities {
    /// It can show a form and return the answer.
    pub elicitation_form: bool,
    /// It can send the person to a page.
    pub elicitation_url: bool,
    /// It can run a model for the server (deprecated in 2026-07-28).
    pub sampling: bool,
    /// It can list its file roots (deprecated in 2026-07-28).
    pub roots: bool,
    /// It knows the tasks extension.
    pub tasks: bool,
}

/// The W3C trace context that came with a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TraceContext {
    /// The `traceparent` header's value.
    pub traceparent: Option<String>,
    /// The `tracestate` header's value.
    pub tracestate: Option<String>,
    /// The `baggage` header's value.
    pub baggage: Option<String>,
}

/// Levels of a log message to the client, least severe first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// For developers.
    Debug,
    /// Ordinary.
    Info,
    /// Ordinary, but of note.
    Notice,
    /// Something may be wrong.
    Warning,
    /// Something failed.
    Error,
    /// A part does not work.
    Critical,
    /// Act now.
    Alert,
    /// Nothing works.
    Emergency,
}

// === impl CallContext ===

impl CallContext {
    pub(crate) fn new(
        request: Request,
        caller: Caller,
        cancelled: CancellationToken,
        answers: Option<Answers>,
        outlet: Arc<dyn Outlet>,
    ) -> Self {
        let progress = Arc::default();
        let unasked = None;
        let inner = Inner { request, caller, cancelled, answers, unasked, progress, outlet };
        Self { inner: Arc::new(inner) }
    }

    /// A context without a client: for tests, and for calls from inside the process. Progress and logs go nowhere.
    pub fn detached(caller: Caller) -> Self {
        Self::new(
            Request { era: Era::Modern, ..Request::default() },
            caller,
            CancellationToken::new(),
            None,
            Arc::new(Nowhere),
        )
    }

    /// The same context of a client that can do this: for an embedder that asks its person itself.
    #[must_use]
    pub fn with_capabilities(&self, capabilities: ClientCapabilities) -> Self {
        let inner = Inner {
            request: Request { capabilities, ..self.inner.request.clone() },
            caller: self.inner.caller.clone(),
            cancelled: self.inner.cancelled.clone(),
            answers: self.inner.answers.clone(),
            unasked: self.inner.unasked.clone(),
            progress: Arc::clone(&self.inner.progress),
            outlet: Arc::clone(&self.inner.outlet),
        };
        Self { inner: Arc::new(inner) }
    }

    /// The same context under this request id and ended by this token: for a transport of the embedder's own.
    #[must_use]
    pub fn with_request(&self, id: &str, cancelled: CancellationToken) -> Self {
        let inner = Inner {
            request: Request { id: id.to_owned(), ..self.inner.request.clone() },
            caller: self.inner.caller.clone(),
            cancelled,
            answers: self.inner.answers.clone(),
            unasked: self.inner.unasked.clone(),
            progress: Arc::clone(&self.inner.progress),
            outlet: Arc::clone(&self.inner.outlet),
        };
        Self { inner: Arc::new(inner) }
    }

    /// The same context with its progress told to this listener: for a transport of the embedder's own.
    #[must_use]
    pub fn with_progress(&self, listener: Arc<dyn ProgressListener>) -> Self {
        let inner = Inner {
            request: Request { wants_progress: true, ..self.inner.request.clone() },
            caller: self.inner.caller.clone(),
            cancelled: self.inner.cancelled.clone(),
            answers: self.inner.answers.clone(),
            unasked: self.inner.unasked.clone(),
            progress: Arc::default(),
            outlet: Arc::new(Told(listener)),
        };
        Self { inner: Arc::new(inner) }
    }

    /// The same context for the next round of a call that asked something.
    #[must_use]
    pub fn with_answers(&self, answers: Answers) -> Self {
        self.with(Some(answers), None)
    }

    /// The same context for a call that came with answers to nothing that we asked.
    #[must_use]
    pub(crate) fn with_unasked(&self, answers: Answers) -> Self {
        self.with(None, Some(answers))
    }

    fn with(&self, answers: Option<Answers>, unasked: Option<Answers>) -> Self {
        let inner = Inner {
            request: self.inner.request.clone(),
            caller: self.inner.caller.clone(),
            cancelled: self.inner.cancelled.clone(),
            answers,
            unasked,
            // Shared: progress grows over all rounds of one request.
            progress: Arc::clone(&self.inner.progress),
            outlet: Arc::clone(&self.inner.outlet),
        };
        Self { inner: Arc::new(inner) }
    }

    /// The id of the request, as text; empty for a detached context.
    pub fn request_id(&self) -> &str {
        &self.inner.request.id
    }

    /// Who calls.
    pub fn caller(&self) -> &Caller {
        &self.inner.caller
    }

    /// Which half of the protocol is spoken.
    pub fn era(&self) -> Era {
        self.inner.request.era
    }

    /// The revision of the protocol, such as `2025-11-25`.
    pub fn protocol_version(&self) -> &str {
        &self.inner.request.protocol_version
    }

    /// What the client says it is.
    pub fn client(&self) -> &ClientInfo {
        &self.inner.request.client
    }

    /// What the client can do.
    pub fn capabilities(&self) -> ClientCapabilities {
        self.inner.request.capabilities
    }

    /// The trace that the request belongs to.
    pub fn trace(&self) -> &TraceContext {
        &self.inner.request.trace
    }

    /// Ends when the client cancels the request or goes away. A handler's future is dropped then anyway; this is for work
    /// that it has handed elsewhere.
    pub fn cancellation(&self) -> &CancellationToken {
        &self.inner.cancelled
    }

    /// The answers to what this tool asked in an earlier round; `None` in the first.
    pub fn answers(&self) -> Option<&Answers> {
        self.inner.answers.as_ref()
    }

    /// Answers that came without our state: nothing proves that a question of ours was on anybody's screen, or that they
    /// fit its form. Fit to save a round where they are mere arguments; never a consent.
    pub fn unasked_answers(&self) -> Option<&Answers> {
        self.inner.unasked.as_ref()
    }

    /// Lets go of the connection that the client waits on, if it is one that the client can take up again where it
    /// stopped (a session over HTTP, from revision 2025-11-25 on); does nothing otherwise. The call goes on.
    pub fn let_go(&self) {
        self.inner.outlet.let_go();
    }

    /// Whether progress reaches anybody, so that a handler can save the work of finding it out.
    pub fn wants_progress(&self) -> bool {
        self.inner.request.wants_progress
    }

    /// Tells how far the work is.
    ///
    /// Sent only if the client asked for it, only if `current` has grown, never after the answer, and at most a few times
    /// a second (the last one, where `current` reaches `total`, always).
    pub async fn progress(&self, current: f64, total: Option<f64>, message: Option<&str>) {
        if !self.wants_progress() {
            return;
        }
        let send = self.inner.outlet.progress(current, total, message.map(str::to_owned));
        self.inner.progress.pass(current, total, send).await;
    }

    /// Sends a log message, if the client asked for messages of this level.
    ///
    /// Meant for what the person at the client should see while waiting; the program's own log is elsewhere.
    pub async fn log(&self, level: LogLevel, message: &str) {
        let Some(threshold) = self.inner.request.log_level else { return };
        if level < threshold {
            return;
        }
        let send = self.inner.outlet.log(level, None, Value::String(message.to_owned()));
        self.inner.progress.pass_unmetered(send).await;
    }

    /// From here on nothing is sent for this call; waits for a notification that is on its way.
    pub(crate) async fn finish(&self) {
        self.inner.progress.close().await;
    }
}

impl fmt::Debug for CallContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallContext")
            .field("request", &self.inner.request)
            .field("caller", &self.inner.caller)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Outlet for Nowhere {
    async fn progress(&self, _current: f64, _total: Option<f64>, _message: Option<String>) {}
    async fn log(&self, _level: LogLevel, _logger: Option<String>, _data: Value) {}
}

#[async_trait]
impl Outlet for Told {
    async fn progress(&self, current: f64, total: Option<f64>, message: Option<String>) {
        self.0.progress(current, total, message).await;
    }
    async fn log(&self, _level: LogLevel, _logger: Option<String>, _data: Value) {}
}

// === impl Caller ===

impl Caller {
    /// A caller known by its subject alone, such as `local:1000`.
    pub fn new(subject: &str) -> Self {
        Self { subject: Arc::from(subject), attached: None }
    }

    /// Attaches a value that handlers can get back by its type.
    #[must_use]
    pub fn with<T: Any + Send + Sync>(mut self, value: T) -> Self {
        self.attached = Some(Arc::new(value));
        self
    }

    /// Who it is, as text.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The attached value, if it is a `T`.
    pub fn get<T: Any + Send + Sync>(&self) -> Option<&T> {
        self.attached.as_deref().and_then(|attached| attached.downcast_ref())
    }
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Caller").field(&self.subject).finish()
    }
}

// === impl LogLevel ===

impl LogLevel {
    /// The level's name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Notice => "notice",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Critical => "critical",
            Self::Alert => "alert",
            Self::Emergency => "emergency",
        }
    }
}

// === impl ClientCapabilities ===

impl ClientCapabilities {
    /// Those of these that `declared` lacks; `None` if it lacks nothing.
    pub(crate) fn lacking(self, declared: Self) -> Option<Self> {
        let lacking = Self {
            elicitation_form: self.elicitation_form && !declared.elicitation_form,
            elicitation_url: self.elicitation_url && !declared.elicitation_url,
            sampling: self.sampling && !declared.sampling,
            roots: self.roots && !declared.roots,
            tasks: self.tasks && !declared.tasks,
        };
        (lacking != Self::default()).then_some(lacking)
    }

    /// As a capability map.
    pub(crate) fn to_json(self) -> Value {
        let mut map = JsonObject::new();
        if self.elicitation_form || self.elicitation_url {
            let modes = [("form", self.elicitation_form), ("url", self.elicitation_url)];
            let modes: JsonObject = modes
                .into_iter()
                .filter(|(_, wanted)| *wanted)
                .map(|(mode, _)| (mode.to_owned(), json!({})))
                .collect();
            map.insert("elicitation".to_owned(), Value::Object(modes));
        }
        if self.sampling {
            map.insert("sampling".to_owned(), json!({}));
        }
        if self.roots {
            map.insert("roots".to_owned(), json!({}));
        }
        if self.tasks {
            map.insert("extensions".to_owned(), json!({ TASKS: {} }));
        }
        Value::Object(map)
    }
}

/// What a client would have to be able to do, as a sentence.
impl fmt::Display for ClientCapabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = [
            (self.elicitation_form, "show a form (elicitation)"),
            (self.elicitation_url, "open a page (elicitation, url)"),
            (self.sampling, "run a model (sampling)"),
            (self.roots, "list its folders (roots)"),
            (self.tasks, "follow tasks (the tasks extension)"),
        ];
        let needed: Vec<&str> =
            all.into_iter().filter(|(needed, _)| *needed).map(|(_, words)| words).collect();
        write!(f, "this needs a client that can {}", needed.join(", "))
    }
}

// === impl TraceContext ===

/// The longest that a `tracestate` and a baggage may be by the W3C's rules, in bytes.
const MAX_TRACESTATE: usize = 512;
const MAX_BAGGAGE: usize = 8192;

impl TraceContext {
    /// What of these is well formed. Without a proper `traceparent` there is no trace, and no state of one.
    pub(crate) fn parse(
        traceparent: Option<&str>,
        tracestate: Option<&str>,
        baggage: Option<&str>,
    ) -> Self {
        let printable = |text: &&str, limit: usize| {
            text.len() <= limit && text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
        };
        let traceparent = traceparent.filter(|text| is_traceparent(text));
        let tracestate = tracestate
            .filter(|text| traceparent.is_some() && printable(text, MAX_TRACESTATE))
            .map(str::to_owned);
        let baggage = baggage.filter(|text| printable(text, MAX_BAGGAGE)).map(str::to_owned);
        Self { traceparent: traceparent.map(str::to_owned), tracestate, baggage }
    }

    /// The id of the trace, 32 hexadecimal digits.
    pub fn trace_id(&self) -> Option<&str> {
        self.traceparent.as_deref()?.split('-').nth(1)
    }
}

/// `00-<32 digits>-<16 digits>-<2 digits>`; later versions may append something.
fn is_traceparent(text: &str) -> bool {
    let is_hex = |part: &str, length: usize| {
        part.len() == length && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    let mut parts = text.splitn(5, '-');
    let [Some(version), Some(trace), Some(parent), Some(flags), rest] =
        std::array::from_fn(|_| parts.next())
    else {
        return false;
    };
    let is_zero = |part: &str| part.bytes().all(|byte| byte == b'0');
    is_hex(version, 2)
        && version != "ff"
        && (version != "00" || rest.is_none())
        && text.len() <= 256
        && is_hex(trace, 32)
        && !is_zero(trace)
        && is_hex(parent, 16)
        && !is_zero(parent)
        && is_hex(flags, 2)
}

/// Reads a capability map: `{"elicitation": {"form": {}}, "extensions": {…}}`.
impl From<&JsonObject> for ClientCapabilities {
    fn from(map: &JsonObject) -> Self {
        let elicitation = map.get("elicitation").and_then(Value::as_object);
        let has = |key: &str| elicitation.is_some_and(|modes| modes.contains_key(key));
        let extension = |id: &str| {
            map.get("extensions").and_then(Value::as_object).is_some_and(|all| all.contains_key(id))
        };
        Self {
            // An empty object is how clients from before the url mode declared forms.
            elicitation_form: has("form")
                || elicitation.is_some_and(|modes| !modes.contains_key("url")),
            elicitation_url: has("url"),
            sampling: map.contains_key("sampling"),
            roots: map.contains_key("roots"),
            tasks: extension(TASKS),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_trace_is_only_taken_if_it_is_one() {
        let later = format!("01{}-more-of-it", &PARENT[2..]);
        for (text, is_trace) in [
            (PARENT, true),
            (&later, true),
            (&format!("{PARENT}-more"), false),
            (&PARENT.to_uppercase(), false),
            (&PARENT.replace("00-", "ff-"), false),
            (&PARENT[..54], false),
            ("00-00000000000000000000000000000000-b7ad6b7169203331-01", false),
            ("00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", false),
            ("", false),
        ] {
            let trace = TraceContext::parse(Some(text), Some("a=b"), Some("c=d"));
            assert_eq!(trace.traceparent.is_some(), is_trace, "{text}");
            assert_eq!(trace.tracestate.is_some(), is_trace, "{text}");
            assert_eq!(trace.baggage.as_deref(), Some("c=d"));
        }
        let trace = TraceContext::parse(Some(PARENT), Some("a=b\n"), Some(&"x".repeat(9000)));
        assert_eq!((trace.tracestate.as_ref(), trace.baggage.as_ref()), (None, None));
        assert_eq!(trace.trace_id(), Some("0af7651916cd43dd8448eb211c80319c"));
    }

    proptest! {
        #[test]
        fn whatever_comes_as_a_trace_is_bounded_and_printable(
            parent in "[0-9a-f-]{0,70}|.{0,20}",
            state in ".{0,40}",
        ) {
            let trace = TraceContext::parse(Some(&parent), Some(&state), Some(&state));
            if let Some(kept) = &trace.traceparent {
                prop_assert!(kept.is_ascii() && kept.len() >= 55);
                prop_assert_eq!(trace.trace_id().map(str::len), Some(32));
            }
            for kept in trace.tracestate.iter().chain(&trace.baggage) {
                prop_assert!(kept.bytes().all(|byte| (32..127).contains(&byte)));
            }
        }

        #[test]
        fn capabilities_survive_being_written(bits in any::<[bool; 5]>()) {
            let [elicitation_form, elicitation_url, sampling, roots, tasks] = bits;
            let all = ClientCapabilities { elicitation_form, elicitation_url, sampling, roots, tasks };
            let Value::Object(map) = all.to_json() else { panic!("a map") };
            prop_assert_eq!(ClientCapabilities::from(&map), all);
            prop_assert_eq!(all.lacking(all), None);
            prop_assert_eq!(all.lacking(ClientCapabilities::default()).unwrap_or_default(), all);
        }
    }
}
