//! `guest_migrate`: moves a guest to another node, after asking the server what stands in the way.

use std::{sync::Arc, time::Duration};

use api_core::ErrorKind;
use async_trait::async_trait;
use estate::{Access, GuestKind, NodeName, VmId};
use mcp_protocol::JsonObject;
use pve_client::{
    lxc::{self, LxcMigrateParams},
    qemu::{self, QemuMigrateParams},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    place::{Rights, Site, free_memory},
    subject::{Subject, of_guest, plain, shown},
};
use crate::{
    address::quoted,
    error::{Kind, ToolError},
    fleet::Pve,
    follow::{Pace, Until, state::State},
    plan::{ActionTool, Done, Plan, Running, Step, StepOutcome, Undo},
    report::{Cell, Report, Table, bytes},
    schema::{Input, Output},
    tool::{Cx, Definition},
    tools::power::{named, object},
    view::{Guest, Node},
};

/// How long HA may take to begin and end the move that it was asked for.
const HA_PATIENCE: Duration = Duration::from_mins(30);

/// How long the guest may take to show up on its new node once the task has ended.
const SETTLE: Duration = Duration::from_secs(5);

const WAIT: &str = "wait until HA has moved it";

/// Moves a guest.
pub(super) struct GuestMigrate;

#[derive(Debug, Deserialize)]
struct Args {
    guest: String,
    target: String,
    #[serde(default)]
    restart: bool,
    #[serde(default)]
    with_local_disks: bool,
    target_storage: Option<String>,
}

/// What the server says of a move.
#[derive(Default)]
struct Check {
    /// Why it cannot be.
    blocks: Vec<String>,
    /// Disks that have to be copied.
    disks: Vec<Local>,
    /// Guests that HA moves along.
    along: Vec<String>,
    notes: Vec<String>,
}

/// A disk that only its node sees.
struct Local {
    drive: String,
    volume: String,
    size: u64,
}

/// How it goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// It keeps running.
    Live,
    /// It is off.
    Offline,
    /// A container is stopped, moved and started.
    Restart,
}

#[async_trait]
impl ActionTool for GuestMigrate {
    fn definition(&self) -> Definition {
        Definition {
            name: "guest_migrate",
            title: "Move a guest to another node",
            description: "Running VMs move live, what is off moves offline, running containers \
                only with restart. Checked first; says what blocks.",
            input: Input::new()
                .guest()
                .text("target", "node")
                .required("target")
                .boolean("restart", "stop a container, move it, start it")
                .boolean("with_local_disks", "copy them while the VM runs")
                .text("target_storage", "for local disks; else the same name"),
            output: Output::new()
                .fact("guest", "string")
                .fact("node", "string")
                .fact("way", "string")
                .fact("state", "string")
                .fact("status", "string")
                .fact("upid", "string")
                .fact("cause", "string"),
            access: Access::Operate,
            idempotent: true,
        }
    }

    fn access(&self, _args: &JsonObject) -> Access {
        Access::Operate
    }

