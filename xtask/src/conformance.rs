//! `cargo xtask conformance`: the official conformance suite, in both revisions that it has requirements for.
//!
//! The suite and the node that runs it come from npm by a lock file into a folder below `target/`. It runs against the
//! example server, which has all of its fixtures, and the scenarios that need no fixtures run against the real binary on
//! the demo as well. Here every check has to pass: those that the suite does not score, and warnings, count as well.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use crate::npm;
use crate::server::Server;
use crate::workspace::{cargo, root, run};

const REVISIONS: [&str; 2] = ["2026-07-28", "2025-11-25"];
/// The scenarios that need no fixtures, so that the real binary can be held against them.
const PLAIN: [(&str, &[&str]); 2] = [
    (
        "2026-07-28",
        &[
            "server-stateless",
            "completion-complete",
            "tools-list",
            "server-sse-multiple-streams",
            "resources-list",
            "sep-2164-resource-not-found",
            "prompts-list",
            "dns-rebinding-protection",
            "caching",
            "input-required-result-unsupported-methods",
            "http-header-validation",
        ],
    ),
    (
        "2025-11-25",
        &[
            "server-initialize",
            "logging-set-level",
            "ping",
            "completion-complete",
            "tools-list",
            "server-sse-multiple-streams",
            "resources-list",
            "resources-subscribe",
            "resources-unsubscribe",
            "prompts-list",
            "dns-rebinding-protection",
            "server-session-lifecycle",
        ],
    ),
];
/// Checks of those scenarios that do need a tool of the suite's.
const NEEDS_FIXTURE: [&str; 5] = [
    "sep-2575-server-rejects-undeclared-capability",
    "sep-2575-missing-capability-http-400",
    "sep-2575-http-server-no-independent-requests-on-stream",
    "sep-2575-server-no-log-without-loglevel",
    "sep-2575-server-sends-tools-list-changed-on-subscription",
];
/// What the suite is run against, and how it is told.
struct Target<'a> {
    name: &'a str,
    url: &'a str,
    revision: &'a str,
    /// Only these; empty for all of the revision.
    scenarios: Vec<&'a str>,
    /// Checks that do not count.
    excused: &'a [&'a str],
}

/// A check as the suite reports it.
#[derive(Deserialize)]
struct Check {
    id: String,
    status: String,
    #[serde(default, rename = "errorMessage")]
    error_message: Option<String>,
}

/// What came of one run of the suite.
#[derive(Default)]
struct Tally {
    scenarios: usize,
    clean: usize,
    passed: usize,
    complaints: Vec<String>,
}

/// Runs the suite: all of it, or one scenario.
pub(crate) fn run_all(build: bool, scenario: Option<&str>) -> Result<()> {
    if build {
        let example = ["build", "--package", "mcp-protocol", "--example", "conformance_server"];
        run(&mut cargo(&example))?;
        run(&mut cargo(&["build", "--package", "proxmox-mcp"]))?;
    }
    let suite = npm::install("xtask/conformance", "conformance")?;
    let built = root().join("target/debug");
    let example = Server::start(
        Command::new(built.join("examples/conformance_server")).arg("127.0.0.1:0"),
        &suite.join("example.log"),
    )?;
    let binary = Server::start(
        Command::new(built.join("proxmox-mcp")).args([
            "serve",
            "--demo",
            "--http",
            "127.0.0.1:0",
            "--no-auth",
        ]),
        &suite.join("binary.log"),
    )?;
    let mut complaints = 0;
    for revision in REVISIONS {
        let scenarios = match scenario {
            None => Vec::new(),
            Some(name) if requires(&suite, revision, name)? => vec![name],
            Some(_) => continue,
        };
        let url = &example.url;
        let target = Target { name: "example", url, revision, scenarios, excused: &[] };
        complaints += target.examine(&suite)?;
    }
    for (revision, plain) in PLAIN {
        let wanted = |name: &&&str| scenario.is_none_or(|scenario| scenario == **name);
        let scenarios: Vec<&str> = plain.iter().filter(wanted).copied().collect();
        if scenarios.is_empty() {
            continue;
        }
        let url = &binary.url;
        let name = "proxmox-mcp";
        let target = Target { name, url, revision, scenarios, excused: &NEEDS_FIXTURE };
        complaints += target.examine(&suite)?;
    }
    ensure!(complaints == 0, "{complaints} checks did not pass");
    Ok(())
}

/// Whether the scenario is among those of the revision.
fn requires(suite: &Path, revision: &str, scenario: &str) -> Result<bool> {
    let file =
        format!("node_modules/@modelcontextprotocol/conformance/requirements/{revision}.yaml");
    let text = fs::read_to_string(suite.join(file)).context("read the suite's requirements")?;
    let mut entries = text.lines().filter_map(|line| line.trim().strip_prefix("- "));
    Ok(entries.any(|entry| entry.trim_start_matches("scenario: ") == scenario))
}

