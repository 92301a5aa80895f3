//! The way of one call through the gate, in the order in which it is gone.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, OnceLock, atomic::AtomicBool},
    time::Duration,
};

use estate::Access;
use futures::future::BoxFuture;
use guard::{
    PlanForm,
    budget::{Budget, Spent, Used},
    policy::{Ask, Asked, Decided, Decision, Nature, Target},
    ports::{Approval, ApprovalId, ConfirmState, KeptCall, NewAction, NewConfirm},
};
use jiff::{SignedDuration, Timestamp, Zoned};
use mcp_protocol::{JsonObject, Outcome};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    HOUR, Unfinished, Who, Work, ask, kept, lock,
    revert::{self, Back},
    work,
};
use crate::{
    app::Options,
    consent::{self, Said},
    error::{Kind, ToolError},
    explain::toolsets_of,
    facts::{self, Facts},
    fleet::Fleet,
    plan::{ActionTool, Plan, Revert, shown_by_plan},
    redaction::shortened,
    report::{Cell, Report, rfc3339},
    tool::{Cx, Shared},
};

/// A call that may change something.
pub(crate) struct Passage<'a> {
    pub(crate) name: &'static str,
    pub(crate) action: &'static dyn ActionTool,
    /// What the call can do, as far as its arguments say.
    pub(crate) access: Access,
    pub(crate) options: &'a Options,
    pub(crate) shared: &'a Shared,
    pub(crate) who: &'a Who,
    pub(crate) cx: Cx,
    pub(crate) args: JsonObject,
}

/// What it would do.
pub(crate) struct Planned {
    pub(crate) plan: Plan,
    pub(crate) case: Case,
}

/// The plan as it is judged: what is said of it, and what policy says.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    /// For sentences.
    pub(crate) what: String,
    /// The question to a person.
    pub(crate) question: String,
    pub(crate) form: PlanForm,
    pub(crate) access: Access,
    pub(crate) targets: Vec<Target>,
    pub(crate) decided: Decided,
    /// How many steps there are up to the last that sends anything.
    writes: u32,
    back: Option<Back>,
}

/// Under what it runs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Terms {
    /// The line of policy.
    pub(crate) line: String,
    /// Whether nobody was asked.
    pub(crate) unasked: bool,
    /// The approval.
    pub(crate) approval: Option<ApprovalId>,
    /// Who agreed, for the audit log.
    pub(crate) consents: Vec<Value>,
    /// What its caller may begin in an hour; looked at again as it begins.
    pub(crate) budget: Budget,
    /// Whether a freeze does not hold it up: only what puts back an unconfirmed change.
    pub(crate) despite_freeze: bool,
}

/// How a call goes on.
pub(crate) enum Next {
    /// Under these terms.
    Run(Terms),
    /// With a question to the client.
    Question(Outcome),
    /// Later: people were asked.
    Wait(Report),
}

// === impl Passage ===

