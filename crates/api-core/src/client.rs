//! Encodes requests, sends them and reads the answers.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use http::{HeaderValue, StatusCode, header};
use hyper::ext::ReasonPhrase;
use serde::{Deserialize, de::DeserializeOwned};
use tokio::time::{self, Instant};

use crate::{Body, Error, ErrorKind, Request, Sent, Transport, TransportError, TransportErrorKind};

/// The largest answer that a typed call takes: a big cluster's resource list is about 2 MiB.
const ANSWER_LIMIT: usize = 64 << 20;

/// How long an answer of a typed call may take to come in whole, unless the request says otherwise.
const ANSWER_DEADLINE: Duration = Duration::from_mins(1);

/// Tells from a status, the server's words and its words on each parameter what sort of failure it
/// is. The products put most causes into words, so each client brings its own.
pub type Classify = fn(status: u16, message: &str, params: &BTreeMap<String, String>) -> ErrorKind;

/// Runs requests over a transport. Cheap to clone.
#[derive(Clone)]
pub struct ApiClient {
    transport: Arc<dyn Transport>,
    classify: Classify,
}

/// A list and the count of all there is, where the server gives one.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// The rows.
    pub data: T,
    /// How many there are in all; absent when the server does not say.
    pub total: Option<u64>,
    /// The digest that stands beside some configurations.
    pub digest: Option<String>,
}

#[derive(Deserialize)]
struct Envelope<T> {
    data: T,
    total: Option<serde_json::Value>,
    digest: Option<String>,
}

#[derive(Deserialize)]
struct Refusal {
    message: Option<String>,
    errors: Option<BTreeMap<String, serde_json::Value>>,
}

// === impl ApiClient ===

impl ApiClient {
    /// A client over `transport`.
    pub fn new(transport: Arc<dyn Transport>, classify: Classify) -> Self {
        Self { transport, classify }
    }

    /// Sends the request and reads its `data`.
    pub async fn call<T: DeserializeOwned>(&self, request: Request<T>) -> Result<T, Error> {
        Ok(self.call_page(request).await?.data)
    }

    /// Sends the request and reads `data` with what stands beside it.
    pub async fn call_page<T: DeserializeOwned>(
        &self,
        request: Request<T>,
    ) -> Result<Page<T>, Error> {
        self.page(&request, encode(&request)).await
    }

    /// Sends the request with this body in place of its parameters, and reads its `data`. A body
    /// that streams is sent once: what goes wrong on the way is not tried anew elsewhere.
    pub async fn send_body<T: DeserializeOwned>(
        &self,
        request: Request<T>,
        content_type: HeaderValue,
        body: Body,
    ) -> Result<T, Error> {
        let mut message = encode(&request);
        message.headers_mut().insert(header::CONTENT_TYPE, content_type);
        *message.body_mut() = body;
        Ok(self.page(&request, message).await?.data)
    }

    /// Sends the request and gives the answer's bytes as they came.
    pub async fn call_bytes<T>(&self, request: Request<T>) -> Result<bytes::Bytes, Error> {
        self.bytes(&request, encode(&request)).await
    }

    /// Sends the request and gives the answer as it streams in; refusals are read and returned as
    /// errors.
    pub async fn open<T>(&self, request: Request<T>) -> Result<http::Response<Body>, Error> {
        self.answer(&request, encode(&request)).await
    }

    /// What the server has at a path of its own, beside the API, up to `limit` bytes.
    pub async fn document(&self, path: &'static str, limit: usize) -> Result<bytes::Bytes, Error> {
        let operation = format!("GET {path}");
        let mut message = http::Request::new(Body::empty());
        *message.uri_mut() = http::Uri::from_static(path);
        let response = match self.transport.send(message).await {
            Ok(response) if response.status().is_success() => response,
            Ok(response) => return Err(self.refusal(operation, response).await),
            Err(error) => return Err(Error::transport(operation, error)),
        };
        let collecting = response.into_body().collect(limit);
        let collected = match time::timeout(ANSWER_DEADLINE, collecting).await {
            Ok(collected) => collected,
            Err(_) => Err(TransportError::new(TransportErrorKind::Timeout, Sent::Maybe, "")),
        };
        collected.map_err(|error| Error::transport(operation, error))
    }

    /// The transport, for what is not a typed call (consoles).
    pub fn transport(&self) -> &Arc<dyn Transport> {
        &self.transport
    }

    async fn page<T: DeserializeOwned>(
        &self,
        request: &Request<T>,
        message: http::Request<Body>,
    ) -> Result<Page<T>, Error> {
        let bytes = self.bytes(request, message).await?;
        // A 200 with an empty body is how some calls say null.
        let text: &[u8] = if bytes.is_empty() { b"{\"data\":null}" } else { &bytes };
        let envelope: Envelope<T> = serde_json::from_slice(text).map_err(|error| {
            let reason = "the answer has another shape than expected";
            Error::new(ErrorKind::Decode, format!("{request:?}"), reason)
                .with_node(node_of(request))
                .with_source(error)
        })?;
        let total = envelope.total.and_then(|total| match total {
            serde_json::Value::Number(number) => number.as_u64(),
            serde_json::Value::String(text) => text.parse().ok(),
            _ => None,
        });
        Ok(Page { data: envelope.data, total, digest: envelope.digest })
    }

