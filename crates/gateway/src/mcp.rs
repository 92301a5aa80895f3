//! `/mcp`: from a request that was let in to the protocol.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use guard::Grant;
use http::header::AUTHORIZATION;

use crate::shared::{Shared, caller};

/// Any method on the endpoint.
pub(crate) async fn endpoint(
    State(shared): State<Arc<Shared>>,
    Extension(grant): Extension<Grant>,
    mut request: Request,
) -> Response {
    // The credential has done its work: what comes after cannot pass it on.
    request.headers_mut().remove(AUTHORIZATION);
    let app = shared.catalogue.app(&grant);
    shared.mcp.handle(&app, caller(&grant), request).await.map(Body::new)
}
