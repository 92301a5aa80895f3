//! `/mcp` behind the entrance: both eras, credentials, names and origins.

use gateway::Options;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::client::{Answer, Ask, ask, get, post};
use crate::support::{open, start, tokens};

/// A request of 2026-07-28.
fn modern(method: &str, mut params: Value) -> Ask {
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let name = params["name"].as_str().map(str::to_owned);
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    let ask = mcp(&body).header("mcp-protocol-version", "2026-07-28").header("mcp-method", method);
    match name {
        Some(name) => ask.header("mcp-name", &name),
        None => ask,
    }
}

fn mcp(body: &Value) -> Ask {
    post("/mcp", body).header("accept", "application/json, text/event-stream")
}

/// The JSON-RPC message of an answer, whichever way it came.
fn message(answer: &Answer) -> Value {
    if answer.header("content-type") == Some("text/event-stream") {
        let data = answer.body.lines().filter_map(|line| line.strip_prefix("data: "));
        let mut messages = data.filter_map(|data| serde_json::from_str::<Value>(data).ok());
        return messages.find(|message| message.get("id").is_some()).unwrap();
    }
    answer.json()
}

#[tokio::test]
async fn both_eras_come_through() {
    let running = start(Options::default(), open()).await;
    let call = modern("tools/call", json!({"name": "echo", "arguments": {"text": "hi"}}));
    let answer = call.send(running.address).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let result = message(&answer)["result"].clone();
    assert_eq!(result["structuredContent"], json!({"said": "hi", "who": "token:anybody"}));

    let hello = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "0"},
    }});
    let answer = mcp(&hello).send(running.address).await;
    let session = answer.header("mcp-session-id").unwrap().to_owned();
    assert_eq!(message(&answer)["result"]["protocolVersion"], "2025-11-25");
    let in_session = |body: Value| {
        mcp(&body).header("mcp-session-id", &session).header("mcp-protocol-version", "2025-11-25")
    };
    let ready = in_session(json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
    assert_eq!(ready.send(running.address).await.status, 202);
    let call = in_session(json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {
        "name": "echo", "arguments": {"text": "again"},
    }}));
    let result = message(&call.send(running.address).await)["result"].clone();
    assert_eq!(result["structuredContent"]["said"], "again");
}

#[tokio::test]
async fn open_streams_do_not_hold_up_the_end() {
    let mut running = start(Options::default(), open()).await;
    let hello = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "0"},
    }});
    let answer = mcp(&hello).send(running.address).await;
    let session = answer.header("mcp-session-id").unwrap();
    let stream =
        get("/mcp").header("accept", "text/event-stream").header("mcp-session-id", session);
    let mut open = TcpStream::connect(running.address).await.unwrap();
    open.write_all(&stream.bytes()).await.unwrap();
    let mut head = [0; 12];
    open.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");
    running.shutdown.cancel();
    (&mut running.serving).await.unwrap();
    let mut rest = Vec::new();
    open.read_to_end(&mut rest).await.unwrap();
    assert!(rest.ends_with(b"0\r\n\r\n"), "ended, not cut off: {}", String::from_utf8_lossy(&rest));
}

#[tokio::test]
async fn a_session_is_its_callers() {
    let (authenticator, made, _folder) = tokens(&[("one", "read"), ("two", "read")]);
    let running = start(Options::default(), authenticator).await;
    let hello = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "0"},
    }});
    let answer = mcp(&hello).bearer(&made[0]).send(running.address).await;
    let session = answer.header("mcp-session-id").unwrap().to_owned();
    let list = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
    let list = mcp(&list).header("mcp-session-id", &session);
    assert_eq!(list.clone().send(running.address).await.status, 401);
    assert_eq!(list.clone().bearer(&made[1]).send(running.address).await.status, 404);
    assert_eq!(list.bearer(&made[0]).send(running.address).await.status, 200);
}

