//! A client that asks for progress hears of a long task while it runs.

use std::{sync::Arc, time::Duration};

use mcp_tools::{Options, build_app};
use proxmox_sim::{SimConfig, TaskSpec};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio_util::sync::CancellationToken;

use crate::estate::Estate;

#[tokio::test(flavor = "multi_thread")]
async fn progress_tells_the_newest_line_of_the_log() {
    let estate = Estate::of(SimConfig::fast(), "agent", 16 * 1024).await;
    let mut task = TaskSpec::running("vzdump", "104");
    task.log = vec!["INFO: starting new backup job: vzdump 104".to_owned()];
    let upid = estate.sim.levers().add_task("lab", "birch", &task).unwrap();
    let options = Options {
        mode: guard::Mode::Guarded,
        toolsets: vec!["default".to_owned()],
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
        exec_allow: Vec::new(),
    };
    let app = build_app(Arc::clone(&estate.cx.fleet), &options).expect("an app");
    let (ours, theirs) = tokio::io::duplex(1 << 20);
    let (input, output) = tokio::io::split(theirs);
    let server =
        tokio::spawn(mcp_protocol::serve_stdio(app, input, output, CancellationToken::new()));
    let (read, mut write) = tokio::io::split(ours);
    let call = json!({
        "name": "task_wait", "arguments": {"upid": upid, "timeout_s": 2},
        "_meta": {"progressToken": "p1"},
    });
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
    assert_eq!(answer["result"]["structuredContent"]["status"], "running", "{answer}");
    let messages: Vec<_> = told.iter().map(|one| one["message"].as_str().unwrap()).collect();
    assert!(messages.contains(&"INFO: starting new backup job: vzdump 104"), "{messages:?}");
    let steps: Vec<_> = told.iter().map(|one| one["progress"].as_f64().unwrap()).collect();
    assert!(steps.is_sorted_by(|a, b| a < b), "{steps:?}");
    drop(write);
    drop(lines);
    server.await.unwrap().unwrap();
}
