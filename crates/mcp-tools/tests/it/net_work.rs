//! Networks: interfaces, what waits, SDN, and what the firewall would do.

use mcp_protocol::{CallContext, Outcome};
use serde_json::{Value, json};

use crate::estate::Estate;

/// The answer to `plan: true`, through the catalogue.
async fn planned(estate: &Estate, tool: &str, args: Value) -> String {
    let mut args = mcp_protocol::schema_object(args);
    args.insert("plan".to_owned(), true.into());
    let fleet = std::sync::Arc::clone(&estate.cx.fleet);
    let app = mcp_tools::build_app(fleet, &crate::surface::options("network"));
    let app = app.expect("the catalogue is consistent");
    let cx = CallContext::detached(app.caller().clone());
    match app.call_tool(&cx, tool, args).await.expect("a known tool") {
        Outcome::Done(answer) | Outcome::Failed(answer) => answer.plain_text(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn net_changes_wait_and_are_applied() {
    let estate = Estate::start("operator").await;
    let node = json!({"node": "lab/birch"});
    let before = estate.text("network_get", node.clone()).await;
    assert!(before.contains("nothing waits to be applied"), "{before}");
    let change = json!({"node": "lab/birch", "interface": "vmbr0", "action": "set", "mtu": 9000});
    let plan = planned(&estate, "network_change", change.clone()).await;
    assert!(plan.contains("warning management"), "{plan}");
    assert_eq!(before, estate.text("network_get", node.clone()).await);
    let text = estate.text("network_change", change).await;
    assert!(text.contains("waits for network_apply"), "{text}");
    let text = estate.text("network_get", node.clone()).await;
    assert!(text.contains("changes of vmbr0 wait"), "{text}");
    let plan = planned(&estate, "network_apply", node.clone()).await;
    assert!(plan.contains("access: destroy") && plan.contains("warning management"), "{plan}");
    assert!(plan.contains("guests on vmbr0"), "{plan}");
    let text = estate.text("network_revert", node.clone()).await;
    assert!(text.contains("nothing waits"), "{text}");
    let text = estate.text("network_apply", node.clone()).await;
    assert!(text.contains("nothing was done"), "{text}");
    let bridge = json!({
        "node": "lab/birch", "interface": "vmbr9", "action": "create", "type": "bridge", "ports": "eno9",
    });
    estate.text("network_change", bridge).await;
    let text = estate.failure("network_apply", node.clone()).await;
    assert!(text.contains("bridge port eno9 does not exist"), "{text}");
    let drop = json!({"node": "lab/birch", "interface": "vmbr9", "action": "delete"});
    estate.text("network_change", drop).await;
    let text = estate.failure("network_get", json!({"node": "alder"})).await;
    assert!(text.contains("alder"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn net_is_read_only_for_readers() {
    let estate = Estate::start("readonly").await;
    let change = json!({"node": "lab/birch", "interface": "vmbr0", "action": "set", "mtu": 9000});
    let text = estate.failure("network_change", change).await;
    assert!(text.contains("Sys.Modify"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn net_virtual_networks_are_listed() {
    let estate = Estate::start("operator").await;
    let text = estate.text("sdn_list", json!({"cluster": "lab"})).await;
    assert!(text.starts_with("2 zones, 2 vnets, 1 subnet; 2 wait to be applied"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn net_firewall_says_what_it_would_do() {
    let estate = Estate::start("operator").await;
    let text = estate.text("firewall_get", json!({"cluster": "lab"})).await;
    assert!(text.contains("+admins") && text.contains("office"), "{text}");
    for (args, expected) in [
        (
            json!({"guest": "lab/100", "source": "198.51.100.1", "proto": "tcp", "port": 443}),
            "ACCEPT by guest lab/100 rule 0 (group web, rule 1)",
        ),
        (
            json!({"guest": "lab/100", "source": "10.60.0.9", "proto": "tcp", "port": 22}),
            "ACCEPT by guest lab/100 rule 1",
        ),
        (
            json!({"guest": "lab/100", "source": "198.51.100.1", "proto": "tcp", "port": 3306}),
            "DROP by policy_in of guest lab/100",
        ),
        (json!({"guest": "lab/101", "proto": "tcp", "port": 22}), "is off"),
        (
            json!({"node": "lab/birch", "source": "10.60.0.20", "proto": "tcp", "port": 8006}),
            "ACCEPT by datacenter lab rule 0",
        ),
    ] {
        let text = estate.text("firewall_match", args).await;
        assert!(text.contains(expected), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn net_firewall_rules_change() {
    let estate = Estate::start("operator").await;
    let look = json!({"guest": "lab/100"});
    let before = estate.text("firewall_get", look.clone()).await;
    let add = json!({
        "guest": "lab/100", "action": "add", "direction": "in", "verdict": "DROP", "proto": "tcp",
        "dport": "443",
    });
    let plan = planned(&estate, "firewall_rule_change", add.clone()).await;
    assert!(
        plan.contains("access: operate") && plan.contains("in DROP proto=tcp dport=443"),
        "{plan}"
    );
    assert_eq!(before, estate.text("firewall_get", look).await);
    let text = estate.text("firewall_rule_change", add).await;
    assert!(text.contains("has it so, 4 rules"), "{text}");
    let asked = json!({"guest": "lab/100", "proto": "tcp", "port": 443});
    let text = estate.text("firewall_match", asked.clone()).await;
    assert!(text.contains("DROP by guest lab/100 rule 0"), "{text}");
    let down = json!({"guest": "lab/100", "action": "move", "pos": 0, "to": 2});
    estate.text("firewall_rule_change", down).await;
    let text = estate.text("firewall_match", asked).await;
    assert!(text.contains("ACCEPT by guest lab/100 rule 0"), "{text}");
    let stale = json!({"guest": "lab/100", "action": "delete", "pos": 1, "digest": "0".repeat(40)});
    let text = estate.failure("firewall_rule_change", stale).await;
    assert!(text.contains("changed meanwhile"), "{text}");
    let close = json!({"cluster": "lab", "action": "delete", "pos": 0});
    let plan = planned(&estate, "firewall_rule_change", close).await;
    assert!(plan.contains("access: destroy") && plan.contains("warning management"), "{plan}");
    let text =
        estate.failure("firewall_rule_change", json!({"cluster": "lab", "action": "delete"})).await;
    assert!(text.contains("pos is missing"), "{text}");
    let wrong = json!({"guest": "lab/100", "action": "update", "pos": 0, "verdict": "nogroup"});
    let text = estate.failure("firewall_rule_change", wrong).await;
    assert!(text.contains("no such security group"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn net_firewall_options_change() {
    let estate = Estate::start("operator").await;
    let asked = json!({"guest": "lab/100", "proto": "tcp", "port": 3306});
    let text = estate.text("firewall_match", asked.clone()).await;
    assert!(text.contains("DROP by policy_in"), "{text}");
    let open = json!({"guest": "lab/100", "set": {"policy_in": "ACCEPT", "macfilter": false}});
    let plan = planned(&estate, "firewall_options_change", open.clone()).await;
    assert!(plan.contains("access: operate") && plan.contains("policy_in - ACCEPT"), "{plan}");
    assert!(plan.contains("macfilter - 0"), "{plan}");
    assert!(plan.contains("\"unset\":[\"macfilter\",\"policy_in\"]"), "{plan}");
    let text = estate.text("firewall_match", asked.clone()).await;
    assert!(text.contains("DROP by policy_in"), "a plan changes nothing: {text}");
    let text = estate.text("firewall_options_change", open.clone()).await;
    assert!(text.contains("the firewall of lab/100 has it so"), "{text}");
    let text = estate.text("firewall_match", asked.clone()).await;
    assert!(text.contains("ACCEPT by policy_in"), "{text}");
    let text = estate.text("firewall_options_change", open).await;
    assert!(text.contains("is so already"), "{text}");
    let back = json!({"guest": "lab/100", "unset": ["macfilter", "policy_in"]});
    estate.text("firewall_options_change", back).await;
    let text = estate.text("firewall_match", asked).await;
    assert!(text.contains("DROP by policy_in"), "{text}");
    let off = json!({"guest": "lab/100", "set": {"enable": false}});
    let plan = planned(&estate, "firewall_options_change", off).await;
    assert!(plan.contains("warning open") && plan.contains("enable 1 0"), "{plan}");

    // What locks the operator out is said, and needs more than a change of a guest's.
    let close = json!({"node": "lab/birch", "set": {"enable": true, "tcpflags": true}});
    let plan = planned(&estate, "firewall_options_change", close).await;
    assert!(plan.contains("access: destroy") && plan.contains("tcpflags - 1"), "{plan}");
    for pos in [0, 0, 0] {
        let rule = json!({"cluster": "lab", "action": "delete", "pos": pos});
        estate.ask("firewall_rule_change", rule).await;
    }
    let again = json!({"cluster": "lab", "set": {"policy_in": "REJECT"}});
    let plan = planned(&estate, "firewall_options_change", again).await;
    assert!(plan.contains("warning management") && plan.contains("REJECT by policy_in"), "{plan}");
    let wrong = json!({"cluster": "lab", "set": {"macfilter": true}});
    let text = estate.failure("firewall_options_change", wrong).await;
    assert!(text.contains("no option `macfilter`") && text.contains("policy_in"), "{text}");
    let estate = Estate::start("readonly").await;
    let open = json!({"guest": "lab/100", "set": {"policy_in": "ACCEPT"}});
    let text = estate.failure("firewall_options_change", open).await;
    assert!(text.contains("VM.Config.Network"), "{text}");
}
