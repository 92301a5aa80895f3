//! Guests that are made, changed, copied, moved, backed up and destroyed.

use crate::wire::{Caller, demo};

#[tokio::test]
async fn a_guest_from_creation_to_destruction() {
    let sim = demo().await;
    let admin = Caller::admin(&sim, "lab").await;
    let free = admin.get("/cluster/nextid").await.data();
    assert_eq!(free, "144");
    let params = [
        ("vmid", "144"),
        ("name", "fresh"),
        ("memory", "1024"),
        ("scsi0", "ceph-vm:8"),
        ("net0", "virtio,bridge=vmbr0"),
        ("tags", "dev"),
    ];
    let task = admin.post("/nodes/alder/qemu", &params).await;
    assert_eq!(admin.run(task).await.0, "OK");
    let config = admin.get("/nodes/alder/qemu/144/config").await.data();
    assert_eq!(config["scsi0"], "ceph-vm:vm-144-disk-0,size=8G");
    assert_eq!(config["memory"], "1024");
    assert!(config["net0"].as_str().unwrap().starts_with("virtio=BC:24:11:"));
    let digest = config["digest"].as_str().unwrap();
    let stale = admin
        .put("/nodes/alder/qemu/144/config", &[("cores", "2"), ("digest", &"0".repeat(40))])
        .await;
    assert_eq!(stale.line(), "500 checksum mismatch (file change by other user?)");
    assert_eq!(
        admin
            .put("/nodes/alder/qemu/144/config", &[("cores", "2"), ("digest", digest)])
            .await
            .data(),
        serde_json::Value::Null
    );
    let task = admin.post("/nodes/alder/qemu/144/status/start", &[]).await;
    assert_eq!(admin.run(task).await.0, "OK");
    assert_eq!(admin.put("/nodes/alder/qemu/144/config", &[("cores", "4")]).await.status, 200);
    let pending = admin.get("/nodes/alder/qemu/144/pending").await.data();
    assert!(
        pending
            .as_array()
            .unwrap()
            .iter()
            .any(|row| row["key"] == "cores" && row["pending"] == 4 && row["value"] == 2)
    );
    assert_eq!(
        admin.delete("/nodes/alder/qemu/144").await.line(),
        "500 VM 144 is running - destroy failed"
    );
    let refused = admin.post("/nodes/alder/qemu/144/migrate", &[("target", "cedar")]).await;
    assert_eq!(refused.line(), "500 can't migrate running VM without --online");
    let task =
        admin.post("/nodes/alder/qemu/144/migrate", &[("target", "cedar"), ("online", "1")]).await;
    assert_eq!(admin.run(task).await.0, "OK");
    for (verb, path, params) in [
        ("PUT", "/nodes/cedar/qemu/144/resize", vec![("disk", "scsi0"), ("size", "+2G")]),
        (
            "POST",
            "/nodes/cedar/qemu/144/move_disk",
            vec![("disk", "scsi0"), ("storage", "local-lvm"), ("delete", "1")],
        ),
        ("POST", "/nodes/cedar/qemu/144/status/stop", vec![]),
        ("POST", "/nodes/cedar/qemu/144/template", vec![]),
        ("POST", "/nodes/cedar/qemu/144/clone", vec![("newid", "145"), ("name", "copy")]),
    ] {
        let got = admin.form(verb, path, &params).await;
        let (status, log) = admin.run(got).await;
        assert_eq!(status, "OK", "{path} {log:?}");
    }
    let config = admin.get("/nodes/cedar/qemu/144/config").await.data();
    assert_eq!(config["scsi0"], "local-lvm:base-144-disk-0,size=10G");
    assert_eq!(config["cores"], 4);
    assert_eq!(admin.get("/nodes/cedar/qemu/145/config").await.data()["name"], "copy");
    assert_eq!(
        admin.delete("/nodes/cedar/qemu/144").await.line(),
        "500 base volume 'local-lvm:base-144-disk-0' is still in use by linked cloned"
    );
    for vmid in ["145", "144"] {
        let task = admin.delete(&format!("/nodes/cedar/qemu/{vmid}")).await;
        assert_eq!(admin.run(task).await.0, "OK");
    }
    assert_eq!(admin.get("/cluster/nextid").await.data(), "144");
    assert_eq!(
        admin.delete("/nodes/birch/qemu/104?purge=1").await.line(),
        "500 can't remove VM 104 - protection mode enabled"
    );
}

#[tokio::test]
async fn snapshots_are_taken_rolled_back_and_deleted() {
    let sim = demo().await;
    let agent = Caller::token(&sim, "edge", "agent");
    let base = "/nodes/alder/qemu/100/snapshot";
    for (name, expected) in
        [("one", "OK"), ("two", "OK"), ("one", "snapshot name 'one' already used")]
    {
        let task = agent.post(base, &[("snapname", name), ("description", "why")]).await;
        assert_eq!(agent.run(task).await.0, expected);
    }
    let list = agent.get(base).await.data();
    assert_eq!(list[1]["parent"], "one");
    assert_eq!(
        list[2],
        serde_json::json!({"name": "current", "parent": "two", "description": "You are here!", "running": 1, "digest": list[2]["digest"]})
    );
    let task = agent.post(&format!("{base}/one/rollback"), &[]).await;
    assert_eq!(agent.run(task).await.0, "OK");
    let task = agent.delete(&format!("{base}/one")).await;
    assert_eq!(agent.run(task).await.0, "OK");
    let list = agent.get(base).await.data();
    assert_eq!((list.as_array().unwrap().len(), list[0].get("parent")), (2, None));
}

