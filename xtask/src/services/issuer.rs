//! A real OAuth issuer: the npm package `oidc-provider`, run by `xtask/services/issuer.mjs`.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use crate::workspace::{output, root, run};

const PACKAGE: (&str, &str) = ("oidc-provider", "9.13.3");
/// What it needs at least, and what is fetched where there is less.
const NODE_MAJOR: u32 = 20;
const NODE: &str = "node@24.21.0";
const SCRIPT: &str = "xtask/services/issuer.mjs";
const PATIENCE: Duration = Duration::from_mins(1);

/// A running issuer, which ends with this unless it ran before.
pub(crate) struct Lease {
    url: String,
    ours: bool,
}

/// The issuer that runs, or one that is started for the time being.
pub(crate) fn lease() -> Result<Lease> {
    let ours = running().is_none();
    if ours {
        start()?;
    }
    Ok(Lease { url: running().context("the issuer does not answer")?, ours })
}

/// Installs where needed and starts it; nothing to do where it runs.
pub(super) fn start() -> Result<()> {
    if let Some(url) = running() {
        println!("the issuer runs already, at {url}");
        return Ok(());
    }
    let folder = install()?;
    let script = folder.join("issuer.mjs");
    // Beside the packages that it imports.
    fs::copy(root().join(SCRIPT), &script).context("cannot copy the issuer's script")?;
    let state = state();
    fs::create_dir_all(root().join(".services"))?;
    fs::remove_file(&state).ok();
    let log = folder.join("log");
    let out = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
    let mut child = Command::new(node(&folder)?)
        .arg(&script)
        .arg(&state)
        .current_dir(&folder)
        .stdin(Stdio::null())
        .stdout(out.try_clone()?)
        .stderr(out)
        // Of its own, so that an interrupt at the terminal does not end it.
        .process_group(0)
        .spawn()
        .context("cannot start node")?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(url) = running() {
            println!("the issuer started at {url}");
            return Ok(());
        }
        if let Some(status) = child.try_wait()? {
            bail!("the issuer ended at once ({status}); its log is {}", log.display());
        }
        ensure!(
            Instant::now() < deadline,
            "the issuer does not listen; its log is {}",
            log.display()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Asks it to end.
pub(super) fn stop() -> Result<()> {
    if let Some(url) = running() {
        let answer = post(&url, "/control/stop")?;
        ensure!(answer.starts_with("HTTP/1.1 200"), "the issuer does not stop: {answer}");
        println!("the issuer stopped");
    } else {
        println!("the issuer does not run");
    }
    fs::remove_file(state()).ok();
    Ok(())
}

/// Says whether it runs.
pub(super) fn status() {
    match running() {
        Some(url) => println!("the issuer runs, at {url}"),
        None => println!("the issuer does not run"),
    }
}

// === impl Lease ===

impl Lease {
    /// Its address.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.ours {
            // What does not stop is found by `cargo xtask services status`.
            let _ = stop();
        }
    }
}

fn state() -> PathBuf {
    root().join(".services/issuer.url")
}

/// The address of an issuer that answers.
fn running() -> Option<String> {
    let url = fs::read_to_string(state()).ok()?;
    // Whatever else took the port since would not know this tenant.
    let answer = post(&url, "/t/RS256/probe/control/rotate").ok()?;
    answer.starts_with("HTTP/1.1 200").then_some(url)
}

/// Posts nothing to a path and gives what comes back.
fn post(url: &str, path: &str) -> Result<String> {
    let address = url.strip_prefix("http://").context("the issuer's address is no address")?;
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: {address}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// The folder that has the package in its exact version.
fn install() -> Result<PathBuf> {
    let folder = root().join("target/services/issuer");
    fs::create_dir_all(&folder)?;
    let (name, version) = PACKAGE;
    if installed(&folder, name).as_deref() != Some(version) {
        npm(&folder, &format!("{name}@{version}"), true)?;
    }
    Ok(folder)
}

fn installed(folder: &Path, package: &str) -> Option<String> {
    let file = folder.join("node_modules").join(package).join("package.json");
    let text = fs::read_to_string(file).ok()?;
    let text = text.split_once("\"version\":")?.1;
    text.split('"').nth(1).map(str::to_owned)
}

fn npm(folder: &Path, package: &str, ignore_scripts: bool) -> Result<()> {
    let mut command = Command::new("npm");
    command.current_dir(folder).args(["install", "--no-audit", "--no-fund", "--save-exact"]);
    if ignore_scripts {
        command.arg("--ignore-scripts");
    }
    run(command.arg("--prefix").arg(folder).arg(package))
        .context("npm is needed (Debian's packages are nodejs and npm)")
}

/// The interpreter: the system's if it is new enough, else one from npm.
fn node(folder: &Path) -> Result<PathBuf> {
    let own = folder.join("node_modules/.bin/node");
    if major("node").is_some_and(|major| major >= NODE_MAJOR) {
        return Ok("node".into());
    }
    if !own.exists() {
        // Its script puts the program for this machine in place.
        npm(folder, NODE, false)?;
    }
    ensure!(own.exists(), "{NODE} brought no program");
    Ok(own)
}

fn major(program: &str) -> Option<u32> {
    let version = output(Command::new(program).arg("--version")).ok()?;
    version.trim().trim_start_matches('v').split('.').next()?.parse().ok()
}
