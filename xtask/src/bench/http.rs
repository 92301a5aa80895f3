//! An MCP client over HTTP: stateless requests of 2026-07-28, and sessions of the revision before.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use stdx::http::{Client, HttpOptions};
use stdx::tls::{TlsOptions, TlsPolicy};

use crate::server::Server;

const MODERN: &str = "2026-07-28";
const LEGACY: &str = "2025-11-25";
const EITHER: &str = "application/json, text/event-stream";

/// A client of one server. Cheap to clone; clones share connections.
#[derive(Clone)]
pub(super) struct Http {
    pub(super) client: Client,
    url: String,
    /// The next request's id.
    requests: Arc<AtomicU64>,
}

/// A session's stream of what the server says by itself; it is open as long as this lives.
pub(super) struct Stream {
    _answer: Box<dyn std::any::Any>,
}

/// Starts the server on a free port, for anybody on this machine.
pub(super) fn serve(server: &Path, config: &Path) -> Result<Server> {
    let log = config.with_extension("log");
    let mut command = Command::new(server);
    command.args(["--log", "error", "serve", "--http=127.0.0.1:0", "--no-auth", "--config"]);
    command.arg(config);
    Server::start(&mut command, &log)
}

/// A client for addresses without TLS.
pub(super) fn plain_client() -> Result<Client> {
    // No address here is https; this keeps the system's certificates from being read.
    let tls = TlsOptions { policy: TlsPolicy::Insecure, ..TlsOptions::default() };
    Ok(stdx::http::client(&HttpOptions::with_tls(tls))?)
}

// === impl Http ===

impl Http {
    pub(super) fn new(url: &str) -> Result<Self> {
        // `initialize` is request 1.
        let requests = Arc::new(AtomicU64::new(2));
        Ok(Self { client: plain_client()?, url: url.to_owned(), requests })
    }

    /// Calls a tool by one stateless request; the answer as it came, JSON or a stream of events.
    pub(super) async fn call_tool(&self, call: &Value) -> Result<String> {
        let name = call["name"].as_str().context("a call has a name")?;
        let mut params = call.clone();
        params["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": MODERN,
            "io.modelcontextprotocol/clientCapabilities": {},
        });
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
        let request = self.client.post(&self.url).header("accept", EITHER);
        let request = request.header("content-type", "application/json");
        let request = request.header("mcp-protocol-version", MODERN);
        let request = request.header("mcp-method", "tools/call").header("mcp-name", name);
        let answer = request.body(body.to_string()).send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        ensure!(status.is_success(), "{name}: {status}: {text}");
        Ok(text)
    }

    /// Opens a session and says so; its id.
    pub(super) async fn open_session(&self) -> Result<String> {
        let body = json!({
            "jsonrpc": "2.0", "id": 1, "method": "initialize",
            "params": {
                "protocolVersion": LEGACY, "capabilities": {},
                "clientInfo": {"name": "bench", "version": "0"},
            },
        });
        let request = self.client.post(&self.url).header("accept", EITHER);
        let request = request.header("content-type", "application/json");
        let answer = request.body(body.to_string()).send().await?;
        ensure!(answer.status().is_success(), "no session: {}", answer.status());
        let id = answer.headers().get("mcp-session-id").context("the session has no id")?;
        let id = id.to_str()?.to_owned();
        // Read to the end, so that the connection is used again.
        answer.bytes().await?;
        let body = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        let request = self.client.post(&self.url).header("accept", EITHER);
        let request = request.header("content-type", "application/json");
        let request = request.header("mcp-session-id", &id);
        let request = request.header("mcp-protocol-version", LEGACY).body(body.to_string());
        let answer = request.send().await?;
        ensure!(answer.status().is_success(), "not initialized: {}", answer.status());
        answer.bytes().await?;
        Ok(id)
    }

    /// Calls a tool within a session; the answer as it came: JSON, or events where there was progress
    /// to tell before it.
    pub(super) async fn call_in_session(&self, session: &str, call: &Value) -> Result<String> {
        // A session refuses an id of which it still has a request to answer.
        let id = self.requests.fetch_add(1, Ordering::Relaxed);
        let body = json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": call});
        let request = self.client.post(&self.url).header("accept", EITHER);
        let request = request.header("content-type", "application/json");
        let request = request.header("mcp-session-id", session);
        let request = request.header("mcp-protocol-version", LEGACY).body(body.to_string());
        let answer = request.send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        ensure!(status.is_success(), "{call}: {status}: {text}");
        Ok(text)
    }

    /// Opens a session's stream.
    pub(super) async fn listen(&self, session: &str) -> Result<Stream> {
        let request = self.client.get(&self.url).header("accept", "text/event-stream");
        let request = request.header("mcp-session-id", session);
        let answer = request.header("mcp-protocol-version", LEGACY).send().await?;
        ensure!(answer.status().is_success(), "no stream: {}", answer.status());
        Ok(Stream { _answer: Box::new(answer) })
    }

    /// A number that the server publishes about itself.
    pub(super) async fn metric(&self, name: &str) -> Result<f64> {
        let url = self.url.replace("/mcp", "/metrics");
        let text = self.client.get(url).send().await?.text().await?;
        let mut lines = text.lines().filter_map(|line| line.split_once(' '));
        let (_, value) =
            lines.find(|(key, _)| *key == name).with_context(|| format!("no {name}"))?;
        Ok(value.trim().parse()?)
    }
}
