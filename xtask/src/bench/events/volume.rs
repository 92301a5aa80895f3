//! A manager that is sent as many lines as it takes: how many it keeps, and what memory it needs for that.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use event_core::{Event, Kind, Severity, Subject};
use jiff::{SignedDuration, Timestamp};
use stdx::Clock as _;
use store::{Mark, Step, Store};

use super::super::memory_mib;
use super::lines::Lines;
use super::peers::Peers;
use super::{Goal, Scale, goal, row};
use crate::daemon::{Daemon, Home, PATIENCE, Setup};
use crate::sim::Sim;

/// Lines of the rules where there are few; many are ten times that.
const RULES: usize = 10;
const LOOK: Duration = Duration::from_millis(5);
/// Who reads the log, by the names of their marks.
const JUDGE: &str = "rules";
/// How far back a history reaches.
const REACH: SignedDuration = SignedDuration::from_hours(60 * 24);
/// How many events are put into the store at once.
const BATCH: usize = 512;

/// What there is before the lines come.
#[derive(Clone, Copy, Default)]
pub(super) struct Around {
    pub(super) rules: usize,
    pub(super) history: usize,
}

/// What became of one round.
pub(super) struct Round {
    /// Lines a second until all were on disk.
    pub(super) kept: f64,
    /// Lines a second until the rules had seen all.
    pub(super) judged: f64,
    /// Memory before and at most.
    pub(super) before_mib: f64,
    pub(super) most_mib: f64,
}

/// Sends all lines to a new manager.
pub(super) async fn round(binaries: &Path, lines: &Lines, around: &Around) -> Result<Round> {
    let rules = rules(around.rules);
    let home = Home::with(&Setup { lines: "cluster = \"lab\"", sections: &rules, estate: None })?;
    fill(&home, around.history).await?;
    let mut daemon = home.start(binaries, &[])?;
    home.until_ready(&mut daemon)?;
    home.until_settled().await?;
    let store = home.store().await?;
    let first = store.head().await?.0;
    let before_mib = memory_mib(daemon.pid(), "VmRSS")?;
    let began = Instant::now();
    let port = home.syslog;
    let last = first + lines.count as u64;
    let (sent, kept, judged) = tokio::join!(
        async { tokio::task::block_in_place(|| lines.send(port)) },
        until(&store, last, false, &home),
        until(&store, last, true, &home),
    );
    sent?;
    let rate = |ended: Instant| lines.count as f64 / (ended - began).as_secs_f64();
    let most_mib = memory_mib(daemon.pid(), "VmHWM")?;
    let round = Round { kept: rate(kept?), judged: rate(judged?), before_mib, most_mib };
    daemon.kill()?;
    Ok(round)
}

/// When the log, or who judges what is in it, has come that far.
async fn until(store: &Arc<dyn Store>, last: u64, judged: bool, home: &Home) -> Result<Instant> {
    let begun = Instant::now();
    loop {
        let place = if judged {
            store.mark(JUDGE).await?.map_or(0, |mark| mark.seq.0)
        } else {
            store.head().await?.0
        };
        if place >= last {
            return Ok(Instant::now());
        }
        ensure!(
            begun.elapsed() < PATIENCE * 3,
            "the manager has come to {place} of {last}: {}",
            home.said()?
        );
        tokio::time::sleep(LOOK).await;
    }
}

/// Lines of the rules of which none fits, so that every one is asked.
fn rules(count: usize) -> String {
    (0..count).fold(String::new(), |mut text, number| {
        let _ = writeln!(
            text,
            "[rule.line_{number}]\nwhen = \"event.kind == 'backup.failed' && event.node == 'node-{number}'\"\n\
             severity = \"critical\""
        );
        text
    })
}

/// Puts a history into the store, evenly over two months, as if it had been heard and judged.
async fn fill(home: &Home, count: usize) -> Result<()> {
    if count == 0 {
        return Ok(());
    }
    let store = home.store().await?;
    let now = stdx::SystemClock.now();
    let pause = REACH / i32::try_from(count)?;
    let made = (1..=count).map(|number| {
        let ago = pause * i32::try_from(count - number).unwrap_or_default();
        old_event(number, now.checked_sub(ago).unwrap_or(now))
    });
    let mut made = made.peekable();
    while made.peek().is_some() {
        let batch = made.by_ref().take(BATCH).map(Arc::new).collect();
        event_core::EventLog::append(&*store, batch, Vec::new()).await?;
    }
    while store.index_events(1000).await? > 0 {}
    let mark = Mark { consumer: JUDGE.to_owned(), seq: store.head().await?, time: now };
    store.commit_step(Step { mark: Some(mark), ..Step::default() }).await?;
    Ok(())
}

