//! `cargo xtask fuzz`: the fuzzers, each for as long as it is told, without a finding.
//!
//! They are libFuzzer's, with coverage that the stable compiler can put in, so no other toolchain is needed. What a run
//! finds out is kept below `target/`; `--keep` brings the inputs that reach something new into the corpus, which the
//! crates' own tests replay.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;

use anyhow::{Context as _, Result, anyhow, ensure};

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

/// What is fuzzed, and how.
pub(crate) struct Options {
    /// Only these; all if there is none.
    pub(crate) targets: Vec<String>,
    /// For how long each runs.
    pub(crate) seconds: u64,
    /// How many run at once.
    pub(crate) at_once: usize,
    /// Whether what reaches something new is kept.
    pub(crate) keep: bool,
}

/// Where the files of one fuzzer are.
struct Place {
    target: &'static str,
    program: PathBuf,
    seeds: PathBuf,
    grown: PathBuf,
    artifacts: PathBuf,
    log: PathBuf,
}

/// Builds and runs the fuzzers, all or some, each for so many seconds.
pub(crate) fn run_all(options: &Options) -> Result<()> {
    let folder = root().join("fuzz");
    let machine = machine()?;
    run(Command::new("cargo")
        .current_dir(&folder)
        .env("RUSTFLAGS", FLAGS)
        // With a target of its own named, build scripts are built without the flags.
        .args(["build", "--release", "--target", &machine, "--target-dir"])
        .arg(root().join("target/fuzz")))?;
    let is_wanted = |target: &str| {
        options.targets.is_empty() || options.targets.iter().any(|wanted| wanted == target)
    };
    let places = TARGETS.into_iter().filter(|target| is_wanted(target));
    let left: Vec<Place> = places.map(|target| Place::of(target, &folder, &machine)).collect();
    let left = Mutex::new(left.into_iter());
    let results = thread::scope(|scope| {
        let one_after_another = || {
            let mut results = Vec::new();
            loop {
                let next = left.lock().unwrap_or_else(PoisonError::into_inner).next();
                let Some(place) = next else { return results };
                let found = place.fuzz(options);
                results.push((place.target, found));
            }
        };
        let running: Vec<_> =
            (0..options.at_once.max(1)).map(|_| scope.spawn(one_after_another)).collect();
        let mut results = Vec::new();
        for one in running {
            results.extend(one.join().map_err(|_| anyhow!("a fuzzer is waited for no more"))?);
        }
        anyhow::Ok(results)
    })?;
    let mut findings = Vec::new();
    for (target, found) in results {
        if !found.with_context(|| format!("fuzz {target}"))? {
            findings.push(target);
        }
    }
    ensure!(
        findings.is_empty(),
        "{} found something; see target/fuzz/artifacts",
        findings.join(", ")
    );
    Ok(())
}

// === impl Place ===

impl Place {
    fn of(target: &'static str, folder: &Path, machine: &str) -> Self {
        let fuzz = root().join("target/fuzz");
        Self {
            target,
            program: fuzz.join(machine).join("release").join(target),
            seeds: folder.join("corpus").join(target),
            grown: fuzz.join("corpus").join(target),
            artifacts: fuzz.join("artifacts").join(target),
            log: fuzz.join(format!("{target}.log")),
        }
    }

    /// Runs it, and says whether it found nothing.
    fn fuzz(&self, options: &Options) -> Result<bool> {
        let Self { target, program, log, .. } = self;
        fs::create_dir_all(&self.grown)?;
        fs::create_dir_all(&self.artifacts)?;
        let status = Command::new(program)
            .arg(&self.grown)
            .arg(&self.seeds)
            .arg(format!("-max_total_time={}", options.seconds))
            .arg(format!("-artifact_prefix={}/", self.artifacts.display()))
            .args(["-print_final_stats=1", "-timeout=10", "-rss_limit_mb=2048", "-max_len=8192"])
            .stdin(Stdio::null())
            .stderr(File::create(log)?)
            .status()
            .with_context(|| format!("start {}", program.display()))?;
        if options.keep {
            merge(program, &self.seeds, &self.grown)?;
        }
        let said = fs::read(log).with_context(|| format!("read {}", log.display()))?;
        let count = inputs_of(&String::from_utf8_lossy(&said));
        let count = count.map_or_else(|| "?".to_owned(), |count| count.to_string());
        let verdict = if status.success() { "no finding" } else { "FOUND" };
        println!("{target}: {} s, {count} inputs, {verdict}; {}", options.seconds, log.display());
        Ok(status.success())
    }
}

/// How many inputs were tried, as libFuzzer says at its end.
fn inputs_of(said: &str) -> Option<u64> {
    let line = said.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
    line?.trim().parse().ok()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_of_inputs_is_read() {
        let said = "#8 DONE cov: 3\nDone 8 runs in 1 second(s)\nstat::number_of_executed_units: 8123\nstat::x: 1\n";
        assert_eq!(inputs_of(said), Some(8123));
        assert_eq!(inputs_of("==1== ERROR: libFuzzer: deadly signal"), None);
    }
}
