//! One step: sent once, followed to its true end.

use std::{
    collections::HashSet,
    fmt,
    pin::Pin,
    sync::{Arc, OnceLock},
    time::Duration,
};

use api_core::{Error, Request, task::TaskEnd};
use estate::{NodeName, Upid};
use guard::ports::TaskTrace;
use jiff::Timestamp;
use pve_client::tasks::{TaskListParams, TaskSource};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{Doing, Step, Trace, planned};
use crate::{
    error::ToolError,
    fleet::{Pbs, Pve},
    follow::{Followed, Holder, Pace, Until, clean_cause, follow},
    gate::{Permit, Sending},
    jobs::{Claim, TaskRef},
    report::Report,
    tool::Cx,
};

/// How much a node's clock may differ from ours when its tasks are told apart by time alone.
const SKEW_SECS: i64 = 120;

/// What is said of a task that was found by looking.
pub(super) const LOST: &str = "the answer was lost; this is what the task's own status says";

/// How long a task whose naming answer was lost is looked for.
const SEARCH: Duration = Duration::from_secs(8);

/// Work that is more than one call with parameters: an upload, or a wait.
pub type Work = Box<
    dyn FnOnce(Running) -> Pin<Box<dyn Future<Output = Result<StepOutcome, ToolError>> + Send>>
        + Send,
>;

/// What a running step has at hand. Cheap to clone.
#[derive(Clone)]
pub struct Running {
    /// The call that it belongs to.
    pub cx: Cx,
    /// Ends when the caller gave up: what can be stopped shall stop.
    pub stop: CancellationToken,
    pub(super) stage: watch::Sender<Stage>,
    /// The job that it has become, once it has.
    pub(super) claim: Arc<OnceLock<Arc<Claim>>>,
    /// Where is noted what becomes of the step.
    pub(super) permit: Permit,
}

/// How far a plan is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stage {
    /// The step at work, from 0.
    pub(crate) step: usize,
    /// What it does.
    pub(crate) what: String,
    /// The same, or the newest line of its task's log.
    pub(crate) line: String,
    /// The tasks that were begun.
    pub(crate) tasks: Vec<TaskRef>,
    /// What is answered to whoever stops waiting now, where the usual words do not fit.
    pub(crate) meanwhile: Option<Arc<Report>>,
}

/// How a step ended well.
#[derive(Clone, Debug, Default)]
pub struct StepOutcome {
    /// What the server answered: null, or whatever the call returns. A task's UPID stands here too.
    pub value: Value,
    /// The task, if it began one.
    pub upid: Option<Upid>,
    /// What there is to say of it, such as the address that was waited for.
    pub said: Option<String>,
    /// How many warnings the task ended with.
    pub warnings: u64,
    /// Whether its task was found by looking, since the answer that named it was lost.
    pub was_lost: bool,
    /// Why its task failed, where the step leaves that to be judged.
    pub failed: Option<String>,
    /// The end of the task's log, if it ended with warnings.
    pub(super) tail: Vec<String>,
}

// === impl Running ===

impl Running {
    /// One for a test, and what it was told last.
    #[cfg(test)]
    pub(crate) fn listening(cx: Cx) -> (Self, impl Fn() -> String) {
        let (stage, told) = watch::channel(Stage::default());
        let claim = Arc::default();
        let permit = Permit::default();
        let running = Self { cx, stop: CancellationToken::new(), stage, claim, permit };
        (running, move || told.borrow().line.clone())
    }

    /// Tells how far it is, in a line for people.
    pub fn tell(&self, line: impl fmt::Display) {
        let line = stdx::untrusted::line(&line.to_string(), 200).into_owned();
        self.stage.send_modify(|stage| stage.line = line);
    }

    /// Says what is answered to whoever stops waiting from now on: for what is not simply at work.
    pub(crate) fn meanwhile(&self, report: Report) {
        self.stage.send_modify(|stage| stage.meanwhile = Some(Arc::new(report)));
    }

    /// Follows a task of a cluster or node to its end.
    ///
    /// # Errors
    /// It failed, or nobody can tell how it ended.
    pub async fn follow_pve(
        &self,
        member: &Arc<Pve>,
        what: &str,
        upid: &Upid,
        stoppable: bool,
    ) -> Result<StepOutcome, ToolError> {
        let holder = Holder::Pve(Arc::clone(member), member.operator.clone());
        self.follow(&holder, what, upid, stoppable).await
    }

