//! Nothing is guessed, and nothing is silently missing.

use std::{collections::BTreeSet, time::Duration};

use proxmox_sim::SimConfig;
use serde_json::{Value, json};

use crate::estate::Estate;

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_away_is_listed_and_its_guests_are_unknown() {
    let estate = Estate::start("agent").await;
    estate.sim.levers().node_offline("lab", "cedar", true).unwrap();
    for tool in ["fleet_overview", "guests_list", "nodes_list", "cluster_status"] {
        let answer = estate.ask(tool, json!({})).await;
        assert!(!answer.failed, "{}", answer.text);
        assert!(answer.text.contains("unreachable: lab/cedar"), "{tool}: {}", answer.text);
    }
    let answer = estate.ask("guests_list", json!({"cluster": "lab", "node": "cedar"})).await;
    let rows = answer.object["guests"]["rows"].as_array().unwrap();
    assert!(!rows.is_empty());
    for row in rows {
        assert!(["unknown", "template"].contains(&row[4].as_str().unwrap()), "{row}");
    }
    // Remembered while the node was there, and then not there any more.
    let answer = estate.ask("guest_get", json!({"guest": "lab/102"})).await;
    assert!(!answer.failed, "{}", answer.text);
    assert_eq!(answer.object["status"], "unknown");
    for (tool, args) in [
        ("node_get", json!({"node": "cedar"})),
        ("network_list", json!({"node": "cedar"})),
        ("log_recent", json!({"node": "cedar"})),
    ] {
        let text = estate.text(tool, args).await;
        assert!(text.contains("unreachable: lab/cedar"), "{tool}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_is_away_is_listed_while_the_others_answer() {
    let estate = Estate::start("agent").await;
    for node in ["alder", "birch", "cedar"] {
        estate.sim.levers().node_offline("lab", node, true).unwrap();
    }
    for tool in ["fleet_overview", "guests_list", "nodes_list", "storage_list", "log_recent"] {
        let text = estate.text(tool, json!({})).await;
        assert!(text.contains("unreachable: lab ("), "{tool}: {text}");
        assert!(text.contains("edge"), "{tool}: {text}");
    }
    // It can be read where only one is left to answer, but that is said.
    let text = estate.text("guest_get", json!({"guest": "109", "include": ["status"]})).await;
    assert!(text.contains("lab was silent"), "{text}");
}

/// One of two clusters is away.
async fn without_edge() -> Estate {
    let estate = Estate::start("agent").await;
    estate.sim.levers().node_offline("edge", "alder", true).expect("a node");
    estate
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_found_by_its_bare_name_says_who_was_silent() {
    let estate = without_edge().await;
    for (tool, args) in [
        ("node_get", json!({"node": "birch"})),
        ("network_list", json!({"node": "birch"})),
        ("log_recent", json!({"node": "birch"})),
        ("tasks_list", json!({"node": "birch"})),
        ("storage_list", json!({"storage": "nas"})),
        ("storage_list", json!({"node": "birch"})),
        ("guests_list", json!({"node": "birch"})),
        ("get_node_status", json!({"node": "birch"})),
        ("get_vms", json!({"node": "birch"})),
        ("get_lxcs", json!({"node": "birch"})),
        ("get_storage", json!({"node": "birch"})),
        ("get_node_tasks", json!({"node": "birch"})),
        ("get_backup_info", json!({"node": "birch"})),
        ("get_network_info", json!({"node": "birch"})),
        ("check_node_health", json!({"node": "birch"})),
    ] {
        let text = estate.text(tool, args).await;
        assert!(text.contains("edge"), "{tool}: {text}");
    }
    let text = estate.text("node_get", json!({"node": "birch"})).await;
    assert!(text.contains("unreachable: edge ("), "{text}");
    assert!(text.contains("note: edge was silent and could have a birch, too"), "{text}");
    // Named in full, there is nothing to add.
    let text = estate.text("node_get", json!({"node": "lab/birch"})).await;
    assert!(!text.contains("edge"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_found_may_be_where_nobody_answered() {
    let (whole, estate) = (Estate::start("agent").await, without_edge().await);
    for (tool, args) in [
        ("node_get", json!({"node": "nope"})),
        ("guest_get", json!({"guest": "nope"})),
        ("storage_list", json!({"storage": "nope"})),
        ("guests_list", json!({"tag": "nope"})),
    ] {
        let answer = estate.ask(tool, args.clone()).await;
        assert!(answer.failed, "{}", answer.text);
        assert!(answer.text.contains("is not found in what answered (lab"), "{}", answer.text);
        assert!(answer.text.contains("unreachable: edge ("), "{}", answer.text);
        assert_eq!(answer.object["error"], "unreachable", "{tool}");
        let answer = whole.ask(tool, args).await;
        assert!(answer.text.starts_with("no "), "{}", answer.text);
        assert_eq!(answer.object["error"], "not_found", "{tool}");
    }
    let text = estate.failure("guest_get", json!({"guest": ""})).await;
    assert!(text.starts_with("no guest is named"), "{text}");
    let text = estate.failure("nodes_list", json!({"cluster": "vault"})).await;
    assert!(text.contains("backup server") && !text.contains("vault (pbs)"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_count_of_nothing_is_not_told_where_nobody_answered() {
    let estate = Estate::start("agent").await;
    for member in ["lab", "edge", "vault"] {
        let refusal = "authentication failure";
        estate.sim.levers().status_next(member, 401, refusal, u32::MAX).unwrap();
    }
    for tool in [
        "guests_list",
        "nodes_list",
        "storage_list",
        "log_recent",
        "cluster_status",
        "get_network_info",
    ] {
        let text = estate.text(tool, json!({})).await;
        assert!(text.starts_with("no cluster answered"), "{tool}: {text}");
        assert!(text.contains("unreachable: lab ("), "{tool}: {text}");
        assert!(text.contains("authentication failure"), "{tool}: {text}");
    }
    let answer = estate.ask("fleet_overview", json!({})).await;
    assert!(answer.text.starts_with("no cluster answered; 3 problems"), "{}", answer.text);
    assert_eq!(answer.object["problem_count"], 3);
    assert_eq!(answer.object["guests"], Value::Null);
    for row in answer.object["problems"]["rows"].as_array().unwrap() {
        assert_eq!(row[0], "critical", "{}", answer.text);
    }
    let next = &answer.object["next"][0];
    estate.text(next["tool"].as_str().unwrap(), next["args"].clone()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_is_away_is_a_problem() {
    let answer = without_edge().await.ask("fleet_overview", json!({})).await;
    assert!(answer.text.contains("in 1 PVE cluster, 1 PBS; 4 problems"), "{}", answer.text);
    assert_eq!(answer.object["problem_count"], 4);
    let first = &answer.object["problems"]["rows"][0];
    assert_eq!((&first[0], &first[1]), (&json!("critical"), &json!("edge")), "{}", answer.text);
    assert_eq!(answer.object["next"][0]["args"]["cluster"], "edge");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_datastore_is_found_like_a_storage() {
    let estate = Estate::start("agent").await;
    for name in ["main", "vault/main"] {
        let text = estate.text("storage_list", json!({"storage": name})).await;
        assert!(text.starts_with("vault/main: backup datastore, "), "{text}");
        assert!(text.contains(r#"next: backup_snapshots {"cluster":"vault","datastore":"main"}"#));
    }
    let text = estate.failure("storage_list", json!({"storage": "nope"})).await;
    assert!(text.contains("vault/main datastore") && text.contains("lab/nas nfs"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_late_does_not_hold_the_others_up() {
    let estate = Estate::start("agent").await.within(Duration::from_secs(1));
    estate.sim.levers().latency("vault", Duration::from_mins(1)).unwrap();
    let text = estate.text("fleet_overview", json!({})).await;
    assert!(text.contains("unreachable: vault (no answer within 1 s)"), "{text}");
    assert!(text.contains("lab ok 3/3"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fits_twice_is_asked_back() {
    let estate = Estate::start("agent").await;
    let text = estate.failure("guest_get", json!({"guest": "104"})).await;
    assert!(text.contains("lab/104 db-main") && text.contains("edge/104 print-server"), "{text}");
    let text = estate.failure("node_get", json!({"node": "alder"})).await;
    assert!(text.contains("lab/alder") && text.contains("edge/alder"), "{text}");
    let text = estate.failure("storage_list", json!({"storage": "local"})).await;
    assert!(text.contains("lab/local") && text.contains("edge/local"), "{text}");
    let text = estate.failure("guests_list", json!({"node": "alder"})).await;
    assert!(text.contains("lab/alder") && text.contains("edge/alder"), "{text}");
    // All three forms of an answer's own words are taken.
    estate.text("node_get", json!({"node": "edge/alder"})).await;
    estate.text("storage_list", json!({"storage": "edge/local"})).await;
    estate.text("guests_list", json!({"node": "edge/alder"})).await;
    estate.text("guest_get", json!({"guest": "edge/print-server"})).await;
    // And what does not exist says what does.
    let text = estate.failure("fleet_overview", json!({"cluster": "nope"})).await;
    assert!(text.contains("lab (pve)") && text.contains("vault (pbs)"), "{text}");
    let text = estate.failure("guests_list", json!({"tag": "nope"})).await;
    assert!(text.contains("protected"), "{text}");
    let text = estate.failure("guest_get", json!({"guest": "lab/555"})).await;
    assert!(text.contains("no guest"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_list_that_may_not_be_seen_says_so() {
    let estate = Estate::start("nothing").await;
    for tool in ["fleet_overview", "guests_list", "nodes_list", "storage_list"] {
        let text = estate.text(tool, json!({})).await;
        assert!(text.contains("note: lab: the token has no privileges"), "{tool}: {text}");
    }
    let text = estate.text("nodes_list", json!({})).await;
    assert!(text.contains("lab/birch online - - - - - - - -"), "{text}");
    let text = estate.text("log_recent", json!({})).await;
    assert!(text.contains("note: lab: the token has no privileges"), "{text}");
    let text = estate.failure("guest_get", json!({"guest": "lab/100"})).await;
    assert!(text.contains("note: lab: the token has no privileges"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_that_the_token_may_not_see_name_the_privilege() {
    let estate = Estate::start("readonly").await;
    let text = estate.text("node_get", json!({"node": "birch"})).await;
    assert!(text.contains("updates: the token may not see this"), "{text}");
    assert!(text.contains("Sys.Modify"), "{text}");
    let text = estate.failure("log_recent", json!({"node": "birch"})).await;
    assert!(text.contains("Sys.Syslog"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn templates_are_neither_running_nor_stopped() {
    let estate = Estate::start("agent").await;
    let answer = estate.ask("guests_list", json!({"status": "stopped"})).await;
    assert!(!answer.text.contains("tpl-"), "{}", answer.text);
    let answer = estate.ask("guests_list", json!({"status": "template"})).await;
    assert_eq!(answer.object["count"], 3);
    assert!(answer.text.starts_with("0 guests and 3 templates"), "{}", answer.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_hold_every_guest_once() {
    let estate = Estate::of(SimConfig::fast(), "agent", 2000).await;
    let mut seen = BTreeSet::new();
    let mut count = 0;
    let mut args = json!({"sort": "name"});
    loop {
        let answer = estate.ask("guests_list", args).await;
        for row in answer.object["guests"]["rows"].as_array().unwrap() {
            count += 1;
            seen.insert(row[0].as_str().unwrap().to_owned());
        }
        match answer.object.get("next").map(|next| next[0]["args"].clone()) {
            Some(next) if next.get("cursor").is_some() => args = next,
            _ => break,
        }
    }
    assert_eq!((count, seen.len()), (59, 59));
    let text = estate.failure("guests_list", json!({"cursor": "5.00000000"})).await;
    assert!(text.contains("cursor"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn trouble_comes_first() {
    let estate = Estate::start("agent").await;
    let levers = estate.sim.levers();
    levers.quorum_lost("lab", true).unwrap();
    levers.set_storage_usage("lab", "ceph-vm", 0.97).unwrap();
    let answer = estate.ask("fleet_overview", json!({})).await;
    let problems = answer.object["problems"]["rows"].as_array().unwrap();
    let first: Vec<&Value> = problems.iter().take(2).map(|row| &row[1]).collect();
    assert_eq!(first, ["lab", "lab/ceph-vm"], "{}", answer.text);
    let text = estate.text("cluster_status", json!({})).await;
    assert!(text.starts_with("edge: single node, no cluster; lab: NO QUORUM"), "{text}");
    let answer = estate.ask("storage_list", json!({})).await;
    assert_eq!(answer.object["storages"]["rows"][0][0], "lab/ceph-vm");
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_are_marked_and_filtered() {
    let estate = Estate::start("agent").await;
    for args in [json!({}), json!({"cluster": "lab", "since": "2d", "limit": 5})] {
        let text = estate.text("log_recent", args).await;
        assert!(text.contains("<<<untrusted cluster log of"), "{text}");
    }
    let text = estate.text("log_recent", json!({"node": "birch", "limit": 3})).await;
    assert!(text.starts_with("3 lines") && !text.contains("\ns="), "{text}");
    let text = estate.text("log_recent", json!({"text": "no such words"})).await;
    assert!(text.starts_with("0 lines"), "{text}");
    let text = estate.failure("log_recent", json!({"since": "yesterday"})).await;
    assert!(text.contains("RFC 3339"), "{text}");
}
