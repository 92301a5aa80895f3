//! One cluster's resources as typed rows: what nearly every tool begins with.
//!
//! The figures are those of `/cluster/resources`, which the nodes refresh about every ten seconds.

use std::{collections::BTreeMap, sync::Arc};

use estate::{ClusterKey, GuestKind, GuestRef, NodeName, StorageName};
use pve_client::cluster::{Resource, ResourceKind};

use crate::{
    fleet::{Place, Pve},
    redaction::shortened,
};

/// The longest name, tag or word of state that is taken from a guest's row.
const WORD: usize = 64;

/// A cluster's guests, nodes and storages at one moment.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// Virtual machines and containers, templates included, by id.
    pub guests: Vec<Guest>,
    /// Nodes by name.
    pub nodes: Vec<Node>,
    /// Storages, one row per node that has them.
    pub storages: Vec<Storage>,
    /// The names of its pools.
    pub pools: Vec<String>,
}

/// A guest.
#[derive(Clone, Debug, PartialEq)]
pub struct Guest {
    /// How it is addressed.
    pub at: GuestRef,
    /// Its name; empty if it has none.
    pub name: String,
    /// Virtual machine or container.
    pub kind: GuestKind,
    /// The node that it is on.
    pub node: NodeName,
    /// Whether it runs.
    pub status: GuestStatus,
    /// The lock that something holds on it, such as `backup` or `snapshot`.
    pub lock: Option<String>,
    /// What HA thinks of it, if it is managed.
    pub ha_state: Option<String>,
    /// Its pool.
    pub pool: Option<String>,
    /// Its tags.
    pub tags: Vec<String>,
    /// Share of its CPUs in use, 0 to 1.
    pub cpu: f64,
    /// Its CPUs.
    pub cpus: f64,
    /// Memory in use, bytes.
    pub mem: u64,
    /// Memory, bytes.
    pub max_mem: u64,
    /// Disk in use, bytes; containers only, 0 for virtual machines.
    pub disk: u64,
    /// Root disk, bytes.
    pub max_disk: u64,
    /// Seconds since it started.
    pub uptime: u64,
}

/// Whether a guest runs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GuestStatus {
    /// Its node does not answer, so nobody knows.
    Unknown,
    /// On.
    Running,
    /// On, but held (suspended).
    Paused,
    /// Off.
    Stopped,
    /// Never runs: guests are made from it.
    Template,
    /// A word that is newer than this list.
    Other(String),
}

/// A node.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Its name.
    pub name: NodeName,
    /// `online`, `offline` or `unknown`.
    pub status: String,
    /// Share of its CPUs in use, 0 to 1.
    pub cpu: f64,
    /// Its CPUs.
    pub cpus: f64,
    /// Memory in use, bytes.
    pub mem: u64,
    /// Memory, bytes.
    pub max_mem: u64,
    /// Root file system in use, bytes.
    pub disk: u64,
    /// Root file system, bytes.
    pub max_disk: u64,
    /// Seconds since it started.
    pub uptime: u64,
}

/// A storage on one node.
#[derive(Clone, Debug, PartialEq)]
pub struct Storage {
    /// Its id.
    pub name: StorageName,
    /// The node that sees it.
    pub node: NodeName,
    /// `available` or what is wrong.
    pub status: String,
    /// Whether all nodes see the same one.
    pub shared: bool,
    /// `dir`, `lvmthin`, `rbd`, `nfs`, `pbs`, …
    pub plugin: String,
    /// What it may hold: `images`, `backup`, …
    pub content: Vec<String>,
    /// Bytes in use.
    pub used: u64,
    /// Bytes in all.
    pub size: u64,
}

// === impl View ===

impl View {
    /// Reads a cluster's resources, and lets the member remember where its guests are.
    pub async fn load(member: Arc<Pve>) -> Result<Self, api_core::Error> {
        let rows = member.client.call(pve_client::cluster::resources(None)).await?;
        let view = Self::of(&member.key, rows);
        member.remember(
            view.guests
                .iter()
                .map(|guest| (guest.at.vmid, Place { node: guest.node.clone(), kind: guest.kind })),
        );
        Ok(view)
    }

    /// Sorts the rows into kinds; rows that name no valid guest, node or storage are left out.
    pub fn of(cluster: &ClusterKey, rows: Vec<Resource>) -> Self {
        let mut view = Self::default();
        for row in rows {
            match row.kind {
                ResourceKind::Qemu => view.guests.extend(guest(cluster, GuestKind::Qemu, row)),
                ResourceKind::Lxc => view.guests.extend(guest(cluster, GuestKind::Lxc, row)),
                ResourceKind::Node => view.nodes.extend(node(row)),
                ResourceKind::Storage => view.storages.extend(storage(row)),
                ResourceKind::Pool => view.pools.extend(row.pool),
                _ => {}
            }
        }
        view.guests.sort_by_key(|guest| guest.at.vmid);
        view.pools.sort();
        view.nodes.sort_by(|a, b| a.name.cmp(&b.name));
        view.storages.sort_by(|a, b| (&a.name, &a.node).cmp(&(&b.name, &b.node)));
        // A guest on a node that is away is in no known state, whatever the last report said.
        let away: Vec<_> = view.nodes.iter().filter(|node| !node.is_online()).collect();
        for guest in &mut view.guests {
            let is_away = away.iter().any(|node| node.name == guest.node);
            if is_away && guest.status != GuestStatus::Template {
                guest.status = GuestStatus::Unknown;
            }
        }
        view
    }

