//! A client that asks for progress hears of a long task while it runs.

use std::{sync::Arc, time::Duration};

use base64::Engine as _;
use mcp_protocol::App;
use mcp_tools::{Options, build_app};
use proxmox_sim::{SimConfig, TaskSpec};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio_util::sync::CancellationToken;

use crate::estate::Estate;

fn app(estate: &Estate, toolset: &str, mode: guard::Mode) -> App {
    let options = Options {
        mode,
        toolsets: vec![toolset.to_owned()],
        ceiling: mcp_tools::DEFAULT_CEILING,
        version: "0".to_owned(),
        task_wait: Duration::from_secs(45),
        principal: guard::Principal::local(0),
        redaction: mcp_tools::redaction::Redaction::default(),
        journal: None,
        jobs: None,
        scope: None,
        guard: mcp_tools::gate::Guard::default(),
        process: mcp_tools::process::Process::new(),
        observer: None,
        events: None,
        exec_allow: Vec::new(),
    };
    build_app(Arc::clone(&estate.cx.fleet), &options).expect("an app")
}

/// Calls a tool as a client that wants to hear of progress: what it was told, and the answer.
async fn converse(app: App, tool: &str, args: Value) -> (Vec<Value>, Value) {
    let (ours, theirs) = tokio::io::duplex(4 << 20);
    let (input, output) = tokio::io::split(theirs);
    let server =
        tokio::spawn(mcp_protocol::serve_stdio(app, input, output, CancellationToken::new()));
    let (read, mut write) = tokio::io::split(ours);
    let call = json!({"name": tool, "arguments": args, "_meta": {"progressToken": "p1"}});
    for message in [
        json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
            "protocolVersion": "2025-06-18", "capabilities": {},
            "clientInfo": {"name": "test", "version": "0"},
        }}),
        json!({"jsonrpc": "2.0", "method": "notifications/initialized"}),
        json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": call}),
    ] {
        write.write_all(format!("{message}\n").as_bytes()).await.unwrap();
    }
    let mut lines = BufReader::new(read).lines();
    let mut told = Vec::new();
    let answer = loop {
        let line = lines.next_line().await.unwrap().expect("an answer before the end");
        let message: Value = serde_json::from_str(&line).unwrap();
        if message["method"] == "notifications/progress" {
            told.push(message["params"].clone());
        }
        if message["id"] == 2 {
            break message;
        }
    };
    drop(write);
    drop(lines);
    server.await.unwrap().unwrap();
    let steps: Vec<_> = told.iter().map(|one| one["progress"].as_f64().unwrap()).collect();
    assert!(steps.is_sorted_by(|a, b| a < b), "{steps:?}");
    (told, answer)
}

fn messages(told: &[Value]) -> Vec<&str> {
    told.iter().map(|one| one["message"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_tells_the_newest_line_of_the_log() {
    let estate = Estate::of(SimConfig::fast(), "agent", 16 * 1024).await;
    let mut task = TaskSpec::running("vzdump", "104");
    task.log = vec!["INFO: starting new backup job: vzdump 104".to_owned()];
    let upid = estate.sim.levers().add_task("lab", "birch", &task).unwrap();
    let app = app(&estate, "default", guard::Mode::Guarded);
    let (told, answer) = converse(app, "task_wait", json!({"upid": upid, "timeout_s": 2})).await;
    assert_eq!(answer["result"]["structuredContent"]["status"], "running", "{answer}");
    let messages = messages(&told);
    assert!(messages.contains(&"INFO: starting new backup job: vzdump 104"), "{messages:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_of_bytes_that_are_no_text_arrives_and_is_told_of() {
    let estate = Estate::of(SimConfig::fast(), "operator", 16 * 1024).await;
    let app = app(&estate, "storage", guard::Mode::Trusted);
    // Bytes that are no text, in several parts.
    let content: Vec<u8> = (0..1_u32 << 20).map(|at| (at % 251) as u8).collect();
    let coded = base64::engine::general_purpose::STANDARD.encode(&content);
    let args = json!({
        "storage": "lab/local", "node": "alder", "filename": "seed.iso", "base64": coded,
    });
    let (told, answer) = converse(app, "storage_upload", args).await;
    let object = &answer["result"]["structuredContent"];
    assert_eq!(object["status"], "ok", "{answer}");
    let messages = messages(&told);
    assert!(messages.contains(&"upload of seed.iso to lab/local"), "{messages:?}");
    let list = json!({"storage": "lab/local", "node": "alder", "content": "iso"});
    let listed = estate.ask("storage_content", list).await;
    let rows = listed.object["volumes"]["rows"].as_array().unwrap();
    let row = rows.iter().find(|row| row[0] == "local:iso/seed.iso").expect("it is listed");
    assert!(row.as_array().unwrap().contains(&json!(content.len())), "{row}");
}
