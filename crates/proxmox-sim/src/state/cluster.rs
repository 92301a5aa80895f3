//! A PVE cluster, or a standalone node.

use std::collections::{BTreeMap, VecDeque};

use serde_json::{Map, Value, json};
use tokio::sync::broadcast;

use super::access::Access;
use super::admin::{Common, Host};
use super::guest::{Guest, GuestKind};
use super::ha::Ha;
use super::levers::Faults;
use super::storage::Storage;
use super::task::Tasks;
use crate::notify::Notifying;

/// How many lines the cluster log keeps.
const LOG_LINES: usize = 500;
/// How many texts wait for an open console; who is slower misses some.
const SCREEN: usize = 256;

/// One PVE target.
pub(crate) struct Cluster {
    /// The settings key.
    pub(crate) key: String,
    /// The cluster's name; a standalone node has none.
    pub(crate) name: Option<String>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) guests: BTreeMap<u32, Guest>,
    pub(crate) storages: Vec<Storage>,
    /// Comment by pool name.
    pub(crate) pools: BTreeMap<String, Option<String>>,
    pub(crate) ha: Ha,
    pub(crate) backup_jobs: Vec<Map<String, Value>>,
    pub(crate) replication: Vec<Map<String, Value>>,
    pub(crate) notifying: Notifying,
    pub(crate) options: Map<String, Value>,
    pub(crate) tasks: Tasks,
    pub(crate) access: Access,
    pub(crate) log: VecDeque<Value>,
    log_uid: u64,
    pub(crate) quorate: bool,
    pub(crate) faults: Faults,
    /// Fingerprint and PEM of the cluster's own authority.
    pub(crate) ca: (String, String),
    /// Open consoles: ticket to who may use it.
    pub(crate) consoles: BTreeMap<String, Console>,
    /// What open consoles are shown, by guest id or node; nothing ends them.
    screens: BTreeMap<String, broadcast::Sender<Option<String>>>,
    /// Nodes that no guest can move to, with the storage that they lack.
    pub(crate) barred: BTreeMap<String, String>,
    /// Ceph, replication and what pools hold beside guests.
    pub(crate) common: Common,
}

/// One PVE node.
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) address: String,
    pub(crate) online: bool,
    pub(crate) cpus: u64,
    pub(crate) memory: u64,
    /// When it booted, milliseconds since the epoch.
    pub(crate) booted: i64,
    pub(crate) fingerprint: String,
    pub(crate) pem: String,
    pub(crate) not_after: i64,
    pub(crate) updates: Vec<(&'static str, &'static str, &'static str)>,
    /// Device, model, serial, size, health, wear-out left in percent.
    pub(crate) disks: Vec<(&'static str, &'static str, &'static str, u64, &'static str, u32)>,
    /// Services, pools of disks and the like.
    pub(crate) host: Host,
    /// The version that it runs, where that is not the cluster's.
    pub(crate) version: Option<String>,
}

/// A console that waits for its WebSocket.
#[derive(Debug, Clone)]
pub(crate) struct Console {
    pub(crate) who: String,
    pub(crate) user: String,
    pub(crate) port: u16,
    pub(crate) shell: bool,
    pub(crate) prompt: String,
    /// Whose it is: a guest id or a node.
    pub(crate) screen: String,
    pub(crate) opened: i64,
}

// === impl Cluster ===

impl Cluster {
    pub(crate) fn new(key: &str, name: Option<&str>, access: Access, tasks: Tasks) -> Self {
        Self {
            key: key.to_owned(),
            name: name.map(str::to_owned),
            nodes: Vec::new(),
            guests: BTreeMap::new(),
            storages: Vec::new(),
            pools: BTreeMap::new(),
            ha: Ha::default(),
            backup_jobs: Vec::new(),
            replication: Vec::new(),
            notifying: Notifying::default(),
            options: Map::new(),
            tasks,
            access,
            log: VecDeque::new(),
            log_uid: 0,
            quorate: true,
            faults: Faults::default(),
            ca: (String::new(), String::new()),
            consoles: BTreeMap::new(),
            screens: BTreeMap::new(),
            barred: BTreeMap::new(),
            common: Common::default(),
        }
    }

