//! What is late does not hold up what is there, and is not taken for an answer.

use std::{sync::Arc, time::Duration};

use api_core::{Body, Transport, TransportError};
use async_trait::async_trait;
use serde_json::{Value, json};

use crate::{estate::Estate, lost::lab};

/// Never answers what has `path` in its own.
struct Stuck {
    inner: Arc<dyn Transport>,
    authorization: String,
    path: &'static str,
}

#[async_trait]
impl Transport for Stuck {
    async fn send(
        &self,
        mut request: http::Request<Body>,
    ) -> Result<http::Response<Body>, TransportError> {
        if request.uri().path().contains(self.path) {
            return std::future::pending().await;
        }
        let header = self.authorization.parse().expect("a header");
        request.headers_mut().insert(http::header::AUTHORIZATION, header);
        self.inner.send(request).await
    }
}

async fn start(path: &'static str) -> Estate {
    let (estate, _) = lab(|_, inner, authorization| Stuck { inner, authorization, path }).await;
    estate.within(Duration::from_secs(3))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_node_is_not_judged_and_the_others_are() {
    let estate = start("/nodes/birch/").await;
    let answer = estate.ask("check_node_health", json!({})).await;
    assert!(!answer.failed, "{}", answer.text);
    let lead = answer.text.lines().next().unwrap();
    assert_eq!(lead, "3 nodes: 1 warning, 1 unknown, 1 ok; not judged: lab/birch");
    assert!(answer.text.contains("unreachable: lab/birch (no answer in time)"), "{}", answer.text);
    let rows = answer.object["nodes"]["rows"].as_array().unwrap();
    let birch = rows.iter().find(|row| row[0] == "lab/birch").unwrap();
    assert_eq!(birch, &json!(["lab/birch", "unknown", "no answer in time"]));
    let answer = estate.ask("check_node_health", json!({"node": "birch"})).await;
    assert_eq!(answer.object["verdict"], "unknown", "{}", answer.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_of_the_others_are_listed_without_a_late_node() {
    let estate = start("/nodes/birch/").await;
    let answer = estate.ask("tasks_list", json!({"state": "failed"})).await;
    assert!(!answer.failed, "{}", answer.text);
    assert!(answer.text.contains("unreachable: lab/birch ("), "{}", answer.text);
    assert!(answer.text.contains("lab UPID:cedar:"), "{}", answer.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stuck_part_of_a_node_is_a_note() {
    let estate = start("/disks/list").await;
    let answer = estate.ask("node_get", json!({"node": "birch"})).await;
    assert!(!answer.failed, "{}", answer.text);
    assert!(answer.text.starts_with("lab/birch: online for "), "{}", answer.text);
    assert!(answer.text.contains("note: disks: no answer in time"), "{}", answer.text);
    assert_eq!(answer.object.get("unreachable"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_cluster_is_in_the_verdict() {
    let estate = Estate::start("agent").await;
    estate.sim.levers().node_offline("edge", "alder", true).unwrap();
    let answer = estate.ask("check_node_health", json!({})).await;
    let lead = answer.text.lines().next().unwrap();
    assert!(lead.ends_with("; not judged: edge"), "{}", answer.text);
    assert_eq!(answer.object["verdict"], "critical");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_is_bounded_with_a_time_too() {
    let estate = Estate::start("agent").await;
    let args = json!({"node": "birch", "since": "30d", "limit": 3});
    let answer = estate.ask("log_recent", args).await;
    assert_eq!(answer.object["lines"], 3, "{}", answer.text);
    assert!(answer.text.contains("note: cut: older lines since "), "{}", answer.text);
    let args = json!({"node": "birch", "since": "30d", "text": "cron:session", "limit": 2});
    let answer = estate.ask("log_recent", args).await;
    assert_eq!(answer.object["lines"], 2, "{}", answer.text);
    let notes: Vec<&Value> = answer.object["notes"].as_array().unwrap().iter().collect();
    assert_eq!(notes, ["the newest 2 of 20 lines that fit"]);
}
