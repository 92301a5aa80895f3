//! `network_get`: a node's interfaces, who hangs on them, and what waits to be applied.

use std::sync::Arc;

use async_trait::async_trait;
use estate::Access;
use mcp_protocol::JsonObject;
use serde::Deserialize;
use serde_json::json;

use super::{
    lines::{lines, touched},
    place::{Hanging, Written, ports, reached_by},
};
use crate::{
    address::Purpose,
    error::ToolError,
    report::{Cell, Report, Table, Unreachable},
    schema::{Input, Output},
    tool::{Cx, Definition, EstateTool},
    tools::tally::counted,
    view::View,
};

/// Looks at a node's network.
pub(super) struct NetworkGet;

#[derive(Debug, Deserialize)]
struct Args {
    node: String,
    cluster: Option<String>,
}

#[async_trait]
impl EstateTool for NetworkGet {
    fn definition(&self) -> Definition {
        Definition {
            name: "network_get",
            title: "A node's network in detail",
            description: "Interfaces with ports, guests on each bridge, which one carries the \
                node's own address, and pending changes line by line.",
            input: Input::new().node().required("node").cluster(),
            output: Output::new()
                .fact("node", "string")
                .fact("pending", "integer")
                .fact("carrier", "string")
                .table("interfaces")
                .table("pending_lines"),
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
        let written = Written::of(&found).await?;
        let (view, reached) =
            futures::join!(View::load(Arc::clone(member)), reached_by(member, node));
        let hanging = match &view {
            Ok(view) => Hanging::read(member, view, node).await,
            Err(_) => Hanging::default(),
        };
        let carrier = written.carrier(&reached);
        let mut table = Table::new(
            "interfaces",
            &["interface", "type", "active", "auto", "address", "gateway", "over", "mtu", "guests"],
        );
        for interface in &written.interfaces {
            let name = interface.name.clone().unwrap_or_default();
            let guests = hanging.at(&name).len();
            let both = |a: &Option<String>, b: &Option<String>| {
                Cell::words(&[a, b].into_iter().flatten().cloned().collect::<Vec<_>>())
            };
            table.push(vec![
                Cell::text(name),
                Cell::text(interface.kind.as_str()),
                yes_no(interface.active),
                yes_no(interface.autostart),
                both(&interface.cidr, &interface.cidr6),
                both(&interface.gateway, &interface.gateway6),
                Cell::words(&ports(interface)),
                Cell::opt(interface.mtu.map(|mtu| mtu.to_string())),
                if guests == 0 { Cell::none() } else { Cell::number(guests) },
            ]);
        }
        let waiting = written.changes.as_deref().map(lines).unwrap_or_default();
        let (names, _) = touched(&waiting);
        let mut lead = format!("{at}: {}", counted(written.interfaces.len(), "interface"));
        if let Some(name) = carrier {
            lead = format!("{lead}, reached by {name}");
        }
        if waiting.is_empty() {
            lead.push_str(", nothing waits to be applied");
        } else {
            let what = if names.is_empty() { "interfaces".to_owned() } else { names.join(", ") };
            lead = format!("{lead}; changes of {what} wait to be applied");
        }
        let mut report = Report::new(lead)
            .fact("node", at.as_str())
            .fact("pending", waiting.len())
            .fact("carrier", carrier)
            .table(table);
        if !waiting.is_empty() {
            let mut table = Table::new("pending_lines", &["interface", "change", "line"]);
            for line in &waiting {
                table.push(vec![
                    Cell::opt(line.interface.clone()),
                    Cell::text(if line.is_new { "comes" } else { "goes" }),
                    Cell::text(&*line.text),
                ]);
            }
            let args = json!({"node": node.as_str(), "cluster": member.key.as_str(), "plan": true});
            report = report
                .table(table)
                .note("the rows show the network as it would be; the running one lacks the changes")
                .next("network_apply", args.clone())
                .next("network_revert", args);
        }
        if hanging.unread > 0 {
            report = report.note(format!("{} could not be read", counted(hanging.unread, "guest")));
        }
        if let Err(error) = &view {
            report = report.note(format!("guests are not known: {}", stdx::Chain(error)));
        }
        if written.interfaces.is_empty() {
            report = report.note(
                "an empty list can mean that the token may see none: it needs Sys.Audit on the node or SDN.Use on its bridges",
            );
        }
        Ok(found.tell(report))
    }
}

fn yes_no(value: bool) -> Cell {
    Cell::with(value, if value { "yes" } else { "no" })
}
