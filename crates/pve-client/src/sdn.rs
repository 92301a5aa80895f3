//! Virtual networks of the cluster.

use api_core::{Request, path, reply};
use estate::NodeName;
use serde_json::Value;

reply! {
    /// A zone: how its networks reach from node to node.
    pub struct Zone {
        pub name: String = "zone",
        /// `simple`, `vlan`, `qinq`, `vxlan`, `evpn`.
        pub kind: String = "type",
        /// Only these nodes; all without.
        pub nodes: Vec<NodeName>,
        pub bridge: Option<String>,
        pub mtu: Option<u32>,
        pub ipam: Option<String>,
        /// `new`, `changed` or `deleted` where something waits to be applied.
        pub state: Option<String>,
        /// What it would be then.
        pub pending: Value,
    }
}

reply! {
    /// A virtual network.
    pub struct Vnet {
        pub name: String = "vnet",
        pub zone: Option<String>,
        pub tag: Option<u32>,
        pub alias: Option<String>,
        pub vlan_aware: Option<bool> = "vlanaware",
        pub state: Option<String>,
        pub pending: Value,
    }
}

reply! {
    /// A subnet of a virtual network.
    pub struct Subnet {
        pub id: Option<String> = "subnet",
        pub cidr: Option<String>,
        pub gateway: Option<String>,
        pub snat: Option<bool>,
        pub state: Option<String>,
        pub pending: Value,
    }
}

/// `GET /cluster/sdn/zones`, with what waits to be applied. Any login; shows zones on which it has
/// `SDN.Audit` or `SDN.Allocate`.
pub fn zones() -> Request<Vec<Zone>> {
    Request::get(path!["cluster", "sdn", "zones"]).flag("pending", Some(true))
}

/// `GET /cluster/sdn/vnets`, with what waits to be applied. Any login; shows those of zones that it
/// may see.
pub fn vnets() -> Request<Vec<Vnet>> {
    Request::get(path!["cluster", "sdn", "vnets"]).flag("pending", Some(true))
}

/// `GET /cluster/sdn/vnets/{vnet}/subnets`, with what waits to be applied. Any login, as [`vnets`].
pub fn subnets(vnet: &str) -> Request<Vec<Subnet>> {
    Request::get(path!["cluster", "sdn", "vnets", vnet, "subnets"]).flag("pending", Some(true))
}
