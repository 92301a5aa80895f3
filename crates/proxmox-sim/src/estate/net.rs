//! The lab's firewall and its virtual networks.

use serde_json::{Map, Value, json};

use crate::state::Cluster;

fn map(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// Sets it up: on for the datacenter, and for two guests.
pub(super) fn furnish(lab: &mut Cluster) {
    let firewall = &mut lab.common.firewall;
    firewall.options.insert("cluster".to_owned(), map(json!({"enable": 1, "policy_in": "DROP"})));
    firewall.rules.insert(
        "cluster".to_owned(),
        vec![
            map(json!({
                "type": "in", "action": "ACCEPT", "enable": 1, "source": "+admins", "proto": "tcp",
                "dport": "22,8006", "comment": "administration",
            })),
            map(json!({"type": "in", "action": "ACCEPT", "enable": 1, "macro": "Ping"})),
        ],
    );
    firewall.rules.insert(
        "group/web".to_owned(),
        vec![
            map(json!({"type": "in", "action": "ACCEPT", "enable": 1, "macro": "HTTP"})),
            map(json!({"type": "in", "action": "ACCEPT", "enable": 1, "macro": "HTTPS"})),
        ],
    );
    firewall.options.insert("guest/100".to_owned(), map(json!({"enable": 1})));
    firewall.rules.insert(
        "guest/100".to_owned(),
        vec![
            map(json!({"type": "group", "action": "web", "enable": 1})),
            map(json!({
                "type": "in", "action": "ACCEPT", "enable": 1, "source": "dc/office", "proto": "tcp",
                "dport": "22",
            })),
            map(json!({
                "type": "in", "action": "ACCEPT", "enable": 0, "proto": "tcp", "dport": "3306",
                "comment": "was for the migration",
            })),
        ],
    );
    firewall.aliases.insert(
        "cluster".to_owned(),
        vec![json!({"name": "office", "cidr": "10.60.0.0/24", "comment": "desks"})],
    );
    firewall.sets.insert(
        ("cluster".to_owned(), "admins".to_owned()),
        vec![json!({"cidr": "10.60.0.16/28"}), json!({"cidr": "10.60.0.31", "nomatch": 1})],
    );
    let sdn = &mut lab.common.sdn;
    sdn.zones = vec![
        json!({"zone": "tenants", "type": "vlan", "bridge": "vmbr0", "ipam": "pve"}),
        json!({
            "zone": "overlay", "type": "vxlan", "peers": "10.40.0.11,10.40.0.12", "state": "new",
            "pending": {"type": "vxlan", "peers": "10.40.0.11,10.40.0.12"},
        }),
    ];
    sdn.vnets = vec![
        json!({"vnet": "blue", "type": "vnet", "zone": "tenants", "tag": 100, "alias": "tenant blue"}),
        json!({
            "vnet": "green", "type": "vnet", "zone": "tenants", "tag": 200, "state": "changed",
            "pending": {"tag": 210},
        }),
    ];
    sdn.subnets = vec![(
        "blue",
        json!({
            "subnet": "tenants-10.70.0.0-24", "cidr": "10.70.0.0/24", "gateway": "10.70.0.1",
            "vnet": "blue", "zone": "tenants", "type": "subnet",
        }),
    )];
}
