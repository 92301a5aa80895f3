//! An incident: the reports of one fact, and what follows from them.
//!
//! *Invariant:* what an incident says is a function of the set of its reports and of the recoveries
//! that are known, never of the order in which they were heard. Only its name, and when it was first
//! heard of, are those of the report that came first.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
    sync::Arc,
};

use event_core::{
    ComponentId, Event, Fingerprint, InvalidId, Key, Kind, Severity, SourceKey,
    correlation::WINDOW_SECS,
};
use jiff::{SignedDuration, Timestamp};

use crate::recovery::{self, Recoveries};

/// The most reports of one thing that an incident keeps; of more the middle ones are counted only.
const MOST_OF_ONE: usize = 24;

/// The most reports of what is not wrong that an incident keeps, in the same way: a node may write any number of lines
/// of which no two are the same.
const MOST_NOTES: usize = 64;

/// Reports of one thing that are further apart than this tell of it twice.
const APART: SignedDuration = SignedDuration::from_secs(2 * WINDOW_SECS);

/// How many times a thing breaks and mends in [`FLAP_WINDOW`] before that is one incident of its own
/// kind.
pub const FLAPS: usize = 3;

/// The time in which it does.
pub const FLAP_WINDOW: SignedDuration = SignedDuration::from_mins(30);

/// The name of an incident: of the report that it began with, so that the same log gives the same
/// names when it is read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IncidentId(Fingerprint);

/// The reports of one fact.
#[derive(Clone, Debug)]
pub struct Incident {
    id: IncidentId,
    opened: Timestamp,
    reports: BTreeMap<Place, Arc<Event>>,
    uncounted: u64,
    acknowledged: Option<Word>,
    closed: Option<Word>,
    told: Option<Timestamp>,
    problems: Vec<Problem>,
    /// By what reports are found that are counted only.
    further: BTreeSet<Key>,
    changes: u64,
}

/// Where a report stands among others: by time, then by who told it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// When it happened.
    pub time: Timestamp,
    /// Who told us.
    pub source: ComponentId,
    /// What makes a redelivery the same report.
    pub key: SourceKey,
}

/// What somebody said about an incident, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// Who.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// One thing that is or was wrong.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// What makes two reports the same thing.
    pub fingerprint: Fingerprint,
    /// The report that says most about it: the worst of its latest stretch, and of those the first.
    pub lead: Arc<Event>,
    /// When it began, this time.
    pub began: Timestamp,
    /// When we first heard of it, this time.
    pub heard: Timestamp,
    /// When it was last reported.
    pub last: Timestamp,
    /// How often it happened without having been well in between.
    pub times: u32,
    /// Whether it only sums up narrower problems of the same incident.
    pub is_summary: bool,
    /// What says that it is over.
    pub over: Option<Arc<Event>>,
    /// Where a success ends it.
    pub(crate) places: BTreeSet<String>,
    /// When it was over, this time and before, as far as that is known.
    mended: Vec<Timestamp>,
}

/// Where an incident stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Nothing is wrong: it is what went on.
    Note,
    /// Something is wrong.
    Open,
    /// It comes and goes; see [`FLAPS`].
    Flapping,
    /// All of it is over.
    Resolved,
}

// === impl Status ===

impl Status {
    /// The word that rows and answers use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Open => "open",
            Self::Flapping => "flapping",
            Self::Resolved => "resolved",
        }
    }
}

// === impl IncidentId ===

impl IncidentId {
    /// Of the report that it begins with.
    pub(crate) fn of(event: &Event) -> Self {
        let parts = ["incident", event.source.id.as_str(), event.source_key.as_str()];
        Self(Fingerprint::of(parts))
    }

    /// As much of it as people read and type: 8 characters.
    pub fn short(&self) -> String {
        self.to_string()[..8].to_owned()
    }
}

impl fmt::Display for IncidentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for IncidentId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

// === impl Place ===

impl Place {
    /// That of this report.
    pub fn of(event: &Event) -> Self {
        let (source, key) = (event.source.id.clone(), event.source_key.clone());
        Self { time: event.time, source, key }
    }
}

// === impl Incident ===

impl Incident {
    pub(crate) fn new(event: &Event) -> Self {
        Self {
            id: IncidentId::of(event),
            opened: event.received,
            reports: BTreeMap::new(),
            uncounted: 0,
            acknowledged: None,
            closed: None,
            told: None,
            problems: Vec::new(),
            further: BTreeSet::new(),
            changes: 0,
        }
    }

    /// Its name.
    pub fn id(&self) -> IncidentId {
        self.id
    }

    /// How often something of it may have changed: where this is the same, only what follows from the time can be another.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// When we first heard of it.
    pub fn opened(&self) -> Timestamp {
        self.opened
    }

    /// When it was first told to anybody.
    pub fn told(&self) -> Option<Timestamp> {
        self.told
    }

    /// Who has it, if anybody said so.
    pub fn acknowledged(&self) -> Option<&Word> {
        self.acknowledged.as_ref()
    }

    /// Who said that it is over, if somebody did.
    pub fn closed(&self) -> Option<&Word> {
        self.closed.as_ref()
    }

