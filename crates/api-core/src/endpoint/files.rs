//! Reading the files that settings name, as something that is passed in.

use std::{io, path::Path};

/// Reads files.
pub trait ReadFile {
    /// The file's bytes, and who may read it.
    fn read(&self, path: &Path) -> io::Result<FileContent>;
}

/// A file that was read.
#[derive(Clone)]
pub struct FileContent {
    /// All of it.
    pub bytes: Vec<u8>,
    /// Whether everybody on the machine may read it; `None` where that cannot be told.
    pub world_readable: Option<bool>,
}

/// Reads from the disk.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk;

// === impl ReadFile ===

impl ReadFile for Disk {
    fn read(&self, path: &Path) -> io::Result<FileContent> {
        let bytes = std::fs::read(path)?;
        #[cfg(unix)]
        let world_readable = {
            use std::os::unix::fs::PermissionsExt;
            Some(std::fs::metadata(path)?.permissions().mode() & 0o004 != 0)
        };
        #[cfg(not(unix))]
        let world_readable = None;
        Ok(FileContent { bytes, world_readable })
    }
}

impl<F: Fn(&Path) -> io::Result<FileContent>> ReadFile for F {
    fn read(&self, path: &Path) -> io::Result<FileContent> {
        self(path)
    }
}
