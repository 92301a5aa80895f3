//! What happens to every request before and after its handler: names and origins, credentials, limits, headers, counts.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use guard::{Grant, Principal};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use http_body::{Frame, SizeHint};
use tokio::time::Instant;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tracing::Instrument as _;

use crate::auth::Reason;
use crate::consent::APPROVE;
use crate::hooks::HOOKS;
use crate::metrics::Limit;
use crate::peer::Peer;
use crate::problem::{Kind, Problem};
use crate::router::{HEALTH, MCP, METRICS};
use crate::shared::Shared;

/// The header by which a request is found again in the log.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The header of 2026-07-28 that names a request's method.
const MCP_METHOD: &str = "mcp-method";
/// The request of 2026-07-28 that goes on until somebody ends it.
const ENDLESS: &str = "subscriptions/listen";
/// The counts' name for whatever is no path of ours.
const NO_ROUTE: &str = "none";

/// What answers carry so that a browser makes nothing of them.
const SECURITY: [(HeaderName, &str); 5] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (header::CACHE_CONTROL, "no-store"),
];

/// What a page of an allowed origin may send and read.
const ALLOW_METHODS: &str = "GET, POST, DELETE";
const ALLOW_HEADERS: &str = "authorization, content-type, accept, last-event-id, mcp-session-id, mcp-protocol-version, \
     mcp-method, mcp-name, x-request-id, traceparent, tracestate, baggage";
const EXPOSE_HEADERS: &str =
    "mcp-session-id, mcp-protocol-version, www-authenticate, x-request-id, location, retry-after";

/// The id of a request, for whoever handles it.
#[derive(Clone, Debug)]
pub(crate) struct RequestId(pub(crate) String);

/// What a path asks of those who come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    /// Nothing: health, which probes ask for by whatever name, links to approve by, and hooks.
    Nothing,
    /// A name and an origin that are allowed.
    Doors,
    /// A grant besides.
    Grant,
}

/// A body that is worth waiting for.
struct Held {
    body: Body,
    _token: TaskTrackerToken,
}

/// The paths of the metadata about where tokens come from.
pub(crate) fn metadata_paths(shared: &Shared) -> Vec<String> {
    shared.authenticator.resource().map(|resource| resource.paths().to_vec()).unwrap_or_default()
}

/// One request from the connection to its answer.
pub(crate) async fn enter(
    State(shared): State<Arc<Shared>>,
    mut request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let id = request_id(request.headers());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or(NO_ROUTE, MatchedPath::as_str);
    let method = request.method().clone();
    let origin = request.headers().get(header::ORIGIN).cloned();
    let token = is_worth_waiting_for(&request).then(|| shared.calls.token());
    request.extensions_mut().insert(RequestId(id.clone()));

    let span = tracing::info_span!("mcp.request", request_id = %id, %method, route);
    let answer = async {
        match admit(&shared, need(&shared, route), &mut request).await {
            Ok(()) => next.run(request).await,
            Err(answer) => answer,
        }
    };
    let mut response = answer.instrument(span).await;

    let headers = response.headers_mut();
    for (name, value) in SECURITY {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    if let Ok(id) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST_ID, id);
    }
    cross_origin(&shared, origin, headers);
    shared.metrics.request(&method, route, response.status().as_u16(), started.elapsed());
    match token {
        Some(token) => response.map(|body| Body::new(Held { body, _token: token })),
        None => response,
    }
}

/// Lets a request in, with its grant, or says what to answer instead.
async fn admit(shared: &Shared, need: Need, request: &mut Request) -> Result<(), Response> {
    if need == Need::Nothing {
        return Ok(());
    }
    if let Err(why) = shared.doors.check(request.uri(), request.headers()) {
        let hint = "the operator names further hosts in http.allowed_hosts, and web pages in http.allowed_origins";
        return Err(Problem::new(Kind::Doors, why).hint(hint).into_response());
    }
    // A preflight comes without credentials; a page of no allowed origin did not get this far.
    let headers = request.headers();
    if request.method() == Method::OPTIONS
        && headers.contains_key(header::ORIGIN)
        && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
    {
        return Err(StatusCode::NO_CONTENT.into_response());
    }
    if need == Need::Grant {
        let grant = authenticate(shared, request).await.map_err(IntoResponse::into_response)?;
        request.extensions_mut().insert(grant);
    }
    Ok(())
}

