//! The endpoint: which era a request belongs to, what its headers have to say, and who serves it.
//!
//! The SDK has a service of its own for HTTP, which is not used: it makes its own handlers (so ours could not differ by
//! caller, nor stand behind the gate of [`super::handler`]), knows neither a bound on sessions nor whose they are, lets a
//! slow reader hold up a session, and sends what a call logs to another stream than the call's. What is used is its loop,
//! as over stdio, with transports of ours below it.

mod exchange;
mod live;
mod message;
mod routes;
mod sessions;
mod wire;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Response, StatusCode};
use http_body::Body;
use rmcp::model::ProtocolVersion;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use self::message::{Message, status_of_read};
use self::sessions::{Full, Sessions};
use super::ask::Sealer;
use super::incoming::{self, Incoming};
use super::session::Session;
use crate::app::App;
use crate::context::Caller;
use crate::http::HttpOptions;
use crate::http::body::{self, HttpBody};
use crate::http::feed::Feed;
use crate::http::headers::{self, LAST_EVENT_ID, VERSION};
use crate::http::origin::Doors;
use crate::http::reply::{self, EVENTS, SESSION_ID};

const VERSION_KEY: &str = "io.modelcontextprotocol/protocolVersion";
const CAPABILITIES_KEY: &str = "io.modelcontextprotocol/clientCapabilities";
const MODERN: &str = "2026-07-28";
/// What a client speaks that does not say, by the rule of 2025-06-18.
const UNSAID: &str = "2025-03-26";

/// What the modern era has lost, whatever the parameters.
const REMOVED: [&str; 5] =
    ["initialize", "ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe"];

const PARSE_ERROR: i32 = -32700;
const INVALID_REQUEST: i32 = -32600;
const METHOD_NOT_FOUND: i32 = -32601;
const INVALID_PARAMS: i32 = -32602;
const HEADER_MISMATCH: i32 = -32020;
const MISSING_CAPABILITY: i32 = -32021;
const UNSUPPORTED_VERSION: i32 = -32022;

/// An answer that comes within this needs no stream of events.
const AT_ONCE: Duration = Duration::from_millis(500);

/// Serves requests; see `HttpService`.
pub(crate) struct Endpoint {
    options: HttpOptions,
    doors: Doors,
    /// One for all requests: what one has sealed, another opens.
    sealer: Arc<Sealer>,
    sessions: Arc<Sessions>,
    shutdown: CancellationToken,
}

/// Who asks, and what for.
#[derive(Clone)]
pub(super) struct Carried {
    pub(super) app: App,
    pub(super) caller: Caller,
    /// The stream of the request, if it is one that the client can resume.
    pub(super) stream: Option<Arc<Feed>>,
}

type Reply = Response<HttpBody>;

// === impl Endpoint ===

impl Endpoint {
    pub(crate) fn new(options: HttpOptions, shutdown: CancellationToken) -> Self {
        let doors = Doors::new(&options.allowed_hosts, &options.allowed_origins);
        let sessions = Arc::new(Sessions::new(&options));
        Self { doors, sealer: Arc::new(Sealer::new()), sessions, options, shutdown }
    }

    pub(crate) fn sessions(&self) -> usize {
        self.sessions.len()
    }

    pub(crate) async fn handle<B>(
        &self,
        app: &App,
        caller: Caller,
        request: http::Request<B>,
    ) -> Reply
    where
        B: Body<Data = Bytes> + Send,
        B::Error: fmt::Display,
    {
        let (parts, body) = request.into_parts();
        if let Err(reason) = self.doors.check(&parts.uri, &parts.headers) {
            tracing::warn!(reason, "refused a request by its Host or Origin");
            return reply::refusal(StatusCode::FORBIDDEN, &Value::Null, &reason);
        }
        if self.shutdown.is_cancelled() {
            return ending(&Value::Null);
        }
        let carried = Carried { app: app.clone(), caller, stream: None };
        let headers = &parts.headers;
        match parts.method {
            Method::POST => self.post(carried, headers, body).await,
            Method::GET if self.serves_sessions(headers) => self.get(&carried, headers),
            Method::DELETE if self.serves_sessions(headers) => self.delete(&carried, headers),
            _ if self.serves_sessions(headers) => reply::not_allowed("POST, GET, DELETE"),
            _ => reply::not_allowed("POST"),
        }
    }

    /// Whether this request may be one of a session. Streams and ends of sessions are nothing to the modern era.
    fn serves_sessions(&self, headers: &HeaderMap) -> bool {
        let version = headers.get(VERSION).and_then(|version| version.to_str().ok());
        self.options.legacy_sessions && version.is_none_or(|version| version < MODERN)
    }

