//! `cargo xtask bench`: what a start, an idle server, a call, a crowd of calls and an answer cost.
//!
//! Every figure of a call stands beside the same request made by the bare HTTP client in the same
//! run, one after the other in turn, because the machines that this runs on are noisy: the ratio
//! is what counts.

mod bare;
mod bytes;
mod calls;
mod change;
mod events;
mod guard;
mod http;
mod load;
mod memory;
mod redact;
mod start;
mod stdio;

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use serde_json::{Value, json};

use crate::workspace::root;

const GUESTS: u32 = 1000;
const NODES: u32 = 10;
/// After so long a program that has nothing to do has let go of what its start needed (ADR 0011).
const REST: Duration = Duration::from_secs(30);

/// The goals of the product, printed beside what was measured.
mod goal {
    pub(super) const START_MS: f64 = 15.0;
    pub(super) const RESIDENT_MIB: f64 = 15.0;
    pub(super) const ONE_GUEST: f64 = 2.5;
    pub(super) const ALL_GUESTS: f64 = 4.0;
    pub(super) const DEFAULT_LIST_BYTES: usize = 6144;
    pub(super) const COMPACT_LIST_BYTES: usize = 1536;
    pub(super) const REDACTION_MICROS: f64 = 50.0;
    pub(super) const ANSWER_BYTES: usize = 16 * 1024;
    pub(super) const READ_DECISION_US: f64 = 50.0;
    pub(super) const CHANGE_MS: f64 = 5.0;
}

/// A part of the measurements; each prints a table of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// From start to the first answer, and the memory of an idle server.
    Start,
    /// One call after another, and many at once.
    Load,
    /// Idle sessions, and many requests at once.
    Memory,
    /// Tool lists, and answers about estates of three sizes.
    Bytes,
    /// One decision of the guard, and its share of a change.
    Guard,
    /// Taking secrets out of an answer.
    Redaction,
    /// What is heard, kept and told: rates beside rsyslog, times, memory.
    Events,
}

/// Builds what is measured, by this cargo profile, measures the parts (empty: all), prints tables.
///
/// The bare client is a part of this program, so it is this program built by the same profile that
/// measures: against a client without optimization everything would look good.
pub(crate) fn run(rebuild: bool, profile: &str, only: &[Part]) -> Result<()> {
    // Cargo's own name for the profile is not that of its folder.
    let folder = if profile == "dev" { "debug" } else { profile };
    let binaries = root().join("target").join(folder);
    if rebuild {
        build(profile, &["proxmox-mcp", "proxmox-manager", "proxmox-sim"])?;
    }
    let measuring = binaries.join("xtask");
    if std::env::current_exe()? != measuring {
        if rebuild {
            // By itself, so that what it needs of its dependencies does not get into what is measured.
            build(profile, &["xtask"])?;
        }
        if measuring.exists() {
            return hand_over(&measuring, profile, only);
        }
        eprintln!(
            "{} is not built: the bare client is slower than it could be",
            measuring.display()
        );
    }
    for part in Part::value_variants() {
        if !only.is_empty() && !only.contains(part) {
            continue;
        }
        match part {
            Part::Start => start::run(&binaries)?,
            Part::Load => {
                calls::run(&binaries)?;
                load::run(&binaries)?;
            }
            Part::Memory => memory::run(&binaries)?,
            Part::Bytes => bytes::run(&binaries)?,
            Part::Guard => {
                guard::run()?;
                change::run(&binaries)?;
            }
            Part::Redaction => redact::run()?,
            Part::Events => events::run(&binaries, events::Scale::of(profile))?,
        }
        println!();
    }
    Ok(())
}

fn hand_over(measuring: &Path, profile: &str, only: &[Part]) -> Result<()> {
    let mut command = Command::new(measuring);
    command.args(["bench", "--no-build", "--profile", profile]);
    for value in only.iter().filter_map(Part::to_possible_value) {
        command.args(["--only", value.get_name()]);
    }
    let status = command.status().with_context(|| format!("run {}", measuring.display()))?;
    ensure!(status.success(), "the measurement failed");
    Ok(())
}

fn build(profile: &str, packages: &[&str]) -> Result<()> {
    let mut command = Command::new("cargo");
    command.args(["build", "--profile", profile]).current_dir(root());
    for package in packages {
        command.args(["--package", package]);
    }
    let status = command.status().context("run cargo build")?;
    ensure!(status.success(), "cargo build failed");
    Ok(())
}

/// The server under measurement.
fn server(binaries: &Path) -> PathBuf {
    binaries.join("proxmox-mcp")
}

/// The call that is measured most: the state of one guest.
fn guest_status(address: &str) -> Value {
    json!({"name": "guest_get", "arguments": {"guest": address, "include": ["status"]}})
}

fn median(times: &[Duration]) -> f64 {
    percentile(times, 50)
}

/// In milliseconds.
fn percentile(times: &[Duration], percent: usize) -> f64 {
    let mut times = times.to_vec();
    times.sort();
    let at = (times.len() * percent / 100).min(times.len() - 1);
    times[at].as_secs_f64() * 1000.0
}

/// The figure in the middle.
fn median_of(figures: &[f64]) -> f64 {
    let mut figures = figures.to_vec();
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

/// A line of `/proc/PID/status`. `VmRSS` is all that is mapped and in memory; the pages of the program
/// itself, of which the kernel brings in more or fewer than are needed, are most of it. `RssAnon` is
/// what the program allocated, `VmHWM` the most that `VmRSS` has been.
pub(crate) fn memory_mib(pid: u32, what: &str) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))
        .context("read the server's memory")?;
    let line = status.lines().find(|line| line.starts_with(&format!("{what}:")));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    let kib = kib.with_context(|| format!("no {what}"))?;
    Ok(kib.parse::<f64>()? / 1024.0)
}

fn heading(what: &str) {
    println!("{what:<54} {:>12} {:>12} {:>8}  goal", "ours", "bare", "ratio");
}

/// A figure, beside that of the bare client if there is one; the goal (none: NaN) is for their ratio
/// then.
fn row(what: &str, ours: f64, bare: Option<f64>, goal: f64) {
    let (bare, ratio, reached) = match bare {
        Some(bare) => (format!("{bare:.3}"), format!("{:.2}", ours / bare), ours / bare),
        None => ("-".to_owned(), "-".to_owned(), ours),
    };
    let verdict = match goal.is_nan() {
        true => String::new(),
        false if reached <= goal => format!("{goal} reached"),
        false => format!("{goal} MISSED"),
    };
    let line = format!("{what:<54} {ours:>12.3} {bare:>12} {ratio:>8}  {verdict}");
    println!("{}", line.trim_end());
}

/// As a goal in bytes is printed.
fn byte_verdict(bytes: usize, goal: usize) -> String {
    format!("{goal} {}", if bytes <= goal { "reached" } else { "MISSED" })
}
