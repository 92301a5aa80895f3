//! The feed input: whatever a service sends as JSON over a websocket is heard, and heard on where it broke off.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use event_core::{
    Cursor, Event, EventSource as _, Ruling, RunContext, Severity, Signal, SourceError,
    SourceErrorKind,
};
use futures::{SinkExt as _, StreamExt as _, stream::BoxStream};
use inputs::websocket::feed::{Config, Feed, Resume};
use serde_json::{Value, json};
use stdx::{
    SystemClock,
    tls::{TlsOptions, TlsPolicy},
};
use testkit::contract::source::{Reporter, Told, source};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{broadcast, watch},
    task::JoinSet,
    time::timeout,
};
use tokio_tungstenite::tungstenite::{
    Message,
    handshake::server::{ErrorResponse, Request, Response},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::tasks::sim;

/// How long something that must happen may take on a slow machine.
const PATIENCE: Duration = Duration::from_mins(1);
const TOKEN: &str = "planted-77aa";

/// A service that sends what is posted, numbered; it goes on behind the number that it is given.
struct Service {
    address: std::net::SocketAddr,
    shared: Arc<Shared>,
    _task: AbortOnDropHandle<()>,
}

struct Shared {
    messages: Mutex<Vec<Value>>,
    posted: broadcast::Sender<Value>,
    /// Addresses that were asked for, and texts that were sent.
    heard: Mutex<Vec<String>>,
    /// Counted up to end what is open.
    epoch: watch::Sender<u64>,
    /// Takes everything in and says nothing, not even to a ping.
    is_deaf: Mutex<bool>,
}

// === impl Service ===

impl Service {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            messages: Mutex::default(),
            posted: broadcast::channel(1024).0,
            heard: Mutex::default(),
            epoch: watch::channel(0).0,
            is_deaf: Mutex::default(),
        });
        let serving = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let serving = Arc::clone(&serving);
                connections.spawn(async move { serving.serve(stream).await });
            }
        });
        Self { address, shared, _task: AbortOnDropHandle::new(task) }
    }

    fn config(&self) -> Config {
        let mut config = Config::new(format!("ws://{}/v1/events?kind=all", self.address));
        config.token = Some(TOKEN.into());
        config.identity.cluster = "lab".parse().ok();
        config
    }

    fn post(&self, title: &str, more: Value) {
        let mut messages = self.shared.messages.lock().unwrap();
        let mut message = json!({"seq": messages.len() + 1, "title": title, "level": "error"});
        if let Value::Object(more) = more {
            message.as_object_mut().unwrap().extend(more);
        }
        messages.push(message.clone());
        // Nobody may listen.
        let _ = self.shared.posted.send(message);
    }

    fn close(&self) {
        self.shared.epoch.send_modify(|epoch| *epoch += 1);
    }

    fn heard(&self) -> Vec<String> {
        self.shared.heard.lock().unwrap().clone()
    }
}

// === impl Shared ===

impl Shared {
    #[expect(clippy::result_large_err, reason = "the library's own type")]
    async fn serve(&self, stream: TcpStream) {
        let mut epoch = self.epoch.subscribe();
        epoch.borrow_and_update();
        let mut posted = self.posted.subscribe();
        let mut since = None;
        let check = |request: &Request, response: Response| -> Result<Response, ErrorResponse> {
            let proof = request.headers().get("authorization");
            let is_open = request.uri().path() == "/open" && proof.is_none();
            if !is_open && proof.is_none_or(|it| *it != format!("Bearer {TOKEN}")) {
                return Err(http::Response::builder().status(401).body(None).unwrap());
            }
            self.heard.lock().unwrap().push(request.uri().to_string());
            let query = request.uri().query().unwrap_or_default();
            since = query.split('&').find_map(|it| it.strip_prefix("since=")?.parse().ok());
            Ok(response)
        };
        let Ok(mut socket) = tokio_tungstenite::accept_hdr_async(stream, check).await else {
            return;
        };
        if *self.is_deaf.lock().unwrap() {
            // The connection stays and nothing is read from it, until the test ends it.
            let _ = epoch.changed().await;
            return;
        }
        if let Some(since) = since
            && self.replay(&mut socket, since).await.is_err()
        {
            return;
        }
        loop {
            tokio::select! {
                message = posted.recv() => {
                    if socket.send(Message::text(message.unwrap().to_string())).await.is_err() {
                        return;
                    }
                }
                heard = socket.next() => match heard {
                    Some(Ok(Message::Text(text))) => {
                        self.heard.lock().unwrap().push(text.to_string());
                        let asked: Option<Value> = serde_json::from_str(&text).ok();
                        let since = asked.and_then(|it| it["since"].as_str()?.parse().ok());
                        if let Some(since) = since
                            && self.replay(&mut socket, since).await.is_err()
                        {
                            return;
                        }
                        if text.as_str() == "beat" && socket.send(Message::text("pong")).await.is_err() {
                            return;
                        }
                    }
                    Some(Ok(_)) => {}
                    _ => return,
                },
                _ = epoch.changed() => return,
            }
        }
    }

