//! The manager of one estate: what `proxmox-manager` runs, and what `proxmox-mcp approve` runs for the
//! time of one decision.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use async_trait::async_trait;
use gateway::{ConsentPage, ConsentPages};
use guard::Grant;
use guard::ports::{Approval, ApprovalId, ApprovalState, ConsentChannel, PortError};
use manager::approve::Links;
use manager::events::Events;
use manager::{
    About, Accounts, Apps, Books, ControlSocket, Deciding, Desk, Engine, Lock, LogChannel, Parts,
    Ran, Recovered, Supervisor, Worker,
};
use mcp_protocol::App;
use mcp_tools::gate::{self, Gate};
use stdx::Clock as _;
use store::Lease;
use tokio_util::sync::CancellationToken;

use crate::estate::{Estate, local_uid};
use crate::events::EventPlan;
use crate::memory::{Memory, links};

/// What runs what was approved, over one estate.
#[derive(Clone)]
pub struct Core {
    /// Runs it.
    pub engine: Engine,
    /// Takes decisions.
    pub deciding: Deciding,
    memory: Memory,
    links: bool,
}

/// A manager that is ready to be run.
pub struct Daemon {
    core: Core,
    desk: Desk,
    supervisor: Supervisor,
    socket: ControlSocket,
    drain: Duration,
    events: Option<Events>,
    lease: Option<Lease>,
    // Last: the socket goes before the lock does.
    _lock: Lock,
}

/// Does the engine's work through the gate.
struct GateWorker(Gate);

// === impl Core ===

impl Core {
    /// Over this estate. The caller holds the lock of the state folder.
    ///
    /// # Errors
    /// The estate has no memory, or a key cannot be made.
    pub fn new(estate: &Estate, channels: Vec<Arc<dyn ConsentChannel>>) -> anyhow::Result<Self> {
        let memory = estate.memory.clone().context("a state folder is needed for approvals")?;
        let links: Option<Arc<Links>> = links(&estate.loaded)?;
        let has_links = links.is_some();
        let gate = Gate::new(Arc::clone(&estate.fleet), &estate.options);
        let engine = Engine::new(Parts {
            worker: Arc::new(GateWorker(gate)),
            approvals: memory.approvals(),
            channels,
            book: memory.book.clone(),
            links,
            clock: stdx::SystemClock::shared(),
        });
        let (freezes, actions, brakes) = (memory.freezes(), memory.actions(), memory.brakes());
        let log = estate.audit.log().clone();
        let deciding = Deciding::new(engine.clone(), freezes, actions, brakes, log)
            .redacted_by(estate.options.redaction.redactor());
        Ok(Self { engine, deciding, memory, links: has_links })
    }

    /// Whether there are links to approve by.
    pub fn has_links(&self) -> bool {
        self.links
    }

    /// What is remembered.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }
}

// === impl Daemon ===

impl Daemon {
    /// Takes the lock and the socket, and starts the event pipeline if there is one.
    ///
    /// # Errors
    /// Another manager runs, or the state folder or the socket cannot be used.
    pub fn bind(estate: &mut Estate, plan: Option<EventPlan>) -> anyhow::Result<Self> {
        let lock = Lock::take(&estate.loaded.settings.server.state_dir)?;
        // Before what runs approved work is made: that asks the same pipeline as the tools do.
        let clock = stdx::SystemClock::shared();
        let supervisor = Supervisor::new(Arc::clone(&clock));
        let events = plan.map(|plan| plan.start(&supervisor)).transpose()?;
        if let Some(events) = &events {
            estate.ask_events(events);
        }
        let estate = &*estate;
        let settings = &estate.loaded.settings;
        let state = &settings.server.state_dir;
        let group = settings.manager.socket_group.as_deref().map(group).transpose()?;
        let place = settings.manager.socket_in(state, control_api::SOCKET);
        let socket = ControlSocket::bind(&lock, &place, group)?;
        let channels: Vec<Arc<dyn ConsentChannel>> = vec![Arc::new(LogChannel)];
        let core = Core::new(estate, channels)?;
        let about = About {
            version: estate.options.version.clone(),
            started: clock.now(),
            mode: settings.server.mode,
            members: settings
                .pve
                .keys()
                .chain(settings.pbs.keys())
                .map(ToString::to_string)
                .collect(),
            uid: local_uid(),
        };
        let apps = apps(estate)?;
        let books = Books {
            events: events.clone(),
            engine: core.engine.clone(),
            deciding: core.deciding.clone(),
            actions: core.memory.actions(),
            confirms: core.memory.confirms(),
            audit: estate.store.clone(),
        };
        let desk = Desk::new(about, apps, books, supervisor.clone());
        let drain = settings.manager.drain;
        let lease = None;
        Ok(Self { core, desk, supervisor, socket, drain, events, lease, _lock: lock })
    }

    /// Ends when another manager takes over the store, and gives it back at the end.
    #[must_use]
    pub fn holding(mut self, lease: Lease) -> Self {
        self.lease = Some(lease);
        self
    }

    /// Where the control socket stands.
    pub fn socket(&self) -> &std::path::Path {
        self.socket.path()
    }

    /// What runs what was approved, and takes decisions.
    pub fn core(&self) -> &Core {
        &self.core
    }

    /// The event pipeline, if there is one.
    pub fn events(&self) -> Option<&Events> {
        self.events.as_ref()
    }

    /// Keeps the parts of the manager.
    pub fn supervisor(&self) -> &Supervisor {
        &self.supervisor
    }

    /// Answers the socket until `stop`, and runs nothing: for looking, and for decisions whose work
    /// somebody else does.
    pub async fn look(self, stop: CancellationToken) {
        let Self { desk, socket, _lock, .. } = self;
        manager::serve(socket, desk, stop).await;
    }

