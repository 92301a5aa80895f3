//! The estate as it is now: everything that handlers read and change.
//!
//! Nothing runs in the background. What is due is in a queue, and every request first brings the
//! estate up to date, so a test sees one consistent story however slow the machine is.

pub(crate) mod access;
pub(crate) mod admin;
pub(crate) mod cluster;
pub(crate) mod files;
pub(crate) mod guest;
pub(crate) mod ha;
pub(crate) mod levers;
pub(crate) mod storage;
pub(crate) mod task;
pub(crate) mod vault;

use std::cmp::Ordering;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

use sha2::{Digest, Sha256};

pub(crate) use cluster::{Cluster, Node};
pub(crate) use guest::{Guest, GuestKind, Power, Snapshot};
pub(crate) use storage::{Storage, Volume};
pub(crate) use task::{Outcome, Plan, Tasks};
pub(crate) use vault::{Datastore, Vault};

use crate::config::PveRelease;

/// Something that happens later.
pub(crate) type Act = Box<dyn FnOnce(&mut Estate) + Send>;

/// Everything that is simulated.
pub(crate) struct Estate {
    /// Milliseconds since the epoch, as of the request being answered.
    pub(crate) now: i64,
    /// How far its clocks are ahead of the machine's, in milliseconds.
    pub(crate) ahead: i64,
    pub(crate) speed: f64,
    pub(crate) release: PveRelease,
    pub(crate) clusters: Vec<Cluster>,
    pub(crate) vaults: Vec<Vault>,
    /// The guests in backups on clusters' own storages, by cluster and volume id.
    pub(crate) images: BTreeMap<(usize, String), Arc<vault::Image>>,
    queue: BinaryHeap<Due>,
    sequence: u64,
}

/// Which target something belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Home {
    Pve(usize),
    Pbs(usize),
}

struct Due {
    at: i64,
    sequence: u64,
    act: Act,
}

// === impl Estate ===

impl Estate {
    pub(crate) fn new(now: i64, speed: f64, release: PveRelease) -> Self {
        Self {
            now,
            ahead: 0,
            speed,
            release,
            clusters: Vec::new(),
            vaults: Vec::new(),
            images: BTreeMap::new(),
            queue: BinaryHeap::new(),
            sequence: 0,
        }
    }

    /// Seconds since the epoch.
    pub(crate) fn seconds(&self) -> i64 {
        self.now / 1000
    }

    /// Lets everything happen that was due until `now`.
    pub(crate) fn advance(&mut self, now: i64) {
        while self.queue.peek().is_some_and(|due| due.at <= now) {
            if let Some(due) = self.queue.pop() {
                self.now = self.now.max(due.at);
                (due.act)(self);
            }
        }
        self.now = self.now.max(now);
    }

    /// Does `act` after `ms` milliseconds at demo pace.
    pub(crate) fn after(&mut self, ms: f64, act: impl FnOnce(&mut Self) + Send + 'static) {
        self.sequence += 1;
        let at = self.now + (ms / self.speed).ceil() as i64;
        self.queue.push(Due { at, sequence: self.sequence, act: Box::new(act) });
    }

    pub(crate) fn tasks(&mut self, home: Home) -> &mut Tasks {
        match home {
            Home::Pve(at) => &mut self.clusters[at].tasks,
            Home::Pbs(at) => &mut self.vaults[at].tasks,
        }
    }

    /// The target with this settings key.
    pub(crate) fn home(&self, key: &str) -> Option<Home> {
        let cluster = self.clusters.iter().position(|cluster| cluster.key == key).map(Home::Pve);
        cluster.or_else(|| self.vaults.iter().position(|vault| vault.key == key).map(Home::Pbs))
    }
}

// === impl Due ===

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    /// The heap gives the greatest first, so the earliest is the greatest.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.sequence).cmp(&(self.at, self.sequence))
    }
}

/// A digest in the length that PVE's configurations have (40 hexadecimal digits).
pub(crate) fn digest40(text: &str) -> String {
    let mut digest = digest64(text);
    digest.truncate(40);
    digest
}

/// A digest in the length that PBS's configurations have.
pub(crate) fn digest64(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(64);
    for byte in Sha256::digest(text.as_bytes()) {
        let _ = write!(out, "{byte:02x}");
    }
    out
}

/// A steady pseudo-random number in 0..1 for figures that should differ but not surprise.
pub(crate) fn noise(seed: u64) -> f64 {
    let mut x = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (x ^ (x >> 31)) as f64 / u64::MAX as f64
}
