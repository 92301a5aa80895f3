//! Jobs, owners and maintenance: what is planned, what is refused, what has changed.

use serde_json::{Value, json};

use crate::{
    estate::Estate,
    vault_run::{estate, planned},
};

#[expect(clippy::needless_pass_by_value, reason = "as `json!` gives it")]
fn change(cluster: &str, kind: &str, action: &str, job: &str, set: Value) -> Value {
    json!({"cluster": cluster, "kind": kind, "action": action, "job": job, "set": set})
}

async fn rule(estate: &Estate) -> String {
    let answer = estate.ask("backup_jobs", json!({"kind": "prune"})).await;
    answer.object["jobs"]["rows"][0][6].as_str().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn keeping_less_is_said_and_meant_before_it_is_done() {
    let estate = estate().await;
    let mut args = change("vault", "prune", "update", "main-daily", json!({"keep-daily": 2}));
    let text = estate.failure("backup_job_change", args.clone()).await;
    assert!(text.contains("keep less: keep-daily 7 becomes 2"), "{text}");
    args["allow_removal"] = true.into();
    let (failed, text, object) = planned(&estate, "backup_job_change", args.clone()).await;
    assert!(!failed, "{text}");
    assert_eq!(object["changes"]["rows"], json!([["keep-daily", "7", "2"]]), "{text}");
    assert_eq!(object["access"], "destroy");
    assert_eq!(rule(&estate).await, "keep-last=3,keep-daily=7,keep-weekly=4");
    // Somebody else changes it meanwhile.
    let more = change("vault", "prune", "update", "main-daily", json!({"keep-daily": 9}));
    estate.text("backup_job_change", more).await;
    args["job_digest"] = object["job_digest"].clone();
    let text = estate.failure("backup_job_change", args.clone()).await;
    assert!(text.contains("is not as it was"), "{text}");
    args.as_object_mut().unwrap().remove("job_digest");
    estate.text("backup_job_change", args).await;
    assert_eq!(rule(&estate).await, "keep-last=3,keep-daily=2,keep-weekly=4");
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_of_a_cluster_are_made_changed_and_deleted() {
    let estate = estate().await;
    let set = json!({"schedule": "23:00", "storage": "nas", "vmid": "130,131", "prune-backups": "keep-last=2"});
    let text = estate.text("backup_job_change", change("lab", "backup", "add", "extra", set)).await;
    assert!(text.starts_with("lab/extra is made"), "{text}");
    let args = change("lab", "backup", "update", "extra", json!({"pool": "staging"}));
    let (_, text, object) = planned(&estate, "backup_job_change", args.clone()).await;
    assert_eq!(
        object["changes"]["rows"],
        json!([["pool", "-", "staging"], ["vmid", "130,131", "-"]]),
        "{text}"
    );
    estate.text("backup_job_change", args).await;
    let text = estate.text("backup_jobs", json!({"kind": "backup", "cluster": "lab"})).await;
    assert!(text.replace('_', " ").contains("pool staging"), "{text}");
    let delete =
        json!({"cluster": "lab", "kind": "backup", "action": "delete", "job": "backup-production"});
    let (_, text, _) = planned(&estate, "backup_job_change", delete.clone()).await;
    assert!(text.contains("warning uncovered") && text.contains("would be in no job"), "{text}");
    estate.text("backup_job_change", delete.clone()).await;
    let text = estate.failure("backup_job_change", delete).await;
    assert!(text.contains("has no backup job"), "{text}");
    for (args, word) in [
        (change("lab", "backup", "update", "extra", json!({"script": "/x"})), "have no `script`"),
        (
            change(
                "lab",
                "backup",
                "add",
                "extra",
                json!({"schedule": "1:00", "storage": "nas", "all": true}),
            ),
            "is there already",
        ),
        (change("vault", "prune", "add", "p2", json!({"store": "main"})), "takes schedule"),
    ] {
        let text = estate.failure("backup_job_change", args).await;
        assert!(text.contains(word), "{word}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_is_changed_and_who_would_be_refused_is_said() {
    let estate = estate().await;
    let args = json!({"group": "vm/104", "namespace": "lab", "owner": "operator@pbs!operator"});
    let (failed, text, _) = planned(&estate, "group_owner_change", args.clone()).await;
    assert!(!failed && text.contains("lab/vault as backup@pbs!lab"), "{text}");
    estate.text("group_owner_change", args.clone()).await;
    let text = estate.text("group_owner_change", args).await;
    assert!(text.contains("already"), "{text}");
    let args = json!({"group": "vm/104", "namespace": "lab", "owner": "nobody@pbs"});
    let text = estate.failure("group_owner_change", args).await;
    assert!(text.contains("no user or token"), "{text}");
    let args = json!({"group": "vm/104", "owner": "root@pam"});
    let text = estate.failure("group_owner_change", args).await;
    assert!(text.contains("is in 2 places"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_datastore_is_closed_and_opened_again() {
    let estate = estate().await;
    let args = json!({"datastore": "main", "mode": "read-only", "message": "new disks"});
    let (_, text, object) = planned(&estate, "datastore_maintenance", args.clone()).await;
    for part in [
        "prune main-daily",
        "storage lab/vault, backup jobs backup-production",
        "storage edge/vault",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(object["changes"]["rows"][0][2], "read-only,message=\"new disks\"");
    let text = estate.text("datastore_maintenance", args).await;
    assert!(text.starts_with("vault:main is read-only"), "{text}");
    let args = json!({"datastore": "main", "mode": "off"});
    let text = estate.text("datastore_maintenance", args.clone()).await;
    assert!(text.starts_with("vault:main is open again"), "{text}");
    let text = estate.text("datastore_maintenance", args).await;
    assert!(text.contains("already"), "{text}");
    let estate = Estate::start("agent").await;
    let args = json!({"datastore": "main", "mode": "offline"});
    let (_, text, _) = planned(&estate, "datastore_maintenance", args.clone()).await;
    assert!(text.contains("warning privilege"), "{text}");
    estate.failure("datastore_maintenance", args).await;
}

/// The jobs of a backup server, one of each kind: made, changed with a diff, taken back, removed.
#[tokio::test(flavor = "multi_thread")]
async fn jobs_of_a_backup_server_are_made_changed_and_deleted() {
    let estate = estate().await;
    let listed = async |kind: &str| {
        let answer = estate.ask("backup_jobs", json!({"kind": kind, "cluster": "vault"})).await;
        answer.text.replace('_', " ")
    };
    for (kind, new, update, diff) in [
        (
            "verify",
            json!({"store": "archive", "schedule": "daily", "outdated-after": 14}),
            json!({"outdated-after": 7}),
            json!([["outdated-after", "14", "7"]]),
        ),
        (
            "prune",
            json!({"store": "archive", "schedule": "daily", "keep-daily": 14}),
            json!({"keep-daily": 21, "keep-weekly": 2}),
            json!([["keep-daily", "14", "21"], ["keep-weekly", "-", "2"]]),
        ),
        (
            "sync",
            json!({"store": "archive", "remote": "offsite", "remote-store": "main", "schedule": "weekly"}),
            json!({"schedule": "daily"}),
            json!([["schedule", "weekly", "daily"]]),
        ),
    ] {
        let mut add = change("vault", kind, "add", "extra", new);
        if kind == "prune" {
            // A new one removes what nothing removes now.
            let text = estate.failure("backup_job_change", add.clone()).await;
            assert!(text.contains("removes by this rule now"), "{text}");
            add["allow_removal"] = true.into();
        }
        let text = estate.text("backup_job_change", add.clone()).await;
        assert!(text.starts_with("vault/extra is made"), "{kind}: {text}");
        assert!(listed(kind).await.contains("extra"), "{kind}");
        let text = estate.failure("backup_job_change", add).await;
        assert!(text.contains("is there already"), "{kind}: {text}");

        let update = change("vault", kind, "update", "extra", update);
        let (failed, text, object) = planned(&estate, "backup_job_change", update.clone()).await;
        assert!(!failed && object["access"] == "operate", "{kind}: {text}");
        assert_eq!(object["changes"]["rows"], diff, "{kind}: {text}");
        let text = estate.text("backup_job_change", update.clone()).await;
        assert!(text.starts_with("vault/extra is changed"), "{kind}: {text}");
        let text = estate.text("backup_job_change", update).await;
        assert!(text.contains("already"), "{kind}: {text}");

        let delete = json!({"cluster": "vault", "kind": kind, "action": "delete", "job": "extra"});
        let (_, text, object) = planned(&estate, "backup_job_change", delete.clone()).await;
        assert_eq!(object["access"], "destroy", "{kind}: {text}");
        assert!(text.contains("undo: backup_job_change {"), "{kind}: {text}");
        estate.text("backup_job_change", delete.clone()).await;
        assert!(!listed(kind).await.contains("extra"), "{kind}");
        let text = estate.failure("backup_job_change", delete).await;
        assert!(text.contains(&format!("has no {kind} job")), "{kind}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_is_made_and_removed_and_backups_are_not_lost_by_the_way() {
    let estate = estate().await;
    let ask = |namespace: &str, action: &str| json!({"datastore": "main", "namespace": namespace, "action": action});
    let text = estate.failure("namespace_change", ask("new/deep", "create")).await;
    assert!(text.contains("no namespace `new` to make it in"), "{text}");
    let (_, text, object) = planned(&estate, "namespace_change", ask("new", "create")).await;
    assert_eq!(object["access"], "operate", "{text}");
    for name in ["new", "new/deep"] {
        let text = estate.text("namespace_change", ask(name, "create")).await;
        assert!(text.starts_with(&format!("vault:main/{name} is made")), "{text}");
    }
    let text = estate.text("namespace_change", ask("new", "create")).await;
    assert!(text.contains("is there already"), "{text}");
    let text = estate.text("namespaces_list", json!({"datastore": "main"})).await;
    assert!(text.contains("new/deep"), "{text}");
    // What is empty goes with what is below it.
    let (_, text, object) = planned(&estate, "namespace_change", ask("new", "delete")).await;
    assert_eq!(object["access"], "destroy", "{text}");
    assert!(text.contains("1 namespace below it go too"), "{text}");
    let text = estate.text("namespace_change", ask("new", "delete")).await;
    assert!(text.starts_with("vault:main/new is gone"), "{text}");
    // What holds backups does not go, and what is protected not at all.
    let text = estate.failure("namespace_change", ask("lab", "delete")).await;
    assert!(text.contains("protected") || text.contains("it holds"), "{text}");
    let mut all = ask("lab", "delete");
    all["with_backups"] = true.into();
    let text = estate.failure("namespace_change", all).await;
    assert!(text.contains("in it are protected"), "{text}");
    assert!(super::vault_run::count(&estate, "lab", "vm/104").await > 0);
}
