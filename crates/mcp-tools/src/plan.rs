//! Actions as plans: what would be done is said first, exactly, and then exactly that is done.
//!
//! A tool above `Read` implements [`ActionTool`]. Its [`ActionTool::plan`] reads what it needs,
//! refuses what cannot work, and returns a [`Plan`]: the calls in their order, the state that must
//! not move meanwhile, what changes, what else is touched, and how it can be undone. Nothing is
//! sent by then. Everything after that is shared: the answer to `plan: true`, the question to a
//! person where one is needed, and the executor, which sends each call, follows its task to the
//! true end, tells progress, stops at the first failure, and goes on in the background as a job
//! when the caller's patience ends. What was asked for is proven by the plan's `settle` closure,
//! which reads the state back and makes the answer.
//!
//! ```ignore
//! async fn plan(&self, cx: &Cx, args: JsonObject) -> Result<Plan, ToolError> {
//!     let args: Args = cx.args(args)?;
//!     let found = cx.fleet.find_guest(&args.guest, Purpose::Write).await?;
//!     let (member, guest) = (found.member, found.guest);
//!     let config = /* read it */;
//!     Ok(Plan::new(format!("resize of {disk} of {}", guest.at))
//!         .target(guest.at.to_string(), [("digest", config.digest), ("lock", "none")])
//!         .change("scsi0", "32G", "64G")
//!         .warn("disk_shrink", "a disk cannot be made smaller again")
//!         .undo(Undo::Never("Proxmox cannot shrink disks".into()))
//!         .step(Step::pve(&member, "resize the disk", qemu::resize(&guest.node, vmid, params))
//!             .task(&["resize"], &vmid.to_string()))
//!         .settle(move |cx, done| async move {
//!             let now = /* read it back */;
//!             Ok(done.report(format!("{disk} has {now}")))
//!         }))
//! }
//! ```

mod back;
mod execute;
mod history;
mod join;
mod run;
mod say;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    pin::Pin,
    sync::{Arc, OnceLock},
    time::Duration,
};

use api_core::Request;
use async_trait::async_trait;
use estate::{Access, NodeName};
use guard::{PlanForm, PlannedCall};
use mcp_protocol::JsonObject;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

pub(crate) use self::{back::filled, run::Stage};
pub use self::{
    back::{Later, Undo},
    execute::Done,
    history::Expected,
    run::{Running, StepOutcome, Work},
};
use crate::{
    error::ToolError,
    fleet::{Pbs, Pve},
    redaction::{Redaction, is_secret_field, is_secret_word},
    report::{Report, Table},
    tool::{Cx, Definition, EstateTool},
};

/// A tool that changes something.
#[async_trait]
pub trait ActionTool: Send + Sync + 'static {
    /// What is said of it; `access` is above `Read`.
    fn definition(&self) -> Definition;

    /// What this call can do: never more than the definition's `access`.
    fn access(&self, args: &JsonObject) -> Access;

    /// Says exactly what a call with these arguments would do. Reads only.
    ///
    /// # Errors
    /// Whatever makes the call impossible or ambiguous, with what to do about it.
    async fn plan(&self, cx: &Cx, args: JsonObject) -> Result<Plan, ToolError>;

    /// Blanks what of the arguments is secret although its name does not say so: the audit log and
    /// refusals tell the rest.
    fn conceal(&self, args: &mut JsonObject) {
        let _ = args;
    }

    /// Does what the plan says. Only a tool whose way is not a list of calls writes its own.
    ///
    /// # Errors
    /// What failed, how far it came, and what to do about it.
    async fn run(&self, cx: &Cx, args: JsonObject, plan: Plan) -> Result<Report, ToolError> {
        let _ = args;
        plan.execute(cx).await
    }
}

/// Every action is a tool: called without further ado it plans and runs. Modes, scopes, consent and
/// the audit log stand before that, in [`crate::tool`].
#[async_trait]
impl<T: ActionTool> EstateTool for T {
    fn definition(&self) -> Definition {
        ActionTool::definition(self)
    }

    fn access(&self, args: &JsonObject) -> Access {
        ActionTool::access(self, args)
    }

    async fn call(&self, cx: &Cx, args: JsonObject) -> Result<Report, ToolError> {
        let plan = self.plan(cx, args.clone()).await?;
        if plan.is_nothing() {
            return Ok(plan.nothing());
        }
        self.run(cx, args, plan).await
    }

