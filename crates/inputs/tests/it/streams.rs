//! Gotify and ntfy: what is posted is heard once, also what was posted while nobody listened.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use event_core::{
    Cursor, Event, EventSource, Ruling, RunContext, Severity, Signal, SourceError, SourceErrorKind,
};
use futures::{StreamExt as _, stream::BoxStream};
use inputs::{
    Echo,
    gotify::{self, Gotify},
    ntfy::{self, Ntfy},
};
use serde_json::{Value, json};
use stdx::SystemClock;
use testkit::contract::source::source;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::fakes::{Fake, Poster, Sort, TOKEN};

/// How long something that must happen may take on a slow machine.
const PATIENCE: Duration = Duration::from_mins(1);

fn of_gotify(fake: &Fake) -> gotify::Config {
    let mut config = gotify::Config::new(fake.url(), TOKEN.into());
    config.identity.cluster = "lab".parse().ok();
    config
}

fn of_ntfy(fake: &Fake) -> ntfy::Config {
    let mut config = ntfy::Config::new(fake.url(), vec!["alerts".to_owned()]);
    config.token = Some(TOKEN.into());
    config.identity.cluster = "lab".parse().ok();
    config
}

/// The same input with either server.
fn input(sort: Sort, fake: &Fake, echo: Echo) -> Box<dyn EventSource> {
    let id = "push".parse().unwrap();
    match sort {
        Sort::Gotify => {
            let config = {
                let mut it = of_gotify(fake);
                it.echo = echo;
                it
            };
            Box::new(Gotify::try_new(id, config).unwrap())
        }
        Sort::Ntfy => {
            let config = {
                let mut it = of_ntfy(fake);
                it.echo = echo;
                it
            };
            Box::new(Ntfy::try_new(id, config).unwrap())
        }
    }
}

pub(crate) struct Run {
    pub(crate) stream: BoxStream<'static, Result<Signal, SourceError>>,
    pub(crate) cursor: Cursor,
}

