//! Who may call over HTTP: tokens of the command line and of a real issuer, against the whole program.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use proxmox_sim::{Sim, SimConfig};
use serde_json::{Value, json};
use stdx::http::{Client, HttpOptions};
use stdx::tls::{TlsOptions, TlsPolicy};

const RESOURCE: &str = "https://mcp.example.lan/mcp";

/// Over HTTP nothing is changed unasked until a line says so.
const LINE: &str = "[policy.tests]\norder = 1\ndecision = \"allow\"\nprincipal = [\"token:ops\", \
                    \"oauth:*\"]\ntier = \"operate\"\n";

/// A server over a simulated estate, with settings and state of its own.
struct Setup {
    folder: tempfile::TempDir,
    sim: Sim,
    http: Client,
    server: Option<(Child, String)>,
}

/// An answer: status, challenge, body.
struct Answer {
    status: u16,
    challenge: String,
    body: Value,
}

// === impl Setup ===

impl Setup {
    async fn new(more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let sim = Sim::start(SimConfig::default()).await.unwrap();
        let state = folder.path().join("state");
        let settings = format!(
            "{}\n[server]\nmode = \"trusted\"\ntoolsets = [\"all\"]\nstate_dir = \"{}\"\n{LINE}{more}",
            sim.settings_toml(folder.path()).unwrap(),
            state.display()
        );
        std::fs::write(folder.path().join("config.toml"), settings).unwrap();
        let tls = TlsOptions { policy: TlsPolicy::Insecure, server_name: None };
        let http = stdx::http::client(&HttpOptions::with_tls(tls)).unwrap();
        Self { folder, sim, http, server: None }
    }

    fn program(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_proxmox-mcp"));
        command.args(args).arg("--config").arg(self.folder.path().join("config.toml"));
        command
    }

    /// What a command prints; both streams, for the one that fails.
    fn run(&self, args: &[&str]) -> Result<String, String> {
        let output = self.program(args).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
    }

    fn token(&self, name: &str, scope: &str) -> String {
        let token = self.run(&["token", "new", "--name", name, "--scope", scope]).unwrap();
        token.trim().to_owned()
    }

