//! Guests made from images and templates, and what is fetched for that.

use serde_json::json;

use crate::wire::{Caller, demo};

const KEY: &str = "ssh-ed25519%20AAAAC3NzaC1lZDI1NTE5AAAAIB%20ops%40example";

#[tokio::test]
async fn an_image_is_fetched_imported_and_started() {
    let sim = demo().await;
    let caller = Caller::token(&sim, "lab", "operator");
    let url = "https://download.example/rocky/Rocky-10-GenericCloud.latest.x86_64.qcow2";
    let found = caller.get(&format!("/nodes/alder/query-url-metadata?url={url}")).await.data();
    assert_eq!(found["filename"], "Rocky-10-GenericCloud.latest.x86_64.qcow2");
    let path = "/nodes/alder/storage/nas/download-url";
    let params = [
        ("url", url),
        ("content", "import"),
        ("filename", "rocky-10.qcow2"),
        ("checksum", "aa"),
        ("checksum-algorithm", "sha256"),
    ];
    let task = caller.post(path, &params).await;
    let (status, log) = caller.run(task).await;
    assert_eq!(status, "OK", "{log:?}");
    assert!(log.contains(&"calculating checksum...OK, checksum verified".to_owned()), "{log:?}");
    // The same once more is fine where the checksum can tell, and refused where nothing can.
    let task = caller.post(path, &params).await;
    assert_eq!(caller.run(task).await.0, "OK");
    let task = caller.post(path, &params[..3]).await;
    let (status, _) = caller.run(task).await;
    assert_eq!(status, "refusing to override existing file '/mnt/sim/nas/import/rocky-10.qcow2'");
    for (filename, url, sum, cause) in [
        ("a.qcow2", "https://nowhere.invalid/a.qcow2", "aa", "exit code 4"),
        ("b.qcow2", "https://download.example/missing.qcow2", "aa", "exit code 8"),
        ("c.qcow2", "https://download.example/c.qcow2", "00", "checksum mismatch: got"),
    ] {
        let params = [
            ("url", url),
            ("content", "import"),
            ("filename", filename),
            ("checksum", sum),
            ("checksum-algorithm", "sha256"),
        ];
        let task = caller.post(path, &params).await;
        let (status, _) = caller.run(task).await;
        assert!(status.contains(cause), "{status}");
    }
    let params = [
        ("vmid", "144"),
        ("name", "fresh"),
        ("scsi0", "ceph-vm:0,import-from=nas:import/rocky-10.qcow2,discard=on"),
        ("ide2", "ceph-vm:cloudinit"),
        ("net0", "virtio,bridge=vmbr0"),
        ("ipconfig0", "ip=10.40.7.9/24,gw=10.40.7.1"),
        ("sshkeys", KEY),
        ("agent", "1"),
    ];
    let task = caller.post("/nodes/alder/qemu", &params).await;
    assert_eq!(caller.run(task).await.0, "OK");
    let config = caller.get("/nodes/alder/qemu/144/config").await.data();
    assert_eq!(config["scsi0"], "ceph-vm:vm-144-disk-0,discard=on,size=3G");
    assert_eq!(config["ide2"], "ceph-vm:vm-144-cloudinit,media=cdrom,size=4M");
    assert_eq!(config["boot"], "order=scsi0;net0");
    let task = caller.post("/nodes/alder/qemu/144/status/start", &[]).await;
    assert_eq!(caller.run(task).await.0, "OK");
    let address = loop {
        let got = caller.get("/nodes/alder/qemu/144/agent/network-get-interfaces").await;
        if got.status == 200 {
            break got.data()["result"][1]["ip-addresses"][0]["ip-address"].clone();
        }
        assert_eq!(got.line(), "500 QEMU guest agent is not running");
    };
    assert_eq!(address, "10.40.7.9");
}

#[tokio::test]
async fn what_cannot_be_made_is_refused_and_leaves_nothing() {
    let sim = demo().await;
    let caller = Caller::token(&sim, "lab", "operator");
    let make = async |params: &[(&str, &str)]| {
        let got = caller.post("/nodes/alder/qemu", params).await;
        if got.status == 200 { caller.run(got).await.0 } else { got.line() }
    };
    let iso = "local:0,import-from=nas:iso/virtio-win-0.1.271.iso";
    assert_eq!(
        make(&[("vmid", "144"), ("scsi0", iso)]).await,
        "400 Parameter verification failed."
    );
    let missing = "ceph-vm:0,import-from=nas:import/missing.qcow2";
    assert_eq!(
        make(&[("vmid", "144"), ("scsi0", missing)]).await,
        "unable to create VM 144 - volume 'nas:import/missing.qcow2' does not exist"
    );
    assert_eq!(
        make(&[("vmid", "144"), ("scsi0", "local:8")]).await,
        "unable to create VM 144 - storage 'local' does not support vm images"
    );
    assert_eq!(
        make(&[("vmid", "144"), ("sshkeys", "AAAA")]).await,
        "500 SSH public key validation error"
    );
    sim.levers().fail_next_task("lab", Some("qmcreate"), "rbd error: No space left").unwrap();
    assert_eq!(make(&[("vmid", "144"), ("scsi0", "ceph-vm:8")]).await, "rbd error: No space left");
    assert_eq!(caller.get("/cluster/nextid").await.data(), "144");
    let agent = Caller::token(&sim, "lab", "agent");
    let got = agent.post("/nodes/alder/qemu", &[("vmid", "144")]).await;
    assert_eq!(got.line(), "403 Permission check failed (/vms/144, VM.Allocate)");
}

