//! `proxmox-manager --check`: the tester over the settings, told to people or to machines.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use assembly::Estate;
use assembly::tester::{self, Tests};
use checks::{Summary, report};

use crate::cli::Cli;

/// How long one check may take. A refused login takes the servers three seconds.
const DEADLINE: Duration = Duration::from_secs(15);

/// Something is not well.
const FAILED: u8 = 1;

/// Runs the tests and prints what they found.
pub(crate) async fn run(estate: &Estate, cli: &Cli) -> anyhow::Result<ExitCode> {
    let tests =
        Tests { only: Vec::new(), send: cli.send, deadline: DEADLINE, mcp: None, own: true };
    let findings = tester::run(estate, tests, |_| ()).await?;
    let mut out = std::io::stdout().lock();
    let text = if cli.json {
        serde_json::to_string_pretty(&report::document(&findings))? + "\n"
    } else {
        report::table(&findings, out.is_terminal())
    };
    out.write_all(text.as_bytes()).context("print the result")?;
    let is_ok = Summary::of(&findings).is_ok();
    Ok(if is_ok { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}