impl Passage<'_> {
    /// What it would do, or the answer that there is nothing to do.
    pub(crate) async fn plan(&self) -> Result<Result<Planned, Report>, ToolError> {
        self.planned(false).await
    }

    /// The same; how long it is likely to take is looked up where somebody reads it.
    async fn planned(&self, is_shown: bool) -> Result<Result<Planned, Report>, ToolError> {
        let plan = self.action.plan(&self.cx, self.args.clone()).await?;
        if plan.is_nothing() {
            return Ok(Err(plan.nothing()));
        }
        let mut plan = self.told_of_revert(plan);
        let access = stricter(self.access, plan.access);
        let mut form = plan.form(self.name, &self.who.principal.to_string());
        let facts = touched(&self.cx.fleet, &form).await?;
        facts.settle(&mut form);
        let targets = facts.targets;
        if let Some(scope) = &self.who.scope {
            let outside = scope.permits(access, &targets, &self.now()).err();
            outside.map_or(Ok(()), |outside| Err(self.refused(&outside.to_string())))?;
        }
        let decided = self.decide(&plan, access, (&form, &targets));
        if is_shown || matches!(decided.decision, Decision::Ask(_)) {
            plan.foresee().await;
        }
        Ok(Ok(self.case(plan, form, access, targets, decided)))
    }

    /// The plan with what is said of its revert: it goes for as long as something is remembered.
    fn told_of_revert(&self, mut plan: Plan) -> Plan {
        let guard = &self.options.guard;
        if plan.revert.is_none() {
            return plan;
        }
        if guard.ports().is_none() {
            plan.revert = None;
            return plan.not_reverted("this server remembers nothing: it has no store");
        }
        let within = span(guard.confirm);
        plan.effects
            .insert(0, format!("reverted unless confirmed within {within} (change_confirm)"));
        plan
    }

    fn case(
        &self,
        plan: Plan,
        form: PlanForm,
        access: Access,
        targets: Vec<Target>,
        decided: Decided,
    ) -> Planned {
        let case = Case {
            what: plan.what.clone(),
            question: plan.question(&form, &self.who.principal.to_string()),
            writes: plan.writes(),
            back: revert::back(self, &plan),
            form,
            access,
            targets,
            decided,
        };
        Planned { plan, case }
    }

    /// A plan that no line of policy is asked about.
    pub(super) fn unasked(&self, plan: Plan) -> Planned {
        let form = plan.form(self.name, &self.who.principal.to_string());
        let access = stricter(self.access, plan.access);
        let decided = Decided {
            decision: Decision::Allow,
            line: String::new(),
            why: String::new(),
            unasked_per_hour: None,
        };
        self.case(plan, form, access, Vec::new(), decided)
    }

    /// What it would do, and what would become of the question: the answer to `plan: true`.
    pub(crate) async fn show(&self) -> Result<Report, ToolError> {
        let Planned { plan, case } = match self.planned(true).await? {
            Ok(planned) => planned,
            Err(nothing) => return Ok(nothing),
        };
        let Case { form, access, decided, .. } = case;
        let report = plan.report(&form, access);
        let line = format!("{} ({}): {}", decided.decision.as_str(), decided.line, decided.why);
        Ok(told(report, &decided).detail("decision", Cell::text(line)))
    }

    /// What policy says of it.
    fn decide(&self, plan: &Plan, access: Access, about: (&PlanForm, &[Target])) -> Decided {
        let policy = self.options.guard.policy();
        let own = self.asking(self.name, &self.args, access, about, |it| policy.decide(it));
        // What takes something back is judged as what it does, as well.
        plan.acts_as.iter().fold(own, |decided, (tool, args)| {
            decided.joined(self.asking(tool, args, access, about, |it| policy.decide(it)))
        })
    }

    /// Now, where the operator lives.
    fn now(&self) -> Zoned {
        self.options.guard.here(self.cx.now())
    }

    /// The question to policy.
    fn asking<T>(
        &self,
        tool: &str,
        args: &JsonObject,
        access: Access,
        (form, targets): (&PlanForm, &[Target]),
        ask: impl FnOnce(&Asked<'_>) -> T,
    ) -> T {
        let (toolsets, now) = (toolsets_of(tool), self.now());
        ask(&Asked {
            principal: &self.who.principal,
            transport: self.who.transport,
            tool,
            toolsets: &toolsets,
            access,
            nature: Nature::of(&form.calls),
            targets,
            args: &Value::Object(args.clone()),
            mode: self.options.mode,
            now: &now,
        })
    }
}

