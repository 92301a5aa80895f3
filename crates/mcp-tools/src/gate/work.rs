//! One action at work: every write to the estate passes here, and leaves an intent before it.
//!
//! *Invariant:* nothing is sent before its intent is on disk and the freeze was looked at, in this
//! order: what is looked at last is what an operator can change last.
//! *Invariant:* an action is ended once, whoever comes first: the plan's executor, the call that
//! waits for it, or the job that it has become.

use std::sync::{
    Arc, Mutex, MutexGuard, OnceLock, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use estate::Upid;
use guard::{
    PlannedCall, Principal,
    ports::{ActionId, ActionState, Freeze, Intent, StepEnd, TaskTrace, UndoId},
};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::Instant;
use tracing::warn;

use super::{
    Ports, recover,
    revert::{self, Back},
};
use crate::{
    error::{Kind, ToolError},
    journal::{Entry, Journal},
    redaction::Redaction,
    report::Report,
    tool::Cx,
};

/// The most calls and tasks of one action that the audit log lists one by one.
const LISTED: usize = 100;

/// An action that was let through, until it has ended.
pub(crate) struct Work {
    /// The call that it belongs to, without this.
    pub(super) cx: Cx,
    pub(super) ports: Option<Ports>,
    pub(super) journal: Option<Arc<dyn Journal>>,
    pub(super) redaction: Redaction,
    pub(super) principal: Principal,
    pub(super) tool: &'static str,
    pub(super) target: String,
    pub(super) id: Option<ActionId>,
    /// How many steps the plan has: what is written beside them is numbered from there.
    pub(super) steps: u32,
    /// Whether it goes on although changes are stopped: only the revert of a change that nobody
    /// confirmed does.
    pub(super) despite_freeze: bool,
    pub(super) began: Instant,
    /// The way back, until it is kept.
    pub(super) back: Mutex<Option<Back>>,
    pub(super) undo: OnceLock<UndoId>,
    pub(super) trail: Mutex<Trail>,
    /// Whether a plan's executor is at it: that one goes on by itself, and ends it.
    pub(super) executing: AtomicBool,
    pub(super) over: AtomicBool,
}

/// What it has done so far.
#[derive(Debug, Default)]
pub(super) struct Trail {
    calls: Vec<String>,
    tasks: Vec<String>,
    /// How many writes there were beside the steps themselves.
    beside: u32,
    /// Steps of which nobody knows how they ended yet.
    open: Vec<(u32, bool)>,
    unknown: bool,
    sent: bool,
    done: bool,
    withheld: bool,
}

/// What is about to be sent.
#[derive(Debug)]
pub(crate) struct Sending {
    /// The step of the plan, from 0; `None` for what is sent within one.
    pub(crate) step: Option<usize>,
    /// What it does, in words.
    pub(crate) what: String,
    /// The calls, as the plan keeps them.
    pub(crate) calls: Vec<PlannedCall>,
    /// What its task looks like.
    pub(crate) trace: Option<TaskTrace>,
}

/// The permission to send one thing, and where is noted what becomes of it. Cheap to clone; that of
/// a call outside of any gate notes nothing.
#[derive(Clone, Default)]
pub(crate) struct Permit(Option<(Arc<Work>, u32)>);

// === impl Work ===

impl Work {
    /// Whether this may be sent now; what comes back is told what becomes of it.
    ///
    /// # Errors
    /// Changes are stopped, or what is about to be sent cannot be written down.
    pub(crate) async fn permit(
        self: &Arc<Self>,
        mut sending: Sending,
    ) -> Result<Permit, ToolError> {
        let now = self.cx.now();
        // What is written down is looked at by people and never sent again: no secret in it.
        for (_, value) in sending.calls.iter_mut().flat_map(|call| &mut call.params) {
            self.redaction.text(value);
        }
        self.redaction.text(&mut sending.what);
        let number = {
            let mut trail = self.trail();
            let calls = sending.calls.iter().map(said);
            trail.calls.extend(calls.take(LISTED));
            trail.calls.truncate(LISTED);
            match sending.step {
                Some(step) => u32::try_from(step).unwrap_or(u32::MAX),
                None => {
                    trail.beside += 1;
                    self.steps + trail.beside - 1
                }
            }
        };
        let what = sending.what;
        if let (Some(ports), Some(id)) = (&self.ports, self.id) {
            let intent = Intent {
                step: number,
                what: what.clone(),
                calls: sending.calls,
                trace: sending.trace,
                at: now,
                upid: None,
                end: None,
            };
            ports.actions.intend(id, intent).await.map_err(|error| {
                self.trail().withheld = true;
                ToolError::new(format!("{what} was not sent: it cannot be written down: {error}"))
                    .hint("what changes the estate is written down first: look at the state folder")
            })?;
        }
        let permit = Permit(Some((Arc::clone(self), number)));
        if let Some(ports) = self.ports.as_ref().filter(|_| !self.despite_freeze) {
            let frozen = ports.freezes.frozen(self.cx.now()).await;
            let refused = match frozen {
                Ok(None) => None,
                Ok(Some(freeze)) => Some(frozen_error(&what, &freeze)),
                Err(error) => Some(ToolError::new(format!(
                    "{what} was not sent: nobody can tell whether changes are stopped: {error}"
                ))),
            };
            if let Some(error) = refused {
                self.trail().withheld = true;
                permit.note(StepEnd::NotSent(error.message().to_owned())).await;
                return Err(error);
            }
        }
        let mut trail = self.trail();
        trail.sent = true;
        trail.open.push((number, false));
        drop(trail);
        Ok(permit)
    }

    /// Ends the action: the books are closed and the audit log has its last entry. Only the first
    /// call counts.
    pub(crate) async fn end(self: &Arc<Self>, result: Result<&Report, &ToolError>) {
        if self.over.swap(true, Ordering::SeqCst) {
            return;
        }
        let status = match result {
            Ok(report) => report.facts.get("status"),
            Err(error) => error.report().facts.get("status"),
        };
        let status = status.and_then(Value::as_str).unwrap_or_default();
        let lead = match result {
            Ok(report) => report.lead.as_str(),
            Err(error) => error.message(),
        };
        // A task that outlives its call is followed to its end, and the books closed then.
        let follows = {
            let trail = self.trail();
            trail.open.iter().any(|(_, has_task)| *has_task)
        };
        if follows {
            self.journal("running", self.payload(lead)).await;
            let work = Arc::clone(self);
            tokio::spawn(async move { work.follow_up().await });
            return;
        }
        let (unknown, sent, withheld) = {
            let trail = self.trail();
            (trail.unknown || !trail.open.is_empty(), trail.sent, trail.withheld)
        };
        let state = match result {
            _ if unknown || status == "unknown" => ActionState::Unknown,
            Ok(_) => ActionState::Done,
            Err(_) if status == "cancelled" || (withheld && !sent) => ActionState::Cancelled,
            Err(_) => ActionState::Failed,
        };
        self.close(state, lead).await;
    }

    /// Looks after what is still on its way, and closes the books when all of it has ended.
    async fn follow_up(self: Arc<Self>) {
        let (Some(ports), Some(id)) = (&self.ports, self.id) else { return };
        let ended = recover::follow(ports, &self.cx.fleet, id).await;
        match ended {
            Ok((state, lead)) => self.close(state, &lead).await,
            Err(error) => warn!(action = %id, %error, "cannot look after what is on its way"),
        }
    }

    /// The work goes on as a job, which ends it.
    pub(crate) async fn goes_on(&self, lead: &str) {
        if !self.over.load(Ordering::SeqCst) {
            self.journal("running", self.payload(lead)).await;
        }
    }

    /// Notes that a plan's executor is at it.
    pub(crate) fn executes(&self) {
        self.executing.store(true, Ordering::SeqCst);
    }

    /// The way back that was kept.
    pub(crate) fn undo(&self) -> Option<UndoId> {
        self.undo.get().copied()
    }

    async fn close(&self, state: ActionState, lead: &str) {
        let back = self.back.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let (ActionState::Done, Some(back)) = (state, back)
            && let Some(undo) = revert::keep(self, back).await
        {
            self.undo.get_or_init(|| undo);
        }
        let mut payload = self.payload(lead);
        payload["state"] = state.as_str().into();
        let step = match state {
            ActionState::Done => "done",
            ActionState::Unknown => "unknown",
            ActionState::Cancelled => "cancelled",
            _ => "failed",
        };
        self.journal(step, payload).await;
        // The log is signed meanwhile.
        if let (Some(ports), Some(id)) = (&self.ports, self.id) {
            let mut lead = lead.to_owned();
            self.redaction.text(&mut lead);
            let finished = ports.actions.finish(id, state, &lead, self.cx.now()).await;
            if let Err(error) = finished {
                warn!(action = %id, %error, "cannot write down how the action ended");
            }
        }
        if let Some(journal) = &self.journal {
            journal.settle().await;
        }
    }

    fn payload(&self, lead: &str) -> Value {
        let mut outcome = lead.to_owned();
        self.redaction.text(&mut outcome);
        let trail = self.trail();
        let took = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut payload = json!({"outcome": outcome, "took_ms": took});
        if !trail.calls.is_empty() {
            payload["calls"] = json!(trail.calls);
        }
        if !trail.tasks.is_empty() {
            payload["tasks"] = json!(trail.tasks);
        }
        if let Some(id) = self.id {
            payload["action"] = id.to_string().into();
        }
        payload
    }

    /// Writes down what became of it, before the books are closed or while it goes on. It has happened
    /// by then, so a journal that fails is told of in the log only.
    pub(super) async fn journal(&self, step: &str, payload: Value) {
        let Some(journal) = &self.journal else { return };
        if let Err(why) = journal.record_ahead(self.entry(self.cx.now(), step, payload)).await {
            warn!(tool = self.tool, why, "outcome is not in the audit log");
        }
    }

    pub(super) fn entry(&self, time: Timestamp, step: &str, payload: Value) -> Entry {
        Entry {
            time,
            principal: self.principal.clone(),
            action: format!("{}.{step}", self.tool),
            target: self.target.clone(),
            payload,
        }
    }

    /// Whether anything may be other than before: a step was done, began a task, or nobody knows. What
    /// the server has refused outright has changed nothing.
    pub(crate) fn may_have_changed(&self) -> bool {
        let trail = self.trail();
        trail.done || trail.unknown || !trail.open.is_empty() || !trail.tasks.is_empty()
    }

    fn trail(&self) -> MutexGuard<'_, Trail> {
        // Every change is complete in itself: a panic cannot leave it half done.
        self.trail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call that is dropped half way leaves its action open: what it had begun is looked after.
pub(crate) struct Unfinished(pub(crate) Arc<Work>);

impl Drop for Unfinished {
    fn drop(&mut self) {
        if self.0.over.load(Ordering::SeqCst) {
            return;
        }
        // Without a runtime the program ends, and the next one recovers it.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let work = Arc::clone(&self.0);
        runtime.spawn(async move { work.dropped().await });
    }
}

impl Work {
    /// Nobody waits any more. A plan's executor goes on by itself and ends the action; what is sent
    /// otherwise is followed from the books.
    async fn dropped(self: Arc<Self>) {
        if self.executing.load(Ordering::SeqCst) || self.over.swap(true, Ordering::SeqCst) {
            return;
        }
        let (has_task, unknown) = {
            let trail = self.trail();
            (trail.open.iter().any(|(_, task)| *task), !trail.open.is_empty())
        };
        if has_task {
            self.follow_up().await;
        } else if unknown {
            self.close(ActionState::Unknown, "the caller gave up before it was answered").await;
        } else {
            self.close(ActionState::Cancelled, "the caller gave up").await;
        }
    }
}

/// Why nothing is sent while changes are stopped.
pub(crate) fn frozen_error(what: &str, freeze: &Freeze) -> ToolError {
    let reason = stdx::untrusted::line(&freeze.reason, 200);
    let until = freeze.until.map_or("until a person lifts it".to_owned(), |until| {
        format!("until {}", crate::report::rfc3339(until))
    });
    ToolError::from_report(
        Report::new(format!(
            "{what} was not sent: all changes are stopped by {} {until}: {reason}",
            freeze.by
        ))
        .fact("status", "refused")
        .fact("frozen", true),
    )
    .of_kind(Kind::Forbidden)
    .hint("a person lifts it with `proxmox-mcp freeze lift`")
}

fn said(call: &PlannedCall) -> String {
    format!("{} {} {}", call.member, call.method, call.path)
}

// === impl Permit ===

impl Permit {
    /// Notes the task that was begun.
    pub(crate) async fn began(&self, upid: &Upid) {
        let Some((work, number)) = &self.0 else { return };
        {
            let mut trail = work.trail();
            if trail.tasks.len() < LISTED {
                trail.tasks.push(upid.as_str().to_owned());
            }
            for (open, has_task) in &mut trail.open {
                *has_task |= *open == *number;
            }
        }
        let (Some(ports), Some(id)) = (&work.ports, work.id) else { return };
        if let Err(error) = ports.actions.sent(id, *number, upid).await {
            warn!(action = %id, %upid, %error, "cannot write down which task was begun");
        }
    }

    /// Notes how it ended. What failed without anybody knowing whether it was done stays unknown.
    pub(crate) async fn ended(&self, failed: Option<&ToolError>) {
        let Some(error) = failed else { return self.note(StepEnd::Done).await };
        let why = error.message().to_owned();
        let status = error.report().facts.get("status").and_then(Value::as_str);
        match status {
            // Its task goes on without us: the books stay open until it has ended.
            Some("unknown" | "running") if self.has_task() => {}
            Some("unknown") => self.note(StepEnd::Unknown(why)).await,
            _ => self.note(StepEnd::Failed(why)).await,
        }
    }

    fn has_task(&self) -> bool {
        let Some((work, number)) = &self.0 else { return false };
        work.trail().open.iter().any(|(open, has_task)| open == number && *has_task)
    }

    async fn note(&self, mut end: StepEnd) {
        let Some((work, number)) = &self.0 else { return };
        if let StepEnd::NotSent(why) | StepEnd::Failed(why) | StepEnd::Unknown(why) = &mut end {
            work.redaction.text(why);
        }
        {
            let mut trail = work.trail();
            trail.open.retain(|(open, _)| open != number);
            trail.unknown |= matches!(end, StepEnd::Unknown(_));
            trail.done |= matches!(end, StepEnd::Done);
        }
        let (Some(ports), Some(id)) = (&work.ports, work.id) else { return };
        if let Err(error) = ports.actions.ended(id, *number, end).await {
            warn!(action = %id, %error, "cannot write down how a step ended");
        }
    }
}
