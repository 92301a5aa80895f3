//! Snapshots listed and made.

use expect_test::expect;
use serde_json::json;

use crate::estate::{Estate, steady};

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_and_what_others_wrote_into_it() {
    let estate = Estate::start("agent").await;
    let text = estate.text("snapshot_list", json!({"guest": "lab/104"})).await;
    expect![[r"
        lab/104 db-main has 2 snapshots and stands after weekly-2
        snapshot parent time memory state
        weekly-1 - TIME(AGE) no -
        weekly-2 weekly-1 TIME(AGE) no -"]]
    .assert_eq(&steady(&text));
    let text = estate.text("snapshot_list", json!({"guest": "web-01"})).await;
    let marked = text.split("<<<untrusted").nth(1).expect("a marked part");
    assert!(marked.contains("before-upgrade: before the upgrade to nginx 1.30"), "{text}");
    let text = estate.text("snapshot_list", json!({"guest": "lab/131"})).await;
    expect!["lab/131 dns-01 has no snapshots"].assert_eq(&text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_is_made_once_and_read_back() {
    let estate = Estate::start("agent").await;
    let args = json!({
        "guest": "lab/100", "name": "before-update", "description": "by hand", "include_memory": true,
    });
    let answer = estate.ask("snapshot_create", args.clone()).await;
    assert!(!answer.failed, "{}", answer.text);
    assert!(answer.text.starts_with("snapshot before-update of lab/100 web-01 is made (OK)"));
    let list = estate.ask("snapshot_list", json!({"guest": "lab/100"})).await;
    let rows = list.object["snapshots"]["rows"].as_array().unwrap();
    let row = rows.iter().find(|row| row[0] == "before-update").expect("the snapshot");
    assert_eq!(row[1], "before-upgrade");
    assert_eq!(row[3], true);
    // The same name again is a task that fails.
    let answer = estate.ask("snapshot_create", args).await;
    assert!(answer.failed, "{}", answer.text);
    assert_eq!(answer.object["status"], "failed");
    assert!(answer.text.starts_with(
        "snapshot before-update of lab/100 web-01 failed: snapshot name 'before-update' already used"
    ));
    // A container, and a guest that is off.
    let text = estate.text("snapshot_create", json!({"guest": "lab/131", "name": "a1"})).await;
    assert!(text.starts_with("snapshot a1 of lab/131 dns-01 is made (OK)"), "{text}");
    let args = json!({"guest": "lab/125", "name": "a1", "include_memory": true});
    let text = estate.text("snapshot_create", args).await;
    assert!(text.contains("note: the guest is off, so there is no memory"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_done_is_refused() {
    let estate = Estate::start("agent").await;
    let mut answers = String::new();
    for args in [
        json!({"guest": "lab/100", "name": "1st"}),
        json!({"guest": "lab/100", "name": "current"}),
        json!({"guest": "lab/131", "name": "a1", "include_memory": true}),
        json!({"guest": "lab/9000", "name": "a1"}),
    ] {
        answers.push_str(&estate.failure("snapshot_create", args).await);
        answers.push('\n');
    }
    expect![[r"
        `1st` cannot name a snapshot: a character is not allowed there
        note: use 2 to 40 characters: a letter, then letters, digits, _ or -
        `current` cannot name a snapshot: the word is reserved
        note: use 2 to 40 characters: a letter, then letters, digits, _ or -
        snapshot a1 of lab/131 dns-01 was not tried: a container's memory cannot be in a snapshot
        note: leave include_memory out
        snapshot a1 of lab/9000 tpl-debian-13 was not tried: it is a template
        note: clone it instead: a template never changes
    "]]
    .assert_eq(&answers);
    // What the storage cannot do is the task's own cause.
    let cause = "snapshot feature is not available";
    estate.sim.levers().fail_next_task("lab", Some("qmsnapshot"), cause).unwrap();
    let args = json!({"guest": "lab/113", "name": "a1"});
    let text = estate.failure("snapshot_create", args).await;
    assert!(
        text.starts_with("snapshot a1 of lab/113 monitoring failed: snapshot feature"),
        "{text}"
    );
}
