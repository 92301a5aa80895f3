//! The part of the table that speaks of the firewall and of virtual networks.

use estate::GuestKind;
use pve_client::{
    firewall::{self, Level, RuleParams},
    sdn,
};

use testkit::calls::{Case, Written, case, written};

use crate::calls::node;

/// The builders.
pub(crate) fn calls() -> Vec<Case> {
    let vmid = "101".parse().expect("a guest id");
    let levels = [
        ("/cluster/firewall", Level::Cluster),
        ("/nodes/{node}/firewall", Level::Node(node())),
        ("/nodes/{node}/qemu/{vmid}/firewall", Level::Guest(GuestKind::Qemu, node(), vmid)),
        ("/nodes/{node}/lxc/{vmid}/firewall", Level::Guest(GuestKind::Lxc, node(), vmid)),
    ];
    let rule = RuleParams {
        kind: Some("in".to_owned()),
        action: Some("ACCEPT".to_owned()),
        ..RuleParams::default()
    };
    let mut all = Vec::new();
    for (path, level) in &levels {
        let at = |rest: &str| -> &'static str { format!("{path}{rest}").leak() };
        all.push(case(at("/options"), firewall::options(level)));
        let on = [("enable", "1")].into_iter().collect();
        all.push(case(at("/options"), firewall::set_options(level, on, &["ndp"], Some("d"))));
        all.push(case(at("/rules"), firewall::rules(level)));
        all.push(
            case(at("/rules"), firewall::add_rule(level, rule.clone())).takes(RuleParams::NAMES),
        );
        let change = firewall::update_rule(level, 2, RuleParams::default(), &["comment"]);
        all.push(case(at("/rules/{pos}"), change).takes(RuleParams::NAMES));
        all.push(case(at("/rules/{pos}"), firewall::move_rule(level, 2, 0, Some("d"))));
        all.push(case(at("/rules/{pos}"), firewall::delete_rule(level, 2, Some("d"))));
        if !matches!(level, Level::Node(_)) {
            all.push(case(at("/aliases"), firewall::aliases(level)));
            all.push(case(at("/ipset"), firewall::ip_sets(level)));
            all.push(case(at("/ipset/{name}"), firewall::ip_set(level, "admins")));
        }
    }
    let group = Level::Group("web".to_owned());
    all.extend([
        case("/cluster/firewall/groups", firewall::groups()),
        case("/cluster/firewall/groups/{group}", firewall::rules(&group)),
        case("/cluster/firewall/groups/{group}", firewall::add_rule(&group, rule)),
        case("/cluster/firewall/groups/{group}/{pos}", firewall::delete_rule(&group, 0, None)),
        case("/cluster/sdn/zones", sdn::zones()),
        case("/cluster/sdn/vnets", sdn::vnets()),
        case("/cluster/sdn/vnets/{vnet}/subnets", sdn::subnets("blue")),
    ]);
    all
}

/// Replies that no recording shows.
pub(crate) fn replies() -> Vec<Written> {
    vec![
        written(
            r#"{"enable": 1, "policy_in": "DROP", "macfilter": 0, "ipfilter": 1, "nftables": 1, "digest": "d"}"#,
            |options: &firewall::FirewallOptions| {
                assert_eq!(
                    (options.enable, options.policy_in.as_deref()),
                    (Some(true), Some("DROP"))
                );
                assert_eq!((options.mac_filter, options.ip_filter), (Some(false), Some(true)));
            },
        ),
        written(
            r#"{"pos": 3, "type": "in", "action": "ACCEPT", "enable": 1, "source": "+dc/admins", "proto": "tcp", "dport": "22,8006",
                "macro": "SSH", "iface": "net0", "icmp-type": "any", "log": "nolog", "comment": "c\n", "digest": "d"}"#,
            |rule: &firewall::Rule| {
                assert_eq!((rule.position, rule.kind.as_str(), rule.enable), (3, "in", Some(true)));
                assert_eq!(rule.destination_port.as_deref(), Some("22,8006"));
            },
        ),
        written(r#"{"name": "office", "cidr": "10.60.0.0/24"}"#, |alias: &firewall::Alias| {
            assert_eq!(alias.cidr, "10.60.0.0/24");
        }),
        written(r#"{"name": "admins", "comment": "c"}"#, |set: &firewall::IpSet| {
            assert_eq!(set.name, "admins");
        }),
        written(r#"{"cidr": "10.60.0.31", "nomatch": 1}"#, |entry: &firewall::IpSetEntry| {
            assert_eq!(entry.no_match, Some(true));
        }),
        written(r#"{"group": "web"}"#, |group: &firewall::Group| {
            assert_eq!(group.name, "web");
        }),
        written(
            r#"{"zone": "tenants", "type": "vlan", "bridge": "vmbr0", "nodes": "pve1,pve2", "state": "changed", "pending": {"mtu": 1450}}"#,
            |zone: &sdn::Zone| {
                assert_eq!((zone.nodes.len(), zone.state.as_deref()), (2, Some("changed")));
            },
        ),
        written(
            r#"{"vnet": "blue", "zone": "tenants", "tag": 100, "vlanaware": 1}"#,
            |vnet: &sdn::Vnet| assert_eq!((vnet.tag, vnet.vlan_aware), (Some(100), Some(true))),
        ),
        written(
            r#"{"subnet": "tenants-10.70.0.0-24", "cidr": "10.70.0.0/24", "gateway": "10.70.0.1", "snat": 1}"#,
            |subnet: &sdn::Subnet| assert_eq!(subnet.snat, Some(true)),
        ),
    ]
}
