//! Answers of the endpoint itself.

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use serde_json::{Value, json};

use super::body::HttpBody;

pub(crate) const JSON: &str = "application/json";
pub(crate) const EVENTS: &str = "text/event-stream";
pub(crate) const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");

/// nginx collects answers before it passes them on, unless it is told not to.
const BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// An answer without a body.
pub(crate) fn empty(status: StatusCode) -> Response<HttpBody> {
    let mut response = Response::new(HttpBody::empty());
    *response.status_mut() = status;
    response
}

/// A JSON document.
pub(crate) fn json(status: StatusCode, body: impl Into<Bytes>) -> Response<HttpBody> {
    let mut response = Response::new(HttpBody::whole(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
    response
}

/// A stream of events.
pub(crate) fn events(body: HttpBody) -> Response<HttpBody> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(EVENTS));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform"));
    headers.insert(BUFFERING, HeaderValue::from_static("no"));
    response
}

/// An error of the protocol.
pub(crate) fn error(
    status: StatusCode,
    id: &Value,
    code: i32,
    message: &str,
    data: Option<Value>,
) -> Response<HttpBody> {
    let mut error = json!({ "code": code, "message": message });
    if let Some(data) = data {
        error["data"] = data;
    }
    let body = json!({ "jsonrpc": "2.0", "id": id, "error": error });
    json(status, body.to_string())
}

/// An error of the transport. Its code is the status, which is outside of what JSON-RPC reserves.
pub(crate) fn refusal(status: StatusCode, id: &Value, message: &str) -> Response<HttpBody> {
    error(status, id, i32::from(status.as_u16()), message, None)
}

/// The method is not for this endpoint.
pub(crate) fn not_allowed(allowed: &'static str) -> Response<HttpBody> {
    let message = format!("this endpoint takes {allowed}");
    let mut response = refusal(StatusCode::METHOD_NOT_ALLOWED, &Value::Null, &message);
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

/// Later may be better.
pub(crate) fn retry_after(mut response: Response<HttpBody>, seconds: u32) -> Response<HttpBody> {
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    response
}
