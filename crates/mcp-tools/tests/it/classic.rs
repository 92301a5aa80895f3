//! The thirteen names of the earlier server.

use std::{sync::Arc, time::Duration};

use expect_test::expect;
use mcp_protocol::CallContext;
use mcp_tools::{Options, build_app, tools::TOOLSETS};
use serde_json::{Value, json};

use crate::estate::Estate;

#[test]
fn there_are_thirteen_and_each_schema_is_flat() {
    let classic = TOOLSETS.iter().find(|toolset| toolset.name == "classic").expect("classic");
    let lines = classic.tools.iter().map(|tool| {
        let definition = tool.definition();
        let schema = definition.input.build();
        let names: Vec<_> = schema["properties"].as_object().unwrap().keys().cloned().collect();
        format!("{}({}) {}\n", definition.name, names.join(", "), definition.access)
    });
    expect![[r"
        get_cluster_status() read
        get_nodes() read
        get_node_status(node, cluster) read
        get_vms(node, cluster) read
        execute_vm_command(vmid, command, node, cluster) operate
        get_lxcs(node, cluster) read
        execute_lxc_command(vmid, command, node, cluster) operate
        get_storage(node, cluster) read
        get_node_tasks(node, cluster, limit) read
        get_backup_info(node, cluster) read
        get_network_info(node, cluster) read
        check_node_health(node, cluster) read
        send_notification(message, title, severity) operate
    "]]
    .assert_eq(&lines.collect::<String>());
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_answer_without_arguments_and_for_a_node() {
    let estate = Estate::start("agent").await;
    for tool in [
        "get_cluster_status",
        "get_nodes",
        "get_node_status",
        "get_vms",
        "get_lxcs",
        "get_storage",
        "get_node_tasks",
        "get_backup_info",
        "check_node_health",
    ] {
        let text = estate.text(tool, json!({})).await;
        assert!(text.len() > 40, "{tool}: {text}");
    }
    for tool in [
        "get_node_status",
        "get_vms",
        "get_lxcs",
        "get_storage",
        "get_node_tasks",
        "get_backup_info",
        "get_network_info",
        "check_node_health",
    ] {
        estate.text(tool, json!({"node": "birch"})).await;
        let text = estate.failure(tool, json!({"node": "alder"})).await;
        assert!(text.contains("lab/alder") && text.contains("edge/alder"), "{tool}: {text}");
        assert!(text.contains("give cluster=edge or cluster=lab"), "{tool}: {text}");
        estate.text(tool, json!({"node": "alder", "cluster": "lab"})).await;
        // Workflows send empty texts for what is left out.
        estate.text(tool, json!({"node": "", "cluster": "edge"})).await;
    }
    let vms = estate.ask("get_vms", json!({"node": "birch"})).await;
    let lxcs = estate.ask("get_lxcs", json!({"node": "birch"})).await;
    assert!(vms.text.contains("db-main") && !vms.text.contains("dns-01"), "{}", vms.text);
    assert!(lxcs.text.contains("dns-01") && !lxcs.text.contains("db-main"), "{}", lxcs.text);
    let answer = estate.ask("get_network_info", json!({})).await;
    assert!(answer.text.starts_with("16 interfaces on 4 nodes"), "{}", answer.text);
    assert_eq!(answer.object["interfaces"]["columns"][0], "node");
    let rows = answer.object["interfaces"]["rows"].as_array().unwrap();
    for node in ["edge/alder", "lab/alder", "lab/birch", "lab/cedar"] {
        assert!(rows.iter().any(|row| row[0] == node && row[1] == "vmbr0"), "{}", answer.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_reach_one_guest_or_ask_which() {
    let estate = Estate::start("agent").await;
    let command = |vmid: u32, command: &str| json!({"vmid": vmid, "command": command});
    let text = estate.text("execute_vm_command", command(125, "start")).await;
    assert!(text.starts_with("lab/125 dev-bela is running"), "{text}");
    let text = estate.text("execute_vm_command", command(125, "restart")).await;
    assert!(text.starts_with("lab/125 dev-bela is running (reboot"), "{text}");
    estate.text("execute_vm_command", command(125, "status")).await;
    estate.text("execute_lxc_command", command(131, "config")).await;
    // The node tells the clusters apart, and must be right.
    let text = estate.failure("execute_vm_command", command(104, "status")).await;
    assert!(text.contains("lab/104") && text.contains("edge/104"), "{text}");
    assert!(text.contains("note: give cluster=edge or cluster=lab"), "{text}");
    let with_node =
        |node: &str, command: &str| json!({"vmid": 104, "command": command, "node": node});
    estate.text("execute_vm_command", with_node("birch", "status")).await;
    let text = estate.text("execute_vm_command", with_node("cedar", "status")).await;
    assert!(text.contains("note: lab/104 is on birch, not on cedar"), "{text}");
    let text = estate.failure("execute_vm_command", with_node("cedar", "reboot")).await;
    assert!(text.contains("lab/104 is on birch, not on cedar"), "{text}");
    let args = json!({"vmid": 104, "command": "status", "cluster": "edge"});
    estate.text("execute_vm_command", args).await;
    let text = estate.failure("execute_vm_command", command(131, "start")).await;
    expect![[r"
        lab/131 dns-01 is a container
        note: use execute_lxc_command"]]
    .assert_eq(&text);
    let text = estate.failure("execute_lxc_command", command(131, "reset")).await;
    assert!(text.contains("containers have no reset"), "{text}");
    let args = json!({"vmid": 108, "command": "start", "node": "cedar"});
    let text = estate.failure("execute_vm_command", args).await;
    assert!(text.contains("gpu-render failed: start failed: QEMU exited with code 1"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_cluster_could_be_the_one_that_is_meant() {
    let estate = Estate::start("agent").await;
    estate.sim.levers().node_offline("edge", "alder", true).unwrap();
    let args = json!({"vmid": 123, "node": "birch", "command": "start"});
    let text = estate.failure("execute_vm_command", args).await;
    assert!(text.starts_with("nothing is changed by the bare name `birch`"), "{text}");
    assert!(text.contains("unreachable: edge (") && text.contains("give cluster=lab"), "{text}");
    let text = estate.failure("execute_vm_command", json!({"vmid": 123, "command": "start"})).await;
    assert!(text.contains("give cluster=lab"), "{text}");
    // To look is allowed, and says what is not sure; so is to name the cluster.
    let args = json!({"vmid": 123, "node": "birch", "command": "status"});
    let text = estate.text("execute_vm_command", args).await;
    assert!(text.contains("edge was silent"), "{text}");
    let args = json!({"vmid": 123, "node": "birch", "command": "start", "cluster": "lab"});
    let text = estate.text("execute_vm_command", args).await;
    assert!(text.starts_with("lab/123 stg-erp is running"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn health_is_a_verdict_with_reasons() {
    let estate = Estate::start("agent").await;
    let answer = estate.ask("check_node_health", json!({})).await;
    assert!(answer.text.starts_with("4 nodes: 1 warning, 3 ok"), "{}", answer.text);
    assert_eq!(answer.object["verdict"], "warning");
    let rows = answer.object["nodes"]["rows"].as_array().unwrap();
    assert_eq!((&rows[0][0], &rows[0][1]), (&json!("lab/cedar"), &json!("warning")));
    // One or two, by the hour: the demo's last night is between two and twenty-six hours ago.
    let reason = rows[0][2].as_str().unwrap();
    assert!(reason.contains("failed task") && reason.contains("in a day"), "{}", answer.text);

    estate.sim.levers().node_offline("lab", "cedar", true).unwrap();
    let answer = estate.ask("check_node_health", json!({})).await;
    assert!(!answer.failed, "{}", answer.text);
    assert_eq!(answer.object["verdict"], "critical");
    let rows = answer.object["nodes"]["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 4);
    assert_eq!((&rows[0][0], &rows[0][1]), (&json!("lab/cedar"), &json!("critical")));
    assert!(answer.text.contains("unreachable: lab/cedar"), "{}", answer.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn modes_hold_by_argument_and_name_their_flag() {
    let estate = Estate::start("agent").await;
    let options = |mode| Options {
        mode,
        toolsets: vec!["default".to_owned(), "classic".to_owned()],
        ceiling: mcp_tools::DEFAULT_CEILING,
        version: "0".to_owned(),
        task_wait: Duration::from_secs(45),
        principal: guard::Principal::local(0),
        redaction: mcp_tools::redaction::Redaction::default(),
        journal: None,
        jobs: None,
        scope: None,
        guard: mcp_tools::gate::Guard::default(),
        process: mcp_tools::process::Process::new(),
        observer: None,
        events: None,
        exec_allow: Vec::new(),
    };
    let call = async |mode, tool: &str, args: Value| {
        let app = build_app(Arc::clone(&estate.cx.fleet), &options(mode)).expect("an app");
        let cx = CallContext::detached(app.caller().clone());
        let Value::Object(args) = args else { panic!("an object") };
        app.call_tool(&cx, tool, args).await.expect("a tool")
    };
    let guarded = guard::Mode::Guarded;
    let start = json!({"vmid": 125, "command": "start"});
    // What only adds runs unasked; for everything else somebody has to be asked, and nobody can be.
    let reboot = json!({"vmid": 100, "cluster": "lab", "command": "reboot"});
    for (tool, args) in [
        ("guest_power", json!({"guest": "lab/100", "action": "reboot"})),
        ("execute_vm_command", reboot),
    ] {
        let outcome = call(guarded, tool, args).await;
        assert!(outcome.is_failure());
        let text = outcome.answer().unwrap().plain_text();
        assert!(text.contains("--mode trusted"), "{tool}: {text}");
    }
    let outcome = call(guarded, "execute_vm_command", start.clone()).await;
    assert!(!outcome.is_failure(), "{}", outcome.answer().unwrap().plain_text());
    let status = json!({"vmid": 125, "command": "status"});
    assert!(!call(guarded, "execute_vm_command", status).await.is_failure());
    let outcome = call(guarded, "send_notification", json!({"message": "hello"})).await;
    let text = outcome.answer().unwrap().plain_text();
    expect![[r"
        nothing was sent: no events are heard here: no manager runs, and this server has no pipeline of its own
        note: start `proxmox-manager`, or this server as `proxmox-mcp serve --http --with-events`; fleet_overview shows the present state"]]
    .assert_eq(&text);
    assert!(outcome.is_failure());
    // Every answer that is sent is one that the output schema allows: debug builds check it.
    let outcome = call(guard::Mode::Trusted, "execute_vm_command", start).await;
    assert!(!outcome.is_failure(), "{}", outcome.answer().unwrap().plain_text());
    let tasks = json!({"cluster": "lab", "since": "1h"});
    assert!(!call(guarded, "tasks_list", tasks).await.is_failure());
}
