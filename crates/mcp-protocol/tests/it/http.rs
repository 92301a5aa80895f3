//! The endpoint as a whole: both eras side by side, headers and codes, attacks, streams that are closed.

use std::sync::Arc;

use bytes::Bytes;
use expect_test::{Expect, expect};
use futures::stream;
use http::{Method, Request, StatusCode};
use http_body::Frame;
use http_body_util::StreamBody;
use mcp_protocol::http::HttpOptions;
use mcp_protocol::{Caller, Changes, Notifier};
use serde_json::{Value, json};

use crate::client::{error, text};
use crate::fixture::{self, Life};
use crate::http_client::{Http, initialize};

#[tokio::test]
async fn both_eras_live_on_one_endpoint() {
    let http = Http::new(fixture::app());
    let session = http.session("2025-06-18", json!({})).await;
    for round in 1..4 {
        let reply = http.modern("tools/call", json!({ "name": "context" })).await;
        assert_eq!(reply.headers["content-type"], "application/json");
        let reply = reply.answer().await;
        assert!(text(&reply).starts_with("token:a Modern 2026-07-28"), "{reply}");
        let info = &reply["result"]["_meta"]["io.modelcontextprotocol/serverInfo"];
        assert_eq!(info["name"], "fixture", "{reply}");
        let reply = session.request(round, "tools/call", json!({ "name": "context" })).await;
        let reply = reply.answer().await;
        assert!(text(&reply).starts_with("token:a Legacy 2025-06-18"), "{reply}");
    }
    assert_eq!(http.service.sessions(), 1);
    // A client may take its session along into the modern era, where nobody looks at it.
    let reply = session.modern("tools/call", json!({ "name": "context" })).await.answer().await;
    assert!(text(&reply).contains("Modern"), "{reply}");
}

/// Sends a modern `tools/call` of `echo` that is changed, and tells status and error.
async fn check(change: impl FnOnce(&Http, &mut Value) -> Http, expected: &Expect) {
    let http = Http::new(fixture::app());
    let params = json!({ "name": "echo", "arguments": { "text": "a" } });
    let (client, mut message) = http.prepare("tools/call", params, json!({}));
    let client = change(&client, &mut message);
    let reply = client.post(message).await;
    let status = reply.status;
    let answer = reply.answer().await;
    let seen = match answer.get("error") {
        Some(_) => {
            let (code, message) = error(&answer);
            format!("{} {code} {message}", status.as_u16())
        }
        None => format!("{} {}", status.as_u16(), answer["result"]["content"][0]["text"]),
    };
    expected.assert_eq(&seen);
}

const META: &str = "/params/_meta";

fn meta(message: &mut Value) -> &mut serde_json::Map<String, Value> {
    message.pointer_mut(META).unwrap().as_object_mut().unwrap()
}

