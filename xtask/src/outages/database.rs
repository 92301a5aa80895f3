//! The database is cut off under load, is silent, and is away while the manager is killed.

use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::sync::watch;

use super::relay::{self, Line};
use super::senders::{Book, Load};
use super::site::{self, Site};
use super::{Findings, House};
use crate::services::postgres;

/// For how long the database is away each time.
const AWAY: Duration = Duration::from_secs(8);
const PROXMOX_WAITS: Duration = Duration::from_secs(10);

pub(super) fn run(house: &House) -> Result<Findings> {
    let Some(server) = postgres::url() else {
        return Ok(Findings::skipped(
            "no PostgreSQL runs; `cargo xtask services start postgres` starts one",
        ));
    };
    let schema = format!("outages_{}", std::process::id());
    postgres::execute(&server, &format!("CREATE SCHEMA {schema}"))?;
    let found = site::block_on(outage(house, &server, &schema));
    postgres::execute(&server, &format!("DROP SCHEMA {schema} CASCADE"))?;
    found
}

async fn outage(house: &House, server: &str, schema: &str) -> Result<Findings> {
    let (head, rest) = server.split_once("://").context("the server has no URL")?;
    let (user, rest) = rest.split_once('@').context("the URL names no account")?;
    let (address, database) = rest.split_once('/').context("the URL names no database")?;
    let (switch, line) = watch::channel(Line::Open);
    let port = relay::start(address.to_owned(), line).await?;
    let url = format!("{head}://{user}@127.0.0.1:{port}/{database}?options[search_path]={schema}");

    let folder = tempfile::tempdir()?;
    let (place, spool) = (folder.path(), folder.path().join("spool"));
    let state = place.join("state");
    let mut site = Site::new(&house.binaries, place, &state, Some(&url), &spool, 1 << 28)?;
    let client = site.start().await?;
    let mut findings = Findings::default();
    let (posts, mails) = (Book::default(), Book::default());
    let load = |name: &str| {
        let pause = Duration::from_millis(20);
        Load::start((site.http, site.smtp), 3, 2, pause, name, (&posts, &mails))
    };

    let running = load("first");
    for (line, what) in [
        (Line::Cut, "the connections are cut: it is away, and senders go on"),
        (Line::Dead, "the server is silent: it is away, and senders go on"),
    ] {
        let kept = posts.kept().len() + mails.kept().len();
        switch.send_replace(line);
        let away = site.until(&client, "the store to be away", |health| {
            health.spool.as_ref().is_some_and(|it| it.away_since.is_some() && it.waiting > 0)
        });
        let away = away.await?.spool.unwrap_or_default();
        // The outage itself, under load all the while.
        tokio::time::sleep(AWAY).await;
        let meanwhile = posts.kept().len() + mails.kept().len() - kept;
        findings.holds(
            what,
            meanwhile > 0,
            format!("{meanwhile} acknowledged; it says: {}", away.error.unwrap_or_default()),
        );
        switch.send_replace(Line::Open);
        let back = site.until(&client, "the store to be back", |health| {
            let is_back =
                |it: &event_core::desk::SpoolView| it.away_since.is_none() && it.waiting == 0;
            health.spool.as_ref().is_some_and(is_back)
        });
        let put = back.await?.spool.unwrap_or_default().put;
        findings.tells(
            "  back, and what waited is in",
            format!("{put} were put aside since the start"),
        );
    }

    // Away once more, and the manager is killed with reports that wait.
    switch.send_replace(Line::Cut);
    let waits = site.until(&client, "reports to wait", |health| {
        health.spool.as_ref().is_some_and(|it| it.waiting > 20)
    });
    let waiting = waits.await?.spool.unwrap_or_default().waiting;
    site.kill()?;
    running.stop()?;
    switch.send_replace(Line::Open);
    let client = site.start().await?;
    site.until(&client, "what waited to be in", |health| {
        health.spool.as_ref().is_some_and(|it| it.away_since.is_none() && it.waiting == 0)
    })
    .await?;
    let again = Load::start(
        (site.http, site.smtp),
        1,
        1,
        Duration::from_millis(20),
        "again",
        (&posts, &mails),
    );
    tokio::time::sleep(Duration::from_secs(1)).await;
    again.stop()?;
    findings.tells("killed while that many waited, started again", format!("{waiting} or more"));

    let titles = site.titles(&client, &["hook", "mail"]).await?;
    let acknowledged = [posts.kept(), mails.kept()].concat();
    let (missing, twice) = site::compare(&acknowledged, &titles);
    findings.holds(
        "whatever was acknowledged is in the store, once",
        missing.is_empty() && twice.is_empty() && !acknowledged.is_empty(),
        format!(
            "{} acknowledged (webhook {}; mail {}), {} missing, {} twice",
            acknowledged.len(),
            posts.answers(),
            mails.answers(),
            missing.len(),
            twice.len()
        ),
    );
    let refused = posts.count("503") + mails.count("451");
    findings.holds("nobody was refused", refused == 0, format!("{refused}"));
    let slowest = posts.slowest().max(mails.slowest());
    findings.holds(
        "every answer comes in time",
        slowest < PROXMOX_WAITS,
        format!("the slowest in {} ms", slowest.as_millis()),
    );
    // A store that comes and goes is away once, and back when it has been for half a minute.
    let begun = std::time::Instant::now();
    let (gone, back, said) = loop {
        let titles = site.titles(&client, &["manager"]).await?;
        let of = |word: &str| titles.iter().filter(|it| it.0.contains(word)).count();
        let (gone, back) = (of("took nothing in"), of("takes everything in again"));
        let told = site.told();
        let is_said = told.iter().any(|line| line.contains("took nothing in"));
        if (back > 0 && is_said) || begun.elapsed() > site::PATIENCE {
            break (gone, back, is_said);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    findings.holds(
        "that it was away is one incident, which people are told of",
        (gone, back, said) == (1, 1, true),
        format!("{gone} gone, {back} back, told: {said}"),
    );
    Ok(findings)
}
