//! rsyslog as the syslog of a node: programs write to its socket, and it passes their lines on.

use std::fmt::Write as _;
use std::os::unix::net::UnixDatagram;

use super::{Daemon, Folder, PATIENCE};
use crate::services::programs;
use crate::{Progress, wait_for};

const PROGRAM: &str = "usr/sbin/rsyslogd";
/// How long a line may be, in bytes.
const MAX_LINE: usize = 64 * 1024;

/// A running rsyslog.
#[derive(Debug)]
pub struct Rsyslog {
    socket: UnixDatagram,
    // In this order: it ends before its folder goes.
    _daemon: Daemon,
    folder: Folder,
}

impl Rsyslog {
    /// Starts one that believes it is on the host of this name, or gives `None` after saying that there is none.
    ///
    /// `settings` are what its configuration has besides the socket that programs write to: what it does with their
    /// lines. `{folder}` in them is the daemon's own folder, where `files` are put first, as names and contents.
    ///
    /// # Panics
    ///
    /// When there is none and `REQUIRE_SERVICES=1`, and when it does not start.
    pub async fn start(host: &str, files: &[(&str, &str)], settings: &str) -> Option<Self> {
        let programs = programs("rsyslog")?;
        let folder = Folder::new("rsyslog");
        for (name, text) in files {
            folder.write(name, text);
        }
        let path = folder.path().to_str().expect("the temporary folder has a name of text");
        let mut text = format!(
            "global(workDirectory=\"{path}\" localHostname=\"{host}\" maxMessageSize=\"{MAX_LINE}\")\n\
             module(load=\"imuxsock\" SysSock.Use=\"off\")\n\
             input(type=\"imuxsock\" Socket=\"{path}/log.socket\" ParseTrusted=\"off\")\n\
             syslog.* {{ action(type=\"omfile\" file=\"{path}/own.log\") stop }}\n"
        );
        writeln!(text, "{}", settings.replace("{folder}", path)).expect("text can be added to");
        folder.write("rsyslog.conf", &text);
        let modules = Self::modules(&programs.libraries);
        let (settings, pid) = (format!("{path}/rsyslog.conf"), format!("{path}/pid"));
        let arguments = ["-n", "-M", &modules, "-f", &settings, "-i", &pid];
        let mut daemon = Daemon::start(&programs, PROGRAM, &arguments, &folder);
        let socket = UnixDatagram::unbound().expect("sockets can be made");
        wait_for("rsyslog to listen", PATIENCE, async || {
            if daemon.has_ended() {
                return Progress::Failed(format!("it ended and said {}", folder.read("said")));
            }
            match socket.connect(folder.path().join("log.socket")) {
                Ok(()) => Progress::Ready(()),
                Err(error) => Progress::Pending(error.to_string()),
            }
        })
        .await;
        Some(Self { socket, _daemon: daemon, folder })
    }

    /// Writes a line as the C library does for a program: `level` is 0 (emergency) to 7 (debug), of facility daemon.
    ///
    /// # Panics
    ///
    /// When the daemon is gone.
    pub fn log(&self, level: u8, tag: &str, message: &str) {
        let line = format!("<{}>Nov 22 17:55:05 {tag}: {message}", 3 * 8 + level);
        self.socket.send(line.as_bytes()).expect("rsyslog takes lines");
    }

    /// What it said itself so far, such as why it cannot connect.
    pub fn said(&self) -> String {
        self.folder.read("own.log") + &self.folder.read("said")
    }

    /// A file that its settings told it to write, so far.
    pub fn wrote(&self, name: &str) -> String {
        self.folder.read(name)
    }

    /// Its modules stand beside the libraries that came with it.
    fn modules(libraries: &str) -> String {
        let all: Vec<String> =
            libraries.split(':').map(|folder| format!("{folder}/rsyslog")).collect();
        all.join(":")
    }
}