    async fn plan(&self, cx: &Cx, args: JsonObject) -> Result<Plan, ToolError> {
        let args: Args = cx.args(args)?;
        let subject = Subject::read(cx, &args.guest).await?;
        let guest = &subject.guest;
        let site = Site::of(cx, Arc::clone(&subject.member)).await?;
        let target = target(&site, guest, &args.target)?;
        let (to, name) = (target.name.clone(), subject.name());
        if to == guest.node {
            return Ok(subject.already(format!("{name} is on {to} already: nothing was done")));
        }
        let what = format!("move of {name} from {} to {to}", guest.node);
        if !target.is_online() {
            return Err(subject
                .refused(&what, format!("node {to} is {}", target.status))
                .of_kind(Kind::Unavailable)
                .next("nodes_list", object(json!({"cluster": site.member.key.as_str()}))));
        }
        subject.parts.is_free(guest, "move")?;
        let running = subject.state.status.is_on();
        let way = match (guest.kind, running) {
            (_, false) => Way::Offline,
            (GuestKind::Qemu, true) => Way::Live,
            (GuestKind::Lxc, true) if args.restart => Way::Restart,
            (GuestKind::Lxc, true) => {
                return Err(subject
                    .refused(&what, "a running container cannot move without being stopped")
                    .hint("restart=true stops it, moves it and starts it again")
                    .next("guest_migrate", object(json!({
                        "guest": guest.at.to_string(), "target": to.as_str(), "restart": true, "plan": true,
                    }))));
            }
        };
        let managed = subject.state.ha_managed || guest.is_ha_managed();
        let mut check = Check::read(&subject, &to).await?;
        check.storages(&subject, &site, &to, &args, managed)?;
        if way == Way::Live && !check.disks.is_empty() && !args.with_local_disks && !managed {
            let sizes: u64 = check.disks.iter().map(|disk| disk.size).sum();
            check.blocks.push(format!(
                "local disks ({}) have to be copied: {} of them; give with_local_disks=true to copy them while it runs",
                check.disk_words(), bytes(sizes)
            ));
        }
        if !check.blocks.is_empty() {
            return Err(check.refusal(&subject, &what));
        }
        let mut rights = Rights::default();
        rights.on_guest(guest.at.vmid, guest.pool.as_deref(), "VM.Migrate");
        rights.check(&what, &site)?;
        let mut plan = subject.plan(&what);
        if !managed {
            plan = plan.target(guest.at.to_string(), [("ha", "no")]);
        }
        plan = plan
            .step(step(&subject, &args, &to, way, &what))
            .change("node", guest.node.as_str(), to.as_str())
            .undo(undo(guest, way))
            .fact("node", to.as_str())
            .fact("way", way.word());
        if managed {
            plan = plan
                .effect("HA manages it: HA is asked, and moves it by its own rules")
                .step(wait(&subject.member, guest, &to));
        }
        plan = tell(plan, &subject, &check, target, way).await;
        plan.notes.extend(check.notes);
        let (member, guest) = (Arc::clone(&subject.member), guest.clone());
        Ok(site
            .tell_plan(plan)
            .settle(move |_, done| settle(member, guest, to, running, way, done)))
    }
}

// === impl Way ===

impl Way {
    fn word(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Offline => "offline",
            Self::Restart => "restart",
        }
    }
}

fn target<'a>(site: &'a Site, guest: &Guest, wanted: &str) -> Result<&'a Node, ToolError> {
    let key = site.member.key.as_str();
    let wanted = wanted.trim();
    let bare = wanted.strip_prefix(key).and_then(|rest| rest.strip_prefix('/')).unwrap_or(wanted);
    if let Some(node) = site.view.nodes.iter().find(|node| node.name == *bare) {
        return Ok(node);
    }
    let mut table = Table::new("nodes", &["node", "status"]);
    for node in site.view.nodes.iter().filter(|node| node.name != guest.node) {
        table.push(vec![Cell::text(node.name.as_str()), Cell::text(&*node.status)]);
    }
    let mut error = ToolError::not_found(format!("{key} has no node {}", quoted(wanted)));
    if wanted.contains('/') {
        error = error.hint("a guest moves within its cluster only");
    }
    Err(error.choices(table))
}

// === impl Check ===

impl Check {
    /// Asks the server.
    async fn read(subject: &Subject, to: &NodeName) -> Result<Self, ToolError> {
        let (node, vmid) = (&subject.guest.node, subject.guest.at.vmid);
        let client = &subject.member.operator;
        let failed = |error: &api_core::Error| {
            ToolError::api(
                format!("ask what stands in the way of moving {}", subject.name()),
                error,
            )
        };
        let mut check = Self::default();
        match subject.guest.kind {
            GuestKind::Qemu => {
                let said = client.call(qemu::migrate_check(node, vmid, Some(to))).await;
                let said = said.map_err(|error| failed(&error))?;
                check.refusals(to, &said.not_allowed_nodes);
                if !said.local_resources.is_empty() {
                    check.blocks.push(format!(
                        "it uses devices of its node: {}",
                        said.local_resources.join(", ")
                    ));
                }
                for disk in said.local_disks {
                    if disk.cdrom && !disk.cloud_init {
                        let drive = disk.drive.as_deref().unwrap_or("a drive");
                        check.blocks.push(format!(
                            "{drive} holds a medium that only its node has ({}): take it out (guest_configure: {drive}=none,media=cdrom)",
                            disk.volume
                        ));
                    } else if !disk.shared && !disk.cdrom {
                        check.disks.push(Local {
                            drive: disk.drive.unwrap_or_else(|| "unused".to_owned()),
                            volume: disk.volume,
                            size: disk.size_bytes.unwrap_or_default(),
                        });
                    }
                }
                check.along = said.dependent_ha_resources;
            }
            GuestKind::Lxc => match client.call(lxc::migrate_check(node, vmid, Some(to))).await {
                Ok(said) => {
                    check.refusals(to, &said.not_allowed_nodes);
                    check.along = said.dependent_ha_resources;
                }
                Err(error) if error.kind() == ErrorKind::NotImplemented => {
                    check.notes.push("this release does not say beforehand what stands in the way of a container".to_owned());
                }
                Err(error) => return Err(failed(&error)),
            },
        }
        Ok(check)
    }

