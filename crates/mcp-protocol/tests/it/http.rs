//! The endpoint as a whole: both eras side by side, headers and codes, attacks.

use std::sync::Arc;

use expect_test::expect;
use http::{Method, StatusCode};
use mcp_protocol::http::HttpOptions;
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
    // A client may take its session along into the modern era; it is not looked at.
    let reply = session.modern("tools/call", json!({ "name": "context" })).await.answer().await;
    assert!(text(&reply).contains("Modern"), "{reply}");
}