impl Passage<'_> {
    /// Refuses while changes are stopped, before anybody is asked for what could not be done.
    pub(crate) async fn unless_frozen(&self) -> Result<(), ToolError> {
        if self.options.guard.frozen {
            return Err(self.refused(
                "all changes are stopped by `guard.frozen` in the settings, until its operator \
                 takes that away",
            ));
        }
        let Some(ports) = self.options.guard.ports() else { return Ok(()) };
        match ports.freezes.frozen(self.cx.now()).await {
            Ok(None) => Ok(()),
            Ok(Some(freeze)) => Err(work::frozen_error(self.name, &freeze)),
            Err(error) => {
                Err(self.refused(&format!("nobody can tell whether changes are stopped: {error}")))
            }
        }
    }

    /// How it goes on: at once, with a question, later, or not at all.
    pub(crate) async fn consent(&self, case: &Case) -> Result<Next, ToolError> {
        let (decided, budget) = self.within_budget(case).await?;
        let next = self.decided(case, decided).await?;
        Ok(match next {
            Next::Run(terms) => Next::Run(Terms { budget, ..terms }),
            other => other,
        })
    }

    async fn decided(&self, case: &Case, decided: Decided) -> Result<Next, ToolError> {
        match &decided.decision {
            Decision::Deny => Err(self.refused(&decided.why).map(|report| told(report, &decided))),
            Decision::Allow => {
                let terms = Terms { line: decided.line, unasked: true, ..Terms::default() };
                Ok(Next::Run(terms))
            }
            Decision::Ask(wanted) => self.question(case, &decided, wanted).await,
        }
    }

    /// The decision, with what this caller has changed in the last hour taken into account.
    async fn within_budget(&self, case: &Case) -> Result<(Decided, Budget), ToolError> {
        let mut decided = case.decided.clone();
        let unasked = decided.decision == Decision::Allow;
        let general = self.options.guard.budget;
        let own = self.who.scope.as_ref().and_then(|scope| scope.changes);
        if unasked {
            decided.unasked_per_hour = tighter(decided.unasked_per_hour, general.unasked_per_hour);
        }
        let budget = Budget {
            changes_per_hour: tighter(own, general.changes_per_hour),
            unasked_per_hour: decided.unasked_per_hour.filter(|_| unasked),
        };
        if budget == Budget::default() {
            return Ok((decided, budget));
        }
        let used = self.used().await?;
        match budget.check(used, unasked) {
            Ok(()) => Ok((decided, budget)),
            Err(Spent::Unasked { .. }) => {
                let policy = self.options.guard.policy();
                let about = (&case.form, case.targets.as_slice());
                let beyond = self.asking(self.name, &self.args, case.access, about, |asked| {
                    policy.beyond_budget(asked, &decided)
                });
                Ok((beyond, Budget { unasked_per_hour: None, ..budget }))
            }
            Err(spent) => Err(self.refused(&spent.to_string())),
        }
    }

    /// What this caller has changed in the last hour, as it is remembered.
    async fn used(&self) -> Result<Used, ToolError> {
        let guard = &self.options.guard;
        let now = self.cx.now();
        let who = &self.who.principal;
        let Some(ports) = guard.ports() else {
            let key = who.to_string();
            let changes = lock(&guard.counts.changes).used(&key, now);
            let unasked = lock(&guard.counts.unasked).used(&key, now);
            return Ok(Used { changes, unasked });
        };
        let since = now.checked_sub(HOUR).unwrap_or(Timestamp::MIN);
        let changes = ports.actions.count(who, since, false).await;
        let unasked = ports.actions.count(who, since, true).await;
        match (changes, unasked) {
            (Ok(changes), Ok(unasked)) => {
                let most = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
                Ok(Used { changes: most(changes), unasked: most(unasked) })
            }
            (Err(error), _) | (_, Err(error)) => {
                Err(self
                    .refused(&format!("nobody can tell what was changed in this hour: {error}")))
            }
        }
    }

    async fn question(
        &self,
        case: &Case,
        decided: &Decided,
        wanted: &Ask,
    ) -> Result<Next, ToolError> {
        let who = self.who.principal.to_string();
        let call = &self.cx.call;
        let in_client = wanted.client && wanted.of.is_empty() && wanted.count <= 1;
        if in_client && call.capabilities().elicitation_form {
            let now = self.cx.now();
            return match self.shared.consents.read(call, &case.form, &who, now)? {
                Said::Yes => Ok(Next::Run(Terms {
                    line: decided.line.clone(),
                    consents: vec![json!({"way": "client", "by": who, "at": rfc3339(now)})],
                    ..Terms::default()
                })),
                Said::Ask(before) => {
                    let before = before.as_deref();
                    let (question, form) = (&case.question, &case.form);
                    let within = self.options.guard.client_within();
                    Ok(Next::Question(consent::ask(
                        question,
                        form,
                        (who.as_str(), now, within),
                        before,
                    )))
                }
            };
        }
        if !self.options.guard.can_ask() {
            return Err(ask::nobody(self, case, decided, in_client));
        }
        ask::people(self, case, decided, wanted).await.map(Next::Wait)
    }

    /// A refusal, with the call that shows what would be done.
    pub(super) fn refused(&self, why: &str) -> ToolError {
        let report = Report::new(format!("{}: nothing was done: {why}", self.name));
        let error = ToolError::from_report(report.fact("status", "refused"));
        let error = error.of_kind(Kind::Forbidden);
        let of = (self.name, self.action);
        shown_by_plan(error, of, self.args.clone(), &self.options.redaction)
    }

    /// Opens the books and does it.
    pub(crate) async fn perform(self, planned: Planned, terms: Terms) -> Result<Report, ToolError> {
        let work = self.begin(&planned.case, &terms).await?;
        self.carry_out(planned, &terms, work).await
    }

    /// Does it, and keeps the books.
    pub(super) async fn carry_out(
        mut self,
        planned: Planned,
        terms: &Terms,
        work: Arc<Work>,
    ) -> Result<Report, ToolError> {
        let Planned { mut plan, case: Case { what, form, .. } } = planned;
        // From here on: a call that is dropped while it is written down leaves no action open either.
        let unfinished = Unfinished(Arc::clone(&work));
        self.announce(&form, terms, &work).await?;
        let confirm = self.arm(&what, plan.revert.take(), &work).await?;
        self.cx.work = Some(Arc::clone(&work));
        let result = self.action.run(&self.cx, self.args.clone(), plan).await;
        match &result {
            Ok(report) if report.job.is_some() => work.goes_on(&report.lead).await,
            result => work.end(result.as_ref()).await,
        }
        drop(unfinished);
        let result = self.told_of_confirm(result, confirm, &work, &what).await;
        match (result, work.undo()) {
            (Ok(report), Some(undo)) => Ok(report.fact("undo_id", undo.to_string())),
            (result, _) => result,
        }
    }

    /// Opens the books: nothing is sent before that.
    pub(super) async fn begin(&self, case: &Case, terms: &Terms) -> Result<Arc<Work>, ToolError> {
        let Case { what, form, access, writes, back, .. } = case;
        let options = self.options;
        let now = self.cx.now();
        let ports = options.guard.ports();
        let id = match ports {
            Some(ports) => {
                // Before it is cut: half a secret is not known for one.
                let mut target = (*what).clone();
                options.redaction.text(&mut target);
                let action = NewAction {
                    principal: self.who.principal.clone(),
                    tool: self.name.to_owned(),
                    target: stdx::untrusted::line(&target, 200).into_owned(),
                    digest: form.digest(),
                    approval: terms.approval,
                    access: *access,
                    unasked: terms.unasked,
                    steps: *writes,
                    owner: options.process.id().to_owned(),
                    call: self.kept_call(),
                };
                let since = now.checked_sub(HOUR).unwrap_or(Timestamp::MIN);
                let begun = ports.actions.begin_within(action, now, since, &terms.budget).await;
                // Others were let through at the same moment, and were faster.
                let begun = begun.map_err(|error| self.unwritten(&error))?;
                Some(begun.map_err(|spent| self.refused(&spent.to_string()))?)
            }
            None => {
                let counted = self.count(&terms.budget, terms.unasked, now);
                counted.map_err(|spent| self.refused(&spent.to_string()))?;
                None
            }
        };
        Ok(Arc::new(Work {
            cx: self.cx.clone(),
            ports: ports.cloned(),
            journal: options.journal.clone(),
            redaction: options.redaction.clone(),
            principal: self.who.principal.clone(),
            tool: self.name,
            target: target_of(&self.args, form),
            id,
            steps: *writes,
            despite_freeze: terms.despite_freeze,
            began: Instant::now(),
            back: Mutex::new(back.clone()),
            undo: OnceLock::new(),
            trail: Mutex::default(),
            executing: AtomicBool::new(false),
            over: AtomicBool::new(false),
        }))
    }

    /// The first entry of the audit log: without it nothing is done.
    async fn announce(
        &self,
        form: &PlanForm,
        terms: &Terms,
        work: &Arc<Work>,
    ) -> Result<(), ToolError> {
        let Some(journal) = &self.options.journal else { return Ok(()) };
        let payload = self.opening(form, terms, work.id);
        let entry = work.entry(self.cx.now(), "begin", payload);
        let Err(why) = journal.record_ahead(entry).await else { return Ok(()) };
        let error = self.unwritten(&why);
        work.end(Err(&error)).await;
        Err(error)
    }

    fn unwritten(&self, why: &dyn std::fmt::Display) -> ToolError {
        ToolError::from_report(
            Report::new(format!("{}: nothing was done: {why}", self.name))
                .fact("status", "cancelled"),
        )
        .hint("what changes the estate is written down first: make the state folder writable")
    }

    /// What the audit log says before anything is done.
    fn opening(&self, form: &PlanForm, terms: &Terms, id: Option<guard::ports::ActionId>) -> Value {
        let mut asked = self.args.clone();
        self.action.conceal(&mut asked);
        let mut asked = Value::Object(asked);
        self.options.redaction.json(&mut asked);
        let mut payload = json!({
            "arguments": asked, "plan": form.digest().as_str(), "policy": terms.line,
        });
        if !terms.consents.is_empty() {
            payload["consents"] = terms.consents.clone().into();
        }
        if let Some(approval) = terms.approval {
            payload["approval"] = approval.to_string().into();
        }
        if let Some(id) = id {
            payload["action"] = id.to_string().into();
        }
        payload
    }

    /// The call as it is kept for later.
    pub(super) fn kept_call(&self) -> KeptCall {
        KeptCall { tool: self.name.to_owned(), arguments: self.args.clone() }
    }

    /// Counts it where nothing is remembered beyond this program, if there is room for it.
    fn count(&self, budget: &Budget, unasked: bool, now: Timestamp) -> Result<(), Spent> {
        let counts = &self.options.guard.counts;
        let key = self.who.principal.to_string();
        // Both are locked until both are counted, always in this order: looking and counting are one step.
        let (mut changes, mut without) = (lock(&counts.changes), lock(&counts.unasked));
        let used = Used { changes: changes.used(&key, now), unasked: without.used(&key, now) };
        budget.check(used, unasked)?;
        // There is room, as was just seen.
        let _ = changes.take(&key, u32::MAX, now);
        if unasked {
            let _ = without.take(&key, u32::MAX, now);
        }
        Ok(())
    }

    /// Arms the revert of what could cut its operator off, before it is done.
    async fn arm(
        &self,
        what: &str,
        revert: Option<Revert>,
        work: &Arc<Work>,
    ) -> Result<Option<guard::ports::Confirm>, ToolError> {
        let (Some(revert), Some(ports), Some(action)) =
            (revert, self.options.guard.ports(), work.id)
        else {
            return Ok(None);
        };
        let now = self.cx.now();
        let within = self.options.guard.confirm;
        let within = SignedDuration::try_from(within).unwrap_or(SignedDuration::MAX);
        let mut what = what.to_owned();
        self.options.redaction.text(&mut what);
        let new = NewConfirm {
            action,
            principal: self.who.principal.clone(),
            what: stdx::untrusted::line(&what, 200).into_owned(),
            deadline: now.checked_add(within).unwrap_or(Timestamp::MAX),
            calls: revert.calls.into_iter().map(kept::call).collect(),
        };
        match ports.confirms.arm(new, now).await {
            Ok(confirm) => {
                let (id, until) = (confirm.id.to_string(), rfc3339(confirm.deadline));
                work.journal("armed", json!({"confirm": id, "until": until})).await;
                Ok(Some(confirm))
            }
            Err(error) => {
                let error = self.unwritten(&format!("its revert cannot be kept: {error}"));
                work.end(Err(&error)).await;
                Err(error)
            }
        }
    }

    /// What the answer says of a change that is reverted unless somebody confirms it.
    async fn told_of_confirm(
        &self,
        result: Result<Report, ToolError>,
        confirm: Option<guard::ports::Confirm>,
        work: &Work,
        what: &str,
    ) -> Result<Report, ToolError> {
        let (Some(confirm), Some(ports)) = (confirm, self.options.guard.ports()) else {
            return result;
        };
        // What failed half way may have changed something: that is put back like all of it.
        if result.is_err() && !work.may_have_changed() {
            let dropped =
                ports.confirms.settle(confirm.id, ConfirmState::Dropped, "it was not done").await;
            if let Err(error) = dropped {
                tracing::warn!(confirm = %confirm.id, %error, "cannot drop a revert");
            }
            return result;
        }
        let id = confirm.id.to_string();
        let until = rfc3339(confirm.deadline);
        let told = |report: Report| {
            report
                .fact("confirm_id", id.as_str())
                .fact("reverts_at", until.as_str())
                .note(format!("{what} is reverted at {until} unless it is confirmed before"))
                .next("change_confirm", json!({"confirm_id": id}))
        };
        match result {
            Ok(report) => Ok(told(report)),
            Err(error) => Err(error.map(told)),
        }
    }
}

