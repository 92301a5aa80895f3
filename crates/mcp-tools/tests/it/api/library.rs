//! Where schemas come from: the server, the disk, or our own list, and that the answer says so.

use std::{fs, sync::atomic::Ordering};

use mcp_tools::tools::api::Library;
use serde_json::json;

use super::fake::{Server, cx};
use crate::estate::tool;

const SERVED: &str = r#"[{"path": "/nodes/{node}/frobnicate", "info": {"GET": {"description": "Frobnicate a node.",
    "parameters": {"additionalProperties": 0, "properties": {"node": {"type": "string"}}}}}}]"#;

async fn find(cx: &mcp_tools::tool::Cx) -> String {
    let args = json!({"query": "frobnicate", "product": "pve"});
    let report = tool("api_find").call(cx, args.as_object().unwrap().clone()).await.unwrap();
    report.render(4096).text
}

#[tokio::test]
async fn what_was_read_once_is_kept() {
    let folder = tempfile_in_target("kept");
    let server = Server::new("9.2.3", SERVED);
    let library = || Library::in_folder(folder.clone());
    let first = cx(&server, None, library());
    for _ in 0..3 {
        assert!(find(&first).await.contains("/nodes/{node}/frobnicate"));
    }
    assert_eq!(*server.fetched.lock().unwrap(), 1, "memory");
    assert!(find(&cx(&server, None, library())).await.contains("frobnicate"));
    assert_eq!(*server.fetched.lock().unwrap(), 1, "disk");

    // A file that is damaged is as good as none, and is written anew.
    let file = folder.join("pve-9.2.3.json");
    let damaged = fs::read_to_string(&file).unwrap().replace("frobnicate", "frobnicats");
    fs::write(&file, damaged).unwrap();
    assert!(find(&cx(&server, None, library())).await.contains("/nodes/{node}/frobnicate"));
    assert_eq!(*server.fetched.lock().unwrap(), 2, "read anew");
    assert!(fs::read_to_string(&file).unwrap().contains("frobnicate"));

    // Another version is another schema.
    server.becomes("9.3.0");
    assert!(find(&cx(&server, None, library())).await.contains("frobnicate"));
    assert_eq!(*server.fetched.lock().unwrap(), 3);
    assert!(folder.join("pve-9.3.0.json").exists());
    fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn a_server_that_publishes_nothing_is_known_by_our_own_list() {
    let server = Server::new("9.2.3", SERVED);
    server.publishes.store(false, Ordering::Relaxed);
    let cx = cx(&server, None, Library::default());
    let args = json!({"query": "resize disk"});
    let report = tool("api_find").call(&cx, args.as_object().unwrap().clone()).await.unwrap();
    let text = report.render(8192).text;
    assert!(text.contains("/nodes/{node}/qemu/{vmid}/resize"), "{text}");
    assert!(text.contains("only a short bundled list"), "{text}");
    assert!(text.contains("lab does not publish it"), "{text}");

    // What the list does not have is read as it was written, and that is said; what is refused stays refused.
    let ask = async |args: serde_json::Value| {
        let answer = tool("api_read").call(&cx, args.as_object().unwrap().clone()).await;
        answer.unwrap_or_else(mcp_tools::error::ToolError::into_report).render(8192).text
    };
    let text = ask(json!({"path": "/cluster/novel/thing", "query": {"a": "b c"}})).await;
    assert!(text.contains("not in the bundled list"), "{text}");
    assert_eq!(server.asked(), ["GET /api2/json/cluster/novel/thing?a=b%20c"]);
    let text = ask(json!({"path": "/nodes/pve1/vncwebsocket"})).await;
    assert!(text.contains("is not read here"), "{text}");
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn a_server_that_is_away_is_not_another_one() {
    let server = Server::new("9.2.3", SERVED);
    let cx = cx(&server, None, Library::default());
    server.is_up.store(false, Ordering::Relaxed);
    let text = find(&cx).await;
    assert!(text.contains("did not tell its version"), "{text}");
    let args = json!({"path": "/nodes"});
    let error = tool("api_read").call(&cx, args.as_object().unwrap().clone()).await.unwrap_err();
    let text = error.into_report().render(4096).text;
    assert!(text.contains("unreachable") && text.contains("lab"), "{text}");
}

/// In the middle of an upgrade: the path's node is older than the endpoint that is asked.
#[tokio::test]
async fn the_node_that_answers_is_spoken_for_by_its_own_version() {
    let folder = tempfile_in_target("nodes");
    let older = SERVED.replace("frobnicate", "defrobnicate");
    api_core::schema::cache::store(&folder, "pve", "9.1.4", &older).unwrap();
    let server = Server::new("9.2.3", SERVED);
    server.has_node("old", "9.1.4");
    server.has_node("odd", "9.1.9");
    let cx = cx(&server, None, Library::in_folder(folder.clone()));
    let read = async |path: &str| {
        let args = json!({"path": path}).as_object().unwrap().clone();
        let answer = tool("api_read").call(&cx, args).await;
        answer.unwrap_or_else(mcp_tools::error::ToolError::into_report).render(4096).text
    };
    assert!(read("/nodes/new/frobnicate").await.starts_with("/nodes/new/frobnicate of lab"));
    // Known from before: it has what its own version has, and nothing else.
    assert!(read("/nodes/old/defrobnicate").await.starts_with("/nodes/old/defrobnicate of lab"));
    assert!(read("/nodes/old/frobnicate").await.contains("was not sent"));
    assert!(read("/nodes/new/defrobnicate").await.contains("was not sent"));
    // Not known: the endpoint's stands in, and the answer says so.
    let text = read("/nodes/odd/frobnicate").await;
    assert!(text.contains("odd runs 9.1.9, whose schema is not known here"), "{text}");
    assert!(text.contains("checked by that of 9.2.3"), "{text}");
    fs::remove_dir_all(folder).unwrap();
}

/// The same on a whole cluster.
#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_of_two_versions_is_checked_by_both() {
    let folder = tempfile_in_target("cluster");
    let estate = crate::estate::Estate::start("agent").await;
    estate.sim.levers().node_version("lab", "birch", "9.1.6").unwrap();
    let path = "/nodes/birch/qemu/104/config";
    let text = estate.text("api_read", json!({"cluster": "lab", "path": path})).await;
    assert!(text.contains("birch runs 9.1.6, whose schema is not known here"), "{text}");
    let path = "/nodes/alder/status";
    let text = estate.text("api_read", json!({"cluster": "lab", "path": path})).await;
    assert!(!text.contains("schema is not known"), "{text}");

    // Once any server of that version was read, it is that one's schema.
    api_core::schema::cache::store(&folder, "pve", "9.1.6", SERVED).unwrap();
    let estate = estate.with_library(Library::in_folder(folder.clone()));
    let path = "/nodes/birch/qemu/104/config";
    let text = estate.failure("api_read", json!({"cluster": "lab", "path": path})).await;
    assert!(text.contains("was not sent"), "{text}");
    let path = "/nodes/alder/status";
    estate.text("api_read", json!({"cluster": "lab", "path": path})).await;
    fs::remove_dir_all(folder).unwrap();
}

/// A folder for this test below the build's own.
fn tempfile_in_target(name: &str) -> std::path::PathBuf {
    let folder = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("schema").join(name);
    let _ = fs::remove_dir_all(&folder);
    folder
}