impl Run {
    pub(crate) async fn start(input: &dyn EventSource, resume: Option<Cursor>) -> Self {
        let cx = RunContext::new(CancellationToken::new(), SystemClock::shared());
        let mut stream = input.run(cx, resume);
        loop {
            match stream.next().await.unwrap().unwrap() {
                Signal::SyncFinished(cursor) => return Self { stream, cursor },
                Signal::SyncStarted | Signal::Idle => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// The next so many events, kept.
    pub(crate) async fn next(&mut self, count: usize) -> Vec<Event> {
        let mut events = Vec::new();
        while events.len() < count {
            let signal = timeout(PATIENCE, self.stream.next()).await.expect("it is heard in time");
            if let Signal::Changed { event, cursor, ack } = signal.unwrap().unwrap() {
                self.cursor = cursor.unwrap_or_else(|| self.cursor.clone());
                ack.resolve(Ruling::Committed);
                events.push(event);
            }
        }
        events
    }

    pub(crate) async fn titles(&mut self, count: usize) -> Vec<String> {
        self.next(count).await.into_iter().map(|event| event.title).collect()
    }
}

pub(crate) fn numbered(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|at| format!("message {at}")).collect()
}

#[tokio::test]
async fn the_contract_for_gotify() {
    let fake = Arc::new(Fake::start(Sort::Gotify).await);
    let input = Gotify::try_new("push".parse().unwrap(), of_gotify(&fake)).unwrap();
    source(Arc::new(input), Arc::new(Poster(fake))).await;
}

#[tokio::test]
async fn the_contract_for_ntfy() {
    let fake = Arc::new(Fake::start(Sort::Ntfy).await);
    let input = Ntfy::try_new("push".parse().unwrap(), of_ntfy(&fake)).unwrap();
    source(Arc::new(input), Arc::new(Poster(fake))).await;
}

async fn nothing_is_lost(sort: Sort) {
    let fake = Fake::start(sort).await;
    let input = input(sort, &fake, Echo::default());
    fake.post("from before", Value::Null);
    let mut run = Run::start(&*input, None).await;
    for at in 0..3 {
        fake.post(&format!("message {at}"), Value::Null);
    }
    assert_eq!(run.titles(3).await, numbered(0..3));
    // The stream breaks, and much is posted before it can be opened again.
    fake.close();
    for at in 3..130 {
        fake.post(&format!("message {at}"), Value::Null);
    }
    fake.open();
    assert_eq!(run.titles(127).await, numbered(3..130));
    // The program ends and goes on.
    let cursor = run.cursor.clone();
    drop(run);
    for at in 130..260 {
        fake.post(&format!("message {at}"), Value::Null);
    }
    let mut run = Run::start(&*input, Some(cursor)).await;
    assert_eq!(run.titles(130).await, numbered(130..260));
    fake.post("message 260", Value::Null);
    assert_eq!(run.titles(1).await, numbered(260..261), "nothing came twice before it");
}

#[tokio::test]
async fn what_gotify_had_while_nobody_listened_is_heard_in_its_order() {
    nothing_is_lost(Sort::Gotify).await;
}

#[tokio::test]
async fn what_ntfy_had_while_nobody_listened_is_heard_in_its_order() {
    nothing_is_lost(Sort::Ntfy).await;
}

#[tokio::test]
async fn what_our_outputs_posted_is_dropped_and_counted() {
    for sort in [Sort::Gotify, Sort::Ntfy] {
        let fake = Fake::start(sort).await;
        let sent = Arc::new(Mutex::new(Vec::new()));
        let known = Arc::clone(&sent);
        let echo =
            Echo::new(Arc::new(move |mark| known.lock().unwrap().iter().any(|it| it == mark)));
        let input = input(sort, &fake, echo.clone());
        let mut run = Run::start(&*input, None).await;
        // By the record of what was sent, and by what a message says itself.
        sent.lock().unwrap().push(match sort {
            Sort::Gotify => "message:1".to_owned(),
            Sort::Ntfy => "message:m000000001".to_owned(),
        });
        fake.post("ours", Value::Null);
        fake.post(
            "another manager's",
            match sort {
                Sort::Gotify => json!({"extras": {"proxmox-mcp::message": {"instance": "x"}}}),
                Sort::Ntfy => json!({"tags": ["warning", "proxmox-mcp-main"]}),
            },
        );
        fake.post("somebody's", Value::Null);
        assert_eq!(run.titles(1).await, ["somebody's"]);
        assert_eq!(echo.dropped(), 2);
    }
}

#[tokio::test]
async fn what_proxmox_posts_is_recognized_with_time_and_severity() {
    let title = "vzdump backup status (pve1.lan): backup failed";
    for sort in [Sort::Gotify, Sort::Ntfy] {
        let fake = Fake::start(sort).await;
        let input = input(sort, &fake, Echo::default());
        let mut run = Run::start(&*input, None).await;
        fake.post(title, Value::Null);
        let event = run.next(1).await.remove(0);
        assert_eq!((event.kind.as_str(), event.severity), ("backup.failed", Severity::Error));
        assert_eq!(event.subject.label(), "lab/pve1");
        assert!(event.time.as_second() >= 1_795_370_864, "{}", event.time);
        assert!(event.raw.unwrap().text.contains(title));
    }
}

#[tokio::test]
async fn only_the_applications_that_are_named_are_heard() {
    let fake = Fake::start(Sort::Gotify).await;
    let mut config = of_gotify(&fake);
    config.applications = [7].into();
    let input = Gotify::try_new("push".parse().unwrap(), config).unwrap();
    let mut run = Run::start(&input, None).await;
    fake.post("of application 5", Value::Null);
    fake.post("of application 7", json!({"appid": 7}));
    assert_eq!(run.titles(1).await, ["of application 7"]);
}

#[tokio::test]
async fn a_gotify_server_that_was_set_up_anew_is_heard_on() {
    let fake = Fake::start(Sort::Gotify).await;
    let input = input(Sort::Gotify, &fake, Echo::default());
    let mut run = Run::start(&*input, None).await;
    for at in 0..5 {
        fake.post(&format!("message {at}"), Value::Null);
    }
    assert_eq!(run.titles(5).await, numbered(0..5));
    let cursor = run.cursor.clone();
    drop(run);
    fake.forget();
    fake.post("message 5", Value::Null);
    let mut run = Run::start(&*input, Some(cursor)).await;
    fake.post("message 6", Value::Null);
    assert_eq!(run.titles(2).await, numbered(5..7));
}

#[tokio::test]
async fn a_token_that_is_refused_is_for_a_person() {
    for sort in [Sort::Gotify, Sort::Ntfy] {
        let fake = Fake::start(sort).await;
        let id = "push".parse().unwrap();
        let input: Box<dyn EventSource> = match sort {
            Sort::Gotify => {
                let mut config = of_gotify(&fake);
                config.token = "Cplanted-wrong".into();
                Box::new(Gotify::try_new(id, config).unwrap())
            }
            Sort::Ntfy => {
                let mut config = of_ntfy(&fake);
                config.token = Some("tk_planted-wrong".into());
                Box::new(Ntfy::try_new(id, config).unwrap())
            }
        };
        let error = input.check().await.unwrap_err();
        assert_eq!(error.kind(), SourceErrorKind::Settings);
        assert!(error.to_string().contains("token is refused"), "{error}");
        let shown = format!("{error:?} {input:?}", input = stdx::Chain(&error));
        assert!(!shown.contains("planted"), "{shown}");
        let cx = RunContext::new(CancellationToken::new(), SystemClock::shared());
        let mut stream = input.run(cx, None);
        assert!(matches!(stream.next().await, Some(Ok(Signal::SyncStarted))));
        assert_eq!(stream.next().await.unwrap().unwrap_err().kind(), SourceErrorKind::Settings);
    }
}

#[tokio::test]
async fn a_server_that_is_away_is_worth_another_try() {
    let fake = Fake::start(Sort::Ntfy).await;
    let input = Ntfy::try_new("push".parse().unwrap(), of_ntfy(&fake)).unwrap();
    drop(fake);
    let error = input.check().await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::Unavailable);
    assert!(!format!("{}", stdx::Chain(&error)).contains("alerts"), "a topic can be a secret");
}

#[test]
fn settings_that_cannot_be_used_are_refused() {
    let id = || "push".parse().unwrap();
    let says = |config: ntfy::Config, part: &str| {
        let error = Ntfy::try_new(id(), config).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    };
    says(ntfy::Config::new("https://ntfy.sh", Vec::new()), "no topic");
    says(ntfy::Config::new("https://ntfy.sh", vec!["a/b".to_owned()]), "a topic is of");
    says(ntfy::Config::new("ntfy.sh", vec!["a".to_owned()]), "no address");
    let config = gotify::Config::new("push", "x".into());
    assert!(Gotify::try_new(id(), config).unwrap_err().to_string().contains("no address"));
}
