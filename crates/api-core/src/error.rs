//! The one error of an API call.

use std::{collections::BTreeMap, error::Error as StdError, fmt};

use crate::{Sent, TransportError, TransportErrorKind};

/// Why a call got no usable answer.
///
/// `Display` says which call and, for refusals, the server's own words; the cause below it is the
/// source. Parameters and credentials never appear.
pub struct Error(Box<Inner>);

struct Inner {
    operation: String,
    kind: ErrorKind,
    status: Option<u16>,
    message: String,
    params: BTreeMap<String, String>,
    node: Option<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// What sort of failure it is, whatever words the server chose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A parameter is wrong: see [`Error::params`]. Or the file that was to be uploaded could not be
    /// read.
    Parameter,
    /// The credentials were refused.
    Unauthorized,
    /// The credentials lack a privilege.
    PermissionDenied,
    /// What was named does not exist.
    NotFound,
    /// What was to be made exists.
    AlreadyExists,
    /// A lock, a running task or a running guest is in the way.
    Busy,
    /// Somebody changed it meanwhile: the digest does not fit.
    Conflict,
    /// The cluster has no quorum.
    NoQuorum,
    /// This server does not have the call: older version, or wrong path.
    NotImplemented,
    /// The node that should do the work could not be reached (595), timed out (596) or redirected
    /// without end (599), as told by the node that was asked.
    NodeUnreachable,
    /// No endpoint could be reached.
    Unreachable,
    /// The certificate is not the expected one.
    Tls,
    /// It took too long.
    Timeout,
    /// The server failed otherwise.
    Server,
    /// The answer could not be read.
    Decode,
}

// === impl Error ===

impl Error {
    /// An error of the given kind, met while doing `operation` (such as `GET /version`).
    pub fn new(kind: ErrorKind, operation: impl Into<String>, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            operation: operation.into(),
            kind,
            status: None,
            message: message.into(),
            params: BTreeMap::new(),
            node: None,
            source: None,
        }))
    }

    /// An error from the wire.
    pub fn transport(operation: impl Into<String>, error: TransportError) -> Self {
        let kind = match error.kind() {
            TransportErrorKind::Connect | TransportErrorKind::Closed => ErrorKind::Unreachable,
            TransportErrorKind::Tls => ErrorKind::Tls,
            TransportErrorKind::Timeout => ErrorKind::Timeout,
            TransportErrorKind::RequestBody => ErrorKind::Parameter,
            TransportErrorKind::TooLarge | TransportErrorKind::Protocol => ErrorKind::Decode,
        };
        Self::new(kind, operation, "").with_source(error)
    }

    /// Adds the HTTP status.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.0.status = Some(status);
        self
    }

    /// Adds what is wrong with each parameter.
    #[must_use]
    pub fn with_params(mut self, params: BTreeMap<String, String>) -> Self {
        self.0.params = params;
        self
    }

    /// Adds the node that the request concerned.
    #[must_use]
    pub fn with_node(mut self, node: Option<String>) -> Self {
        self.0.node = node;
        self
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// What sort of failure it is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The call: method and path.
    pub fn operation(&self) -> &str {
        &self.0.operation
    }

    /// The HTTP status, if an answer came.
    pub fn status(&self) -> Option<u16> {
        self.0.status
    }

    /// The server's own words; empty if no answer came.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// What is wrong with each parameter, by name.
    pub fn params(&self) -> &BTreeMap<String, String> {
        &self.0.params
    }

    /// The node that the request concerned, if it named one.
    pub fn node(&self) -> Option<&str> {
        self.0.node.as_deref()
    }

    /// Whether what was named does not exist.
    pub fn is_not_found(&self) -> bool {
        self.0.kind == ErrorKind::NotFound
    }

    /// Whether a privilege is missing.
    pub fn is_permission_denied(&self) -> bool {
        self.0.kind == ErrorKind::PermissionDenied
    }

    /// Whether the other side could not be reached at all, directly or through another node.
    pub fn is_unreachable(&self) -> bool {
        matches!(
            self.0.kind,
            ErrorKind::Unreachable | ErrorKind::NodeUnreachable | ErrorKind::Timeout
        )
    }

    /// Whether the same call may work a little later.
    pub fn is_retryable(&self) -> bool {
        self.is_unreachable() || matches!(self.0.kind, ErrorKind::Busy | ErrorKind::NoQuorum)
    }

    /// Whether the work may have begun although no proper answer came: do not send it again
    /// without looking.
    pub fn may_have_run(&self) -> bool {
        let transport = self.0.source.as_deref().and_then(|s| s.downcast_ref::<TransportError>());
        match transport {
            Some(error) => error.sent() == Sent::Maybe,
            None => self.0.status == Some(596),
        }
    }

    /// The transport's error, if the failure was on the way.
    pub fn as_transport(&self) -> Option<&TransportError> {
        self.0.source.as_deref().and_then(|source| source.downcast_ref())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.0;
        f.write_str(&inner.operation)?;
        match (inner.status, inner.message.is_empty()) {
            (Some(status), true) => write!(f, ": status {status}")?,
            (Some(status), false) => write!(f, ": {} (status {status})", inner.message)?,
            (None, false) => write!(f, ": {}", inner.message)?,
            (None, true) => {}
        }
        for (name, problem) in &inner.params {
            let problem = problem.trim().replace('\n', "; ");
            write!(f, "; {name}: {problem}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("operation", &self.0.operation)
            .field("kind", &self.0.kind)
            .field("status", &self.0.status)
            .field("message", &self.0.message)
            .field("params", &self.0.params)
            .field("source", &self.0.source)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}
