//! The backup server's work.

use crate::wire::{Caller, demo};

#[tokio::test]
async fn notes_protection_verification_pruning_and_collection() {
    let sim = demo().await;
    let admin = Caller::admin(&sim, "vault").await;
    let list = "/admin/datastore/main/snapshots?ns=lab&backup-type=vm&backup-id=100";
    let snapshots = admin.get(list).await.data();
    assert_eq!(snapshots.as_array().unwrap().len(), 5);
    let time = snapshots[0]["backup-time"].to_string();
    let one = [
        ("ns", "lab"),
        ("backup-type", "vm"),
        ("backup-id", "100"),
        ("backup-time", time.as_str()),
    ];
    let with = |key: &'static str, value: &'static str| -> Vec<(&str, &str)> {
        one.iter().copied().chain([(key, value)]).collect()
    };
    assert_eq!(
        admin.put("/admin/datastore/main/notes", &with("notes", "kept for the audit")).await.status,
        200
    );
    assert_eq!(
        admin.put("/admin/datastore/main/protected", &with("protected", "true")).await.status,
        200
    );
    let query: Vec<String> = one.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let query = query.join("&");
    assert_eq!(
        admin.get(&format!("/admin/datastore/main/notes?{query}")).await.data(),
        "kept for the audit"
    );
    let refused = admin.delete(&format!("/admin/datastore/main/snapshots?{query}")).await;
    assert_eq!(refused.text(), "failed to delete snapshot - cannot remove protected snapshot");
    let rules = [("ns", "lab"), ("backup-type", "vm"), ("backup-id", "100"), ("keep-last", "1")];
    let dry: Vec<(&str, &str)> = rules.iter().copied().chain([("dry-run", "true")]).collect();
    let decided = admin.post("/admin/datastore/main/prune", &dry).await.data();
    assert_eq!(decided.as_array().unwrap().iter().filter(|row| row["keep"] == true).count(), 1);
    assert_eq!(admin.get(list).await.data().as_array().unwrap().len(), 5);
    assert_eq!(admin.post("/admin/datastore/main/prune", &rules).await.status, 200);
    assert_eq!(admin.get(list).await.data().as_array().unwrap().len(), 1);

    let task = admin.post("/admin/datastore/main/verify", &[]).await;
    let (status, log) = admin.run(task).await;
    assert_eq!(status, "verification failed - please check the log for details");
    assert!(log.iter().any(|line| line.contains("vm/106/")), "{log:?}");
    let task = admin.post("/admin/datastore/archive/verify", &[]).await;
    assert_eq!(admin.run(task).await.0, "OK");
    let before = admin.get("/admin/datastore/main/status").await.data()["used"].as_u64().unwrap();
    let task = admin.post("/admin/datastore/main/gc", &[]).await;
    let upid = task.data();
    assert_eq!(admin.finish(upid.as_str().unwrap()).await.0, "OK");
    let gc = admin.get("/admin/datastore/main/gc").await.data();
    assert_eq!((gc["upid"].as_str(), gc["last-run-state"].as_str()), (upid.as_str(), Some("OK")));
    assert!(
        admin.get("/admin/datastore/main/status").await.data()["used"].as_u64().unwrap() < before
    );
    let task = admin.post("/admin/sync/main-to-archive/run", &[]).await;
    assert_eq!(admin.run(task).await.0, "OK");
}

#[tokio::test]
async fn limited_tokens_are_told_what_is_missing() {
    let sim = demo().await;
    let readonly = Caller::token(&sim, "vault", "readonly");
    let got = readonly
        .delete("/admin/datastore/main/snapshots?backup-type=vm&backup-id=100&backup-time=1")
        .await;
    assert_eq!(
        (got.status, got.text().as_str()),
        (
            403,
            "permission check failed - missing Datastore.Modify|Datastore.Prune on /datastore/main"
        )
    );
    assert_eq!(readonly.get("/admin/datastore").await.data().as_array().unwrap().len(), 2);
    let nothing = Caller::token(&sim, "vault", "nothing");
    assert_eq!(nothing.get("/admin/datastore").await.data(), serde_json::json!([]));
    assert_eq!(nothing.get("/nodes/localhost/status").await.text(), "permission check failed");
    let tasks = readonly.get("/nodes/anything/tasks?limit=3").await.json();
    assert_eq!((tasks["data"].as_array().unwrap().len(), tasks["total"].as_u64()), (3, Some(4)));
    assert_eq!(tasks["data"][0]["node"], "anything");
}
