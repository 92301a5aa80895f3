//! A week of two clusters and a backup server, as three channels tell of it, and what the built-in
//! rules make of it. Numbers that look random are the same in every run.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Write as _},
    sync::Arc,
};

use event_core::{Event, Kind, Severity, Stage as _, Stand, Subject};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use rules::{Config, Decision, Deliver, Input, Limit, OutputConfig, Rules, State};

/// Monday, midnight.
const BEGIN: &str = "2026-11-23T00:00:00Z";

/// The days of the story.
const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// What counts as night, by the hours of the day.
const NIGHT: std::ops::Range<i8> = 7..22;

/// What came of the week.
#[derive(Debug, Default)]
pub(crate) struct Week {
    /// How many events there were, by kind.
    pub(crate) events: BTreeMap<String, u32>,
    /// What alerted somebody, by output, stand and kind.
    pub(crate) loud: BTreeMap<(String, String), u32>,
    /// What brought a message up to date, or was a daily list, by output.
    pub(crate) quiet: BTreeMap<String, u32>,
    /// Loud ones at night.
    pub(crate) night: Vec<String>,
    /// All loud ones, in order.
    pub(crate) story: Vec<String>,
}

/// What happens, in the order in which it is told.
struct Script {
    dice: u64,
    events: Vec<Arc<Event>>,
    /// Since then the webhook's target is gone.
    hook_until: Timestamp,
}

/// Where something happens.
#[derive(Clone, Default)]
struct At(Subject);

/// Runs the week.
pub(crate) fn told() -> Week {
    let begin: Timestamp = BEGIN.parse().expect("valid");
    let mut config = Config::default();
    config.outputs.insert("team".to_owned(), OutputConfig::default());
    let quiet_hours = vec!["22:00-07:00".parse().expect("valid")];
    let flood = Limit { count: 20, per: SignedDuration::from_mins(5) };
    let phone = OutputConfig { quiet_hours, digest: false, flood, ..OutputConfig::default() };
    config.outputs.insert("phone".to_owned(), phone);
    let hook = "webhook".parse().expect("valid");
    let clusters = ["lab", "edge", "vault"].map(|key| key.parse().expect("valid"));
    config.inputs.insert(hook, BTreeSet::from(clusters));
    let rules = Rules::try_new(&config).expect("they are built in");
    let mut week = Week::default();
    let (mut state, mut next) = (State::default(), None);
    for event in Script::new(begin).play(begin) {
        *week.events.entry(event.kind.to_string()).or_default() += 1;
        week.pass(&rules, &mut state, &mut next, event.received);
        let at = event.received;
        next = week.step(&rules, &mut state, at, Some(Input::Event(event)));
    }
    let end = moment(begin, 7, 9, 0);
    week.pass(&rules, &mut state, &mut next, end);
    week
}

/// That day of the story, at that time.
fn moment(begin: Timestamp, day: usize, hour: i64, minute: i64) -> Timestamp {
    let hours = i64::try_from(day).expect("small") * 24 + hour;
    begin + SignedDuration::from_mins(hours * 60 + minute)
}

fn seconds(time: Timestamp, seconds: i64) -> Timestamp {
    time + SignedDuration::from_secs(seconds)
}

// === impl At ===

impl At {
    fn cluster(name: &str) -> Self {
        Self(Subject { cluster: Some(name.parse().expect("valid")), ..Subject::default() })
    }

    fn node(mut self, name: &str) -> Self {
        self.0.node = Some(name.parse().expect("valid"));
        self
    }

    fn guest(mut self, vmid: u32) -> Self {
        self.0.vmid = Some(estate::VmId::try_new(vmid).expect("valid"));
        self
    }

    fn datastore(mut self, name: &str) -> Self {
        self.0.datastore = Some(name.parse().expect("valid"));
        self
    }

    fn storage(mut self, name: &str) -> Self {
        self.0.storage = Some(name.parse().expect("valid"));
        self
    }
}

// === impl Script ===

impl Script {
    fn new(begin: Timestamp) -> Self {
        Self { dice: 7, events: Vec::new(), hook_until: moment(begin, 4, 12, 0) }
    }

