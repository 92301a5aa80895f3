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
    // The protected one, which does not count, and the one after it.
    assert_eq!(decided.as_array().unwrap().iter().filter(|row| row["keep"] == true).count(), 2);
    assert_eq!(admin.get(list).await.data().as_array().unwrap().len(), 5);
    assert_eq!(admin.post("/admin/datastore/main/prune", &rules).await.status, 200);
    assert_eq!(admin.get(list).await.data().as_array().unwrap().len(), 2);

    // What was verified is passed over, good or bad, unless it is told otherwise.
    let task = admin.post("/admin/datastore/main/verify", &[]).await;
    let (status, log) = admin.run(task).await;
    assert_eq!(status, "OK");
    assert!(log.iter().any(|line| line.contains("(recently verified)")), "{log:?}");
    let again = [("ignore-verified", "false")];
    let task = admin.post("/admin/datastore/main/verify", &again).await;
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
    // What was pruned just now is too young, what was pruned days ago is not.
    let after = admin.get("/admin/datastore/main/status").await.data()["used"].as_u64().unwrap();
    let pending = gc["pending-bytes"].as_u64().unwrap();
    assert!(after < before && pending > 0, "{gc}");
    sim.levers().age_chunks("vault", "main", 25 * 3600).unwrap();
    let task = admin.post("/admin/datastore/main/gc", &[]).await;
    let (_, log) = admin.run(task).await;
    assert!(!log.iter().any(|line| line.contains("Pending removals")), "{log:?}");
    let gc = admin.get("/admin/datastore/main/gc").await.data();
    assert_eq!(
        (gc["pending-bytes"].as_u64(), gc["removed-bytes"].as_u64()),
        (Some(0), Some(pending))
    );
    let copies = "/admin/datastore/archive/snapshots?ns=lab";
    assert_eq!(admin.get(copies).await.status, 400);
    let task = admin.post("/admin/sync/main-to-archive/run", &[]).await;
    assert_eq!(admin.run(task).await.0, "OK");
    let copies = admin.get(copies).await.data();
    assert!(copies.as_array().unwrap().iter().all(|copy| copy.get("verification").is_none()));
    assert!(!copies.as_array().unwrap().is_empty());
}

