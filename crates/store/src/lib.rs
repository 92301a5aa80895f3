//! What must survive a restart: jobs, approvals, the audit chain, events and what follows from them,
//! in SQLite or PostgreSQL.
//!
//! One trait per noun ([`JobStore`], [`AuditLog`], the guard's ports by [`GuardStore`], the log of
//! events by [`event_core::EventLog`], [`EventStore`], [`Pipeline`], [`IncidentStore`], [`Outbox`], whom
//! a store belongs to by [`Leases`]),
//! three engines behind each: memory for tests, SQLite by default, PostgreSQL by changing one URL.
//! [`open`] takes the URL, brings the schema up to date and gives all of them as one [`Store`];
//! [`Schema::migrated`] says what that changed and how to go back.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use guard::Principal;
//! use store::{NewJob, StoreUrl};
//!
//! let url: StoreUrl = "sqlite:///var/lib/proxmox-mcp/store.db".parse()?;
//! let store = store::open(&url).await?;
//! let now = "2026-11-22T12:00:00Z".parse()?;
//! let job = store.create_job(NewJob::new(Principal::local(1000), "backup of 104"), now).await?;
//! assert!(store.job(job.id, &job.owner).await?.is_some());
//! # Ok(())
//! # }
//! ```
//!
//! What waits while the store is away is a [`Spool`]'s.
//!
//! For details, see: [`audit`] for how the chain is made and what it proves, [`pipeline`] for the way
//! from an event to a message, `docs/dev/store.md` for the tables.
//!
//! *Invariant:* no business rules: what an approval permits or when a job is over is decided by
//! callers, who also pass the time. *Invariant:* a state changes in one statement, so that two
//! processes on one store cannot both win. *Invariant:* migrations go forward only, and a store
//! that is newer than the program is refused, never guessed at.

pub mod audit;
mod error;
mod event_rows;
mod event_statements;
pub mod events;
mod ids;
pub mod incidents;
pub mod jobs;
mod lazy;
mod lease;
mod look;
mod memory;
pub mod outbox;
pub mod pipeline;
mod ports;
mod postgres;
mod protocol;
mod records;
mod rows;
mod schema;
pub mod spool;
mod sql;
mod sql_events;
mod sql_outbox;
mod sql_pipeline;
mod sqlite;
mod statements;
mod upgrade;
mod url;

use std::sync::Arc;

use event_core::EventLog;

pub use audit::{
    AuditLog, AuditRecord, Checkpoint, CheckpointKey, NewAuditRecord, SignedLog, Verification,
    verify,
};
pub use error::{Error, ErrorKind};
pub use events::{EventCursor, EventFilter, EventPage, EventStore, Forgotten, InvalidCursor};
pub use ids::{InvalidId, JobId};
pub use incidents::{Incident, IncidentFilter, IncidentStore, Said};
pub use jobs::{Job, JobState, JobStore, NewJob};
pub use lazy::LazyStore;
pub use lease::{Lease, Leases};
pub use look::{Looked, look};
pub use memory::MemoryStore;
pub use outbox::{Dead, DeliveryState, Outbox, OutputCount, Queued, Told};
pub use pipeline::{
    Entry, Mark, Merge, NewDelivery, NewEntry, Pipeline, Silence, SilenceChange, Step, Stepped,
};
pub use ports::GuardStore;
pub use postgres::PostgresStore;
pub use protocol::ProtocolJobs;
pub use spool::Spool;
pub use sqlite::SqliteStore;
pub use upgrade::{Migrated, Schema};
pub use url::{InvalidStoreUrl, StoreUrl};

/// Everything that is kept, behind one handle; [`GuardStore`] makes the guard's ports of it.
pub trait Store:
    JobStore
    + AuditLog
    + records::Rows
    + EventLog
    + EventStore
    + Pipeline
    + IncidentStore
    + Outbox
    + Leases
    + Schema
{
}

impl<T> Store for T where
    T: JobStore
        + AuditLog
        + records::Rows
        + EventLog
        + EventStore
        + Pipeline
        + IncidentStore
        + Outbox
        + Leases
        + Schema
{
}

/// Opens the store that the URL names, making it and migrating it where needed.
///
/// # Errors
///
/// [`ErrorKind::NewerSchema`] when a newer program has used it, [`ErrorKind::Unavailable`] when it
/// cannot be reached or made.
pub async fn open(url: &StoreUrl) -> Result<Arc<dyn Store>, Error> {
    Ok(match url {
        StoreUrl::Memory => Arc::new(MemoryStore::new()),
        StoreUrl::Sqlite(path) => Arc::new(SqliteStore::open(path).await?),
        StoreUrl::Postgres(target) => Arc::new(PostgresStore::open(target).await?),
    })
}
