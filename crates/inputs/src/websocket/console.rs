//! The console input: watches what one guest or node shows on its text console, and tells the lines that fit a pattern.
//!
//! It is what a person at the console would see from now on: what was shown before it connected nobody can tell it. It
//! types nothing; all that it sends is what keeps the connection alive.
//!
//! *Invariant:* memory is bounded: a line, the lines around the matches that wait, and [`MAX_WAITING`] events. *Invariant:*
//! what is shown is read on while the log is slow, since a terminal that nobody reads can hold its guest up; what finds no
//! room is counted as lost. *Invariant:* a guest that is off is waited for and is no failure.

mod patterns;
mod screen;
mod session;
mod watch;

use std::{pin::pin, sync::Arc, time::Duration};

use async_trait::async_trait;
use estate::{GuestKind, NodeName, VmId};
use event_core::{
    ComponentId, Cursor, Event, EventSource, Kind, RunContext, Signal, SourceError,
    SourceErrorKind, Subject,
};
use futures::stream::BoxStream;
use jiff::SignedDuration;
use pve_client::{
    Client,
    cluster::{self, Resource, ResourceFilter, ResourceKind},
    console::ConsoleTarget,
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};

pub use patterns::{InvalidPattern, Pattern, SHIPPED, shipped};
pub use screen::{MAX_LINE, Screen};
pub use watch::{Match, Watch};

use self::session::{Opened, Session};
use super::KIND;
use crate::{
    Identity, Origin,
    channel::{self, Teller},
    remote::{Reopen, Stop},
};

/// The most events that wait for the log.
pub const MAX_WAITING: usize = 256;
/// What waits between the console and the log, in signals.
const QUEUE: usize = 64;
/// A console that was open for so long was well.
const WELL: Duration = Duration::from_mins(1);

/// Settings of the console input.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Whose console; the cluster is the settings key of the one that is asked.
    pub identity: Identity,
    /// Of what.
    pub place: Place,
    /// Which of a machine's serial ports; without it, its display's.
    pub serial: Option<u8>,
    /// What is news, tried in this order: the first that fits a line counts.
    pub patterns: Vec<Pattern>,
    /// How long one pattern is told once, however many lines fit it.
    pub window: Duration,
    /// How often it is looked whether what is off runs by now.
    pub look: Duration,
    /// How long what is shown behind a line is waited for, to be told with it.
    pub linger: Duration,
}

/// What has a console.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Place {
    /// A guest, wherever it runs.
    Guest(VmId),
    /// A node.
    Node(NodeName),
}

/// Settings that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidConfig(String);

/// The input.
#[derive(Debug)]
pub struct Console {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    id: ComponentId,
    /// Who looks where the guest is.
    reader: Client,
    /// Who opens consoles.
    opener: Client,
    config: Config,
    patterns: Arc<[Pattern]>,
}

/// Where the console is now.
enum Found {
    /// There, and it can be opened.
    Here { target: ConsoleTarget, subject: Box<Subject> },
    /// Not now: why, and what to do.
    Off(String),
}

// === impl Config ===

impl Config {
    /// Watches this place with the shipped patterns.
    pub fn new(identity: Identity, place: Place) -> Self {
        Self {
            identity,
            place,
            serial: None,
            patterns: shipped(&[]),
            window: Duration::from_mins(5),
            look: Duration::from_secs(15),
            linger: Duration::from_secs(2),
        }
    }

    /// What would be refused.
    ///
    /// # Errors
    /// What is wrong with the settings.
    pub fn check(&self) -> Result<(), InvalidConfig> {
        let fail = |text: &str| Err(InvalidConfig(text.to_owned()));
        if self.identity.cluster.is_none() {
            return fail("the input has no cluster: name the table of the cluster it is in");
        }
        if self.patterns.is_empty() {
            return fail("the input has no pattern, so nothing is news to it: leave some in");
        }
        if self.serial.is_some_and(|port| port > 3) {
            return fail("a machine has the serial ports 0 to 3");
        }
        if self.serial.is_some() && matches!(self.place, Place::Node(_)) {
            return fail("a node has no serial port that can be named: leave `serial` out");
        }
        Ok(())
    }
}

// === impl Console ===

impl Console {
    /// An input of this name. `reader` looks where the guest is, `opener` opens its console; they can be the same.
    ///
    /// # Errors
    /// What is wrong with the settings.
    pub fn try_new(
        id: ComponentId,
        reader: Client,
        opener: Client,
        config: Config,
    ) -> Result<Self, InvalidConfig> {
        config.check()?;
        let mut patterns = config.patterns.clone();
        if matches!(config.place, Place::Node(_)) {
            for pattern in patterns.iter_mut().filter(|it| it.kind == Kind::GuestCrashed) {
                pattern.kind = Kind::ConsoleMatched;
            }
        }
        let patterns = patterns.into();
        Ok(Self { shared: Arc::new(Shared { id, reader, opener, config, patterns }) })
    }
}

#[async_trait]
impl EventSource for Console {
    fn id(&self) -> &ComponentId {
        &self.shared.id
    }

    async fn check(&self) -> Result<String, SourceError> {
        let shared = &self.shared;
        let (target, subject) = match shared.find().await? {
            Found::Here { target, subject } => (target, subject),
            Found::Off(why) => return Ok(why),
        };
        match shared.open(&target).await? {
            Opened::Open(console) => {
                // Whether it takes the word or not, it is left.
                console.close().await.ok();
                Ok(format!("can watch the console of {}", subject.label()))
            }
            Opened::NoTerminal(why) => Err(SourceError::new(SourceErrorKind::Settings, why)),
        }
    }

