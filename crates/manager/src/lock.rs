//! Who owns the state: one process at a time, by a lock that the system takes back when it dies.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

/// The file's name in the state folder.
const NAME: &str = "manager.lock";

/// The lock on a state folder. Only its holder unlinks or binds the control socket, runs approved
/// work and the timers. The system gives it back when the process ends, however it ends.
#[derive(Debug)]
pub struct Lock {
    // Closing it is what gives the lock back; the file stays, since removing it would let two win.
    file: File,
    path: PathBuf,
}

/// Why the lock was not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// Another process has it.
    #[error("take the lock {}: process {} has it", path.display(), pid.map_or("that is not known".to_owned(), |pid| pid.to_string()))]
    Held {
        /// The lock's file.
        path: PathBuf,
        /// The process, as far as it has said.
        pid: Option<u32>,
    },
    /// The state folder cannot be used.
    #[error("take the lock {}", path.display())]
    Io {
        /// The lock's file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

// === impl Lock ===

impl Lock {
    /// Takes the lock of a state folder, which is made where it is missing, readable by its owner.
    ///
    /// # Errors
    ///
    /// [`LockError::Held`] at once where another process has it: nobody is waited for.
    pub fn take(state: &Path) -> Result<Self, LockError> {
        let path = state.join(NAME);
        let fail = |source| LockError::Io { path: path.clone(), source };
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(state).map_err(fail)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = options.open(&path).map_err(fail)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let pid = read_pid(&mut file);
                return Err(LockError::Held { path, pid });
            }
            Err(errno) => return Err(fail(errno.into())),
        }
        // For people and for the message above; whoever has the lock is right, whatever it says.
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .map_err(fail)?;
        Ok(Self { file, path })
    }

    /// Whether some process has the lock of this folder now. To know is not to have: it can change
    /// before the answer is read.
    pub fn is_held(state: &Path) -> bool {
        let path = state.join(NAME);
        // Asked with a shared lock on a reading handle, so that looking leaves no traces.
        let Ok(file) = File::open(&path) else { return false };
        matches!(flock(&file, FlockOperation::NonBlockingLockShared), Err(Errno::WOULDBLOCK))
    }

    /// The lock's file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // An empty file says that nobody has it; what cannot be emptied is overwritten by the next.
        let _ = self.file.set_len(0);
    }
}

fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_and_the_loser_is_told_who() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("deep").join("state");
        assert!(!Lock::is_held(&state));
        let lock = Lock::take(&state).unwrap();
        assert!(Lock::is_held(&state));
        let error = Lock::take(&state).unwrap_err();
        let own = std::process::id();
        assert!(matches!(error, LockError::Held { pid: Some(pid), .. } if pid == own), "{error}");
        drop(lock);
        assert!(!Lock::is_held(&state));
        let again = Lock::take(&state).unwrap();
        assert!(again.path().exists());
    }

    #[test]
    fn what_cannot_be_a_folder_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(matches!(Lock::take(&file).unwrap_err(), LockError::Io { .. }));
    }
}
