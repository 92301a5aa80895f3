//! Why a request was not let in: status, challenge and words, ready to be sent.

use std::time::Duration;

use http::{HeaderValue, StatusCode};

/// A request that is not let in.
///
/// The words are for the caller and hold nothing of the credential. The answer to it is a problem
/// document (RFC 9457) of [`title`](Self::title) and [`detail`](Self::detail) with the status, the
/// challenge as `WWW-Authenticate` and, where there is one, `Retry-After`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{title}: {detail}")]
pub struct AuthFailure {
    reason: Reason,
    title: &'static str,
    detail: String,
    challenge: Option<Challenge>,
    retry_after: Option<Duration>,
}

/// What kind of failure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// No credential at all: 401.
    Missing,
    /// Credentials where or how none are taken: 400.
    BadRequest,
    /// A credential that is not good (any more): 401.
    Invalid,
    /// A good credential that may not do this: 403.
    Scope,
    /// Whoever could tell is not to be reached, or has too much to do: 503.
    Unavailable,
}

/// A `WWW-Authenticate` value in the making (RFC 6750, RFC 9728).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Challenge {
    /// Where the metadata of the protected resource is; `None` without OAuth.
    pub(super) metadata: Option<String>,
    /// The OAuth scopes that are needed, all of them.
    pub(super) scopes: Vec<String>,
}

// === impl AuthFailure ===

impl AuthFailure {
    pub(super) fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self {
            reason,
            title: reason.title(),
            detail: detail.into(),
            challenge: None,
            retry_after: None,
        }
    }

    /// With the challenge that answers of this kind carry; those without a say stay without.
    #[must_use]
    pub(super) fn challenged(mut self, challenge: Challenge) -> Self {
        self.challenge = (self.reason != Reason::Unavailable).then_some(challenge);
        self
    }

    /// With the time after which another attempt has a chance.
    #[must_use]
    pub(super) fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// What kind of failure it is.
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        self.reason.status()
    }

    /// A few words, the same for each failure of the kind.
    pub fn title(&self) -> &'static str {
        self.title
    }

    /// What is the matter and what to do about it.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// The value of `WWW-Authenticate`, where the answer has one.
    pub fn challenge(&self) -> Option<HeaderValue> {
        let challenge = self.challenge.as_ref()?;
        let mut parts = Vec::new();
        if let Some(error) = self.reason.error_code() {
            parts.push(parameter("error", error));
            parts.push(parameter("error_description", &self.detail));
        }
        if !challenge.scopes.is_empty() {
            parts.push(parameter("scope", &challenge.scopes.join(" ")));
        }
        if let Some(metadata) = &challenge.metadata {
            parts.push(parameter("resource_metadata", metadata));
        }
        if parts.is_empty() {
            parts.push(parameter("realm", "proxmox-mcp"));
        }
        HeaderValue::from_str(&format!("Bearer {}", parts.join(", "))).ok()
    }

    /// The value of `Retry-After`, in seconds, where the answer has one.
    pub fn retry_after_secs(&self) -> Option<u64> {
        self.retry_after.map(|after| after.as_secs().max(1))
    }
}

// === impl Reason ===

impl Reason {
    /// The status of an answer that says so.
    pub fn status(self) -> StatusCode {
        match self {
            Self::Missing | Self::Invalid => StatusCode::UNAUTHORIZED,
            Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::Scope => StatusCode::FORBIDDEN,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The error code of RFC 6750; none where no credential was shown.
    pub fn error_code(self) -> Option<&'static str> {
        match self {
            Self::Missing | Self::Unavailable => None,
            Self::BadRequest => Some("invalid_request"),
            Self::Invalid => Some("invalid_token"),
            Self::Scope => Some("insufficient_scope"),
        }
    }

    /// The word for logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::BadRequest => "bad_request",
            Self::Invalid => "invalid",
            Self::Scope => "scope",
            Self::Unavailable => "unavailable",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Missing => "authentication is needed",
            Self::BadRequest => "the credentials cannot be taken this way",
            Self::Invalid => "the credentials are not valid",
            Self::Scope => "the credentials do not reach that far",
            Self::Unavailable => "the credentials cannot be checked now",
        }
    }
}

/// One parameter of the challenge. Inside the quotes RFC 6750 takes printable ASCII without `"` and
/// `\`; what is something else becomes a quote or a question mark.
fn parameter(name: &str, value: &str) -> String {
    let value = value.replace('…', "...");
    let plain = value.chars().map(|c| match c {
        '"' | '`' => '\'',
        ' '..='~' if c != '\\' => c,
        _ => '?',
    });
    format!("{name}=\"{}\"", plain.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use std::fmt::Write as _;

    #[test]
    fn each_kind_as_it_goes_out() {
        let challenge = Challenge {
            metadata: Some("https://mcp.example/.well-known/oauth-protected-resource/mcp".into()),
            scopes: vec!["proxmox.read".into(), "proxmox.operate".into()],
        };
        let mut table = String::new();
        for reason in [
            Reason::Missing,
            Reason::BadRequest,
            Reason::Invalid,
            Reason::Scope,
            Reason::Unavailable,
        ] {
            let failure = AuthFailure::new(reason, "`x` is\n\"not\" gööd\\");
            let (bare, full) = (
                failure.clone().challenged(Challenge::default()),
                failure.challenged(challenge.clone()),
            );
            for failure in [bare, full] {
                let (status, header) = (failure.status(), failure.challenge());
                let header = header.as_ref().map_or("-", |it| it.to_str().unwrap());
                writeln!(table, "{} {header}", status.as_u16()).unwrap();
            }
        }
        expect![[r#"
            401 Bearer realm="proxmox-mcp"
            401 Bearer scope="proxmox.read proxmox.operate", resource_metadata="https://mcp.example/.well-known/oauth-protected-resource/mcp"
            400 Bearer error="invalid_request", error_description="'x' is?'not' g??d?"
            400 Bearer error="invalid_request", error_description="'x' is?'not' g??d?", scope="proxmox.read proxmox.operate", resource_metadata="https://mcp.example/.well-known/oauth-protected-resource/mcp"
            401 Bearer error="invalid_token", error_description="'x' is?'not' g??d?"
            401 Bearer error="invalid_token", error_description="'x' is?'not' g??d?", scope="proxmox.read proxmox.operate", resource_metadata="https://mcp.example/.well-known/oauth-protected-resource/mcp"
            403 Bearer error="insufficient_scope", error_description="'x' is?'not' g??d?"
            403 Bearer error="insufficient_scope", error_description="'x' is?'not' g??d?", scope="proxmox.read proxmox.operate", resource_metadata="https://mcp.example/.well-known/oauth-protected-resource/mcp"
            503 -
            503 -
        "#]].assert_eq(&table);
    }
}
