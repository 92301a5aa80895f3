//! `nodes_list`: nodes with load and what they carry.

use std::sync::Arc;

use api_core::Error;
use async_trait::async_trait;
use estate::Access;
use mcp_protocol::JsonObject;
use serde::Deserialize;

use super::tally::{Tally, counted};
use crate::{
    error::ToolError,
    fleet::{GATHER_DEADLINE, Gathered, Pve},
    needs,
    permissions::Permissions,
    report::{Cell, Report, Table, Unreachable},
    schema::{Input, Output},
    sight,
    tool::{Cx, Definition, EstateTool},
    view::View,
};

/// Lists nodes.
pub struct NodesList;

#[derive(Debug, Deserialize)]
struct Args {
    cluster: Option<String>,
}

type Seen = (View, Option<Arc<Permissions>>);

#[async_trait]
impl EstateTool for NodesList {
    fn definition(&self) -> Definition {
        Definition {
            name: "nodes_list",
            title: "List nodes",
            description: "PVE nodes with load, memory and guests.",
            input: Input::new().cluster(),
            output: Output::new().table("nodes").fact("count", "integer"),
            access: Access::Read,
            idempotent: true,
        }
    }

    fn access(&self, _args: &JsonObject) -> Access {
        Access::Read
    }

    async fn call(&self, cx: &Cx, args: JsonObject) -> Result<Report, ToolError> {
        let args: Args = cx.args(args)?;
        let now = cx.now();
        let members = cx.fleet.pve(args.cluster.as_deref())?;
        let load = |member: Arc<Pve>| async move {
            let permissions = sight::of_pve(&member, now);
            let (view, permissions) = futures::join!(View::load(Arc::clone(&member)), permissions);
            Ok::<_, Error>((view?, permissions))
        };
        let gathered = cx.fleet.gather(members, GATHER_DEADLINE, load).await;
        Ok(report(&gathered))
    }
}

fn report(gathered: &Gathered<Pve, Seen>) -> Report {
    let columns =
        &["node", "status", "cpu", "cpus", "mem", "maxmem", "root", "uptime", "running", "guests"];
    let mut table = Table::new("nodes", columns);
    let mut unreachable = Vec::new();
    let mut online = 0;
    for (member, (view, permissions)) in &gathered.answers {
        // Without VM.Audit the list of guests is cut: then a zero is unknown.
        let sees_guests = needs::need("guests")
            .zip(permissions.as_deref())
            .is_none_or(|(need, held)| need.is_met(held));
        for node in &view.nodes {
            let at = format!("{}/{}", member.key, node.name);
            let here = view.guests.iter().filter(|guest| guest.node == node.name);
            let tally: Tally = here.collect();
            let counts = sees_guests || tally.guests() > 0;
            let on = node.is_online();
            online += usize::from(on);
            if !on {
                let why = format!("node {}", node.status);
                unreachable.push(Unreachable { what: at.clone(), why });
            }
            // Without Sys.Audit on the node its figures are left out: then they are unknown, not 0.
            let known = on && node.max_mem > 0;
            let root = (node.max_disk > 0).then(|| node.disk as f64 / node.max_disk as f64);
            table.push(vec![
                Cell::text(at),
                Cell::text(&*node.status),
                if known { Cell::share(node.cpu) } else { Cell::none() },
                if known { Cell::number(node.cpus as u64) } else { Cell::none() },
                if known { Cell::bytes(node.mem) } else { Cell::none() },
                if known { Cell::bytes(node.max_mem) } else { Cell::none() },
                root.filter(|_| on).map_or_else(Cell::none, Cell::share),
                if on && node.uptime > 0 { Cell::span(node.uptime) } else { Cell::none() },
                if on && counts { Cell::number(tally.running as u64) } else { Cell::none() },
                if counts { Cell::number(tally.guests() as u64) } else { Cell::none() },
            ]);
        }
    }
    let all = table.rows.len();
    let lead = format!("{online} of {} online", counted(all, "node"));
    let mut report = Report::new(sight::lead_of(gathered, lead))
        .fact("count", sight::known(gathered, all))
        .fact("online", sight::known(gathered, online))
        .table(table)
        .unreachable(unreachable);
    for (member, (_, permissions)) in &gathered.answers {
        report = sight::tell(report, member.key.as_str(), permissions.as_deref(), &["audit"]);
    }
    gathered.tell(report)
}
