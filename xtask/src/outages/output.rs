//! An output is down for an hour: with answers that it has had too much, with faults, with connections that break off,
//! and with silence.
//!
//! The pipeline runs as a library over a store in memory, with the clock that tokio's tests have: it jumps when nothing
//! else is to be done. What the output answers is what the outputs' HTTP makes of such answers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use async_trait::async_trait;
use event_core::{
    Ack, ComponentId, Cursor, Delivery, Event, EventSink, EventSource, Kind, Receipt, Retry,
    RunContext, Severity, Signal, SinkError, SourceError, Stand, Subject,
};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use jiff::{SignedDuration, Timestamp};
use manager::Supervisor;
use manager::events::{EventParts, Events, Input, Output};
use outputs::deliver::Pace;
use rules::{Config, Rules};
use store::MemoryStore;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Findings;

const MINUTE: u64 = 60;
/// What the service asks for when it has had too much.
const RETRY_AFTER: u64 = 120;
/// How long it is down.
const HOUR: u64 = 60 * MINUTE;
/// How many guests' backups fail meanwhile, one every five minutes, and are well ten minutes later.
const GUESTS: u32 = 12;

/// What the service does with an attempt, by when that comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Does {
    TooMuch,
    Fault,
    Reset,
    Silence,
    Takes,
}

#[derive(Clone, Debug)]
struct Attempt {
    at: u64,
    does: Does,
    key: String,
    incident: String,
    stand: Stand,
    title: String,
}

/// A service that is down for an hour, or never.
struct Service {
    id: ComponentId,
    begun: Instant,
    is_down: bool,
    attempts: Mutex<Vec<Attempt>>,
}

#[derive(Debug)]
struct Virtual {
    noon: Timestamp,
    begun: Instant,
}

struct Told {
    id: ComponentId,
    events: Arc<tokio::sync::Mutex<mpsc::Receiver<(Event, Ack)>>>,
}

impl stdx::Clock for Virtual {
    fn now(&self) -> Timestamp {
        let passed = SignedDuration::try_from(self.begun.elapsed()).unwrap_or_default();
        self.noon.checked_add(passed).unwrap_or(self.noon)
    }
}

// === impl Service ===

impl Service {
    fn new(id: &str, begun: Instant, is_down: bool) -> Result<Arc<Self>> {
        let attempts = Mutex::default();
        Ok(Arc::new(Self { id: id.parse()?, begun, is_down, attempts }))
    }

    fn does(&self, at: u64) -> Does {
        match at {
            _ if !self.is_down => Does::Takes,
            at if at < 15 * MINUTE => Does::TooMuch,
            at if at < 30 * MINUTE => Does::Fault,
            at if at < 45 * MINUTE => Does::Reset,
            at if at < HOUR => Does::Silence,
            _ => Does::Takes,
        }
    }

    fn attempts(&self) -> Vec<Attempt> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl EventSink for Service {
    fn id(&self) -> &ComponentId {
        &self.id
    }

    async fn check(&self) -> Result<String, SinkError> {
        Ok("it is there".to_owned())
    }

    async fn deliver(&self, delivery: &Delivery) -> Result<Receipt, SinkError> {
        let at = self.begun.elapsed().as_secs();
        let does = self.does(at);
        let message = &delivery.message;
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner).push(Attempt {
            at,
            does,
            key: delivery.key.as_str().to_owned(),
            incident: message.incident.clone(),
            stand: message.stand,
            title: message.title.clone(),
        });
        match does {
            Does::TooMuch => {
                let retry = Retry::After(Duration::from_secs(RETRY_AFTER));
                Err(SinkError::new(retry, "tell `ops`: HTTP 429"))
            }
            Does::Fault => Err(SinkError::new(Retry::Backoff, "tell `ops`: HTTP 502")),
            Does::Reset => {
                let broken = SinkError::new(Retry::Backoff, "tell `ops`: the connection broke off");
                Err(broken.maybe_sent())
            }
            Does::Silence => {
                tokio::time::sleep(Duration::from_hours(10)).await;
                Err(SinkError::new(Retry::Backoff, "tell `ops`: nothing came"))
            }
            Does::Takes => {
                Ok(Receipt { ids: vec![delivery.key.as_str().to_owned()], ..Receipt::default() })
            }
        }
    }
}

