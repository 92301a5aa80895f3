//! The part of the table that speaks of the firewall and of virtual networks.

use estate::GuestKind;
use pve_client::{
    firewall::{self, Level, RuleParams},
    sdn,
};

use testkit::calls::{Case, case};

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
