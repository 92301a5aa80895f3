//! A client that writes and reads raw JSON lines.

use mcp_protocol::{App, ServeError, serve_stdio};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream, Lines};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// The revisions with `initialize`.
pub(crate) const LEGACY: [&str; 4] = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"];
/// The stateless revision.
pub(crate) const MODERN: &str = "2026-07-28";

/// One connection to a server in this process.
pub(crate) struct Client {
    input: Option<DuplexStream>,
    output: Lines<BufReader<DuplexStream>>,
    server: JoinHandle<Result<(), ServeError>>,
    pub(crate) shutdown: CancellationToken,
    next_id: i64,
    meta: Option<Value>,
}

impl Client {
    /// A connection on which nothing has been said.
    pub(crate) fn connect(app: App) -> Self {
        let (input, server_input) = tokio::io::duplex(1 << 16);
        let (server_output, output) = tokio::io::duplex(1 << 16);
        let shutdown = CancellationToken::new();
        let server = tokio::spawn(serve_stdio(app, server_input, server_output, shutdown.clone()));
        let output = BufReader::new(output).lines();
        Self { input: Some(input), output, server, shutdown, next_id: 1, meta: None }
    }

    /// A connection that has been initialized in an older revision.
    pub(crate) async fn legacy(app: App, version: &str, capabilities: Value) -> Self {
        let mut client = Self::connect(app);
        let reply = client.initialize(version, capabilities).await;
        assert_eq!(reply["result"]["protocolVersion"], version, "{reply}");
        client.notify("notifications/initialized", json!({})).await;
        client
    }

    /// A connection whose requests carry the metadata of the stateless revision.
    pub(crate) fn modern(app: App, capabilities: Value) -> Self {
        let mut client = Self::connect(app);
        client.set_meta(capabilities);
        client
    }

    pub(crate) fn set_meta(&mut self, capabilities: Value) {
        self.meta = Some(json!({
            "io.modelcontextprotocol/protocolVersion": MODERN,
            "io.modelcontextprotocol/clientCapabilities": capabilities,
            "io.modelcontextprotocol/clientInfo": { "name": "test", "version": "1" },
        }));
    }

    pub(crate) fn clear_meta(&mut self) {
        self.meta = None;
    }

    pub(crate) async fn initialize(&mut self, version: &str, capabilities: Value) -> Value {
        self.call(
            "initialize",
            json!({
                "protocolVersion": version,
                "capabilities": capabilities,
                "clientInfo": { "name": "test", "version": "1" },
            }),
        )
        .await
    }

    /// Sends a request and returns its id.
    pub(crate) async fn request(&mut self, method: &str, mut params: Value) -> i64 {
        let id = self.next_id;
        self.next_id += 1;
        if let Some(meta) = &self.meta {
            let mut meta = meta.clone();
            if let Some(Value::Object(more)) = params.get("_meta").cloned() {
                meta.as_object_mut().unwrap().extend(more);
            }
            params["_meta"] = meta;
        }
        self.send(json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })).await;
        id
    }

    /// Sends a request and returns the next message, which must be its answer.
    pub(crate) async fn call(&mut self, method: &str, params: Value) -> Value {
        let id = self.request(method, params).await;
        let reply = self.recv().await;
        assert_eq!(reply["id"], id, "{reply}");
        reply
    }

    pub(crate) async fn call_tool(&mut self, name: &str, arguments: Value) -> Value {
        self.call("tools/call", json!({ "name": name, "arguments": arguments })).await
    }

    pub(crate) async fn notify(&mut self, method: &str, params: Value) {
        self.send(json!({ "jsonrpc": "2.0", "method": method, "params": params })).await;
    }

    pub(crate) async fn send(&mut self, message: Value) {
        self.send_raw(&format!("{message}\n")).await;
    }

    pub(crate) async fn send_raw(&mut self, text: &str) {
        self.send_bytes(text.as_bytes()).await;
    }

    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        let input = self.input.as_mut().expect("the input is open");
        input.write_all(bytes).await.unwrap();
    }

    /// Closes the side that reads, and only that.
    pub(crate) fn stop_reading(&mut self) {
        let (_, closed) = tokio::io::duplex(1);
        self.output = BufReader::new(closed).lines();
    }

    /// Waits until the server has ended, with the input still open.
    pub(crate) async fn ended(self) {
        self.server.await.unwrap().unwrap();
    }

    /// The next message.
    pub(crate) async fn recv(&mut self) -> Value {
        let line = self.output.next_line().await.unwrap().expect("the server has not ended");
        serde_json::from_str(&line).unwrap()
    }

    /// Ends the input; returns what the server still had to say before it ended.
    pub(crate) async fn end(mut self) -> Vec<Value> {
        drop(self.input.take());
        self.rest().await
    }

    /// What the server still says until it ends by itself.
    pub(crate) async fn rest(mut self) -> Vec<Value> {
        let mut rest = Vec::new();
        while let Some(line) = self.output.next_line().await.unwrap() {
            rest.push(serde_json::from_str(&line).unwrap());
        }
        self.server.await.unwrap().unwrap();
        rest
    }
}

/// The text of a tool's answer.
pub(crate) fn text(reply: &Value) -> &str {
    reply["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("no text: {reply}"))
}

/// Code and message of an error.
pub(crate) fn error(reply: &Value) -> (i64, &str) {
    let error = &reply["error"];
    let code = error["code"].as_i64().unwrap_or_else(|| panic!("no error: {reply}"));
    (code, error["message"].as_str().unwrap())
}