#[tokio::test]
async fn a_datastore_is_pruned_with_all_its_namespaces_or_down_to_a_depth() {
    let sim = demo().await;
    let admin = Caller::admin(&sim, "vault").await;
    let count = async |ns: &str| {
        let path = format!("/admin/datastore/main/snapshots?ns={ns}&backup-type=vm&backup-id=100");
        admin.get(&path).await.data().as_array().unwrap().len()
    };
    let prune = "/admin/datastore/main/prune-datastore";
    let dry = [("keep-last", "1"), ("dry-run", "true")];
    let (status, log) = admin.run(admin.post(prune, &dry).await).await;
    assert_eq!(status, "OK");
    assert!(log.iter().any(|line| line.contains("retention options: --keep-last 1")), "{log:?}");
    assert!(log.iter().any(|line| line.contains("would remove vm/100/")), "{log:?}");
    let shallow = [("keep-last", "1"), ("max-depth", "0")];
    admin.run(admin.post(prune, &shallow).await).await;
    assert_eq!((count("lab").await, count("edge").await), (5, 5));
    let one = [("keep-last", "2"), ("ns", "lab")];
    admin.run(admin.post(prune, &one).await).await;
    assert_eq!((count("lab").await, count("edge").await), (2, 5));
    admin.run(admin.post(prune, &[("keep-last", "1")]).await).await;
    assert_eq!((count("lab").await, count("edge").await), (1, 1));
    // The protected one of vm/104 stays beside the newest.
    let path = "/admin/datastore/main/snapshots?ns=lab&backup-type=vm&backup-id=104";
    assert_eq!(admin.get(path).await.data().as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_guest_is_backed_up_and_comes_back_under_another_id() {
    let sim = demo().await;
    let admin = Caller::admin(&sim, "lab").await;
    for (storage, kind, guest) in [("vault", "qemu", 125), ("nas", "lxc", 131)] {
        let vmid = guest.to_string();
        let all = admin.get("/cluster/resources?type=vm").await.data();
        let row = all.as_array().unwrap().iter().find(|row| row["vmid"] == guest).unwrap().clone();
        let node_name = row["node"].as_str().unwrap();
        let dump = [("vmid", vmid.as_str()), ("storage", storage), ("compress", "zstd")];
        let (status, log) =
            admin.run(admin.post(&format!("/nodes/{node_name}/vzdump"), &dump).await).await;
        assert_eq!(status, "OK", "{log:?}");
        let path =
            format!("/nodes/{node_name}/storage/{storage}/content?content=backup&vmid={vmid}");
        let files = admin.get(&path).await.data();
        let newest = files.as_array().unwrap().iter().max_by_key(|row| row["ctime"].as_i64());
        let volid = newest.unwrap()["volid"].as_str().unwrap().to_owned();
        let extract = format!(
            "/nodes/{node_name}/vzdump/extractconfig?volume={}",
            crate::wire::escape(&volid)
        );
        let config = admin.get(&extract).await.data();
        assert!(config.as_str().unwrap().contains("net0: "), "{config}");

        let key = if kind == "qemu" { "archive" } else { "ostemplate" };
        let mut restore = vec![("vmid", vmid.as_str()), (key, volid.as_str()), ("unique", "1")];
        if kind == "lxc" {
            restore.push(("restore", "1"));
        }
        let path = format!("/nodes/{node_name}/{kind}");
        let taken = admin.post(&path, &restore).await;
        assert!(taken.reason.contains("already exists on node"), "{}", taken.reason);
        restore[0].1 = "900";
        restore.push(("onboot", "0"));
        let (status, log) = admin.run(admin.post(&path, &restore).await).await;
        assert_eq!(status, "OK", "{log:?}");
        let now = admin.get(&format!("{path}/900/config")).await.data();
        let was = admin.get(&format!("{path}/{vmid}/config")).await.data();
        assert_eq!((&now["cores"], &now["onboot"]), (&was["cores"], &serde_json::json!(0)));
        assert_ne!(now["net0"], was["net0"]);
        admin.run(admin.delete(&format!("{path}/900")).await).await;
        // Over a guest that runs it is the task that fails.
        restore[0].1 = vmid.as_str();
        restore.push(("force", "1"));
        let started = row["status"] == "running";
        let (status, _) = admin.run(admin.post(&path, &restore).await).await;
        assert_eq!(status == "OK", !started, "{status}");
    }
}

#[tokio::test]
async fn a_damaged_backup_cannot_be_restored_and_its_verification_fails() {
    let sim = demo().await;
    let (admin, vault) = (Caller::admin(&sim, "lab").await, Caller::admin(&sim, "vault").await);
    sim.levers().corrupt_backup("vault", "main", "lab", "vm/100").unwrap();
    let path = "/nodes/alder/storage/vault/content?content=backup&vmid=100";
    let files = admin.get(path).await.data();
    let newest = files.as_array().unwrap().iter().max_by_key(|row| row["ctime"].as_i64()).unwrap();
    let restore = [("vmid", "900"), ("archive", newest["volid"].as_str().unwrap())];
    let (status, _) = admin.run(admin.post("/nodes/alder/qemu", &restore).await).await;
    assert!(status.starts_with("unable to restore VM 900 - command"), "{status}");
    assert_eq!(admin.get("/nodes/alder/qemu/900/config").await.status, 500);
    let one = [("ns", "lab"), ("backup-type", "vm"), ("backup-id", "100")];
    let task = vault.post("/admin/datastore/main/verify", &one).await;
    assert!(vault.run(task).await.0.starts_with("verification failed"));
    // A server that is away shows nothing at all.
    sim.levers().node_offline("vault", "vault", true).unwrap();
    assert!(admin.get(path).await.reason.contains("error fetching datastores"));
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
