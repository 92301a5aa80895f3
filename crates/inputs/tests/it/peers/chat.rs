//! Discord and Gotify, which keep the limits that they document: what is posted there, and what becomes of it.

use std::time::Duration;

use event_core::{Event, EventSource as _};
use inputs::{
    Echo,
    discord::{self, Discord},
    gotify::{self, Gotify},
};
use serde_json::{Value, json};
use testkit::fake::{
    Fake,
    discord::{BOT, Discord as OfDiscord, Limit, ME, OPS, Order, WEBHOOK},
    gotify::{APPLICATION, CLIENT_TOKEN, Gotify as OfGotify},
};

use super::{line, show};
use crate::streams::Run;

/// What outputs of ours post.
const TO_DISCORD: &str = include_str!("../../../../outputs/tests/it/golden/discord-new.txt");
const TO_GOTIFY: &str = include_str!("../../../../outputs/tests/it/golden/gotify-new.txt");
/// A relay that posts for Proxmox.
const RELAY: u64 = 32;

async fn next(run: &mut Run) -> Event {
    run.next(1).await.remove(0)
}

fn short(value: &Value) -> String {
    value.to_string()
}

#[tokio::test]
async fn what_is_posted_in_discord_becomes_events_but_for_our_own() {
    let fake = Fake::start(OfDiscord::new()).await;
    let gateway = fake.with(|server| server.gateway());
    let echo = Echo::default();
    let mut config = discord::Config::new(BOT.into(), [OPS]);
    config.api = fake.url("/api/v10");
    config.identity.cluster = "home".parse().ok();
    config.echo = echo.clone();
    let input = Discord::try_new("chat".parse().unwrap(), config).unwrap();
    let mut rows = vec![("(a check)".to_owned(), input.check().await.unwrap())];
    let mut run = Run::start(&input, None).await;
    let say = |author, body: &Value| fake.with(|server| server.say(OPS, author, body.clone()));

    say(WEBHOOK, &serde_json::from_str(TO_DISCORD).unwrap());
    rows.push((TO_DISCORD.replace(['\n', ' '], ""), "dropped: it is our own".to_owned()));
    let failed = "vzdump backup status (pve1.lan): backup failed";
    for (body, expected) in [
        (json!({ "embeds": [{ "title": failed }] }), "error backup.failed home/pve1"),
        (
            json!({ "content": format!("<@{ME}> the fan of pve1 is loud") }),
            "warning other.notification home",
        ),
    ] {
        say(RELAY, &body);
        let event = next(&mut run).await;
        assert_eq!(line(&event), expected);
        rows.push((short(&body), line(&event)));
    }
    assert_eq!(echo.dropped(), 1);

    gateway.order(Order::Drop);
    say(RELAY, &json!({ "content": failed }));
    assert_eq!(line(&next(&mut run).await), "error backup.failed home/pve1");
    rows.push((
        "the same while the connection is broken".to_owned(),
        "once; the session goes on".to_owned(),
    ));

    // The program is down while much is posted, and somebody else has emptied the bucket of its list.
    let cursor = run.cursor.clone();
    drop(run);
    for at in 0..250 {
        say(RELAY, &json!({ "content": format!("message {at}") }));
    }
    let route = format!("channels/{OPS}/messages");
    fake.with(|server| {
        server.limit = Some(Limit { most: 2, within: Duration::from_millis(200) });
        server.close_bucket("GET", &route, Duration::from_millis(700));
    });
    let mut run = Run::start(&input, Some(cursor)).await;
    for at in 0..250 {
        assert_eq!(next(&mut run).await.title, format!("message {at}"));
    }
    assert_eq!(fake.with(|server| server.limited), 1);
    rows.push((
        "250 messages while the program is down, then a 429 for 0.7 s".to_owned(),
        "each once, in order, after one 429 and by pages of 100".to_owned(),
    ));
    show("discord input", &rows);
}

#[tokio::test]
async fn what_is_posted_to_gotify_becomes_events_but_for_our_own() {
    let fake = Fake::start(OfGotify::new()).await;
    let echo = Echo::default();
    let mut config = gotify::Config::new(fake.url(""), CLIENT_TOKEN.into());
    config.identity.cluster = "home".parse().ok();
    config.echo = echo.clone();
    let input = Gotify::try_new("push".parse().unwrap(), config).unwrap();
    let mut run = Run::start(&input, None).await;
    let post = |body: &Value| fake.with(|server| server.post(APPLICATION, body));
    post(&serde_json::from_str(TO_GOTIFY).unwrap());
    let mut rows = vec![(TO_GOTIFY.replace(['\n', ' '], ""), "dropped: it is our own".to_owned())];
    let failed = "vzdump backup status (pve1.lan): backup failed";
    for (body, expected) in [
        (
            json!({ "title": failed, "message": "VMID  Name", "priority": 9 }),
            "error backup.failed home/pve1",
        ),
        (
            json!({ "message": "the door is open", "priority": 5 }),
            "warning other.notification home",
        ),
    ] {
        post(&body);
        let event = next(&mut run).await;
        assert_eq!(line(&event), expected);
        rows.push((short(&body), line(&event)));
    }
    assert_eq!(echo.dropped(), 1);
    fake.with(|server| server.close());
    for at in 0..120 {
        post(&json!({ "title": format!("message {at}"), "message": "words" }));
    }
    fake.with(|server| server.open());
    for at in 0..120 {
        assert_eq!(next(&mut run).await.title, format!("message {at}"));
    }
    rows.push((
        "120 messages while the stream is broken".to_owned(),
        "each once, in order, by pages of 50".to_owned(),
    ));
    show("gotify input", &rows);
}