    async fn replay<S>(&self, socket: &mut S, since: usize) -> Result<(), ()>
    where
        S: futures::Sink<Message> + Unpin,
    {
        let messages: Vec<Value> =
            self.messages.lock().unwrap().iter().skip(since).cloned().collect();
        for message in messages {
            socket.send(Message::text(message.to_string())).await.map_err(|_| ())?;
        }
        Ok(())
    }
}

fn feed(config: Config) -> Feed {
    Feed::try_new("ups".parse().unwrap(), config).unwrap()
}

struct Run {
    stream: BoxStream<'static, Result<Signal, SourceError>>,
    cursor: Cursor,
}

impl Run {
    async fn start(feed: &Feed, resume: Option<Cursor>) -> Self {
        let cx = RunContext::new(CancellationToken::new(), SystemClock::shared());
        let mut stream = feed.run(cx, resume);
        loop {
            match stream.next().await.unwrap().unwrap() {
                Signal::SyncFinished(cursor) => return Self { stream, cursor },
                Signal::SyncStarted | Signal::Idle => {}
                other => panic!("{other:?}"),
            }
        }
    }

    async fn next(&mut self, ruling: Ruling) -> Event {
        loop {
            let signal = timeout(PATIENCE, self.stream.next()).await.expect("it is heard in time");
            if let Signal::Changed { event, cursor, ack } = signal.unwrap().unwrap() {
                if ruling.is_kept() {
                    self.cursor = cursor.unwrap_or_else(|| self.cursor.clone());
                }
                ack.resolve(ruling);
                return event;
            }
        }
    }

    async fn titles(&mut self, count: usize) -> Vec<String> {
        let mut titles = Vec::new();
        while titles.len() < count {
            titles.push(self.next(Ruling::Committed).await.title);
        }
        titles
    }
}

struct Poster(Arc<Service>);

#[async_trait]
impl Reporter for Poster {
    async fn report(&self, text: &str) -> Told {
        self.0.post(text, Value::Null);
        Told::Nothing
    }

    fn is_answered(&self) -> bool {
        false
    }
}

#[tokio::test]
async fn the_contract() {
    let service = Arc::new(Service::start().await);
    source(Arc::new(feed(service.config())), Arc::new(Poster(service))).await;
}

/// What is posted while the feed is closed is heard when it is open again, whichever way it is told its place.
async fn goes_on(service: &Service, config: Config) {
    let feed = feed(config);
    let mut run = Run::start(&feed, None).await;
    service.post("one", Value::Null);
    assert_eq!(run.titles(1).await, ["one"]);
    service.close();
    service.post("two", Value::Null);
    assert_eq!(run.titles(1).await, ["two"]);
    assert_eq!(run.cursor.as_str(), "2");
    let cursor = run.cursor.clone();
    drop(run);
    service.post("three", Value::Null);
    let mut run = Run::start(&feed, Some(cursor)).await;
    assert_eq!(run.titles(1).await, ["three"]);
}

