//! `node_power`: reboots or shuts down a node or a backup server.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use estate::{Access, NodeName};
use mcp_protocol::JsonObject;
use pve_client::{ha, nodes};
use serde::Deserialize;
use serde_json::json;

use super::{
    act::{given, watch},
    ask::few,
    ceph::daemons_on,
    ha::sid_of,
};
use crate::{
    address::{FoundNode, Purpose},
    error::ToolError,
    fleet::{Pbs, Pve},
    plan::{ActionTool, Plan, Step, Undo},
    report::Report,
    schema::{Input, Output},
    tool::{Cx, Definition},
    tools::tally::counted,
    view::View,
};

/// How long guests have to shut down before the node goes, and it has to boot.
const PATIENCE: Duration = Duration::from_mins(20);

/// Reboots and shuts down nodes.
pub struct NodePower;

#[derive(Debug, Deserialize)]
struct Args {
    node: Option<String>,
    cluster: Option<String>,
    action: String,
}

#[async_trait]
impl ActionTool for NodePower {
    fn definition(&self) -> Definition {
        Definition {
            name: "node_power",
            title: "Reboot or shut down a node",
            description: "Reboots or shuts down a node or backup server (cluster: its key); the plan lists its guests, HA, quorum and tasks.",
            input: Input::new()
                .node()
                .cluster()
                .choice("action", &["reboot", "shutdown"], "")
                .required("action"),
            output: Output::new()
                .fact("node", "string")
                .fact("action", "string")
                .fact("state", "string")
                .fact("status", "string"),
            access: Access::Destroy,
            idempotent: false,
        }
    }

    fn access(&self, _args: &JsonObject) -> Access {
        Access::Destroy
    }

    async fn plan(&self, cx: &Cx, args: JsonObject) -> Result<Plan, ToolError> {
        let args: Args = cx.args(args)?;
        let (node, cluster) = (given(args.node.as_ref()), given(args.cluster.as_ref()));
        let reboots = args.action == "reboot";
        let server = node.filter(|_| cluster.is_none()).or(cluster);
        if let Some(key) = server.filter(|key| cx.fleet.pbs(Some(*key)).is_ok()) {
            return of_server(cx.fleet.pbs(Some(key))?.remove(0), reboots).await;
        }
        let Some(node) = node else {
            return Err(ToolError::new(
                "no node is named: give node, or a backup server as cluster",
            ));
        };
        let found = cx.fleet.find_node(cluster, node, Purpose::Write).await?;
        of_node(&found, reboots).await
    }
}

fn undo(reboots: bool) -> Undo {
    if reboots {
        Undo::By("nothing to undo once it is back; guests with onboot start with it".to_owned())
    } else {
        Undo::Never("what is off is started by hand at the host, or by wake-on-LAN".to_owned())
    }
}

fn word(reboots: bool) -> &'static str {
    if reboots { "reboot" } else { "shutdown" }
}

async fn of_node(found: &FoundNode, reboots: bool) -> Result<Plan, ToolError> {
    let (member, node) = (&found.member, found.name());
    let at = format!("{}/{node}", member.key);
    let word = word(reboots);
    if !found.node.is_online() {
        let lead = format!("{at} is {} already: nothing was done", found.node.status);
        if reboots {
            return Err(ToolError::new(lead).hint("a node that is off is started at the host"));
        }
        return Ok(Plan::already(Report::new(lead).fact("status", "unchanged")));
    }
    let client = &member.client;
    let (view, managed, tasks, osds) = futures::join!(
        View::load(Arc::clone(member)),
        client.call(ha::resources()),
        client.call(pve_client::cluster::tasks()),
        daemons_on(member, node),
    );
    let view = view.map_err(|error| ToolError::api(format!("read what runs on {at}"), &error))?;
    let on_it = || view.guests.iter().filter(|guest| guest.node == *node);
    let running: Vec<String> = on_it()
        .filter(|guest| guest.status.is_on())
        .map(|guest| format!("{} {}", guest.at, stdx::untrusted::line(&guest.name, 40)))
        .collect();
    let what = format!("{word} of {at}");
    let mut plan = Plan::new(what.as_str())
        .fact("node", at.as_str())
        .fact("action", word)
        .target(
            at.as_str(),
            [("status", found.node.status.clone()), ("running_guests", running.len().to_string())],
        )
        .undo(undo(reboots))
        .step(Step::pve(member, what, nodes::power(node, word)));
    plan.notes.extend(found.notes.iter().cloned());
    if running.is_empty() {
        plan = plan.effect("no guest runs on it");
    } else {
        let count = counted(running.len(), "running guest");
        plan = plan.warn("guests_stop", format!("{count} shut down with it: {}", few(&running)));
    }
    let managed = managed.unwrap_or_default();
    let on_ha: Vec<String> = on_it()
        .filter(|guest| managed.iter().any(|it| it.sid == sid_of(guest)))
        .map(|guest| guest.at.to_string())
        .collect();
    if !on_ha.is_empty() {
        plan = plan.effect(format!(
            "HA manages {} of its guests ({}): by the datacenter's shutdown policy they wait for it or are started elsewhere",
            on_ha.len(),
            few(&on_ha)
        ));
    }
    plan = quorum(plan, &view, node);
    let busy: Vec<String> = tasks
        .unwrap_or_default()
        .into_iter()
        .filter(|task| task.node == *node && task.ended.is_none() && task.status.is_none())
        .map(|task| format!("{} {}", task.kind, task.id.unwrap_or_default()).trim().to_owned())
        .collect();
    if !busy.is_empty() {
        plan = plan.warn("tasks_end", format!("tasks that run on it end: {}", few(&busy)));
    }
    if osds > 0 {
        plan = plan.warn(
            "ceph_degraded",
            format!("{} of Ceph go with it: data has fewer copies meanwhile (set noout before a short absence)", counted(osds, "OSD")),
        );
    }
    let (watched, name, label) = (Arc::clone(member), node.clone(), at.clone());
    let uptime = found.node.uptime;
    let wait = watch(
        format!("{at} to {}", if reboots { "come back" } else { "be off" }),
        PATIENCE,
        format!("{at} was asked to {word}, but it is not seen to have done so within 20 minutes"),
        move |running| {
            let (member, name, label) = (Arc::clone(&watched), name.clone(), label.clone());
            async move {
                let state = state(&member, &name).await;
                running.tell(format!(
                    "{label} is {}",
                    state.as_ref().map_or("silent", |it| it.0.as_str())
                ));
                let is_there = match state {
                    // A cluster that does not answer is one whose only node went.
                    None => return Ok((!reboots).then(|| "silent".to_owned())),
                    Some((word, now)) => word == "online" && (!reboots || now < uptime),
                };
                Ok((is_there == reboots).then(|| if reboots { "online" } else { "off" }.to_owned()))
            }
        },
    );
    let label = at.clone();
    Ok(plan.step(wait).settle(move |_, done| async move {
        let state = done.steps.last().and_then(|(_, step)| step.said.clone()).unwrap_or_default();
        let lead = if reboots {
            format!("{label} is back after the reboot ({})", done.span())
        } else {
            format!("{label} is {state} ({})", done.span())
        };
        Ok(done.report(lead).fact("state", state).next("nodes_list", json!({})))
    }))
}

