//! Backups run now: where they land, what fails, and what is refused before.

use pve_client::qemu;
use serde_json::{Value, json};

use crate::estate::{Answer, Estate};

/// The demo estate with a token that may do everything.
pub(crate) async fn estate() -> Estate {
    Estate::start("operator").await
}

/// What a tool would do: the answer to `plan: true`, through the catalogue.
pub(crate) async fn planned(estate: &Estate, tool: &str, args: Value) -> (bool, String, Value) {
    let Value::Object(mut args) = args else { panic!("arguments are an object") };
    args.insert("plan".to_owned(), true.into());
    let app = mcp_tools::build_app(
        std::sync::Arc::clone(&estate.cx.fleet),
        &crate::surface::options("all"),
    );
    let app = app.expect("the catalogue is consistent");
    let cx = mcp_protocol::CallContext::detached(app.caller().clone());
    let outcome = app.call_tool(&cx, tool, args).await.expect("a known tool");
    let (failed, answer) = match outcome {
        mcp_protocol::Outcome::Done(answer) => (false, answer),
        mcp_protocol::Outcome::Failed(answer) => (true, answer),
        other => panic!("{other:?}"),
    };
    let object = Value::Object(answer.structured.clone().unwrap_or_default());
    (failed, answer.plain_text(), object)
}

/// How many snapshots a group has, as the backup server lists them.
pub(crate) async fn count(estate: &Estate, namespace: &str, group: &str) -> usize {
    let args = json!({"namespace": namespace, "group": group, "datastore": "main"});
    let answer = estate.ask("backup_snapshots", args).await;
    answer.object["tally"]["snapshots"].as_u64().expect("a count") as usize
}

