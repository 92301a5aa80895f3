//! `restore_rehearsal`: proves that a backup can be restored, by restoring it.
//!
//! The guest comes back under a spare id, with its network links down, is started, looked at, and
//! removed again. The removal runs whatever happened before. It removes only a guest that carries
//! the mark of this very rehearsal, so that an id that somebody else took meanwhile is left alone.
//!
//! *Invariant:* nothing that this did not make itself is stopped or removed.

mod look;

use std::{sync::Arc, time::Duration};

use api_core::{Error, ErrorKind, Request};
use async_trait::async_trait;
use estate::{Access, GuestKind, Upid};
use mcp_protocol::JsonObject;
use pve_client::{lxc, qemu};
use serde::Deserialize;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::{
    archive::{Archived, check_space},
    find::{self, Copy, Whose},
    restore::{Order, free_id, kind_of, target_node, warn_of_copy},
};
use crate::{
    error::{Kind, ToolError},
    follow::state::State,
    plan::{ActionTool, Done, Plan, Running, Step, StepOutcome, Undo, planned},
    report::{Cell, Report, Table, bytes},
    schema::{Input, Output},
    tool::{Cx, Definition},
};

/// How long the guest agent has to answer, unless the call says otherwise.
const WAIT_SECS: u64 = 120;

/// How long a guest without an agent has to stay on.
const STAY: Duration = Duration::from_secs(15);

/// Memory that is left alone on a node beside the guest's own.
const SPARE_MEMORY: u64 = 1 << 30;

/// How long a lock is waited for before the guest is removed.
const UNLOCK: Duration = Duration::from_mins(10);

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(500);

/// The tool.
pub struct RestoreRehearsal;

#[derive(Deserialize)]
struct Args {
    guest: String,
    from: Option<String>,
    time: Option<String>,
    vmid: Option<u32>,
    node: Option<String>,
    storage: Option<String>,
    wait_s: Option<u64>,
}

/// One rehearsal on its way.
#[derive(Clone)]
struct Rehearsal {
    order: Order,
    /// `vault:main/lab of 2026-11-22T17:52:09Z (3h ago)`
    from: String,
    /// `lab/104 db-main`
    name: String,
    /// What only the guest that this makes carries.
    mark: String,
    has_agent: bool,
    wait: Duration,
}

#[async_trait]
impl ActionTool for RestoreRehearsal {
    fn definition(&self) -> Definition {
        Definition {
            name: "restore_rehearsal",
            title: "Rehearse a restore",
            description: "Restores a backup to a spare id without network, starts it, waits for its agent, \
                reports what it saw, and removes it again.",
            input: Input::new()
                .guest()
                .text("from", "storage or volume id")
                .text("time", "RFC 3339, or latest")
                .integer("vmid", 100..=999_999_999, "spare id")
                .node()
                .text("storage", "for the disks")
                .integer("wait_s", 1..=900, "for the agent; default 120"),
            output: Output::new()
                .fact("guest", "string")
                .fact("rehearsed", "string")
                .fact("volume", "string")
                .fact("status", "string")
                .fact("upid", "string")
                .fact("proved", "array")
                .fact("not_proved", "array")
                .fact("cause", "string"),
            access: Access::Operate,
            // What it makes, it removes.
            idempotent: true,
        }
    }

    fn access(&self, _args: &JsonObject) -> Access {
        Access::Operate
    }

