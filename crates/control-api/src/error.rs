//! The one error of this crate, the same on both ends.

use jsonrpsee::core::client::Error as RpcError;
use jsonrpsee::types::{ErrorObject, ErrorObjectOwned};

/// Why the manager could not be reached, or what it did not do.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    kind: ErrorKind,
    message: String,
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// What sort of failure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// No manager listens there.
    Absent,
    /// This account may not open the socket.
    Closed,
    /// The manager is of another version.
    Version,
    /// The manager is gone, or does not answer.
    Lost,
    /// The caller may not do that.
    Forbidden,
    /// There is nothing of that name for this caller.
    NotFound,
    /// What was named is not in the state for it.
    Conflict,
    /// What was said makes no sense.
    Invalid,
    /// The manager cannot do it now.
    Unavailable,
}

// === impl Error ===

impl Error {
    /// An error of this kind; the message reads after "failed to".
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    /// The same with what caused it.
    #[must_use]
    pub fn because(self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self { source: Some(Box::new(source)), ..self }
    }

    /// What sort of failure it is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether nobody listens there, so that the caller can do without a manager.
    pub fn is_absent(&self) -> bool {
        self.kind == ErrorKind::Absent
    }
}

// === impl ErrorKind ===

impl ErrorKind {
    /// The kinds that travel, with their codes.
    const CODES: [(Self, i32); 5] = [
        (Self::Forbidden, -32001),
        (Self::NotFound, -32002),
        (Self::Conflict, -32003),
        (Self::Invalid, -32004),
        (Self::Unavailable, -32005),
    ];

    fn code(self) -> i32 {
        let found = Self::CODES.iter().find(|(kind, _)| *kind == self);
        found.map_or(-32603, |(_, code)| *code)
    }

    fn from_code(code: i32) -> Self {
        let found = Self::CODES.iter().find(|(_, it)| *it == code);
        found.map_or(Self::Unavailable, |(kind, _)| *kind)
    }
}

impl From<Error> for ErrorObjectOwned {
    /// What the client is told; the cause stays in the manager's log.
    fn from(error: Error) -> Self {
        ErrorObject::owned(error.kind.code(), error.message, None::<()>)
    }
}

impl From<RpcError> for Error {
    fn from(error: RpcError) -> Self {
        match error {
            RpcError::Call(object) => {
                Self::new(ErrorKind::from_code(object.code()), object.message().to_owned())
            }
            RpcError::RequestTimeout => {
                Self::new(ErrorKind::Lost, "hear from the manager: it did not answer in time")
            }
            RpcError::ParseError(source) => {
                let message =
                    "read the manager's answer: it has another form; run both in one version";
                Self::new(ErrorKind::Version, message).because(source)
            }
            other => {
                let message = "talk to the manager: the connection is gone";
                Self::new(ErrorKind::Lost, message).because(other)
            }
        }
    }
}
