//! Services that tests pretend to be: a server on loopback that answers by the rules it is given, and remembers.
//!
//! [`discord`] and [`gotify`] keep the rules that these services document, with their limits; other rules are those of
//! the test that needs them.

pub mod discord;
pub mod gotify;

use std::{
    fmt,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use http_body_util::{BodyExt as _, Full};
use hyper::{
    Request, Response,
    body::Incoming,
    server::conn::http1,
    service::service_fn,
    upgrade::{OnUpgrade, Upgraded},
};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{handshake::derive_accept_key, protocol::Role},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::contract::sink::{Mood, Service, Traits};

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Call {
    /// `GET`, `POST`, …
    pub method: String,
    /// The path, without the query.
    pub path: String,
    /// What stands behind the question mark.
    pub query: String,
    /// The headers.
    pub headers: hyper::HeaderMap,
    /// The body.
    pub body: String,
}

/// A websocket that a client has opened.
pub type Socket = WebSocketStream<TokioIo<Upgraded>>;
/// What a service does with a websocket, until it is through with it.
pub type Talk = Box<dyn FnOnce(Socket) -> BoxFuture<'static, ()> + Send>;

/// What is answered.
pub enum Reply {
    /// Status, headers and body.
    Answer(u16, Vec<(&'static str, String)>, String),
    /// A websocket.
    Socket(Talk),
    /// Nothing.
    HangUp,
}

/// What a service does.
pub trait Rules: Send + 'static {
    /// Answers a request in the mood to do so.
    fn answer(&mut self, call: &Call) -> Reply;
    /// What people see.
    fn shown(&self) -> Vec<String>;
    /// How it says that it is busy.
    fn busy(&self, pause: Duration) -> Reply {
        Reply::Answer(
            429,
            vec![("retry-after", pause.as_secs().to_string())],
            "slow down".to_owned(),
        )
    }
    /// How it says that it does not want this. It may quote what it was sent.
    fn refuse(&self, call: &Call) -> Reply;
    /// What it is able to do.
    fn traits(&self) -> Traits;
}

/// A service that runs; it ends, with all of its connections, when this is dropped.
pub struct Fake<R> {
    address: SocketAddr,
    shared: Arc<Mutex<Shared<R>>>,
    _stop: DropGuard,
}

struct Shared<R> {
    rules: R,
    mood: Mood,
    calls: Vec<Call>,
}

/// All moods that a service over HTTP can have.
pub fn moods() -> Vec<Mood> {
    vec![Mood::Busy(Duration::from_secs(7)), Mood::Broken, Mood::HangsUp, Mood::Refuses]
}

// === impl Call ===

impl Call {
    /// The body as JSON; null if it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }

    /// A header; empty if there is none, or none that is text.
    pub fn header(&self, name: &str) -> String {
        let value = self.headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    }

    /// The value of `name=` in the query, as it stands there.
    pub fn param(&self, name: &str) -> Option<&str> {
        let mut pairs = self.query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
    }
}

// === impl Reply ===

impl Reply {
    /// With this JSON.
    pub fn json(status: u16, body: &Value) -> Self {
        let headers = vec![("content-type", "application/json".to_owned())];
        Self::Answer(status, headers, body.to_string())
    }

    /// With this text.
    pub fn text(status: u16, body: &str) -> Self {
        Self::Answer(status, Vec::new(), body.to_owned())
    }

    /// With these headers more, if it has any.
    #[must_use]
    pub fn with(mut self, more: Vec<(&'static str, String)>) -> Self {
        if let Self::Answer(_, headers, _) = &mut self {
            headers.extend(more);
        }
        self
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answer(status, ..) => f.debug_tuple("Answer").field(status).finish(),
            Self::Socket(_) => f.write_str("Socket"),
            Self::HangUp => f.write_str("HangUp"),
        }
    }
}

// === impl Fake ===

impl<R: Rules> Fake<R> {
    /// Listens on a port of its own.
    ///
    /// # Panics
    ///
    /// Where loopback cannot be listened on.
    pub async fn start(rules: R) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let address = listener.local_addr().expect("a socket that listens has an address");
        let shared = Arc::new(Mutex::new(Shared { rules, mood: Mood::Well, calls: Vec::new() }));
        let stop = CancellationToken::new();
        let (serving, stopping) = (Arc::clone(&shared), stop.clone());
        let accepting = async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                let (shared, stop) = (Arc::clone(&serving), stopping.clone());
                let answering =
                    service_fn(move |request| answer(Arc::clone(&shared), stop.clone(), request));
                let connection = http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), answering)
                    .with_upgrades();
                let stop = stopping.clone();
                tokio::spawn(async move {
                    // How a client leaves is its own affair.
                    let _ = stop.run_until_cancelled(connection).await;
                });
            }
        };
        let stopped = stop.clone();
        tokio::spawn(async move { stopped.run_until_cancelled(accepting).await });
        Self { address, shared, _stop: stop.drop_guard() }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address of this path of it.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Everything that it was asked so far.
    pub fn calls(&self) -> Vec<Call> {
        lock(&self.shared).calls.clone()
    }

    /// The last request.
    ///
    /// # Panics
    ///
    /// Where there was none.
    pub fn last(&self) -> Call {
        self.calls().pop().expect("it was asked something")
    }

    /// Looks at its rules, or changes them.
    pub fn with<T>(&self, change: impl FnOnce(&mut R) -> T) -> T {
        change(&mut lock(&self.shared).rules)
    }
}

