//! The pipeline as people and tools ask it, in the same program.

use std::time::Duration;

use async_trait::async_trait;
use event_core::desk::{
    DeadLetter, DeadQuery, DeskError, DeskErrorKind, EventCounts, EventDesk, EventQuery,
    EventsFound, EventsHealth, IncidentQuery, IncidentStory, IncidentView, InputView, NewSilence,
    Notice, OutputView, SaidBy, SilenceView,
};
use event_core::live::{LiveQuery, LiveView};
use event_core::{ComponentId, DeliveryKey, Kind, Logged, Message, Seq, Severity, Stand};
use jiff::SignedDuration;
use serde_json::Value;
use store::{Dead, EventFilter, Incident, IncidentFilter, Said, Silence};

use tokio::time::timeout;

use super::{Events, EventsError, Silencing};

/// How many rows an answer has where nothing is said, and at most.
const ROWS: (u32, u32) = (50, 500);
/// How many events are counted at most.
const COUNTED: u64 = 20_000;
/// The longest silence: what is longer is a line of the settings.
const LONGEST_SILENCE: u64 = 14 * 24 * 3600;
/// The longest wait of one call.
const LONGEST_WAIT: u64 = 30;
/// How long the store is waited for by whoever asks how things are.
pub(super) const STORE_ANSWERS: Duration = Duration::from_secs(3);

#[async_trait]
impl EventDesk for Events {
    async fn find(&self, query: EventQuery) -> Result<EventsFound, DeskError> {
        let cursor = query.cursor.as_deref().map(str::parse).transpose();
        let cursor = cursor.map_err(|error| invalid(format!("cursor: {error}")))?;
        let limit = rows(query.limit);
        let filter = self.filter(query).await?;
        // Before the events are: what comes meanwhile is behind it.
        let head = self.store().head().await.map_err(EventsError::from).map_err(DeskError::from)?;
        let page = self.find(&filter, cursor, limit).await.map_err(DeskError::from)?;
        let next = page.next.map(|next| next.to_string());
        Ok(EventsFound { events: page.events, next, head: head.0 })
    }

    async fn event(&self, name: &str) -> Result<Logged, DeskError> {
        let unknown = || {
            let name = stdx::untrusted::line(name, 60);
            let message =
                format!("no event is called {name}: give its id, or its place in the log");
            DeskError::new(DeskErrorKind::NotFound, message)
        };
        if let Ok(place) = name.parse::<u64>() {
            let before = Seq(place.checked_sub(1).ok_or_else(unknown)?);
            let found = self.store().after(before, 1).await.map_err(EventsError::from);
            let found = found.map_err(DeskError::from)?.into_iter().next();
            return found.filter(|logged| logged.seq.0 == place).ok_or_else(unknown);
        }
        let id = name.parse().map_err(|_| unknown())?;
        self.event(id).await.map_err(DeskError::from)?.ok_or_else(unknown)
    }

    async fn count(&self, query: EventQuery) -> Result<EventCounts, DeskError> {
        let filter = self.filter(query).await?;
        let mut counts = EventCounts::default();
        let mut cursor = None;
        loop {
            let page = self.find(&filter, cursor, ROWS.1).await.map_err(DeskError::from)?;
            page.events.iter().for_each(|logged| counts.add(&logged.event));
            cursor = page.next;
            if cursor.is_none() || counts.total >= COUNTED {
                counts.is_cut |= cursor.is_some();
                return Ok(counts);
            }
        }
    }

    async fn incidents(&self, query: IncidentQuery) -> Result<Vec<IncidentView>, DeskError> {
        let filter = IncidentFilter {
            is_open: query.open,
            since: query.since,
            min_severity: severity(query.min_severity.as_deref())?,
            cluster: query.cluster,
            node: query.node,
            vmid: query.vmid,
        };
        let found = self.incidents(&filter, rows(query.limit)).await.map_err(DeskError::from)?;
        Ok(found.into_iter().map(view).collect())
    }

    async fn incident(&self, name: &str, reports: u32) -> Result<IncidentStory, DeskError> {
        let (incident, events) =
            self.incident(name, rows(reports)).await.map_err(DeskError::from)?;
        Ok(IncidentStory { incident: view(incident), events })
    }

    async fn acknowledge(&self, name: &str, by: &str) -> Result<IncidentView, DeskError> {
        self.acknowledge(name, by).await.map(view).map_err(DeskError::from)
    }

    async fn resolve(&self, name: &str, by: &str) -> Result<IncidentView, DeskError> {
        self.resolve(name, by).await.map(view).map_err(DeskError::from)
    }

