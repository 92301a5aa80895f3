//! Development tasks: `cargo xtask --help`.
//!
//! What can be a test is a test: `cargo test -p xtask` holds the layers, tidiness and generated
//! pages, so plain `cargo test` fails on them too.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "these talk to a person at a terminal"
)]

mod attacks;
mod bench;
mod ci;
mod clients;
mod codegen;
mod conformance;
mod crashes;
mod daemon;
mod dist;
mod fuzz;
mod layers;
mod npm;
mod outages;
mod schema;
mod server;
mod services;
mod sim;
#[cfg(test)]
mod threats;
#[cfg(test)]
mod tidy;
mod told;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::ci::Step;
use crate::services::Service;

#[derive(Parser)]
#[command(bin_name = "cargo xtask", about = "Development tasks of this workspace")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Everything that has to pass: formatting, lints, tests, documentation, dependencies.
    Ci {
        /// Only these steps, in this order.
        steps: Vec<Step>,
        /// All steps but this one; may be given several times.
        #[arg(long, value_name = "STEP")]
        skip: Vec<Step>,
    },
    /// All tests, with the services that they use.
    Test {
        /// Passed on to `cargo test --workspace`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Accept what tests now produce: renews every snapshot and every generated page.
    Bless {
        /// Passed on to `cargo test`, such as `-p CRATE`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Write the generated parts of the documentation.
    Codegen {
        /// Write nothing; fail if anything is stale.
        #[arg(long)]
        check: bool,
    },
    /// Run the simulator.
    Sim {
        /// Passed on to `proxmox-sim`; `-- --help` lists what it takes.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Start, stop or look at the real services that tests use.
    Services {
        #[command(subcommand)]
        action: ServicesAction,
    },
    /// Build the binaries as they are shipped, and print their sizes.
    Dist,
    /// Let real MCP clients talk to the real binary on the demo.
    Clients {
        /// Use the binary that `cargo test` built.
        #[arg(long)]
        no_build: bool,
        /// Only these clients; without it all that install within a minute.
        #[arg(long, value_name = "CLIENT", value_delimiter = ',')]
        only: Vec<clients::Kind>,
    },
    /// Run the official conformance suite of the Model Context Protocol against our server.
    Conformance {
        /// Use what `cargo test` built.
        #[arg(long)]
        no_build: bool,
        /// Only this scenario, in each revision that has it.
        #[arg(long, value_name = "NAME")]
        scenario: Option<String>,
    },
    /// Attack the real binaries: tokens that are no good, foreign pages, odd bodies, slow clients, and a model that
    /// approves its own plans.
    Attacks {
        /// Use what `cargo test` built.
        #[arg(long)]
        no_build: bool,
        /// Only these parts.
        #[arg(long, value_name = "PART", value_delimiter = ',')]
        only: Vec<attacks::Part>,
    },
    /// Send a message to a control socket, as the account that runs this; used by the attacks.
    #[command(hide = true)]
    Speak { socket: std::path::PathBuf },
    /// Kill the real programs at every step of an action, and at random moments under load; start them again, and look
    /// at what is left.
    Crashes {
        /// Only these parts.
        parts: Vec<crashes::Part>,
        /// Use what `cargo test` built.
        #[arg(long)]
        no_build: bool,
        /// Only the steps with this in their name.
        #[arg(long, value_name = "WORDS")]
        only: Option<String>,
        /// How often the event pipeline is killed.
        #[arg(long, value_name = "COUNT", default_value_t = 200)]
        kills: u32,
        /// Kill it at the moments that follow from this; a run prints its own.
        #[arg(long, value_name = "NUMBER")]
        seed: Option<u64>,
    },
    /// Let outputs, disks and databases fail and sources flood, and look at what was kept, shed and said.
    Outages {
        /// Use what `cargo test` built.
        #[arg(long)]
        no_build: bool,
        /// Only these parts.
        #[arg(long, value_name = "PART", value_delimiter = ',')]
        only: Vec<outages::Part>,
        /// The part about the disk, in a mount namespace of its own.
        #[arg(long, value_name = "FOLDER", hide = true)]
        inside: Option<std::path::PathBuf>,
    },
    /// Run the fuzzers, each for as long as it is told.
    Fuzz {
        /// Only these.
        #[arg(value_parser = clap::builder::PossibleValuesParser::new(fuzz::TARGETS))]
        targets: Vec<String>,
        /// For how long each runs.
        #[arg(long, value_name = "SECONDS", default_value_t = 600)]
        seconds: u64,
        /// How many run at once.
        #[arg(long, value_name = "COUNT", default_value_t = 1)]
        at_once: usize,
        /// Keep the inputs that reach something new in `fuzz/corpus`.
        #[arg(long)]
        keep: bool,
    },
    /// Show what becomes of the published API: tiers, descriptions, and what its search finds.
    Schema,
    /// Measure start, memory and calls against the bare HTTP client, and the bytes of lists and answers.
    Bench {
        /// Only these parts.
        parts: Vec<bench::Part>,
        /// The same, with commas between.
        #[arg(long, value_name = "PART", value_delimiter = ',')]
        only: Vec<bench::Part>,
        /// Measure the binaries as they are, without building them.
        #[arg(long)]
        no_build: bool,
        /// The cargo profile of the binaries.
        #[arg(long, default_value = "release", hide = true)]
        profile: String,
    },
}

#[derive(Subcommand)]
enum ServicesAction {
    /// Start them, installing their Debian packages where they are missing.
    Start { services: Vec<Service> },
    /// Stop them and remove their data.
    Stop { services: Vec<Service> },
    /// Say which run, and where.
    Status { services: Vec<Service> },
}

fn main() -> ExitCode {
    let done = match Cli::parse().task {
        Task::Ci { steps, skip } => ci::run(&steps, &skip),
        Task::Test { args } => ci::test(&args),
        Task::Bless { args } => ci::bless(&args),
        Task::Codegen { check } => codegen::run(check),
        Task::Sim { args } => ci::sim(&args),
        Task::Services { action } => match action {
            ServicesAction::Start { services } => services::start(&services),
            ServicesAction::Stop { services } => services::stop(&services),
            ServicesAction::Status { services } => services::status(&services),
        },
        Task::Dist => dist::run(),
        Task::Schema => schema::run(),
        Task::Fuzz { targets, seconds, at_once, keep } => {
            fuzz::run_all(&fuzz::Options { targets, seconds, at_once, keep })
        }
        Task::Bench { parts, only, no_build, profile } => {
            bench::run(!no_build, &profile, &[parts, only].concat())
        }
        Task::Conformance { no_build, scenario } => {
            conformance::run_all(!no_build, scenario.as_deref())
        }
        Task::Attacks { no_build, only } => attacks::run_all(!no_build, &only),
        Task::Speak { socket } => attacks::speak(&socket),
        Task::Crashes { parts, no_build, only, kills, seed } => {
            crashes::run_all(&crashes::Options { build: !no_build, parts, only, kills, seed })
        }
        Task::Outages { no_build, only, inside } => {
            outages::run_all(!no_build, &only, inside.as_deref())
        }
        Task::Clients { no_build, only } => clients::run_all(!no_build, &only),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