    async fn plan(&self, cx: &Cx, args: JsonObject) -> Result<Plan, ToolError> {
        let args: Args = cx.args(args)?;
        let whose = find::whose(cx, &args.guest).await?;
        let search = whose.copies(cx, args.from.as_deref()).await?;
        let (copy, notes) = whose.pick(search, args.time.as_deref(), cx.now())?;
        let kind = kind_of(&whose, &copy)?;
        let archived = Archived::read(&whose.member, &copy, kind).await.map_err(|error| {
            ToolError::api(
                "read the configuration in the backup, to cut it off from the network",
                &error,
            )
        })?;
        let node = target_node(&whose, &copy, args.node.as_deref(), false)?;
        let storage = match args.storage.as_deref() {
            Some(name) => Some(
                name.parse()
                    .map_err(|error| ToolError::new(format!("that is no storage: {error}")))?,
            ),
            None => None,
        };
        let order = Order {
            member: Arc::clone(&whose.member),
            node,
            vmid: free_id(&whose, args.vmid).await?,
            kind,
            volume: copy.volume.id.clone(),
            storage,
            unique: false,
            pool: None,
            over: false,
            settings: settings(&archived, kind, &whose, &copy),
        };
        check_memory(&whose, &order, &archived)?;
        let at = order.address();
        let from = format!("{} of {}", copy.label(), copy.when(cx.now()));
        let rehearsal = Rehearsal {
            from,
            name: whose.name(),
            mark: String::new(),
            has_agent: kind == GuestKind::Qemu && archived.has_agent(),
            wait: Duration::from_secs(args.wait_s.unwrap_or(WAIT_SECS)),
            order,
        };
        let mut plan = Plan::new(format!("restore rehearsal of {}", whose.name()))
            .fact("guest", at.as_str())
            .fact("rehearsed", whose.at.to_string())
            .fact("volume", copy.volume.id.as_str())
            .effect(format!("{at} is made on {} from {}", rehearsal.order.node, rehearsal.from))
            .effect(format!(
                "it runs with its network links down and takes {} of memory meanwhile",
                bytes(archived.memory())
            ))
            .effect(format!("{at} is stopped and removed at the end, whatever happens"))
            .undo(Undo::By("nothing to undo: what it makes, it removes".to_owned()))
            .target(at.as_str(), [("id", "free")]);
        plan.notes.extend(whose.notes.iter().cloned().chain(notes));
        plan = warn_of_copy(plan, &copy);
        let (member, view) = (&whose.member, &whose.view);
        let (order, target) = (&rehearsal.order, rehearsal.order.storage.as_ref());
        plan = check_space(plan, member, view, &order.node, &archived, target).await?;
        if !rehearsal.has_agent {
            plan = plan.warn(
                "no_agent",
                "it has no guest agent: that it stays on is all that can be seen",
            );
        }
        Ok(rehearsal.steps(plan, &archived))
    }
}

/// What is different in the rehearsed guest: no network, no media, nothing that keeps or starts it.
fn settings(
    archived: &Archived,
    kind: GuestKind,
    whose: &Whose,
    copy: &Copy,
) -> Vec<(String, String)> {
    let mut settings: Vec<(String, String)> = archived
        .indexed(&["net"])
        .map(|(key, value)| {
            let parts = value.split(',').filter(|part| !part.starts_with("link_down="));
            let parts: Vec<&str> = parts.chain(["link_down=1"]).collect();
            (key.to_owned(), parts.join(","))
        })
        .collect();
    if kind == GuestKind::Qemu {
        let media = archived.media().into_iter();
        settings.extend(media.map(|key| (key.to_owned(), "none,media=cdrom".to_owned())));
    }
    for key in ["onboot", "protection"] {
        settings.push((key.to_owned(), "0".to_owned()));
    }
    let text =
        format!("Restore rehearsal of {} from {}. Removed at its end.", whose.at, copy.volume.id);
    settings.push(("description".to_owned(), text));
    settings
}

/// A node that runs out of memory kills guests, and not the rehearsed one first.
fn check_memory(whose: &Whose, order: &Order, archived: &Archived) -> Result<(), ToolError> {
    let free = |node: &crate::view::Node| node.max_mem.saturating_sub(node.mem);
    let needed = archived.memory() + SPARE_MEMORY;
    let node = whose.view.nodes.iter().find(|node| node.name == order.node);
    if node.is_none_or(|node| free(node) >= needed) {
        return Ok(());
    }
    let mut table = Table::new("nodes", &["node", "free_memory"]);
    for node in whose.view.nodes.iter().filter(|node| node.is_online()) {
        table.push(vec![Cell::text(node.name.as_str()), Cell::with(free(node), bytes(free(node)))]);
    }
    let lead = format!(
        "the rehearsal was not tried: the guest takes {} of memory and {} has too little free",
        bytes(archived.memory()),
        order.node
    );
    Err(ToolError::new(lead).of_kind(Kind::Unavailable).hint("give another node").choices(table))
}

// === impl Rehearsal ===

