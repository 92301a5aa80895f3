//! `guest_template`: turns a guest into a template, for good.

use std::sync::Arc;

use async_trait::async_trait;
use estate::{Access, GuestKind};
use mcp_protocol::JsonObject;
use pve_client::{lxc, qemu};
use serde::Deserialize;
use serde_json::json;

use super::{
    parts::Parts,
    place::{Rights, Site},
};
use crate::{
    address::Purpose,
    error::ToolError,
    fleet::Pve,
    follow::state::State,
    plan::{ActionTool, Done, Plan, Step, Undo},
    report::Report,
    schema::{Input, Output},
    tool::{Cx, Definition},
    tools::power::{named, object},
    view::{Guest, GuestStatus},
};

/// Turns a guest into a template.
pub(super) struct GuestTemplate;

#[derive(Debug, Deserialize)]
struct Args {
    guest: String,
}

#[async_trait]
impl ActionTool for GuestTemplate {
    fn definition(&self) -> Definition {
        Definition {
            name: "guest_template",
            title: "Turn a guest into a template",
            description: "For good: a template never starts again, it is only cloned.",
            input: Input::new().guest(),
            output: Output::new()
                .fact("guest", "string")
                .fact("state", "string")
                .fact("status", "string")
                .fact("upid", "string")
                .fact("cause", "string"),
            access: Access::Destroy,
            idempotent: true,
        }
    }

    fn access(&self, _args: &JsonObject) -> Access {
        Access::Destroy
    }

    async fn plan(&self, cx: &Cx, args: JsonObject) -> Result<Plan, ToolError> {
        let args: Args = cx.args(args)?;
        let found = cx.fleet.find_guest(&args.guest, Purpose::Write).await?;
        let (member, guest) = (found.member, found.guest);
        let (name, vmid) = (named(&guest), guest.at.vmid);
        if guest.is_template() {
            let report = Report::new(format!("{name} is a template already: nothing was done"));
            return Ok(Plan::already(
                report
                    .fact("guest", guest.at.to_string())
                    .fact("state", "template")
                    .fact("status", "unchanged"),
            ));
        }
        let what = format!("conversion of {name} into a template");
        let refused = |why: &str| ToolError::new(format!("{what} was not tried: {why}"));
        let parts = Parts::read(&member, &guest).await?;
        parts.is_free(&guest, "conversion")?;
        let state = State::read(&member.client, guest.kind, &guest.node, vmid).await;
        let state =
            state.map_err(|error| ToolError::api(format!("read the state of {name}"), &error))?;
        if state.status.is_on() {
            let args = json!({"guest": guest.at.to_string(), "action": "shutdown"});
            return Err(refused(&format!("it is {}", state.status.as_str()))
                .hint("shut it down first")
                .next("guest_power", object(args)));
        }
        if guest.is_ha_managed() || state.ha_managed {
            return Err(
                refused("HA manages it, and would try to start it").hint("take it out of HA first")
            );
        }
        let snapshots = match guest.kind {
            GuestKind::Qemu => member.client.call(qemu::snapshots(&guest.node, vmid)).await,
            GuestKind::Lxc => member.client.call(lxc::snapshots(&guest.node, vmid)).await,
        };
        let snapshots = snapshots
            .map_err(|error| ToolError::api(format!("list the snapshots of {name}"), &error))?;
        let count = snapshots.iter().filter(|snapshot| !snapshot.is_current()).count();
        if count > 0 {
            return Err(refused(&format!("it has {count} snapshots"))
                .hint("delete them first: a template has none")
                .next("snapshot_list", object(json!({"guest": guest.at.to_string()}))));
        }
        let site = Site::of(cx, Arc::clone(&member)).await?;
        let mut rights = Rights::default();
        rights.on_guest(vmid, guest.pool.as_deref(), "VM.Allocate");
        rights.check(&what, &site)?;
        let step = match guest.kind {
            GuestKind::Qemu => {
                Step::pve(&member, what.as_str(), qemu::make_template(&guest.node, vmid))
            }
            GuestKind::Lxc => {
                Step::pve(&member, what.as_str(), lxc::make_template(&guest.node, vmid))
            }
        };
        let mut plan = Plan::new(what.as_str())
            .step(step.task(&["qmtemplate", "vztemplate"], vmid.to_string()))
            .target(
                guest.at.to_string(),
                [
                    ("digest", parts.digest.as_str()),
                    ("node", guest.node.as_str()),
                    ("status", state.status.as_str()),
                ],
            )
            .change("template", "no", "yes")
            .effect(format!("{name} never starts again; linked clones read from its disks"))
            .undo(Undo::Never(
                "a full clone of the template is a guest again, under another id".to_owned(),
            ))
            .fact("guest", guest.at.to_string());
        plan.notes = found.notes;
        if guest.kind == GuestKind::Qemu {
            plan = plan.warn(
                "identity",
                "what makes a system unique goes into every clone: machine id, SSH host keys, DHCP identity. Clean it inside first (cloud-init clean --machine-id)",
            );
        }
        Ok(plan.settle(move |_, done| settle(member, guest, done)))
    }
}

async fn settle(member: Arc<Pve>, guest: Guest, done: Done) -> Result<Report, ToolError> {
    let name = named(&guest);
    let state = State::read(&member.client, guest.kind, &guest.node, guest.at.vmid).await;
    match state {
        Ok(state) if state.status == GuestStatus::Template => {
            let report = done.report(format!("{name} is a template now ({})", done.ended()));
            Ok(report
                .fact("state", "template")
                .next("guest_get", json!({"guest": guest.at.to_string()})))
        }
        Ok(state) => {
            let word = state.status.as_str().to_owned();
            let lead = format!("{name}: the task ended {}, but the guest is {word}", done.ended());
            Err(ToolError::from_report(
                done.report(lead).fact("state", word).fact("status", "failed"),
            ))
        }
        Err(error) => Ok(done.report(format!(
            "{name}: the task ended {}, but it could not be read back: {}",
            done.ended(),
            stdx::Chain(&error)
        ))),
    }
}