fn old_event(number: usize, at: Timestamp) -> Event {
    let source = "lines".parse().expect("a valid name");
    let node = ["alder", "birch", "cedar", "elm"][number % 4];
    let subject =
        Subject { cluster: "lab".parse().ok(), node: node.parse().ok(), ..Subject::default() };
    let words = format!("worker {number} finished");
    Event::builder(&source, "syslog", format!("old/{number}"), Kind::other("syslog.app"), at)
        .severity(Severity::Info)
        .subject(subject)
        .title(&words)
        .message(words)
        .build(at)
}

/// A manager that hears nothing, with an input of each type.
pub(super) async fn idle(binaries: &Path) -> Result<()> {
    println!("a manager that does nothing, with an input of each type");
    let sim = Sim::with(binaries, &["--estate", "demo"])?;
    let estate = std::fs::read_to_string(sim.folder().join("settings.toml"))?;
    let (peers, sections) = Peers::listen()?;
    let setup = Setup { estate: Some(&estate), lines: "", sections: &sections };
    let home = Home::with(&setup)?;
    let mut daemon = home.start(binaries, &[])?;
    home.until_ready(&mut daemon)?;
    let begun = Instant::now();
    while !peers.are_all_heard() {
        ensure!(begun.elapsed() < PATIENCE, "not every input listens: {}", home.said()?);
        tokio::time::sleep(LOOK).await;
    }
    home.until_settled().await?;
    tokio::time::sleep(crate::bench::REST).await;
    let rest = settled_mib(&daemon).await?;
    row("resident", rest, "MiB", Goal::Most(goal::IDLE_MIB));
    row("  of it allocated", memory_mib(daemon.pid(), "RssAnon")?, "MiB", Goal::None);
    daemon.kill()
}

/// The memory when it no longer grows: what is made at the start is made.
async fn settled_mib(daemon: &Daemon) -> Result<f64> {
    let mut before = memory_mib(daemon.pid(), "VmRSS")?;
    let begun = Instant::now();
    loop {
        tokio::time::sleep(Duration::from_secs(3)).await;
        let now = memory_mib(daemon.pid(), "VmRSS")?;
        if (now - before).abs() < 0.1 || begun.elapsed() > PATIENCE {
            return Ok(now);
        }
        before = now;
    }
}

/// The same lines with ten times the rules, and with a hundred times the history.
pub(super) async fn growth(binaries: &Path, scale: Scale) -> Result<()> {
    let lines = Lines::new(scale.lines);
    println!(
        "{:<40} {:>10} {:>10} {:>12} {:>12}",
        "", "kept/s", "judged/s", "before, MiB", "most, MiB"
    );
    let little = Around { rules: RULES, history: scale.history };
    let cases = [
        ("few rules, little history", little),
        ("10 times the rules", Around { rules: RULES * 10, ..little }),
        ("100 times the history", Around { history: scale.history * 100, ..little }),
    ];
    let mut first: Option<Round> = None;
    for (name, around) in cases {
        let Around { rules, history } = around;
        let round = round(binaries, &lines, &around).await.with_context(|| anyhow!("{name}"))?;
        let title = format!("{name} ({rules}, {history})");
        println!(
            "{title:<40} {:>10.0} {:>10.0} {:>12.1} {:>12.1}",
            round.kept, round.judged, round.before_mib, round.most_mib
        );
        match &first {
            None => first = Some(round),
            Some(few) => println!(
                "{:<40} {:>10.2} {:>10.2} {:>12.2} {:>12.2}",
                "  to the first",
                round.kept / few.kept,
                round.judged / few.judged,
                round.before_mib / few.before_mib,
                round.most_mib / few.most_mib
            ),
        }
    }
    Ok(())
}
