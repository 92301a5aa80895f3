//! `guest_power`: turns guests on and off, and says what became of it.

pub(super) mod decide;

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use api_core::Request;
use async_trait::async_trait;
use estate::{Access, GuestKind, Upid};
use mcp_protocol::JsonObject;
use pve_client::{lxc, qemu};
use serde::Deserialize;
use serde_json::json;

use self::decide::{Action, Verdict, decide};
use crate::{
    address::{FoundGuest, Purpose},
    error::ToolError,
    fleet::Pve,
    follow::{
        Followed, Pace, Until, clean_cause,
        ha::{self, Wish},
        state::State,
    },
    plan::{ActionTool, Done, Plan, Running, Step, StepOutcome},
    report::Report,
    schema::{Input, Output},
    tool::{Cx, Definition},
    view::{Guest, GuestStatus},
};

/// How long a guest has to be in its new state after the task has ended.
const SETTLE: Duration = Duration::from_secs(5);

/// The same for a guest that was shut down to be started again.
const RESTART: Duration = Duration::from_secs(20);

/// How long HA is watched after it took the wish down. What it has not done by then it may still do.
const HA_PATIENCE: Duration = Duration::from_mins(10);

/// Turns a guest on or off.
pub struct GuestPower;

#[derive(Debug, Deserialize)]
struct Args {
    guest: String,
    action: Action,
    timeout_s: Option<u64>,
}

/// One action on one guest.
#[derive(Clone)]
struct Power {
    member: Arc<Pve>,
    guest: Guest,
    action: Action,
    before: State,
    /// For sentences: `lab/108 gpu-render`.
    name: String,
    /// For sentences: `start of lab/108 gpu-render`.
    what: String,
}

/// What HA made of the wish, once that is known.
#[derive(Clone, Default)]
struct Slot(Arc<Mutex<Option<Wish>>>);

#[async_trait]
impl ActionTool for GuestPower {
    fn definition(&self) -> Definition {
        Definition {
            name: "guest_power",
            title: "Start or stop a guest",
            description: "Follows the task to its true end. shutdown and reboot ask the guest's OS \
                (minutes); stop and reset cut the power.",
            input: Input::new()
                .guest()
                .choice("action", Action::NAMES, "")
                .required("action")
                .integer("timeout_s", 1..=45, ""),
            output: Output::new()
                .fact("guest", "string")
                .fact("action", "string")
                .fact("status", "string")
                .fact("state", "string")
                .fact("upid", "string")
                .fact("cause", "string")
                .fact("ha_state", "string"),
            access: Access::Operate,
            idempotent: false,
        }
    }

    fn access(&self, _args: &JsonObject) -> Access {
        Access::Operate
    }

    async fn plan(&self, cx: &Cx, args: JsonObject) -> Result<Plan, ToolError> {
        let args: Args = cx.args(args)?;
        let found = cx.fleet.find_guest(&args.guest, Purpose::Write).await?;
        let notes = found.notes.clone();
        match prepare(found, &args).await {
            Ok(mut plan) => {
                plan.notes.extend(notes);
                Ok(plan)
            }
            Err(error) => Err(error.map(|mut report| {
                report.notes.extend(notes);
                report
            })),
        }
    }
}

