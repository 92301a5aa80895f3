//! `cargo xtask fuzz`: the fuzzers, each for as long as it is told, without a finding.
//!
//! They are libFuzzer's, with coverage that the stable compiler can put in, so no other toolchain is needed. What a run
//! finds out is kept below `target/`; `--keep` brings the inputs that reach something new into the corpus, which the
//! crates' own tests replay.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use crate::workspace::{root, run};

/// The fuzzers, by the names of their programs.
pub(crate) const TARGETS: [&str; 19] = [
    "schema",
    "path",
    "rpc",
    "condition",
    "redact",
    "shown",
    "syslog",
    "frames",
    "webhook",
    "mail",
    "gotify",
    "discord",
    "ntfy",
    "smtp",
    "vzdump",
    "spool",
    "upid",
    "console",
    "feed",
];

/// What makes the compiler put coverage in, as libFuzzer reads it.
const FLAGS: &str = "-Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares \
    --cfg fuzzing -Ccodegen-units=1";

/// The longest input that is kept in the corpus, in bytes.
const LONGEST_KEPT: &str = "512";

/// Builds and runs the fuzzers, all or one, each for so many seconds.
pub(crate) fn run_all(only: Option<&str>, seconds: u64, keep: bool) -> Result<()> {
    let folder = root().join("fuzz");
    let machine = machine()?;
    run(Command::new("cargo")
        .current_dir(&folder)
        .env("RUSTFLAGS", FLAGS)
        // With a target of its own named, build scripts are built without the flags.
        .args(["build", "--release", "--target", &machine, "--target-dir"])
        .arg(root().join("target/fuzz")))?;
    let mut findings = Vec::new();
    for target in TARGETS.into_iter().filter(|target| only.is_none_or(|only| only == *target)) {
        let program = root().join("target/fuzz").join(&machine).join("release").join(target);
        let seeds = folder.join("corpus").join(target);
        let grown = root().join("target/fuzz/corpus").join(target);
        let artifacts = root().join("target/fuzz/artifacts").join(target);
        fs::create_dir_all(&grown)?;
        fs::create_dir_all(&artifacts)?;
        let status = Command::new(&program)
            .arg(&grown)
            .arg(&seeds)
            .arg(format!("-max_total_time={seconds}"))
            .arg(format!("-artifact_prefix={}/", artifacts.display()))
            .args(["-print_final_stats=1", "-timeout=10", "-rss_limit_mb=2048", "-max_len=8192"])
            .stdin(Stdio::null())
            .status()
            .with_context(|| format!("start {}", program.display()))?;
        if !status.success() {
            findings.push(target);
        }
        if keep {
            merge(&program, &seeds, &grown)?;
        }
        println!(
            "{target}: {seconds} s, {}",
            if status.success() { "no finding" } else { "FOUND" }
        );
    }
    ensure!(
        findings.is_empty(),
        "{} found something; see target/fuzz/artifacts",
        findings.join(", ")
    );
    Ok(())
}

/// Adds what reaches something new to the kept inputs.
fn merge(program: &Path, seeds: &Path, grown: &Path) -> Result<()> {
    run(Command::new(program)
        .arg("-set_cover_merge=1")
        .arg(format!("-max_len={LONGEST_KEPT}"))
        .arg(seeds)
        .arg(grown)
        .stderr(Stdio::null()))
}

/// The machine that this compiler builds for.
fn machine() -> Result<String> {
    let told = Command::new("rustc").arg("-vV").output().context("ask rustc what it builds for")?;
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    let host = told.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc does not say what it builds for")
}