    /// Follows a task of a backup server to its end.
    ///
    /// # Errors
    /// It failed, or nobody can tell how it ended.
    pub async fn follow_pbs(
        &self,
        member: &Arc<Pbs>,
        what: &str,
        upid: &Upid,
        stoppable: bool,
    ) -> Result<StepOutcome, ToolError> {
        let holder = Holder::Pbs(Arc::clone(member), member.operator.clone());
        self.follow(&holder, what, upid, stoppable).await
    }

    /// Asks to send one more thing within a step, and notes what becomes of that: `Running` as it is
    /// returned is told of its task.
    ///
    /// # Errors
    /// It must not be sent.
    pub(crate) async fn within<T>(
        &self,
        member: &Arc<Pve>,
        what: &str,
        request: &Request<T>,
        trace: Option<TaskTrace>,
    ) -> Result<Self, ToolError> {
        let sending = Sending {
            step: None,
            what: what.to_owned(),
            calls: vec![planned(member.key.as_str(), request)],
            trace,
        };
        let permit = self.cx.permit(sending).await?;
        Ok(Self { permit, ..self.clone() })
    }

    /// Notes how that ended.
    pub(crate) async fn ended(&self, failed: Option<&ToolError>) {
        self.permit.ended(failed).await;
    }

    async fn follow(
        &self,
        holder: &Holder,
        what: &str,
        upid: &Upid,
        stoppable: bool,
    ) -> Result<StepOutcome, ToolError> {
        self.stage.send_modify(|stage| {
            let (step, member) = (stage.step + 1, holder.key().to_owned());
            stage.tasks.push(TaskRef { step, member, upid: upid.clone(), stoppable });
        });
        self.note().await;
        self.permit.began(upid).await;
        let until = Until::patient();
        let stopped = async {
            self.stop.cancelled().await;
            if !stoppable || !holder.stop(upid).await {
                // The task goes on without us; whoever gave up is told its name.
                std::future::pending::<()>().await;
            }
        };
        let mut was_stopped = false;
        let followed = async {
            tokio::select! {
                followed = follow(&self.cx, holder, upid, until) => followed,
                // What a stopped task says of itself is its end as well.
                () = stopped => {
                    was_stopped = true;
                    follow(&self.cx, holder, upid, Until::patient()).await
                }
            }
        };
        let followed = followed.await.map_err(|error| {
            let report = ToolError::api(format!("follow the {what}"), &error).into_report();
            ToolError::from_report(
                report
                    .fact("upid", upid.as_str())
                    .fact("status", "unknown")
                    .note("the task was begun and goes on without us")
                    .next("task_wait", json!({"upid": upid.as_str(), "cluster": holder.key()})),
            )
        })?;
        if was_stopped && followed.cause().is_some() {
            let lead = format!("{what} was stopped on request");
            let report = Report::new(lead).fact("upid", upid.as_str()).fact("status", "cancelled");
            return Err(ToolError::from_report(report));
        }
        outcome_of(what, followed)
    }

    /// Notes which step is at work, before anything of it is sent.
    pub(super) async fn enter(&self, index: usize, what: &str) {
        self.stage.send_modify(|stage| {
            stage.step = index;
            what.clone_into(&mut stage.what);
            what.clone_into(&mut stage.line);
            stage.meanwhile = None;
        });
        self.note().await;
    }

    async fn note(&self) {
        if let Some(claim) = self.claim.get() {
            claim.note().await;
        }
    }
}

/// The end of a followed task as the end of its step.
fn outcome_of(what: &str, followed: Followed) -> Result<StepOutcome, ToolError> {
    if let Some(report) = followed.failure(what) {
        return Err(ToolError::from_report(report));
    }
    if followed.is_running() {
        let report = Report::new(format!("{what} runs for longer than this server follows a task"));
        return Err(ToolError::from_report(followed.tell(report)));
    }
    let warnings = match &followed.end {
        TaskEnd::Warnings(count) => u64::from(*count),
        _ => 0,
    };
    let tail = if warnings > 0 { followed.tail } else { Vec::new() };
    Ok(StepOutcome {
        value: Value::String(followed.upid.as_str().to_owned()),
        upid: Some(followed.upid),
        warnings,
        tail,
        ..StepOutcome::default()
    })
}

// === impl Step ===

