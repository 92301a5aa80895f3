//! The MCP server for Proxmox estates, and its command line.
//!
//! *Invariant:* assembly only: parse arguments, load settings, build, run, map the exit code.

mod actions;
mod approve;
mod approver;
mod attach;
mod audit;
mod call;
mod cli;
mod config;
mod counter;
mod demo;
mod estate;
mod events;
mod freeze;
mod http;
mod kept;
mod output;
mod policy;
mod proof;
#[cfg(test)]
mod reference;
mod rules;
mod serve;
mod setup;
mod test;
mod token;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};

/// It could not run: settings, usage, a file that cannot be written.
pub(crate) const COULD_NOT_RUN: u8 = 2;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        // The work is waiting for others; two threads keep the simulator of `--demo` apart from us.
        .worker_threads(2)
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return fail(&anyhow::Error::new(error).context("start the runtime")),
    };
    let code = runtime.block_on(run(cli)).unwrap_or_else(|error| fail(&error));
    // A blocked read of standard input cannot be taken back; nothing waits for it.
    runtime.shutdown_background();
    code
}

async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let log = cli.log.log.as_deref();
    match cli.command {
        Command::Serve(args) => serve::run(args, log).await,
        Command::Demo => demo::run(log).await,
        Command::Call(args) => call::call(args, log).await,
        Command::Tools(args) => call::tools(&args),
        Command::Test(args) => test::run(args, log).await,
        Command::Config(command) => config::run(command).await,
        Command::Policy(command) => policy::run(command, log).await,
        Command::Token(command) => token::run(command),
        Command::Audit(command) => audit::run(command).await,
        Command::Actions(command) => actions::run(command, log).await,
        Command::Approve(args) => approve::run(args, log).await,
        Command::Approver(command) => approver::run(command),
        Command::Freeze(args) => freeze::run(args, log).await,
        Command::Events(command) => events::run(command, log).await,
        Command::Incidents(command) => events::run_incidents(command, log).await,
        Command::Rules(command) => rules::run(command, log).await,
    }
}

/// Says why it could not run.
#[expect(clippy::print_stderr, reason = "the last word of a program goes to its error output")]
fn fail(error: &anyhow::Error) -> ExitCode {
    // Causes are what others said.
    let said = format!("error: {error:#}");
    let said = stdx::untrusted::text(&said, usize::MAX);
    eprintln!("{}", stdx::redact::Redactor::default().text(&said));
    ExitCode::from(COULD_NOT_RUN)
}
