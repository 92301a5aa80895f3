//! What the settings say, before it is checked. Every table is named, since the environment cannot
//! reach into arrays.

use std::collections::{BTreeMap, BTreeSet};

use estate::ClusterKey;
use event_core::{ComponentId, Severity};
use jiff::{SignedDuration, Timestamp, civil, tz::TimeZone};
use stdx::Hours;

use crate::{Places, Thresholds};

/// Everything that is said about what is told to whom.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// `[rule.<name>]`.
    pub rules: BTreeMap<String, RuleConfig>,
    /// What `[output.<name>]` says about when it is told something. Every output has an entry.
    pub outputs: BTreeMap<String, OutputConfig>,
    /// The inputs beside the task list, each with the clusters that the settings say it tells of.
    /// One that says nothing of what the task list saw is `input.mute`.
    pub inputs: BTreeMap<ComponentId, BTreeSet<ClusterKey>>,
    /// `[maintenance.<name>]`.
    pub maintenance: BTreeMap<String, MuteConfig>,
    /// `[inhibit.<name>]`, beside those that are built in.
    pub inhibits: BTreeMap<String, InhibitConfig>,
    /// How long something must be wrong before anybody is told, by kind.
    pub hold: BTreeMap<String, SignedDuration>,
    /// How long the first message of an incident waits for further reports.
    pub wait: SignedDuration,
    /// How long at least two updates of a message are apart.
    pub update: SignedDuration,
    /// From when on storages and datastores count as full.
    pub full: Thresholds,
    /// When the daily digest is told, by the clock of `zone`.
    pub digest: civil::Time,
    /// The operator's time zone.
    pub zone: TimeZone,
}

/// One line of the rules.
#[derive(Clone, Debug, Default)]
pub struct RuleConfig {
    /// Its place among the others; of the same place the name decides.
    pub order: u32,
    /// The events that it is about, in CEL over `event`; all of them where nothing is said.
    pub when: Option<String>,
    /// Nobody is told of them. That something is well again counts all the same.
    pub drop: bool,
    /// How bad they are instead.
    pub severity: Option<Severity>,
    /// What they are called instead.
    pub title: Option<String>,
    /// Labels that are put on them.
    pub labels: BTreeMap<String, String>,
    /// The outputs that are told, each as its name or as `<output>:<place>`; see [`Places`].
    pub route: Vec<String>,
    /// They are told in the daily digest only.
    pub digest: bool,
    /// Events that have all of these in common, within a quarter of an hour, are one incident:
    /// `kind`, `family`, `cluster`, `node`, `guest`, `storage`, `datastore`, `job`, `label.<name>`.
    pub group_by: Vec<String>,
    /// How long the first message waits for further reports.
    pub wait: Option<SignedDuration>,
    /// After how long it is told again while nobody has acknowledged it.
    pub repeat: Option<SignedDuration>,
    /// How many messages an output gets through this line; the rest is one digest.
    pub throttle: Option<Limit>,
    /// Who else is told if nobody acknowledges it.
    pub escalate: Vec<Escalation>,
    /// No later line is asked.
    pub last: bool,
}

/// What an output has to say about when it is told something.
#[derive(Clone, Debug)]
pub struct OutputConfig {
    /// When it is not told anything that can wait; critical incidents, a lost quorum, fencing and a
    /// degraded pool cannot.
    pub quiet_hours: Vec<Hours>,
    /// Whether it gets the daily digest.
    pub digest: bool,
    /// How many messages it gets; the rest is one digest.
    pub flood: Limit,
    /// Where else than in its own place it can tell something.
    pub places: Places,
}

/// At most so many in so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Limit {
    /// How many.
    pub count: usize,
    /// In how long.
    pub per: SignedDuration,
}

/// Somebody else is told.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Escalation {
    /// How long after the first message.
    pub after: SignedDuration,
    /// Which outputs.
    pub to: Vec<String>,
}

/// Nobody is told of some incidents for some time: a silence, which people make while they work, or
/// a maintenance window of the settings.
#[derive(Clone, Debug)]
pub struct MuteConfig {
    /// The events that it is about, in CEL over `event`; all of them where nothing is said.
    pub when: Option<String>,
    /// In which time.
    pub time: MuteTime,
    /// Who wants it.
    pub author: String,
    /// Why.
    pub reason: String,
}

/// The time of a silence or maintenance window.
#[derive(Clone, Debug)]
pub enum MuteTime {
    /// Once. What has no end is no silence.
    Once {
        /// From then on.
        from: Timestamp,
        /// Until then.
        until: Timestamp,
    },
    /// In these hours of every week.
    Weekly(Hours),
}

/// While one thing is wrong nobody is told of others that follow from it.
#[derive(Clone, Debug, Default)]
pub struct InhibitConfig {
    /// What is wrong, in CEL over `event`.
    pub source: String,
    /// What follows from it, in CEL over `event`.
    pub target: String,
    /// What the two have in common; see [`RuleConfig::group_by`].
    pub equal: Vec<String>,
}

// === impl Config ===

impl Default for Config {
    /// What is so with nothing said, and without any output.
    fn default() -> Self {
        let hold = [
            ("node.offline", 180),
            ("storage.error", 180),
            ("ceph.warning", 120),
            ("cluster.unreachable", 60),
            ("monitor.blind", 60),
            ("link.down", 60),
        ];
        let hold =
            hold.map(|(kind, seconds)| (kind.to_owned(), SignedDuration::from_secs(seconds)));
        Self {
            rules: BTreeMap::new(),
            outputs: BTreeMap::new(),
            inputs: BTreeMap::new(),
            maintenance: BTreeMap::new(),
            inhibits: BTreeMap::new(),
            hold: hold.into(),
            wait: SignedDuration::from_secs(10),
            update: SignedDuration::from_mins(5),
            full: Thresholds::default(),
            digest: civil::time(8, 0, 0, 0),
            zone: TimeZone::UTC,
        }
    }
}

impl Config {
    /// The same with these outputs, which say nothing of their own.
    #[must_use]
    pub fn outputs<'a>(mut self, names: impl IntoIterator<Item = &'a str>) -> Self {
        let outputs = names.into_iter().map(|name| (name.to_owned(), OutputConfig::default()));
        self.outputs.extend(outputs);
        self
    }
}

impl Default for OutputConfig {
    fn default() -> Self {
        let flood = Limit { count: 20, per: SignedDuration::from_mins(5) };
        Self { quiet_hours: Vec::new(), digest: true, flood, places: Places::None }
    }
}