async fn authenticate(shared: &Shared, request: &mut Request) -> Result<Grant, Problem> {
    let open = shared.authenticator.is_open();
    let peer = request.extensions().get::<Peer>().copied().unwrap_or(Peer::Unix { uid: None });
    let from = peer.neighborhood();
    if !open && let Some(wait) = shared.failures.empty_for(&from, Instant::now()) {
        shared.metrics.limited(Limit::Failures);
        return Err(Problem::rate_limited("too many failed attempts from this address", wait));
    }
    let (parts, body) = std::mem::take(request).into_parts();
    let authenticated = shared.authenticator.authenticate(&parts).await;
    *request = Request::from_parts(parts, body);
    let grant = match authenticated {
        Ok(grant) => grant,
        Err(failure) => {
            shared.metrics.auth_failure(failure.reason().as_str());
            tracing::debug!(from, reason = failure.reason().as_str(), "request not let in");
            // To come without any credential is how clients find out what is needed; only wrong ones are counted.
            if matches!(failure.reason(), Reason::Invalid | Reason::BadRequest) {
                let _ = shared.failures.take(&from, Instant::now());
            }
            return Err(Problem::auth(&failure));
        }
    };
    if open {
        // Nobody was asked, but the system knows who is at the other end of a Unix socket.
        return Ok(match peer {
            Peer::Unix { uid: Some(uid) } => Grant::new(Principal::local(uid), grant.scope),
            _ => grant,
        });
    }
    if let Err(wait) = shared.requests.take(&grant.principal.to_string(), Instant::now()) {
        shared.metrics.limited(Limit::Principal);
        return Err(Problem::rate_limited("too many requests by this principal", wait));
    }
    Ok(grant)
}

fn need(shared: &Shared, route: &str) -> Need {
    // A link is its own credential, and leads here by whatever name people reach the server.
    // So is a hook's secret.
    if HEALTH.contains(&route) || route == APPROVE || route == HOOKS {
        return Need::Nothing;
    }
    let is_public = route == NO_ROUTE
        || (route == METRICS && shared.options.metrics_public)
        || shared.authenticator.resource().is_some_and(|it| it.paths().iter().any(|p| p == route));
    if is_public { Need::Doors } else { Need::Grant }
}

/// Whether the end of the server waits for this request: not for streams that end only when somebody ends them.
fn is_worth_waiting_for(request: &Request) -> bool {
    let endless = request.uri().path() == MCP
        && (request.method() != Method::POST
            || request.headers().get(MCP_METHOD).is_some_and(|method| method == ENDLESS));
    !endless
}

/// The client's own id for the request, if it is one that a log can hold, or a new one.
fn request_id(headers: &HeaderMap) -> String {
    let plain = |id: &&str| {
        (1..=64).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    let given = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok()).filter(plain);
    given.map_or_else(|| uuid::Uuid::new_v4().simple().to_string(), str::to_owned)
}

/// Lets pages of an allowed origin read the answer; nothing is said to others.
fn cross_origin(shared: &Shared, origin: Option<HeaderValue>, headers: &mut HeaderMap) {
    if shared.options.allowed_origins.is_empty() {
        return;
    }
    headers.append(header::VARY, HeaderValue::from_static("origin"));
    let Some(origin) = origin.filter(|origin| shared.doors.admits_origin(origin)) else { return };
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    for (name, value) in [
        (header::ACCESS_CONTROL_ALLOW_METHODS, ALLOW_METHODS),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, ALLOW_HEADERS),
        (header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSE_HEADERS),
        (header::ACCESS_CONTROL_MAX_AGE, "600"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

impl http_body::Body for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
