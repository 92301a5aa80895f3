//! Both eras, alone and mixed on one connection.

use expect_test::expect;
use mcp_protocol::Caller;
use serde_json::{Value, json};

use crate::client::{Client, LEGACY, MODERN, error, text};
use crate::fixture;

#[tokio::test]
async fn every_older_revision_is_spoken_as_asked() {
    for version in LEGACY {
        let mut client = Client::legacy(fixture::app(), version, json!({})).await;
        let reply = client.call_tool("context", json!({})).await;
        assert_eq!(text(&reply), format!("local Legacy {version} test None None"));
        let result = &reply["result"];
        assert!(result.get("resultType").is_none() && result.get("_meta").is_none(), "{reply}");
        assert_eq!(client.call("ping", json!({})).await["result"], json!({}));
        assert!(client.end().await.is_empty());
    }
}

#[tokio::test]
async fn initialize_answers_with_what_the_app_is() {
    let mut client = Client::connect(fixture::app());
    let reply = client.initialize("2025-11-25", json!({})).await;
    expect![[r#"{"protocolVersion":"2025-11-25","capabilities":{"logging":{},"completions":{},"prompts":{},"resources":{},"tools":{}},"serverInfo":{"name":"fixture","title":"Fixture","version":"1.2.3"},"instructions":"Use it for tests."}"#]].assert_eq(&reply["result"].to_string());
}

#[tokio::test]
async fn a_revision_that_nobody_knows_gets_the_newest_that_initializes() {
    for version in ["1999-01-01", MODERN, "2030-01-01"] {
        let mut client = Client::connect(fixture::app());
        let reply = client.initialize(version, json!({})).await;
        assert_eq!(reply["result"]["protocolVersion"], "2025-11-25", "asked for {version}");
    }
}

#[tokio::test]
async fn discover_says_everything_a_modern_client_needs() {
    let mut client = Client::modern(fixture::app(), json!({}));
    let reply = client.call("server/discover", json!({})).await;
    expect![[r#"{"resultType":"complete","supportedVersions":["2024-11-05","2025-03-26","2025-06-18","2025-11-25","2026-07-28"],"capabilities":{"logging":{},"completions":{},"prompts":{},"resources":{},"tools":{}},"instructions":"Use it for tests.","ttlMs":300000,"cacheScope":"private","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"fixture","title":"Fixture","version":"1.2.3"}}}"#]].assert_eq(&reply["result"].to_string());
}

#[tokio::test]
async fn every_modern_result_says_its_type_and_who_answers() {
    let mut client = Client::modern(fixture::app(), json!({}));
    let requests = [
        ("tools/list", json!({})),
        ("tools/call", json!({ "name": "echo", "arguments": { "text": "a" } })),
        ("resources/list", json!({})),
        ("resources/templates/list", json!({})),
        ("resources/read", json!({ "uri": "test://text" })),
        ("prompts/list", json!({})),
        ("prompts/get", json!({ "name": "greet", "arguments": { "name": "Ada" } })),
        (
            "completion/complete",
            json!({ "ref": { "type": "ref/prompt", "name": "greet" }, "argument": { "name": "name", "value": "" } }),
        ),
    ];
    for (method, params) in requests {
        let reply = client.call(method, params).await;
        let result = &reply["result"];
        assert_eq!(result["resultType"], "complete", "{method}: {reply}");
        let server = &result["_meta"]["io.modelcontextprotocol/serverInfo"];
        assert_eq!(server["name"], "fixture", "{method}: {reply}");
        let is_cacheable = method.ends_with("/list") || method == "resources/read";
        assert_eq!(result.get("ttlMs").is_some(), is_cacheable, "{method}: {reply}");
        assert_eq!(result.get("cacheScope").is_some(), is_cacheable, "{method}: {reply}");
    }
}

#[tokio::test]
async fn modern_requests_must_describe_themselves() {
    let mut client = Client::connect(fixture::app());
    let reply = client.call("tools/list", json!({})).await;
    let (code, message) = error(&reply);
    assert_eq!(code, -32602);
    assert!(message.contains("io.modelcontextprotocol/protocolVersion"), "{message}");
    let meta = json!({ "io.modelcontextprotocol/protocolVersion": MODERN });
    let reply = client.call("tools/list", json!({ "_meta": meta })).await;
    let (code, message) = error(&reply);
    assert_eq!(code, -32602);
    assert!(message.contains("clientCapabilities"), "{message}");
    assert!(!message.contains("protocolVersion"), "{message}");
    client.set_meta(json!({}));
    let mut meta = json!({ "io.modelcontextprotocol/protocolVersion": "2031-01-01" });
    let reply = client.call("tools/list", json!({ "_meta": meta.take() })).await;
    assert_eq!(error(&reply).0, -32022, "{reply}");
    assert_eq!(reply["error"]["data"]["requested"], "2031-01-01");
    assert_eq!(reply["error"]["data"]["supported"].as_array().unwrap().len(), 5);
}

#[tokio::test]
async fn what_one_era_has_lost_the_other_keeps() {
    let mut client = Client::modern(fixture::app(), json!({}));
    for (method, params) in [
        ("ping", json!({})),
        ("logging/setLevel", json!({ "level": "debug" })),
        ("resources/subscribe", json!({ "uri": "test://text" })),
        ("no/such/method", json!({})),
    ] {
        assert_eq!(error(&client.call(method, params).await).0, -32601, "{method}");
    }
    // Before initialize a client may only ping.
    let mut client = Client::connect(fixture::app());
    assert_eq!(client.call("ping", json!({})).await["result"], json!({}));
}

#[tokio::test]
async fn a_client_may_change_eras_at_any_time() {
    let mut client = Client::modern(fixture::app(), json!({}));
    assert!(client.call("server/discover", json!({})).await["result"].is_object());
    assert!(text(&client.call_tool("context", json!({})).await).contains("Modern"));
    client.clear_meta();
    client.initialize("2025-06-18", json!({})).await;
    client.call("logging/setLevel", json!({ "level": "debug" })).await;
    client.notify("notifications/initialized", json!({})).await;
    assert!(text(&client.call_tool("context", json!({})).await).contains("Legacy 2025-06-18"));
    assert_eq!(client.call("ping", json!({})).await["result"], json!({}));
    client.set_meta(json!({}));
    assert!(text(&client.call_tool("context", json!({})).await).contains("Modern 2026-07-28"));
}

#[tokio::test]
async fn requests_may_follow_initialize_in_the_same_breath() {
    let mut client = Client::connect(fixture::app());
    let initialize = json!({
        "jsonrpc": "2.0", "id": 1, "method": "initialize",
        "params": { "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "pipe", "version": "0" } },
    });
    let list = json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/list" });
    let call = json!({
        "jsonrpc": "2.0", "id": "three", "method": "tools/call",
        "params": { "name": "echo", "arguments": { "text": "piped" } },
    });
    // The last line has no end of line, as from a careless printf.
    client.send_raw(&format!("{initialize}\n{list}\n{call}")).await;
    let mut replies = client.end().await;
    replies.sort_by_key(|reply| reply["id"].to_string());
    let ids: Vec<Value> = replies.iter().map(|reply| reply["id"].clone()).collect();
    assert_eq!(ids, [json!("three"), json!(1), json!(2)]);
    assert_eq!(text(&replies[0]), "piped");
}

#[tokio::test]
async fn the_context_tells_who_calls_and_in_which_trace() {
    let caller = Caller::new("local:1000").with(7_u32);
    let app = fixture::builder().caller(caller).build().unwrap();
    let mut client = Client::modern(app, json!({}));
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let params = json!({ "name": "context", "_meta": { "traceparent": parent } });
    let reply = client.call("tools/call", params).await;
    let expected = format!("local:1000 Modern 2026-07-28 test Some({parent:?}) Some(7)");
    assert_eq!(text(&reply), expected);
}
