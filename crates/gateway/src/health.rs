//! Whether it runs, and whether to send requests here. Anybody may ask, and learns no more than that.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::RETRY_AFTER;

use crate::catalogue::Readiness;
use crate::shared::Shared;

/// `/livez`: the process answers. What does not answer this should be started anew.
pub(crate) async fn live() -> &'static str {
    "ok\n"
}

/// `/readyz` and `/healthz`: requests make sense here. Not before an endpoint of the estate was reached for the first
/// time, and not when the server is about to end.
pub(crate) async fn ready(State(shared): State<Arc<Shared>>) -> Response {
    let unready = |why| (StatusCode::SERVICE_UNAVAILABLE, why).into_response();
    if shared.is_draining() {
        return unready("stopping\n");
    }
    match shared.catalogue.readiness() {
        Readiness::Ready => "ok\n".into_response(),
        Readiness::Starting => unready("starting\n"),
    }
}

/// Anything, before there is something to serve.
pub(crate) async fn waiting() -> impl IntoResponse {
    (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "5")], "waiting\n")
}