/// Reads the state, and decides whether and how the action goes.
async fn prepare(found: FoundGuest, args: &Args) -> Result<Plan, ToolError> {
    let FoundGuest { member, guest, .. } = found;
    let action = args.action;
    let name = named(&guest);
    let what = format!("{} of {name}", action.as_str());
    if guest.is_template() {
        return Err(refusal(&what, "it is a template", "clone it and start the clone"));
    }
    let state = State::read(&member.client, guest.kind, &guest.node, guest.at.vmid).await;
    let before = state.map_err(|error| {
        ToolError::api(format!("read the state of {name} before the {}", action.as_str()), &error)
    })?;
    let managed = guest.is_ha_managed() || before.ha_managed;
    let ha_state = guest.ha_state.as_deref().filter(|_| managed);
    match decide(action, guest.kind, &before, ha_state) {
        Verdict::Go => {}
        Verdict::Already => {
            let state = before.status.as_str();
            let report = Report::new(format!("{name} is already {state}: nothing was done"));
            return Ok(Plan::already(
                report
                    .fact("guest", guest.at.to_string())
                    .fact("action", action.as_str())
                    .fact("status", "unchanged")
                    .fact("state", state),
            ));
        }
        Verdict::Refuse(why, instead) => {
            let error = refusal(&what, &why, instead);
            return Err(match &before.lock {
                Some(lock) => {
                    let error =
                        ToolError::from_report(error.into_report().fact("lock", lock.as_str()));
                    error.next(
                        "tasks_list",
                        object(json!({
                            "guest": guest.at.to_string(), "state": "running",
                        })),
                    )
                }
                None => error,
            });
        }
    }
    let at = guest.at.to_string();
    let mut plan = Plan::new(what.as_str())
        .target(at.as_str(), [("node", guest.node.as_str()), ("status", before.status.as_str())])
        .fact("guest", at.as_str())
        .fact("action", action.as_str())
        .undo(action.undo(&at))
        .within(args.timeout_s.map(Duration::from_secs));
    if managed {
        plan = plan.effect("HA manages the guest: it is asked, and carries it out when it can");
    }
    if action.cuts() {
        plan = plan.warn("power_cut", "what the guest has not written to disk is lost");
    }
    let power = Power { member, guest, action, before, name, what };
    let wish = Slot::default();
    let step = power.step(action.through_ha().filter(|_| managed), &wish);
    let failed = power.clone();
    Ok(plan
        .step(step)
        .settle(move |_, done| async move {
            match wish.take() {
                Some(wish) => Ok(power.after_wish(wish, &done)),
                None => power.after_task(done).await,
            }
        })
        .explain(move |error| async move { failed.explain(error) }))
}

/// Whether a cause says that the guest is not on this node.
fn is_gone(cause: &str) -> bool {
    cause.contains("does not exist")
}

fn refusal(what: &str, why: &str, instead: &str) -> ToolError {
    ToolError::from_report(
        Report::new(format!("{what} was not tried: {why}")).fact("status", "refused"),
    )
    .hint(instead)
}

/// `lab/108 gpu-render`.
pub(super) fn named(guest: &Guest) -> String {
    let name = stdx::untrusted::line(&guest.name, 64);
    if name.is_empty() { guest.at.to_string() } else { format!("{} {name}", guest.at) }
}

pub(super) fn object(value: serde_json::Value) -> JsonObject {
    match value {
        serde_json::Value::Object(object) => object,
        _ => JsonObject::new(),
    }
}

pub(super) fn request(action: Action, guest: &Guest) -> Request<Upid> {
    let (node, vmid) = (&guest.node, guest.at.vmid);
    match (guest.kind, action) {
        (GuestKind::Qemu, Action::Start) => {
            qemu::start(node, vmid, qemu::QemuStartParams::default())
        }
        (GuestKind::Qemu, Action::Shutdown) => {
            qemu::shutdown(node, vmid, qemu::QemuShutdownParams::default())
        }
        (GuestKind::Qemu, Action::Stop) => qemu::stop(node, vmid, qemu::QemuStopParams::default()),
        (GuestKind::Qemu, Action::Reboot) => qemu::reboot(node, vmid, None),
        (GuestKind::Qemu, Action::Reset) => qemu::reset(node, vmid),
        (GuestKind::Qemu, Action::Suspend) => {
            qemu::suspend(node, vmid, qemu::QemuSuspendParams::default())
        }
        (GuestKind::Qemu, Action::Resume) => qemu::resume(node, vmid),
        (GuestKind::Lxc, Action::Start) => lxc::start(node, vmid),
        (GuestKind::Lxc, Action::Shutdown) => {
            lxc::shutdown(node, vmid, lxc::LxcShutdownParams::default())
        }
        (GuestKind::Lxc, Action::Stop) => lxc::stop(node, vmid, lxc::LxcStopParams::default()),
        // A container's reset was refused before; its nearest relative stands here.
        (GuestKind::Lxc, Action::Reboot | Action::Reset) => lxc::reboot(node, vmid, None),
        (GuestKind::Lxc, Action::Suspend) => lxc::suspend(node, vmid),
        (GuestKind::Lxc, Action::Resume) => lxc::resume(node, vmid),
    }
}

// === impl Slot ===

impl Slot {
    fn put(&self, wish: Wish) {
        *self.lock() = Some(wish);
    }

