//! Servers that pass on what is posted to them, as far as their documentation goes: Gotify's and ntfy's.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use serde_json::{Value, json};
use testkit::{
    contract::source::{Reporter, Told},
    fake::gotify::{APPLICATION, CLIENT_TOKEN, Gotify},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::{broadcast, watch},
    task::JoinSet,
};
use tokio_util::task::AbortOnDropHandle;

pub(crate) const TOKEN: &str = CLIENT_TOKEN;

/// Which server it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sort {
    Gotify,
    Ntfy,
}

/// A server on loopback.
pub(crate) enum Fake {
    Gotify(testkit::fake::Fake<Gotify>),
    Ntfy(Server),
}

/// Ntfy's, whose answers go on for ever.
pub(crate) struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    _task: AbortOnDropHandle<()>,
}

struct Shared {
    messages: Mutex<Vec<Value>>,
    posted: broadcast::Sender<Value>,
    /// Counted up to end the streams that are open; odd while none may be opened.
    epoch: watch::Sender<u64>,
}

// === impl Fake ===

impl Fake {
    pub(crate) async fn start(sort: Sort) -> Self {
        match sort {
            Sort::Gotify => Self::Gotify(testkit::fake::Fake::start(Gotify::new()).await),
            Sort::Ntfy => Self::Ntfy(Server::start().await),
        }
    }

    pub(crate) fn url(&self) -> String {
        match self {
            Self::Gotify(fake) => fake.url(""),
            Self::Ntfy(server) => format!("http://{}", server.address),
        }
    }

    /// Posts a message; `more` adds to it.
    pub(crate) fn post(&self, title: &str, more: Value) -> u64 {
        match self {
            Self::Gotify(fake) => {
                let mut message = json!({"title": title, "message": "words", "priority": 9});
                let application = more["appid"].as_u64().unwrap_or(APPLICATION);
                if let Value::Object(more) = more {
                    message.as_object_mut().unwrap().extend(more);
                }
                fake.with(|server| server.post(application, &message))["id"].as_u64().unwrap()
            }
            Self::Ntfy(server) => {
                let mut messages = server.shared.messages.lock().unwrap();
                let id = messages.len() as u64 + 1;
                server.shared.put(&mut messages, id, title, more);
                id
            }
        }
    }

    /// Forgets everything and counts from 1 again, as a server that was set up anew.
    pub(crate) fn forget(&self) {
        match self {
            Self::Gotify(fake) => fake.with(Gotify::forget),
            Self::Ntfy(server) => server.shared.messages.lock().unwrap().clear(),
        }
    }

    /// Ends the open streams, and lets none be opened until [`Fake::open`].
    pub(crate) fn close(&self) {
        match self {
            Self::Gotify(fake) => fake.with(|server| server.close()),
            Self::Ntfy(server) => server.shared.epoch.send_modify(|epoch| *epoch += 1),
        }
    }

    pub(crate) fn open(&self) {
        match self {
            Self::Gotify(fake) => fake.with(|server| server.open()),
            Self::Ntfy(server) => server.shared.epoch.send_modify(|epoch| *epoch += 1),
        }
    }
}

// === impl Server ===

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            messages: Mutex::default(),
            posted: broadcast::channel(1024).0,
            epoch: watch::channel(0).0,
        });
        let serving = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connections.spawn(Arc::clone(&serving).serve(stream));
            }
        });
        Self { address, shared, _task: AbortOnDropHandle::new(task) }
    }
}

// === impl Shared ===

impl Shared {
    fn put(&self, messages: &mut Vec<Value>, id: u64, title: &str, more: Value) {
        let mut message = json!({
            "id": format!("m{id:09}"), "time": 1_795_370_864 + id, "expires": 1_795_470_864,
            "event": "message", "topic": "alerts", "title": title, "message": "words", "priority": 5,
        });
        if let Value::Object(more) = more {
            message.as_object_mut().unwrap().extend(more);
        }
        messages.push(message.clone());
        // Nobody may listen.
        let _ = self.posted.send(message);
    }

    async fn serve(self: Arc<Self>, mut stream: TcpStream) {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            match stream.read_u8().await {
                Ok(byte) => request.push(byte),
                Err(_) => return,
            }
        }
        let request = String::from_utf8(request).unwrap();
        let path = request.split(' ').nth(1).unwrap().to_owned();
        let lower = request.to_lowercase();
        let is_allowed =
            lower.contains(&format!("authorization: bearer {}\r", TOKEN.to_lowercase()));
        if !is_allowed {
            let refused =
                "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            let _ = stream.write_all(refused.as_bytes()).await;
            return;
        }
        self.lines(&path, &mut stream).await;
    }

    /// What came since, and then what comes, a line each.
    async fn lines(&self, path: &str, stream: &mut TcpStream) {
        let mut epoch = self.epoch.subscribe();
        let now = *epoch.borrow_and_update();
        if now % 2 == 1 {
            return;
        }
        let (topic, query) = path.split_once("/json").unwrap();
        assert_eq!(topic, "/alerts");
        let since = query.strip_prefix("?since=");
        let mut posted = self.posted.subscribe();
        let old: Vec<Value> = {
            let messages = self.messages.lock().unwrap();
            let at = messages.iter().position(|it| Some(it["id"].as_str().unwrap()) == since);
            let by_time = since.and_then(|since| since.parse::<u64>().ok());
            match (since, at, by_time) {
                (None, _, _) => Vec::new(),
                (_, Some(at), _) => messages[at + 1..].to_vec(),
                (_, _, Some(time)) => messages
                    .iter()
                    .filter(|it| it["time"].as_u64().unwrap() >= time)
                    .cloned()
                    .collect(),
                // A name that it does not know: everything.
                _ => messages.clone(),
            }
        };
        // What is posted from here on comes through the channel; what came twice is left out.
        let time = 1_795_370_864 + self.messages.lock().unwrap().len() as u64 + 1;
        let open = json!({"id": "open1", "time": time, "event": "open", "topic": "alerts"});
        let keepalive = json!({"id": "k1", "time": 1, "event": "keepalive", "topic": "alerts"});
        let mut text =
            "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nConnection: close\r\n\r\n"
                .to_owned();
        for line in [&open, &keepalive].into_iter().chain(&old) {
            text.push_str(&line.to_string());
            text.push('\n');
        }
        let mut sent: Vec<String> = old.iter().map(|it| it["id"].to_string()).collect();
        if stream.write_all(text.as_bytes()).await.is_err() {
            return;
        }
        loop {
            let message = tokio::select! {
                message = posted.recv() => message.unwrap(),
                _ = epoch.changed() => return,
            };
            if sent.contains(&message["id"].to_string()) {
                continue;
            }
            sent.push(message["id"].to_string());
            // In two pieces, as networks do.
            let line = format!("{message}\n");
            let (one, two) = line.as_bytes().split_at(20);
            for piece in [one, two] {
                if stream.write_all(piece).await.is_err() || stream.flush().await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Posts what the contract has to say.
pub(crate) struct Poster(pub(crate) Arc<Fake>);

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
