//! A body that is one JSON-RPC message, and the statuses that go with the errors it may get.

use http::StatusCode;
use serde_json::Value;

use super::{
    HEADER_MISMATCH, INVALID_PARAMS, INVALID_REQUEST, METHOD_NOT_FOUND, MISSING_CAPABILITY,
    PARSE_ERROR, Reply, UNSUPPORTED_VERSION, VERSION_KEY,
};
use crate::JsonObject;
use crate::adapter::incoming;
use crate::http::reply;

/// A body that is one JSON-RPC message.
pub(super) struct Message {
    pub(super) value: Value,
    pub(super) id: Value,
    pub(super) method: Option<String>,
}

// === impl Message ===

impl Message {
    pub(super) fn parse(body: &[u8]) -> Result<Self, Box<Reply>> {
        let bad = |code: i32, text: &str| {
            Box::new(reply::error(StatusCode::BAD_REQUEST, &Value::Null, code, text, None))
        };
        let value: Value = serde_json::from_slice(body)
            .map_err(|error| bad(PARSE_ERROR, &format!("the body is not JSON: {error}")))?;
        if value.is_array() {
            return Err(bad(
                INVALID_REQUEST,
                "batches are not supported; send one message per request",
            ));
        }
        if !value.is_object() {
            return Err(bad(INVALID_REQUEST, "a message is a JSON object"));
        }
        let id = value.get("id").filter(|id| incoming::is_id(id)).cloned().unwrap_or(Value::Null);
        let method = value.get("method").and_then(Value::as_str).map(str::to_owned);
        Ok(Self { value, id, method })
    }

    /// A request or a notification, as opposed to an answer.
    pub(super) fn is_call(&self) -> bool {
        self.value.get("method").is_some()
    }

    pub(super) fn is_request(&self) -> bool {
        self.is_call() && self.value.get("id").is_some()
    }

    /// Whether this begins a session. With the modern metadata and without a version of its own it is only a method that
    /// the modern era does not have.
    pub(super) fn is_initialize(&self) -> bool {
        let asks = self.value.pointer("/params/protocolVersion").is_some();
        self.method.as_deref() == Some("initialize") && (asks || self.meta(VERSION_KEY).is_none())
    }

    pub(super) fn meta(&self, key: &str) -> Option<&Value> {
        self.value.get("params")?.get("_meta")?.get(key)
    }

    /// The tool that is called.
    pub(super) fn tool(&self) -> Option<&str> {
        let called = self.method.as_deref() == Some("tools/call");
        called.then(|| self.value.pointer("/params/name")?.as_str()).flatten()
    }
}

/// The status for a message that could not be passed on: a request that can be answered is answered as any other.
pub(super) fn status_of_read(body: &[u8]) -> StatusCode {
    let reply: JsonObject = serde_json::from_slice(body).unwrap_or_default();
    let code = reply.get("error").and_then(|error| error.get("code")).and_then(Value::as_i64);
    match code {
        Some(code) if code == i64::from(INVALID_PARAMS) => StatusCode::OK,
        _ => StatusCode::BAD_REQUEST,
    }
}

/// The status for an error that a modern request is answered with. `complete` says whether its metadata was.
pub(super) fn status_of(code: i32, complete: bool) -> StatusCode {
    match code {
        HEADER_MISMATCH | MISSING_CAPABILITY | UNSUPPORTED_VERSION => StatusCode::BAD_REQUEST,
        INVALID_PARAMS if !complete => StatusCode::BAD_REQUEST,
        METHOD_NOT_FOUND => StatusCode::NOT_FOUND,
        _ => StatusCode::OK,
    }
}
