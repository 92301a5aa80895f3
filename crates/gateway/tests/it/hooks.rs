//! What is posted below `/hooks`: a secret of its own, no token, and an answer when it is kept.

use std::sync::Arc;

use event_core::{EventSource as _, Ruling, RunContext, Signal};
use futures::StreamExt as _;
use gateway::{Hooks, Options};
use inputs::Identity;
use inputs::recognize::webhook::Format;
use inputs::webhook::{Config, Hook, Webhook};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::client::{get, post};
use crate::support::{Running, loopback, start_with, tokens};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// A gateway that asks for tokens, and a hook whose events are ruled upon as the test says.
async fn start(ruling: Ruling, failures: u32) -> (Running, CancellationToken) {
    let hook = Hook {
        secret: SECRET.into(),
        identity: Identity { cluster: Some("home".parse().unwrap()), ..Identity::default() },
        format: Format::default(),
    };
    let config = Config::new([("home".to_owned(), hook)].into());
    let webhook = Arc::new(Webhook::try_new("hook".parse().unwrap(), config).unwrap());
    let stop = CancellationToken::new();
    let mut signals = webhook.run(RunContext::new(stop.clone(), stdx::SystemClock::shared()), None);
    tokio::spawn(async move {
        while let Some(Ok(signal)) = signals.next().await {
            if let Signal::Changed { ack, .. } = signal {
                ack.resolve(ruling);
            }
        }
    });
    let hooks: Hooks = [("hook".to_owned(), webhook)].into();
    let (authenticator, _, _folder) = tokens(&[("n8n", "read")]);
    let mut options = Options::default();
    options.failures_per_minute = failures;
    (start_with(options, authenticator, &[loopback()], hooks).await.unwrap(), stop)
}

#[tokio::test]
async fn a_secret_is_enough_and_the_answer_says_whether_it_is_kept() {
    let (running, _stop) = start(Ruling::Committed, 100).await;
    let body = json!({"title": "vzdump backup status (pve1): backup failed", "severity": "error"});
    let good = post("/hooks/hook/home", &body).bearer(SECRET).send(running.address).await;
    assert_eq!(good.status, 200, "{}", good.body);
    // A notification holds up to a megabyte of log, more than a call of a tool may.
    let long = json!({"title": "a long one", "message": "x".repeat(1_500_000)});
    let long = post("/hooks/hook/home", &long).bearer(SECRET).send(running.address).await;
    assert_eq!(long.status, 200, "{}", long.body);
    let wrong = post("/hooks/hook/home", &body).bearer("wrong").send(running.address).await;
    let none = post("/hooks/other/home", &body).bearer(SECRET).send(running.address).await;
    assert_eq!((wrong.status, none.status), (401, 401));
    // What is not below an input is nothing.
    assert_eq!(get("/hooks").send(running.address).await.status, 404);

    let (refusing, _stop) = start(Ruling::Rejected, 100).await;
    let refused = post("/hooks/hook/home", &body).bearer(SECRET).send(refusing.address).await;
    assert_eq!(refused.status, 503, "{}", refused.body);
}

#[tokio::test]
async fn whoever_guesses_is_slowed_down() {
    let (running, _stop) = start(Ruling::Committed, 3).await;
    let body = json!({"title": "x"});
    let mut answers = Vec::new();
    for _ in 0..5 {
        let guess = post("/hooks/hook/home", &body).bearer("a guess").send(running.address).await;
        answers.push(guess.status);
    }
    assert_eq!(answers, [401, 401, 401, 429, 429]);
}