    /// What the server says against a node.
    fn refusals(&mut self, to: &NodeName, all: &std::collections::BTreeMap<String, Value>) {
        let Some(why) = all.get(to.as_str()) else { return };
        let Some(why) = why.as_object() else {
            self.blocks.push(format!("{to} cannot take it: {}", shown(&plain(why))));
            return;
        };
        for (what, which) in why {
            let which = match which {
                Value::Array(all) => all.iter().map(plain).collect::<Vec<_>>().join(", "),
                other => plain(other),
            };
            let words = match what.as_str() {
                "unavailable_storages" => "storages that it does not have",
                "unavailable-resources" => "devices that are not mapped there",
                "blocking-ha-resources" => "guests that HA keeps away from it are there",
                other => other,
            };
            self.blocks.push(format!("{to} cannot take it: {words}: {}", shown(&which)));
        }
    }

    /// Looks for the storages on the other node.
    fn storages(
        &mut self,
        subject: &Subject,
        site: &Site,
        to: &NodeName,
        args: &Args,
        managed: bool,
    ) -> Result<(), ToolError> {
        let content = if subject.guest.kind == GuestKind::Qemu { "images" } else { "rootdir" };
        let wanted = args.target_storage.as_deref().map(str::trim).filter(|name| !name.is_empty());
        if let Some(name) = wanted {
            if managed {
                self.blocks.push("HA chooses no storage: leave target_storage out".to_owned());
            }
            site.storage(to, content, Some(name), 1)?;
        }
        let at = |name: &str, node: &NodeName| {
            site.view.storages.iter().find(|one| one.name == *name && one.node == *node)
        };
        let mut names: Vec<&str> =
            subject.parts.volumes.iter().map(|volume| volume.storage.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        for name in names {
            let is_shared = at(name, &subject.guest.node).is_some_and(|storage| storage.shared);
            if !is_shared && wanted.is_some() {
                continue;
            }
            match at(name, to) {
                Some(storage) if storage.is_available() => {}
                Some(storage) => {
                    self.blocks.push(format!("storage {name} on {to} is {}", storage.status));
                }
                None if is_shared => self.blocks.push(format!("{to} does not see storage {name}")),
                None => self.blocks.push(format!(
                    "{to} has no storage {name} for its local disks: give target_storage"
                )),
            }
        }
        if subject.guest.kind == GuestKind::Lxc {
            let local = subject.parts.disks().filter(|volume| {
                at(volume.storage.as_str(), &subject.guest.node)
                    .is_some_and(|storage| !storage.shared)
            });
            self.disks.extend(local.map(|volume| Local {
                drive: volume.key.clone(),
                volume: volume.id.clone(),
                size: volume.size,
            }));
        }
        Ok(())
    }

    fn disk_words(&self) -> String {
        let words = self.disks.iter().map(|disk| format!("{} {}", disk.drive, disk.volume));
        words.collect::<Vec<_>>().join(", ")
    }

    fn refusal(&self, subject: &Subject, what: &str) -> ToolError {
        let mut blocks = self.blocks.iter();
        let first = blocks.next().cloned().unwrap_or_default();
        let mut error = subject.refused(what, first);
        for more in blocks {
            error = error.hint(format!("and: {more}"));
        }
        error.map(|report| report.fact("blocks", self.blocks.clone()))
    }
}

fn step(subject: &Subject, args: &Args, to: &NodeName, way: Way, what: &str) -> Step {
    let (node, vmid) = (&subject.guest.node, subject.guest.at.vmid);
    let target_storage = args.target_storage.clone();
    let step = match subject.guest.kind {
        GuestKind::Qemu => {
            let options = QemuMigrateParams {
                online: (way == Way::Live).then_some(true),
                with_local_disks: (way == Way::Live && args.with_local_disks).then_some(true),
                target_storage,
                ..QemuMigrateParams::default()
            };
            Step::pve(&subject.member, what, qemu::migrate(node, vmid, to, options))
        }
        GuestKind::Lxc => {
            let restart = (way == Way::Restart).then_some(true);
            let options =
                LxcMigrateParams { restart, target_storage, ..LxcMigrateParams::default() };
            Step::pve(&subject.member, what, lxc::migrate(node, vmid, to, options))
        }
    };
    step.task(&["qmigrate", "vzmigrate", "hamigrate"], vmid.to_string())
}

/// HA's own move is another task, which begins later.
fn wait(member: &Arc<Pve>, guest: &Guest, to: &NodeName) -> Step {
    let (member, guest, to) = (Arc::clone(member), guest.clone(), to.clone());
    Step::wait(
        WAIT,
        Box::new(move |running: Running| {
            Box::pin(async move {
                running.tell("waiting for HA");
                let until = Until::patient().at_most(HA_PATIENCE);
                let mut pace = Pace::new();
                while !until.is_over() && !running.stop.is_cancelled() {
                    if let Ok(state) = there(&member, guest.kind, &to, guest.at.vmid).await
                        && state.lock.is_none()
                    {
                        break;
                    }
                    tokio::select! {
                        () = pace.wait(&until) => {}
                        () = running.stop.cancelled() => {}
                    }
                }
                Ok(StepOutcome::default())
            })
        }),
    )
}

async fn there(
    member: &Pve,
    kind: GuestKind,
    node: &NodeName,
    vmid: VmId,
) -> Result<State, api_core::Error> {
    State::read(&member.client, kind, node, vmid).await
}

fn undo(guest: &Guest, way: Way) -> Undo {
    let mut args = json!({"guest": guest.at.to_string(), "target": guest.node.as_str()});
    if way == Way::Restart {
        args["restart"] = true.into();
    }
    Undo::Call("guest_migrate", object(args))
}

async fn tell(mut plan: Plan, subject: &Subject, check: &Check, target: &Node, way: Way) -> Plan {
    plan = plan.effect(match way {
        Way::Live => "it keeps running, but for a moment at the end",
        Way::Offline => "it is off and stays so",
        Way::Restart => "it is stopped, moved and started: its services are away meanwhile",
    });
    if !check.disks.is_empty() {
        let sizes: u64 = check.disks.iter().map(|disk| disk.size).sum();
        plan = plan.effect(format!(
            "{} of local disks are copied: {}",
            bytes(sizes),
            check.disk_words()
        ));
    }
    if !check.along.is_empty() {
        plan = plan.effect(format!("HA moves along: {}", check.along.join(", ")));
    }
    let free = free_memory(target);
    if way != Way::Offline && subject.guest.max_mem > free {
        plan = plan.warn(
            "memory",
            format!(
                "{} has {} of memory free, and the guest may use {}",
                target.name,
                bytes(free),
                bytes(subject.guest.max_mem)
            ),
        );
    }
    if way == Way::Live {
        let config = qemu::config(&subject.guest.node, subject.guest.at.vmid);
        if let Ok(config) = subject.member.client.call(config).await
            && config.cpu.as_deref().is_some_and(|cpu| {
                cpu.split(',').any(|part| part == "host" || part == "cputype=host")
            })
        {
            plan = plan.warn(
                "cpu_host",
                "its CPU type is host: on a node with another processor it can crash",
            );
        }
    }
    plan
}

async fn settle(
    member: Arc<Pve>,
    guest: Guest,
    to: NodeName,
    was_on: bool,
    way: Way,
    done: Done,
) -> Result<Report, ToolError> {
    let name = named(&guest);
    member.forget(guest.at.vmid);
    let until = Until::patient().at_most(SETTLE);
    let mut pace = Pace::new();
    let state = loop {
        let state = there(&member, guest.kind, &to, guest.at.vmid).await;
        let settled = state.as_ref().is_ok_and(|state| state.status.is_on() == was_on);
        if settled || until.is_over() {
            break state;
        }
        pace.wait(&until).await;
    };
    match state {
        Ok(state) => {
            let word = state.status.as_str().to_owned();
            let report = done
                .report(format!(
                    "{name} is on {to} now and {word} ({}, {})",
                    way.word(),
                    done.span()
                ))
                .fact("state", word)
                .next("guest_get", of_guest(&guest));
            if state.status.is_on() != was_on {
                return Err(ToolError::from_report(
                    report.fact("status", "failed").note("it was in another state before"),
                ));
            }
            Ok(report)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let lead =
                format!("{name}: the task ended {}, but the guest is not on {to}", done.ended());
            Err(ToolError::from_report(
                done.report(lead).fact("status", "failed").next("guest_get", of_guest(&guest)),
            ))
        }
        Err(error) => Ok(done
            .report(format!("{name}: the move to {to} ended {}", done.ended()))
            .note(format!("it could not be read back: {}", stdx::Chain(&error)))),
    }
}
