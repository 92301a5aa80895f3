//! `serve --http` as it is started, over real connections: both eras, REST, probes, and how it ends.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
    process::{Child, ChildStderr, Command, ExitStatus, Stdio},
    time::Duration,
};

use serde_json::{Value, json};
use stdx::{
    http::HttpOptions,
    tls::{TlsOptions, TlsPolicy},
};
use testkit::{Progress, wait_for};

/// A running server and where it said that it is.
pub(crate) struct Server {
    child: Child,
    errors: BufReader<ChildStderr>,
    /// Its first line.
    pub(crate) said: String,
}

/// An answer: status, head, body.
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl Server {
    fn start(args: &[&str]) -> Self {
        Self::with(&[&["--demo"], args].concat())
    }

    /// One that these flags alone make.
    pub(crate) fn with(args: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_proxmox-mcp"))
            .arg("serve")
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut errors = BufReader::new(child.stderr.take().unwrap());
        let mut said = String::new();
        while !said.starts_with("serving ") {
            said.clear();
            assert_ne!(errors.read_line(&mut said).unwrap(), 0, "it ended without serving");
        }
        Self { child, errors, said }
    }

    pub(crate) fn address(&self) -> &str {
        let rest = self.said.split_once("://").unwrap().1;
        rest.split_once("/mcp").unwrap().0
    }

    pub(crate) fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        exchange(TcpStream::connect(self.address()).unwrap(), method, path, headers, body)
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], "")
    }

    pub(crate) fn tool(&self, name: &str, args: &Value) -> Answer {
        let json = [("content-type", "application/json")];
        self.send("POST", &format!("/api/v1/tools/{name}"), &json, &args.to_string())
    }

    pub(crate) fn mcp(&self, headers: &[(&str, &str)], message: &Value) -> Answer {
        let mut all = vec![
            ("content-type", "application/json"),
            ("accept", "application/json, text/event-stream"),
        ];
        all.extend(headers);
        self.send("POST", "/mcp", &all, &message.to_string())
    }

    /// Ends it as a crash would: it is told nothing, and says nothing.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to end, and says how it did and what it still said.
    fn end(mut self) -> (ExitStatus, String) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let mut rest = String::new();
        self.errors.read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap(), rest)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// The JSON-RPC answer, whichever way it came.
    pub(crate) fn message(&self) -> Value {
        if !self.head.contains("text/event-stream") {
            return self.json();
        }
        let data = self.body.lines().filter_map(|line| line.strip_prefix("data: "));
        let mut messages = data.filter_map(|data| serde_json::from_str::<Value>(data).ok());
        messages.find(|message| message.get("id").is_some()).unwrap()
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

fn exchange(
    mut stream: impl Read + Write,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Answer {
    let headers: String =
        headers.iter().flat_map(|(name, value)| [*name, ": ", *value, "\r\n"]).collect();
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
    )
    .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let body =
        if head.contains("transfer-encoding: chunked") { unchunk(body) } else { body.to_owned() };
    Answer { status, head: head.to_owned(), body }
}

fn unchunk(mut rest: &str) -> String {
    let mut body = String::new();
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        body.push_str(&after[..size]);
        rest = &after[(size + 2).min(after.len())..];
    }
    body
}

