//! Backups: found, attributed, judged, and never claimed beyond what is seen.

use std::{collections::BTreeSet, io, path::Path, sync::Arc, time::Duration};

use api_core::{Body, FailoverOptions, Transport, TransportError, endpoint::FileContent};
use async_trait::async_trait;
use mcp_tools::fleet::Traits;
use proxmox_sim::{SimConfig, TaskSpec};
use serde_json::json;

use crate::estate::{Answer, Estate};

/// Spoils some calls to the cluster `lab`.
struct Spoiled {
    inner: Arc<dyn Transport>,
    authorization: String,
    /// Calls whose path contains this.
    path: &'static str,
    /// What is answered instead; nothing ever, if there is none.
    status: Option<u16>,
}

#[async_trait]
impl Transport for Spoiled {
    async fn send(
        &self,
        mut request: http::Request<Body>,
    ) -> Result<http::Response<Body>, TransportError> {
        let header = self.authorization.parse().expect("a header");
        request.headers_mut().insert(http::header::AUTHORIZATION, header);
        if !request.uri().path().contains(self.path) {
            return self.inner.send(request).await;
        }
        let Some(status) = self.status else { return std::future::pending().await };
        let body = json!({"data": null, "message": "storage is not online\n"}).to_string();
        let reply = http::Response::builder().status(status).body(body.into());
        Ok(reply.expect("a reply"))
    }
}

/// The demo estate, where calls to `lab` with `path` answer with `status`, or never.
async fn spoiled(path: &'static str, status: Option<u16>) -> Estate {
    let mut estate = Estate::start("agent").await;
    let lab = &estate.sim.targets()[0];
    let ca = lab.ca_pem.clone();
    let files = move |_: &Path| -> io::Result<FileContent> {
        Ok(FileContent { bytes: ca.clone().into_bytes(), world_readable: Some(false) })
    };
    let token = lab.token("agent");
    let urls: Vec<_> = lab.nodes.iter().map(|node| node.url.clone()).collect();
    let table = json!({
        "endpoints": urls, "token_id": token.id, "token": token.secret, "ca_file": "ca.pem",
    });
    let config: pve_client::Config = serde_json::from_value(table).expect("a table");
    let options = config.validate("lab", &files).expect("a valid table").value;
    let clock = stdx::SystemClock::shared();
    let inner = Arc::new(options.transport(FailoverOptions::default(), clock));
    let authorization = format!("PVEAPIToken={}={}", token.id, token.secret);
    let client = pve_client::Client::new(Arc::new(Spoiled { inner, authorization, path, status }));
    let fleet = Arc::into_inner(estate.cx.fleet).expect("nobody else holds the fleet");
    let fleet = fleet.with_pve("lab".parse().expect("a key"), &client, Traits::default());
    estate.cx.fleet = Arc::new(fleet);
    estate
}

/// How many guests stand so.
fn tally(answer: &Answer, standing: &str) -> u64 {
    answer.object["tally"][standing].as_u64().unwrap_or_else(|| panic!("{}", answer.text))
}

/// A column of all guests of an answer.
fn column(answer: &Answer, index: usize) -> BTreeSet<String> {
    let rows = answer.object["guests"]["rows"].as_array().expect("rows").iter();
    rows.filter_map(|row| row[index].as_str()).map(str::to_owned).collect()
}

