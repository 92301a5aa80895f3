//! A Proxmox Backup Server.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::GuestKind;
use super::access::Access;
use super::admin::Host;
use super::guest::{Guest, Quirk};
use super::levers::Faults;
use super::task::Tasks;
use crate::notify::Notifying;

/// Of how many bytes of a backup one lies on disk, once what it shares is counted elsewhere.
const SHARED: u64 = 30;
/// How long a chunk that nobody uses is left alone: a day and five minutes.
pub(crate) const CUTOFF_SECS: i64 = 24 * 3600 + 5 * 60;

/// One backup server.
pub(crate) struct Vault {
    /// The settings key.
    pub(crate) key: String,
    pub(crate) node: String,
    pub(crate) booted: i64,
    pub(crate) online: bool,
    pub(crate) fingerprint: String,
    pub(crate) pem: String,
    pub(crate) not_after: i64,
    pub(crate) datastores: Vec<Datastore>,
    pub(crate) verify_jobs: Vec<Map<String, Value>>,
    pub(crate) sync_jobs: Vec<Map<String, Value>>,
    pub(crate) prune_jobs: Vec<Map<String, Value>>,
    pub(crate) tape_jobs: Vec<Map<String, Value>>,
    pub(crate) remotes: Vec<Map<String, Value>>,
    pub(crate) traffic: Vec<Map<String, Value>>,
    pub(crate) notifying: Notifying,
    pub(crate) tasks: Tasks,
    pub(crate) access: Access,
    pub(crate) faults: Faults,
    /// Services, pools of disks and the like.
    pub(crate) host: Host,
}

/// One datastore.
#[derive(Debug, Clone)]
pub(crate) struct Datastore {
    pub(crate) name: String,
    pub(crate) comment: Option<String>,
    pub(crate) path: String,
    pub(crate) gc_schedule: Option<String>,
    /// `read-only` or `offline`, with a message after it.
    pub(crate) maintenance: Option<String>,
    pub(crate) total: u64,
    pub(crate) used: u64,
    /// `notification-mode`, `notify` and `notify-user`, as they were set.
    pub(crate) notification: Map<String, Value>,
    /// Without the root namespace.
    pub(crate) namespaces: Vec<String>,
    pub(crate) snapshots: Vec<Backup>,
    /// Notes by (namespace, type, id).
    pub(crate) group_notes: BTreeMap<(String, String, String), String>,
    pub(crate) gc: Gc,
    /// Bytes that no snapshot uses any more, and when they were last touched.
    pub(crate) garbage: Vec<(u64, i64)>,
}

/// One snapshot in a datastore.
#[derive(Debug, Clone)]
pub(crate) struct Backup {
    pub(crate) ns: String,
    /// `vm`, `ct` or `host`
    pub(crate) kind: &'static str,
    pub(crate) id: String,
    pub(crate) time: i64,
    pub(crate) size: u64,
    pub(crate) owner: String,
    pub(crate) protected: bool,
    pub(crate) comment: Option<String>,
    /// Whether the last verification was fine, and its task.
    pub(crate) verified: Option<(bool, String)>,
    /// Whether some of its chunks cannot be read; a verification finds out.
    pub(crate) corrupt: bool,
    /// The guest in it, for a restore; absent for hosts.
    pub(crate) image: Option<Arc<Image>>,
}

/// What a backup keeps of a guest.
#[derive(Debug, Clone)]
pub(crate) struct Image {
    pub(crate) kind: GuestKind,
    pub(crate) config: Map<String, Value>,
    pub(crate) agent_answers: bool,
    pub(crate) addresses: Vec<String>,
    pub(crate) disk_used: u64,
    pub(crate) quirk: Quirk,
}

/// The last garbage collection.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gc {
    pub(crate) upid: Option<String>,
    /// When it marked what is in use.
    pub(crate) start: i64,
    pub(crate) end: i64,
    pub(crate) duration: i64,
    pub(crate) state: String,
    pub(crate) removed: u64,
    /// Bytes that nobody used, but that had been touched too lately.
    pub(crate) pending: u64,
}

// === impl Vault ===

impl Vault {
    pub(crate) fn store(&self, name: &str) -> Option<&Datastore> {
        self.datastores.iter().find(|store| store.name == name)
    }

    pub(crate) fn store_mut(&mut self, name: &str) -> Option<&mut Datastore> {
        self.datastores.iter_mut().find(|store| store.name == name)
    }
}

