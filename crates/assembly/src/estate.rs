//! From settings to a fleet: the simulator of `--demo`, clients, store, options.

use std::{net::SocketAddr, path::Path, sync::Arc};

use anyhow::{Context, bail};
use api_core::endpoint::ExpectedOff;
use event_core::desk::EventDesk;
use guard::{
    Principal,
    policy::{ClientTrust, Defaults, Policy},
};
use manager::events::{Events, RemoteEvents};
use mcp_protocol::App;
use mcp_tools::{
    fleet::{Fleet, Traits},
    gate::Guard,
    journal::{Journal, Redacting},
    process::Process,
    redaction::Redaction,
    tools::api::Library,
};
use proxmox_sim::{Sim, SimConfig};
use settings::{Flag, Loaded, Sources};
use store::{LazyStore, ProtocolJobs, StoreUrl};

use crate::{
    journal::AuditJournal,
    kept::{self, Audit},
    memory::{Holds, Memory},
    protecting::protecting,
};

/// What a program wants to run.
#[derive(Clone, Default)]
pub struct Wanted {
    /// Where the settings are; not asked for a demo.
    pub sources: Sources,
    /// How far it goes, in place of what the settings say.
    pub mode: Option<guard::Mode>,
    /// The toolsets, in place of what the settings say.
    pub toolsets: Option<Vec<String>>,
    /// A simulated estate instead.
    pub demo: Option<DemoWanted>,
    /// What to log, in place of what the settings say.
    pub log: Option<String>,
    /// The program's version.
    pub version: String,
    /// Which secrets of approvers the process holds.
    pub holds: Holds,
}

/// How a simulated estate is wanted.
#[derive(Clone, Debug, Default)]
pub struct DemoWanted {
    /// Where its levers listen.
    pub levers: Option<SocketAddr>,
}

/// Everything that a command needs; the simulator lives as long as this.
pub struct Estate {
    /// The settings in force.
    pub loaded: Loaded,
    /// The clients.
    pub fleet: Arc<Fleet>,
    /// What the catalogue is built with.
    pub options: mcp_tools::Options,
    /// What survives.
    pub store: LazyStore,
    /// What was done.
    pub audit: Audit,
    /// What is remembered of consent, and who can be asked; `None` where the state folder cannot be
    /// written.
    pub memory: Option<Memory>,
    demo: Option<Demo>,
}

/// A simulated estate and the private folder that its files are in.
struct Demo {
    sim: Sim,
    /// Nobody pulls its levers from outside.
    is_alone: bool,
    folder: tempfile::TempDir,
}

impl Estate {
    /// Loads the settings (or starts the simulator) and makes the clients. Contacts nothing.
    ///
    /// # Errors
    /// Whatever is wrong with the settings, and that there are none.
    pub async fn prepare(wanted: Wanted) -> anyhow::Result<Self> {
        let (loaded, demo) = load_all(&wanted).await?;
        start_log(&loaded, wanted.log.as_deref())?;
        if loaded.settings.is_empty() {
            bail!(
                "no cluster or server is set up\n\
                 - to try it on a simulated estate: add --demo\n\
                 - to set one up: proxmox-mcp config add https://YOUR-NODE:8006"
            );
        }
        for warning in &loaded.warnings {
            tracing::warn!(%warning, "settings");
        }
        let server = &loaded.settings.server;
        let url = match &demo {
            // Nothing of a demo is kept.
            Some(_) => StoreUrl::Memory,
            None => kept::store_url(&loaded)?,
        };
        let store = LazyStore::new(url);
        // What a simulator publishes must not be taken for a real server's of the same version.
        let state = demo.as_ref().map_or(&*server.state_dir, |demo| demo.folder.path());
        let audit = Audit::new(&store, state, &loaded.settings.audit)?;
        let principal = local_principal();
        let memory = remember(&loaded, store.clone(), demo.is_none(), wanted.holds);
        let mut guard = guard_of(&loaded, demo.is_some());
        if let Some(memory) = &memory {
            guard = guard.with_ports(memory.ports());
        }
        // Whoever runs the pipeline in this program puts its own in place; everybody else asks a manager.
        let socket = loaded.settings.manager.socket_in(&server.state_dir, control_api::SOCKET);
        let remote = RemoteEvents::new(socket, wanted.version.clone());
        let events = demo.is_none().then(|| Arc::new(remote) as Arc<dyn EventDesk>);
        let options = mcp_tools::Options {
            mode: server.mode,
            toolsets: server.toolsets.clone(),
            ceiling: server.answer_max_bytes,
            task_wait: server.task_wait,
            version: wanted.version,
            principal,
            redaction: redaction(&loaded),
            journal: Some(journal(&loaded, &audit)),
            jobs: Some(Arc::new(ProtocolJobs::new(store.clone()))),
            scope: None,
            guard,
            process: Process::in_folder(state.join("programs")),
            observer: None,
            exec_allow: server.exec_allow.clone(),
            events,
        };
        let protecting = protecting(&loaded.settings.guard, demo.is_some());
        let fleet = Arc::new(connect(&loaded, state)?.with_protecting(protecting));
        Ok(Self { loaded, fleet, options, store, audit, memory, demo })
    }

