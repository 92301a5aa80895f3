//! A `proxmox-manager` in a process of its own, with inputs on free ports of loopback that a task speaks to.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::net::TcpStream;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use store::Store;
use tempfile::TempDir;

use crate::server::free_port;
use crate::workspace::{output, path};

/// What whoever posts has to know.
pub(crate) const SECRET: &str = "0123456789abcdef0123456789abcdef";
/// Nothing here takes longer, unless something is wrong.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);
/// Between two looks at something.
const LOOK: Duration = Duration::from_millis(5);
/// The reader of the log that the rules are, by the name of its mark.
const JUDGE: &str = "rules";

/// A folder with settings and a store, and where its inputs listen.
pub(crate) struct Home {
    folder: TempDir,
    /// Posts for the hook `load` of the input `hook`.
    pub(crate) http: u16,
    /// Mail.
    pub(crate) smtp: u16,
    /// Lines over UDP and TCP.
    pub(crate) syslog: u16,
}

/// What is set up around the inputs.
#[derive(Default)]
pub(crate) struct Setup<'a> {
    /// Sections with the estate; without them a cluster that nobody asks.
    pub(crate) estate: Option<&'a str>,
    /// What is added to the table of syslog.
    pub(crate) lines: &'a str,
    /// Further sections.
    pub(crate) sections: &'a str,
}

/// A running manager, killed when this is dropped.
pub(crate) struct Daemon {
    child: Child,
}

// === impl Home ===

impl Home {
    /// A webhook, a mail listener and syslog, and whatever else these sections say.
    pub(crate) fn new(sections: &str) -> Result<Self> {
        Self::with(&Setup { sections, ..Setup::default() })
    }

    pub(crate) fn with(setup: &Setup<'_>) -> Result<Self> {
        let Setup { estate, lines, sections } = setup;
        let folder = tempfile::tempdir().context("make a folder for the run")?;
        let (http, smtp, syslog) = (free_port()?, free_port()?, free_port()?);
        let home = Self { folder, http, smtp, syslog };
        let secret = home.write_private("hook.secret", SECRET)?;
        // A program without an estate does not start; this one is never asked anything.
        let token = home.write_private("lab.token", "00000000-0000-0000-0000-000000000000")?;
        let nobody = format!(
            "[pve.lab]\nendpoints = [\"https://127.0.0.1:{}\"]\n\
             token_id = \"mcp@pve!agent\"\ntoken_file = \"{}\"\ninsecure = true\n",
            free_port()?,
            path(&token)?
        );
        let poll = estate.is_some();
        let text = format!(
            "[server]\nstate_dir = \"{state}\"\n\
             [manager]\nhttp = true\n\
             [http]\nlisten = \"127.0.0.1:{http}\"\n\
             [log]\nfilter = \"warn,store=info\"\n\
             {estate}\n\
             [events]\npoll = {poll}\nwait_secs = 0\nzone = \"UTC\"\n\
             [input.hook]\ntype = \"webhook\"\n\
             [input.hook.hook.load]\nsecret_file = \"{secret}\"\nformat = \"json\"\n\
             [input.mail]\ntype = \"smtp\"\nlisten = \"smtp://127.0.0.1:{smtp}\"\n\
             [input.mail.peer.load]\naddresses = [\"127.0.0.1\"]\n\
             [input.lines]\ntype = \"syslog\"\n\
             listen = [\"udp://127.0.0.1:{syslog}\", \"tcp://127.0.0.1:{syslog}\"]\n\
             {lines}\n{sections}\n",
            state = path(&home.state())?,
            secret = path(&secret)?,
            estate = estate.unwrap_or(&nobody),
        );
        fs::write(home.config(), text).context("write the settings of the run")?;
        Ok(home)
    }

    /// A file that nobody else can read.
    pub(crate) fn write_private(&self, name: &str, text: &str) -> Result<PathBuf> {
        let file = self.folder.path().join(name);
        let mut options = OpenOptions::new();
        let mut opened = options.create(true).write(true).truncate(true).mode(0o600).open(&file)?;
        opened.write_all(text.as_bytes())?;
        Ok(file)
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("config.toml")
    }

    /// The file of the store.
    pub(crate) fn store_file(&self) -> PathBuf {
        self.state().join("store.db")
    }

    /// The store itself, beside the manager.
    pub(crate) async fn store(&self) -> Result<Arc<dyn Store>> {
        let url = format!("sqlite://{}", path(&self.store_file())?);
        Ok(store::open(&url.parse()?).await?)
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("manager.log")
    }

    /// What all managers of this home have said.
    pub(crate) fn said(&self) -> Result<String> {
        fs::read_to_string(self.log_file()).context("read the manager's log")
    }

    /// Starts a manager on these settings; `before` stands before the program on the command line.
    pub(crate) fn start(&self, binaries: &Path, before: &[&str]) -> Result<Daemon> {
        let program = binaries.join("proxmox-manager");
        let mut words = before.to_vec();
        words.push(path(&program)?);
        let (first, rest) = words.split_first().context("nothing to start")?;
        let log = File::options().create(true).append(true).open(self.log_file())?;
        let child = Command::new(first)
            .args(rest)
            .args(["--config", path(&self.config())?])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("start proxmox-manager; without --no-build it is built")?;
        Ok(Daemon { child })
    }

    /// Waits until it takes what is posted, mailed and sent as lines.
    pub(crate) fn until_ready(&self, daemon: &mut Daemon) -> Result<()> {
        let begun = Instant::now();
        for port in [self.http, self.smtp, self.syslog] {
            while TcpStream::connect(("127.0.0.1", port)).is_err() {
                ensure!(!daemon.has_ended()?, "the manager ended: {}", self.said()?);
                ensure!(begun.elapsed() < PATIENCE, "the manager never listened on {port}");
                std::thread::sleep(LOOK);
            }
        }
        Ok(())
    }

    /// Waits until everything that was heard is judged, and everything that is to be told is told.
    pub(crate) async fn until_settled(&self) -> Result<()> {
        let store = self.store().await?;
        let begun = Instant::now();
        loop {
            let head = store.head().await?;
            let judged = store.mark(JUDGE).await?.map_or(0, |mark| mark.seq.0);
            let pending: u64 = store.output_counts().await?.iter().map(|it| it.pending).sum();
            if judged >= head.0 && pending == 0 {
                return Ok(());
            }
            if begun.elapsed() > PATIENCE {
                bail!("of {head} events {judged} are judged, and {pending} deliveries wait");
            }
            tokio::time::sleep(LOOK * 4).await;
        }
    }
}

// === impl Daemon ===

impl Daemon {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    fn has_ended(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// SIGKILL: nothing is cleaned up, nothing is said.
    pub(crate) fn kill(mut self) -> Result<()> {
        self.child.kill().context("kill the manager")?;
        self.child.wait().context("wait for its end")?;
        Ok(())
    }

    /// Asks the process of this id to end, and waits until the one that was started has.
    pub(crate) fn stop(mut self, pid: u32) -> Result<()> {
        output(Command::new("kill").arg(pid.to_string()))?;
        let begun = Instant::now();
        while !self.has_ended()? {
            ensure!(begun.elapsed() < PATIENCE, "the manager does not end");
            std::thread::sleep(LOOK);
        }
        let status = self.child.wait()?;
        ensure!(status.success(), "the manager ended badly: {status}");
        Ok(())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
