//! `serve` as a client starts it: lines in, lines out, and nothing else.

use std::{
    io::{BufRead, BufReader, Read, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use serde_json::{Value, json};

/// A running server and its streams.
struct Server {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Server {
    fn start(args: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_proxmox-mcp"))
            .arg("serve")
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, input, output }
    }

    fn send(&mut self, line: &str) {
        writeln!(self.input.as_mut().unwrap(), "{line}").unwrap();
    }

    /// The next line; what is on standard output is always one JSON message.
    fn receive(&mut self) -> Value {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }

    fn ask(&mut self, request: &Value) -> Value {
        self.send(&request.to_string());
        loop {
            let message = self.receive();
            if message["id"] == request["id"] {
                return message;
            }
            assert!(message.get("id").is_none(), "an answer that nobody asked for: {message}");
        }
    }

    fn initialize(&mut self, version: &str) -> Value {
        let params = json!({
            "protocolVersion": version, "capabilities": {},
            "clientInfo": {"name": "test", "version": "0"},
        });
        let answer = self.ask(&json!({
            "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params,
        }));
        self.send(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
        answer
    }

    fn call(&mut self, id: u32, tool: &str, args: &Value) -> Value {
        let params = json!({"name": tool, "arguments": args});
        let request = json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params});
        self.ask(&request)["result"].clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn text(result: &Value) -> &str {
    result["content"][0]["text"].as_str().unwrap_or_else(|| panic!("no text: {result}"))
}

fn modern(id: u32, method: &str, mut params: Value) -> Value {
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
}

#[test]
fn every_earlier_revision_is_spoken() {
    for version in ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"] {
        let mut server = Server::start(&["--demo"]);
        let answer = server.initialize(version);
        assert_eq!(answer["result"]["protocolVersion"], version, "{answer}");
        let result = server.call(1, "fleet_overview", &json!({}));
        assert!(text(&result).contains("guests"), "{result}");
    }
}

#[test]
fn the_stateless_revision_is_spoken_by_the_same_process() {
    let mut server = Server::start(&["--demo"]);
    let answer = server.ask(&modern(1, "server/discover", json!({})));
    let versions = answer["result"]["supportedVersions"].as_array().unwrap();
    assert!(versions.contains(&json!("2026-07-28")), "{answer}");
    let tools = server.ask(&modern(2, "tools/list", json!({})));
    assert_eq!(tools["result"]["resultType"], "complete");
    assert!(tools["result"]["ttlMs"].is_u64(), "{tools}");
    let answer = server.initialize("2025-06-18");
    assert_eq!(answer["result"]["protocolVersion"], "2025-06-18", "{answer}");
}

#[test]
fn garbage_is_answered_and_does_no_harm() {
    let mut server = Server::start(&["--demo"]);
    server.send("this is no JSON");
    let answer = server.receive();
    assert_eq!((&answer["error"]["code"], &answer["id"]), (&json!(-32700), &Value::Null));
    server.initialize("2025-11-25");
    let answer = server.ask(&json!({
        "jsonrpc": "2.0", "id": 5, "method": "tools/call", "params": {"name": "no_such_tool"},
    }));
    assert_eq!(answer["error"]["code"], -32602, "{answer}");
    let result = server.call(6, "guests_list", &json!({"stauts": "running"}));
    assert_eq!(result["isError"], true);
    assert!(text(&result).contains("did you mean `status`"), "{result}");
}

#[test]
fn actions_wait_for_the_operator_and_then_run() {
    let mut server = Server::start(&["--demo"]);
    server.initialize("2025-11-25");
    let args = json!({"guest": "lab/123", "action": "start"});
    let result = server.call(1, "guest_power", &args);
    assert_eq!(result["isError"], true, "{result}");
    assert!(text(&result).contains("--mode trusted"), "{result}");

    let mut server = Server::start(&["--demo", "--mode", "trusted"]);
    server.initialize("2025-11-25");
    let result = server.call(1, "guest_power", &args);
    assert!(!result["isError"].as_bool().unwrap_or_default(), "{result}");
    assert!(text(&result).contains("is running"), "{result}");

    let mut server = Server::start(&["--demo", "--mode", "read-only"]);
    server.initialize("2025-11-25");
    let list = server.ask(&json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}));
    let tools = list["result"]["tools"].as_array().unwrap();
    assert!(tools.iter().all(|tool| tool["annotations"]["readOnlyHint"] == true), "{list}");
}

#[test]
fn the_end_of_input_is_the_end() {
    let mut server = Server::start(&["--demo"]);
    server.initialize("2025-11-25");
    drop(server.input.take());
    let status = server.child.wait().unwrap();
    assert!(status.success(), "{status}");
    let mut rest = String::new();
    server.output.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "", "nothing follows the last answer");
}

#[test]
fn without_settings_it_says_how_to_begin() {
    let empty = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_proxmox-mcp"))
        .args(["serve", "--config"])
        .arg(empty.path().join("missing.toml"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty(), "standard output belongs to MCP");
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("missing.toml") && error.contains("config init"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn actions_are_written_down_first() {
    let sim = proxmox_sim::Sim::start(proxmox_sim::SimConfig::fast()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    // A state folder that cannot be: a file stands in its place.
    let blocked = folder.path().join("state");
    std::fs::write(&blocked, "").unwrap();
    let config = folder.path().join("config.toml");
    let members = sim.settings_toml(folder.path()).unwrap();
    let settings = format!("{members}\n[server]\nmode = \"trusted\"\nstate_dir = {blocked:?}\n");
    std::fs::write(&config, settings).unwrap();
    let mut server = Server::start(&["--config", config.to_str().unwrap()]);
    server.initialize("2025-11-25");
    let result = server.call(1, "guest_power", &json!({"guest": "lab/123", "action": "start"}));
    assert_eq!(result["isError"], true);
    assert!(text(&result).contains("nothing was done"), "{result}");
}
