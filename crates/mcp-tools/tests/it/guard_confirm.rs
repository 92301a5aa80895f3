//! Changes that can cut the operator off: put back unless somebody confirms them.

use std::time::Duration;

use guard::{
    Mode,
    ports::{Confirm, ConfirmId, ConfirmState, Confirms},
};
use mcp_tools::gate::Ran;
use serde_json::{Value, json};

use crate::guard_house::House;

/// A house whose local user may do what can be taken back.
async fn house() -> House {
    let mut house = House::start().await;
    house.options.mode = Mode::Trusted;
    house
}

/// Asks, agrees and runs; the answer as it is kept.
async fn agreed(house: &House, tool: &str, args: Value) -> Value {
    let id = house.asks(tool, args).await;
    house.decide(id, "ann", true).await;
    match house.gate().run_approved(id).await.unwrap() {
        Ran::Run(approval) => approval.result.expect("an answer"),
        other => panic!("{tool}: {other:?}"),
    }
}

fn id_of(kept: &Value) -> ConfirmId {
    let id = kept["facts"]["confirm_id"].as_str().unwrap_or_else(|| panic!("{kept:#}"));
    id.parse().expect("an id")
}

/// What the API says of a path, without the digest: that is another one when the order of things is.
async fn read(house: &House, path: &str) -> String {
    let (tool, args) = if path.ends_with("/rules") {
        ("firewall_get", json!({"cluster": "lab"}))
    } else {
        ("api_read", json!({"cluster": "lab", "path": path, "limit": 100}))
    };
    let answer = house.call(tool, args).await;
    assert!(!answer.failed, "{}", answer.text);
    let lines = answer.text.lines().filter(|line| !line.contains("digest"));
    lines.collect::<Vec<_>>().join("\n")
}

async fn plan(house: &House, tool: &str, mut args: Value) -> String {
    args["plan"] = true.into();
    house.call(tool, args).await.text
}

/// The time runs out, with all changes stopped and after a crash of ours.
async fn time_runs_out(house: &mut House) -> Vec<Confirm> {
    let frozen = house.call("freeze", json!({"reason": "the network is gone"})).await;
    assert!(!frozen.failed, "{}", frozen.text);
    house.clock.advance(Duration::from_secs(121));
    house.restarted();
    house.gate().revert_due().await.unwrap()
}

/// What a change that is not confirmed comes to: everything is as before.
async fn is_put_back(tool: &str, args: Value, looked_at: &str) {
    let mut house = house().await;
    let before = read(&house, looked_at).await;
    let said = plan(&house, tool, args.clone()).await;
    assert!(said.contains("reverted unless confirmed within 2 min"), "{tool} {args}: {said}");
    let kept = agreed(&house, tool, args.clone()).await;
    let id = id_of(&kept);
    assert_ne!(read(&house, looked_at).await, before, "{tool} {args}");
    let reverted = time_runs_out(&mut house).await;
    assert_eq!(reverted.len(), 1, "{tool} {args}");
    assert_eq!((reverted[0].id, reverted[0].state), (id, ConfirmState::Reverted), "{reverted:?}");
    assert_eq!(read(&house, looked_at).await, before, "{tool} {args}");
    assert_eq!(house.diary.payload("guard.revert")["state"], "reverted");
    assert_eq!(house.gate().revert_due().await.unwrap(), [], "once");
}

