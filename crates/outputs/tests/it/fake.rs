//! Services that tests pretend to be: a server on loopback that answers by the rules it is given, and remembers.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use outputs::Kit;
use serde_json::Value;
use stdx::{
    ManualClock,
    http::{HttpOptions, client},
};
use testkit::contract::sink::{Mood, Service, Traits};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: String,
}

/// What is answered.
pub(crate) enum Reply {
    /// Status, headers and body.
    Answer(u16, Vec<(&'static str, String)>, String),
    /// Nothing.
    HangUp,
}

/// What a service does.
pub(crate) trait Rules: Send + 'static {
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

/// A service that runs.
pub(crate) struct Fake<R> {
    pub(crate) address: SocketAddr,
    shared: Arc<Mutex<Shared<R>>>,
    _task: AbortOnDropHandle<()>,
}

struct Shared<R> {
    rules: R,
    mood: Mood,
    calls: Vec<Call>,
}

/// All moods that a service over HTTP can have.
pub(crate) fn moods() -> Vec<Mood> {
    vec![Mood::Busy(Duration::from_secs(7)), Mood::Broken, Mood::HangsUp, Mood::Refuses]
}

/// A kit for tests: no TLS roots are read, and the clock stands still.
pub(crate) fn kit() -> Kit {
    let tls = stdx::tls::TlsOptions { policy: stdx::tls::TlsPolicy::Insecure, server_name: None };
    let client = client(&HttpOptions::with_tls(tls)).unwrap();
    let clock = ManualClock::at("2026-11-22T01:00:31Z".parse().unwrap());
    Kit::new(client, Arc::new(clock), "home")
}

// === impl Call ===

impl Call {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }

    pub(crate) fn header(&self, name: &str) -> String {
        self.headers.get(name).map_or_else(String::new, |it| it.to_str().unwrap().to_owned())
    }
}

// === impl Reply ===

impl Reply {
    pub(crate) fn json(status: u16, body: &Value) -> Self {
        Self::Answer(
            status,
            vec![("content-type", "application/json".to_owned())],
            body.to_string(),
        )
    }

    pub(crate) fn text(status: u16, body: &str) -> Self {
        Self::Answer(status, Vec::new(), body.to_owned())
    }
}

// === impl Fake ===

impl<R: Rules> Fake<R> {
    pub(crate) async fn start(rules: R) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Mutex::new(Shared { rules, mood: Mood::Well, calls: Vec::new() }));
        let serving = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                let shared = Arc::clone(&serving);
                let answering = service_fn(move |request| answer(Arc::clone(&shared), request));
                tokio::spawn(
                    http1::Builder::new().serve_connection(TokioIo::new(stream), answering),
                );
            }
        });
        Self { address, shared, _task: AbortOnDropHandle::new(task) }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Everything that it was asked so far.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.shared.lock().unwrap().calls.clone()
    }

    /// The last request but for checks.
    pub(crate) fn last(&self) -> Call {
        self.calls().pop().unwrap()
    }

    pub(crate) fn with<T>(&self, change: impl FnOnce(&mut R) -> T) -> T {
        change(&mut self.shared.lock().unwrap().rules)
    }
}

async fn answer<R: Rules>(
    shared: Arc<Mutex<Shared<R>>>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, std::io::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
    let call = Call {
        method: head.method.to_string(),
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        headers: head.headers,
        body: String::from_utf8_lossy(&body).into_owned(),
    };
    let mut shared = shared.lock().unwrap();
    shared.calls.push(call.clone());
    let reply = match shared.mood {
        Mood::Well => shared.rules.answer(&call),
        Mood::Busy(pause) => shared.rules.busy(pause),
        Mood::Broken => Reply::text(500, "something went wrong"),
        Mood::Refuses => shared.rules.refuse(&call),
        Mood::HangsUp => Reply::HangUp,
    };
    let Reply::Answer(status, headers, body) = reply else {
        return Err(std::io::Error::other("the service hangs up"));
    };
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(name, value);
    }
    Ok(response.body(Full::new(Bytes::from(body))).unwrap())
}

#[async_trait]
impl<R: Rules> Service for Fake<R> {
    async fn set_mood(&self, mood: Mood) {
        self.shared.lock().unwrap().mood = mood;
    }

    async fn shown(&self) -> Vec<String> {
        self.shared.lock().unwrap().rules.shown()
    }

    fn traits(&self) -> Traits {
        self.shared.lock().unwrap().rules.traits()
    }
}