    /// Its reports, by the time of what they tell.
    pub fn reports(&self) -> impl DoubleEndedIterator<Item = &Arc<Event>> + ExactSizeIterator {
        self.reports.values()
    }

    /// How many reports there were, with those that are not kept.
    pub fn count(&self) -> u64 {
        self.reports.len() as u64 + self.uncounted
    }

    /// What is or was wrong, the worst first.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// What is wrong now.
    pub fn open_problems(&self) -> impl Iterator<Item = &Problem> {
        // What happened before somebody said that it is over is no news when it is heard later.
        let closed = self.closed.as_ref().map(|word| word.at);
        let is_open =
            move |it: &&Problem| it.over.is_none() && closed.is_none_or(|at| it.last > at);
        self.problems.iter().filter(is_open)
    }

    /// Where it stands.
    pub fn status(&self, now: Timestamp) -> Status {
        if self.problems.is_empty() {
            Status::Note
        } else if self.flaps_until().is_some_and(|until| now < until) {
            Status::Flapping
        } else if self.open_problems().next().is_some() {
            Status::Open
        } else {
            Status::Resolved
        }
    }

    /// If it comes and goes: when it has been well for long enough to be over.
    pub fn flaps_until(&self) -> Option<Timestamp> {
        if self.closed.is_some() {
            return None;
        }
        let until = |problem: &Problem| {
            let latest = *problem.mended.last()?;
            let since = latest.checked_sub(FLAP_WINDOW).ok()?;
            let flaps = problem.mended.iter().filter(|time| **time > since).count();
            (flaps >= FLAPS).then(|| latest.checked_add(FLAP_WINDOW).ok()).flatten()
        };
        self.problems.iter().filter_map(until).max()
    }

    /// How bad it is; for one that is over, how bad it was.
    pub fn severity(&self) -> Severity {
        let open = self.open_problems().map(|it| it.lead.severity).max();
        let all = self.reports().map(|event| event.severity).max();
        open.or_else(|| self.problems.iter().map(|it| it.lead.severity).max())
            .or(all)
            .unwrap_or_default()
    }

    /// How often its worst thing happened, without having been well in between.
    pub fn times(&self) -> u32 {
        self.open_problems().map(|it| it.times).max().unwrap_or(1)
    }

    /// The report that stands for it: of what is wrong the worst and of that the first; of a note
    /// the last, which says how it ended.
    pub fn lead(&self) -> &Arc<Event> {
        let problem = self.open_problems().chain(&self.problems).next();
        let last = || self.reports.last_key_value().map(|(_, event)| event);
        problem.map(|it| &it.lead).or_else(last).expect("an incident is made of a report")
    }

    /// When it began, as its reports say.
    pub fn began(&self) -> Timestamp {
        let problems = self.problems.iter().map(|it| it.began).min();
        problems.or_else(|| self.reports().next().map(|event| event.time)).unwrap_or(self.opened)
    }

    /// When the last of it was over; `None` while it is not.
    pub fn ended(&self) -> Option<Timestamp> {
        if self.open_problems().next().is_some() {
            return None;
        }
        let over = self.problems.iter().filter_map(|it| it.over.as_ref().map(|over| over.time));
        over.max().max(self.closed.as_ref().map(|word| word.at))
    }

    /// When the newest report was heard.
    pub(crate) fn heard(&self) -> Timestamp {
        self.reports().map(|event| event.received).max().unwrap_or(self.opened)
    }

    /// By what it is found.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &Key> {
        self.reports().flat_map(|event| &event.keys).chain(&self.further)
    }

    pub(crate) fn acknowledge(&mut self, word: Word) {
        self.changes += 1;
        self.acknowledged.get_or_insert(word);
    }

    pub(crate) fn close(&mut self, word: Word) {
        self.changes += 1;
        self.closed = Some(word);
    }

    pub(crate) fn tell(&mut self, at: Timestamp) {
        self.changes += 1;
        self.told.get_or_insert(at);
    }

    /// Takes a report in; gives one that is only counted from now on, if there are too many of one
    /// thing.
    pub(crate) fn take(&mut self, event: &Arc<Event>) -> Option<Place> {
        self.changes += 1;
        if self.reports.insert(Place::of(event), Arc::clone(event)).is_some() {
            return None;
        }
        self.opened = self.opened.min(event.received);
        let is_problem = recovery::is_problem(event);
        let most = if is_problem { MOST_OF_ONE } else { MOST_NOTES };
        let same = |(_, other): &(&Place, &Arc<Event>)| {
            recovery::is_problem(other) == is_problem
                && (!is_problem || other.fingerprint == event.fingerprint)
        };
        let alike: Vec<&Place> = self.reports.iter().filter(same).map(|(place, _)| place).collect();
        if alike.len() <= most {
            return None;
        }
        let middle = alike[most / 2].clone();
        if let Some(event) = self.reports.remove(&middle) {
            self.further.extend(event.keys.iter().cloned());
        }
        self.uncounted += 1;
        Some(middle)
    }

    /// Takes in all that another one has; gives the reports that are only counted from now on.
    pub(crate) fn swallow(&mut self, other: Self) -> Vec<Place> {
        self.changes += 1;
        let reports = other.reports.into_values();
        let counted = reports.filter_map(|event| self.take(&event)).collect();
        self.opened = self.opened.min(other.opened);
        self.uncounted += other.uncounted;
        self.further.extend(other.further);
        let both = self.acknowledged.take().into_iter().chain(other.acknowledged);
        self.acknowledged = both.min_by_key(|word| word.at);
        // Two that are one are over only if both are.
        self.closed = self
            .closed
            .take()
            .zip(other.closed)
            .map(|(one, other)| if one.at >= other.at { one } else { other });
        self.told = self.told.into_iter().chain(other.told).min();
        counted
    }

    /// Finds out anew what is wrong and what is over.
    pub(crate) fn derive(&mut self, recoveries: &Recoveries) {
        self.changes += 1;
        let mut of: BTreeMap<Fingerprint, Vec<&Arc<Event>>> = BTreeMap::new();
        for event in self.reports.values().filter(|event| recovery::is_problem(event)) {
            of.entry(event.fingerprint).or_default().push(event);
        }
        let mut problems: Vec<Problem> =
            of.into_values().map(|events| Problem::of(&events, recoveries)).collect();
        cover(&mut problems);
        problems.sort_by(|one, other| {
            let key = |it: &Problem| (it.lead.time, Place::of(&it.lead));
            let worse = other.lead.severity.cmp(&one.lead.severity);
            worse.then_with(|| key(one).cmp(&key(other)))
        });
        self.problems = problems;
    }
}

