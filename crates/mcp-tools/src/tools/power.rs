//! `guest_power`: turns guests on and off, and says what became of it.

pub(super) mod decide;

use std::{collections::HashSet, sync::Arc, time::Duration};

use api_core::Request;
use async_trait::async_trait;
use estate::{Access, GuestKind, Upid};
use futures::join;
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
        self, Change, Followed, Pace, Until, clean_cause,
        ha::{self, Wish},
        state::State,
    },
    plan::{ActionTool, Plan, Step},
    report::Report,
    schema::{Input, Output},
    tool::{Cx, Definition},
    view::{Guest, GuestStatus},
};

/// How long a guest has to be in its new state after the task has ended.
const SETTLE: Duration = Duration::from_secs(5);

/// The same for a guest that was shut down to be started again.
const RESTART: Duration = Duration::from_secs(20);

/// Turns a guest on or off.
pub struct GuestPower;

#[derive(Debug, Deserialize)]
struct Args {
    guest: String,
    action: Action,
    timeout_s: Option<u64>,
}

/// One action on one guest, on its way.
struct Run<'a> {
    cx: &'a Cx,
    member: &'a Arc<Pve>,
    guest: &'a Guest,
    action: Action,
    until: Until,
    /// For sentences: `lab/108 gpu-render`.
    name: String,
    /// For sentences: `start of lab/108 gpu-render`.
    what: String,
    before: State,
}

/// What was read for the plan.
struct Ready {
    member: Arc<Pve>,
    guest: Guest,
    action: Action,
    before: State,
    known: Option<HashSet<Upid>>,
    managed: bool,
    notes: Vec<String>,
    timeout_s: Option<u64>,
}

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
                // `run` tells them: they belong to every answer, good or bad.
                if plan.is_nothing() {
                    plan.notes = notes;
                }
                Ok(plan)
            }
            Err(error) => Err(error.map(|mut report| {
                report.notes.extend(notes);
                report
            })),
        }
    }

    async fn run(&self, cx: &Cx, _args: JsonObject, mut plan: Plan) -> Result<Report, ToolError> {
        let Some(ready) = plan.take::<Ready>() else {
            return Err(ToolError::new("the plan has lost what it was made of"));
        };
        let notes = ready.notes.clone();
        let told = |mut report: Report| {
            report.notes.extend(notes);
            report
        };
        match act(cx, &ready).await {
            Ok(report) => Ok(told(report)),
            Err(error) => Err(error.map(told)),
        }
    }
}

/// Reads the state, and decides whether and how the action goes.
async fn prepare(found: FoundGuest, args: &Args) -> Result<Plan, ToolError> {
    let FoundGuest { member, guest, notes, .. } = found;
    let action = args.action;
    let name = named(&guest);
    let what = format!("{} of {name}", action.as_str());
    if guest.is_template() {
        return Err(refusal(&what, "it is a template", "clone it and start the clone"));
    }
    // One round trip: the state, and the tasks that a new one must be told from.
    let (state, known) = join!(
        State::read(&member.client, guest.kind, &guest.node, guest.at.vmid),
        follow::known_tasks(&member.operator, &guest.node, guest.at.vmid),
    );
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
    let step = Step::pve(&member, what.as_str(), request(action, &guest));
    let mut plan = Plan::new(what)
        .target(at.as_str(), [("node", guest.node.as_str()), ("status", before.status.as_str())])
        .fact("guest", at.as_str())
        .fact("action", action.as_str())
        .step(step)
        .undo(action.undo(&at));
    if managed {
        plan = plan.effect("HA manages the guest: it is asked, and carries it out when it can");
    }
    if action.cuts() {
        plan = plan.warn("power_cut", "what the guest has not written to disk is lost");
    }
    let timeout_s = args.timeout_s;
    Ok(plan.carry(Ready { member, guest, action, before, known, managed, notes, timeout_s }))
}

async fn act(cx: &Cx, ready: &Ready) -> Result<Report, ToolError> {
    let Ready { member, guest, action, .. } = ready;
    let (action, name) = (*action, named(guest));
    let what = format!("{} of {name}", action.as_str());
    let until = Until::within(cx, ready.timeout_s);
    let run = Run { cx, member, guest, action, until, name, what, before: ready.before.clone() };
    let wish = action.through_ha().filter(|_| ready.managed);
    let ha_known = match wish {
        Some(_) => ha::known_tasks(member, guest).await,
        None => None,
    };
    let change = Change {
        what: run.what.clone(),
        guest: guest.at.to_string(),
        node: &guest.node,
        vmid: guest.at.vmid,
        kinds: action.task_kinds(guest.kind),
        known: ready.known.clone(),
    };
    let followed = follow::run(cx, member, &change, request(action, guest), until).await?;
    // The place may be another one now.
    if followed.cause().is_some_and(is_gone) {
        member.forget(guest.at.vmid);
    }
    match wish {
        Some(up) if is_wish(&followed) => run.after_wish(followed, up, ha_known.as_ref()).await,
        _ => run.after_task(followed).await,
    }
}

