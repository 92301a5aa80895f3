//! Real daemons that a test starts with settings of its own: what speaks to our inputs on real machines.
//!
//! Their programs are those that `cargo xtask services start rsyslog postfix` unpacked. Each runs in a folder of its own
//! among the temporary files and speaks on loopback alone.
//!
//! *Invariant:* a daemon ends, and its folder goes, with the value that stands for it. *Invariant:* the machine's own
//! syslog and mail are left alone.

mod postfix;
mod rsyslog;

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

pub use postfix::Postfix;
pub use rsyslog::Rsyslog;

use crate::services::Programs;

/// How long a daemon may take to be there.
const PATIENCE: Duration = Duration::from_secs(30);

/// A folder of its own, which goes with this.
#[derive(Debug)]
struct Folder(PathBuf);

/// A program that runs until this is dropped.
#[derive(Debug)]
struct Daemon {
    child: Child,
}

// === impl Folder ===

impl Folder {
    fn new(name: &str) -> Self {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let count = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("proxmox-mcp-test-{name}-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::remove_dir_all(&path).ok();
        fs::create_dir(&path).expect("the temporary folder can be written to");
        Self(path)
    }

    fn path(&self) -> &Path {
        &self.0
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.join(name), text).expect("the folder is ours to write to");
    }

    /// The text of a file in it; empty where there is none.
    fn read(&self, name: &str) -> String {
        fs::read(self.0.join(name))
            .map(|text| String::from_utf8_lossy(&text).into_owned())
            .unwrap_or_default()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left of it is among the temporary files.
        fs::remove_dir_all(&self.0).ok();
    }
}

// === impl Daemon ===

impl Daemon {
    /// Starts a program of these, with what it says in a file of the folder.
    fn start(programs: &Programs, program: &str, arguments: &[&str], folder: &Folder) -> Self {
        let said = fs::File::create(folder.path().join("said")).expect("the folder is ours");
        // It is told to end also when the thread of the test does so without saying it, such as when it is killed.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "TERM", "--"])
            .arg(programs.root.join(program))
            .args(arguments)
            .env("LD_LIBRARY_PATH", &programs.libraries)
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(said.try_clone().expect("a file can be opened twice"))
            .stderr(said)
            // Of its own, so that its children can be told to end with it.
            .process_group(0)
            .spawn()
            .expect("a program that was unpacked can be started");
        Self { child }
    }

    fn has_ended(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_some())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Its children with it, and at once: what it still has to pass on is nobody's concern.
        let group = format!("-{}", self.child.id());
        // The shell's own: a small machine has no other.
        Command::new("sh").args(["-c", "kill -s KILL -- \"$1\"", "sh", &group]).status().ok();
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
