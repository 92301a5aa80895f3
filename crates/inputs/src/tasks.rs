//! The tasks input: looks at a Proxmox VE cluster or a Proxmox Backup Server and tells what has changed.
//!
//! It needs nothing but a login that may look. What it looks at:
//!
//! | what | how often |
//! |---|---|
//! | tasks, the cluster's log, guests, nodes, storages, quorum, HA | [`Pace::busy`] while a task runs, else [`Pace::calm`] |
//! | replication, how full storages and datastores are | [`Pace::often`] |
//! | ZFS, thin pools, Ceph | [`Pace::pools`] |
//! | which jobs there are | [`Pace::jobs`] |
//! | certificates, updates | [`Pace::seldom`] |
//! | SMART and wear of disks | [`Pace::disks`] |
//!
//! [`read_tasks`] and [`diff()`] decide what is news, and are pure; this module asks, tells and remembers. A run that
//! resumes tells what came between, from the lists of tasks.
//!
//! *Invariant:* the cursor that is kept with an event is of everything up to and with that event, so that a crash between
//! two events loses neither. *Invariant:* what the log rejects is told again until it is kept. *Invariant:* it judges no
//! threshold and no absence: how full things are and which jobs there are goes to [`Tasks::watched_by`].

mod conditions;
mod config;
mod cursor;
mod diff;
mod facts;
mod list;
mod log;
mod look;
mod observe;
mod pbs;
mod pve;
mod scribe;
mod view;
mod vzdump;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use api_core::{Error, ErrorKind};
use async_trait::async_trait;
use estate::{ClusterKey, TaskStatus};
use event_core::live::{Fact, Key, Looked, Part, What};
use event_core::{
    ComponentId, Cursor, Event, EventSource, RunContext, Severity, Signal, SourceError,
    SourceErrorKind, Subject,
};
use futures::stream::BoxStream;
use jiff::{SignedDuration, Timestamp};
use stdx::{Backoff, Chain};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};
use tracing::warn;

pub use config::{Config, InvalidConfig, Pace};
pub use cursor::Memory;
pub use diff::{Change, Patience, Told, diff};
pub use list::{Known, Step, TaskRow, read_tasks};
pub use log::Journal;
pub use observe::Observed;
pub use view::{Condition, Doubt, Guest, Look, Place, Sighting, State, View};

use self::{
    look::{PAST, Schedule, Seen, Wants},
    scribe::{Reach, Scribe},
};
use crate::{
    channel::{self, Gone, Teller},
    recognize::syslog,
};

/// The kind of input that its events name.
pub const KIND: &str = "tasks";

/// What waits between a look and the log, in events.
const QUEUE: usize = 256;
/// How long it waits before it asks again what does not answer.
const AWAY: (Duration, Duration) = (Duration::from_secs(2), Duration::from_mins(1));

/// What it looks at.
#[derive(Clone, Debug)]
pub enum Api {
    /// A Proxmox VE cluster or node.
    Pve(pve_client::Client),
    /// A Proxmox Backup Server.
    Pbs(pbs_client::Client),
}

/// The input.
#[derive(Debug)]
pub struct Tasks {
    api: Api,
    cluster: ClusterKey,
    config: Config,
    scribe: Arc<Scribe>,
    watcher: Option<mpsc::Sender<Observed>>,
    /// What was due when in earlier runs: one that goes on where they ended does not wake disks for it.
    schedule: Arc<Mutex<Option<Schedule>>>,
}

enum Eyes {
    Pve(pve::Eyes),
    Pbs(pbs::Eyes),
}

/// One run.
struct Run {
    cx: RunContext,
    teller: Teller,
    eyes: Eyes,
    scribe: Arc<Scribe>,
    cluster: ClusterKey,
    base: Subject,
    config: Config,
    watcher: Option<mpsc::Sender<Observed>>,
    schedule: Schedule,
    kept: Arc<Mutex<Option<Schedule>>>,
    memory: Memory,
    /// Whole lists of tasks are wanted at the next look.
    relist: bool,
}

// === impl Tasks ===

impl Tasks {
    /// An input of this name that asks this server.
    ///
    /// # Errors
    /// What is wrong with the settings.
    pub fn try_new(id: ComponentId, api: Api, config: Config) -> Result<Self, InvalidConfig> {
        config.check()?;
        let identity = config.identity.clone();
        let cluster = identity.cluster.clone().expect("checked above");
        Ok(Self {
            api,
            cluster,
            config,
            scribe: Arc::new(Scribe { id, identity }),
            watcher: None,
            schedule: Arc::default(),
        })
    }

