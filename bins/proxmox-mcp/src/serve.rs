//! `proxmox-mcp serve`: MCP over standard input and output, or over HTTP.

use std::process::ExitCode;

use anyhow::Context;
use mcp_tools::watch;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::{cli::ServeArgs, estate, http};

/// Serves until the input ends or a signal comes.
pub(crate) async fn run(args: ServeArgs, log: Option<&str>) -> anyhow::Result<ExitCode> {
    let over_http = http::is_wanted(&args.http)?;
    let estate = estate::prepare(&args.surface, log).await?;
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
    warn_of_trust(estate.options.mode);
    // Reads nothing as long as the client watches nothing.
    tokio::spawn(watch::watch(&app, watch::PERIOD));
    let served =
        mcp_protocol::serve_stdio(app, tokio::io::stdin(), tokio::io::stdout(), shutdown).await;
    estate.audit.finish().await;
    served.context("serve on standard input and output")?;
    Ok(ExitCode::SUCCESS)
}

/// Says so when the server acts without asking.
pub(crate) fn warn_of_trust(mode: guard::Mode) {
    if mode == guard::Mode::Trusted {
        tracing::warn!("trusted mode: reversible actions run without asking anybody");
    }
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
