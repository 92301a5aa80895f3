//! The same tools over HTTP, for MCP clients and for programs that speak plain REST.

use std::{
    collections::HashMap,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use estate::Access;
use gateway::{
    Bound, Catalogue, Gateway, Hooks, Listen, Metrics, Readiness, TlsFiles,
    auth::{Authenticator, Issuer, IssuerOptions, TokenFile, Tokens},
};
use guard::{Grant, Scope};
use manager::events::Events;
use mcp_protocol::{App, Observer};
use mcp_tools::{Options, fleet::Fleet, watch};
use secrecy::ExposeSecret;
use settings::{HttpSettings, OAuthSettings};
use stdx::Clock;

use crate::{counts::Pipeline, daemon::Core, estate::Estate};

/// So many scopes have an app at hand; tokens and issuers know a handful.
const APPS: usize = 64;
/// How often an estate that has never answered is asked, at most.
const PROBE_EVERY: Duration = Duration::from_secs(15);

/// Where to listen, and whether to ask for credentials.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// On this address.
    pub address: Option<SocketAddr>,
    /// On this Unix socket.
    pub unix: Option<PathBuf>,
    /// Certificate and key, in place of what the settings say.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Nobody is asked for credentials.
    pub open: bool,
    /// What takes what is posted below `/hooks`.
    pub hooks: Hooks,
    /// The event pipeline of this program, whose figures are shown.
    pub events: Option<Events>,
}

/// A gateway that has its addresses.
pub struct Web {
    /// Serves until told to stop.
    pub bound: Bound,
    /// Who may call, for whoever started it.
    pub how: String,
    /// Whether nobody is asked for credentials.
    pub open: bool,
    /// How many tools there are.
    pub tools: usize,
    surface: Arc<Surface>,
}

/// Takes the addresses. A manager (`core`) answers links to approve by, where it makes any.
///
/// # Errors
/// Whatever is wrong with the settings, and addresses that cannot be had.
pub async fn bind(estate: &Estate, wanted: &Wanted, core: Option<&Core>) -> anyhow::Result<Web> {
    // A mistake in the settings is said now, not to the first caller.
    let tools = estate.app()?.tool_specs().len();
    let mut metrics = Metrics::new(&estate.options.version);
    if let Some(events) = &wanted.events {
        metrics = metrics.with(Arc::new(Pipeline(events.clone())));
    }
    let metrics = Arc::new(metrics);
    let surface = Arc::new(Surface::new(estate, &metrics));
    let (authenticator, how) = authenticator(estate, wanted.open)?;
    let authenticator = Arc::new(authenticator);
    let open = authenticator.is_open();
    let http = &estate.loaded.settings.http;
    let catalogue: Arc<dyn Catalogue> = Arc::<Surface>::clone(&surface);
    let mut gateway = Gateway::new(options(http), authenticator, catalogue, metrics)
        .with_hooks(wanted.hooks.clone());
    if let Some(core) = core.filter(|core| core.has_links()) {
        gateway = gateway.with_consent(Arc::new(core.clone()));
    }
    let bound = gateway.bind(&places(http, wanted)).await?;
    Ok(Web { bound, how, open, tools, surface })
}

impl Web {
    /// Asks the estate until some part of it answers for the first time: until then the gateway is
    /// not ready.
    pub fn probe(&self) -> impl Future<Output = ()> + Send + 'static {
        let surface = Arc::clone(&self.surface);
        async move { surface.probe().await }
    }
}

fn places(http: &HttpSettings, wanted: &Wanted) -> Vec<Listen> {
    let tls = match (&wanted.tls, &http.tls) {
        (Some((certificate, key)), _) => {
            Some(TlsFiles { certificate: certificate.clone(), key: key.clone() })
        }
        (None, Some(files)) => {
            Some(TlsFiles { certificate: files.cert.clone(), key: files.key.clone() })
        }
        (None, None) => None,
    };
    let mut places = Vec::new();
    if let Some(address) = wanted.address {
        places.push(Listen::Tcp { address, tls });
    }
    if let Some(path) = wanted.unix.as_ref().or(http.unix_socket.as_ref()) {
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
fn authenticator(estate: &Estate, open: bool) -> anyhow::Result<(Authenticator, String)> {
    if open {
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
    /// By scope, and by whether somebody could be asked when they were made: some tools are there only then.
    apps: Mutex<HashMap<(Scope, bool), App>>,
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
        let key = (grant.scope.clone(), self.options.guard.can_ask());
        if let Some(app) = apps.get(&key) {
            return app.clone();
        }
        if apps.len() >= APPS {
            apps.clear();
        }
        let app = self.build(&grant.scope);
        // Reads nothing as long as nobody watches anything, and ends with the app, which sessions may hold for longer than
        // this map does.
        tokio::spawn(watch::watch(&app, watch::PERIOD, self.options.events.clone()));
        apps.insert(key, app.clone());
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
