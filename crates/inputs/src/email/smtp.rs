//! The SMTP listener: nodes send their mail to it.
//!
//! It takes mail and passes none on. Who may send is known by address, or by a login within TLS; whose mail it is by the
//! recipient's address, the login or the address, as the settings say.
//!
//! *Invariant:* 250 is said to a mail only after the log has it on disk; what cannot be kept is refused for now (451), and
//! the sender's queue sends it again. *Invariant:* memory is bounded: connections by [`Config::max_connections`], a mail by
//! [`Config::max_bytes`], a command by [`pieces::MAX_COMMAND`].

mod config;
pub mod pieces;
pub mod session;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use event_core::{
    Ack, ComponentId, Cursor, Event, EventSource, RunContext, Signal, SourceError, SourceErrorKind,
};
use futures::stream::BoxStream;
use stdx::{Chain, tls::Acceptor};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc, watch},
    task::JoinSet,
    time::{sleep, timeout},
};
use tracing::{debug, warn};

pub use config::{Config, InvalidConfig, Listen, Peer, User};

use self::{
    pieces::{Mail, Pieces},
    session::{Fate, Session, Step},
};
use super::KIND;
use crate::{Identity, Origin, channel, remote::Io};

/// What waits between the connections and the log, in events.
const QUEUE: usize = 256;
/// How long a client may be silent.
const SILENCE: Duration = Duration::from_mins(5);
/// How long a client may take to agree on TLS.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long the log may take to keep a mail; a client waits for ten minutes.
const KEEPING: Duration = Duration::from_mins(2);
/// The pause after a failure to accept, such as too many open files.
const PAUSE: Duration = Duration::from_millis(200);

/// The input.
#[derive(Debug)]
pub struct Smtp {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    id: ComponentId,
    config: Config,
    tls: Option<Acceptor>,
    addresses: watch::Sender<Vec<SocketAddr>>,
}

/// One run's part of a connection.
#[derive(Clone)]
struct Line {
    cx: RunContext,
    sender: mpsc::Sender<Signal>,
}

/// How a conversation ended.
enum Ended {
    HungUp,
    /// The client wants TLS.
    StartTls,
}

// === impl Smtp ===

impl Smtp {
    /// An input of this name.
    ///
    /// # Errors
    /// What is wrong with the settings.
    pub fn try_new(id: ComponentId, config: Config) -> Result<Self, InvalidConfig> {
        config.check()?;
        let tls = config.acceptor()?;
        let addresses = watch::channel(Vec::new()).0;
        Ok(Self { shared: Arc::new(Shared { id, config, tls, addresses }) })
    }

    /// Where it listens, in the order of the settings; empty while it does not run.
    pub fn addresses(&self) -> watch::Receiver<Vec<SocketAddr>> {
        self.shared.addresses.subscribe()
    }
}

#[async_trait]
impl EventSource for Smtp {
    fn id(&self) -> &ComponentId {
        &self.shared.id
    }

    async fn check(&self) -> Result<String, SourceError> {
        let running = self.shared.addresses.borrow().clone();
        let listed =
            |all: &[SocketAddr]| all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        if !running.is_empty() {
            return Ok(format!("listens for mail on {}", listed(&running)));
        }
        let listeners = self.shared.bind().await?;
        let addresses: Vec<SocketAddr> =
            listeners.iter().filter_map(|(_, listener)| listener.local_addr().ok()).collect();
        Ok(format!("can listen for mail on {}", listed(&addresses)))
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

/// Empties the addresses when the run goes.
struct Told<'a>(&'a watch::Sender<Vec<SocketAddr>>);

impl Drop for Told<'_> {
    fn drop(&mut self) {
        self.0.send_replace(Vec::new());
    }
}

// === impl Shared ===

impl Shared {
    async fn listen(
        self: Arc<Self>,
        cx: RunContext,
        sender: mpsc::Sender<Signal>,
    ) -> Result<(), SourceError> {
        let listeners = self.bind().await?;
        // Nothing is "there already": a mail is news.
        for signal in [Signal::SyncStarted, Signal::SyncFinished(Cursor::new(""))] {
            if sender.send(signal).await.is_err() {
                return Ok(());
            }
        }
        let slots = Arc::new(Semaphore::new(self.config.max_connections));
        let mut tasks = JoinSet::new();
        let mut addresses = Vec::new();
        for (listen, listener) in listeners {
            addresses.extend(listener.local_addr());
            let line = Line { cx: cx.clone(), sender: sender.clone() };
            tasks.spawn(Arc::clone(&self).accept(listen, listener, Arc::clone(&slots), line));
        }
        let told = Told(&self.addresses);
        self.addresses.send_replace(addresses);
        let ended = tokio::select! {
            () = cx.stop.cancelled() => None,
            ended = tasks.join_next() => ended,
        };
        drop(told);
        tasks.shutdown().await;
        match ended {
            None | Some(Ok(())) => Ok(()),
            Some(Err(error)) => {
                let message = "keep listening for mail";
                Err(SourceError::new(SourceErrorKind::Unavailable, message).because(error))
            }
        }
    }

