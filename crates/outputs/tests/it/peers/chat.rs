//! Discord and Gotify, which keep the limits that they document: what is told, and what people see then.

use std::time::Duration;

use event_core::{Delivery, EventSink, Receipt, Retry};
use outputs::{
    discord::{self, Discord, Place},
    gotify::{self, Gotify},
};
use testkit::{
    contract::sink::Service as _,
    fake::{
        Fake,
        discord::{BOT, Discord as OfDiscord, Limit, OPS, THREAD, WEBHOOK, WEBHOOK_TOKEN},
        gotify::{APP_TOKEN, CLIENT_TOKEN, Gotify as OfGotify},
    },
};
use tokio::time::sleep;

use super::show;
use crate::{
    fake::kit,
    messages::{delivery, failure, resolved},
};

/// Tells it, as often as it takes, when the service says. Gives the pauses that it asked for.
async fn insist(output: &dyn EventSink, delivery: &Delivery) -> (Receipt, Vec<Duration>) {
    let mut pauses = Vec::new();
    loop {
        match output.deliver(delivery).await {
            Ok(receipt) => return (receipt, pauses),
            Err(error) => {
                let Retry::After(pause) = error.retry() else { panic!("{error}") };
                pauses.push(pause);
                sleep(pause).await;
            }
        }
    }
}

fn row(what: &str, receipt: &Receipt, shown: &[String]) -> (String, String) {
    let (ids, last) = (receipt.ids.join(", "), shown.last().map_or("", |text| text.trim()));
    (what.to_owned(), format!("as {ids}, one of {} there: {last}", shown.len()))
}

#[tokio::test]
async fn discord_takes_messages_and_a_429_is_waited_for() {
    let fake = Fake::start(OfDiscord::new()).await;
    fake.with(|server| {
        server.limit = Some(Limit { most: 2, within: Duration::from_millis(200) });
    });
    let url = |thread: Option<u64>| Place::Webhook {
        url: fake.url(&format!("/api/webhooks/{WEBHOOK}/{WEBHOOK_TOKEN}")).into(),
        thread: thread.map(|thread| thread.to_string()),
    };
    let mut config = discord::Config::new(url(None));
    config.bot_token = Some(BOT.into());
    config.api = fake.url("/api/v10");
    config.routes.insert("thread".to_owned(), url(Some(THREAD)));
    config.routes.insert("bot".to_owned(), Place::Channel(OPS.to_string()));
    let output = Discord::try_new("ops".parse().unwrap(), config, &kit()).unwrap();
    output.check().await.unwrap();

    let mut rows = Vec::new();
    let (receipt, pauses) = insist(&output, &delivery(failure())).await;
    assert!(pauses.is_empty(), "{pauses:?}");
    rows.push(row("a failure, through a webhook", &receipt, &fake.shown().await));

    // Somebody else posts there too, and has emptied the bucket: for longer than is waited out at once.
    let route = format!("webhooks/{WEBHOOK}/{WEBHOOK_TOKEN}");
    fake.with(|server| server.close_bucket("PATCH", &format!("{route}/messages"), SHORT));
    let update = Delivery { prior: Some(receipt), ..delivery(resolved()) };
    let (receipt, pauses) = insist(&output, &update).await;
    assert_eq!((pauses.len(), fake.with(|server| server.limited)), (1, 1), "{pauses:?}");
    let what = format!("its end, while the bucket is empty: 429, again after {:?}", pauses[0]);
    rows.push(row(&what, &receipt, &fake.shown().await));
    assert_eq!(fake.with(|server| server.messages.len()), 1, "it was edited");

    for route in ["thread", "bot"] {
        let mut message = failure();
        message.route = Some(route.to_owned());
        let delivery = delivery(message);
        let (receipt, _) = insist(&output, &delivery).await;
        rows.push(row(
            &format!("a failure, by the route `{route}`"),
            &receipt,
            &fake.shown().await,
        ));
        if route == "bot" {
            let (again, _) = insist(&output, &delivery).await;
            assert_eq!(again.ids, receipt.ids, "the nonce makes it the same one");
            rows.push(row("the same delivery again", &again, &fake.shown().await));
        }
    }
    let mut long = failure();
    long.text = "a line of the log that is quite long\n".repeat(400);
    let (receipt, _) = insist(&output, &delivery(long)).await;
    assert!(receipt.ids.len() > 1);
    let what = format!("15 kB of log -> within the limits: {} messages", receipt.ids.len());
    rows.push((what, "none refused, none cut".to_owned()));
    fake.with(|server| {
        assert_eq!((server.limited, server.alarms), (1, 0), "nobody is alerted by what is told");
    });
    show("discord output", &rows);
}

/// What a bucket stays closed for.
const SHORT: Duration = Duration::from_millis(700);

#[tokio::test]
async fn gotify_takes_messages_and_their_updates() {
    let fake = Fake::start(OfGotify::new()).await;
    let mut config = gotify::Config::new(fake.url("/"), APP_TOKEN.into());
    config.client_token = Some(CLIENT_TOKEN.into());
    let output = Gotify::try_new("phone".parse().unwrap(), config, &kit()).unwrap();
    output.check().await.unwrap();
    let (receipt, _) = insist(&output, &delivery(failure())).await;
    let mut rows = vec![row("a failure", &receipt, &fake.shown().await)];
    let update = Delivery { prior: Some(receipt.clone()), ..delivery(resolved()) };
    let (after, _) = insist(&output, &update).await;
    assert_ne!(after.ids, receipt.ids);
    assert_eq!(fake.with(|server| server.messages.len()), 1, "what it replaces is deleted");
    rows.push(row("its end, in place of it", &after, &fake.shown().await));
    show("gotify output", &rows);
}
