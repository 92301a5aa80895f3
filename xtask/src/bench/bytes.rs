//! What a conversation pays in bytes: the tool lists, and answers about estates of three sizes.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::stdio::Client;
use super::{byte_verdict, goal, server};
use crate::sim::Sim;
use crate::workspace::path;

/// Guests, and nodes that they are on.
const ESTATES: [(u32, u32); 3] = [(60, 3), (600, 10), (6000, 32)];

/// What an answer has in it.
#[derive(Clone, Copy)]
struct Size {
    text: usize,
    structured: usize,
}

pub(super) fn run(binaries: &Path) -> Result<()> {
    let server = server(binaries);
    lists(&server)?;
    println!();
    answers(binaries, &server)
}

/// The tool lists: what every conversation pays.
fn lists(server: &Path) -> Result<()> {
    println!(
        "{:<54} {:>12} {:>12} {:>8}  goal",
        "bytes of tools/list", "paid", "full wire", "tools"
    );
    for toolset in toolsets(server)? {
        let mut client = Client::start(server, &["serve", "--demo", "--toolsets", &toolset])?;
        let (mut paid, mut wire) = (Vec::new(), 0);
        let mut params = json!({});
        loop {
            let answer = client.call("tools/list", &params)?;
            wire += answer.to_string().len();
            let tools = answer["result"]["tools"].as_array().context("tools/list has no tools")?;
            paid.extend(tools.iter().map(|tool| {
                json!({
                    "name": tool["name"], "description": tool["description"],
                    "inputSchema": tool["inputSchema"],
                })
            }));
            let Some(cursor) = answer["result"]["nextCursor"].as_str() else { break };
            params = json!({"cursor": cursor});
        }
        let tools = paid.len();
        let paid = Value::Array(paid).to_string().len();
        let verdict = match toolset.as_str() {
            "default" => byte_verdict(paid, goal::DEFAULT_LIST_BYTES),
            "compact" => byte_verdict(paid, goal::COMPACT_LIST_BYTES),
            _ => String::new(),
        };
        let line = format!("{toolset:<54} {paid:>12} {wire:>12} {tools:>8}  {verdict}");
        println!("{}", line.trim_end());
    }
    Ok(())
}

/// Every toolset, as the server names them to somebody who asks for another.
fn toolsets(server: &Path) -> Result<Vec<String>> {
    let mut command = Command::new(server);
    let asked = command.args(["serve", "--demo", "--toolsets", "bench"]).stdin(Stdio::null());
    let said = asked.output().with_context(|| format!("start {}", server.display()))?;
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    let (_, names) =
        said.split_once("choose from ").with_context(|| format!("no names: {said}"))?;
    Ok(names.trim().split(", ").map(str::to_owned).collect())
}

/// The same questions to estates of three sizes.
fn answers(binaries: &Path, server: &Path) -> Result<()> {
    let questions = questions();
    let mut sizes: Vec<Vec<Size>> = vec![Vec::new(); questions.len()];
    for (guests, nodes) in ESTATES {
        let sim = Sim::start(binaries, nodes, guests)?;
        let config = sim.settings("", "")?;
        let arguments = ["serve", "--config", path(&config)?, "--toolsets", "all"];
        let mut client = Client::start(server, &arguments)?;
        for ((what, call), sizes) in questions.iter().zip(&mut sizes) {
            let answer = client.call("tools/call", call)?;
            ensure!(answer["result"]["isError"] != true, "{what} failed: {answer}");
            sizes.push(Size::of(&answer["result"]));
        }
    }
    println!("bytes of answers, text + structured; the goal is for the longer of the two");
    print!("{:<36}", "");
    for (guests, nodes) in ESTATES {
        print!(" {:>17}", format!("{guests} on {nodes}"));
    }
    println!(" {:>8}  goal", "growth");
    for ((what, _), sizes) in questions.iter().zip(&sizes) {
        print!("{what:<36}");
        for size in sizes {
            print!(" {:>17}", format!("{} + {}", size.text, size.structured));
        }
        let (first, last) = (sizes[0], sizes[sizes.len() - 1]);
        let growth = last.longer() as f64 / first.longer() as f64;
        let most = sizes.iter().map(|size| size.longer()).max().unwrap_or_default();
        println!(" {growth:>8.2}  {}", byte_verdict(most, goal::ANSWER_BYTES));
    }
    Ok(())
}

fn questions() -> Vec<(&'static str, Value)> {
    let call = |name: &str, arguments: Value| json!({"name": name, "arguments": arguments});
    vec![
        ("fleet_overview", call("fleet_overview", json!({}))),
        ("guests_list", call("guests_list", json!({}))),
        ("guests_list tag=prod status=stopped", {
            call("guests_list", json!({"tag": "prod", "status": "stopped"}))
        }),
        ("guests_list text=guest-0001", call("guests_list", json!({"text": "guest-0001"}))),
        ("guests_list limit=1000", call("guests_list", json!({"limit": 1000}))),
        ("nodes_list", call("nodes_list", json!({}))),
        ("storage_list", call("storage_list", json!({}))),
        ("backup_status", call("backup_status", json!({}))),
        ("tasks_list", call("tasks_list", json!({}))),
        ("guests_list fields=guest,status", {
            call("guests_list", json!({"fields": "guest,status"}))
        }),
        ("backup_overdue", call("backup_overdue", json!({}))),
        ("backup_jobs", call("backup_jobs", json!({}))),
        ("storage_content ceph-vm", call("storage_content", json!({"storage": "ceph-vm"}))),
        ("storage_forecast", call("storage_forecast", json!({}))),
        ("pools_list", call("pools_list", json!({}))),
        ("pools_list pool=production", call("pools_list", json!({"pool": "production"}))),
        ("tags_list", call("tags_list", json!({}))),
        ("ha_list", call("ha_list", json!({}))),
        ("replication_list", call("replication_list", json!({}))),
        ("get_vms", call("get_vms", json!({}))),
        ("get_lxcs", call("get_lxcs", json!({}))),
        ("get_backup_info", call("get_backup_info", json!({}))),
        ("api_read /cluster/resources", {
            call("api_read", json!({"cluster": "lab", "path": "/cluster/resources"}))
        }),
        ("api_find", call("api_find", json!({"query": "move a disk"}))),
    ]
}

// === impl Size ===

impl Size {
    fn of(result: &Value) -> Self {
        let blocks = result["content"].as_array().map(Vec::as_slice).unwrap_or_default();
        let text = blocks.iter().filter_map(|block| block["text"].as_str()).map(str::len).sum();
        let structured = &result["structuredContent"];
        let structured = if structured.is_null() { 0 } else { structured.to_string().len() };
        Self { text, structured }
    }

    fn longer(self) -> usize {
        self.text.max(self.structured)
    }
}
