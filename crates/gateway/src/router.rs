//! Which path leads where.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use http::header::CONTENT_TYPE;

use crate::consent::{self, APPROVE};
use crate::entrance;
use crate::health;
use crate::hooks::{self, HOOKS};
use crate::mcp;
use crate::metrics::CONTENT_TYPE as METRICS_TYPE;
use crate::problem::{Kind, Problem};
use crate::rest;
use crate::shared::Shared;

/// The endpoint of MCP.
pub(crate) const MCP: &str = "/mcp";
/// The counts.
pub(crate) const METRICS: &str = "/metrics";
/// The paths that answer anybody.
pub(crate) const HEALTH: [&str; 3] = ["/livez", "/readyz", "/healthz"];

/// All paths, each behind the entrance.
pub(crate) fn router(shared: Arc<Shared>) -> Router {
    let [live, ready, healthy] = HEALTH;
    let mut router = Router::new()
        .route(MCP, any(mcp::endpoint))
        .merge(rest::routes())
        .route(APPROVE, get(consent::show).post(consent::decide))
        .route(HOOKS, any(hooks::receive))
        .route(METRICS, get(metrics))
        .route(live, get(health::live))
        .route(ready, get(health::ready))
        .route(healthy, get(health::ready));
    for path in entrance::metadata_paths(&shared) {
        router = router.route(&path, get(metadata));
    }
    router
        .fallback(nothing)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(Arc::clone(&shared), entrance::enter))
        .with_state(shared)
}

/// What is answered as long as there is nothing to serve.
pub(crate) fn waiting() -> Router {
    let [live, ..] = HEALTH;
    Router::new().route(live, get(health::live)).fallback(health::waiting)
}

async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    let text = shared.metrics.text(shared.mcp.sessions()).await;
    ([(CONTENT_TYPE, METRICS_TYPE)], text).into_response()
}

/// Where tokens for this server come from (RFC 9728).
async fn metadata(State(shared): State<Arc<Shared>>) -> Response {
    match shared.authenticator.resource() {
        Some(resource) => {
            let text = resource.document().to_string();
            ([(CONTENT_TYPE, "application/json")], text).into_response()
        }
        None => nothing().await.into_response(),
    }
}

async fn nothing() -> Problem {
    Problem::new(Kind::NoRoute, "there is nothing at this path")
        .hint("MCP is at /mcp, REST at /api/v1/tools, its description at /api/v1/openapi.json")
}

async fn wrong_method(request: axum::extract::Request) -> Problem {
    let path = request.uri().path();
    Problem::method(match path {
        path if path.starts_with(rest::TOOL_CALLS) => "POST",
        path if path.starts_with(rest::JOBS) => "GET, DELETE",
        path if path.starts_with("/approve/") => "GET, POST",
        _ => "GET",
    })
}