/// What the plan touches, behind a type that the compiler need not look through.
fn touched<'a>(fleet: &'a Fleet, form: &'a PlanForm) -> BoxFuture<'a, Result<Facts, ToolError>> {
    Box::pin(facts::of_plan(fleet, form))
}

/// `2 min`, `90 s`, for sentences.
fn span(time: Duration) -> String {
    match time.as_secs() {
        seconds if seconds % 60 == 0 => format!("{} min", seconds / 60),
        seconds => format!("{seconds} s"),
    }
}

/// The lower of two limits, where there are any.
fn tighter(one: Option<u32>, other: Option<u32>) -> Option<u32> {
    one.into_iter().chain(other).min()
}

/// Adds which line decided.
pub(crate) fn told(report: Report, decided: &Decided) -> Report {
    report.fact("policy", decided.line.as_str())
}

/// What a call is about, for the audit log: its addresses as they were given, or what its plan
/// touches.
fn target_of(args: &JsonObject, form: &PlanForm) -> String {
    let names = [
        "cluster",
        "node",
        "guest",
        "vmid",
        "storage",
        "datastore",
        "path",
        "upid",
        "incident",
        "silence",
    ];
    let parts = names.iter().filter_map(|name| {
        let value = args.get(*name)?;
        Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned))
    });
    let mut target = parts.collect::<Vec<_>>().join("/");
    if target.is_empty() {
        target = form.targets.keys().cloned().collect::<Vec<_>>().join(" ");
    }
    shortened(&target, 200)
}

/// Which approvers agreed, for the audit log.
pub(super) fn consents(approval: &Approval) -> Vec<Value> {
    let agreed = approval.decisions.iter().filter(|decision| decision.agrees);
    let mut seen = BTreeSet::new();
    agreed
        .filter(|decision| seen.insert(decision.approver.clone()))
        .map(|decision| {
            json!({
                "by": decision.approver, "as": decision.principal.to_string(),
                "way": decision.way.as_str(), "at": rfc3339(decision.at),
            })
        })
        .collect()
}

/// Never below what the arguments say: a plan may only make a call stricter.
pub(crate) fn stricter(args: Access, plan: Option<Access>) -> Access {
    plan.map_or(args, |plan| plan.max(args))
}
