//! `proxmox-manager` under load, killed with SIGKILL at random moments: what was acknowledged is kept once, and every
//! incident was told.
//!
//! Several kills share a store, so that each start finds what many crashes left; then a new one begins. The moments
//! follow from a seed, which is printed.

mod kept;
pub(super) mod load;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use self::kept::Kept;
use self::load::{Acknowledged, Load};
use crate::daemon::Home;
use crate::told::{Times, Told};

/// How many kills share a store.
const SHARE: u32 = 20;
/// One in so many is killed while it starts.
const EARLY: u32 = 8;
/// How long it is left to start, at most, in milliseconds.
const START: u64 = 200;
/// How long it runs under load, at most, in milliseconds.
const RUN: u64 = 450;
/// What the services that are told take an eighth of, at most.
const PACE: Duration = Duration::from_millis(1);
/// What `PRAGMA synchronous` calls `FULL`.
const FULL: &str = "synchronous=2";

/// What is counted.
#[derive(Debug, Default)]
struct Tally {
    kills: u32,
    early: u32,
    stores: u32,
    starts: usize,
    synced: usize,
    acknowledged: usize,
    again: usize,
    lost: usize,
    twice: usize,
    doubles: u32,
    astray: u32,
    broken: Vec<String>,
    lines: (u64, usize),
    alarms: usize,
    outputs: BTreeMap<String, Output>,
}

/// What one output was told.
#[derive(Debug, Default)]
struct Output {
    /// Incidents that it was not told of.
    untold: usize,
    /// Messages, each counted once.
    messages: usize,
    /// Messages that came again with the same key.
    repeated: u32,
    /// Incidents that were new to it under two keys.
    anew: usize,
    /// Deliveries that wait or are given up.
    left: usize,
}

/// Kills it so often, and judges.
pub(super) async fn kill_all(binaries: &Path, kills: u32, seed: u64) -> Result<()> {
    let begun = Instant::now();
    println!("proxmox-manager under load, killed {kills} times (--seed {seed})");
    let mut random = StdRng::seed_from_u64(seed);
    let mut tally = Tally::default();
    let mut left = kills;
    while left > 0 {
        let share = left.min(SHARE);
        left -= share;
        one_store(binaries, share, &mut random, &mut tally).await?;
    }
    println!("{tally}");
    println!("  {:.0} s", begun.elapsed().as_secs_f64());
    ensure!(tally.is_good(), "what was acknowledged or told is not as it should be");
    Ok(())
}

async fn one_store(
    binaries: &Path,
    kills: u32,
    random: &mut StdRng,
    tally: &mut Tally,
) -> Result<()> {
    let (told, outputs) = Told::listen(PACE)?;
    let home = Home::new(&outputs)?;
    let load = Load::start(&home);
    for _ in 0..kills {
        let mut daemon = home.start(binaries, &[])?;
        let most = if random.random_ratio(1, EARLY) {
            tally.early += 1;
            START
        } else {
            home.until_ready(&mut daemon)?;
            RUN
        };
        std::thread::sleep(Duration::from_micros(random.random_range(0..most * 1000)));
        daemon.kill()?;
        tally.kills += 1;
    }
    let mut daemon = home.start(binaries, &[])?;
    home.until_ready(&mut daemon)?;
    let (acknowledged, lines) = load.end()?;
    home.until_settled().await?;
    let pid = daemon.pid();
    daemon.stop(pid)?;
    let kept = kept::read(&home.store_file())?;
    tally.stores += 1;
    tally.count_starts(&home.said()?);
    tally.count_events(&acknowledged, lines, &kept);
    tally.count_messages(&kept, &told.times()).context("judge what was told")
}

// === impl Tally ===

impl Tally {
    /// Each start says what its own connection does.
    fn count_starts(&mut self, said: &str) {
        let starts: Vec<&str> = said.lines().filter(|line| line.contains("synchronous=")).collect();
        self.starts += starts.len();
        self.synced += starts.iter().filter(|line| line.contains(FULL)).count();
    }

