//! The event pipeline: inputs → log → rules → outbox → outputs, and what people say in between.
//!
//! ```text
//! source ─▶ hear ─▶ writer ─▶ log ─▶ judge ─▶ step (incidents, outbox, mark) ─▶ courier ─▶ output
//!                      ▼       ▲       ▲
//!                     spool ───┘       people, measurements, the estate
//! ```
//!
//! There are two writers. Most sources can wait for the log, however long that is away, and are held
//! up by it; those whose peer waits for an answer have a way of their own (`promise`), past the spool
//! if need be.
//!
//! [`Events`] is the handle: made of [`EventParts`], started under a [`Supervisor`], and asked by the
//! control API and by tools.
//!
//! For details, see: `docs/concepts/events.md`.
//!
//! *Invariant:* every part can end at any moment, and the next start goes on from what is on disk:
//! sources behind their cursors, the judge behind its mark, couriers with what the outbox has.

mod away;
mod counter;
mod desk;
mod draft;
mod drain;
mod figures;
mod health;
mod hear;
mod history;
mod judge;
mod keep;
mod kept;
mod live;
mod outbox;
mod own;
mod parts;
mod promise;
mod recent;
mod redacted;
mod remote;
mod told;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use event_core::desk::SpoolView;
use event_core::{
    ComponentId, DeliveryKey, EventId, EventLog, EventSink, EventSource, LogError, Logged, Message,
    Seq,
};
use inputs::Echo;
use inputs::tasks::Observed;
use jiff::{SignedDuration, Timestamp};
use outputs::deliver::{Pace, Standing};
use outputs::heartbeat::Heartbeat;
use rules::{IncidentId, Rules};
use stdx::Clock;
use stdx::redact::Redactor;
use store::{
    EventCursor, EventFilter, EventPage, Incident, IncidentFilter, NewDelivery, Silence, Spool,
    Step, Store,
};
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use self::away::Away;
use self::figures::{CountedLog, Tally};
use self::hear::Ways;
use self::judge::{Judge, Order};
use self::kept::KeptLog;
use self::parts::{
    courier, start_courier, start_judge, start_once, start_side, start_wakers, start_writer,
    watch_estate,
};
use self::recent::{Recent, Tail};
use self::told::Told;
use crate::{State, Supervisor};

pub(crate) use self::counter::Counter;
pub use self::figures::{Figures, LATENCY_SECONDS, Latency, OutputFigures};
pub use self::health::InputHealth;
pub use self::own::OwnTasks;
pub use self::remote::RemoteEvents;
pub use self::told::Silencing;

/// Reports between the inputs and the log's writer.
const REPORTS: usize = 512;
/// Reports whose peer waits, between the inputs and their writer.
const PROMISES: usize = 256;
/// What people and measurements say to the rules, waiting.
const ORDERS: usize = 256;
/// Changes that a slow listener may miss.
const CHANGES: usize = 256;

/// What the pipeline is made of.
pub struct EventParts {
    /// Where everything is kept.
    pub store: Arc<dyn Store>,
    /// What is told to whom.
    pub rules: Rules,
    /// What hears.
    pub inputs: Vec<Input>,
    /// What tells.
    pub outputs: Vec<Output>,
    /// What inputs see beside events; see [`inputs::tasks::Tasks::watched_by`].
    pub observed: Option<mpsc::Receiver<Observed>>,
    /// Where reports wait while the store is away; without it their senders are refused.
    pub spool: Option<Spool>,
    /// What this program began itself, where it can begin anything.
    pub own: Option<OwnTasks>,
    /// Takes secrets out of what is read over the control socket.
    pub redactor: Redactor,
    /// For how long events are kept.
    pub keep: SignedDuration,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// An input, and what it is.
pub struct Input {
    /// It.
    pub source: Arc<dyn EventSource>,
    /// `syslog`, `webhook`, …
    pub kind: &'static str,
    /// What it drops since our own outputs sent it, where it can hear that.
    pub echo: Option<Echo>,
}

/// An output, and how it is delivered to.
pub struct Output {
    /// It.
    pub sink: Arc<dyn EventSink>,
    /// Whose names stand in its receipts: `discord`, `gotify`, …
    pub service: &'static str,
    /// Who is told when it is down for long.
    pub fallback: Option<ComponentId>,
    /// Pauses and limits.
    pub pace: Pace,
}

/// The pipeline, for people and tools. Cheap to clone.
#[derive(Clone)]
pub struct Events {
    inner: Arc<Inner>,
}

struct Inner {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    rules: Mutex<Arc<Rules>>,
    orders: mpsc::Sender<Order>,
    changes: broadcast::Sender<Change>,
    health: health::Health,
    away: Away,
    spool: Option<Spool>,
    tally: Tally,
    echoes: BTreeMap<ComponentId, Echo>,
    redactor: Redactor,
    live: live::Live,
    outputs: BTreeMap<ComponentId, Reached>,
}

/// What is known of an output.
struct Reached {
    service: &'static str,
    standing: watch::Receiver<Standing>,
}

/// Something is another way now; for whoever looks at events as they come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// How far the log was judged.
    pub seq: Seq,
    /// The incidents that changed.
    pub incidents: Vec<String>,
    /// The outputs that have something new to tell.
    pub outputs: BTreeSet<ComponentId>,
}

