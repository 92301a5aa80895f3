//! Who may post, what is too large, and what a Gotify client is told.

use std::sync::Arc;

use bytes::Bytes;
use event_core::{Event, EventSource as _, Ruling, RunContext, Signal};
use futures::{StreamExt as _, stream::BoxStream};
use http::{Request, StatusCode};
use http_body_util::Full;
use inputs::{
    Identity,
    recognize::webhook::Format,
    webhook::{Config, Hook, MAX_BODY, Webhook},
};
use stdx::SystemClock;
use tokio_util::sync::CancellationToken;

use crate::contract::{SECRET, hook};

type Stream = BoxStream<'static, Result<Signal, event_core::SourceError>>;

/// Starts the input, and keeps whatever it tells.
async fn running(input: &Webhook) -> tokio::task::JoinHandle<Vec<Event>> {
    let cx = RunContext::new(CancellationToken::new(), SystemClock::shared());
    let mut stream: Stream = input.run(cx, None);
    for _ in 0..2 {
        stream.next().await.unwrap().unwrap();
    }
    tokio::spawn(async move {
        let mut events = Vec::new();
        while let Some(Ok(signal)) = stream.next().await {
            if let Signal::Changed { event, ack, .. } = signal {
                let is_last = event.title == "last";
                events.push(event);
                ack.resolve(Ruling::Committed);
                if is_last {
                    break;
                }
            }
        }
        events
    })
}

async fn status(input: &Webhook, request: Request<()>, body: &'static [u8]) -> StatusCode {
    input.answer(request.map(|()| Full::new(Bytes::from_static(body)))).await.status()
}

