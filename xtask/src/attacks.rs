//! `cargo xtask attacks`: what the real binary does with those who mean it no good.
//!
//! The guard is attacked by a model that has a shell as well (see `guard`); the listener is the rest:
//! it serves a simulated estate to bearers of tokens of its own and of a real OAuth issuer, and is sent what it should
//! refuse, bear, or end. Each case prints what came back; one that is not as it should be fails the task.

mod bodies;
mod doors;
mod guard;
mod oauth;
pub(crate) mod raw;
mod sessions;
mod slow;

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use clap::ValueEnum;
use serde_json::{Value, json};

pub(crate) use self::guard::speak;
use self::oauth::Tenant;
use self::raw::{Answer, Ask};
use crate::bench::memory_mib;
use crate::server::{Server, free_port};
use crate::services::issuer::{self, Lease};
use crate::sim::Sim;
use crate::workspace::{cargo, output, path, root, run};

/// So much may all attacks together leave behind in the server's memory, which is what buffers and hashes once took.
const MAY_GROW_MIB: f64 = 96.0;
/// So much may what was sent before leave behind when it is sent again.
const MAY_LEAK_MIB: f64 = 8.0;
/// Nobody waits longer than this for an answer while others are slow.
const STILL_QUICK: Duration = Duration::from_secs(5);

/// A part of the attacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// The listener: tokens, sessions, foreign pages, odd bodies, slow clients.
    Http,
    /// The guard: a hostile model with a shell.
    Guard,
}

/// The server under attack, and what it stands between.
struct Target {
    server: Server,
    /// Host and port.
    address: String,
    sim: Sim,
    tenant: Tenant,
    /// Tokens of the server's own, by what they are used for.
    tokens: Vec<(&'static str, String)>,
    _issuer: Lease,
}

/// Prints the cases and counts those that went wrong.
struct Report {
    /// The server whose memory is looked at, where it is one process.
    pid: Option<u32>,
    cases: usize,
    wrong: usize,
}

/// Builds what is needed if asked to, and attacks.
pub(crate) fn run_all(build: bool, only: &[Part]) -> Result<()> {
    if build {
        let packages = ["proxmox-mcp", "proxmox-manager", "proxmox-sim"];
        let packages = packages.iter().flat_map(|name| ["--package", name]);
        run(&mut cargo(&std::iter::once("build").chain(packages).collect::<Vec<_>>()))?;
    }
    let begun = Instant::now();
    let mut report = Report { pid: None, cases: 0, wrong: 0 };
    let wants = |part: Part| only.is_empty() || only.contains(&part);
    if wants(Part::Http) {
        http(&mut report)?;
        report.pid = None;
    }
    if wants(Part::Guard) {
        guard::run(&root().join("target/debug"), &mut report)?;
    }
    println!("{} cases in {:.0} s", report.cases, begun.elapsed().as_secs_f64());
    ensure!(report.wrong == 0, "{} of {} cases went wrong", report.wrong, report.cases);
    Ok(())
}

/// The listener: tokens, sessions, pages, bodies, slow clients.
fn http(report: &mut Report) -> Result<()> {
    let target = Target::start()?;
    report.pid = Some(target.server.pid());
    let before = memory_mib(target.server.pid(), "VmRSS")?;

    let mut oauth = oauth::Tokens::collect(&target)?;
    oauth::accepted_and_refused(&target, &oauth, report)?;
    let flood = sessions::flood(&target, report)?;
    doors::run(&target, report)?;
    bodies::run(&target, report)?;
    // Keys change, and a token ends, while the slow ones are waited for.
    let slow = slow::Clients::start(&target)?;
    oauth::rotation_and_expiry(&target, &mut oauth, report)?;
    slow.finish(&target, report)?;
    sessions::after_a_while(&target, &flood, report)?;
    sessions::guessing(&target, report)?;
    aftermath(&target, &oauth, before, report)
}

/// What is left of the server, and what has passed through it.
fn aftermath(
    target: &Target,
    oauth: &oauth::Tokens,
    before: f64,
    report: &mut Report,
) -> Result<()> {
    report.part("afterwards");
    let secrets = || oauth.all().chain(target.tokens.iter().map(|(_, token)| token.as_str()));
    let heads = target.lever(&json!({"lever": "heads"}))?;
    let heads = heads.as_array().context("the simulator does not say what it heard")?;
    let heads: Vec<&str> = heads.iter().filter_map(Value::as_str).collect();
    let own =
        heads.iter().filter(|head| head.contains("\"authorization\": \"PVEAPIToken=")).count();
    let passed = heads.iter().filter(|head| secrets().any(|secret| head.contains(secret))).count();
    let got = format!(
        "{} requests reached Proxmox, {own} with the server's own token, {passed} with a caller's",
        heads.len()
    );
    report.case(
        "no token is passed on",
        &got,
        !heads.is_empty() && own == heads.len() && passed == 0,
    );
    let log = std::fs::read_to_string(target.sim.folder().join("server.log"))?;
    let told = secrets().filter(|secret| log.contains(*secret)).count();
    let got = format!("{} lines, {told} tokens", log.lines().count());
    report.case("no token is logged", &got, told == 0);

    let answer = target.overview("calm")?;
    report.answer("the server still answers", &answer, 200, &["guests"]);
    let after = memory_mib(target.server.pid(), "VmRSS")?;
    let got = format!("{before:.1} MiB before, {after:.1} MiB after");
    report.case("its memory", &got, after - before < MAY_GROW_MIB);
    bodies::again(target)?;
    let again = memory_mib(target.server.pid(), "VmRSS")?;
    let got = format!("{after:.1} MiB before, {again:.1} MiB after");
    report.case("its memory, when large bodies come again", &got, again - after < MAY_LEAK_MIB);
    Ok(())
}

// === impl Target ===

impl Target {
    fn start() -> Result<Self> {
        let binaries = root().join("target/debug");
        let issuer = issuer::lease()?;
        let sim = Sim::start(&binaries, 3, 60)?;
        let address = format!("127.0.0.1:{}", free_port()?);
        let tenant = Tenant::new(issuer.url(), &format!("http://{address}/mcp"));
        let mut oauth = toml::Table::new();
        oauth.insert("test".to_owned(), tenant.settings().into());
        let mut sections = toml::Table::new();
        sections.insert("oauth".to_owned(), oauth.into());
        let config = sim.settings("", &sections.to_string())?;
        let program = binaries.join("proxmox-mcp");
        let mut tokens = Vec::new();
        for (name, scope) in [
            ("calm", "read"),
            ("flood", "read"),
            ("bodies", "operate"),
            ("slow", "read"),
            ("doors", "read"),
        ] {
            let mut command = Command::new(&program);
            command.args(["token", "new", "--name", name, "--scope", scope, "--config"]);
            tokens.push((name, output(command.arg(&config))?.trim().to_owned()));
        }
        let mut command = Command::new(&program);
        command.args(["serve", "--mode", "trusted", "--log", "debug", "--http", &address]);
        command.args(["--config", path(&config)?]);
        let server = Server::start(&mut command, &sim.folder().join("server.log"))?;
        let target = Self { server, address, sim, tenant, tokens, _issuer: issuer };
        target.lever(&json!({"lever": "keep_heads"}))?;
        Ok(target)
    }

