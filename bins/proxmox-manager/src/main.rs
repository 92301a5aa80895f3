//! The manager daemon: owns a state folder, answers the control socket, runs what was approved.
//!
//! *Invariant:* assembly only: parse arguments, load settings, build, run, map the exit code.

mod check;
mod cli;
mod demo;
mod notify;
mod run;
mod start;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::Cli;

/// It could not run: settings, usage, another manager.
const COULD_NOT_RUN: u8 = 2;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let result = match runtime {
        Ok(runtime) => {
            let result = runtime.block_on(run::run(cli));
            runtime.shutdown_background();
            result
        }
        Err(error) => Err(anyhow::Error::new(error).context("start the runtime")),
    };
    result.unwrap_or_else(|error| fail(&error))
}

/// Says why it could not run.
#[expect(clippy::print_stderr, reason = "the last word of a program goes to its error output")]
fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("error: {error:#}");
    ExitCode::from(COULD_NOT_RUN)
}