fn resume(query: Option<&str>, subscribe: &[&str]) -> Resume {
    Resume {
        place: "/seq".parse().unwrap(),
        query: query.map(str::to_owned),
        subscribe: subscribe.iter().map(|text| (*text).to_owned()).collect(),
    }
}

#[tokio::test]
async fn it_goes_on_where_it_was_by_a_parameter_of_the_address() {
    let service = Service::start().await;
    let mut config = service.config();
    config.resume = Some(resume(Some("since"), &[]));
    config.subscribe = vec![r#"{"op": "subscribe"}"#.to_owned()];
    goes_on(&service, config).await;
    let heard = service.heard();
    assert_eq!(heard[..2], ["/v1/events?kind=all", r#"{"op": "subscribe"}"#]);
    assert!(heard.contains(&"/v1/events?kind=all&since=2".to_owned()), "{heard:?}");
}

#[tokio::test]
async fn it_goes_on_where_it_was_by_what_it_sends() {
    let service = Service::start().await;
    let mut config = service.config();
    config.resume = Some(resume(None, &[r#"{"op": "subscribe", "since": "{place}"}"#]));
    config.subscribe = vec![r#"{"op": "subscribe"}"#.to_owned()];
    goes_on(&service, config).await;
    let heard = service.heard();
    assert!(heard.contains(&r#"{"op": "subscribe", "since": "2"}"#.to_owned()), "{heard:?}");
}

#[tokio::test]
async fn a_token_can_be_sent_within_a_message() {
    let service = Service::start().await;
    let mut config = service.config();
    config.url = format!("ws://{}/open", service.address);
    config.subscribe = vec![r#"{"type": "auth", "access_token": "{token}"}"#.to_owned()];
    let mut run = Run::start(&feed(config), None).await;
    service.post("one", Value::Null);
    assert_eq!(run.titles(1).await, ["one"]);
    let sent = format!(r#"{{"type": "auth", "access_token": "{TOKEN}"}}"#);
    let heard = timeout(PATIENCE, async {
        while !service.heard().contains(&sent) {
            tokio::task::yield_now().await;
        }
    });
    heard.await.expect("it proves itself");
}

#[tokio::test]
async fn what_is_not_kept_is_told_again_and_its_place_is_not_kept_before_it() {
    let service = Service::start().await;
    let mut config = service.config();
    config.resume = Some(resume(Some("since"), &[]));
    let mut run = Run::start(&feed(config), None).await;
    service.post("one", Value::Null);
    assert_eq!(run.next(Ruling::Rejected).await.title, "one");
    assert_eq!(run.cursor.as_str(), "");
    assert_eq!(run.next(Ruling::Committed).await.title, "one");
    assert_eq!(run.cursor.as_str(), "1");
}

#[tokio::test]
async fn messages_mean_what_the_mapping_says_and_only_news_are_told() {
    let service = Service::start().await;
    let mut config = service.config();
    config.only = vec![("/type".parse().unwrap(), vec!["alarm".to_owned()])];
    config.mapping.severity = vec!["/level".parse().unwrap()];
    config.mapping.kind = vec!["/what".parse().unwrap()];
    config.mapping.node = vec!["/where".parse().unwrap()];
    let mut run = Run::start(&feed(config), None).await;
    service.post("tick", json!({"type": "tick"}));
    service.post("disk", json!({"type": "alarm", "what": "disk.failing", "where": "pve1.lan"}));
    let event = run.next(Ruling::Committed).await;
    assert_eq!((event.kind.as_str(), event.severity), ("disk.failing", Severity::Error));
    assert_eq!(event.subject.label(), "lab/pve1");
    assert_eq!((event.title.as_str(), event.source.kind.as_ref()), ("disk", "websocket"));
}

#[tokio::test]
async fn a_feed_that_says_nothing_any_more_is_opened_again() {
    let service = Service::start().await;
    *service.shared.is_deaf.lock().unwrap() = true;
    let mut config = service.config();
    config.heartbeat.every = Duration::from_millis(20);
    config.heartbeat.silence = Duration::from_millis(200);
    config.heartbeat.text = Some("beat".to_owned());
    let mut run = Run::start(&feed(config), None).await;
    *service.shared.is_deaf.lock().unwrap() = false;
    // Its run goes on only while somebody reads it.
    let heard = async {
        loop {
            run.stream.next().await.unwrap().unwrap();
        }
    };
    let beats = testkit::wait_for("a heartbeat to be heard", PATIENCE, async || {
        let heard = service.heard();
        if heard.iter().any(|text| text == "beat") {
            testkit::Progress::Ready(())
        } else {
            testkit::Progress::Pending(format!("{heard:?}"))
        }
    });
    tokio::select! {
        () = heard => {}
        () = beats => {}
    }
    assert_eq!(service.heard().iter().filter(|it| it.starts_with("/v1")).count(), 2);
    // What is answered to it is no event.
    service.post("after", Value::Null);
    assert_eq!(run.titles(1).await, ["after"]);
}

#[tokio::test]
async fn what_a_person_has_to_change_is_said_without_secrets() {
    let service = Service::start().await;
    let mut config = service.config();
    config.url = format!("ws://{}/v1/events?key=planted-key", service.address);
    config.token = Some("planted-wrong".into());
    let refused = feed(config);
    let error = refused.check().await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::Settings);
    let shown = format!("{} {error:?} {refused:?}", stdx::Chain(&error));
    assert!(shown.contains("token is refused"), "{shown}");
    assert!(!format!("{} {error:?}", stdx::Chain(&error)).contains("planted"), "{shown}");

    let mut config = service.config();
    config.max_bytes = 1000;
    let narrow = feed(config);
    assert!(narrow.check().await.unwrap().contains("/v1/events"));
    let mut run = Run::start(&narrow, None).await;
    service.post(&"x".repeat(2000), Value::Null);
    let error = timeout(PATIENCE, run.stream.next()).await.unwrap().unwrap().unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::Settings);
    assert!(error.to_string().contains("max_bytes"), "{error}");
}

#[tokio::test]
async fn a_server_proves_itself_by_its_fingerprint() {
    let sim = sim().await;
    let node = &sim.target("lab").nodes[0];
    let at = |pin: &str| {
        let mut config = Config::new(format!("{}/feed", node.url.replace("https", "wss")));
        let policy = TlsPolicy::Pins(vec![pin.parse().unwrap()]);
        config.tls = TlsOptions { policy, server_name: None };
        feed(config)
    };
    // It is the right server, and has no such thing.
    let error = at(&node.fingerprint).check().await.unwrap_err();
    assert!(error.to_string().contains("it answers 5"), "{error}");
    let error = at(&sim.target("lab").nodes[1].fingerprint).check().await.unwrap_err();
    assert!(error.to_string().contains("its certificate is not believed"), "{error}");
}

#[test]
fn settings_that_cannot_be_used_are_refused() {
    let says = |change: &dyn Fn(&mut Config), part: &str| {
        let mut config = Config::new("wss://feed.example.lan");
        change(&mut config);
        let error = Feed::try_new("x".parse().unwrap(), config).unwrap_err().to_string();
        assert!(error.contains(part) && !error.contains("planted"), "{error}");
    };
    says(&|it| it.url = "https://feed".to_owned(), "begin it with wss://");
    says(&|it| it.heartbeat.silence = Duration::from_secs(1), "silence is shorter");
    says(&|it| it.subscribe = vec!["{place}".to_owned()], "only when the feed is opened again");
    says(&|it| it.resume = Some(resume(None, &["no place"])), "the feed is never told");
    says(&|it| it.subscribe = vec!["{token}".to_owned()], "and there is none");
    says(&|it| it.subscribe = vec!["x".repeat(70_000)], "longer than 64 KiB");
    says(&|it| drop(it.headers.insert("a b".to_owned(), String::new())), "no name of a header");
    says(&|it| drop(it.headers.insert("a".to_owned(), "\n".to_owned())), "no header may hold");
    says(&|it| it.token = Some("planted\n".into()), "control characters");
}
