//! rsyslog, which writes the same lines into a file.

use std::fs::{self, File};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::lines::Lines;
use crate::daemon::PATIENCE;
use crate::server::free_port;
use crate::services;
use crate::workspace::path;

const PROGRAM: &str = "usr/sbin/rsyslogd";
const LOOK: Duration = Duration::from_millis(2);

/// Where it is.
pub(super) struct Programs {
    root: PathBuf,
    libraries: String,
}

/// When it syncs its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sync {
    Never,
    /// After each batch that its queue in memory gives it: the more wait there, the fewer syncs.
    Batches,
    /// After each line, since nothing waits in memory: what is taken from the sender is on disk next.
    Lines,
}

/// A running one, killed when this is dropped.
struct Running(Child);

// === impl Programs ===

impl Programs {
    /// Unpacks it where it is missing.
    pub(super) fn find() -> Result<Self> {
        let (root, libraries) = services::rsyslog()?;
        Ok(Self { root, libraries })
    }

    /// Lines a second until all are in the file.
    pub(super) fn round(&self, lines: &Lines, sync: Sync) -> Result<f64> {
        let folder = tempfile::tempdir()?;
        let place = path(folder.path())?;
        let port = free_port()?;
        let queue = if sync == Sync::Lines { "main_queue(queue.type=\"Direct\")\n" } else { "" };
        let sync = if sync == Sync::Never { "off" } else { "on" };
        let settings = format!(
            "global(workDirectory=\"{place}\" localHostname=\"alder\")\n\
             {queue}module(load=\"imptcp\")\n\
             template(name=\"raw\" type=\"string\" string=\"%rawmsg%\\n\")\n\
             input(type=\"imptcp\" address=\"127.0.0.1\" port=\"{port}\" ruleset=\"file\")\n\
             ruleset(name=\"file\") {{ action(type=\"omfile\" file=\"{place}/lines.log\" \
             template=\"raw\" sync=\"{sync}\" flushOnTXEnd=\"on\") }}\n\
             action(type=\"omfile\" file=\"{place}/own.log\")\n"
        );
        fs::write(folder.path().join("rsyslog.conf"), settings)?;
        let modules = self.libraries.split(':').map(|it| format!("{it}/rsyslog"));
        let modules = modules.collect::<Vec<_>>().join(":");
        let child = Command::new(self.root.join(PROGRAM))
            .args(["-n", "-M", &modules, "-f", &format!("{place}/rsyslog.conf")])
            .args(["-i", &format!("{place}/pid")])
            .env("LD_LIBRARY_PATH", &self.libraries)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(folder.path().join("said"))?)
            .spawn()
            .context("start rsyslog")?;
        let mut running = Running(child);
        let begun = Instant::now();
        let said = || fs::read_to_string(folder.path().join("said")).unwrap_or_default();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            ensure!(running.0.try_wait()?.is_none(), "rsyslog ended: {}", said());
            ensure!(begun.elapsed() < PATIENCE, "rsyslog never listened: {}", said());
            std::thread::sleep(LOOK);
        }
        let file = folder.path().join("lines.log");
        let began = Instant::now();
        lines.send(port)?;
        loop {
            let length = fs::metadata(&file).map_or(0, |it| it.len());
            if length >= lines.bytes_in_a_file() {
                return Ok(lines.count as f64 / began.elapsed().as_secs_f64());
            }
            ensure!(
                began.elapsed() < PATIENCE * 3,
                "rsyslog has written {length} bytes: {}",
                said()
            );
            std::thread::sleep(LOOK);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
