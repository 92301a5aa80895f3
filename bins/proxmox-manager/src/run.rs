//! Runs the daemon: signals, the service manager, HTTP beside the socket.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use assembly::{Daemon, DemoWanted, Estate, EventPlan, Holds, Wanted, web};
use settings::Sources;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::cli::Cli;
use crate::notify::Service;
use crate::start::Took;
use crate::{check, demo, start};

/// Work was left; it is settled at the next start.
const LEFT: u8 = 1;

/// Runs until a signal comes.
pub(crate) async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let wanted = wanted(&cli);
    let service = Service::from_variables(&wanted.sources.environment, std::process::id());
    let service = Arc::new(service);
    let mut estate = prepare(&wanted).await?;
    if cli.check {
        return check::run(&estate, &cli).await;
    }
    let stop = CancellationToken::new();
    tokio::spawn(until_signal(stop.clone())?);
    tokio::spawn(assembly::let_go_when_idle());
    // From here on one stream of it, so that none is missed between one who reads it and the next.
    let mut hangup = signal(SignalKind::hangup()).context("listen for SIGHUP")?;
    let lease = loop {
        match start::take_store(&estate, &service, &stop, &mut hangup).await? {
            Took::Store(lease) => break lease,
            Took::Nothing => return Ok(ExitCode::SUCCESS),
            Took::Notice => match anew(&wanted).await {
                Ok(prepared) => {
                    estate = prepared;
                    tracing::warn!("all settings were read anew");
                }
                Err(error) => tracing::error!("the settings stay as they were: {error:#}"),
            },
        }
    };
    let mut plan = EventPlan::of(&estate).await?;
    if cli.demo {
        plan = plan.map(|plan| plan.shown_by(&estate, &demo::shown()));
    }
    let hooks = plan.as_ref().map(|plan| plan.hooks.clone()).unwrap_or_default();
    let daemon = Daemon::bind(&mut estate, plan)?.holding(lease);
    if cli.demo {
        demo::begin(&estate, &daemon)?;
    }
    let (memory, events) = (daemon.core().memory().clone(), daemon.events().cloned());
    tokio::spawn(reload(memory, events, wanted, hangup, stop.clone()));
    let http = serve_http(&estate, &daemon, hooks, stop.clone()).await?;
    if let Some(every) = service.heartbeat() {
        let (service, supervisor) = (Arc::clone(&service), daemon.supervisor().clone());
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(every).await;
                // A runtime that hangs does not come here, and neither does one whose parts are all down.
                if supervisor.is_alive() {
                    service.tell("WATCHDOG=1");
                }
            }
        });
    }
    tracing::info!(socket = %daemon.socket().display(), "manager runs");
    assembly::tell_of_manager(&estate);
    let fleet = Arc::clone(&estate.fleet);
    tokio::spawn(async move { assembly::tell_own_guest(&fleet).await });
    let ended = daemon.run(stop, || service.tell("READY=1\nSTATUS=runs")).await;
    service.tell("STOPPING=1");
    if let Some(http) = http {
        // It heard the same signal, and drains within a deadline of its own.
        http.await.context("end the HTTP listener")?;
    }
    estate.audit.finish().await;
    let left = ended?;
    if left.is_empty() {
        tracing::info!("manager ended");
        return Ok(ExitCode::SUCCESS);
    }
    tracing::error!(left = left.join(", "), "not everything had ended in time");
    Ok(ExitCode::from(LEFT))
}

/// What the flags ask for.
fn wanted(cli: &Cli) -> Wanted {
    let mut sources = Sources::from_process();
    if cli.config.is_some() {
        sources.config.clone_from(&cli.config);
        sources.env_file = None;
    }
    Wanted {
        sources,
        mode: cli.mode,
        toolsets: None,
        demo: cli.demo.then(DemoWanted::default),
        // What is to be seen of a demo is on standard output.
        log: cli.log.clone().or_else(|| cli.demo.then(|| "error".to_owned())),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        holds: Holds::Codes,
    }
}

/// Everything that the settings say, with nothing started.
async fn prepare(wanted: &Wanted) -> anyhow::Result<Estate> {
    let estate = Estate::prepare(wanted.clone()).await?;
    anyhow::ensure!(
        estate.memory.is_some(),
        "the state folder {} cannot be used; see the warning above",
        estate.loaded.settings.server.state_dir.display()
    );
    Ok(estate)
}

/// The same once more, by the settings as they are now: nothing runs yet that would have to go on.
async fn anew(wanted: &Wanted) -> anyhow::Result<Estate> {
    let estate = prepare(wanted).await?;
    assembly::change_log(&estate.loaded, wanted.log.as_deref())?;
    Ok(estate)
}

/// Listens for the signals that end a service; the future cancels `stop` at the first.
fn until_signal(
    stop: CancellationToken,
) -> anyhow::Result<impl Future<Output = ()> + Send + 'static> {
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stop.cancel();
    })
}

/// Reads approvers and log level anew whenever SIGHUP comes. What is wrong with the new settings is said, and the
/// old ones stay; what takes a restart is said, too.
async fn reload(
    memory: assembly::Memory,
    events: Option<manager::events::Events>,
    wanted: Wanted,
    mut hangup: Signal,
    stop: CancellationToken,
) {
    while let Some(Some(())) = stop.run_until_cancelled(hangup.recv()).await {
        let anew = assembly::load(&wanted).and_then(|loaded| {
            assembly::change_log(&loaded, wanted.log.as_deref())?;
            memory.reload(&loaded, Holds::Codes)?;
            Ok(loaded.settings)
        });
        let anew = match (anew, &events) {
            (Ok(settings), Some(events)) => {
                let kept = events.reload(settings.events.rules.clone()).await;
                kept.map(|()| settings).map_err(anyhow::Error::from)
            }
            (anew, _) => anew,
        };
        match anew {
            Ok(settings) => tracing::warn!(
                approvers = settings.approvers.len(),
                "approvers, log level and the rules of events were read anew; other settings take a restart"
            ),
            Err(error) => tracing::error!("the settings stay as they were: {error:#}"),
        }
    }
}

/// Serves HTTP where the settings say so.
async fn serve_http(
    estate: &Estate,
    daemon: &Daemon,
    hooks: gateway::Hooks,
    stop: CancellationToken,
) -> anyhow::Result<Option<tokio::task::JoinHandle<()>>> {
    if !estate.loaded.settings.manager.http {
        if !hooks.is_empty() {
            let names: Vec<&str> = hooks.keys().map(String::as_str).collect();
            tracing::warn!(
                inputs = names.join(", "),
                "nothing can be posted to these webhook inputs: set `manager.http = true`, so that there is a listener"
            );
        }
        return Ok(None);
    }
    let address = Some(estate.loaded.settings.http.listen);
    let events = daemon.events().cloned();
    let wanted = web::Wanted { address, hooks, events, ..web::Wanted::default() };
    let web = web::bind(estate, &wanted, Some(daemon.core())).await?;
    for place in web.bound.places() {
        tracing::info!(%place, authentication = web.how, "serving over HTTP");
    }
    let probe = tokio::spawn(web.probe());
    Ok(Some(tokio::spawn(async move {
        web.bound.serve(stop).await;
        probe.abort();
    })))
}