#[tokio::test]
async fn a_backup_appears_on_the_backup_server() {
    let sim = demo().await;
    let agent = Caller::token(&sim, "lab", "agent");
    let vault = Caller::token(&sim, "vault", "agent");
    let path = "/admin/datastore/main/snapshots?ns=lab&backup-type=vm&backup-id=125";
    assert_eq!(vault.get(path).await.data(), serde_json::json!([]));
    let task = agent
        .post(
            "/nodes/alder/vzdump",
            &[("vmid", "125"), ("storage", "vault"), ("notes-template", "{{guestname}}")],
        )
        .await;
    let (status, log) = agent.run(task).await;
    assert_eq!(status, "OK", "{log:?}");
    assert!(log.contains(&"INFO: Backup job finished successfully".to_owned()));
    let found = vault.get(path).await.data();
    assert_eq!(
        (found[0]["comment"].as_str(), found[0]["protected"].as_bool()),
        (Some("dev-bela"), Some(false))
    );
    let content = agent.get("/nodes/alder/storage/vault/content?vmid=125").await.data();
    assert_eq!(content[0]["ctime"], found[0]["backup-time"]);
    let task = agent.post("/nodes/cedar/vzdump", &[("vmid", "112"), ("storage", "vault")]).await;
    assert_eq!(agent.run(task).await.0, "job errors");
    let task = agent.post("/nodes/alder/vzdump", &[("vmid", "9999"), ("storage", "nas")]).await;
    let (_, log) = agent.run(task).await;
    assert_eq!(log[1], "ERROR: Backup of VM 9999 failed - unable to find VM '9999'");
}

#[tokio::test]
async fn agents_answer_or_say_that_they_do_not() {
    let sim = demo().await;
    let agent = Caller::token(&sim, "lab", "agent");
    let addresses = agent.get("/nodes/alder/qemu/100/agent/network-get-interfaces").await.data();
    assert_eq!(addresses["result"][1]["ip-addresses"][0]["ip-address"], "10.40.20.100");
    for (path, line) in [
        ("/nodes/birch/qemu/111/agent/get-osinfo", "500 QEMU guest agent is not running"),
        ("/nodes/cedar/qemu/118/agent/get-osinfo", "500 No QEMU guest agent configured"),
        ("/nodes/alder/qemu/125/agent/get-osinfo", "500 VM 125 is not running"),
    ] {
        assert_eq!(agent.get(path).await.line(), line);
    }
    let exec = agent
        .json(
            "POST",
            "/nodes/alder/qemu/100/agent/exec",
            &serde_json::json!({"command": ["echo", "hi there"]}),
        )
        .await
        .data();
    let status = agent
        .get(&format!("/nodes/alder/qemu/100/agent/exec-status?pid={}", exec["pid"]))
        .await
        .data();
    assert_eq!(status, serde_json::json!({"exited": 1, "exitcode": 0, "out-data": "hi there\n"}));
    assert_eq!(agent.get("/nodes/alder/lxc/130/interfaces").await.data()[1]["name"], "eth0");
    assert_eq!(agent.get("/nodes/cedar/lxc/141/interfaces").await.data(), serde_json::Value::Null);
}

#[tokio::test]
async fn uploads_arrive_on_the_storage() {
    let sim = demo().await;
    let admin = Caller::admin(&sim, "lab").await;
    let form = |name: &str| {
        format!(
            "--B\r\nContent-Disposition: form-data; name=\"content\"\r\n\r\niso\r\n--B\r\nContent-Disposition: form-data; name=\"filename\"; filename=\"{name}\"\r\nContent-Type: application/octet-stream\r\n\r\n0123456789\r\n--B--\r\n"
        )
    };
    let kind = [("Content-Type", "multipart/form-data; boundary=B".to_owned())];
    let path = "/api2/json/nodes/alder/storage/local/upload";
    let task = admin.try_send("POST", path, &kind, &form("tiny.iso")).await.unwrap();
    assert_eq!(admin.run(task).await.0, "OK");
    let content = admin.get("/nodes/alder/storage/local/content?content=iso").await.data();
    assert_eq!(
        (content[0]["volid"].as_str(), content[0]["size"].as_u64()),
        (Some("local:iso/tiny.iso"), Some(10))
    );
    let refused = admin.try_send("POST", path, &kind, &form("tiny.txt")).await.unwrap();
    assert_eq!(refused.json()["errors"]["filename"], "wrong file extension");
}
