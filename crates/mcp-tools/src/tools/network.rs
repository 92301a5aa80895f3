//! `network_list`: a node's interfaces and bridges, and what waits to be applied.

use std::fmt::Write as _;

use async_trait::async_trait;
use estate::Access;
use mcp_protocol::JsonObject;
use pve_client::network::{self, Interface};
use serde::Deserialize;
use serde_json::json;

use crate::{
    error::ToolError,
    report::{Cell, Report, Table, Unreachable},
    schema::{Input, Output},
    tool::{Cx, Definition, EstateTool},
};

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
        let found = cx.fleet.find_node(args.cluster.as_deref(), &args.node).await?;
        let (member, node) = (&found.member, found.name());
        let at = format!("{}/{node}", member.key);
        if !found.node.is_online() {
            let why = format!("the cluster reports it as {}", found.node.status);
            return Ok(Report::new(format!(
                "{at}: {}, so its network is unknown",
                found.node.status
            ))
            .fact("node", at.clone())
            .unreachable(vec![Unreachable { what: at, why }])
            .next("cluster_status", json!({"cluster": member.key.as_str()})));
        }
        let answer = read(&member.client, node).await;
        let (interfaces, changes) = answer
            .map_err(|error| ToolError::api(format_args!("read the network of {at}"), &error))?;
        let mut report = report(&at, &interfaces);
        if interfaces.is_empty() {
            report = report.note(
                "an empty list can mean that the token may see none: it needs Sys.Audit on the \
                 node or SDN.Use on its bridges",
            );
        }
        Ok(match changes {
            Some(changes) => report
                .note(
                    "changes wait to be applied: the rows show them, the running network does not",
                )
                .untrusted(format!("pending changes of {at}"), changes),
            None => report,
        })
    }
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

fn report(at: &str, interfaces: &[Interface]) -> Report {
    let columns =
        &["interface", "type", "active", "auto", "address", "gateway", "ports", "vlan", "comment"];
    let mut table = Table::new("interfaces", columns);
    for interface in interfaces {
        let address = [&interface.cidr, &interface.cidr6];
        let gateway = [&interface.gateway, &interface.gateway6];
        let ports =
            interface.bridge_ports.iter().chain(&interface.slaves).chain(&interface.ovs_ports);
        let ports: Vec<String> = ports
            .chain(&interface.vlan_raw_device)
            .filter(|port| *port != "none")
            .cloned()
            .collect();
        let vlan = interface.vlan_id.or(interface.ovs_tag).map(|vlan| vlan.to_string());
        let vlan = vlan.or_else(|| {
            interface.bridge_vlan_aware.unwrap_or_default().then(|| "aware".to_owned())
        });
        table.push(vec![
            Cell::opt(interface.name.clone()),
            Cell::text(interface.kind.as_str()),
            yes_no(interface.active),
            yes_no(interface.autostart),
            Cell::words(&address.into_iter().flatten().cloned().collect::<Vec<_>>()),
            Cell::words(&gateway.into_iter().flatten().cloned().collect::<Vec<_>>()),
            Cell::words(&ports),
            Cell::opt(vlan),
            Cell::opt(interface.comments.as_deref().map(|comment| comment.trim().to_owned())),
        ]);
    }
    let bridges = interfaces.iter().filter(|interface| interface.kind.as_str().ends_with("ridge"));
    let down = interfaces.iter().filter(|interface| interface.autostart && !interface.active);
    let down: Vec<String> = down.filter_map(|interface| interface.name.clone()).collect();
    let mut lead = format!("{at}: {} interfaces, {} bridges", interfaces.len(), bridges.count());
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