#[tokio::test]
async fn only_who_knows_the_secret_is_heard() {
    let input = hook(Format::Auto);
    let events = running(&input).await;
    let post = |path: &str| Request::post(path.to_owned());
    let bearer = format!("Bearer {SECRET}");
    let refused = StatusCode::UNAUTHORIZED;
    for (request, expected) in [
        (post("/hooks/hook/lab"), refused),
        (post("/hooks/hook/lab").header("authorization", "Bearer wrong"), refused),
        (post("/hooks/hook/lab").header("authorization", SECRET), refused),
        (post("/hooks/hook/lab?token=wrong"), refused),
        (post("/hooks/hook/nobody").header("authorization", &bearer), refused),
        (post("/hooks/other/lab").header("authorization", &bearer), refused),
        (post("/hooks/hook/lab/other").header("authorization", &bearer), refused),
        (post("/hooks/hook").header("authorization", &bearer), refused),
        (
            Request::get("/hooks/hook/lab").header("authorization", &bearer),
            StatusCode::METHOD_NOT_ALLOWED,
        ),
        (post("/hooks/hook/lab").header("authorization", &bearer), StatusCode::OK),
        (
            Request::put("/hooks/hook/lab/").header("authorization", format!("bearer  {SECRET}")),
            StatusCode::OK,
        ),
        (post("/hooks/hook/lab/message").header("x-gotify-key", SECRET), StatusCode::OK),
    ] {
        let request = request.body(()).unwrap();
        let shown = format!("{request:?}");
        assert_eq!(status(&input, request, br#"{"message": "hello"}"#).await, expected, "{shown}");
    }
    let request = post(&format!("/hooks/hook/lab?token={SECRET}")).body(()).unwrap();
    assert_eq!(status(&input, request, b"last").await, StatusCode::OK);
    let titles: Vec<String> = events.await.unwrap().into_iter().map(|event| event.title).collect();
    assert_eq!(titles, ["hello", "hello", "hello", "last"]);
}

#[tokio::test]
async fn a_body_has_an_end() {
    let input = hook(Format::Text);
    let events = running(&input).await;
    let post = |size: usize| {
        let body = Full::new(Bytes::from(vec![b'a'; size]));
        Request::post("/hooks/hook/lab")
            .header("authorization", format!("Bearer {SECRET}"))
            .body(body)
            .unwrap()
    };
    assert_eq!(input.answer(post(MAX_BODY + 1)).await.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(input.answer(post(MAX_BODY)).await.status(), StatusCode::OK);
    let last = Request::post("/hooks/hook/lab")
        .header("authorization", format!("Bearer {SECRET}"))
        .body(())
        .unwrap();
    assert_eq!(status(&input, last, b"last").await, StatusCode::OK);
    let events = events.await.unwrap();
    assert_eq!(events[0].raw.as_ref().unwrap().size, MAX_BODY as u64);
}

#[tokio::test]
async fn what_is_not_running_says_so() {
    let input = hook(Format::Auto);
    let request =
        Request::post("/hooks/hook/lab").header("authorization", format!("Bearer {SECRET}"));
    let response = input.answer(request.body(Full::new(Bytes::new())).unwrap()).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(response.headers().contains_key("retry-after"));
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_longer_than_proxmox_does() {
    let input = hook(Format::Auto);
    let cx = RunContext::new(CancellationToken::new(), SystemClock::shared());
    let mut stream = input.run(cx, None);
    for _ in 0..2 {
        stream.next().await.unwrap().unwrap();
    }
    let posted = {
        let input = Arc::clone(&input);
        tokio::spawn(async move {
            let request = Request::post("/hooks/hook/lab")
                .header("authorization", format!("Bearer {SECRET}"));
            let request = request.body(Full::new(Bytes::from_static(b"hello"))).unwrap();
            let began = tokio::time::Instant::now();
            (input.answer(request).await.status(), began.elapsed())
        })
    };
    // The log is away: what is told is never acknowledged.
    let held = stream.next().await.unwrap().unwrap();
    let (status, took) = posted.await.unwrap();
    drop(held);
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(took < std::time::Duration::from_secs(10), "{took:?}");
}

#[test]
fn settings_that_protect_nothing_are_refused() {
    let with = |name: &str, secret: &str| {
        let hook =
            Hook { secret: secret.into(), identity: Identity::default(), format: Format::Auto };
        let config = Config::new([(name.to_owned(), hook)].into());
        Webhook::try_new("hook".parse().unwrap(), config)
            .map(drop)
            .map_err(|error| error.to_string())
    };
    assert_eq!(with("lab", SECRET), Ok(()));
    assert!(with("lab", "short").unwrap_err().contains("shorter than 16"));
    assert!(with("a/b", SECRET).unwrap_err().contains("a-z"));
    let none = Webhook::try_new("hook".parse().unwrap(), Config::default());
    assert!(none.unwrap_err().to_string().contains("no hook"));
}

#[tokio::test]
async fn what_our_outputs_sent_is_answered_and_dropped() {
    let echo = inputs::Echo::default();
    let hook = Hook { secret: SECRET.into(), identity: Identity::default(), format: Format::Auto };
    let mut config = Config::new([("lab".to_owned(), hook)].into());
    config.echo = echo.clone();
    let input = Webhook::try_new("hook".parse().unwrap(), config).unwrap();
    let events = running(&input).await;
    let post = |path: &str| Request::post(path.to_owned()).header("x-gotify-key", SECRET);
    let marked = post("/hooks/hook/lab").header("x-proxmox-mcp", "main").body(()).unwrap();
    assert_eq!(status(&input, marked, b"ours").await, StatusCode::OK);
    let body = br#"{"message": "ours", "extras": {"proxmox-mcp::delivery": {"instance": "main"}}}"#;
    let gotify = post("/hooks/hook/lab/message").body(()).unwrap();
    assert_eq!(status(&input, gotify, body).await, StatusCode::OK);
    // What our outputs for Discord and Slack post, as it is.
    let discord = include_str!("../../../outputs/tests/it/golden/discord-new.txt");
    let slack = include_str!("../../../outputs/tests/it/golden/slack-new.txt");
    for ours in [discord, slack] {
        let request = post("/hooks/hook/lab").body(()).unwrap();
        assert_eq!(status(&input, request, ours.as_bytes()).await, StatusCode::OK);
    }
    // Words alone are no mark.
    let body = br#"{"message": "proxmox-mcp:: is a mark", "title": "last"}"#;
    let gotify = post("/hooks/hook/lab/message").body(()).unwrap();
    assert_eq!(status(&input, gotify, body).await, StatusCode::OK);
    assert_eq!(events.await.unwrap().len(), 1);
    assert_eq!(echo.dropped(), 4);
}
