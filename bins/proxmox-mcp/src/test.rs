//! `proxmox-mcp test`: every check, told to people or to machines.
//!
//! Exit codes: 0 nothing failed, 1 a check failed, 2 it could not run.

mod progress;
mod render;

use std::{ffi::OsString, io::IsTerminal, process::ExitCode, time::Duration};

use anyhow::{Context, bail};
use checks::{Finding, McpTarget, Plan, Summary, Topology};

use assembly::Estate;

use crate::{
    cli::{SurfaceArgs, TestArgs},
    estate::prepare,
    output,
};

/// Runs the checks and prints what they found.
pub(crate) async fn run(args: TestArgs, log: Option<&str>) -> anyhow::Result<ExitCode> {
    let estate = prepare(&args.surface, log).await?;
    let plan = plan(&args, &estate)?;
    let progress = progress::Line::new(std::io::stderr().is_terminal());
    let mut findings = checks::run(plan, |now| progress.show(&now)).await;
    progress.clear();
    // What was seen is what servers said.
    let redaction = &estate.options.redaction;
    for finding in &mut findings {
        redaction.block(&mut finding.subject);
        redaction.block(&mut finding.detail);
        finding.hints.iter_mut().for_each(|hint| redaction.block(hint));
    }
    let summary = Summary::of(&findings);
    if args.json {
        output::line(&serde_json::to_string_pretty(&document(summary, &findings))?)?;
    } else {
        output::line(&render::table(&findings, std::io::stdout().is_terminal()))?;
    }
    Ok(if summary.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What machines get.
fn document(summary: Summary, findings: &[Finding]) -> serde_json::Value {
    serde_json::json!({"summary": summary, "findings": findings})
}

/// What is checked: everything, or only the tables that were asked for.
fn plan(args: &TestArgs, estate: &Estate) -> anyhow::Result<Plan> {
    let settings = &estate.loaded.settings;
    let known: Vec<_> =
        settings.pve.keys().chain(settings.pbs.keys()).map(estate::ClusterKey::as_str).collect();
    if let Some(unknown) = args.only.iter().find(|key| !known.contains(&key.as_str())) {
        bail!("no cluster or server is called {unknown:?}; there are: {}", known.join(", "));
    }
    let is_wanted = |key: &str| args.only.is_empty() || args.only.iter().any(|only| only == key);

    let app = estate.app()?;
    let tools = app.tool_specs().map(|spec| spec.name.clone());
    let mut plan = Plan::new(settings.server.mode, tools);
    let pve = settings.pve.iter().filter(|(key, _)| is_wanted(key.as_str()));
    plan.pve = pve.map(|(_, options)| options.clone()).collect();
    let pbs = settings.pbs.iter().filter(|(key, _)| is_wanted(key.as_str()));
    plan.pbs = pbs.map(|(_, options)| options.clone()).collect();
    plan.deadline = Duration::from_secs(args.timeout);
    // What concerns the whole is no business of a run over a part.
    if args.only.is_empty() {
        plan.events = assembly::event_ways(estate)?;
        plan.events.send = args.send;
        plan.topology = settings.server.declared_topology.and_then(topology);
        let program = std::env::current_exe().context("find this program's own file")?;
        plan.mcp = Some(McpTarget { program, args: serve(&args.surface) });
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

/// The arguments with which a client would start the server that these flags describe.
fn serve(surface: &SurfaceArgs) -> Vec<OsString> {
    let mut args: Vec<OsString> = vec!["serve".into()];
    let mut flag = |name: &str, value: OsString| args.extend([name.into(), value]);
    if let Some(file) = &surface.source.config {
        flag("--config", file.into());
    }
    if let Some(file) = &surface.source.env_file {
        flag("--env-file", file.into());
    }
    if let Some(toolsets) = &surface.toolsets {
        flag("--toolsets", toolsets.join(",").into());
    }
    if let Some(mode) = surface.mode {
        flag("--mode", mode.as_str().into());
    }
    if surface.demo {
        args.push("--demo".into());
    }
    args
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    #[test]
    fn the_server_that_is_greeted_has_the_same_flags() {
        for flags in [
            "serve",
            "serve --config /etc/x.toml --toolsets default,classic --mode trusted",
            "serve --env-file .env",
            "serve --demo",
        ] {
            let line = format!("proxmox-mcp {}", flags.replacen("serve", "test", 1));
            let Command::Test(args) = Cli::parse_from(line.split(' ')).command else {
                panic!("{line} is a test");
            };
            let given: Vec<_> =
                serve(&args.surface).into_iter().map(|arg| arg.into_string().unwrap()).collect();
            assert_eq!(given.join(" "), flags);
        }
    }
}
