//! Pruning: what is shown is what the server does; protected ones and other namespaces stay.

use pbs_client::{
    datastores::Keep,
    groups::{self, BackupType, GroupRef, PruneGroupParams},
};
use proptest::{prelude::*, strategy::ValueTree as _, test_runner::TestRunner};
use serde_json::{Value, json};

use crate::{
    estate::Estate,
    vault_run::{count, estate, planned},
};

/// The times of a plan's snapshots that go, and those that stay with the reason.
fn fates(object: &Value) -> (Vec<String>, Vec<(String, String)>) {
    let (mut go, mut stay) = (Vec::new(), Vec::new());
    for row in object["snapshots"]["rows"].as_array().expect("rows") {
        let time = row[0].as_str().expect("a time").to_owned();
        match row[4].as_str() {
            Some("goes") => go.push(time),
            _ => stay.push((time, row[5].as_str().unwrap_or_default().to_owned())),
        }
    }
    (go, stay)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_is_shown_with_reasons_and_then_goes() {
    let estate = estate().await;
    let args = json!({"guest": "lab/104", "keep_last": 1, "keep_daily": 2});
    let (failed, text, object) = planned(&estate, "backup_prune", args.clone()).await;
    assert!(!failed, "{text}");
    let (go, stay) = fates(&object);
    assert_eq!((go.len(), stay.len()), (1, 4), "{text}");
    let why: Vec<&str> = stay.iter().map(|(_, why)| why.split(' ').next().unwrap()).collect();
    assert_eq!(why, ["last", "daily", "daily", "protected"], "{text}");
    assert!(text.contains("space comes back only with a garbage collection"), "{text}");
    assert!(text.contains("nothing touched for 24 h 5 min"), "{text}");
    assert!(text.contains(&format!("effect: goes of lab vm/104: {}", go[0])), "{text}");
    assert!(text.contains("undo: not possible"), "{text}");
    // Nothing has happened yet.
    assert_eq!(count(&estate, "lab", "vm/104").await, 5);
    let answer = estate.ask("backup_prune", args).await;
    assert!(!answer.failed, "{}", answer.text);
    assert!(
        answer.text.starts_with("vault:main/lab vm/104: 1 snapshot pruned, 4 left"),
        "{}",
        answer.text
    );
    assert_eq!(
        (count(&estate, "lab", "vm/104").await, count(&estate, "edge", "vm/104").await),
        (4, 5)
    );
    // Again there is nothing to do.
    let args = json!({"guest": "lab/104", "keep_last": 1, "keep_daily": 2});
    let text = estate.text("backup_prune", args).await;
    assert!(text.starts_with("vault:main/lab vm/104: the rules hold all 4 snapshots"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_is_named_is_pruned_alone() {
    let estate = estate().await;
    let args = json!({"datastore": "main", "namespace": "edge", "keep_last": 1});
    let (failed, text, object) = planned(&estate, "backup_prune", args.clone()).await;
    assert!(!failed, "{text}");
    let groups = object["groups"]["rows"].as_array().unwrap();
    assert!(groups.iter().all(|row| row[0] == "edge"), "{text}");
    let answer = estate.ask("backup_prune", args).await;
    assert!(!answer.failed, "{}", answer.text);
    assert_eq!(
        (count(&estate, "lab", "vm/100").await, count(&estate, "edge", "vm/100").await),
        (5, 1)
    );
    // All of it, every namespace walked; the protected one of vm/104 stays.
    let args = json!({"datastore": "main", "keep_last": 1});
    estate.text("backup_prune", args).await;
    assert_eq!(
        (count(&estate, "lab", "vm/100").await, count(&estate, "lab", "vm/104").await),
        (1, 2)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_said_or_not_there_is_refused() {
    let estate = estate().await;
    let fails = |args: Value| async { estate.failure("backup_prune", args).await };
    let text = fails(json!({"datastore": "main"})).await;
    assert!(text.contains("what to keep is not said"), "{text}");
    let text = fails(json!({"keep_last": 1})).await;
    assert!(text.contains("what to prune is not said"), "{text}");
    // The same group is in two namespaces.
    let text = fails(json!({"group": "vm/104", "keep_last": 1})).await;
    assert!(text.contains("group `vm/104` is in 2 places"), "{text}");
    let text = fails(json!({"group": "vm/104", "namespace": "nope", "keep_last": 1})).await;
    assert!(text.contains("is not found"), "{text}");
    let text = fails(json!({"datastore": "main", "namespace": "nope", "keep_last": 1})).await;
    assert!(text.contains("has no namespace `nope`"), "{text}");
    let text = fails(json!({"group": "104", "keep_last": 1})).await;
    assert!(text.contains("names no backup group"), "{text}");
    let text = fails(json!({"storage": "local", "cluster": "lab", "keep_last": 1})).await;
    assert!(text.contains("is another one on each node"), "{text}");
    estate.sim.levers().node_offline("vault", "vault", true).unwrap();
    let text = fails(json!({"datastore": "main", "keep_last": 1})).await;
    assert!(text.contains("vault cannot be asked"), "{text}");
    let text = fails(json!({"guest": "lab/104", "keep_last": 1})).await;
    assert!(text.contains("vault:main/lab"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_may_not_prune_sees_the_plan_and_a_warning() {
    let estate = Estate::start("agent").await;
    let args = json!({"guest": "lab/100", "keep_last": 1});
    let (failed, text, _) = planned(&estate, "backup_prune", args.clone()).await;
    assert!(!failed, "{text}");
    assert!(text.contains("warning privilege: vault: the token for changes holds no Datastore.Modify or Datastore.Prune on /datastore/main/lab"), "{text}");
    let text = estate.failure("backup_prune", args).await;
    assert!(text.contains("permission check failed"), "{text}");
    assert_eq!(count(&estate, "lab", "vm/100").await, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storage_is_pruned_by_pves_own_preview() {
    let estate = estate().await;
    for _ in 0..3 {
        estate.text("backup_run", json!({"guests": ["lab/131"], "storage": "nas"})).await;
    }
    let args = json!({"guest": "lab/131", "storage": "nas", "keep_last": 1});
    let (_, text, object) = planned(&estate, "backup_prune", args.clone()).await;
    assert_eq!(object["tally"], json!({"snapshots": 3, "go": 2, "stay": 1, "protected": 0}));
    assert!(text.contains("space comes back at once"), "{text}");
    let answer = estate.ask("backup_prune", args).await;
    assert!(answer.text.contains("2 backups pruned, 1 left"), "{}", answer.text);
    // Through PVE the backup server's own wait still counts.
    let args = json!({"guest": "lab/100", "storage": "vault", "keep_last": 4});
    let (_, text, object) = planned(&estate, "backup_prune", args).await;
    assert_eq!(object["tally"]["go"], 1, "{text}");
    assert!(text.contains("space comes back only with a garbage collection"), "{text}");
}

/// Random protections and rules: the preview is what the server would do.
#[tokio::test(flavor = "multi_thread")]
async fn the_preview_is_the_servers_own_dry_run() {
    let estate = estate().await;
    let server = estate.cx.fleet.pbs(Some("vault")).unwrap().remove(0);
    let store = "main".parse().unwrap();
    let some = |most: u32| proptest::option::weighted(0.5, 1..=most);
    let rules = (some(3), some(3), some(3), some(3), some(2), some(2));
    let strategy = (rules, proptest::collection::vec(any::<bool>(), 5), 0_usize..4);
    let mut runner = TestRunner::new(proptest::test_runner::Config::with_cases(40));
    for _ in 0..40 {
        let (keep, protected, guest) = strategy.new_tree(&mut runner).expect("a value").current();
        let (last, hourly, daily, weekly, monthly, yearly) = keep;
        let vmid = ["100", "101", "104", "114"][guest];
        let group = GroupRef::new(BackupType::Vm, vmid).in_namespace("lab");
        let all = pbs_client::snapshots::of_group(&store, &group);
        let mut all = server.client.call(all).await.unwrap();
        all.sort_by_key(|one| one.time);
        for (one, protected) in all.iter().zip(&protected) {
            let set =
                pbs_client::snapshots::set_protected(&store, &one.reference("lab"), *protected);
            server.client.call(set).await.unwrap();
        }
        if [last, hourly, daily, weekly, monthly, yearly].iter().all(Option::is_none) {
            continue;
        }
        let keep = Keep { last, hourly, daily, weekly, monthly, yearly };
        let options = PruneGroupParams { keep, dry_run: Some(true) };
        let said = server.client.call(groups::prune(&store, &group, options)).await.unwrap();
        let mut theirs: Vec<String> = said
            .iter()
            .filter(|mark| !mark.keep)
            .map(|mark| mark.time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
            .collect();
        theirs.sort();
        let args = json!({
            "group": format!("vm/{vmid}"), "namespace": "lab", "keep_last": last, "keep_hourly": hourly,
            "keep_daily": daily, "keep_weekly": weekly, "keep_monthly": monthly, "keep_yearly": yearly,
        });
        let mut args = args;
        args.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        let (failed, text, object) = planned(&estate, "backup_prune", args.clone()).await;
        assert!(!failed, "{args}: {text}");
        let (mut ours, _) = fates(&object);
        ours.sort();
        assert_eq!(ours, theirs, "{args}, protected {protected:?}: {text}");
    }
}
