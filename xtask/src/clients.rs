//! `cargo xtask clients`: real MCP clients against the real binary.
//!
//! The official Python client comes from PyPI at an exact version into a virtual environment below
//! `target/`, and holds a conversation with `proxmox-mcp serve --demo` in each mode that it has.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::workspace::{cargo, root, run};

const PYTHON_CLIENT: &str = "mcp==2.3.0";
/// What the demo estate has: a stopped guest that starts, one that cannot, and how many there are
/// with templates.
const STARTS: &str = "lab/123";
const FAILS: &str = "lab/108";
const GUESTS: &str = "59";
const MODES: &[&str] = &["legacy", "2026-07-28", "auto"];

/// Builds the binary if asked to, installs the client where it is missing, talks in every mode.
pub(crate) fn run_all(build: bool) -> Result<()> {
    if build {
        run(&mut cargo(&["build", "--package", "proxmox-mcp"]))?;
    }
    let python = python()?;
    let server = root().join("target/debug/proxmox-mcp");
    for mode in MODES {
        let levers = format!("127.0.0.1:{}", free_port()?);
        run(Command::new(&python)
            .arg(root().join("xtask/clients/conversation.py"))
            .args([mode, levers.as_str(), STARTS, FAILS, GUESTS])
            .arg(&server)
            .args(["serve", "--demo", "--mode", "trusted", "--demo-levers", levers.as_str()]))?;
    }
    Ok(())
}

/// The interpreter of the virtual environment that has the client.
fn python() -> Result<PathBuf> {
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
