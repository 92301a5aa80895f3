//! A transport that does what a test says.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::sync::{Arc, Mutex};

use api_core::{Body, ErrorKind, Sent, Transport, TransportError, TransportErrorKind};
use async_trait::async_trait;
use futures::future::BoxFuture;
use http::{Request, Response};

pub(crate) type Answer = Result<Response<Body>, TransportError>;
type Handler = dyn Fn(Seen) -> BoxFuture<'static, Answer> + Send + Sync;

/// What arrived.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) line: String,
    pub(crate) body: String,
    pub(crate) headers: http::HeaderMap,
}

/// Answers by a closure and remembers what it was asked.
#[derive(Clone)]
pub(crate) struct Fake {
    handler: Arc<Handler>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Fake {
    pub(crate) fn new<F: Future<Output = Answer> + Send + 'static>(
        handler: impl Fn(Seen) -> F + Send + Sync + 'static,
    ) -> Self {
        Self { handler: Arc::new(move |seen| Box::pin(handler(seen))), seen: Arc::default() }
    }

    /// Answers at once.
    pub(crate) fn now(handler: impl Fn(Seen) -> Answer + Send + Sync + 'static) -> Self {
        Self::new(move |seen| std::future::ready(handler(seen)))
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.seen().into_iter().map(|seen| seen.line).collect()
    }

    pub(crate) fn shared(&self) -> Arc<dyn Transport> {
        Arc::new(self.clone())
    }
}

#[async_trait]
impl Transport for Fake {
    async fn send(&self, request: Request<Body>) -> Answer {
        let (parts, body) = request.into_parts();
        let body = body.collect(1 << 20).await.unwrap();
        let seen = Seen {
            line: format!("{} {}", parts.method, parts.uri),
            body: String::from_utf8(body.to_vec()).unwrap(),
            headers: parts.headers,
        };
        self.seen.lock().unwrap().push(seen.clone());
        (self.handler)(seen).await
    }
}

#[expect(clippy::unnecessary_wraps, reason = "what a handler returns")]
pub(crate) fn answer(status: u16, body: &str) -> Answer {
    let mut response = Response::new(Body::from(body.to_owned()));
    *response.status_mut() = http::StatusCode::from_u16(status).unwrap();
    Ok(response)
}

pub(crate) fn fails(kind: TransportErrorKind, sent: Sent) -> Answer {
    Err(TransportError::new(kind, sent, "fake"))
}

/// Tells what the tests need of a status and nothing more.
pub(crate) fn classify(
    status: u16,
    message: &str,
    _: &std::collections::BTreeMap<String, String>,
) -> ErrorKind {
    match status {
        401 => ErrorKind::Unauthorized,
        404 => ErrorKind::NotFound,
        403 => ErrorKind::PermissionDenied,
        595..=599 => ErrorKind::NodeUnreachable,
        _ if message.contains("busy") => ErrorKind::Busy,
        _ => ErrorKind::Server,
    }
}
