//! From the command line to a fleet: settings, the simulator of `--demo`, clients.

use std::{net::SocketAddr, path::Path, sync::Arc};

use anyhow::{Context, bail};
use api_core::endpoint::ExpectedOff;
use guard::Principal;
use mcp_protocol::App;
use mcp_tools::{
    fleet::{Fleet, Traits},
    process::Process,
    redaction::Redaction,
    tools::api::Library,
};
use proxmox_sim::{Sim, SimConfig};
use secrecy::ExposeSecret;
use settings::{Flag, Loaded, Sources};
use store::{InvalidStoreUrl, LazyStore, ProtocolJobs, StoreUrl};

use crate::{
    cli::{SourceArgs, SurfaceArgs},
    journal::AuditJournal,
};

/// Everything that a command needs; the simulator lives as long as this.
pub(crate) struct Estate {
    /// The settings in force.
    pub(crate) loaded: Loaded,
    /// The clients.
    pub(crate) fleet: Arc<Fleet>,
    /// What the catalogue is built with.
    pub(crate) options: mcp_tools::Options,
    demo: Option<Demo>,
}

/// A simulated estate and the private folder that its files are in.
struct Demo {
    _sim: Sim,
    folder: tempfile::TempDir,
}

impl Estate {
    /// Loads the settings (or starts the simulator) and makes the clients. Contacts nothing.
    pub(crate) async fn prepare(surface: &SurfaceArgs, log: Option<&str>) -> anyhow::Result<Self> {
        let mut sources = sources(&surface.source);
        let demo = if surface.demo {
            let (demo, text) = start_demo(surface.demo_levers).await?;
            // Nothing of this machine's own settings joins a demo.
            sources = Sources::default();
            sources.texts.push(("the demo's settings".to_owned(), text));
            Some(demo)
        } else {
            None
        };
        if let Some(mode) = surface.mode {
            sources.flags.push(Flag::new("--mode", "server.mode", mode.as_str()));
        }
        if let Some(toolsets) = &surface.toolsets {
            sources.flags.push(Flag::new("--toolsets", "server.toolsets", toolsets.join(",")));
        }
        let loaded = settings::load(&sources)?;
        start_log(&loaded, log)?;
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
        let url = match (&demo, &server.store_url) {
            // Nothing of a demo is kept.
            (Some(_), _) => StoreUrl::Memory,
            (None, Some(url)) => {
                url.expose_secret().parse().map_err(|error: InvalidStoreUrl| {
                    let hint = "it takes postgres://… or sqlite:///path/to/file";
                    anyhow::anyhow!(
                        "{}",
                        loaded.error_at("server.store_url", error.to_string(), hint)
                    )
                })?
            }
            (None, None) => StoreUrl::Sqlite(server.state_dir.join("store.db")),
        };
        let store = LazyStore::new(url);
        // What a simulator publishes must not be taken for a real server's of the same version.
        let state = demo.as_ref().map_or(&*server.state_dir, |demo| demo.folder.path());
        let principal = local_principal();
        let options = mcp_tools::Options {
            mode: server.mode,
            toolsets: server.toolsets.clone(),
            ceiling: server.answer_max_bytes,
            task_wait: server.task_wait,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            principal,
            redaction: Redaction::new(loaded.settings.secrets()),
            journal: Some(Arc::new(AuditJournal::new(store.clone()))),
            jobs: Some(Arc::new(ProtocolJobs::new(store))),
            scope: None,
            process: Process::in_folder(state.join("programs")),
            observer: None,
            exec_allow: server.exec_allow.clone(),
        };
        let fleet = Arc::new(connect(&loaded, state)?);
        Ok(Self { loaded, fleet, options, demo })
    }

    /// The private folder of a demo.
    pub(crate) fn demo_folder(&self) -> Option<&Path> {
        self.demo.as_ref().map(|demo| demo.folder.path())
    }

    /// The catalogue over this estate.
    pub(crate) fn app(&self) -> anyhow::Result<App> {
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

/// Where the command line says that settings are.
pub(crate) fn sources(args: &SourceArgs) -> Sources {
    let mut sources = Sources::from_process();
    if args.config.is_some() {
        sources.config.clone_from(&args.config);
        sources.env_file = None;
    }
    if args.env_file.is_some() {
        sources.env_file.clone_from(&args.env_file);
        sources.config = None;
    }
    sources
}

/// Starts logging as the settings or `--log` say. The protocol library logs ordinary messages of
/// clients as warnings, so it is heard from `error` on unless the filter names it.
fn start_log(loaded: &Loaded, log: Option<&str>) -> anyhow::Result<()> {
    let settings = &loaded.settings.log;
    let filter = log.unwrap_or_else(|| settings.directives()).to_owned();
    let filter = if filter.contains("rmcp") { filter } else { format!("{filter},rmcp=error") };
    let format = match settings.format {
        settings::LogFormat::Json => telemetry::Format::Json,
        _ => telemetry::Format::Auto,
    };
    Ok(telemetry::init(&telemetry::Options::new(filter).with_format(format))?)
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
    Ok((Demo { _sim: sim, folder }, text))
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
    }
}

fn name_of(off: &ExpectedOff) -> String {
    match off {
        ExpectedOff::Node(node) => node.to_string(),
        ExpectedOff::Guest(vmid) => vmid.to_string(),
    }
}

/// Over stdio the caller is whoever runs the program.
fn local_principal() -> Principal {
    use std::os::unix::fs::MetadataExt;

    // The owner of our own entry in /proc is our uid; where there is none, nobody.
    let uid = std::fs::metadata("/proc/self").map_or(65_534, |entry| entry.uid());
    Principal::local(uid)
}
