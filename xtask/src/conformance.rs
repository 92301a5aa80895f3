//! `cargo xtask conformance`: the official conformance suite, in both revisions that it has requirements for.
//!
//! The suite and the node that runs it come from npm by a lock file into a folder below `target/`. It runs against the
//! example server, which has all of its fixtures, and the scenarios that need no fixtures run against the real binary on
//! the demo as well. Here every check has to pass: those that the suite does not score, and warnings, count as well.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use crate::workspace::{cargo, root, run};

const REVISIONS: [&str; 2] = ["2026-07-28", "2025-11-25"];
/// What `npm ci` needs.
const MANIFESTS: [&str; 2] = ["package.json", "package-lock.json"];

/// A server that is run for the suite, and ended with this.
struct Server {
    child: Child,
    url: String,
    /// Kept open: a program that cannot print may end.
    _output: BufReader<ChildStdout>,
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
    }
    let suite = install()?;
    let server = Server::start(
        Command::new(root().join("target/debug/examples/conformance_server")).arg("127.0.0.1:0"),
    )?;
    let mut complaints = Vec::new();
    for revision in REVISIONS {
        let scenarios: Vec<String> = match scenario {
            None => Vec::new(),
            Some(name) if requires(&suite, revision, name)? => vec![name.to_owned()],
            Some(_) => continue,
        };
        let tally = examine(&suite, &server.url, "example", revision, &scenarios)?;
        tally.print("the example", revision);
        complaints.extend(tally.complaints);
    }
    ensure!(complaints.is_empty(), "{} checks did not pass", complaints.len());
    Ok(())
}

/// The folder with the suite, which is installed if it is not the one of our lock file.
fn install() -> Result<PathBuf> {
    let source = root().join("xtask/conformance");
    let folder = root().join("target/conformance");
    let lock = |folder: &Path| fs::read(folder.join(MANIFESTS[1])).ok();
    let installed = folder.join("node_modules/.bin/conformance").exists();
    if installed && lock(&source) == lock(&folder) {
        return Ok(folder);
    }
    fs::create_dir_all(&folder)?;
    for name in MANIFESTS {
        fs::copy(source.join(name), folder.join(name)).with_context(|| format!("copy {name}"))?;
    }
    let arguments = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel", "error"];
    run(Command::new("npm").current_dir(&folder).args(arguments))
        .context("npm is needed (Debian's packages are nodejs and npm)")?;
    Ok(folder)
}

/// Whether the scenario is among those of the revision.
fn requires(suite: &Path, revision: &str, scenario: &str) -> Result<bool> {
    let file =
        format!("node_modules/@modelcontextprotocol/conformance/requirements/{revision}.yaml");
    let text = fs::read_to_string(suite.join(file)).context("read the suite's requirements")?;
    let mut entries = text.lines().filter_map(|line| line.trim().strip_prefix("- "));
    Ok(entries.any(|entry| entry.trim_start_matches("scenario: ") == scenario))
}

/// Runs scenarios, all of the revision where none is named, and reads what came of them.
fn examine(
    suite: &Path,
    url: &str,
    target: &str,
    revision: &str,
    scenarios: &[String],
) -> Result<Tally> {
    let results = suite.join("results").join(target).join(revision);
    if results.exists() {
        fs::remove_dir_all(&results)?;
    }
    fs::create_dir_all(&results)?;
    let log = results.join("log");
    let begun = Instant::now();
    let runs: Vec<Vec<&str>> = match scenarios {
        [] => vec![vec!["--requirements", revision]],
        named => {
            let run = |name| vec!["--scenario", name, "--spec-version", revision];
            named.iter().map(|name| run(name.as_str())).collect()
        }
    };
    for arguments in runs {
        let out = File::options().create(true).append(true).open(&log)?;
        // Its status speaks of what is scored alone; the results speak of everything.
        Command::new(node(suite))
            .arg(suite.join("node_modules/@modelcontextprotocol/conformance/dist/index.js"))
            .args(["server", "--url", url, "-o"])
            .arg(&results)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .status()
            .context("run the suite")?;
    }
    let tally = Tally::read(&results)?;
    ensure!(tally.scenarios > 0, "the suite ran nothing; it said so in {}", log.display());
    println!("{:.1} s; the suite's own words: {}", begun.elapsed().as_secs_f64(), log.display());
    Ok(tally)
}

/// The node of our lock file; the system's where there is none for it.
fn node(suite: &Path) -> PathBuf {
    let own = suite.join("node_modules/.bin/node");
    if own.exists() { own } else { "node".into() }
}

// === impl Server ===

impl Server {
    /// Starts a server that prints its address as its first line.
    fn start(command: &mut Command) -> Result<Self> {
        let program = command.get_program().to_string_lossy().into_owned();
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().with_context(|| {
                format!("start {program}; without --no-build it would be built")
            })?;
        let output = child.stdout.take().context("its output was not piped")?;
        let mut output = BufReader::new(output);
        let mut url = String::new();
        output.read_line(&mut url).with_context(|| format!("read the address of {program}"))?;
        let url = url.trim().to_owned();
        let server = Self { child, url, _output: output };
        ensure!(server.url.starts_with("http"), "{program} did not say where it listens");
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself, which is told by what did not pass.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

// === impl Tally ===

impl Tally {
    /// Adds up the results below a folder: one folder for each scenario, with its checks.
    fn read(results: &Path) -> Result<Self> {
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
            by_scenario.entry(name).or_default().extend(checks);
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

    fn print(&self, target: &str, revision: &str) {
        for complaint in &self.complaints {
            println!("  {complaint}");
        }
        println!(
            "{target}, {revision}: {} of {} scenarios, {} of {} checks passed",
            self.clean,
            self.scenarios,
            self.passed,
            self.passed + self.complaints.len(),
        );
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