    fn count_events(&mut self, acknowledged: &Acknowledged, lines: u64, kept: &Kept) {
        self.acknowledged += acknowledged.len();
        self.again += acknowledged.values().filter(|times| **times > 1).count();
        for mark in acknowledged.keys() {
            match kept.events.get(mark) {
                None => self.lost += 1,
                Some(1) => {}
                Some(_) => self.twice += 1,
            }
        }
        self.doubles += kept.doubles;
        self.astray += kept.astray;
        if kept.integrity != "ok" {
            self.broken.push(kept.integrity.clone());
        }
        let found = kept.events.keys().filter(|mark| mark.starts_with("crash-line-")).count();
        self.lines = (self.lines.0 + lines, self.lines.1 + found);
    }

    fn count_messages(&mut self, kept: &Kept, times: &Times) -> Result<()> {
        self.alarms += kept.alarms.len();
        for name in ["desk", "push"] {
            let output = self.outputs.entry(name.to_owned()).or_default();
            let mut told: BTreeMap<&str, u32> = BTreeMap::new();
            for (to, key, incident, state, stand) in &kept.deliveries {
                if to != name {
                    continue;
                }
                output.left += usize::from(state != "done");
                let came = times.get(&(name.to_owned(), key.clone())).copied().unwrap_or_default();
                output.messages += usize::from(came > 0);
                output.repeated += came.saturating_sub(1);
                if stand == "new" && came > 0 {
                    *told.entry(incident.as_str()).or_default() += 1;
                }
            }
            output.untold +=
                kept.alarms.iter().filter(|id| !told.contains_key(id.as_str())).count();
            output.anew += told.values().filter(|count| **count > 1).count();
        }
        ensure!(!kept.alarms.is_empty(), "nothing went wrong that people are told of");
        Ok(())
    }

    fn is_good(&self) -> bool {
        let is_told =
            |it: &Output| (it.untold, it.anew, it.left) == (0, 0, 0) && it.messages >= self.alarms;
        self.acknowledged > 0
            && (self.lost, self.twice, self.doubles, self.astray) == (0, 0, 0, 0)
            && self.broken.is_empty()
            && self.synced == self.starts
            && self.starts > 0
            && self.outputs.values().all(is_told)
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut row = |what: &str, figure: String, is_good: Option<bool>| {
            let verdict = match is_good {
                None => "",
                Some(true) => "ok",
                Some(false) => "NOT",
            };
            writeln!(f, "  {verdict:<3} {what:<62} {figure}")
        };
        let none = |count: usize| (count.to_string(), Some(count == 0));
        row("kills, of them while it started", format!("{}, {}", self.kills, self.early), None)?;
        row("stores that they share", self.stores.to_string(), None)?;
        row(
            "starts that read `PRAGMA synchronous` back, of them FULL",
            format!("{}, {}", self.starts, self.synced),
            Some(self.synced == self.starts && self.starts > 0),
        )?;
        row(
            "posts and mails acknowledged",
            self.acknowledged.to_string(),
            Some(self.acknowledged > 0),
        )?;
        row("  of them told again after no answer", self.again.to_string(), None)?;
        let (figure, good) = none(self.lost);
        row("  not in the store", figure, good)?;
        let (figure, good) = none(self.twice + self.doubles as usize);
        row("  in the store twice", figure, good)?;
        let (figure, good) = none(self.astray as usize);
        row("events of no incident that make one", figure, good)?;
        let broken = if self.broken.is_empty() { "ok".to_owned() } else { self.broken.join("; ") };
        row("PRAGMA integrity_check", broken, Some(self.broken.is_empty()))?;
        let (sent, found) = self.lines;
        row(
            "lines of syslog sent, kept (nobody acknowledges them)",
            format!("{sent}, {found}"),
            None,
        )?;
        row("incidents that people are told of", self.alarms.to_string(), Some(self.alarms > 0))?;
        for (name, output) in &self.outputs {
            let title = if name == "desk" { "webhook, with ids" } else { "Gotify, without ids" };
            let (figure, good) = none(output.untold);
            row(&format!("  {title}: not told of"), figure, good)?;
            let (figure, good) = none(output.left);
            row("    deliveries that wait or are dead", figure, good)?;
            let (figure, good) = none(output.anew);
            row("    told as new under two keys", figure, good)?;
            // Whoever remembers ids is told once; a service that knows none shows the message twice.
            let seen = if name == "desk" { "the id tells: 0 duplicates" } else { "duplicates" };
            let figure = format!("{} of {} ({seen})", output.repeated, output.messages);
            row("    messages that came twice", figure, None)?;
        }
        Ok(())
    }
}