impl Step {
    /// Does it.
    pub(super) async fn run(mut self, running: &Running) -> Result<StepOutcome, ToolError> {
        let judged = self.judged;
        let mut after = None;
        if let Some(around) = self.around.take() {
            (around.before)().await;
            after = Some(around.after);
        }
        let ended = match (self.attempt(running).await, after) {
            (Ok(outcome), Some(after)) => after(running.clone(), outcome).await,
            (ended, _) => ended,
        };
        match ended {
            Err(error) if judged => judge(error),
            ended => ended,
        }
    }

    async fn attempt(self, running: &Running) -> Result<StepOutcome, ToolError> {
        if matches!(self.doing, Doing::Wait(_)) {
            return self.send(running).await;
        }
        let index = running.stage.borrow().step;
        let permit = running.cx.permit(self.sending(index)).await?;
        let running = Running { permit: permit.clone(), ..running.clone() };
        let ended = self.send(&running).await;
        permit.ended(ended.as_ref().err()).await;
        ended
    }

    /// The step as it is written down before it is sent.
    fn sending(&self, index: usize) -> Sending {
        let member = match &self.doing {
            Doing::Pve(member, _) => Some(member),
            _ => None,
        };
        let trace = member.zip(self.node()).zip(self.trace.as_ref());
        let trace = trace.map(|((member, node), trace)| TaskTrace {
            member: member.key.to_string(),
            node: node.to_string(),
            kinds: trace.kinds.iter().map(|kind| (*kind).to_owned()).collect(),
            id: trace.id.clone(),
            user: member.traits.user.clone(),
        });
        Sending { step: Some(index), what: self.what.clone(), calls: self.calls(), trace }
    }

    async fn send(self, running: &Running) -> Result<StepOutcome, ToolError> {
        let what = self.what.clone();
        let node = self.node().cloned();
        match self.doing {
            Doing::Wait(work) | Doing::Other(_, work) => work(running.clone()).await,
            Doing::Pve(member, request) => {
                let lost = Lost {
                    node: node.as_ref(),
                    trace: self.trace.as_ref(),
                    sent: running.cx.now(),
                };
                let (value, was_lost) = send(&member, &what, &lost, request).await?;
                let ended = match upid_in(&value) {
                    Some(upid) => running.follow_pve(&member, &what, &upid, self.stoppable).await,
                    None => Ok(StepOutcome { value, ..StepOutcome::default() }),
                };
                match ended {
                    Ok(outcome) => Ok(StepOutcome { was_lost, ..outcome }),
                    Err(error) if was_lost => Err(error.map(|report| report.note(LOST))),
                    Err(error) => Err(error),
                }
            }
            Doing::Pbs(member, request) => {
                let sent = member.operator.call(request).await;
                let value = sent.map_err(|error| refused(&what, member.key.as_str(), &error))?;
                match upid_in(&value) {
                    Some(upid) => running.follow_pbs(&member, &what, &upid, self.stoppable).await,
                    None => Ok(StepOutcome { value, ..StepOutcome::default() }),
                }
            }
        }
    }
}

/// The failure of a task as an outcome; any other failure stays one.
fn judge(error: ToolError) -> Result<StepOutcome, ToolError> {
    let report = error.into_report();
    let fact = |name: &str| report.facts.get(name).and_then(Value::as_str);
    let upid = fact("upid").and_then(|upid| upid.parse::<Upid>().ok());
    match (fact("status"), upid) {
        (Some("failed"), Some(upid)) => Ok(StepOutcome {
            value: Value::String(upid.as_str().to_owned()),
            upid: Some(upid),
            failed: Some(fact("cause").unwrap_or_default().to_owned()),
            ..StepOutcome::default()
        }),
        _ => Err(ToolError::from_report(report)),
    }
}

fn upid_in(value: &Value) -> Option<Upid> {
    value.as_str().filter(|text| text.starts_with("UPID:"))?.parse().ok()
}

/// What it takes to find a task again.
struct Lost<'a> {
    node: Option<&'a NodeName>,
    trace: Option<&'a Trace>,
    sent: Timestamp,
}

/// Sends a call once. Where its answer is lost, the task that it may have begun is looked for; with
/// the answer comes whether that was so.
async fn send(
    member: &Arc<Pve>,
    what: &str,
    lost: &Lost<'_>,
    request: Request<Value>,
) -> Result<(Value, bool), ToolError> {
    let search = lost.node.zip(lost.trace);
    let known = match search {
        Some((node, _)) => tasks_of(member, node).await.ok(),
        None => None,
    };
    let error = match member.operator.call(request).await {
        Ok(value) => return Ok((value, false)),
        Err(error) => error,
    };
    let Some((node, trace)) = search.filter(|_| error.may_have_run()) else {
        return Err(refused(what, member.key.as_str(), &error));
    };
    let why = stdx::Chain(&error).to_string();
    warn!(what, error = why, "the answer is lost; looking for the task");
    match find(member, node, trace, known.as_ref(), lost.sent).await {
        Some(upid) => Ok((Value::String(upid.as_str().to_owned()), true)),
        None => Err(refused(what, member.key.as_str(), &error)),
    }
}