// === impl Target ===

impl Target<'_> {
    /// Runs the scenarios, prints what came of them and gives the number of checks that did not pass.
    fn examine(&self, suite: &Path) -> Result<usize> {
        let results = suite.join("results").join(self.name).join(self.revision);
        if results.exists() {
            fs::remove_dir_all(&results)?;
        }
        fs::create_dir_all(&results)?;
        let log = results.join("log");
        let begun = Instant::now();
        if self.scenarios.is_empty() {
            self.run_suite(suite, &results, &["--requirements", self.revision])?;
        }
        for scenario in &self.scenarios {
            let arguments = ["--scenario", *scenario, "--spec-version", self.revision];
            self.run_suite(suite, &results, &arguments)?;
        }
        let tally = Tally::read(&results, self.excused)?;
        ensure!(tally.scenarios > 0, "the suite ran nothing; it said so in {}", log.display());
        for complaint in &tally.complaints {
            println!("  {complaint}");
        }
        println!(
            "{}, {}: {} of {} scenarios, {} of {} checks passed, in {:.0} s",
            self.name,
            self.revision,
            tally.clean,
            tally.scenarios,
            tally.passed,
            tally.passed + tally.complaints.len(),
            begun.elapsed().as_secs_f64(),
        );
        Ok(tally.complaints.len())
    }

    fn run_suite(&self, suite: &Path, results: &Path, arguments: &[&str]) -> Result<()> {
        let out = File::options().create(true).append(true).open(results.join("log"))?;
        // Its status speaks of what is scored alone; the results speak of everything.
        Command::new(npm::node(suite))
            .arg(suite.join("node_modules/@modelcontextprotocol/conformance/dist/index.js"))
            .args(["server", "--url", self.url, "-o"])
            .arg(results)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .status()
            .context("run the suite")?;
        Ok(())
    }
}

// === impl Tally ===

impl Tally {
    /// Adds up the results below a folder: one folder for each scenario, with its checks.
    fn read(results: &Path, excused: &[&str]) -> Result<Self> {
        let mut by_scenario: BTreeMap<String, Vec<Check>> = BTreeMap::new();
        for entry in fs::read_dir(results)? {
            let entry = entry?;
            let file = entry.path().join("checks.json");
            if !file.exists() {
                continue;
            }
            let text = fs::read_to_string(&file)?;
            let checks: Vec<Check> = serde_json::from_str(&text)
                .with_context(|| format!("understand {}", file.display()))?;
            let name = scenario_of(&entry.file_name().to_string_lossy());
            let counted = checks.into_iter().filter(|check| !excused.contains(&check.id.as_str()));
            by_scenario.entry(name).or_default().extend(counted);
        }
        Ok(Self::of(&by_scenario))
    }

    fn of(by_scenario: &BTreeMap<String, Vec<Check>>) -> Self {
        let mut tally = Self { scenarios: by_scenario.len(), ..Self::default() };
        for (scenario, checks) in by_scenario {
            let before = tally.complaints.len();
            for check in checks {
                match check.status.as_str() {
                    "SUCCESS" => tally.passed += 1,
                    "FAILURE" | "WARNING" => {
                        let cause = check.error_message.as_deref().unwrap_or("no cause given");
                        let (status, id) = (check.status.to_lowercase(), &check.id);
                        tally.complaints.push(format!("{scenario}: {id}: {status}: {cause}"));
                    }
                    // What is only told, or cannot be tested yet.
                    _ => {}
                }
            }
            tally.clean += usize::from(tally.complaints.len() == before);
        }
        tally
    }
}

/// The scenario of a result's folder, which is called `server-SCENARIO-TIME`.
fn scenario_of(folder: &str) -> String {
    let name = folder.strip_prefix("server-").unwrap_or(folder);
    // 2026-07-28T12-00-00-000Z
    let time = name.char_indices().rev().nth(24).map_or(name.len(), |(index, _)| index);
    name[..time].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_add_up() {
        assert_eq!(scenario_of("server-ping-2026-11-22T23-25-02-686Z"), "ping");
        assert_eq!(
            scenario_of("server-server-stateless-2026-11-22T23-25-02-686Z"),
            "server-stateless"
        );
        let check = |id: &str, status: &str| Check {
            id: id.to_owned(),
            status: status.to_owned(),
            error_message: None,
        };
        let results = BTreeMap::from([
            ("ping".to_owned(), vec![check("a", "SUCCESS"), check("b", "INFO")]),
            (
                "tools".to_owned(),
                vec![check("c", "SUCCESS"), check("d", "WARNING"), check("e", "SKIPPED")],
            ),
        ]);
        let tally = Tally::of(&results);
        assert_eq!((tally.scenarios, tally.clean, tally.passed), (2, 1, 2));
        assert_eq!(tally.complaints, ["tools: d: warning: no cause given"]);
    }
}
