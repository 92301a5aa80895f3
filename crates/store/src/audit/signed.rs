//! The audit log as programs write it: each record is signed for outside of the store, every eighth
//! inside, and copies go where the operator wants them.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use stdx::Chain;
use stdx::keyfile::{self, KeyFileError};

use super::{AuditRecord, Checkpoint, CheckpointKey, NewAuditRecord};
use crate::{Error, LazyStore, Store};

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
    signer: Option<Arc<LazySigner>>,
    copies: Option<Arc<dyn AuditCopies>>,
    /// The last one: one at a time, so that marks follow the order of the records.
    under_way: Arc<Mutex<Option<Signing>>>,
}

/// A record that is being signed, and those before it.
type Signing = Shared<BoxFuture<'static, ()>>;

/// The files beside a log: the key that signs, and the mark of the log's end.
#[derive(Clone, Debug)]
pub struct AuditFiles {
    /// Where the key is.
    pub key: PathBuf,
    /// Where the last checkpoint is.
    pub mark: PathBuf,
}

/// A signer that reads, or makes, its key with the first record: who only reads needs none.
struct LazySigner {
    files: AuditFiles,
    signer: OnceLock<Option<Signer>>,
}

struct Signer {
    key: CheckpointKey,
    mark: PathBuf,
    /// The number in the file, as far as this program knows.
    marked: Mutex<u64>,
}

// === impl AuditFiles ===

impl AuditFiles {
    /// `audit.key` and `audit.mark` in this folder.
    pub fn in_folder(folder: &Path) -> Self {
        Self { key: folder.join("audit.key"), mark: folder.join("audit.mark") }
    }

    /// The key, if there is one.
    ///
    /// # Errors
    ///
    /// When the file cannot be used, or holds something else.
    pub fn read_key(&self) -> Result<Option<CheckpointKey>, KeyFileError> {
        keyfile::read(&self.key)?.map(|bytes| self.key_of(&bytes)).transpose()
    }

    /// The key, made if there is none.
    ///
    /// # Errors
    ///
    /// As [`AuditFiles::read_key`], and when it cannot be made.
    pub fn read_or_make_key(&self) -> Result<CheckpointKey, KeyFileError> {
        let no_randomness = |_| KeyFileError::NoRandomness { path: self.key.clone() };
        let make = || CheckpointKey::generate().map_err(no_randomness);
        self.key_of(&keyfile::read_or_make(&self.key, make)?)
    }

    fn key_of(&self, bytes: &[u8]) -> Result<CheckpointKey, KeyFileError> {
        CheckpointKey::from_pkcs8(bytes).map_err(|_| KeyFileError::Malformed {
            path: self.key.clone(),
            wanted: "an Ed25519 key (PKCS #8)",
        })
    }
}

// === impl SignedLog ===

impl SignedLog {
    /// Writes into this store, and signs nothing.
    pub fn new(store: LazyStore) -> Self {
        Self { store, signer: None, copies: None, under_way: Arc::default() }
    }

    /// Signs with the key in these files, and keeps the last checkpoint there, too: whoever can
    /// write in the store but not there cannot cut the end off unseen.
    #[must_use]
    pub fn signed_with(mut self, files: AuditFiles) -> Self {
        self.signer = Some(Arc::new(LazySigner { files, signer: OnceLock::new() }));
        self
    }

    /// Gives a copy of every record to this.
    #[must_use]
    pub fn with_copies(mut self, copies: Arc<dyn AuditCopies>) -> Self {
        self.copies = Some(copies);
        self
    }

    /// Writes a record at the end of the chain. It is on disk, signed and marked when this returns;
    /// what cannot be signed or copied is warned about and does not hold up the action.
    ///
    /// # Errors
    ///
    /// When the record itself cannot be written.
    pub async fn append(&self, record: NewAuditRecord) -> Result<AuditRecord, Error> {
        let record = self.append_ahead(record).await?;
        self.settle().await;
        Ok(record)
    }

    /// As [`SignedLog::append`], but the record is only on disk when this returns: it is signed and
    /// marked while its writer goes on, and [`SignedLog::settle`] waits for that. A program that is
    /// killed meanwhile leaves an older mark, which only shows less.
    ///
    /// # Errors
    ///
    /// As [`SignedLog::append`].
    pub async fn append_ahead(&self, record: NewAuditRecord) -> Result<AuditRecord, Error> {
        let store = self.store.get().await?;
        let record = crate::AuditLog::append(&*store, record).await?;
        // Nothing is waited for from here on: a caller that gives up now has had its record signed and
        // copied all the same.
        if let Some(copies) = &self.copies {
            copies.copy(&record);
        }
        if let Some(lazy) = &self.signer {
            let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
            let before = under_way.clone();
            let (lazy, record) = (Arc::clone(lazy), record.clone());
            let signing = tokio::spawn(async move {
                if let Some(before) = before {
                    before.await;
                }
                sign(lazy, record, store).await;
            });
            // A panic there is a bug that has been printed.
            *under_way = Some(signing.map(drop).boxed().shared());
        }
        Ok(record)
    }

    /// Waits until everything that was appended is signed and marked.
    pub async fn settle(&self) {
        let last = self.under_way.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(last) = last {
            last.await;
        }
    }
}

/// Signs for a record and marks it; every eighth checkpoint is kept in the store.
async fn sign(lazy: Arc<LazySigner>, record: AuditRecord, store: Arc<dyn Store>) {
    let sign = move || lazy.get().map(|signer| signer.sign(&record));
    // A panic there is a bug that has been printed; the record is written all the same.
    let checkpoint = tokio::task::spawn_blocking(sign).await.ok().flatten();
    if let Some(checkpoint) = checkpoint.filter(|it| it.seq.is_multiple_of(EVERY))
        && let Err(error) = store.keep_checkpoint(&checkpoint).await
    {
        tracing::warn!(error = %Chain(&error), "a checkpoint of the audit log is not kept");
    }
}

impl std::fmt::Debug for SignedLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SignedLog").field("store", &self.store).finish_non_exhaustive()
    }
}

// === impl LazySigner ===

impl LazySigner {
    fn get(&self) -> Option<&Signer> {
        let make = || match self.files.read_or_make_key() {
            Ok(key) => Some(Signer { key, mark: self.files.mark.clone(), marked: Mutex::new(0) }),
            Err(error) => {
                tracing::error!(error = %Chain(&error), "the audit log is not signed");
                None
            }
        };
        self.signer.get_or_init(make).as_ref()
    }
}

// === impl Signer ===

impl Signer {
    /// Signs for this record, and marks it as the end.
    fn sign(&self, record: &AuditRecord) -> Checkpoint {
        let checkpoint = self.key.sign(record);
        self.mark(&checkpoint);
        checkpoint
    }

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