// === impl Datastore ===

impl Datastore {
    /// Takes a snapshot in: what it does not share with others costs space.
    pub(crate) fn store(&mut self, backup: Backup) {
        self.used = (self.used + backup.own_bytes()).min(self.total);
        self.snapshots.push(backup);
    }

    /// Removes the snapshots that `gone` says. Their chunks stay until a garbage collection; the last
    /// one touched them, or the backup did.
    pub(crate) fn forget(&mut self, gone: impl Fn(&Backup) -> bool) -> usize {
        let marked = self.gc.start;
        let before = self.snapshots.len();
        let garbage = &mut self.garbage;
        self.snapshots.retain(|backup| {
            let goes = gone(backup);
            if goes {
                garbage.push((backup.own_bytes(), backup.time.max(marked)));
            }
            !goes
        });
        before - self.snapshots.len()
    }

    /// Removes what has been of no use for long enough, at a collection that begins at `start`.
    pub(crate) fn sweep(&mut self, start: i64) -> u64 {
        let old = |touched: i64| touched < start - CUTOFF_SECS;
        let removed: u64 =
            self.garbage.iter().filter(|(_, at)| old(*at)).map(|(bytes, _)| bytes).sum();
        self.garbage.retain(|(_, at)| !old(*at));
        self.used = self.used.saturating_sub(removed);
        self.gc.start = start;
        self.gc.removed = removed;
        self.gc.pending = self.garbage.iter().map(|(bytes, _)| bytes).sum();
        removed
    }

    /// What lies on disk, as often as backups use it.
    pub(crate) fn index_bytes(&self) -> u64 {
        let backups: u64 = self.snapshots.iter().map(Backup::total_size).sum();
        backups + self.used * 13
    }

    /// Whether a namespace is there; the root always is.
    pub(crate) fn has_namespace(&self, ns: &str) -> bool {
        ns.is_empty() || self.namespaces.iter().any(|known| known == ns)
    }
}

// === impl Image ===

impl Image {
    /// A guest as it is now; what is not part of a backup is left out.
    pub(crate) fn of(guest: &Guest) -> Self {
        let mut config = guest.config.clone();
        for key in ["lock", "template", "parent"] {
            config.shift_remove(key);
        }
        Self {
            kind: guest.kind,
            config,
            agent_answers: guest.agent_answers,
            addresses: guest.addresses.clone(),
            disk_used: guest.disk_used,
            quirk: match &guest.quirk {
                Quirk::BackupFails(_) => Quirk::None,
                other => other.clone(),
            },
        }
    }
}

// === impl Backup ===

impl Backup {
    /// The files that a snapshot of this kind consists of: name and size.
    pub(crate) fn files(&self) -> Vec<(&'static str, u64)> {
        match self.kind {
            "vm" => vec![
                ("drive-scsi0.img.fidx", self.size),
                ("qemu-server.conf.blob", 412),
                ("index.json.blob", 469),
            ],
            "ct" => vec![
                ("root.pxar.didx", self.size),
                ("catalog.pcat1.didx", self.size / 4000 + 112),
                ("pct.conf.blob", 298),
                ("index.json.blob", 443),
            ],
            _ => vec![
                ("root.pxar.didx", self.size),
                ("catalog.pcat1.didx", self.size / 4000 + 112),
                ("index.json.blob", 452),
            ],
        }
    }

    /// Bytes on disk that only this snapshot uses.
    pub(crate) fn own_bytes(&self) -> u64 {
        self.size / SHARED
    }

    pub(crate) fn total_size(&self) -> u64 {
        self.files().iter().map(|(_, size)| size).sum()
    }

    /// `vm/100`
    pub(crate) fn group(&self) -> String {
        format!("{}/{}", self.kind, self.id)
    }

    /// `lab:vm/100` as logs name a group, without the namespace in the root.
    pub(crate) fn shown_group(&self) -> String {
        if self.ns.is_empty() { self.group() } else { format!("{}:{}", self.ns, self.group()) }
    }

    /// `vm/100/2026-11-22T17:52:09Z`
    pub(crate) fn path(&self) -> String {
        let time = crate::clock::utc(self.time, "%Y-%m-%dT%H:%M:%SZ");
        format!("{}/{}/{time}", self.kind, self.id)
    }
}
