//! Backups: found, attributed, judged, and never claimed beyond what is seen.

use proxmox_sim::TaskSpec;
use serde_json::json;

use crate::estate::Estate;

#[tokio::test(flavor = "multi_thread")]
async fn the_worst_comes_first_with_its_cause() {
    let estate = Estate::start("agent").await;
    let answer = estate.ask("backup_status", json!({})).await;
    let rows = answer.object["guests"]["rows"].as_array().unwrap();
    assert_eq!((&rows[0][0], &rows[0][2]), (&json!("lab/112"), &json!("failed")));
    assert!(rows[0][7].as_str().unwrap().contains("Input/output error"), "{}", rows[0]);
    let states: Vec<_> = rows.iter().map(|row| row[2].as_str().unwrap()).collect();
    let rank = |state: &&str| {
        ["failed", "never", "old", "unverifiable", "ok"].iter().position(|s| s == state)
    };
    assert!(states.is_sorted_by_key(rank), "{states:?}");
    let tally = &answer.object["tally"];
    let sum = ["ok", "old", "never", "failed", "unverifiable"];
    let sum: u64 = sum.iter().map(|key| tally[key].as_u64().unwrap()).sum();
    assert_eq!(tally["guests"].as_u64(), Some(sum), "each guest stands one way: {tally}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_id_on_two_clusters_is_two_guests() {
    let estate = Estate::start("agent").await;
    let lab = estate.ask("backup_status", json!({"guest": "lab/104"})).await;
    let edge = estate.ask("backup_status", json!({"guest": "edge/104"})).await;
    let of = |answer: &crate::estate::Answer| answer.object["guests"]["rows"][0].clone();
    assert_eq!(
        (of(&lab)[1].clone(), of(&edge)[1].clone()),
        (json!("db-main"), json!("print-server"))
    );
    assert_ne!(of(&lab)[3], of(&edge)[3], "each has its own newest backup");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_failed_later_is_told_by_the_log() {
    let estate = Estate::start("agent").await;
    let mut run = TaskSpec::finished("vzdump", "", "job errors");
    run.log = vec![
        "INFO: Starting Backup of VM 100 (qemu)".to_owned(),
        "ERROR: Backup of VM 100 failed - no space left on device".to_owned(),
        "INFO: Finished Backup of VM 101 (00:00:10)".to_owned(),
        "TASK ERROR: job errors".to_owned(),
    ];
    estate.sim.levers().add_task("lab", "alder", &run).unwrap();
    let text = estate.text("backup_status", json!({"guest": "lab/100"})).await;
    assert!(text.contains("failed") && text.contains("no space left on device"), "{text}");
    let text = estate.text("backup_status", json!({"guest": "lab/101"})).await;
    assert!(!text.contains("no space left"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_sees_no_files_gets_tasks_and_is_told_so() {
    let estate = Estate::start("readonly").await;
    let text = estate.text("backup_status", json!({"cluster": "lab"})).await;
    assert!(text.contains("Datastore.AllocateSpace and VM.Backup"), "{text}");
    let estate = Estate::start("nothing").await;
    let text = estate.text("backup_snapshots", json!({})).await;
    assert!(text.contains("no privileges"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_are_counted_by_verification_in_all_namespaces() {
    let estate = Estate::start("agent").await;
    let all = estate.ask("backup_snapshots", json!({})).await;
    let places: std::collections::BTreeSet<_> = all.object["groups"]["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row[0].to_string())
        .collect();
    assert!(places.len() >= 3, "{places:?}");
    let failed = estate.ask("backup_snapshots", json!({"verified": "failed"})).await;
    let rows = failed.object["groups"]["rows"].as_array().unwrap();
    assert_eq!(Some(rows.len() as u64), failed.object["tally"]["failed"].as_u64());
    let text = estate.failure("backup_snapshots", json!({"datastore": "nowhere"})).await;
    assert!(text.contains("nowhere"), "{text}");
    let one = estate.ask("backup_snapshots", json!({"group": "vm/104", "namespace": "lab"})).await;
    let rows = one.object["snapshots"]["rows"].as_array().unwrap();
    assert!(rows.iter().all(|row| row[0] == "vault:main/lab"), "{rows:?}");
    let times: Vec<_> = rows.iter().map(|row| row[1].as_str().unwrap()).collect();
    assert!(times.is_sorted_by(|a, b| a > b), "newest first: {times:?}");
}