    /// Tells what the rules want to know beside events: how full things are, and which jobs there are. What finds no
    /// room in the channel is left out, since it is told again.
    #[must_use]
    pub fn watched_by(mut self, watcher: mpsc::Sender<Observed>) -> Self {
        self.watcher = Some(watcher);
        self
    }
}

#[async_trait]
impl EventSource for Tasks {
    fn id(&self) -> &ComponentId {
        &self.scribe.id
    }

    async fn check(&self) -> Result<String, SourceError> {
        let (version, tasks) = match &self.api {
            Api::Pve(client) => {
                let version = client.call(pve_client::version::get()).await;
                let version = version.map_err(|error| failed(&self.cluster, error))?;
                let tasks = client.call(pve_client::cluster::tasks()).await;
                (version.version, tasks.map_err(|error| failed(&self.cluster, error))?.len())
            }
            Api::Pbs(client) => {
                let version = client.call(pbs_client::version::get()).await;
                let version = version.map_err(|error| failed(&self.cluster, error))?;
                let all = pbs_client::tasks::TaskListParams::default();
                let tasks = client.call(pbs_client::tasks::list(all)).await;
                (version.version, tasks.map_err(|error| failed(&self.cluster, error))?.len())
            }
        };
        Ok(format!("sees {tasks} tasks of {}, version {version}", self.cluster))
    }

    fn run(
        &self,
        cx: RunContext,
        resume: Option<Cursor>,
    ) -> BoxStream<'static, Result<Signal, SourceError>> {
        let eyes = match &self.api {
            Api::Pve(client) => Eyes::Pve(pve::Eyes {
                client: client.read_only(),
                silence: look::Silence::default(),
            }),
            Api::Pbs(client) => Eyes::Pbs(pbs::Eyes {
                client: client.read_only(),
                silence: look::Silence::default(),
            }),
        };
        let (scribe, config) = (Arc::clone(&self.scribe), self.config.clone());
        let (cluster, watcher) = (self.cluster.clone(), self.watcher.clone());
        let kept = Arc::clone(&self.schedule);
        channel::stream(cx, QUEUE, async move |cx, sender| {
            let identity = &config.identity;
            let base = Subject {
                cluster: identity.cluster.clone(),
                node: identity.node.clone(),
                ..Subject::default()
            };
            let run = Run {
                cx,
                teller: Teller(sender),
                eyes,
                scribe,
                cluster,
                base,
                schedule: Schedule::new(config.pace.clone()),
                kept,
                config,
                watcher,
                memory: Memory::default(),
                relist: true,
            };
            run.go(resume).await
        })
    }
}

// === impl Run ===

impl Run {
    async fn go(mut self, resume: Option<Cursor>) -> Result<(), SourceError> {
        if self.teller.say(Signal::SyncStarted).await.is_err() {
            return Ok(());
        }
        let remembered = resume.as_ref().and_then(Memory::read);
        if let (Some(cursor), None) = (&resume, &remembered) {
            let length = cursor.as_str().len();
            warn!(source = %self.scribe.id, length, "cursor cannot be read: the present state is the baseline");
        }
        match remembered {
            Some(memory) => {
                self.memory = memory;
                let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone();
                self.schedule = kept.unwrap_or_else(|| self.schedule.clone());
            }
            None => {
                if self.baseline().await?.is_err() {
                    return Ok(());
                }
            }
        }
        let cursor = self.memory.cursor();
        if self.teller.say(Signal::SyncFinished(cursor)).await.is_err() {
            return Ok(());
        }
        let mut backoff = Backoff::new(AWAY.0, AWAY.1);
        loop {
            // How it was when the look began: what happens meanwhile may not be seen by it.
            let at = self.cx.now();
            match self.look().await {
                Ok(seen) => {
                    backoff.reset();
                    if self.take(seen, at).await.is_err() {
                        return Ok(());
                    }
                    sleep(self.pause()).await;
                }
                Err(error) if error.is_unreachable() => {
                    if self.away(&error).await.is_err() {
                        return Ok(());
                    }
                    sleep(backoff.next_delay().min(self.config.pace.calm)).await;
                }
                Err(error) => return Err(failed(&self.cluster, error)),
            }
        }
    }

    fn pause(&self) -> Duration {
        let is_busy = !self.memory.known.running.is_empty() || self.memory.view.is_unsettled();
        if is_busy { self.config.pace.busy } else { self.config.pace.calm }
    }

