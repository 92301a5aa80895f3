//! Does what a plan says: step by step, in the foreground as long as the caller waits, and in the
//! background after that.

use std::{
    ops::Range,
    sync::{Arc, OnceLock},
    time::Duration,
};

use estate::Upid;
use mcp_protocol::JsonObject;
use serde_json::{Value, json};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::{
    Plan, StepOutcome,
    run::{LOST, Running, Stage},
};
use crate::{error::ToolError, gate::Permit, jobs::BEAT, report::Report, tool::Cx};

/// How often progress is told.
const TELL: Duration = Duration::from_millis(500);

/// How long a client that knows tasks waits for the answer itself: what is quick needs no task.
const QUICK: Duration = Duration::from_secs(1);

/// What was done, for the closure that settles a plan.
#[derive(Clone, Debug, Default)]
pub struct Done {
    /// Each step that was run: what, and how it ended.
    pub steps: Vec<(String, StepOutcome)>,
    /// How long all of it took.
    pub took: Duration,
    facts: JsonObject,
}

// === impl Done ===

impl Done {
    /// The answer: `lead`, with the facts of the plan, the last task and how it ended.
    pub fn report(&self, lead: impl Into<String>) -> Report {
        let mut report = Report::new(lead);
        report.facts.extend(self.facts.clone());
        let warnings: u64 = self.steps.iter().map(|(_, step)| step.warnings).sum();
        report = report.fact("status", if warnings > 0 { "warnings" } else { "ok" });
        if let Some(upid) = self.last_upid() {
            report = report.fact("upid", upid.as_str());
        }
        if self.steps.iter().any(|(_, step)| step.was_lost) {
            report = report.note(LOST);
        }
        for (what, step) in self.steps.iter().filter(|(_, step)| step.warnings > 0) {
            report = report.note(format!("{what} ended with {} warnings", step.warnings));
            if !step.tail.is_empty() {
                report =
                    report.untrusted(format!("end of the log of {what}"), step.tail.join("\n"));
            }
        }
        report
    }

    /// What was done of these steps, with facts of their own.
    pub(super) fn part(&self, steps: Range<usize>, facts: JsonObject) -> Self {
        let steps = self.steps.get(steps).unwrap_or_default().to_vec();
        Self { steps, took: self.took, facts }
    }

    /// The last task that was begun.
    pub fn last_upid(&self) -> Option<&Upid> {
        self.steps.iter().rev().find_map(|(_, step)| step.upid.as_ref())
    }

    /// What the step of that description answered.
    pub fn value(&self, what: &str) -> Option<&Value> {
        let step = self.steps.iter().find(|(name, _)| name == what);
        step.map(|(_, outcome)| &outcome.value)
    }

    /// How it ended, for sentences: `OK`, or with how many warnings.
    pub fn ended(&self) -> String {
        match self.steps.iter().map(|(_, step)| step.warnings).sum() {
            0_u64 => "OK".to_owned(),
            1 => "with 1 warning".to_owned(),
            count => format!("with {count} warnings"),
        }
    }

    /// `3 s`, `4 min`, for sentences.
    pub fn span(&self) -> String {
        let seconds = self.took.as_secs();
        if seconds < 120 { format!("{seconds} s") } else { format!("{} min", seconds / 60) }
    }
}

// === impl Plan ===