#[tokio::test]
async fn the_scope_decides_what_is_listed() {
    let (authenticator, made, _folder) = tokens(&[("reader", "read"), ("operator", "operate")]);
    let running = start(Options::default(), authenticator).await;
    let mut lists = Vec::new();
    for token in &made {
        let answer = modern("tools/list", json!({})).bearer(token).send(running.address).await;
        let tools = message(&answer)["result"]["tools"].as_array().unwrap().len();
        let rest = get("/api/v1/tools").bearer(token).send(running.address).await;
        assert_eq!(rest.json()["tools"].as_array().unwrap().len(), tools);
        lists.push(tools);
    }
    assert_eq!(lists, [4, 6]);
    // What another credential would reach is told apart from what nobody does, on every way in.
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "job", "arguments": {}}});
    let ways = [
        post("/api/v1/tools/job", &json!({})),
        modern("tools/call", json!({"name": "job", "arguments": {}})),
        mcp(&call),
    ];
    for way in ways {
        let answer = way.clone().bearer(&made[0]).send(running.address).await;
        assert_eq!((answer.status, answer.problem().as_str()), (403, "forbidden"));
        let challenge = answer.header("www-authenticate").unwrap();
        assert!(challenge.contains("error=\"insufficient_scope\""), "{challenge}");
        let answer = way.bearer(&made[1]).send(running.address).await;
        assert!(!matches!(answer.status, 401 | 403), "{answer:?}");
    }
    let none = post("/api/v1/tools/nothing", &json!({})).bearer(&made[0]);
    assert_eq!(none.send(running.address).await.problem(), "no-such-tool");
}

#[tokio::test]
async fn other_names_and_other_pages_stay_outside() {
    let mut options = Options::default();
    options.allowed_hosts = vec!["mcp.example.lan".to_owned()];
    options.allowed_origins = vec!["http://localhost:6274".to_owned()];
    let running = start(options, open()).await;
    let paths = ["/mcp", "/api/v1/tools", "/metrics", "/api/v1/openapi.json", "/nowhere"];
    for path in paths {
        for host in ["evil.example", "127.0.0.1.evil.example", "localhost@evil.example", ""] {
            let answer = get(path).header("host", host).send(running.address).await;
            assert!(matches!(answer.status, 400 | 403), "{path} {host}: {answer:?}");
        }
        let answer = get(path).without("host").send(running.address).await;
        assert!(matches!(answer.status, 400 | 403), "{path}: {answer:?}");
        for origin in
            ["http://evil.example", "null", "http://localhost:1", "https://localhost:6274"]
        {
            let answer = get(path).header("origin", origin).send(running.address).await;
            assert_eq!((answer.status, answer.problem().as_str()), (403, "not-allowed-here"));
            assert_eq!(answer.header("access-control-allow-origin"), None, "{path} {origin}");
        }
    }
    for host in ["localhost", "127.0.0.1:1234", "[::1]", "MCP.example.lan:443"] {
        let answer = get("/api/v1/tools").header("host", host).send(running.address).await;
        assert_eq!(answer.status, 200, "{host}");
    }
}

#[tokio::test]
async fn pages_of_an_allowed_origin_can_work() {
    let (authenticator, made, _folder) = tokens(&[("page", "read")]);
    let mut options = Options::default();
    options.allowed_origins = vec!["http://localhost:6274".to_owned()];
    let running = start(options, authenticator).await;
    let page = |ask: Ask| ask.header("origin", "http://localhost:6274");
    let preflight =
        page(ask("OPTIONS", "/mcp")).header("access-control-request-method", "POST").header(
            "access-control-request-headers",
            "authorization, content-type, mcp-protocol-version",
        );
    let answer = preflight.send(running.address).await;
    assert_eq!(answer.status, 204, "{answer:?}");
    assert_eq!(answer.header("access-control-allow-origin"), Some("http://localhost:6274"));
    let allowed = answer.header("access-control-allow-headers").unwrap();
    for header in ["authorization", "content-type", "mcp-session-id", "mcp-method", "last-event-id"]
    {
        assert!(allowed.split(", ").any(|known| known == header), "{header}: {allowed}");
    }
    assert!(answer.header("access-control-allow-methods").unwrap().contains("DELETE"));
    // Also a refusal can be read, or a page could never find out what it lacks.
    let refused = page(get("/api/v1/tools")).send(running.address).await;
    assert_eq!(refused.status, 401);
    assert_eq!(refused.header("access-control-allow-origin"), Some("http://localhost:6274"));
    let exposed = refused.header("access-control-expose-headers").unwrap();
    assert!(
        exposed.contains("www-authenticate") && exposed.contains("mcp-session-id"),
        "{exposed}"
    );
    let list = page(modern("tools/list", json!({}))).bearer(&made[0]).send(running.address).await;
    assert_eq!(list.status, 200);
    assert_eq!(list.header("vary"), Some("origin"));
    // Where no origin is allowed, nothing is said of any.
    let closed = start(Options::default(), open()).await;
    let answer = get("/api/v1/tools").send(closed.address).await;
    assert_eq!((answer.header("vary"), answer.header("access-control-allow-origin")), (None, None));
}
