//! Where events wait while the store is away: files in a folder, each written, synced and only then
//! answered for.
//!
//! A disk is waited for on a thread of its own. Events go into the newest file; [`Spool::oldest`] gives what is in the oldest, and
//! [`Spool::remove`] removes that when all of it is in the log. Whoever is broken off between the two
//! gets it again, and the log knows each event by its source's key. A file of an earlier run is only
//! read. [`Spool::mark`] notes that the store is away, for the run that sees it come back.
//!
//! For details, see: [`event_core::wire::frames`] for what is in a file, `docs/dev/store.md` for when
//! it is used.
//!
//! *Invariant:* what [`Spool::put`] has counted is on disk, the file's name included. *Invariant:* the
//! folder never holds more than it may; what does not fit is refused. *Invariant:* what cannot be read
//! is kept aside for a person and never removed.

mod folder;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use event_core::Event;
use jiff::Timestamp;

use self::folder::Folder;

/// Events that wait, in a folder of their own. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Spool {
    folder: Arc<Mutex<Folder>>,
}

/// Something cannot be put aside, or what was cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpoolError {
    /// There is no more room.
    #[error(
        "put events aside: {max} bytes may wait in {}, and {bytes} do; see why the store is away, \
         or raise events.spool_max_bytes", folder.display()
    )]
    Full {
        /// Where.
        folder: PathBuf,
        /// How many bytes wait.
        bytes: u64,
        /// How many may.
        max: u64,
    },
    /// Another program has the folder.
    #[error(
        "use {} for events that wait: another program does; give each manager an \
         events.spool_dir of its own", _0.display()
    )]
    Taken(PathBuf),
    /// The disk does not do it.
    #[error("{what} {}", path.display())]
    Io {
        /// What was tried, on the file or folder that is named behind it.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it did not work.
        #[source]
        source: std::io::Error,
    },
}

/// How much waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Level {
    /// How many events.
    pub events: u64,
    /// How many bytes the files have.
    pub bytes: u64,
    /// How many they may have.
    pub max_bytes: u64,
}

/// What waits longest: one file.
#[derive(Debug)]
pub struct Oldest {
    /// In the order in which they were put.
    pub events: Vec<Event>,
    name: folder::Number,
    /// Why the file is to be looked at by a person.
    odd: Option<String>,
}

// === impl Spool ===

impl Spool {
    /// The spool in this folder, which is made (for its owner alone) where it is missing; what an
    /// earlier run left in it is there. Waits for the disk: for the start of a program.
    ///
    /// # Errors
    /// [`SpoolError::Taken`], or the disk does not do it.
    pub fn open(folder: &Path, max_bytes: u64) -> Result<Self, SpoolError> {
        let folder = Folder::open(folder.to_path_buf(), max_bytes)?;
        Ok(Self { folder: Arc::new(Mutex::new(folder)) })
    }

    /// Puts these aside, as many of the first of them as there is room for, and says how many; they
    /// are on disk when this returns.
    ///
    /// # Errors
    /// [`SpoolError::Full`] for the very first, or the disk does not do it: none is kept.
    pub async fn put(&self, events: Vec<Event>) -> Result<usize, SpoolError> {
        self.with(move |folder| folder.put(&events)).await
    }

    /// What waits longest; `None` where nothing does. What is put from now on goes into another file.
    ///
    /// # Errors
    /// The disk does not do it.
    pub async fn oldest(&self) -> Result<Option<Oldest>, SpoolError> {
        self.with(Folder::oldest).await
    }

    /// Removes what was taken into the log.
    ///
    /// # Errors
    /// The disk does not do it.
    pub async fn remove(&self, oldest: Oldest) -> Result<(), SpoolError> {
        self.with(move |folder| folder.remove(oldest.name, oldest.odd.as_deref())).await
    }

    /// How much waits.
    pub fn level(&self) -> Level {
        self.lock().level()
    }

    /// Notes that the store is away since then, unless that is noted already.
    ///
    /// # Errors
    /// The disk does not do it.
    pub async fn mark(&self, since: Timestamp) -> Result<(), SpoolError> {
        self.with(move |folder| folder.mark(since)).await
    }

    /// Since when the store is away, as it is noted.
    pub fn marked(&self) -> Option<Timestamp> {
        self.lock().marked()
    }

    /// Notes that it is not away any more.
    ///
    /// # Errors
    /// The disk does not do it.
    pub async fn unmark(&self) -> Result<(), SpoolError> {
        self.with(Folder::unmark).await
    }

    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Folder) -> Result<T, SpoolError> + Send + 'static,
    ) -> Result<T, SpoolError> {
        let this = self.clone();
        match tokio::task::spawn_blocking(move || work(&mut this.lock())).await {
            Ok(done) => done,
            Err(broken) => std::panic::resume_unwind(broken.into_panic()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Folder> {
        // Numbers that a panic left are corrected by what the disk says.
        self.folder.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
