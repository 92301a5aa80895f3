//! `/api/v1/jobs/{id}`: how far work is that outlives its call.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, State};
use axum::response::Response;
use guard::Grant;
use http::StatusCode;
use mcp_protocol::{Answer, Job, JobId, JobState, JobStoreError};
use serde_json::{Value, json};

use super::tools::json_response;
use crate::problem::{Kind, Problem};
use crate::shared::Shared;

/// How far a job can be.
pub(super) const STATES: [&str; 6] =
    ["running", "asking", "done", "failed", "cancelled", "unknown"];

/// The job, if it is this caller's.
pub(super) async fn get(
    State(shared): State<Arc<Shared>>,
    Extension(grant): Extension<Grant>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let app = shared.catalogue.app(&grant);
    answer(app.job(&grant.principal.to_string(), &JobId::from_text(id)).await)
}

/// Stops the job, if it is this caller's.
pub(super) async fn stop(
    State(shared): State<Arc<Shared>>,
    Extension(grant): Extension<Grant>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let app = shared.catalogue.app(&grant);
    answer(app.cancel_job(&grant.principal.to_string(), &JobId::from_text(id)).await)
}

fn answer(found: Result<Option<Job>, JobStoreError>) -> Result<Response, Problem> {
    match found {
        Ok(Some(job)) => Ok(json_response(StatusCode::OK, &document(job))),
        Ok(None) => Err(Problem::new(Kind::NoJob, "this caller has no job of this id")),
        Err(error) => {
            tracing::error!(error = %stdx::Chain(&error), "the job store has no answer");
            Err(Problem::new(Kind::Internal, "the job store has no answer; the log says why"))
        }
    }
}

fn document(job: Job) -> Value {
    let [running, asking, done, failed, cancelled, unknown] = STATES;
    let plain = |text: &str| (text.to_owned(), None);
    let ended = |answer: Answer| (answer.plain_text(), answer.structured);
    let (state, (text, result)) = match job.state {
        JobState::Running => (running, plain("at work")),
        JobState::Asking(questions) => {
            let asked: Vec<&str> =
                questions.inputs.iter().map(|input| input.message.as_str()).collect();
            (asking, (asked.join("\n\n"), None))
        }
        JobState::Done(answer) => (done, ended(answer)),
        JobState::Failed(answer) => (failed, ended(answer)),
        JobState::Broken(text) => (failed, (text, None)),
        JobState::Cancelled => (cancelled, plain("stopped on request")),
        JobState::Unknown(text) => (unknown, (text, None)),
        _ => (unknown, plain("in a state that REST cannot tell")),
    };
    let mut document = json!({
        "job": job.id.as_str(),
        "label": job.label,
        "state": state,
        "created": job.created.to_string(),
        "updated": job.updated.to_string(),
        "text": text,
    });
    if let Some(result) = result {
        document["result"] = Value::Object(result);
    }
    document
}
