//! `proxmox-mcp serve --http`: from flags to the gateway.

use std::{io::Write, process::ExitCode};

use anyhow::{Context as _, bail};
use assembly::{
    Daemon, Estate, EventPlan, Wait,
    web::{self, Web},
};
use gateway::{Hooks, Place};
use tokio_util::sync::CancellationToken;

use crate::{cli::HttpArgs, serve};

/// Whether the flags ask for HTTP.
pub(crate) fn is_wanted(args: &HttpArgs) -> anyhow::Result<bool> {
    let wanted = args.http.is_some() || args.unix.is_some();
    if !wanted && args.no_auth {
        bail!("--no-auth goes with --http or --unix: standard input and output know no tokens");
    }
    if args.http.is_none() && args.tls_cert.is_some() {
        bail!("--tls-cert goes with --http");
    }
    if !wanted && args.with_events {
        bail!(
            "--with-events goes with --http or --unix: each client starts a server of its own on standard input and \
             output, and only one may hear events; run proxmox-manager, to which they attach"
        );
    }
    Ok(wanted)
}

/// Serves until a signal comes.
pub(crate) async fn run(mut estate: Estate, args: &HttpArgs) -> anyhow::Result<ExitCode> {
    let (daemon, hooks) = manager_of(&mut estate, args).await?;
    let wanted = web::Wanted {
        address: args.http.map(|address| address.unwrap_or(estate.loaded.settings.http.listen)),
        unix: args.unix.clone(),
        tls: args.tls_cert.clone().zip(args.tls_key.clone()),
        open: args.no_auth,
        hooks,
        events: daemon.as_ref().and_then(Daemon::events).cloned(),
    };
    let core = daemon.as_ref().map(|daemon| daemon.core().clone());
    let web = web::bind(&estate, &wanted, core.as_ref()).await?;
    let shutdown = CancellationToken::new();
    let managing = daemon.map(|daemon| tokio::spawn(daemon.run(shutdown.clone(), || {})));
    tokio::spawn(serve::until_signal(shutdown.clone())?);
    announce(&web);
    let tools = web.tools;
    tracing::info!(mode = estate.options.mode.as_str(), tools, "serving over HTTP");
    assembly::warn_of_trust(estate.options.mode);
    let fleet = std::sync::Arc::clone(&estate.fleet);
    tokio::spawn(async move { assembly::tell_own_guest(&fleet).await });
    tokio::spawn(assembly::keep_times(&estate));
    let probe = tokio::spawn(web.probe());
    let impatient = shutdown.clone();
    tokio::select! {
        () = web.bound.serve(shutdown) => {}
        // Once more Control-C while requests are ending: the person does not want to wait for them.
        () = async { impatient.cancelled().await; tokio::signal::ctrl_c().await.ok(); } => {}
    }
    probe.abort();
    if let Some(managing) = managing {
        let left = managing.await.context("end the event pipeline")??;
        if !left.is_empty() {
            tracing::warn!(left = left.join(", "), "not everything had ended in time");
        }
    }
    estate.audit.finish().await;
    Ok(ExitCode::SUCCESS)
}

/// What a manager does, within this process, where the flags ask for it.
async fn manager_of(
    estate: &mut Estate,
    args: &HttpArgs,
) -> anyhow::Result<(Option<Daemon>, Hooks)> {
    if !args.with_events || estate.demo_folder().is_some() {
        return Ok((None, Hooks::new()));
    }
    let Some(plan) = EventPlan::of(estate).await? else {
        bail!(
            "--with-events: the settings have no [input.<name>] and no [output.<name>], or `events.enabled = false`; \
             see docs/guide/events.md"
        );
    };
    let hooks = plan.hooks.clone();
    // A client waits for this server: it does not stand by for long.
    let stop = CancellationToken::new();
    let lease = assembly::take_store(estate, &stop, |wait| match wait {
        Wait::Away(why) => tracing::warn!("waits for the store: {why}"),
        Wait::Taken(why) => tracing::warn!("stands by: {why}"),
        _ => {}
    });
    let lease = lease.await?.context("take the store")?;
    Ok((Some(Daemon::bind(estate, Some(plan))?.holding(lease)), hooks))
}

/// One line for whoever started it, on standard error like everything that is not an answer.
fn announce(web: &Web) {
    let places = web.bound.places();
    let shown: Vec<String> = places.iter().map(Place::to_string).collect();
    let how = &web.how;
    let line = format!("serving {} (REST: /api/v1); authentication: {how}\n", shown.join(" and "));
    // Whoever closed standard error does not want to know.
    let _ = std::io::stderr().write_all(line.as_bytes());
    if !web.open && places.iter().any(Place::is_exposed) {
        tracing::warn!(
            "tokens travel unencrypted over the network: serve HTTPS with --tls-cert and --tls-key, or stand behind a proxy that does"
        );
    }
}
