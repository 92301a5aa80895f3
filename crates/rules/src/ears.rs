//! Inputs that say nothing of what the task list has seen.
//!
//! A webhook whose target was deleted, a mailbox that nobody delivers to any more and a syslog that a
//! firewall cut off look like an estate in which nothing happens. The task list sees what happens all
//! the same: of what an input has told for the most part (backups of this node, verifications of that
//! datastore), it is expected to tell again. Of an input that never told of anything, although the
//! settings say which cluster it is for, failures that Proxmox notifies of are expected.
//!
//! A failure that does not come is enough; of what went well two things have to be missing in a row.
//! One job that tells nobody beside one that does is no reason for anything: then half of it never
//! came. Whatever the input tells of that cluster shows that it is not mute, and ends it if it was.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    sync::Arc,
};

use estate::ClusterKey;
use event_core::{ComponentId, Event, Kind, Severity, Subject};
use jiff::{SignedDuration, Timestamp};

use crate::{
    Decision,
    engine::{Due, Step},
    facts, message,
    recovery::is_problem,
    watch::PAUSE,
};

/// How long a report may be on its way.
const GRACE: SignedDuration = SignedDuration::from_mins(15);

/// How long mail may be, and what comes by a way that never brought anything.
const GRACE_OF_MAIL: SignedDuration = SignedDuration::from_hours(1);

/// How long before the end of a task its report may have been heard: clocks differ.
const BEFORE: SignedDuration = SignedDuration::from_mins(2);

/// What the task list hears of later than that happened while nobody may have listened.
const FRESH: SignedDuration = SignedDuration::from_mins(10);

/// For how long it is remembered what an input has told of.
const MEMORY: SignedDuration = SignedDuration::from_hours(14 * 24);

/// What has to be missing in all: a success counts once, a failure is enough.
const ENOUGH: usize = 2;

/// The most that is awaited of one input and cluster.
const MOST: usize = 64;

/// What is notified of or stands in every node's log, by the family of its kinds.
const FAMILIES: [&str; 8] =
    ["backup", "verify", "gc", "prune", "sync", "tape", "replication", "task"];

/// From so many on counts are halved: what was long ago weighs less.
const MANY: u32 = 32;

/// The tasks at whose end both products notify, by type; of others nothing is known.
const NOTIFIED: [&str; 10] = [
    "vzdump",
    "garbage_collection",
    "verificationjob",
    "verify",
    "syncjob",
    "sync",
    "prunejob",
    "prune",
    "tape-backup",
    "tape-backup-job",
];

/// What inputs have told of, by input and cluster.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ears(BTreeMap<(ComponentId, ClusterKey), Ear>);

/// What one input has told of one cluster.
#[derive(Clone, Debug, Default)]
struct Ear {
    /// When it last told of anything.
    last: Option<Timestamp>,
    /// Whether it brings mail.
    is_mail: bool,
    /// What it told of, by family and place.
    told: BTreeMap<(String, String), Tally>,
    awaited: Vec<Awaited>,
    missed: Vec<Awaited>,
    is_mute: bool,
}

/// How much of one thing was told by an input, and seen by the task list.
#[derive(Clone, Copy, Debug)]
struct Tally {
    good: Share,
    bad: Share,
    /// When it was last told of.
    last: Timestamp,
}

#[derive(Clone, Copy, Debug, Default)]
struct Share {
    told: u32,
    seen: u32,
}

/// Something that the task list saw.
#[derive(Clone, Debug)]
struct Awaited {
    title: String,
    time: Timestamp,
    is_failure: bool,
    /// When it counts as missing.
    until: Timestamp,
}

// === impl Share ===

impl Share {
    fn is_most(self) -> bool {
        self.told * 2 > self.seen
    }

    fn count(&mut self, told: u32, seen: u32) {
        (self.told, self.seen) = (self.told + told, self.seen + seen);
        if self.told.max(self.seen) >= MANY {
            (self.told, self.seen) = (self.told / 2, self.seen / 2);
        }
    }
}

// === impl Tally ===

impl Tally {
    fn of(&mut self, event: &Event) -> &mut Share {
        if is_problem(event) { &mut self.bad } else { &mut self.good }
    }

