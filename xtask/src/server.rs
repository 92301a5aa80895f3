//! A server that is run for a task, says on standard error where it listens, and ends with the task.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, ensure};

/// A running server, ended when this is dropped.
pub(crate) struct Server {
    child: Child,
    /// Where it listens.
    pub(crate) url: String,
    /// The line in which it said so.
    pub(crate) said: String,
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").context("find a free port")?;
    Ok(listener.local_addr()?.port())
}

// === impl Server ===

impl Server {
    /// Starts a server that says on standard error where it listens. What else it says there goes to `log`.
    pub(crate) fn start(command: &mut Command, log: &Path) -> Result<Self> {
        let program = command.get_program().to_string_lossy().into_owned();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("start {program}; without --no-build it is built"))?;
        let said = child.stderr.take().context("its standard error was not piped")?;
        let mut server = Self { child, url: String::new(), said: String::new() };
        let mut lines = BufReader::new(said).lines();
        let mut log = File::create(log)?;
        for line in lines.by_ref() {
            let line = line.with_context(|| format!("read what {program} says"))?;
            writeln!(log, "{line}")?;
            if let Some(url) = line.split(' ').find(|word| word.starts_with("http://")) {
                url.clone_into(&mut server.url);
                server.said.clone_from(&line);
                break;
            }
        }
        ensure!(!server.url.is_empty(), "{program} ended without saying where it listens");
        // A program that cannot say anything more would stop.
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if writeln!(log, "{line}").is_err() {
                    return;
                }
            }
        });
        Ok(server)
    }

    /// The process that it is.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Asked before it is made to, so that it removes what it has made. It may have ended by itself, which is told by
        // what did not pass.
        let asked = Command::new("kill").arg(self.child.id().to_string()).status();
        if !asked.is_ok_and(|status| status.success()) {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}
