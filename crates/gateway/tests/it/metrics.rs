//! What is counted, and who may see it.

use std::collections::BTreeMap;

use gateway::Options;
use serde_json::json;

use crate::client::{get, post};
use crate::support::{open, start, tokens};

/// The samples by name and labels, as a scraper reads them.
fn samples(text: &str) -> BTreeMap<&str, f64> {
    assert!(text.ends_with("# EOF\n"), "{text}");
    let mut named = Vec::new();
    let mut samples = BTreeMap::new();
    for line in text.lines() {
        if let Some(about) = line.strip_prefix("# ") {
            if let Some(rest) = about.strip_prefix("TYPE ") {
                named.push(rest.split(' ').next().unwrap());
            }
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap();
        let name = series.split('{').next().unwrap();
        assert!(named.iter().any(|known| name.starts_with(known)), "{name} has no type");
        let value = value.parse().unwrap_or_else(|_| panic!("{line}"));
        assert!(samples.insert(series, value).is_none(), "twice: {series}");
    }
    samples
}

#[tokio::test]
async fn everything_is_counted_once() {
    let running = start(Options::default(), open()).await;
    let address = running.address;
    post("/api/v1/tools/echo", &json!({"text": "x"})).send(address).await;
    post("/api/v1/tools/echo", &json!({"text": "y"})).send(address).await;
    post("/api/v1/tools/fail", &json!({})).send(address).await;
    post("/api/v1/tools/nothing", &json!({})).send(address).await;
    get("/wp-login.php").send(address).await;
    get("/another-path-that-is-not-here").send(address).await;
    let answer = get("/metrics").send(address).await;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(answer.header("content-type"), Some(kind));
    let samples = samples(&answer.body);
    let calls =
        r#"proxmox_mcp_http_requests_total{method="POST",route="/api/v1/tools/{name}",status="#;
    for (series, count) in [
        (format!("{calls}\"200\"}}"), 2.0),
        (format!("{calls}\"502\"}}"), 1.0),
        (format!("{calls}\"404\"}}"), 1.0),
        // Whatever somebody tries is one series, not one for each path.
        (
            r#"proxmox_mcp_http_requests_total{method="GET",route="none",status="404"}"#.to_owned(),
            2.0,
        ),
        (r#"proxmox_mcp_tool_calls_total{tool="echo",outcome="done"}"#.to_owned(), 2.0),
        (r#"proxmox_mcp_tool_calls_total{tool="fail",outcome="failed"}"#.to_owned(), 1.0),
        (r#"proxmox_mcp_tool_call_duration_seconds_count{tool="echo"}"#.to_owned(), 2.0),
        (r#"proxmox_mcp_build_info{version="1.2.3"}"#.to_owned(), 1.0),
        // What somebody else counts.
        (r#"proxmox_mcp_events_heard_total{input="hook"}"#.to_owned(), 3.0),
        (r#"proxmox_mcp_events_heard_total{input="log"}"#.to_owned(), 0.0),
        ("proxmox_mcp_oldest_seconds".to_owned(), 1.5),
        (r#"proxmox_mcp_latency_seconds_bucket{le="0.1"}"#.to_owned(), 2.0),
        (r#"proxmox_mcp_latency_seconds_bucket{le="1.0"}"#.to_owned(), 3.0),
        (r#"proxmox_mcp_latency_seconds_bucket{le="+Inf"}"#.to_owned(), 4.0),
        ("proxmox_mcp_latency_seconds_sum".to_owned(), 9.5),
        ("proxmox_mcp_latency_seconds_count".to_owned(), 4.0),
        ("proxmox_mcp_mcp_sessions".to_owned(), 0.0),
        ("proxmox_mcp_http_connections".to_owned(), 1.0),
    ] {
        assert_eq!(samples.get(series.as_str()), Some(&count), "{series}\n{}", answer.body);
    }
    assert!(samples["process_resident_memory_bytes"] > 1e6);
}

#[tokio::test]
async fn counts_are_for_those_who_may_see_them() {
    let (authenticator, made, _folder) = tokens(&[("prometheus", "read")]);
    let running = start(Options::default(), authenticator).await;
    assert_eq!(get("/metrics").send(running.address).await.status, 401);
    get("/metrics").bearer("guess").send(running.address).await;
    let answer = get("/metrics").bearer(&made[0]).send(running.address).await;
    let samples = samples(&answer.body);
    assert_eq!(samples.get(r#"proxmox_mcp_auth_failures_total{reason="missing"}"#), Some(&1.0));
    assert_eq!(samples.get(r#"proxmox_mcp_auth_failures_total{reason="invalid"}"#), Some(&1.0));
    assert!(!answer.body.contains("prometheus"), "no caller is in a label");

    let (authenticator, _, _folder) = tokens(&[("prometheus", "read")]);
    let mut options = Options::default();
    options.metrics_public = true;
    let public = start(options, authenticator).await;
    assert_eq!(get("/metrics").send(public.address).await.status, 200);
    assert_eq!(get("/api/v1/tools").send(public.address).await.status, 401);
    let elsewhere = get("/metrics").header("host", "evil.example").send(public.address).await;
    assert_eq!(elsewhere.status, 403);
}