impl<R> fmt::Debug for Fake<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fake").field("address", &self.address).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn answer<R: Rules>(
    shared: Arc<Mutex<Shared<R>>>,
    stop: CancellationToken,
    mut request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, std::io::Error> {
    let upgrade = hyper::upgrade::on(&mut request);
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
    let call = Call {
        method: head.method.to_string(),
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        headers: head.headers,
        body: String::from_utf8_lossy(&body).into_owned(),
    };
    let reply = {
        let mut shared = lock(&shared);
        shared.calls.push(call.clone());
        match shared.mood {
            Mood::Well => shared.rules.answer(&call),
            Mood::Busy(pause) => shared.rules.busy(pause),
            Mood::Broken => Reply::text(500, "something went wrong"),
            Mood::Refuses => shared.rules.refuse(&call),
            Mood::HangsUp => Reply::HangUp,
        }
    };
    let (status, headers, body) = match reply {
        Reply::Answer(status, headers, body) => (status, headers, body),
        Reply::Socket(talk) => {
            let headers = open(&call, upgrade, talk, stop);
            (101, headers, String::new())
        }
        Reply::HangUp => return Err(std::io::Error::other("the service hangs up")),
    };
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(name, value);
    }
    response.body(Full::new(Bytes::from(body))).map_err(std::io::Error::other)
}

/// Agrees to a websocket, and talks over it when the agreement is through.
fn open(
    call: &Call,
    upgrade: OnUpgrade,
    talk: Talk,
    stop: CancellationToken,
) -> Vec<(&'static str, String)> {
    let accept = derive_accept_key(call.header("sec-websocket-key").as_bytes());
    tokio::spawn(stop.run_until_cancelled_owned(async move {
        let Ok(upgraded) = upgrade.await else { return };
        let io = TokioIo::new(upgraded);
        talk(WebSocketStream::from_raw_socket(io, Role::Server, None).await).await;
    }));
    vec![
        ("connection", "Upgrade".to_owned()),
        ("upgrade", "websocket".to_owned()),
        ("sec-websocket-accept", accept),
    ]
}

#[async_trait]
impl<R: Rules> Service for Fake<R> {
    async fn set_mood(&self, mood: Mood) {
        lock(&self.shared).mood = mood;
    }

    async fn shown(&self) -> Vec<String> {
        lock(&self.shared).rules.shown()
    }

    fn traits(&self) -> Traits {
        lock(&self.shared).rules.traits()
    }
}
