//! What services from Debian's packages share: installing them, accounts, ports and passwords.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::{OpenOptionsExt as _, chown};
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::workspace::{output, run};

/// An account of the machine.
pub(super) struct Account {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

/// Installs a package.
pub(super) fn install(package: &str) -> Result<()> {
    if !is_root()? {
        bail!("{package} is missing: `sudo apt-get install {package}` brings it");
    }
    let apt = |args: &[&str]| {
        let mut command = Command::new("apt-get");
        run(command.args(args).env("DEBIAN_FRONTEND", "noninteractive"))
    };
    apt(&["update", "--quiet"])?;
    apt(&["install", "--yes", "--quiet", "--no-install-recommends", package])
}

/// The account of this name in the text of `/etc/passwd`.
pub(super) fn find_account(accounts: &str, name: &str) -> Option<Account> {
    let fields = accounts.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let found = fields.into_iter().find(|fields| fields.first() == Some(&name))?;
    Some(Account { uid: found.get(2)?.parse().ok()?, gid: found.get(3)?.parse().ok()? })
}

/// Whether we are root.
pub(super) fn is_root() -> Result<bool> {
    Ok(output(Command::new("id").arg("-u"))?.trim() == "0")
}

/// A port of loopback that is free now.
pub(super) fn free_port() -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("cannot bind a loopback port")?;
    Ok(listener.local_addr()?.port())
}

/// A password that nobody guesses.
pub(super) fn random_password() -> Result<String> {
    let mut bytes = [0; 16];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}

/// Writes a file that we, or the account, alone can read.
pub(super) fn write_private(path: &Path, text: &str, account: Option<&Account>) -> Result<()> {
    let mut file = fs::OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    file.write_all(text.as_bytes())?;
    if let Some(account) = account {
        chown(path, Some(account.uid), Some(account.gid))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_read() {
        let accounts = "root:x:0:0:root:/root:/bin/sh\npostgres:x:104:110::/:/bin/sh\nbroken\n";
        let account = find_account(accounts, "postgres").unwrap();
        assert_eq!((account.uid, account.gid), (104, 110));
        assert!(find_account(accounts, "nobody").is_none());
        assert!(find_account(accounts, "broken").is_none());
    }
}
