//! Dovecot from the Debian package, for the mailbox reader: any name with the one password has a mailbox of its own.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::debian::{self, find_account, free_port, is_root, random_password, write_private};
use crate::workspace::{output, path, root};

const PACKAGE: &str = "dovecot-imapd";
const PATIENCE: Duration = Duration::from_secs(30);

/// A started server, as its state files tell.
struct State {
    url: PathBuf,
    folder: PathBuf,
}

/// Installs where needed and starts it; nothing to do where it runs.
pub(super) fn start() -> Result<()> {
    let state = State::new();
    if let Some(folder) = state.running() {
        println!("dovecot runs already, in {}", folder.display());
        return Ok(());
    }
    state.forget();
    if !is_installed() {
        debian::install(PACKAGE)?;
    }
    // Among the temporary files, since its account cannot get into a checkout below `/root`.
    let folder = std::env::temp_dir().join(format!("proxmox-mcp-dovecot-{}", std::process::id()));
    fs::remove_dir_all(&folder).ok();
    for folder in [&folder, &folder.join("run"), &folder.join("mail")] {
        fs::create_dir(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
    }
    let owner = owner(&folder.join("mail"))?;
    let (port, password) = (free_port()?, random_password()?);
    let settings = folder.join("dovecot.conf");
    write_private(&settings, &settings_text(path(&folder)?, port, &password, &owner), None)?;
    // The server keeps what it is given for its output as long as it runs, so nobody may wait for the end of that.
    let mut dovecot = Command::new("dovecot");
    dovecot
        .arg("-c")
        .arg(&settings)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let started = dovecot.status().context("cannot run dovecot")?;
    ensure!(
        started.success(),
        "dovecot does not start ({started}); its log is in {}",
        folder.display()
    );

    fs::create_dir_all(root().join(".services"))?;
    fs::write(&state.folder, path(&folder)?)?;
    let deadline = Instant::now() + PATIENCE;
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        let log = folder.join("log");
        ensure!(Instant::now() < deadline, "dovecot does not listen; its log is {}", log.display());
        std::thread::sleep(Duration::from_millis(50));
    }
    write_private(&state.url, &format!("imap://events:{password}@127.0.0.1:{port}"), None)?;
    println!("dovecot started on 127.0.0.1:{port}");
    Ok(())
}

/// Stops the server and removes its mail.
pub(super) fn stop() -> Result<()> {
    let state = State::new();
    match state.running() {
        Some(folder) => {
            let settings = folder.join("dovecot.conf");
            output(Command::new("doveadm").arg("-c").arg(settings).arg("stop"))?;
            println!("dovecot stopped");
        }
        None => println!("dovecot does not run"),
    }
    state.forget();
    Ok(())
}

/// Says whether it runs.
pub(super) fn status() {
    match State::new().running() {
        Some(folder) => println!("dovecot runs, in {}", folder.display()),
        None => println!("dovecot does not run"),
    }
}

// === impl State ===

impl State {
    fn new() -> Self {
        let folder = root().join(".services");
        Self { url: folder.join("dovecot.url"), folder: folder.join("dovecot.folder") }
    }

    /// The folder of the server that runs, if one does.
    fn running(&self) -> Option<PathBuf> {
        let folder = PathBuf::from(fs::read_to_string(&self.folder).ok()?);
        let id = fs::read_to_string(folder.join("run/master.pid")).ok()?;
        let name = fs::read_to_string(format!("/proc/{}/comm", id.trim())).ok()?;
        (name.trim() == "dovecot" && self.url.exists()).then_some(folder)
    }

    /// Removes the state files, and the mail if it is where we put it.
    fn forget(&self) {
        if let Ok(folder) = fs::read_to_string(&self.folder)
            && Path::new(&folder).starts_with(std::env::temp_dir())
        {
            fs::remove_dir_all(folder).ok();
        }
        fs::remove_file(&self.url).ok();
        fs::remove_file(&self.folder).ok();
    }
}

fn is_installed() -> bool {
    output(Command::new("dovecot").arg("--version")).is_ok()
        && Path::new("/usr/lib/dovecot/imap").exists()
}

/// The account that has the mail, by its number and its group's; one of its own, where we are root.
fn owner(mail: &Path) -> Result<String> {
    if !is_root()? {
        let uid = output(Command::new("id").arg("-u"))?;
        let gid = output(Command::new("id").arg("-g"))?;
        return Ok(format!("uid={} gid={}", uid.trim(), gid.trim()));
    }
    let accounts = fs::read_to_string("/etc/passwd").context("cannot read /etc/passwd")?;
    let account = find_account(&accounts, "dovecot").context("there is no account `dovecot`")?;
    chown(mail, Some(account.uid), Some(account.gid))?;
    Ok(format!("uid={} gid={}", account.uid, account.gid))
}

fn settings_text(folder: &str, port: u16, password: &str, owner: &str) -> String {
    format!(
        "base_dir = {folder}/run
log_path = {folder}/log
protocols = imap
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
first_valid_uid = 1
mail_location = maildir:{folder}/mail/%u
passdb {{
  driver = static
  args = password={password}
}}
userdb {{
  driver = static
  args = {owner} home={folder}/mail/%u
}}
service imap-login {{
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
"
    )
}