    /// Settles what a crash left, then runs until `stop`; `ready` is called in between. Returns what
    /// had not ended within the deadline, in words.
    ///
    /// # Errors
    /// What a crash left cannot be read.
    pub async fn run(
        self,
        stop: CancellationToken,
        ready: impl FnOnce(),
    ) -> anyhow::Result<Vec<String>> {
        let Self { core, desk, supervisor, socket, drain, events: _, lease, _lock } = self;
        let recovered = core.engine.recover().await.context("settle what was left before")?;
        for line in &recovered.settled {
            tracing::warn!("{line}");
        }
        if recovered.unknown > 0 {
            tracing::warn!(
                unknown = recovered.unknown,
                "actions ended in a way that nobody knows: a person looks at them"
            );
        }
        core.engine.start(&supervisor);
        ready();
        let serving = manager::serve(socket, desk, stop.clone());
        let is_lost = tokio::select! {
            () = serving => false,
            () = lost(lease.as_ref(), &stop) => true,
        };
        let begun = tokio::time::Instant::now();
        let mut left: Vec<String> = core
            .engine
            .drain(drain)
            .await
            .into_iter()
            .map(|id| format!("the work of approval {id}"))
            .collect();
        let rest = drain.saturating_sub(begun.elapsed()).max(Duration::from_secs(1));
        left.extend(supervisor.stop(rest).await.iter().map(ToString::to_string));
        if is_lost {
            left.push("the store, which another manager has taken over".to_owned());
        }
        if let Some(lease) = lease {
            lease.give_back().await;
        }
        Ok(left)
    }
}

/// Returns when another manager has the store, having told everything to end.
async fn lost(lease: Option<&Lease>, stop: &CancellationToken) {
    match lease {
        Some(lease) => lease.lost().await,
        None => std::future::pending().await,
    }
    tracing::error!("another manager has taken over the store: this one ends");
    stop.cancel();
}

/// The tools of every caller. Some are there only where somebody can be asked, which changes when approvers are read
/// anew.
fn apps(estate: &Estate) -> anyhow::Result<Apps> {
    let (fleet, options) = (Arc::clone(&estate.fleet), estate.options.clone());
    // What is wrong with the settings is said now; most managers are never asked for tools, which
    // take a part of what an idle one has in memory, so they are made for the first who asks.
    drop(estate.app()?);
    let made: Mutex<Option<(bool, App)>> = Mutex::default();
    Ok(Arc::new(move |_: &Grant| -> App {
        let can_ask = options.guard.can_ask();
        // Replaced as a whole: a panic elsewhere leaves one or the other.
        let mut made = made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((asked, app)) = &*made
            && *asked == can_ask
        {
            return app.clone();
        }
        let app = mcp_tools::build_app(Arc::clone(&fleet), &options);
        let app = app.expect("of the same settings they were made at the start");
        *made = Some((can_ask, app.clone()));
        app
    }))
}

fn group(name: &str) -> anyhow::Result<u32> {
    Accounts::of_this_machine()
        .group(name)
        .with_context(|| format!("manager.socket_group: this system has no group {name:?}"))
}

#[async_trait]
impl Worker for GateWorker {
    async fn recover(&self) -> Result<Recovered, PortError> {
        let found = self.0.recover().await?;
        let settled = found.settled.iter();
        let settled =
            settled.map(|(id, state)| format!("action {id} was left: it is {}", state.as_str()));
        let open = found.open.len();
        Ok(Recovered { settled: settled.collect(), open, unknown: found.unknown })
    }

    async fn run_approved(&self, id: ApprovalId) -> Result<Ran, PortError> {
        Ok(match self.0.run_approved(id).await? {
            gate::Ran::Run(approval) => Ran::Ended(approval),
            gate::Ran::Moved { next, .. } => Ran::Moved(next),
            gate::Ran::Frozen(_) => Ran::Frozen,
            _ => Ran::Not,
        })
    }

    async fn expire(&self) -> Result<(), PortError> {
        self.0.expire().await.map(|_| ())
    }

    async fn revert_due(&self) -> Result<usize, PortError> {
        Ok(self.0.revert_due().await?.len())
    }
}

#[async_trait]
impl ConsentPages for Core {
    async fn look(&self, link: &str) -> Option<ConsentPage> {
        let claim = Links::read(link)?;
        let (approval, entry) = self.deciding.by_link(&claim).await.ok()?;
        let now = stdx::SystemClock.now();
        let name = entry.approver.name;
        let has_decided = approval.decisions.iter().any(|it| it.approver == name);
        let open = approval.state_at(now) == ApprovalState::Pending && !has_decided;
        Some(page(&approval, name, open))
    }

    async fn decide(&self, link: &str, agrees: bool) -> Result<ConsentPage, Option<String>> {
        let claim = Links::read(link).ok_or(None)?;
        let decided = self.deciding.decide_by_link(&claim, agrees, None).await;
        let approval = decided.map_err(|error| match error.kind() {
            control_api::ErrorKind::NotFound => None,
            _ => Some(error.to_string()),
        })?;
        Ok(page(&approval, claim.approver, false))
    }
}

fn page(approval: &Approval, approver: String, open: bool) -> ConsentPage {
    let facts = vec![
        ("asked by", approval.requested_by.to_string()),
        ("tool", approval.form.tool.clone()),
        ("because of", approval.rule.clone()),
        ("until", approval.expires_at.to_string()),
        ("state", approval.state.as_str().to_owned()),
        ("plan", approval.digest.short().to_owned()),
    ];
    ConsentPage { approver, facts, text: approval.summary.clone(), open }
}
