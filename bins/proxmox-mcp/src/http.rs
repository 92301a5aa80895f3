//! `proxmox-mcp serve --http`: the same tools over HTTP, for MCP clients and for programs that speak plain REST.

use std::{
    collections::HashMap,
    io::Write,
    net::SocketAddr,
    process::ExitCode,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, bail};
use estate::Access;
use gateway::{
    Bound, Catalogue, Gateway, Listen, Metrics, Place, Readiness, TlsFiles,
    auth::{Authenticator, Issuer, IssuerOptions, TokenFile, Tokens},
};
use guard::{Grant, Scope};
use mcp_protocol::{App, Observer};
use mcp_tools::{Options, fleet::Fleet, watch};
use secrecy::ExposeSecret;
use settings::{HttpSettings, OAuthSettings};
use stdx::Clock;
use tokio_util::sync::CancellationToken;

use crate::{cli::HttpArgs, estate::Estate, serve};

/// So many scopes have an app at hand; tokens and issuers know a handful.
const APPS: usize = 64;
/// How often an estate that has never answered is asked, at most.
const PROBE_EVERY: Duration = Duration::from_secs(15);

/// Whether the flags ask for HTTP.
pub(crate) fn is_wanted(args: &HttpArgs) -> anyhow::Result<bool> {
    let wanted = args.http.is_some() || args.unix.is_some();
    if !wanted && args.no_auth {
        bail!("--no-auth goes with --http or --unix: standard input and output know no tokens");
    }
    if args.http.is_none() && args.tls_cert.is_some() {
        bail!("--tls-cert goes with --http");
    }
    Ok(wanted)
}

/// Serves until a signal comes.
pub(crate) async fn run(estate: Estate, args: &HttpArgs) -> anyhow::Result<ExitCode> {
    // A mistake in the settings is said now, not to the first caller.
    let tools = estate.app()?.tool_specs().len();
    let metrics = Arc::new(Metrics::new(env!("CARGO_PKG_VERSION")));
    let surface = Arc::new(Surface::new(&estate, &metrics));
    let (authenticator, how) = authenticator(&estate, args)?;
    let authenticator = Arc::new(authenticator);
    let http = &estate.loaded.settings.http;
    let catalogue: Arc<dyn Catalogue> = Arc::<Surface>::clone(&surface);
    let gateway = Gateway::new(options(http), Arc::clone(&authenticator), catalogue, metrics);
    let bound = gateway.bind(&places(http, args)).await?;

    let shutdown = CancellationToken::new();
    tokio::spawn(serve::until_signal(shutdown.clone())?);
    announce(&bound, &how, authenticator.is_open());
    tracing::info!(mode = estate.options.mode.as_str(), tools, "serving over HTTP");
    serve::warn_of_trust(estate.options.mode);
    let probe = tokio::spawn(async move { surface.probe().await });
    let impatient = shutdown.clone();
    tokio::select! {
        () = bound.serve(shutdown) => {}
        // Once more Control-C while requests are ending: the person does not want to wait for them.
        () = async { impatient.cancelled().await; tokio::signal::ctrl_c().await.ok(); } => {}
    }
    probe.abort();
    Ok(ExitCode::SUCCESS)
}

/// One line for whoever started it, on standard error like everything that is not an answer.
fn announce(bound: &Bound, how: &str, open: bool) {
    let places = bound.places();
    let shown: Vec<String> = places.iter().map(Place::to_string).collect();
    let line = format!("serving {} (REST: /api/v1); authentication: {how}\n", shown.join(" and "));
    // Whoever closed standard error does not want to know.
    let _ = std::io::stderr().write_all(line.as_bytes());
    if !open && places.iter().any(Place::is_exposed) {
        tracing::warn!(
            "tokens travel unencrypted over the network: serve HTTPS with --tls-cert and --tls-key, or stand behind a proxy that does"
        );
    }
}

fn places(http: &HttpSettings, args: &HttpArgs) -> Vec<Listen> {
    let tls = match (&args.tls_cert, &args.tls_key, &http.tls) {
        (Some(certificate), Some(key), _) => {
            Some(TlsFiles { certificate: certificate.clone(), key: key.clone() })
        }
        (.., Some(files)) => {
            Some(TlsFiles { certificate: files.cert.clone(), key: files.key.clone() })
        }
        _ => None,
    };
    let mut places = Vec::new();
    if let Some(address) = args.http {
        let address: SocketAddr = address.unwrap_or(http.listen);
        places.push(Listen::Tcp { address, tls });
    }
    if let Some(path) = args.unix.as_ref().or(http.unix_socket.as_ref()) {
        places.push(Listen::Unix { path: path.clone() });
    }
    places
}

fn options(http: &HttpSettings) -> gateway::Options {
    let mut options = gateway::Options::default();
    options.allowed_hosts.clone_from(&http.allowed_hosts);
    options.allowed_origins.clone_from(&http.allowed_origins);
    options.max_body_bytes = http.max_body_bytes;
    options.rate_per_minute = http.rate_per_minute;
    options.metrics_public = http.metrics_public;
    options.session_idle = http.session_idle;
    options.sessions_per_principal = http.sessions_per_principal;
    options.legacy_sessions = http.legacy_sessions;
    options
}

