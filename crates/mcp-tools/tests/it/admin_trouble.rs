//! The cluster toolset when something is wrong, silent, hidden or meant twice.

use std::collections::BTreeMap;

use proxmox_sim::SimConfig;
use serde_json::{Value, json};

use crate::estate::Estate;

/// Every read of the toolset.
const READS: &[&str] = &[
    "ha_list",
    "replication_list",
    "ceph_health",
    "pools_list",
    "tags_list",
    "users_list",
    "certificates_list",
    "updates_list",
    "disks_list",
    "services_list",
];

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_comes_first() {
    let estate = Estate::start("operator").await;
    let levers = estate.sim.levers();
    levers.ceph_osd_down("lab", 3, true).unwrap();
    levers.ceph_check("lab", "POOL_FULL", true, Some("1 pool(s) full")).unwrap();
    levers.ceph_flag("lab", "noout", true).unwrap();
    let text = estate.text("ceph_health", json!({})).await;
    assert!(
        text.starts_with("lab: HEALTH_ERR, 3 checks, 6 OSDs (5 up, 6 in), 108 of 129"),
        "{text}"
    );
    assert!(
        text.contains("\nlab POOL_FULL ERR 1 pool(s) full\nlab OSD_DOWN WARN 1 osds down"),
        "{text}"
    );
    assert!(text.contains("lab/osd.3 birch down yes"), "{text}");
    assert!(text.contains("down, and data waits for it"), "{text}");
    assert!(text.contains("flags are set: noout") && !text.contains("sortbitwise"), "{text}");
    assert!(!text.contains("osd.0"), "{text}");
    let all = estate.text("ceph_health", json!({"all": true})).await;
    assert!(all.contains("osd.0"), "{all}");

    levers.replication_fails("lab", "113-0", Some("no such volume 'local-lvm:x'")).unwrap();
    let answer = estate.ask("replication_list", json!({})).await;
    assert_eq!(answer.object["failing_count"], 1, "{}", answer.text);
    assert!(answer.text.contains("failing 3h in_"), "{}", answer.text);
    let text = estate.text("replication_list", json!({"job": "lab/113-0"})).await;
    assert!(text.contains("<<<untrusted log of the last run"), "{text}");
    assert!(text.contains("end replication job with error: no such volume"), "{text}");

    levers.service_state("lab", "cedar", "pve-ha-lrm", "failed").unwrap();
    levers.service_state("vault", "vault", "proxmox-backup-proxy", "dead").unwrap();
    let text = estate.text("services_list", json!({})).await;
    assert!(
        text.starts_with("2 of 60 services on 5 hosts do not run as they should: lab/cedar, vault"),
        "{text}"
    );
    assert!(text.contains("lab/cedar pve-ha-lrm failed should_run"), "{text}");

    levers.zfs_health("edge", "alder", "rpool", "DEGRADED").unwrap();
    levers.thin_metadata("lab", "birch", 0.91).unwrap();
    levers.disk_health("edge", "alder", "/dev/sda", "FAILED", 3).unwrap();
    let text = estate.text("disks_list", json!({})).await;
    assert!(text.contains("11 disks on 5 hosts: 4 problems"), "{text}");
    assert!(
        text.contains("edge/alder rpool DEGRADED 26% 120G 11% sda3 REMOVED, 21 errors"),
        "{text}"
    );
    assert!(text.contains("lab/birch pve/data 71% 800G 91% metadata nearly full"), "{text}");
    assert!(text.contains("replace it: SMART says that it fails"), "{text}");
    let text = estate.text("disks_list", json!({"node": "edge/alder", "disk": "/dev/sda"})).await;
    assert!(text.contains("FAILED, 2 values stand out"), "{text}");
    assert!(
        text.contains("\n5 Reallocated_Sector_Ct 4 4 10 2040 at or below its threshold\n"),
        "{text}"
    );

    levers.certificate_ends("lab", "birch", 12).unwrap();
    levers.certificate_ends("vault", "vault", -2).unwrap();
    let text = estate.text("certificates_list", json!({})).await;
    assert!(text.starts_with("2 of 7 certificates to see to: vault proxy.pem (2 d ago)"), "{text}");
    assert!(
        text.contains("note: lab/birch pve-ssl.pem ends soon (in 11 d)")
            || text.contains("(in 12 d)"),
        "{text}"
    );

    levers.new_kernel("lab", "alder", "6.17.9-1-pve").unwrap();
    let answer = estate.ask("updates_list", json!({})).await;
    assert_eq!(answer.object["reboot_due"], json!(["lab/alder"]), "{}", answer.text);
    assert!(answer.text.contains("due:6.17.9-1-pve"), "{}", answer.text);

    levers.fail_next_task("lab", Some("hastart"), "no").unwrap();
    levers.node_offline("lab", "cedar", true).unwrap();
    let text = estate.text("ha_list", json!({})).await;
    assert!(text.contains("unreachable: lab/cedar (node offline)"), "{text}");
    assert!(text.contains("lab/cedar local old timestamp - dead?, unknown"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_silent_is_said() {
    let estate = Estate::start("operator").await;
    estate.sim.levers().node_offline("edge", "alder", true).unwrap();
    estate.sim.levers().node_offline("vault", "vault", true).unwrap();
    for tool in READS {
        let answer = estate.ask(tool, json!({})).await;
        let silent = answer.object["unreachable"].as_array().expect("a list");
        assert!(silent.iter().any(|part| part["what"] == "edge"), "{tool}: {}", answer.text);
    }
    for tool in ["users_list", "certificates_list", "updates_list", "disks_list", "services_list"] {
        let text = estate.text(tool, json!({})).await;
        assert!(text.contains("unreachable: vault"), "{tool}: {text}");
    }
    // Nobody answered: there is no count of what is not known.
    for tool in READS {
        let answer = estate.ask(tool, json!({"cluster": "edge"})).await;
        let facts = answer.object.iter().filter(|(key, _)| key.ends_with("_count"));
        assert!(facts.into_iter().all(|(_, value)| value.is_null()), "{tool}: {}", answer.text);
        assert!(!answer.text.starts_with('0'), "{tool}: {}", answer.text);
    }
    estate.sim.levers().node_offline("lab", "birch", true).unwrap();
    let text = estate.text("node_journal", json!({"node": "birch"})).await;
    assert!(text.contains("unreachable: lab/birch"), "{text}");
    for tool in ["certificates_list", "disks_list", "services_list", "updates_list"] {
        let text = estate.text(tool, json!({"cluster": "lab"})).await;
        assert!(text.contains("unreachable: lab/birch (node offline)"), "{tool}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_token_may_not_see_is_said() {
    let estate = Estate::start("readonly").await;
    let text = estate.text("updates_list", json!({"cluster": "lab"})).await;
    assert!(text.starts_with("pending updates are not known"), "{text}");
    let refused = "note: updates of lab/alder, lab/birch, lab/cedar: the token may not see this: Permission check failed (/nodes/…, Sys.Modify)";
    assert!(text.contains(refused), "{text}");
    let text = estate.failure("node_journal", json!({"node": "birch"})).await;
    assert!(text.contains("Sys.Syslog"), "{text}");
    let text = estate.text("certificates_list", json!({"cluster": "vault"})).await;
    assert!(text.starts_with("nobody told of certificates"), "{text}");
    assert!(text.contains("the token may not see this"), "{text}");
    let nothing = Estate::start("nothing").await;
    // Certificates are open to every login.
    for tool in READS.iter().filter(|tool| **tool != "certificates_list") {
        let text = nothing.text(tool, json!({"cluster": "lab"})).await;
        assert!(text.contains("note: "), "{tool}: {text}");
        assert!(!text.contains("all well") && !text.contains("all that should"), "{tool}: {text}");
    }
    let text = nothing.text("access_explain", json!({"cluster": "lab", "path": "/"})).await;
    assert!(text.contains("the token lacks Sys.Audit on /access"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fits_twice_is_asked_back() {
    let estate = Estate::start("operator").await;
    for tool in ["certificates_list", "updates_list", "disks_list", "services_list", "node_journal"]
    {
        let text = estate.failure(tool, json!({"node": "alder"})).await;
        assert!(text.contains("lab/alder") && text.contains("edge/alder"), "{tool}: {text}");
        estate.text(tool, json!({"node": "edge/alder"})).await;
        estate.text(tool, json!({"node": "vault"})).await;
    }
    for tool in READS.iter().chain(&["access_explain"]) {
        let text = estate.failure(tool, json!({"cluster": "nope"})).await;
        assert!(text.contains("lab (pve)"), "{tool}: {text}");
    }
    let text = estate.failure("access_explain", json!({"path": "/"})).await;
    assert!(text.contains("give cluster: edge, lab, vault"), "{text}");
    let text = estate.failure("access_explain", json!({"cluster": "lab", "who": "nobody"})).await;
    assert!(text.contains("@developers") && text.contains("anna@pve"), "{text}");
    let args = json!({"cluster": "lab", "privilege": "VM.Power"});
    let text = estate.failure("access_explain", args).await;
    assert!(text.contains("VM.PowerMgmt"), "{text}");
    let text = estate.failure("pools_list", json!({"pool": "nope"})).await;
    assert!(text.contains("lab/staging"), "{text}");
    let text = estate.failure("replication_list", json!({"job": "1-0"})).await;
    assert!(text.contains("lab/113-0"), "{text}");
    let text = estate.failure("disks_list", json!({"node": "birch", "disk": "/dev/sdz"})).await;
    assert!(text.contains(r#"next: disks_list {"cluster":"lab","node":"birch"}"#), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_is_paged_without_a_gap() {
    let estate = Estate::of(SimConfig::fast(), "agent", 2000).await;
    let levers = estate.sim.levers();
    for at in 0..60 {
        let line = format!("line {at:02} of a long story that takes some room in an answer");
        levers.journal_line("lab", "birch", "story", &line, 3600 - at * 10).unwrap();
    }
    let mut args = json!({"node": "birch", "since": "2h", "unit": "story"});
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut pages = 0;
    loop {
        let answer = estate.ask("node_journal", args).await;
        assert!(!answer.text.contains("bytes left out"), "{}", answer.text);
        for line in answer.text.lines().filter_map(|line| line.split("]: line ").nth(1)) {
            *seen.entry(line[..2].to_owned()).or_default() += 1;
        }
        pages += 1;
        match answer.object.get("next").map(|next| next[0]["args"].clone()) {
            Some(next) => args = next,
            None => break,
        }
    }
    assert!(pages > 2, "{pages} pages");
    assert_eq!(seen.len(), 60);
    assert!(seen.values().all(|count| *count == 1), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn long_lists_come_in_pages() {
    let estate = Estate::of(SimConfig::fast(), "operator", 1500).await;
    let mut args = json!({"cluster": "lab", "path": "/vms/124"});
    let mut seen = Vec::new();
    loop {
        let answer = estate.ask("access_explain", args).await;
        let rows = answer.object["principals"]["rows"].as_array().expect("rows").clone();
        seen.extend(rows.iter().map(|row: &Value| row[0].clone()));
        match answer.object.get("next").map(|next| next[0]["args"].clone()) {
            Some(next) if next.get("cursor").is_some() => args = next,
            _ => break,
        }
    }
    assert_eq!(seen.len(), 10, "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_suggested_works() {
    let estate = Estate::start("operator").await;
    estate.sim.levers().replication_fails("lab", "113-0", Some("no such volume")).unwrap();
    let mut calls: Vec<(String, Value)> =
        READS.iter().map(|tool| ((*tool).to_owned(), json!({}))).collect();
    calls.push(("pools_list".to_owned(), json!({"pool": "staging"})));
    calls.push(("access_explain".to_owned(), json!({"cluster": "lab", "who": "anna@pve"})));
    calls.push(("replication_list".to_owned(), json!({"job": "113-0"})));
    calls.push(("node_journal".to_owned(), json!({"node": "birch", "limit": 3})));
    let mut followed = 0;
    for (tool, args) in calls {
        let answer = estate.ask(&tool, args).await;
        assert!(!answer.failed, "{tool}: {}", answer.text);
        for next in answer.object.get("next").and_then(Value::as_array).into_iter().flatten() {
            let tool = next["tool"].as_str().expect("a tool");
            estate.text(tool, next["args"].clone()).await;
            followed += 1;
        }
    }
    assert!(followed >= 4, "only {followed} suggestions were met");
}
