//! What people and tools ask of the pipeline, and what they are told: the port between them and whoever runs it.
//!
//! Two implementations stand in `manager`: one over a pipeline in the same program, and one over the control API. What
//! goes through is plain data, and goes over the wire as it is.
//!
//! *Invariant:* who asks is passed along by the caller that knows it, never taken from what is asked.

use std::fmt;

use async_trait::async_trait;
use estate::ClusterKey;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::live::{LiveQuery, LiveView};
use crate::{Event, Logged};

/// Which events, the newest first; what is left out lets everything through.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EventQuery {
    /// Happened then or later.
    pub since: Option<Timestamp>,
    /// Happened before then.
    pub until: Option<Timestamp>,
    /// One of these kinds (`backup.failed`) or families (`backup`).
    pub kinds: Vec<String>,
    /// As bad as that or worse: `warning`.
    pub min_severity: Option<String>,
    /// Of the cluster or backup server with this settings key.
    pub cluster: Option<String>,
    /// On this node.
    pub node: Option<String>,
    /// About this guest.
    pub vmid: Option<u32>,
    /// About this job, by Proxmox's id.
    pub job: Option<String>,
    /// Heard by the input of this name.
    pub source: Option<String>,
    /// Belongs to the incident whose name begins so.
    pub incident: Option<String>,
    /// Holds a word that begins so, for each word of this, in title, message or original.
    pub text: Option<String>,
    /// Kept behind this place in the log, whenever it happened: what was heard since.
    pub after: Option<u64>,
    /// Goes on behind what an earlier answer's `next` says.
    pub cursor: Option<String>,
    /// At most so many; 0 for as many as is usual.
    pub limit: u32,
}

/// A part of a list of events.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EventsFound {
    /// The newest first.
    pub events: Vec<Logged>,
    /// Where it goes on, if it does.
    pub next: Option<String>,
    /// The last place of the log, read before the events were: who asks again for what is behind it
    /// misses nothing. 0 where the log is empty.
    #[serde(default)]
    pub head: u64,
}

/// How many events there are of each sort.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventCounts {
    /// How many there are in all.
    pub total: u64,
    /// The sorts, in no order; at most [`MAX_SORTS`].
    pub sorts: Vec<EventSort>,
    /// Whether there are events that no sort counts, or that were not looked at.
    pub is_cut: bool,
}

/// Events with everything in common that is counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventSort {
    /// The settings key of where they happened.
    pub cluster: Option<String>,
    /// What they are about.
    pub kind: String,
    /// How bad they are.
    pub severity: String,
    /// The input that heard them.
    pub source: String,
    /// How many there are.
    pub count: u64,
}

/// The most sorts that are told apart.
pub const MAX_SORTS: usize = 500;

/// Which incidents, the last that changed first; what is left out lets everything through.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct IncidentQuery {
    /// Whether anything is wrong.
    pub open: Option<bool>,
    /// Changed then or later.
    pub since: Option<Timestamp>,
    /// As bad as that or worse: `warning`.
    pub min_severity: Option<String>,
    /// Of the cluster or backup server with this settings key.
    pub cluster: Option<String>,
    /// On this node.
    pub node: Option<String>,
    /// About this guest.
    pub vmid: Option<u32>,
    /// At most so many; 0 for as many as is usual.
    pub limit: u32,
}

/// An incident.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IncidentView {
    /// Its name; its first eight characters are what people type.
    pub id: String,
    /// `open`, `flapping`, `resolved` or `note`.
    pub status: String,
    /// Whether anything is wrong.
    pub is_open: bool,
    /// How bad it is.
    pub severity: String,
    /// The kind of the event that leads it.
    pub kind: String,
    /// One line. Data: guests and mails may have written it.
    pub title: String,
    /// The settings key of where it is.
    pub cluster: Option<String>,
    /// The node.
    pub node: Option<String>,
    /// The guest.
    pub vmid: Option<u32>,
    /// When we first heard of it.
    pub opened: Timestamp,
    /// When it last changed.
    pub updated: Timestamp,
    /// When it was over.
    pub ended: Option<Timestamp>,
    /// When people were told first; nothing while nobody was.
    #[serde(default)]
    pub told: Option<Timestamp>,
    /// How many reports there were.
    pub reports: u64,
    /// Who has it.
    pub acknowledged: Option<SaidBy>,
    /// Who said that it is over.
    pub closed: Option<SaidBy>,
    /// What is or was wrong: title, kind, severity, where, began, last, times, over.
    pub problems: Vec<Value>,
    /// What keeps outputs from being told, by output.
    pub held: Value,
}

/// What somebody said, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SaidBy {
    /// Who.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// An incident with its reports.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IncidentStory {
    /// It.
    pub incident: IncidentView,
    /// Its reports in the order in which they were heard; at most as many as were asked for.
    pub events: Vec<Logged>,
}