    async fn silence(&self, silence: NewSilence, by: &str) -> Result<SilenceView, DeskError> {
        let NewSilence { name, when, for_secs, reason } = silence;
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
        if name.is_empty() || name.len() > 40 || !name.chars().all(is_plain) {
            let name = stdx::untrusted::line(&name, 60);
            return Err(invalid(format!(
                "{name} is no name of a silence: use up to 40 of a-z, 0-9, - and _"
            )));
        }
        if !(1..=LONGEST_SILENCE).contains(&for_secs) {
            return Err(invalid(format!(
                "a silence of {for_secs} s: it lasts up to 14 days; what is longer is a line of the settings"
            )));
        }
        let from = self.now();
        let span = SignedDuration::from_secs(i64::try_from(for_secs).unwrap_or(i64::MAX));
        let silencing = Silencing {
            when,
            from,
            until: from + span,
            author: stdx::untrusted::line(by, 100).into_owned(),
            reason: stdx::untrusted::line(&reason, 300).into_owned(),
        };
        let shown = SilenceView {
            name: name.clone(),
            when: silencing.when.clone(),
            until: silencing.until,
            author: silencing.author.clone(),
            reason: silencing.reason.clone(),
        };
        self.silence(&name, silencing).await.map_err(DeskError::from)?;
        Ok(shown)
    }

    async fn unsilence(&self, name: &str, _by: &str) -> Result<(), DeskError> {
        self.unsilence(name).await.map_err(DeskError::from)
    }

    async fn silences(&self) -> Result<Vec<SilenceView>, DeskError> {
        let found = self.silences().await.map_err(DeskError::from)?;
        Ok(found.into_iter().map(silence_view).collect())
    }

    async fn send(&self, notice: Notice, by: &str) -> Result<Vec<String>, DeskError> {
        let Notice { title, text, severity: word, outputs, is_test } = notice;
        let title = stdx::untrusted::line(&title, event_core::MAX_TITLE);
        if title.trim().is_empty() {
            return Err(invalid("a message without a title: say in a line what it is about"));
        }
        let now = self.now();
        let stand = if is_test { Stand::Test } else { Stand::New };
        let severity = severity(Some(&word))?.unwrap_or(Severity::Info);
        let kind = Kind::other(if is_test { "test" } else { "notice" });
        let mut message =
            Message::new(stand, format!("notice-{now}"), kind, severity, title.trim(), now);
        message.text = stdx::untrusted::text(&text, event_core::MAX_MESSAGE).into_owned();
        message.fields.push(("from".to_owned(), stdx::untrusted::line(by, 100).into_owned()));
        let to = self.send(message, &outputs).await.map_err(DeskError::from)?;
        Ok(to.iter().map(ToString::to_string).collect())
    }

    async fn health(&self) -> Result<EventsHealth, DeskError> {
        let inputs = self.inputs().into_iter().map(|(name, it)| InputView {
            name: name.to_string(),
            kind: it.kind,
            heard: it.heard,
            lost: it.lost,
            refused: it.refused,
            last: it.last,
            alive: it.alive,
            error: it.error.map(|(at, error)| format!("{error} (at {at})")),
        });
        // While the store is away, how things are is asked most.
        let open = IncidentFilter { is_open: Some(true), ..IncidentFilter::default() };
        let asked = async {
            let counts = self.store().output_counts().await?;
            let open = self.store().incidents(&open, 10_000).await?.len() as u64;
            Ok::<_, store::Error>((counts, open))
        };
        let (counts, open, unknown) = match timeout(STORE_ANSWERS, asked).await {
            Ok(Ok((counts, open))) => (counts, open, None),
            Ok(Err(error)) => (Vec::new(), 0, Some(said(&error))),
            Err(_) => {
                let why = format!("it did not answer within {} s", STORE_ANSWERS.as_secs());
                (Vec::new(), 0, Some(why))
            }
        };
        let outputs = self.outputs_with(counts).into_iter().map(|(name, it)| OutputView {
            name,
            kind: it.kind,
            pending: it.pending,
            oldest: it.oldest,
            dead: it.dead,
            told: it.told,
            failing_since: it.failing_since,
            error: it.error,
        });
        Ok(EventsHealth {
            runs: true,
            inputs: inputs.collect(),
            outputs: outputs.collect(),
            open,
            spool: self.spool(),
            unknown,
        })
    }

    async fn live(&self, query: LiveQuery) -> Result<LiveView, DeskError> {
        Ok(self.live_state().snapshot(&query, self.now()))
    }

    async fn changed(&self, at_most_secs: u64) -> Result<(), DeskError> {
        let wait = Duration::from_secs(at_most_secs.min(LONGEST_WAIT));
        let mut changes = self.changes();
        // Whoever missed one has missed that something is another way, which is what is told.
        let _ = tokio::time::timeout(wait, changes.recv()).await;
        Ok(())
    }
}

// === impl Events ===

