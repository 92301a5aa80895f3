//! Writing files that did not exist, for everybody or for their owner only.

use std::fs::{DirBuilder, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context;
use settings::Sources;

/// Readable by everybody.
pub(crate) const PUBLIC: u32 = 0o644;
/// Readable by the owner only.
pub(crate) const PRIVATE: u32 = 0o600;

/// Writes a file that does not exist yet, with this mode from its first moment on.
pub(crate) fn write_new(path: &Path, bytes: &[u8], mode: u32) -> anyhow::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    with_mode(&mut options, mode);
    let written = options.open(path).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.with_context(|| format!("write {}", path.display()))
}

/// Adds to a file, which is made where it is missing.
pub(crate) fn append(path: &Path, text: &str) -> anyhow::Result<()> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    with_mode(&mut options, PUBLIC);
    let written = options.open(path).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    written.with_context(|| format!("write {}", path.display()))
}

/// Makes a folder and those above it where they are missing; one that exists stays as it is.
pub(crate) fn folder(path: &Path, is_private: bool) -> anyhow::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        folder(parent, false)?;
    }
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt as _;
        builder.mode(if is_private { 0o700 } else { 0o755 });
    }
    #[cfg(not(unix))]
    let _ = is_private;
    builder.create(path).with_context(|| format!("make the folder {}", path.display()))
}

/// The folders in which the settings are looked for, the nearest first.
pub(crate) fn usual_folders(sources: &Sources) -> Vec<PathBuf> {
    let configured = sources.config.as_deref().and_then(Path::parent).map(Path::to_owned);
    configured.map_or_else(|| sources.search_path(), |folder| vec![folder])
}

/// The first of these folders that has settings, else the first of them.
pub(crate) fn settings_folder(usual: &[PathBuf]) -> PathBuf {
    let has_settings =
        |folder: &&PathBuf| folder.join("config.toml").exists() || folder.join("conf.d").exists();
    let folder = usual.iter().find(has_settings).or(usual.first()).cloned();
    folder.unwrap_or_else(|| PathBuf::from("/etc/proxmox-mcp"))
}

fn with_mode(options: &mut OpenOptions, mode: u32) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(mode);
    }
    #[cfg(not(unix))]
    let _ = (options, mode);
}