    fn as_action(&self) -> Option<&dyn ActionTool> {
        Some(self)
    }
}

/// The refusal of a call with the one that shows what it would do. Where that would repeat a secret, it is said
/// instead of written out.
pub(crate) fn shown_by_plan(
    refusal: ToolError,
    (name, action): (&'static str, &dyn ActionTool),
    mut args: JsonObject,
    redaction: &Redaction,
) -> ToolError {
    args.insert("plan".to_owned(), true.into());
    let mut concealed = args.clone();
    action.conceal(&mut concealed);
    if concealed == args && redaction.can_tell(&args) {
        return refusal.next(name, args);
    }
    refusal.hint(
        "the same call with plan set to true shows what it would do; it is not repeated here, since it has a secret in it",
    )
}

/// What a call would do.
pub struct Plan {
    /// For sentences: `clone of lab/104 web to lab/120`.
    pub what: String,
    /// The calls, in their order.
    pub steps: Vec<Step>,
    /// What must not move between the question and the run: address, then name and state.
    pub targets: BTreeMap<String, BTreeMap<String, String>>,
    /// What is set to something else.
    pub changes: Vec<Diff>,
    /// What else is touched, in sentences: the blast radius.
    pub effects: Vec<String>,
    /// What to think of before.
    pub warnings: Vec<Warning>,
    /// How it can be taken back.
    pub undo: Undo,
    /// How long it is likely to take, if that is known.
    pub expected: Option<Expected>,
    /// What belongs to the plan in rows, such as what a pruning keeps and removes.
    pub tables: Vec<Table>,
    /// What the answer says beside, good or bad.
    pub notes: Vec<String>,
    /// Facts of the answer, good or bad, such as the guest's address.
    pub facts: JsonObject,
    /// The tier of what it comes to, where its arguments alone do not say.
    pub access: Option<Access>,
    /// The tools and the arguments that it acts as, where it does other tools' work.
    pub acts_as: Vec<(&'static str, JsonObject)>,
    /// What only the run brings: its words stand in `undo`.
    pub later: Vec<Later>,
    /// What is put back unless somebody confirms the change in time.
    pub revert: Option<Revert>,
    settle: Option<Settle>,
    explain: Option<Explain>,
    patience: Option<Duration>,
    nothing: Option<Box<Report>>,
}

/// One value that changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diff {
    /// What: `cores`, `scsi0`.
    pub key: String,
    /// As it is; `-` for nothing.
    pub before: String,
    /// As it would be; `-` for nothing.
    pub after: String,
}

/// Something to think of before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// A stable word for programs.
    pub code: &'static str,
    /// A sentence.
    pub text: String,
}

/// How a change that may cut its operator off is put back by itself. After which time, the operator
/// has said: see [`crate::gate::Guard::with_commit_confirm`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revert {
    /// By these calls, in their order.
    pub calls: Calls,
}

/// Calls of our own tools.
pub type Calls = Vec<(&'static str, JsonObject)>;

/// The warning of a change that may cut its operator off and that nothing puts back by itself.
pub const NOT_REVERTED: &str = "not_reverted";

/// One step of a plan.
pub struct Step {
    /// For sentences and progress: `resize the disk`.
    pub(crate) what: String,
    pub(crate) doing: Doing,
    /// Whether it runs although an earlier step failed: for what cleans up.
    pub(crate) always: bool,
    /// Whether its task is stopped when the caller gives up. What a stopped task leaves behind is
    /// nothing (a clone, a download), or was there before (a backup's previous snapshots).
    pub(crate) stoppable: bool,
    /// Whether a task of it that fails is for the plan's `settle` to judge.
    pub(crate) judged: bool,
    /// How its task is recognised where the answer that names it is lost.
    pub(crate) trace: Option<Trace>,
    /// What is done before and after its call.
    pub(crate) around: Option<Around>,
    /// Parameters that are secret although their names do not say so.
    pub(crate) secrets: Vec<String>,
    /// Which of several plans that were made one it belongs to.
    part: usize,
}

/// What a lost task looks like.
#[derive(Clone, Debug)]
pub(crate) struct Trace {
    pub(crate) kinds: &'static [&'static str],
    pub(crate) id: String,
}

