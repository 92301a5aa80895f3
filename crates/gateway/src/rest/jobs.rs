//! `/api/v1/jobs/{id}`: how far work is that outlives its call.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, State};
use guard::Grant;

use crate::problem::{Kind, Problem};
use crate::shared::Shared;

/// The job, if it is this caller's.
pub(super) async fn get(
    State(_shared): State<Arc<Shared>>,
    Extension(_grant): Extension<Grant>,
    Path(_id): Path<String>,
) -> Problem {
    Problem::new(Kind::NoJob, "there is no job of this id")
}