async fn tasks_of(member: &Pve, node: &NodeName) -> Result<Vec<Upid>, Error> {
    let options = TaskListParams {
        source: Some(TaskSource::All),
        limit: Some(50),
        ..TaskListParams::default()
    };
    let tasks = member.operator.call(pve_client::tasks::list(node, options)).await?;
    Ok(tasks.into_iter().map(|task| task.upid).collect())
}

/// Looks for the task of a call whose answer was lost. A call that timed out can still be on its
/// way to the worker, so one look is not enough.
async fn find(
    member: &Pve,
    node: &NodeName,
    trace: &Trace,
    known: Option<&Vec<Upid>>,
    sent: Timestamp,
) -> Option<Upid> {
    let known: Option<HashSet<&Upid>> = known.map(|known| known.iter().collect());
    let known = known.as_ref();
    let until = Until::patient().at_most(SEARCH);
    let mut pace = Pace::new();
    loop {
        let tasks = tasks_of(member, node).await.unwrap_or_default();
        if let Some(upid) = newest_match(tasks, trace, known, sent) {
            return Some(upid);
        }
        if until.is_over() {
            return None;
        }
        pace.wait(&until).await;
    }
}

/// The task that the call began: of its types, about its id, and not there before.
fn newest_match(
    tasks: Vec<Upid>,
    trace: &Trace,
    known: Option<&HashSet<&Upid>>,
    sent: Timestamp,
) -> Option<Upid> {
    let fits = tasks.into_iter().filter(|upid| {
        let is_new = match known {
            Some(known) => !known.contains(upid),
            // The node's clock and ours may differ.
            None => upid.started().as_second() >= sent.as_second() - SKEW_SECS,
        };
        is_new && upid.id() == trace.id && trace.kinds.contains(&upid.kind())
    });
    fits.max_by_key(Upid::started)
}

fn refused(what: &str, member: &str, error: &Error) -> ToolError {
    if !error.may_have_run() {
        return ToolError::api(what, error);
    }
    let lead = format!(
        "outcome of the {what} is unknown: the answer was lost ({}) and no task of it is found",
        clean_cause(&stdx::Chain(error).to_string())
    );
    ToolError::from_report(
        Report::new(lead)
            .fact("status", "unknown")
            .note("it was not sent again: look at what it was about, and at the tasks, first")
            .next("tasks_list", json!({"cluster": member})),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upid(start: u32, kind: &str, id: &str) -> Upid {
        format!("UPID:alder:00000001:00000001:{start:08X}:{kind}:{id}:mcp@pve!agent:")
            .parse()
            .unwrap()
    }

    #[test]
    fn a_lost_task_is_told_from_older_and_other_ones() {
        let sent = Timestamp::from_second(10_000).unwrap();
        let trace = |kinds| Trace { kinds, id: "100".to_owned() };
        let tasks = || {
            vec![
                upid(10_001, "qmstart", "101"),
                upid(10_001, "qmstop", "100"),
                upid(9_990, "qmstart", "100"),
                upid(9_995, "qmstart", "100"),
                upid(5_000, "qmstart", "100"),
            ]
        };
        let starts = trace(&["qmstart", "hastart"]);
        // What was there before is not it, even if a clock is off; 5000 was beyond the list's end.
        let before = upid(9_990, "qmstart", "100");
        let known = HashSet::from([&before]);
        let found = |trace, known, sent| newest_match(tasks(), trace, known, sent);
        assert_eq!(found(&starts, Some(&known), sent), Some(upid(9_995, "qmstart", "100")));
        let all = tasks();
        let all = all.iter().collect();
        assert_eq!(found(&starts, Some(&all), sent), None);
        let stops = trace(&["qmstop"]);
        assert_eq!(found(&stops, None, sent), Some(upid(10_001, "qmstop", "100")));
        let later = Timestamp::from_second(20_000).unwrap();
        assert_eq!(found(&stops, None, later), None);
    }
}
