//! SQLite: one file, write-ahead log, every commit synced to disk.
//!
//! For details, see: `docs/adr/0003`, which builds on that sync, and [`crate::upgrade`] for the copy
//! that is made before a file is migrated.
//!
//! *Invariant:* what has returned is on disk: a connection that does not sync is refused.
//! *Invariant:* a connection that is in an unknown state, as after a full disk, is not used again.

mod events;
mod lease;

use std::fs::{DirBuilder, OpenOptions};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::error::DatabaseError;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection as _, Sqlite, SqliteConnection, SqlitePool, Transaction};

pub(crate) use self::lease::file as lease_file;
use crate::lease::Fence;
use crate::sql::{impl_audit, impl_jobs_and_rows, names::*};
use crate::upgrade::{self, Migrated};
use crate::{ErrorKind, schema};

/// How long a writer waits for a writer in another process.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How many reads at once do not wait for writers.
const READERS: u32 = 2;
/// How many rows a reader is ahead of whoever asked: as many as a page has, or the two wait for each other all the time.
const ROW_BUFFER: usize = 512;
/// How long a reader that has nothing to do is kept.
const READER_IDLE: Duration = Duration::from_mins(1);
/// How much of the file the connection that writes keeps in memory, in KiB. With less, a batch of events does not fit and
/// is written into the log twice.
const WRITER_CACHE_KIB: i64 = 6 * 1024;
/// After how many pages of 4 KiB the write-ahead log is brought into the file. Most commits touch the same pages of the
/// indexes, so each of those is written there once and not a hundred times.
const CHECKPOINT_PAGES: i64 = 4096;
/// What `PRAGMA synchronous` calls `FULL`: the write-ahead log is synced with every commit.
const SYNC_FULL: i64 = 2;

/// A store in one SQLite file, which several processes may share.
///
/// One connection that writes: SQLite lets one writer in at a time anyway. What is read of events
/// may be long, and has connections of its own.
#[derive(Clone, Debug)]
pub struct SqliteStore {
    pool: SqlitePool,
    readers: SqlitePool,
    path: PathBuf,
    audit_end: AuditEnd,
    fence: Fence,
    migrated: Option<Migrated>,
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
            let hint = "let this account write there, or put the store elsewhere";
            Error::new(
                ErrorKind::Unavailable,
                format!("create the store at {place}: {error}; {hint}"),
            )
        })?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_TIMEOUT)
            .pragma("wal_autocheckpoint", CHECKPOINT_PAGES.to_string());
        let writing = options.clone().pragma("cache_size", (-WRITER_CACHE_KIB).to_string());
        let pool = connect(writing)
            .await
            .map_err(|error| Error::engine(format!("open the store at {place}"), error))?;
        check_sync(&pool, &place).await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .test_before_acquire(false)
            .idle_timeout(READER_IDLE)
            .connect_lazy_with(options.pragma("query_only", "ON").row_buffer_size(ROW_BUFFER));
        let path = path.to_owned();
        let (audit_end, fence) = (AuditEnd::default(), Fence::default());
        let mut store = Self { pool, readers, path, audit_end, fence, migrated: None };
        store.migrated = store.migrate(&place).await?;
        Ok(store)
    }

    /// What is missing is done in one transaction, and the file as it was is copied before.
    async fn migrate(&self, place: &str) -> Result<Option<Migrated>, Error> {
        let failed = |error| Error::engine(format!("migrate the store at {place}"), error);
        let known = schema::known(schema::SQLITE);
        // Looked at without a lock first: nearly always there is nothing to do.
        if self.schema_version().await.map_err(failed)? == known {
            return Ok(None);
        }
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
        let version: i64 = sqlx::query_scalar("PRAGMA user_version")
            .fetch_one(&mut *transaction)
            .await
            .map_err(failed)?;
        let missing = schema::missing(schema::SQLITE, version)
            .ok_or_else(|| Error::newer_schema(place, version, known))?;
        if missing.is_empty() {
            // Another program was faster.
            return Ok(None);
        }
        // Nobody else writes now, and a reader sees the file as it was.
        let copy = match version {
            0 => None,
            _ => Some(upgrade::copy(&self.readers, &self.path, version).await?),
        };
        for (number, migration) in (version + 1..).zip(missing) {
            sqlx::raw_sql(*migration).execute(&mut *transaction).await.map_err(failed)?;
            // A pragma takes no parameter; the number is ours.
            let mark = sqlx::AssertSqlSafe(format!("PRAGMA user_version = {number}"));
            sqlx::raw_sql(mark).execute(&mut *transaction).await.map_err(failed)?;
        }
        transaction.commit().await.map_err(failed)?;
        Ok(copy.map(|copy| Migrated::with_copy(version, known, &self.path, copy)))
    }

    async fn schema_version(&self) -> Result<i64, sqlx::Error> {
        sqlx::query_scalar("PRAGMA user_version").fetch_one(&self.pool).await
    }

    /// A transaction in which nobody else appends: the write lock is taken before the last record is
    /// read, so chains do not fork.
    async fn begin_append(&self) -> Result<Transaction<'_, Sqlite>, sqlx::Error> {
        self.pool.begin_with("BEGIN IMMEDIATE").await
    }

    /// A transaction that may write: the lock is taken before anything is read. Only whoever has the
    /// store writes what belongs to the pipeline.
    async fn begin_write(&self) -> Result<Transaction<'_, Sqlite>, sqlx::Error> {
        self.fence.pass()?;
        self.pool.begin_with("BEGIN IMMEDIATE").await
    }

    /// What only reads, and need not wait for who writes.
    fn reads(&self) -> &SqlitePool {
        &self.readers
    }

    /// Adds an action if there is room for it. Looking and adding are one statement, and only one
    /// writes at a time.
    async fn insert_counted(
        &self,
        row: Row,
        since: i64,
        limits: Limits,
    ) -> Result<bool, sqlx::Error> {
        sqlx::query(statements::INSERT_COUNTED)
            .bind(&row.id)
            .bind(&row.principal)
            .bind(&row.kind)
            .bind(&row.subject)
            .bind(&row.state)
            .bind(row.unasked)
            .bind(row.made_us)
            .bind(row.due_us)
            .bind(row.version)
            .bind(&row.doc)
            .bind(since)
            .bind(rows::to_i64(limits.all))
            .bind(rows::to_i64(limits.unasked))
            .execute(&self.pool)
            .await
            .map(|done| done.rows_affected() == 1)
    }
}

