//! The catalogue: every tool, by toolset.

pub mod admin;
pub mod api;
pub mod backups;
pub mod classic;
pub mod cluster;
pub mod compute;
pub mod events;
pub mod guarding;
pub mod guest;
pub mod guests;
pub(crate) mod late;
pub mod log;
pub mod net;
pub mod network;
pub mod node;
pub mod nodes;
pub mod overview;
pub(crate) mod parts;
pub mod power;
pub(crate) mod safety;
pub(crate) mod since;
pub mod snapshots;
pub mod storage;
mod tally;
pub mod tasks;
pub mod vault;
pub mod volumes;

use crate::{plan::ActionTool, tool::EstateTool};

/// A named group of tools that the operator turns on.
pub struct Toolset {
    /// The word that `--toolsets` takes.
    pub name: &'static str,
    /// What it is for.
    pub about: &'static str,
    /// Its tools, in the order in which they are listed.
    pub tools: &'static [&'static dyn EstateTool],
}

/// The toolset that comes with every other one.
pub(crate) const GUARD: &str = "guard";

/// The toolsets with tools whose changes can cut the operator off, and so wait to be confirmed.
/// Not `compact`: it has room for nothing more, and `proxmox-mcp call change_confirm` does it as well.
pub(crate) const CUTTING: [&str; 3] = ["network", "cluster", "api"];

/// What comes with those.
pub(crate) static KEEPING: Toolset =
    Toolset { name: GUARD, about: "confirm", tools: &[&guarding::ChangeConfirm] };

/// All toolsets.
pub static TOOLSETS: &[Toolset] = &[
    Toolset {
        name: "default",
        about: "daily work: look at everything, power, snapshots, tasks, backups",
        tools: &[
            &overview::FleetOverview,
            &guests::GuestsList,
            &guest::GuestGet,
            &power::GuestPower,
            &snapshots::SnapshotList,
            &snapshots::SnapshotCreate,
            &nodes::NodesList,
            &node::NodeGet,
            &storage::StorageList,
            &tasks::TasksList,
            &tasks::TaskGet,
            &tasks::TaskWait,
            &backups::BackupStatus,
            &backups::BackupSnapshots,
            &network::NetworkList,
            &cluster::ClusterStatusTool,
            &log::LogRecent,
        ],
    },
    Toolset {
        name: "guests",
        about: "make, change, move and remove guests; commands inside them",
        tools: compute::TOOLS,
    },
    Toolset {
        name: "backup",
        about: "run, restore, verify and prune backups; which guests are covered; jobs",
        tools: vault::TOOLS,
    },
    Toolset {
        name: "storage",
        about: "contents, uploads, downloads, what fills and when",
        tools: volumes::TOOLS,
    },
    Toolset {
        name: "network",
        about: "interfaces, pending changes, SDN, firewall",
        tools: net::TOOLS,
    },
    Toolset {
        name: "cluster",
        about: "HA, replication, Ceph, pools, access, certificates, updates, disks, services, logs",
        tools: admin::TOOLS,
    },
    Toolset {
        name: "events",
        about: "what was heard, incidents with their timelines, silences, messages to people",
        tools: events::TOOLS,
    },
    Toolset { name: "api", about: "the whole API: find, describe, read, call", tools: api::TOOLS },
    Toolset {
        name: "compact",
        about: "the overview and the four tools of api: the smallest list that reaches everything",
        tools: api::COMPACT,
    },
    Toolset {
        name: GUARD,
        about: "consent: wait for it, stop all changes, take back, confirm; comes with every other \
                where somebody can be asked",
        tools: guarding::TOOLS,
    },
    Toolset {
        name: "classic",
        about: "the thirteen names of the earlier Python server, for workflows that call them",
        tools: &[
            &classic::GET_CLUSTER_STATUS,
            &classic::GET_NODES,
            &classic::GET_NODE_STATUS,
            &classic::GET_VMS,
            &classic::EXECUTE_VM_COMMAND,
            &classic::GET_LXCS,
            &classic::EXECUTE_LXC_COMMAND,
            &classic::GET_STORAGE,
            &classic::GET_NODE_TASKS,
            &classic::GET_BACKUP_INFO,
            &classic::GET_NETWORK_INFO,
            &classic::CHECK_NODE_HEALTH,
            &classic::SEND_NOTIFICATION,
        ],
    },
];

/// The tool of this name that acts, if there is one.
pub(crate) fn action(name: &str) -> Option<&'static dyn ActionTool> {
    action_named(name).map(|(_, action)| action)
}

/// The same, with its name.
pub(crate) fn action_named(name: &str) -> Option<(&'static str, &'static dyn ActionTool)> {
    let mut all = TOOLSETS.iter().flat_map(|toolset| toolset.tools);
    let tool: &'static dyn EstateTool = *all.find(|tool| tool.definition().name == name)?;
    Some((tool.definition().name, tool.as_action()?))
}
