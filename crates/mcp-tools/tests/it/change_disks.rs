//! Disks that grow and move.

use expect_test::expect;
use serde_json::{Value, json};

use crate::{change_options::quiet, estate::Estate, make::plan};

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_grows_and_what_is_left_to_do_inside_is_said() {
    let estate = Estate::start("operator").await;
    let args = json!({"guest": "lab/100", "size": "+8G"});
    let planned = plan(&estate, "disk_resize", args.clone()).await;
    expect![[r#"
        plan of the growth of scsi0 of lab/100 web-01: 1 call; nothing was done
        access: operate
        undo: not possible: Proxmox cannot shrink disks
        digest: DIGEST
        decision: allow (operate): line `operate` allows it: tier operate, target lab/100
        member call parameters
        lab PUT_/nodes/alder/qemu/100/resize disk=scsi0 size=48G digest=DIGEST
        what before after
        scsi0 40G 48G
        note: effect: the guest sees the larger disk at once; its partition and file system must still be grown inside (growpart and resize2fs or xfs_growfs; Windows: Disk Management)
        note: warning no_shrink: a disk cannot be made smaller again"#]].assert_eq(&quiet(&planned.text));
    let answer = estate.ask("disk_resize", args).await;
    expect![[r#"
        scsi0 of lab/100 web-01 has 48G now (0 s)
        note: the guest sees the larger disk at once; its partition and file system must still be grown inside (growpart and resize2fs or xfs_growfs; Windows: Disk Management)
        next: guest_get {"guest":"lab/100"}"#]].assert_eq(&quiet(&answer.text));
    assert_eq!(answer.object["bytes"], 48_u64 << 30);
    let answer = estate
        .ask("disk_resize", json!({"guest": "lab/100", "disk": "scsi0", "size": "48G"}))
        .await;
    assert_eq!(answer.object["status"], "unchanged", "{}", answer.text);
    let answer = estate.ask("disk_resize", json!({"guest": "lab/130", "size": "9G"})).await;
    assert!(answer.text.contains("rootfs of lab/130 proxy has 9G now"), "{}", answer.text);
    assert!(answer.text.contains("the container's file system grows with it"), "{}", answer.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn disks_never_shrink_and_are_never_guessed() {
    let estate = Estate::start("operator").await;
    let fails = async |args: Value| estate.failure("disk_resize", args).await;
    for (args, why) in [
        (json!({"guest": "lab/100", "size": "8G"}), "it has 40G already, and disks cannot shrink"),
        (json!({"guest": "lab/100", "size": "64"}), "give it with its unit"),
        (json!({"guest": "lab/100", "disk": "scsi9", "size": "64G"}), "has no disk `scsi9`"),
        (json!({"guest": "lab/9000", "size": "64G"}), "a template never changes"),
        (json!({"guest": "lab/9000", "disk": "ide2", "size": "64G"}), "a drive with a medium"),
        (json!({"guest": "lab/100", "size": "9000000G"}), "cannot be meant"),
    ] {
        let text = fails(args).await;
        assert!(text.contains(why), "{why}: {text}");
    }
    let levers = estate.sim.levers();
    levers.set_option("lab", 119, "scsi1", json!("local-lvm:vm-119-disk-7,size=4G")).unwrap();
    let answer = estate.ask("disk_resize", json!({"guest": "lab/119", "size": "70G"})).await;
    assert!(answer.failed && answer.object["error"] == "ambiguous", "{}", answer.text);
    assert!(answer.text.contains("scsi0") && answer.text.contains("scsi1"), "{}", answer.text);
    levers.set_option("lab", 119, "lock", json!("snapshot")).unwrap();
    let text = fails(json!({"guest": "lab/119", "disk": "scsi0", "size": "70G"})).await;
    assert!(text.contains("it is locked (snapshot)"), "{text}");
    levers.fail_next_task("lab", Some("resize"), "zfs error: out of space").unwrap();
    let text = fails(json!({"guest": "lab/100", "size": "64G"})).await;
    assert!(text.contains("zfs error: out of space"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_moves_and_its_source_stays() {
    let estate = Estate::start("operator").await;
    let args = json!({"guest": "lab/119", "storage": "ceph-vm"});
    let planned = plan(&estate, "disk_move", args.clone()).await;
    expect![[r#"
        plan of the move of scsi0 of lab/119 old-crm: 1 call; nothing was done
        access: operate
        undo: the source stays as an unused disk: set the disk to it again (guest_configure), as it was when it was left
        digest: DIGEST
        decision: allow (operate): line `operate` allows it: tier operate, target lab/119
        member call parameters
        lab POST_/nodes/alder/qemu/119/move_disk disk=scsi0 storage=ceph-vm digest=DIGEST
        what before after
        scsi0 local-lvm:vm-119-disk-0 ceph-vm:…
        note: effect: local-lvm:vm-119-disk-0 stays as an unused disk, and takes its room on local-lvm"#]].assert_eq(&quiet(&planned.text));
    let answer = estate.ask("disk_move", args.clone()).await;
    expect![[r#"
        scsi0 of lab/119 old-crm is on ceph-vm now: ceph-vm:vm-119-disk-0 (0 s)
        note: the source stays as unused0 (local-lvm:vm-119-disk-0): delete it when the copy has proved itself
        next: guest_configure {"guest":"lab/119","delete":["unused0"],"plan":true}"#]].assert_eq(&quiet(&answer.text));
    let answer = estate
        .ask("disk_move", json!({"guest": "lab/119", "disk": "scsi0", "storage": "ceph-vm"}))
        .await;
    assert_eq!(answer.object["status"], "unchanged", "{}", answer.text);
    // Of a running machine, and the source goes.
    let args = json!({"guest": "lab/113", "storage": "ceph-vm", "delete_source": true});
    let answer = estate.ask("disk_move", args).await;
    assert!(
        !answer.failed && answer.text.contains("scsi0 of lab/113 monitoring is on ceph-vm now"),
        "{}",
        answer.text
    );
    assert!(!answer.text.contains("unused"), "{}", answer.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_move_says_why() {
    let estate = Estate::start("operator").await;
    let fails = async |args: Value| estate.failure("disk_move", args).await;
    for (args, why) in [
        (
            json!({"guest": "lab/134", "storage": "ceph-vm"}),
            "volumes of a running container cannot be moved",
        ),
        (
            json!({"guest": "lab/124", "storage": "ceph-vm", "delete_source": true}),
            "snapshots need the source: clean",
        ),
        (
            json!({"guest": "lab/124", "storage": "local"}),
            "does not hold disks of virtual machines",
        ),
        (json!({"guest": "lab/124", "storage": "nowhere"}), "has no storage `nowhere`"),
        (json!({"guest": "lab/9000", "storage": "nas"}), "linked clones may read"),
        (json!({"guest": "lab/141", "storage": "ceph-vm", "format": "raw"}), "have no format"),
    ] {
        let text = fails(args).await;
        assert!(text.contains(why), "{why}: {text}");
    }
    // Between plan and run somebody changes it: the server refuses, and nothing is moved.
    let action = crate::estate::tool("disk_move").as_action().expect("an action");
    let args = json!({"guest": "lab/119", "storage": "ceph-vm"});
    let plan = action.plan(&estate.cx, args.as_object().unwrap().clone()).await.expect("a plan");
    estate.sim.levers().set_option("lab", 119, "cores", json!(9)).unwrap();
    let error = plan.execute(&estate.cx).await.expect_err("it is another one now");
    assert!(error.message().contains("checksum mismatch"), "{error}");
    estate
        .sim
        .levers()
        .fail_next_task("lab", Some("qmmove"), "storage migration failed: mirroring error")
        .unwrap();
    let text = fails(json!({"guest": "lab/119", "storage": "ceph-vm"})).await;
    assert!(text.contains("mirroring error"), "{text}");
}
