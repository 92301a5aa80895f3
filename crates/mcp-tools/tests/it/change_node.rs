//! Guests that move to another node, and what stands in the way.

use expect_test::expect;
use serde_json::{Value, json};

use crate::{change_options::quiet, estate::Estate, make::plan};

async fn node(estate: &Estate, guest: &str) -> String {
    let answer = estate.ask("guest_get", json!({"guest": guest, "include": ["status"]})).await;
    answer.object["node"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_machine_moves_live_and_back() {
    let estate = Estate::start("operator").await;
    let args = json!({"guest": "lab/106", "target": "cedar"});
    let planned = plan(&estate, "guest_migrate", args.clone()).await;
    expect![[r#"
        plan of the move of lab/106 mail-01 from alder to cedar: 1 call; nothing was done
        access: operate
        undo: guest_migrate {"guest":"lab/106","target":"alder"}
        digest: DIGEST
        decision: allow (operate): line `operate` allows it: tier operate, target lab/106
        member call parameters
        lab POST_/nodes/alder/qemu/106/migrate target=cedar online=1
        what before after
        node alder cedar
        note: effect: it keeps running, but for a moment at the end"#]]
    .assert_eq(&quiet(&planned.text));
    assert_eq!(node(&estate, "lab/106").await, "alder");
    let answer = estate.ask("guest_migrate", args.clone()).await;
    expect![[r#"
        lab/106 mail-01 is on cedar now and running (live, 0 s)
        next: guest_get {"guest":"lab/106"}"#]]
    .assert_eq(&quiet(&answer.text));
    let answer = estate.ask("guest_migrate", args).await;
    assert_eq!(answer.object["status"], "unchanged", "{}", answer.text);
    let answer =
        estate.ask("guest_migrate", json!({"guest": "lab/106", "target": "lab/alder"})).await;
    assert!(!answer.failed && answer.object["way"] == "live", "{}", answer.text);
    // Off, with a disk that only its node sees.
    let answer = estate.ask("guest_migrate", json!({"guest": "lab/119", "target": "birch"})).await;
    assert!(answer.text.contains("is on birch now and stopped (offline"), "{}", answer.text);
    // A container is stopped and started.
    let args = json!({"guest": "lab/131", "target": "cedar", "restart": true});
    let answer = estate.ask("guest_migrate", args).await;
    assert!(
        answer.text.contains("lab/131 dns-01 is on cedar now and running (restart"),
        "{}",
        answer.text
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_blocks_is_said_before() {
    let estate = Estate::start("operator").await;
    let levers = estate.sim.levers();
    let fails = async |args: Value| estate.failure("guest_migrate", args).await;
    levers.bar_moves("lab", "birch", "ceph-vm").unwrap();
    for (args, why) in [
        (json!({"guest": "lab/108", "target": "alder"}), "it uses devices of its node: hostpci0"),
        (json!({"guest": "lab/113", "target": "cedar"}), "give with_local_disks=true"),
        (json!({"guest": "lab/131", "target": "cedar"}), "cannot move without being stopped"),
        (json!({"guest": "lab/106", "target": "birch"}), "storages that it does not have: ceph-vm"),
        (json!({"guest": "lab/106", "target": "oak"}), "lab has no node `oak`"),
        (
            json!({"guest": "lab/106", "target": "cedar", "target_storage": "nowhere"}),
            "has no storage `nowhere`",
        ),
    ] {
        let text = fails(args).await;
        assert!(text.contains(why), "{why}: {text}");
    }
    let args = json!({"guest": "lab/113", "target": "cedar", "with_local_disks": true});
    let planned = plan(&estate, "guest_migrate", args.clone()).await;
    assert!(planned.text.contains("100G of local disks are copied: scsi0"), "{}", planned.text);
    let answer = estate.ask("guest_migrate", args).await;
    assert!(!answer.failed, "{}", answer.text);
    levers.set_option("lab", 107, "lock", json!("backup")).unwrap();
    let text = fails(json!({"guest": "lab/107", "target": "cedar"})).await;
    assert!(text.contains("it is locked (backup)"), "{text}");
    levers.fail_next_task("lab", Some("qmigrate"), "migration aborted").unwrap();
    let text = fails(json!({"guest": "lab/106", "target": "cedar"})).await;
    assert!(text.contains("migration aborted"), "{text}");
    assert_eq!(node(&estate, "lab/106").await, "alder");
    levers.node_offline("lab", "cedar", true).unwrap();
    let text = fails(json!({"guest": "lab/106", "target": "cedar"})).await;
    assert!(text.contains("node cedar is"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ha_is_asked_and_waited_for() {
    let estate = Estate::start("operator").await;
    let planned =
        plan(&estate, "guest_migrate", json!({"guest": "lab/104", "target": "alder"})).await;
    assert!(planned.text.contains("HA manages it: HA is asked"), "{}", planned.text);
    let answer = estate.ask("guest_migrate", json!({"guest": "lab/104", "target": "alder"})).await;
    assert!(
        !answer.failed && answer.text.contains("is on alder now and running"),
        "{}",
        answer.text
    );
}
