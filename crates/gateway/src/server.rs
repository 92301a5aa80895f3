//! Listeners: bound all at once, served until told to stop, drained within a deadline.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::Authenticator;
use crate::catalogue::Catalogue;
use crate::connection;
use crate::consent::ConsentPages;
use crate::error::GatewayError;
use crate::hooks::Hooks;
use crate::metrics::Metrics;
use crate::options::Options;
use crate::peer::Peer;
use crate::router::{MCP, router, waiting};
use crate::shared::Shared;
use crate::slots::{Slot, Slots};
use crate::tls::{Certificate, Reload, TlsFiles};
use crate::unix::Socket;

/// How long connections may take to close when nothing is under way any more.
const CLOSING: Duration = Duration::from_secs(2);
/// How long to wait when no more connections can be accepted, for want of open files as a rule.
const BREATH: Duration = Duration::from_millis(100);

/// What is served and to whom; nothing listens yet.
pub struct Gateway {
    options: Options,
    authenticator: Arc<Authenticator>,
    catalogue: Arc<dyn Catalogue>,
    metrics: Arc<Metrics>,
    consent: Option<Arc<dyn ConsentPages>>,
    hooks: Hooks,
}

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Listen {
    /// An address, with HTTPS if there is a certificate.
    Tcp {
        /// The address; port 0 takes any that is free.
        address: SocketAddr,
        /// The certificate.
        tls: Option<TlsFiles>,
    },
    /// A socket that only this user can open.
    Unix {
        /// Where it is to stand.
        path: PathBuf,
    },
}

/// Where it listens. Its `Display` is what a client is told.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Place {
    /// Without TLS.
    Http(SocketAddr),
    /// With TLS.
    Https(SocketAddr),
    /// On a socket.
    Unix(PathBuf),
}

/// Listeners that have their addresses. Dropping it gives them back.
pub struct Bound {
    shared: Arc<Shared>,
    doors: Vec<Door>,
}

enum Door {
    Tcp { listener: TcpListener, address: SocketAddr, tls: Option<Arc<Certificate>> },
    Unix(Socket),
}

/// A connection as it was accepted.
enum Accepted {
    Tcp(TcpStream, SocketAddr),
    Unix(UnixStream),
}

/// What the listeners share while they run.
#[derive(Clone)]
struct Run {
    shared: Arc<Shared>,
    options: Arc<Options>,
    router: Router,
    slots: Arc<Slots>,
    tasks: TaskTracker,
    /// No further requests on a connection.
    stop: CancellationToken,
    /// No connection any more.
    cut: CancellationToken,
}

// === impl Gateway ===

impl Gateway {
    /// Serves what `catalogue` has to those whom `authenticator` lets in.
    pub fn new(
        options: Options,
        authenticator: Arc<Authenticator>,
        catalogue: Arc<dyn Catalogue>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self { options, authenticator, catalogue, metrics, consent: None, hooks: Hooks::new() }
    }

    /// With the pages that links to approve by lead to.
    #[must_use]
    pub fn with_consent(mut self, pages: Arc<dyn ConsentPages>) -> Self {
        self.consent = Some(pages);
        self
    }

    /// With the webhook inputs that take what is posted below `/hooks`.
    #[must_use]
    pub fn with_hooks(mut self, hooks: Hooks) -> Self {
        self.hooks = hooks;
        self
    }

    /// Takes all addresses, or none.
    ///
    /// # Errors
    ///
    /// What is wrong with which address, certificate or socket, and what to do about it. An address that others than this
    /// machine can reach is not taken without authentication.
    pub async fn bind(self, places: &[Listen]) -> Result<Bound, GatewayError> {
        if places.is_empty() {
            return Err(GatewayError::Nowhere);
        }
        let mut hosts = self.options.allowed_hosts.clone();
        let mut doors = Vec::new();
        for place in places {
            let door = match place {
                Listen::Tcp { address, tls } => {
                    let ip = address.ip().to_canonical();
                    if self.authenticator.is_open() && !ip.is_loopback() {
                        return Err(GatewayError::OpenToOthers { address: *address });
                    }
                    let tls = tls.clone().map(Certificate::load).transpose()?;
                    let fail = |source| GatewayError::Listen { address: *address, source };
                    let listener = TcpListener::bind(address).await.map_err(fail)?;
                    let address = listener.local_addr().map_err(fail)?;
                    if !ip.is_unspecified() {
                        hosts.push(ip.to_string());
                    }
                    Door::Tcp { listener, address, tls }
                }
                Listen::Unix { path } => Door::Unix(Socket::bind(path).await?),
            };
            doors.push(door);
        }
        let Self { options, authenticator, catalogue, metrics, consent, hooks } = self;
        let shared =
            Shared::new(options, &hosts, authenticator, catalogue, metrics, consent, hooks);
        Ok(Bound { shared: Arc::new(shared), doors })
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway").field("options", &self.options).finish_non_exhaustive()
    }
}

// === impl Place ===

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(address) => write!(f, "http://{address}{MCP}"),
            Self::Https(address) => write!(f, "https://{address}{MCP}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Place {
    /// Whether what goes over it can be read on the network.
    pub fn is_exposed(&self) -> bool {
        matches!(self, Self::Http(address) if !address.ip().to_canonical().is_loopback())
    }
}

// === impl Bound ===

impl Bound {
    /// Where it listens, with the ports that it got.
    pub fn places(&self) -> Vec<Place> {
        let place = |door: &Door| match door {
            Door::Tcp { address, tls: Some(_), .. } => Place::Https(*address),
            Door::Tcp { address, tls: None, .. } => Place::Http(*address),
            Door::Unix(socket) => Place::Unix(socket.path.clone()),
        };
        self.doors.iter().map(place).collect()
    }

