//! `proxmox-mcp test`: every check, told to people or to machines.
//!
//! Exit codes: 0 nothing failed, 1 a check failed, 2 it could not run.

mod progress;

use std::{ffi::OsString, io::IsTerminal, process::ExitCode, time::Duration};

use anyhow::Context;
use assembly::tester::{self, Tests};
use checks::{McpTarget, Summary, report};

use crate::{
    cli::{SurfaceArgs, TestArgs},
    estate::prepare,
    output,
};

/// Runs the checks and prints what they found.
pub(crate) async fn run(args: TestArgs, log: Option<&str>) -> anyhow::Result<ExitCode> {
    let estate = prepare(&args.surface, log).await?;
    let tests = tests(&args)?;
    let progress = progress::Line::new(std::io::stderr().is_terminal());
    let findings = tester::run(&estate, tests, |now| progress.show(&now)).await?;
    progress.clear();
    if args.json {
        output::line(&serde_json::to_string_pretty(&report::document(&findings))?)?;
    } else {
        output::line(&report::table(&findings, std::io::stdout().is_terminal()))?;
    }
    Ok(if Summary::of(&findings).is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What is tested: everything, or only the tables that were asked for.
fn tests(args: &TestArgs) -> anyhow::Result<Tests> {
    let program = std::env::current_exe().context("find this program's own file")?;
    Ok(Tests {
        only: args.only.clone(),
        send: args.send,
        deadline: Duration::from_secs(args.timeout),
        mcp: Some(McpTarget { program, args: serve(&args.surface) }),
        own: false,
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