// === impl Problem ===

impl Problem {
    /// From all reports of it, in order.
    fn of(events: &[&Arc<Event>], recoveries: &Recoveries) -> Self {
        let newest = events.last().expect("a problem has a report");
        let places = recovery::places(newest);
        let recovered = recoveries.of(newest.kind.as_str(), &places);
        let before = |end: Timestamp| recovered.iter().rev().find(|event| event.time < end);
        // This time: what was reported since it was last well. Of one moment the problem counts, so
        // that nothing that is wrong is taken for mended.
        let since = before(newest.time).map(|event| event.time);
        let stretch: Vec<&Arc<Event>> =
            events.iter().filter(|it| since.is_none_or(|since| it.time > since)).copied().collect();
        let mut lead = stretch[0];
        for event in &stretch {
            if event.severity > lead.severity {
                lead = event;
            }
        }
        let gaps =
            stretch.windows(2).filter(|pair| pair[1].time.duration_since(pair[0].time) > APART);
        let over = recovered.iter().find(|event| event.time > newest.time);
        // The moments at which what was wrong before was well again.
        let mut mended: Vec<Timestamp> = events
            .iter()
            .filter_map(|event| recovered.iter().find(|it| it.time > event.time))
            .map(|event| event.time)
            .collect();
        mended.dedup();
        Self {
            fingerprint: newest.fingerprint,
            lead: Arc::clone(lead),
            began: stretch[0].time,
            heard: stretch.iter().map(|it| it.received).min().unwrap_or(newest.received),
            last: newest.time,
            times: u32::try_from(gaps.count()).unwrap_or(u32::MAX).saturating_add(1),
            is_summary: false,
            over: over.map(|event| Arc::clone(event)),
            places,
            mended,
        }
    }

    /// How narrow its subject is: a guest is in a job, a job on a node.
    fn narrowness(&self) -> u8 {
        let subject = &self.lead.subject;
        match () {
            () if subject.vmid.is_some() => 3,
            () if subject.job.is_some() || subject.datastore.is_some() => 2,
            () if subject.node.is_some() => 1,
            () => 0,
        }
    }
}

/// What is wider is a summary of what is narrower: a mail says that a run on a node failed, a
/// webhook which job, a log line which guest. When all that is narrower is over the summary is, too;
/// otherwise a success that reaches us in the narrow form only would leave it open for ever.
fn cover(problems: &mut [Problem]) {
    let narrow: Vec<(Kind, u8, Timestamp, Option<Arc<Event>>)> = problems
        .iter()
        .map(|it| (it.lead.kind.clone(), it.narrowness(), it.last, it.over.clone()))
        .collect();
    for problem in problems {
        let narrowness = problem.narrowness();
        let parts = || {
            let of_kind = narrow.iter().filter(|(kind, ..)| *kind == problem.lead.kind);
            of_kind.filter(|(_, other, ..)| *other > narrowness)
        };
        problem.is_summary = parts().next().is_some();
        if problem.over.is_some() || !problem.is_summary {
            continue;
        }
        let mut ends: BTreeSet<(Timestamp, usize)> = BTreeSet::new();
        let all_over = parts().enumerate().all(|(at, (.., over))| {
            over.as_ref().is_some_and(|event| {
                ends.insert((event.time, at));
                event.time > problem.last
            })
        });
        let Some((_, at)) = ends.last().filter(|_| all_over) else { continue };
        problem.over = parts().nth(*at).and_then(|(.., over)| over.clone());
    }
}
