//! A node's network configuration.

use api_core::{Request, de::Done, params, path, reply, words};
use estate::{NodeName, Upid};
use serde_json::Value;

words! {
    /// What an interface is.
    pub enum InterfaceKind {
        /// A network card.
        Eth = "eth",
        /// A Linux bridge.
        Bridge = "bridge",
        /// Several cards as one.
        Bond = "bond",
        /// A VLAN on another interface.
        Vlan = "vlan",
        /// Another name of an interface.
        Alias = "alias",
        /// Open vSwitch.
        OvsBridge = "OVSBridge",
        /// Open vSwitch.
        OvsBond = "OVSBond",
        /// Open vSwitch.
        OvsPort = "OVSPort",
        /// Open vSwitch.
        OvsIntPort = "OVSIntPort",
        /// The loopback.
        Loopback = "loopback",
        /// A virtual network of the cluster.
        Vnet = "vnet",
    }
}

reply! {
    /// An interface as it is configured.
    pub struct Interface {
        /// Absent where the request named it.
        pub name: Option<String> = "iface",
        pub kind: InterfaceKind = "type",
        pub active: bool,
        pub autostart: bool,
        /// Whether the card is there.
        pub exists: Option<bool>,
        pub method: Option<String>,
        pub method6: Option<String>,
        /// Address with prefix length.
        pub cidr: Option<String>,
        pub cidr6: Option<String>,
        pub address: Option<String>,
        pub address6: Option<String>,
        pub netmask: Option<String>,
        pub netmask6: Option<String>,
        pub gateway: Option<String>,
        pub gateway6: Option<String>,
        pub mtu: Option<u32>,
        pub comments: Option<String>,
        pub comments6: Option<String>,
        pub families: Vec<String>,
        pub priority: Option<u32>,
        pub bridge_ports: Vec<String>,
        pub bridge_stp: Option<String>,
        pub bridge_fd: Option<String>,
        pub bridge_vlan_aware: Option<bool>,
        pub bridge_vids: Option<String>,
        pub slaves: Vec<String>,
        pub bond_mode: Option<String>,
        pub bond_primary: Option<String> = "bond-primary",
        pub bond_miimon: Option<String>,
        pub bond_xmit_hash_policy: Option<String>,
        pub vlan_id: Option<u16> = "vlan-id",
        pub vlan_raw_device: Option<String> = "vlan-raw-device",
        pub vlan_protocol: Option<String> = "vlan-protocol",
        pub ovs_bridge: Option<String>,
        pub ovs_ports: Vec<String>,
        pub ovs_bonds: Vec<String>,
        pub ovs_tag: Option<u16>,
        pub ovs_options: Option<String>,
        pub alternative_names: Vec<String> = "altnames",
        pub options: Value,
        pub options6: Value,
    }
}

params! {
    /// An interface to make or to change.
    pub struct InterfaceParams {
        pub cidr: Option<String>,
        pub cidr6: Option<String>,
        pub gateway: Option<String>,
        pub gateway6: Option<String>,
        pub autostart: Option<bool>,
        pub mtu: Option<u32>,
        pub comments: Option<String>,
        pub bridge_ports: Option<String>,
        pub bridge_vlan_aware: Option<bool>,
        pub bridge_vids: Option<String>,
        pub slaves: Option<String>,
        pub bond_mode: Option<String>,
        pub bond_primary: Option<String> = "bond-primary",
        pub bond_xmit_hash_policy: Option<String>,
        pub vlan_id: Option<u16> = "vlan-id",
        pub vlan_raw_device: Option<String> = "vlan-raw-device",
    }
}

/// `GET /nodes/{node}/network`: what waits to be applied stands beside it as `changes`. Any login;
/// shows bridges that it may use.
pub fn list(node: &NodeName, kind: Option<&str>) -> Request<Vec<Interface>> {
    Request::get(path!["nodes", node, "network"]).opt("type", kind).on(node)
}

/// `GET /nodes/{node}/network/{iface}`. Needs `Sys.Audit` on the node.
pub fn get(node: &NodeName, name: &str) -> Request<Interface> {
    Request::get(path!["nodes", node, "network", name]).on(node)
}

/// `POST /nodes/{node}/network`: takes effect with [`apply`]. Needs `Sys.Modify` on the node.
pub fn create(
    node: &NodeName,
    name: &str,
    kind: &InterfaceKind,
    options: InterfaceParams,
) -> Request<Done> {
    Request::post(path!["nodes", node, "network"])
        .param("iface", name)
        .param("type", kind)
        .params(options.into())
        .on(node)
        .protected()
}

/// `PUT /nodes/{node}/network/{iface}`: what is left out stays, `delete` takes settings away. Takes
/// effect with [`apply`]. Needs `Sys.Modify` on the node.
pub fn update(
    node: &NodeName,
    name: &str,
    kind: &InterfaceKind,
    options: InterfaceParams,
    delete: &[&str],
) -> Request<Done> {
    Request::put(path!["nodes", node, "network", name])
        .param("type", kind)
        .params(options.into())
        .opt("delete", (!delete.is_empty()).then(|| delete.join(",")))
        .on(node)
        .protected()
}

/// `DELETE /nodes/{node}/network/{iface}`: takes effect with [`apply`]. Needs `Sys.Modify` on the
/// node.
pub fn delete(node: &NodeName, name: &str) -> Request<Done> {
    Request::delete(path!["nodes", node, "network", name]).on(node).protected()
}

/// `PUT /nodes/{node}/network`: puts the waiting changes in force. Needs `Sys.Modify` on the node.
pub fn apply(node: &NodeName) -> Request<Upid> {
    Request::put(path!["nodes", node, "network"]).on(node).protected()
}

/// `DELETE /nodes/{node}/network`: drops the waiting changes. Needs `Sys.Modify` on the node.
pub fn revert(node: &NodeName) -> Request<Done> {
    Request::delete(path!["nodes", node, "network"]).on(node).protected().idempotent()
}