    /// The private folder of a demo.
    pub fn demo_folder(&self) -> Option<&Path> {
        self.demo.as_ref().map(|demo| demo.folder.path())
    }

    /// Lets the tools ask this pipeline.
    pub fn ask_events(&mut self, events: &Events) {
        self.options.events = Some(Arc::new(events.clone()));
    }

    /// The levers of a demo in which nobody else pulls any.
    pub(crate) fn demo_levers(&self) -> Option<proxmox_sim::Levers> {
        self.demo.as_ref().filter(|demo| demo.is_alone).map(|demo| demo.sim.levers())
    }

    /// The catalogue over this estate.
    ///
    /// # Errors
    /// A toolset that does not exist.
    pub fn app(&self) -> anyhow::Result<App> {
        match mcp_tools::build_app(Arc::clone(&self.fleet), &self.options) {
            Ok(app) => Ok(app),
            Err(mcp_tools::AppError::UnknownToolset { given, known }) => {
                let reason = format!("no toolset is called {given:?}");
                let error =
                    self.loaded.error_at("server.toolsets", reason, format!("choose from {known}"));
                bail!("{error}")
            }
            Err(error) => Err(error).context("build the tools"),
        }
    }
}

/// The settings as a program wants them, without a simulator.
///
/// # Errors
/// Whatever is wrong with them.
pub fn load(wanted: &Wanted) -> anyhow::Result<Loaded> {
    let mut sources = wanted.sources.clone();
    add_flags(&mut sources, wanted);
    Ok(settings::load(&sources)?)
}

/// The settings in force, and the simulator if one is wanted.
async fn load_all(wanted: &Wanted) -> anyhow::Result<(Loaded, Option<Demo>)> {
    let mut sources = wanted.sources.clone();
    let mut demo = None;
    if let Some(how) = &wanted.demo {
        let (started, text) = start_demo(how.levers).await?;
        // What is made beside the store is gone with the demo as well.
        let state = started.folder.path().join("state");
        // Nothing of this machine's own settings joins a demo.
        sources = Sources::default();
        sources.texts.push(("the demo's settings".to_owned(), text));
        let state = state.to_string_lossy();
        sources.flags.push(Flag::new("--demo", "server.state_dir", state));
        demo = Some(started);
    }
    add_flags(&mut sources, wanted);
    Ok((settings::load(&sources)?, demo))
}

fn add_flags(sources: &mut Sources, wanted: &Wanted) {
    if let Some(mode) = wanted.mode {
        sources.flags.push(Flag::new("--mode", "server.mode", mode.as_str()));
    }
    if let Some(toolsets) = &wanted.toolsets {
        sources.flags.push(Flag::new("--toolsets", "server.toolsets", toolsets.join(",")));
    }
}

/// What decides about actions, as the settings say. Nobody but the client can be asked yet: whoever
/// knows how adds that ([`mcp_tools::gate::Guard::with_ports`]).
fn guard_of(loaded: &Loaded, is_demo: bool) -> Guard {
    let settings = &loaded.settings.guard;
    let policy = if is_demo {
        // Whoever tries the demo decides by themselves, and nothing of it is real.
        let defaults = Defaults {
            client: ClientTrust::Everything,
            trusts_http: true,
            ..settings.defaults.clone()
        };
        Policy::try_new(loaded.settings.policy.rules().to_vec(), defaults)
            .unwrap_or_else(|_| loaded.settings.policy.clone())
    } else {
        loaded.settings.policy.clone()
    };
    Guard::new(Arc::new(policy))
        .in_zone(jiff::tz::TimeZone::system())
        .with_budget(settings.budget)
        .with_limits(settings.breaker)
        .with_commit_confirm(settings.commit_confirm)
        .with_client_within(settings.client_within)
        .frozen(settings.frozen)
}

/// The audit log, which no secret reaches: also what is done without the tools of an app, such as approved work.
fn journal(loaded: &Loaded, audit: &Audit) -> Arc<dyn Journal> {
    let journal = Arc::new(AuditJournal::new(audit.log().clone()));
    Arc::new(Redacting::new(journal, redaction(loaded)))
}

