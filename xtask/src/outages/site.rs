//! A real manager that hears webhooks, mail and syslog, and what can be asked of it.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use control_api::Client;
use event_core::desk::{EventQuery, EventsHealth};

use crate::workspace::{output, path};

/// What whoever posts knows.
pub(super) const SECRET: &str = "0123456789abcdef0123456789abcdef";
/// Where it is posted to.
pub(super) const HOOK_PATH: &str = "/hooks/hook/cedar";
/// Nothing here takes longer, unless something is wrong.
pub(super) const PATIENCE: Duration = Duration::from_mins(2);
/// Between two looks at something.
const LOOK: Duration = Duration::from_millis(50);

/// A manager and its folder.
pub(super) struct Site {
    state: PathBuf,
    folder: PathBuf,
    binaries: PathBuf,
    config: PathBuf,
    pub(super) http: u16,
    pub(super) smtp: u16,
    pub(super) syslog: u16,
    running: Option<Child>,
    starts: u32,
}

// === impl Site ===

impl Site {
    /// Settings in `folder` for a manager whose store and spool are where these say; what it tells
    /// goes to a file.
    pub(super) fn new(
        binaries: &Path,
        folder: &Path,
        state: &Path,
        store: Option<&str>,
        spool: &Path,
        spool_max_bytes: u64,
    ) -> Result<Self> {
        let ports = [free_port()?, free_port()?, free_port()?];
        let [http, smtp, syslog] = ports;
        let store = store.map_or_else(String::new, |url| format!("store_url = \"{url}\"\n"));
        let text = format!(
            "[server]\nstate_dir = \"{}\"\n{store}\
             [manager]\nhttp = true\nsocket = \"{}\"\n[http]\nlisten = \"127.0.0.1:{http}\"\n\
             [pve.lab]\nendpoints = [\"https://127.0.0.1:9\"]\ntoken_id = \"mcp@pve!agent\"\n\
             token = \"00000000-0000-0000-0000-000000000000\"\n\
             [events]\nenabled = true\npoll = false\nzone = \"UTC\"\nspool_dir = \"{}\"\n\
             spool_max_bytes = {spool_max_bytes}\n\
             [input.hook]\ntype = \"webhook\"\n[input.hook.hook.cedar]\nsecret = \"{SECRET}\"\n\
             [input.mail]\ntype = \"smtp\"\nlisten = \"smtp://127.0.0.1:{smtp}\"\n\
             [input.mail.peer.cedar]\naddresses = [\"127.0.0.1\"]\n\
             [input.syslog]\ntype = \"syslog\"\n\
             listen = [\"tcp://127.0.0.1:{syslog}\", \"udp://127.0.0.1:{syslog}\"]\n\
             [output.console]\ntype = \"stdout\"\n",
            path(state)?,
            path(&folder.join("control.sock"))?,
            path(spool)?,
        );
        let config = folder.join("manager.toml");
        std::fs::write(&config, text)?;
        Ok(Self {
            state: state.to_path_buf(),
            folder: folder.to_path_buf(),
            binaries: binaries.to_path_buf(),
            config,
            http,
            smtp,
            syslog,
            running: None,
            starts: 0,
        })
    }

    /// Starts the manager and waits until it hears.
    pub(super) async fn start(&mut self) -> Result<Client> {
        self.starts += 1;
        let file = |name: &str| File::create(self.folder.join(format!("{name}.{}", self.starts)));
        let child = Command::new(self.binaries.join("proxmox-manager"))
            .args(["--config", path(&self.config)?])
            .stdin(Stdio::null())
            .stdout(file("told")?)
            .stderr(file("log")?)
            .spawn();
        let child = child.context("start proxmox-manager; without --no-build it is built")?;
        self.running = Some(child);
        let begun = Instant::now();
        let client = loop {
            let version = env!("CARGO_PKG_VERSION");
            match Client::connect(&self.folder.join("control.sock"), version).await {
                Ok(client) => break client,
                Err(error) => {
                    let ended = self.running.as_mut().and_then(|it| it.try_wait().ok().flatten());
                    if ended.is_some() || begun.elapsed() > PATIENCE {
                        bail!("the manager does not start: {error}\n{}", self.log());
                    }
                    tokio::time::sleep(LOOK).await;
                }
            }
        };
        self.until(&client, "every input to hear", |health| {
            health.inputs.len() == 3 && health.inputs.iter().all(|it| it.alive.is_some())
        })
        .await?;
        Ok(client)
    }

