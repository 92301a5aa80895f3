//! A client that makes HTTP requests by hand and reads what comes back, event by event.

use bytes::Bytes;
use futures::FutureExt as _;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use mcp_protocol::http::{HttpBody, HttpOptions, HttpService};
use mcp_protocol::{App, Caller};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::client::MODERN;

/// One user of an endpoint in this process.
#[derive(Clone)]
pub(crate) struct Http {
    pub(crate) service: HttpService,
    pub(crate) app: App,
    pub(crate) subject: &'static str,
    pub(crate) headers: HeaderMap,
    pub(crate) shutdown: CancellationToken,
}

/// What came back.
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    body: HttpBody,
    text: String,
}

impl Http {
    pub(crate) fn new(app: App) -> Self {
        Self::with(app, HttpOptions::default())
    }

    pub(crate) fn with(app: App, options: HttpOptions) -> Self {
        let shutdown = CancellationToken::new();
        let service = HttpService::new(options, shutdown.clone());
        let mut headers = HeaderMap::new();
        headers.insert("host", "localhost:8808".parse().unwrap());
        headers.insert("content-type", "application/json".parse().unwrap());
        headers.insert("accept", "application/json, text/event-stream".parse().unwrap());
        Self { service, app, subject: "token:a", headers, shutdown }
    }

    /// The same endpoint for another user.
    pub(crate) fn as_subject(&self, subject: &'static str) -> Self {
        Self { subject, ..self.clone() }
    }

    /// With a header set, or removed if the value is empty.
    pub(crate) fn header(&self, name: &'static str, value: &str) -> Self {
        let mut other = self.clone();
        if value.is_empty() {
            other.headers.remove(name);
        } else {
            other.headers.insert(name, value.parse().unwrap());
        }
        other
    }

    pub(crate) async fn send(&self, method: Method, body: impl Into<Bytes>) -> Reply {
        let mut request = Request::new(Full::new(body.into()));
        *request.method_mut() = method;
        *request.uri_mut() = "/mcp".parse().unwrap();
        request.headers_mut().clone_from(&self.headers);
        let response = self.service.handle(&self.app, Caller::new(self.subject), request).await;
        Reply::new(response)
    }

    pub(crate) async fn post(&self, message: Value) -> Reply {
        self.send(Method::POST, message.to_string()).await
    }

    pub(crate) async fn get(&self) -> Reply {
        self.send(Method::GET, Bytes::new()).await
    }

    /// A modern request whose headers say what they should.
    pub(crate) async fn modern(&self, method: &str, params: Value) -> Reply {
        self.modern_as(method, params, json!({})).await
    }

    pub(crate) async fn modern_as(
        &self,
        method: &str,
        params: Value,
        capabilities: Value,
    ) -> Reply {
        let (client, message) = self.prepare(method, params, capabilities);
        client.post(message).await
    }

    pub(crate) fn prepare(
        &self,
        method: &str,
        mut params: Value,
        capabilities: Value,
    ) -> (Self, Value) {
        params["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!(MODERN);
        params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = capabilities;
        let name = params.get("name").or(params.get("uri")).or(params.get("taskId"));
        let name = name.and_then(Value::as_str).unwrap_or_default();
        let client = self
            .header("mcp-protocol-version", MODERN)
            .header("mcp-method", method)
            .header("mcp-name", name);
        let message = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        (client, message)
    }

    /// A session in an older revision.
    pub(crate) async fn session(&self, version: &str, capabilities: Value) -> Self {
        let reply = self.post(initialize(version, capabilities)).await;
        assert_eq!(reply.status, StatusCode::OK);
        let id = reply.headers["mcp-session-id"].to_str().unwrap().to_owned();
        let client = self.header("mcp-session-id", &id).header("mcp-protocol-version", version);
        let reply =
            client.post(json!({ "jsonrpc": "2.0", "method": "notifications/initialized" })).await;
        assert_eq!(reply.status, StatusCode::ACCEPTED);
        client
    }

    pub(crate) async fn request(&self, id: i64, method: &str, params: Value) -> Reply {
        self.post(json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })).await
    }
}

pub(crate) fn initialize(version: &str, capabilities: Value) -> Value {
    json!({
        "jsonrpc": "2.0", "id": 0, "method": "initialize",
        "params": {
            "protocolVersion": version,
            "capabilities": capabilities,
            "clientInfo": { "name": "test", "version": "1" },
        },
    })
}

impl Reply {
    fn new(response: Response<HttpBody>) -> Self {
        let (parts, body) = response.into_parts();
        Self { status: parts.status, headers: parts.headers, body, text: String::new() }
    }

    pub(crate) fn is_stream(&self) -> bool {
        self.headers.get("content-type").is_some_and(|kind| kind == "text/event-stream")
    }

    /// The next event or comment of a stream, as it stands; `None` at its end.
    pub(crate) async fn raw_event(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.text.find("\n\n") {
                let event = self.text[..end].to_owned();
                self.text.drain(..end + 2);
                return Some(event);
            }
            let frame = self.body.frame().await?.unwrap().into_data().unwrap();
            self.text.push_str(std::str::from_utf8(&frame).unwrap());
        }
    }

    /// The next message of a stream.
    pub(crate) async fn event(&mut self) -> Value {
        loop {
            let event = self.raw_event().await.expect("the stream has not ended");
            let data = event.lines().find_map(|line| line.strip_prefix("data: "));
            if let Some(data) = data.filter(|data| !data.is_empty()) {
                return serde_json::from_str(data).unwrap();
            }
        }
    }

    /// Whether nothing is there to be read now.
    pub(crate) fn is_silent(&mut self) -> bool {
        self.text.is_empty() && self.body.frame().now_or_never().is_none()
    }

    /// The answer, whichever way it comes.
    pub(crate) async fn answer(mut self) -> Value {
        if self.is_stream() {
            loop {
                let event = self.event().await;
                if event.get("method").is_none() {
                    return event;
                }
            }
        }
        let whole = self.body.collect().await.unwrap().to_bytes();
        serde_json::from_slice(&whole).unwrap_or(Value::Null)
    }
}
