//! An event pipeline in memory: what it is told is there, and nothing else happens.

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use async_trait::async_trait;
use event_core::{
    Event, Kind, Logged, Seq, Severity, Subject,
    desk::{
        DeskError, DeskErrorKind, EventCounts, EventDesk, EventQuery, EventsFound, EventsHealth,
        IncidentQuery, IncidentStory, IncidentView, InputView, NewSilence, Notice, OutputView,
        SaidBy, SilenceView,
    },
    live::{LiveQuery, LiveState, LiveView},
};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tokio::sync::watch;

/// The incidents of [`FakeDesk::sample`]: a backup that fails, a node that is away, an output.
pub(crate) const BACKUP: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f0";
pub(crate) const NODE: &str = "aa1e2d3c4b5a69788796a5b4c3d2e1f0";
pub(crate) const OUTPUT: &str = "bb1e2d3c4b5a69788796a5b4c3d2e1f0";

pub(crate) struct FakeDesk {
    books: Mutex<Books>,
    mark: watch::Sender<u64>,
    now: Timestamp,
}

#[derive(Default)]
pub(crate) struct Books {
    pub(crate) events: Vec<Logged>,
    pub(crate) incidents: Vec<(IncidentView, Vec<u64>)>,
    pub(crate) silences: Vec<SilenceView>,
    pub(crate) sent: Vec<(Notice, String)>,
    pub(crate) outputs: Vec<String>,
    /// How often something was looked for.
    pub(crate) looks: usize,
    /// Whether nobody answers, as when no manager runs.
    pub(crate) is_away: bool,
}

// === impl FakeDesk ===

impl FakeDesk {
    /// Without anything, at this moment.
    pub(crate) fn empty(now: Timestamp) -> Arc<Self> {
        let books = Mutex::new(Books::default());
        Arc::new(Self { books, mark: watch::Sender::new(0), now })
    }

    /// With an estate's evening: a backup that failed on two channels, a node that is away, an output
    /// that is down, and two things that went well.
    pub(crate) fn sample(now: Timestamp) -> Arc<Self> {
        let desk = Self::empty(now);
        let ago = |minutes: i64| now - SignedDuration::from_mins(minutes);
        let lab = |vmid: &str| Subject {
            cluster: Some("lab".parse().unwrap()),
            node: Some("birch".parse().unwrap()),
            vmid: Some(vmid.parse().unwrap()),
            guest_name: Some("db-main".to_owned()),
            ..Subject::default()
        };
        let of = |key: &str| Subject { cluster: Some(key.parse().unwrap()), ..Subject::default() };
        let said = "job failed: no space left on vault";
        desk.hear("tasks", Kind::BackupFailed, Severity::Error, lab("104"), ago(180), said);
        desk.hear("webhook", Kind::BackupFailed, Severity::Error, lab("104"), ago(179), said);
        desk.hear("tasks", Kind::GcFinished, Severity::Info, of("vault"), ago(120), "");
        let node = Subject { node: Some("alder".parse().unwrap()), ..of("edge") };
        desk.hear("tasks", Kind::NodeOffline, Severity::Critical, node, ago(30), "");
        let none = Subject::default();
        desk.hear("self", Kind::OutputDown, Severity::Warning, none, ago(20), "");
        desk.hear("syslog", Kind::AuthFailed, Severity::Notice, of("lab"), ago(10), "");
        let mut backup = incident(BACKUP, "error", "backup.failed", ago(180));
        (backup.cluster, backup.node) = (Some("lab".to_owned()), Some("birch".to_owned()));
        backup.vmid = Some(104);
        backup.told = Some(ago(178));
        backup.held = json!({"discord": "quiet hours"});
        "backup of 104 failed".clone_into(&mut backup.title);
        backup.problems = vec![json!({
            "title": "backup of 104 failed", "kind": "backup.failed", "severity": "error",
            "where": "lab/104 db-main", "began": ago(180).to_string(), "last": ago(179).to_string(),
            "times": 1, "over": null,
        })];
        let mut node = incident(NODE, "critical", "node.offline", ago(30));
        (node.cluster, node.node) = (Some("edge".to_owned()), Some("alder".to_owned()));
        let output = incident(OUTPUT, "warning", "output.down", ago(20));
        let mut books = desk.books();
        books.incidents = vec![(backup, vec![1, 2]), (node, vec![4]), (output, vec![5])];
        books.silences.push(SilenceView {
            name: "disk_swap".to_owned(),
            when: Some("event.node == 'cedar'".to_owned()),
            until: now + SignedDuration::from_hours(1),
            author: "local:1000".to_owned(),
            reason: "a disk is swapped".to_owned(),
        });
        books.outputs = vec!["discord".to_owned(), "mail".to_owned()];
        drop(books);
        desk
    }