    fn roll(&mut self, sides: u64) -> u64 {
        self.dice = self
            .dice
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.dice >> 33) % sides
    }

    /// One report, heard some seconds after it happened.
    fn say(
        &mut self,
        source: &str,
        kind: &Kind,
        severity: Severity,
        at: &At,
        time: Timestamp,
        late: i64,
    ) {
        if source == "webhook" && time >= self.hook_until {
            return;
        }
        let key = format!("{kind}/{}/{time}", at.0.address());
        let id = source.parse().expect("valid");
        let event = Event::builder(&id, source, key, kind.clone(), time)
            .severity(severity)
            .subject(at.0.clone());
        self.events.push(Arc::new(event.build(seconds(time, late))));
    }

    /// What all three channels tell of.
    fn thrice(&mut self, kind: &Kind, severity: Severity, at: &At, time: Timestamp) {
        self.say("syslog", kind, severity, at, time, 1);
        self.say("webhook", kind, severity, at, time, 3);
        self.say("tasks", kind, severity, at, time, 11);
    }

    fn well(&mut self, kind: &Kind, at: &At, time: Timestamp) {
        self.thrice(kind, Severity::Info, at, time);
    }

    /// What no notification tells of.
    fn twice(&mut self, kind: &Kind, severity: Severity, at: &At, time: Timestamp) {
        self.say("syslog", kind, severity, at, time, 1);
        self.say("tasks", kind, severity, at, time, 11);
    }

    fn wrong(&mut self, kind: &Kind, at: &At, time: Timestamp) {
        self.thrice(kind, Severity::Error, at, time);
    }

    /// What only the task list or the node's log tells of.
    fn once(&mut self, source: &str, kind: &Kind, severity: Severity, at: &At, time: Timestamp) {
        self.say(source, kind, severity, at, time, 2);
    }

    fn play(mut self, begin: Timestamp) -> Vec<Arc<Event>> {
        for day in 0..DAYS.len() {
            self.night(begin, day);
            self.daily(begin, day);
        }
        self.troubles(begin);
        self.outages(begin);
        self.events.sort_by_key(|event| event.received);
        self.events
    }

    /// Backups, and what a backup server does after them.
    fn night(&mut self, begin: Timestamp, day: usize) {
        for guest in 100..160 {
            let (cluster, node) = match guest {
                100..120 => ("lab", "alder"),
                120..140 => ("lab", "birch"),
                _ => ("edge", "cedar"),
            };
            let at = At::cluster(cluster).node(node).guest(guest);
            let time = seconds(moment(begin, day, 22, 0), i64::from(guest - 100) * 100);
            // One guest's disk is full from Tuesday to Thursday; another fails once.
            let fails = (guest == 117 && (1..=3).contains(&day)) || (guest == 144 && day == 6);
            if fails {
                self.wrong(&Kind::BackupFailed, &at, time);
            } else {
                self.well(&Kind::BackupFinished, &at, time);
            }
        }
        for (number, name) in ["main", "offsite"].into_iter().enumerate() {
            let at = At::cluster("vault").datastore(name);
            let minute = i64::try_from(number).expect("small") * 20;
            self.well(&Kind::PruneFinished, &at, moment(begin, day, 1, minute));
            self.well(&Kind::GcFinished, &at, moment(begin, day, 2, minute));
        }
        let offsite = At::cluster("vault").datastore("offsite");
        let time = moment(begin, day, 3, 30);
        if day == 2 {
            self.wrong(&Kind::SyncFailed, &offsite, time);
        } else {
            self.well(&Kind::SyncFinished, &offsite, time);
        }
        let main = At::cluster("vault").datastore("main");
        match day {
            5 => self.wrong(&Kind::VerifyFailed, &main, moment(begin, day, 5, 0)),
            6 => self.well(&Kind::VerifyFinished, &main, moment(begin, day, 12, 0)),
            _ => {}
        }
    }

    /// What goes on every day, and means nothing.
    fn daily(&mut self, begin: Timestamp, day: usize) {
        for _ in 0..600 {
            let minute = i64::try_from(self.roll(24 * 60)).expect("small");
            let time = moment(begin, day, 0, minute);
            let guest = 100 + u32::try_from(self.roll(60)).expect("small");
            let at = At::cluster("lab").node("alder");
            match self.roll(6) {
                0 => {
                    self.once("tasks", &Kind::GuestStarted, Severity::Info, &at.guest(guest), time);
                }
                1 => {
                    self.once(
                        "tasks",
                        &Kind::GuestMigrated,
                        Severity::Info,
                        &at.guest(guest),
                        time,
                    );
                }
                2 | 3 => self.once("syslog", &Kind::AuthSucceeded, Severity::Info, &at, time),
                _ => self.once("syslog", &Kind::TaskFinished, Severity::Info, &at, time),
            }
        }
        // Somebody types a wrong password.
        let at = At::cluster("lab").node("birch");
        self.once("syslog", &Kind::AuthFailed, Severity::Warning, &at, moment(begin, day, 9, 4));
        let at = At::cluster("lab").node("alder");
        self.once(
            "webhook",
            &Kind::UpdatesAvailable,
            Severity::Info,
            &at,
            moment(begin, day, 6, 0),
        );
    }

    /// What goes wrong, one at a time.
    fn troubles(&mut self, begin: Timestamp) {
        let guest = At::cluster("lab").node("alder").guest(104);
        self.twice(&Kind::GuestCrashed, Severity::Error, &guest, moment(begin, 0, 11, 0));
        self.twice(&Kind::GuestStarted, Severity::Info, &guest, moment(begin, 0, 11, 5));
        let alder = At::cluster("lab").node("alder");
        let time = moment(begin, 0, 12, 0);
        self.once("tasks", &Kind::CertificateExpiring, Severity::Warning, &alder, time);
        // A disk of a mirror fails at night and is replaced in the morning.
        let pool = alder.clone().storage("tank");
        self.twice(&Kind::PoolDegraded, Severity::Error, &pool, moment(begin, 1, 2, 10));
        self.twice(&Kind::PoolRestored, Severity::Info, &pool, moment(begin, 1, 11, 0));
        let full = alder.clone().storage("local");
        let time = moment(begin, 1, 15, 0);
        self.once("tasks", &Kind::StorageFull, Severity::Warning, &full, time);
        self.once("tasks", &Kind::StorageFreed, Severity::Info, &full, moment(begin, 3, 10, 0));
        // A replication that fails and mends itself all morning.
        for round in 0..8 {
            let guest = At::cluster("lab").node("birch").guest(121);
            let time = moment(begin, 2, 8, round * 15);
            self.wrong(&Kind::ReplicationFailed, &guest, time);
            let time = seconds(time, 400);
            self.once("tasks", &Kind::ReplicationFinished, Severity::Info, &guest, time);
        }
        // A cable that is loose.
        for round in 0..60 {
            let at = At::cluster("edge").node("cedar");
            let time = moment(begin, 3, 13, round * 4);
            self.once("syslog", &Kind::LinkDown, Severity::Error, &at, time);
            self.once("syslog", &Kind::LinkUp, Severity::Info, &at, seconds(time, 70));
        }
        // Somebody tries passwords at night.
        for attempt in 0..1200 {
            let time = seconds(moment(begin, 5, 3, 0), attempt);
            self.once("syslog", &Kind::AuthFailed, Severity::Warning, &alder, time);
        }
        let time = moment(begin, 6, 3, 30);
        self.once("email", &Kind::SystemMail, Severity::Warning, &alder, time);
    }

    /// What is away.
    fn outages(&mut self, begin: Timestamp) {
        // The line to the branch office, with everything behind it.
        let edge = At::cluster("edge");
        let (from, until) = (moment(begin, 2, 14, 0), moment(begin, 2, 14, 40));
        self.once("tasks", &Kind::ClusterUnreachable, Severity::Critical, &edge, from);
        let cedar = edge.node("cedar");
        self.once("tasks", &Kind::NodeOffline, Severity::Error, &cedar, seconds(from, 20));
        self.once("tasks", &Kind::NodeOnline, Severity::Info, &cedar, until);
        let edge = At::cluster("edge");
        self.once("tasks", &Kind::ClusterReachable, Severity::Info, &edge, until);
        // A reboot that is over before anybody has to know, and a node that is away with its guests.
        let birch = At::cluster("lab").node("birch");
        self.twice(&Kind::NodeOffline, Severity::Error, &birch, moment(begin, 4, 9, 15));
        self.twice(
            &Kind::NodeOnline,
            Severity::Info,
            &birch,
            seconds(moment(begin, 4, 9, 15), 150),
        );
        let (from, until) = (moment(begin, 4, 16, 0), moment(begin, 4, 16, 50));
        self.twice(&Kind::NodeOffline, Severity::Error, &birch, from);
        for guest in 120..132 {
            let guest = birch.clone().guest(guest);
            self.once("tasks", &Kind::GuestStopped, Severity::Error, &guest, seconds(from, 30));
            self.once("tasks", &Kind::GuestStarted, Severity::Info, &guest, seconds(until, 60));
        }
        self.twice(&Kind::NodeOnline, Severity::Info, &birch, until);
    }
}

