//! The tasks extension: jobs as clients see them.

use rmcp::ErrorData;
use rmcp::model::{CallToolResult, CreateTaskResult, DetailedTask, Task, TaskPayload, TaskStatus};
use serde_json::{Value, json};

use super::{answer, ask};
use crate::JsonObject;
use crate::job::{Job, JobState, JobStoreError};
use crate::tool::Answer;

/// How long a client should wait between two looks, in milliseconds.
const POLL_MILLIS: u64 = 1000;
const INTERNAL_ERROR: i32 = -32603;

/// The result that stands for a call whose work goes on.
pub(super) fn created(job: &Job) -> CreateTaskResult {
    CreateTaskResult::new(task(job, TaskStatus::Working))
}

/// A job with all that is known of it.
pub(super) fn detailed(job: Job, version: &str) -> Result<DetailedTask, ErrorData> {
    let mut task = task(&job, TaskStatus::Working);
    let payload = match job.state {
        JobState::Asking(questions) => {
            let input_requests = ask::to_wire(questions.pending())?;
            TaskPayload::InputRequired { input_requests }
        }
        JobState::Done(answer) => completed(answer, false, version),
        JobState::Failed(answer) => completed(answer, true, version),
        // The work is not known to have failed, but whoever reads this has to act.
        JobState::Unknown(text) => completed(Answer::text(text), true, version),
        JobState::Broken(text) => {
            task.status_message = Some(text.clone());
            TaskPayload::Failed {
                error: object(json!({ "code": INTERNAL_ERROR, "message": text })),
            }
        }
        JobState::Cancelled => TaskPayload::Cancelled,
        JobState::Running => TaskPayload::Working,
    };
    Ok(DetailedTask::new(task, payload))
}

fn task(job: &Job, status: TaskStatus) -> Task {
    let task = Task::new(job.id.as_str(), status, job.created.to_string(), job.updated.to_string());
    task.with_status_message(&job.label).with_poll_interval_ms(POLL_MILLIS)
}

fn completed(answer: Answer, is_error: bool, version: &str) -> TaskPayload {
    let result: CallToolResult = answer::call_result(answer, is_error, version);
    TaskPayload::Completed { result: object(serde_json::to_value(result).unwrap_or_default()) }
}

fn object(value: Value) -> JsonObject {
    match value {
        Value::Object(object) => object,
        _ => JsonObject::new(),
    }
}

/// The error for a job that nobody has, and for another's: nobody learns which.
pub(super) fn unknown() -> ErrorData {
    ErrorData::invalid_params("there is no such task", None)
}

/// The error for a store that does not answer; its cause is in the log.
pub(super) fn store_error(error: &JobStoreError) -> ErrorData {
    tracing::error!(error = %stdx::Chain(error), "the job store does not answer");
    ErrorData::internal_error(
        "the tasks cannot be read now; the server's log has the details",
        None,
    )
}
