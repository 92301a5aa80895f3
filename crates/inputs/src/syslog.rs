//! The syslog input: UDP, TCP and TLS.
//!
//! Syslog has no answer by which a sender could learn that a line was kept. Over TCP and TLS a full pipeline holds the
//! sender up, which then queues as its settings say; over UDP the kernel drops what finds its buffer full. How many that
//! are is read from the kernel and told as [`Signal::Lost`].
//!
//! *Invariant:* who sends is known by address and settings alone. *Invariant:* memory is bounded: a line by
//! [`MAX_LINE`], connections by [`Config::max_connections`], what waits by a channel.

mod config;
mod drops;
mod frame;
mod stream;
mod udp;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use event_core::{
    ComponentId, Cursor, EventSource, RunContext, Signal, SourceError, SourceErrorKind,
};
use futures::stream::BoxStream;
use tokio::{
    net::{TcpListener, UdpSocket},
    sync::{mpsc, watch},
    task::JoinSet,
};

pub use config::{Config, InvalidConfig, Listen, Peer, Strangers};
pub use frame::{Frame, Framer};

use crate::{
    Origin, channel,
    recognize::{self, syslog::MAX_LINE},
};

/// The kind of input that its events name.
pub const KIND: &str = "syslog";

/// What waits between the sockets and the log, in lines.
const QUEUE: usize = 512;
/// How often the kernel is asked what it dropped.
const LOOK_AT_DROPS: Duration = Duration::from_secs(5);

/// What our own programs call themselves: what they log and what their outputs send would go round for ever.
const OURS: [&str; 2] = ["proxmox-mcp", "proxmox-manager"];

/// The input.
#[derive(Debug)]
pub struct Syslog {
    shared: Arc<Shared>,
}

/// What all sockets of an input have in common.
#[derive(Debug)]
struct Shared {
    id: ComponentId,
    config: Config,
    tls: Option<stdx::tls::Acceptor>,
    /// Makes the keys of lines differ between runs of the program, which all begin to count anew.
    run: String,
    count: AtomicU64,
    strangers: AtomicU64,
    ours: AtomicU64,
    addresses: watch::Sender<Vec<SocketAddr>>,
}

/// The sockets of one run.
enum Bound {
    Udp(UdpSocket),
    Tcp(TcpListener),
    Tls(TcpListener, stdx::tls::Acceptor),
}

// === impl Syslog ===

