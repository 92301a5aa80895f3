//! A source sends ten times the usual rate: over TCP it is held up, over UDP the kernel drops and counts, and whoever
//! else reports is answered meanwhile.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::senders::{self, Book, Load};
use super::site::{self, PATIENCE, Site};
use super::{Findings, House};

/// Lines a second that an estate with much to say sends, and ten times that.
const USUAL: usize = 1000;
const FLOOD: usize = 10 * USUAL;
/// How many lines are sent each way.
const LINES: usize = 20_000;
/// By how much the manager may grow under load, in MiB. What it has before is mostly the program itself, which is large
/// in a debug build; `cargo xtask bench` measures the program as it is shipped.
const MEMORY: u64 = 64;
/// How long Proxmox waits for an answer.
const PROXMOX_WAITS: Duration = Duration::from_secs(10);
/// The most messages that an output gets within five minutes, and the list of the rest.
const MOST_MESSAGES: usize = 21;

pub(super) fn run(house: &House) -> Result<Findings> {
    site::block_on(flood(house))
}

async fn flood(house: &House) -> Result<Findings> {
    let folder = tempfile::tempdir()?;
    let (place, state) = (folder.path(), folder.path().join("state"));
    let spool = place.join("spool");
    let mut site = Site::new(&house.binaries, place, &state, None, &spool, 1 << 28)?;
    let client = site.start().await?;
    let mut findings = Findings::default();
    let idle = site.peak_mib()?;

    let (posts, mails) = (Book::default(), Book::default());
    let ports = (site.http, site.smtp);
    let pause = Duration::from_millis(100);
    let load = Load::start(ports, 2, 1, pause, "while it floods", (&posts, &mails));
    let port = site.syslog;

    let took = site::aside(move || senders::syslog_tcp(port, LINES, FLOOD)).await??;
    let kept = until_still(&site, |_| true).await?;
    let first = site.peak_mib()?;
    let rate = LINES as f64 / took.as_secs_f64();
    findings.holds(
        "syslog over TCP: every line is kept, the sender is held up",
        kept == LINES as u64,
        format!("{kept} of {LINES} kept; {FLOOD}/s wanted, {rate:.0}/s taken"),
    );

    site::aside(move || senders::syslog_udp(port, LINES, LINES, FLOOD)).await??;
    let all = until_still(&site, |count| count > kept).await? - kept;
    let sent = LINES as u64;
    let health = site
        .until(&client, "the kernel's drops to be counted", |health| {
            let lost = health.inputs.iter().find(|it| it.name == "syslog").map(|it| it.lost);
            lost == Some(sent - all)
        })
        .await?;
    let lost = health.inputs.iter().find(|it| it.name == "syslog").map_or(0, |it| it.lost);
    findings.holds(
        "syslog over UDP: what is not kept is counted as lost",
        all + lost == sent,
        format!("{all} kept + {lost} dropped by the kernel = {sent} sent"),
    );
    let is_said = lost == 0 || site.log().contains("reports were lost that nobody can bring back");
    findings.holds("drops are said in the log", is_said, if lost == 0 { "none" } else { "yes" });

    load.stop()?;
    let slowest = posts.slowest().max(mails.slowest());
    let entries = [posts.entries(), mails.entries()].concat();
    let kept = entries.iter().filter(|entry| entry.is_kept).count();
    findings.holds(
        "webhook and mail are answered meanwhile",
        kept == entries.len() && !entries.is_empty() && slowest < PROXMOX_WAITS,
        format!(
            "{kept} of {} kept, {}; the slowest answer {} ms",
            entries.len(),
            [posts.answers(), mails.answers()].join(", "),
            slowest.as_millis()
        ),
    );
    let titles = site.titles(&client, &["hook", "mail"]).await?;
    let (missing, twice) = site::compare(&[posts.kept(), mails.kept()].concat(), &titles);
    findings.holds(
        "and are in the store, each once",
        missing.is_empty() && twice.is_empty(),
        format!("{} missing, {} twice", missing.len(), twice.len()),
    );
    let peak = site.peak_mib()?;
    findings.holds(
        "memory is bounded",
        peak - idle <= MEMORY,
        format!(
            "{idle} MiB before, {first} MiB after {LINES} lines, {peak} MiB after {}",
            2 * LINES
        ),
    );
    let told = told(&site).await?;
    findings.holds(
        "people get a list, not a flood",
        (1..=MOST_MESSAGES).contains(&told),
        format!("{told} messages about {} lines", 2 * LINES),
    );
    let put = health.spool.map_or(0, |spool| spool.put);
    findings.tells("how many of these answers the spool had to help with", format!("{put}"));
    findings.holds("the manager is the same process as before", site.is_alive(), "yes");
    Ok(findings)
}

/// Waits until nothing more of syslog comes into the store, and says how much there is.
async fn until_still(site: &Site, is_enough: impl Fn(u64) -> bool) -> Result<u64> {
    let begun = Instant::now();
    let (mut last, mut since) = (u64::MAX, Instant::now());
    loop {
        let count = site.count("syslog")?;
        if count != last {
            (last, since) = (count, Instant::now());
        }
        if since.elapsed() > Duration::from_secs(2) && is_enough(count) {
            return Ok(count);
        }
        ensure!(begun.elapsed() < PATIENCE, "the store still takes in lines: {count}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// How many messages there are when no more come.
async fn told(site: &Site) -> Result<usize> {
    let begun = Instant::now();
    let (mut last, mut since) = (0, Instant::now());
    loop {
        let count = site.told().len();
        if count != last {
            (last, since) = (count, Instant::now());
        }
        // The first message of an incident waits ten seconds for further reports.
        if since.elapsed() > Duration::from_secs(12) && count > 0 {
            return Ok(count);
        }
        ensure!(begun.elapsed() < PATIENCE, "nobody is told anything, or too much: {count}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
