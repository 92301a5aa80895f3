//! Lines: what cannot be read is answered, and the end is the end.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::client::{Client, error, text};
use crate::fixture::{self, Life};

#[tokio::test]
async fn what_cannot_be_understood_is_answered_and_does_no_harm() {
    let cases = [
        ("{\"jsonrpc\":", Value::Null, -32700),
        ("hello", Value::Null, -32700),
        ("\u{1}\u{2}", Value::Null, -32700),
        ("[]", Value::Null, -32600),
        ("[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}]", Value::Null, -32600),
        ("42", Value::Null, -32600),
        ("{\"id\":5,\"method\":\"ping\"}", json!(5), -32600),
        ("{\"jsonrpc\":\"2.0\",\"id\":null,\"method\":\"ping\"}", Value::Null, -32600),
        ("{\"jsonrpc\":\"2.0\",\"id\":1.5,\"method\":\"ping\"}", Value::Null, -32600),
        ("{\"jsonrpc\":\"2.0\",\"id\":6}", json!(6), -32600),
        ("{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":8}", json!(7), -32600),
        (
            "{\"jsonrpc\":\"2.0\",\"id\":\"a\",\"method\":\"tools/list\",\"params\":[]}",
            json!("a"),
            -32602,
        ),
        (
            "{\"jsonrpc\":\"2.0\",\"id\":9,\"method\":\"tools/list\",\"params\":{\"cursor\":1}}",
            json!(9),
            -32602,
        ),
        ("{\"jsonrpc\":\"2.0\",\"id\":10,\"method\":\"resources/read\"}", json!(10), -32602),
        ("{\"jsonrpc\":\"2.0\",\"id\":11,\"method\":\"nope\"}", json!(11), -32601),
    ];
    let mut client = Client::legacy(fixture::app(), "2025-11-25", json!({})).await;
    for (line, id, code) in cases {
        client.send_raw(&format!("{line}\n")).await;
        let reply = client.recv().await;
        assert_eq!((&reply["id"], error(&reply).0), (&id, code), "{line}: {reply}");
        assert!(reply.as_object().unwrap().contains_key("id"), "{line}");
    }
    client.send_bytes(b"{\"jsonrpc\":\"2.0\",\"id\":12,\"method\":\"\xff\xfe\"}\n").await;
    assert_eq!(error(&client.recv().await).0, -32700, "not UTF-8");
    let deep = format!("{}{}\n", "[".repeat(100_000), "]".repeat(100_000));
    client.send_raw(&deep).await;
    assert_eq!(error(&client.recv().await).0, -32700, "deeper than anybody writes");
    // These have no answer: blank lines, notifications and responses that nobody waits for.
    for line in [
        "",
        "   \r",
        "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/strange\"}",
        "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\",\"params\":{\"requestId\":[]}}",
        "{\"jsonrpc\":\"2.0\",\"id\":99,\"result\":{}}",
        "{\"jsonrpc\":\"2.0\",\"id\":99,\"error\":{\"code\":1,\"message\":\"m\"}}",
    ] {
        client.send_raw(&format!("{line}\n")).await;
    }
    let reply = client.call_tool("echo", json!({ "text": "alive" })).await;
    assert_eq!(text(&reply), "alive");
    assert!(client.end().await.is_empty());
}

#[tokio::test]
async fn garbage_before_initialize_does_not_end_the_connection() {
    let mut client = Client::connect(fixture::app());
    client.send_raw("not json\n").await;
    assert_eq!(error(&client.recv().await).0, -32700);
    client.notify("notifications/initialized", json!({})).await;
    let reply = client.initialize("2025-11-25", json!({})).await;
    assert!(reply["result"].is_object(), "{reply}");
}

#[tokio::test]
async fn a_line_beyond_the_limit_is_refused_without_being_kept() {
    let mut client = Client::legacy(fixture::app(), "2025-11-25", json!({})).await;
    let chunk = "x".repeat(1 << 16);
    for _ in 0..(4 << 4) {
        client.send_raw(&chunk).await;
    }
    client.send_raw(&chunk).await;
    client.send_raw("\n").await;
    assert_eq!(error(&client.recv().await).0, -32600);
    let reply = client.call_tool("echo", json!({ "text": "y".repeat(1 << 20) })).await;
    assert_eq!(text(&reply).len(), 1 << 20);
}

#[tokio::test]
async fn an_id_in_use_is_refused() {
    let life = Arc::new(Life::default());
    let mut client = Client::legacy(fixture::app_with(&life), "2025-11-25", json!({})).await;
    let call = json!({ "jsonrpc": "2.0", "id": "same", "method": "tools/call", "params": { "name": "forever" } });
    client.send(call.clone()).await;
    life.started.notified().await;
    client.send(call).await;
    assert_eq!(error(&client.recv().await).0, -32600);
    // After its cancellation the id is free again.
    client.notify("notifications/cancelled", json!({ "requestId": "same" })).await;
    life.dropped.notified().await;
    client.send(json!({ "jsonrpc": "2.0", "id": "same", "method": "ping" })).await;
    assert_eq!(client.recv().await, json!({ "jsonrpc": "2.0", "id": "same", "result": {} }));
}

#[tokio::test]
async fn a_flood_of_requests_is_refused_and_not_kept() {
    let life = Arc::new(Life::default());
    let mut client = Client::legacy(fixture::app_with(&life), "2025-11-25", json!({})).await;
    for _ in 0..256 {
        client.request("tools/call", json!({ "name": "forever" })).await;
    }
    let reply = client.call_tool("echo", json!({ "text": "one too many" })).await;
    assert_eq!(error(&reply), (-32600, "too many requests are in flight; wait for answers"));
    client.notify("notifications/cancelled", json!({ "requestId": 2 })).await;
    let reply = client.call_tool("echo", json!({ "text": "now" })).await;
    assert_eq!(text(&reply), "now");
}

#[tokio::test]
async fn a_client_that_stops_reading_ends_the_server() {
    let mut client = Client::legacy(fixture::app(), "2025-11-25", json!({})).await;
    client.stop_reading();
    client.request("tools/list", json!({})).await;
    client.ended().await;
}

#[tokio::test(start_paused = true)]
async fn the_end_of_input_ends_the_server_and_what_is_in_flight() {
    let life = Arc::new(Life::default());
    let mut client = Client::legacy(fixture::app_with(&life), "2025-11-25", json!({})).await;
    let id = client.request("tools/call", json!({ "name": "forever" })).await;
    life.started.notified().await;
    let begun = tokio::time::Instant::now();
    let rest = client.end().await;
    life.dropped.notified().await;
    assert_eq!(begun.elapsed().as_millis(), 500, "the grace, no more");
    assert_eq!(rest.len(), 1);
    assert_eq!((&rest[0]["id"], error(&rest[0]).1), (&json!(id), "the server is ending"));

    let client = Client::legacy(fixture::app(), "2025-11-25", json!({})).await;
    let begun = tokio::time::Instant::now();
    assert!(client.end().await.is_empty());
    assert_eq!(begun.elapsed().as_millis(), 0, "with nothing in flight it ends at once");
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_ends_the_server() {
    let life = Arc::new(Life::default());
    let mut client = Client::legacy(fixture::app_with(&life), "2025-11-25", json!({})).await;
    client.request("tools/call", json!({ "name": "forever" })).await;
    life.started.notified().await;
    let begun = tokio::time::Instant::now();
    client.shutdown.cancel();
    life.dropped.notified().await;
    client.rest().await;
    assert_eq!(begun.elapsed().as_millis(), 0);
}