    /// What is in it.
    pub(crate) fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap()
    }

    /// One more event; its place.
    pub(crate) fn hear(
        &self,
        source: &str,
        kind: Kind,
        severity: Severity,
        subject: Subject,
        time: Timestamp,
        message: &str,
    ) -> u64 {
        let source_id = source.parse().unwrap();
        let title = format!("{kind} {}", subject.label());
        let event = Event::builder(&source_id, source, title.as_str(), kind, time)
            .severity(severity)
            .subject(subject)
            .title(&title)
            .message(message)
            .raw(format!("raw of {title}").as_bytes())
            .build(time + SignedDuration::from_secs(5));
        self.keep(event)
    }

    /// Keeps it, and tells of it.
    pub(crate) fn keep(&self, event: Event) -> u64 {
        let mut books = self.books();
        let seq = books.events.len() as u64 + 1;
        books.events.push(Logged { seq: Seq(seq), event });
        drop(books);
        self.tell();
        seq
    }

    /// Something is another way.
    pub(crate) fn tell(&self) {
        self.mark.send_modify(|mark| *mark += 1);
    }

    fn found(&self, name: &str) -> Result<usize, DeskError> {
        let books = self.books();
        let fits = |(view, _): &(IncidentView, _)| view.id.starts_with(name);
        let mut at =
            books.incidents.iter().enumerate().filter(|(_, it)| fits(it)).map(|(at, _)| at);
        match (at.next(), at.next()) {
            (Some(at), None) if !name.is_empty() => Ok(at),
            (Some(_), Some(_)) => {
                Err(DeskError::new(DeskErrorKind::Invalid, "several begin so; give more of it"))
            }
            _ => Err(DeskError::new(DeskErrorKind::NotFound, "there is none of that name")),
        }
    }
}

/// An open incident.
pub(crate) fn incident(id: &str, severity: &str, kind: &str, opened: Timestamp) -> IncidentView {
    IncidentView {
        id: id.to_owned(),
        status: "open".to_owned(),
        is_open: true,
        severity: severity.to_owned(),
        kind: kind.to_owned(),
        title: format!("{kind} it says"),
        cluster: None,
        node: None,
        vmid: None,
        opened,
        updated: opened,
        ended: None,
        told: None,
        reports: 2,
        acknowledged: None,
        closed: None,
        problems: Vec::new(),
        held: json!(null),
    }
}

fn fits(query: &EventQuery, members: Option<&[u64]>, logged: &Logged) -> bool {
    let event = &logged.event;
    let same = |wanted: &Option<String>, is: Option<String>| wanted.is_none() || *wanted == is;
    let kind = event.kind.as_str();
    let worst = query.min_severity.as_deref().map(|it| it.parse::<Severity>().unwrap());
    query.since.is_none_or(|since| event.time >= since)
        && query.until.is_none_or(|until| event.time < until)
        && (query.kinds.is_empty()
            || query.kinds.iter().any(|it| it == kind || it == event.kind.family()))
        && worst.is_none_or(|worst| event.severity >= worst)
        && same(&query.cluster, event.subject.cluster.as_ref().map(ToString::to_string))
        && same(&query.node, event.subject.node.as_ref().map(ToString::to_string))
        && query.vmid.is_none_or(|id| event.subject.vmid.is_some_and(|it| it.get() == id))
        && same(&query.job, event.subject.job.clone())
        && same(&query.source, Some(event.source.id.to_string()))
        && members.is_none_or(|members| members.contains(&logged.seq.0))
        && query.text.as_deref().is_none_or(|text| event.title.contains(text))
        && query.after.is_none_or(|after| logged.seq.0 > after)
}