#[tokio::test]
async fn modern_headers_must_repeat_the_body() {
    check(|http, _| http.clone(), &expect![[r#"200 "a""#]]).await;
    check(|http, _| http.header("mcp-name", "=?base64?ZWNobw==?="), &expect![[r#"200 "a""#]]).await;
    check(|http, _| http.header("mcp-protocol-version", ""), &expect![["400 -32020 the header mcp-protocol-version is missing; the protocol version in _meta is 2026-07-28"]]).await;
    check(|http, _| http.header("mcp-protocol-version", "2025-11-25"), &expect![["400 -32020 the header mcp-protocol-version says 2025-11-25, but the protocol version in _meta is 2026-07-28"]]).await;
    check(
        |http, _| http.header("mcp-method", ""),
        &expect![["400 -32020 the header mcp-method is missing; the body's method is tools/call"]],
    )
    .await;
    check(
        |http, _| http.header("mcp-method", "Tools/Call"),
        &expect![[
            "400 -32020 the header mcp-method says Tools/Call, but the body's method is tools/call"
        ]],
    )
    .await;
    check(
        |http, _| http.header("mcp-name", ""),
        &expect![["400 -32020 the header mcp-name is missing; what the body names is echo"]],
    )
    .await;
    check(
        |http, _| http.header("mcp-name", "fail"),
        &expect![["400 -32020 the header mcp-name says fail, but what the body names is echo"]],
    )
    .await;
}

#[tokio::test]
async fn modern_requests_get_the_codes_of_the_specification() {
    let version = "io.modelcontextprotocol/protocolVersion";
    check(
        |http, message| {
            meta(message).insert(version.to_owned(), json!("2031-01-01"));
            http.header("mcp-protocol-version", "2031-01-01")
        },
        &expect!["400 -32022 Unsupported protocol version"],
    )
    .await;
    check(
        |http, message| {
            meta(message).remove(version);
            http.clone()
        },
        &expect!["400 -32602 request _meta is missing or has malformed required fields: io.modelcontextprotocol/protocolVersion"],
    )
    .await;
    check(
        |http, message| {
            meta(message).remove("io.modelcontextprotocol/clientCapabilities");
            http.clone()
        },
        &expect!["400 -32602 request _meta is missing or has malformed required fields: io.modelcontextprotocol/clientCapabilities"],
    )
    .await;
    check(
        |http, message| {
            message["method"] = json!("no/such");
            http.header("mcp-method", "no/such")
        },
        &expect!["404 -32601 no/such"],
    )
    .await;
    check(
        |http, message| {
            message["method"] = json!("ping");
            http.header("mcp-method", "ping")
        },
        &expect!["404 -32601 ping"],
    )
    .await;
    check(
        |http, message| {
            message["method"] = json!("initialize");
            http.header("mcp-method", "initialize")
        },
        &expect!["404 -32601 initialize"],
    )
    .await;
    // What is wrong with the arguments of a well-formed request is no matter of transport.
    check(
        |http, message| {
            message["params"]["name"] = json!("nothing");
            http.header("mcp-name", "nothing")
        },
        &expect!["200 -32602 unknown tool nothing"],
    )
    .await;
    check(
        |http, message| {
            message["params"] = json!({ "_meta": message.pointer(META).unwrap() });
            http.header("mcp-name", "")
        },
        &expect!["200 -32602 params of tools/call: missing field `name`"],
    )
    .await;
    let http = Http::new(fixture::app()).header("mcp-protocol-version", "1999-01-01");
    let reply = http.post(json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" })).await;
    assert_eq!(reply.status, StatusCode::BAD_REQUEST);
    let reply = reply.answer().await;
    assert_eq!(error(&reply).0, -32022);
    assert_eq!(reply["error"]["data"]["supported"].as_array().unwrap().len(), 5);
}

#[tokio::test]
async fn modern_notifications_are_taken_and_answers_are_not() {
    let http = Http::new(fixture::app());
    let (client, mut message) = http.prepare("notifications/cancelled", json!({}), json!({}));
    message.as_object_mut().unwrap().remove("id");
    assert_eq!(client.post(message.clone()).await.status, StatusCode::ACCEPTED);
    let reply = client.header("mcp-method", "").post(message).await;
    assert_eq!(reply.status, StatusCode::BAD_REQUEST);
    let (client, _) = http.prepare("tools/list", json!({}), json!({}));
    let reply = client.post(json!({ "jsonrpc": "2.0", "id": 1, "result": {} })).await;
    assert_eq!(reply.status, StatusCode::BAD_REQUEST);
    for method in [Method::GET, Method::DELETE, Method::PUT, Method::OPTIONS] {
        let reply = client.send(method.clone(), "").await;
        assert_eq!(reply.status, StatusCode::METHOD_NOT_ALLOWED, "{method}");
        assert_eq!(reply.headers["allow"], "POST");
    }
}

#[tokio::test]
async fn what_a_stateless_request_seals_another_opens() {
    let http = Http::new(fixture::app());
    let elicitation = json!({ "elicitation": {} });
    let call = json!({ "name": "ask", "arguments": {} });
    let first = http.modern_as("tools/call", call.clone(), elicitation.clone()).await;
    let first = first.answer().await;
    let mut again = call;
    again["requestState"] = first["result"]["requestState"].clone();
    again["inputResponses"] =
        json!({ "confirm": { "action": "accept", "content": { "sure": true } } });
    let second = http.modern_as("tools/call", again.clone(), elicitation.clone()).await;
    assert_eq!(text(&second.answer().await), "accepted {\"sure\":true} after 1");
    // It is bound to who was asked, and to this process.
    let stranger = http.as_subject("token:b");
    let reply = stranger.modern_as("tools/call", again.clone(), elicitation.clone()).await;
    assert_eq!(error(&reply.answer().await).0, -32602);
    let reply = Http::new(fixture::app()).modern_as("tools/call", again, elicitation).await;
    assert_eq!(error(&reply.answer().await).0, -32602);
}

#[tokio::test]
async fn answers_without_a_question_are_no_consent() {
    let http = Http::new(fixture::app());
    let call = json!({
        "name": "ask",
        "arguments": {},
        "inputResponses": { "confirm": { "action": "accept", "content": { "sure": true } } },
    });
    let reply = http.modern_as("tools/call", call, json!({ "elicitation": {} })).await;
    let reply = reply.answer().await;
    assert_eq!(reply["result"]["resultType"], "input_required", "{reply}");
}

#[tokio::test]
async fn bodies_that_are_no_message_are_told_so() {
    let http = Http::new(fixture::app());
    let post = |body: &'static str| {
        let http = http.clone();
        async move {
            let reply = http.send(Method::POST, body).await;
            let status = reply.status.as_u16();
            (status, error(&reply.answer().await).0)
        }
    };
    assert_eq!(post("").await, (400, -32700));
    assert_eq!(post("{").await, (400, -32700));
    assert_eq!(post("\u{feff}{}").await, (400, -32700));
    assert_eq!(post("[]").await, (400, -32600));
    assert_eq!(post("[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}]").await, (400, -32600));
    assert_eq!(post("3").await, (400, -32600));
    assert_eq!(post("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}").await, (400, -32600));
    let deep = "[".repeat(100_000);
    let reply = http.send(Method::POST, deep).await;
    assert_eq!((reply.status, error(&reply.answer().await).0), (StatusCode::BAD_REQUEST, -32700));

    let message = json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" });
    for (name, value, status) in [
        ("content-type", "", 415),
        ("content-type", "text/plain", 415),
        ("accept", "application/json", 406),
        ("accept", "text/event-stream", 406),
    ] {
        let reply = http.header(name, value).post(message.clone()).await;
        assert_eq!(reply.status.as_u16(), status, "{name}: {value}");
        let reply = reply.answer().await;
        assert_eq!(error(&reply).0, i64::from(status), "{reply}");
    }
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_not_read() {
    let mut options = HttpOptions::default();
    options.max_body_bytes = 200;
    let http = Http::with(fixture::app(), options);
    let mut message = initialize("2025-06-18", json!({}));
    assert_eq!(http.post(message.clone()).await.status, StatusCode::OK);
    message["params"]["clientInfo"]["title"] = json!("a".repeat(200));
    for announced in ["", "17", "100000000000000000000"] {
        let reply = http.header("content-length", announced).post(message.clone()).await;
        assert_eq!(reply.status, StatusCode::PAYLOAD_TOO_LARGE, "{announced}");
        assert_eq!(error(&reply.answer().await), (413, "the body is larger than 200 bytes"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let http = Http::new(fixture::app());
    let (client, _) = http.prepare("tools/list", json!({}), json!({}));
    let mut request =
        Request::new(StreamBody::new(stream::pending::<Result<Frame<Bytes>, String>>()));
    *request.method_mut() = Method::POST;
    *request.headers_mut() = client.headers.clone();
    let reply = http.service.handle(&http.app, Caller::new("token:a"), request).await;
    assert_eq!(reply.status(), StatusCode::REQUEST_TIMEOUT);
    let broken = StreamBody::new(stream::iter([Err::<Frame<Bytes>, _>("it broke")]));
    let mut request = Request::new(broken);
    *request.method_mut() = Method::POST;
    *request.headers_mut() = client.headers.clone();
    let reply = http.service.handle(&http.app, Caller::new("token:a"), request).await;
    assert_eq!(reply.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn foreign_names_and_pages_are_turned_away() {
    let mut options = HttpOptions::default();
    options.allowed_hosts = vec!["pve.example".to_owned()];
    options.allowed_origins = vec!["https://panel.example".to_owned()];
    let http = Http::with(fixture::app(), options);
    let (http, message) = http.prepare("server/discover", json!({}), json!({}));
    for (host, origin, status) in [
        ("pve.example:8808", "", 200),
        ("localhost", "https://panel.example", 200),
        ("evil.example", "", 403),
        ("", "", 403),
        ("localhost", "https://evil.example", 403),
        ("localhost", "null", 403),
    ] {
        let client = http.header("host", host).header("origin", origin);
        let reply = client.post(message.clone()).await;
        assert_eq!(reply.status.as_u16(), status, "{host} {origin}");
        if status == 403 {
            for method in [Method::GET, Method::DELETE, Method::OPTIONS] {
                assert_eq!(client.send(method, "").await.status.as_u16(), 403);
            }
            assert_eq!(error(&reply.answer().await).0, 403);
        }
    }
}

#[tokio::test]
async fn progress_comes_on_the_stream_of_its_request() {
    let http = Http::new(fixture::app());
    let session = http.session("2025-11-25", json!({})).await;
    let params = || json!({ "name": "steps", "_meta": { "progressToken": "p" } });
    for mut reply in [
        http.modern("tools/call", params()).await,
        session.request(1, "tools/call", params()).await,
    ] {
        assert!(reply.is_stream());
        assert_eq!(reply.headers["x-accel-buffering"], "no");
        assert_eq!(reply.headers["cache-control"], "no-cache, no-transform");
        let mut event = reply.event().await;
        if event["method"] == "notifications/message" {
            event = reply.event().await;
        }
        assert_eq!(event["method"], "notifications/progress", "{event}");
        assert_eq!(event["params"]["progressToken"], "p");
        assert!(reply.answer().await["result"].is_object());
    }
}

#[tokio::test(start_paused = true)]
async fn a_quiet_stream_is_kept_alive() {
    let life = Arc::new(Life::default());
    let http = Http::new(fixture::app_with(&life));
    let mut reply = http.modern("tools/call", json!({ "name": "forever" })).await;
    assert!(reply.is_stream());
    for _ in 0..3 {
        assert_eq!(reply.raw_event().await.unwrap(), ": keep-alive");
    }
}

#[tokio::test(start_paused = true)]
async fn closing_the_stream_stops_the_work() {
    let life = Arc::new(Life::default());
    let http = Http::new(fixture::app_with(&life));
    let reply = http.modern("tools/call", json!({ "name": "forever" })).await;
    life.started.notified().await;
    drop(reply);
    life.dropped.notified().await;
    // So does going away before the answer has begun.
    let (client, message) = http.prepare("tools/call", json!({ "name": "forever" }), json!({}));
    tokio::select! {
        biased;
        _ = client.post(message) => panic!("the tool never ends"),
        () = life.started.notified() => {}
    }
    life.dropped.notified().await;
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_ends_everything() {
    let life = Arc::new(Life::default());
    let http = Http::new(fixture::app_with(&life));
    let session = http.session("2025-11-25", json!({})).await;
    let mut listening = session.get().await;
    let mut modern = http.modern("tools/call", json!({ "name": "forever" })).await;
    life.started.notified().await;
    let mut older = session.request(1, "tools/call", json!({ "name": "forever" })).await;
    life.started.notified().await;
    http.shutdown.cancel();
    life.dropped.notified().await;
    life.dropped.notified().await;
    for reply in [&mut listening, &mut modern, &mut older] {
        while reply.raw_event().await.is_some() {}
    }
    assert_eq!(http.service.sessions(), 0);
    let reply = http.modern("tools/list", json!({})).await;
    assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn listening_is_a_stream_that_ends_with_its_client() {
    let notifier = Notifier::new();
    let app = fixture::builder().notifier(notifier.clone(), Changes::ALL).build().unwrap();
    let http = Http::new(app);
    let wanted = json!({ "notifications": { "toolsListChanged": true, "resourceSubscriptions": ["test://text"] } });
    let mut listening = http.modern("subscriptions/listen", wanted).await;
    let first = listening.event().await;
    assert_eq!(first["method"], "notifications/subscriptions/acknowledged", "{first}");
    notifier.watched_changed().await;
    assert_eq!(notifier.watched(), ["test://text"]);
    notifier.prompts_changed();
    notifier.resource_updated("test://text");
    let event = listening.event().await;
    assert_eq!(event["method"], "notifications/resources/updated", "{event}");
    assert_eq!(event["params"]["uri"], "test://text");
    drop(listening);
    while !notifier.watched().is_empty() {
        notifier.watched_changed().await;
    }
}