    async fn post<B>(&self, carried: Carried, headers: &HeaderMap, body: B) -> Reply
    where
        B: Body<Data = Bytes> + Send,
        B::Error: fmt::Display,
    {
        if !headers::is_json(headers) {
            let message = "the body must be JSON, and the header Content-Type say so";
            return reply::refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, &Value::Null, message);
        }
        if !headers::accepts_both(headers) {
            let message = "the header Accept must list both application/json and text/event-stream";
            return reply::refusal(StatusCode::NOT_ACCEPTABLE, &Value::Null, message);
        }
        let body = match body::read(headers, body, &self.options).await {
            Ok(body) => body,
            Err(refusal) => return *refusal,
        };
        let message = match Message::parse(&body) {
            Ok(message) => message,
            Err(refusal) => return *refusal,
        };
        drop(body);
        if message.is_initialize() {
            return self.initialize(carried, headers, message).await;
        }
        match Self::era_of(headers, &message) {
            Ok(Some(version)) => self.modern(carried, headers, message, &version).await,
            Ok(None) => self.older(carried, headers, message).await,
            Err(refusal) => *refusal,
        }
    }

    /// The version that a modern message is written in; `None` for an older one.
    fn era_of(headers: &HeaderMap, message: &Message) -> Result<Option<String>, Box<Reply>> {
        let bad = |code: i32, text: &str, data: Option<Value>| {
            Box::new(reply::error(StatusCode::BAD_REQUEST, &message.id, code, text, data))
        };
        let named =
            headers::single(headers, VERSION).map_err(|text| bad(HEADER_MISMATCH, &text, None))?;
        if let Some(version) = message.meta(VERSION_KEY).and_then(Value::as_str) {
            return Ok(Some(version.to_owned()));
        }
        let is_request = message.is_request();
        let is_discover = message.method.as_deref() == Some("server/discover");
        match named {
            Some(version) if version >= MODERN && !is_request => Ok(Some(version.to_owned())),
            _ if is_discover || named.is_some_and(|version| version >= MODERN) => {
                let keys = [VERSION_KEY, CAPABILITIES_KEY];
                let missing: Vec<&str> =
                    keys.into_iter().filter(|key| message.meta(key).is_none()).collect();
                let text = format!(
                    "request _meta is missing or has malformed required fields: {}",
                    missing.join(", ")
                );
                Err(bad(INVALID_PARAMS, &text, None))
            }
            Some(version) if !is_known(version) => {
                let supported: Vec<&str> =
                    ProtocolVersion::KNOWN_VERSIONS.iter().map(ProtocolVersion::as_str).collect();
                let data = json!({ "supported": supported, "requested": version });
                let text = format!("the protocol version {version} is not supported");
                Err(bad(UNSUPPORTED_VERSION, &text, Some(data)))
            }
            _ => Ok(None),
        }
    }

    /// Serves one stateless message.
    async fn modern(
        &self,
        carried: Carried,
        headers: &HeaderMap,
        message: Message,
        version: &str,
    ) -> Reply {
        if !message.is_call() {
            // Nothing is asked of a modern client by requests of our own, so nothing can be answered.
            let text = "there is nothing that this would answer";
            return reply::error(
                StatusCode::BAD_REQUEST,
                &Value::Null,
                INVALID_REQUEST,
                text,
                None,
            );
        }
        let tool =
            message.tool().and_then(|name| carried.app.tool_specs().find(|spec| spec.name == name));
        let schema = tool.map(|spec| &spec.input_schema);
        if let Value::Object(object) = &message.value
            && let Err(text) = headers::agree(headers, version, object, schema)
        {
            let bad = StatusCode::BAD_REQUEST;
            return reply::error(bad, &message.id, HEADER_MISMATCH, &text, None);
        }
        if !message.is_request() {
            // Cancelling is closing the stream; there is no other notification that a stateless server would miss.
            return reply::empty(StatusCode::ACCEPTED);
        }
        if let Some(method) = message.method.as_deref()
            && REMOVED.contains(&method)
            && is_known(version)
        {
            let status = StatusCode::NOT_FOUND;
            return reply::error(status, &message.id, METHOD_NOT_FOUND, method, None);
        }
        let complete = message.meta(CAPABILITIES_KEY).is_some_and(Value::is_object);
        self.alone(carried, message, None, complete).await
    }

    /// Serves one message of an older client.
    async fn older(&self, carried: Carried, headers: &HeaderMap, message: Message) -> Reply {
        if !self.options.legacy_sessions {
            if !message.is_request() {
                return reply::empty(StatusCode::ACCEPTED);
            }
            let version = headers.get(VERSION).and_then(|version| version.to_str().ok());
            return self.alone(carried, message, Some(version.unwrap_or(UNSAID)), true).await;
        }
        let session = match self.sessions.find(headers, &carried.caller) {
            Ok(session) => session,
            Err(refusal) => return refusal(&message.id),
        };
        session.post(carried, message, self.options.keep_alive).await
    }

    /// Serves one request by itself, in a session that ends with its answer.
    async fn alone(
        &self,
        carried: Carried,
        message: Message,
        older: Option<&str>,
        complete: bool,
    ) -> Reply {
        let state = Arc::new(Session::new());
        if older.is_some() {
            state.set_initialized();
        }
        let id = message.id.clone();
        match incoming::read_value(message.value, &state) {
            Incoming::Message(message) => {
                let setting = exchange::Setting {
                    carried,
                    state,
                    sealer: Arc::clone(&self.sealer),
                    version: older.map(str::to_owned),
                    // Only the modern era has statuses for errors.
                    complete: older.is_none().then_some(complete),
                    keep_alive: self.options.keep_alive,
                    shutdown: &self.shutdown,
                };
                exchange::run(message, &id, setting).await
            }
            Incoming::Reply(body) => {
                let ok = older.is_some() || complete;
                let status = if ok { status_of_read(&body) } else { StatusCode::BAD_REQUEST };
                reply::json(status, body)
            }
            Incoming::Ignored => reply::empty(StatusCode::ACCEPTED),
        }
    }

    /// Opens a session.
    async fn initialize(&self, carried: Carried, headers: &HeaderMap, message: Message) -> Reply {
        let bad = |code: i32, text: &str| {
            reply::error(StatusCode::BAD_REQUEST, &message.id, code, text, None)
        };
        if !message.is_request() {
            return bad(INVALID_REQUEST, "initialize is a request and has an id");
        }
        let wanted = message.value.pointer("/params/protocolVersion").and_then(Value::as_str);
        match headers::single(headers, VERSION) {
            Ok(Some(named)) if wanted.is_some_and(|wanted| wanted != named) => {
                let text = "the header mcp-protocol-version differs from params.protocolVersion";
                return bad(INVALID_REQUEST, text);
            }
            Err(text) => return bad(INVALID_REQUEST, &text),
            Ok(_) => {}
        }
        match headers::single(headers, headers::METHOD) {
            Ok(None | Some("initialize")) => {}
            Ok(Some(named)) => {
                let text = format!(
                    "the header mcp-method says {named}, but the body's method is initialize"
                );
                return bad(HEADER_MISMATCH, &text);
            }
            Err(text) => return bad(HEADER_MISMATCH, &text),
        }
        if !self.options.legacy_sessions {
            let version = wanted.unwrap_or(UNSAID).to_owned();
            return self.alone(carried, message, Some(&version), true).await;
        }
        if headers.contains_key(SESSION_ID) {
            return bad(
                INVALID_REQUEST,
                "this session is open; initialize without Mcp-Session-Id to open another",
            );
        }
        let id = message.id.clone();
        match self.sessions.open(&carried, &self.sealer, &self.shutdown) {
            Ok(session) => session.initialize(carried, message, &self.sessions).await,
            Err(Full { own }) => {
                let text = if own {
                    "you have too many sessions in use; end some of them"
                } else {
                    "the server has too many sessions in use; come back later"
                };
                let status = if own {
                    StatusCode::TOO_MANY_REQUESTS
                } else {
                    StatusCode::SERVICE_UNAVAILABLE
                };
                reply::retry_after(reply::refusal(status, &id, text), 10)
            }
        }
    }

    /// Opens the stream on which a session hears what belongs to no request, or resumes one that broke.
    fn get(&self, carried: &Carried, headers: &HeaderMap) -> Reply {
        if !headers::accepts(headers, EVENTS) {
            let message = "the header Accept must list text/event-stream";
            return reply::refusal(StatusCode::NOT_ACCEPTABLE, &Value::Null, message);
        }
        match self.sessions.find(headers, &carried.caller) {
            Ok(session) => {
                let last = headers.get(LAST_EVENT_ID).and_then(|last| last.to_str().ok());
                session.listen(last, self.options.keep_alive)
            }
            Err(refusal) => refusal(&Value::Null),
        }
    }

    fn delete(&self, carried: &Carried, headers: &HeaderMap) -> Reply {
        match self.sessions.find(headers, &carried.caller) {
            Ok(session) => {
                self.sessions.close(&session);
                reply::empty(StatusCode::NO_CONTENT)
            }
            Err(refusal) => refusal(&Value::Null),
        }
    }
}

/// Nothing is begun any more.
fn ending(id: &Value) -> Reply {
    reply::refusal(StatusCode::SERVICE_UNAVAILABLE, id, "the server is ending")
}

fn is_known(version: &str) -> bool {
    ProtocolVersion::KNOWN_VERSIONS.iter().any(|known| known.as_str() == version)
}
