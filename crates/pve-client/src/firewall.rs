//! The firewall: options, rules, and the names that rules use, at every level.

use api_core::{Params, Path, Request, de::Done, params, path, reply};
use estate::{GuestKind, NodeName, VmId};

/// Where a part of the firewall is set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Level {
    /// The datacenter: its rules are for the nodes, its names for everybody.
    Cluster,
    /// A node.
    Node(NodeName),
    /// A guest on its node.
    Guest(GuestKind, NodeName, VmId),
    /// A security group of the datacenter: rules only.
    Group(String),
}

reply! {
    /// What is turned on, and what happens where no rule fits.
    pub struct FirewallOptions {
        pub enable: Option<bool>,
        pub policy_in: Option<String>,
        pub policy_out: Option<String>,
        pub policy_forward: Option<String>,
        pub dhcp: Option<bool>,
        pub ndp: Option<bool>,
        pub radv: Option<bool>,
        pub mac_filter: Option<bool> = "macfilter",
        pub ip_filter: Option<bool> = "ipfilter",
        /// Whether the newer implementation is used.
        pub nftables: Option<bool>,
        pub log_level_in: Option<String>,
        pub log_level_out: Option<String>,
        pub digest: Option<String>,
    }
}

reply! {
    /// One rule.
    pub struct Rule {
        pub position: u32 = "pos",
        /// `in`, `out`, `forward` or `group`.
        pub kind: String = "type",
        /// `ACCEPT`, `DROP`, `REJECT`, or a security group's name.
        pub action: String,
        pub enable: Option<bool>,
        pub macro_name: Option<String> = "macro",
        pub source: Option<String>,
        pub destination: Option<String> = "dest",
        pub protocol: Option<String> = "proto",
        pub source_port: Option<String> = "sport",
        pub destination_port: Option<String> = "dport",
        pub icmp_type: Option<String> = "icmp-type",
        pub interface: Option<String> = "iface",
        pub log: Option<String>,
        pub comment: Option<String>,
        pub digest: Option<String>,
    }
}

reply! {
    /// A name for an address or a network.
    pub struct Alias {
        pub name: String,
        pub cidr: String,
        pub comment: Option<String>,
    }
}

reply! {
    /// A set of addresses.
    pub struct IpSet {
        pub name: String,
        pub comment: Option<String>,
    }
}

reply! {
    /// One entry of a set of addresses.
    pub struct IpSetEntry {
        pub cidr: String,
        /// Whether it is taken out of the set.
        pub no_match: Option<bool> = "nomatch",
        pub comment: Option<String>,
    }
}

reply! {
    /// A security group.
    pub struct Group {
        pub name: String = "group",
        pub comment: Option<String>,
    }
}

params! {
    /// A rule to make or to change; what is left out stays.
    pub struct RuleParams {
        pub kind: Option<String> = "type",
        pub action: Option<String>,
        pub enable: Option<u32>,
        pub macro_name: Option<String> = "macro",
        pub source: Option<String>,
        pub destination: Option<String> = "dest",
        pub protocol: Option<String> = "proto",
        pub source_port: Option<String> = "sport",
        pub destination_port: Option<String> = "dport",
        pub icmp_type: Option<String> = "icmp-type",
        pub interface: Option<String> = "iface",
        pub log: Option<String>,
        pub comment: Option<String>,
        pub digest: Option<String>,
    }
}

fn base(level: &Level) -> Path {
    match level {
        Level::Cluster | Level::Group(_) => path!["cluster", "firewall"],
        Level::Node(node) => path!["nodes", node, "firewall"],
        Level::Guest(GuestKind::Qemu, node, vmid) => {
            path!["nodes", node, "qemu", vmid, "firewall"]
        }
        Level::Guest(GuestKind::Lxc, node, vmid) => path!["nodes", node, "lxc", vmid, "firewall"],
    }
}

fn rules_of(level: &Level) -> Path {
    match level {
        Level::Group(name) => base(level).push("groups").push(name.as_str()),
        _ => base(level).push("rules"),
    }
}

fn there<T>(level: &Level, request: Request<T>) -> Request<T> {
    match level {
        Level::Node(node) | Level::Guest(_, node, _) => request.on(node),
        Level::Cluster | Level::Group(_) => request,
    }
}

/// `GET …/firewall/options`. Needs `Sys.Audit` on `/` or the node, `VM.Audit` on the guest. A group
/// has none: the datacenter's are given.
pub fn options(level: &Level) -> Request<FirewallOptions> {
    there(level, Request::get(base(level).push("options")))
}

/// `PUT …/firewall/options`: sets what is given, and puts what `delete` names back to its default. A
/// group has none. Needs what [`add_rule`] needs.
pub fn set_options(
    level: &Level,
    options: Params,
    delete: &[&str],
    digest: Option<&str>,
) -> Request<Done> {
    let delete = (!delete.is_empty()).then(|| delete.join(","));
    let request = Request::put(base(level).push("options")).params(options).opt("delete", delete);
    there(level, request.opt("digest", digest).protected())
}

/// `GET …/firewall/rules`, or the group's, in their order. Needs what [`options`] needs; groups any
/// login.
pub fn rules(level: &Level) -> Request<Vec<Rule>> {
    there(level, Request::get(rules_of(level)))
}

/// `POST …/firewall/rules`: the new rule stands first. Needs `Sys.Modify` on `/` or the node,
/// `VM.Config.Network` on the guest.
pub fn add_rule(level: &Level, rule: RuleParams) -> Request<Done> {
    there(level, Request::post(rules_of(level)).params(rule.into()).protected())
}

/// `PUT …/firewall/rules/{pos}`: changes a rule; `delete` empties fields. Needs what [`add_rule`]
/// needs.
pub fn update_rule(
    level: &Level,
    position: u32,
    rule: RuleParams,
    delete: &[&str],
) -> Request<Done> {
    let delete = (!delete.is_empty()).then(|| delete.join(","));
    let request = Request::put(rules_of(level).push(&position)).params(rule.into());
    there(level, request.opt("delete", delete).protected())
}

/// `PUT …/firewall/rules/{pos}`: puts a rule before the one at `to`. Needs what [`add_rule`] needs.
pub fn move_rule(level: &Level, position: u32, to: u32, digest: Option<&str>) -> Request<Done> {
    let request = Request::put(rules_of(level).push(&position)).param("moveto", to);
    there(level, request.opt("digest", digest).protected())
}

/// `DELETE …/firewall/rules/{pos}`. Needs what [`add_rule`] needs.
pub fn delete_rule(level: &Level, position: u32, digest: Option<&str>) -> Request<Done> {
    let request = Request::delete(rules_of(level).push(&position));
    there(level, request.opt("digest", digest).protected())
}

/// `GET …/firewall/aliases` of the datacenter or a guest. Needs what [`options`] needs.
pub fn aliases(level: &Level) -> Request<Vec<Alias>> {
    there(level, Request::get(base(level).push("aliases")))
}

/// `GET …/firewall/ipset` of the datacenter or a guest. Needs what [`options`] needs.
pub fn ip_sets(level: &Level) -> Request<Vec<IpSet>> {
    there(level, Request::get(base(level).push("ipset")))
}

/// `GET …/firewall/ipset/{name}`. Needs what [`options`] needs.
pub fn ip_set(level: &Level, name: &str) -> Request<Vec<IpSetEntry>> {
    there(level, Request::get(base(level).push("ipset").push(name)))
}

/// `GET /cluster/firewall/groups`. Any login.
pub fn groups() -> Request<Vec<Group>> {
    Request::get(path!["cluster", "firewall", "groups"])
}