/// How an output is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutputHealth {
    /// What it is: `discord`, …
    pub kind: String,
    /// How many deliveries wait.
    pub pending: u64,
    /// When the one that waits longest was made.
    pub oldest: Option<Timestamp>,
    /// How many could not be told.
    pub dead: u64,
    /// How many were told since this program was started.
    pub told: u64,
    /// Since when it fails.
    pub failing_since: Option<Timestamp>,
    /// What was the last that went wrong since something was told.
    pub error: Option<String>,
}

/// What was asked of the pipeline cannot be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EventsError {
    /// The store does not do what it should.
    #[error("ask the store about events")]
    Store(#[from] store::Error),
    /// The log does not do what it should.
    #[error("read the log of events")]
    Log(#[from] LogError),
    /// There is none of that name.
    #[error("{0}")]
    NotFound(String),
    /// It cannot be meant.
    #[error("{0}")]
    Refused(String),
    /// It is shutting down.
    #[error("the event pipeline has ended: nothing more is taken in")]
    Ended,
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}

// === impl Events ===

impl Events {
    /// Starts the pipeline under this supervisor.
    pub fn start(parts: EventParts, supervisor: &Supervisor) -> Self {
        let EventParts {
            store,
            rules,
            inputs,
            outputs,
            observed,
            spool,
            own,
            redactor,
            keep,
            clock,
        } = parts;
        let rules = Arc::new(rules);
        let (orders, ordered) = mpsc::channel(ORDERS);
        let (reports, reported) = mpsc::channel(REPORTS);
        let (promises, promised) = mpsc::channel(PROMISES);
        let (changes, _) = broadcast::channel(CHANGES);
        let (kept, follow) = watch::channel(Seq(0));
        let health = health::Health::default();
        let away = Away::default();
        let recent = Recent::default();
        let tail = Tail::new(Arc::clone(&store), recent.clone());
        let (time, about) = (Arc::clone(&clock), away.clone());
        let log: Arc<dyn EventLog> =
            Arc::new(KeptLog::new(Arc::clone(&store), about, time, kept, recent));
        let tally = Tally::default();
        let log: Arc<dyn EventLog> =
            Arc::new(CountedLog { log, health: health.clone(), tally: tally.clone() });

        start_writer(supervisor, Arc::clone(&log), reported);
        let side = drain::Side {
            log: Arc::clone(&log),
            spool: spool.clone(),
            away: away.clone(),
            health: health.clone(),
            clock: Arc::clone(&clock),
        };
        start_side(supervisor, side, promised);
        let judge = Judge {
            store: Arc::clone(&store),
            tail: tail.clone(),
            rules: Arc::clone(&rules),
            clock: Arc::clone(&clock),
            changes: changes.clone(),
            tally: tally.clone(),
        };
        start_judge(supervisor, judge, ordered, follow);
        let mut known = BTreeMap::new();
        let mut wakers = BTreeMap::new();
        for output in outputs {
            let id = output.sink.id().clone();
            let service = output.service;
            let (courier, waker) = courier(output, &store, &clock, &changes);
            wakers.insert(id.clone(), waker);
            known.insert(id.clone(), Reached { service, standing: courier.standing() });
            start_courier(supervisor, &id, courier);
        }
        start_wakers(supervisor, wakers, changes.subscribe());
        let ways = Ways {
            log,
            reports,
            promises,
            orders: orders.clone(),
            health: health.clone(),
            own,
            clock: Arc::clone(&clock),
        };
        let mut echoes = BTreeMap::new();
        for Input { source, kind, echo } in inputs {
            health.know(source.id(), kind);
            echoes.extend(echo.map(|echo| (source.id().clone(), echo)));
            let ways = ways.clone();
            supervisor.spawn(format!("input {}", source.id()), move |stop| {
                Box::pin(hear::hear(Arc::clone(&source), ways.clone(), stop))
            });
        }
        let live = live::Live::default();
        if let Some(observed) = observed {
            let (orders, live) = (orders.clone(), live.clone());
            start_once(supervisor, "estate".to_owned(), move |stop| {
                watch_estate(observed, orders, live, stop)
            });
        }
        let (told, tick) = (live.clone(), Arc::clone(&clock));
        let changed = changes.clone();
        supervisor.spawn("live state", move |stop| {
            Box::pin(live::follow(
                told.clone(),
                tail.clone(),
                changed.subscribe(),
                tick.now(),
                stop,
            ))
        });
        let (kept, tick) = (Arc::clone(&store), Arc::clone(&clock));
        let changed = changes.clone();
        supervisor.spawn("events kept", move |stop| {
            Box::pin(keep::keep(
                Arc::clone(&kept),
                Arc::clone(&tick),
                keep,
                changed.subscribe(),
                stop,
            ))
        });
        let rules = Mutex::new(rules);
        let inner = Inner {
            store,
            clock,
            rules,
            orders,
            changes,
            health,
            away,
            spool,
            tally,
            echoes,
            redactor,
            live,
            outputs: known,
        };
        Self { inner: Arc::new(inner) }
    }

    /// Puts other rules in place of those that are; what they remember stays.
    ///
    /// # Errors
    /// [`EventsError::Ended`].
    pub async fn reload(&self, rules: Rules) -> Result<(), EventsError> {
        let rules = Arc::new(rules);
        *self.inner.rules.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&rules);
        let order = Order::Rules(rules);
        self.inner.orders.send(order).await.map_err(|_| EventsError::Ended)
    }

    /// Lets a heartbeat beat for as long as this supervisor runs everything, and nothing waits too long
    /// in the outbox.
    pub fn beat(&self, heartbeat: Heartbeat, supervisor: &Supervisor) {
        let (standings, seen) = (self.standings(), supervisor.clone());
        let away = self.inner.away.clone();
        start_once(supervisor, "heartbeat".to_owned(), move |stop| {
            heartbeat.run(move || healthy(&seen, &away, &standings), stop)
        });
    }

    fn standings(&self) -> Vec<(ComponentId, watch::Receiver<Standing>)> {
        let outputs = self.inner.outputs.iter();
        outputs.map(|(id, output)| (id.clone(), output.standing.clone())).collect()
    }

    /// Told of every change from now on.
    pub fn changes(&self) -> broadcast::Receiver<Change> {
        self.inner.changes.subscribe()
    }

    /// How every input is doing.
    pub fn inputs(&self) -> BTreeMap<ComponentId, InputHealth> {
        self.inner.health.all()
    }

    /// How every output is doing; those of which the outbox has something although the settings have
    /// them no more, too.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn outputs(&self) -> Result<BTreeMap<String, OutputHealth>, EventsError> {
        let counts = self.inner.store.output_counts().await?;
        Ok(self.outputs_with(counts))
    }

    /// The same with what the store has counted; with nothing, as far as it is known without it.
    pub(crate) fn outputs_with(
        &self,
        counts: Vec<store::OutputCount>,
    ) -> BTreeMap<String, OutputHealth> {
        let mut all: BTreeMap<String, OutputHealth> = BTreeMap::new();
        for (id, output) in &self.inner.outputs {
            let standing = output.standing.borrow();
            let it = all.entry(id.to_string()).or_default();
            output.service.clone_into(&mut it.kind);
            it.told = standing.told;
            it.failing_since = standing.failing_since;
            it.error.clone_from(&standing.error);
        }
        for count in counts {
            let it = all.entry(count.output).or_default();
            (it.pending, it.oldest, it.dead) = (count.pending, count.oldest, count.dead);
        }
        all
    }

    /// What waits beside the store; `None` where nothing can.
    pub fn spool(&self) -> Option<SpoolView> {
        let mut view = self.inner.away.view();
        let level = self.inner.spool.as_ref().map(Spool::level);
        if level.is_none() && view.away_since.is_none() {
            return None;
        }
        let level = level.unwrap_or_default();
        (view.waiting, view.bytes, view.max_bytes) = (level.events, level.bytes, level.max_bytes);
        Some(view)
    }

    /// The events that the filter lets through, the newest first.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn find(
        &self,
        filter: &EventFilter,
        cursor: Option<EventCursor>,
        limit: u32,
    ) -> Result<EventPage, EventsError> {
        Ok(self.inner.store.find_events(filter, cursor, limit).await?)
    }

    /// The event of this name.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn event(&self, id: EventId) -> Result<Option<Logged>, EventsError> {
        Ok(self.inner.store.event(id).await?)
    }

    /// The incidents that the filter lets through, the last that changed first.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn incidents(
        &self,
        filter: &IncidentFilter,
        limit: u32,
    ) -> Result<Vec<Incident>, EventsError> {
        Ok(self.inner.store.incidents(filter, limit).await?)
    }

    /// The incident whose name begins so, and its reports in the order in which they were heard.
    ///
    /// # Errors
    /// There is none, or several.
    pub async fn incident(
        &self,
        name: &str,
        limit: u32,
    ) -> Result<(Incident, Vec<Logged>), EventsError> {
        let found = self.found(name).await?;
        let events = self.inner.store.incident_events(&found.id, Seq(0), limit).await?;
        Ok((found, events))
    }

    async fn found(&self, name: &str) -> Result<Incident, EventsError> {
        let unknown = || {
            let name = stdx::untrusted::line(name, 40);
            EventsError::NotFound(format!(
                "no incident is called {name}; `incidents list` has them"
            ))
        };
        let plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_hexdigit());
        if !plain {
            return Err(unknown());
        }
        match self.inner.store.incident(&name.to_ascii_lowercase()).await {
            Ok(found) => found.ok_or_else(unknown),
            Err(error) if error.is_conflict() => Err(EventsError::Refused(error.to_string())),
            Err(error) => Err(error.into()),
        }
    }

    /// Somebody has it: it is not told again, and nobody else is told.
    ///
    /// # Errors
    /// There is none of that name.
    pub async fn acknowledge(&self, name: &str, by: &str) -> Result<Incident, EventsError> {
        let told = |incident, by| Told::Acknowledge { incident, by };
        self.say_of(name, by, told).await
    }

    /// Somebody says that it is over.
    ///
    /// # Errors
    /// There is none of that name.
    pub async fn resolve(&self, name: &str, by: &str) -> Result<Incident, EventsError> {
        self.say_of(name, by, |incident, by| Told::Close { incident, by }).await
    }

    async fn say_of(
        &self,
        name: &str,
        by: &str,
        told: impl FnOnce(IncidentId, String) -> Told,
    ) -> Result<Incident, EventsError> {
        let found = self.found(name).await?;
        let id: IncidentId = found
            .id
            .parse()
            .map_err(|_| EventsError::NotFound(format!("{} is no incident's name", found.id)))?;
        let by = stdx::untrusted::line(by, 100).into_owned();
        self.tell(told(id, by)).await?;
        self.found(&found.id).await
    }

    /// Begins a silence, or makes another one of the one of that name.
    ///
    /// # Errors
    /// Its condition or time cannot be meant.
    pub async fn silence(&self, name: &str, silence: Silencing) -> Result<(), EventsError> {
        let rules = {
            let rules = self.inner.rules.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(&rules)
        };
        let checked = rules.check_mute(name, &silence.config());
        checked.map_err(|error| EventsError::Refused(error.to_string()))?;
        self.tell(Told::Mute { name: name.to_owned(), silence }).await
    }

    /// Ends a silence before its time.
    ///
    /// # Errors
    /// There is none of that name.
    pub async fn unsilence(&self, name: &str) -> Result<(), EventsError> {
        if !self.silences().await?.iter().any(|it| it.name == name) {
            let name = stdx::untrusted::line(name, 60);
            return Err(EventsError::NotFound(format!("no silence is called {name}")));
        }
        self.tell(Told::Unmute { name: name.to_owned() }).await
    }

    /// The silences that have not ended.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn silences(&self) -> Result<Vec<Silence>, EventsError> {
        Ok(self.inner.store.silences(self.inner.clock.now()).await?)
    }

    /// Tells these outputs something by itself, past the rules; all of them where none is named. Says
    /// who is told.
    ///
    /// # Errors
    /// An output does not exist.
    pub async fn send(
        &self,
        message: Message,
        outputs: &[String],
    ) -> Result<Vec<ComponentId>, EventsError> {
        let known = &self.inner.outputs;
        let of = |name: &String| {
            let found = known.keys().find(|id| id.as_str() == name).cloned();
            found.ok_or_else(|| {
                let all: Vec<&str> = known.keys().map(ComponentId::as_str).collect();
                let name = stdx::untrusted::line(name, 60);
                EventsError::NotFound(format!(
                    "no output is called {name}; there are: {}",
                    if all.is_empty() { "none".to_owned() } else { all.join(", ") }
                ))
            })
        };
        let to = match outputs {
            [] => known.keys().cloned().collect(),
            some => some.iter().map(of).collect::<Result<Vec<_>, _>>()?,
        };
        let once = EventId::new(self.inner.clock.now()).to_string();
        let deliveries = to.iter().map(|output| delivery(output, &once, message.clone()));
        let step = Step { deliveries: deliveries.collect(), ..Step::default() };
        let seq = Seq(0);
        self.inner.store.commit_step(step).await?;
        let outputs = to.iter().cloned().collect();
        // Nobody may listen.
        let _ = self.inner.changes.send(Change { seq, incidents: Vec::new(), outputs });
        Ok(to)
    }

    /// How the estate is, as far as was seen and heard.
    pub(crate) fn live_state(&self) -> std::sync::MutexGuard<'_, event_core::live::LiveState> {
        self.inner.live.lock()
    }

    /// The store, for what is only read or is about dead letters.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.inner.store
    }

    /// Looks into the outboxes of these outputs at once.
    pub fn wake(&self, outputs: BTreeSet<ComponentId>) {
        // Nobody may listen.
        let _ = self.inner.changes.send(Change { seq: Seq(0), incidents: Vec::new(), outputs });
    }

    /// What takes secrets out of what is read.
    pub(crate) fn redactor(&self) -> &Redactor {
        &self.inner.redactor
    }

    /// Now.
    pub(crate) fn now(&self) -> Timestamp {
        self.inner.clock.now()
    }

    /// The names of the outputs.
    pub fn output_names(&self) -> Vec<ComponentId> {
        self.inner.outputs.keys().cloned().collect()
    }

    async fn tell(&self, told: Told) -> Result<(), EventsError> {
        let (answer, kept) = oneshot::channel();
        let order = Order::Tell(Box::new(told), Some(answer));
        self.inner.orders.send(order).await.map_err(|_| EventsError::Ended)?;
        kept.await.map_err(|_| EventsError::Ended)
    }
}

/// What is wrong with inputs or outputs, if anything is.
fn healthy(
    supervisor: &Supervisor,
    away: &Away,
    standings: &[(ComponentId, watch::Receiver<Standing>)],
) -> Result<(), String> {
    for (name, part) in supervisor.parts() {
        if part.state == State::Waiting {
            let error = part.error.unwrap_or_default();
            return Err(format!("{name} has failed: {error}"));
        }
    }
    if let Some((since, error)) = away.since() {
        return Err(format!("the store takes no events in since {since}: {error}"));
    }
    for (id, standing) in standings {
        if let Some(since) = standing.borrow().failing_since {
            return Err(format!("the output {id} has told nothing since {since}"));
        }
    }
    Ok(())
}

/// A delivery of its own, of no incident.
fn delivery(output: &ComponentId, once: &str, message: Message) -> NewDelivery {
    let key = DeliveryKey::of(["sent", once, output.as_str()]);
    NewDelivery {
        lane: format!("alone/{}", key.as_str()),
        key,
        output: output.clone(),
        incident: None,
        made: message.written,
        due: message.written,
        message,
    }
}