#[tokio::test]
async fn a_container_needs_its_template() {
    let sim = demo().await;
    let caller = Caller::token(&sim, "lab", "operator");
    let list = caller.get("/nodes/alder/aplinfo").await.data();
    assert!(list.as_array().unwrap().iter().any(|row| row["package"] == "debian-13-standard"));
    let make = async |template: &str| {
        let params = [
            ("vmid", "144"),
            ("ostemplate", template),
            ("rootfs", "local-lvm:8"),
            ("net0", "name=eth0,bridge=vmbr0,ip=10.40.7.8/24,gw=10.40.7.1"),
            ("start", "1"),
        ];
        caller.post("/nodes/alder/lxc", &params).await
    };
    let file = "alpine-3.23-default_20260116_amd64.tar.xz";
    let template = format!("local:vztmpl/{file}");
    let refused = make(&template).await;
    assert_eq!(refused.line(), format!("500 volume '{template}' does not exist"));
    let params = [("storage", "local"), ("template", file)];
    let task = caller.post("/nodes/alder/aplinfo", &params).await;
    assert_eq!(caller.run(task).await.0, "OK");
    let task = make(&template).await;
    assert_eq!(caller.run(task).await.0, "OK");
    let config = caller.get("/nodes/alder/lxc/144/config").await.data();
    assert_eq!((&config["ostype"], &config["unprivileged"]), (&json!("alpine"), &json!(1)));
    let interfaces = caller.get("/nodes/alder/lxc/144/interfaces").await.data();
    assert_eq!(interfaces[1]["inet"], "10.40.7.8/24");
}

#[tokio::test]
async fn copies_have_their_own_drives_and_addresses() {
    let sim = demo().await;
    let caller = Caller::token(&sim, "lab", "operator");
    let before = caller.get("/nodes/alder/qemu/9000/config").await.data();
    let clone = async |params: &[(&str, &str)]| {
        let got = caller.post("/nodes/alder/qemu/9000/clone", params).await;
        if got.status == 200 { caller.run(got).await.0 } else { got.line() }
    };
    assert_eq!(clone(&[("newid", "144"), ("name", "one"), ("target", "birch")]).await, "OK");
    let config = caller.get("/nodes/birch/qemu/144/config").await.data();
    assert_eq!(config["scsi0"], "ceph-vm:base-9000-disk-0/vm-144-disk-0,size=16G");
    assert_eq!(config["ide2"], "ceph-vm:vm-144-cloudinit,media=cdrom,size=4M");
    assert_ne!(config["net0"], before["net0"]);
    assert_eq!(
        clone(&[("newid", "145"), ("storage", "local-lvm")]).await,
        "500 parameter 'storage' not allowed for linked clones"
    );
    assert_eq!(
        clone(&[("newid", "145"), ("full", "1"), ("storage", "local-lvm"), ("target", "birch")])
            .await,
        "500 can't clone to non-shared storage 'local-lvm'"
    );
    let refused = caller.post("/nodes/alder/qemu/108/clone", &[("newid", "145")]).await;
    assert_eq!(refused.status, 500);
    let refused =
        caller.post("/nodes/cedar/qemu/108/clone", &[("newid", "145"), ("target", "birch")]).await;
    assert_eq!(refused.line(), "500 can't clone VM to node 'birch' (VM uses local storage)");
    sim.levers().fail_next_task("lab", Some("qmclone"), "received interrupt").unwrap();
    assert_eq!(clone(&[("newid", "145")]).await, "received interrupt");
    assert_eq!(caller.get("/cluster/nextid").await.data(), "145");
    // A guest in a replication job goes only with it.
    let task = caller.post("/nodes/alder/qemu/113/status/stop", &[]).await;
    assert_eq!(caller.run(task).await.0, "OK");
    assert_eq!(
        caller.delete("/nodes/alder/qemu/113").await.line(),
        "500 There is a replication job '113-0' for guest '113' - Please remove that first."
    );
    let task = caller.delete("/nodes/alder/qemu/113?purge=1").await;
    assert_eq!(caller.run(task).await.0, "OK");
    assert_eq!(caller.get("/cluster/replication").await.data(), json!([]));
}
