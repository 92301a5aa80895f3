//! By what the reports of one fact find each other.
//!
//! The same failure arrives as syslog line, mail, webhook, Gotify message and task status. Each
//! report yields a set of typed [`Key`]s; an incident is whatever hangs together by shared keys, so
//! the order in which reports come does not matter, and a late one may join two incidents that were
//! apart.
//!
//! | key | written | of |
//! |---|---|---|
//! | [`Key::Upid`] | `v1:upid:UPID:…` | a task that the report names |
//! | [`Key::Run`] | `v1:run:<cluster>:<job>:<window>` | one run of a job |
//! | [`Key::Subject`] | `v1:subj:<family>:<address>:<window>` | one thing, in one stretch of time |
//! | [`Key::Own`] | `v1:own:<text>` | whatever else a source knows to be one |
//!
//! A window is a stretch of [`WINDOW_SECS`] counted from the epoch. A report is in its own window and
//! in the next, so that two reports closer than that always share one, wherever the border is;
//! two that are further apart than twice that never do.
//!
//! *Invariant:* a key holds the settings key of the cluster, never a host name from the report: two
//! estates with a node `pve1` and a guest 100 each stay apart.

use std::{collections::BTreeSet, fmt, str::FromStr};

use jiff::Timestamp;

use crate::{Event, InvalidId, Kind};

/// How long a stretch of time is in which reports of one subject are of one fact.
pub const WINDOW_SECS: i64 = 15 * 60;

/// How long the runs of one job are apart at least. A backup run takes hours, and its mail comes at
/// the end, with the time of the end.
pub const RUN_WINDOW_SECS: i64 = 4 * 3600;

/// One thing that two reports of the same fact have in common.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// A task.
    Upid(String),
    /// One run of a job.
    Run {
        /// The settings key of the cluster or server.
        cluster: String,
        /// The job's id.
        job: String,
        /// The number of the stretch of [`RUN_WINDOW_SECS`].
        window: i64,
    },
    /// One thing in one stretch of time.
    Subject {
        /// What stands before the kind's dot.
        family: String,
        /// [`crate::Subject::address`].
        address: String,
        /// The number of the stretch of [`WINDOW_SECS`].
        window: i64,
    },
    /// Whatever else a source knows.
    Own(String),
}

/// The keys that follow from what an event is about.
pub fn keys(event: &Event) -> BTreeSet<Key> {
    let mut keys = BTreeSet::new();
    let subject = &event.subject;
    if let Some(upid) = &subject.upid {
        keys.insert(Key::Upid(upid.as_str().to_owned()));
    }
    let Some(cluster) = &subject.cluster else { return keys };
    if let Some(job) = &subject.job {
        for window in windows(event.time, RUN_WINDOW_SECS) {
            let (cluster, job) = (cluster.as_str().to_owned(), job.clone());
            keys.insert(Key::Run { cluster, job, window });
        }
    }
    let address = subject.address();
    // A cluster alone is too much in common, unless the event is about the cluster itself.
    let is_narrow = address != cluster.as_str();
    let is_of_cluster = matches!(event.kind.family(), "cluster" | "quorum" | "ceph" | "monitor");
    // Tasks of one node have nothing in common but the node; a task is known by its name.
    let is_named_task = event.kind.family() == "task" && subject.upid.is_some();
    if (is_narrow || is_of_cluster) && !is_named_task {
        keys.extend(of_subject(&event.kind, &address, event.time));
    }
    // Of one backup run a mail and a task list name the node, a webhook the job, a line of a log the
    // guest. A node makes one run after another, so the node and the time are enough in common.
    if let (Some(node), "backup") = (&subject.node, event.kind.family()) {
        let address = format!("{}/node/{}", cluster.as_str(), node.as_str());
        let started = subject.upid.as_ref().map(estate::Upid::started);
        for time in started.into_iter().chain([event.time]) {
            keys.extend(of_subject(&event.kind, &address, time));
        }
    }
    keys
}

/// The keys of a report of this kind about that address ([`crate::Subject::address`]) at that time.
/// A source that knows what else its report is about, such as the guests of a backup run, adds their
/// keys to those that the event has by itself.
pub fn of_subject(kind: &Kind, address: &str, time: Timestamp) -> [Key; 2] {
    windows(time, WINDOW_SECS).map(|window| Key::Subject {
        family: family(kind).to_owned(),
        address: address.to_owned(),
        window,
    })
}

/// Kinds that tell of the same fact in other words belong to one family.
fn family(kind: &Kind) -> &str {
    match kind.family() {
        // A fenced node is offline, and comes back online.
        "node" | "link" => "node",
        // What the list lacks has nothing in common but that.
        "other" => kind.as_str(),
        family => family,
    }
}

fn windows(time: Timestamp, length: i64) -> [i64; 2] {
    let window = time.as_second().div_euclid(length);
    [window, window + 1]
}

// === impl Key ===

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Upid(upid) => write!(f, "v1:upid:{upid}"),
            Self::Run { cluster, job, window } => write!(f, "v1:run:{cluster}:{job}:{window}"),
            Self::Subject { family, address, window } => {
                write!(f, "v1:subj:{family}:{address}:{window}")
            }
            Self::Own(text) => write!(f, "v1:own:{text}"),
        }
    }
}

impl FromStr for Key {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        read(text).ok_or_else(|| crate::ids::invalid(text, "a correlation key"))
    }
}