#[test]
fn both_eras_and_rest_answer_alike() {
    let server = Server::start(&["--http", "127.0.0.1:0", "--no-auth"]);
    assert!(server.said.ends_with("authentication: none, anybody on this machine may call\n"));

    let modern = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {
        "name": "guests_list", "arguments": {"cluster": "lab", "limit": 3},
        "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
        },
    }});
    let headers = [
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "tools/call"),
        ("mcp-name", "guests_list"),
    ];
    let modern = server.mcp(&headers, &modern).message()["result"].clone();

    let hello = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {},
        "clientInfo": {"name": "test", "version": "0"},
    }});
    let hello = server.mcp(&[], &hello);
    let session = hello.header("mcp-session-id").unwrap();
    assert_eq!(hello.message()["result"]["serverInfo"]["name"], "proxmox-mcp");
    let headers = [("mcp-session-id", session), ("mcp-protocol-version", "2025-11-25")];
    let ready = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    assert_eq!(server.mcp(&headers, &ready).status, 202);
    let call = json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {
        "name": "guests_list", "arguments": {"cluster": "lab", "limit": 3},
    }});
    let legacy = server.mcp(&headers, &call).message()["result"].clone();
    let rest = server.tool("guests_list", &json!({"cluster": "lab", "limit": 3}));

    assert_eq!(rest.status, 200, "{}", rest.body);
    let mut rest = rest.json();
    let text = rest.as_object_mut().unwrap().remove("text").unwrap();
    // Figures move from call to call; who is meant does not.
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&modern["structuredContent"]), keys(&rest));
    assert_eq!(keys(&legacy["structuredContent"]), keys(&rest));
    let first = |text: &Value| text.as_str().unwrap().lines().next().unwrap().to_owned();
    assert_eq!(first(&modern["content"][0]["text"]), first(&text));
    assert_eq!(first(&legacy["content"][0]["text"]), first(&text));

    // Its sessions end with it, and nothing waits for their streams.
    let (status, _) = server.end();
    assert!(status.success(), "{status}");
}

#[test]
fn failures_have_their_statuses() {
    let server = Server::start(&["--http", "0", "--no-auth"]);
    let missing = server.tool("guest_get", &json!({"guest": "lab/9999"}));
    assert_eq!((missing.status, &missing.json()["result"]["error"]), (404, &json!("not_found")));
    assert_eq!(server.tool("guest_get", &json!({"guest": 1, "x": 1})).status, 400);
    assert_eq!(server.tool("guest_got", &json!({})).status, 404);
    let power = server.tool("guest_power", &json!({"guest": "lab/123", "action": "start"}));
    assert_eq!((power.status, &power.json()["result"]["error"]), (403, &json!("forbidden")));
    let evil = [("origin", "http://evil.example")];
    assert_eq!(server.send("POST", "/api/v1/tools/guest_get", &evil, "{}").status, 403);
    assert_eq!(server.send("POST", "/mcp", &evil, "{}").status, 403);
}

#[test]
fn every_tool_is_described_and_none_has_a_text_of_its_own() {
    let server =
        Server::start(&["--http", "0", "--no-auth", "--toolsets", "all", "--mode", "trusted"]);
    let tools = server.get("/api/v1/tools").json()["tools"].as_array().unwrap().clone();
    let paths = server.get("/api/v1/openapi.json").json()["paths"].as_object().unwrap().clone();
    assert!(tools.len() > 20);
    for tool in &tools {
        let path = tool["path"].as_str().unwrap();
        assert!(paths.contains_key(path), "{path}");
        // REST puts the text there.
        let own = tool["outputSchema"]["properties"].get("text");
        assert_eq!(own, None, "{path}");
    }
    // With three more: the list, a job and the description.
    assert_eq!(paths.len(), tools.len() + 3);
    let metrics = server.get("/metrics").body;
    assert!(metrics.contains("proxmox_mcp_http_requests_total"), "{metrics}");
}

#[tokio::test]
async fn a_demo_with_tokens_has_one_of_its_own() {
    let server = Server::start(&["--http", "0"]);
    let (_, token) = server.said.trim_end().split_once("this demo's token, ").unwrap();
    let refused = server.get("/api/v1/tools");
    assert_eq!(refused.status, 401);
    assert!(refused.header("www-authenticate").is_some());
    assert_eq!(server.get("/livez").status, 200);
    let bearer = format!("Bearer {token}");
    let let_in = server.send("GET", "/api/v1/tools", &[("authorization", &bearer)], "");
    assert_eq!(let_in.status, 200);
    wait_for("the demo's endpoints to be seen", Duration::from_secs(20), async || {
        match server.get("/readyz") {
            answer if answer.status == 200 => Progress::Ready(()),
            answer => Progress::Pending(answer.body),
        }
    })
    .await;
}

