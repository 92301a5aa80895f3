//! What all apps of one program share: which jobs it works on, and which consents were used.
//!
//! A server makes an app for each scope of its callers, forgets it and makes it anew; what runs and
//! what was agreed to must not depend on that. And several programs may keep their jobs in one
//! store: each is known there by a random id, so that one tells its own jobs, those of a program
//! that lives and those of one that is gone.
//!
//! Whether another one lives is told by a lock on a file that it holds as long as it runs, where
//! both have one folder; where there is no such file, by how long it has been silent (see
//! [`crate::jobs`]).

use std::{
    collections::BTreeMap,
    fmt,
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak},
};

use mcp_protocol::{JobId, Notifier};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::consent::Consents;

/// How the files are called.
const ENDING: &str = ".lock";

/// One running program. Clones are the same one.
#[derive(Clone)]
pub struct Process(Arc<Inner>);

struct Inner {
    id: String,
    consents: Arc<Consents>,
    /// The jobs that it works on, and how each is stopped.
    running: Mutex<BTreeMap<String, CancellationToken>>,
    /// Those to tell when a job has changed: one for each app.
    notifiers: Mutex<Vec<Weak<Notifier>>>,
    folder: Option<PathBuf>,
    /// Held for as long as this lives; made when the first job needs it.
    lock: OnceLock<Option<Lock>>,
}

struct Lock {
    path: PathBuf,
    /// Closing it opens the lock, however the program ends.
    _file: File,
}

// === impl Process ===

impl Process {
    /// A program of which others on the same store know only by what it writes there.
    pub fn new() -> Self {
        Self::made(None)
    }

    /// A program that others with the same folder see living; the folder is made when it is needed.
    pub fn in_folder(folder: impl Into<PathBuf>) -> Self {
        Self::made(Some(folder.into()))
    }

    fn made(folder: Option<PathBuf>) -> Self {
        Self(Arc::new(Inner {
            id: format!("{:032x}", rand::random::<u128>()),
            consents: Arc::default(),
            running: Mutex::default(),
            notifiers: Mutex::default(),
            folder,
            lock: OnceLock::new(),
        }))
    }

    /// The consents that were used.
    pub(crate) fn consents(&self) -> Arc<Consents> {
        Arc::clone(&self.0.consents)
    }

    /// Its name in the store. Whoever writes it down shall be seen living.
    pub(crate) fn id(&self) -> &str {
        self.0.lock.get_or_init(|| {
            let folder = self.0.folder.as_deref()?;
            let locked = Lock::take(folder, &self.0.id);
            locked
                .inspect_err(|error| {
                    let folder = folder.display();
                    warn!(%folder, %error, "other programs cannot see whether this one lives");
                })
                .ok()
        });
        &self.0.id
    }

    /// Whether that is its name.
    pub(crate) fn is(&self, id: &str) -> bool {
        self.0.id == id
    }

    /// Whether the program of that name is gone for certain; `None` if that cannot be seen.
    pub(crate) fn is_gone(&self, id: &str) -> Option<bool> {
        let is_id = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        let path = path_of(self.0.folder.as_deref().filter(|_| is_id)?, id);
        let file = File::open(path).ok()?;
        match file.try_lock() {
            Ok(()) => Some(true),
            Err(TryLockError::WouldBlock) => Some(false),
            Err(TryLockError::Error(_)) => None,
        }
    }

    /// Notes that it works on a job from now on.
    pub(crate) fn begin(&self, job: &JobId, stop: CancellationToken) {
        lock(&self.0.running).insert(job.as_str().to_owned(), stop);
    }

    /// Notes that it does not any more.
    pub(crate) fn end(&self, job: &JobId) {
        lock(&self.0.running).remove(job.as_str());
    }

    /// How a job is stopped, if this works on it.
    pub(crate) fn stop_of(&self, job: &JobId) -> Option<CancellationToken> {
        lock(&self.0.running).get(job.as_str()).cloned()
    }

    /// Whoever follows a job through this notifier hears of its changes, through whichever app they
    /// come about.
    pub(crate) fn tell(&self, notifier: &Arc<Notifier>) {
        let mut notifiers = lock(&self.0.notifiers);
        notifiers.retain(|notifier| notifier.strong_count() > 0);
        notifiers.push(Arc::downgrade(notifier));
    }

    /// Tells that a job has changed.
    pub(crate) fn job_changed(&self, job: &JobId) {
        let notifiers = lock(&self.0.notifiers).clone();
        for notifier in notifiers.iter().filter_map(Weak::upgrade) {
            notifier.job_changed(job);
        }
    }
}

impl Default for Process {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let running = lock(&self.0.running).len();
        f.debug_struct("Process").field("running", &running).finish_non_exhaustive()
    }
}

// === impl Lock ===

impl Lock {
    fn take(folder: &Path, id: &str) -> std::io::Result<Self> {
        fs::create_dir_all(folder)?;
        sweep(folder);
        let path = path_of(folder, id);
        let file = File::create_new(&path)?;
        file.lock()?;
        Ok(Self { path, _file: file })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // One that stays is swept by the next program.
        fs::remove_file(&self.path).ok();
    }
}

/// Removes the files of programs that are gone. What they had begun is judged by its silence then.
fn sweep(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.filter_map(Result::ok).map(|entry| entry.path()) {
        let is_ours = path.extension().is_some_and(|ending| ending == &ENDING[1..]);
        if is_ours && File::open(&path).is_ok_and(|file| file.try_lock().is_ok()) {
            fs::remove_file(&path).ok();
        }
    }
}

fn path_of(folder: &Path, id: &str) -> PathBuf {
    folder.join(format!("{id}{ENDING}"))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every change is one insert or one removal: a panic cannot leave it half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_seen_living_until_it_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("programs");
        let (one, other) = (Process::in_folder(&folder), Process::in_folder(&folder));
        assert_eq!(other.is_gone(&one.0.id), None, "it has written nothing down yet");
        let id = one.id().to_owned();
        assert_eq!((one.is_gone(&id), other.is_gone(&id)), (Some(false), Some(false)));
        assert_eq!(Process::new().is_gone(&id), None, "it has no folder to look into");
        assert_eq!(other.is_gone("../programs"), None);
        // A crash leaves the file and opens the lock.
        let dead = path_of(&folder, &format!("{:032x}", 7));
        File::create_new(&dead).unwrap();
        assert_eq!(one.is_gone(&format!("{:032x}", 7)), Some(true));
        other.id();
        assert!(!dead.exists(), "swept");
        assert_eq!(other.is_gone(&id), Some(false), "but not who lives");
        drop(one);
        assert_eq!(other.is_gone(&id), None);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn clones_are_one_program() {
        let one = Process::new();
        let job = JobId::random();
        one.clone().begin(&job, CancellationToken::new());
        one.stop_of(&job).expect("it runs").cancel();
        assert!(one.clone().stop_of(&job).expect("it runs").is_cancelled());
        one.end(&job);
        assert!(one.clone().stop_of(&job).is_none());
    }
}
