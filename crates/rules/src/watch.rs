//! What is expected and does not come: a backup, a verification, a garbage collection, a
//! synchronization; and an estate of which nothing answers.
//!
//! Expectations come from the jobs that the estate really has, with the time that Proxmox itself says
//! they run next: nothing here reads schedules or counts hours, so a change of the clock moves nothing.
//! What is missing is an event for the log, like any other.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use estate::ClusterKey;
use event_core::{Event, Kind, Severity, Subject};
use jiff::{SignedDuration, Timestamp};

use crate::{
    Decision,
    engine::{Due, Step},
};

/// The least time that a run has beyond its usual length.
const LEAST_GRACE: SignedDuration = SignedDuration::from_mins(30);

/// How long a run takes whose usual length nobody knows: a first one may take hours.
const UNKNOWN_RUN: SignedDuration = SignedDuration::from_hours(2);

/// The longest time that a run can usually take.
const LONGEST_RUN: SignedDuration = SignedDuration::from_hours(30 * 24);

/// How long an expectation waits once more while its cluster is out of reach.
pub(crate) const PAUSE: SignedDuration = SignedDuration::from_mins(15);

/// How long after that it has for telling what happened meanwhile.
const CATCH_UP: SignedDuration = SignedDuration::from_mins(30);

/// The estate as it is now, as far as the rules have to know it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Estate {
    /// Every cluster, node and backup server of the settings.
    pub clusters: BTreeSet<ClusterKey>,
    /// The jobs that are switched on.
    pub jobs: Vec<Job>,
    /// Guests that no job backs up, without templates.
    pub uncovered: Vec<Subject>,
}

/// A job of the estate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// What it does.
    pub work: Work,
    /// The cluster, and the job, datastore or both.
    pub subject: Subject,
    /// The guests that it is for, without templates and those that it leaves out; empty where it is
    /// not about guests.
    pub guests: Vec<Subject>,
    /// When it runs next, as the server says.
    pub next: Timestamp,
    /// How long it usually takes; nothing where that is not known.
    pub usual: SignedDuration,
}

/// What a job does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Work {
    /// Backs up.
    Backup,
    /// Verifies backups.
    Verify,
    /// Collects garbage.
    Gc,
    /// Synchronizes a datastore.
    Sync,
}

/// What is expected.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watch {
    estate: Estate,
    expected: BTreeMap<(Work, String, Timestamp), Expected>,
    blind: bool,
}

#[derive(Clone, Debug)]
struct Expected {
    subject: Subject,
    /// Where a success or failure counts: the guest, and its job.
    places: BTreeSet<String>,
    /// When it is missing, unless the cluster is out of reach then.
    until: Timestamp,
}

// === impl Work ===

impl Work {
    /// The word that is kept.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Backup => "backup",
            Self::Verify => "verify",
            Self::Gc => "gc",
            Self::Sync => "sync",
        }
    }

    /// The work of that word.
    pub fn parse(word: &str) -> Option<Self> {
        let all = [Self::Backup, Self::Verify, Self::Gc, Self::Sync];
        all.into_iter().find(|work| work.as_str() == word)
    }

    fn missing(self) -> Kind {
        match self {
            Self::Backup => Kind::BackupMissing,
            Self::Verify => Kind::VerifyMissing,
            Self::Gc => Kind::GcMissing,
            Self::Sync => Kind::SyncMissing,
        }
    }

    fn failed(self) -> Kind {
        match self {
            Self::Backup => Kind::BackupFailed,
            Self::Verify => Kind::VerifyFailed,
            Self::Gc => Kind::GcFailed,
            Self::Sync => Kind::SyncFailed,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Backup => "backup",
            Self::Verify => "verification",
            Self::Gc => "garbage collection",
            Self::Sync => "synchronization",
        }
    }
}

// === impl Job ===

impl Job {
    /// What it is expected to do, for each guest or once.
    fn expected(&self) -> Vec<((Work, String, Timestamp), Expected)> {
        let usual = if self.usual.is_zero() { UNKNOWN_RUN } else { self.usual };
        let usual = usual.clamp(SignedDuration::ZERO, LONGEST_RUN);
        // Twice its usual length beyond that: one that is slow is not missing. What is planned for
        // the end of time never is.
        let until = self.next.checked_add(usual + LEAST_GRACE.max(usual * 2));
        let until = until.unwrap_or(Timestamp::MAX);
        let job = self.subject.address();
        let one = |subject: &Subject| {
            let address = subject.address();
            let places = [address.clone(), job.clone()].into();
            ((self.work, address, self.next), Expected { subject: subject.clone(), places, until })
        };
        if self.guests.is_empty() {
            vec![one(&self.subject)]
        } else {
            self.guests.iter().map(one).collect()
        }
    }
}

// === impl Watch ===

impl Watch {
    pub(crate) fn uncovered(&self) -> &[Subject] {
        &self.estate.uncovered
    }
}

// === impl Step ===

