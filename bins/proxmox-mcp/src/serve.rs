//! `proxmox-mcp serve`: MCP over standard input and output, or over HTTP.

use std::process::ExitCode;

use anyhow::Context;
use assembly::{Estate, Holds};
use control_api::Client;
use mcp_tools::watch;
use settings::Loaded;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::{attach, cli::ServeArgs, counter, estate, http};

/// Serves until the input ends or a signal comes.
pub(crate) async fn run(args: ServeArgs, log: Option<&str>) -> anyhow::Result<ExitCode> {
    let over_http = http::is_wanted(&args.http)?;
    tokio::spawn(assembly::let_go_when_idle());
    if !over_http && let Some((client, loaded)) = manager_instead(&args, log).await? {
        return forward(client, loaded).await;
    }
    let mut wanted = estate::wanted(&args.surface, log);
    if args.http.with_events {
        wanted.holds = Holds::Codes;
    }
    let mut estate = Estate::prepare(wanted).await?;
    // Lives as long as what is served.
    let demo = assembly::demo_events(&estate).await?;
    if let Some(demo) = &demo {
        estate.ask_events(&demo.events);
    }
    assembly::tell_of_consent(&estate);
    if over_http {
        return http::run(estate, &args.http).await;
    }
    let app = estate.app()?;
    let shutdown = CancellationToken::new();
    tokio::spawn(until_signal(shutdown.clone())?);
    info!(
        mode = estate.options.mode.as_str(),
        tools = app.tool_specs().len(),
        "serving on standard input and output"
    );
    assembly::warn_of_trust(estate.options.mode);
    let fleet = std::sync::Arc::clone(&estate.fleet);
    tokio::spawn(async move { assembly::tell_own_guest(&fleet).await });
    tokio::spawn(assembly::keep_times(&estate));
    // Reads nothing as long as the client watches nothing.
    tokio::spawn(watch::watch(&app, watch::PERIOD, estate.options.events.clone()));
    let served =
        mcp_protocol::serve_stdio(app, tokio::io::stdin(), tokio::io::stdout(), shutdown).await;
    estate.audit.finish().await;
    served.context("serve on standard input and output")?;
    Ok(ExitCode::SUCCESS)
}

/// The manager, where these settings have no credentials of their own: then it does the work, and
/// knows by the system's word who asks.
async fn manager_instead(
    args: &ServeArgs,
    log: Option<&str>,
) -> anyhow::Result<Option<(Client, Loaded)>> {
    if args.surface.demo {
        return Ok(None);
    }
    let wanted = estate::wanted(&args.surface, log);
    let loaded = assembly::load(&wanted)?;
    if !loaded.settings.is_empty() {
        return Ok(None);
    }
    let found = counter::find(&loaded).await?;
    assembly::start_log(&loaded, log)?;
    Ok(found.map(|client| (client, loaded)))
}

/// Serves the manager's tools.
async fn forward(client: Client, loaded: Loaded) -> anyhow::Result<ExitCode> {
    let pid = client.welcome().pid;
    let app = attach::app(client, loaded).await?;
    let shutdown = CancellationToken::new();
    tokio::spawn(until_signal(shutdown.clone())?);
    info!(
        pid,
        tools = app.tool_specs().len(),
        "serving the manager's tools on standard input and output"
    );
    mcp_protocol::serve_stdio(app, tokio::io::stdin(), tokio::io::stdout(), shutdown)
        .await
        .context("serve on standard input and output")?;
    Ok(ExitCode::SUCCESS)
}

/// Listens for the signals that end a service; the future cancels `shutdown` at the first.
pub(crate) fn until_signal(
    shutdown: CancellationToken,
) -> anyhow::Result<impl Future<Output = ()> + Send + 'static> {
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        shutdown.cancel();
    })
}