#[async_trait]
impl EventSource for Told {
    fn id(&self) -> &ComponentId {
        &self.id
    }

    async fn check(&self) -> Result<String, SourceError> {
        Ok("it listens".to_owned())
    }

    fn run(
        &self,
        cx: RunContext,
        _resume: Option<Cursor>,
    ) -> BoxStream<'static, Result<Signal, SourceError>> {
        let begin = [Signal::SyncStarted, Signal::SyncFinished(Cursor::new("0"))].map(Ok);
        let state = (Arc::clone(&self.events), cx);
        let rest = futures::stream::unfold(state, |(events, cx)| async move {
            let next = async { events.lock().await.recv().await };
            let (event, ack) = cx.stop.run_until_cancelled(next).await??;
            Some((Ok(Signal::Changed { event, cursor: None, ack }), (events, cx)))
        });
        Box::pin(futures::stream::iter(begin).chain(rest))
    }
}

pub(super) fn run() -> Result<Findings> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build()?;
    runtime.block_on(hour())
}

async fn hour() -> Result<Findings> {
    let begun = Instant::now();
    let clock = Arc::new(Virtual { noon: "2026-11-30T12:00:00Z".parse()?, begun });
    let (ops, mail) = (Service::new("ops", begun, true)?, Service::new("mail", begun, false)?);
    let (say, events) = mpsc::channel(64);
    let source = Told { id: "hook".parse()?, events: Arc::new(tokio::sync::Mutex::new(events)) };
    let supervisor = Supervisor::new(clock.clone());
    let config = Config::default().outputs(["ops", "mail"]);
    let rules = Rules::try_new(&config).ok().context("the rules are not as they should be")?;
    let output = |sink: &Arc<Service>, fallback: Option<&str>| -> Result<Output> {
        let fallback = fallback.map(str::parse).transpose()?;
        let sink: Arc<dyn EventSink> = sink.clone();
        Ok(Output { sink, service: "test", fallback, pace: Pace::default() })
    };
    let parts = EventParts {
        store: Arc::new(MemoryStore::new()),
        rules,
        inputs: vec![Input { source: Arc::new(source), kind: "test", echo: None }],
        outputs: vec![output(&ops, Some("mail"))?, output(&mail, None)?],
        observed: None,
        spool: None,
        own: None,
        redactor: stdx::redact::Redactor::new([] as [&str; 0]),
        keep: SignedDuration::from_hours(24),
        clock: clock.clone(),
    };
    let pipeline = Events::start(parts, &supervisor);

    // Every five minutes a backup fails, and ten minutes later the same guest's is well.
    for step in 0..GUESTS + 2 {
        let now = stdx::Clock::now(&*clock);
        for (guest, kind) in
            [(Some(step), Kind::BackupFailed), (step.checked_sub(2), Kind::BackupFinished)]
        {
            let Some(guest) = guest.filter(|guest| *guest < GUESTS) else { continue };
            let (ack, kept) = Ack::pair();
            say.send((event(guest, &kind, now)?, ack)).await.ok().context("the input has ended")?;
            anyhow::ensure!(kept.ruling().await.is_kept(), "an event was not kept");
        }
        tokio::time::sleep(Duration::from_secs(5 * MINUTE)).await;
    }
    tokio::time::sleep(Duration::from_secs(60 * MINUTE)).await;
    let health = pipeline.outputs().await?;
    let findings = look(&ops.attempts(), &mail.attempts(), &health);
    supervisor.stop(Duration::from_secs(30)).await;
    Ok(findings)
}

fn event(guest: u32, kind: &Kind, now: Timestamp) -> Result<Event> {
    let subject = Subject {
        cluster: Some("lab".parse()?),
        vmid: Some((100 + guest).to_string().parse()?),
        ..Subject::default()
    };
    let is_good = *kind == Kind::BackupFinished;
    let severity = if is_good { Severity::Info } else { Severity::Error };
    let key = format!("{kind}/{guest}");
    let event = Event::builder(&"hook".parse()?, "webhook", key, kind.clone(), now);
    let event = event.severity(severity).subject(subject);
    Ok(event.title(format!("{kind} of {}", 100 + guest)).build(now))
}

