//! `sdn_list`: zones, virtual networks and subnets, and what of them waits to be applied.

use std::sync::Arc;

use api_core::Error;
use async_trait::async_trait;
use estate::Access;
use futures::future::join_all;
use mcp_protocol::JsonObject;
use pve_client::sdn::{self, Subnet, Vnet, Zone};
use serde::Deserialize;
use serde_json::Value;

use crate::{
    error::ToolError,
    fleet::{GATHER_DEADLINE, Pve},
    report::{Cell, Report, Table},
    schema::{Input, Output},
    sight,
    tool::{Cx, Definition, EstateTool},
    tools::{parts, tally::counted},
};

/// Lists virtual networks.
pub(super) struct SdnList;

#[derive(Debug, Deserialize)]
struct Args {
    cluster: Option<String>,
}

/// Zones, networks, and each network's subnets.
type Heard = (Vec<Zone>, Vec<Vnet>, Vec<(String, Result<Vec<Subnet>, Error>)>);

#[async_trait]
impl EstateTool for SdnList {
    fn definition(&self) -> Definition {
        Definition {
            name: "sdn_list",
            title: "List SDN",
            description: "SDN zones, vnets and subnets of the clusters, and what waits to be applied.",
            input: Input::new().cluster().fields(),
            output: Output::new()
                .fact("pending", "integer")
                .table("zones")
                .table("vnets")
                .table("subnets"),
            access: Access::Read,
            idempotent: true,
        }
    }

    fn access(&self, _args: &JsonObject) -> Access {
        Access::Read
    }

    async fn call(&self, cx: &Cx, args: JsonObject) -> Result<Report, ToolError> {
        let args: Args = cx.args(args)?;
        let members = cx.fleet.pve(args.cluster.as_deref())?;
        let load = |member: Arc<Pve>| async move {
            let client = &member.client;
            let (zones, vnets) =
                futures::join!(client.call(sdn::zones()), client.call(sdn::vnets()));
            let vnets = vnets?;
            let asked = vnets.iter().map(|vnet| {
                let call = client.call(sdn::subnets(&vnet.name));
                async move { (vnet.name.clone(), call.await) }
            });
            let subnets = join_all(asked).await;
            Ok::<Heard, Error>((zones?, vnets, subnets))
        };
        let gathered = cx.fleet.gather(members, GATHER_DEADLINE, load).await;
        let mut zones =
            Table::new("zones", &["zone", "type", "nodes", "bridge", "state", "pending"]);
        let mut vnets = Table::new("vnets", &["vnet", "zone", "tag", "alias", "state", "pending"]);
        let mut subnets = Table::new("subnets", &["subnet", "vnet", "gateway", "snat", "state"]);
        let (mut report, mut waiting) = (Report::default(), 0_usize);
        for (member, (own_zones, own_vnets, own_subnets)) in &gathered.answers {
            let key = &member.key;
            for zone in own_zones {
                waiting += usize::from(zone.state.is_some());
                let nodes: Vec<String> = zone.nodes.iter().map(ToString::to_string).collect();
                zones.push(vec![
                    Cell::text(format!("{key}/{}", zone.name)),
                    Cell::text(&*zone.kind),
                    if nodes.is_empty() { Cell::text("all") } else { Cell::words(&nodes) },
                    Cell::opt(zone.bridge.clone()),
                    Cell::opt(zone.state.clone()),
                    pending(&zone.pending),
                ]);
            }
            for vnet in own_vnets {
                waiting += usize::from(vnet.state.is_some());
                vnets.push(vec![
                    Cell::text(format!("{key}/{}", vnet.name)),
                    Cell::opt(vnet.zone.clone()),
                    Cell::opt(vnet.tag.map(|tag| tag.to_string())),
                    Cell::opt(vnet.alias.clone()),
                    Cell::opt(vnet.state.clone()),
                    pending(&vnet.pending),
                ]);
            }
            for (vnet, answer) in own_subnets {
                match answer {
                    Ok(rows) => {
                        for row in rows {
                            waiting += usize::from(row.state.is_some());
                            subnets.push(vec![
                                Cell::opt(row.cidr.clone().or_else(|| row.id.clone())),
                                Cell::text(format!("{key}/{vnet}")),
                                Cell::opt(row.gateway.clone()),
                                Cell::opt(row.snat.map(|snat| if snat { "yes" } else { "no" })),
                                Cell::opt(row.state.clone()),
                            ]);
                        }
                    }
                    Err(error) => {
                        let what = format!("{key}/{vnet}");
                        report = parts::missing_at(report, &what, "subnets", error);
                    }
                }
            }
        }
        let mut lead = format!(
            "{}, {}, {}",
            counted(zones.rows.len(), "zone"),
            counted(vnets.rows.len(), "vnet"),
            counted(subnets.rows.len(), "subnet")
        );
        if waiting > 0 {
            lead = format!("{lead}; {waiting} wait to be applied");
        }
        if zones.rows.is_empty() && !gathered.answers.is_empty() {
            report = report.note(
                "an empty list can mean that the token may see none: it needs SDN.Audit on /sdn",
            );
        }
        report.lead = sight::lead_of(&gathered, lead);
        report = report.fact("pending", waiting).table(zones).table(vnets).table(subnets);
        Ok(gathered.tell(report))
    }
}

/// What it would be: `tag=210`.
fn pending(value: &Value) -> Cell {
    let words: Vec<String> = value
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            format!("{key}={text}")
        })
        .collect();
    Cell::words(&words)
}
