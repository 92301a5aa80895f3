//! A Proxmox Backup Server.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::access::Access;
use super::levers::Faults;
use super::task::Tasks;

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
    pub(crate) remotes: Vec<Map<String, Value>>,
    pub(crate) traffic: Vec<Map<String, Value>>,
    pub(crate) webhooks: Vec<Map<String, Value>>,
    pub(crate) tasks: Tasks,
    pub(crate) access: Access,
    pub(crate) faults: Faults,
}

/// One datastore.
#[derive(Debug, Clone)]
pub(crate) struct Datastore {
    pub(crate) name: String,
    pub(crate) comment: Option<String>,
    pub(crate) path: String,
    pub(crate) gc_schedule: Option<String>,
    pub(crate) total: u64,
    pub(crate) used: u64,
    /// Without the root namespace.
    pub(crate) namespaces: Vec<String>,
    pub(crate) snapshots: Vec<Backup>,
    /// Notes by (namespace, type, id).
    pub(crate) group_notes: BTreeMap<(String, String, String), String>,
    pub(crate) gc: Gc,
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
}

/// The last garbage collection.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gc {
    pub(crate) upid: Option<String>,
    pub(crate) end: i64,
    pub(crate) duration: i64,
    pub(crate) state: String,
    pub(crate) removed: u64,
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

    pub(crate) fn total_size(&self) -> u64 {
        self.files().iter().map(|(_, size)| size).sum()
    }

    /// `vm/100/2026-11-22T17:52:09Z`
    pub(crate) fn path(&self) -> String {
        let time = crate::clock::utc(self.time, "%Y-%m-%dT%H:%M:%SZ");
        format!("{}/{}/{time}", self.kind, self.id)
    }
}