    async fn look(&mut self) -> Result<Seen, Error> {
        let before = self.schedule.clone();
        let wants = Wants { relist: self.relist, ..self.schedule.due(Instant::now()) };
        let at = self.cx.now();
        let seen = match &self.eyes {
            Eyes::Pve(eyes) => eyes.look(&self.memory, wants, &self.base, at).await,
            Eyes::Pbs(eyes) => eyes.look(&self.memory, wants, &self.base, at).await,
        };
        match &seen {
            Ok(_) => {
                self.relist = false;
                let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
                *kept = Some(self.schedule.clone());
            }
            // What was due was not seen.
            Err(_) => self.schedule = before,
        }
        seen
    }

    /// Takes the present state as what is known, and tells it as such.
    async fn baseline(&mut self) -> Result<Result<(), Gone>, SourceError> {
        // Whole seconds, as the servers write them.
        let now = self.cx.now();
        let at = now;
        let since = Timestamp::from_second(now.as_second()).unwrap_or(now);
        let seen = match self.look().await {
            Ok(seen) => seen,
            Err(error) if error.is_unreachable() => {
                self.memory.known.since = Some(since);
                self.memory.journal.since = Some(since);
                self.memory.away = true;
                self.relist = true;
                let why = Chain(&error).to_string();
                let event = self.scribe.reach(Reach::Away, &why, now);
                return Ok(self.existing(event).await);
            }
            Err(error) => return Err(failed(&self.cluster, error)),
        };
        let steps = read_tasks(&self.memory.known, &seen.rows);
        let changes = diff(&self.memory.view, &seen.look, now, self.config.patience);
        for change in &changes {
            self.memory.view.apply(change);
        }
        for step in &steps {
            self.memory.known.apply(step);
            let is_lately = !matches!(step, Step::Ended { at, .. } if *at < now - PAST);
            if is_lately {
                let event = self.scribe.step(step, &self.memory.view, now);
                if let Err(gone) = self.existing(event).await {
                    return Ok(Err(gone));
                }
            }
        }
        self.memory.known.since = Some(since);
        self.memory.known.settle();
        self.memory.journal.since = Some(since);
        for entry in seen.log.iter().flatten() {
            self.memory.journal.apply(entry);
        }
        self.memory.journal.settle();
        for event in changes.iter().filter_map(|change| self.scribe.change(change, now)) {
            if let Err(gone) = self.existing(event).await {
                return Ok(Err(gone));
            }
        }
        self.observe(seen, at);
        Ok(Ok(()))
    }

    /// Tells what a look has seen, and remembers it.
    async fn take(&mut self, mut seen: Seen, at: Timestamp) -> Result<(), Gone> {
        let now = self.cx.now();
        if std::mem::take(&mut self.memory.away) {
            let event = self.scribe.reach(Reach::Back, "", now);
            self.keep(vec![event]).await?;
        }
        let mut steps = read_tasks(&self.memory.known, &seen.rows);
        for upid in std::mem::take(&mut seen.gone) {
            let status = TaskStatus::Failed("its server does not know how it ended".to_owned());
            steps.push(Step::Ended { upid, at: now, status });
        }
        self.tell_steps(&steps, now).await?;
        self.tell_log(&seen, now).await?;
        self.memory.known.settle();
        seen.look.busy = self.memory.known.busy();
        seen.look.busy_nodes = self.memory.known.busy_nodes();
        seen.look.expected_off.clone_from(&self.config.expected_off);
        let changes = diff(&self.memory.view, &seen.look, now, self.config.patience);
        for change in &changes {
            self.memory.view.apply(change);
            if let Some(event) = self.scribe.change(change, now) {
                self.keep(vec![event]).await?;
            }
        }
        self.observe(seen, at);
        Ok(())
    }

    /// Tells the steps at once; the last one takes the cursor with it, when all before it are kept.
    async fn tell_steps(&mut self, steps: &[Step], now: Timestamp) -> Result<(), Gone> {
        let mut events: Vec<Event> = Vec::new();
        for step in steps {
            let event = self.scribe.step(step, &self.memory.view, now);
            if let Step::Ended { upid, at, status } = step {
                let lag = now.min(*at) + self.config.patience.lag;
                self.memory.view.heed(upid, status, lag);
                if upid.kind() == "vzdump" && upid.id().is_empty() {
                    events.extend(self.guests_of(upid, *at, now).await);
                }
            }
            // The run's end after its guests', so that it sums up what is known.
            events.push(event);
            self.memory.known.apply(step);
        }
        self.keep(events).await
    }

