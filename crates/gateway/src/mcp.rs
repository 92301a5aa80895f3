//! `/mcp`: from a request that was let in to the protocol.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use estate::Access;
use guard::Grant;
use http::Method;
use http::header::AUTHORIZATION;
use serde::Deserialize;

use crate::body;
use crate::shared::{Shared, caller};

/// Any method on the endpoint.
pub(crate) async fn endpoint(
    State(shared): State<Arc<Shared>>,
    Extension(grant): Extension<Grant>,
    mut request: Request,
) -> Response {
    // The credential has done its work: what comes after cannot pass it on.
    request.headers_mut().remove(AUTHORIZATION);
    // Whoever has the highest tier lacks none.
    if grant.scope.access < Access::Destroy && request.method() == Method::POST {
        let (parts, body) = request.into_parts();
        let bytes = match body::read(body, &shared.options).await {
            Ok(bytes) => bytes,
            Err(problem) => return problem.into_response(),
        };
        if let Some(problem) = called(&bytes).and_then(|tool| shared.insufficient(&grant, &tool)) {
            return problem.into_response();
        }
        request = Request::from_parts(parts, Body::from(bytes));
    }
    let app = shared.catalogue.app(&grant);
    shared.mcp.handle(&app, caller(&grant), request).await.map(Body::new)
}

/// The tool that a request calls, if it calls one.
fn called(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Call {
        method: String,
        params: Params,
    }
    #[derive(Deserialize)]
    struct Params {
        name: String,
    }

    let call: Call = serde_json::from_slice(body).ok()?;
    (call.method == "tools/call").then_some(call.params.name)
}