    /// Serves until `shutdown`, then lets what is under way end, for as long as the options say.
    pub async fn serve(self, shutdown: CancellationToken) {
        let router = router(Arc::clone(&self.shared));
        self.run(router, shutdown).await;
    }

    /// Says until `shutdown` that it lives and that nothing is served yet, whatever is asked for.
    pub async fn wait(self, shutdown: CancellationToken) {
        self.run(waiting(), shutdown).await;
    }

    async fn run(self, router: Router, shutdown: CancellationToken) {
        raise_file_limit();
        let Self { shared, doors } = self;
        let options = Arc::new(shared.options.clone());
        let run = Run {
            router,
            slots: Slots::new(options.max_connections),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            cut: CancellationToken::new(),
            options,
            shared,
        };
        let mut loops = JoinSet::new();
        for door in doors {
            if let Door::Tcp { tls: Some(certificate), .. } = &door {
                loops.spawn(watch(Arc::clone(certificate), run.options.reload_every));
            }
            loops.spawn(run.clone().accept(door));
        }
        shutdown.cancelled().await;
        run.shared.drain();
        // The listeners go first: whoever comes now is refused at once rather than served in part.
        loops.shutdown().await;
        run.stop.cancel();
        run.shared.calls.close();
        let calls = run.shared.calls.wait();
        if tokio::time::timeout(run.options.drain, calls).await.is_err() {
            let left = run.shared.calls.len();
            tracing::warn!(left, "requests were still under way when the time to end them was up");
        }
        run.shared.mcp_shutdown.cancel();
        run.tasks.close();
        if tokio::time::timeout(CLOSING, run.tasks.wait()).await.is_err() {
            run.cut.cancel();
            run.tasks.wait().await;
        }
    }
}

impl fmt::Debug for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bound").field("places", &self.places()).finish_non_exhaustive()
    }
}

// === impl Door ===

impl Door {
    async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp { listener, .. } => {
                let (stream, address) = listener.accept().await?;
                // Small answers would wait for each other; without it they are only slower.
                stream.set_nodelay(true).ok();
                Ok(Accepted::Tcp(stream, address))
            }
            Self::Unix(socket) => Ok(Accepted::Unix(socket.listener.accept().await?.0)),
        }
    }
}

// === impl Run ===

impl Run {
    /// Accepts connections until it is aborted.
    async fn accept(self, door: Door) -> Infallible {
        let acceptor = match &door {
            Door::Tcp { tls: Some(certificate), .. } => {
                Some(TlsAcceptor::from(certificate.server_config()))
            }
            _ => None,
        };
        let mut full = false;
        loop {
            let accepted = match door.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(BREATH).await;
                    continue;
                }
            };
            let peer = accepted.peer();
            let Some(slot) = self.slots.take(peer.address()) else {
                self.shared.metrics.connections_refused.inc();
                if !full {
                    tracing::warn!("too many connections: new ones are closed at once");
                }
                full = true;
                continue;
            };
            full = false;
            let connection = self.clone().connection(accepted, peer, acceptor.clone(), slot);
            let cut = self.cut.clone();
            self.tasks.spawn(async move { cut.run_until_cancelled(connection).await });
        }
    }

    async fn connection(
        self,
        accepted: Accepted,
        peer: Peer,
        acceptor: Option<TlsAcceptor>,
        slot: Slot,
    ) {
        let _open = Open::new(&self.shared.metrics);
        let Self { router, options, stop, .. } = self;
        match (accepted, acceptor) {
            (Accepted::Unix(stream), _) => {
                connection::serve(stream, peer, router, options, stop).await;
            }
            (Accepted::Tcp(stream, _), None) => {
                connection::serve(stream, peer, router, options, stop).await;
            }
            (Accepted::Tcp(stream, _), Some(acceptor)) => {
                let shake =
                    tokio::time::timeout(options.handshake_timeout, acceptor.accept(stream));
                match shake.await {
                    Ok(Ok(stream)) => {
                        connection::serve(stream, peer, router, options, stop).await;
                    }
                    Ok(Err(error)) => tracing::debug!(%error, "no TLS with a client"),
                    Err(_) => tracing::debug!("a client was too slow with TLS"),
                }
            }
        }
        drop(slot);
    }
}

// === impl Accepted ===

impl Accepted {
    fn peer(&self) -> Peer {
        match self {
            Self::Tcp(_, address) => Peer::Tcp(*address),
            Self::Unix(stream) => {
                Peer::Unix { uid: stream.peer_cred().ok().map(|account| account.uid()) }
            }
        }
    }
}

/// Counts a connection for as long as it is open.
struct Open(prometheus_client::metrics::gauge::Gauge);

impl Open {
    fn new(metrics: &Metrics) -> Self {
        metrics.connections.inc();
        Self(metrics.connections.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Looks at the files of the certificate from time to time.
async fn watch(certificate: Arc<Certificate>, every: Duration) -> Infallible {
    loop {
        tokio::time::sleep(every).await;
        match certificate.reload() {
            Reload::Unchanged => {}
            Reload::Replaced => tracing::info!("certificate replaced"),
            Reload::Kept(error) => tracing::warn!(
                error = %stdx::Chain(&error),
                "the new certificate cannot be used, the old one stays"
            ),
        }
    }
}

/// Asks for as many open files as this process may have: each connection is one, and many systems start with 1024.
fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};

    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        // Fewer connections then; they are refused, not lost.
        setrlimit(Resource::Nofile, limit).ok();
    }
}
