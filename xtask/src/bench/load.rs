//! Many calls at once, over HTTP and over standard input and output, against as many bare requests.

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;
use tokio::task::JoinSet;

use super::bare::Bare;
use super::http::{Http, serve};
use super::stdio::Crowd;
use super::{GUESTS, NODES, goal, guest_status, heading, percentile, row, server};
use crate::sim::Sim;
use crate::workspace::path;

/// Changes run unasked, over HTTP too, and as many as are wanted.
const MODE: &str = "[server]\nmode = \"trusted\"\ntoolsets = [\"all\"]\n\n[guard]\nchanges_per_hour = 0\n\n\
                    [policy.bench]\norder = 1\ndecision = \"allow\"\ntier = \"operate\"\n";
/// How many are in flight, and how many calls a round has then.
const LEVELS: [(usize, usize); 3] = [(1, 100), (8, 200), (64, 400)];
/// So many changes are told as streams, one after the other.
const STREAMS: usize = 100;
/// Ours and the bare client take turns this often.
const ROUNDS: usize = 6;

/// What came of the rounds of one side.
#[derive(Default)]
struct Lap {
    times: Vec<Duration>,
    elapsed: Duration,
}

pub(super) fn run(binaries: &Path) -> Result<()> {
    let sim = Sim::start(binaries, NODES, GUESTS)?;
    // As many requests go on to the endpoint as the bare client has under way; by default eight do.
    let config = sim.settings("concurrency = 64", MODE)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(measure(&server(binaries), &config, sim.folder()))
}

async fn measure(server: &Path, config: &Path, folder: &Path) -> Result<()> {
    let bare = Bare::connect(folder)?;
    let guest = bare.first_guest().await?;
    let call = Arc::new(guest_status(&guest.address));
    let path_of_status: Arc<str> = guest.status_path.into();
    let upstream = || {
        let (bare, path) = (bare.clone(), Arc::clone(&path_of_status));
        async move { bare.get(&path).await.map(drop) }
    };

    heading("one guest's status, many at once");
    let process = serve(server, config)?;
    let http = Http::new(&process.url)?;
    for (in_flight, calls) in LEVELS {
        let ours = || {
            let (http, call) = (http.clone(), Arc::clone(&call));
            async move { accept(&http.call_tool(&call).await?) }
        };
        against("http", in_flight, calls, ours, upstream).await?;
    }
    let session: Arc<str> = http.open_session().await?.into();
    for (in_flight, calls) in LEVELS {
        let ours = || {
            let (http, call, session) = (http.clone(), Arc::clone(&call), Arc::clone(&session));
            async move { accept(&http.call_in_session(&session, &call).await?) }
        };
        against("http session", in_flight, calls, ours, upstream).await?;
    }
    streams(&http, &session, &guest.address).await?;
    drop(process);

    let crowd = Crowd::start(server, &["serve", "--config", path(config)?]).await?;
    for (in_flight, calls) in LEVELS {
        let ours = || {
            let (crowd, call) = (crowd.clone(), Arc::clone(&call));
            async move { accept(&crowd.call("tools/call", &call).await?) }
        };
        against("stdio", in_flight, calls, ours, upstream).await?;
    }
    Ok(())
}

/// Changes that tell progress, so that their answers are streams: an event that is held back for what
/// follows it, as by Nagle's algorithm, costs 40 ms and would show here.
async fn streams(http: &Http, session: &str, guest: &str) -> Result<()> {
    let mut lap = Lap::default();
    for round in 0..STREAMS {
        let call = json!({
            "name": "guest_configure",
            "arguments": {"guest": guest, "set": {"description": format!("round {round}")}},
            "_meta": {"progressToken": round},
        });
        let started = Instant::now();
        let answer = http.call_in_session(session, &call).await?;
        lap.times.push(started.elapsed());
        accept(&answer)?;
        ensure!(answer.contains("notifications/progress"), "it was no stream: {answer}");
    }
    for (name, percent) in [("p50", 50), ("p99", 99)] {
        let what = format!("http session, a change told as a stream: {name}, ms");
        row(&what, percentile(&lap.times, percent), None, f64::NAN);
    }
    Ok(())
}

/// Holds that it is an answer of the tool; without parsing it, which the bare client does not do
/// either.
fn accept(answer: &str) -> Result<()> {
    let good = answer.contains("\"structuredContent\"") && !answer.contains("\"isError\":true");
    ensure!(good, "the call failed: {answer}");
    Ok(())
}

/// Both sides in turn, and a row for each figure.
async fn against<A, B, FutureA, FutureB>(
    transport: &str,
    in_flight: usize,
    calls: usize,
    ours: A,
    bare: B,
) -> Result<()>
where
    A: Fn() -> FutureA,
    B: Fn() -> FutureB,
    FutureA: Future<Output = Result<()>> + Send + 'static,
    FutureB: Future<Output = Result<()>> + Send + 'static,
{
    let (mut our, mut their) = (Lap::default(), Lap::default());
    // The first round fills caches and pools on both sides and does not count.
    crowd(in_flight, calls / 4, &ours, &mut Lap::default()).await?;
    crowd(in_flight, calls / 4, &bare, &mut Lap::default()).await?;
    for _ in 0..ROUNDS {
        crowd(in_flight, calls, &ours, &mut our).await?;
        crowd(in_flight, calls, &bare, &mut their).await?;
    }
    let what = format!("{transport}, {in_flight} in flight:");
    for (name, percent, goal) in [("p50", 50, goal::ONE_GUEST), ("p99", 99, f64::NAN)] {
        let (ours, bare) = (percentile(&our.times, percent), percentile(&their.times, percent));
        row(&format!("{what} {name}, ms"), ours, Some(bare), goal);
    }
    row(&format!("{what} calls a second"), our.a_second(), Some(their.a_second()), f64::NAN);
    Ok(())
}

/// `calls` calls, of which `in_flight` are always under way.
async fn crowd<F, Fut>(in_flight: usize, calls: usize, call: &F, lap: &mut Lap) -> Result<()>
where
    F: Fn() -> Fut,
    Fut: Future<Output = Result<()>> + Send + 'static,
{
    let started = Instant::now();
    let mut left = calls;
    let mut under_way = JoinSet::new();
    let timed = |call: Fut| async move {
        let start = Instant::now();
        call.await.map(|()| start.elapsed())
    };
    while left > 0 || !under_way.is_empty() {
        if left > 0 && under_way.len() < in_flight {
            left -= 1;
            under_way.spawn(timed(call()));
            continue;
        }
        if let Some(done) = under_way.join_next().await {
            lap.times.push(done??);
        }
    }
    lap.elapsed += started.elapsed();
    Ok(())
}

// === impl Lap ===

impl Lap {
    fn a_second(&self) -> f64 {
        self.times.len() as f64 / self.elapsed.as_secs_f64()
    }
}
