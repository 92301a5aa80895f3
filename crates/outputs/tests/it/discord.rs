//! The Discord output against a server with Discord's limits, buckets, nonces and answers.

use std::time::Duration;

use event_core::{Delivery, Event, EventSink as _, Kind, Receipt, Retry, Severity, Stand};
use outputs::discord::{Config, Discord, Place};
use serde_json::{Value, json};
use testkit::{
    contract::sink::{Mood, Service, Traits, sink},
    fake::discord::{BOT, Discord as Server, Limit, Message, OPS, THREAD, WEBHOOK, WEBHOOK_TOKEN},
};

use crate::{
    fake::{Fake, kit},
    messages::{all, at, delivery, failure, golden, resolved},
};

fn webhook(fake: &Fake<Server>, token: &str, thread: Option<&str>) -> Place {
    let url = fake.url(&format!("/api/webhooks/111/{token}")).into();
    Place::Webhook { url, thread: thread.map(str::to_owned) }
}

fn output(fake: &Fake<Server>, place: Place) -> Discord {
    let mut config = Config::new(place);
    config.bot_token = Some(BOT.into());
    config.api = fake.url("/api");
    config.routes.insert("db".to_owned(), webhook(fake, WEBHOOK_TOKEN, Some(&THREAD.to_string())));
    Discord::try_new("ops".parse().unwrap(), config, &kit()).unwrap()
}

/// Webhooks cannot know keys.
struct OfWebhooks<'a>(&'a Fake<Server>);

#[async_trait::async_trait]
impl Service for OfWebhooks<'_> {
    async fn set_mood(&self, mood: Mood) {
        self.0.set_mood(mood).await;
    }

    async fn shown(&self) -> Vec<String> {
        self.0.shown().await
    }

    fn traits(&self) -> Traits {
        Traits { knows_keys: false, ..self.0.traits() }
    }
}

#[tokio::test]
async fn a_bot_keeps_the_contract() {
    let fake = Fake::start(Server::new()).await;
    sink(&output(&fake, Place::Channel(OPS.to_string())), &fake).await;
}

#[tokio::test]
async fn a_webhook_keeps_the_contract() {
    let fake = Fake::start(Server::new()).await;
    sink(&output(&fake, webhook(&fake, WEBHOOK_TOKEN, None)), &OfWebhooks(&fake)).await;
}

#[tokio::test]
async fn an_empty_bucket_is_waited_for_and_a_429_is_given_back() {
    let fake = Fake::start(Server::new()).await;
    let limit = Limit { most: 2, within: Duration::from_millis(200) };
    fake.with(|server| server.limit = Some(limit));
    let output = output(&fake, webhook(&fake, WEBHOOK_TOKEN, None));
    for _ in 0..5 {
        output.deliver(&delivery(failure())).await.unwrap();
    }
    assert_eq!(fake.with(|server| server.limited), 0, "a post came before the bucket had room");
    // Somebody else has emptied it.
    let top = format!("webhooks/111/{WEBHOOK_TOKEN}");
    fake.with(|server| server.close_bucket("POST", &top, Duration::from_hours(1)));
    let error = output.deliver(&delivery(failure())).await.unwrap_err();
    let Retry::After(pause) = error.retry() else { panic!("{error}") };
    assert!(pause > Duration::from_mins(59) && pause <= Duration::from_hours(1), "{pause:?}");
    // It is not asked again before that.
    let error = output.deliver(&delivery(failure())).await.unwrap_err();
    assert!(matches!(error.retry(), Retry::After(_)), "{error}");
    assert_eq!(fake.with(|server| server.limited), 1);
    fake.with(Server::open_buckets);
    let output = self::output(&fake, webhook(&fake, WEBHOOK_TOKEN, None));
    output.deliver(&delivery(failure())).await.unwrap();
    assert_eq!(fake.with(|server| server.messages.len()), 6);
}

#[tokio::test]
async fn a_webhook_that_is_gone_is_not_asked_again() {
    let fake = Fake::start(Server::new()).await;
    let output = output(&fake, webhook(&fake, "deleted", None));
    for _ in 0..3 {
        let error = output.deliver(&delivery(failure())).await.unwrap_err();
        assert_eq!(error.retry(), Retry::Never, "{error}");
        assert!(!error.to_string().contains("deleted"), "{error}");
    }
    assert_eq!(fake.calls().len(), 1);
}

#[tokio::test]
async fn what_failed_in_the_middle_goes_on_there() {
    let fake = Fake::start(Server::new()).await;
    let output = output(&fake, webhook(&fake, WEBHOOK_TOKEN, None));
    let mut long = failure();
    long.text = "a line of the log that is quite long\n".repeat(600);
    let whole = output.deliver(&delivery(long.clone())).await.unwrap();
    assert!(whole.ids.len() > 2, "{whole:?}");
    let told = fake.with(|server| server.messages.split_off(0));

    let so_far = Receipt { ids: whole.ids[..2].to_vec(), extra: whole.extra.clone() };
    let again = Delivery { so_far: Some(so_far), ..delivery(long.clone()) };
    let receipt = output.deliver(&again).await.unwrap();
    assert_eq!(receipt.ids[..2], whole.ids[..2]);
    let rest = fake.with(|server| server.messages.clone());
    let bodies = |messages: &[Message]| {
        messages.iter().map(|message| message.body["embeds"].clone()).collect::<Vec<Value>>()
    };
    assert_eq!(bodies(&rest), bodies(&told[2..]));

    // An edit that is shorter leaves nothing of the longer one behind; one that somebody deleted is posted anew.
    let prior = Some(Receipt { ids: receipt.ids[2..].to_vec(), extra: receipt.extra });
    let update = Delivery { prior: prior.clone(), ..delivery(resolved()) };
    let edited = output.deliver(&update).await.unwrap();
    assert_eq!(edited.ids, prior.as_ref().unwrap().ids[..1]);
    assert_eq!(fake.with(|server| server.messages.len()), 1);
    fake.with(|server| server.messages.clear());
    let anew = output.deliver(&update).await.unwrap();
    assert_ne!(anew.ids, edited.ids);
    assert_eq!(fake.with(|server| server.messages.len()), 1);
}

