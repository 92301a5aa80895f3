//! `service_restart`: restarts, reloads or starts a service, and looks whether it runs then.

use std::{sync::Arc, time::Duration};

use api_core::Error;
use async_trait::async_trait;
use estate::{Access, NodeName};
use mcp_protocol::JsonObject;
use serde::Deserialize;
use serde_json::json;

use super::{
    act::{given, watch},
    services::{Service, of_node, of_server},
};
use crate::{
    address::Purpose,
    error::ToolError,
    fleet::{Pbs, Pve},
    plan::{ActionTool, Plan, Step, Undo},
    report::{Cell, Report, Table},
    schema::{Input, Output},
    tool::{Cx, Definition},
};

/// How long a service has to come up.
const PATIENCE: Duration = Duration::from_mins(1);

/// Services whose restart can cost guests, not only their management: a node that loses touch with
/// the cluster while HA is armed is fenced.
const GRAVE: &[&str] = &["corosync", "pve-cluster", "pve-ha-lrm", "pve-ha-crm", "lxcfs"];

/// What a restart brings with it.
const WARNINGS: &[(&str, &str, &str)] = &[
    (
        "corosync",
        "quorum",
        "the node leaves the cluster for a moment: where it is needed for quorum nothing can be changed, and with HA armed a node that stays away is fenced (its guests are cut off)",
    ),
    (
        "pve-cluster",
        "cluster_files",
        "/etc/pve is away meanwhile: nothing can be changed on the node, the API may fail, and with HA armed a node that stays away is fenced",
    ),
    (
        "pve-ha-lrm",
        "ha_node",
        "HA on this node is held; if it does not come back the node's watchdog fences it",
    ),
    ("pve-ha-crm", "ha_master", "another node takes over as HA master"),
    ("lxcfs", "containers", "running containers lose /proc figures until they are restarted"),
    ("pvedaemon", "api", "calls that are being worked on fail; running tasks go on"),
    ("pveproxy", "api", "open connections end, consoles and ours among them"),
    ("spiceproxy", "consoles", "open SPICE consoles end"),
    ("pve-firewall", "firewall", "rules are loaded anew"),
    ("proxmox-firewall", "firewall", "rules are loaded anew"),
    ("sshd", "ssh", "sessions stay; migrations that begin right now may fail"),
    ("proxmox-backup", "backups", "tasks that run as root end with it"),
    (
        "proxmox-backup-proxy",
        "backups",
        "running backups, restores and syncs wait for it or fail; ours among the open connections ends",
    ),
];

/// Restarts services.
pub struct ServiceRestart;

#[derive(Debug, Deserialize)]
struct Args {
    node: Option<String>,
    cluster: Option<String>,
    service: String,
    action: Option<String>,
}

/// Whose service.
#[derive(Clone)]
enum Host {
    Node(Arc<Pve>, NodeName),
    Server(Arc<Pbs>),
}

#[async_trait]
impl ActionTool for ServiceRestart {
    fn definition(&self) -> Definition {
        Definition {
            name: "service_restart",
            title: "Restart a service",
            description: "Restarts, reloads or starts a service of a node or backup server (cluster: its key).",
            input: Input::new().node().cluster().text("service", "").required("service").choice(
                "action",
                &["restart", "reload", "start"],
                "",
            ),
            output: Output::new()
                .fact("node", "string")
                .fact("service", "string")
                .fact("state", "string")
                .fact("status", "string")
                .fact("upid", "string"),
            access: Access::Destroy,
            idempotent: false,
        }
    }

    fn access(&self, args: &JsonObject) -> Access {
        let text = |key: &str| args.get(key).and_then(|value| value.as_str()).unwrap_or_default();
        let service = text("service").trim().trim_end_matches(".service");
        if GRAVE.contains(&service) && text("action") != "start" {
            return Access::Destroy;
        }
        Access::Operate
    }

