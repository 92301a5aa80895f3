//! `cargo xtask clients`: real MCP clients against the real binary, over HTTP and standard input, in each mode that
//! they have.
//!
//! They come from PyPI and npm at exact versions into folders below `target/`. Each conversation has a server of its
//! own, on a simulated estate of its own. n8n takes ten minutes to install, so it has to be asked for.

mod command_line;
mod n8n;
mod table;

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use clap::ValueEnum;

use self::table::{Feature, Row, Tally};
use crate::npm;
use crate::server::{Server, free_port};
use crate::workspace::{cargo, root, run};

const PYTHON_CLIENT: &str = "mcp==2.3.0";
const OPENAPI_VALIDATOR: &str = "openapi-spec-validator==0.9.0";
/// What the demo estate has: a stopped guest that starts, one that cannot, and how many there are
/// with templates.
const STARTS: &str = "lab/123";
const FAILS: &str = "lab/108";
const GUESTS: &str = "59";
/// What the conversations call.
const TOOLSETS: &str = "default,guests";

/// A client, or a family of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// The official Python client.
    Python,
    /// The official JavaScript clients, versions 1 and 2.
    Js,
    /// The official inspector, on the command line.
    Inspector,
    /// The command-line client `mcporter`.
    Mcporter,
    /// A validator of OpenAPI documents, which holds ours against the standard and an answer against it.
    Openapi,
    /// The automation tool n8n, with its MCP nodes.
    N8n,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transport {
    Http,
    Stdio,
}

/// A server for one conversation: a process that listens, or the command that a client starts.
struct Peer {
    server: Option<Server>,
    levers: String,
    command: Vec<String>,
}

/// Builds the binary if asked to, installs the clients where they are missing, talks in every mode.
pub(crate) fn run_all(build: bool, only: &[Kind]) -> Result<()> {
    if build {
        run(&mut cargo(&["build", "--package", "proxmox-mcp"]))?;
    }
    let quick = [Kind::Python, Kind::Js, Kind::Inspector, Kind::Mcporter, Kind::Openapi];
    let kinds = if only.is_empty() { &quick[..] } else { only };
    let mut rows = Vec::new();
    for kind in kinds {
        rows.extend(match kind {
            Kind::Python => python()?,
            Kind::Js => javascript()?,
            Kind::Inspector => command_line::inspector()?,
            Kind::Mcporter => command_line::mcporter()?,
            Kind::Openapi => openapi()?,
            Kind::N8n => n8n::run_it()?,
        });
    }
    println!("\n{}", table::render(&rows));
    let wrong = rows.iter().filter(|row| !row.is_right()).count();
    ensure!(wrong == 0, "{wrong} of {} conversations went wrong", rows.len());
    Ok(())
}

fn python() -> Result<Vec<Row>> {
    let python = interpreter()?;
    let script = root().join("xtask/clients/conversation.py");
    let mut rows = Vec::new();
    for transport in Transport::BOTH {
        for mode in ["legacy", "2026-07-28", "auto"] {
            let peer = Peer::new(transport, None)?;
            let mut command = Command::new(&python);
            // It warns of what it does on purpose: what the older revisions had.
            command.env("PYTHONWARNINGS", "ignore").arg("-u").arg(&script);
            command.args([mode, peer.levers.as_str(), STARTS, FAILS, GUESTS]);
            let tally = peer.talk(command.args(peer.address()))?;
            let client = format!("Python {PYTHON_CLIENT}");
            rows.push(Row { client, transport, mode, has: &Feature::ALL, tally });
        }
    }
    Ok(rows)
}

/// The document that describes REST, and an answer held against it.
fn openapi() -> Result<Vec<Row>> {
    let python = interpreter()?;
    let peer = Peer::new(Transport::Http, Some("all"))?;
    let mut command = Command::new(&python);
    command.arg("-u").arg(root().join("xtask/clients/openapi.py"));
    let tally = peer.talk(command.args(peer.address()))?;
    let has = &[Feature::List, Feature::Call, Feature::Structured];
    let client = OPENAPI_VALIDATOR.to_owned();
    Ok(vec![Row { client, transport: Transport::Http, mode: "3.1, REST", has, tally }])
}

fn javascript() -> Result<Vec<Row>> {
    let folder = npm::install("xtask/clients/js", "clients/js")?;
    // It resolves its packages from where it lies.
    let script = folder.join("conversation.mjs");
    std::fs::copy(root().join("xtask/clients/js/conversation.mjs"), &script)?;
    let clients = [
        ("1", "@modelcontextprotocol/sdk", &["legacy"][..]),
        ("2", "@modelcontextprotocol/client", &["legacy", "auto", "2026-07-28"][..]),
    ];
    let mut rows = Vec::new();
    for transport in Transport::BOTH {
        for (sdk, package, modes) in clients {
            for mode in modes {
                let peer = Peer::new(transport, None)?;
                let mut command = Command::new(npm::node(&folder));
                command.arg(&script).args([sdk, *mode, peer.levers.as_str()]);
                let tally = peer.talk(command.args(peer.address()))?;
                let client = package.to_owned();
                rows.push(Row { client, transport, mode, has: &Feature::ALL, tally });
            }
        }
    }
    Ok(rows)
}

