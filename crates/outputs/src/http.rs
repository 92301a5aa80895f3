//! One request to a service, its answer, and what the answer says about trying again.
//!
//! *Invariant:* an error names neither the address, which may be a secret, nor anything that was sent
//! with the request; what the service said is quoted without the secrets of the output.

use std::time::Duration;

use base64::Engine as _;
use event_core::{ComponentId, Retry, SinkError};
use http::{HeaderMap, HeaderValue, Method, header};
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use stdx::{
    Chain,
    http::{Client, limits::retry_after},
    redact::Redactor,
};
use url::Url;

use crate::{InvalidConfig, Kit};

/// How long one request may take, from the first byte sent to the last one read.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How much of an answer is read.
const MOST: usize = 256 * 1024;

/// What talks to one service.
pub(crate) struct Http {
    client: Client,
    /// Whom it serves: `tell \`ops\` over gotify`.
    what: String,
    redactor: Redactor,
}

/// A request.
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Option<String>,
}

/// What a service answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

// === impl Http ===

impl Http {
    /// For this output, whose secrets never stand in an error.
    pub(crate) fn new(
        id: &ComponentId,
        channel: &str,
        kit: &Kit,
        secrets: impl IntoIterator<Item = SecretString>,
    ) -> Self {
        Self {
            client: kit.client.clone(),
            what: format!("tell `{id}` over {channel}"),
            redactor: Redactor::default().with_values(secrets),
        }
    }

    /// Sends it and reads the answer, whatever its status is.
    pub(crate) async fn send(&self, request: Request) -> Result<Answer, SinkError> {
        let Request { method, url, headers, body } = request;
        let mut building = self.client.request(method, url).headers(headers).timeout(TIMEOUT);
        if let Some(body) = body {
            building = building.body(body);
        }
        let mut response = match building.send().await {
            Ok(response) => response,
            Err(error) => {
                let is_unsent = error.is_connect() || error.is_builder();
                return Err(self.broken(is_unsent, &error.without_url()));
            }
        };
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let mut body = Vec::new();
        while body.len() < MOST {
            match response.chunk().await {
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                Ok(None) => break,
                Err(error) => return Err(self.broken(false, &error.without_url())),
            }
        }
        body.truncate(MOST);
        let body = String::from_utf8_lossy(&body).into_owned();
        Ok(Answer { status, headers, body })
    }

    /// No answer came.
    fn broken(&self, is_unsent: bool, error: &(dyn std::error::Error + 'static)) -> SinkError {
        let why = Chain(error).to_string();
        let why = self.redactor.text(&why);
        if is_unsent {
            let said = format!("{}: no connection came about ({why})", self.what);
            return SinkError::new(Retry::Backoff, said);
        }
        let said = format!("{}: the answer was lost ({why})", self.what);
        SinkError::new(Retry::Backoff, said).maybe_sent()
    }

    /// The error for an answer that is no success, sorted by its status; `hint` says what to do
    /// about one that will never work.
    pub(crate) fn refused(&self, answer: &Answer, now: Timestamp, hint: &str) -> SinkError {
        let said = self.excerpt(&answer.body);
        let status = answer.status;
        let retry = sort(status, retry_after(&answer.headers, now));
        let error = match retry {
            Retry::Never => self.error(
                retry,
                &format!("it answered {status}{said}; it is not tried again: {hint}"),
            ),
            _ => self.error(retry, &format!("it answered {status}{said}")),
        };
        // A gateway that gave up may have passed it on.
        if matches!(status, 502 | 504) { error.maybe_sent() } else { error }
    }

    /// An error of this output.
    pub(crate) fn error(&self, retry: Retry, why: &str) -> SinkError {
        SinkError::new(retry, format!("{}: {why}", self.what))
    }

    /// What the service said, for an error: one line, without secrets.
    pub(crate) fn excerpt(&self, body: &str) -> String {
        let redacted = self.redactor.text(body);
        let line = stdx::untrusted::line(redacted.trim(), 200);
        if line.is_empty() { String::new() } else { format!(" ({line})") }
    }
}

// === impl Request ===

impl Request {
    pub(crate) fn new(method: Method, url: Url) -> Self {
        Self { method, url, headers: HeaderMap::new(), body: None }
    }

