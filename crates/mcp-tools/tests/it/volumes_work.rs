//! Volumes: what lies on storages, what fills, and files that come and go.

use mcp_protocol::{CallContext, Outcome};
use serde_json::{Value, json};

use crate::estate::Estate;

/// The answer to `plan: true`, through the catalogue.
async fn planned(estate: &Estate, tool: &str, args: Value) -> String {
    let mut args = mcp_protocol::schema_object(args);
    args.insert("plan".to_owned(), true.into());
    let fleet = std::sync::Arc::clone(&estate.cx.fleet);
    let app = mcp_tools::build_app(fleet, &crate::surface::options("storage"));
    let app = app.expect("the catalogue is consistent");
    let cx = CallContext::detached(app.caller().clone());
    match app.call_tool(&cx, tool, args).await.expect("a known tool") {
        Outcome::Done(answer) | Outcome::Failed(answer) => answer.plain_text(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn volumes_contents_are_listed_and_paged() {
    let estate = Estate::start("operator").await;
    let answer = estate.ask("storage_content", json!({"storage": "ceph-vm", "limit": 3})).await;
    assert!(!answer.failed, "{}", answer.text);
    assert!(answer.text.starts_with("lab/ceph-vm: "), "{}", answer.text);
    assert_eq!(answer.object["volumes"]["rows"].as_array().map(Vec::len), Some(3));
    assert!(answer.text.contains("cursor"), "{}", answer.text);
    let text = estate.failure("storage_content", json!({"storage": "local"})).await;
    assert!(text.contains("is in 2 clusters"), "{text}");
    let text = estate.failure("storage_content", json!({"storage": "lab/nowhere"})).await;
    assert!(text.contains("there is no storage `nowhere`"), "{text}");
    let text = estate.failure("volume_delete", json!({"volume": "lab/local:iso/x.iso"})).await;
    assert!(text.contains("another storage on each of 3 nodes"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn volumes_forecast_names_what_fills() {
    let estate = Estate::start("operator").await;
    let answer = estate.ask("storage_forecast", json!({})).await;
    assert!(!answer.failed, "{}", answer.text);
    assert!(answer.text.contains("good"), "{}", answer.text);
    assert!(answer.object["filling"].as_u64().is_some_and(|count| count > 0), "{}", answer.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn volumes_come_and_go() {
    let estate = Estate::start("operator").await;
    let list = json!({"storage": "lab/local", "node": "alder", "content": "iso"});
    let before = estate.text("storage_content", list.clone()).await;
    let upload =
        json!({"storage": "lab/local", "node": "alder", "filename": "seed.iso", "text": "hello"});
    let plan = planned(&estate, "storage_upload", upload.clone()).await;
    assert!(plan.contains("nothing was done"), "{plan}");
    assert_eq!(before, estate.text("storage_content", list.clone()).await);
    let text = estate.text("storage_upload", upload.clone()).await;
    assert!(text.contains("lab/local:iso/seed.iso is there"), "{text}");
    let text = estate.failure("storage_upload", upload).await;
    assert!(text.contains("is there already"), "{text}");
    let gone = json!({"volume": "lab/local:iso/seed.iso", "node": "alder"});
    let plan = planned(&estate, "volume_delete", gone.clone()).await;
    assert!(plan.contains("access: destroy"), "{plan}");
    let text = estate.text("volume_delete", gone.clone()).await;
    assert!(text.contains("is deleted"), "{text}");
    let text = estate.failure("volume_delete", gone).await;
    assert!(text.contains("has no volume"), "{text}");

    let wrong = json!({
        "url": "https://example.org/debian.iso", "storage": "lab/local", "node": "alder",
        "checksum": "0".repeat(64),
    });
    let text = estate.failure("storage_download", wrong).await;
    assert!(text.contains("checksum mismatch"), "{text}");
    let missing = json!({
        "url": "https://example.org/missing.iso", "storage": "lab/local", "node": "alder",
    });
    let text = estate.failure("storage_download", missing).await;
    assert!(text.contains("cannot fetch"), "{text}");
    let good = json!({
        "url": "https://example.org/debian.iso", "storage": "lab/local", "node": "alder",
        "checksum": format!("sha256:{}", "a".repeat(64)),
    });
    let text = estate.text("storage_download", good).await;
    assert!(text.contains("lab/local:iso/debian.iso is there"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn volumes_in_use_stay() {
    let estate = Estate::start("operator").await;
    let rows = estate.ask("storage_content", json!({"storage": "ceph-vm", "vmid": 100})).await;
    let volume = rows.object["volumes"]["rows"][0][0].as_str().expect("a volume").to_owned();
    let text = estate.failure("volume_delete", json!({"volume": format!("lab/{volume}")})).await;
    assert!(text.contains("in use by lab/100"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn volumes_need_privileges() {
    let estate = Estate::start("readonly").await;
    let args = json!({
        "storage": "lab/local", "node": "alder", "filename": "seed.iso", "text": "hello",
    });
    let text = estate.failure("storage_upload", args).await;
    assert!(text.contains("Datastore.AllocateTemplate"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn volumes_that_are_no_file_or_too_large_are_not_sent() {
    let estate = Estate::start("operator").await;
    let upload = |more: Value| {
        let mut args = json!({"storage": "lab/local", "node": "alder", "filename": "seed.iso"});
        args.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        args
    };
    estate.sim.levers().keep_heads();
    for (more, why) in [
        (json!({}), "give either text or base64"),
        (json!({"text": "a", "base64": "YQ=="}), "give either text or base64"),
        (json!({"base64": "a?b="}), "base64 cannot be read"),
        (json!({"text": ""}), "the file is empty"),
        (json!({"text": "x".repeat((8 << 20) + 1)}), "the file is larger than 8M"),
        (json!({"base64": "A".repeat(12 << 20)}), "the file is larger than 8M"),
    ] {
        let text = estate.failure("storage_upload", upload(more)).await;
        assert!(text.contains(why), "{why}: {text}");
    }
    let sent = estate.sim.levers().heads();
    assert!(!sent.iter().any(|head| head.starts_with("POST ")), "{sent:?}");
    // The same bytes, in base64.
    let text = estate.text("storage_upload", upload(json!({"base64": "aGVs\nbG8="}))).await;
    assert!(text.contains("lab/local:iso/seed.iso is there"), "{text}");
}
