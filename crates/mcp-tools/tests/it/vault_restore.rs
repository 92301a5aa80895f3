//! Restores: to a new id, over a guest, of a guest that is gone, and what is refused.

use std::{io, path::Path, sync::Arc};

use api_core::endpoint::FileContent;
use mcp_tools::fleet::Traits;
use serde_json::{Value, json};

use crate::{
    estate::Estate,
    vault_run::{estate, planned},
};

async fn status(estate: &Estate, guest: &str) -> String {
    let answer = estate.ask("guest_get", json!({"guest": guest, "include": ["status"]})).await;
    answer.object.get("status").and_then(Value::as_str).unwrap_or("gone").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_id_is_the_default_and_the_original_stays() {
    let estate = estate().await;
    let answer = estate.ask("backup_restore", json!({"guest": "lab/100", "from": "vault"})).await;
    assert!(!answer.failed, "{}", answer.text);
    let made = answer.object["guest"].as_str().unwrap().to_owned();
    assert_eq!(made, "lab/144", "{}", answer.text);
    let lead = format!("{made} web-01 is restored from vault:main/lab of ");
    assert!(answer.text.starts_with(&lead), "{}", answer.text);
    assert_eq!(
        (status(&estate, &made).await, status(&estate, "lab/100").await),
        ("stopped".into(), "running".into())
    );
    let of = async |guest: &str| {
        estate.text("guest_get", json!({"guest": guest, "include": ["config"]})).await
    };
    let mac = |text: &str| text.lines().find(|line| line.starts_with("net0")).unwrap().to_owned();
    assert_ne!(mac(&of(&made).await), mac(&of("lab/100").await), "new addresses");
    // A certain id, started, and the backup of an earlier day.
    let list = estate
        .failure("backup_restore", json!({"guest": "lab/100", "from": "vault", "time": "2019"}))
        .await;
    let time = list.lines().nth(3).unwrap().split(' ').next().unwrap().to_owned();
    let args =
        json!({"guest": "lab/100", "from": "vault", "time": time, "vmid": 900, "start": true});
    let answer = estate.ask("backup_restore", args).await;
    assert!(!answer.failed, "{}", answer.text);
    assert_eq!(answer.object["state"], "running", "{}", answer.text);
    assert!(answer.text.contains(&time), "{}", answer.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_is_gone_comes_back_by_its_address() {
    let estate = estate().await;
    estate.text("backup_run", json!({"guests": ["lab/141"], "storage": "nas"})).await;
    let lab = estate.cx.fleet.pve(Some("lab")).unwrap().remove(0);
    let (node, vmid) = ("cedar".parse().unwrap(), "141".parse().unwrap());
    let delete = pve_client::lxc::delete(&node, vmid, pve_client::lxc::LxcDeleteParams::default());
    let upid = lab.operator.call(delete).await.unwrap();
    estate.text("task_wait", json!({"upid": upid.as_str(), "cluster": "lab"})).await;
    let args = json!({"guest": "lab/141", "vmid": 141});
    let answer = estate.ask("backup_restore", args).await;
    assert!(!answer.failed, "{}", answer.text);
    assert_eq!(answer.object["guest"], "lab/141");
    assert_eq!(status(&estate, "lab/141").await, "stopped");
}

#[tokio::test(flavor = "multi_thread")]
async fn over_a_guest_it_must_be_off_free_and_unprotected() {
    let estate = estate().await;
    let over = |guest: &str| json!({"guest": guest, "from": "vault", "over": true});
    // Running.
    let (failed, text, object) = planned(&estate, "backup_restore", over("lab/100")).await;
    assert!(
        failed && text.contains("restore over lab/100 web-01 was not tried: it is running"),
        "{text}"
    );
    assert_eq!(object["next"][0]["tool"], "guest_power", "{text}");
    // Off, but protected.
    estate.text("guest_power", json!({"guest": "lab/109", "action": "stop"})).await;
    let (failed, text, _) = planned(&estate, "backup_restore", over("lab/109")).await;
    assert!(failed && text.contains("it is protected"), "{text}");
    // Off.
    estate.text("guest_power", json!({"guest": "lab/100", "action": "stop"})).await;
    let (failed, text, object) = planned(&estate, "backup_restore", over("lab/100")).await;
    assert!(!failed, "{text}");
    assert_eq!(object["access"], "destroy", "{text}");
    assert!(text.contains("effect: lab/100 web-01 as it is now is lost"), "{text}");
    assert!(text.contains("its 1 snapshot are lost") || text.contains("1 snapshot"), "{text}");
    assert_eq!(status(&estate, "lab/100").await, "stopped");
    let answer = estate.ask("backup_restore", over("lab/100")).await;
    assert!(!answer.failed, "{}", answer.text);
    assert_eq!(answer.object["guest"], "lab/100");
    let left = estate.ask("snapshot_list", json!({"guest": "lab/100"})).await;
    assert_eq!(left.object["snapshot_count"], 0, "{}", left.text);
    let text = estate.failure("backup_restore", json!({"guest": "lab/141", "over": true})).await;
    assert!(text.contains("no backup of lab/141"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_guest_is_not_restored_over_even_if_it_started_since() {
    let estate = estate().await;
    estate.text("guest_power", json!({"guest": "lab/101", "action": "stop"})).await;
    // The state moves between the plan and the run; the server is the last to judge.
    let tool = crate::estate::tool("backup_restore");
    let action = tool.as_action().expect("an action");
    let args = json!({"guest": "lab/101", "from": "vault", "over": true});
    let plan = action.plan(&estate.cx, args.as_object().unwrap().clone()).await.expect("a plan");
    estate.text("guest_power", json!({"guest": "lab/101", "action": "start"})).await;
    let error = plan.execute(&estate.cx).await.expect_err("it runs").into_report();
    assert!(error.lead.contains("vm is running"), "{}", error.lead);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_restored_is_refused_before() {
    let estate = estate().await;
    let levers = estate.sim.levers();
    let fails = |args: Value| async { estate.failure("backup_restore", args).await };
    let text = fails(json!({"guest": "lab/100", "from": "vault", "vmid": 104})).await;
    assert!(text.contains("lab/104 is taken"), "{text}");
    let text = fails(json!({"guest": "lab/100", "from": "nowhere"})).await;
    assert!(text.contains("lab has no storage `nowhere` with backups"), "{text}");
    let text = fails(json!({"guest": "lab/100", "from": "vault", "storage": "nas9"})).await;
    assert!(text.contains("has no storage nas9 that takes images"), "{text}");
    let text = fails(json!({"guest": "lab/999", "from": "vault"})).await;
    assert!(text.contains("no backup of lab/999 is found"), "{text}");
    let text = fails(json!({"guest": "lab/100", "from": "vault", "time": "2"})).await;
    assert!(text.contains("`2` fits 5 backups of lab/100 web-01"), "{text}");
    levers.set_storage_usage("lab", "ceph-vm", 1.0).unwrap();
    let text = fails(json!({"guest": "lab/100", "from": "vault"})).await;
    assert!(text.contains("ceph-vm has 0B free"), "{text}");
    levers.set_storage_usage("lab", "ceph-vm", 0.5).unwrap();
    levers.node_offline("vault", "vault", true).unwrap();
    let text = fails(json!({"guest": "lab/100", "from": "vault"})).await;
    assert!(text.contains("Can't connect to 127.0.0.1:"), "{text}");
    levers.node_offline("vault", "vault", false).unwrap();
    // A damaged backup fails in its task, and leaves nothing.
    levers.corrupt_backup("vault", "main", "lab", "vm/100").unwrap();
    let text = fails(json!({"guest": "lab/100", "from": "vault", "vmid": 901})).await;
    assert!(text.contains("failed: unable to restore VM 901"), "{text}");
    assert_eq!(status(&estate, "lab/901").await, "gone");
}

/// One token that only looks, and one that changes things.
async fn split() -> Estate {
    let mut estate = Estate::start("readonly").await;
    let lab = &estate.sim.targets()[0];
    let ca = lab.ca_pem.clone();
    let files = move |_: &Path| -> io::Result<FileContent> {
        Ok(FileContent { bytes: ca.clone().into_bytes(), world_readable: Some(false) })
    };
    let (looks, changes) = (lab.token("readonly"), lab.token("operator"));
    let urls: Vec<_> = lab.nodes.iter().map(|node| node.url.clone()).collect();
    let table = json!({
        "endpoints": urls, "ca_file": "ca.pem", "token_id": looks.id, "token": looks.secret,
        "operate_token_id": changes.id, "operate_token": changes.secret,
    });
    let config: pve_client::Config = serde_json::from_value(table).expect("a table");
    let options = config.validate("lab", &files).expect("a valid table").value;
    let client = pve_client::Client::connect(&options).expect("a client");
    let fleet = Arc::into_inner(estate.cx.fleet).expect("nobody else holds the fleet");
    let fleet = fleet.with_pve("lab".parse().expect("a key"), &client, Traits::default());
    estate.cx.fleet = Arc::new(fleet);
    estate
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_the_token_for_changes_sees_is_seen() {
    let estate = split().await;
    let answer = estate.ask("backup_run", json!({"guests": ["lab/125"], "storage": "vault"})).await;
    assert!(answer.object["size_bytes"].as_u64() > Some(0), "{}", answer.text);
    let answer = estate.ask("backup_restore", json!({"guest": "lab/125", "from": "vault"})).await;
    assert!(!answer.failed, "{}", answer.text);
    let args = json!({"guest": "lab/125", "from": "vault", "wait_s": 60});
    let answer = estate.ask("restore_rehearsal", args).await;
    assert!(!answer.failed, "{}", answer.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_needs_more_than_to_make_backups() {
    let estate = Estate::start("agent").await;
    let text = estate.failure("backup_restore", json!({"guest": "lab/100", "from": "vault"})).await;
    assert!(text.contains("VM.Allocate"), "{text}");
    let estate = Estate::start("readonly").await;
    let text = estate.failure("backup_restore", json!({"guest": "lab/100", "from": "vault"})).await;
    assert!(text.contains("no backup of lab/100 web-01 is found"), "{text}");
    assert!(text.contains("backups may be hidden from it"), "{text}");
}
