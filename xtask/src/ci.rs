//! What has to pass, each step alone or all of them, and the other ways to run the tests.

use std::process::Command;
use std::time::Instant;

use anyhow::{Result, bail};
use clap::ValueEnum;

use crate::codegen;
use crate::services;
use crate::workspace::{self, cargo};

/// A step of `cargo xtask ci`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Step {
    /// Formatting.
    Fmt,
    /// Lints, warnings being errors.
    Clippy,
    /// All tests: layers, tidiness, snapshots and generated pages are among them.
    Test,
    /// The code's documentation, warnings being errors.
    Doc,
    /// Licenses, sources and banned crates, where cargo-deny is installed.
    Deny,
}

/// Runs the steps, all of them even if one fails, and fails if one did.
pub(crate) fn run(steps: &[Step], skip: &[Step]) -> Result<()> {
    let steps = if steps.is_empty() { Step::value_variants() } else { steps };
    let mut failed = Vec::new();
    for step in steps.iter().filter(|step| !skip.contains(step)) {
        println!("── {} ──", step.name());
        let started = Instant::now();
        if let Err(error) = step.run() {
            eprintln!("error: {error:#}");
            failed.push(step.name());
        }
        println!("── {}: {:.0} s ──", step.name(), started.elapsed().as_secs_f64());
    }
    if !failed.is_empty() {
        bail!("failed: {}; each runs alone too: `cargo xtask ci {}`", failed.join(", "), failed[0]);
    }
    Ok(())
}

/// Runs all tests with the services that they use, which must then be there.
pub(crate) fn test(args: &[String]) -> Result<()> {
    services::start(&[])?;
    let mut command = cargo(&["test", "--workspace"]);
    workspace::run(command.args(args).env("REQUIRE_SERVICES", "1"))
}

/// Renews snapshots and generated pages; the difference is what there is to review.
pub(crate) fn bless(args: &[String]) -> Result<()> {
    codegen::run(false)?;
    let mut command = cargo(&["test", "--no-fail-fast"]);
    if args.is_empty() {
        command.arg("--workspace");
    }
    workspace::run(command.args(args).env("UPDATE_EXPECT", "1"))
}

/// Runs the simulator's own binary.
pub(crate) fn sim(args: &[String]) -> Result<()> {
    workspace::run(cargo(&["run", "--quiet", "--package", "proxmox-sim", "--"]).args(args))
}

// === impl Step ===

impl Step {
    fn name(self) -> &'static str {
        match self {
            Self::Fmt => "fmt",
            Self::Clippy => "clippy",
            Self::Test => "test",
            Self::Doc => "doc",
            Self::Deny => "deny",
        }
    }

    fn run(self) -> Result<()> {
        match self {
            Self::Fmt => workspace::run(&mut cargo(&["fmt", "--all", "--check"])),
            Self::Clippy => workspace::run(&mut cargo(&[
                "clippy",
                "--workspace",
                "--all-targets",
                "--quiet",
                "--",
                "-D",
                "warnings",
            ])),
            Self::Test => test(&[]),
            Self::Doc => workspace::run(
                cargo(&["doc", "--workspace", "--no-deps", "--document-private-items", "--quiet"])
                    .env("RUSTDOCFLAGS", "-D warnings"),
            ),
            Self::Deny => deny(),
        }
    }
}

/// cargo-deny takes minutes to install, so it is used where it is and missed aloud where not.
fn deny() -> Result<()> {
    let probe = Command::new("cargo-deny").arg("--version").output();
    if !probe.is_ok_and(|probe| probe.status.success()) {
        println!("skipped: cargo-deny is missing; `cargo install --locked cargo-deny` brings it");
        return Ok(());
    }
    // Not advisories: their database is fetched, and what they find is no fault of this change.
    workspace::run(&mut cargo(&["deny", "check", "bans", "licenses", "sources"]))
}