/// The programs of an npm folder before all others: they want its node.
#[expect(clippy::disallowed_methods, reason = "the search path is the machine's, not a setting")]
fn path_with(folder: &Path) -> String {
    let bin = folder.join("node_modules/.bin");
    format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default())
}

/// The interpreter of the virtual environment that has what is written in Python.
fn interpreter() -> Result<PathBuf> {
    let folder = root().join("target/clients/python");
    let python = folder.join("bin/python");
    let wanted = [PYTHON_CLIENT, OPENAPI_VALIDATOR];
    if !wanted.iter().all(|package| is_installed(&python, package)) {
        run(Command::new("python3").args(["-m", "venv"]).arg(&folder))
            .context("make a virtual environment (Debian's package is python3-venv)")?;
        run(Command::new(&python).args(["-m", "pip", "install", "--quiet"]).args(wanted))?;
        for package in wanted {
            ensure!(is_installed(&python, package), "{package} is not what was installed");
        }
    }
    Ok(python)
}

/// Whether the environment has this package in this version, written `name==version`.
fn is_installed(python: &Path, package: &str) -> bool {
    let Some((name, version)) = package.split_once("==") else { return false };
    let ask = format!("from importlib.metadata import version; print(version('{name}'))");
    let answer = Command::new(python).args(["-c", &ask]).output();
    answer.is_ok_and(|answer| String::from_utf8_lossy(&answer.stdout).trim() == version)
}

// === impl Transport ===

impl Transport {
    const BOTH: [Self; 2] = [Self::Stdio, Self::Http];

    fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Stdio => "stdio",
        }
    }
}

// === impl Peer ===

impl Peer {
    /// A server over this transport, for anybody; with these toolsets, or those that the conversations use.
    fn new(transport: Transport, toolsets: Option<&str>) -> Result<Self> {
        Self::start(transport, toolsets, &["--no-auth"])
    }

    /// A server over HTTP that wants a token, and the token.
    fn guarded() -> Result<(Self, String)> {
        let peer = Self::start(Transport::Http, None, &[])?;
        let said = peer.server.as_ref().map(|server| server.said.as_str()).unwrap_or_default();
        let token = said.split([' ', ',']).find(|word| word.starts_with("pmx_"));
        let token = token.context("the server does not say its token")?.to_owned();
        Ok((peer, token))
    }

    fn start(transport: Transport, toolsets: Option<&str>, flags_of_http: &[&str]) -> Result<Self> {
        let levers = format!("127.0.0.1:{}", free_port()?);
        let program = root().join("target/debug/proxmox-mcp").display().to_string();
        let flags = ["serve", "--demo", "--mode", "trusted", "--toolsets"];
        let toolsets = toolsets.unwrap_or(TOOLSETS);
        let mut command = vec![program];
        command.extend(flags.map(str::to_owned));
        command.extend([toolsets.to_owned(), "--demo-levers".to_owned(), levers.clone()]);
        let server = match transport {
            Transport::Stdio => None,
            Transport::Http => {
                let log = root().join("target/clients/server.log");
                std::fs::create_dir_all(root().join("target/clients"))?;
                let mut process = Command::new(&command[0]);
                process.args(&command[1..]).args(["--http", "127.0.0.1:0"]).args(flags_of_http);
                Some(Server::start(&mut process, &log)?)
            }
        };
        Ok(Self { server, levers, command })
    }

    /// What a client is told: the endpoint, or the command to start.
    fn address(&self) -> Vec<String> {
        match &self.server {
            Some(server) => vec![server.url.clone()],
            None => self.command.clone(),
        }
    }

    /// Lets the client talk, and reads what it says of each feature at the end.
    fn talk(&self, command: &mut Command) -> Result<Tally> {
        // The server lives as long as the peer does.
        let _ = &self.server;
        let program = command.get_program().to_string_lossy().into_owned();
        let started = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let mut child = started.with_context(|| format!("start {program}"))?;
        let said = child.stdout.take().context("its output was not piped")?;
        let mut tally = Tally::default();
        for line in BufReader::new(said).lines() {
            let line = line.with_context(|| format!("read what {program} says"))?;
            match line.strip_prefix("FEATURES ") {
                Some(features) => tally.add_json(features)?,
                None => println!("{line}"),
            }
        }
        tally.ended_well = child.wait()?.success();
        Ok(tally)
    }
}
