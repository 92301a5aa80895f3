//! Where the store is: one URL that also selects the engine.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// `memory:`, `sqlite:///absolute/path` or `postgres://user:password@host:port/database`.
///
/// `Debug` and `Display` leave user and password out.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreUrl {
    /// Kept in this process, gone with it.
    Memory,
    /// A SQLite file.
    Sqlite(PathBuf),
    /// A PostgreSQL database.
    Postgres(PostgresTarget),
}

/// The URL of a PostgreSQL database, which may hold a password.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresTarget(String);

/// The text names no store. The text itself is not repeated: it may hold a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a store URL: {0}")]
pub struct InvalidStoreUrl(&'static str);

// === impl StoreUrl ===

impl FromStr for StoreUrl {
    type Err = InvalidStoreUrl;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "memory:" {
            return Ok(Self::Memory);
        }
        if let Some(path) = text.strip_prefix("sqlite://") {
            let path = PathBuf::from(path);
            if !path.is_absolute() || path.file_name().is_none() {
                return Err(InvalidStoreUrl("sqlite:// takes an absolute path to a file"));
            }
            return Ok(Self::Sqlite(path));
        }
        let rest = text.strip_prefix("postgres://").or_else(|| text.strip_prefix("postgresql://"));
        match rest {
            Some("") => Err(InvalidStoreUrl("postgres:// takes host and database")),
            Some(_) => Ok(Self::Postgres(PostgresTarget(text.to_owned()))),
            None => Err(InvalidStoreUrl("it starts with none of sqlite://, postgres://, memory:")),
        }
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory:"),
            Self::Sqlite(path) => write!(f, "sqlite://{}", path.display()),
            Self::Postgres(target) => target.fmt(f),
        }
    }
}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

// === impl PostgresTarget ===

impl PostgresTarget {
    /// The whole URL, password included.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PostgresTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Only host, port and database: options may carry a password too.
        let rest = self.0.split_once("://").map_or("", |(_, rest)| rest);
        let rest = rest.split('?').next().unwrap_or_default();
        let place = rest.rsplit_once('@').map_or(rest, |(_, place)| place);
        write!(f, "postgres://{place}")
    }
}

impl fmt::Debug for PostgresTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_select_the_engine_and_hide_passwords() {
        let check = |text: &str, shown: &str| {
            let url: StoreUrl = text.parse().unwrap();
            assert_eq!((url.to_string(), format!("{url:?}")), (shown.to_owned(), shown.to_owned()));
        };
        check("memory:", "memory:");
        check("sqlite:///var/lib/p/store.db", "sqlite:///var/lib/p/store.db");
        check("postgres://u:p%40ss@db:5432/mcp?password=x", "postgres://db:5432/mcp");
        check("postgresql:///mcp", "postgres:///mcp");
    }

    #[test]
    fn garbage_is_named_without_repeating_it() {
        for text in
            ["", "mysql://u:hunter2@h/d", "sqlite://relative.db", "sqlite:///", "postgres://"]
        {
            let error = text.parse::<StoreUrl>().unwrap_err().to_string();
            assert!(
                error.starts_with("not a store URL: ") && !error.contains("hunter2"),
                "{error}"
            );
        }
    }
}