// === impl Week ===

impl Week {
    fn step(
        &mut self,
        rules: &Rules,
        state: &mut State,
        now: Timestamp,
        input: Option<Input>,
    ) -> Option<Timestamp> {
        let (decisions, mut next) = rules.step(state, now, input);
        for decision in decisions {
            match decision {
                Decision::Raise(event) => {
                    *self.events.entry(event.kind.to_string()).or_default() += 1;
                    next = self.step(rules, state, now, Some(Input::Event(event)));
                }
                Decision::Deliver(deliver) => self.note(&deliver, now),
                _ => {}
            }
        }
        next
    }

    fn pass(
        &mut self,
        rules: &Rules,
        state: &mut State,
        next: &mut Option<Timestamp>,
        until: Timestamp,
    ) {
        while let Some(at) = next.filter(|at| *at < until) {
            *next = self.step(rules, state, at, None);
        }
    }

    fn note(&mut self, deliver: &Deliver, now: Timestamp) {
        let (output, message) = (deliver.output.to_string(), &deliver.message);
        if message.silent {
            *self.quiet.entry(output).or_default() += 1;
            return;
        }
        let what = match message.stand {
            Stand::Digest => "list".to_owned(),
            stand => format!("{stand} {}", message.kind),
        };
        *self.loud.entry((output.clone(), what)).or_default() += 1;
        let local = now.to_zoned(TimeZone::UTC);
        let day = local.date().weekday().to_monday_zero_offset();
        let day = usize::try_from(day).map_or("", |day| DAYS[day]);
        let line = format!(
            "{day} {} {output} {}: {}",
            local.strftime("%H:%M"),
            message.stand,
            message.title
        );
        if !NIGHT.contains(&local.hour()) {
            self.night.push(line.clone());
        }
        self.story.push(line);
    }

    /// How many alerted somebody over this output.
    pub(crate) fn loud_of(&self, output: &str) -> u32 {
        self.loud.iter().filter(|((to, _), _)| to == output).map(|(_, count)| count).sum()
    }
}

impl fmt::Display for Week {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total: u32 = self.events.values().sum();
        writeln!(f, "{total} events")?;
        for (kind, count) in &self.events {
            writeln!(f, "{count:>6} {kind}")?;
        }
        for (output, quiet) in &self.quiet {
            let mut lines = String::new();
            for ((_, what), count) in self.loud.iter().filter(|((to, _), _)| to == output) {
                writeln!(lines, "{count:>6} {what}")?;
            }
            let loud = self.loud_of(output);
            writeln!(f, "\n{output}: {loud} messages, and {quiet} that alert nobody\n{lines}")?;
        }
        writeln!(f, "at night, 22:00 to 07:00:")?;
        for line in &self.night {
            writeln!(f, "       {line}")?;
        }
        writeln!(f, "\nall of them:")?;
        for line in &self.story {
            writeln!(f, "       {line}")?;
        }
        Ok(())
    }
}
