//! `execute_vm_command` and `execute_lxc_command`: one command for one guest, some of which read.

use async_trait::async_trait;
use estate::{Access, GuestKind};
use mcp_protocol::JsonObject;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{run, told};
use crate::{
    address::{Advice, FoundGuest, FoundNode, Purpose},
    error::ToolError,
    plan::{ActionTool, Plan},
    schema::{Input, Output},
    tool::{Cx, Definition},
    tools::{
        guest::GuestGet,
        power::{GuestPower, named, object},
    },
    view::Guest,
};

/// The words of `command`.
const COMMANDS: &[&str] = &[
    "start", "stop", "shutdown", "restart", "reboot", "suspend", "resume", "reset", "status",
    "config",
];

/// Commands a VM or a container.
pub struct Command(pub(super) GuestKind);

#[derive(Debug, Deserialize)]
struct Args {
    vmid: u32,
    command: String,
    node: Option<String>,
    cluster: Option<String>,
}

#[async_trait]
impl ActionTool for Command {
    fn definition(&self) -> Definition {
        let (name, title, description) = match self.0 {
            GuestKind::Qemu => (
                "execute_vm_command",
                "Command a VM",
                "Power command or query for one VM; follows the task to its true end. shutdown and \
                 reboot ask the guest's OS; stop and reset cut the power.",
            ),
            GuestKind::Lxc => (
                "execute_lxc_command",
                "Command a container",
                "Power command or query for one container; follows the task to its true end. \
                 shutdown and reboot ask its OS; stop kills it.",
            ),
        };
        Definition {
            name,
            title,
            description,
            input: Input::new()
                .integer("vmid", 100..=999_999_999, "")
                .required("vmid")
                .choice("command", COMMANDS, "")
                .required("command")
                .node()
                .text("cluster", "where several have the vmid"),
            // Whichever tool answers, its facts are its own.
            output: Output::new(),
            access: Access::Operate,
            idempotent: false,
        }
    }

    fn access(&self, args: &JsonObject) -> Access {
        match args.get("command").and_then(Value::as_str) {
            Some("status" | "config") => Access::Read,
            _ => Access::Operate,
        }
    }

    async fn plan(&self, cx: &Cx, args: JsonObject) -> Result<Plan, ToolError> {
        let args: Args = cx.args(args)?;
        let action = match args.command.as_str() {
            "restart" => "reboot",
            other => other,
        };
        let is_read = matches!(action, "status" | "config");
        let purpose = if is_read { Purpose::Read } else { Purpose::Write };
        let cluster = args.cluster.filter(|key| !key.trim().is_empty());
        // A node that only one cluster has says which cluster is meant.
        let node =
            cx.fleet.find_opt_node(cluster.as_deref(), args.node.as_deref(), purpose).await?;
        let cluster = cluster.or_else(|| node.as_ref().map(|node| node.member.key.to_string()));
        let address = match cluster {
            Some(cluster) => format!("{cluster}/{}", args.vmid),
            None => args.vmid.to_string(),
        };
        let found = cx.fleet.find_guest_as(&address, purpose, Advice::Argument).await;
        let found = found.map_err(|error| match &node {
            Some(node) => error.map(|report| node.tell(report)),
            None => error,
        })?;
        let guest = &found.guest;
        check_kind(guest, self.0)?;
        let place = is_elsewhere(&found, node.as_ref());
        if let (Some(words), false) = (&place, is_read) {
            return Err(ToolError::new(format!("{action} was not tried: {words}"))
                .hint("leave node out: the guest is found wherever it is"));
        }
        let at = guest.at.to_string();
        let read = match action {
            "status" | "config" => {
                let wanted = json!({"guest": at, "include": [action]});
                Some(told(node.as_ref(), run(cx, &GuestGet, wanted).await)?)
            }
            _ => None,
        };
        let mut plan = if let Some(report) = read {
            Plan::already(report)
        } else {
            let wanted = object(json!({"guest": at, "action": action}));
            GuestPower.plan(cx, wanted).await.map_err(|error| match &node {
                Some(node) => error.map(|report| node.tell(report)),
                None => error,
            })?
        };
        // The plan has found the guest anew, and has noted the same.
        let notes = found.notes.iter().filter(|note| !plan.notes.contains(note));
        let notes: Vec<String> = notes.cloned().chain(place).collect();
        plan.notes.extend(notes);
        Ok(plan)
    }
}

fn check_kind(guest: &Guest, wanted: GuestKind) -> Result<(), ToolError> {
    if guest.kind == wanted {
        return Ok(());
    }
    let (is, tool) = match guest.kind {
        GuestKind::Qemu => ("a VM", "execute_vm_command"),
        GuestKind::Lxc => ("a container", "execute_lxc_command"),
    };
    Err(ToolError::new(format!("{} is {is}", named(guest))).hint(format!("use {tool}")))
}

/// Whether the guest is on another node than the caller believes.
fn is_elsewhere(found: &FoundGuest, node: Option<&FoundNode>) -> Option<String> {
    let named = node?.name();
    let guest = &found.guest;
    (guest.node != *named).then(|| format!("{} is on {}, not on {named}", guest.at, guest.node))
}
