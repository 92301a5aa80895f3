//! Evidence of backups: who is overdue, where copies lie, what is in them, which jobs there are.

use serde_json::{Value, json};

use crate::{
    estate::Estate,
    vault_run::{cell, estate},
};

fn row<'a>(object: &'a Value, table: &str, first: &str) -> Option<&'a Vec<Value>> {
    let rows = object[table]["rows"].as_array()?;
    rows.iter().filter_map(Value::as_array).find(|row| row[0] == first)
}

#[tokio::test(flavor = "multi_thread")]
async fn overdue_guests_are_told_with_the_copy_that_is_meant() {
    let estate = estate().await;
    let answer =
        estate.ask("backup_overdue", json!({"cluster": "lab", "days": 3, "all": true})).await;
    assert!(!answer.failed, "{}", answer.text);
    let object = Value::Object(answer.object);
    // Its backups stopped weeks ago; the cluster beside it has the same id in the same datastore.
    let stale = row(&object, "guests", "lab/114").expect("a row");
    assert_eq!(
        (&stale[2], &stale[4]),
        (&json!("old"), &json!("vault:main/lab")),
        "{}",
        answer.text
    );
    let fine = row(&object, "guests", "lab/104").expect("a row");
    assert_eq!((&fine[2], &fine[5]), (&json!("ok"), &json!("never")), "{}", answer.text);
    // The newest verified copy is another one than the newest, and has its own date.
    assert_eq!(fine[6]["where"], "vault:main/lab", "{}", answer.text);
    assert!(fine[6]["verified_at"].is_string(), "{}", answer.text);
    assert_eq!(fine[7], "none");
    assert!(answer.text.contains("not looked at"), "templates are said: {}", answer.text);
    // The newest is a moment old, and no verified one is that young.
    estate.text("backup_run", json!({"guests": ["lab/104"], "storage": "vault"})).await;
    let args = json!({"cluster": "lab", "days": 1, "verified": true, "all": true});
    let answer = estate.ask("backup_overdue", args).await;
    let object = Value::Object(answer.object);
    let states: Vec<&Value> = ["lab/104", "lab/114"]
        .map(|guest| &row(&object, "guests", guest).expect("a row")[2])
        .into();
    assert_eq!(states, ["unverified", "old"], "{}", answer.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_away_makes_it_unknown_and_never_fine() {
    let estate = estate().await;
    estate.sim.levers().node_offline("vault", "vault", true).unwrap();
    let answer = estate.ask("backup_overdue", json!({"days": 2, "all": true})).await;
    assert!(!answer.failed, "{}", answer.text);
    let object = Value::Object(answer.object);
    let unseen = row(&object, "guests", "lab/104").expect("a row");
    assert_eq!((&unseen[2], &unseen[7]), (&json!("unknown"), &json!("?")), "{}", answer.text);
    assert_eq!(object["tally"]["none"], 0, "{}", answer.text);
    let text = estate.text("backup_copies", json!({"guest": "lab/104"})).await;
    assert!(text.contains("as far as could be seen") && text.contains("vault"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_are_joined_by_place_and_strangers_stand_apart() {
    let estate = estate().await;
    let answer = estate.ask("backup_copies", json!({"guest": "lab/104"})).await;
    assert!(!answer.failed, "{}", answer.text);
    assert_eq!((&answer.object["count"], &answer.object["places"]), (&json!(5), &json!(1)));
    // vm/104 of the other cluster is in the same datastore.
    let strangers = answer.object["unattributed"]["rows"].as_array().expect("rows");
    assert_eq!(strangers.len(), 5, "{}", answer.text);
    assert_eq!(cell(&answer, "unattributed", 0, "where"), "vault:main/edge");
    assert_eq!(cell(&answer, "unattributed", 0, "why"), "edge backs up there");
    assert_eq!(cell(&answer, "copies", 0, "owner"), "backup@pbs!lab");
    // A copy by a sync job within the estate is the guest's own.
    let set =
        json!({"store": "archive", "remote-store": "main", "schedule": "daily", "ns": "second"});
    let args =
        json!({"cluster": "vault", "kind": "sync", "action": "add", "job": "second", "set": set});
    estate.text("backup_job_change", args).await;
    estate.text("sync_run", json!({"job": "second"})).await;
    let answer = estate.ask("backup_copies", json!({"guest": "lab/104"})).await;
    assert_eq!(
        (&answer.object["count"], &answer.object["places"]),
        (&json!(10), &json!(2)),
        "{}",
        answer.text
    );
    assert!(
        answer.text.replace('_', " ").contains("sync of vault:main/lab"),
        "{}",
        answer.text.replace('_', " ")
    );
    let answer = estate.ask("backup_overdue", json!({"cluster": "lab", "all": true})).await;
    let object = Value::Object(answer.object);
    let row = row(&object, "guests", "lab/104").expect("a row");
    assert_eq!(row[7]["where"], "vault:archive/second/lab", "{}", answer.text);
    let text = estate.text("namespaces_list", json!({})).await;
    assert!(text.contains("vault:archive/second/lab") && text.contains("lab/vault"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_sees_nothing_does_not_say_none() {
    let estate = Estate::start("nothing").await;
    let answer = estate.ask("backup_overdue", json!({"all": true})).await;
    assert!(!answer.text.contains("state none"), "{}", answer.text);
    assert_eq!(answer.object["tally"]["none"], 0, "{}", answer.text);
    let estate = Estate::start("readonly").await;
    let text = estate.failure("backup_files", json!({"group": "ct/130", "namespace": "lab"})).await;
    assert!(text.contains("Datastore.Backup") || text.contains("not found"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_of_both_products_and_who_is_in_none() {
    let estate = estate().await;
    let text = estate.text("backup_jobs", json!({})).await;
    for part in [
        "lab/backup-production",
        "vault/main-daily",
        "vault/main-weekly",
        "vault/main-to-archive",
        "vault/gc:main",
        "excluded_from_backup-edge",
    ] {
        assert!(text.contains(part) || text.contains(&part.replace('_', " ")), "{part}: {text}");
    }
    let answer = estate.ask("backup_jobs", json!({"kind": "prune"})).await;
    assert_eq!(cell(&answer, "jobs", 0, "rule"), "keep-last=3,keep-daily=7,keep-weekly=4");
    estate.sim.levers().node_offline("vault", "vault", true).unwrap();
    let text = estate.text("backup_jobs", json!({"kind": "prune"})).await;
    assert!(text.starts_with("no cluster answered"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_a_backup_are_listed_and_read_in_parts() {
    let estate = estate().await;
    let ask = |path: &str| json!({"guest": "lab/104", "path": path});
    let text = estate.text("backup_files", json!({"guest": "lab/104"})).await;
    assert!(text.contains("drive-scsi0.img.fidx archive"), "{text}");
    let top = "/drive-scsi0.img.fidx/part/1";
    let text = estate.text("backup_files", ask(&format!("{top}/etc"))).await;
    assert!(text.contains("hostname file 10"), "{text}");
    let answer = estate.ask("backup_file_get", ask(&format!("{top}/etc/hostname"))).await;
    assert!(answer.text.contains("guest-104"), "{}", answer.text);
    assert_eq!(answer.object["encoding"], "text");
    let answer = estate.ask("backup_file_get", ask(&format!("{top}/var/blob.bin"))).await;
    assert_eq!(
        (&answer.object["encoding"], &answer.object["bytes"]),
        (&json!("base64"), &json!(256))
    );
    let answer = estate.ask("backup_file_get", ask(&format!("{top}/var/big.log"))).await;
    let next = answer.object["next"][0]["args"].clone();
    assert_eq!(next["offset"], answer.object["bytes"], "{}", answer.text);
    estate.text("backup_file_get", next).await;
    for (path, word) in [
        (format!("{top}/etc"), "is no file but a folder"),
        (format!("{top}/nope"), "is not in"),
        ("/a/../b".to_owned(), "no path in a backup"),
    ] {
        let text = estate.failure("backup_file_get", ask(&path)).await;
        assert!(text.contains(word), "{text}");
    }
    // A group is read by the server itself; disks it cannot open.
    let text = estate
        .text(
            "backup_files",
            json!({"group": "ct/130", "namespace": "lab", "path": "/root.pxar.didx/etc"}),
        )
        .await;
    assert!(text.contains("motd file"), "{text}");
    let text = estate.failure("backup_files", json!({"group": "vm/104", "namespace": "lab"})).await;
    assert!(text.contains("has no catalog"), "{text}");
}
