//! An ntfy server: the Debian package's program, of a newer Debian where this one has none, unpacked and not installed.

use std::fs::{self, File};
use std::net::TcpStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use super::debian::free_port;
use super::unpacked::{Programs, libraries, unpack};
use crate::workspace::{output, path, root};

/// What the program needs of the machine's own Debian; the program itself comes from [`RELEASE`].
const NEEDS: Programs = Programs { name: "ntfy", packages: &["libsqlite3-0"], program: "usr/lib" };
const PACKAGE: &str = "ntfy";
const PROGRAM: &str = "usr/bin/ntfy";
/// The first Debian that has the package. The program is linked to little, so it runs on an earlier one as well.
const RELEASE: &str = "trixie";
const ARCHIVE: &str = "http://deb.debian.org/debian";
const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
const REQUIRED: &str = "REQUIRE_SERVICES";
const PATIENCE: Duration = Duration::from_secs(30);

/// A started server, as its state files tell.
struct State {
    url: PathBuf,
    folder: PathBuf,
}

/// Fetches where needed and starts it; nothing to do where it runs. Where it is not to be had, that is said, and is a
/// failure only where services are demanded.
pub(super) fn start() -> Result<()> {
    let state = State::new();
    if let Some((folder, _)) = state.running() {
        println!("ntfy runs already, in {}", folder.display());
        return Ok(());
    }
    state.forget();
    let unpacked = match fetch() {
        Ok(unpacked) => unpacked,
        Err(error) if !is_required() => {
            println!("ntfy is not to be had here, so its tests are skipped: {error:#}");
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    let folder = std::env::temp_dir().join(format!("proxmox-mcp-ntfy-{}", std::process::id()));
    fs::remove_dir_all(&folder).ok();
    fs::create_dir(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let port = free_port()?;
    let settings = folder.join("server.yml");
    fs::write(&settings, settings_text(path(&folder)?, port))?;
    let log = folder.join("log");
    let out = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
    let mut child = Command::new(unpacked.join(PROGRAM))
        .args(["serve", "--config"])
        .arg(&settings)
        .env("LD_LIBRARY_PATH", libraries(&unpacked)?)
        .current_dir(&folder)
        .stdin(Stdio::null())
        .stdout(out.try_clone()?)
        .stderr(out)
        // Of its own, so that an interrupt at the terminal does not end it.
        .process_group(0)
        .spawn()
        .context("cannot start ntfy")?;
    fs::write(folder.join("pid"), child.id().to_string())?;
    fs::create_dir_all(root().join(".services"))?;
    fs::write(&state.folder, path(&folder)?)?;
    let deadline = Instant::now() + PATIENCE;
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        if let Some(status) = child.try_wait()? {
            bail!("ntfy ended at once ({status}); its log is {}", log.display());
        }
        ensure!(Instant::now() < deadline, "ntfy does not listen; its log is {}", log.display());
        std::thread::sleep(Duration::from_millis(50));
    }
    fs::write(&state.url, format!("http://127.0.0.1:{port}"))?;
    println!("ntfy started on 127.0.0.1:{port}");
    Ok(())
}

/// Stops the server and removes its messages.
pub(super) fn stop() -> Result<()> {
    let state = State::new();
    match state.running() {
        Some((_, id)) => {
            // The shell's own: a small machine has no other.
            output(Command::new("sh").args(["-c", "kill \"$1\"", "sh", &id]))?;
            println!("ntfy stopped");
        }
        None => println!("ntfy does not run"),
    }
    state.forget();
    Ok(())
}

/// Says whether it runs.
pub(super) fn status() {
    match State::new().running() {
        Some((folder, _)) => println!("ntfy runs, in {}", folder.display()),
        None => println!("ntfy does not run"),
    }
}

// === impl State ===

impl State {
    fn new() -> Self {
        let folder = root().join(".services");
        Self { url: folder.join("ntfy.url"), folder: folder.join("ntfy.folder") }
    }

    /// The folder and the process of the server that runs, if one does.
    fn running(&self) -> Option<(PathBuf, String)> {
        let folder = PathBuf::from(fs::read_to_string(&self.folder).ok()?);
        let id = fs::read_to_string(folder.join("pid")).ok()?.trim().to_owned();
        let name = fs::read_to_string(format!("/proc/{id}/comm")).ok()?;
        (name.trim() == PACKAGE && self.url.exists()).then_some((folder, id))
    }

    /// Removes the state files, and the messages if they are where we put them.
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

/// The root that the program is unpacked in.
fn fetch() -> Result<PathBuf> {
    let folder = NEEDS.folder();
    let unpacked = folder.join("root");
    if unpacked.join(PROGRAM).exists() {
        return Ok(unpacked);
    }
    let unpacked = NEEDS.fetch()?;
    let lists = folder.join("lists");
    fs::create_dir_all(lists.join("partial"))?;
    let source = folder.join("sources.list");
    fs::write(&source, format!("deb [signed-by={KEYS}] {ARCHIVE} {RELEASE} main\n"))?;
    let apt = |args: &[&str]| -> Result<String> {
        let mut command = Command::new("apt-get");
        // Lists of its own, so that the machine never takes anything else from that release.
        command.arg("-o").arg(format!("Dir::Etc::sourcelist={}", path(&source)?));
        command.arg("-o").arg(format!("Dir::State::lists={}", path(&lists)?));
        command.args(["-o", "Dir::Etc::sourceparts=-", "-o", "Acquire::Languages=none"]);
        command.args(["-o", "Dir::Cache::pkgcache=", "-o", "Dir::Cache::srcpkgcache="]);
        command.args(["-o", "Debug::NoLocking=1", "-o", "APT::Sandbox::User=root"]);
        output(command.args(args).current_dir(folder.join("archives")))
    };
    apt(&["update", "--quiet"]).with_context(|| format!("cannot read the lists of {ARCHIVE}"))?;
    apt(&["download", "--quiet", PACKAGE]).with_context(|| format!("cannot fetch {PACKAGE}"))?;
    unpack(&folder.join("archives"), &unpacked)?;
    fs::remove_dir_all(&lists).ok();
    ensure!(unpacked.join(PROGRAM).exists(), "the package {PACKAGE} brought no {PROGRAM}");
    Ok(unpacked)
}

#[expect(clippy::disallowed_methods, reason = "what CI promises is told by the environment alone")]
fn is_required() -> bool {
    std::env::var(REQUIRED).is_ok_and(|value| !value.is_empty() && value != "0")
}

fn settings_text(folder: &str, port: u16) -> String {
    // All tests come from one address, and the limits are for one client each.
    format!(
        "base-url: http://127.0.0.1:{port}
listen-http: 127.0.0.1:{port}
cache-file: {folder}/cache.db
cache-duration: 12h
attachment-cache-dir: {folder}/attachments
visitor-request-limit-exempt-hosts: 127.0.0.1
visitor-subscription-limit: 200
visitor-message-daily-limit: 100000
"
    )
}
