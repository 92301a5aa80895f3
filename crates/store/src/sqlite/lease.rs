//! A lock on a file beside the store, which the system takes back when its holder ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::future::{Ready, ready};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use tokio::sync::oneshot;

use super::SqliteStore;
use crate::Error;
use crate::lease::{self, Hold, Lease, Leases};
use crate::rows::storable;

#[async_trait::async_trait]
impl Leases for SqliteStore {
    async fn take_lease(&self, holder: &str, now: Timestamp) -> Result<Lease, Error> {
        let place = self.path.display().to_string();
        let failed = |error| Error::engine(format!("take the store at {place}"), error);
        let Some(file) = self.lock().map_err(sqlx::Error::Io).map_err(failed)? else {
            let holder =
                sqlx::query_as(lease::HOLDER).fetch_optional(self.reads()).await.map_err(failed)?;
            return Err(lease::taken(&place, holder));
        };
        let generation: i64 = sqlx::query_scalar(lease::NEXT)
            .bind(storable(holder.to_owned()))
            .bind(now.as_microsecond())
            .fetch_one(&self.pool)
            .await
            .map_err(failed)?;
        let (back, given) = oneshot::channel();
        let fence = self.fence.clone();
        let keeper = tokio::spawn(async move {
            // Given back or dropped, it is the same.
            let _ = given.await;
            fence.set(Hold::Gone);
            drop(file);
        });
        Ok(Lease::new(generation, &self.fence, back, keeper))
    }
}

/// The file that is locked.
pub(crate) fn file(store: &Path) -> PathBuf {
    let mut name = store.as_os_str().to_owned();
    name.push(".lease");
    PathBuf::from(name)
}

// === impl SqliteStore ===

impl SqliteStore {
    /// Whether it is this handle that tells what waits. The lock on the file goes with the process, so
    /// it is known without asking.
    pub(super) fn check_held(&self) -> Ready<Result<(), sqlx::Error>> {
        ready(self.fence.pass().map(drop))
    }

    /// The file that is locked for as long as it is open; none where another one has it.
    fn lock(&self) -> io::Result<Option<File>> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(file(&self.path))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}
