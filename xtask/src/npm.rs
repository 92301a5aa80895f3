//! Programs from npm, at exact versions, in folders below `target/`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::workspace::{root, run};

/// What `npm ci` needs.
const MANIFESTS: [&str; 2] = ["package.json", "package-lock.json"];

/// Installs what the manifests in `source` (below the workspace's root) name into `target/NAME`, unless it is there.
///
/// Without a lock file the versions of the manifest alone are exact.
pub(crate) fn install(source: &str, name: &str) -> Result<PathBuf> {
    let source = root().join(source);
    let folder = root().join("target").join(name);
    let has_lock = source.join(MANIFESTS[1]).exists();
    let kept = |folder: &Path| {
        let manifest = fs::read(folder.join(MANIFESTS[0])).ok();
        let lock = if has_lock { fs::read(folder.join(MANIFESTS[1])).ok() } else { None };
        (manifest, lock)
    };
    let done = folder.join("node_modules/.done");
    if done.exists() && kept(&source) == kept(&folder) {
        return Ok(folder);
    }
    fs::create_dir_all(&folder)?;
    let copied = if has_lock { &MANIFESTS[..] } else { &MANIFESTS[..1] };
    for name in copied {
        fs::copy(source.join(name), folder.join(name)).with_context(|| format!("copy {name}"))?;
    }
    let verb = if has_lock { "ci" } else { "install" };
    let quiet = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel", "error"];
    run(Command::new("npm").current_dir(&folder).arg(verb).args(quiet))
        .context("npm is needed (Debian's packages are nodejs and npm)")?;
    fs::write(done, "")?;
    Ok(folder)
}

/// The node that was installed there; the system's where there is none for this machine.
pub(crate) fn node(folder: &Path) -> PathBuf {
    let own = folder.join("node_modules/.bin/node");
    if own.exists() { own } else { "node".into() }
}