    async fn plan(&self, cx: &Cx, args: JsonObject) -> Result<Plan, ToolError> {
        let args: Args = cx.args(args)?;
        let action = args.action.as_deref().unwrap_or("restart").to_owned();
        let (host, notes) = host(cx, &args).await?;
        let at = host.at();
        let wanted = args.service.trim().trim_end_matches(".service");
        let all = host
            .services()
            .await
            .map_err(|error| ToolError::api(format!("read the services of {at}"), &error))?;
        let installed = all.iter().filter(|service| service.installed);
        let Some(service) = installed.clone().find(|service| service.name == wanted) else {
            let shown = stdx::untrusted::line(wanted, 60);
            let mut table = Table::new("services", &["service", "state"]);
            for service in installed {
                table.push(vec![Cell::text(&*service.name), Cell::text(&*service.state)]);
            }
            return Err(
                ToolError::not_found(format!("{at} has no service `{shown}`")).choices(table)
            );
        };
        if action == "start" && service.state == "running" {
            let lead = format!("{} on {at} runs already: nothing was done", service.name);
            return Ok(Plan::already(Report::new(lead).fact("status", "unchanged")));
        }
        let name = service.name.clone();
        let what = format!("{action} of {name} on {at}");
        let mut plan = Plan::new(what.as_str())
            .fact("node", at.as_str())
            .fact("service", name.as_str())
            .target(at.as_str(), [("service", name.as_str()), ("state", service.state.as_str())])
            .undo(match action.as_str() {
                "start" => Undo::By(format!("stop {name} on the host")),
                _ => Undo::By("nothing to undo: it runs as before".to_owned()),
            })
            .step(host.step(&what, &name, &action));
        if action != "start" {
            for (_, code, text) in WARNINGS.iter().filter(|(service, ..)| *service == name) {
                plan = plan.warn(code, *text);
            }
        }
        plan.notes.extend(notes);
        let watched = host.clone();
        let looked = name.clone();
        // A proxy that restarts does not answer for a moment.
        let wait = watch(
            format!("{name} to run"),
            PATIENCE,
            format!("{name} on {at} does not run after the {action}"),
            move |_| {
                let (host, name) = (watched.clone(), looked.clone());
                async move {
                    let state = host.state(&name).await;
                    Ok(state.ok().filter(|state| state == "running"))
                }
            },
        );
        Ok(plan.step(wait).settle(move |_, done| async move {
            let lead = format!("{name} on {at} runs after the {action} ({})", done.span());
            let args = match &host {
                Host::Node(member, node) => {
                    json!({"cluster": member.key.as_str(), "node": node.as_str(), "unit": name, "since": "10m"})
                }
                Host::Server(member) => json!({"cluster": member.key.as_str(), "unit": name, "since": "10m"}),
            };
            Ok(done.report(lead).fact("state", "running").next("node_journal", args))
        }))
    }
}

async fn host(cx: &Cx, args: &Args) -> Result<(Host, Vec<String>), ToolError> {
    let (node, cluster) = (given(args.node.as_ref()), given(args.cluster.as_ref()));
    let server = node.filter(|_| cluster.is_none()).or(cluster);
    if let Some(key) = server.filter(|key| cx.fleet.pbs(Some(*key)).is_ok()) {
        return Ok((Host::Server(cx.fleet.pbs(Some(key))?.remove(0)), Vec::new()));
    }
    let Some(node) = node else {
        return Err(ToolError::new("no node is named: give node, or a backup server as cluster"));
    };
    let found = cx.fleet.find_node(cluster, node, Purpose::Write).await?;
    if !found.node.is_online() {
        let at = format!("{}/{}", found.member.key, found.name());
        return Err(ToolError::new(format!(
            "{at} is {}: nothing can be done there",
            found.node.status
        ))
        .of_kind(crate::error::Kind::Unavailable));
    }
    let name = found.name().clone();
    Ok((Host::Node(found.member, name), found.notes))
}

// === impl Host ===

impl Host {
    fn at(&self) -> String {
        match self {
            Self::Node(member, node) => format!("{}/{node}", member.key),
            Self::Server(member) => member.key.to_string(),
        }
    }

    async fn services(&self) -> Result<Vec<Service>, Error> {
        match self {
            Self::Node(member, node) => of_node(Arc::clone(member), node.clone()).await,
            Self::Server(member) => of_server(Arc::clone(member)).await,
        }
    }

    async fn state(&self, service: &str) -> Result<String, Error> {
        match self {
            Self::Node(member, node) => {
                let told = member.client.call(pve_client::nodes::service(node, service)).await?;
                Ok(told.state)
            }
            Self::Server(member) => {
                Ok(member.client.call(pbs_client::node::service(service)).await?.state)
            }
        }
    }

    fn step(&self, what: &str, service: &str, action: &str) -> Step {
        const KINDS: &[&str] = &["srvrestart", "srvreload", "srvstart"];
        match self {
            Self::Node(member, node) => {
                let request = pve_client::nodes::service_action(node, service, action);
                Step::pve(member, what, request).task(KINDS, service)
            }
            Self::Server(member) => {
                Step::pbs(member, what, pbs_client::node::service_action(service, action))
            }
        }
    }
}