impl Plan {
    /// Does what it says.
    ///
    /// Where the caller's patience ends first, the rest is done in the background, and the answer
    /// says under which name. A caller that cancels stops it before its next step; steps marked
    /// `always` run even then.
    ///
    /// # Errors
    /// What failed, which steps were done by then, and what cleaned up.
    pub async fn execute(self, cx: &Cx) -> Result<Report, ToolError> {
        let count = self.steps.len();
        let what = self.what.clone();
        let (facts, notes) = (self.facts.clone(), self.notes.clone());
        let knows_tasks = cx.call.capabilities().tasks && cx.jobs.is_some();
        let patience = self.patience.map_or(cx.task_wait, |patience| patience.min(cx.task_wait));
        let patience = if knows_tasks { QUICK.min(patience) } else { patience };
        let began = Instant::now();
        let stop = CancellationToken::new();
        let first = self.steps.first().map(|step| step.what.clone()).unwrap_or_default();
        let stage = Stage { what: first.clone(), line: first, ..Stage::default() };
        let (sender, stage) = watch::channel(stage);
        let slot = Arc::new(OnceLock::new());
        let running = Running {
            cx: cx.clone(),
            stop: stop.clone(),
            stage: sender,
            claim: Arc::clone(&slot),
            permit: Permit::default(),
        };
        if let Some(work) = &cx.work {
            work.executes();
        }
        let mut work = tokio::spawn(through(self, running).in_current_span());
        // Whoever drops this call gives up: nothing further is begun.
        let gives_up = stop.clone().drop_guard();
        let ended = tokio::select! {
            ended = &mut work => Some(ended),
            () = tell(cx, count, began, stage.clone()) => None,
            () = sleep(patience) => None,
        };
        if let Some(ended) = ended {
            gives_up.disarm();
            return ended.unwrap_or_else(|_| Err(fault(&what)));
        }
        let now = stage.borrow().clone();
        let label = what.clone();
        let claim = match &cx.jobs {
            Some(jobs) => jobs.claim(cx, &label, count, stage, stop).await,
            None => None,
        };
        gives_up.disarm();
        let job = claim.as_ref().map(|claim| claim.id());
        if let Some(claim) = claim {
            tokio::spawn(
                async move {
                    // From now on each step is written down before it is begun; what was begun
                    // meanwhile is written down here.
                    slot.get_or_init(|| Arc::clone(&claim));
                    let ended = loop {
                        claim.note().await;
                        tokio::select! {
                            ended = &mut work => break ended,
                            () = sleep(BEAT) => {}
                        }
                    };
                    claim.finish(ended.unwrap_or_else(|_| Err(fault(&label)))).await;
                }
                .in_current_span(),
            );
        }
        let mut report = still_running(&what, count, &now, began.elapsed(), job.as_deref());
        report.facts.extend(facts);
        report.notes.extend(notes);
        Ok(report)
    }
}

/// Tells how far the plan is, again and again; never ends.
async fn tell(cx: &Cx, count: usize, began: Instant, stage: watch::Receiver<Stage>) {
    if !cx.call.wants_progress() {
        return std::future::pending().await;
    }
    loop {
        let (step, line) = {
            let stage = stage.borrow();
            (stage.step + 1, stage.line.clone())
        };
        let line = if count > 1 { format!("step {step} of {count}: {line}") } else { line };
        cx.tell(began.elapsed().as_secs_f64(), &line).await;
        sleep(TELL).await;
    }
}

/// All of it, with the books closed at its end, whether or not anybody waits for it.
async fn through(plan: Plan, running: Running) -> Result<Report, ToolError> {
    let cx = running.cx.clone();
    let ended = work(plan, running).await;
    cx.ended(ended.as_ref()).await;
    ended
}

