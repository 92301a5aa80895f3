//! `snapshot_list` and `snapshot_create`.

use std::sync::Arc;

use api_core::{Error, Request};
use async_trait::async_trait;
use estate::{Access, GuestKind, NodeName, Upid, VmId};
use mcp_protocol::JsonObject;
use pve_client::{guest::Snapshot, lxc, qemu};
use serde::Deserialize;
use serde_json::json;

use super::{
    guest::snapshots as tree,
    power::{named, object},
};
use crate::{
    address::Purpose,
    error::ToolError,
    fleet::Pve,
    follow::state::State,
    plan::{ActionTool, Done, Plan, Step, Undo},
    report::Report,
    schema::{Input, Output},
    tool::{Cx, Definition, EstateTool},
    view::{Guest, GuestStatus},
};

/// The longest name that PVE takes.
const LONGEST_NAME: usize = 40;

/// Lists a guest's snapshots.
pub struct SnapshotList;

/// Makes a snapshot.
pub struct SnapshotCreate;

#[derive(Debug, Deserialize)]
struct ListArgs {
    guest: String,
}

#[derive(Debug, Deserialize)]
struct CreateArgs {
    guest: String,
    name: String,
    description: Option<String>,
    #[serde(default)]
    include_memory: bool,
}

#[async_trait]
impl EstateTool for SnapshotList {
    fn definition(&self) -> Definition {
        Definition {
            name: "snapshot_list",
            title: "List snapshots",
            description: "A guest's snapshots as a tree.",
            input: Input::new().guest(),
            output: Output::new()
                .fact("guest", "string")
                .fact("snapshot_count", "integer")
                .table("snapshots"),
            access: Access::Read,
            idempotent: true,
        }
    }

    fn access(&self, _args: &JsonObject) -> Access {
        Access::Read
    }

    async fn call(&self, cx: &Cx, args: JsonObject) -> Result<Report, ToolError> {
        let args: ListArgs = cx.args(args)?;
        let found = cx.fleet.find_guest(&args.guest, Purpose::Read).await?;
        let (member, guest) = (&found.member, &found.guest);
        let name = named(guest);
        let all = read(member, guest.kind, &guest.node, guest.at.vmid)
            .await
            .map_err(|error| ToolError::api(format!("list the snapshots of {name}"), &error))?;
        let mut report = tree::tell(Report::default(), &guest.at, &all, cx.now());
        // The one detail is the answer, so it leads.
        let count = all.iter().filter(|snapshot| !snapshot.is_current()).count();
        let parent = all.iter().find(|one| one.is_current()).and_then(|now| now.parent.as_deref());
        report.details.clear();
        report.lead = match (count, parent) {
            (0, _) => format!("{name} has no snapshots"),
            (_, Some(parent)) => {
                let plural = if count == 1 { "" } else { "s" };
                format!("{name} has {count} snapshot{plural} and stands after {parent}")
            }
            (1, None) => format!("{name} has 1 snapshot"),
            (_, None) => format!("{name} has {count} snapshots"),
        };
        report.notes.extend(found.notes);
        Ok(report.fact("guest", guest.at.to_string()))
    }
}

#[async_trait]
impl ActionTool for SnapshotCreate {
    fn definition(&self) -> Definition {
        Definition {
            name: "snapshot_create",
            title: "Make a snapshot",
            description: "Snapshots a guest; not a backup.",
            input: Input::new()
                .guest()
                .text("name", "")
                .required("name")
                .text("description", "")
                .boolean("include_memory", ""),
            output: Output::new()
                .fact("guest", "string")
                .fact("snapshot", "string")
                .fact("status", "string")
                .fact("upid", "string")
                .fact("cause", "string"),
            access: Access::Operate,
            // It only adds, and a name that is taken is refused.
            idempotent: true,
        }
    }

    fn access(&self, _args: &JsonObject) -> Access {
        Access::Operate
    }

