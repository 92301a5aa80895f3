//! The one error of this crate.

use sqlx::error::DatabaseError;

use crate::lease::NotHeld;

/// Why something could not be stored or read.
///
/// `Display` says which operation on what; the engine's own words are its source.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    kind: ErrorKind,
    message: String,
    away: bool,
    source: Option<Because>,
}

/// What a failure comes from. The driver carries a [`NotHeld`] of ours through its transactions, with
/// words of its own in front, which say nothing.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(crate) enum Because {
    NotHeld(NotHeld),
    Engine(sqlx::Error),
}

/// What sort of failure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// There is no such job, approval or record.
    NotFound,
    /// It is there, but its state forbids the change.
    Conflict,
    /// A newer program has migrated the store.
    NewerSchema,
    /// What the store holds cannot be read back.
    Corrupt,
    /// The engine does not answer or refused.
    Unavailable,
}

// === impl Because ===

impl From<sqlx::Error> for Because {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::AnyDriverError(error) => match error.downcast() {
                Ok(not_held) => Self::NotHeld(*not_held),
                Err(error) => Self::Engine(sqlx::Error::AnyDriverError(error)),
            },
            error => Self::Engine(error),
        }
    }
}

// === impl Error ===

impl Error {
    /// What sort of failure it is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether what was named does not exist.
    pub fn is_not_found(&self) -> bool {
        self.kind == ErrorKind::NotFound
    }

    /// Whether the state of what was named forbids the change.
    pub fn is_conflict(&self) -> bool {
        self.kind == ErrorKind::Conflict
    }

    /// Whether a server could not be reached, or is just starting or ending: the same may work a moment
    /// later, where what is wrong with the settings stays wrong.
    pub fn is_away(&self) -> bool {
        self.away
    }

    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), away: false, source: None }
    }

    /// What it says, and what it comes from.
    pub(crate) fn into_parts(self) -> (String, Option<Because>) {
        (self.message, self.source)
    }

    /// Wraps the engine's error; `operation` reads after "failed to".
    pub(crate) fn engine(operation: impl Into<String>, source: sqlx::Error) -> Self {
        let code = source.as_database_error().and_then(DatabaseError::code);
        let kind = match (&source, code.as_deref()) {
            // The codes are SQLITE_CORRUPT and SQLITE_NOTADB.
            (_, Some("11" | "26"))
            | (sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_), _) => ErrorKind::Corrupt,
            _ => ErrorKind::Unavailable,
        };
        Self { kind, message: operation.into(), away: false, source: Some(source.into()) }
    }

    /// Wraps the error of an engine that is a server elsewhere.
    pub(crate) fn server(operation: impl Into<String>, source: sqlx::Error) -> Self {
        let away = match &source {
            sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut => true,
            // It breaks off, ends, starts, or has no room for one more just now.
            sqlx::Error::Database(error) => error.code().is_some_and(|code| {
                code.starts_with("08") || code.starts_with("57P") || code == "53300"
            }),
            _ => false,
        };
        Self { away, ..Self::engine(operation, source) }
    }

    pub(crate) fn newer_schema(place: &str, found: i64, known: i64) -> Self {
        Self::new(
            ErrorKind::NewerSchema,
            format!(
                "open the store at {place}: its schema is version {found} and this program knows \
                 up to {known}; run the newer program, or point this one at a store of its own"
            ),
        )
    }
}
