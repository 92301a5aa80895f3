//! What can be said of a job whose program is gone: how far it was, and what became of its tasks.

use estate::{TaskStatus, Upid};
use serde_json::json;

use super::refs::{Refs, TaskRef};
use crate::{follow::clean_cause, report::Report};

/// What one task of the step at work says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// It is still at work, or nobody can be asked for the moment.
    Open,
    /// It has ended.
    Ended(TaskStatus),
    /// It cannot be asked any more, and why.
    Lost(String),
}

/// How the job is.
#[derive(Clone, Debug)]
pub(super) enum Verdict {
    /// It goes on by itself.
    Open,
    /// It did what was asked.
    Done(Report),
    /// It did not.
    Failed(Report),
    /// A person has to look.
    Unknown(String),
}

/// Judges by what was written down last. `seen` belongs to the tasks of the step at work.
pub(super) fn judge(label: &str, refs: &Refs, seen: &[(TaskRef, Seen)]) -> Verdict {
    let interrupted = |why: String| Verdict::Unknown(format!("{label} was interrupted: {why}"));
    if seen.iter().any(|(_, seen)| *seen == Seen::Open) {
        return Verdict::Open;
    }
    let place = place(refs);
    let rest = match refs.steps.saturating_sub(refs.step) {
        0 => None,
        1 => Some("the step after it was not begun".to_owned()),
        more => Some(format!("the {more} steps after it were not begun")),
    };
    for (task, seen) in seen {
        match seen {
            Seen::Ended(status) if !status.is_success() => {
                let cause = clean_cause(&status.to_string());
                let report = Report::new(format!("{label} failed{place}: {cause}"));
                let mut report = with_task(report, task).fact("status", "failed");
                if let Some(rest) = rest {
                    report = report.note(format!(
                        "the server ended meanwhile: {rest}, what cleans up included"
                    ));
                }
                return Verdict::Failed(report);
            }
            Seen::Lost(why) => return interrupted(format!("its task{place} {why}")),
            Seen::Open | Seen::Ended(_) => {}
        }
    }
    let and_rest = rest.as_ref().map(|rest| format!(", and {rest}")).unwrap_or_default();
    let Some((task, _)) = seen.last() else {
        // A step without a task is one call or a wait: nothing tells whether it was done.
        return interrupted(format!(
            "the server ended{place}; whether that was done has to be looked at{and_rest}"
        ));
    };
    if rest.is_some() {
        return interrupted(format!("the server ended{place}; its task ended well{and_rest}"));
    }
    let report = with_task(Report::new(format!("{label} is done")), task);
    Verdict::Done(
        report
            .fact("status", "ok")
            .note("the server was restarted meanwhile: the task's status is all that was checked"),
    )
}

/// ` at step 2 of 5 (resize the disk)`; nothing where there is one step and no word for it.
fn place(refs: &Refs) -> String {
    let doing = match refs.doing.as_str() {
        "" => String::new(),
        doing => format!(" ({doing})"),
    };
    match refs.steps {
        0 | 1 if doing.is_empty() => String::new(),
        0 | 1 => format!(" at its only step{doing}"),
        steps => format!(" at step {} of {steps}{doing}", refs.step),
    }
}

fn with_task(report: Report, task: &TaskRef) -> Report {
    let TaskRef { member, upid, .. } = task;
    let upid: &Upid = upid;
    report
        .fact("upid", upid.as_str())
        .next("task_get", json!({"upid": upid.as_str(), "cluster": member}))
}
