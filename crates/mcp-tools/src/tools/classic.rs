//! The toolset `classic`: the thirteen names of the earlier server, for the workflows that call
//! them.
//!
//! Each is a thin mapping onto the default tools, so that there is one way to every answer, and
//! the same refusals: what is ambiguous is not guessed here either.

mod command;
mod health;
mod notification;

use async_trait::async_trait;
use estate::{Access, GuestKind};
use mcp_protocol::JsonObject;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    backups::BackupStatus, cluster::ClusterStatusTool, guests::GuestsList, network::NetworkList,
    node::NodeGet, nodes::NodesList, storage::StorageList, tasks::TasksList,
};
use crate::{
    address::{FoundNode, Purpose},
    error::ToolError,
    report::Report,
    schema::{Input, Output},
    tool::{Cx, Definition, EstateTool},
    view::kind_word,
};

pub use self::{command::Command, notification::Notification};

/// Workflows expect whole lists; the ceiling of an answer still holds.
const ALL: u64 = 1000;

/// One of the thirteen.
pub struct Classic(Name);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    ClusterStatus,
    Nodes,
    NodeStatus,
    Guests(GuestKind),
    Storage,
    NodeTasks,
    BackupInfo,
    NetworkInfo,
    NodeHealth,
}

/// `get_cluster_status`
pub static GET_CLUSTER_STATUS: Classic = Classic(Name::ClusterStatus);
/// `get_nodes`
pub static GET_NODES: Classic = Classic(Name::Nodes);
/// `get_node_status`
pub static GET_NODE_STATUS: Classic = Classic(Name::NodeStatus);
/// `get_vms`
pub static GET_VMS: Classic = Classic(Name::Guests(GuestKind::Qemu));
/// `execute_vm_command`
pub static EXECUTE_VM_COMMAND: Command = Command(GuestKind::Qemu);
/// `get_lxcs`
pub static GET_LXCS: Classic = Classic(Name::Guests(GuestKind::Lxc));
/// `execute_lxc_command`
pub static EXECUTE_LXC_COMMAND: Command = Command(GuestKind::Lxc);
/// `get_storage`
pub static GET_STORAGE: Classic = Classic(Name::Storage);
/// `get_node_tasks`
pub static GET_NODE_TASKS: Classic = Classic(Name::NodeTasks);
/// `get_backup_info`
pub static GET_BACKUP_INFO: Classic = Classic(Name::BackupInfo);
/// `get_network_info`
pub static GET_NETWORK_INFO: Classic = Classic(Name::NetworkInfo);
/// `check_node_health`
pub static CHECK_NODE_HEALTH: Classic = Classic(Name::NodeHealth);
/// `send_notification`
pub static SEND_NOTIFICATION: Notification = Notification;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Args {
    node: Option<String>,
    cluster: Option<String>,
    limit: Option<u64>,
}

impl Args {
    /// The cluster that is named; workflows send empty texts for what is left out.
    fn cluster(&self) -> Option<&str> {
        self.cluster.as_deref().filter(|key| !key.trim().is_empty())
    }
}

#[async_trait]
impl EstateTool for Classic {
    fn definition(&self) -> Definition {
        let (name, title, description) = self.words();
        Definition {
            name,
            title,
            description,
            input: self.input(),
            output: self.output(),
            access: Access::Read,
            idempotent: true,
        }
    }

    fn access(&self, _args: &JsonObject) -> Access {
        Access::Read
    }

    async fn call(&self, cx: &Cx, args: JsonObject) -> Result<Report, ToolError> {
        let args: Args = cx.args(args)?;
        match self.0 {
            Name::ClusterStatus => run(cx, &ClusterStatusTool, json!({})).await,
            Name::Nodes => run(cx, &NodesList, json!({})).await,
            Name::NodeStatus => node_status(cx, &args).await,
            Name::Guests(kind) => {
                run_for(cx, &GuestsList, &args, json!({"kind": kind_word(kind), "limit": ALL}))
                    .await
            }
            Name::Storage => run_for(cx, &StorageList, &args, json!({})).await,
            Name::NodeTasks => run_for(cx, &TasksList, &args, json!({"limit": args.limit})).await,
            Name::BackupInfo => backups(cx, &args).await,
            Name::NetworkInfo => networks(cx, &args).await,
            Name::NodeHealth => health::check(cx, args.cluster(), args.node.as_deref()).await,
        }
    }
}

// === impl Classic ===

