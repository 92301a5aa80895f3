//! What the actions of this toolset share.

use std::time::Duration;

use mcp_protocol::JsonObject;
use serde_json::Value;

use crate::{
    error::ToolError,
    follow::{Pace, Until},
    plan::{Running, Step, StepOutcome},
    report::Report,
};

/// A step that looks again and again until `look` has something to say, or an error; after
/// `patience` it fails with `late`.
pub(super) fn watch<F, Fut>(
    what: impl Into<String>,
    patience: Duration,
    late: impl Into<String>,
    look: F,
) -> Step
where
    F: Fn(Running) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Option<String>, ToolError>> + Send,
{
    let late = late.into();
    Step::wait(
        what,
        Box::new(move |running| {
            Box::pin(async move {
                let (until, mut pace) = (Until::patient().at_most(patience), Pace::new());
                loop {
                    if let Some(said) = look(running.clone()).await? {
                        let mut outcome = StepOutcome::default();
                        outcome.said = Some(said);
                        return Ok(outcome);
                    }
                    if running.stop.is_cancelled() {
                        let report = Report::new("nobody waits for it any more");
                        return Err(ToolError::from_report(report.fact("status", "cancelled")));
                    }
                    if until.is_over() {
                        let report = Report::new(late.clone()).fact("status", "unknown");
                        return Err(ToolError::from_report(report));
                    }
                    pace.wait(&until).await;
                }
            })
        }),
    )
}

/// The members of a JSON object.
pub(super) fn object(value: Value) -> JsonObject {
    match value {
        Value::Object(object) => object,
        _ => JsonObject::new(),
    }
}

/// The text of an argument, if there is any.
pub(super) fn given(text: Option<&String>) -> Option<&str> {
    text.map(|text| text.trim()).filter(|text| !text.is_empty())
}