impl_jobs_and_rows!(SqliteStore);
impl_audit!(SqliteStore);

impl upgrade::Schema for SqliteStore {
    fn migrated(&self) -> Option<&Migrated> {
        self.migrated.as_ref()
    }
}

/// Connects, waiting out another process that is making the same file at this moment.
async fn connect(options: SqliteConnectOptions) -> Result<SqlitePool, sqlx::Error> {
    let pool_options = SqlitePoolOptions::new()
        .max_connections(1)
        .test_before_acquire(false)
        .idle_timeout(None)
        .max_lifetime(None)
        .after_release(|connection, _| Box::pin(is_whole(connection)));
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

/// Whether a connection can be used again. Where the disk was full, SQLite has ended the transaction
/// by itself and the driver still counts it: nothing could ever begin on it.
async fn is_whole(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    if connection.is_in_transaction() {
        // A rollback may still be on its way.
        connection.ping().await?;
    }
    Ok(!connection.is_in_transaction())
}

/// Refuses a file that commits to nothing: some file systems cannot do write-ahead logging.
async fn check_sync(pool: &SqlitePool, place: &str) -> Result<(), Error> {
    let failed = |error| Error::engine(format!("open the store at {place}"), error);
    let mut connection = pool.acquire().await.map_err(failed)?;
    let sync: i64 = sqlx::query_scalar("PRAGMA synchronous")
        .fetch_one(&mut *connection)
        .await
        .map_err(failed)?;
    let journal: String = sqlx::query_scalar("PRAGMA journal_mode")
        .fetch_one(&mut *connection)
        .await
        .map_err(failed)?;
    if sync < SYNC_FULL || journal != "wal" {
        let message = format!(
            "open the store at {place}: its commits would not be synced to disk (synchronous is \
             {sync}, journal is {journal}); put it on a local file system"
        );
        return Err(Error::new(ErrorKind::Unavailable, message));
    }
    tracing::info!(synchronous = sync, journal, "the connection that writes syncs every commit");
    Ok(())
}

fn is_busy(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(DatabaseError::code);
    // The low byte is the primary code: SQLITE_BUSY is 5.
    code.and_then(|code| code.parse::<u32>().ok()).is_some_and(|code| code & 0xff == 5)
}

/// Makes the file 0600 in a folder of 0700 unless they are there.
pub(crate) fn create_private(path: &Path) -> std::io::Result<()> {
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
mod tests;