#[test]
fn a_socket_serves_its_owner() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mcp.sock");
    let server = Server::start(&["--unix", path.to_str().unwrap(), "--no-auth"]);
    assert!(server.said.contains(path.to_str().unwrap()), "{}", server.said);
    let stream = UnixStream::connect(&path).unwrap();
    assert_eq!(exchange(stream, "GET", "/api/v1/tools", &[], "").status, 200);
    let (status, _) = server.end();
    assert!(status.success() && !path.exists());
}

#[tokio::test]
async fn https_with_a_certificate_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = (folder.path().join("tls.crt"), folder.path().join("tls.key"));
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let server = Server::start(&[
        "--http",
        "127.0.0.1:0",
        "--no-auth",
        "--tls-cert",
        certificate.to_str().unwrap(),
        "--tls-key",
        key.to_str().unwrap(),
    ]);
    assert!(server.said.contains("https://127.0.0.1:"), "{}", server.said);
    let client = |policy| {
        let tls = TlsOptions { policy, server_name: None };
        stdx::http::client(&HttpOptions::with_tls(tls)).unwrap()
    };
    let url = format!("https://{}/api/v1/tools/guests_list", server.address());
    let call = |client: stdx::http::Client| {
        let request = client.post(&url).header("content-type", "application/json");
        request.body(r#"{"cluster": "lab", "limit": 1}"#).send()
    };
    let answer = call(client(TlsPolicy::CaPem(made.cert.pem().into()))).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(answer.text().await.unwrap().contains("guests"));
    // Whoever does not trust it does not talk to it.
    let other = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    call(client(TlsPolicy::CaPem(other.cert.pem().into()))).await.unwrap_err();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watched_guest_that_starts_is_told_on_a_stream() {
    let setup = crate::jobs::Setup::new(1000.0).await;
    let server = setup.over_http();
    let guest = "proxmox://guest/lab/125";
    let listen = |uris: &[&str]| {
        let params = json!({
            "notifications": {"resourceSubscriptions": uris},
            "_meta": {
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientCapabilities": {},
            },
        });
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen",
            "params": params});
        let body = body.to_string();
        let mut stream = TcpStream::connect(server.address()).unwrap();
        write!(
            stream,
            "POST /mcp HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
             accept: application/json, text/event-stream\r\nmcp-protocol-version: 2026-07-28\r\n\
             mcp-method: subscriptions/listen\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
        BufReader::new(stream)
    };
    /// Reads until a line has it; `false` if none comes for a while.
    fn hears(stream: &mut BufReader<TcpStream>, what: &str) -> bool {
        let mut line = String::new();
        while !line.contains(what) {
            line.clear();
            if !stream.read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
                return false;
            }
        }
        true
    }
    let mut stream = listen(&[guest]);
    assert!(hears(&mut stream, "notifications/subscriptions/acknowledged"));
    // A change before the first reading is none, so it is turned on and off until one is seen.
    let told = ["start", "stop"].into_iter().cycle().take(20).any(|action| {
        let args = json!({"guest": "lab/125", "action": action});
        let done = server.tool("guest_power", &args);
        assert_eq!(done.status, 200, "{}", done.body);
        // What else somebody begins to watch makes it look again, before its time.
        let mut other = listen(&["proxmox://guest/lab/100"]);
        assert!(hears(&mut other, "notifications/subscriptions/acknowledged"));
        hears(&mut stream, "notifications/resources/updated")
    });
    assert!(told);
}

#[test]
fn what_is_dangerous_or_makes_no_sense_is_refused() {
    for (args, why) in [
        (&["--http", "0.0.0.0:0", "--no-auth"][..], "token new"),
        (&["--http", "[::]:0", "--no-auth"], "without authentication"),
        (&["--no-auth"], "--no-auth goes with --http or --unix"),
        (&["--unix", "/tmp", "--no-auth"], "that is not a socket"),
        (&["--http", "example.lan:8808"], "it takes an address with its port"),
        (&["--http", "0", "--tls-cert", "x"], "--tls-key"),
        (&["--http", "0", "--tls-cert", "/none", "--tls-key", "/none"], "read /none"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_proxmox-mcp"))
            .args(["serve", "--demo"])
            .args(args)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
        assert!(said.contains(why), "{args:?}: {said}");
        assert!(output.stdout.is_empty());
    }
}