fn read(text: &str) -> Option<Key> {
    let (kind, rest) = text.strip_prefix("v1:")?.split_once(':')?;
    // A job or an address may hold colons; what stands before and behind cannot.
    let split = |rest: &str| {
        let (first, rest) = rest.split_once(':')?;
        let (middle, window) = rest.rsplit_once(':')?;
        Some((first.to_owned(), middle.to_owned(), window.parse().ok()?))
    };
    match kind {
        "upid" => Some(Key::Upid(rest.to_owned())),
        "own" => Some(Key::Own(rest.to_owned())),
        "run" => {
            let (cluster, job, window) = split(rest)?;
            Some(Key::Run { cluster, job, window })
        }
        "subj" => {
            let (family, address, window) = split(rest)?;
            Some(Key::Subject { family, address, window })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ComponentId, Subject};
    use proptest::prelude::*;

    fn event(kind: Kind, subject: Subject, second: i64) -> Event {
        let source: ComponentId = "in".parse().unwrap();
        let time = Timestamp::from_second(second).unwrap();
        Event::builder(&source, "syslog", "1", kind, time).subject(subject).build(time)
    }

    fn guest(cluster: &str, vmid: &str) -> Subject {
        Subject {
            cluster: Some(cluster.parse().unwrap()),
            vmid: Some(vmid.parse().unwrap()),
            ..Subject::default()
        }
    }

    fn share(left: &Event, right: &Event) -> bool {
        !left.keys.is_disjoint(&right.keys)
    }

    #[test]
    fn estates_stay_apart_and_so_do_guests() {
        let at = |cluster, vmid| event(Kind::BackupFailed, guest(cluster, vmid), 1_000_000);
        assert!(share(&at("lab", "100"), &at("lab", "100")));
        assert!(!share(&at("lab", "100"), &at("edge", "100")));
        assert!(!share(&at("lab", "100"), &at("lab", "101")));
        let stopped = event(Kind::GuestStopped, guest("lab", "100"), 1_000_000);
        assert!(!share(&at("lab", "100"), &stopped));
    }

    #[test]
    fn kinds_that_the_list_lacks_stay_apart() {
        let at = |name| event(Kind::other(name), guest("lab", "100"), 1_000_000);
        assert!(share(&at("ups"), &at("ups")));
        assert!(!share(&at("ups"), &at("leak")));
    }

    #[test]
    fn what_names_no_cluster_is_only_held_by_its_task() {
        let upid = "UPID:pve1:000002D6:000C8274:6B033EDA:vzdump:300:root@pam:";
        let named = Subject { upid: Some(upid.parse().unwrap()), ..Subject::default() };
        let (one, two) =
            (event(Kind::TaskFailed, named.clone(), 0), event(Kind::BackupFailed, named, 90_000));
        assert!(share(&one, &two));
        assert!(event(Kind::TaskFailed, Subject::default(), 0).keys.is_empty());
    }

    #[test]
    fn a_whole_cluster_is_a_subject_only_of_what_is_about_it() {
        let lab = Subject { cluster: Some("lab".parse().unwrap()), ..Subject::default() };
        assert!(event(Kind::AuthFailed, lab.clone(), 0).keys.is_empty());
        assert!(!event(Kind::QuorumLost, lab, 0).keys.is_empty());
    }

    #[test]
    fn tasks_of_a_node_are_told_apart_and_backup_runs_are_found_by_it() {
        let task = |upid: &str| {
            let node = Some("pve1".parse().unwrap());
            Subject { node, upid: Some(upid.parse().unwrap()), ..cluster() }
        };
        let first = task("UPID:pve1:000002D6:000C8274:6B033EDA:qmstart:300:root@pam:");
        let second = task("UPID:pve1:000002D7:000C8275:6B033EDB:qmstop:301:root@pam:");
        let (one, two) =
            (event(Kind::TaskFinished, first, 0), event(Kind::TaskFailed, second.clone(), 5));
        assert!(!share(&one, &two));
        let run =
            Subject { job: Some("nightly".to_owned()), node: second.node.clone(), ..cluster() };
        let (hook, list) =
            (event(Kind::BackupFailed, run, 0), event(Kind::BackupFailed, second, 60));
        assert!(share(&hook, &list));
    }

    fn cluster() -> Subject {
        Subject { cluster: Some("lab".parse().unwrap()), ..Subject::default() }
    }

    proptest! {
        #[test]
        fn the_border_of_a_window_parts_nothing(start in 0..4_000_000_000_i64, apart in 0..WINDOW_SECS * 3) {
            let one = event(Kind::GuestStopped, guest("lab", "100"), start);
            let two = event(Kind::GuestStopped, guest("lab", "100"), start + apart);
            if apart < WINDOW_SECS {
                prop_assert!(share(&one, &two));
            }
            if apart >= 2 * WINDOW_SECS {
                prop_assert!(!share(&one, &two));
            }
        }

        #[test]
        fn keys_are_read_back(
            first in "[a-z0-9_]{1,10}", middle in "[a-z0-9:/_-]{0,20}", window in any::<i64>(),
        ) {
            let keys = [
                Key::Upid(middle.clone()),
                Key::Own(middle.clone()),
                Key::Run { cluster: first.clone(), job: middle.clone(), window },
                Key::Subject { family: first, address: middle, window },
            ];
            for key in keys {
                prop_assert_eq!(key.to_string().parse::<Key>(), Ok(key));
            }
        }

        #[test]
        fn no_text_breaks_the_reader(text in ".{0,60}") {
            if let Ok(key) = text.parse::<Key>() {
                prop_assert_eq!(key.to_string(), text);
            }
        }
    }
}