/// A run over several guests that failed for one of them.
fn failed_run(vmid: u32, secs_ago: i64) -> TaskSpec {
    let mut run = TaskSpec::finished("vzdump", "", "job errors");
    run.ended_secs_ago = secs_ago;
    run.log = vec![
        format!("ERROR: Backup of VM {vmid} failed - no space left on device"),
        "TASK ERROR: job errors".to_owned(),
    ];
    run
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_token_may_not_see_is_unseen_and_the_backup_server_is_asked() {
    let estate = Estate::of(SimConfig::fast(), "readonly", 64 * 1024).await;
    let args = json!({"cluster": "lab", "view": "all"});
    let answer = estate.ask("backup_status", args).await;
    assert_eq!(tally(&answer, "never"), 0, "{}", answer.text);
    assert!(tally(&answer, "unseen") > 0, "{}", answer.text);
    assert!(!answer.text.contains("without any backup"), "{}", answer.text);
    assert!(answer.text.contains("none seen for"), "{}", answer.text);
    let places = column(&answer, 4);
    assert!(places.contains("vault:main/lab"), "{places:?}");
    assert!(!places.contains("vault:main/edge"), "{places:?}");
    assert!(answer.text.contains("Datastore.AllocateSpace and VM.Backup"), "{}", answer.text);
    assert!(answer.text.contains("were read from vault:main/lab"), "{}", answer.text);
    // Each cluster's own namespace, although the id is the same.
    for (guest, place) in [("lab/104", "vault:main/lab"), ("edge/104", "vault:main/edge")] {
        let answer = estate.ask("backup_status", json!({"guest": guest})).await;
        assert_eq!(answer.object["guests"]["rows"][0][4], place, "{}", answer.text);
        let args = json!({"guest": guest, "include": ["backup"]});
        let text = estate.text("guest_get", args).await;
        assert!(text.contains(&format!("on {place}")), "{text}");
    }
    // The agent sees all, and the same backups.
    let estate = Estate::start("agent").await;
    let all = estate.ask("backup_status", json!({"cluster": "lab", "view": "all"})).await;
    assert_eq!(tally(&all, "unseen"), 0, "{}", all.text);
    assert!(tally(&all, "never") > 0, "{}", all.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_away_keeps_its_storages_to_itself() {
    let estate = Estate::start("agent").await;
    estate.sim.levers().node_offline("lab", "cedar", true).unwrap();
    let answer = estate.ask("backup_status", json!({})).await;
    assert!(answer.text.contains("unreachable: lab/cedar"), "{}", answer.text);
    assert!(tally(&answer, "unseen") > 0, "{}", answer.text);
    let rows = answer.object["guests"]["rows"].as_array().unwrap().iter();
    let none: Vec<_> = rows.filter(|row| row[2] == "never").collect();
    assert!(none.iter().all(|row| row[0].as_str().unwrap().starts_with("edge/")), "{none:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storage_that_fails_hides_only_what_is_on_it() {
    let estate = spoiled("/storage/nas/content", Some(500)).await;
    let answer = estate.ask("backup_status", json!({"cluster": "lab"})).await;
    assert!(answer.text.contains("storage is not online"), "{}", answer.text);
    assert_eq!(tally(&answer, "never"), 0, "{}", answer.text);
    assert!(tally(&answer, "unseen") > 0 && tally(&answer, "ok") > 0, "{}", answer.text);
    // A backup server stands in for itself.
    let healthy = Estate::start("agent").await;
    let healthy = healthy.ask("backup_status", json!({"cluster": "lab"})).await;
    let estate = spoiled("/storage/vault/content", Some(500)).await;
    let answer = estate.ask("backup_status", json!({"cluster": "lab"})).await;
    for standing in ["ok", "never", "unseen", "old", "failed", "unverifiable"] {
        assert_eq!(tally(&answer, standing), tally(&healthy, standing), "{}", answer.text);
    }
    assert!(answer.text.contains("were read from vault:main/lab"), "{}", answer.text);
    // And is missed where it is away as well.
    estate.sim.levers().node_offline("vault", "vault", true).unwrap();
    let answer = estate.ask("backup_status", json!({"cluster": "lab"})).await;
    assert!(answer.text.contains("unreachable: vault ("), "{}", answer.text);
    assert_eq!(tally(&answer, "never"), 0, "{}", answer.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_slow_storage_does_not_take_its_cluster_along() {
    let estate = spoiled("/storage/nas/content", None).await.within(Duration::from_secs(2));
    let answer = estate.ask("backup_status", json!({"cluster": "lab"})).await;
    assert!(answer.text.contains("unreachable: lab/nas ("), "{}", answer.text);
    assert!(tally(&answer, "guests") > 0 && tally(&answer, "ok") > 0, "{}", answer.text);
    assert_eq!(tally(&answer, "never"), 0, "{}", answer.text);
    let jobs = estate.ask("backup_status", json!({"cluster": "lab", "view": "jobs"})).await;
    assert!(!jobs.object["jobs"]["rows"].as_array().unwrap().is_empty(), "{}", jobs.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_the_settings_do_not_have_is_named() {
    let mut estate = Estate::start("readonly").await;
    let mut fleet = mcp_tools::fleet::Fleet::new(stdx::SystemClock::shared());
    let lab = estate.cx.fleet.pve(Some("lab")).unwrap().remove(0);
    fleet = fleet.with_pve(lab.key.clone(), &lab.client, Traits::default());
    estate.cx.fleet = Arc::new(fleet);
    let text = estate.text("backup_status", json!({})).await;
    let note = "backups on pbs server 127.0.0.1 (storage vault) are not in the settings";
    assert!(text.contains(note), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_are_read_until_the_guest_is_found_or_it_is_said() {
    let estate = Estate::start("agent").await;
    let levers = estate.sim.levers();
    for hour in 0..10 {
        levers.add_task("lab", "birch", &failed_run(101, 60 + hour)).unwrap();
    }
    levers.add_task("lab", "alder", &failed_run(100, 300)).unwrap();
    let text = estate.text("backup_status", json!({"guest": "lab/100"})).await;
    assert!(text.contains("no space left on device"), "the eleventh log: {text}");
    for hour in 0..30 {
        levers.add_task("lab", "birch", &failed_run(101, 60 + hour)).unwrap();
    }
    let text = estate.text("backup_status", json!({"cluster": "lab"})).await;
    assert!(text.contains("backup logs up to"), "{text}");
    let estate = spoiled("/log", Some(500)).await;
    let text = estate.text("backup_status", json!({"cluster": "lab"})).await;
    assert!(text.contains("could not be read"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn guest_and_cluster_are_both_meant() {
    let estate = Estate::start("agent").await;
    let answer = estate.ask("backup_status", json!({"guest": "104", "cluster": "lab"})).await;
    assert_eq!(answer.object["guests"]["rows"][0][0], "lab/104", "{}", answer.text);
    assert!(answer.text.starts_with("1 guest: "), "{}", answer.text);
    estate.text("backup_status", json!({"guest": "lab/104", "cluster": "lab"})).await;
    let args = json!({"guest": "lab/104", "cluster": "edge"});
    let text = estate.failure("backup_status", args).await;
    assert!(text.contains("is in `lab`, but cluster is `edge`"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_worst_comes_first_with_its_cause() {
    let estate = Estate::start("agent").await;
    let answer = estate.ask("backup_status", json!({})).await;
    let rows = answer.object["guests"]["rows"].as_array().unwrap();
    assert_eq!((&rows[0][0], &rows[0][2]), (&json!("lab/112"), &json!("failed")));
    assert!(rows[0][7].as_str().unwrap().contains("Input/output error"), "{}", rows[0]);
    let states: Vec<_> = rows.iter().map(|row| row[2].as_str().unwrap()).collect();
    let rank = |state: &&str| {
        ["failed", "never", "unseen", "old", "unverifiable", "ok"].iter().position(|s| s == state)
    };
    assert!(states.is_sorted_by_key(rank), "{states:?}");
    let tally = &answer.object["tally"];
    let sum = ["ok", "old", "never", "unseen", "failed", "unverifiable"];
    let sum: u64 = sum.iter().map(|key| tally[key].as_u64().unwrap()).sum();
    assert_eq!(tally["guests"].as_u64(), Some(sum), "each guest stands one way: {tally}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_id_on_two_clusters_is_two_guests() {
    let estate = Estate::start("agent").await;
    let lab = estate.ask("backup_status", json!({"guest": "lab/104"})).await;
    let edge = estate.ask("backup_status", json!({"guest": "edge/104"})).await;
    let of = |answer: &crate::estate::Answer| answer.object["guests"]["rows"][0].clone();
    assert_eq!(
        (of(&lab)[1].clone(), of(&edge)[1].clone()),
        (json!("db-main"), json!("print-server"))
    );
    assert_ne!(of(&lab)[3], of(&edge)[3], "each has its own newest backup");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_failed_later_is_told_by_the_log() {
    let estate = Estate::start("agent").await;
    let mut run = TaskSpec::finished("vzdump", "", "job errors");
    run.log = vec![
        "INFO: Starting Backup of VM 100 (qemu)".to_owned(),
        "ERROR: Backup of VM 100 failed - no space left on device".to_owned(),
        "INFO: Finished Backup of VM 101 (00:00:10)".to_owned(),
        "TASK ERROR: job errors".to_owned(),
    ];
    estate.sim.levers().add_task("lab", "alder", &run).unwrap();
    let text = estate.text("backup_status", json!({"guest": "lab/100"})).await;
    assert!(text.contains("failed") && text.contains("no space left on device"), "{text}");
    let text = estate.text("backup_status", json!({"guest": "lab/101"})).await;
    assert!(!text.contains("no space left"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_without_privileges_is_told_so() {
    let estate = Estate::start("nothing").await;
    let text = estate.text("backup_snapshots", json!({})).await;
    assert!(text.contains("no privileges"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_are_counted_by_verification_in_all_namespaces() {
    let estate = Estate::start("agent").await;
    let all = estate.ask("backup_snapshots", json!({})).await;
    let places: std::collections::BTreeSet<_> = all.object["groups"]["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row[0].to_string())
        .collect();
    assert!(places.len() >= 3, "{places:?}");
    let failed = estate.ask("backup_snapshots", json!({"verified": "failed"})).await;
    let rows = failed.object["groups"]["rows"].as_array().unwrap();
    assert_eq!(Some(rows.len() as u64), failed.object["tally"]["failed"].as_u64());
    let text = estate.failure("backup_snapshots", json!({"datastore": "nowhere"})).await;
    assert!(text.contains("nowhere"), "{text}");
    let one = estate.ask("backup_snapshots", json!({"group": "vm/104", "namespace": "lab"})).await;
    let rows = one.object["snapshots"]["rows"].as_array().unwrap();
    assert!(rows.iter().all(|row| row[0] == "vault:main/lab"), "{rows:?}");
    // What is counted is what is shown.
    assert_eq!(one.object["tally"]["snapshots"].as_u64(), Some(rows.len() as u64));
    assert!(one.text.contains(" in 1 namespace: "), "{}", one.text);
    assert_eq!(failed.object["tally"]["ok"], 0);
    assert_eq!(failed.object["tally"]["snapshots"], failed.object["tally"]["failed"]);
    let times: Vec<_> = rows.iter().map(|row| row[1].as_str().unwrap()).collect();
    assert!(times.is_sorted_by(|a, b| a > b), "newest first: {times:?}");
}
