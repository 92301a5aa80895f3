//! The same tools for programs that speak no MCP.

mod jobs;
mod openapi;
mod tools;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};

use crate::shared::Shared;

/// The list of tools.
const TOOLS: &str = "/api/v1/tools";
/// What the path of a tool begins with.
pub(crate) const TOOL_CALLS: &str = "/api/v1/tools/";
/// What the path of a job begins with.
pub(crate) const JOBS: &str = "/api/v1/jobs/";
/// The description of all this.
const OPENAPI: &str = "/api/v1/openapi.json";

/// The paths of the API.
pub(crate) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route(TOOLS, get(tools::list))
        .route("/api/v1/tools/{name}", post(tools::call))
        .route("/api/v1/jobs/{id}", get(jobs::get).delete(jobs::stop))
        .route(OPENAPI, get(openapi::get))
}
