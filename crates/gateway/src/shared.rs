//! What every request needs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use guard::Grant;
use mcp_protocol::Caller;
use mcp_protocol::http::{Doors, HttpOptions, HttpService};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::Authenticator;
use crate::catalogue::Catalogue;
use crate::consent::ConsentPages;
use crate::hooks::Hooks;
use crate::limit::RateLimit;
use crate::metrics::Metrics;
use crate::options::Options;
use crate::problem::Problem;

/// One of these for all connections.
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) authenticator: Arc<Authenticator>,
    pub(crate) catalogue: Arc<dyn Catalogue>,
    pub(crate) metrics: Arc<Metrics>,
    /// Whoever knows what links to approve by are for.
    pub(crate) consent: Option<Arc<dyn ConsentPages>>,
    /// What takes what is posted.
    pub(crate) hooks: Hooks,
    /// The endpoint of MCP.
    pub(crate) mcp: HttpService,
    /// Ends everything that goes on in it.
    pub(crate) mcp_shutdown: CancellationToken,
    /// Who may come in by which name, for what is not MCP.
    pub(crate) doors: Doors,
    /// The requests of each principal.
    pub(crate) requests: RateLimit,
    /// The failed attempts from each address.
    pub(crate) failures: RateLimit,
    /// The requests under way that are worth waiting for at the end.
    pub(crate) calls: TaskTracker,
    draining: AtomicBool,
}

// === impl Shared ===

impl Shared {
    /// `hosts` are those that the operator names and those that are listened on.
    pub(crate) fn new(
        options: Options,
        hosts: &[String],
        authenticator: Arc<Authenticator>,
        catalogue: Arc<dyn Catalogue>,
        metrics: Arc<Metrics>,
        consent: Option<Arc<dyn ConsentPages>>,
        hooks: Hooks,
    ) -> Self {
        let mut http = HttpOptions::default();
        http.allowed_hosts = hosts.to_vec();
        http.allowed_origins.clone_from(&options.allowed_origins);
        http.max_body_bytes = options.max_body_bytes;
        http.body_timeout = options.body_timeout;
        http.legacy_sessions = options.legacy_sessions;
        http.session_idle = options.session_idle;
        http.sessions_per_caller = options.sessions_per_principal;
        // Several callers at their own limit must fit; one that floods meets its own first.
        http.sessions_total = http.sessions_total.max(options.sessions_per_principal * 4);
        let mcp_shutdown = CancellationToken::new();
        let per_minute = options.rate_per_minute.unwrap_or(0);
        Self {
            mcp: HttpService::new(http, mcp_shutdown.clone()),
            mcp_shutdown,
            doors: Doors::new(hosts, &options.allowed_origins),
            requests: RateLimit::new(per_minute, (per_minute / 5).max(10)),
            failures: RateLimit::new(options.failures_per_minute, options.failures_per_minute),
            calls: TaskTracker::new(),
            draining: AtomicBool::new(false),
            options,
            authenticator,
            catalogue,
            metrics,
            consent,
            hooks,
        }
    }

    /// The answer to a call of a tool that a credential with a higher tier would reach, with the challenge that tells a
    /// client which one to get.
    pub(crate) fn insufficient(&self, grant: &Grant, tool: &str) -> Option<Problem> {
        if self.authenticator.is_open() {
            return None;
        }
        let needed = self.catalogue.missing_tier(grant, tool)?;
        let failure = self.authenticator.insufficient_scope(grant, needed);
        self.metrics.auth_failure(failure.reason().as_str());
        Some(Problem::auth(&failure))
    }

    /// From now on no new work is wanted.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Whether the server is about to end.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}

/// The caller whom the tools see.
pub(crate) fn caller(grant: &Grant) -> Caller {
    Caller::new(&grant.principal.to_string()).with(grant.clone())
}