/// All steps, and then what settles them.
async fn work(mut plan: Plan, running: Running) -> Result<Report, ToolError> {
    let began = Instant::now();
    let steps = std::mem::take(&mut plan.steps);
    let count = steps.len();
    let mut done = Done { facts: plan.facts.clone(), ..Done::default() };
    let mut failure: Option<ToolError> = None;
    // Which part of the plan failed: only that one has anything to clean up.
    let mut failed_in = None;
    let mut cleaned = Vec::new();
    for (index, step) in steps.into_iter().enumerate() {
        let what = step.what.clone();
        if failure.is_none() && !running.stop.is_cancelled() {
            // Where this is written down, it is read that it was stopped through another program.
            running.enter(index, &what).await;
        }
        if failure.is_none() && running.stop.is_cancelled() {
            failure = Some(stopped(&plan, index, count));
            failed_in = Some(step.part);
        }
        let part = step.part;
        if failure.is_some() {
            if !step.always || failed_in != Some(part) {
                continue;
            }
            running.enter(index, &what).await;
        }
        match step.run(&running).await {
            Ok(outcome) => {
                if failure.is_some() {
                    cleaned.push(what.clone());
                }
                done.steps.push((what, outcome));
            }
            Err(error) if failure.is_none() => {
                failure = Some(failed(&plan, &done, index, count, &what, error));
                failed_in = Some(part);
            }
            Err(error) => {
                // The first failure is the answer; that the cleanup failed too belongs to it.
                let lead = format!("then {what} failed as well: {}", error.message());
                failure = failure.map(|first| first.hint(lead));
            }
        }
    }
    done.took = began.elapsed();
    let notes = plan.notes;
    if let Some(error) = failure {
        let error = error.map(|mut report| {
            if !cleaned.is_empty() {
                report = report.note(format!("afterwards: {}", cleaned.join("; ")));
            }
            report.notes.extend(notes);
            report
        });
        return Err(match plan.explain {
            Some(explain) => explain(error).await,
            None => error,
        });
    }
    let settled = match plan.settle {
        Some(settle) => settle(running.cx.clone(), done).await,
        None => {
            let lead = format!("{} is done ({})", plan.what, done.span());
            Ok(done.report(lead))
        }
    };
    let with_notes = |mut report: Report| {
        report.notes.extend(notes);
        report
    };
    match settled {
        Ok(report) => Ok(with_notes(report)),
        Err(error) => Err(error.map(with_notes)),
    }
}

/// Why nothing further is begun.
fn stopped(plan: &Plan, index: usize, count: usize) -> ToolError {
    let lead = format!("{} was stopped before step {} of {count}", plan.what, index + 1);
    ToolError::from_report(Report::new(lead).fact("status", "cancelled"))
}

/// Completes the failure of a step: which of how many, and what was done before it.
fn failed(
    plan: &Plan,
    done: &Done,
    index: usize,
    count: usize,
    what: &str,
    error: ToolError,
) -> ToolError {
    error.map(|mut report| {
        if count > 1 {
            let why = std::mem::take(&mut report.lead);
            report.lead = format!("{} failed at step {} of {count}: {why}", plan.what, index + 1);
        }
        for (key, value) in &plan.facts {
            report.facts.entry(key.clone()).or_insert_with(|| value.clone());
        }
        report.facts.entry("status").or_insert_with(|| "failed".into());
        if !done.steps.is_empty() {
            let before: Vec<&str> = done.steps.iter().map(|(what, _)| what.as_str()).collect();
            report = report.note(format!("done before {what}: {}", before.join("; ")));
        }
        report
    })
}

fn still_running(
    what: &str,
    count: usize,
    now: &Stage,
    elapsed: Duration,
    job: Option<&str>,
) -> Report {
    let seconds = elapsed.as_secs();
    let lead = if count > 1 {
        let (step, line) = (now.step + 1, &now.line);
        format!("{what} is still running after {seconds} s (step {step} of {count}: {line})")
    } else {
        format!("{what} is still running after {seconds} s")
    };
    let mut report = match &now.meanwhile {
        Some(said) => Report::clone(said),
        None => Report::new(lead).fact("status", "running"),
    };
    let task = now.tasks.last();
    if let Some(task) = task {
        report = report.fact("upid", task.upid.as_str());
    }
    report.job = job.map(Arc::from);
    match (job, task) {
        // A name for the whole is better than one for the task at hand.
        (Some(job), _) => {
            report.fact("job", job).next("task_wait", json!({"upid": format!("job:{job}")}))
        }
        (None, Some(task)) => {
            let upid = task.upid.as_str();
            report.next("task_wait", json!({"upid": upid, "cluster": task.member}))
        }
        (None, None) => report,
    }
}

fn fault(what: &str) -> ToolError {
    ToolError::new(format!("{what} ended in a fault of this server; its log has the details"))
        .hint("look at what it was about before you ask again")
}