    async fn bytes<T>(
        &self,
        request: &Request<T>,
        message: http::Request<Body>,
    ) -> Result<bytes::Bytes, Error> {
        let end = Instant::now() + request.meta().deadline.unwrap_or(ANSWER_DEADLINE);
        let response = self.answer(request, message).await?;
        let collecting = response.into_body().collect(ANSWER_LIMIT);
        let collected = match time::timeout_at(end, collecting).await {
            Ok(collected) => collected,
            // A body that trickles in would otherwise never be too late.
            Err(_) => Err(TransportError::new(TransportErrorKind::Timeout, Sent::Maybe, "")),
        };
        collected.map_err(|error| {
            Error::transport(format!("{request:?}"), error).with_node(node_of(request))
        })
    }

    async fn answer<T>(
        &self,
        request: &Request<T>,
        message: http::Request<Body>,
    ) -> Result<http::Response<Body>, Error> {
        let operation = format!("{request:?}");
        let response = match self.transport.send(message).await {
            Ok(response) if response.status().is_success() => return Ok(response),
            Ok(response) => response,
            Err(error) => {
                return Err(Error::transport(operation, error).with_node(node_of(request)));
            }
        };
        Err(self.refusal(operation, response).await.with_node(node_of(request)))
    }

    async fn refusal(&self, operation: String, response: http::Response<Body>) -> Error {
        let status = response.status();
        let reason = reason(&response);
        // The body only adds to the reason phrase; one that cannot be read takes nothing away.
        let reading = response.into_body().collect(1 << 20);
        let body = time::timeout(Duration::from_secs(10), reading).await;
        let body = body.ok().and_then(Result::ok).unwrap_or_default();
        let (body_text, params) = read_refusal(&body);
        let message = match body_text {
            Some(text) if !text.is_empty() => text,
            _ => reason,
        };
        let kind = (self.classify)(status.as_u16(), &message, &params);
        Error::new(kind, operation, message).with_status(status.as_u16()).with_params(params)
    }
}

impl fmt::Debug for ApiClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiClient").finish_non_exhaustive()
    }
}

fn node_of<T>(request: &Request<T>) -> Option<String> {
    request.meta().node.as_ref().map(ToString::to_string)
}

/// The reason phrase as the server wrote it; the status's usual one if it wrote none.
fn reason(response: &http::Response<Body>) -> String {
    let written = response.extensions().get::<ReasonPhrase>();
    match written {
        Some(phrase) => String::from_utf8_lossy(phrase.as_bytes()).trim().to_owned(),
        None => canonical(response.status()),
    }
}

fn canonical(status: StatusCode) -> String {
    status.canonical_reason().unwrap_or_default().to_owned()
}

/// Reads a refusal's body: PVE's JSON with `message` and `errors`, or plain text, which PBS sends
/// under a JSON content type.
fn read_refusal(body: &[u8]) -> (Option<String>, BTreeMap<String, String>) {
    if let Ok(refusal) = serde_json::from_slice::<Refusal>(body) {
        let params = refusal.errors.unwrap_or_default().into_iter();
        let params = params.map(|(name, problem)| match problem {
            serde_json::Value::String(text) => (name, text),
            other => (name, other.to_string()),
        });
        return (refusal.message.map(|m| m.trim().to_owned()), params.collect());
    }
    let text = String::from_utf8_lossy(body).trim().to_owned();
    // An HTML page comes from a proxy between us and the server, and explains nothing.
    let text = (!text.starts_with('<')).then_some(text);
    (text, BTreeMap::new())
}

fn encode<T>(request: &Request<T>) -> http::Request<Body> {
    let mut out = http::Request::new(Body::empty());
    *out.method_mut() = request.method().clone();
    *out.uri_mut() = format!("/api2/json{}", request.uri())
        .parse()
        .expect("an escaped path and query are a valid URI");
    out.headers_mut().insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    if request.takes_body() && !request.parameters().is_empty() {
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        out.headers_mut().insert(header::CONTENT_TYPE, form);
        *out.body_mut() = request.parameters().encode().into();
    }
    out.extensions_mut().insert(request.meta().clone());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_read_in_both_products_forms() {
        let body = br#"{"data":null,"errors":{"vmid":"type check"},"message":"Parameter verification failed.\n"}"#;
        let (message, params) = read_refusal(body);
        assert_eq!(message.as_deref(), Some("Parameter verification failed."));
        assert_eq!(params["vmid"], "type check");
        assert_eq!(
            read_refusal(b"no such datastore 'x'").0.as_deref(),
            Some("no such datastore 'x'")
        );
        assert_eq!(read_refusal(b"").0.as_deref(), Some(""));
        assert_eq!(read_refusal(b"<html>Bad Gateway</html>").0, None);
    }
}
