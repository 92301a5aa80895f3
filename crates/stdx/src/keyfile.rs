//! Secret keys in files of their own: made on first use, readable by their owner alone.

use std::{
    fs::{DirBuilder, File, OpenOptions},
    io::{ErrorKind, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use crate::seal::random_bytes;

/// The longest key file that is read.
const MAX_LEN: u64 = 4096;

/// Why a key file is not used. The key itself is never in it.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// It could not be read or made.
    #[error("{operation} the key file {}", path.display())]
    Io {
        /// `read`, `make`.
        operation: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Others may read or write it.
    #[error(
        "read the key file {}: other accounts may open it (mode {mode:03o}); make a new key, or \
         run `chmod 600` on it if nobody has", path.display()
    )]
    NotPrivate {
        /// Which.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It does not hold a key of the kind that is needed.
    #[error("read the key file {}: it does not hold {wanted}", path.display())]
    Malformed {
        /// Which.
        path: PathBuf,
        /// What should be in it.
        wanted: &'static str,
    },
    /// The system gives no random bytes.
    #[error("make the key file {}: the system gives no random bytes", path.display())]
    NoRandomness {
        /// Which.
        path: PathBuf,
    },
}

/// What the file holds, or `None` if it is not there.
///
/// # Errors
///
/// When it cannot be read, is longer than any key, or is open to other accounts.
pub fn read(path: &Path) -> Result<Option<Vec<u8>>, KeyFileError> {
    let failed = |source| KeyFileError::Io { operation: "read", path: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mode = file.metadata().map_err(failed)?.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeyFileError::NotPrivate { path: path.to_owned(), mode });
    }
    let mut bytes = Vec::new();
    file.take(MAX_LEN).read_to_end(&mut bytes).map_err(failed)?;
    Ok(Some(bytes))
}

/// What the file holds; if it is not there, it is made with what `make` gives.
///
/// Of several programs that start at once one makes the file, and all of them use it.
///
/// # Errors
///
/// As [`read`], when the file cannot be made, and what `make` says.
pub fn read_or_make(
    path: &Path,
    make: impl FnOnce() -> Result<Vec<u8>, KeyFileError>,
) -> Result<Vec<u8>, KeyFileError> {
    if let Some(bytes) = read(path)? {
        return Ok(bytes);
    }
    let failed = |source| KeyFileError::Io { operation: "make", path: path.to_owned(), source };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
    // Written whole beside its place and then linked there: whoever reads it sees all of it, and
    // a link, unlike a renaming, does not take the place of a file that another has just made.
    let suffix: [u8; 8] = random(path)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let draft = folder.join(format!(".{name}.{:016x}", u64::from_be_bytes(suffix)));
    let bytes = make()?;
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        std::fs::hard_link(&draft, path)?;
        File::open(folder)?.sync_all()
    };
    let written = write();
    // Where even the draft could not be made there is none to remove.
    let _ = std::fs::remove_file(&draft);
    match written {
        Ok(()) => Ok(bytes),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            read(path)?.ok_or_else(|| failed(error))
        }
        Err(error) => Err(failed(error)),
    }
}

/// A key of exactly `N` random bytes, made on first use.
///
/// # Errors
///
/// As [`read_or_make`], and when the file holds another number of bytes.
pub fn random_key<const N: usize>(path: &Path) -> Result<[u8; N], KeyFileError> {
    let bytes = read_or_make(path, || random::<N>(path).map(|key| key.to_vec()))?;
    bytes.try_into().map_err(|_| KeyFileError::Malformed {
        path: path.to_owned(),
        wanted: "a key of the length that this program makes",
    })
}

fn random<const N: usize>(path: &Path) -> Result<[u8; N], KeyFileError> {
    random_bytes().map_err(|_| KeyFileError::NoRandomness { path: path.to_owned() })
}

#[cfg(test)]
mod tests {
    use std::{fs::Permissions, os::unix::fs::PermissionsExt as _};

    use super::*;

    #[test]
    fn made_once_private_and_the_same_ever_after() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state/seal.key");
        assert!(read(&path).unwrap().is_none());
        let keys: Vec<[u8; 32]> = std::thread::scope(|scope| {
            let makers: Vec<_> =
                (0..8).map(|_| scope.spawn(|| random_key::<32>(&path).unwrap())).collect();
            makers.into_iter().map(|maker| maker.join().unwrap()).collect()
        });
        assert!(keys.iter().all(|key| key == &keys[0]), "one of them made it for all");
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        assert_eq!(path.parent().unwrap().read_dir().unwrap().count(), 1, "no draft is left");
        assert!(random_key::<16>(&path).unwrap_err().to_string().ends_with("this program makes"));
    }

    #[test]
    fn a_file_that_others_may_open_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seal.key");
        std::fs::write(&path, [7; 32]).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        let error = random_key::<32>(&path).unwrap_err().to_string();
        assert!(error.contains("other accounts may open it (mode 640)"), "{error}");
    }
}
