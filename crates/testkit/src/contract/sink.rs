//! The contract of whatever tells: once where the service can know, whole, and honest about failures.

use std::{error::Error as _, fmt::Write as _, time::Duration};

use async_trait::async_trait;
use event_core::{
    Delivery, DeliveryKey, EventSink, Kind, Message, Receipt, Retry, Severity, SinkError, Stand,
};
use jiff::Timestamp;

/// The service that the sink under test tells: a real one, or one that keeps its rules.
#[async_trait]
pub trait Service: Send + Sync {
    /// How it answers from now on.
    async fn set_mood(&self, mood: Mood);

    /// What people see there, oldest first: the whole text of each message, title included.
    async fn shown(&self) -> Vec<String>;

    /// What it is able to do.
    fn traits(&self) -> Traits;
}

/// What a service is able to do.
#[derive(Clone, Debug, Default)]
pub struct Traits {
    /// The same key again is not told again.
    pub knows_keys: bool,
    /// What was told can be edited, or replaced.
    pub edits: bool,
    /// The moods that it can have, besides [`Mood::Well`].
    pub moods: Vec<Mood>,
    /// What must not stand in any error.
    pub secrets: Vec<String>,
}

/// How a service answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// As it should.
    Well,
    /// That it is busy, for so long.
    Busy(Duration),
    /// That it is broken, for now.
    Broken,
    /// That it does not want this, ever.
    Refuses,
    /// Nothing: it takes the request and hangs up.
    HangsUp,
}

fn message(stand: Stand, title: &str) -> Message {
    let time: Timestamp = "2026-11-22T01:00:00Z".parse().expect("a timestamp");
    let mut message =
        Message::new(stand, "c0ntract", Kind::BackupFailed, Severity::Error, title, time);
    message.text.push_str("no space left on device");
    message.fields.push(("where".to_owned(), "lab/104".to_owned()));
    message.silent = stand.edits();
    message
}

fn delivery(name: &str, message: Message) -> Delivery {
    Delivery { key: DeliveryKey::of(["contract", name]), prior: None, so_far: None, message }
}

async fn told(sink: &dyn EventSink, delivery: &Delivery) -> Receipt {
    match sink.deliver(delivery).await {
        Ok(receipt) => receipt,
        Err(error) => panic!("{:?} was not told: {}", delivery.message.title, chain(&error)),
    }
}

/// The error with all that it comes from.
fn chain(error: &SinkError) -> String {
    let mut text = format!("{error} | {error:?}");
    let mut source = error.source();
    while let Some(error) = source {
        // Writing to a string cannot fail.
        let _ = write!(text, " | {error} | {error:?}");
        source = error.source();
    }
    text
}

/// What every sink does. Wants a service that shows nothing yet.
///
/// # Panics
///
/// Where the contract is broken.
pub async fn sink(sink: &dyn EventSink, service: &dyn Service) {
    let traits = service.traits();
    let said = sink.check().await.unwrap_or_else(|error| panic!("the check: {}", chain(&error)));
    assert!(!said.is_empty(), "a check says what it found");
    assert_eq!(service.shown().await, [""; 0], "a check tells nobody anything");

    // What is told can be seen, and told once where the service can know it.
    let first = delivery("first", message(Stand::New, "backup of guest failed"));
    let receipt = told(sink, &first).await;
    let shown = service.shown().await;
    assert_eq!(shown.len(), 1, "{shown:?}");
    for words in ["backup of guest failed", "no space left on device", "lab/104"] {
        assert!(shown[0].contains(words), "{words:?} is not in {:?}", shown[0]);
    }
    let again = told(sink, &first).await;
    if traits.knows_keys {
        assert_eq!(service.shown().await.len(), 1, "the same delivery was told twice");
        assert_eq!(again.ids.len(), receipt.ids.len(), "and has as many names as before");
    }

    // An update takes the place of what it updates; what is worse stands beside it.
    let before = service.shown().await.len();
    let update = message(Stand::Resolved, "backup of guest went well");
    let update = Delivery { prior: Some(again), ..delivery("update", update) };
    let updated = told(sink, &update).await;
    let shown = service.shown().await;
    if traits.edits {
        assert_eq!(shown.len(), before, "an update is no second message: {shown:?}");
        assert!(shown.iter().any(|text| text.contains("went well")), "{shown:?}");
    }
    let worse = message(Stand::Worse, "backup of all guests failed");
    let worse = Delivery { prior: Some(updated), ..delivery("worse", worse) };
    told(sink, &worse).await;
    let shown_now = service.shown().await;
    assert!(shown_now.len() > shown.len(), "what is worse is told anew: {shown_now:?}");

    long(sink, service).await;
    for mood in &traits.moods {
        fails(sink, service, *mood, &traits.secrets).await;
    }
}

/// However long a message is, all of it is told.
async fn long(sink: &dyn EventSink, service: &dyn Service) {
    let mut long = message(Stand::New, "a long story");
    long.text.clear();
    for n in 0..2000 {
        let _ = write!(long.text, "word{n} ");
    }
    for n in 0..40 {
        long.fields.push((format!("name{n}"), format!("value{n} {}", "v".repeat(n * 40))));
    }
    let before = service.shown().await.len();
    told(sink, &delivery("long", long)).await;
    let shown = service.shown().await[before..].join(" ");
    let missing = |what: &str, count| {
        let found = |n: &i32| !shown.contains(&format!("{what}{n} "));
        (0..count).filter(found).collect::<Vec<i32>>()
    };
    assert_eq!(missing("word", 2000), [0; 0], "words that were not told, of\n{shown}");
    assert_eq!(missing("value", 40), [0; 0], "fields that were not told, of\n{shown}");
}

/// A failure says whether trying again can help, and no secret.
async fn fails(sink: &dyn EventSink, service: &dyn Service, mood: Mood, secrets: &[String]) {
    let name = format!("{mood:?}");
    let delivery = delivery(&name, message(Stand::New, &name));
    service.set_mood(mood).await;
    let error = sink.deliver(&delivery).await.expect_err("a service in this mood");
    match (mood, error.retry()) {
        (Mood::Busy(pause), Retry::After(at_least)) => {
            assert!(at_least >= pause, "{at_least:?} is sooner than {pause:?}");
        }
        // Not every service says for how long.
        (Mood::Busy(_) | Mood::Broken, Retry::Backoff) | (Mood::Refuses, Retry::Never) => {}
        (Mood::HangsUp, Retry::Backoff) => {
            assert!(error.may_be_sent(), "the service may have it: {}", chain(&error));
        }
        (mood, retry) => panic!("{mood:?} is sorted as {retry:?}: {}", chain(&error)),
    }
    let said = chain(&error);
    for secret in secrets {
        assert!(!said.contains(secret.as_str()), "{secret:?} stands in {said}");
    }
    service.set_mood(Mood::Well).await;
    if mood != Mood::Refuses {
        let before = service.shown().await.len();
        told(sink, &delivery).await;
        assert!(service.shown().await.len() > before, "after {mood:?} it is told");
    }
}