    /// With this header; a value that no header can hold is left out.
    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }

    /// With a secret header.
    pub(crate) fn secret(mut self, name: &'static str, value: &str) -> Self {
        if let Ok(mut value) = HeaderValue::from_str(value) {
            value.set_sensitive(true);
            self.headers.insert(name, value);
        }
        self
    }

    /// With a token.
    pub(crate) fn bearer(self, token: &SecretString) -> Self {
        self.secret("authorization", &format!("Bearer {}", token.expose_secret()))
    }

    /// With a user and password.
    pub(crate) fn basic(self, user: &str, password: &SecretString) -> Self {
        let pair = format!("{user}:{}", password.expose_secret());
        let pair = base64::engine::general_purpose::STANDARD.encode(pair);
        self.secret("authorization", &format!("Basic {pair}"))
    }

    /// With this JSON.
    pub(crate) fn json(self, body: &serde_json::Value) -> Self {
        self.text("application/json", body.to_string())
    }

    /// With this body.
    pub(crate) fn text(mut self, content_type: &'static str, body: String) -> Self {
        self.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        self.body = Some(body);
        self
    }
}

// === impl Answer ===

impl Answer {
    pub(crate) fn is_good(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The body as JSON; null if it is none.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }
}

/// The address that a setting gives.
pub(crate) fn url(output: &ComponentId, setting: &str, given: &str) -> Result<Url, InvalidConfig> {
    let wrong = || {
        let message = format!("`{setting}` is not an address: it takes https://… or http://…");
        InvalidConfig::new(output, message)
    };
    let url = Url::parse(given.trim()).map_err(|_| wrong())?;
    let is_http = matches!(url.scheme(), "http" | "https") && url.has_host();
    if is_http { Ok(url) } else { Err(wrong()) }
}

/// The address below `base`.
pub(crate) fn below(base: &Url, parts: &[&str]) -> Url {
    let mut url = base.clone();
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(parts);
    }
    url
}

/// Whether trying again can help, by the status of an answer.
///
/// What the request itself is to blame for stays as it is (4xx); a service that is busy, late or
/// broken is asked again, and not before it says.
pub(crate) fn sort(status: u16, after: Option<Duration>) -> Retry {
    match (status, after) {
        (429 | 503, Some(pause)) => Retry::After(pause),
        (408 | 425 | 429 | 500..=599, _) => Retry::Backoff,
        _ => Retry::Never,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_sorted_by_whether_trying_again_can_help() {
        for status in [400, 401, 403, 404, 405, 410, 413, 415, 422, 301, 308] {
            assert_eq!(sort(status, None), Retry::Never, "{status}");
        }
        for status in [408, 425, 429, 500, 502, 503, 504, 599] {
            assert_eq!(sort(status, None), Retry::Backoff, "{status}");
        }
        let pause = Duration::from_secs(7);
        assert_eq!(sort(429, Some(pause)), Retry::After(pause));
        assert_eq!(sort(503, Some(pause)), Retry::After(pause));
        assert_eq!(sort(500, Some(pause)), Retry::Backoff);
        assert_eq!(sort(404, Some(pause)), Retry::Never);
    }

    #[test]
    fn addresses_are_http_and_grow_below_their_path() {
        let id = "ops".parse().unwrap();
        for wrong in ["", "push.example.org", "ftp://x/y", "https://", "mailto:a@b"] {
            let said = url(&id, "server", wrong).unwrap_err().to_string();
            assert!(said.contains("`server` is not an address"), "{said}");
        }
        let base = url(&id, "server", "https://example.org/push/").unwrap();
        assert_eq!(
            below(&base, &["message", "a/b"]).as_str(),
            "https://example.org/push/message/a%2Fb"
        );
    }
}