/// What takes secrets out of all that leaves: those of the settings, and the operator's own names.
fn redaction(loaded: &Loaded) -> Redaction {
    let settings = &loaded.settings;
    Redaction::new(settings.secrets()).with_names(&settings.guard.secret_fields)
}

/// Starts logging as the settings or `--log` say. The protocol library logs ordinary messages of
/// clients as warnings, so it is heard from `error` on unless the filter names it.
///
/// # Errors
/// A filter that is none.
pub fn start_log(loaded: &Loaded, log: Option<&str>) -> anyhow::Result<()> {
    let filter = log_filter(loaded, log);
    let format = match loaded.settings.log.format {
        settings::LogFormat::Json => telemetry::Format::Json,
        _ => telemetry::Format::Auto,
    };
    let redactor = redaction(loaded).redactor();
    let options = telemetry::Options::new(filter).with_format(format).with_redactor(redactor);
    Ok(telemetry::init(&options)?)
}

/// Logs from now on what these settings or `--log` say.
///
/// # Errors
/// A filter that is none; what was logged before is logged still.
pub fn change_log(loaded: &Loaded, log: Option<&str>) -> anyhow::Result<()> {
    telemetry::change(&log_filter(loaded, log))?;
    Ok(())
}

fn log_filter(loaded: &Loaded, log: Option<&str>) -> String {
    let filter = log.unwrap_or_else(|| loaded.settings.log.directives()).to_owned();
    if filter.contains("rmcp") { filter } else { format!("{filter},rmcp=error") }
}

async fn start_demo(levers: Option<SocketAddr>) -> anyhow::Result<(Demo, String)> {
    let sim = Sim::start(SimConfig::default()).await.context("start the simulated estate")?;
    if let Some(address) = levers {
        anyhow::ensure!(address.ip().is_loopback(), "--demo-levers takes a loopback address");
        proxmox_sim::serve_control(sim.levers(), address).await.context("listen for levers")?;
    }
    let folder = tempfile::Builder::new()
        .prefix("proxmox-mcp-demo-")
        .tempdir()
        .context("make a folder for the demo")?;
    let text = sim.settings_toml(folder.path()).context("write the demo's settings")?;
    Ok((Demo { sim, is_alone: levers.is_none(), folder }, text))
}

/// The clients; what servers publish of their API is kept below `state`.
fn connect(loaded: &Loaded, state: &Path) -> anyhow::Result<Fleet> {
    let server = &loaded.settings.server;
    let mut fleet = Fleet::new(stdx::SystemClock::shared())
        .with_deadline(server.overview_deadline)
        .with_library(Library::in_folder(state.join("schema")));
    for (key, options) in &loaded.settings.pve {
        let client =
            pve_client::Client::connect(options).with_context(|| format!("set up [pve.{key}]"))?;
        fleet = fleet.with_pve(key.clone(), &client, traits(options));
    }
    for (key, options) in &loaded.settings.pbs {
        let client =
            pbs_client::Client::connect(options).with_context(|| format!("set up [pbs.{key}]"))?;
        fleet = fleet.with_pbs(key.clone(), &client, traits(options));
    }
    Ok(fleet)
}

fn traits(options: &api_core::endpoint::EndpointOptions) -> Traits {
    Traits {
        labels: options.labels.clone(),
        expected_off: options.expected_off.iter().map(name_of).collect(),
        addresses: options.targets.iter().map(|at| (at.host.clone(), at.port)).collect(),
        user: Some(options.operate.as_ref().unwrap_or(&options.credential).id().to_owned()),
        accounts: std::iter::once(&options.credential)
            .chain(&options.operate)
            .map(|credential| credential.id().to_owned())
            .collect(),
    }
}

fn name_of(off: &ExpectedOff) -> String {
    match off {
        ExpectedOff::Node(node) => node.to_string(),
        ExpectedOff::Guest(vmid) => vmid.to_string(),
    }
}

/// The memory of the state folder. A folder that cannot be written is no reason not to read an estate:
/// then nobody but the client can be asked.
fn remember(loaded: &Loaded, store: LazyStore, keeps: bool, holds: Holds) -> Option<Memory> {
    let state = keeps.then_some(&*loaded.settings.server.state_dir);
    match Memory::open(loaded, store, state, holds) {
        Ok(memory) => Some(memory),
        Err(error) => {
            tracing::warn!("nobody but the client can be asked for consent: {error:#}");
            None
        }
    }
}

/// Over stdio the caller is whoever runs the program.
pub fn local_principal() -> Principal {
    Principal::local(local_uid())
}

/// The account that runs the program.
pub fn local_uid() -> u32 {
    use std::os::unix::fs::MetadataExt;

    // The owner of our own entry in /proc is our uid; where there is none, nobody.
    std::fs::metadata("/proc/self").map_or(65_534, |entry| entry.uid())
}