/// Printed by `cargo test -p mcp-tools --test it confirm_shows -- --nocapture`.
#[tokio::test(flavor = "multi_thread")]
async fn confirm_shows() {
    let mut house = house().await;
    let node = json!({"node": "lab/birch"});
    let before = house.call("network_get", node.clone()).await.text;
    println!("--- network_get lab/birch, before\n{before}");
    let change = json!({"node": "lab/birch", "interface": "vmbr0", "action": "set", "mtu": 9000});
    let answer = house.call("network_change", change).await;
    assert!(!answer.failed, "{}", answer.text);
    println!("--- network_change mtu=9000\n{}", answer.text);
    let said = plan(&house, "network_apply", node.clone()).await;
    println!("--- network_apply, plan\n{said}");
    assert!(said.contains("effect: reverted unless confirmed within 2 min"), "{said}");
    let kept = agreed(&house, "network_apply", node.clone()).await;
    println!("--- network_apply, consented\n{kept:#}");
    let id = id_of(&kept);
    let applied = house.call("network_get", node.clone()).await.text;
    assert!(applied.contains("9000") && applied.contains("nothing waits"), "{applied}");

    // Somebody writes something else meanwhile, which nobody consented to put in force.
    let other = json!({"node": "lab/birch", "interface": "eno2", "action": "set", "comment": "x"});
    house.call("network_change", other).await;
    assert_eq!(house.gate().revert_due().await.unwrap(), [], "there is time yet");
    let reverted = time_runs_out(&mut house).await;
    println!("--- after two minutes, frozen, by a new process on the same store\n{reverted:#?}");
    assert_eq!((reverted[0].id, reverted[0].state), (id, ConfirmState::Reverted), "{reverted:?}");
    let after = house.call("network_get", node).await.text;
    println!("--- network_get lab/birch, after\n{after}");
    assert_eq!(after, before);
    println!("--- audit");
    let lines = house.diary.lines();
    for line in &lines {
        println!("{line}");
    }
    println!("network_apply.armed {}", house.diary.payload("network_apply.armed"));
    println!("guard.revert {:#}", house.diary.payload("guard.revert"));
    let who = "automation:revert for local:0 network_apply.done lab/birch".to_owned();
    assert!(lines.contains(&who), "{lines:#?}");
    assert_eq!(house.diary.payload("network_apply.begin")["policy"], "revert");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_confirmed_stays() {
    let mut house = house().await;
    let close = json!({"cluster": "lab", "set": {"policy_in": "REJECT"}});
    let kept = agreed(&house, "firewall_options_change", close).await;
    let id = id_of(&kept).to_string();
    let note = kept["notes"].to_string();
    assert!(note.contains("is reverted at") && note.contains("unless it is confirmed"), "{note}");
    let answer = house.call("change_confirm", json!({"confirm_id": id})).await;
    assert!(!answer.failed, "{}", answer.text);
    assert_eq!(time_runs_out(&mut house).await, []);
    let options = read(&house, "/cluster/firewall/options").await;
    assert!(options.contains("REJECT"), "{options}");
}

#[tokio::test(flavor = "multi_thread")]
async fn firewalls_are_put_back() {
    let rules = "/cluster/firewall/rules";
    for args in [
        json!({"cluster": "lab", "action": "add", "direction": "in", "verdict": "DROP", "proto": "tcp", "dport": "8006"}),
        json!({"cluster": "lab", "action": "add", "pos": 2, "direction": "in", "verdict": "DROP"}),
        json!({"cluster": "lab", "action": "delete", "pos": 1}),
        json!({"cluster": "lab", "action": "move", "pos": 0, "to": 2}),
        json!({"cluster": "lab", "action": "move", "pos": 1, "to": 0}),
        json!({"cluster": "lab", "action": "update", "pos": 0, "enable": false, "comment": "off"}),
    ] {
        is_put_back("firewall_rule_change", args, rules).await;
    }
    let off = json!({"cluster": "lab", "set": {"enable": false, "policy_out": "DROP"}});
    is_put_back("firewall_options_change", off, "/cluster/firewall/options").await;
    let on = json!({"node": "lab/birch", "set": {"tcpflags": true}});
    is_put_back("firewall_options_change", on, "/nodes/birch/firewall/options").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn access_is_put_back() {
    let acl = "/access/acl";
    let give = json!({"cluster": "lab", "path": "/", "who": "developers", "role": "PVEAuditor"});
    is_put_back("acl_change", give, acl).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_by_hand_are_put_back_where_the_way_is_known() {
    let call = |method: &str, path: &str, params: Value| json!({"cluster": "lab", "method": method, "path": path, "params": params});
    let options = "/cluster/firewall/options";
    let close = call("PUT", options, json!({"policy_in": "REJECT", "policy_out": "DROP"}));
    is_put_back("api_call", close, options).await;
    let give = json!({"path": "/", "users": "anna@pve", "roles": "PVEAuditor"});
    is_put_back("api_call", call("PUT", "/access/acl", give), "/access/acl").await;
    let anna = "/access/users/anna@pve";
    is_put_back("api_call", call("PUT", anna, json!({"enable": false})), anna).await;
    let house = house().await;
    let rule = call("POST", "/cluster/firewall/rules", json!({"type": "in", "action": "DROP"}));
    let said = plan(&house, "api_call", rule).await;
    assert!(
        said.contains("warning not_reverted") && said.contains("firewall_rule_change"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_was_refused_leaves_nothing_to_confirm() {
    let house = house().await;
    let wrong = json!({
        "cluster": "lab", "action": "add", "direction": "group", "verdict": "nobody-knows-it",
    });
    let kept = agreed(&house, "firewall_rule_change", wrong).await;
    assert_eq!(kept["failed"], true, "{kept:#}");
    assert_eq!(kept["facts"].get("confirm_id"), None, "{kept:#}");
    assert_eq!(house.ports.open_confirms().await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_reached_is_tried_again() {
    let mut house = house().await;
    let on = json!({"node": "lab/birch", "set": {"tcpflags": true}});
    let id = id_of(&agreed(&house, "firewall_options_change", on).await);
    house.sim.levers().node_offline("lab", "birch", true).unwrap();
    assert_eq!(time_runs_out(&mut house).await, []);
    let open = house.ports.open_confirms().await.unwrap();
    assert_eq!((open[0].id, open[0].state), (id, ConfirmState::Reverting));
    assert_eq!(house.gate().revert_due().await.unwrap(), [], "somebody is at it");
    house.sim.levers().node_offline("lab", "birch", false).unwrap();
    house.clock.advance(Duration::from_secs(121));
    let reverted = house.gate().revert_due().await.unwrap();
    assert_eq!((reverted[0].id, reverted[0].state), (id, ConfirmState::Reverted), "{reverted:?}");
    let options = read(&house, "/nodes/birch/firewall/options").await;
    assert!(!options.contains("tcpflags"), "{options}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_memory_nothing_is_promised() {
    let mut house = house().await;
    house.options.guard = mcp_tools::gate::Guard::default();
    let close = json!({"cluster": "lab", "set": {"policy_in": "REJECT"}});
    let said = plan(&house, "firewall_options_change", close).await;
    assert!(said.contains("warning not_reverted") && said.contains("it has no store"), "{said}");
    assert!(!said.contains("reverted unless"), "{said}");
}

/// What takes a right from this server itself could not be put back by it.
#[tokio::test(flavor = "multi_thread")]
async fn what_cuts_this_server_off_is_said() {
    let house = house().await;
    let own = "operator@pve!operator";
    let lines = read(&house, "/access/acl").await;
    assert!(lines.contains(own), "{lines}");
    let take = json!({
        "cluster": "lab", "path": "/", "who": own, "role": "Administrator", "remove": true,
    });
    let said = plan(&house, "acl_change", take).await;
    assert!(said.contains("warning not_reverted") && said.contains(own), "{said}");
    for path in ["/access/users/operator@pve", "/access/users/operator@pve/token/operator"] {
        let args = json!({
            "cluster": "lab", "method": "PUT", "path": path, "params": {"comment": "x"},
        });
        let said = plan(&house, "api_call", args).await;
        assert!(said.contains("warning not_reverted: ") && said.contains("by which"), "{said}");
    }
}
