//! What must survive a restart: jobs, approvals and the audit chain, in SQLite or PostgreSQL.
//!
//! One trait per noun ([`JobStore`], [`AuditLog`], and the guard's ports by [`GuardStore`]), three
//! engines behind each: memory for tests, SQLite by default, PostgreSQL by changing one URL. [`open`]
//! takes the URL, brings the schema up to date and gives all of them as one [`Store`].
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
//! For details, see: [`audit`] for how the chain is made and what it proves.
//!
//! *Invariant:* no business rules: what an approval permits or when a job is over is decided by
//! callers, who also pass the time. *Invariant:* a state changes in one statement, so that two
//! processes on one store cannot both win. *Invariant:* migrations go forward only, and a store
//! that is newer than the program is refused, never guessed at.

pub mod audit;
mod error;
mod ids;
pub mod jobs;
mod lazy;
mod memory;
mod ports;
mod postgres;
mod protocol;
mod records;
mod rows;
mod schema;
mod sql;
mod sqlite;
mod statements;
mod url;

use std::sync::Arc;

pub use audit::{
    AuditLog, AuditRecord, Checkpoint, CheckpointKey, NewAuditRecord, SignedLog, Verification,
    verify,
};
pub use error::{Error, ErrorKind};
pub use ids::{InvalidId, JobId};
pub use jobs::{Job, JobState, JobStore, NewJob};
pub use lazy::LazyStore;
pub use memory::MemoryStore;
pub use ports::GuardStore;
pub use postgres::PostgresStore;
pub use protocol::ProtocolJobs;
pub use sqlite::SqliteStore;
pub use url::{InvalidStoreUrl, StoreUrl};

/// Everything that is kept, behind one handle; [`GuardStore`] makes the guard's ports of it.
pub trait Store: JobStore + AuditLog + records::Rows {}

impl<T: JobStore + AuditLog + records::Rows> Store for T {}

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