    /// Whether that is expected. Whoever tells what goes well tells what does not.
    fn expects(&self, event: &Event) -> bool {
        if is_problem(event) {
            self.bad.is_most() || (self.bad.told == self.bad.seen && self.good.is_most())
        } else {
            self.good.is_most()
        }
    }
}

// === impl Ear ===

impl Ear {
    /// Whether it is expected to tell of that.
    fn carries(&self, event: &Event, is_set_up: bool) -> bool {
        if self.last.is_none() {
            let is_notified =
                || event.subject.upid.as_ref().is_some_and(|it| NOTIFIED.contains(&it.kind()));
            return is_set_up && event.severity >= Severity::Error && is_notified();
        }
        things(event).iter().any(|it| self.told.get(it).is_some_and(|tally| tally.expects(event)))
    }

    /// Counts what the task list saw.
    fn see(&mut self, event: &Event) {
        for thing in things(event) {
            if let Some(tally) = self.told.get_mut(&thing) {
                tally.of(event).count(0, 1);
            }
        }
    }

    fn grace(&self) -> SignedDuration {
        if self.is_mail || self.last.is_none() { GRACE_OF_MAIL } else { GRACE }
    }

    fn is_enough(&self) -> bool {
        self.missed.iter().any(|it| it.is_failure) || self.missed.len() >= ENOUGH
    }
}

// === impl Ears ===

impl Ears {
    /// Forgets what is older than the log that is read again after a start.
    pub(crate) fn forget(&mut self, now: Timestamp) {
        let before = now.checked_sub(MEMORY).unwrap_or(Timestamp::MIN);
        for ear in self.0.values_mut() {
            ear.told.retain(|_, tally| tally.last >= before);
        }
    }

    /// Awaits nothing any more: in the meantime nobody listened.
    pub(crate) fn start_again(&mut self) {
        for ear in self.0.values_mut() {
            ear.awaited.clear();
        }
    }
}

// === impl Step ===

