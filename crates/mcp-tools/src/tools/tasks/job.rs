//! `task_get` and `task_wait` of a job: work of several steps that outlived its call.

use mcp_protocol::{Answer, Job, JobState};
use serde_json::{Value, json};

use crate::{
    error::ToolError,
    follow::{Pace, Until},
    report::Report,
    tool::Cx,
};

/// What stands before a job's id where a task's is asked for.
const PREFIX: &str = "job:";

/// The job's id, if it is one that is asked for.
pub(super) fn id_in(upid: &str) -> Option<&str> {
    upid.trim().strip_prefix(PREFIX)
}

/// The job, once it has ended or `until` is over.
pub(super) async fn wait(cx: &Cx, id: &str, until: Until) -> Result<Report, ToolError> {
    let mut pace = Pace::new();
    loop {
        let job = read(cx, id).await?;
        if job.state.is_finished() || until.is_over() {
            return tell(&job, id);
        }
        let seconds = until.elapsed().as_secs_f64();
        cx.tell(seconds, &format!("{}: running", job.label)).await;
        pace.wait(&until).await;
    }
}

/// The job as it is.
pub(super) async fn get(cx: &Cx, id: &str) -> Result<Report, ToolError> {
    tell(&read(cx, id).await?, id)
}

async fn read(cx: &Cx, id: &str) -> Result<Job, ToolError> {
    // One answer for what never was and for what is another's.
    let unknown = || {
        let id = stdx::untrusted::line(id, 60);
        ToolError::not_found(format!("there is no job {id} of yours"))
            .hint("jobs are named by the call that began them; tasks_list shows tasks")
    };
    let Some(jobs) = &cx.jobs else { return Err(unknown()) };
    let owner = cx.call.caller().subject();
    match jobs.look(owner, id).await {
        Ok(job) => job.ok_or_else(unknown),
        Err(error) => {
            Err(ToolError::new(format!("the job cannot be read: {}", stdx::Chain(&error))))
        }
    }
}

fn tell(job: &Job, id: &str) -> Result<Report, ToolError> {
    let facts = |report: Report, status: &str| {
        let report = report.fact("job", id);
        if report.facts.contains_key("status") { report } else { report.fact("status", status) }
    };
    let label = &job.label;
    match &job.state {
        JobState::Running => {
            let report = facts(Report::new(format!("{label} is still running")), "running");
            Ok(report.next("task_wait", json!({"upid": format!("{PREFIX}{id}")})))
        }
        JobState::Done(answer) => Ok(facts(again(answer), "ok")),
        JobState::Failed(answer) => Err(ToolError::from_report(facts(again(answer), "failed"))),
        JobState::Cancelled => {
            let report = Report::new(format!("{label} was cancelled"));
            Ok(facts(report, "cancelled").note("what had been begun may have been done"))
        }
        JobState::Unknown(why) => {
            Err(ToolError::from_report(facts(Report::new(why.clone()), "unknown")))
        }
        _ => Ok(facts(Report::new(format!("{label} is in a state of its own")), "unknown")),
    }
}

/// An answer as it was kept, once more.
fn again(answer: &Answer) -> Report {
    let text = answer.plain_text();
    let mut report = Report::new(text.lines().next().unwrap_or_default());
    for (key, value) in answer.structured.iter().flatten() {
        match (key.as_str(), value) {
            ("notes", Value::Array(notes)) => {
                report.notes.extend(notes.iter().filter_map(Value::as_str).map(str::to_owned));
            }
            ("untrusted", Value::Array(parts)) => {
                for part in parts {
                    let text = |name: &str| part[name].as_str().unwrap_or_default().to_owned();
                    report = report.untrusted(text("label"), text("text"));
                }
            }
            ("next" | "unreachable" | "text", _) => {}
            _ => report = report.fact(key, value.clone()),
        }
    }
    report
}