/// Whether the task only wrote down what HA shall do.
fn is_wish(followed: &Followed) -> bool {
    matches!(followed.upid.kind(), "hastart" | "hastop") && followed.is_success()
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

// === impl Run ===

impl Run<'_> {
    /// What every answer carries.
    fn facts(&self, report: Report) -> Report {
        report.fact("guest", self.guest.at.to_string()).fact("action", self.action.as_str())
    }

    /// The task has ended or not; a guest that HA does not manage.
    async fn after_task(self, followed: Followed) -> Result<Report, ToolError> {
        if let Some(report) = followed.failure(&self.what) {
            return Err(self.failed(report, &followed));
        }
        if followed.is_running() {
            let cluster = self.member.key.as_str();
            return Ok(self.facts(followed.still_running(&self.what, cluster)));
        }
        let state = match self.settled().await {
            Ok(state) => state,
            Err(error) => {
                let report = Report::new(format!(
                    "{}: the task ended {}, but the guest's state cannot be read: {}",
                    self.what,
                    followed.ended(),
                    stdx::Chain(&error)
                ));
                return Err(ToolError::from_report(self.facts(followed.tell(report))));
            }
        };
        let word = state.status.as_str();
        if self.contradicts(&state) {
            let report = Report::new(format!(
                "{}: the task ended {}, but the guest {}",
                self.what,
                followed.ended(),
                self.contradiction(&state)
            ));
            let report = self.facts(followed.tell(report)).fact("state", word);
            return Err(ToolError::from_report(
                report.next("guest_get", json!({"guest": self.guest.at.to_string()})),
            ));
        }
        let took = followed.watched.as_secs_f64().round();
        let lead = format!(
            "{} is {word} ({}: {}, {took} s)",
            self.name,
            self.action.as_str(),
            followed.ended()
        );
        let mut report = self.facts(followed.tell(Report::new(lead))).fact("state", word);
        if self.action == Action::Suspend && self.guest.kind == GuestKind::Lxc {
            report = report.note("suspending containers is experimental in Proxmox");
        }
        Ok(report)
    }

    /// HA has the wish.
    async fn after_wish(
        self,
        asked: Followed,
        up: bool,
        known: Option<&HashSet<Upid>>,
    ) -> Result<Report, ToolError> {
        let (cx, member, guest) = (self.cx, self.member, self.guest);
        let at = guest.at.to_string();
        match ha::watch(cx, member, guest, up, known, self.until).await {
            Wish::Done { state, task, failed } => {
                let word = state.status.as_str();
                let took = self.until.elapsed().as_secs_f64().round();
                let lead = format!(
                    "{} is {word} ({} through HA, {took} s)",
                    self.name,
                    self.action.as_str()
                );
                let upid = task.unwrap_or_else(|| asked.upid.clone());
                let mut report = self
                    .facts(Report::new(lead))
                    .fact("status", "ok")
                    .fact("state", word)
                    .fact("upid", upid.as_str());
                if let Some(cause) = failed.as_ref().and_then(Followed::cause) {
                    report =
                        report.note(format!("an attempt before failed: {}", clean_cause(cause)));
                }
                Ok(report)
            }
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
                Err(self.failed(report, &task))
            }
            Wish::Stuck { ha_state } => {
                let report = Report::new(format!(
                    "{} was asked of HA, which has the guest in state {ha_state} and does nothing",
                    self.what
                ));
                Err(ToolError::from_report(
                    self.facts(report)
                        .fact("status", "requested")
                        .fact("ha_state", ha_state)
                        .fact("upid", asked.upid.as_str())
                        .note("a guest in HA state error must be disabled there first")
                        .next("cluster_status", json!({"cluster": member.key.as_str()})),
                ))
            }
            Wish::Open { ha_state, task } => {
                let state = ha_state.as_deref().unwrap_or("unknown");
                let seconds = self.until.elapsed().as_secs();
                let report = Report::new(format!(
                    "{} is requested, not done: after {seconds} s HA has it in state {state}",
                    self.what
                ));
                let report = self
                    .facts(report)
                    .fact("status", "requested")
                    .fact("ha_state", ha_state.as_deref())
                    .fact("upid", task.as_ref().unwrap_or(&asked.upid).as_str());
                Ok(match task {
                    Some(task) => report.next(
                        "task_wait",
                        json!({"upid": task.as_str(), "cluster": member.key.as_str()}),
                    ),
                    None => report.next("guest_get", json!({"guest": at})),
                })
            }
        }
    }

    /// Completes a failure: which guest, and what can be done about well-known causes.
    fn failed(&self, report: Report, followed: &Followed) -> ToolError {
        let report = self.facts(report);
        let Some(cause) = followed.cause() else {
            return ToolError::from_report(
                report.next("guest_get", json!({"guest": self.guest.at.to_string()})),
            );
        };
        let error = ToolError::from_report(report);
        if self.action == Action::Shutdown && cause.contains("timeout") {
            return error.hint("its system did not answer: shut it down from inside, or use stop");
        }
        if is_gone(cause) {
            return error.hint("it has moved or is gone: call again, which looks for it anew");
        }
        error
    }

    /// Reads the state until it is as it should be, or long enough.
    async fn settled(&self) -> Result<State, api_core::Error> {
        // A reboot's task ends with the shutdown; starting again comes after it.
        let until = match self.action {
            Action::Reboot => self.until.at_most(RESTART).or_at_least(SETTLE),
            _ => self.until.at_most(SETTLE).or_at_least(Duration::from_secs(1)),
        };
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
