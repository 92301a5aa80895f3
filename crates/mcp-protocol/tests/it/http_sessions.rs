//! The sessions of older clients: life, death, owners, bounds, streams.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use mcp_protocol::http::HttpOptions;
use mcp_protocol::{Changes, Notifier};
use serde_json::{Value, json};
use tokio::time::{advance, sleep};

use crate::client::{error, text};
use crate::fixture::{self, Life};
use crate::http_client::{Http, Reply, initialize};

#[tokio::test]
async fn a_session_lives_until_it_is_deleted() {
    let http = Http::new(fixture::app());
    let session = http.session("2025-11-25", json!({})).await;
    let reply =
        session.request(1, "tools/call", json!({ "name": "echo", "arguments": { "text": "a" } }));
    assert_eq!(text(&reply.await.answer().await), "a");
    assert_eq!(session.request(2, "ping", json!({})).await.answer().await["result"], json!({}));
    let mut listening = session.get().await;
    assert_eq!(session.send(Method::DELETE, "").await.status, StatusCode::NO_CONTENT);
    while listening.raw_event().await.is_some() {}
    assert_eq!(http.service.sessions(), 0);
    for method in [Method::POST, Method::GET, Method::DELETE] {
        let body = json!({ "jsonrpc": "2.0", "id": 9, "method": "ping" }).to_string();
        let reply = session.send(method, body).await;
        assert_eq!(reply.status, StatusCode::NOT_FOUND);
        let reply = reply.answer().await;
        assert_eq!(error(&reply), (404, "there is no such session; initialize again"));
    }
}

#[tokio::test]
async fn initialize_opens_a_session_or_says_why_not() {
    let http = Http::new(fixture::app());
    for version in crate::client::LEGACY {
        let reply = http.post(initialize(version, json!({}))).await;
        let id = reply.headers["mcp-session-id"].to_str().unwrap();
        assert!(id.len() >= 32 && id.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{id}");
        assert_eq!(reply.answer().await["result"]["protocolVersion"], version);
    }
    assert_eq!(http.service.sessions(), 4);
    let session = http.session("2025-06-18", json!({})).await;
    let broken = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {} });
    for (client, message, status) in [
        (http.clone(), broken, 200),
        (
            http.header("mcp-protocol-version", "2025-03-26"),
            initialize("2025-06-18", json!({})),
            400,
        ),
        (http.header("mcp-method", "tools/list"), initialize("2025-06-18", json!({})), 400),
        (session.clone(), initialize("2025-06-18", json!({})), 400),
        (http.clone(), json!({ "jsonrpc": "2.0", "method": "initialize" }), 400),
        (http.clone(), json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" }), 400),
        (http.clone(), json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }), 400),
        (session, json!({ "jsonrpc": "2.0", "id": 1, "method": "ping", "params": 3 }), 200),
    ] {
        let reply = client.post(message.clone()).await;
        assert_eq!(reply.status.as_u16(), status, "{message}");
        assert!(!reply.headers.contains_key("mcp-session-id"), "{message}");
        error(&reply.answer().await);
    }
    assert_eq!(http.service.sessions(), 5, "what did not initialize left nothing behind");
}

