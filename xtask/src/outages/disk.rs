//! The disk is full: once with the spool on another disk, once on the same.
//!
//! The small disk is a tmpfs in a mount namespace of its own, so this program starts itself within one; what the second
//! half finds comes back in a file.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::senders::{self, Book};
use super::site::{self, Site};
use super::{Findings, House, Line};
use crate::workspace::{output, path};

/// The size of the small disk.
const SIZE: &str = "size=12m";
/// Where the second half leaves what it found.
const FOUND: &str = "found";
/// How many reports are sent while the disk is full, of each sort.
const REPORTS: usize = 20;
/// The text of a report, in bytes: more than fits into what the store has in hand.
const LONG: usize = 200_000;
const PROXMOX_WAITS: Duration = Duration::from_secs(10);

pub(super) fn run(_: &House) -> Result<Findings> {
    let folder = tempfile::tempdir()?;
    let may = |args: &&[&str]| {
        let mut command = Command::new("unshare");
        let point = folder.path().join("try");
        let mount = "mkdir -p \"$0\" && mount -t tmpfs -o size=1m tmpfs \"$0\"";
        command.args(*args).args(["--", "sh", "-c", mount]).arg(point);
        output(&mut command).is_ok()
    };
    let ways: [&[&str]; 2] = [&["--mount"], &["--mount", "--user", "--map-root-user"]];
    let Some(way) = ways.iter().find(|way| may(way)) else {
        return Ok(Findings::skipped(
            "this account may not make a mount namespace with a tmpfs in it (unshare --mount)",
        ));
    };
    let this = std::env::current_exe().context("find this program")?;
    let mut command = Command::new("unshare");
    command.args(*way).arg("--").arg(this);
    command.args(["outages", "--no-build", "--inside", path(folder.path())?]);
    output(&mut command)?;
    let found = fs::read_to_string(folder.path().join(FOUND))?;
    let lines = found.lines().map(|line| {
        let mut parts = line.splitn(3, '\t');
        let good = match parts.next() {
            Some("yes") => Some(true),
            Some("no") => Some(false),
            _ => None,
        };
        let mut text = || parts.next().unwrap_or_default().to_owned();
        Line { good, what: text(), found: text() }
    });
    Ok(Findings { lines: lines.collect(), skipped: None })
}

/// The second half: mounts the disk and fills it.
pub(super) fn run_inside(house: &House, folder: &Path) -> Result<()> {
    let disk = folder.join("disk");
    fs::create_dir(&disk)?;
    let mut mount = Command::new("mount");
    output(mount.args(["-t", "tmpfs", "-o", SIZE, "tmpfs", path(&disk)?]))?;
    let findings = site::block_on(async {
        let mut findings = Findings::default();
        fill(house, folder, &disk, "beside", &mut findings).await?;
        fill(house, folder, &disk, "same", &mut findings).await?;
        Ok(findings)
    })?;
    let lines = findings.lines.into_iter().map(|Line { good, what, found }| {
        let good = good.map_or("", |good| if good { "yes" } else { "no" });
        format!("{good}\t{what}\t{}\n", found.replace(['\n', '\t'], " "))
    });
    fs::write(folder.join(FOUND), lines.collect::<String>())?;
    Ok(())
}

/// One run: the disk is full for a while, with the spool beside it or on it.
async fn fill(
    house: &House,
    folder: &Path,
    disk: &Path,
    spool: &str,
    findings: &mut Findings,
) -> Result<()> {
    let is_beside = spool == "beside";
    let place = folder.join(spool);
    fs::create_dir(&place)?;
    let state = disk.join(spool);
    let folder_of_spool = if is_beside { place.join("spool") } else { state.join("spool") };
    let mut site = Site::new(&house.binaries, &place, &state, None, &folder_of_spool, 1 << 28)?;
    let client = site.start().await?;
    let (posts, mails) = (Book::default(), Book::default());
    let (http, smtp) = (site.http, site.smtp);
    let send = async |name: &'static str, count: usize, bytes: usize| {
        let (posts, mails) = (posts.clone(), mails.clone());
        site::aside(move || {
            for number in 0..count {
                senders::post(http, &format!("{name} {number}"), bytes, &posts);
                senders::mail(smtp, &format!("{name} mail {number}"), &mails);
            }
        })
        .await
    };
    send("before", 5, 100).await?;
    let before = posts.kept().len() + mails.kept().len();
    ensure!(before == 10, "not even an empty disk works: {}", posts.answers());

    let filler = disk.join("filler");
    occupy(&filler)?;
    send("full", REPORTS, LONG).await?;
    let full = client.events_health().await?;
    let view = full.spool.unwrap_or_default();
    let answers = format!("webhook {}; mail {}", posts.answers(), mails.answers());
    let slowest = posts.slowest().max(mails.slowest());
    let kept = posts.kept().len() + mails.kept().len() - before;
    if is_beside {
        findings.holds(
            "spool on another disk: every sender is told that it is kept",
            kept == 2 * REPORTS,
            answers,
        );
        findings.holds(
            "it waits beside the store, and the status says since when",
            view.waiting > 0 && view.away_since.is_some(),
            format!("{} reports wait in {} KiB", view.waiting, view.bytes / 1024),
        );
    } else {
        let refused = posts.count("503") + mails.count("451");
        findings.holds(
            "spool on the same disk: senders are refused aloud (503, 451)",
            refused > 0 && kept + refused == 2 * REPORTS,
            answers,
        );
        findings.holds(
            "the status counts them",
            view.refused == refused as u64 && view.away_since.is_some(),
            format!("{} refused", view.refused),
        );
    }
    findings.holds(
        "every answer comes in time",
        slowest < PROXMOX_WAITS,
        format!("the slowest in {} ms", slowest.as_millis()),
    );
    let error = view.error.unwrap_or_default();
    findings.holds("the reason is said", error.contains("full"), error);

    fs::remove_file(&filler)?;
    let back = site
        .until(&client, "the store to be back", |health| {
            let is_back =
                |it: &event_core::desk::SpoolView| it.away_since.is_none() && it.waiting == 0;
            health.spool.as_ref().is_some_and(is_back)
        })
        .await?;
    let began = posts.kept().len();
    send("after", 5, 100).await?;
    findings.holds(
        "with room again it goes on, the same process",
        site.is_alive() && posts.kept().len() == began + 5,
        format!("{} were put aside, all of them are in", back.spool.unwrap_or_default().put),
    );
    let titles = site.titles(&client, &["hook", "mail"]).await?;
    let acknowledged = [posts.kept(), mails.kept()].concat();
    let (missing, twice) = site::compare(&acknowledged, &titles);
    findings.holds(
        "whatever was acknowledged is in the store, once",
        missing.is_empty() && twice.is_empty(),
        format!(
            "{} acknowledged, {} missing, {} twice",
            acknowledged.len(),
            missing.len(),
            twice.len()
        ),
    );
    if is_beside {
        let left = fs::read_dir(&folder_of_spool)?
            .filter_map(Result::ok)
            .filter(|entry| entry.path().extension().is_some_and(|it| it == "events"));
        let left = left.count();
        findings.holds("nothing is left in the spool", left == 0, format!("{left} files"));
    }
    site.kill()?;
    fs::remove_dir_all(&state)?;
    Ok(())
}

/// Leaves no room on the disk.
fn occupy(filler: &Path) -> Result<()> {
    let mut file = OpenOptions::new().create(true).append(true).open(filler)?;
    for size in [64 * 1024, 4096, 1] {
        let piece = vec![0; size];
        while file.write_all(&piece).is_ok() {}
    }
    Ok(())
}