/// A silence that is to begin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewSilence {
    /// Its name, by which it is ended; one that is there is replaced.
    pub name: String,
    /// The events that it is about, in CEL over `event`; all of them where nothing is said.
    pub when: Option<String>,
    /// For how long, in seconds.
    pub for_secs: u64,
    /// Why.
    pub reason: String,
}

/// A silence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SilenceView {
    /// Its name.
    pub name: String,
    /// The events that it is about, in CEL over `event`.
    pub when: Option<String>,
    /// Its end.
    pub until: Timestamp,
    /// Who wanted it.
    pub author: String,
    /// Why.
    pub reason: String,
}

/// Something to tell people, past the rules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// One line.
    pub title: String,
    /// The rest.
    pub text: String,
    /// How bad it is: `info`.
    pub severity: String,
    /// The outputs by name; none for all.
    pub outputs: Vec<String>,
    /// Whether it only tests the outputs.
    pub is_test: bool,
}

/// How the pipeline is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventsHealth {
    /// Whether there is one.
    pub runs: bool,
    /// The inputs.
    pub inputs: Vec<InputView>,
    /// The outputs.
    pub outputs: Vec<OutputView>,
    /// How many incidents are open.
    pub open: u64,
    /// What waits beside the store; `None` where nothing is put aside.
    #[serde(default)]
    pub spool: Option<SpoolView>,
    /// Why the store could not be asked: what is counted in it is not known then.
    #[serde(default)]
    pub unknown: Option<String>,
}

/// What waits beside the store while that is away.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpoolView {
    /// Since when the store takes nothing in, if it does not.
    pub away_since: Option<Timestamp>,
    /// Why not.
    pub error: Option<String>,
    /// How many reports wait.
    pub waiting: u64,
    /// How many bytes they take.
    pub bytes: u64,
    /// How many they may take.
    pub max_bytes: u64,
    /// How many were put aside since the start.
    pub put: u64,
    /// How many were refused since the start, for lack of room or because nothing could be written.
    pub refused: u64,
}

/// How an input is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputView {
    /// Its name.
    pub name: String,
    /// What it is: `syslog`.
    pub kind: String,
    /// How many reports it heard since the start.
    pub heard: u64,
    /// How many were lost that nobody can bring back.
    pub lost: u64,
    /// How many were refused while the store was away, for their senders to send again.
    #[serde(default)]
    pub refused: u64,
    /// When it last heard anything.
    pub last: Option<Timestamp>,
    /// When it last said that it hears.
    pub alive: Option<Timestamp>,
    /// Why it failed last.
    pub error: Option<String>,
}

/// How an output is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputView {
    /// Its name.
    pub name: String,
    /// What it is: `discord`.
    pub kind: String,
    /// How many deliveries wait.
    pub pending: u64,
    /// When the one that waits longest was made.
    pub oldest: Option<Timestamp>,
    /// How many could not be told.
    pub dead: u64,
    /// How many were told since the start.
    pub told: u64,
    /// Since when it fails.
    pub failing_since: Option<Timestamp>,
    /// What was the last that went wrong.
    pub error: Option<String>,
}

/// A delivery that could not be told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// By which it is replayed or purged.
    pub key: String,
    /// Which output.
    pub output: String,
    /// Of which incident.
    pub incident: Option<String>,
    /// Its title. Data.
    pub title: String,
    /// When it was made.
    pub made: Timestamp,
    /// How often it was tried.
    pub attempts: u32,
    /// Why it could not be told.
    pub error: Option<String>,
}

/// Which dead letters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeadQuery {
    /// Those of this output.
    pub output: Option<String>,
    /// These; with none and no output, all of them.
    pub keys: Vec<String>,
}

/// What was asked cannot be done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct DeskError {
    kind: DeskErrorKind,
    message: String,
}

/// Why it cannot be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeskErrorKind {
    /// There is none of that name.
    NotFound,
    /// It cannot be meant.
    Invalid,
    /// It cannot be reached now.
    Unavailable,
}

