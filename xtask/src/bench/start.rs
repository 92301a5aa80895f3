//! From start to the first answer, and the memory of a server that does nothing.

use std::{path::Path, time::Duration, time::Instant};

use anyhow::{Result, ensure};
use serde_json::json;

use super::stdio::Client;
use super::{GUESTS, NODES, REST, goal, heading, median, memory_mib, row, server};
use crate::sim::Sim;
use crate::workspace::path;

const STARTS: usize = 40;

pub(super) fn run(binaries: &Path) -> Result<()> {
    let sim = Sim::start(binaries, NODES, GUESTS)?;
    let server = server(binaries);
    let config = sim.settings("", "")?;
    let with_config = ["serve", "--config", path(&config)?];

    heading("start and an idle server");
    let times = starts(&server, &with_config)?;
    row("start to initialize answered, ms (median)", median(&times), None, goal::START_MS);
    let times = starts(&server, &["serve", "--demo"])?;
    row("the same with --demo, ms (median)", median(&times), None, goal::START_MS);

    resident("resident after tools/list, MiB", &server, &with_config)?;
    resident("the same with --demo, MiB", &server, &["serve", "--demo"])
}

fn resident(what: &str, server: &Path, args: &[&str]) -> Result<()> {
    let mut client = Client::start(server, args)?;
    let tools = client.call("tools/list", &json!({}))?;
    ensure!(tools["result"]["tools"].is_array(), "tools/list has no tools: {tools}");
    row(what, memory_mib(client.pid(), "VmRSS")?, None, goal::RESIDENT_MIB);
    row("  of it allocated, MiB", memory_mib(client.pid(), "RssAnon")?, None, f64::NAN);
    std::thread::sleep(REST);
    row("  half a minute later, MiB", memory_mib(client.pid(), "VmRSS")?, None, goal::RESIDENT_MIB);
    row("    of it allocated, MiB", memory_mib(client.pid(), "RssAnon")?, None, f64::NAN);
    Ok(())
}

fn starts(server: &Path, args: &[&str]) -> Result<Vec<Duration>> {
    (0..STARTS)
        .map(|_| {
            let start = Instant::now();
            let client = Client::start(server, args)?;
            let took = start.elapsed();
            drop(client);
            Ok(took)
        })
        .collect()
}
