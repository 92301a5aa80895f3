//! From a line on a socket to the message that says it, at a thousand lines a second.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::TcpStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::super::percentile;
use super::{Goal, Scale, goal, row};
use crate::daemon::{Home, PATIENCE};
use crate::told::Told;

/// Lines a second.
const RATE: u64 = 1000;
/// One in so many is of something that people are told of.
const ALARMS: u64 = 50;
const LOOK: Duration = Duration::from_millis(20);

pub(super) fn run(binaries: &Path, scale: Scale) -> Result<()> {
    println!("{RATE} lines a second for {} s, one in {ALARMS} of something wrong", scale.seconds);
    let (told, outputs) = Told::listen(Duration::ZERO)?;
    let home = Home::new(&outputs)?;
    let mut daemon = home.start(binaries, &[])?;
    home.until_ready(&mut daemon)?;
    let sent = send(home.syslog, scale.seconds * RATE)?;
    let begun = Instant::now();
    while told.titles().len() < sent.len() {
        ensure!(
            begun.elapsed() < PATIENCE,
            "of {} messages {} came: {}",
            sent.len(),
            told.titles().len(),
            home.said()?
        );
        thread::sleep(LOOK);
    }
    let titles = told.titles();
    let took = sent.iter().map(|(mark, at)| {
        let came = titles.iter().find(|(title, _)| title.contains(mark.as_str()));
        let (_, came) = came.with_context(|| format!("{mark} was not told"))?;
        Ok(came.saturating_duration_since(*at))
    });
    let took = took.collect::<Result<Vec<Duration>>>()?;
    // The outbox has a message before its receiver does, so this is no less than the way into the outbox.
    row("socket to outbox to receiver: p50", percentile(&took, 50), "ms", Goal::None);
    row("  p99", percentile(&took, 99), "ms", Goal::Most(goal::P99_MS));
    row("  the slowest", percentile(&took, 100), "ms", Goal::None);
    daemon.kill()
}

/// Sends them evenly; when those went out that people are told of.
fn send(port: u16, count: u64) -> Result<BTreeMap<String, Instant>> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).context("connect for lines")?;
    stream.set_nodelay(true)?;
    let mut sent = BTreeMap::new();
    let began = Instant::now();
    for number in 0..count {
        let at = began + Duration::from_micros(number * 1_000_000 / RATE);
        thread::sleep(at.saturating_duration_since(Instant::now()));
        let (level, words) = if number % ALARMS == 0 {
            ("27", format!("it went wrong, alarm-{number:06}"))
        } else {
            ("30", format!("worker {number} finished"))
        };
        let line = format!("<{level}>1 - alder app{} 1 - - {words}", number % 5);
        let framed = format!("{} {line}", line.len());
        if number % ALARMS == 0 {
            sent.insert(format!("alarm-{number:06}"), Instant::now());
        }
        stream.write_all(framed.as_bytes()).context("send lines")?;
    }
    Ok(sent)
}