impl Step<'_> {
    /// Notes that an input tells of something.
    pub(crate) fn hears(&mut self, event: &Event) {
        let Some(cluster) = event.subject.cluster.clone().filter(|_| !is_own(event)) else {
            return;
        };
        let now = self.now;
        let ear = self.state.ears.0.entry((event.source.id.clone(), cluster.clone())).or_default();
        ear.last = Some(now);
        ear.is_mail = &*event.source.kind == "email";
        if FAMILIES.contains(&event.kind.family()) {
            let nothing = Tally { good: Share::default(), bad: Share::default(), last: now };
            let thing = (event.kind.family().to_owned(), place(event));
            let tally = ear.told.entry(thing).or_insert(nothing);
            tally.last = now;
            tally.of(event).count(1, 0);
        }
        ear.awaited.clear();
        ear.missed.clear();
        if std::mem::take(&mut ear.is_mute) {
            let input = &event.source.id;
            let title = format!("the input {input} tells of {cluster} again");
            self.raise(Kind::InputHeard, Severity::Info, input, cluster, title, "");
        }
    }

    /// Awaits that other inputs tell of what the task list saw.
    pub(crate) fn await_elsewhere(&mut self, event: &Event) {
        let is_seen =
            &*event.source.kind == "tasks" && event.received.duration_since(event.time) <= FRESH;
        let Some(cluster) = event.subject.cluster.as_ref().filter(|_| is_seen) else { return };
        if !FAMILIES.contains(&event.kind.family()) || self.is_planned(event) {
            return;
        }
        let now = self.now;
        let since = event.time.checked_sub(BEFORE).unwrap_or(Timestamp::MIN);
        let mut next = None;
        for (input, clusters) in &self.rules.inputs {
            let ear = self.state.ears.0.entry((input.clone(), cluster.clone())).or_default();
            let has_told = ear.last.is_some_and(|at| at >= since);
            let is_expected = ear.carries(event, clusters.contains(cluster));
            ear.see(event);
            if has_told || ear.is_mute || ear.awaited.len() >= MOST {
                continue;
            }
            if is_expected {
                let until = now + ear.grace();
                let (title, time) = (event.title.clone(), event.time);
                let is_failure = is_problem(event);
                ear.awaited.push(Awaited { title, time, is_failure, until });
                next = Some(next.map_or(until, |at: Timestamp| at.min(until)));
            }
        }
        if let Some(at) = next {
            self.schedule(at, Due::Listen);
        }
    }

    /// Looks for what should have been told by now.
    pub(crate) fn listen(&mut self) {
        let now = self.now;
        let due: Vec<(ComponentId, ClusterKey)> = self
            .state
            .ears
            .0
            .iter()
            .filter(|(_, ear)| ear.awaited.iter().any(|it| it.until <= now))
            .map(|(key, _)| key.clone())
            .collect();
        for (input, cluster) in due {
            // While nothing is heard of it, that means nothing.
            let is_away = self.is_unreachable(Some(&cluster));
            let key = (input, cluster);
            let Some(ear) = self.state.ears.0.get_mut(&key) else { continue };
            if is_away {
                for it in ear.awaited.iter_mut().filter(|it| it.until <= now) {
                    it.until = now + PAUSE;
                }
                continue;
            }
            let (missed, awaited) =
                std::mem::take(&mut ear.awaited).into_iter().partition(|it| it.until <= now);
            ear.awaited = awaited;
            let missed: Vec<Awaited> = missed;
            ear.missed.extend(missed);
            if ear.is_enough() {
                ear.is_mute = true;
                ear.awaited.clear();
                let (missed, last) = (std::mem::take(&mut ear.missed), ear.last);
                self.raise_mute(&key.0, key.1, &missed, last);
            }
        }
        let awaited = self.state.ears.0.values().flat_map(|ear| &ear.awaited);
        if let Some(at) = awaited.map(|it| it.until).min() {
            self.schedule(at, Due::Listen);
        }
    }

    fn raise_mute(
        &mut self,
        input: &ComponentId,
        cluster: ClusterKey,
        missed: &[Awaited],
        last: Option<Timestamp>,
    ) {
        let mut text = "The task list saw:\n".to_owned();
        for it in missed {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "- {} ({})", it.title, message::time(self.rules, it.time));
        }
        let last = last.map_or_else(
            || "nothing ever came".to_owned(),
            |at| format!("the last report came at {}", message::time(self.rules, at)),
        );
        let _ = write!(
            text,
            "By this input {last}. Send a test from there: it shows whether what sends still points \
             here, knows the secret and finds the way.",
        );
        let title = format!("the input {input} says nothing of {cluster}");
        self.raise(Kind::InputMute, Severity::Warning, input, cluster, title, &text);
    }

    fn raise(
        &mut self,
        kind: Kind,
        severity: Severity,
        input: &ComponentId,
        cluster: ClusterKey,
        title: String,
        text: &str,
    ) {
        let source = "rules".parse().expect("a valid name");
        let key = format!("{kind}/{input}/{cluster}/{}", self.now);
        // What tells two inputs of one cluster apart.
        let job = Some(format!("input {input}"));
        let subject = Subject { cluster: Some(cluster), job, ..Subject::default() };
        let event = Event::builder(&source, "rules", key, kind, self.now)
            .severity(severity)
            .subject(subject)
            .title(title)
            .message(text)
            .label("input", input.as_str())
            .build(self.now);
        self.out.push(Decision::Raise(Arc::new(event)));
    }

    /// Whether people work on what it is about.
    fn is_planned(&self, event: &Event) -> bool {
        let values = facts::of(event);
        let mut all = self.rules.maintenance.iter().chain(self.state.mutes.values());
        all.any(|it| it.until(self.now, &self.rules.zone).is_some() && it.is_about(&values))
    }
}

/// Whether it is of the task list, or of the rules themselves.
fn is_own(event: &Event) -> bool {
    matches!(&*event.source.kind, "tasks" | "rules")
}

/// What it may be told as: a report that does not say where may be of any place.
fn things(event: &Event) -> BTreeSet<(String, String)> {
    let family = event.kind.family();
    [place(event), String::new()].into_iter().map(|place| (family.to_owned(), place)).collect()
}

/// Where it was, as far as that tells targets of notifications apart.
fn place(event: &Event) -> String {
    let it = &event.subject;
    let datastore = it.datastore.as_ref().map(|it| format!("datastore {it}"));
    let node = || it.node.as_ref().map(|it| format!("node {it}"));
    datastore.or_else(node).unwrap_or_default()
}

/// The inputs, each with the clusters that the settings give to it.
pub(crate) type Inputs = BTreeMap<ComponentId, BTreeSet<ClusterKey>>;
