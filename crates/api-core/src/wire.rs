//! The transport that really sends: one endpoint, over HTTP/1.1.

use std::{
    error::Error as StdError,
    fmt, io,
    pin::pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt};
use http::{Response, header};
use hyper::ext::ReasonPhrase;
use stdx::http::{HttpError, HttpOptions};
use tokio::time;

use crate::{Body, Sent, Transport, TransportError, TransportErrorKind as Kind};

/// Sends to one endpoint. The HTTP client behind it is made with the first request, so that having
/// many endpoints costs nothing at start.
pub struct HttpTransport {
    /// Scheme, host, port and prefix, without a slash at the end.
    base: String,
    options: HttpOptions,
    client: OnceLock<Result<reqwest::Client, String>>,
    /// How long the answer's head may take, and then each further piece of its body. While a body
    /// streams out the time begins anew as long as it moves.
    timeout: Duration,
}

// === impl HttpTransport ===

impl HttpTransport {
    /// A transport to `base`, such as `https://pve1:8006`.
    pub fn new(base: impl Into<String>, options: HttpOptions, timeout: Duration) -> Self {
        let mut base = base.into();
        base.truncate(base.trim_end_matches('/').len());
        Self { base, options, client: OnceLock::new(), timeout }
    }

    /// Where it sends.
    pub fn base(&self) -> &str {
        &self.base
    }

    fn client(&self) -> Result<&reqwest::Client, TransportError> {
        let made = self.client.get_or_init(|| {
            stdx::http::client(&self.options)
                .map_err(|error: HttpError| stdx::Chain(&error).to_string())
        });
        made.as_ref().map_err(|reason| {
            TransportError::new(Kind::Tls, Sent::No, &*self.base).with_source(reason.clone())
        })
    }

    fn error(&self, error: reqwest::Error) -> TransportError {
        // The address can carry parameters, and parameters can be secrets.
        translate(&error.without_url(), &self.base)
    }
}

#[async_trait]
impl Transport for HttpTransport {
    async fn send(&self, request: http::Request<Body>) -> Result<Response<Body>, TransportError> {
        let client = self.client()?;
        let (parts, body) = request.into_parts();
        let path = parts.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        let method = parts.method.clone();
        let mut builder =
            client.request(parts.method, format!("{}{path}", self.base)).headers(parts.headers);
        let sent_pieces = Arc::new(AtomicU64::new(0));
        builder = match body {
            Body::Full(bytes) if bytes.is_empty() && method.is_safe() => builder,
            Body::Full(bytes) if bytes.is_empty() => builder.header(header::CONTENT_LENGTH, 0),
            Body::Full(bytes) => builder.body(bytes),
            Body::Stream(stream, size) => {
                if let Some(size) = size {
                    builder = builder.header(header::CONTENT_LENGTH, size);
                }
                let counter = Arc::clone(&sent_pieces);
                let counted = stream.inspect(move |_| {
                    counter.fetch_add(1, Ordering::Relaxed);
                });
                builder.body(reqwest::Body::wrap_stream(counted))
            }
        };
        let answer = while_it_moves(builder.send(), self.timeout, &sent_pieces).await;
        let mut answer = answer
            .ok_or_else(|| TransportError::new(Kind::Timeout, Sent::Maybe, &*self.base))?
            .map_err(|error| self.error(error))?;

        let size = answer.content_length();
        let mut response = Response::new(Body::empty());
        *response.status_mut() = answer.status();
        *response.headers_mut() = std::mem::take(answer.headers_mut());
        if let Some(reason) = answer.extensions_mut().remove::<ReasonPhrase>() {
            response.extensions_mut().insert(reason);
        }
        let (base, timeout) = (self.base.clone(), self.timeout);
        let pieces = Box::pin(answer.bytes_stream());
        let pieces = futures::stream::unfold(Some(pieces), move |pieces| {
            let base = base.clone();
            async move {
                let mut pieces = pieces?;
                match time::timeout(timeout, pieces.next()).await {
                    Ok(Some(Ok(piece))) => Some((Ok(piece), Some(pieces))),
                    Ok(Some(Err(error))) => {
                        Some((Err(translate(&error.without_url(), &base)), None))
                    }
                    Ok(None) => None,
                    Err(_) => {
                        Some((Err(TransportError::new(Kind::Timeout, Sent::Maybe, base)), None))
                    }
                }
            }
        });
        *response.body_mut() = Body::Stream(Box::pin(pieces.into_stream()), size);
        Ok(response)
    }
}