    async fn bind(&self) -> Result<Vec<(Listen, TcpListener)>, SourceError> {
        let mut bound = Vec::new();
        for listen in &self.config.listen {
            let listener = TcpListener::bind(listen.address()).await.map_err(|error| {
                let hint = match error.kind() {
                    std::io::ErrorKind::AddrInUse => {
                        ": another program has this port (postfix?); take another one in `listen`"
                    }
                    std::io::ErrorKind::PermissionDenied => {
                        ": ports below 1024 are for root; take one above in `listen`, such as 2525"
                    }
                    std::io::ErrorKind::AddrNotAvailable => {
                        ": this machine has no such address; see `listen`"
                    }
                    _ => "",
                };
                let message = format!("listen for mail on {listen}{hint}");
                SourceError::new(SourceErrorKind::Settings, message).because(error)
            })?;
            bound.push((*listen, listener));
        }
        Ok(bound)
    }

    /// Accepts connections until the run ends; those that are open end with it.
    async fn accept(
        self: Arc<Self>,
        listen: Listen,
        listener: TcpListener,
        slots: Arc<Semaphore>,
        line: Line,
    ) {
        let mut connections = JoinSet::new();
        loop {
            // Without a free slot nobody is let in; who waits in the kernel's queue has lost nothing.
            let slot =
                Arc::clone(&slots).acquire_owned().await.expect("the slots are never closed");
            let (stream, from) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    warn!(error = %Chain(&error), "connection for mail is not accepted");
                    sleep(PAUSE).await;
                    continue;
                }
            };
            while connections.try_join_next().is_some() {}
            let (shared, line) = (Arc::clone(&self), line.clone());
            connections.spawn(async move {
                if let Err(error) = shared.serve(listen, stream, from, &line).await {
                    debug!(peer = %from, error = %Chain(&error), "connection for mail broke off");
                }
                drop(slot);
            });
        }
    }

    async fn serve(
        &self,
        listen: Listen,
        mut stream: TcpStream,
        from: SocketAddr,
        line: &Line,
    ) -> std::io::Result<()> {
        let peer = self.config.peer(from.ip());
        if matches!(listen, Listen::Smtp(_)) {
            let session = Session::new(&self.config, peer, false);
            let greeting = session.greeting();
            stream.write_all(greeting.as_bytes()).await?;
            match self.talk(&mut stream, session, line).await? {
                Ended::HungUp => return Ok(()),
                Ended::StartTls => {}
            }
        }
        let acceptor = self.tls.clone().expect("settings without a certificate are refused");
        let slow = || std::io::Error::from(std::io::ErrorKind::TimedOut);
        let mut stream =
            timeout(HANDSHAKE, acceptor.accept(stream)).await.map_err(|_| slow())??;
        let session = Session::new(&self.config, peer, true);
        if matches!(listen, Listen::Smtps(_)) {
            stream.write_all(session.greeting().as_bytes()).await?;
        }
        self.talk(&mut stream, session, line).await?;
        Ok(())
    }

    async fn talk(
        &self,
        stream: &mut impl Io,
        mut session: Session<'_>,
        line: &Line,
    ) -> std::io::Result<Ended> {
        let mut pieces = Pieces::default();
        loop {
            let Some(command) = pieces.next_command() else {
                if !read(stream, &mut pieces).await? {
                    return Ok(Ended::HungUp);
                }
                continue;
            };
            let step = session.hear(&command);
            let (Step::Say(text) | Step::Mail(text) | Step::StartTls(text) | Step::Bye(text)) =
                &step;
            stream.write_all(text.as_bytes()).await?;
            stream.flush().await?;
            match step {
                Step::Say(_) => {}
                Step::Bye(_) => return Ok(Ended::HungUp),
                // What was sent in the clear behind the command goes with `pieces`.
                Step::StartTls(_) => return Ok(Ended::StartTls),
                Step::Mail(_) => {
                    let mut mail = Mail::new(self.config.max_bytes);
                    while !pieces.read_mail(&mut mail) {
                        if !read(stream, &mut pieces).await? {
                            return Ok(Ended::HungUp);
                        }
                    }
                    let fate = match mail.into_text() {
                        None => Fate::TooLong,
                        Some(text) => self.keep(&text, session.identity(), line).await,
                    };
                    stream.write_all(session.ends_mail(fate).as_bytes()).await?;
                    stream.flush().await?;
                }
            }
        }
    }

    /// Hands a mail on and waits until it is on disk.
    async fn keep(&self, text: &[u8], identity: Option<&Identity>, line: &Line) -> Fate {
        let Some(identity) = identity else { return Fate::Rejected };
        let origin = Origin::new(&self.id, KIND, identity, line.cx.now());
        let events = super::events(text, &origin, &self.config.echo);
        match timeout(KEEPING, all_kept(events, &line.sender)).await {
            Ok(true) => Fate::Kept,
            Ok(false) | Err(_) => Fate::Rejected,
        }
    }
}

async fn all_kept(events: Vec<Event>, sender: &mpsc::Sender<Signal>) -> bool {
    let mut rulings = Vec::with_capacity(events.len());
    for event in events {
        let (ack, ruling) = Ack::promise();
        if sender.send(Signal::Changed { event, cursor: None, ack }).await.is_err() {
            return false;
        }
        rulings.push(ruling);
    }
    for ruling in rulings {
        if !ruling.ruling().await.is_kept() {
            return false;
        }
    }
    true
}

/// Reads the next piece; whether there was one.
async fn read(stream: &mut impl Io, pieces: &mut Pieces) -> std::io::Result<bool> {
    let mut piece = [0; 8 * 1024];
    let slow = || std::io::Error::from(std::io::ErrorKind::TimedOut);
    let length = timeout(SILENCE, stream.read(&mut piece)).await.map_err(|_| slow())??;
    pieces.push(&piece[..length]);
    Ok(length > 0)
}
