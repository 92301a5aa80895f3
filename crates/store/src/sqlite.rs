//! SQLite: one file, write-ahead log, every commit synced to disk.

use std::fs::{DirBuilder, OpenOptions};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::error::DatabaseError;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Sqlite, SqlitePool, Transaction};

use crate::schema;
use crate::sql::{impl_audit, impl_jobs_and_rows, names::*};

/// How long a writer waits for a writer in another process.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// A store in one SQLite file, which several processes may share.
///
/// One connection: SQLite lets one writer in at a time anyway, and the reads here are short.
#[derive(Clone, Debug)]
pub struct SqliteStore {
    pool: SqlitePool,
}

// === impl SqliteStore ===

impl SqliteStore {
    /// Opens the file, making it (readable by its owner alone) and migrating it where needed.
    ///
    /// # Errors
    ///
    /// As [`crate::open`].
    pub async fn open(path: &Path) -> Result<Self, Error> {
        let place = path.display().to_string();
        create_private(path).map_err(|error| {
            Error::engine(format!("create the store at {place}"), sqlx::Error::Io(error))
        })?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_TIMEOUT);
        let pool = connect(options)
            .await
            .map_err(|error| Error::engine(format!("open the store at {place}"), error))?;
        let store = Self { pool };
        store.migrate(&place).await?;
        Ok(store)
    }

    async fn migrate(&self, place: &str) -> Result<(), Error> {
        let failed = |error| Error::engine(format!("migrate the store at {place}"), error);
        let known = schema::known(schema::SQLITE);
        // Looked at without a lock first: nearly always there is nothing to do.
        if self.schema_version().await.map_err(failed)? == known {
            return Ok(());
        }
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
        let version: i64 = sqlx::query_scalar("PRAGMA user_version")
            .fetch_one(&mut *transaction)
            .await
            .map_err(failed)?;
        let missing = schema::missing(schema::SQLITE, version)
            .ok_or_else(|| Error::newer_schema(place, version, known))?;
        for (number, migration) in (version + 1..).zip(missing) {
            sqlx::raw_sql(*migration).execute(&mut *transaction).await.map_err(failed)?;
            // A pragma takes no parameter; the number is ours.
            let mark = sqlx::AssertSqlSafe(format!("PRAGMA user_version = {number}"));
            sqlx::raw_sql(mark).execute(&mut *transaction).await.map_err(failed)?;
        }
        transaction.commit().await.map_err(failed)
    }

    async fn schema_version(&self) -> Result<i64, sqlx::Error> {
        sqlx::query_scalar("PRAGMA user_version").fetch_one(&self.pool).await
    }

    /// A transaction in which nobody else appends: the write lock is taken before the last record is
    /// read, so chains do not fork.
    async fn begin_append(&self) -> Result<Transaction<'_, Sqlite>, sqlx::Error> {
        self.pool.begin_with("BEGIN IMMEDIATE").await
    }

    /// A transaction in which nobody else begins an action: the write lock is taken before they are counted.
    async fn begin_counting(&self) -> Result<Transaction<'_, Sqlite>, sqlx::Error> {
        self.pool.begin_with("BEGIN IMMEDIATE").await
    }
}

impl_jobs_and_rows!(SqliteStore);
impl_audit!(SqliteStore);

/// Connects, waiting out another process that is making the same file at this moment.
async fn connect(options: SqliteConnectOptions) -> Result<SqlitePool, sqlx::Error> {
    let pool_options = SqlitePoolOptions::new()
        .max_connections(1)
        .test_before_acquire(false)
        .idle_timeout(None)
        .max_lifetime(None);
    let mut pause = Duration::from_millis(5);
    loop {
        match pool_options.clone().connect_with(options.clone()).await {
            // The switch to write-ahead logging needs the file alone, and is the one lock that
            // SQLite's busy timeout does not wait for.
            Err(error) if is_busy(&error) && pause < BUSY_TIMEOUT => {
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
            result => return result,
        }
    }
}

fn is_busy(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(DatabaseError::code);
    // The low byte is the primary code: SQLITE_BUSY is 5.
    code.and_then(|code| code.parse::<u32>().ok()).is_some_and(|code| code & 0xff == 5)
}

/// Makes the file 0600 in a folder of 0700 unless they are there.
fn create_private(path: &Path) -> std::io::Result<()> {
    let parent = path.parent().map_or_else(|| PathBuf::from("."), Path::to_path_buf);
    DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
    let file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
    let mode = file.metadata()?.permissions().mode();
    if mode & 0o077 != 0 {
        tracing::warn!(path = %path.display(), "the store can be read by other accounts");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What an intent or an audit record relies on: a commit that has returned is on the disk. 2 is
    /// FULL: in this mode the write-ahead log is synced with every commit.
    #[tokio::test]
    async fn every_commit_is_synced() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&folder.path().join("store.db")).await.unwrap();
        let pragma = async |name: &'static str| -> i64 {
            sqlx::query_scalar(name).fetch_one(&store.pool).await.unwrap()
        };
        assert_eq!(pragma("PRAGMA synchronous").await, 2);
        let journal: String =
            sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&store.pool).await.unwrap();
        assert_eq!(journal, "wal");
    }
}
