//! Snapshots that are gone back to and removed.

use expect_test::expect;
use serde_json::{Value, json};

use crate::{change_options::quiet, estate::Estate, make::plan};

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_says_what_is_lost_and_how_the_guest_is_afterwards() {
    let estate = Estate::start("operator").await;
    let args = json!({"guest": "lab/109", "set": {"description": "after", "tags": "odd"}});
    estate.text("guest_configure", args).await;
    let args = json!({"guest": "lab/109", "name": "pre-patch"});
    let planned = plan(&estate, "snapshot_rollback", args.clone()).await;
    expect![[r#"
        plan of the rollback of lab/109 erp-01 to pre-patch: 2 calls; nothing was done
        access: destroy
        undo: snapshot_rollback {"guest":"lab/109","name":"safety-1","start":true}
        digest: DIGEST
        decision: ask (destroy): line `destroy` asks any approver: tier destroy, target lab/109
        member call parameters
        lab POST_/nodes/alder/qemu/109/snapshot snapname=safety-1 description=made by proxmox-mcp before a rollback
        lab POST_/nodes/alder/qemu/109/snapshot/pre-patch/rollback -
        what before after
        tags odd prod;protected
        note: effect: step 1 keeps the guest as it is now in snapshot safety-1, which stays until it is deleted (snapshot_delete)
        note: effect: the guest is stopped at once, and stays off
        note: warning data_lost: everything that the guest wrote to its disks since TIME (AGE ago) is lost"#]].assert_eq(&quiet(&planned.text));
    let answer = estate.ask("snapshot_rollback", args).await;
    expect![[r#"
        lab/109 erp-01 is back at pre-patch of AGE ago and is stopped (0 s)
        note: it ran before, and is off now
        note: kept first: snapshot safety-1 of lab/109 erp-01
        next: guest_power {"guest":"lab/109","action":"start"}"#]]
    .assert_eq(&quiet(&answer.text));
    let text = estate.text("guest_get", json!({"guest": "lab/109", "include": ["config"]})).await;
    assert!(text.contains("after") && !text.contains("odd"), "{text}");
    let args = json!({"guest": "lab/104", "name": "weekly-1", "start": true});
    let answer = estate.ask("snapshot_rollback", args).await;
    assert!(!answer.failed && answer.object["state"] == "running", "{}", answer.text);
    let answer = estate.ask("snapshot_list", json!({"guest": "lab/104"})).await;
    // The two that were there, and what was kept first.
    assert_eq!(answer.object["snapshot_count"], 3, "{}", answer.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_gone_back_to_is_refused() {
    let estate = Estate::start("operator").await;
    let levers = estate.sim.levers();
    let fails = async |args: Value| estate.failure("snapshot_rollback", args).await;
    let text = fails(json!({"guest": "lab/104", "name": "weekly"})).await;
    assert!(text.contains("has no snapshot `weekly`") && text.contains("weekly-2"), "{text}");
    levers.storage_type("lab", "ceph-vm", "zfspool").unwrap();
    let text = fails(json!({"guest": "lab/104", "name": "weekly-1"})).await;
    assert!(
        text.contains("goes back to its newest snapshot only") && text.contains("weekly-2"),
        "{text}"
    );
    levers.fail_next_task("lab", Some("qmrollback"), "rbd error: timeout").unwrap();
    let text = fails(json!({"guest": "lab/104", "name": "weekly-2"})).await;
    assert!(text.contains("rbd error: timeout"), "{text}");
    levers.set_option("lab", 104, "lock", json!("backup")).unwrap();
    let text = fails(json!({"guest": "lab/104", "name": "weekly-2"})).await;
    assert!(text.contains("it is locked (backup)"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_snapshot_is_deleted_and_the_others_stay() {
    let estate = Estate::start("operator").await;
    let args = json!({"guest": "lab/104", "name": "weekly-1"});
    let planned = plan(&estate, "snapshot_delete", args.clone()).await;
    expect![[r#"
        plan of the deletion of snapshot weekly-1 of lab/104 db-main: 1 call; nothing was done
        access: destroy
        undo: not possible: a snapshot that is deleted is gone
        digest: DIGEST
        decision: ask (destroy): line `destroy` asks any approver: tier destroy, target lab/104
        member call parameters
        lab DELETE_/nodes/birch/qemu/104/snapshot/weekly-1 -
        note: effect: nobody can go back to weekly-1 of TIME (AGE ago) any more
        note: effect: the guest stays as it is; on storages of files the merge can take long and load them
        note: effect: the snapshots after it stay: weekly-2"#]].assert_eq(&quiet(&planned.text));
    let answer = estate.ask("snapshot_delete", args.clone()).await;
    assert!(
        answer.text.starts_with("snapshot weekly-1 of lab/104 db-main is deleted"),
        "{}",
        answer.text
    );
    let text = estate.text("snapshot_list", json!({"guest": "lab/104"})).await;
    assert!(text.contains("weekly-2") && !text.contains("weekly-1"), "{text}");
    assert!(estate.failure("snapshot_delete", args).await.contains("has no snapshot"));
    estate.sim.levers().fail_next_task("lab", Some("qmdelsnapshot"), "image busy").unwrap();
    let text =
        estate.failure("snapshot_delete", json!({"guest": "lab/104", "name": "weekly-2"})).await;
    assert!(text.contains("image busy"), "{text}");
}