    fn run(
        &self,
        cx: RunContext,
        _: Option<Cursor>,
    ) -> BoxStream<'static, Result<Signal, SourceError>> {
        let shared = Arc::clone(&self.shared);
        channel::stream(cx, QUEUE, async move |cx, sender| {
            let teller = Teller(sender);
            let (waiting, events) = mpsc::channel(MAX_WAITING);
            // Both in one task: neither outlives the other.
            let mut telling = pin!(tell(&teller, events));
            let ended = tokio::select! {
                ended = shared.watch(&cx, &teller, &waiting) => ended,
                () = &mut telling => return Ok(()),
            };
            // What waits is told before the reason is.
            drop(waiting);
            telling.await;
            Stop::end(ended)
        })
    }
}

/// Tells events one after another, each until it is kept; ends when nobody reads them.
async fn tell(teller: &Teller, mut events: mpsc::Receiver<Event>) {
    while let Some(event) = events.recv().await {
        if teller.keep(vec![event], None).await.is_err() {
            return;
        }
    }
}

// === impl Shared ===

impl Shared {
    async fn watch(
        &self,
        cx: &RunContext,
        teller: &Teller,
        waiting: &mpsc::Sender<Event>,
    ) -> Result<(), Stop> {
        teller.say(Signal::SyncStarted).await?;
        // Nothing is "there already": a line is news or was missed.
        teller.say(Signal::SyncFinished(Cursor::new(""))).await?;
        let length = |time: Duration| SignedDuration::try_from(time).unwrap_or(SignedDuration::MAX);
        let (window, linger) = (length(self.config.window), length(self.config.linger));
        // One for all sessions, so that a guest that starts over and over is no storm either.
        let mut watch = Watch::new(Arc::clone(&self.patterns), window, linger);
        let mut reopen = Reopen::new();
        loop {
            let error = match self.look(teller).await {
                Ok(None) => {
                    reopen.is_well();
                    continue;
                }
                Ok(Some((console, subject))) => {
                    teller.say(Signal::Idle).await?;
                    let since = Instant::now();
                    let session = Session::new(self, console, subject, &mut watch, waiting);
                    let error = session.follow(cx, teller).await;
                    if since.elapsed() >= WELL {
                        reopen.is_well();
                    }
                    error
                }
                Err(Stop::Failed(error)) => error,
                Err(gone) => return Err(gone),
            };
            reopen.pause(error).await?;
        }
    }

    /// Opens the console, or says why it cannot be and waits a while.
    async fn look(
        &self,
        teller: &Teller,
    ) -> Result<Option<(Box<pve_client::console::Console>, Subject)>, Stop> {
        let why = match self.find().await? {
            Found::Off(why) => why,
            Found::Here { target, subject } => match self.open(&target).await? {
                Opened::Open(console) => return Ok(Some((console, *subject))),
                Opened::NoTerminal(why) => why,
            },
        };
        teller.say(Signal::Waiting(why)).await?;
        sleep(self.config.look).await;
        Ok(None)
    }

    async fn find(&self) -> Result<Found, SourceError> {
        let filter = match &self.config.place {
            Place::Guest(_) => ResourceFilter::Guests,
            Place::Node(_) => ResourceFilter::Nodes,
        };
        let rows = self.reader.call(cluster::resources(Some(&filter))).await;
        let rows = rows.map_err(|error| session::failed(&self.name(), error))?;
        let row = rows.iter().find(|row| match &self.config.place {
            Place::Guest(vmid) => row.vmid == Some(*vmid),
            Place::Node(node) => row.kind == ResourceKind::Node && row.node.as_ref() == Some(node),
        });
        let Some(row) = row else {
            let message = format!(
                "find {}: it is not there, or the login may not see it (VM.Audit, Sys.Audit)",
                self.name()
            );
            return Err(SourceError::new(SourceErrorKind::Settings, message));
        };
        Ok(self.found(row))
    }

    fn found(&self, row: &Resource) -> Found {
        let subject = self.origin(jiff::Timestamp::UNIX_EPOCH).subject();
        match (&self.config.place, &row.node) {
            (Place::Node(node), _) if row.status == "online" => Found::Here {
                target: ConsoleTarget::Node(node.clone()),
                subject: Box::new(Subject { node: Some(node.clone()), ..subject }),
            },
            (Place::Guest(vmid), Some(node)) if row.status == "running" => {
                let kind = match row.kind {
                    ResourceKind::Lxc => GuestKind::Lxc,
                    _ => GuestKind::Qemu,
                };
                let (node, vmid) = (node.clone(), *vmid);
                let subject = Box::new(Subject {
                    node: Some(node.clone()),
                    vmid: Some(vmid),
                    guest_kind: Some(kind),
                    guest_name: row.name.clone(),
                    ..subject
                });
                let target = match self.config.serial {
                    Some(port) if kind == GuestKind::Qemu => {
                        ConsoleTarget::Serial { node, vmid, port }
                    }
                    _ => ConsoleTarget::Guest { node, kind, vmid },
                };
                Found::Here { target, subject }
            }
            _ => Found::Off(format!(
                "{} does not run; its console is watched as soon as it does",
                self.name()
            )),
        }
    }

    /// What it watches, for people.
    fn name(&self) -> String {
        let cluster = self.config.identity.cluster.as_ref();
        let cluster = cluster.map_or("?", estate::ClusterKey::as_str);
        match &self.config.place {
            Place::Guest(vmid) => format!("guest {cluster}/{vmid}"),
            Place::Node(node) => format!("node {cluster}/{node}"),
        }
    }

    fn origin(&self, at: jiff::Timestamp) -> Origin<'_> {
        Origin::new(&self.id, KIND, &self.config.identity, at)
    }
}
