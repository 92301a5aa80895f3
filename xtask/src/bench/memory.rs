//! What sessions that do nothing and requests under way take.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tokio::task::JoinSet;

use super::bare::{Bare, Guest};
use super::http::{Http, serve};
use super::{guest_status, heading, memory_mib, row, server};
use crate::sim::Sim;

const SESSIONS: u32 = 500;
const REQUESTS: u32 = 1000;
/// More than the requests, since only running VMs are asked for.
const GUESTS: u32 = 2000;
const NODES: u32 = 10;
/// For so long the simulator holds each answer back while the requests come together.
const HELD: Duration = Duration::from_secs(10);

pub(super) fn run(binaries: &Path) -> Result<()> {
    let sim = Sim::start(binaries, NODES, GUESTS)?;
    let config = sim.settings("", &format!("[http]\nsessions_per_principal = {SESSIONS}\n"))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    heading("memory over HTTP");
    runtime.block_on(async {
        let bare = Bare::connect(sim.folder())?;
        let guests = bare.running().await?;
        sessions(&server(binaries), &config, &guests).await?;
        requests(&server(binaries), &config, &sim, &guests).await
    })
}

/// A server that has answered some calls, so that what is made once is made.
async fn warmed(http: &Http, guests: &[Guest]) -> Result<()> {
    for guest in guests.iter().take(50) {
        http.call_tool(&guest_status(&guest.address)).await?;
    }
    Ok(())
}

async fn sessions(server: &Path, config: &Path, guests: &[Guest]) -> Result<()> {
    let process = serve(server, config)?;
    let http = Http::new(&process.url)?;
    warmed(&http, guests).await?;
    let before = memory_mib(process.pid(), "VmRSS")?;
    row("resident after fifty calls, MiB", before, None, f64::NAN);

    let mut ids = Vec::new();
    for _ in 0..SESSIONS {
        ids.push(http.open_session().await?);
    }
    let open = http.metric("proxmox_mcp_mcp_sessions").await?;
    let all = (open - f64::from(SESSIONS)).abs() < 0.5;
    ensure!(all, "{open} sessions are open instead of {SESSIONS}");
    let idle = memory_mib(process.pid(), "VmRSS")?;
    row("  with 500 idle sessions, MiB", idle, None, f64::NAN);
    row("    each, KiB", each_kib(idle - before, SESSIONS), None, f64::NAN);

    let mut streams = Vec::new();
    for id in &ids {
        streams.push(http.listen(id).await?);
    }
    let listening = memory_mib(process.pid(), "VmRSS")?;
    row("  each of them with its stream open, MiB", listening, None, f64::NAN);
    row(
        "    each, session and stream, KiB",
        each_kib(listening - before, SESSIONS),
        None,
        f64::NAN,
    );
    drop(streams);
    Ok(())
}

async fn requests(server: &Path, config: &Path, sim: &Sim, guests: &[Guest]) -> Result<()> {
    ensure!(guests.len() >= REQUESTS as usize, "only {} guests run", guests.len());
    let process = serve(server, config)?;
    let http = Http::new(&process.url)?;
    warmed(&http, guests).await?;
    let before = memory_mib(process.pid(), "VmRSS")?;
    row("resident after fifty calls, MiB", before, None, f64::NAN);
    // From here on the kernel notes the most anew.
    std::fs::write(format!("/proc/{}/clear_refs", process.pid()), "5")
        .context("have the kernel forget the most memory so far")?;

    let held = json!({"lever": "latency", "target": "lab", "ms": HELD.as_millis() as u64});
    sim.pull(&http.client, &held).await?;
    let answered = Arc::new(AtomicUsize::new(0));
    let mut under_way = JoinSet::new();
    for guest in &guests[..REQUESTS as usize] {
        let (http, call) = (http.clone(), guest_status(&guest.address));
        let answered = Arc::clone(&answered);
        under_way.spawn(async move {
            let answer = http.call_tool(&call).await;
            answered.fetch_add(1, Ordering::Relaxed);
            answer
        });
    }
    // Asked on a connection of its own.
    let asking = Http::new(&process.url)?;
    let start = Instant::now();
    while asking.metric("proxmox_mcp_http_connections").await? < f64::from(REQUESTS) {
        ensure!(start.elapsed() < HELD, "the requests did not come together in {HELD:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // What was accepted last is to be read and sent on, too.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let early = answered.load(Ordering::Relaxed);
    ensure!(early == 0, "{early} requests were answered before all were under way");
    let together = memory_mib(process.pid(), "VmRSS")?;
    sim.pull(&asking.client, &json!({"lever": "clear", "target": "lab"})).await?;

    let mut failed = 0;
    while let Some(answer) = under_way.join_next().await {
        let good = answer?.is_ok_and(|text| !text.contains("\"isError\":true"));
        failed += u32::from(!good);
    }
    let peak = memory_mib(process.pid(), "VmHWM")?;
    row("  with 1,000 requests in flight, MiB", together, None, f64::NAN);
    row("    each, KiB", each_kib(together - before, REQUESTS), None, f64::NAN);
    row("  the most until all were answered, MiB", peak, None, f64::NAN);
    row("    each, KiB", each_kib(peak - before, REQUESTS), None, f64::NAN);
    row("  after them, MiB", memory_mib(process.pid(), "VmRSS")?, None, f64::NAN);
    row("  requests that failed", f64::from(failed), None, 0.0);
    Ok(())
}

fn each_kib(mib: f64, count: u32) -> f64 {
    mib * 1024.0 / f64::from(count)
}