impl Rehearsal {
    fn steps(mut self, mut plan: Plan, archived: &Archived) -> Plan {
        let at = self.order.address();
        let member = Arc::clone(&self.order.member);
        let key = member.key.as_str();
        // The plan shows the calls as they are but for the mark, which is new each time.
        let shown = vec![planned(key, &self.order.request())];
        self.mark = format!("rehearsal {:016x}", rand::random::<u64>());
        if let Some((_, text)) =
            self.order.settings.iter_mut().find(|(key, _)| key == "description")
        {
            *text = format!("{text} [{}]", self.mark);
        }
        let this = self.clone();
        plan = plan.step(Step::other(
            format!("restore to {at}"),
            shown,
            Box::new(move |running| Box::pin(async move { this.restore(running).await })),
        ));
        let away: Vec<String> = archived
            .passed_through()
            .into_iter()
            .chain(archived.get("hookscript").map(|_| "hookscript"))
            .map(str::to_owned)
            .collect();
        if !away.is_empty() {
            plan = plan.effect(format!("taken out of it: {}", away.join(", ")));
            plan = plan.step(self.strip(&away));
        }
        plan = plan.step(self.order.start(&format!("start {at}")));
        let this = self.clone();
        let what =
            if self.has_agent { "wait for the guest agent" } else { "see whether it stays on" };
        plan = plan.step(Step::wait(
            what,
            Box::new(move |running| Box::pin(async move { this.watch(running).await })),
        ));
        let calls = vec![planned(key, &self.stop_call()), planned(key, &self.delete_call())];
        let this = self.clone();
        plan = plan.step(
            Step::other(
                format!("remove {at}"),
                calls,
                Box::new(move |running| Box::pin(async move { this.remove(running).await })),
            )
            .always(),
        );
        plan.settle(move |_, done| async move { Ok(self.report(&done)) })
    }

    fn strip(&self, keys: &[String]) -> Step {
        let (node, vmid) = (&self.order.node, self.order.vmid);
        let delete = keys.iter().collect();
        let request: Request<serde_json::Value> = match self.order.kind {
            GuestKind::Qemu => {
                let options =
                    qemu::QemuConfigParams { delete, ..qemu::QemuConfigParams::default() };
                qemu::set_config(node, vmid, options).cast()
            }
            GuestKind::Lxc => {
                let options = lxc::LxcConfigParams { delete, ..lxc::LxcConfigParams::default() };
                lxc::set_config(node, vmid, options).cast()
            }
        };
        Step::pve(&self.order.member, "take out what only one guest can have", request)
    }

    fn stop_call(&self) -> Request<Upid> {
        let (node, vmid) = (&self.order.node, self.order.vmid);
        match self.order.kind {
            GuestKind::Qemu => qemu::stop(node, vmid, qemu::QemuStopParams::default()),
            GuestKind::Lxc => lxc::stop(node, vmid, lxc::LxcStopParams::default()),
        }
    }

    fn delete_call(&self) -> Request<Upid> {
        let (node, vmid) = (&self.order.node, self.order.vmid);
        match self.order.kind {
            GuestKind::Qemu => {
                let options = qemu::QemuDeleteParams {
                    purge: Some(true),
                    destroy_unreferenced_disks: Some(true),
                    ..qemu::QemuDeleteParams::default()
                };
                qemu::delete(node, vmid, options)
            }
            GuestKind::Lxc => {
                let options = lxc::LxcDeleteParams {
                    purge: Some(true),
                    destroy_unreferenced_disks: Some(true),
                    ..lxc::LxcDeleteParams::default()
                };
                lxc::delete(node, vmid, options)
            }
        }
    }

    async fn restore(self, running: Running) -> Result<StepOutcome, ToolError> {
        let what = format!("restore to {}", self.order.address());
        let member = &self.order.member;
        let upid = member.operator.call(self.order.request()).await.map_err(|error| {
            let failed = ToolError::api(what.as_str(), &error);
            if error.may_have_run() {
                failed.hint("the answer was lost; what it may have made is looked for and removed")
            } else {
                failed
            }
        })?;
        running.follow_pve(member, &what, &upid, true).await
    }