    /// Tells what is new in the cluster's log: what the catalogue knows, and warnings. Of tasks it has nothing that the
    /// lists do not have, where they have the task.
    async fn tell_log(&mut self, seen: &Seen, now: Timestamp) -> Result<(), Gone> {
        let Some(entries) = &seen.log else { return Ok(()) };
        // A cursor from before the log was read: what is in it now is history.
        let is_first = self.memory.journal.since.is_none();
        let mut events: Vec<Event> = Vec::new();
        for entry in self.memory.journal.clone().news(entries) {
            self.memory.journal.apply(entry);
            let event = self.scribe.entry(entry, now);
            let known = &self.memory.known;
            let is_listed = event.subject.upid.as_ref().is_some_and(|upid| {
                let name = upid.as_str();
                let is_known = known.running.contains(name) || known.ended.contains_key(name);
                is_known || seen.rows.iter().any(|row| row.upid == *upid)
            });
            let is_news = syslog::is_known(&event) || event.severity >= Severity::Warning;
            if is_news && !is_listed && !is_first {
                events.push(event);
            }
        }
        if is_first {
            self.memory.journal.since = Some(now);
        }
        self.memory.journal.settle();
        self.keep(events).await
    }

    async fn guests_of(&self, upid: &estate::Upid, ended: Timestamp, now: Timestamp) -> Vec<Event> {
        let Eyes::Pve(eyes) = &self.eyes else { return Vec::new() };
        let log = eyes.log(upid).await;
        let outcomes = vzdump::outcomes(log.iter().map(String::as_str));
        let view = &self.memory.view;
        outcomes.iter().map(|it| self.scribe.of_run(upid, ended, it, view, now)).collect()
    }

    async fn away(&mut self, error: &Error) -> Result<(), Gone> {
        self.relist = true;
        if std::mem::replace(&mut self.memory.away, true) {
            return Ok(());
        }
        let event = self.scribe.reach(Reach::Away, &Chain(error).to_string(), self.cx.now());
        self.keep(vec![event]).await
    }

    fn observe(&self, mut seen: Seen, at: Timestamp) {
        let Some(watcher) = &self.watcher else { return };
        let looked = self.looked(&mut seen, at);
        let measured = seen.measured.into_iter().map(|it| Observed::Measured(Box::new(it)));
        let cluster = self.cluster.clone();
        let estate = seen.estate.map(|estate| Observed::Estate { cluster, estate });
        for observed in [looked].into_iter().chain(measured).chain(estate) {
            // What finds no room is seen again at the next look.
            let _ = watcher.try_send(observed);
        }
    }

    /// What was seen, for the live state: it is good until several looks have failed to see it again.
    fn looked(&self, seen: &mut Seen, at: Timestamp) -> Observed {
        let pace = &self.config.pace;
        let here = Key::new(What::Cluster, &self.cluster, self.cluster.as_str(), "state");
        let facts = vec![Fact::of(here, Some("reachable".to_owned()))];
        let mut parts = vec![Part { what: What::Cluster, facts }];
        parts.append(&mut seen.parts);
        parts.extend(seen.estate.as_ref().map(|estate| facts::jobs(&self.cluster, estate)));
        let good_for = |what: What| {
            let pause = match what {
                What::Datastore => pace.often,
                What::Job => pace.jobs,
                _ => pace.calm,
            };
            SignedDuration::try_from(pause.saturating_mul(4)).unwrap_or(SignedDuration::MAX)
        };
        let parts = parts.into_iter().map(|part| (good_for(part.what), part));
        let parts = parts.map(|(good_for, part)| (part, good_for)).collect();
        let source = self.scribe.id.to_string();
        Observed::Looked(Box::new(Looked { cluster: self.cluster.clone(), at, source, parts }))
    }

    async fn existing(&self, event: Event) -> Result<(), Gone> {
        self.teller.say(Signal::Existing(event)).await
    }

    /// Tells these until they are kept, with the cursor of what is remembered now.
    async fn keep(&self, events: Vec<Event>) -> Result<(), Gone> {
        self.teller.keep(events, Some(self.memory.cursor())).await
    }
}

/// Why a look failed, as who runs the input wants to know it.
fn failed(cluster: &ClusterKey, error: Error) -> SourceError {
    let (kind, hint) = match error.kind() {
        ErrorKind::Unauthorized => (
            SourceErrorKind::Settings,
            ": its credential is refused; make a new one with `proxmox-mcp config add`",
        ),
        ErrorKind::PermissionDenied => (
            SourceErrorKind::Settings,
            ": its credential may not look; give it the role PVEAuditor or Audit on /",
        ),
        ErrorKind::Tls => (
            SourceErrorKind::Settings,
            ": its certificate is another one than the settings say; see `proxmox-mcp test`",
        ),
        ErrorKind::Decode => (SourceErrorKind::Protocol, ""),
        _ => (SourceErrorKind::Unavailable, ""),
    };
    SourceError::new(kind, format!("look at {cluster}{hint}")).because(error)
}
