//! `network_list`: a node's interfaces and bridges, and what waits to be applied.

use std::{fmt::Write as _, sync::Arc};

use async_trait::async_trait;
use estate::Access;
use mcp_protocol::JsonObject;
use pve_client::network::{self, Interface};
use serde::Deserialize;
use serde_json::json;

use super::{late::Until, parts, tally::counted};
use crate::{
    address::Purpose,
    error::ToolError,
    fleet::{GATHER_DEADLINE, Pve},
    report::{Cell, Report, Table, Unreachable},
    schema::{Input, Output},
    sight,
    tool::{Cx, Definition, EstateTool},
    view::View,
};

const COLUMNS: &[&str] =
    &["interface", "type", "active", "auto", "address", "gateway", "ports", "vlan", "comment"];
const MAYBE_UNSEEN: &str = "an empty list can mean that the token may see none: it needs Sys.Audit on the \
                            node or SDN.Use on its bridges";

/// Lists a node's network.
pub struct NetworkList;

#[derive(Debug, Deserialize)]
struct Args {
    node: String,
    cluster: Option<String>,
}

#[async_trait]
impl EstateTool for NetworkList {
    fn definition(&self) -> Definition {
        Definition {
            name: "network_list",
            title: "List a node's network",
            description: "A node's interfaces, bridges, addresses and pending changes.",
            input: Input::new().node().required("node").cluster(),
            output: Output::new().fact("node", "string").table("interfaces"),
            access: Access::Read,
            idempotent: true,
        }
    }

    fn access(&self, _args: &JsonObject) -> Access {
        Access::Read
    }

    async fn call(&self, cx: &Cx, args: JsonObject) -> Result<Report, ToolError> {
        let args: Args = cx.args(args)?;
        let found = cx.fleet.find_node(args.cluster.as_deref(), &args.node, Purpose::Read).await?;
        let (member, node) = (&found.member, found.name());
        let at = format!("{}/{node}", member.key);
        if !found.node.is_online() {
            let why = format!("the cluster reports it as {}", found.node.status);
            let lead = format!("{at}: {}, so its network is unknown", found.node.status);
            let report = Report::new(lead)
                .fact("node", at.clone())
                .unreachable(vec![Unreachable { what: at, why }])
                .next("cluster_status", json!({"cluster": member.key.as_str()}));
            return Ok(found.tell(report));
        }
        let answer = read(&member.client, node).await;
        let (interfaces, changes) = answer.map_err(|error| {
            ToolError::api(format_args!("read the network of {at}"), &error)
                .map(|report| found.tell(report))
        })?;
        let mut report = report(&at, &interfaces);
        if interfaces.is_empty() {
            report = report.note(MAYBE_UNSEEN);
        }
        Ok(found.tell(waiting(report, &at, changes)))
    }
}

/// The networks of all nodes that are online, as one table.
pub(super) async fn of_all(cx: &Cx, cluster: Option<&str>) -> Result<Report, ToolError> {
    let until = Until::of(&cx.fleet);
    let load = |member: Arc<Pve>| async move {
        let view = View::load(Arc::clone(&member)).await?;
        let online = view.nodes.iter().filter(|node| node.is_online());
        let asked = online.map(|node| {
            let client = &member.client;
            async move { (node.name.clone(), until.wait(read(client, &node.name)).await) }
        });
        let answers = futures::future::join_all(asked).await;
        Ok::<_, api_core::Error>((view, answers))
    };
    let members = cx.fleet.pve(cluster)?;
    let gathered = cx.fleet.gather(members, GATHER_DEADLINE, load).await;
    let mut report = Report::default();
    let mut table = Table::new("interfaces", COLUMNS);
    table.columns.insert(0, "node".into());
    let mut answered = 0;
    for (member, (view, answers)) in &gathered.answers {
        for (node, answer) in answers {
            let at = format!("{}/{node}", member.key);
            match answer {
                Ok((interfaces, changes)) => {
                    answered += 1;
                    if interfaces.is_empty() {
                        report = report.note(format!("{at}: {MAYBE_UNSEEN}"));
                    }
                    for interface in interfaces {
                        let mut row = row(interface);
                        row.insert(0, Cell::text(&*at));
                        table.push(row);
                    }
                    report = waiting(report, &at, changes.clone());
                }
                Err(error) => report = parts::missing_at(report, &at, "network", error),
            }
        }
        for node in view.offline_nodes() {
            let (what, why) = (format!("{}/{}", member.key, node.name), &node.status);
            report.unreachable.push(Unreachable { what, why: format!("node {why}") });
        }
    }
    let (interfaces, nodes) = (table.rows.len(), answered);
    let lead = format!("{} on {}", counted(interfaces, "interface"), counted(nodes, "node"));
    report.lead = sight::lead_of(&gathered, lead);
    Ok(gathered.tell(report.table(table)))
}

