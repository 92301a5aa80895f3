//! A node's network as it is written, who hangs on it, and which interface is the way to the node.

use std::{collections::BTreeSet, net::IpAddr};

use api_core::{Error, ErrorKind, Request, path};
use estate::{GuestKind, NodeName};
use futures::{StreamExt as _, future::BoxFuture, stream};
use pve_client::network::{self, Interface};
use serde::Deserialize;
use serde_json::Value;

use crate::{address::FoundNode, error::ToolError, fleet::Pve, tools::power::named, view::View};

/// How many configurations of guests are read at a time.
const AT_ONCE: usize = 8;

/// How many guests of a node are looked at.
const GUESTS: usize = 200;

/// A node's network.
pub(super) struct Written {
    pub(super) interfaces: Vec<Interface>,
    /// The difference that waits to be applied.
    pub(super) changes: Option<String>,
}

/// Guests by the bridge that they hang on.
#[derive(Debug, Default)]
pub(super) struct Hanging {
    /// Guest and bridge.
    pub(super) on: Vec<(String, String)>,
    /// How many could not be read.
    pub(super) unread: usize,
}

// === impl Written ===

impl Written {
    /// Reads it; the changes stand beside the list, outside `data`.
    pub(super) async fn read(member: &Pve, node: &NodeName) -> Result<Self, Error> {
        #[derive(Deserialize)]
        struct Answer {
            data: Vec<Interface>,
            changes: Option<String>,
        }
        let request = network::list(node, None);
        let operation = format!("{request:?}");
        let bytes = member.client.call_bytes(request).await?;
        let answer: Answer = serde_json::from_slice(&bytes).map_err(|error| {
            let message = "the answer has another shape than expected";
            Error::new(ErrorKind::Decode, operation, message).with_source(error)
        })?;
        let changes = answer.changes.filter(|changes| !changes.trim().is_empty());
        Ok(Self { interfaces: answer.data, changes })
    }

    /// As [`Written::read`], in words for a tool.
    pub(super) async fn of(found: &FoundNode) -> Result<Self, ToolError> {
        let (member, node) = (&found.member, found.name());
        Self::read(member, node).await.map_err(|error| {
            ToolError::api(format!("read the network of {}/{node}", member.key), &error)
                .map(|report| found.tell(report))
        })
    }

    /// An interface by its name.
    pub(super) fn find(&self, name: &str) -> Option<&Interface> {
        self.interfaces.iter().find(|it| it.name.as_deref() == Some(name))
    }

    /// The interfaces that change when these do: bridges over their ports, VLANs over their device.
    pub(super) fn above(&self, names: &[String]) -> BTreeSet<String> {
        let mut all: BTreeSet<String> = names.iter().cloned().collect();
        loop {
            let before = all.len();
            for interface in &self.interfaces {
                let Some(name) = &interface.name else { continue };
                let below = ports(interface);
                let by_name = name.split_once('.').map(|(base, _)| base.to_owned());
                if below.iter().chain(&by_name).any(|port| all.contains(port)) {
                    all.insert(name.clone());
                }
            }
            if all.len() == before {
                return all;
            }
        }
    }

    /// The interface that carries one of these addresses.
    pub(super) fn carrier(&self, addresses: &[IpAddr]) -> Option<&str> {
        let has = |interface: &&Interface| {
            let mut own =
                [&interface.cidr, &interface.cidr6, &interface.address, &interface.address6]
                    .into_iter()
                    .flatten()
                    .filter_map(|text| text.split('/').next()?.parse::<IpAddr>().ok());
            own.any(|address| addresses.contains(&address))
        };
        self.interfaces.iter().find(has)?.name.as_deref()
    }
}

/// What an interface is made over.
pub(super) fn ports(interface: &Interface) -> Vec<String> {
    let ports = interface.bridge_ports.iter().chain(&interface.slaves).chain(&interface.ovs_ports);
    let ports = ports.chain(&interface.vlan_raw_device).filter(|port| *port != "none");
    ports.cloned().collect()
}

/// The addresses by which the node is reached: the settings' and the cluster's own.
pub(super) async fn reached_by(member: &Pve, node: &NodeName) -> Vec<IpAddr> {
    let mut found: Vec<IpAddr> =
        member.traits.addresses.iter().filter_map(|(host, _)| host.parse().ok()).collect();
    let status: Request<Vec<Value>> = Request::get(path!["cluster", "status"]);
    if let Ok(rows) = member.client.call(status).await {
        let own = rows.iter().filter(|row| row["name"].as_str() == Some(node.as_str()));
        found.extend(own.filter_map(|row| row["ip"].as_str()?.parse::<IpAddr>().ok()));
    }
    found
}

// === impl Hanging ===

impl Hanging {
    /// Reads on which bridges the node's guests hang.
    pub(super) async fn read(member: &Pve, view: &View, node: &NodeName) -> Self {
        let all: Vec<_> = view.guests.iter().filter(|guest| guest.node == *node).collect();
        let mut hanging = Self { unread: all.len().saturating_sub(GUESTS), ..Self::default() };
        let mut asked: Vec<BoxFuture<'_, (String, Result<Value, Error>)>> = Vec::new();
        for guest in all.into_iter().take(GUESTS) {
            let kind = match guest.kind {
                GuestKind::Qemu => "qemu",
                GuestKind::Lxc => "lxc",
            };
            let path = path!["nodes", node, kind, guest.at.vmid, "config"];
            let request: Request<Value> = Request::get(path).on(node);
            let on = if guest.status.is_on() { "" } else { " (off)" };
            let name = format!("{}{on}", named(guest));
            asked.push(Box::pin(async move { (name, member.client.call(request).await) }));
        }
        let mut answers = stream::iter(asked).buffered(AT_ONCE);
        while let Some((guest, answer)) = answers.next().await {
            let Ok(config) = answer else {
                hanging.unread += 1;
                continue;
            };
            let mut bridges: Vec<String> = config
                .as_object()
                .into_iter()
                .flatten()
                .filter(|(key, _)| {
                    key.strip_prefix("net").is_some_and(|n| n.parse::<u32>().is_ok())
                })
                .filter_map(|(_, value)| {
                    let parts = value.as_str()?.split(',');
                    parts.into_iter().find_map(|part| part.strip_prefix("bridge="))
                })
                .map(str::to_owned)
                .collect();
            bridges.sort();
            bridges.dedup();
            hanging.on.extend(bridges.into_iter().map(|bridge| (guest.clone(), bridge)));
        }
        hanging
    }

    /// The guests on a bridge.
    pub(super) fn at(&self, bridge: &str) -> Vec<&str> {
        self.on.iter().filter(|(_, at)| at == bridge).map(|(guest, _)| guest.as_str()).collect()
    }
}
