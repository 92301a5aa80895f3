//! Reading a request's body: JSON, of bounded size, in bounded time.

use axum::body::Body;
use axum::extract::Request;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http_body::Body as _;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use mcp_protocol::JsonObject;
use serde_json::Value;

use crate::options::Options;
use crate::problem::{Kind, Problem};

/// The whole body.
pub(crate) async fn read(body: Body, options: &Options) -> Result<Bytes, Problem> {
    let most = options.max_body_bytes;
    let too_large = || {
        let detail = format!("the body is larger than {most} bytes");
        let hint = "the operator sets the limit in http.max_body_bytes";
        Problem::new(Kind::TooLarge, detail).hint(hint)
    };
    // What is announced need not be waited for.
    if body.size_hint().lower() > most as u64 {
        return Err(too_large());
    }
    let read = Limited::new(body, most).collect();
    let read = tokio::time::timeout(options.body_timeout, read).await.map_err(|_| {
        let secs = options.body_timeout.as_secs();
        Problem::new(Kind::Slow, format!("the body was not there after {secs} s"))
    })?;
    match read {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
        Err(_) => Err(Problem::new(Kind::Malformed, "the body broke off")),
    }
}

/// The JSON object in the body; an empty body is an empty object.
pub(crate) async fn object(request: Request, options: &Options) -> Result<JsonObject, Problem> {
    let is_json =
        request.headers().get(CONTENT_TYPE).map(|given| given.to_str().is_ok_and(is_json));
    let bytes = read(request.into_body(), options).await?;
    if bytes.trim_ascii().is_empty() {
        return Ok(JsonObject::new());
    }
    if is_json == Some(false) {
        let detail = "the body is not declared as JSON";
        let hint = "send the arguments as a JSON object with Content-Type: application/json";
        return Err(Problem::new(Kind::MediaType, detail).hint(hint));
    }
    match serde_json::from_slice(&bytes) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(Problem::new(Kind::Malformed, "the body is JSON, but not an object")
            .hint("send the arguments as {\"name\": value, …}")),
        Err(error) => Err(Problem::new(Kind::Malformed, format!("the body is not JSON: {error}"))),
    }
}

fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
        || essence.to_ascii_lowercase().ends_with("+json")
}
