//! The simulator in a process of its own, and settings that point to it.

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::attacks::raw::Ask;
use crate::workspace::path;

/// A running simulator, ended when this is dropped.
pub(crate) struct Sim {
    child: Child,
    folder: TempDir,
    /// Where its levers are.
    pub(crate) control: String,
}

// === impl Sim ===

impl Sim {
    /// One cluster of this size; its target is called `lab`.
    pub(crate) fn start(binaries: &Path, nodes: u32, guests: u32) -> Result<Self> {
        let (nodes, guests) = (nodes.to_string(), guests.to_string());
        Self::with(binaries, &["--estate", "scale", "--nodes", &nodes, "--guests", &guests])
    }

    /// The estate that these flags describe.
    pub(crate) fn with(binaries: &Path, flags: &[&str]) -> Result<Self> {
        let folder = tempfile::tempdir().context("make a folder for the run")?;
        let mut child = Command::new(binaries.join("proxmox-sim"))
            .args(flags)
            .args(["--control", "0"])
            .args(["--settings-dir", path(folder.path())?])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("start proxmox-sim; without --no-build it is built")?;
        let stdout = child.stdout.take().context("proxmox-sim has no output")?;
        let mut sim = Self { child, folder, control: String::new() };
        let mut lines = BufReader::new(stdout).lines();
        let mut ready = false;
        for line in lines.by_ref().map_while(Result::ok) {
            if let Some(url) = line.strip_prefix("control ") {
                url.trim().clone_into(&mut sim.control);
            }
            if line.trim() == "ready" {
                ready = true;
                break;
            }
        }
        ensure!(ready, "proxmox-sim ended before it was ready");
        ensure!(!sim.control.is_empty(), "proxmox-sim did not say where its levers are");
        // It may print more later; a full pipe must not stop it.
        std::thread::spawn(move || lines.for_each(drop));
        Ok(sim)
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Settings for this simulator: `endpoint` is added to its table, `sections` after it. Whatever the
    /// server keeps goes into this run's folder.
    pub(crate) fn settings(&self, endpoint: &str, sections: &str) -> Result<PathBuf> {
        let folder = self.folder.path();
        let mut settings: toml::Table =
            toml::from_str(&std::fs::read_to_string(folder.join("settings.toml"))?)?;
        let more: toml::Table = toml::from_str(endpoint)?;
        let target = settings.get_mut("pve").and_then(|pve| pve.get_mut("lab"));
        let target = target.and_then(toml::Value::as_table_mut);
        target.context("the simulator's settings have no [pve.lab]")?.extend(more);
        let more: toml::Table = toml::from_str(sections)?;
        settings.extend(more);
        let server = settings.entry("server").or_insert_with(|| toml::Table::new().into());
        let state = path(&folder.join("state"))?.to_owned();
        server
            .as_table_mut()
            .context("[server] is no table")?
            .insert("state_dir".into(), state.into());
        let file = folder.join("bench.toml");
        std::fs::write(&file, toml::to_string(&settings)?)?;
        Ok(file)
    }

    /// Pulls a lever, and gives what it says.
    pub(crate) fn lever(&self, lever: &Value) -> Result<Value> {
        pull(&self.control, lever)
    }

    /// Pulls a lever, such as `{"lever": "latency", "target": "lab", "ms": 100}`.
    pub(crate) async fn pull(&self, client: &stdx::http::Client, lever: &Value) -> Result<()> {
        let answer = client.post(&self.control).body(lever.to_string()).send().await?;
        ensure!(answer.status().is_success(), "the simulator refused {lever}");
        Ok(())
    }
}

/// Pulls a lever of the simulator whose levers are there.
pub(crate) fn pull(control: &str, lever: &Value) -> Result<Value> {
    let rest = control.strip_prefix("http://").context("the levers have no address")?;
    let address = rest.split('/').next().unwrap_or_default();
    let answer = Ask::new("POST", "/levers").json(lever).send(address)?;
    ensure!(answer.status == 200, "the simulator refused {lever}: {}", answer.body);
    Ok(answer.json().unwrap_or_default()["result"].take())
}

impl Drop for Sim {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
