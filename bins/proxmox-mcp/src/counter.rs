//! Where decisions are taken to: the manager that runs, or this process in its place.

use std::time::Duration;

use anyhow::{Context as _, bail};
use assembly::{Core, Daemon, Estate, Holds, Wanted};
use control_api::{Client, Error, ErrorKind};
use settings::Loaded;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How often to look again for a manager that is just starting.
const TRIES: u32 = 20;
/// How long to wait in between.
const PAUSE: Duration = Duration::from_millis(250);

/// A connection to the manager, which may be this very process.
pub(crate) struct Counter {
    pub(crate) client: Client,
    here: Option<Here>,
}

/// This process in the manager's place.
struct Here {
    stop: CancellationToken,
    run: JoinHandle<anyhow::Result<Vec<String>>>,
    // The simulator and the clients live as long as this.
    _estate: Estate,
}

/// Whether this process runs what was approved, if it stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// It does.
    Run,
    /// It only looks and writes decisions down.
    Leave,
}

// === impl Counter ===

impl Counter {
    /// Connects to the manager; where none runs, this process takes its lock and its place.
    pub(crate) async fn open(wanted: &Wanted, work: Work) -> anyhow::Result<Self> {
        let loaded = assembly::load(wanted)?;
        for _ in 0..TRIES {
            match connect(&loaded).await {
                Ok(client) => return Ok(Self { client, here: None }),
                Err(error) if error.is_absent() => {}
                Err(error) => return Err(error.into()),
            }
            if !manager::Lock::is_held(&loaded.settings.server.state_dir) {
                return Self::stand_in(wanted, work).await;
            }
            // Somebody has the lock and no socket yet, or no socket any more.
            tokio::time::sleep(PAUSE).await;
        }
        bail!(
            "a process has the lock of {} and does not answer; if it is `proxmox-mcp approve`, wait for it",
            loaded.settings.server.state_dir.display()
        )
    }

    async fn stand_in(wanted: &Wanted, work: Work) -> anyhow::Result<Self> {
        let mut estate = Estate::prepare(Wanted { holds: Holds::Codes, ..wanted.clone() }).await?;
        anyhow::ensure!(
            estate.memory.is_some(),
            "the state folder cannot be used; see the warning above"
        );
        let daemon = Daemon::bind(&mut estate, None).context("take the manager's place")?;
        let stop = CancellationToken::new();
        let ending = stop.clone();
        let run = tokio::spawn(async move {
            match work {
                Work::Run => daemon.run(ending, || ()).await,
                Work::Leave => {
                    daemon.look(ending).await;
                    Ok(Vec::new())
                }
            }
        });
        let loaded = &estate.loaded;
        // The socket is bound already: whoever connects waits for an answer.
        let client = connect(loaded).await.context("reach this very process")?;
        Ok(Self { client, here: Some(Here { stop, run, _estate: estate }) })
    }

    /// Whether this process runs the work.
    pub(crate) fn is_here(&self) -> bool {
        self.here.is_some()
    }

    /// Ends this process's part, and says what was left.
    pub(crate) async fn close(self) -> anyhow::Result<Vec<String>> {
        let Self { client, here } = self;
        drop(client);
        let Some(here) = here else { return Ok(Vec::new()) };
        here.stop.cancel();
        here.run.await.context("end the manager's part")?
    }
}

/// Connects to the manager that these settings lead to.
pub(crate) async fn connect(loaded: &Loaded) -> Result<Client, Error> {
    let settings = &loaded.settings;
    let place = settings.manager.socket_in(&settings.server.state_dir, control_api::SOCKET);
    Client::connect(&place, env!("CARGO_PKG_VERSION")).await
}

/// Looks for a manager: the one that the settings lead to, else the system's. Settings with an estate of their own
/// have a state folder of their own, and nothing to do with the system's.
pub(crate) async fn find(loaded: &Loaded) -> Result<Option<Client>, Error> {
    match connect(loaded).await {
        Ok(client) => return Ok(Some(client)),
        Err(error) if error.is_absent() => {}
        Err(error) => return Err(error),
    }
    if loaded.settings.manager.socket.is_some() || !loaded.settings.is_empty() {
        return Ok(None);
    }
    match Client::connect(SYSTEM.as_ref(), env!("CARGO_PKG_VERSION")).await {
        Ok(client) => Ok(Some(client)),
        Err(error) if error.is_absent() || error.kind() == ErrorKind::Closed => Ok(None),
        Err(error) => Err(error),
    }
}

/// Where a manager that runs as a service of the system listens, as its unit says.
pub(crate) const SYSTEM: &str = "/run/proxmox-mcp/control.sock";

/// Freezes and lifts need no lock: this is what takes them where no manager runs.
pub(crate) async fn core(wanted: &Wanted) -> anyhow::Result<(Core, Estate)> {
    let estate = Estate::prepare(Wanted { holds: Holds::Codes, ..wanted.clone() }).await?;
    let core = Core::new(&estate, Vec::new())?;
    Ok((core, estate))
}