fn look(
    ops: &[Attempt],
    mail: &[Attempt],
    health: &BTreeMap<String, manager::events::OutputHealth>,
) -> Findings {
    let mut findings = Findings::default();
    let during: Vec<&Attempt> = ops.iter().filter(|it| it.at < HOUR).collect();
    for (does, what) in [
        (Does::TooMuch, "minutes 0 to 15, 429 with Retry-After 120 s: attempts at minute"),
        (Does::Fault, "minutes 15 to 30, 5xx: attempts at minute"),
        (Does::Reset, "minutes 30 to 45, resets: attempts at minute"),
        (Does::Silence, "minutes 45 to 60, silence: attempts at minute"),
    ] {
        let at = during.iter().filter(|it| it.does == does);
        let at: Vec<String> =
            at.map(|it| format!("{}:{:02}", it.at / MINUTE, it.at % MINUTE)).collect();
        findings.tells(what, format!("{} ({})", at.len(), at.join(" ")));
    }
    findings.holds(
        "the breaker leaves it alone: fewer attempts than minutes",
        !during.is_empty() && during.len() < 60,
        format!("{} attempts for {} messages", during.len(), 2 * GUESTS),
    );
    let too_soon = during.iter().enumerate().filter(|(at, it)| {
        let before = during[..*at].iter().rev().find(|before| before.key == it.key);
        before.is_some_and(|it2| it2.does == Does::TooMuch && it.at < it2.at + RETRY_AFTER)
    });
    let too_soon = too_soon.count();
    findings.holds("Retry-After is kept to", too_soon == 0, format!("{too_soon} too soon"));

    let told: Vec<&Attempt> = ops.iter().filter(|it| it.does == Does::Takes).collect();
    let mut of_incident: BTreeMap<&str, Vec<Stand>> = BTreeMap::new();
    for it in told.iter().filter(|it| it.stand != Stand::Digest) {
        of_incident.entry(&it.incident).or_default().push(it.stand);
    }
    let whole = of_incident.values().filter(|it| it.last() == Some(&Stand::Resolved)).count();
    findings.holds(
        "nothing is lost: each incident is told to its end",
        whole == GUESTS as usize,
        format!("{whole} of {GUESTS}"),
    );
    let in_order = of_incident.values().all(|stands| {
        stands.first() == Some(&Stand::New)
            && stands.iter().rposition(|it| *it == Stand::New)
                < stands.iter().position(|it| *it == Stand::Resolved)
    });
    findings.holds("of one incident the earlier comes first", in_order, format!("{in_order}"));
    let mut keys: Vec<&str> = told.iter().map(|it| it.key.as_str()).collect();
    let total = keys.len();
    keys.sort_unstable();
    keys.dedup();
    findings.holds(
        "each message is taken once",
        keys.len() == total,
        format!("{total} messages, {} twice", total - keys.len()),
    );
    let last = told.iter().map(|it| it.at).max().unwrap_or_default();
    let first = told.iter().map(|it| it.at).min().unwrap_or_default();
    findings.tells(
        "after the hour: the first and the last of them told at minute",
        format!(
            "{}:{:02} and {}:{:02}",
            first / MINUTE,
            first % MINUTE,
            last / MINUTE,
            last % MINUTE
        ),
    );
    let of_ops = health.get("ops").cloned().unwrap_or_default();
    findings.holds(
        "no dead letters, and nothing waits",
        of_ops.dead == 0 && of_ops.pending == 0 && of_ops.failing_since.is_none(),
        format!("{} dead, {} waiting", of_ops.dead, of_ops.pending),
    );
    let about = |words: &str| mail.iter().filter(|it| it.title.contains(words)).count();
    let (down, up) =
        (about("the output ops has told nothing"), about("the output ops tells again"));
    let when = mail.iter().find(|it| it.title.contains("has told nothing")).map_or(0, |it| it.at);
    findings.holds(
        "the fallback says it once, and once that it is over",
        (down, up) == (1, 1),
        format!("{down} (at minute {}) and {up}", when / MINUTE),
    );
    findings
}
