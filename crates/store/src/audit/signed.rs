//! The audit log as programs write it: each record is signed for outside of the store, every eighth
//! inside, and copies go where the operator wants them.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use stdx::Chain;

use super::{AuditRecord, Checkpoint, CheckpointKey, NewAuditRecord};
use crate::{Error, LazyStore};

/// Every how many records a checkpoint is kept in the store.
const EVERY: u64 = 8;

/// Where copies of records go. It must neither wait nor fail: the action goes on whatever happens.
pub trait AuditCopies: Send + Sync + 'static {
    /// Takes a copy of this record.
    fn copy(&self, record: &AuditRecord);
}

/// The audit log with whatever makes it hard to bend.
#[derive(Clone)]
pub struct SignedLog {
    store: LazyStore,
    signer: Option<Arc<Signer>>,
    copies: Option<Arc<dyn AuditCopies>>,
}

struct Signer {
    key: CheckpointKey,
    mark: PathBuf,
    /// The number in the file, as far as this program knows.
    marked: Mutex<u64>,
}

// === impl SignedLog ===

impl SignedLog {
    /// Writes into this store, and signs nothing.
    pub fn new(store: LazyStore) -> Self {
        Self { store, signer: None, copies: None }
    }

    /// Signs with this key, and keeps the last checkpoint in the file `mark`: whoever can write in
    /// the store but not there cannot cut the end off unseen.
    #[must_use]
    pub fn with_signer(mut self, key: CheckpointKey, mark: PathBuf) -> Self {
        self.signer = Some(Arc::new(Signer { key, mark, marked: Mutex::new(0) }));
        self
    }

    /// Gives a copy of every record to this.
    #[must_use]
    pub fn with_copies(mut self, copies: Arc<dyn AuditCopies>) -> Self {
        self.copies = Some(copies);
        self
    }

    /// Writes a record at the end of the chain. It is on disk when this returns; what cannot be
    /// signed or copied is warned about and does not hold up the action.
    ///
    /// # Errors
    ///
    /// When the record itself cannot be written.
    pub async fn append(&self, record: NewAuditRecord) -> Result<AuditRecord, Error> {
        let store = self.store.get().await?;
        let record = store.append(record).await?;
        if let Some(signer) = &self.signer {
            let checkpoint = signer.key.sign(&record);
            if record.seq.is_multiple_of(EVERY)
                && let Err(error) = store.keep_checkpoint(&checkpoint).await
            {
                tracing::warn!(error = %Chain(&error), "a checkpoint of the audit log is not kept");
            }
            let signer = Arc::clone(signer);
            // A panic there is a bug that has been printed; the record is written all the same.
            let _ = tokio::task::spawn_blocking(move || signer.mark(&checkpoint)).await;
        }
        if let Some(copies) = &self.copies {
            copies.copy(&record);
        }
        Ok(record)
    }
}

impl std::fmt::Debug for SignedLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SignedLog").field("store", &self.store).finish_non_exhaustive()
    }
}

// === impl Signer ===

impl Signer {
    fn mark(&self, checkpoint: &Checkpoint) {
        let mut marked = self.marked.lock().unwrap_or_else(PoisonError::into_inner);
        // Another program on the same log may have come further.
        let theirs = read_mark(&self.mark).ok().flatten().map_or(0, |mark| mark.seq);
        if checkpoint.seq <= theirs.max(*marked) {
            return;
        }
        match write_mark(&self.mark, checkpoint) {
            Ok(()) => *marked = checkpoint.seq,
            Err(error) => {
                let path = self.mark.display();
                tracing::warn!(%path, %error, "the mark of the audit log's end is not written");
            }
        }
    }
}

/// The checkpoint in this file; `None` if there is no file.
///
/// # Errors
///
/// When it cannot be read, or holds something else.
pub fn read_mark(path: &Path) -> std::io::Result<Option<Checkpoint>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let damaged =
        || std::io::Error::new(std::io::ErrorKind::InvalidData, "it does not hold a checkpoint");
    Checkpoint::from_line(&text).map(Some).ok_or_else(damaged)
}

/// Takes the place of the file at once. It is not synced: after a power cut an older one may stand
/// there, which only shows less.
fn write_mark(path: &Path, checkpoint: &Checkpoint) -> std::io::Result<()> {
    let draft = path.with_extension(format!("{}.tmp", std::process::id()));
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(&draft)?.write_all(format!("{}\n", checkpoint.to_line()).as_bytes())?;
    fs::rename(&draft, path)
}