impl Classic {
    /// Name, title and description.
    fn words(&self) -> (&'static str, &'static str, &'static str) {
        match self.0 {
            Name::ClusterStatus => {
                ("get_cluster_status", "Cluster status", "Quorum, nodes and HA of all clusters.")
            }
            Name::Nodes => ("get_nodes", "List nodes", "PVE nodes with load, memory and guests."),
            Name::NodeStatus => {
                ("get_node_status", "Show a node", "One node in depth; without node all in short.")
            }
            Name::Guests(GuestKind::Qemu) => {
                ("get_vms", "List VMs", "Virtual machines with status and load.")
            }
            Name::Guests(GuestKind::Lxc) => {
                ("get_lxcs", "List containers", "Containers with status and load.")
            }
            Name::Storage => ("get_storage", "List storage", "Storages and how full they are."),
            Name::NodeTasks => {
                ("get_node_tasks", "List tasks", "Recent tasks, newest first; failures with cause.")
            }
            Name::BackupInfo => (
                "get_backup_info",
                "Backup info",
                "Backup jobs, what they cover, and each guest's last result.",
            ),
            Name::NetworkInfo => {
                ("get_network_info", "List networks", "Network interfaces of a node, or of all.")
            }
            Name::NodeHealth => (
                "check_node_health",
                "Check node health",
                "A verdict per node: ok, warning or critical, with reasons.",
            ),
        }
    }

    fn input(&self) -> Input {
        match self.0 {
            Name::ClusterStatus | Name::Nodes => Input::new(),
            Name::NodeTasks => Input::new().node().cluster().integer("limit", 1..=1000, ""),
            _ => Input::new().node().cluster(),
        }
    }

    fn output(&self) -> Output {
        match self.0 {
            Name::ClusterStatus => ClusterStatusTool.definition().output,
            Name::Nodes => NodesList.definition().output,
            Name::Guests(_) => GuestsList.definition().output,
            Name::Storage => StorageList.definition().output,
            Name::NodeTasks => TasksList.definition().output,
            Name::BackupInfo => BackupStatus.definition().output,
            Name::NodeHealth => Output::new().table("nodes").fact("verdict", "string"),
            // Whichever tool answers, its facts are its own.
            Name::NodeStatus | Name::NetworkInfo => Output::new(),
        }
    }
}

async fn run(cx: &Cx, tool: &dyn EstateTool, args: Value) -> Result<Report, ToolError> {
    let Value::Object(mut args) = args else { return Err(ToolError::new("no arguments")) };
    args.retain(|_, value| !value.is_null());
    tool.call(cx, args).await
}

/// The node that is meant, if one is named.
async fn node(cx: &Cx, args: &Args) -> Result<Option<FoundNode>, ToolError> {
    cx.fleet.find_opt_node(args.cluster(), args.node.as_deref(), Purpose::Read).await
}

/// Runs `tool` for the node that is named, in its cluster, or else for what `cluster` names.
async fn run_for(
    cx: &Cx,
    tool: &dyn EstateTool,
    args: &Args,
    mut more: Value,
) -> Result<Report, ToolError> {
    let found = node(cx, args).await?;
    more["node"] = found.as_ref().map(|found| found.name().as_str()).into();
    more["cluster"] =
        found.as_ref().map(|found| found.member.key.as_str()).or(args.cluster()).into();
    told(found.as_ref(), run(cx, tool, more).await)
}

/// The answer, good or bad, with who was silent while the node was looked for.
fn told(found: Option<&FoundNode>, result: Result<Report, ToolError>) -> Result<Report, ToolError> {
    let Some(found) = found else { return result };
    result.map(|report| found.tell(report)).map_err(|error| error.map(|report| found.tell(report)))
}

async fn node_status(cx: &Cx, args: &Args) -> Result<Report, ToolError> {
    match args.node.as_deref() {
        Some(node) if !node.trim().is_empty() => run_for(cx, &NodeGet, args, json!({})).await,
        _ => run(cx, &NodesList, json!({"cluster": args.cluster()})).await,
    }
}

/// A node has no backups of its own: its cluster's are shown.
async fn backups(cx: &Cx, args: &Args) -> Result<Report, ToolError> {
    let found = node(cx, args).await?;
    let key = found.as_ref().map(|found| found.member.key.as_str()).or(args.cluster());
    let result = run(cx, &BackupStatus, json!({"cluster": key, "limit": ALL})).await;
    let report = told(found.as_ref(), result)?;
    Ok(match found {
        Some(found) => report.note(format!(
            "backups belong to the cluster, so this is all of {}, not only {}",
            found.member.key,
            found.name()
        )),
        None => report,
    })
}

/// The named node's interfaces; without a name, those of all nodes that are online.
async fn networks(cx: &Cx, args: &Args) -> Result<Report, ToolError> {
    if args.node.as_deref().is_some_and(|node| !node.trim().is_empty()) {
        return run_for(cx, &NetworkList, args, json!({})).await;
    }
    super::network::of_all(cx, args.cluster()).await
}