    /// The pools that have a share in what one may do on `path`.
    pub(crate) fn pools_of(&self, path: &str) -> Vec<String> {
        if let Some(vmid) = path.strip_prefix("/vms/") {
            let guest = vmid.parse().ok().and_then(|vmid: u32| self.guests.get(&vmid));
            return guest.and_then(|guest| guest.pool.clone()).into_iter().collect();
        }
        let Some(storage) = path.strip_prefix("/storage/") else { return Vec::new() };
        let pools = self.common.pool_storages.iter();
        pools.filter(|(_, held)| held.contains(storage)).map(|(pool, _)| pool.clone()).collect()
    }

    pub(crate) fn node(&self, name: &str) -> Option<usize> {
        self.nodes.iter().position(|node| node.name == name)
    }

    pub(crate) fn storage(&self, name: &str) -> Option<&Storage> {
        self.storages.iter().find(|storage| storage.name == name)
    }

    pub(crate) fn storage_mut(&mut self, name: &str) -> Option<&mut Storage> {
        self.storages.iter_mut().find(|storage| storage.name == name)
    }

    /// The guest, if it has its configuration on that node and is of that kind.
    pub(crate) fn guest_on(&self, vmid: u32, kind: GuestKind, node: usize) -> Option<&Guest> {
        self.guests.get(&vmid).filter(|guest| guest.node == node && guest.kind == kind)
    }

    /// What the open consoles of a guest or node listen to.
    pub(crate) fn screen(&mut self, whose: &str) -> &broadcast::Sender<Option<String>> {
        let screen = self.screens.entry(whose.to_owned());
        screen.or_insert_with(|| broadcast::channel(SCREEN).0)
    }

    /// Ends the open consoles of a guest or node.
    pub(crate) fn end_screen(&mut self, whose: &str) {
        if let Some(screen) = self.screens.remove(whose) {
            // Nobody may watch.
            let _ = screen.send(None);
        }
    }

    /// The resource id under which a guest is managed, if it is.
    pub(crate) fn managed(&self, guest: &Guest) -> Option<String> {
        let sid = sid(guest);
        self.ha.resources.contains_key(&sid).then_some(sid)
    }

    /// Adds a line to the cluster log.
    pub(crate) fn note(
        &mut self,
        time: i64,
        node: &str,
        user: &str,
        tag: &str,
        priority: u8,
        text: &str,
    ) {
        self.log_uid += 1;
        let uid = self.log_uid.to_string();
        self.log.push_front(json!({
            "uid": uid, "id": format!("{uid}:{node}"), "time": time, "pri": priority, "tag": tag,
            "pid": 1200 + self.log_uid % 7, "node": node, "user": user, "msg": text,
        }));
        self.log.truncate(LOG_LINES);
    }
}

// === impl Node ===

impl Node {
    pub(crate) fn new(name: &str, address: &str, now: i64, cpus: u64, memory_gib: u64) -> Self {
        Self {
            name: name.to_owned(),
            address: address.to_owned(),
            online: true,
            cpus,
            memory: memory_gib << 30,
            booted: now - 23 * 86_400_000 - cpus as i64 * 977_000,
            fingerprint: String::new(),
            pem: String::new(),
            not_after: now / 1000 + 730 * 86_400,
            updates: Vec::new(),
            disks: Vec::new(),
            host: Host::default(),
            version: None,
        }
    }
}

/// `vm:104`, `ct:121`
pub(crate) fn sid(guest: &Guest) -> String {
    let prefix = if guest.kind == GuestKind::Qemu { "vm" } else { "ct" };
    format!("{prefix}:{}", guest.vmid)
}