impl Step<'_> {
    /// The estate is known anew.
    pub(crate) fn watch(&mut self, estate: Estate) {
        let watch = &mut self.state.watch;
        let expected: BTreeMap<_, _> = estate.jobs.iter().flat_map(Job::expected).collect();
        // What should have begun stays until it has come, unless its guest or job is gone; what is
        // planned is as it is planned now.
        let still: BTreeSet<(Work, String)> =
            expected.keys().map(|(work, address, _)| (*work, address.clone())).collect();
        let now = self.now;
        watch.expected.retain(|(work, address, due), _| {
            *due <= now && still.contains(&(*work, address.clone()))
        });
        watch.expected.extend(expected);
        watch.estate = estate;
        let next = watch.expected.values().map(|it| it.until).min();
        if let Some(until) = next {
            self.schedule(until, Due::Expect);
        }
        self.look_around();
    }

    /// Looks for what should have come by now.
    pub(crate) fn expect(&mut self) {
        let now = self.now;
        let due: Vec<_> = self
            .state
            .watch
            .expected
            .iter()
            .filter(|(_, it)| it.until <= now)
            .map(|(key, it)| (key.clone(), it.clone()))
            .collect();
        for (key, expected) in due {
            let (work, _, planned) = &key;
            let incidents = &self.state.incidents;
            let recovered = incidents.recoveries().last(work.missing().as_str(), &expected.places);
            // Of a failure people know already.
            let failed = work.failed();
            let is_failure = |it: &crate::Problem| {
                it.lead.kind == failed
                    && it.last >= *planned
                    && !it.places.is_disjoint(&expected.places)
            };
            let has_failed =
                || incidents.iter_troubled().any(|it| it.problems().iter().any(is_failure));
            if recovered.is_some_and(|at| at >= *planned) || has_failed() {
                self.state.watch.expected.remove(&key);
            } else if self.is_unreachable(expected.subject.cluster.as_ref()) {
                // Nothing is heard of it; that means nothing.
                if let Some(it) = self.state.watch.expected.get_mut(&key) {
                    it.until = now + PAUSE;
                }
            } else {
                self.state.watch.expected.remove(&key);
                self.raise_missing(*work, &expected.subject, *planned);
            }
        }
        if let Some(next) = self.state.watch.expected.values().map(|it| it.until).min() {
            self.schedule(next, Due::Expect);
        }
    }

    fn raise_missing(&mut self, work: Work, subject: &Subject, planned: Timestamp) {
        let source = "rules".parse().expect("a valid name");
        let key = format!("missing/{}/{planned}", subject.address());
        let label = subject.label();
        let since = crate::message::time(self.rules, planned);
        let last = self
            .state
            .incidents
            .recoveries()
            .last(work.missing().as_str(), &[subject.address()].into());
        let last = last.map_or_else(
            || "none is known".to_owned(),
            |at| format!("the last one ended {}", crate::message::time(self.rules, at)),
        );
        let event = Event::builder(&source, "rules", key, work.missing(), self.now)
            .severity(Severity::Error)
            .subject(subject.clone())
            .title(format!("no {} of {label}", work.word()))
            .message(format!("It should have run at {since} and nothing was heard of it; {last}."))
            .build(self.now);
        self.out.push(Decision::Raise(Arc::new(event)));
    }

    /// Whether nothing can be heard of a cluster now.
    pub(crate) fn is_unreachable(&self, cluster: Option<&ClusterKey>) -> bool {
        let is_away = |cluster| self.unreachable().contains(cluster) || self.was_away(cluster);
        self.state.watch.blind || cluster.is_some_and(is_away)
    }

    /// Whether a cluster answers again only since lately: what it has to tell takes a while.
    fn was_away(&self, cluster: &ClusterKey) -> bool {
        let is_it = |it: &crate::Problem| {
            it.lead.kind == Kind::ClusterUnreachable
                && it.lead.subject.cluster.as_ref() == Some(cluster)
        };
        let about = |it: &&crate::Incident| it.problems().iter().any(is_it);
        let mut of_it = self.state.incidents.iter_troubled().filter(about);
        of_it.any(|it| {
            let ended = self.state.telling.get(&it.id()).and_then(|it| it.ended);
            ended.is_some_and(|at| self.now < at + CATCH_UP)
        })
    }

    fn unreachable(&self) -> BTreeSet<ClusterKey> {
        let open = self.state.incidents.open().flat_map(crate::Incident::open_problems);
        open.filter(|it| it.lead.kind == Kind::ClusterUnreachable)
            .filter_map(|it| it.lead.subject.cluster.clone())
            .collect()
    }

    /// Whether all of the estate is out of reach: then it is we who see nothing.
    pub(crate) fn look_around(&mut self) {
        let unreachable = self.unreachable();
        let Watch { estate, blind: before, .. } = &mut self.state.watch;
        let all = &estate.clusters;
        let blind = !all.is_empty() && all.iter().all(|it| unreachable.contains(it));
        if std::mem::replace(before, blind) == blind {
            return;
        }
        let (kind, severity, title) = if blind {
            let title = format!("nothing of the estate answers: {}", all_names(all));
            (Kind::MonitorBlind, Severity::Critical, title)
        } else {
            (Kind::MonitorSees, Severity::Info, "the estate answers again".to_owned())
        };
        let source = "rules".parse().expect("a valid name");
        let key = format!("{kind}/{}", self.now);
        let event = Event::builder(&source, "rules", key, kind, self.now)
            .severity(severity)
            .title(title)
            .build(self.now);
        self.out.push(Decision::Raise(Arc::new(event)));
    }
}

fn all_names(clusters: &BTreeSet<ClusterKey>) -> String {
    let names: Vec<&str> = clusters.iter().take(5).map(ClusterKey::as_str).collect();
    format!("{} ({})", clusters.len(), names.join(", "))
}