impl Events {
    /// What a query lets through.
    async fn filter(&self, query: EventQuery) -> Result<EventFilter, DeskError> {
        let incident = match &query.incident {
            Some(name) => Some(self.incident(name, 1).await.map_err(DeskError::from)?.0.id),
            None => None,
        };
        for kind in &query.kinds {
            if kind.contains('.') {
                kind.parse::<Kind>().map_err(|error| invalid(format!("kinds: {error}")))?;
            }
        }
        Ok(EventFilter {
            since: query.since,
            until: query.until,
            kinds: query.kinds,
            min_severity: severity(query.min_severity.as_deref())?,
            cluster: query.cluster,
            node: query.node,
            vmid: query.vmid,
            job: query.job,
            source: query.source,
            after: query.after.map(Seq),
            incident,
            text: query.text,
        })
    }

    /// What could not be told, the oldest first.
    ///
    /// # Errors
    /// An output's name cannot be one, or the store cannot be read.
    pub async fn dead(&self, query: &DeadQuery) -> Result<Vec<DeadLetter>, DeskError> {
        let found = self.store().dead(&which(query)?, ROWS.1).await.map_err(EventsError::from);
        let letters = found.map_err(DeskError::from)?.into_iter().map(|it| DeadLetter {
            key: it.key.as_str().to_owned(),
            output: it.output.to_string(),
            incident: it.incident,
            title: it.message.map_or_else(|error| error.to_string(), |message| message.title),
            made: it.made,
            attempts: it.attempts,
            error: it.last_error,
        });
        Ok(letters.collect())
    }

    /// Tries again what could not be told; how many that are.
    ///
    /// # Errors
    /// As [`dead`](Self::dead).
    pub async fn replay(&self, query: &DeadQuery) -> Result<u64, DeskError> {
        let which = which(query)?;
        let count = self.store().replay(&which, self.now()).await.map_err(EventsError::from);
        self.wake(self.output_names().into_iter().collect());
        count.map_err(DeskError::from)
    }

    /// Throws away what could not be told; how many that are.
    ///
    /// # Errors
    /// As [`dead`](Self::dead).
    pub async fn purge(&self, query: &DeadQuery) -> Result<u64, DeskError> {
        let purged = self.store().purge(&which(query)?).await.map_err(EventsError::from);
        purged.map_err(DeskError::from)
    }
}

fn said(error: &store::Error) -> String {
    stdx::Chain(error).to_string()
}

fn which(query: &DeadQuery) -> Result<Dead, DeskError> {
    if !query.keys.is_empty() {
        return Ok(Dead::Keys(query.keys.iter().cloned().map(DeliveryKey::from).collect()));
    }
    let output = query.output.as_deref().map(str::parse::<ComponentId>).transpose();
    let output = output.map_err(|error| invalid(format!("output: {error}")))?;
    Ok(output.map_or(Dead::All, Dead::Of))
}

fn severity(word: Option<&str>) -> Result<Option<Severity>, DeskError> {
    let read = word.filter(|word| !word.is_empty()).map(str::parse).transpose();
    read.map_err(|error: event_core::InvalidSeverity| invalid(error.to_string()))
}

fn rows(wanted: u32) -> u32 {
    if wanted == 0 { ROWS.0 } else { wanted.min(ROWS.1) }
}

fn invalid(message: impl Into<String>) -> DeskError {
    DeskError::new(DeskErrorKind::Invalid, message)
}

impl From<EventsError> for DeskError {
    /// The same for who asks from outside.
    fn from(error: EventsError) -> Self {
        let kind = match &error {
            EventsError::NotFound(_) => DeskErrorKind::NotFound,
            EventsError::Refused(_) => DeskErrorKind::Invalid,
            _ => DeskErrorKind::Unavailable,
        };
        Self::new(kind, stdx::Chain(&error).to_string())
    }
}

fn view(it: Incident) -> IncidentView {
    let said = |said: Said| SaidBy { by: said.by, at: said.at };
    let mut doc = it.doc;
    let problems = match doc["problems"].take() {
        Value::Array(problems) => problems,
        _ => Vec::new(),
    };
    let told = doc["told"].as_str().and_then(|at| at.parse().ok());
    IncidentView {
        id: it.id,
        status: it.status,
        is_open: it.is_open,
        severity: it.severity.as_str().to_owned(),
        kind: it.kind,
        title: it.title,
        cluster: it.cluster,
        node: it.node,
        vmid: it.vmid,
        opened: it.opened,
        updated: it.updated,
        ended: it.ended,
        told,
        reports: it.reports,
        acknowledged: it.acknowledged.map(said),
        closed: it.closed.map(said),
        problems,
        held: doc["held"].take(),
    }
}

fn silence_view(it: Silence) -> SilenceView {
    let when = it.doc["when"].as_str().map(str::to_owned);
    SilenceView { name: it.name, when, until: it.until, author: it.author, reason: it.reason }
}