#[tokio::test]
async fn a_session_is_nobody_elses() {
    let http = Http::new(fixture::app());
    let session = http.session("2025-11-25", json!({})).await;
    let thief = session.as_subject("token:b");
    for method in [Method::POST, Method::GET, Method::DELETE] {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" }).to_string();
        assert_eq!(thief.send(method, body).await.status, StatusCode::NOT_FOUND);
    }
    assert_eq!(session.request(1, "ping", json!({})).await.status, StatusCode::OK);
    // What is served is what the request's own caller may use, also when that has changed since.
    let mut narrowed = session.clone();
    narrowed.app = fixture::app_with(&Arc::default());
    let names = |reply: &Value| reply["result"]["tools"].as_array().unwrap().len();
    let before = names(&session.request(2, "tools/list", json!({})).await.answer().await);
    let after = names(&narrowed.request(3, "tools/list", json!({})).await.answer().await);
    assert_eq!(after, before + 1);
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_sessions_ends_only_the_floods_own() {
    let mut options = HttpOptions::default();
    options.sessions_per_caller = 3;
    options.sessions_total = 5;
    let http = Http::with(fixture::app(), options);
    let open = |subject: &'static str| {
        let http = http.as_subject(subject);
        async move { http.post(initialize("2025-11-25", json!({}))).await }
    };
    let neighbor = http.as_subject("token:b").session("2025-11-25", json!({})).await;
    for _ in 0..3 {
        assert_eq!(open("token:a").await.status, StatusCode::OK);
    }
    let reply = open("token:a").await;
    assert_eq!(reply.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(reply.headers["retry-after"], "10");
    let reply = reply.answer().await;
    assert_eq!(error(&reply), (429, "you have too many sessions in use; end some of them"));
    assert_eq!(open("token:c").await.status, StatusCode::OK);
    let reply = open("token:d").await;
    assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(error(&reply.answer().await).0, 503);
    assert_eq!(http.service.sessions(), 5);
    // After a while a client that never ends its sessions gets a new one for its oldest.
    advance(Duration::from_secs(11)).await;
    for _ in 0..3 {
        assert_eq!(open("token:a").await.status, StatusCode::OK);
    }
    assert_eq!(open("token:a").await.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(open("token:d").await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(http.service.sessions(), 5);
    assert_eq!(neighbor.request(1, "ping", json!({})).await.status, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn a_session_ends_when_nobody_uses_it() {
    let life = Arc::new(Life::default());
    let http = Http::new(fixture::app_with(&life));
    let unused = http.session("2025-11-25", json!({})).await;
    let pinged = http.session("2025-11-25", json!({})).await;
    let listening = http.session("2025-11-25", json!({})).await;
    let working = http.session("2025-11-25", json!({})).await;
    let mut stream = listening.get().await;
    let call = working.request(1, "tools/call", json!({ "name": "forever" })).await;
    life.started.notified().await;
    drop(call);
    for id in 0..4 {
        sleep(Duration::from_secs(100)).await;
        pinged.request(id, "ping", json!({})).await.answer().await;
    }
    assert_eq!(unused.request(1, "ping", json!({})).await.status, StatusCode::NOT_FOUND);
    assert_eq!(http.service.sessions(), 3, "who listens, works or pings stays");
    assert!(stream.raw_event().await.is_some());
    drop(stream);
    let cancel = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 1 } });
    assert_eq!(working.post(cancel).await.status, StatusCode::ACCEPTED);
    life.dropped.notified().await;
    sleep(Duration::from_secs(601)).await;
    assert_eq!(http.service.sessions(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_session_works_on_without_its_client_and_can_be_resumed() {
    let http = Http::new(fixture::app());
    let session = http.session("2025-11-25", json!({})).await;
    let params = json!({ "name": "steps", "_meta": { "progressToken": 7 } });
    let mut reply = session.request(1, "tools/call", params).await;
    let first = reply.raw_event().await.unwrap();
    let (id, rest) = first.split_once('\n').unwrap();
    assert_eq!(rest, "retry: 1000\ndata: ", "a beginning from which to resume");
    drop(reply);
    sleep(Duration::from_secs(5)).await;
    let id = id.strip_prefix("id: ").unwrap().to_owned();
    let read = |from: String| {
        let session = session.header("last-event-id", &from);
        async move {
            let mut reply = session.get().await;
            assert_eq!(reply.status, StatusCode::OK);
            let mut events = Vec::new();
            while let Some(event) = reply.raw_event().await {
                events.push(event);
            }
            events
        }
    };
    let events = read(id).await;
    let last = events.last().unwrap();
    assert!(last.contains("\"result\""), "{events:?}");
    assert!(events.iter().any(|event| event.contains("notifications/progress")), "{events:?}");
    for nonsense in ["x", "99-1", "1", "-", "1-x"] {
        assert_eq!(read(nonsense.to_owned()).await.len(), 0, "{nonsense}");
    }
}

#[tokio::test]
async fn older_revisions_see_no_events_of_no_content() {
    let http = Http::new(fixture::app());
    let session = http.session("2025-03-26", json!({})).await;
    let params = json!({ "name": "steps", "_meta": { "progressToken": 7 } });
    let mut reply = session.request(1, "tools/call", params).await;
    let first = reply.raw_event().await.unwrap();
    assert!(first.contains("data: {\"jsonrpc\""), "{first}");
}

#[tokio::test]
async fn a_person_is_asked_on_the_stream_of_the_call() {
    let http = Http::new(fixture::app());
    let session = http.session("2025-11-25", json!({ "elicitation": {} })).await;
    let mut calls = Vec::new();
    for id in [1, 2] {
        calls.push((id, session.request(id, "tools/call", json!({ "name": "ask" })).await));
    }
    let mut questions = Vec::new();
    for (_, call) in &mut calls {
        let question = call.event().await;
        assert_eq!(question["method"], "elicitation/create", "{question}");
        questions.push(question["id"].clone());
    }
    // In another order, and one of them not at all.
    let answer = |id: &Value, action: &str| json!({ "jsonrpc": "2.0", "id": id, "result": { "action": action, "content": { "sure": true } } });
    assert_eq!(session.post(answer(&questions[1], "accept")).await.status, StatusCode::ACCEPTED);
    assert_eq!(session.post(answer(&questions[0], "decline")).await.status, StatusCode::ACCEPTED);
    let mut texts = Vec::new();
    for (id, call) in calls {
        let answer = call.answer().await;
        assert_eq!(answer["id"], id);
        texts.push(text(&answer).to_owned());
    }
    assert_eq!(texts, ["declined", "accepted {\"sure\":true} after 1"]);
}

#[tokio::test]
async fn log_messages_stay_with_their_call() {
    let http = Http::new(fixture::app());
    let session = http.session("2025-06-18", json!({})).await;
    let mut listening = session.get().await;
    session.request(1, "logging/setLevel", json!({ "level": "debug" })).await.answer().await;
    let mut reply = session.request(2, "tools/call", json!({ "name": "steps" })).await;
    let event = reply.event().await;
    assert_eq!(event["method"], "notifications/message", "{event}");
    assert!(reply.answer().await["result"].is_object());
    assert!(listening.is_silent());
}

#[tokio::test]
async fn cancelling_stops_the_work_and_closes_its_stream() {
    let life = Arc::new(Life::default());
    let http = Http::new(fixture::app_with(&life));
    let session = http.session("2025-11-25", json!({})).await;
    let call = tokio::spawn({
        let session = session.clone();
        async move { session.request(1, "tools/call", json!({ "name": "forever" })).await }
    });
    life.started.notified().await;
    let reply = session.request(1, "ping", json!({})).await;
    assert_eq!(reply.status, StatusCode::BAD_REQUEST);
    assert_eq!(error(&reply.answer().await).1, "a request of this id is still being answered");
    // A stranger's word does nothing.
    let cancel = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 1 } });
    session.as_subject("token:b").post(cancel.clone()).await;
    session.post(cancel).await;
    life.dropped.notified().await;
    let mut reply: Reply = call.await.unwrap();
    while let Some(event) = reply.raw_event().await {
        assert!(!event.contains("\"id\":1"), "{event}");
    }
}

#[tokio::test]
async fn without_sessions_older_clients_are_served_one_by_one() {
    let mut options = HttpOptions::default();
    options.legacy_sessions = false;
    let http = Http::with(fixture::app(), options);
    let reply = http.post(initialize("2025-06-18", json!({ "elicitation": {} }))).await;
    assert!(!reply.headers.contains_key("mcp-session-id"));
    assert_eq!(reply.answer().await["result"]["protocolVersion"], "2025-06-18");
    let initialized = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
    assert_eq!(http.post(initialized).await.status, StatusCode::ACCEPTED);
    let client = http.header("mcp-protocol-version", "2025-06-18");
    let reply = client.request(1, "tools/call", json!({ "name": "context" })).await.answer().await;
    assert!(text(&reply).starts_with("token:a Legacy 2025-06-18"), "{reply}");
    let reply = client.request(1, "tools/call", json!({ "name": "ask" })).await.answer().await;
    assert_eq!(reply["result"]["isError"], true);
    assert_eq!(client.get().await.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(http.service.sessions(), 0);
}

#[tokio::test]
async fn what_a_session_watches_comes_on_its_own_stream() {
    let notifier = Notifier::new();
    let app = fixture::builder().notifier(notifier.clone(), Changes::ALL).build().unwrap();
    let http = Http::new(app);
    let session = http.session("2025-11-25", json!({})).await;
    let other = http.session("2025-11-25", json!({})).await;
    let subscribe = json!({ "uri": "test://text" });
    let reply = session.request(1, "resources/subscribe", subscribe).await.answer().await;
    assert_eq!(reply["result"], json!({}));
    assert_eq!(notifier.watched(), ["test://text"]);
    // What happens before anybody listens is told once, when somebody does.
    for _ in 0..3 {
        notifier.resource_updated("test://text");
        tokio::task::yield_now().await;
    }
    let mut listening = session.get().await;
    let mut unconcerned = other.get().await;
    let event = listening.event().await;
    assert_eq!(event["method"], "notifications/resources/updated", "{event}");
    // The priming event has been read, and there is no second one.
    assert!(listening.is_silent());
    notifier.tools_changed();
    assert_eq!(listening.event().await["method"], "notifications/tools/list_changed");
    assert_eq!(unconcerned.event().await["method"], "notifications/tools/list_changed");
    // A second stream takes over; the first stays open and hears nothing more.
    let mut newer = session.get().await;
    notifier.tools_changed();
    assert_eq!(newer.event().await["method"], "notifications/tools/list_changed");
    assert!(listening.is_silent());
    assert_eq!(session.send(Method::DELETE, "").await.status, StatusCode::NO_CONTENT);
    while !notifier.watched().is_empty() {
        notifier.watched_changed().await;
    }
}

#[tokio::test]
async fn deleting_a_session_stops_its_work() {
    let life = Arc::new(Life::default());
    let http = Http::new(fixture::app_with(&life));
    let session = http.session("2025-11-25", json!({})).await;
    let call = tokio::spawn({
        let session = session.clone();
        async move { session.request(1, "tools/call", json!({ "name": "forever" })).await }
    });
    life.started.notified().await;
    assert_eq!(session.send(Method::DELETE, "").await.status, StatusCode::NO_CONTENT);
    life.dropped.notified().await;
    assert_eq!(call.await.unwrap().status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_session_has_so_many_streams_at_most() {
    let http = Http::new(fixture::app());
    let session = http.session("2025-11-25", json!({})).await;
    let mut open = Vec::new();
    for _ in 0..8 {
        let reply = session.get().await;
        assert!(reply.is_stream());
        open.push(reply);
    }
    assert_eq!(session.get().await.status, StatusCode::CONFLICT);
    open.pop();
    assert!(session.get().await.is_stream());
}
