//! What to check, and the run over all of it.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures::future::{join_all, join3};
use guard::Mode;
use stdx::{Clock, SystemClock};

use crate::{
    events::{self, Ways},
    finding::Finding,
    mcp::{self, McpTarget},
    product::{Product, Table},
    progress::{Meter, Progress},
    table,
    topology::{self, Topology},
};

/// How long one check may take unless the caller says otherwise. A refused login takes the servers
/// three seconds.
const DEADLINE: Duration = Duration::from_secs(15);

/// What to check.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Plan {
    /// The PVE tables, in the order of the report.
    pub pve: Vec<pve_client::ConnectOptions>,
    /// The PBS tables, in the order of the report.
    pub pbs: Vec<pbs_client::ConnectOptions>,
    /// What the estate is meant to be; `None` if nobody said.
    pub topology: Option<Topology>,
    /// How far the server would go: changes need their privileges only in `trusted`.
    pub mode: Mode,
    /// The names of the tools that the server would offer; their needs are checked.
    pub tools: BTreeSet<String>,
    /// Inputs and outputs of events.
    pub events: Ways,
    /// The server to shake hands with, if any.
    pub mcp: Option<McpTarget>,
    /// How long one check may take.
    pub deadline: Duration,
    /// What the servers' clocks are compared with.
    pub clock: Arc<dyn Clock>,
}

/// What every check has at hand.
pub(crate) struct Cx<'a> {
    pub(crate) mode: Mode,
    pub(crate) tools: BTreeSet<String>,
    pub(crate) deadline: Duration,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) meter: Meter<'a>,
}

// === impl Plan ===

impl Plan {
    /// Nothing to check yet, by the machine's clock.
    pub fn new(mode: Mode, tools: impl IntoIterator<Item = String>) -> Self {
        Self {
            pve: Vec::new(),
            pbs: Vec::new(),
            topology: None,
            mode,
            tools: tools.into_iter().collect(),
            events: Ways::default(),
            mcp: None,
            deadline: DEADLINE,
            clock: SystemClock::shared(),
        }
    }

    fn tables(&self) -> Vec<Table> {
        let pve = self.pve.iter().cloned().map(Table::Pve);
        pve.chain(self.pbs.iter().cloned().map(Table::Pbs)).collect()
    }
}

/// Checks everything side by side. The findings are in order: each table's endpoints as they stand
/// in the settings, then what concerns the table as a whole; then the estate, inputs and outputs, then MCP.
pub async fn run(plan: Plan, on_progress: impl Fn(Progress) + Send + Sync) -> Vec<Finding> {
    let tables = plan.tables();
    let of_estate = topology::is_asked(plan.topology, &tables);
    let total = tables.iter().map(table::count).sum::<usize>()
        + usize::from(of_estate)
        + events::count(&plan.events)
        + plan.mcp.as_ref().map_or(0, |_| mcp::COUNT);
    let cx = Cx {
        mode: plan.mode,
        tools: plan.tools,
        deadline: plan.deadline,
        clock: plan.clock,
        meter: Meter::new(total, &on_progress),
    };
    let estate = async {
        let reports = join_all(tables.iter().map(|table| table::check(&cx, table))).await;
        let answers: Vec<_> = reports
            .iter()
            .zip(&tables)
            .filter(|(_, table)| table.product() == Product::Pve)
            .map(|(report, table)| (table.key().to_owned(), report.identity.clone()))
            .collect();
        let mut findings: Vec<_> = reports.into_iter().flat_map(|report| report.findings).collect();
        if of_estate {
            findings.push(cx.meter.done(topology::judge(
                plan.topology,
                &answers,
                answers.len() < tables.len(),
            )));
        }
        findings
    };
    let handshake = async {
        match plan.mcp {
            Some(target) => mcp::check(&cx, &target).await,
            None => Vec::new(),
        }
    };
    let ways = events::check(&cx, &plan.events);
    let (mut findings, ways, handshake) = join3(estate, ways, handshake).await;
    findings.extend(ways);
    findings.extend(handshake);
    findings
}
