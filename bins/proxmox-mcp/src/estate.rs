//! From the command line to what is wanted of the assembly.

use assembly::{DemoWanted, Estate, Holds, Wanted};
use settings::Sources;

use crate::cli::{SourceArgs, SurfaceArgs};

/// Loads the settings (or starts the simulator) and makes the clients. Contacts nothing.
pub(crate) async fn prepare(surface: &SurfaceArgs, log: Option<&str>) -> anyhow::Result<Estate> {
    Estate::prepare(wanted(surface, log)).await
}

/// What the flags ask for.
pub(crate) fn wanted(surface: &SurfaceArgs, log: Option<&str>) -> Wanted {
    Wanted {
        sources: sources(&surface.source),
        mode: surface.mode,
        toolsets: surface.toolsets.clone(),
        demo: surface.demo.then_some(DemoWanted { levers: surface.demo_levers }),
        log: log.map(str::to_owned),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        holds: Holds::Nothing,
    }
}

/// The settings alone, for what concerns the manager.
pub(crate) fn from_source(source: &SourceArgs, log: Option<&str>) -> Wanted {
    let surface = SurfaceArgs { source: source.clone(), ..SurfaceArgs::default() };
    wanted(&surface, log)
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