    /// What this manager wrote into its log.
    pub(super) fn log(&self) -> String {
        let name = format!("log.{}", self.starts);
        std::fs::read_to_string(self.folder.join(name)).unwrap_or_default()
    }

    /// What people were told, a line per message.
    pub(super) fn told(&self) -> Vec<String> {
        let name = format!("told.{}", self.starts);
        let text = std::fs::read_to_string(self.folder.join(name)).unwrap_or_default();
        text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect()
    }

    /// Waits until the manager is so.
    pub(super) async fn until(
        &self,
        client: &Client,
        what: &str,
        is_so: impl Fn(&EventsHealth) -> bool,
    ) -> Result<EventsHealth> {
        let begun = Instant::now();
        loop {
            let health = client.events_health().await.context("ask how it is")?;
            if is_so(&health) {
                return Ok(health);
            }
            if begun.elapsed() > PATIENCE {
                bail!("waited for {what}, and it is so: {health:?}\n{}", self.log());
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// How often each title is in the store, of what these inputs heard.
    pub(super) async fn titles(
        &self,
        client: &Client,
        inputs: &[&str],
    ) -> Result<BTreeMap<String, usize>> {
        let mut titles = BTreeMap::new();
        for input in inputs {
            let mut cursor = None;
            loop {
                let query = EventQuery {
                    source: Some((*input).to_owned()),
                    limit: 500,
                    cursor: cursor.take(),
                    ..EventQuery::default()
                };
                let found = client.find_events(query).await.context("ask for the events")?;
                for logged in found.events {
                    *titles.entry(logged.event.title).or_default() += 1;
                }
                cursor = found.next;
                if cursor.is_none() {
                    break;
                }
            }
        }
        Ok(titles)
    }

    /// How many events this input has in the store, which is a file of SQLite.
    pub(super) fn count(&self, input: &str) -> Result<u64> {
        let program = "import sqlite3, sys\n\
            store = sqlite3.connect(sys.argv[1], timeout=10)\n\
            print(store.execute('SELECT count(*) FROM events WHERE source_id = ?', sys.argv[2:]).fetchone()[0])";
        let store = self.state.join("store.db");
        let counted = output(Command::new("python3").args(["-c", program, path(&store)?, input]))?;
        counted.trim().parse().context("the store does not say how many")
    }

    /// Whether the same process still runs.
    pub(super) fn is_alive(&mut self) -> bool {
        self.running.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// How much memory it had at most, in MiB.
    pub(super) fn peak_mib(&self) -> Result<u64> {
        let id = self.running.as_ref().context("no manager runs")?.id();
        let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        Ok(kib.context("the kernel does not say how much memory it has")? / 1024)
    }

    /// SIGKILL: nothing is cleaned up, nothing is said.
    pub(super) fn kill(&mut self) -> Result<()> {
        let mut child = self.running.take().context("no manager runs")?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(child) = &mut self.running {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// What is not as the senders were told: titles that are missing, and titles that are there twice.
pub(super) fn compare(
    kept: &[String],
    titles: &BTreeMap<String, usize>,
) -> (Vec<String>, Vec<String>) {
    let missing = kept.iter().filter(|title| !titles.contains_key(*title)).cloned().collect();
    let twice = titles.iter().filter(|(_, count)| **count > 1).map(|it| it.0.clone()).collect();
    (missing, twice)
}

/// Lets the runtime of a part do this.
pub(super) fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(work)
}

/// Lets a thread send while the runtime goes on.
pub(super) async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work).await.context("a sender broke off")
}

fn free_port() -> Result<u16> {
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    ensure!(port > 0, "the kernel gave no port");
    Ok(port)
}
