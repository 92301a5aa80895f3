//! One call after another over standard input and output, a small one and a large one.

use std::{path::Path, time::Instant};

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::bare::Bare;
use super::stdio::Client;
use super::{GUESTS, NODES, goal, guest_status, heading, median, memory_mib, row, server};
use crate::sim::Sim;
use crate::workspace::path;

const CALLS: usize = 400;
const WARM_UP: usize = 20;

/// Two medians in milliseconds, and how many rows the last answer had.
struct Pair {
    ours: f64,
    bare: f64,
    rows: Option<usize>,
}

pub(super) fn run(binaries: &Path) -> Result<()> {
    let sim = Sim::start(binaries, NODES, GUESTS)?;
    // All rows in one answer, so that one call of ours stands against one request.
    let config = sim.settings("", "[server]\nanswer_max_bytes = 262144\n")?;
    let mut client = Client::start(&server(binaries), &["serve", "--config", path(&config)?])?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let bare = Bare::connect(sim.folder())?;
    let guest = runtime.block_on(bare.first_guest())?;

    heading("one call after another, stdio");
    let call = guest_status(&guest.address);
    let one = against(&mut client, &runtime, &bare, &call, &guest.status_path)?;
    row("one guest's status, ms (median)", one.ours, Some(one.bare), goal::ONE_GUEST);
    let call = json!({"name": "guests_list", "arguments": {"limit": GUESTS}});
    let all = against(&mut client, &runtime, &bare, &call, "/api2/json/cluster/resources")?;
    ensure!(all.rows == Some(GUESTS as usize), "not all guests came: {:?}", all.rows);
    let what = "all of 1,000 guests on ten nodes, ms (median)";
    row(what, all.ours, Some(all.bare), goal::ALL_GUESTS);
    row("resident after the calls, MiB", memory_mib(client.pid(), "VmRSS")?, None, f64::NAN);
    row("  of it allocated, MiB", memory_mib(client.pid(), "RssAnon")?, None, f64::NAN);
    println!();
    Ok(())
}

/// Calls a tool and makes the bare request in turn.
fn against(
    client: &mut Client,
    runtime: &Runtime,
    bare: &Bare,
    call: &Value,
    path: &str,
) -> Result<Pair> {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let mut answer = Value::Null;
    for round in 0..CALLS + WARM_UP {
        let our;
        (answer, our) = client.timed_call("tools/call", call)?;
        ensure!(answer["result"]["isError"] != true, "the call failed: {answer}");
        let start = Instant::now();
        runtime.block_on(bare.get(path))?;
        let their = start.elapsed();
        // The first rounds fill caches and pools on both sides.
        if round >= WARM_UP {
            ours.push(our);
            theirs.push(their);
        }
    }
    let rows = &answer["result"]["structuredContent"]["guests"]["rows"];
    Ok(Pair { ours: median(&ours), bare: median(&theirs), rows: rows.as_array().map(Vec::len) })
}