    fn serve(&mut self) {
        let mut child = self
            .program(&["serve", "--http=127.0.0.1:0", "--log", "trace"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut errors = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        let log = self.folder.path().join("log");
        let mut seen = std::fs::File::create(&log).unwrap();
        while !line.starts_with("serving ") {
            std::io::Write::write_all(&mut seen, line.as_bytes()).unwrap();
            line.clear();
            assert_ne!(errors.read_line(&mut line).unwrap(), 0, "{}", read(&log));
        }
        let address = line.split_once("http://").unwrap().1.split_once("/mcp").unwrap().0;
        let address = address.to_owned();
        // Its log goes on into the file for as long as it runs.
        std::thread::spawn(move || std::io::copy(&mut errors, &mut seen));
        self.server = Some((child, address));
    }

    /// Ends the server and gives all that it said.
    fn end(&mut self) -> String {
        if let Some((mut child, _)) = self.server.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        read(&self.folder.path().join("log"))
    }

    async fn send(
        &self,
        path: &str,
        token: Option<&str>,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> Answer {
        let (_, address) = self.server.as_ref().unwrap();
        let mut request = self
            .http
            .post(format!("http://{address}{path}"))
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream")
            .body(body.to_string());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let response = request.send().await.unwrap();
        let challenge = response.headers().get("www-authenticate");
        let challenge = challenge.map_or("", |value| value.to_str().unwrap()).to_owned();
        let status = response.status().as_u16();
        let text = String::from_utf8(response.bytes().await.unwrap().into()).unwrap();
        // The answer may come as the last event of a stream.
        let data = text.lines().rev().find_map(|line| line.strip_prefix("data: "));
        let body = serde_json::from_str(data.unwrap_or(&text)).unwrap_or_default();
        Answer { status, challenge, body }
    }

    async fn tool(&self, token: Option<&str>, name: &str, args: Value) -> Answer {
        self.send(&format!("/api/v1/tools/{name}"), token, &[], &args).await
    }

    /// The names of the tools that a caller is shown.
    async fn listed(&self, token: &str) -> Vec<String> {
        let message = json!({
            "jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": { "_meta": {
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientCapabilities": {},
            } },
        });
        let headers = [("mcp-protocol-version", "2026-07-28"), ("mcp-method", "tools/list")];
        let answer = self.send("/mcp", Some(token), &headers, &message).await;
        let tools = answer.body["result"]["tools"].as_array();
        let tools = tools.unwrap_or_else(|| panic!("{}", answer.body));
        tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
    }

    async fn mcp(&self, token: Option<&str>, name: &str, args: Value) -> Answer {
        let message = json!({
            "jsonrpc": "2.0", "id": 1, "method": "tools/call",
            "params": { "name": name, "arguments": args, "_meta": {
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientCapabilities": {},
            } },
        });
        let headers = [
            ("mcp-protocol-version", "2026-07-28"),
            ("mcp-method", "tools/call"),
            ("mcp-name", name),
        ];
        self.send("/mcp", token, &headers, &message).await
    }
}

impl Drop for Setup {
    fn drop(&mut self) {
        if let Some((mut child, _)) = self.server.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

#[tokio::test]
async fn a_token_opens_what_its_scope_says_and_goes_nowhere() {
    let mut setup = Setup::new("").await;
    let reader = setup.token("n8n", "read");
    let operator = setup.token("ops", "operate");
    setup.sim.levers().keep_heads();
    setup.serve();

    for answer in [
        setup.tool(None, "fleet_overview", json!({})).await,
        setup.mcp(None, "fleet_overview", json!({})).await,
        setup.tool(Some("pmx_00000000_"), "fleet_overview", json!({})).await,
        setup.mcp(Some(&reader.replace('_', "-")), "fleet_overview", json!({})).await,
    ] {
        assert_eq!(answer.status, 401, "{}", answer.body);
        assert!(answer.challenge.starts_with("Bearer "), "{}", answer.challenge);
    }
    for token in [&reader, &operator] {
        let (rest, mcp) = (
            setup.tool(Some(token), "fleet_overview", json!({})).await,
            setup.mcp(Some(token), "fleet_overview", json!({})).await,
        );
        assert_eq!((rest.status, mcp.status), (200, 200), "{} {}", rest.body, mcp.body);
    }
    let start = json!({ "guest": "lab/123", "action": "start" });
    for answer in [
        setup.tool(Some(&reader), "guest_power", start.clone()).await,
        setup.mcp(Some(&reader), "guest_power", start.clone()).await,
    ] {
        assert_eq!(answer.status, 403, "{}", answer.body);
        let challenge = "Bearer error=\"insufficient_scope\", error_description=\"this needs the scope 'operate', and token:n8n has 'read'; ";
        assert!(answer.challenge.starts_with(challenge), "{}", answer.challenge);
    }
    let started = setup.tool(Some(&operator), "guest_power", start).await;
    assert_eq!(started.status, 200, "{}", started.body);

    // Taken back while the server runs: the next request is refused.
    setup.run(&["token", "revoke", "ops"]).unwrap();
    assert_eq!(setup.tool(Some(&operator), "fleet_overview", json!({})).await.status, 401);
    assert_eq!(setup.tool(Some(&reader), "fleet_overview", json!({})).await.status, 200);

    // Proxmox has heard from us, by our own API token and by nothing else.
    let heads = setup.sim.levers().heads();
    assert!(heads.iter().any(|head| head.contains("PVEAPIToken=")), "{heads:?}");
    let log = setup.end();
    for token in [&reader, &operator] {
        let secret = &token[13..];
        assert!(!heads.iter().any(|head| head.contains(secret)), "passed on to Proxmox");
        assert!(!log.contains(secret), "written to the log");
    }
    assert!(!heads.iter().any(|head| head.contains("Bearer")), "passed on to Proxmox");
}

/// One server, and each principal its own list: what its toolsets have, as far as its tier goes.
#[tokio::test]
async fn a_principal_sees_the_tools_of_its_toolsets() {
    let mut setup = Setup::new("").await;
    let all = setup.token("all", "destroy");
    let backup = setup.token("backup", "destroy,toolset:backup");
    let both = setup.token("both", "destroy,toolset:backup,toolset:api");
    let reader = setup.token("reader", "read,toolset:backup");
    setup.serve();
    let names = |toolset: &str| -> Vec<String> {
        let mut all = mcp_tools::tools::TOOLSETS.iter();
        let toolset = all.find(|it| it.name == toolset).unwrap();
        toolset.tools.iter().map(|tool| tool.definition().name.to_owned()).collect()
    };
    let everything = setup.listed(&all).await;
    let seen = setup.listed(&backup).await;
    assert!(seen.len() > 10 && everything.len() > seen.len(), "{seen:?}");
    // What no token of the estate can use is in neither list.
    let expected: Vec<_> =
        names("backup").into_iter().filter(|name| everything.contains(name)).collect();
    assert_eq!(seen, expected);
    let seen = setup.listed(&both).await;
    // With tools that can cut their operator off comes the one that keeps such a change.
    assert!(seen.contains(&"change_confirm".to_owned()), "{seen:?}");
    assert_eq!(seen.len(), expected.len() + names("api").len() + 1, "{seen:?}");
    let seen = setup.listed(&reader).await;
    assert!(seen.contains(&"backup_overdue".to_owned()), "{seen:?}");
    assert!(!seen.contains(&"backup_prune".to_owned()), "{seen:?}");

    // What is not listed is not called either, over MCP and over REST.
    let args = json!({"guest": "lab/104"});
    let rest = setup.tool(Some(&backup), "guest_get", args.clone()).await;
    assert_eq!(rest.status, 404, "{}", rest.body);
    let mcp = setup.mcp(Some(&backup), "guest_get", args.clone()).await;
    assert!(mcp.body["error"].is_object(), "{}", mcp.body);
    assert_eq!(setup.tool(Some(&all), "guest_get", args.clone()).await.status, 200);
    assert_eq!(setup.tool(Some(&backup), "backup_copies", args).await.status, 200);
}

#[tokio::test]
async fn an_access_token_opens_what_its_scopes_say_and_goes_nowhere() {
    let Some(base) = testkit::services::issuer_url() else { return };
    let issuer = format!("{base}/t/RS256/binary");
    let oauth = format!("[oauth.idp]\nissuer = {issuer:?}\naudience = {RESOURCE:?}\n");
    let mut setup = Setup::new(&oauth).await;
    setup.sim.levers().keep_heads();
    setup.serve();
    let token = async |scope: &str| {
        let form = format!("grant_type=client_credentials&scope={scope}&resource={RESOURCE}");
        let request = setup
            .http
            .post(format!("{issuer}/token"))
            .header("authorization", "Basic dGVzdGVyOnRlc3Rlci1zZWNyZXQ=")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form);
        let bytes = request.send().await.unwrap().bytes().await.unwrap();
        let answer: Value = serde_json::from_slice(&bytes).unwrap();
        answer["access_token"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    };

    let metadata =
        "resource_metadata=\"https://mcp.example.lan/.well-known/oauth-protected-resource/mcp\"";
    let missing = setup.mcp(None, "fleet_overview", json!({})).await;
    assert_eq!(missing.status, 401);
    assert_eq!(missing.challenge, format!("Bearer scope=\"proxmox.read\", {metadata}"));
    let (_, address) = setup.server.as_ref().unwrap();
    for path in ["", "/mcp"] {
        let url = format!("http://{address}/.well-known/oauth-protected-resource{path}");
        let bytes = setup.http.get(url).send().await.unwrap().bytes().await.unwrap();
        let document: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(document["resource"], RESOURCE);
        assert_eq!(document["authorization_servers"], json!([issuer]));
    }

    let reader = token("proxmox.read").await;
    let read = setup.mcp(Some(&reader), "fleet_overview", json!({})).await;
    assert_eq!(read.status, 200, "{}", read.body);
    let start = json!({ "guest": "lab/123", "action": "start" });
    let refused = setup.mcp(Some(&reader), "guest_power", start.clone()).await;
    assert_eq!(refused.status, 403, "{}", refused.body);
    assert!(refused.challenge.contains("scope=\"proxmox.operate\""), "{}", refused.challenge);
    let operator = token("proxmox.operate").await;
    let started = setup.tool(Some(&operator), "guest_power", start).await;
    assert_eq!(started.status, 200, "{}", started.body);

    let heads = setup.sim.levers().heads();
    assert!(heads.iter().any(|head| head.contains("PVEAPIToken=")), "{heads:?}");
    let log = setup.end();
    for token in [&reader, &operator] {
        let signature = token.rsplit('.').next().unwrap();
        assert!(!heads.iter().any(|head| head.contains(signature)), "passed on to Proxmox");
        assert!(!log.contains(signature), "written to the log");
    }
}
