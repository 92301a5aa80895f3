//! `services_list`: the services of nodes and backup servers; those that should run and do not
//! first.

use std::sync::Arc;

use async_trait::async_trait;
use estate::{Access, NodeName};
use mcp_protocol::JsonObject;
use serde::Deserialize;

use super::{
    ask::{Where, everywhere, few},
    page::{Page, Rows},
};
use crate::{
    error::ToolError,
    fleet::{Pbs, Pve},
    report::{Cell, Report, Table},
    schema::{Input, Output},
    tool::{Cx, Definition, EstateTool},
    tools::tally::counted,
};

const NAME: &str = "services_list";

/// Lists services.
pub struct ServicesList;

#[derive(Debug, Deserialize)]
struct Args {
    cluster: Option<String>,
    node: Option<String>,
    #[serde(default)]
    all: bool,
    limit: Option<usize>,
    cursor: Option<String>,
}

/// A service of either product.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Service {
    pub(super) name: String,
    pub(super) text: String,
    /// `running`, `dead`, `failed`, …
    pub(super) state: String,
    /// Whether it is set up to run.
    pub(super) wanted: bool,
    /// Whether systemd has it at all.
    pub(super) installed: bool,
}

#[async_trait]
impl EstateTool for ServicesList {
    fn definition(&self) -> Definition {
        Definition {
            name: NAME,
            title: "List services",
            description: "System services of nodes and backup servers that should run and do not; all: every one.",
            input: Input::new().cluster().node().boolean("all", "").paged(),
            output: Output::new()
                .fact("service_count", "integer")
                .fact("down_count", "integer")
                .table("services"),
            access: Access::Read,
            idempotent: true,
        }
    }

    fn access(&self, _args: &JsonObject) -> Access {
        Access::Read
    }

    async fn call(&self, cx: &Cx, args: JsonObject) -> Result<Report, ToolError> {
        let query = args.clone();
        let args: Args = cx.args(args)?;
        let page = Page::of(NAME, &query, args.cursor.as_deref(), args.limit)?;
        let place = Where { cluster: args.cluster.as_deref(), node: args.node.as_deref() };
        let asked = everywhere(cx, place, of_node, of_server).await?;
        let (heard, missing) = asked.heard("services", |all| all, |all| all);
        let mut rows = Rows::default();
        let mut places = Vec::new();
        for (at, services) in &heard {
            let down = services.iter().filter(|service| service.is_down()).count();
            if down > 0 {
                places.push(at.clone());
            }
            for service in services.iter().filter(|service| service.installed) {
                let problem = service.is_down().then_some("should run");
                rows.push(
                    service.is_down(),
                    vec![
                        Cell::text(at),
                        Cell::text(&*service.name),
                        Cell::text(&*service.state),
                        Cell::opt(problem),
                        Cell::foreign(&*service.text),
                    ],
                );
            }
        }
        let (count, down) = (rows.len(), rows.wrong());
        let lead = match (heard.len(), down) {
            (0, _) => "nobody told of services".to_owned(),
            (hosts, 0) => format!(
                "all that should run do: {} on {}",
                counted(count, "service"),
                counted(hosts, "host")
            ),
            (hosts, _) => format!(
                "{down} of {} on {} do not run as they should: {}",
                counted(count, "service"),
                counted(hosts, "host"),
                few(&places)
            ),
        };
        let known = (!heard.is_empty()).then_some(count);
        let columns = ["host", "service", "state", "problem", "description"];
        let mut table = Table::new("services", &columns);
        page.fill(&mut table, rows.into_rows(args.all));
        let report = Report::new(lead)
            .fact("service_count", known)
            .fact("down_count", known.map(|_| down))
            .table(table);
        Ok(asked.tell(missing.tell(report)))
    }
}

/// The services of a node.
pub(super) async fn of_node(
    member: Arc<Pve>,
    node: NodeName,
) -> Result<Vec<Service>, api_core::Error> {
    let all = member.client.call(pve_client::nodes::services(&node)).await?;
    // A node without a cluster has the cluster's engine, and does not run it.
    let alone = all.iter().any(|it| it.service == "corosync" && it.state == "dead");
    let all = all.into_iter().map(|service| {
        let unit = service.unit_state.as_deref().unwrap_or_default();
        let failed = service.active_state.as_deref() == Some("failed");
        Service {
            installed: unit != "not-found",
            wanted: unit == "enabled" && !(alone && service.service == "corosync"),
            state: if failed { "failed".to_owned() } else { service.state },
            name: service.service,
            text: service.description,
        }
    });
    let mut all: Vec<Service> = all.collect();
    if alone && is_member(&member).await {
        // It is one of a cluster, so it should run.
        for service in all.iter_mut().filter(|service| service.name == "corosync") {
            service.wanted = true;
        }
    }
    Ok(all)
}

async fn is_member(member: &Pve) -> bool {
    use pve_client::cluster::{MemberKind, status};
    let rows = member.client.call(status()).await.unwrap_or_default();
    rows.iter().any(|row| row.kind == MemberKind::Cluster)
}

/// The services of a backup server.
pub(super) async fn of_server(member: Arc<Pbs>) -> Result<Vec<Service>, api_core::Error> {
    let all = member.client.call(pbs_client::node::services()).await?;
    let all = all.into_iter().map(|service| {
        let unit = service.unit_state.as_deref().unwrap_or_default();
        Service {
            installed: unit != "not-found",
            wanted: unit == "enabled",
            state: service.state,
            name: service.service,
            text: service.description,
        }
    });
    Ok(all.collect())
}

// === impl Service ===

impl Service {
    /// Whether it should run and does not. What runs once and is done counts as running.
    pub(super) fn is_down(&self) -> bool {
        self.state == "failed"
            || self.wanted && !matches!(self.state.as_str(), "running" | "exited")
    }
}