/// What a step does.
pub(crate) enum Doing {
    /// A call to a cluster or node.
    Pve(Arc<Pve>, Request<Value>),
    /// A call to a backup server.
    Pbs(Arc<Pbs>, Request<Value>),
    /// A call that takes more than parameters (an upload), as the plan shows it and as it is made.
    Other(Vec<PlannedCall>, Work),
    /// Waits for something; calls nothing that changes anything.
    Wait(Work),
}

/// What is done around the one call of a step, as part of it.
pub(crate) struct Around {
    before: Before,
    after: After,
}

type Before = Box<dyn FnOnce() -> Boxed<()> + Send>;
type After = Box<dyn FnOnce(Running, StepOutcome) -> Boxed<Result<StepOutcome, ToolError>> + Send>;

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;
type Settle = Box<dyn FnOnce(Cx, Done) -> Boxed<Result<Report, ToolError>> + Send>;
type Explain = Box<dyn FnOnce(ToolError) -> Boxed<ToolError> + Send>;

// === impl Plan ===

impl Plan {
    /// A plan without steps yet; `what` stands in sentences (`deletion of lab/104 web`).
    pub fn new(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            steps: Vec::new(),
            targets: BTreeMap::new(),
            changes: Vec::new(),
            effects: Vec::new(),
            warnings: Vec::new(),
            undo: Undo::By("by hand".to_owned()),
            expected: None,
            tables: Vec::new(),
            notes: Vec::new(),
            facts: JsonObject::new(),
            access: None,
            acts_as: Vec::new(),
            later: Vec::new(),
            revert: None,
            settle: None,
            explain: None,
            patience: None,
            nothing: None,
        }
    }

    /// The plan for what is so already: nothing is sent, and this is the answer.
    pub fn already(report: Report) -> Self {
        let mut plan = Self::new(report.lead.clone());
        plan.nothing = Some(Box::new(report));
        plan
    }

    /// Adds a step.
    #[must_use]
    pub fn step(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// Adds what must not move: the state that was read, by name.
    #[must_use]
    pub fn target(
        mut self,
        address: impl Into<String>,
        state: impl IntoIterator<Item = (&'static str, impl Into<String>)>,
    ) -> Self {
        let state = state.into_iter().map(|(name, value)| (name.to_owned(), value.into()));
        self.targets.entry(address.into()).or_default().extend(state);
        self
    }

    /// Adds a value that changes.
    #[must_use]
    pub fn change(
        mut self,
        key: impl Into<String>,
        before: impl Into<String>,
        after: impl Into<String>,
    ) -> Self {
        let (key, before, after) = (key.into(), before.into(), after.into());
        // A diff is shown to whoever may read the answer.
        let hide = |value: String| {
            if is_secret_field(&key) { stdx::redact::REDACTED.to_owned() } else { value }
        };
        let (before, after) = (hide(before), hide(after));
        self.changes.push(Diff { key, before, after });
        self
    }

    /// Adds what else is touched.
    #[must_use]
    pub fn effect(mut self, sentence: impl Into<String>) -> Self {
        self.effects.push(sentence.into());
        self
    }

    /// Adds something to think of before, with a stable word for programs.
    #[must_use]
    pub fn warn(mut self, code: &'static str, sentence: impl Into<String>) -> Self {
        self.warnings.push(Warning { code, text: sentence.into() });
        self
    }

    /// Says how it can be taken back.
    #[must_use]
    pub fn undo(mut self, undo: Undo) -> Self {
        self.undo = undo;
        self
    }

    /// Adds a value that only the run brings.
    #[must_use]
    pub fn later(mut self, later: Later) -> Self {
        self.later.push(later);
        self
    }

    /// Says how long it took the last time. Where nothing is said, the gate looks into the
    /// history of its tasks.
    #[must_use]
    pub fn expect(mut self, duration: Option<Duration>) -> Self {
        self.expected = duration.map(Expected::last);
        self
    }

    /// Puts the change back by these calls unless somebody confirms it in time: for what can cut the
    /// operator off. Each call is planned when it is its turn, and one that finds nothing to do is
    /// done: so they can be begun anew after a crash.
    #[must_use]
    pub fn unless_confirmed(
        mut self,
        calls: impl IntoIterator<Item = (&'static str, JsonObject)>,
    ) -> Self {
        self.revert = Some(Revert { calls: calls.into_iter().collect() });
        self
    }

    /// The same where the way back is known; else says that nothing puts the change back, and why.
    #[must_use]
    pub fn unless_confirmed_or(self, calls: Result<Calls, String>) -> Self {
        match calls {
            Ok(calls) => self.unless_confirmed(calls),
            Err(why) => self.not_reverted(&why),
        }
    }

    /// Says of what can cut the operator off that nothing puts it back by itself.
    #[must_use]
    pub fn not_reverted(self, why: &str) -> Self {
        let text = format!("it can cut you off, and nothing puts it back by itself: {why}");
        self.warn(NOT_REVERTED, text)
    }

    /// Adds rows to what is said of the plan.
    #[must_use]
    pub fn table(mut self, table: Table) -> Self {
        self.tables.push(table);
        self
    }

    /// Adds what the answer says beside.
    #[must_use]
    pub fn note(mut self, sentence: impl Into<String>) -> Self {
        self.notes.push(sentence.into());
        self
    }

    /// Adds a fact of every answer of this call.
    #[must_use]
    pub fn fact(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.facts.insert(key.to_owned(), value.into());
        self
    }

    /// What to do after the last step: read the state back, and answer.
    #[must_use]
    pub fn settle<F>(mut self, settle: impl FnOnce(Cx, Done) -> F + Send + 'static) -> Self
    where
        F: Future<Output = Result<Report, ToolError>> + Send + 'static,
    {
        self.settle = Some(Box::new(move |cx, done| Box::pin(settle(cx, done))));
        self
    }

    /// What to do when a step has failed, after all that cleans up: look at what is there, and say so.
    #[must_use]
    pub fn explain<F>(mut self, explain: impl FnOnce(ToolError) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ToolError> + Send + 'static,
    {
        self.explain = Some(Box::new(move |error| Box::pin(explain(error))));
        self
    }

    /// The longest that the call waits, where that is less than the server is willing to.
    #[must_use]
    pub fn within(mut self, patience: Option<Duration>) -> Self {
        self.patience = patience;
        self
    }

    /// How many steps there are up to the last that sends anything.
    pub(crate) fn writes(&self) -> u32 {
        let last = self.steps.iter().rposition(|step| !matches!(step.doing, Doing::Wait(_)));
        last.map_or(0, |last| u32::try_from(last + 1).unwrap_or(u32::MAX))
    }

    /// Whether there is nothing to do.
    pub fn is_nothing(&self) -> bool {
        self.nothing.is_some()
    }

    /// The answer where there is nothing to do.
    pub(crate) fn nothing(self) -> Report {
        let mut report = self.nothing.map(|report| *report).unwrap_or_default();
        report.notes.extend(self.notes);
        report
    }

    /// What decides what happens, in canonical form.
    pub fn form(&self, tool: &str, principal: &str) -> PlanForm {
        PlanForm {
            principal: principal.to_owned(),
            tool: tool.to_owned(),
            calls: self.steps.iter().flat_map(Step::calls).collect(),
            targets: self.targets.clone(),
        }
    }
}

// === impl Step ===

impl Step {
    /// A call to a cluster or node.
    pub fn pve<T>(member: &Arc<Pve>, what: impl Into<String>, request: Request<T>) -> Self {
        Self::new(what, Doing::Pve(Arc::clone(member), request.cast()))
    }

    /// A call to a backup server.
    pub fn pbs<T>(member: &Arc<Pbs>, what: impl Into<String>, request: Request<T>) -> Self {
        Self::new(what, Doing::Pbs(Arc::clone(member), request.cast()))
    }

    /// A call that takes more than parameters, as the plan shows it and as it is made.
    pub fn other(what: impl Into<String>, calls: Vec<PlannedCall>, work: Work) -> Self {
        Self::new(what, Doing::Other(calls, work))
    }

    /// A wait for something that takes no call of ours.
    pub fn wait(what: impl Into<String>, work: Work) -> Self {
        Self::new(what, Doing::Wait(work))
    }

    fn new(what: impl Into<String>, doing: Doing) -> Self {
        Self {
            what: what.into(),
            doing,
            always: false,
            stoppable: false,
            judged: false,
            trace: None,
            around: None,
            secrets: Vec::new(),
            part: 0,
        }
    }

    /// Says how the task is recognised where the answer that names it is lost: the types that it
    /// may have, and the id that stands in its UPID.
    #[must_use]
    pub fn task(mut self, kinds: &'static [&'static str], id: impl Into<String>) -> Self {
        self.trace = Some(Trace { kinds, id: id.into() });
        self
    }

    /// Runs although an earlier step failed, or the caller gave up: for what cleans up.
    #[must_use]
    pub fn always(mut self) -> Self {
        self.always = true;
        self
    }

    /// Its task may be stopped when the caller gives up, and leaves nothing half done then.
    #[must_use]
    pub fn stoppable(mut self) -> Self {
        self.stoppable = true;
        self
    }

    /// A task of it that fails does not end the plan: what settles the plan finds the cause in
    /// [`StepOutcome::failed`] and judges, since it can find out more than the task says.
    #[must_use]
    pub fn judged(mut self) -> Self {
        self.judged = true;
        self
    }

    /// Reads something before its call is sent, and goes on after its task has ended well: for calls
    /// that only ask for what somebody else does then.
    #[must_use]
    pub(crate) fn around<B, A>(
        mut self,
        before: impl FnOnce() -> B + Send + 'static,
        after: impl FnOnce(Running, StepOutcome) -> A + Send + 'static,
    ) -> Self
    where
        B: Future<Output = ()> + Send + 'static,
        A: Future<Output = Result<StepOutcome, ToolError>> + Send + 'static,
    {
        self.around = Some(Around {
            before: Box::new(move || Box::pin(before())),
            after: Box::new(move |running, outcome| Box::pin(after(running, outcome))),
        });
        self
    }

    /// Says which parameters are secret although their names do not say so.
    #[must_use]
    pub fn hiding(mut self, names: impl IntoIterator<Item = String>) -> Self {
        self.secrets.extend(names);
        self
    }

    /// The node that is asked, where the path names one.
    pub(crate) fn node(&self) -> Option<&NodeName> {
        match &self.doing {
            Doing::Pve(_, request) => request.meta().node.as_ref(),
            _ => None,
        }
    }

    /// The calls as the plan keeps them: secrets are hashed with a key of this process.
    pub fn calls(&self) -> Vec<PlannedCall> {
        let mut calls = match &self.doing {
            Doing::Pve(member, request) => vec![planned(member.key.as_str(), request)],
            Doing::Pbs(member, request) => vec![planned(member.key.as_str(), request)],
            Doing::Other(calls, _) => calls.clone(),
            Doing::Wait(_) => Vec::new(),
        };
        for (name, value) in calls.iter_mut().flat_map(|call| &mut call.params) {
            if self.secrets.contains(name) {
                *value = hidden(value);
            }
        }
        calls
    }
}

/// A call as a plan keeps it.
pub fn planned<T>(member: &str, request: &Request<T>) -> PlannedCall {
    let mut before = ("", "");
    let params = request.parameters().iter().map(|(key, value)| {
        // Each argument of a program is a parameter of its own.
        let is_secret =
            is_secret_field(key) || (before.0 == key && is_secret_word(before.1, value));
        before = (key, value);
        (key.to_owned(), if is_secret { hidden(value) } else { value.to_owned() })
    });
    PlannedCall {
        member: member.to_owned(),
        method: request.method().to_string(),
        path: request.path().to_string(),
        params: params.collect(),
    }
}

/// The key of [`hidden`].
static KEY: OnceLock<[u8; 32]> = OnceLock::new();

/// Sets the key by which plans keep secrets, for programs that run each other's approved plans: by
/// it a plan with a secret has the same digest in all of them. Without it each has its own.
///
/// To be called before the first plan is made; whether it was in time.
pub fn set_secret_key(key: [u8; 32]) -> bool {
    KEY.set(key).is_ok()
}

/// A secret as a plan keeps it: equal ones look equal, and nothing else can be told from it.
fn hidden(secret: &str) -> String {
    let key = KEY.get_or_init(rand::random);
    let mut hasher = Sha256::new();
    hasher.update(key);
    hasher.update(secret.as_bytes());
    hasher.update(key);
    let mut out = "secret:".to_owned();
    for byte in hasher.finalize().iter().take(8) {
        // Writing to a string cannot fail.
        let _ = write!(out, "{byte:02x}");
    }
    out
}
