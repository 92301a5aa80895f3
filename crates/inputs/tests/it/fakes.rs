//! Servers of the channels that are listened to, as far as their documentation goes: Gotify's and ntfy's.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use testkit::contract::source::{Reporter, Told};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::{broadcast, watch},
    task::JoinSet,
};
use tokio_tungstenite::tungstenite::{
    Message,
    handshake::server::{ErrorResponse, Request, Response},
};
use tokio_util::task::AbortOnDropHandle;

pub(crate) const TOKEN: &str = "Cplanted-0f5a";

/// Which server it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sort {
    Gotify,
    Ntfy,
}

/// A server on loopback.
pub(crate) struct Fake {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    _task: AbortOnDropHandle<()>,
}

struct Shared {
    sort: Sort,
    messages: Mutex<Vec<Value>>,
    posted: broadcast::Sender<Value>,
    /// Counted up to end the streams that are open; odd while none may be opened.
    epoch: watch::Sender<u64>,
}

// === impl Fake ===

impl Fake {
    pub(crate) async fn start(sort: Sort) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            sort,
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

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Posts a message; `more` adds to it.
    pub(crate) fn post(&self, title: &str, more: Value) -> u64 {
        let mut messages = self.shared.messages.lock().unwrap();
        let id = messages.len() as u64 + 1;
        self.shared.put(&mut messages, id, title, more);
        id
    }

    /// Forgets everything and counts from 1 again, as a server that was set up anew.
    pub(crate) fn forget(&self) {
        self.shared.messages.lock().unwrap().clear();
    }

    /// Ends the open streams, and lets none be opened until [`Fake::open`].
    pub(crate) fn close(&self) {
        self.shared.epoch.send_modify(|epoch| *epoch += 1);
    }

    pub(crate) fn open(&self) {
        self.shared.epoch.send_modify(|epoch| *epoch += 1);
    }
}

// === impl Shared ===

impl Shared {
    fn put(&self, messages: &mut Vec<Value>, id: u64, title: &str, more: Value) {
        let mut message = match self.sort {
            Sort::Gotify => {
                // Its time goes on although its numbers may begin anew.
                static SECONDS: std::sync::atomic::AtomicI64 =
                    std::sync::atomic::AtomicI64::new(1_795_370_864);
                let second = SECONDS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                let date = jiff::Timestamp::from_second(second).unwrap();
                json!({"id": id, "appid": 5, "title": title, "message": "words", "priority": 9, "date": date.to_string()})
            }
            Sort::Ntfy => json!({
                "id": format!("m{id:09}"), "time": 1_795_370_864 + id, "expires": 1_795_470_864,
                "event": "message", "topic": "alerts", "title": title, "message": "words", "priority": 5,
            }),
        };
        if let Value::Object(more) = more {
            message.as_object_mut().unwrap().extend(more);
        }
        messages.push(message.clone());
        // Nobody may listen.
        let _ = self.posted.send(message);
    }

    async fn serve(self: Arc<Self>, stream: TcpStream) {
        let mut head = [0; 16];
        while stream.peek(&mut head).await.unwrap_or_default() < head.len() {
            tokio::task::yield_now().await;
        }
        if head.starts_with(b"GET /stream") {
            self.websocket(stream).await;
            return;
        }
        let mut stream = stream;
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
        let is_allowed = match self.sort {
            Sort::Gotify => lower.contains(&format!("x-gotify-key: {}\r", TOKEN.to_lowercase())),
            Sort::Ntfy => {
                lower.contains(&format!("authorization: bearer {}\r", TOKEN.to_lowercase()))
            }
        };
        if !is_allowed {
            let refused =
                "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            let _ = stream.write_all(refused.as_bytes()).await;
            return;
        }
        match self.sort {
            Sort::Gotify => self.list(&path, &mut stream).await,
            Sort::Ntfy => self.lines(&path, &mut stream).await,
        }
    }

    /// The newest first, below the number that is asked for.
    async fn list(&self, path: &str, stream: &mut TcpStream) {
        let query = path.strip_prefix("/message?").unwrap();
        let value = |name: &str| {
            let pair = query.split('&').find_map(|pair| pair.strip_prefix(name));
            pair.and_then(|text| text.strip_prefix('=')?.parse::<u64>().ok())
        };
        let (limit, since) = (value("limit").unwrap(), value("since").unwrap_or(u64::MAX));
        assert!(limit <= 200, "the server takes at most 200");
        let messages = self.messages.lock().unwrap().clone();
        let page: Vec<Value> = messages
            .into_iter()
            .rev()
            .filter(|message| message["id"].as_u64().unwrap() < since)
            .take(usize::try_from(limit).unwrap())
            .collect();
        let body = json!({"messages": page, "paging": {}}).to_string();
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        let _ = stream.write_all((head + &body).as_bytes()).await;
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

    #[expect(clippy::result_large_err, reason = "the library's own type")]
    async fn websocket(&self, stream: TcpStream) {
        let mut epoch = self.epoch.subscribe();
        if *epoch.borrow_and_update() % 2 == 1 {
            return;
        }
        let mut posted = self.posted.subscribe();
        let check = |request: &Request, response: Response| -> Result<Response, ErrorResponse> {
            match request.headers().get("x-gotify-key") {
                Some(token) if token == TOKEN => Ok(response),
                _ => Err(http::Response::builder().status(401).body(None).unwrap()),
            }
        };
        let Ok(mut socket) = tokio_tungstenite::accept_hdr_async(stream, check).await else {
            return;
        };
        if socket.send(Message::Ping(bytes::Bytes::new())).await.is_err() {
            return;
        }
        loop {
            tokio::select! {
                message = posted.recv() => {
                    if socket.send(Message::text(message.unwrap().to_string())).await.is_err() {
                        return;
                    }
                }
                heard = socket.next() => {
                    if !matches!(heard, Some(Ok(_))) {
                        return;
                    }
                }
                _ = epoch.changed() => return,
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