    async fn plan(&self, cx: &Cx, args: JsonObject) -> Result<Plan, ToolError> {
        let args: CreateArgs = cx.args(args)?;
        check_name(&args.name)?;
        let found = cx.fleet.find_guest(&args.guest, Purpose::Write).await?;
        let (member, guest) = (found.member, found.guest);
        let (name, vmid) = (named(&guest), guest.at.vmid);
        let what = format!("snapshot {} of {name}", args.name);
        let refused = |why: &str| ToolError::new(format!("{what} was not tried: {why}"));
        if guest.is_template() {
            let hint = "clone it instead: a template never changes";
            return Err(refused("it is a template").hint(hint));
        }
        if args.include_memory && guest.kind == GuestKind::Lxc {
            return Err(refused("a container's memory cannot be in a snapshot")
                .hint("leave include_memory out"));
        }
        let state = State::read(&member.client, guest.kind, &guest.node, vmid).await;
        let state = state.map_err(|error| {
            ToolError::api(format!("read the state of {name} before its snapshot"), &error)
        })?;
        if let Some(lock) = &state.lock {
            return Err(refused(&format!("it is locked ({lock})"))
                .hint("look at its running tasks, and try again when they are done"));
        }
        let with_memory = args.include_memory && state.status != GuestStatus::Stopped;
        let step = Step::pve(&member, what.as_str(), request(&guest, &args, with_memory))
            .task(&["qmsnapshot", "vzsnapshot"], vmid.to_string());
        let undo = json!({"guest": guest.at.to_string(), "name": args.name});
        let mut plan = Plan::new(what.as_str())
            .step(step)
            .target(guest.at.to_string(), [("node", guest.node.as_str())])
            .fact("guest", guest.at.to_string())
            .fact("snapshot", args.name.as_str())
            .undo(Undo::Call("snapshot_delete", object(undo)));
        plan.notes = found.notes;
        if args.include_memory && !with_memory {
            plan = plan.note("the guest is off, so there is no memory to include");
        }
        Ok(plan.settle(move |_, done| settle(member, guest, args.name, what, done)))
    }
}

/// Whether the snapshot is there now.
async fn settle(
    member: Arc<Pve>,
    guest: Guest,
    name: String,
    what: String,
    done: Done,
) -> Result<Report, ToolError> {
    let there = read(&member, guest.kind, &guest.node, guest.at.vmid)
        .await
        .map(|all| all.iter().any(|snapshot| snapshot.name == name));
    let report = match there {
        Ok(true) => done.report(format!("{what} is made ({})", done.ended())),
        Ok(false) => {
            let lead = format!("{what}: the task ended OK, but the snapshot is not in the list");
            return Err(ToolError::from_report(done.report(lead)));
        }
        Err(error) => done
            .report(format!("{what}: the task ended OK"))
            .note(format!("it could not be read back: {}", stdx::Chain(&error))),
    };
    Ok(report.next("snapshot_list", json!({"guest": guest.at.to_string()})))
}

async fn read(
    member: &Pve,
    kind: GuestKind,
    node: &NodeName,
    vmid: VmId,
) -> Result<Vec<Snapshot>, Error> {
    match kind {
        GuestKind::Qemu => member.client.call(qemu::snapshots(node, vmid)).await,
        GuestKind::Lxc => member.client.call(lxc::snapshots(node, vmid)).await,
    }
}

fn request(guest: &Guest, args: &CreateArgs, with_memory: bool) -> Request<Upid> {
    let (node, vmid, name) = (&guest.node, guest.at.vmid, args.name.as_str());
    let description = args.description.clone();
    match guest.kind {
        GuestKind::Qemu => {
            let with_memory = with_memory.then_some(true);
            let options = qemu::QemuSnapshotParams { description, with_memory };
            qemu::create_snapshot(node, vmid, name, options)
        }
        GuestKind::Lxc => lxc::create_snapshot(node, vmid, name, description.as_deref()),
    }
}

/// PVE's rule for names, told before it is asked.
fn check_name(name: &str) -> Result<(), ToolError> {
    let wrong = |why: &str| {
        let name = stdx::untrusted::line(name, 60);
        Err(ToolError::new(format!("`{name}` cannot name a snapshot: {why}"))
            .hint("use 2 to 40 characters: a letter, then letters, digits, _ or -"))
    };
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if name.eq_ignore_ascii_case("current") || name.eq_ignore_ascii_case("pending") {
        return wrong("the word is reserved");
    }
    if !(2..=LONGEST_NAME).contains(&name.len()) {
        return wrong("it is too short or too long");
    }
    if !name.starts_with(|c: char| c.is_ascii_alphabetic()) || !name.chars().all(is_allowed) {
        return wrong("a character is not allowed there");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rule() {
        for good in ["ab", "before-upgrade", "A_1", &"x".repeat(40)] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for wrong in ["", "a", "1a", "a b", "ä1", "a/b", "current", "-a", &"x".repeat(41)] {
            assert!(check_name(wrong).is_err(), "{wrong}");
        }
    }
}
