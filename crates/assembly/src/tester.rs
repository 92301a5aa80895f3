//! The tester over an estate: what `proxmox-mcp test` and `proxmox-manager --check` run.
//!
//! *Invariant:* nothing is made, migrated, bound for good or held, and nobody is told anything unless that
//! is asked for: it runs beside a manager.

use std::time::Duration;

use anyhow::bail;
use checks::{Finding, McpTarget, Plan, Progress, Topology};

use crate::{estate::Estate, events::event_ways, places};

/// What is tested.
#[derive(Clone, Debug)]
pub struct Tests {
    /// Only these clusters and servers; all, and what concerns the whole, where none is named.
    pub only: Vec<String>,
    /// Whether a marked message is sent through each output.
    pub send: bool,
    /// How long one check may take.
    pub deadline: Duration,
    /// The server to shake hands with.
    pub mcp: Option<McpTarget>,
    /// Whether what a manager has of its own is tested as well: state folder, store, spool and socket.
    pub own: bool,
}

/// Runs the tests; no secret is in what they found.
///
/// # Errors
/// There is no cluster or server of a name that was asked for, or inputs and outputs cannot be made.
pub async fn run(
    estate: &Estate,
    tests: Tests,
    on_progress: impl Fn(Progress) + Send + Sync,
) -> anyhow::Result<Vec<Finding>> {
    let mut own = Vec::new();
    if tests.own {
        own = places::look(estate, tests.deadline).await?;
    }
    let mut findings = checks::run(plan(estate, tests)?, on_progress).await;
    findings.extend(own);
    // What was seen is what servers said.
    let redaction = &estate.options.redaction;
    for finding in &mut findings {
        redaction.block(&mut finding.subject);
        redaction.block(&mut finding.detail);
        finding.hints.iter_mut().for_each(|hint| redaction.block(hint));
    }
    Ok(findings)
}

fn plan(estate: &Estate, tests: Tests) -> anyhow::Result<Plan> {
    let settings = &estate.loaded.settings;
    let known: Vec<_> =
        settings.pve.keys().chain(settings.pbs.keys()).map(estate::ClusterKey::as_str).collect();
    if let Some(unknown) = tests.only.iter().find(|key| !known.contains(&key.as_str())) {
        bail!("no cluster or server is called {unknown:?}; there are: {}", known.join(", "));
    }
    let is_wanted = |key: &str| tests.only.is_empty() || tests.only.iter().any(|only| only == key);

    let app = estate.app()?;
    let tools = app.tool_specs().map(|spec| spec.name.clone());
    let mut plan = Plan::new(settings.server.mode, tools);
    let pve = settings.pve.iter().filter(|(key, _)| is_wanted(key.as_str()));
    plan.pve = pve.map(|(_, options)| options.clone()).collect();
    let pbs = settings.pbs.iter().filter(|(key, _)| is_wanted(key.as_str()));
    plan.pbs = pbs.map(|(_, options)| options.clone()).collect();
    plan.deadline = tests.deadline;
    // What concerns the whole is no business of a run over a part.
    if tests.only.is_empty() {
        plan.events = event_ways(estate)?;
        plan.events.send = tests.send;
        plan.topology = settings.server.declared_topology.and_then(topology);
        plan.mcp = tests.mcp;
    }
    Ok(plan)
}

fn topology(declared: settings::Topology) -> Option<Topology> {
    Some(match declared {
        settings::Topology::Standalone => Topology::Standalone,
        settings::Topology::Clustered => Topology::Clustered,
        settings::Topology::Mixed => Topology::Mixed,
        _ => return None,
    })
}
