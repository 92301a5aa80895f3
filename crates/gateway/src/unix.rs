//! The Unix socket: for the owner alone, put in place whole, and taken away at the end.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};

use crate::error::GatewayError;

/// A bound socket, removed when this is dropped.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) listener: UnixListener,
    pub(crate) path: PathBuf,
    inode: (u64, u64),
}

// === impl Socket ===

impl Socket {
    /// Binds the socket at `path` so that only this user (and root) can connect.
    ///
    /// A socket that is left over from a server that is gone is replaced; one that somebody listens on is not.
    pub(crate) async fn bind(path: &Path) -> Result<Self, GatewayError> {
        let fail = |source| GatewayError::Socket { path: path.to_owned(), source };
        match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(fail(error)),
            Ok(entry) if !entry.file_type().is_socket() => {
                return Err(GatewayError::NotASocket { path: path.to_owned() });
            }
            Ok(_) => match UnixStream::connect(path).await {
                Ok(_) => return Err(GatewayError::SocketInUse { path: path.to_owned() }),
                // What refuses is left over; what may not be tried (another owner's) is not ours to replace.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                Err(error) => return Err(fail(error)),
            },
        }
        // Bound under a name that nobody knows, closed to others, and only then given its name: at no time can anybody
        // else connect, and the change from the old socket to the new one is a single step.
        let mut hidden = path.as_os_str().to_owned();
        hidden.push(format!(".{}", uuid::Uuid::new_v4().simple()));
        let hidden = PathBuf::from(hidden);
        let listener = UnixListener::bind(&hidden).map_err(fail)?;
        let placed = fs::set_permissions(&hidden, fs::Permissions::from_mode(0o600))
            .and_then(|()| fs::metadata(&hidden))
            .and_then(|entry| fs::rename(&hidden, path).map(|()| entry));
        match placed {
            Ok(entry) => {
                let inode = (entry.dev(), entry.ino());
                Ok(Self { listener, path: path.to_owned(), inode })
            }
            Err(error) => {
                let _ = fs::remove_file(&hidden);
                Err(fail(error))
            }
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Not what another server has put there since.
        let ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|entry| (entry.dev(), entry.ino()) == self.inode);
        if ours {
            let _ = fs::remove_file(&self.path);
        }
    }
}