#[async_trait]
impl EventDesk for FakeDesk {
    async fn find(&self, query: EventQuery) -> Result<EventsFound, DeskError> {
        let members = match &query.incident {
            Some(name) => {
                let at = self.found(name)?;
                Some(self.books().incidents[at].1.clone())
            }
            None => None,
        };
        let mut books = self.books();
        books.looks += 1;
        let head = books.events.len() as u64;
        let fitting = books.events.iter().filter(|it| fits(&query, members.as_deref(), it));
        let mut events: Vec<Logged> = fitting.cloned().collect();
        events.sort_by_key(|it| std::cmp::Reverse((it.event.time, it.seq)));
        if let Some(cursor) = &query.cursor {
            let wrong = || DeskError::new(DeskErrorKind::Invalid, "the cursor is none of ours");
            let seq: u64 = cursor.parse().map_err(|_| wrong())?;
            let at = events.iter().position(|it| it.seq.0 == seq).ok_or_else(wrong)?;
            events.drain(..=at);
        }
        let limit = if query.limit == 0 { 50 } else { query.limit as usize };
        let goes_on = events.len() > limit;
        events.truncate(limit);
        let next = events.last().filter(|_| goes_on).map(|it| it.seq.to_string());
        Ok(EventsFound { events, next, head })
    }

    async fn event(&self, name: &str) -> Result<Logged, DeskError> {
        let books = self.books();
        let mut events = books.events.iter();
        let found = events.find(|it| it.seq.to_string() == name || it.event.id.to_string() == name);
        found.cloned().ok_or_else(|| DeskError::new(DeskErrorKind::NotFound, "there is none"))
    }

    async fn count(&self, query: EventQuery) -> Result<EventCounts, DeskError> {
        let mut counts = EventCounts::default();
        let books = self.books();
        for logged in books.events.iter().filter(|it| fits(&query, None, it)) {
            counts.add(&logged.event);
        }
        Ok(counts)
    }

    async fn incidents(&self, query: IncidentQuery) -> Result<Vec<IncidentView>, DeskError> {
        let books = self.books();
        if books.is_away {
            return Err(DeskError::new(DeskErrorKind::Unavailable, "connect to the manager"));
        }
        let worst = query.min_severity.as_deref().map(|it| it.parse::<Severity>().unwrap());
        let fits = |it: &&IncidentView| {
            query.open.is_none_or(|open| it.is_open == open)
                && (query.cluster.is_none() || query.cluster == it.cluster)
                && (query.node.is_none() || query.node == it.node)
                && (query.vmid.is_none() || query.vmid == it.vmid)
                && query.since.is_none_or(|since| it.updated >= since)
                && worst.is_none_or(|worst| it.severity.parse::<Severity>().unwrap() >= worst)
        };
        let mut all: Vec<IncidentView> =
            books.incidents.iter().map(|(view, _)| view).filter(fits).cloned().collect();
        all.sort_by_key(|it| std::cmp::Reverse(it.updated));
        all.truncate(query.limit as usize);
        Ok(all)
    }

    async fn incident(&self, name: &str, reports: u32) -> Result<IncidentStory, DeskError> {
        let at = self.found(name)?;
        let books = self.books();
        let (incident, members) = books.incidents[at].clone();
        let events = books.events.iter().filter(|it| members.contains(&it.seq.0));
        Ok(IncidentStory { incident, events: events.take(reports as usize).cloned().collect() })
    }