/// Adds the changes that wait.
fn waiting(report: Report, at: &str, changes: Option<String>) -> Report {
    let Some(changes) = changes else { return report };
    let text = "changes wait to be applied: the rows show them, the running network does not";
    report.note(text).untrusted(format!("pending changes of {at}"), changes)
}

/// The interfaces, and the changes that wait; those stand beside the list, outside `data`.
async fn read(
    client: &pve_client::Client,
    node: &estate::NodeName,
) -> Result<(Vec<Interface>, Option<String>), api_core::Error> {
    /// The envelope with the part that no typed reply has.
    #[derive(Deserialize)]
    struct Answer {
        data: Vec<Interface>,
        changes: Option<String>,
    }
    let request = network::list(node, None);
    let operation = format!("{request:?}");
    let bytes = client.call_bytes(request).await?;
    let answer: Answer = serde_json::from_slice(&bytes).map_err(|error| {
        let message = "the answer has another shape than expected";
        api_core::Error::new(api_core::ErrorKind::Decode, operation, message).with_source(error)
    })?;
    Ok((answer.data, answer.changes.filter(|changes| !changes.trim().is_empty())))
}

fn row(interface: &Interface) -> Vec<Cell> {
    let address = [&interface.cidr, &interface.cidr6];
    let gateway = [&interface.gateway, &interface.gateway6];
    let ports = interface.bridge_ports.iter().chain(&interface.slaves).chain(&interface.ovs_ports);
    let ports: Vec<String> =
        ports.chain(&interface.vlan_raw_device).filter(|port| *port != "none").cloned().collect();
    let vlan = interface.vlan_id.or(interface.ovs_tag).map(|vlan| vlan.to_string());
    let vlan = vlan
        .or_else(|| interface.bridge_vlan_aware.unwrap_or_default().then(|| "aware".to_owned()));
    vec![
        Cell::opt(interface.name.clone()),
        Cell::text(interface.kind.as_str()),
        yes_no(interface.active),
        yes_no(interface.autostart),
        Cell::words(&address.into_iter().flatten().cloned().collect::<Vec<_>>()),
        Cell::words(&gateway.into_iter().flatten().cloned().collect::<Vec<_>>()),
        Cell::words(&ports),
        Cell::opt(vlan),
        Cell::opt(interface.comments.as_deref().map(Cell::foreign)),
    ]
}

fn report(at: &str, interfaces: &[Interface]) -> Report {
    let mut table = Table::new("interfaces", COLUMNS);
    for interface in interfaces {
        table.push(row(interface));
    }
    let bridges = interfaces.iter().filter(|interface| interface.kind.as_str().ends_with("ridge"));
    let down = interfaces.iter().filter(|interface| interface.autostart && !interface.active);
    let down: Vec<String> = down.filter_map(|interface| interface.name.clone()).collect();
    let mut lead = format!(
        "{at}: {}, {}",
        counted(interfaces.len(), "interface"),
        counted(bridges.count(), "bridge")
    );
    if !down.is_empty() {
        let _ = write!(lead, "; down although they should start: {}", down.join(", "));
    }
    Report::new(lead).fact("node", at).table(table)
}

fn yes_no(value: bool) -> Cell {
    Cell::with(value, if value { "yes" } else { "no" })
}

#[cfg(test)]
mod tests;