impl fmt::Debug for HttpTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpTransport").field("base", &self.base).finish_non_exhaustive()
    }
}

/// What comes of `work`; `None` if a `timeout` passes in which `moved` does not grow.
async fn while_it_moves<T>(
    work: impl Future<Output = T>,
    timeout: Duration,
    moved: &AtomicU64,
) -> Option<T> {
    let mut work = pin!(work);
    let mut before = 0;
    loop {
        if let Ok(done) = time::timeout(timeout, &mut work).await {
            return Some(done);
        }
        let now = moved.load(Ordering::Relaxed);
        if now == before {
            return None;
        }
        before = now;
    }
}

/// Says in our words what went wrong. While connecting nothing of the request has been sent;
/// afterwards any of it may have been.
fn translate(error: &reqwest::Error, endpoint: &str) -> TransportError {
    if let Some(rejected) = stdx::tls::rejection(error) {
        // Alone: the layers around it only repeat it, in the form that `Debug` gives.
        let rejected = rejected.clone();
        return TransportError::new(Kind::Tls, Sent::No, endpoint).with_source(rejected);
    }
    if let Some(unread) = find(error, |cause| cause.downcast_ref::<TransportError>()) {
        // What the request's own body gave instead of its end; it can be told, not moved out.
        let why = unread.source().map(|source| stdx::Chain(source).to_string()).unwrap_or_default();
        return TransportError::new(unread.kind(), Sent::Maybe, endpoint).with_source(why);
    }
    let (kind, sent) = if error.is_connect() {
        let tls = finds(error, |cause| {
            // A server that speaks no TLS at all ends up here too.
            cause.is::<rustls::Error>()
        });
        (if tls { Kind::Tls } else { Kind::Connect }, Sent::No)
    } else if error.is_builder() {
        (Kind::Protocol, Sent::No)
    } else if error.is_timeout() {
        (Kind::Timeout, Sent::Maybe)
    } else if finds(error, is_closed) {
        (Kind::Closed, Sent::Maybe)
    } else {
        (Kind::Protocol, Sent::Maybe)
    };
    TransportError::new(kind, sent, endpoint).with_source(cause(error))
}

/// The cause in words, without the layers of the HTTP client that only say that a request failed.
fn cause(error: &(dyn StdError + 'static)) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        if !cause.is::<reqwest::Error>() && !cause.to_string().starts_with("client error (") {
            break;
        }
        cause = inner;
    }
    stdx::Chain(cause).to_string()
}

fn is_closed(cause: &(dyn StdError + 'static)) -> bool {
    if let Some(error) = cause.downcast_ref::<hyper::Error>() {
        return error.is_incomplete_message() || error.is_canceled() || error.is_closed();
    }
    cause.downcast_ref::<io::Error>().is_some_and(|error| {
        matches!(
            error.kind(),
            io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe
                | io::ErrorKind::UnexpectedEof
        )
    })
}

/// Whether any error of the chain is as asked.
fn finds(error: &(dyn StdError + 'static), is: impl Fn(&(dyn StdError + 'static)) -> bool) -> bool {
    find(error, |cause| is(cause).then_some(())).is_some()
}

/// The first of the chain that is as asked; what an `io::Error` wraps counts too.
fn find<'a, T>(
    error: &'a (dyn StdError + 'static),
    is: impl Fn(&'a (dyn StdError + 'static)) -> Option<T>,
) -> Option<T> {
    let mut next = Some(error);
    while let Some(cause) = next {
        if let Some(found) = is(cause) {
            return Some(found);
        }
        let wrapped = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = wrapped.map(|inner| inner as _).or_else(|| cause.source());
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_moves_is_waited_for_and_what_stands_still_is_not() {
        let (pause, moved) = (Duration::from_secs(20), AtomicU64::new(0));
        let slow = async {
            for _ in 0..5 {
                time::sleep(pause).await;
                moved.fetch_add(1, Ordering::Relaxed);
            }
        };
        assert!(while_it_moves(slow, Duration::from_secs(35), &moved).await.is_some());
        let (stuck, still) = (std::future::pending::<()>(), AtomicU64::new(0));
        let given_up = while_it_moves(stuck, Duration::from_secs(35), &still);
        let waited = time::timeout(Duration::from_mins(5), given_up);
        assert!(waited.await.expect("it gives up").is_none());
    }
}
