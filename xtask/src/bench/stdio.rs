//! MCP clients over the standard streams of a server that they started: one that has one request
//! under way at a time, and one that has many.

use std::{
    collections::HashMap,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _};
use tokio::sync::oneshot;

/// A client with one request under way at a time.
pub(super) struct Client {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    id: u64,
}

/// A client with as many requests under way as callers; answers are matched by their ids. Cheap to clone.
#[derive(Clone)]
pub(super) struct Crowd {
    inner: Arc<Inner>,
}

struct Inner {
    /// Ends with this.
    _child: tokio::process::Child,
    input: tokio::sync::Mutex<tokio::process::ChildStdin>,
    waiting: Waiting,
    id: AtomicU64,
}

type Waiting = Arc<Mutex<HashMap<u64, oneshot::Sender<String>>>>;

fn hello() -> Value {
    json!({
        "protocolVersion": "2025-11-25", "capabilities": {},
        "clientInfo": {"name": "bench", "version": "0"},
    })
}

// === impl Client ===

impl Client {
    /// Starts a server and initializes a conversation with it.
    pub(super) fn start(server: &Path, args: &[&str]) -> Result<Self> {
        let mut child = Command::new(server)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("start {}", server.display()))?;
        let input = child.stdin.take().context("the server has no input")?;
        let output = BufReader::new(child.stdout.take().context("the server has no output")?);
        let mut client = Self { child, input, output, id: 0 };
        client.call("initialize", &hello())?;
        client.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}))?;
        Ok(client)
    }

    /// The process of the server.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    fn send(&mut self, message: &Value) -> Result<()> {
        writeln!(self.input, "{message}").context("write to the server")?;
        self.input.flush().context("write to the server")
    }

    pub(super) fn call(&mut self, method: &str, params: &Value) -> Result<Value> {
        Ok(self.timed_call(method, params)?.0)
    }

    /// The answer, and how long it took to come; reading it is the client's own affair, as it is for
    /// the bare client.
    pub(super) fn timed_call(&mut self, method: &str, params: &Value) -> Result<(Value, Duration)> {
        self.id += 1;
        let id = self.id;
        let start = Instant::now();
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}))?;
        loop {
            let mut line = String::new();
            let read = self.output.read_line(&mut line).context("read from the server")?;
            let took = start.elapsed();
            ensure!(read > 0, "the server ended");
            let message: Value = serde_json::from_str(&line).context("the server sent no JSON")?;
            if message["id"] == id {
                ensure!(message.get("error").is_none(), "{method} was refused: {message}");
                return Ok((message, took));
            }
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

// === impl Crowd ===

impl Crowd {
    /// Starts a server and initializes a conversation with it.
    pub(super) async fn start(server: &Path, args: &[&str]) -> Result<Self> {
        let mut child = tokio::process::Command::new(server)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("start {}", server.display()))?;
        let input = child.stdin.take().context("the server has no input")?;
        let output = child.stdout.take().context("the server has no output")?;
        let waiting = Waiting::default();
        tokio::spawn(hand_out(tokio::io::BufReader::new(output), Arc::clone(&waiting)));
        let input = tokio::sync::Mutex::new(input);
        let inner = Inner { _child: child, input, waiting, id: AtomicU64::new(0) };
        let crowd = Self { inner: Arc::new(inner) };
        crowd.call("initialize", &hello()).await?;
        crowd.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await?;
        Ok(crowd)
    }

    async fn send(&self, message: &Value) -> Result<()> {
        let line = format!("{message}\n");
        let mut input = self.inner.input.lock().await;
        input.write_all(line.as_bytes()).await.context("write to the server")?;
        input.flush().await.context("write to the server")
    }

    /// The answer as it came.
    pub(super) async fn call(&self, method: &str, params: &Value) -> Result<String> {
        let id = self.inner.id.fetch_add(1, Ordering::Relaxed);
        let (answer, come) = oneshot::channel();
        self.inner.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(id, answer);
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})).await?;
        come.await.context("the server ended")
    }
}

/// Gives every answer to whoever waits for it, until the server ends.
async fn hand_out(output: impl tokio::io::AsyncBufRead + Unpin, waiting: Waiting) {
    #[derive(Deserialize)]
    struct Head {
        id: Option<u64>,
    }
    let mut lines = output.lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let id = serde_json::from_str::<Head>(&line).ok().and_then(|head| head.id);
        let mut all = waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(answer) = id.and_then(|id| all.remove(&id)) {
            let _ = answer.send(line);
        }
    }
    // Whoever still waits hears that nothing will come.
    waiting.lock().unwrap_or_else(PoisonError::into_inner).clear();
}
