//! `/hooks/{input}/…`: what Proxmox and others post, given to the webhook input of that name.
//!
//! *Invariant:* a hook's secret is its credential: no token is asked for, and wrong secrets are counted
//! as failed attempts of the address that they come from. *Invariant:* an input that does not exist is
//! not told from a wrong secret.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use inputs::webhook::Webhook;
use tokio::time::Instant;

use crate::metrics::Limit;
use crate::peer::Peer;
use crate::problem::Problem;
use crate::shared::Shared;

/// The route.
pub(crate) const HOOKS: &str = "/hooks/{input}/{*hook}";
/// Why a hook was not let in, in the counts.
const WRONG_SECRET: &str = "hook";

/// The webhook inputs, by their names.
pub type Hooks = BTreeMap<String, Arc<Webhook>>;

/// Hands a request to its input; its answer comes when what it tells is on disk.
pub(crate) async fn receive(
    State(shared): State<Arc<Shared>>,
    Path((input, _)): Path<(String, String)>,
    request: Request,
) -> Response {
    let peer = request.extensions().get::<Peer>().copied().unwrap_or(Peer::Unix { uid: None });
    let from = peer.neighborhood();
    if let Some(wait) = shared.failures.empty_for(&from, Instant::now()) {
        shared.metrics.limited(Limit::Failures);
        let why = "too many failed attempts from this address";
        return Problem::rate_limited(why, wait).into_response();
    }
    let answer = match shared.hooks.get(&input) {
        Some(webhook) => webhook.answer(request).await.map(Body::new),
        None => StatusCode::UNAUTHORIZED.into_response(),
    };
    if answer.status() == StatusCode::UNAUTHORIZED {
        shared.metrics.auth_failure(WRONG_SECRET);
        let _ = shared.failures.take(&from, Instant::now());
    }
    answer
}