    async fn acknowledge(&self, name: &str, by: &str) -> Result<IncidentView, DeskError> {
        let at = self.found(name)?;
        let view = {
            let view = &mut self.books().incidents[at].0;
            view.acknowledged = Some(SaidBy { by: by.to_owned(), at: self.now });
            view.clone()
        };
        self.tell();
        Ok(view)
    }

    async fn resolve(&self, name: &str, by: &str) -> Result<IncidentView, DeskError> {
        let at = self.found(name)?;
        let view = {
            let view = &mut self.books().incidents[at].0;
            view.closed = Some(SaidBy { by: by.to_owned(), at: self.now });
            (view.is_open, view.ended) = (false, Some(self.now));
            "resolved".clone_into(&mut view.status);
            view.clone()
        };
        self.tell();
        Ok(view)
    }

    async fn silence(&self, silence: NewSilence, by: &str) -> Result<SilenceView, DeskError> {
        let length = SignedDuration::from_secs(i64::try_from(silence.for_secs).unwrap());
        let view = SilenceView {
            name: silence.name,
            when: silence.when,
            until: self.now + length,
            author: by.to_owned(),
            reason: silence.reason,
        };
        self.books().silences.push(view.clone());
        Ok(view)
    }

    async fn unsilence(&self, name: &str, _by: &str) -> Result<(), DeskError> {
        let mut books = self.books();
        let before = books.silences.len();
        books.silences.retain(|it| it.name != name);
        let gone = books.silences.len() < before;
        if gone { Ok(()) } else { Err(DeskError::new(DeskErrorKind::NotFound, "there is none")) }
    }

    async fn silences(&self) -> Result<Vec<SilenceView>, DeskError> {
        Ok(self.books().silences.clone())
    }

    async fn send(&self, notice: Notice, by: &str) -> Result<Vec<String>, DeskError> {
        let mut books = self.books();
        let unknown = notice.outputs.iter().find(|it| !books.outputs.contains(it));
        if let Some(unknown) = unknown {
            let message = format!("no output is called {unknown}");
            return Err(DeskError::new(DeskErrorKind::NotFound, message));
        }
        let to =
            if notice.outputs.is_empty() { books.outputs.clone() } else { notice.outputs.clone() };
        books.sent.push((notice, by.to_owned()));
        Ok(to)
    }

    async fn health(&self) -> Result<EventsHealth, DeskError> {
        let books = self.books();
        let open = books.incidents.iter().filter(|(it, _)| it.is_open).count() as u64;
        let input = |name: &str, lost: u64| InputView {
            name: name.to_owned(),
            kind: name.to_owned(),
            heard: 3,
            lost,
            last: Some(self.now - SignedDuration::from_mins(10)),
            alive: Some(self.now),
            ..InputView::default()
        };
        let output = |name: &String| OutputView {
            name: name.clone(),
            kind: name.clone(),
            told: 2,
            dead: 1,
            error: Some("429 \"slow down\"".to_owned()),
            ..OutputView::default()
        };
        let outputs = books.outputs.iter().map(output).collect();
        let inputs = vec![input("tasks", 0), input("syslog", 7)];
        Ok(EventsHealth { runs: true, inputs, outputs, open, ..EventsHealth::default() })
    }

    async fn live(&self, query: LiveQuery) -> Result<LiveView, DeskError> {
        let mut state = LiveState::default();
        for logged in &self.books().events {
            state.heard(&logged.event);
        }
        Ok(state.snapshot(&query, self.now))
    }

    async fn changed(&self, at_most_secs: u64) -> Result<(), DeskError> {
        let mut mark = self.mark.subscribe();
        let wait = Duration::from_secs(at_most_secs);
        // That nothing changed in time is an answer, too.
        let _ = tokio::time::timeout(wait, mark.changed()).await;
        Ok(())
    }
}
