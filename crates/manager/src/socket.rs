//! The control socket: bound by the holder of the lock alone, open to one group besides the owner.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;

use crate::lock::Lock;

/// The longest path that fits into a socket's address.
const LONGEST: usize = 107;

/// A bound control socket, removed when this is dropped.
#[derive(Debug)]
pub struct ControlSocket {
    pub(crate) listener: UnixListener,
    path: PathBuf,
    inode: (u64, u64),
}

/// Why the socket could not be bound.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SocketError {
    /// Something that is no socket stands there.
    #[error("bind the control socket at {}: something else stands there; remove it or set manager.socket", path.display())]
    NotASocket {
        /// Where.
        path: PathBuf,
    },
    /// The path is too long for a socket.
    #[error("bind the control socket at {}: a socket's path has at most {LONGEST} bytes; set manager.socket", path.display())]
    TooLong {
        /// Where.
        path: PathBuf,
    },
    /// The system refuses.
    #[error("bind the control socket at {}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The group does not exist, or this account may not give a file to it.
    #[error("let group {group} use the control socket at {}; the manager's account has to be a member of it", path.display())]
    Group {
        /// Where.
        path: PathBuf,
        /// The group's number.
        group: u32,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

// === impl ControlSocket ===

impl ControlSocket {
    /// Binds the socket. A socket that is left over is replaced: whoever has the lock knows that
    /// nobody listens on it.
    ///
    /// Its owner and root can connect, and the members of `group` if one is given.
    ///
    /// # Errors
    ///
    /// What stands in the way; see [`SocketError`].
    pub fn bind(_owner: &Lock, path: &Path, group: Option<u32>) -> Result<Self, SocketError> {
        let fail = |source| SocketError::Io { path: path.to_owned(), source };
        match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(fail(error)),
            Ok(entry) if !entry.file_type().is_socket() => {
                return Err(SocketError::NotASocket { path: path.to_owned() });
            }
            Ok(_) => {}
        }
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(fail)?;
        }
        // Bound under another name, closed to others, and only then given its own: at no time can
        // anybody else connect, and the change from the old socket to the new one is a single step.
        let mut hidden = path.as_os_str().to_owned();
        hidden.push(format!(".{}", std::process::id()));
        let hidden = PathBuf::from(hidden);
        if hidden.as_os_str().len() > LONGEST {
            return Err(SocketError::TooLong { path: path.to_owned() });
        }
        let _ = fs::remove_file(&hidden);
        let listener = UnixListener::bind(&hidden).map_err(fail)?;
        match place(&hidden, path, group) {
            Ok(entry) => {
                let inode = (entry.dev(), entry.ino());
                Ok(Self { listener, path: path.to_owned(), inode })
            }
            Err(error) => {
                let _ = fs::remove_file(&hidden);
                Err(error)
            }
        }
    }

    /// Where it stands.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn place(hidden: &Path, path: &Path, group: Option<u32>) -> Result<fs::Metadata, SocketError> {
    let fail = |source| SocketError::Io { path: path.to_owned(), source };
    // The group first: with the wider mode in force it would be the wrong group for a moment.
    fs::set_permissions(hidden, fs::Permissions::from_mode(0o600)).map_err(fail)?;
    if let Some(group) = group {
        std::os::unix::fs::chown(hidden, None, Some(group))
            .map_err(|source| SocketError::Group { path: path.to_owned(), group, source })?;
        fs::set_permissions(hidden, fs::Permissions::from_mode(0o660)).map_err(fail)?;
    }
    let entry = fs::metadata(hidden).map_err(fail)?;
    fs::rename(hidden, path).map_err(fail)?;
    Ok(entry)
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        // Not what the next holder of the lock has put there since.
        let ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|entry| (entry.dev(), entry.ino()) == self.inode);
        if ours {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_replaces_what_is_left_over_and_goes_with_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let lock = Lock::take(folder.path()).unwrap();
        let path = folder.path().join("control.sock");
        // A socket whose process has died: the file stays.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let socket = ControlSocket::bind(&lock, &path, None).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(tokio::net::UnixStream::connect(&path).await.is_ok());
        drop(socket);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn it_takes_no_file_for_a_socket_and_leaves_the_next_ones_alone() {
        let folder = tempfile::tempdir().unwrap();
        let lock = Lock::take(folder.path()).unwrap();
        let path = folder.path().join("control.sock");
        fs::write(&path, "mine").unwrap();
        let error = ControlSocket::bind(&lock, &path, None).unwrap_err();
        assert!(matches!(error, SocketError::NotASocket { .. }));
        fs::remove_file(&path).unwrap();
        let first = ControlSocket::bind(&lock, &path, None).unwrap();
        let second = ControlSocket::bind(&lock, &path, None).unwrap();
        drop(first);
        assert!(path.exists(), "the later one stays");
        drop(second);
        assert!(!path.exists());
    }
}
