//! Programs of Debian packages that are unpacked and not installed: no daemon of theirs starts, no other package has to
//! go, and nothing of the machine's own syslog or mail is touched.
//!
//! `.services/<name>.programs` says where they are: the root that they stand in on the first line, and the folders of
//! their libraries, as `LD_LIBRARY_PATH` takes them, on the second.
//!
//! *Invariant:* nothing is written outside the workspace, but for the lists of `apt-get update` where they are missing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::workspace::{output, path, root};

/// rsyslog, with its TLS by OpenSSL.
pub(super) const RSYSLOG: Programs = Programs {
    name: "rsyslog",
    packages: &["rsyslog", "rsyslog-openssl"],
    program: "usr/sbin/rsyslogd",
};

/// Postfix.
pub(super) const POSTFIX: Programs =
    Programs { name: "postfix", packages: &["postfix"], program: "usr/lib/postfix/sbin/master" };

/// What is unpacked for tests to start.
pub(super) struct Programs {
    pub(super) name: &'static str,
    pub(super) packages: &'static [&'static str],
    /// The program that must be there then, below the root.
    pub(super) program: &'static str,
}

// === impl Programs ===

impl Programs {
    /// Fetches and unpacks them; nothing to do where that is done.
    pub(super) fn start(&self) -> Result<()> {
        let folder = self.fetch()?;
        let state = self.state();
        fs::create_dir_all(root().join(".services"))?;
        let text = format!("{}\n{}\n", path(&folder)?, libraries(&folder)?);
        fs::write(&state, text).with_context(|| format!("cannot write {}", state.display()))?;
        println!("{} is there for tests to start, in {}", self.name, folder.display());
        Ok(())
    }

    /// Hides them from tests; what is unpacked stays for the next time.
    pub(super) fn stop(&self) {
        fs::remove_file(self.state()).ok();
        println!("{} is no longer there for tests", self.name);
    }

    /// Says whether tests find them.
    pub(super) fn status(&self) {
        let is = if self.state().exists() { "is" } else { "is not" };
        println!("{} {is} there for tests to start", self.name);
    }

    /// The root that they are unpacked in, with what they need and the machine lacks.
    pub(super) fn fetch(&self) -> Result<PathBuf> {
        let folder = self.folder();
        let unpacked = folder.join("root");
        if unpacked.join(self.program).exists() {
            return Ok(unpacked);
        }
        let archives = folder.join("archives");
        fs::create_dir_all(archives.join("partial"))?;
        // A machine that was just made has no lists of packages.
        if download(&archives, self.packages).is_err() {
            output(Command::new("apt-get").args(["update", "--quiet"]))?;
            download(&archives, self.packages)?;
        }
        unpack(&archives, &unpacked)?;
        ensure!(
            unpacked.join(self.program).exists(),
            "the packages {} brought no {}",
            self.packages.join(", "),
            self.program
        );
        Ok(unpacked)
    }

    pub(super) fn folder(&self) -> PathBuf {
        root().join("target/services").join(self.name)
    }

    fn state(&self) -> PathBuf {
        root().join(".services").join(format!("{}.programs", self.name))
    }
}

/// Downloads packages and those that they need and the machine lacks.
fn download(archives: &Path, packages: &[&str]) -> Result<()> {
    let mut command = Command::new("apt-get");
    command.args(["install", "--yes", "--quiet", "--download-only", "--no-install-recommends"]);
    // Also where the machine has it: what is unpacked is whole, and the machine's own stays out of it.
    command.arg("--reinstall").args(["-o", "Debug::NoLocking=1", "-o", "Dir::Cache::pkgcache="]);
    command.args(["-o", "Dir::Cache::srcpkgcache=", "-o", "APT::Sandbox::User=root"]);
    command.arg("-o").arg(format!("Dir::Cache::archives={}", path(archives)?));
    output(command.args(packages).env("DEBIAN_FRONTEND", "noninteractive"))
        .with_context(|| format!("cannot fetch {}", packages.join(", ")))?;
    Ok(())
}

/// Unpacks all packages of a folder.
pub(super) fn unpack(archives: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(archives)? {
        let file = entry?.path();
        if file.extension().is_some_and(|ending| ending == "deb") {
            output(Command::new("dpkg").arg("-x").arg(file).arg(to))?;
        }
    }
    Ok(())
}

/// The folders below a root that have libraries, as `LD_LIBRARY_PATH` takes them.
pub(super) fn libraries(unpacked: &Path) -> Result<String> {
    let mut found = Vec::new();
    for folder in ["usr/lib", "lib"].map(|folder| unpacked.join(folder)) {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries {
            let inner = entry?.path();
            if has_libraries(&inner) {
                found.push(path(&inner)?.to_owned());
            }
        }
    }
    found.sort();
    Ok(found.join(":"))
}

fn has_libraries(folder: &Path) -> bool {
    let Ok(entries) = fs::read_dir(folder) else { return false };
    let mut names = entries.flatten().map(|entry| entry.file_name());
    names.any(|name| name.to_string_lossy().starts_with("lib"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_with_libraries_are_found() {
        let place = std::env::temp_dir().join(format!("xtask-libraries-{}", std::process::id()));
        fs::remove_dir_all(&place).ok();
        for file in ["usr/lib/x/libone.so.1", "usr/lib/y/sbin/two", "usr/lib/z/libthree.so"] {
            let file = place.join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, "").unwrap();
        }
        let found = libraries(&place).unwrap().replace(place.to_str().unwrap(), "");
        fs::remove_dir_all(&place).unwrap();
        assert_eq!(found, "/usr/lib/x:/usr/lib/z");
    }
}