#[tokio::test]
async fn a_route_has_its_own_place_and_its_messages_stay_there() {
    let fake = Fake::start(Server::new()).await;
    let output = output(&fake, Place::Channel(OPS.to_string()));
    let said = output.check().await.unwrap();
    assert_eq!(said, "Discord knows channel ops, webhook Captain_Hook");
    let mut routed = failure();
    routed.route = Some("db".to_owned());
    let receipt = output.deliver(&delivery(routed)).await.unwrap();
    // The rules may have changed: what is edited is where it was told.
    let update = Delivery { prior: Some(receipt.clone()), ..delivery(resolved()) };
    output.deliver(&update).await.unwrap();
    assert_eq!(places(&fake), [IN_THREAD]);
    // A place that the settings have no more has no message that could be edited.
    let gone = Receipt { extra: json!({ "place": "attic" }), ..receipt };
    output.deliver(&Delivery { prior: Some(gone), ..delivery(resolved()) }).await.unwrap();
    assert_eq!(places(&fake), [IN_THREAD, IN_CHANNEL]);
}

/// Written by the webhook to its thread, and by the bot to the channel.
const IN_THREAD: (Option<u64>, u64) = (Some(WEBHOOK), THREAD);
const IN_CHANNEL: (Option<u64>, u64) = (None, OPS);

/// Where the messages are, and who wrote them.
fn places(fake: &Fake<Server>) -> Vec<(Option<u64>, u64)> {
    fake.with(|server| {
        server.messages.iter().map(|message| (message.webhook, message.channel)).collect()
    })
}

#[tokio::test]
async fn a_rule_sends_an_incident_to_a_thread_and_its_end_is_told_there() {
    let fake = Fake::start(Server::default()).await;
    let output = output(&fake, Place::Channel("222".to_owned()));
    let mut config = rules::Config::default();
    let places_of_it = rules::Places::Named(["db".to_owned()].into());
    let ops = rules::OutputConfig { places: places_of_it, ..rules::OutputConfig::default() };
    config.outputs.insert("ops".to_owned(), ops);
    let rule = rules::RuleConfig {
        when: Some("event.family == 'backup'".to_owned()),
        route: vec!["ops:db".to_owned()],
        ..rules::RuleConfig::default()
    };
    config.rules.insert("databases".to_owned(), rule);
    let rules = rules::Rules::try_new(&config).unwrap();
    let event = |source: &str, kind: Kind, severity, time: &str| {
        let (id, time) = (source.parse().unwrap(), at(time));
        let subject = failure().subject;
        let event = Event::builder(&id, source, time.to_string(), kind, time).severity(severity);
        std::sync::Arc::new(event.subject(subject).title("backup of 104").build(time))
    };
    let heard = [
        event("tasks", Kind::BackupFailed, Severity::Error, "2026-11-22T01:00:00Z"),
        event("tasks", Kind::BackupFinished, Severity::Info, "2026-11-22T03:00:00Z"),
        event("tasks", Kind::NodeOffline, Severity::Error, "2026-11-22T03:00:01Z"),
    ];
    let mut receipts = std::collections::BTreeMap::new();
    let mut shown = Vec::new();
    for happened in rules::replay(&rules, heard, at("2026-11-22T04:00:00Z")) {
        let Some(deliver) = happened.decision.delivered() else { continue };
        let (key, message) = (deliver.key.clone(), deliver.message.clone());
        let prior = receipts.get(&deliver.incident).cloned();
        let delivery = Delivery { key, prior, so_far: None, message };
        let receipt = output.deliver(&delivery).await.unwrap();
        receipts.insert(deliver.incident, receipt);
        shown.push((deliver.message.stand, places(&fake)));
    }
    assert_eq!(
        shown,
        [
            (Stand::New, vec![IN_THREAD]),
            (Stand::Resolved, vec![IN_THREAD]),
            (Stand::New, vec![IN_THREAD, IN_CHANNEL]),
        ],
        "what the rule is about is in its thread, and the rest where everything is"
    );
}

#[tokio::test]
async fn settings_that_cannot_work_are_refused() {
    let fake = Fake::start(Server::new()).await;
    for (place, said) in [
        (Place::Channel("ops".to_owned()), "`ops` is no id of a channel"),
        (Place::Webhook { url: "https://discord.com/x".into(), thread: None }, "is no webhook's"),
        (webhook(&fake, WEBHOOK_TOKEN, Some("12a")), "`12a` is no id"),
        (Place::Channel(OPS.to_string()), "a channel needs `bot_token`"),
    ] {
        let mut config = Config::new(place);
        config.bot_token = (!said.contains("bot_token")).then(|| BOT.into());
        let error = Discord::try_new("ops".parse().unwrap(), config, &kit()).unwrap_err();
        assert!(error.to_string().contains(said), "{error}");
    }
}

#[tokio::test]
async fn what_is_sent() {
    let fake = Fake::start(Server::new()).await;
    let output = output(&fake, Place::Channel(OPS.to_string()));
    for (name, delivery) in all() {
        output.deliver(&delivery).await.unwrap();
        golden("discord", name, &format!("{:#}\n", fake.last().json()));
    }
}