    fn token(&self, name: &str) -> &str {
        let found = self.tokens.iter().find(|(given, _)| *given == name);
        found.map(|(_, token)| token.as_str()).expect("every use has its token")
    }

    fn send(&self, ask: Ask) -> Result<Answer> {
        ask.send(&self.address)
    }

    /// Asks for the state of the estate, as any client would.
    fn overview(&self, name: &str) -> Result<Answer> {
        self.send(Ask::tool("fleet_overview", &json!({})).bearer(self.token(name)))
    }

    /// A number that the server publishes about itself.
    fn metric(&self, name: &str) -> Result<f64> {
        let answer = self.send(Ask::new("GET", "/metrics").bearer(self.token("calm")))?;
        let mut lines = answer.body.lines().filter_map(|line| line.split_once(' '));
        let (_, value) =
            lines.find(|(key, _)| *key == name).with_context(|| format!("no {name}"))?;
        Ok(value.trim().parse()?)
    }

    /// Pulls a lever of the simulator.
    fn lever(&self, lever: &Value) -> Result<Value> {
        self.sim.lever(lever)
    }
}

// === impl Report ===

impl Report {
    /// A heading, with the memory of the server before the cases that follow.
    fn part(&self, name: &str) {
        let memory = self.pid.map(|pid| {
            memory_mib(pid, "VmRSS").map_or("gone".to_owned(), |mib| format!("{mib:.1} MiB"))
        });
        let memory = memory.map(|memory| format!(" (server: {memory})")).unwrap_or_default();
        println!("{}{name}{memory}", if self.cases == 0 { "" } else { "\n" });
    }

    /// One case: what it was, what came of it, and whether that is as it should be.
    fn case(&mut self, what: &str, got: &str, good: bool) {
        self.cases += 1;
        self.wrong += usize::from(!good);
        println!("  {} {what}: {got}", if good { "ok " } else { "NOT" });
    }

    /// A case that ends with an answer of this status, with these words in its summary.
    fn answer(&mut self, what: &str, answer: &Answer, status: u16, words: &[&str]) {
        let got = answer.summary();
        let good = answer.status == status && words.iter().all(|word| got.contains(word));
        self.case(what, &got, good);
    }
}
