//! What is counted, in the text form of OpenMetrics that Prometheus reads.
//!
//! *Invariant:* labels have few values: routes as patterns, tools by name, never a guest, a caller or an address.

mod more;

use std::fs;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::encoding::{EncodeLabelSet, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use self::more::Collected;
pub use self::more::{Counts, Labels, Series, Values};

/// What stands before every name but those that all programs have.
const PREFIX: &str = "proxmox_mcp";

/// The type of the text that [`Metrics::text`] makes.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// From a millisecond to a minute: an answer out of memory, and a task followed to its end.
const SECONDS: [f64; 13] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0, 30.0, 60.0];

/// Everything that is counted. One of them goes to the gateway and, as the observer of tool calls, to the apps.
#[derive(Debug)]
pub struct Metrics {
    registry: Mutex<Registry>,
    requests: Family<RequestLabels, Counter>,
    request_seconds: Family<RouteLabels, Histogram>,
    /// Connections that are open.
    pub(crate) connections: Gauge,
    /// Connections that were closed at once because there were too many.
    pub(crate) connections_refused: Counter,
    sessions: Gauge,
    auth_failures: Family<ReasonLabels, Counter>,
    rate_limited: Family<LimitLabels, Counter>,
    tool_calls: Family<ToolCallLabels, Counter>,
    tool_seconds: Family<ToolLabels, Histogram>,
    resident: Gauge,
    more: Option<Arc<dyn Counts>>,
}

/// Which limit was reached.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Limit {
    /// The requests of a principal.
    Principal,
    /// The failed attempts from an address.
    Failures,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RequestLabels {
    method: &'static str,
    route: Word,
    status: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RouteLabels {
    route: Word,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct LimitLabels {
    limit: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ToolCallLabels {
    tool: Word,
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ToolLabels {
    tool: Word,
}

/// A label's value that is made at run time.
#[derive(Clone, Debug, Hash, PartialEq, Eq)]
struct Word(Arc<str>);

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct BuildLabels {
    version: String,
}

// === impl Metrics ===

impl Metrics {
    /// Nothing counted yet; `version` is what the build is called.
    pub fn new(version: &str) -> Self {
        let seconds = || Histogram::new(SECONDS);
        let metrics = Self {
            registry: Mutex::new(Registry::default()),
            requests: Family::default(),
            request_seconds: Family::new_with_constructor(seconds),
            connections: Gauge::default(),
            connections_refused: Counter::default(),
            sessions: Gauge::default(),
            auth_failures: Family::default(),
            rate_limited: Family::default(),
            tool_calls: Family::default(),
            tool_seconds: Family::new_with_constructor(seconds),
            resident: Gauge::default(),
            more: None,
        };
        metrics.register(version);
        metrics
    }

    /// Shows what this counts as well.
    #[must_use]
    pub fn with(mut self, more: Arc<dyn Counts>) -> Self {
        self.more = Some(more);
        self
    }

    fn register(&self, version: &str) {
        let mut registry = self.registry.lock().expect("nobody else has it yet");
        let build = Family::<BuildLabels, Gauge>::default();
        build.get_or_create(&BuildLabels { version: version.to_owned() }).set(1);
        let ours = registry.sub_registry_with_prefix(PREFIX);
        ours.register("build_info", "The build that runs", build);
        ours.register("http_requests", "HTTP requests answered", self.requests.clone());
        ours.register_with_unit(
            "http_request_duration",
            "Time until the head of the answer",
            Unit::Seconds,
            self.request_seconds.clone(),
        );
        ours.register("http_connections", "Connections that are open", self.connections.clone());
        ours.register(
            "http_connections_refused",
            "Connections closed at once because there were too many",
            self.connections_refused.clone(),
        );
        ours.register("mcp_sessions", "Sessions of older MCP clients", self.sessions.clone());
        ours.register(
            "auth_failures",
            "Requests that authentication did not let in",
            self.auth_failures.clone(),
        );
        ours.register(
            "rate_limited",
            "Requests refused because there were too many",
            self.rate_limited.clone(),
        );
        ours.register("tool_calls", "Tool calls by how they ended", self.tool_calls.clone());
        ours.register_with_unit(
            "tool_call_duration",
            "Time that a tool call took",
            Unit::Seconds,
            self.tool_seconds.clone(),
        );
        // The name that every program's memory goes by.
        registry.register_with_unit(
            "process_resident_memory",
            "Resident memory of this process",
            Unit::Bytes,
            self.resident.clone(),
        );
    }

    /// Counts a request that was answered.
    pub(crate) fn request(&self, method: &http::Method, route: &str, status: u16, took: Duration) {
        let route = Word(route.into());
        let labels = RequestLabels { method: known(method), route: route.clone(), status };
        self.requests.get_or_create(&labels).inc();
        self.request_seconds.get_or_create(&RouteLabels { route }).observe(took.as_secs_f64());
    }

    /// Counts a request that authentication did not let in.
    pub(crate) fn auth_failure(&self, reason: &'static str) {
        self.auth_failures.get_or_create(&ReasonLabels { reason }).inc();
    }

    /// Counts a request that a limit refused.
    pub(crate) fn limited(&self, limit: Limit) {
        let limit = match limit {
            Limit::Principal => "principal",
            Limit::Failures => "failed_attempts",
        };
        self.rate_limited.get_or_create(&LimitLabels { limit }).inc();
    }

    /// Everything as it is now.
    pub(crate) async fn text(&self, sessions: usize) -> String {
        let mut others = Registry::with_prefix(PREFIX);
        if let Some(more) = &self.more {
            others.register_collector(Box::new(Collected(more.read().await)));
        }
        self.sessions.set(i64::try_from(sessions).unwrap_or(i64::MAX));
        if let Some(bytes) = resident_bytes() {
            self.resident.set(bytes);
        }
        let mut text = String::new();
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        let encoded = encode_registry(&mut text, &registry)
            .and_then(|()| encode_registry(&mut text, &others))
            .and_then(|()| encode_eof(&mut text));
        encoded.expect("a String takes everything");
        text
    }
}

impl mcp_protocol::Observer for Metrics {
    fn tool_called(&self, name: &str, outcome: &'static str, elapsed: Duration) {
        let tool = Word(name.into());
        self.tool_calls.get_or_create(&ToolCallLabels { tool: tool.clone(), outcome }).inc();
        self.tool_seconds.get_or_create(&ToolLabels { tool }).observe(elapsed.as_secs_f64());
    }
}

impl prometheus_client::encoding::EncodeLabelValue for Word {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        (&*self.0).encode(encoder)
    }
}

/// A method by its own word, or one word for whatever somebody may make up.
fn known(method: &http::Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}

/// The memory that this process holds, where the system says so.
fn resident_bytes() -> Option<i64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: i64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}