pub(crate) fn cell<'a>(answer: &'a Answer, table: &str, row: usize, column: &str) -> &'a Value {
    let columns = answer.object[table]["columns"].as_array().expect("columns");
    let at = columns.iter().position(|name| name == column).expect("a column");
    &answer.object[table]["rows"][row][at]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_lands_in_its_own_namespace_and_size_and_place_are_told() {
    let estate = estate().await;
    let before = count(&estate, "lab", "vm/104").await;
    let args = json!({"guests": ["lab/104"], "storage": "vault", "notes": "before the upgrade"});
    let answer = estate.ask("backup_run", args).await;
    assert!(!answer.failed, "{}", answer.text);
    let lead = "lab/104 db-main is backed up to vault:main/lab: 67G, ";
    assert!(answer.text.starts_with(lead), "{}", answer.text);
    assert_eq!(answer.object["status"], "ok");
    assert!(answer.object["size_bytes"].as_u64() > Some(1 << 30), "{}", answer.text);
    assert_eq!(answer.object["next"][0]["tool"], "backup_verify");
    assert_eq!(count(&estate, "lab", "vm/104").await, before + 1);
    // The other cluster's guest of the same id has nothing of it.
    assert_eq!(count(&estate, "edge", "vm/104").await, 5);
    // Its next call verifies exactly that one.
    let next = answer.object["next"][0]["args"].clone();
    let verified = estate.ask("backup_verify", next).await;
    assert!(verified.text.contains("1 snapshot verified"), "{}", verified.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_go_to_storages_and_nothing_older_is_pruned() {
    let estate = estate().await;
    // The storage's own rule keeps three.
    for run in 1..=4 {
        let args = json!({"guests": ["lab/130"], "storage": "nas", "protected": run == 1});
        let answer = estate.ask("backup_run", args).await;
        assert!(!answer.failed, "{}", answer.text);
        assert_eq!(answer.object["place"], "nas", "{}", answer.text);
        assert!(answer.object["volume"].as_str().unwrap().ends_with(".tar.zst"));
    }
    let args = json!({"guest": "lab/130", "storage": "nas", "keep_last": 1});
    let (_, text, object) = planned(&estate, "backup_prune", args).await;
    assert!(object["tally"]["snapshots"].as_u64() >= Some(1), "{text}");
    assert_eq!(object["tally"]["protected"], 1, "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_each_has_its_own_outcome() {
    let estate = estate().await;
    // 112's disk cannot be read; the three are on two nodes.
    let args = json!({"guests": ["lab/100", "lab/112", "lab/101"], "storage": "vault"});
    let answer = estate.ask("backup_run", args).await;
    assert!(answer.failed, "{}", answer.text);
    let lead = "2 of 3 guests are backed up; failed: lab/112 fileserver: job failed with err -5 - Input/output error";
    assert!(answer.text.starts_with(lead), "{}", answer.text);
    assert_eq!(answer.object["tally"], json!({"guests": 3, "failed": 1}));
    assert_eq!(count(&estate, "lab", "vm/100").await, 6);
    assert_eq!(count(&estate, "lab", "vm/101").await, 6);
    let one = estate.failure("backup_run", json!({"guests": ["lab/112"], "storage": "nas"})).await;
    assert!(
        one.starts_with("backup of lab/112 fileserver failed: job failed with err -5"),
        "{one}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_says_the_calls_and_does_nothing() {
    let estate = estate().await;
    let before = count(&estate, "lab", "vm/104").await;
    let args = json!({"guests": ["lab/104", "lab/100"], "storage": "vault", "mode": "stop"});
    let (failed, text, object) = planned(&estate, "backup_run", args).await;
    assert!(!failed, "{text}");
    let calls = object["calls"]["rows"].as_array().unwrap();
    assert_eq!(calls.len(), 2, "one a node: {text}");
    assert!(calls.iter().all(|call| call[2].as_str().unwrap().contains("remove=0")), "{text}");
    assert!(text.contains("warning downtime: stop mode shuts down and starts again"), "{text}");
    assert!(text.contains("effect: no older backup is removed"), "{text}");
    assert_eq!(count(&estate, "lab", "vm/104").await, before);
    let tasks =
        estate.text("tasks_list", json!({"cluster": "lab", "type": "vzdump", "limit": 1})).await;
    assert!(!tasks.contains("operator@pve"), "{tasks}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_work_is_refused_with_the_way_out() {
    let estate = estate().await;
    let levers = estate.sim.levers();
    let run = |args: Value| async { estate.failure("backup_run", args).await };
    // Which storage is never guessed.
    let text = run(json!({"guests": ["lab/100"]})).await;
    assert!(text.contains("has 3 storages that take backups"), "{text}");
    let text = run(json!({"guests": ["lab/100"], "storage": "ceph-vm"})).await;
    assert!(text.contains("no storage `ceph-vm` that takes backups"), "{text}");
    let text = run(json!({"guests": ["104"], "storage": "vault"})).await;
    assert!(text.contains("`104` fits 2 guests"), "{text}");
    let text = run(json!({"guests": [], "storage": "vault"})).await;
    assert!(text.contains("no guest is named"), "{text}");
    // Full.
    levers.set_storage_usage("lab", "local", 1.0).unwrap();
    let text = run(json!({"guests": ["lab/130"], "storage": "local"})).await;
    assert!(text.contains("lab/local has 0B free"), "{text}");
    // Held by something else.
    let lab = estate.cx.fleet.pve(Some("lab")).unwrap().remove(0);
    let mut held = qemu::QemuConfigParams::default();
    held.settings.extra = [("lock", "snapshot")].into_iter().collect();
    let (node, vmid) = ("alder".parse().unwrap(), "100".parse().unwrap());
    lab.operator.call(qemu::set_config(&node, vmid, held)).await.unwrap();
    let text = run(json!({"guests": ["lab/101", "lab/100"], "storage": "vault"})).await;
    assert!(
        text.contains("backup of lab/100 web-01 was not tried: it is locked (snapshot)"),
        "{text}"
    );
    assert_eq!(count(&estate, "lab", "vm/101").await, 5, "none was begun");
    // The node is away.
    levers.node_offline("lab", "cedar", true).unwrap();
    let text = run(json!({"guests": ["lab/102"], "storage": "vault"})).await;
    assert!(text.contains("its node cedar does not answer"), "{text}");
    // The backup server is away: the storage shows nothing, so nothing is tried.
    levers.node_offline("vault", "vault", true).unwrap();
    let text = run(json!({"guests": ["lab/101"], "storage": "vault"})).await;
    assert!(text.contains("error fetching datastores - 500 Can't connect to 127.0.0.1:"), "{text}");
}

/// The id alone says nothing: a server that the settings do not have is not attributed.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_matched_is_unattributed() {
    let mut estate = estate().await;
    let lab = estate.cx.fleet.pve(Some("lab")).unwrap().remove(0);
    let traits = || mcp_tools::fleet::Traits::default();
    let fleet = mcp_tools::fleet::Fleet::new(stdx::SystemClock::shared()).with_pve(
        lab.key.clone(),
        &lab.operator,
        traits(),
    );
    // The same server, under an address that no storage entry has.
    let vault = estate.cx.fleet.pbs(Some("vault")).unwrap().remove(0);
    let fleet = fleet.with_pbs(vault.key.clone(), &vault.client, traits());
    estate.cx.fleet = std::sync::Arc::new(fleet);
    let answer = estate.ask("backup_run", json!({"guests": ["lab/104"], "storage": "vault"})).await;
    assert!(!answer.failed, "{}", answer.text);
    assert_eq!(answer.object["place"], "vault", "the storage, not a namespace: {}", answer.text);
    let note = "lab: unattributed: backups on pbs server 127.0.0.1 (storage vault) are not in the settings";
    assert!(answer.text.contains(note), "{}", answer.text);
    let text = estate.failure("backup_verify", json!({"guest": "lab/104"})).await;
    assert!(text.contains("has no backup on a backup server") && text.contains(note), "{text}");
    let text = estate.failure("backup_prune", json!({"guest": "lab/104", "keep_last": 1})).await;
    assert!(text.contains(note), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_fails_is_a_call_that_fails() {
    let estate = estate().await;
    let cause = "interrupted by signal";
    estate.sim.levers().fail_next_task("lab", Some("vzdump"), cause).unwrap();
    let answer = estate.ask("backup_run", json!({"guests": ["lab/100"], "storage": "vault"})).await;
    assert!(answer.failed, "{}", answer.text);
    assert!(answer.text.contains(cause), "{}", answer.text);
    assert_eq!(answer.object["status"], "failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_without_the_privilege_is_told_so() {
    let estate = Estate::start("readonly").await;
    let text =
        estate.failure("backup_run", json!({"guests": ["lab/100"], "storage": "vault"})).await;
    assert!(text.contains("Datastore.AllocateSpace") || text.contains("VM.Backup"), "{text}");
}
