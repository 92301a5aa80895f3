//! What a change costs beyond its requests: plan, policy, and what is written down before and after.
//!
//! The requests are those that the change makes, as the simulator heard them; the bare client makes
//! the same, in their order. What is left is ours: MCP, reading the answers, plan, digest and policy, and
//! what the guard writes down, which is the difference to a server whose store is in memory.

use std::{path::Path, sync::Arc, time::Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::{GUESTS, NODES, bare::Bare, goal, heading, http, percentile, row, server};
use crate::sim::Sim;

/// Changes run unasked, over HTTP too, and as many as are wanted.
const MODE: &str = "[server]\nmode = \"trusted\"\ntoolsets = [\"all\"]\n\n[guard]\nchanges_per_hour = 0\n\n\
                    [policy.bench]\norder = 1\ndecision = \"allow\"\ntier = \"operate\"\n";

/// So many of each, in turn.
const ROUNDS: usize = 200;

/// One request of a change.
struct Asked {
    method: String,
    /// Below the address.
    path: String,
    /// By which token: what changes something has one of its own.
    token: String,
}

pub(super) fn run(binaries: &Path) -> Result<()> {
    let sim = Sim::start(binaries, NODES, GUESTS)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(measure(&sim, &server(binaries)))
}

async fn measure(sim: &Sim, server: &Path) -> Result<()> {
    let bare = Bare::connect(sim.folder())?;
    let guest = bare.first_guest().await?.address;
    let on_disk = http::serve(server, &sim.settings("", MODE)?)?;
    let in_memory = MODE.replace("[server]\n", "[server]\nstore_url = \"memory:\"\n");
    let in_memory = http::serve(server, &sim.settings("", &in_memory)?)?;
    let (disk, memory) = (http::Http::new(&on_disk.url)?, http::Http::new(&in_memory.url)?);
    let sessions: [Arc<str>; 2] =
        [disk.open_session().await?.into(), memory.open_session().await?.into()];
    let change = async |is_kept: bool, round: usize| -> Result<()> {
        let (client, session) =
            if is_kept { (&disk, &sessions[0]) } else { (&memory, &sessions[1]) };
        let arguments = json!({"guest": guest, "set": {"description": format!("round {round}")}});
        let call = json!({"name": "guest_configure", "arguments": arguments});
        let answer = client.call_in_session(session, &call).await?;
        let is_good =
            answer.contains("\"structuredContent\"") && !answer.contains("\"isError\":true");
        ensure!(is_good, "the change failed: {answer}");
        Ok(())
    };
    for round in 0..20 {
        change(round % 2 == 0, round).await?;
    }
    let asked = requests_of(sim, change(true, 20)).await?;
    let (mut ours, mut unkept, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let began = Instant::now();
        change(true, 100 + round * 2).await?;
        ours.push(began.elapsed());
        let began = Instant::now();
        change(false, 101 + round * 2).await?;
        unkept.push(began.elapsed());
        let began = Instant::now();
        for Asked { method, path, token } in &asked {
            bare.send(method, path, token, &format!("description=bare%20{round}")).await?;
        }
        theirs.push(began.elapsed());
    }
    let writes = asked.iter().filter(|asked| asked.method != "GET").count();
    let what = format!("a change: {} requests, {writes} of them a write", asked.len());
    heading(&what);
    for (name, percent) in [("p50", 50), ("p99", 99)] {
        let (our, their) = (percentile(&ours, percent), percentile(&theirs, percent));
        row(&format!("all of it: {name}, ms"), our, Some(their), f64::NAN);
    }
    let kept = percentile(&ours, 50) - percentile(&unkept, 50);
    row("what the guard writes down of it, on disk: p50, ms", kept, None, goal::CHANGE_MS);
    Ok(())
}

/// What a call asks of the simulator.
async fn requests_of(sim: &Sim, call: impl Future<Output = Result<()>>) -> Result<Vec<Asked>> {
    sim.lever(&json!({"lever": "keep_heads"}))?;
    call.await?;
    let heads = sim.lever(&json!({"lever": "heads"}))?;
    let heads = heads.as_array().context("no heads")?.iter().filter_map(Value::as_str);
    let asked: Vec<Asked> = heads
        .filter_map(|head| {
            let mut words = head.split_whitespace();
            let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
            let (_, token) = head.split_once("\"authorization\": \"")?;
            Some(Asked { method, path, token: token.split('"').next()?.to_owned() })
        })
        .collect();
    ensure!(asked.iter().any(|asked| asked.method != "GET"), "the change changed nothing");
    Ok(asked)
}
