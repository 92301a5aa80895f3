//! A look at a store from outside: what it is and whether a manager has it, and nothing is made,
//! migrated or held.

use std::fs::{File, TryLockError};
use std::path::Path;

use jiff::Timestamp;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{Connection as _, PgConnection};

use crate::{Error, StoreUrl, lease, postgres, schema, sqlite};

/// The first version that says who has a store.
const LEASED: i64 = 6;

/// What a look at a store has seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Looked {
    /// The version of its schema; `None` where nothing is kept yet.
    pub version: Option<i64>,
    /// The version that this program would make of it.
    pub known: i64,
    /// The manager that has it now, and since when, in its own words.
    pub holder: Option<(String, Timestamp)>,
}

/// Looks at the store that the URL names.
///
/// # Errors
/// [`NewerSchema`](crate::ErrorKind::NewerSchema) where a newer program has used it,
/// [`Unavailable`](crate::ErrorKind::Unavailable) and [`Corrupt`](crate::ErrorKind::Corrupt) where it
/// cannot be read.
pub async fn look(url: &StoreUrl) -> Result<Looked, Error> {
    let known = schema::known(schema::SQLITE);
    let failed = |error| Error::engine(format!("look at the store at {url}"), error);
    let (version, holder) = match url {
        StoreUrl::Memory => return Ok(Looked { known, ..Looked::default() }),
        StoreUrl::Sqlite(path) => of_file(path).await.map_err(failed)?,
        StoreUrl::Postgres(target) => {
            let options = target.expose().parse().map_err(failed)?;
            let mut connection = postgres::connect(&options).await.map_err(failed)?;
            let seen = of_database(&mut connection).await.map_err(failed)?;
            connection.close().await.map_err(failed)?;
            seen
        }
    };
    if let Some(version) = version.filter(|version| *version > known) {
        return Err(Error::newer_schema(&url.to_string(), version, known));
    }
    let holder = holder.and_then(|(who, at)| Some((who, Timestamp::from_microsecond(at).ok()?)));
    Ok(Looked { version, known, holder })
}

type Seen = (Option<i64>, Option<(String, i64)>);

async fn of_file(path: &Path) -> Result<Seen, sqlx::Error> {
    if !path.try_exists().map_err(sqlx::Error::Io)? {
        return Ok((None, None));
    }
    let options = SqliteConnectOptions::new().filename(path).read_only(true);
    let mut connection = SqliteConnection::connect_with(&options).await?;
    let version: i64 = sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut connection).await?;
    let mut holder = None;
    if version >= LEASED && is_held(&sqlite::lease_file(path)) {
        holder = sqlx::query_as(lease::HOLDER).fetch_optional(&mut connection).await?;
    }
    connection.close().await?;
    // A file that was made and not filled yet is as good as none.
    Ok((Some(version).filter(|version| *version > 0), holder))
}

/// Asked with a shared lock on a reading handle, so that looking leaves no traces.
fn is_held(path: &Path) -> bool {
    let Ok(file) = File::open(path) else { return false };
    matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
}

async fn of_database(connection: &mut PgConnection) -> Result<Seen, sqlx::Error> {
    let is_there: bool = sqlx::query_scalar("SELECT to_regclass('schema_version') IS NOT NULL")
        .fetch_one(&mut *connection)
        .await?;
    if !is_there {
        return Ok((None, None));
    }
    let version: Option<i64> = sqlx::query_scalar("SELECT MAX(version) FROM schema_version")
        .fetch_one(&mut *connection)
        .await?;
    let mut holder = None;
    if version.is_some_and(|version| version >= LEASED) && postgres::is_held(connection).await? {
        holder = sqlx::query_as(lease::HOLDER).fetch_optional(connection).await?;
    }
    Ok((version, holder))
}