/// Whether the cluster still has a majority without the node.
fn quorum(plan: Plan, view: &View, node: &NodeName) -> Plan {
    let all = view.nodes.len();
    if all < 2 {
        return plan
            .warn("only_node", "it is the only node: nothing of it can be reached meanwhile");
    }
    let left = view.nodes.iter().filter(|it| it.is_online() && it.name != *node).count();
    if left * 2 > all {
        return plan.effect(format!("the cluster keeps its quorum: {left} of {all} nodes stay"));
    }
    plan.warn(
        "quorum_lost",
        format!("the cluster loses its quorum: {left} of {all} nodes stay, so nothing can be changed, and with HA armed the rest is fenced (unless a quorum device votes)"),
    )
}

/// A node's state in its cluster and for how long it has been up.
async fn state(member: &Arc<Pve>, node: &NodeName) -> Option<(String, u64)> {
    let view = View::load(Arc::clone(member)).await.ok()?;
    let node = view.nodes.into_iter().find(|it| it.name == *node)?;
    Some((node.status, node.uptime))
}

async fn of_server(member: Arc<Pbs>, reboots: bool) -> Result<Plan, ToolError> {
    use pbs_client::{node, tasks};

    let at = member.key.to_string();
    let word = word(reboots);
    let before = member.client.call(node::status()).await;
    let before =
        before.map_err(|error| ToolError::api(format!("read the state of {at}"), &error))?;
    let params = tasks::TaskListParams { running: Some(true), ..Default::default() };
    let busy = member.client.call(tasks::list(params)).await.unwrap_or_default();
    let busy: Vec<String> = busy.iter().map(|task| task.kind.clone()).collect();
    let what = format!("{word} of {at}");
    let mut plan = Plan::new(what.as_str())
        .fact("node", at.as_str())
        .fact("action", word)
        .target(at.as_str(), [("running_tasks", busy.len().to_string())])
        .effect("no backup, restore, verification or sync runs on it meanwhile; jobs that are due then are missed")
        .undo(undo(reboots))
        .step(Step::pbs(&member, what, node::power(word)));
    if !busy.is_empty() {
        plan = plan.warn("tasks_end", format!("tasks that run on it end: {}", few(&busy)));
    }
    let (watched, uptime) = (Arc::clone(&member), before.uptime_secs);
    let wait = watch(
        format!("{at} to {}", if reboots { "come back" } else { "be off" }),
        PATIENCE,
        format!("{at} was asked to {word}, but it is not seen to have done so within 20 minutes"),
        move |_| {
            let member = Arc::clone(&watched);
            async move {
                let now = member.client.call(node::status()).await;
                Ok(match now {
                    Ok(now) if reboots && now.uptime_secs < uptime => Some("online".to_owned()),
                    Err(error) if !reboots && error.is_unreachable() => Some("silent".to_owned()),
                    _ => None,
                })
            }
        },
    );
    Ok(plan.step(wait).settle(move |_, done| async move {
        let state = done.steps.last().and_then(|(_, step)| step.said.clone()).unwrap_or_default();
        let lead = format!("{at} is {state} after the {word} ({})", done.span());
        Ok(done.report(lead).fact("state", state))
    }))
}