    fn take(&self) -> Option<Wish> {
        self.lock().take()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Wish>> {
        // Every change is one assignment: a panic cannot leave it half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Power ===

impl Power {
    /// The call, and what HA makes of it where it only takes down a wish.
    fn step(&self, up: Option<bool>, slot: &Slot) -> Step {
        let Self { member, guest, action, what, .. } = self;
        let step = Step::pve(member, what.as_str(), request(*action, guest))
            .task(action.task_kinds(guest.kind), guest.at.vmid.to_string());
        let Some(up) = up else { return step };
        let known = Arc::new(Mutex::new(None));
        let (power, noted, slot) = (self.clone(), Arc::clone(&known), slot.clone());
        let (member, guest) = (Arc::clone(member), guest.clone());
        let before = async move || {
            let tasks = ha::known_tasks(&member, &guest).await;
            *noted.lock().unwrap_or_else(PoisonError::into_inner) = tasks;
        };
        let after = async move |running: Running, outcome: StepOutcome| {
            let known = known.lock().unwrap_or_else(PoisonError::into_inner).take();
            power.watch_ha(&running, up, known, outcome, &slot).await
        };
        step.around(before, after)
    }

    /// Follows the wish, if the task has only taken one down.
    async fn watch_ha(
        &self,
        running: &Running,
        up: bool,
        known: Option<HashSet<Upid>>,
        outcome: StepOutcome,
        slot: &Slot,
    ) -> Result<StepOutcome, ToolError> {
        let asked = outcome.upid.clone();
        let Some(asked) = asked.filter(|upid| matches!(upid.kind(), "hastart" | "hastop")) else {
            return Ok(outcome);
        };
        let until = Until::patient().at_most(HA_PATIENCE);
        let tell = |state: &str, task: Option<&Upid>| {
            running.tell(format_args!("HA: {state}"));
            let upid = Some(task.unwrap_or(&asked));
            running.meanwhile(self.requested(Report::default(), state, upid));
        };
        tell("queued", None);
        let (member, guest) = (&self.member, &self.guest);
        match ha::watch(running, member, guest, up, known.as_ref(), until, tell).await {
            Wish::Failed { task, ha_state } => {
                let mut report = task.failure(&self.what).unwrap_or_default();
                if let Some(state) = ha_state {
                    report = report.fact("ha_state", state.as_str());
                    report = report.note(if state == "error" {
                        "HA has given up (state error): it must be disabled there before it is \
                         started again"
                            .to_owned()
                    } else {
                        format!("HA has it in state {state} and may try again")
                    });
                }
                Err(ToolError::from_report(report))
            }
            Wish::Stuck { ha_state } => {
                let report = Report::new(format!(
                    "{} was asked of HA, which has the guest in state {ha_state} and does nothing",
                    self.what
                ));
                Err(ToolError::from_report(
                    report
                        .fact("status", "requested")
                        .fact("ha_state", ha_state)
                        .fact("upid", asked.as_str())
                        .note("a guest in HA state error must be disabled there first")
                        .next("cluster_status", json!({"cluster": member.key.as_str()})),
                ))
            }
            Wish::Open { ha_state, task } if running.stop.is_cancelled() => {
                let state = ha_state.as_deref().unwrap_or("unknown");
                let upid = Some(task.as_ref().unwrap_or(&asked));
                let report = self.requested(Report::default(), state, upid);
                let report = report.fact("status", "cancelled");
                let why = "nobody watches it any more; HA keeps the wish";
                Err(ToolError::from_report(report.note(why)))
            }
            wish => {
                slot.put(wish);
                Ok(outcome)
            }
        }
    }

    /// What is said while HA has not done it.
    fn requested(&self, mut report: Report, state: &str, upid: Option<&Upid>) -> Report {
        report.lead = format!("{} is requested, not done: HA has it in state {state}", self.what);
        report
            .fact("status", "requested")
            .fact("ha_state", state)
            .fact("upid", upid.map(Upid::as_str))
            .next("guest_get", json!({"guest": self.guest.at.to_string()}))
    }

    /// HA has done it, or has not by the time that it was watched.
    fn after_wish(&self, wish: Wish, done: &Done) -> Report {
        match wish {
            Wish::Done { state, task, failed } => {
                let word = state.status.as_str();
                let took = done.took.as_secs_f64().round();
                let action = self.action.as_str();
                let lead = format!("{} is {word} ({action} through HA, {took} s)", self.name);
                let mut report = done.report(lead).fact("state", word);
                if let Some(task) = task {
                    report = report.fact("upid", task.as_str());
                }
                if let Some(cause) = failed.as_ref().and_then(Followed::cause) {
                    report =
                        report.note(format!("an attempt before failed: {}", clean_cause(cause)));
                }
                report
            }
            Wish::Open { ha_state, task } => {
                let state = ha_state.as_deref().unwrap_or("unknown");
                let upid = task.as_ref().or(done.last_upid());
                self.requested(done.report(""), state, upid)
            }
            Wish::Failed { .. } | Wish::Stuck { .. } => done.report(self.what.as_str()),
        }
    }

    /// The task has ended well; a guest that HA does not manage.
    async fn after_task(&self, done: Done) -> Result<Report, ToolError> {
        let state = match self.settled().await {
            Ok(state) => state,
            Err(error) => {
                let lead = format!(
                    "{}: the task ended {}, but the guest's state cannot be read: {}",
                    self.what,
                    done.ended(),
                    stdx::Chain(&error)
                );
                return Err(ToolError::from_report(done.report(lead)));
            }
        };
        let word = state.status.as_str();
        if self.contradicts(&state) {
            let lead = format!(
                "{}: the task ended {}, but the guest {}",
                self.what,
                done.ended(),
                self.contradiction(&state)
            );
            let guest = self.guest.at.to_string();
            let report = done.report(lead).fact("state", word);
            return Err(ToolError::from_report(report.next("guest_get", json!({"guest": guest}))));
        }
        let took = done.took.as_secs_f64().round();
        let (action, ended) = (self.action.as_str(), done.ended());
        let lead = format!("{} is {word} ({action}: {ended}, {took} s)", self.name);
        let mut report = done.report(lead).fact("state", word);
        if self.action == Action::Suspend && self.guest.kind == GuestKind::Lxc {
            report = report.note("suspending containers is experimental in Proxmox");
        }
        Ok(report)
    }

    /// Completes a failure: what can be done about well-known causes.
    fn explain(&self, error: ToolError) -> ToolError {
        let fact = |name| error.fact(name).unwrap_or_default().to_owned();
        let (cause, status) = (fact("cause"), fact("status"));
        // The place may be another one now.
        if is_gone(&cause) {
            self.member.forget(self.guest.at.vmid);
            return error.hint("it has moved or is gone: call again, which looks for it anew");
        }
        if self.action == Action::Shutdown && cause.contains("timeout") {
            return error.hint("its system did not answer: shut it down from inside, or use stop");
        }
        if cause.is_empty() && status == "unknown" {
            let guest = self.guest.at.to_string();
            return error.next("guest_get", object(json!({"guest": guest})));
        }
        error
    }

    /// Reads the state until it is as it should be, or long enough.
    async fn settled(&self) -> Result<State, api_core::Error> {
        // A reboot's task ends with the shutdown; starting again comes after it.
        let wait = if self.action == Action::Reboot { RESTART } else { SETTLE };
        let until = Until::patient().at_most(wait);
        let mut pace = Pace::new();
        loop {
            let state = self.read().await;
            let is_final = state.as_ref().is_ok_and(|state| !self.contradicts(state));
            if is_final || until.is_over() {
                return state;
            }
            pace.wait(&until).await;
        }
    }

    async fn read(&self) -> Result<State, api_core::Error> {
        State::read(&self.member.client, self.guest.kind, &self.guest.node, self.guest.at.vmid)
            .await
    }

    fn contradicts(&self, state: &State) -> bool {
        // How a suspended container shows depends on the release.
        if self.guest.kind == GuestKind::Lxc && self.action == Action::Suspend {
            return false;
        }
        state.status != self.action.goal() || self.has_not_restarted(state)
    }

    /// A reboot begins the uptime anew, unless too little time has passed to tell.
    fn has_not_restarted(&self, state: &State) -> bool {
        self.action == Action::Reboot
            && state.status == GuestStatus::Running
            && self.before.uptime > 2
            && state.uptime >= self.before.uptime
    }

    fn contradiction(&self, state: &State) -> String {
        if self.has_not_restarted(state) {
            return format!("has been running for {} s and was not restarted", state.uptime);
        }
        format!("is {}", state.status.as_str())
    }
}
