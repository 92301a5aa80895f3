//! `cargo xtask clients`: real MCP clients against the real binary, over HTTP and standard input, in each mode that
//! they have.
//!
//! They come from PyPI and npm at exact versions into folders below `target/`. Each conversation has a server of its
//! own, on a simulated estate of its own. n8n takes ten minutes to install, so it has to be asked for.

mod n8n;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use clap::ValueEnum;

use crate::npm;
use crate::server::Server;
use crate::workspace::{cargo, root, run};

const PYTHON_CLIENT: &str = "mcp==2.3.0";
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
    /// The automation tool n8n, with its MCP nodes.
    N8n,
}

/// One line of the table at the end.
struct Row {
    client: String,
    transport: Transport,
    mode: &'static str,
    passed: bool,
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
    let quick = [Kind::Python, Kind::Js, Kind::Inspector, Kind::Mcporter];
    let kinds = if only.is_empty() { &quick[..] } else { only };
    let mut rows = Vec::new();
    for kind in kinds {
        rows.extend(match kind {
            Kind::Python => python()?,
            Kind::Js => javascript()?,
            Kind::Inspector => inspector()?,
            Kind::Mcporter => mcporter()?,
            Kind::N8n => n8n::run_it()?,
        });
    }
    println!("\n{:<36} {:<6} {:<12} result", "client", "over", "mode");
    for row in &rows {
        let result = if row.passed { "all as it should be" } else { "WRONG" };
        println!("{:<36} {:<6} {:<12} {result}", row.client, row.transport.name(), row.mode);
    }
    let wrong = rows.iter().filter(|row| !row.passed).count();
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
            command.arg(&script).args([mode, peer.levers.as_str(), STARTS, FAILS, GUESTS]);
            let passed = peer.talk(command.args(peer.address()))?;
            rows.push(Row { client: format!("Python {PYTHON_CLIENT}"), transport, mode, passed });
        }
    }
    Ok(rows)
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
                let passed = peer.talk(command.args(peer.address()))?;
                rows.push(Row { client: package.to_owned(), transport, mode, passed });
            }
        }
    }
    Ok(rows)
}

/// The inspector lists with its strict look at the schemas, calls, and reads.
fn inspector() -> Result<Vec<Row>> {
    let folder = npm::install("xtask/clients/js", "clients/js")?;
    let program = folder.join("node_modules/.bin/mcp-inspector");
    let steps: [&[&str]; 3] = [
        &["--method", "tools/list", "--strict"],
        &["--method", "tools/call", "--tool-name", "guest_get", "--tool-arg", "guest=lab/104"],
        &["--method", "resources/read", "--uri", "proxmox://status"],
    ];
    let mut rows = Vec::new();
    for transport in Transport::BOTH {
        for mode in ["legacy", "auto", "modern"] {
            let peer = Peer::new(transport, Some("all"))?;
            let mut passed = true;
            for step in steps {
                let mut command = Command::new(&program);
                command.env("PATH", path_with(&folder)).arg("--cli").args(peer.address());
                if transport == Transport::Http {
                    command.args(["--transport", "http"]);
                }
                command.args(["--protocol-era", mode]).args(step).stdout(Stdio::null());
                passed &= peer.talk(&mut command)?;
            }
            let client = "inspector --cli --strict, call, read".to_owned();
            rows.push(Row { client, transport, mode, passed });
        }
    }
    Ok(rows)
}

fn mcporter() -> Result<Vec<Row>> {
    let folder = npm::install("xtask/clients/js", "clients/js")?;
    let program = folder.join("node_modules/.bin/mcporter");
    let mut rows = Vec::new();
    for transport in Transport::BOTH {
        let peer = Peer::new(transport, None)?;
        let config = folder.join("mcporter.json");
        let server = match &peer.server {
            Some(server) => serde_json::json!({ "baseUrl": server.url }),
            None => serde_json::json!({ "command": peer.command[0], "args": peer.command[1..] }),
        };
        let servers = serde_json::json!({ "mcpServers": { "px": server } });
        std::fs::write(&config, servers.to_string())?;
        let mut passed = true;
        for step in
            [&["list", "px"][..], &["call", "px.guest_get", "guest=lab/104", "--output", "json"]]
        {
            let mut command = Command::new(&program);
            command.env("PATH", path_with(&folder)).arg("--config").arg(&config).args(step);
            passed &= peer.talk(command.stdout(Stdio::null()))?;
        }
        rows.push(Row {
            client: "mcporter list, call".to_owned(),
            transport,
            mode: "its own",
            passed,
        });
    }
    Ok(rows)
}

/// The programs of an npm folder before all others: they want its node.
#[expect(clippy::disallowed_methods, reason = "the search path is the machine's, not a setting")]
fn path_with(folder: &Path) -> String {
    let bin = folder.join("node_modules/.bin");
    format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default())
}

/// The interpreter of the virtual environment that has the client.
fn interpreter() -> Result<PathBuf> {
    let folder = root().join("target/clients/python");
    let python = folder.join("bin/python");
    if !installed(&python) {
        run(Command::new("python3").args(["-m", "venv"]).arg(&folder))
            .context("make a virtual environment (Debian's package is python3-venv)")?;
        run(Command::new(&python).args(["-m", "pip", "install", "--quiet", PYTHON_CLIENT]))?;
        ensure!(installed(&python), "{PYTHON_CLIENT} is not what was installed");
    }
    Ok(python)
}

fn installed(python: &Path) -> bool {
    let wanted = PYTHON_CLIENT.split("==").last().unwrap_or_default();
    let ask = "from importlib.metadata import version; print(version('mcp'))";
    let answer = Command::new(python).args(["-c", ask]).output();
    answer.is_ok_and(|answer| String::from_utf8_lossy(&answer.stdout).trim() == wanted)
}

/// A port that was free a moment ago.
fn free_port() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").context("find a free port")?;
    Ok(listener.local_addr()?.port())
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
    /// A server over this transport; with these toolsets, or those that the conversations use.
    fn new(transport: Transport, toolsets: Option<&str>) -> Result<Self> {
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
                process.args(&command[1..]).args(["--http", "127.0.0.1:0", "--no-auth"]);
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

    /// Lets the client talk; whether it was content.
    fn talk(&self, command: &mut Command) -> Result<bool> {
        // The server lives as long as the peer does.
        let _ = &self.server;
        let program = command.get_program().to_string_lossy().into_owned();
        let status = command.stdin(Stdio::null()).status();
        Ok(status.with_context(|| format!("start {program}"))?.success())
    }
}