/// Who may call, and how that is said to whoever started it.
fn authenticator(estate: &Estate, args: &HttpArgs) -> anyhow::Result<(Authenticator, String)> {
    if args.no_auth {
        // Over loopback nobody knows which account calls; whoever started this answers for all of them.
        let grant = Grant::new(estate.options.principal.clone(), Scope::everything());
        let how = "none, anybody on this machine may call".to_owned();
        return Ok((Authenticator::none(grant), how));
    }
    let clock = stdx::SystemClock::shared();
    let (file, how) = match estate.demo_folder() {
        // Nothing of this machine's own settings joins a demo, and nobody could make a token for it.
        Some(folder) => {
            let file = TokenFile::new(folder);
            let (token, _) = file.create("demo", &Scope::everything(), None, clock.now())?;
            (file, format!("this demo's token, {}", token.expose_secret()))
        }
        None => {
            let how = "bearer tokens (`proxmox-mcp token new --name NAME --scope read` makes one)";
            (TokenFile::new(&estate.loaded.settings.server.state_dir), how.to_owned())
        }
    };
    let mut issuers = Vec::new();
    for (name, oauth) in &estate.loaded.settings.oauth {
        let issuer = Issuer::new(issuer(oauth), Arc::clone(&clock));
        issuers.push(issuer.with_context(|| format!("set up [oauth.{name}]"))?);
    }
    let how = match issuers.len() {
        0 => how,
        1 => format!("{how}, or access tokens of {}", issuers[0].name()),
        more => format!("{how}, or access tokens of {more} issuers"),
    };
    Ok((Authenticator::new(Some(Tokens::new(file, clock)), issuers), how))
}

fn issuer(oauth: &OAuthSettings) -> IssuerOptions {
    let mut options = IssuerOptions::new(&oauth.issuer, &oauth.resource);
    options.audience.clone_from(&oauth.audience);
    options.jwks_url.clone_from(&oauth.jwks_url);
    options.scopes.clone_from(&oauth.scopes);
    options.required_scope.clone_from(&oauth.required_scope);
    options.algorithms.clone_from(&oauth.algorithms);
    options.leeway = oauth.leeway;
    options.jwks_refresh = oauth.jwks_refresh;
    options.tls = oauth.tls.clone();
    options
}

/// The tools over one estate, narrowed to what each scope allows.
struct Surface {
    fleet: Arc<Fleet>,
    options: Options,
    apps: Mutex<HashMap<Scope, App>>,
    reached: AtomicBool,
}

// === impl Surface ===

impl Surface {
    fn new(estate: &Estate, metrics: &Arc<Metrics>) -> Self {
        let observer: Arc<dyn Observer> = Arc::<Metrics>::clone(metrics);
        Self {
            fleet: Arc::clone(&estate.fleet),
            options: Options { observer: Some(observer), ..estate.options.clone() },
            apps: Mutex::default(),
            reached: AtomicBool::new(false),
        }
    }

    fn build(&self, scope: &Scope) -> App {
        let options = Options { scope: Some(scope.clone()), ..self.options.clone() };
        mcp_tools::build_app(Arc::clone(&self.fleet), &options).unwrap_or_else(|error| {
            // The settings were checked at the start: what is wrong is in the token's scope.
            tracing::warn!(%scope, error = %stdx::Chain(&error), "a scope allows nothing that there is");
            let about = mcp_protocol::Implementation::new("proxmox-mcp", "Proxmox", &options.version);
            let instructions = "The scope of your credentials allows no tool that this server has.";
            App::builder(about, instructions).build().expect("nothing contradicts itself")
        })
    }

    /// Asks the estate until some part of it answers for the first time.
    async fn probe(&self) {
        let mut pause = Duration::from_secs(1);
        loop {
            let (pve, pbs) = (self.fleet.pve(None), self.fleet.pbs(None));
            let deadline = self.fleet.deadline();
            let pve = self.fleet.gather(pve.unwrap_or_default(), deadline, async |member| {
                member.client.call(pve_client::version::get()).await
            });
            let pbs = self.fleet.gather(pbs.unwrap_or_default(), deadline, async |member| {
                member.client.call(pbs_client::version::get()).await
            });
            let (pve, pbs) = tokio::join!(pve, pbs);
            // What refuses to tell its version is there all the same.
            let answered =
                pve.answers.len() + pve.refused.len() + pbs.answers.len() + pbs.refused.len();
            if answered > 0 {
                self.reached.store(true, Ordering::Relaxed);
                return;
            }
            tracing::warn!("no endpoint has answered yet: /readyz says so until one does");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PROBE_EVERY);
        }
    }
}

impl Catalogue for Surface {
    fn app(&self, grant: &Grant) -> App {
        let mut apps = self.apps.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(app) = apps.get(&grant.scope) {
            return app.clone();
        }
        if apps.len() >= APPS {
            apps.clear();
        }
        let app = self.build(&grant.scope);
        // Reads nothing as long as nobody watches anything; sessions may hold the app for longer than this map does.
        tokio::spawn(watch::watch(app.clone(), watch::PERIOD));
        apps.insert(grant.scope.clone(), app.clone());
        app
    }

    fn missing_tier(&self, grant: &Grant, tool: &str) -> Option<Access> {
        let has = |grant: &Grant| self.app(grant).tool_specs().any(|spec| spec.name == tool);
        if has(grant) {
            return None;
        }
        let higher = [Access::Operate, Access::Destroy].into_iter();
        higher.filter(|tier| *tier > grant.scope.access).find(|tier| {
            let scope = Scope { access: *tier, ..grant.scope.clone() };
            has(&Grant::new(grant.principal.clone(), scope))
        })
    }

    fn readiness(&self) -> Readiness {
        if self.reached.load(Ordering::Relaxed) { Readiness::Ready } else { Readiness::Starting }
    }
}
