//! What would be lost is kept first: by a snapshot, by a backup, or it is said that nothing is.

use mcp_tools::{
    fleet::Fleet,
    view::{Guest, View},
};
use proxmox_sim::TaskSpec;
use serde_json::{Value, json};

use crate::{change_options::quiet, estate::Estate, make::plan};

/// A guest of the lab, as its cluster lists it.
pub(crate) async fn seen(fleet: &Fleet, vmid: u32) -> Guest {
    let lab = fleet.pve(Some("lab")).unwrap().remove(0);
    let view = View::load(lab).await.unwrap();
    let found = view.guests.into_iter().find(|guest| guest.at.vmid.get() == vmid);
    found.unwrap_or_else(|| panic!("no guest {vmid}"))
}

/// Whether a guest has the tag that its snapshots and backups do not have.
async fn has_tag(estate: &Estate, vmid: u32) -> bool {
    seen(&estate.cx.fleet, vmid).await.tags.iter().any(|tag| tag == "unsaved")
}

async fn snapshots(estate: &Estate, guest: &str) -> String {
    estate.text("snapshot_list", json!({"guest": guest})).await
}

async fn config(estate: &Estate, guest: &str) -> String {
    estate.text("guest_get", json!({"guest": guest, "include": ["config"]})).await
}

