//! `serve` as a client starts it: lines in, lines out, and nothing else.

use std::{
    fmt::Write as _,
    io::{BufRead, BufReader, Read, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use serde_json::{Value, json};

/// A running server and its streams.
pub(crate) struct Server {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Server {
    pub(crate) fn start(args: &[&str]) -> Self {
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

    pub(crate) fn send(&mut self, line: &str) {
        writeln!(self.input.as_mut().unwrap(), "{line}").unwrap();
    }

    /// The next line; what is on standard output is always one JSON message.
    pub(crate) fn receive(&mut self) -> Value {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }

    pub(crate) fn ask(&mut self, request: &Value) -> Value {
        self.send(&request.to_string());
        loop {
            let message = self.receive();
            if message["id"] == request["id"] {
                return message;
            }
            assert!(message.get("id").is_none(), "an answer that nobody asked for: {message}");
        }
    }

    pub(crate) fn initialize(&mut self, version: &str) -> Value {
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

    pub(crate) fn call(&mut self, id: u32, tool: &str, args: &Value) -> Value {
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

pub(crate) fn text(result: &Value) -> &str {
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
    // What only adds runs unasked; anything else is for a person, and the refusal says what to do.
    let start = json!({"guest": "lab/123", "action": "start"});
    let result = server.call(1, "guest_power", &start);
    assert!(!result["isError"].as_bool().unwrap_or_default(), "{result}");
    let args = json!({"guest": "lab/123", "action": "reboot"});
    let result = server.call(2, "guest_power", &args);
    assert_eq!(result["isError"], true, "{result}");
    assert!(text(&result).contains("--mode trusted"), "{result}");
    assert!(text(&result).contains("approver add"), "{result}");

    let mut server = Server::start(&["--demo", "--mode", "trusted"]);
    server.initialize("2025-11-25");
    let result = server.call(1, "guest_power", &start);
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
fn names_are_completed_while_they_are_typed() {
    let mut server = Server::start(&["--demo"]);
    server.initialize("2025-11-25");
    let mut complete = |id: u32, argument: &str, value: &str, known: Value| {
        let params = json!({
            "ref": {"type": "ref/resource", "uri": "proxmox://guest/{cluster}/{vmid}"},
            "argument": {"name": argument, "value": value},
            "context": {"arguments": known},
        });
        let method = "completion/complete";
        let answer =
            server.ask(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}));
        answer["result"]["completion"]["values"].clone()
    };
    assert_eq!(complete(1, "cluster", "la", json!({})), json!(["lab"]));
    let ids = complete(2, "vmid", "10", json!({"cluster": "lab"}));
    let ids = ids.as_array().unwrap();
    assert!(ids.contains(&json!("104")), "{ids:?}");
    assert!(ids.iter().all(|id| id.as_str().unwrap().contains("10")), "{ids:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_token_can_use_is_not_listed_and_said_to_be_so() {
    let sim = proxmox_sim::Sim::start(proxmox_sim::SimConfig::fast()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut settings = String::new();
    for target in sim.targets() {
        let product = match target.product {
            proxmox_sim::Product::Pve => "pve",
            proxmox_sim::Product::Pbs => "pbs",
        };
        let ca = folder.path().join(format!("{}.pem", target.key));
        std::fs::write(&ca, &target.ca_pem).unwrap();
        let urls: Vec<_> = target.nodes.iter().map(|node| &node.url).collect();
        let token = target.token("readonly");
        let _ = write!(
            settings,
            "[{product}.{}]\nendpoints = {urls:?}\ntoken_id = {:?}\ntoken = {:?}\nca_file = \"{}\"\n",
            target.key,
            token.id,
            token.secret,
            ca.display(),
        );
    }
    let state = folder.path().join("state");
    let _ = writeln!(settings, "[server]\nmode = \"trusted\"\nstate_dir = \"{}\"", state.display());
    let config = folder.path().join("config.toml");
    std::fs::write(&config, settings).unwrap();
    let mut server = Server::start(&["--config", config.to_str().unwrap()]);
    server.initialize("2025-11-25");
    let read = |id: u32| {
        json!({"jsonrpc": "2.0", "id": id, "method": "resources/read",
        "params": {"uri": "proxmox://capabilities"}})
    };
    // Which asks all members, however long that takes; the list does not wait for it.
    let capabilities = server.ask(&read(1));
    let document = capabilities["result"]["contents"][0]["text"].as_str().unwrap();
    let capabilities: Value = serde_json::from_str(document).unwrap();
    let why = capabilities["tools_not_listed"]["guest_power"].as_str().unwrap();
    assert!(why.contains("lab lacks VM.PowerMgmt on /vms"), "{why}");
    let list = server.ask(&json!({"jsonrpc": "2.0", "id": 2, "method": "tools/list"}));
    let tools = list["result"]["tools"].as_array().unwrap();
    let has = |name: &str| tools.iter().any(|tool| tool["name"] == name);
    assert!(has("guests_list") && !has("guest_power"), "{list}");
    // Called nevertheless, it says itself why it does not work.
    let result = server.call(3, "guest_power", &json!({"guest": "lab/125", "action": "start"}));
    assert!(text(&result).contains("VM.PowerMgmt"), "{result}");
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