/// The pipeline, for whoever asks it.
#[async_trait]
pub trait EventDesk: Send + Sync + 'static {
    /// The events that were asked for.
    ///
    /// # Errors
    /// The query cannot be meant, or they cannot be read.
    async fn find(&self, query: EventQuery) -> Result<EventsFound, DeskError>;

    /// The event of this name: its id, or its place in the log in digits.
    ///
    /// # Errors
    /// There is none, or it cannot be read.
    async fn event(&self, name: &str) -> Result<Logged, DeskError>;

    /// How many events the query lets through, whatever its `limit` and `cursor` are.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    async fn count(&self, query: EventQuery) -> Result<EventCounts, DeskError>;

    /// The incidents that were asked for.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    async fn incidents(&self, query: IncidentQuery) -> Result<Vec<IncidentView>, DeskError>;

    /// The incident whose name begins so, with at most so many of its reports.
    ///
    /// # Errors
    /// There is none, or several.
    async fn incident(&self, name: &str, reports: u32) -> Result<IncidentStory, DeskError>;

    /// Somebody has it: it is not repeated, and nobody else is told.
    ///
    /// # Errors
    /// As [`incident`](Self::incident).
    async fn acknowledge(&self, name: &str, by: &str) -> Result<IncidentView, DeskError>;

    /// Somebody says that it is over.
    ///
    /// # Errors
    /// As [`incident`](Self::incident).
    async fn resolve(&self, name: &str, by: &str) -> Result<IncidentView, DeskError>;

    /// Begins a silence.
    ///
    /// # Errors
    /// Its condition or its time cannot be meant.
    async fn silence(&self, silence: NewSilence, by: &str) -> Result<SilenceView, DeskError>;

    /// Ends a silence before its time.
    ///
    /// # Errors
    /// There is none of that name.
    async fn unsilence(&self, name: &str, by: &str) -> Result<(), DeskError>;

    /// The silences that have not ended.
    ///
    /// # Errors
    /// They cannot be read.
    async fn silences(&self) -> Result<Vec<SilenceView>, DeskError>;

    /// Tells people something; says which outputs.
    ///
    /// # Errors
    /// There is no such output.
    async fn send(&self, notice: Notice, by: &str) -> Result<Vec<String>, DeskError>;

    /// How inputs and outputs are doing.
    ///
    /// # Errors
    /// It cannot be read.
    async fn health(&self) -> Result<EventsHealth, DeskError>;

    /// How the estate is now, as far as was seen and heard.
    ///
    /// # Errors
    /// It cannot be asked.
    async fn live(&self, query: LiveQuery) -> Result<LiveView, DeskError>;

    /// Returns when an event or an incident is new or another way, or after so many seconds.
    ///
    /// # Errors
    /// Nothing can be told any more.
    async fn changed(&self, at_most_secs: u64) -> Result<(), DeskError>;
}

// === impl EventCounts ===

impl EventCounts {
    /// Counts one more.
    pub fn add(&mut self, event: &Event) {
        self.total += 1;
        let cluster = event.subject.cluster.as_ref().map(ClusterKey::as_str);
        let (kind, severity) = (event.kind.as_str(), event.severity.as_str());
        let source = event.source.id.as_str();
        let is_full = self.sorts.len() >= MAX_SORTS;
        let known = self.sorts.iter_mut().find(|it| {
            it.kind == kind
                && it.severity == severity
                && it.source == source
                && it.cluster.as_deref() == cluster
        });
        match known {
            Some(sort) => sort.count += 1,
            None if is_full => self.is_cut = true,
            None => self.sorts.push(EventSort {
                cluster: cluster.map(str::to_owned),
                kind: kind.to_owned(),
                severity: severity.to_owned(),
                source: source.to_owned(),
                count: 1,
            }),
        }
    }
}

// === impl DeskError ===

impl DeskError {
    /// Of this kind, with what failed, on what, why, and what to do.
    pub fn new(kind: DeskErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// Why.
    pub fn kind(&self) -> DeskErrorKind {
        self.kind
    }
}

impl fmt::Display for DeskErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotFound => "not found",
            Self::Invalid => "invalid",
            Self::Unavailable => "unavailable",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Kind, Severity, Subject};

    fn event(kind: &Kind, cluster: Option<&str>) -> Event {
        let at = "2026-11-22T01:00:00Z".parse().unwrap();
        let source = "tasks".parse().unwrap();
        let cluster = cluster.map(|key| key.parse().unwrap());
        Event::builder(&source, "tasks", "1", kind.clone(), at)
            .severity(Severity::Error)
            .subject(Subject { cluster, ..Subject::default() })
            .build(at)
    }

    #[test]
    fn what_differs_is_counted_apart() {
        let mut counts = EventCounts::default();
        for cluster in [Some("lab"), Some("lab"), Some("edge"), None] {
            counts.add(&event(&Kind::BackupFailed, cluster));
        }
        counts.add(&event(&Kind::GcFailed, None));
        let sorts: Vec<_> = counts
            .sorts
            .iter()
            .map(|it| (it.cluster.as_deref(), it.kind.as_str(), it.count))
            .collect();
        let (failed, gc) = ("backup.failed", "gc.failed");
        assert_eq!(
            sorts,
            [(Some("lab"), failed, 2), (Some("edge"), failed, 1), (None, failed, 1), (None, gc, 1)]
        );
        assert_eq!((counts.total, counts.is_cut), (5, false));
    }

    #[test]
    fn beyond_the_last_sort_the_total_goes_on() {
        let mut counts = EventCounts::default();
        for at in 0..=MAX_SORTS {
            counts.add(&event(&Kind::other(&format!("n{at}")), None));
        }
        assert_eq!((counts.sorts.len(), counts.is_cut), (MAX_SORTS, true));
        assert_eq!(counts.total, MAX_SORTS as u64 + 1);
    }
}