/// The planned calls, one a line, and what the plan warns of and says of undo.
async fn told(estate: &Estate, tool: &str, args: Value) -> String {
    let planned = plan(estate, tool, args).await;
    assert!(!planned.failed, "{}", planned.text);
    let lines = planned.text.lines().filter(|line| {
        line.starts_with("lab ") || line.starts_with("undo: ") || line.contains("kept")
    });
    quiet(&lines.collect::<Vec<_>>().join("\n"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_keeps_a_snapshot_that_is_gone_back_to() {
    let estate = Estate::start("operator").await;
    let levers = estate.sim.levers();
    levers.set_option("lab", 124, "tags", json!("dev;unsaved")).unwrap();
    let args = json!({"guest": "lab/124", "name": "clean"});
    let text = told(&estate, "snapshot_rollback", args.clone()).await;
    assert_eq!(
        text,
        "undo: snapshot_rollback {\"guest\":\"lab/124\",\"name\":\"safety-1\",\"start\":true}\n\
         lab POST_/nodes/cedar/qemu/124/snapshot snapname=safety-1 description=made by proxmox-mcp before a rollback\n\
         lab POST_/nodes/cedar/qemu/124/snapshot/clean/rollback -"
    );
    let answer = estate.ask("snapshot_rollback", args.clone()).await;
    assert!(!answer.failed, "{}", answer.text);
    assert_eq!(answer.object["kept"], "safety-1", "{}", answer.text);
    assert!(answer.text.contains("kept first: snapshot safety-1 of lab/124"), "{}", answer.text);
    assert!(!has_tag(&estate, 124).await);
    let back = json!({"guest": "lab/124", "name": "safety-1", "start": true});
    let answer = estate.ask("snapshot_rollback", back).await;
    assert_eq!(answer.object["state"], "running", "{}", answer.text);
    // The way back keeps what it takes away, under the next name.
    assert_eq!(answer.object["kept"], "safety-2", "{}", answer.text);
    assert!(has_tag(&estate, 124).await);
    assert!(snapshots(&estate, "lab/124").await.contains("safety-2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn where_a_snapshot_cannot_be_a_backup_is_kept() {
    let estate = Estate::start("operator").await;
    let levers = estate.sim.levers();
    let args = json!({"guest": "lab/104", "name": "weekly-2"});
    // A newer snapshot would stand in the way.
    for (sort, chain) in [("zfspool", 0), ("nfs", 1)] {
        levers.storage_type("lab", "ceph-vm", sort).unwrap();
        levers.storage_option("lab", "ceph-vm", "snapshot-as-volume-chain", json!(chain)).unwrap();
        let planned = plan(&estate, "snapshot_rollback", args.clone()).await;
        let text = planned.text;
        assert!(text.contains("POST_/nodes/birch/vzdump vmid=104 storage=vault"), "{text}");
        assert!(!text.contains("snapname="), "{text}");
        assert!(text.contains("would stand in the way: storage ceph-vm"), "{text}");
        let undo = "undo: backup_restore {\"guest\":\"lab/104\",\"from\":\"${step1.volume}\",\"over\":true}";
        assert!(text.contains(undo), "{text}");
        let older = json!({"guest": "lab/104", "name": "weekly-1"});
        let text = estate.failure("snapshot_rollback", older).await;
        assert!(text.contains("goes back to its newest snapshot only"), "{text}");
    }
    // The disks cannot be in one at all.
    levers.storage_option("lab", "ceph-vm", "snapshot-as-volume-chain", json!(0)).unwrap();
    let planned = plan(&estate, "snapshot_rollback", args.clone()).await;
    assert!(planned.text.contains("cannot be in a snapshot"), "{}", planned.text);
    let answer = estate.ask("snapshot_rollback", args).await;
    assert!(!answer.failed, "{}", answer.text);
    let kept = answer.object["kept"].as_str().unwrap().to_owned();
    assert!(kept.starts_with("vault:backup/vm/104/"), "{kept}");
    let copies = estate.text("backup_copies", json!({"guest": "lab/104"})).await;
    assert!(copies.contains("kept by proxmox-mcp"), "{copies}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_guest_comes_back_from_the_backup_that_was_kept() {
    let estate = Estate::start("operator").await;
    let before = config(&estate, "lab/125").await;
    let args = json!({"guest": "lab/125"});
    let text = told(&estate, "guest_delete", args.clone()).await;
    assert_eq!(
        text,
        "undo: backup_restore {\"guest\":\"lab/125\",\"from\":\"${step1.volume}\",\"vmid\":125,\"node\":\"alder\",\"pool\":\"lab\"}\n\
         lab POST_/nodes/alder/vzdump vmid=125 storage=vault mode=snapshot notes-template={{guestname}}, kept by proxmox-mcp before a loss remove=0\n\
         lab DELETE_/nodes/alder/qemu/125 -"
    );
    let answer = estate.ask("guest_delete", args).await;
    assert!(!answer.failed, "{}", answer.text);
    let kept = answer.object["kept"].as_str().unwrap().to_owned();
    assert!(answer.text.contains(&format!("kept first: backup {kept} of lab/125")));
    estate.failure("guest_get", json!({"guest": "lab/125"})).await;
    let back = json!({
        "guest": "lab/125", "from": kept, "vmid": 125, "node": "alder", "pool": "lab",
    });
    let answer = estate.ask("backup_restore", back).await;
    assert!(!answer.failed, "{}", answer.text);
    let after = config(&estate, "lab/125").await;
    let of =
        |text: &str, key: &str| text.lines().find(|line| line.starts_with(key)).map(str::to_owned);
    for key in ["lab/125 dev-bela", "pool:", "memory:", "net0 "] {
        assert_eq!(of(&before, key), of(&after, key), "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_kept_first_is_not_lost() {
    let estate = Estate::start("operator").await;
    let levers = estate.sim.levers();
    levers.fail_next_task("lab", Some("vzdump"), "job errors").unwrap();
    let text = estate.failure("guest_delete", json!({"guest": "lab/125"})).await;
    assert!(text.contains("failed at step 1 of 2") && text.contains("nothing was lost"), "{text}");
    assert!(text.contains("none to go on without"), "{text}");
    assert!(config(&estate, "lab/125").await.contains("dev-bela"));
    levers.fail_next_task("lab", Some("qmsnapshot"), "rbd error: timeout").unwrap();
    levers.set_option("lab", 124, "tags", json!("dev;unsaved")).unwrap();
    let args = json!({"guest": "lab/124", "name": "clean"});
    let text = estate.failure("snapshot_rollback", args.clone()).await;
    assert!(text.contains("rbd error: timeout") && text.contains("nothing was lost"), "{text}");
    assert!(has_tag(&estate, 124).await);
    // What was kept before something else failed is named.
    levers.fail_next_task("lab", Some("qmrollback"), "rbd error: timeout").unwrap();
    let answer = estate.ask("snapshot_rollback", args).await;
    assert!(answer.failed, "{}", answer.text);
    assert_eq!(answer.object["kept"], "safety-1", "{}", answer.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_caller_says_what_is_kept_and_is_told_what_is_not() {
    let estate = Estate::start("operator").await;
    let levers = estate.sim.levers();
    let with = |safety: &str| json!({"guest": "lab/125", "safety": safety});
    let text = told(&estate, "guest_delete", with("none")).await;
    assert!(!text.contains("vzdump"), "{text}");
    assert!(text.contains("warning nothing_kept: nothing of what is lost is kept: safety is none"));
    let text = told(&estate, "guest_delete", with("nas")).await;
    assert!(text.contains("storage=nas mode=snapshot compress=zstd"), "{text}");
    let text = estate.failure("guest_delete", with("ceph-vm")).await;
    assert!(text.contains("no storage `ceph-vm` that takes backups"), "{text}");
    assert!(text.contains("vault pbs"), "{text}");
    // A disk that backups leave out is lost for good, and that is said.
    let disk = json!("local-lvm:vm-125-disk-1,backup=0,size=1G");
    levers.set_option("lab", 125, "scsi1", disk).unwrap();
    let planned = plan(&estate, "guest_delete", with("auto")).await;
    let lost = "warning partly_kept: not in the backup, and lost for good: scsi1";
    assert!(planned.text.contains(lost), "{}", planned.text);
    // No room anywhere.
    for (target, storage) in [("lab", "vault"), ("vault", "main"), ("lab", "nas"), ("lab", "local")]
    {
        levers.set_storage_usage(target, storage, 1.0).unwrap();
    }
    let planned = plan(&estate, "guest_delete", with("auto")).await;
    let text = planned.text;
    assert!(text.contains("warning nothing_kept: nothing of what is lost is kept: no storage on lab/alder has room"), "{text}");
    assert_eq!(planned.object["access"], "destroy", "{text}");
    let text = estate.failure("guest_delete", with("nas")).await;
    assert!(text.contains("storage nas on lab/alder has no room"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_over_a_guest_keeps_it_first() {
    let estate = Estate::start("operator").await;
    estate.text("guest_power", json!({"guest": "lab/100", "action": "stop"})).await;
    estate.sim.levers().set_option("lab", 100, "tags", json!("prod;unsaved")).unwrap();
    let args = json!({"guest": "lab/100", "from": "vault", "over": true});
    let answer = estate.ask("backup_restore", args).await;
    assert!(!answer.failed, "{}", answer.text);
    assert!(!has_tag(&estate, 100).await);
    let kept = answer.object["kept"].as_str().unwrap().to_owned();
    let back = json!({"guest": "lab/100", "from": kept, "over": true, "safety": "none"});
    let answer = estate.ask("backup_restore", back).await;
    assert!(!answer.failed && !answer.object.contains_key("kept"), "{}", answer.text);
    assert!(has_tag(&estate, 100).await);
    let pool = json!({"guest": "lab/100", "from": "vault", "pool": "nowhere"});
    let text = estate.failure("backup_restore", pool).await;
    assert!(text.contains("no pool `nowhere`"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_says_how_long_its_tasks_took_before() {
    let estate = Estate::start("operator").await;
    let levers = estate.sim.levers();
    let args = json!({"guest": "lab/125", "safety": "none"});
    let planned = plan(&estate, "guest_delete", args.clone()).await;
    assert!(!planned.object.contains_key("expected"), "{}", planned.text);
    let digest = planned.object["digest"].clone();
    for guest in ["200", "201", "202"] {
        levers.add_task("lab", "alder", &TaskSpec::finished("qmdestroy", guest, "OK")).unwrap();
    }
    let planned = plan(&estate, "guest_delete", args).await;
    assert_eq!(planned.object["expected"], 1, "{}", planned.text);
    let line = "expected: 1s (median of the last 3 of its kind on alder)";
    assert!(planned.text.contains(line), "{}", planned.text);
    // What is expected decides nothing.
    assert_eq!(planned.object["digest"], digest);
    for _ in 0..3 {
        levers.add_task("lab", "cedar", &TaskSpec::finished("qmstart", "121", "OK")).unwrap();
    }
    estate.text("guest_power", json!({"guest": "lab/121", "action": "stop"})).await;
    let start = json!({"guest": "lab/121", "action": "start"});
    let planned = plan(&estate, "guest_power", start).await;
    let line = "expected: 1s (median of the last 3 of the same)";
    assert!(planned.text.contains(line), "{}", planned.text);
    // With a step of which nothing is known, nothing is said.
    let planned = plan(&estate, "guest_delete", json!({"guest": "lab/125", "safety": "nas"})).await;
    assert!(!planned.object.contains_key("expected"), "{}", planned.text);
}
