//! Reading any path of the simulated estate.

use proxmox_sim::SimConfig;
use serde_json::{Value, json};

use crate::estate::Estate;

/// The values of a column.
fn column(object: &mcp_protocol::JsonObject, name: &str) -> Vec<Value> {
    let columns = object["rows"]["columns"].as_array().unwrap();
    let at = columns
        .iter()
        .position(|column| column == name)
        .unwrap_or_else(|| panic!("{name} in {columns:?}"));
    object["rows"]["rows"].as_array().unwrap().iter().map(|row| row[at].clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_rows_that_can_be_chosen_from() {
    let estate = Estate::start("agent").await;
    let all = estate
        .ask(
            "api_read",
            json!({"cluster": "lab", "path": "/cluster/resources", "query": {"type": "vm"}}),
        )
        .await;
    assert!(!all.failed, "{}", all.text);
    let total = all.object["count"].as_u64().unwrap();
    assert!(total > 40, "{}", all.text);

    let args = json!({"cluster": "lab", "path": "/cluster/resources", "query": {"type": "vm"},
        "fields": "vmid,name,status", "filter": "status=running,template!=1", "limit": 5});
    let page = estate.ask("api_read", args.clone()).await;
    assert_eq!(page.object["rows"]["columns"], json!(["vmid", "name", "status"]));
    assert!(column(&page.object, "status").iter().all(|status| status == "running"));
    let total = page.object["count"].as_u64().unwrap();
    let mut seen = column(&page.object, "vmid");
    let mut object = page.object;
    while let Some(next) = object
        .get("next")
        .and_then(|next| next[0]["args"].as_object())
        .filter(|args| args.contains_key("cursor"))
    {
        let answer = estate.ask("api_read", Value::Object(next.clone())).await;
        seen.extend(column(&answer.object, "vmid"));
        object = answer.object;
    }
    assert_eq!(seen.len() as u64, total);
    seen.sort_by_key(Value::as_u64);
    seen.dedup();
    assert_eq!(seen.len() as u64, total, "no row twice");

    let text = estate
        .text("api_read", json!({"cluster": "lab", "path": "/cluster/resources", "filter": "zzzz"}))
        .await;
    assert!(text.contains("0 of "), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_logs_and_scalars_read_as_what_they_are() {
    let estate = Estate::start("agent").await;
    let status = estate
        .ask(
            "api_read",
            json!({"cluster": "lab", "path": "/nodes/alder/status", "fields": "memory"}),
        )
        .await;
    let fields = column(&status.object, "field");
    assert!(
        fields.iter().all(|field| field.as_str().unwrap().starts_with("memory.")),
        "{fields:?}"
    );
    let next = estate.text("api_read", json!({"cluster": "lab", "path": "/cluster/nextid"})).await;
    assert!(next.starts_with("/cluster/nextid of lab: "), "{next}");
    let tasks = estate
        .ask("api_read", json!({"cluster": "lab", "path": "/cluster/tasks", "limit": 1}))
        .await;
    let upid = column(&tasks.object, "upid")[0].clone();
    let node = column(&tasks.object, "node")[0].clone();
    let path = format!("/nodes/{}/tasks/{}/log", node.as_str().unwrap(), upid.as_str().unwrap());
    let log = estate.text("api_read", json!({"cluster": "lab", "path": path})).await;
    assert!(log.contains("<<<untrusted lines"), "{log}");
    let store =
        estate.ask("api_read", json!({"cluster": "vault", "path": "/admin/datastore"})).await;
    assert!(!store.failed && !column(&store.object, "store").is_empty(), "{}", store.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn whose_path_it_is_is_not_guessed() {
    let estate = Estate::start("agent").await;
    // Only the backup server has datastores.
    let text = estate.text("api_read", json!({"path": "/admin/datastore"})).await;
    assert!(text.starts_with("/admin/datastore of vault"), "{text}");
    let text = estate.failure("api_read", json!({"path": "/cluster/resources"})).await;
    assert!(
        text.contains("give cluster") && text.contains("lab pve") && !text.contains("vault pbs"),
        "{text}"
    );
    let text = estate.failure("api_read", json!({"cluster": "nowhere", "path": "/version"})).await;
    assert!(text.contains("the settings have:"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_told_before_anything_is_sent() {
    let estate = Estate::start("agent").await;
    let text = estate
        .failure("api_read", json!({"cluster": "lab", "path": "/nodes/alder/qemu/104/confg"}))
        .await;
    assert!(text.contains("did you mean config?"), "{text}");
    let text = estate.failure("api_read", json!({"cluster": "lab", "path": "/nodes/alder/tasks", "query": {"limt": 5, "since": "x"}})).await;
    assert!(text.contains("did you mean limit?") && text.contains("whole number"), "{text}");
    // A read that takes away what it tells is a call.
    let args = json!({"cluster": "lab", "path": "/nodes/alder/qemu/104/agent/exec-status", "query": {"pid": 7}});
    let answer = estate.ask("api_read", args).await;
    assert!(answer.failed && answer.text.contains("takes the output away"), "{}", answer.text);
    assert_eq!(answer.object["next"][0]["tool"], "api_call");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_see_and_who_is_away_is_said() {
    let estate = Estate::start("nothing").await;
    let text = estate.text("api_read", json!({"cluster": "lab", "path": "/pools"})).await;
    assert!(text.contains("none that the token may see"), "{text}");
    let text =
        estate.failure("api_read", json!({"cluster": "lab", "path": "/nodes/alder/status"})).await;
    assert!(text.contains("lacks a privilege"), "{text}");

    let estate = Estate::of(SimConfig::fast(), "agent", 16 * 1024).await;
    estate.text("api_read", json!({"cluster": "lab", "path": "/version"})).await;
    for node in ["alder", "birch", "cedar"] {
        estate.sim.levers().node_offline("lab", node, true).unwrap();
    }
    let answer =
        estate.ask("api_read", json!({"cluster": "lab", "path": "/cluster/resources"})).await;
    assert!(answer.failed, "{}", answer.text);
    assert_eq!(
        answer.object["unreachable"][0][0]
            .as_str()
            .or(answer.object["unreachable"][0]["what"].as_str()),
        Some("lab"),
        "{}",
        answer.text
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_keep_to_their_ceiling() {
    for ceiling in [2048, 4096, 16 * 1024] {
        let estate = Estate::of(SimConfig::fast(), "agent", ceiling).await;
        for path in [
            "/cluster/resources",
            "/cluster/tasks",
            "/nodes/alder/status",
            "/nodes/alder/qemu/104/config",
            "/nodes/alder/syslog",
        ] {
            // The helper checks the bytes of both forms.
            estate.ask("api_read", json!({"cluster": "lab", "path": path, "limit": 1000})).await;
        }
    }
}
