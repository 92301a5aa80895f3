//! The real n8n: its MCP Client node, and its AI Agent with the MCP Client Tool.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::table::{Feature, Row};
use super::{Peer, Transport};
use crate::npm;
use crate::workspace::{root, run};

/// Installs n8n if it is missing, which takes minutes, and lets it talk over HTTP, all that it can do.
pub(super) fn run_it() -> Result<Vec<Row>> {
    let folder = npm::install("xtask/clients/n8n", "clients/n8n")?;
    build_sqlite(&folder)?;
    let (peer, token) = Peer::guarded()?;
    let mut command = Command::new(npm::node(&folder));
    command.arg(root().join("xtask/clients/n8n/run.mjs")).arg(&folder).args(peer.address());
    let tally = peer.talk(command.arg(token))?;
    let client = "n8n 2.41.1, client and agent".to_owned();
    let has = &[Feature::List, Feature::Call, Feature::Structured];
    Ok(vec![Row { client, transport: Transport::Http, mode: "legacy", has, tally }])
}

/// Its database driver has no binary for every machine, and install scripts are off.
fn build_sqlite(folder: &Path) -> Result<()> {
    let driver = folder.join("node_modules/sqlite3");
    if driver.join("build/Release/node_sqlite3.node").exists() {
        return Ok(());
    }
    run(Command::new("npx").current_dir(&driver).args(["node-gyp", "rebuild", "--nodedir=/usr"]))
        .context(
            "build n8n's database driver (Debian's packages are build-essential and libnode-dev)",
        )
}