    /// The nodes that are not online.
    pub fn offline_nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| !node.is_online())
    }

    /// The storages, each shared one once.
    pub fn distinct_storages(&self) -> Vec<&Storage> {
        let mut seen: BTreeMap<(&str, &str), &Storage> = BTreeMap::new();
        for storage in &self.storages {
            let node = if storage.shared { "" } else { storage.node.as_str() };
            let known = seen.entry((storage.name.as_str(), node)).or_insert(storage);
            // Of a shared storage's rows, one with figures says more than one without.
            if known.size == 0 && storage.size > 0 {
                *known = storage;
            }
        }
        seen.into_values().collect()
    }
}

// === impl Node ===

impl Node {
    /// Whether it takes part in the cluster.
    pub fn is_online(&self) -> bool {
        self.status == "online"
    }
}

// === impl Storage ===

impl Storage {
    /// Whether it can be used.
    pub fn is_available(&self) -> bool {
        self.status == "available"
    }

    /// The share in use, 0 to 1; nothing where no figure came.
    pub fn share(&self) -> Option<f64> {
        (self.size > 0).then(|| self.used as f64 / self.size as f64)
    }
}

// === impl Guest ===

impl Guest {
    /// `vm` or `ct`: how answers call the kind.
    pub fn kind_word(&self) -> &'static str {
        kind_word(self.kind)
    }

    /// Whether HA starts and stops it.
    pub fn is_ha_managed(&self) -> bool {
        self.ha_state.as_deref().is_some_and(|state| state != "ignored")
    }

    /// Whether it is a template.
    pub fn is_template(&self) -> bool {
        self.status == GuestStatus::Template
    }
}

// === impl GuestStatus ===

impl GuestStatus {
    /// Whether the guest is on, held or not.
    pub fn is_on(&self) -> bool {
        matches!(self, Self::Running | Self::Paused)
    }

    /// The word that answers use.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Unknown => "unknown",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
            Self::Template => "template",
            Self::Other(word) => word,
        }
    }

    /// Reads the API's words.
    pub fn parse(word: &str, template: bool) -> Self {
        match word {
            _ if template => Self::Template,
            "running" => Self::Running,
            "paused" | "suspended" | "prelaunch" => Self::Paused,
            "stopped" => Self::Stopped,
            "" | "unknown" => Self::Unknown,
            other => Self::Other(inert(other)),
        }
    }
}

/// `vm` or `ct`: how answers call a kind of guest.
pub fn kind_word(kind: GuestKind) -> &'static str {
    match kind {
        GuestKind::Qemu => "vm",
        GuestKind::Lxc => "ct",
    }
}

fn guest(cluster: &ClusterKey, kind: GuestKind, row: Resource) -> Option<Guest> {
    let status = row.status.as_str();
    Some(Guest {
        at: GuestRef { cluster: cluster.clone(), vmid: row.vmid? },
        name: row.name.map(|name| inert(&name)).unwrap_or_default(),
        kind,
        node: row.node?,
        status: GuestStatus::parse(status, row.template),
        lock: row.lock.map(|lock| inert(&lock)),
        ha_state: row.ha_state.map(|state| inert(&state)),
        pool: row.pool,
        tags: row.tags.iter().map(|tag| inert(tag)).collect(),
        cpu: row.cpu.unwrap_or_default(),
        cpus: row.max_cpu.unwrap_or_default(),
        mem: row.memory_bytes.unwrap_or_default(),
        max_mem: row.max_memory_bytes.unwrap_or_default(),
        disk: row.disk_bytes.unwrap_or_default(),
        max_disk: row.max_disk_bytes.unwrap_or_default(),
        uptime: row.uptime_secs.unwrap_or_default(),
    })
}

fn node(row: Resource) -> Option<Node> {
    Some(Node {
        name: row.node?,
        status: known(&row.status),
        cpu: row.cpu.unwrap_or_default(),
        cpus: row.max_cpu.unwrap_or_default(),
        mem: row.memory_bytes.unwrap_or_default(),
        max_mem: row.max_memory_bytes.unwrap_or_default(),
        disk: row.disk_bytes.unwrap_or_default(),
        max_disk: row.max_disk_bytes.unwrap_or_default(),
        uptime: row.uptime_secs.unwrap_or_default(),
    })
}

fn storage(row: Resource) -> Option<Storage> {
    Some(Storage {
        name: row.storage?,
        node: row.node?,
        status: known(&row.status),
        shared: row.shared,
        plugin: row.plugin.unwrap_or_default(),
        content: row.content,
        used: row.disk_bytes.unwrap_or_default(),
        size: row.max_disk_bytes.unwrap_or_default(),
    })
}

fn known(status: &str) -> String {
    if status.is_empty() { "unknown".to_owned() } else { inert(status) }
}

/// A name as one word without marks: it stands in sentences, and no server is made to check what its
/// guests are called.
pub(crate) fn inert(name: &str) -> String {
    // Cut in two, a secret would not be known for one when the answer is looked at.
    let name = if name.len() > WORD { shortened(name, WORD) } else { name.to_owned() };
    let word = stdx::untrusted::word(&name, WORD);
    let is_mark = |c: char| matches!(c, '"' | '`' | '<' | '>' | '|');
    if word.contains(is_mark) {
        return word.chars().filter(|c| !is_mark(*c)).collect();
    }
    word.into_owned()
}
