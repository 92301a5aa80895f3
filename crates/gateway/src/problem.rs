//! An error as REST clients get it: a problem document (RFC 9457) with a hint what to do.

use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use mcp_protocol::JsonObject;
use serde_json::{Value, json};

use crate::auth::AuthFailure;

/// Every kind of problem: the last part of its `type`, its status and its title.
macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $word:literal, $status:ident, $title:literal;)+) => {
        /// What kind of problem it is.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Kind {
            $($(#[$doc])* $name,)+
        }

        impl Kind {
            /// Every kind, for the description of the API.
            pub(crate) const ALL: &[Self] = &[$(Self::$name),+];

            /// The word at the end of the `type`.
            pub(crate) fn word(self) -> &'static str {
                match self { $(Self::$name => $word,)+ }
            }

            /// The status of the answer.
            pub(crate) fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status,)+ }
            }

            /// A few words, the same every time.
            pub(crate) fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)+ }
            }
        }
    };
}

kinds! {
    /// A body that is no JSON object.
    Malformed = "malformed", BAD_REQUEST, "the request cannot be read";
    /// Arguments that do not fit the tool's schema.
    Arguments = "invalid-arguments", BAD_REQUEST, "the arguments do not fit the tool";
    /// A name that fits several things.
    Ambiguous = "ambiguous", BAD_REQUEST, "several things go by that name";
    /// Credentials put where none are taken.
    Credentials = "credentials", BAD_REQUEST, "the credentials cannot be taken this way";
    /// No credentials, or not good ones.
    Unauthenticated = "unauthenticated", UNAUTHORIZED, "authentication is needed";
    /// A host or origin that is not allowed.
    Doors = "not-allowed-here", FORBIDDEN, "requests by that name or from that page are not taken";
    /// The server's mode or the caller's scope forbids it.
    Forbidden = "forbidden", FORBIDDEN, "that is not allowed";
    /// There is nothing at this path.
    NoRoute = "no-such-path", NOT_FOUND, "there is nothing at this path";
    /// There is no tool of this name for this caller.
    NoTool = "no-such-tool", NOT_FOUND, "there is no tool of this name";
    /// There is no job of this id for this caller.
    NoJob = "no-such-job", NOT_FOUND, "there is no job of this id";
    /// The estate does not have what was named.
    NotFound = "not-found", NOT_FOUND, "the estate does not have it";
    /// Another method is needed.
    Method = "method", METHOD_NOT_ALLOWED, "this path takes another method";
    /// The body took too long.
    Slow = "too-slow", REQUEST_TIMEOUT, "the request took too long to arrive";
    /// A person has to agree first.
    Consent = "consent-needed", CONFLICT, "a person has to agree first";
    /// The body is too large.
    TooLarge = "too-large", PAYLOAD_TOO_LARGE, "the request is too large";
    /// The body is not JSON.
    MediaType = "media-type", UNSUPPORTED_MEDIA_TYPE, "the body has to be JSON";
    /// Too many requests, or too many failed attempts.
    RateLimited = "rate-limited", TOO_MANY_REQUESTS, "too many requests";
    /// A fault in this server.
    Internal = "internal", INTERNAL_SERVER_ERROR, "a fault in this server";
    /// The tool ran and failed.
    ToolFailed = "tool-failed", BAD_GATEWAY, "the tool failed";
    /// The credentials cannot be checked now.
    Unavailable = "unavailable", SERVICE_UNAVAILABLE, "not now";
    /// What the tool needs did not answer.
    Unreachable = "unreachable", GATEWAY_TIMEOUT, "a part of the estate did not answer";
}

/// What goes before the word in a problem's `type`.
pub(crate) const TYPE: &str = "urn:proxmox-mcp:problem:";

/// A problem document in the making. Small to hand around, as an error should be.
#[derive(Debug)]
pub(crate) struct Problem(Box<Parts>);

#[derive(Debug)]
struct Parts {
    kind: Kind,
    title: &'static str,
    detail: String,
    hint: Option<String>,
    more: JsonObject,
    headers: Vec<(http::HeaderName, HeaderValue)>,
}

// === impl Problem ===

impl Problem {
    /// A problem of this kind, with what is the matter this time.
    pub(crate) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        let (title, detail) = (kind.title(), detail.into());
        let (more, headers) = (JsonObject::new(), Vec::new());
        Self(Box::new(Parts { kind, title, detail, hint: None, more, headers }))
    }

    /// What to do about it.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// A further member.
    pub(crate) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.more.insert(name.to_owned(), value.into());
        self
    }

    /// Too many requests: again after this long.
    pub(crate) fn rate_limited(detail: &str, after: Duration) -> Self {
        let secs = after.as_secs() + u64::from(after.subsec_nanos() > 0);
        let mut problem = Self::new(Kind::RateLimited, detail)
            .hint(format!("try again in {} s, as Retry-After says", secs.max(1)));
        problem.0.headers.push((RETRY_AFTER, HeaderValue::from(secs.max(1))));
        problem
    }

    /// A method that the path does not take; `allow` names those that it does.
    pub(crate) fn method(allow: &'static str) -> Self {
        let mut problem = Self::new(Kind::Method, format!("this path takes {allow}"));
        problem.0.headers.push((ALLOW, HeaderValue::from_static(allow)));
        problem
    }

    /// A request that authentication did not let in.
    pub(crate) fn auth(failure: &AuthFailure) -> Self {
        let kind = match failure.status() {
            StatusCode::BAD_REQUEST => Kind::Credentials,
            StatusCode::UNAUTHORIZED => Kind::Unauthenticated,
            StatusCode::FORBIDDEN => Kind::Forbidden,
            _ => Kind::Unavailable,
        };
        let mut problem = Self::new(kind, failure.detail());
        problem.0.title = failure.title();
        if let Some(challenge) = failure.challenge() {
            problem.0.headers.push((WWW_AUTHENTICATE, challenge));
        }
        if let Some(after) = failure.retry_after_secs() {
            problem.0.headers.push((RETRY_AFTER, HeaderValue::from(after)));
        }
        problem
    }
}

impl Parts {
    fn document(&self) -> Value {
        let mut document = json!({
            "type": format!("{TYPE}{}", self.kind.word()),
            "title": self.title,
            "status": self.kind.status().as_u16(),
            "detail": self.detail,
        });
        if let Some(hint) = &self.hint {
            document["hint"] = json!(hint);
        }
        for (name, value) in &self.more {
            document[name] = value.clone();
        }
        document
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.0.document().to_string()));
        *response.status_mut() = self.0.kind.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.extend(self.0.headers.into_iter().map(|(name, value)| (Some(name), value)));
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_stands_for_one_kind() {
        for (index, kind) in Kind::ALL.iter().enumerate() {
            assert!(Kind::ALL[..index].iter().all(|other| other.word() != kind.word()), "{kind:?}");
            assert!(kind.status().is_client_error() || kind.status().is_server_error());
        }
    }

    #[test]
    fn a_moment_is_a_second() {
        let problem = Problem::rate_limited("slowly", Duration::from_millis(10));
        assert_eq!(problem.0.headers, [(RETRY_AFTER, HeaderValue::from(1))]);
        let problem = Problem::rate_limited("slowly", Duration::from_millis(2001));
        assert_eq!(problem.0.headers, [(RETRY_AFTER, HeaderValue::from(3))]);
    }
}
