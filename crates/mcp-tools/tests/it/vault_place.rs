//! Verification, garbage collection, synchronization, notes and protection on backup servers.

use std::{io, path::Path, sync::Arc};

use api_core::endpoint::FileContent;
use mcp_tools::fleet::Traits;
use serde_json::{Value, json};

use crate::{
    estate::Estate,
    vault_run::{cell, count, estate, planned},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_verification_names_what_cannot_be_read() {
    let estate = estate().await;
    // What failed before is passed over unless it is asked for again, and that is said.
    let text = estate.text("backup_verify", json!({"guest": "lab/106"})).await;
    assert!(text.starts_with("vault:main/lab vm/106: 1 snapshot verified"), "{text}");
    let text = estate.text("backup_verify", json!({"guest": "lab/106"})).await;
    assert!(text.contains("all 5 snapshots were verified already, and 1 of them failed"), "{text}");
    let answer = estate.ask("backup_verify", json!({"guest": "lab/106", "again": true})).await;
    assert!(answer.failed, "{}", answer.text);
    let lead = "vault:main/lab vm/106: 1 of 5 verified snapshots cannot be read in full";
    assert!(answer.text.starts_with(lead), "{}", answer.text);
    assert_eq!(answer.object["tally"], json!({"read": 5, "ok": 4, "failed": 1, "passed_over": 0}));
    assert_eq!(cell(&answer, "failed", 0, "group"), "vm/106");
    // One snapshot that is named is read whatever was found before.
    let one = json!({"guest": "lab/100", "time": "latest"});
    estate.sim.levers().corrupt_backup("vault", "main", "lab", "vm/100").unwrap();
    let text = estate.failure("backup_verify", one).await;
    assert!(text.contains("1 of 1 verified snapshot cannot be read"), "{text}");
    // A group is found in its own namespace only.
    let text = estate.failure("backup_verify", json!({"group": "vm/104"})).await;
    assert!(text.contains("is in 2 places"), "{text}");
    let text = estate.failure("backup_verify", json!({"group": "vm/100", "namespace": ""})).await;
    assert!(text.contains("is not found"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_datastore_is_verified_with_all_its_namespaces() {
    let estate = estate().await;
    let args = json!({"datastore": "main", "outdated_days": 400});
    let (failed, text, _) = planned(&estate, "backup_verify", args.clone()).await;
    assert!(!failed && text.contains("which loads the server's disks"), "{text}");
    let answer = estate.ask("backup_verify", args).await;
    assert!(!answer.failed, "{}", answer.text);
    let never =
        estate.ask("backup_snapshots", json!({"datastore": "main", "verified": "never"})).await;
    assert_eq!(never.object["tally"]["snapshots"], 0, "{}", never.text);
    // Which of two datastores is never guessed.
    let text = estate.failure("backup_verify", json!({})).await;
    assert!(text.contains("there are 2 datastores: say which"), "{text}");
    // A task that fails for another reason is no verdict on the backups.
    estate.sim.levers().fail_next_task("vault", Some("verify_group"), "could not lock").unwrap();
    let args = json!({"guest": "lab/100", "again": true});
    let text = estate.failure("backup_verify", args).await;
    assert!(
        text.starts_with("verification of vault:main/lab vm/100 failed: could not lock"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collection_frees_what_is_old_enough_and_says_when_the_rest_follows() {
    let estate = estate().await;
    let status = json!({"datastore": "main", "action": "status"});
    let text = estate.text("datastore_gc", status.clone()).await;
    assert!(text.starts_with("vault:main: the last collection ended OK"), "{text}");
    assert!(text.contains("3G pending"), "{text}");
    assert!(
        text.contains("touched too lately for the last collection; a collection from"),
        "{text}"
    );
    estate.text("backup_prune", json!({"guest": "lab/100", "keep_last": 1})).await;
    let run = json!({"datastore": "main", "action": "run"});
    let (_, text, _) = planned(&estate, "datastore_gc", run.clone()).await;
    assert!(text.contains("touched in the last 24 h 5 min stay until a later run"), "{text}");
    let first = estate.ask("datastore_gc", run.clone()).await;
    assert!(!first.failed, "{}", first.text);
    assert_eq!(first.object["removed_bytes"], 7_u64 << 30, "{}", first.text);
    let pending = first.object["pending_bytes"].as_u64().unwrap();
    assert!(pending > 3 << 30, "what was pruned waits: {}", first.text);
    estate.sim.levers().age_chunks("vault", "main", 25 * 3600).unwrap();
    let second = estate.ask("datastore_gc", run).await;
    assert_eq!(second.object["removed_bytes"], pending, "{}", second.text);
    assert_eq!(second.object["pending_bytes"], 0, "{}", second.text);
    assert!(second.object["used_bytes"].as_u64() < first.object["used_bytes"].as_u64());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_collection_is_not_begun() {
    let estate = estate().await;
    let running = proxmox_sim::TaskSpec::running("garbage_collection", "main");
    let upid = estate.sim.levers().add_task("vault", "vault", &running).unwrap();
    let text = estate.failure("datastore_gc", json!({"datastore": "main", "action": "run"})).await;
    assert!(text.contains("one is running") && text.contains(&upid), "{text}");
    let estate = Estate::start("agent").await;
    let text = estate.failure("datastore_gc", json!({"datastore": "main", "action": "run"})).await;
    assert!(text.contains("permission check failed"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_job_says_what_arrived() {
    let estate = estate().await;
    let answer = estate.ask("sync_run", json!({"job": "main-to-archive"})).await;
    assert!(!answer.failed, "{}", answer.text);
    assert!(answer.object["arrived"].as_u64() > Some(10), "{}", answer.text);
    assert!(answer.text.contains("arrived in vault:archive"), "{}", answer.text);
    let again = estate.ask("sync_run", json!({"job": "main-to-archive"})).await;
    assert_eq!(again.object["arrived"], 0, "{}", again.text);
    let text = estate.failure("sync_run", json!({"job": "nightly"})).await;
    assert!(
        text.contains("no sync job is called `nightly`") && text.contains("main-to-archive"),
        "{text}"
    );
    estate
        .sim
        .levers()
        .fail_next_task("vault", Some("syncjob"), "sync failed with some errors.")
        .unwrap();
    let text = estate.failure("sync_run", json!({"job": "main-to-archive"})).await;
    assert!(text.contains("failed: sync failed with some errors"), "{text}");
    estate.sim.levers().node_offline("vault", "vault", true).unwrap();
    let text = estate.failure("sync_run", json!({"job": "main-to-archive"})).await;
    assert!(text.contains("unreachable: vault"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn notes_and_protection_are_set_and_can_be_taken_back() {
    let estate = estate().await;
    let one = |more: Value| {
        let mut args = json!({"group": "vm/100", "namespace": "lab", "time": "latest"});
        args.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        args
    };
    let (failed, text, object) =
        planned(&estate, "backup_annotate", one(json!({"notes": "audit 2026", "protected": true})))
            .await;
    assert!(!failed, "{text}");
    assert_eq!(object["calls"]["rows"].as_array().unwrap().len(), 2, "{text}");
    assert!(text.contains("undo: backup_annotate"), "{text}");
    let text = estate
        .text("backup_annotate", one(json!({"notes": "audit 2026", "protected": true})))
        .await;
    assert!(text.contains("its notes are set, it is protected"), "{text}");
    // Pruning leaves it.
    estate.text("backup_prune", json!({"guest": "lab/100", "keep_last": 1})).await;
    assert_eq!(count(&estate, "lab", "vm/100").await, 2);
    let text = estate.text("backup_annotate", one(json!({"protected": true}))).await;
    assert!(text.contains("has that already: nothing was done"), "{text}");
    estate.text("backup_annotate", one(json!({"protected": false}))).await;
    // A group as a whole has notes, but no protection.
    let group = json!({"group": "vm/100", "namespace": "lab", "notes": "the first web server"});
    estate.text("backup_annotate", group).await;
    let group = json!({"group": "vm/100", "namespace": "lab", "protected": true});
    let text = estate.failure("backup_annotate", group).await;
    assert!(text.contains("as a whole cannot be protected"), "{text}");
    // A guest's backup on any storage of its cluster.
    estate.text("backup_run", json!({"guests": ["lab/131"], "storage": "nas"})).await;
    let args = json!({"guest": "lab/131", "from": "nas", "time": "latest", "protected": true});
    let text = estate.text("backup_annotate", args).await;
    assert!(text.contains("it is protected"), "{text}");
    let text = estate.failure("backup_annotate", json!({"guest": "lab/100", "notes": "x"})).await;
    assert!(text.contains("which backup of lab/100 web-01 is not said"), "{text}");
}

/// One token that only looks, and one that changes things.
#[tokio::test(flavor = "multi_thread")]
async fn changes_use_the_token_for_changes() {
    let mut estate = Estate::start("readonly").await;
    let vault = estate.sim.target("vault");
    let ca = vault.ca_pem.clone();
    let files = move |_: &Path| -> io::Result<FileContent> {
        Ok(FileContent { bytes: ca.clone().into_bytes(), world_readable: Some(false) })
    };
    let (looks, changes) = (vault.token("readonly"), vault.token("operator"));
    let table = json!({
        "endpoints": [vault.nodes[0].url], "ca_file": "ca.pem", "token_id": looks.id,
        "token": looks.secret, "operate_token_id": changes.id, "operate_token": changes.secret,
    });
    let config: pbs_client::Config = serde_json::from_value(table).expect("a table");
    let options = config.validate("vault", &files).expect("a valid table").value;
    let client = pbs_client::Client::connect(&options).expect("a client");
    let fleet = Arc::into_inner(estate.cx.fleet).expect("nobody else holds the fleet");
    let fleet = fleet.with_pbs("vault".parse().expect("a key"), &client, Traits::default());
    estate.cx.fleet = Arc::new(fleet);
    let args = json!({"group": "vm/100", "namespace": "lab", "keep_last": 2});
    let (_, text, _) = planned(&estate, "backup_prune", args.clone()).await;
    assert!(!text.contains("warning privilege"), "{text}");
    estate.text("backup_prune", args).await;
    estate.text("datastore_gc", json!({"datastore": "main", "action": "run"})).await;
    assert_eq!(count(&estate, "lab", "vm/100").await, 2);
}
