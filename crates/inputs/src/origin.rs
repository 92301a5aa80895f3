//! Which way a report took, and what the settings say about that way.

use std::{collections::BTreeMap, fmt::Write as _};

use estate::{ClusterKey, NodeName};
use event_core::{Builder, ComponentId, Event, Kind, SourceKey, Subject};
use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use sha2::{Digest as _, Sha256};

/// Who sends, as the settings know it by address, path and secret, or mailbox.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The settings key of the cluster, node or backup server; without one, reports find each other only by task.
    pub cluster: Option<ClusterKey>,
    /// The node, where the way is one node's alone.
    pub node: Option<NodeName>,
    /// The labels of the endpoint, copied to every event.
    pub labels: BTreeMap<String, String>,
    /// The zone in which times without one are written.
    pub zone: TimeZone,
}

/// Where one report comes from.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// The input, by its name in the settings.
    pub source: &'a ComponentId,
    /// What kind of input it is.
    pub kind: &'a str,
    /// Who sends.
    pub identity: &'a Identity,
    /// When it was heard.
    pub received: Timestamp,
}

// === impl Identity ===

impl Default for Identity {
    /// Nobody that the settings know, writing its times in UTC.
    fn default() -> Self {
        Self { cluster: None, node: None, labels: BTreeMap::new(), zone: TimeZone::UTC }
    }
}

impl Identity {
    /// A moment that was written without its zone. One that a clock change makes twice is the earlier one, one that it
    /// leaves out is what the clock would have shown without it.
    pub(crate) fn moment(&self, written: DateTime) -> Option<Timestamp> {
        self.zone.to_ambiguous_timestamp(written).compatible().ok()
    }
}

// === impl Origin ===

impl<'a> Origin<'a> {
    /// A report that came this way.
    pub fn new(
        source: &'a ComponentId,
        kind: &'a str,
        identity: &'a Identity,
        received: Timestamp,
    ) -> Self {
        Self { source, kind, identity, received }
    }

    /// What is known about the subject before the report is read.
    pub(crate) fn subject(&self) -> Subject {
        Subject {
            cluster: self.identity.cluster.clone(),
            node: self.identity.node.clone(),
            ..Subject::default()
        }
    }

    /// Whose words they are, for keys: what two clusters, or two nodes, say alike is two reports.
    pub(crate) fn whose(&self) -> [&'a [u8]; 2] {
        let node = self.identity.node.as_ref().map_or("", |it| it.as_str());
        [self.cluster(), node.as_bytes()]
    }

    /// The cluster for the keys of facts that several ways may tell, each node's own among them.
    pub(crate) fn cluster(&self) -> &'a [u8] {
        self.identity.cluster.as_ref().map_or("", |it| it.as_str()).as_bytes()
    }

    /// An event of this origin, with the labels that the settings give to it.
    pub(crate) fn event(&self, key: impl Into<SourceKey>, kind: Kind, time: Timestamp) -> Builder {
        let builder = Event::builder(self.source, self.kind, key, kind, time);
        self.identity
            .labels
            .iter()
            .fold(builder, |builder, (name, value)| builder.label(name, value))
    }
}

/// The node that a host name of a report means: its first part, since Proxmox calls a node by that.
pub(crate) fn node_of(host: &str) -> Option<NodeName> {
    let host = host.trim();
    let is_address = host.parse::<std::net::IpAddr>().is_ok();
    let name = if is_address { None } else { host.split('.').next() };
    NodeName::try_new(name?).ok()
}

/// A key for what has none of its own: the same parts are the same report again. Each part is hashed behind its length.
pub(crate) fn digest(parts: &[&[u8]]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    hasher.finalize()[..16].iter().fold(String::with_capacity(32), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The events whose keys differ: of those with one key the first.
pub(crate) fn distinct(events: Vec<Event>) -> Vec<Event> {
    let mut seen = std::collections::HashSet::new();
    events.into_iter().filter(|event| seen.insert(event.source_key.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_the_first_part_of_its_host_name() {
        assert_eq!(node_of("pve1.lan.example"), NodeName::try_new("pve1").ok());
        assert_eq!(node_of(" pve1 "), NodeName::try_new("pve1").ok());
        for none in ["", ".", "10.0.0.1", "fe80::1", "a b", "-"] {
            assert_eq!(node_of(none), None, "{none}");
        }
    }

    #[test]
    fn a_time_without_zone_is_read_in_that_of_its_sender() {
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let identity = Identity { zone, ..Identity::default() };
        let read = |text: &str| identity.moment(text.parse().unwrap()).unwrap().to_string();
        assert_eq!(read("2026-11-22 03:00:00"), "2026-11-22T02:00:00Z");
        // The hour that comes twice, and the one that does not come.
        assert_eq!(read("2026-10-25 02:30:00"), "2026-10-25T00:30:00Z");
        assert_eq!(read("2026-03-29 02:30:00"), "2026-03-29T01:30:00Z");
    }

    #[test]
    fn parts_of_a_key_do_not_run_into_each_other() {
        assert_ne!(digest(&[b"ab", b"c"]), digest(&[b"a", b"bc"]));
        assert_eq!(digest(&[b"ab"]).len(), 32);
    }
}