impl Syslog {
    /// An input of this name.
    ///
    /// # Errors
    /// What is wrong with the settings.
    pub fn try_new(id: ComponentId, config: Config) -> Result<Self, InvalidConfig> {
        config.check()?;
        let tls = config.acceptor()?;
        // Names of events are random, which is what a run wants to be told apart by.
        let run = uuid::Uuid::new_v4().simple().to_string();
        let shared = Shared {
            id,
            config,
            tls,
            run,
            count: AtomicU64::new(0),
            strangers: AtomicU64::new(0),
            ours: AtomicU64::new(0),
            addresses: watch::channel(Vec::new()).0,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Where it listens, in the order of the settings; empty while it does not run. A port that the settings leave to
    /// the system is known by this alone.
    pub fn addresses(&self) -> watch::Receiver<Vec<SocketAddr>> {
        self.shared.addresses.subscribe()
    }

    /// How many lines of strangers were left out, since the start.
    pub fn strangers(&self) -> u64 {
        self.shared.strangers.load(Ordering::Relaxed)
    }

    /// How many lines of our own programs were left out, since the start.
    pub fn ours(&self) -> u64 {
        self.shared.ours.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl EventSource for Syslog {
    fn id(&self) -> &ComponentId {
        &self.shared.id
    }

    async fn check(&self) -> Result<String, SourceError> {
        let running = self.shared.addresses.borrow().clone();
        if !running.is_empty() {
            return Ok(format!("listens on {}", listed(&running)));
        }
        let sockets = self.shared.bind().await?;
        let addresses: Vec<SocketAddr> = sockets.iter().filter_map(Bound::address).collect();
        Ok(format!("can listen on {}", listed(&addresses)))
    }

    fn run(
        &self,
        cx: RunContext,
        _resume: Option<Cursor>,
    ) -> BoxStream<'static, Result<Signal, SourceError>> {
        let shared = Arc::clone(&self.shared);
        channel::stream(cx, QUEUE, async move |cx, sender| shared.listen(cx, sender).await)
    }
}

// === impl Shared ===

impl Shared {
    async fn listen(
        self: Arc<Self>,
        cx: RunContext,
        sender: mpsc::Sender<Signal>,
    ) -> Result<(), SourceError> {
        let sockets = self.bind().await?;
        let slots = Arc::new(tokio::sync::Semaphore::new(self.config.max_connections));
        let mut tasks = JoinSet::new();
        let mut addresses = Vec::new();
        // Nothing is "there already": a line is news or was missed.
        let start = [Signal::SyncStarted, Signal::SyncFinished(Cursor::new(""))];
        for signal in start {
            if sender.send(signal).await.is_err() {
                return Ok(());
            }
        }
        for socket in sockets {
            addresses.extend(socket.address());
            let (shared, cx, sender) = (Arc::clone(&self), cx.clone(), sender.clone());
            match socket {
                Bound::Udp(socket) => {
                    tasks.spawn(async move { udp::receive(&shared, &cx, &socket, &sender).await });
                }
                Bound::Tcp(listener) => {
                    let slots = Arc::clone(&slots);
                    tasks.spawn(stream::accept(shared, cx, listener, None, slots, sender));
                }
                Bound::Tls(listener, acceptor) => {
                    let slots = Arc::clone(&slots);
                    tasks.spawn(stream::accept(
                        shared,
                        cx,
                        listener,
                        Some(acceptor),
                        slots,
                        sender,
                    ));
                }
            }
        }
        // Reset however this ends, so that nobody is told an address where nobody listens.
        let told = Told(&self.addresses);
        self.addresses.send_replace(addresses);
        let ended = tokio::select! {
            () = cx.stop.cancelled() => None,
            ended = tasks.join_next() => ended,
        };
        drop(told);
        tasks.shutdown().await;
        match ended {
            None | Some(Ok(Ok(()))) => Ok(()),
            Some(Ok(Err(error))) => Err(error),
            Some(Err(error)) => {
                Err(SourceError::new(SourceErrorKind::Unavailable, "keep listening for syslog")
                    .because(error))
            }
        }
    }

    async fn bind(&self) -> Result<Vec<Bound>, SourceError> {
        let mut bound = Vec::new();
        for listen in &self.config.listen {
            let failed = |error: std::io::Error| failed_to_bind(*listen, error);
            bound.push(match listen {
                Listen::Udp(address) => {
                    let socket = UdpSocket::bind(address).await.map_err(failed)?;
                    // The system may give less; what it drops is told in any case.
                    let size = self.config.receive_buffer_bytes;
                    socket2::SockRef::from(&socket).set_recv_buffer_size(size).ok();
                    Bound::Udp(socket)
                }
                Listen::Tcp(address) => {
                    Bound::Tcp(TcpListener::bind(address).await.map_err(failed)?)
                }
                Listen::Tls(address) => {
                    let acceptor =
                        self.tls.clone().expect("settings without a certificate are refused");
                    Bound::Tls(TcpListener::bind(address).await.map_err(failed)?, acceptor)
                }
            });
        }
        Ok(bound)
    }

    /// The event of one line, or none where the settings leave it out.
    fn event(&self, cx: &RunContext, frame: &Frame, from: SocketAddr) -> Option<event_core::Event> {
        let line = frame.bytes.trim_ascii();
        if line.is_empty() {
            return None;
        }
        let Some(identity) = self.config.identity(from.ip(), || recognize::syslog::host(line))
        else {
            self.strangers.fetch_add(1, Ordering::Relaxed);
            return None;
        };
        let origin = Origin::new(&self.id, KIND, identity, cx.now());
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        // Of one length, so that an index of them grows at its end.
        let key = format!("{}/{number:010}", self.run);
        let mut event = recognize::syslog::recognize(line, &origin, key);
        if event.labels.get("program").is_some_and(|it| OURS.contains(&it.as_str())) {
            self.ours.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        if !recognize::syslog::is_known(&event) && event.severity < self.config.least {
            return None;
        }
        event.labels.insert("peer".to_owned(), from.ip().to_canonical().to_string());
        if frame.is_cut {
            event.labels.insert("cut".to_owned(), format!("after {MAX_LINE} bytes"));
        }
        Some(event)
    }
}

/// Takes the addresses back when it goes.
struct Told<'a>(&'a watch::Sender<Vec<SocketAddr>>);

impl Drop for Told<'_> {
    fn drop(&mut self) {
        self.0.send_replace(Vec::new());
    }
}

impl Bound {
    fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Udp(socket) => socket.local_addr().ok(),
            Self::Tcp(listener) | Self::Tls(listener, _) => listener.local_addr().ok(),
        }
    }
}

fn listed(addresses: &[SocketAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn failed_to_bind(listen: Listen, error: std::io::Error) -> SourceError {
    let hint = match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            ": another program has this port (rsyslog itself?); take another one in `listen`"
        }
        std::io::ErrorKind::PermissionDenied => {
            ": ports below 1024 are for root; take one above in `listen`, such as 5514"
        }
        std::io::ErrorKind::AddrNotAvailable => ": this machine has no such address; see `listen`",
        _ => "",
    };
    let message = format!("listen for syslog on {listen}{hint}");
    SourceError::new(SourceErrorKind::Settings, message).because(error)
}
