//! PostgreSQL: for fleets, and for several programs on one store.
//!
//! For details, see: `docs/adr/0004`.
//!
//! *Invariant:* what has returned is on disk, whatever the server's own setting is. *Invariant:* but for
//! migrations, which take their time, nothing waits for ever for a server that does not answer.

mod answers;
mod events;
mod lease;

use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection as _, PgConnection, Postgres};

use self::answers::{Pool, Transaction};
pub(crate) use self::lease::is_held;
use crate::lease::Fence;
use crate::schema;
use crate::sql::{impl_audit, impl_jobs_and_rows, names::*};
use crate::upgrade::{self, Migrated};
use crate::url::PostgresTarget;

/// Marks our migrations among advisory locks; any number that nobody else uses.
const MIGRATION_LOCK: i64 = 0x7072_6f78_6d63_7001;
/// Marks who counts actions to begin one more.
const COUNTING_LOCK: i64 = 0x7072_6f78_6d63_7002;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A store in a PostgreSQL database, in the schema that its search path names first.
#[derive(Clone, Debug)]
pub struct PostgresStore {
    pool: Pool,
    options: PgConnectOptions,
    target: PostgresTarget,
    audit_end: AuditEnd,
    fence: Fence,
    migrated: Option<Migrated>,
}

// === impl PostgresStore ===

impl PostgresStore {
    /// Connects, and migrates the schema where needed.
    ///
    /// # Errors
    ///
    /// As [`crate::open`].
    pub async fn open(target: &PostgresTarget) -> Result<Self, Error> {
        let failed = |error| Error::server(format!("open the store at {target}"), error);
        let options: PgConnectOptions = target.expose().parse().map_err(failed)?;
        let options = options
            .application_name("proxmox-mcp")
            // What has returned is on disk, whatever the server's own setting is.
            .options([("synchronous_commit", "on")]);
        // A connection of its own comes first: it says at once why the server cannot be used,
        // where the pool would try again until its own deadline.
        let mut connection = connect(&options).await.map_err(failed)?;
        let migrated = migrate(&mut connection, target).await?;
        connection.close().await.map_err(failed)?;
        let pool = Pool::new(options.clone());
        let (audit_end, fence) = (AuditEnd::default(), Fence::default());
        Ok(Self { pool, options, target: target.clone(), audit_end, fence, migrated })
    }

    /// A transaction in which nobody else appends. Writers queue here, readers do not: chains do not
    /// fork.
    async fn begin_append(&self) -> Result<Transaction<'_, Postgres>, sqlx::Error> {
        let mut transaction = self.pool.begin().await?;
        sqlx::query("LOCK TABLE audit IN SHARE ROW EXCLUSIVE MODE")
            .execute(&mut *transaction)
            .await?;
        Ok(transaction)
    }

    /// Adds an action if there is room for it: nobody else counts and adds meanwhile.
    async fn insert_counted(
        &self,
        row: Row,
        since: i64,
        limits: Limits,
    ) -> Result<bool, sqlx::Error> {
        let mut transaction = self.pool.begin().await?;
        sqlx::query("SELECT pg_advisory_xact_lock($1)")
            .bind(COUNTING_LOCK)
            .execute(&mut *transaction)
            .await?;
        let begun: Changes = sqlx::query_as(statements::COUNT_CHANGES)
            .bind(&row.principal)
            .bind(since)
            .fetch_one(&mut *transaction)
            .await
            .map(rows::changes)?;
        if !begun.fits(limits) {
            return Ok(false);
        }
        insert_row!(&mut *transaction, Table::Actions, row)?;
        transaction.commit().await?;
        Ok(true)
    }
}

/// A connection that is no part of a pool.
pub(crate) async fn connect(options: &PgConnectOptions) -> Result<PgConnection, sqlx::Error> {
    let connecting = PgConnection::connect_with(options);
    match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
        Ok(connected) => connected,
        Err(_) => Err(sqlx::Error::PoolTimedOut),
    }
}

async fn migrate(
    connection: &mut PgConnection,
    target: &PostgresTarget,
) -> Result<Option<Migrated>, Error> {
    let failed = |error| Error::server(format!("migrate the store at {target}"), error);
    let known = schema::known(schema::POSTGRES);
    let mut transaction = connection.begin().await.map_err(failed)?;
    // Two programs that start together migrate one after the other.
    sqlx::query("SELECT pg_advisory_xact_lock($1)")
        .bind(MIGRATION_LOCK)
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
    sqlx::raw_sql("CREATE TABLE IF NOT EXISTS schema_version (version BIGINT PRIMARY KEY)")
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
    let version: i64 = sqlx::query_scalar("SELECT COALESCE(MAX(version), 0) FROM schema_version")
        .fetch_one(&mut *transaction)
        .await
        .map_err(failed)?;
    let missing = schema::missing(schema::POSTGRES, version)
        .ok_or_else(|| Error::newer_schema(&target.to_string(), version, known))?;
    for (number, migration) in (version + 1..).zip(missing) {
        sqlx::raw_sql(*migration).execute(&mut *transaction).await.map_err(failed)?;
        sqlx::query("INSERT INTO schema_version (version) VALUES ($1)")
            .bind(number)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
    }
    transaction.commit().await.map_err(failed)?;
    let changed = version > 0 && version < known;
    Ok(changed.then(|| Migrated::without_copy(version, known, &target.to_string())))
}

impl_jobs_and_rows!(PostgresStore);
impl_audit!(PostgresStore);

impl upgrade::Schema for PostgresStore {
    fn migrated(&self) -> Option<&Migrated> {
        self.migrated.as_ref()
    }
}
