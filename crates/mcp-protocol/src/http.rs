//! Serving over Streamable HTTP: one endpoint for both eras, one request at a time.
//!
//! [`HttpService::handle`] takes a request that the embedder has authenticated and answers it. It listens on nothing and
//! knows no TLS, rate limit or credential; it does check `Host` and `Origin`, because a page in a browser must not reach a
//! server on its user's machine by a name of its own (DNS rebinding).
//!
//! | request | answer |
//! |---|---|
//! | `POST` with the metadata of 2026-07-28 | served by itself; JSON if the answer comes at once, else an event stream |
//! | `POST` of `initialize` | opens a session, named in `Mcp-Session-Id` |
//! | `POST`, `GET`, `DELETE` with `Mcp-Session-Id` | belong to that session, if it is this caller's |
//!
//! *Invariant:* a session is not found by anybody but the caller that opened it. *Invariant:* a slow reader holds up
//! nothing: what waits for it is bounded, and only notifications are ever dropped.

pub(crate) mod body;
pub(crate) mod feed;
pub(crate) mod headers;
pub(crate) mod origin;
pub(crate) mod reply;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

pub use self::body::HttpBody;
pub use self::origin::Doors;
use crate::adapter::http::Endpoint;
use crate::app::App;
use crate::context::Caller;

/// More comments than this are a flood.
const LEAST_KEEP_ALIVE: Duration = Duration::from_secs(1);

/// How the endpoint behaves.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct HttpOptions {
    /// Names under which clients may reach the server: a host, or a host with a port (`pve.example:8808`). The three
    /// loopback names are allowed always; empty allows no other.
    pub allowed_hosts: Vec<String>,
    /// Web pages that may call the server from a browser, as `https://host[:port]`. Pages of the server's own name and port
    /// may always; empty allows no others. Requests without an `Origin`, which is what programs send, are not concerned.
    pub allowed_origins: Vec<String>,
    /// The largest request body, in bytes.
    pub max_body_bytes: usize,
    /// For how long a client may take to send a request body.
    pub body_timeout: Duration,
    /// After this long without an event a comment goes out on an open stream, so that nothing between takes it for dead. At
    /// least a second.
    pub keep_alive: Duration,
    /// Whether older clients get sessions. Without, they are served one request at a time: nothing can be asked of them,
    /// and they hear of no changes.
    pub legacy_sessions: bool,
    /// A session that nobody uses ends after this long. An open stream or a running request is use.
    pub session_idle: Duration,
    /// So many sessions may one caller have. One more ends the caller's own session that has been idle for longest; if
    /// none has been idle for a while, it is refused.
    pub sessions_per_caller: usize,
    /// So many sessions may there be in all; one more is treated in the same way.
    pub sessions_total: usize,
}

/// Serves apps over HTTP. Cheap to clone; clones share their sessions.
#[derive(Clone)]
pub struct HttpService {
    endpoint: Arc<Endpoint>,
}

// === impl HttpOptions ===

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
            max_body_bytes: 4 * 1024 * 1024,
            body_timeout: Duration::from_secs(30),
            keep_alive: Duration::from_secs(15),
            legacy_sessions: true,
            session_idle: Duration::from_mins(5),
            sessions_per_caller: 256,
            sessions_total: 1024,
        }
    }
}

// === impl HttpService ===

impl HttpService {
    /// A service without sessions yet. When `shutdown` is cancelled, everything in flight is cancelled and every session
    /// ends; wait for requests in flight before that to lose none.
    pub fn new(mut options: HttpOptions, shutdown: CancellationToken) -> Self {
        options.keep_alive = options.keep_alive.max(LEAST_KEEP_ALIVE);
        Self { endpoint: Arc::new(Endpoint::new(options, shutdown)) }
    }

    /// Answers one request on the endpoint, whatever its path.
    ///
    /// `caller` is who sent it, as the embedder knows; the tools see it as [`crate::CallContext::caller`]. `app` is what
    /// this caller may use; it may be another one in the next request, of a session too.
    ///
    /// Dropping the future cancels the request, as does dropping the body of a stateless one: the work stops. In a session
    /// the work goes on, as its revisions want it; `notifications/cancelled` or the end of the session stops it.
    pub async fn handle<B>(
        &self,
        app: &App,
        caller: Caller,
        request: http::Request<B>,
    ) -> http::Response<HttpBody>
    where
        B: http_body::Body<Data = Bytes> + Send,
        B::Error: fmt::Display,
    {
        self.endpoint.handle(app, caller, request).await
    }

    /// How many sessions there are.
    pub fn sessions(&self) -> usize {
        self.endpoint.sessions()
    }
}

impl fmt::Debug for HttpService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpService").field("sessions", &self.sessions()).finish_non_exhaustive()
    }
}
