//! An ntfy server passes on what is posted to its topics.

use event_core::{Cursor, EventSource as _, Ruling, RunContext, Signal};
use futures::{StreamExt as _, stream::BoxStream};
use inputs::{
    Echo,
    ntfy::{Config, Ntfy},
};
use serde_json::{Value, json};
use stdx::SystemClock;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::{Door, line, show};
use crate::sockets::PATIENCE;

/// What an ntfy output of ours posts.
const OURS: &str = include_str!("../../../../outputs/tests/it/golden/ntfy-new.txt");

/// A topic of this test's alone, at a real server.
struct Topic {
    server: String,
    name: String,
}

impl Topic {
    fn new() -> Option<Self> {
        let url = testkit::services::ntfy_url()?;
        let server = url.strip_prefix("http://").unwrap().to_owned();
        Some(Self { server, name: format!("t{}", uuid::Uuid::new_v4().simple()) })
    }

    fn input(&self, server: &str, echo: &Echo) -> Ntfy {
        let mut config = Config::new(format!("http://{server}"), vec![self.name.clone()]);
        config.identity.cluster = "home".parse().ok();
        config.echo = echo.clone();
        Ntfy::try_new("push".parse().unwrap(), config).unwrap()
    }

    /// Posts this, and gives what the server says of it.
    async fn post(&self, mut message: Value) -> Value {
        message["topic"] = self.name.as_str().into();
        let (server, body) = (&self.server, message.to_string());
        let mut stream = TcpStream::connect(server).await.unwrap();
        let request = format!(
            "POST / HTTP/1.0\r\nhost: {server}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
        assert!(answer.starts_with("HTTP/1.0 200"), "{answer}");
        serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
    }

    async fn number(&self, range: std::ops::Range<u32>) {
        for at in range {
            self.post(json!({ "title": format!("message {at}"), "message": "words" })).await;
        }
    }
}

struct Run {
    stream: BoxStream<'static, Result<Signal, event_core::SourceError>>,
    cursor: Cursor,
}

impl Run {
    async fn start(input: &Ntfy, resume: Option<Cursor>) -> Self {
        let cx = RunContext::new(CancellationToken::new(), SystemClock::shared());
        let mut stream = input.run(cx, resume);
        loop {
            let told = timeout(PATIENCE, stream.next()).await.expect("it begins in time");
            if let Signal::SyncFinished(cursor) = told.unwrap().unwrap() {
                return Self { stream, cursor };
            }
        }
    }

    async fn next(&mut self) -> event_core::Event {
        loop {
            let told = timeout(PATIENCE, self.stream.next()).await.expect("it is heard in time");
            if let Signal::Changed { event, cursor, ack } = told.unwrap().unwrap() {
                self.cursor = cursor.unwrap_or_else(|| self.cursor.clone());
                ack.resolve(Ruling::Committed);
                return event;
            }
        }
    }

    async fn numbers(&mut self, range: std::ops::Range<u32>) {
        for at in range {
            assert_eq!(self.next().await.title, format!("message {at}"));
        }
    }
}

#[tokio::test]
async fn messages_of_an_ntfy_server_become_events_but_for_our_own() {
    let Some(topic) = Topic::new() else { return };
    let echo = Echo::default();
    let input = topic.input(&topic.server, &echo);
    assert!(input.check().await.unwrap().contains("hears 1 topics"));
    topic.post(json!({ "title": "from before", "message": "words" })).await;
    let mut run = Run::start(&input, None).await;
    let mut rows = Vec::new();
    // What our own output posts, as a server takes it.
    let kept = topic.post(serde_json::from_str(OURS).unwrap()).await;
    assert!(kept["tags"].as_array().unwrap().contains(&"proxmox-mcp".into()), "{kept}");
    for (message, expected) in [
        (
            json!({
                "title": "vzdump backup status (pve1.lan): backup failed",
                "message": "VMID  Name\n104  db\n",
                "priority": 5,
                "tags": ["warning"],
            }),
            "error backup.failed home/pve1",
        ),
        (
            json!({ "message": "the door is open", "priority": 4 }),
            "warning other.notification home",
        ),
        (json!({ "message": "the door is shut", "priority": 1 }), "info other.notification home"),
        (
            json!({ "title": "größer", "message": "x".repeat(4000) }),
            "warning other.notification home",
        ),
    ] {
        topic.post(message.clone()).await;
        let event = run.next().await;
        rows.push((message.to_string(), line(&event)));
        assert_eq!(line(&event), expected, "{message}");
    }
    assert_eq!(echo.dropped(), 1);
    rows.insert(0, (OURS.replace('\n', ""), "dropped: it is our own".to_owned()));
    show("an ntfy server", &rows);
}

#[tokio::test]
async fn what_an_ntfy_server_had_while_nobody_listened_is_heard_once_and_in_its_order() {
    let Some(topic) = Topic::new() else { return };
    let mut door = Door::new();
    door.open(topic.server.parse().unwrap());
    let input = topic.input(&door.address.to_string(), &Echo::default());
    topic.number(0..2).await;
    let mut run = Run::start(&input, None).await;
    topic.number(2..5).await;
    run.numbers(2..5).await;
    // The connection breaks, and so does the next one.
    door.close();
    topic.number(5..40).await;
    door.open(topic.server.parse().unwrap());
    run.numbers(5..40).await;
    // The program ends and goes on.
    let cursor = run.cursor.clone();
    drop(run);
    topic.number(40..60).await;
    let mut run = Run::start(&input, Some(cursor)).await;
    run.numbers(40..60).await;
    topic.number(60..61).await;
    run.numbers(60..61).await;
    let rows = [
        ("messages 0 and 1, before the first run", "nothing: what was there is history"),
        ("messages 2 to 4", "each once, in order"),
        ("messages 5 to 39, while the connection was broken", "each once, in order"),
        ("messages 40 to 59, while the program was down", "each once, in order"),
    ];
    show("an ntfy server, away and back", &rows.map(|(sent, came)| (sent.into(), came.into())));
}
