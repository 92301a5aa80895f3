//! What virtual machines and containers have in common.

use std::collections::BTreeMap;

use api_core::{Path, path, reply, words};
use estate::{NodeName, StorageName, VmId};
use jiff::Timestamp;
use serde_json::Value;

words! {
    /// Whether a guest runs.
    pub enum GuestState {
        /// It runs (or is paused: see the QMP status).
        Running = "running",
        /// It does not.
        Stopped = "stopped",
    }
}

reply! {
    /// Whether and how a guest is managed by HA, as its status says.
    pub struct GuestHa {
        pub managed: bool,
        /// The wished state.
        pub state: Option<String>,
        pub group: Option<String>,
        pub max_relocate: Option<u32>,
        pub max_restart: Option<u32>,
        pub failback: Option<bool>,
    }
}

reply! {
    /// A snapshot. The list ends in the guest as it is now, under the name `current`.
    pub struct Snapshot {
        pub name: String,
        pub description: Option<String>,
        /// The snapshot before it.
        pub parent: Option<String>,
        pub time: Option<Timestamp> = "snaptime",
        /// Of a machine: whether its memory is in it.
        pub with_memory: bool = "vmstate",
        /// Of `current`: whether the guest runs.
        pub running: Option<bool>,
        /// Of `current`: the configuration's digest.
        pub digest: Option<String>,
        /// `prepare` or `delete` while work on it goes on or was broken off.
        pub state: Option<String> = "snapstate",
    }
}

impl Snapshot {
    /// Whether it is the guest as it is now and no snapshot.
    pub fn is_current(&self) -> bool {
        self.name == "current"
    }
}

reply! {
    /// A key of a guest's configuration with what waits for the next start.
    pub struct PendingValue {
        pub key: String,
        /// What is in force.
        pub value: Option<Value>,
        /// What will be.
        pub pending: Option<Value>,
        /// Whether it will go: 1 on request, 2 by force.
        pub delete: Option<u8>,
    }
}

reply! {
    /// Whether a guest can do something.
    pub struct Feature {
        pub available: bool = "hasFeature",
        pub nodes: Vec<NodeName>,
    }
}

/// The path of a guest's own part of the API.
pub(crate) fn guest_path(node: &NodeName, kind: &str, vmid: VmId) -> Path {
    path!["nodes", node, kind, vmid]
}

/// An interface or volume of a configuration: `virtio=BC:…,bridge=vmbr0` taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Properties<'a> {
    /// The word that stands first without a key.
    pub head: Option<&'a str>,
    /// The others.
    pub named: BTreeMap<&'a str, &'a str>,
}

impl<'a> Properties<'a> {
    /// Takes a property string apart.
    pub fn parse(text: &'a str) -> Self {
        let mut properties = Self::default();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            match part.split_once('=') {
                Some((key, value)) => {
                    properties.named.insert(key, value);
                }
                None if properties.head.is_none() => properties.head = Some(part),
                None => {}
            }
        }
        properties
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&'a str> {
        self.named.get(key).copied()
    }

    /// The storage of a volume such as `local:100/vm-100-disk-0.raw`.
    pub fn storage(&self) -> Option<StorageName> {
        let volume = self.head.or_else(|| self.get("file")).or_else(|| self.get("volume"))?;
        StorageName::try_new(volume.split_once(':')?.0).ok()
    }

    /// The size of a volume as it is written, such as `32G`.
    pub fn size(&self) -> Option<&'a str> {
        self.get("size")
    }
}

/// The keys of `rest` that are one of `prefixes` and a number, with their property strings.
pub(crate) fn indexed<'a>(
    rest: &'a BTreeMap<String, Value>,
    prefixes: &'a [&str],
) -> impl Iterator<Item = (&'a str, &'a str)> {
    rest.iter().filter_map(move |(key, value)| {
        let number_at = key.find(|c: char| c.is_ascii_digit())?;
        let (prefix, number) = key.split_at(number_at);
        let fits = prefixes.contains(&prefix) && number.bytes().all(|b| b.is_ascii_digit());
        Some((key.as_str(), value.as_str()?)).filter(|_| fits)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn property_strings_come_apart() {
        let disk = Properties::parse("local-lvm:vm-100-disk-0,iothread=1,size=32G");
        assert_eq!(disk.storage().expect("it has one").as_str(), "local-lvm");
        assert_eq!((disk.size(), disk.get("iothread")), (Some("32G"), Some("1")));
        let net = Properties::parse("virtio=BC:24:11:00:00:01,bridge=vmbr0,,tag=5");
        assert_eq!((net.head, net.get("bridge"), net.storage()), (None, Some("vmbr0"), None));
        assert_eq!(Properties::parse("none,media=cdrom").head, Some("none"));
    }
}