    /// Whether the guest with the spare id is the one that this made; nothing if none has the id.
    async fn is_ours(&self) -> Result<Option<bool>, Error> {
        let (node, vmid) = (&self.order.node, self.order.vmid);
        let client = &self.order.member.operator;
        let description = match self.order.kind {
            GuestKind::Qemu => {
                client.call(qemu::config(node, vmid)).await.map(|config| config.description)
            }
            GuestKind::Lxc => {
                client.call(lxc::config(node, vmid)).await.map(|config| config.description)
            }
        };
        match description {
            Ok(text) => Ok(Some(text.is_some_and(|text| text.contains(&self.mark)))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Stops and removes what this made, and nothing else.
    async fn remove(self, running: Running) -> Result<StepOutcome, ToolError> {
        let at = self.order.address();
        let member = &self.order.member;
        let said = |text: String| {
            let mut outcome = StepOutcome::default();
            outcome.said = Some(text);
            outcome
        };
        let left = |error: &Error| {
            let error = ToolError::api(format!("look whether {at} is left"), error);
            self.left_behind(error)
        };
        let deadline = Instant::now() + UNLOCK;
        loop {
            let ours = self.is_ours().await.map_err(|error| left(&error))?;
            let Some(ours) = ours else { return Ok(said(format!("{at} is not there"))) };
            let state =
                State::read(&member.operator, self.order.kind, &self.order.node, self.order.vmid);
            let state = state.await.map_err(|error| left(&error))?;
            let Some(lock) = &state.lock else {
                if !ours {
                    return Ok(said(format!("{at} is somebody else's, and was left alone")));
                }
                if !state.is_stopped() {
                    running.tell(format!("stop {at}"));
                    self.call(&running, "stop", self.stop_call()).await?;
                }
                running.tell(format!("remove {at}"));
                self.call(&running, "remove", self.delete_call()).await?;
                member.forget(self.order.vmid);
                return match self.is_ours().await {
                    Ok(None) => Ok(said(format!("{at} is removed"))),
                    Ok(Some(_)) => Err(self.left_behind(ToolError::new(format!(
                        "the removal of {at} ended OK, but it is still there"
                    )))),
                    Err(error) => Err(left(&error)),
                };
            };
            if Instant::now() >= deadline {
                let error = ToolError::new(format!("{at} is locked ({lock}) and was not removed"));
                return Err(self.left_behind(error));
            }
            running.tell(format!("{at} is locked ({lock})"));
            sleep(PAUSE).await;
        }
    }

    async fn call(
        &self,
        running: &Running,
        word: &str,
        request: Request<Upid>,
    ) -> Result<(), ToolError> {
        let what = format!("{word} {}", self.order.address());
        let member = &self.order.member;
        let running = running.within(member, &what, &request, None).await?;
        let sent = match member.operator.call(request).await {
            Ok(upid) => running.follow_pve(member, &what, &upid, false).await.map(|_| ()),
            Err(error) => Err(ToolError::api(what.as_str(), &error)),
        };
        running.ended(sent.as_ref().err()).await;
        sent.map_err(|error| self.left_behind(error))
    }

    /// What is left of a rehearsal is said loudly.
    fn left_behind(&self, error: ToolError) -> ToolError {
        let at = self.order.address();
        error.hint(format!(
            "{at} may be left behind by the rehearsal ({}): remove it by hand",
            self.mark
        ))
    }

    /// What was proven and what was not.
    fn report(&self, done: &Done) -> Report {
        let seen = done.steps.iter().find_map(|(_, step)| step.value.get("seen"));
        let seen = seen.and_then(look::Seen::read);
        let mut proved = vec!["the backup can be read and restored in full", "the guest starts"];
        let mut not_proved =
            vec!["that applications and their data are sound", "anything over the network"];
        let after = match seen.as_ref().filter(|_| self.has_agent) {
            Some(seen) => {
                proved.push("its system comes up as far as the guest agent");
                format!("its agent answered after {} s", seen.after_secs)
            }
            None => {
                not_proved.insert(0, "that its system comes up: it has no guest agent to say so");
                "it stayed on".to_owned()
            }
        };
        let removed = done.steps.last().and_then(|(_, step)| step.said.clone()).unwrap_or_default();
        let lead = format!(
            "rehearsal of {} passed: restored from {}, started, {after}; {removed} ({})",
            self.name,
            self.from,
            done.span()
        );
        let mut report = done.report(lead);
        report = report
            .note(format!("proven: {}", proved.join("; ")))
            .note(format!("not proven: {}", not_proved.join("; ")))
            .fact("proved", json!(proved))
            .fact("not_proved", json!(not_proved));
        match seen {
            Some(seen) => seen.tell(report),
            None => report,
        }
    }
}
