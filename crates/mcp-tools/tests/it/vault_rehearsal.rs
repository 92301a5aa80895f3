//! Rehearsals prove what they prove, and leave nothing behind, whatever happens.

use serde_json::{Value, json};

use crate::{
    estate::Estate,
    vault_run::{estate, planned},
};

/// The ids of a cluster's guests.
async fn ids(estate: &Estate) -> Vec<String> {
    let answer = estate.ask("guests_list", json!({"cluster": "lab", "limit": 100})).await;
    let rows = answer.object["guests"]["rows"].as_array().expect("rows");
    rows.iter().map(|row| row[0].as_str().expect("a guest").to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_restored_started_looked_at_and_removed() {
    let estate = estate().await;
    let before = ids(&estate).await;
    let args = json!({"guest": "lab/100", "from": "vault", "wait_s": 60});
    let (failed, text, object) = planned(&estate, "restore_rehearsal", args.clone()).await;
    assert!(!failed, "{text}");
    let calls = object["calls"]["rows"].as_array().unwrap();
    let restore = calls[0][2].as_str().unwrap();
    assert!(restore.contains("link_down=1") && restore.contains("onboot=0"), "{text}");
    assert!(calls.last().unwrap()[1].as_str().unwrap().starts_with("DELETE "), "{text}");
    assert_eq!(ids(&estate).await, before);
    let answer = estate.ask("restore_rehearsal", args).await;
    assert!(!answer.failed, "{}", answer.text);
    let lead = "rehearsal of lab/100 web-01 passed: restored from vault:main/lab of ";
    assert!(answer.text.starts_with(lead), "{}", answer.text);
    assert!(answer.text.contains("its agent answered after"), "{}", answer.text);
    assert!(answer.text.contains("lab/144 is removed"), "{}", answer.text);
    assert!(
        answer.text.contains("not proven: that applications and their data are sound"),
        "{}",
        answer.text
    );
    assert!(answer.text.contains("<<<untrusted what the rehearsed guest said"), "{}", answer.text);
    assert_eq!(answer.object["proved"].as_array().unwrap().len(), 3);
    assert_eq!(ids(&estate).await, before);
    // A container has no agent, and says so.
    let args = json!({"guest": "lab/131", "from": "vault", "wait_s": 1});
    let answer = estate.ask("restore_rehearsal", args).await;
    assert!(!answer.failed, "{}", answer.text);
    assert!(answer.text.contains("not proven: that its system comes up"), "{}", answer.text);
    assert_eq!(ids(&estate).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_cleans_up_after_every_failure() {
    let estate = estate().await;
    let before = ids(&estate).await;
    let levers = estate.sim.levers();
    let args = json!({"guest": "lab/100", "from": "vault", "wait_s": 5});
    // The start fails.
    levers.fail_next_task("lab", Some("qmstart"), "start failed: QEMU exited with code 1").unwrap();
    let text = estate.failure("restore_rehearsal", args.clone()).await;
    assert!(text.contains("failed at step 2 of 4: start lab/144 failed"), "{text}");
    assert!(text.contains("afterwards: remove lab/144"), "{text}");
    assert_eq!(ids(&estate).await, before);
    // The restore fails.
    levers.corrupt_backup("vault", "main", "lab", "vm/100").unwrap();
    let text = estate.failure("restore_rehearsal", args).await;
    assert!(text.contains("failed at step 1 of 4"), "{text}");
    assert_eq!(ids(&estate).await, before);
    // The agent never answers: 111's is configured and silent.
    let args = json!({"guest": "lab/111", "from": "vault", "wait_s": 1});
    let text = estate.failure("restore_rehearsal", args).await;
    assert!(text.contains("its guest agent did not answer within 1 s"), "{text}");
    assert_eq!(ids(&estate).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_elses_guest_with_the_id_is_left_alone() {
    let estate = estate().await;
    let tool = crate::estate::tool("restore_rehearsal");
    let args = json!({"guest": "lab/100", "from": "vault", "vmid": 950, "wait_s": 5});
    let Value::Object(args) = args else { unreachable!("it is an object") };
    let plan = tool.as_action().unwrap().plan(&estate.cx, args).await.expect("a plan");
    // Between the plan and the run somebody takes the id.
    estate.text("backup_restore", json!({"guest": "lab/101", "from": "vault", "vmid": 950})).await;
    let error = plan.execute(&estate.cx).await.expect_err("the id is taken").into_report();
    assert!(error.lead.contains("already exists"), "{}", error.lead);
    assert!(ids(&estate).await.contains(&"lab/950".to_owned()), "it is still there");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_behind_is_said_loudly() {
    let estate = estate().await;
    let levers = estate.sim.levers();
    levers.fail_next_task("lab", Some("qmdestroy"), "zfs error: dataset is busy").unwrap();
    let args = json!({"guest": "lab/100", "from": "vault", "wait_s": 60});
    let text = estate.failure("restore_rehearsal", args).await;
    assert!(text.contains("dataset is busy"), "{text}");
    assert!(text.contains("lab/144 may be left behind by the rehearsal"), "{text}");
    let guest = estate.text("guest_get", json!({"guest": "lab/144", "include": ["status"]})).await;
    assert!(guest.contains("stopped"), "{guest}");
}
