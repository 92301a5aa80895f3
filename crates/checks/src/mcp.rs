//! The MCP handshake over standard streams, in both eras, with a server of our own.

use std::{ffi::OsString, path::PathBuf, process::Stdio, time::Duration};

use futures::future::join;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    process::{ChildStderr, ChildStdin, ChildStdout, Command},
    time::{Instant, timeout},
};

use crate::{finding::Finding, plan::Cx};

const SUBJECT: &str = "mcp stdio";

/// How many findings the handshake gives: one per era.
pub(crate) const COUNT: usize = 2;

/// How much of the server's log is kept: its end.
const LOG_TAIL: usize = 4096;

const ENDED: &str = "the server ended before it answered";

/// The server to start.
#[derive(Clone, Debug)]
pub struct McpTarget {
    /// The program: this one.
    pub program: PathBuf,
    /// Its arguments, as a client would give them.
    pub args: Vec<OsString>,
}

#[derive(Clone, Copy, Debug)]
enum Era {
    Legacy,
    Modern,
}

/// Starts the server once per era, shakes hands, lists the tools.
pub(crate) async fn check(cx: &Cx<'_>, target: &McpTarget) -> Vec<Finding> {
    let (legacy, modern) =
        join(check_era(cx, target, Era::Legacy), check_era(cx, target, Era::Modern)).await;
    vec![legacy, modern]
}

async fn check_era(cx: &Cx<'_>, target: &McpTarget, era: Era) -> Finding {
    // The check stands for a person's client, so it is timed like one: from start to tools.
    let start = Instant::now();
    let finding = match timeout(cx.deadline, talk(target, era)).await {
        Ok(Ok(0)) => Finding::warn(SUBJECT, era.check(), "it answers and offers no tools")
            .hint("see --toolsets and --mode"),
        Ok(Ok(1)) => Finding::pass(SUBJECT, era.check(), "1 tool"),
        Ok(Ok(tools)) => Finding::pass(SUBJECT, era.check(), format!("{tools} tools")),
        Ok(Err(why)) => Finding::fail(SUBJECT, era.check(), why)
            .hint("start `proxmox-mcp serve` with the same flags in a terminal: its log says more"),
        Err(_) => {
            let seconds = cx.deadline.as_secs();
            Finding::fail(SUBJECT, era.check(), format!("no answer within {seconds} s")).hint(
                "start `proxmox-mcp serve --log debug` with the same flags: its log says what it waits for",
            )
        }
    };
    cx.meter.done(finding.took(start.elapsed()))
}

// === impl Era ===

impl Era {
    fn check(self) -> &'static str {
        match self {
            Self::Legacy => "initialize",
            Self::Modern => "discover",
        }
    }

    /// The first message, and what follows its answer; the last asks for the tools, with id 2.
    fn messages(self) -> (Value, Vec<Value>) {
        let version = env!("CARGO_PKG_VERSION");
        let who = json!({"name": "proxmox-mcp test", "version": version});
        match self {
            Self::Legacy => {
                let hello = json!({
                    "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": who,
                });
                let first =
                    json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello});
                let then = vec![
                    json!({"jsonrpc": "2.0", "method": "notifications/initialized"}),
                    json!({"jsonrpc": "2.0", "id": 2, "method": "tools/list", "params": {}}),
                ];
                (first, then)
            }
            Self::Modern => {
                let params = json!({"_meta": {
                    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                    "io.modelcontextprotocol/clientCapabilities": {},
                    "io.modelcontextprotocol/clientInfo": who,
                }});
                let ask = |id: u32, method: &str| json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
                (ask(1, "server/discover"), vec![ask(2, "tools/list")])
            }
        }
    }

    /// What the answer to the first message must hold.
    fn is_greeting(self, answer: &Value) -> bool {
        let result = &answer["result"];
        match self {
            Self::Legacy => result["protocolVersion"].is_string(),
            Self::Modern => result["supportedVersions"].is_array(),
        }
    }
}

/// One conversation; the server is ended with it. Gives the number of tools.
async fn talk(target: &McpTarget, era: Era) -> Result<usize, String> {
    let mut child = Command::new(&target.program)
        .args(&target.args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("cannot start {}: {error}", target.program.display()))?;
    let input = child.stdin.take().ok_or("the server has no input")?;
    let output = child.stdout.take().ok_or("the server has no output")?;
    let mut log = child.stderr.take().ok_or("the server has no log")?;

    // The log is read all the while, or a server that logs much would stand still.
    let mut tail = Vec::new();
    let mut ended = false;
    let conversation = converse(input, output, era);
    tokio::pin!(conversation);
    let result = loop {
        tokio::select! {
            biased;
            result = &mut conversation => break result,
            more = read_log(&mut log, &mut tail), if !ended => ended = !more,
        }
    };
    let Err(why) = result else { return result };
    // What it said last is the cause more often than not.
    let _ = child.start_kill();
    let rest = async { while !ended && read_log(&mut log, &mut tail).await {} };
    let _ = timeout(Duration::from_secs(1), rest).await;
    let tail = String::from_utf8_lossy(&tail);
    match tail.lines().rev().map(str::trim).find(|line| !line.is_empty()) {
        Some(line) => Err(format!("{why}; it said: {}", stdx::untrusted::line(line, 300))),
        None => Err(why),
    }
}

/// Reads a piece of the log and keeps the end; whether there may be more.
async fn read_log(log: &mut ChildStderr, tail: &mut Vec<u8>) -> bool {
    let read = log.read_buf(tail).await;
    if tail.len() > LOG_TAIL {
        tail.drain(..tail.len() - LOG_TAIL);
    }
    matches!(read, Ok(1..))
}

/// Sends the first message, waits for its answer, sends the rest, counts the tools of the last
/// answer.
async fn converse(mut input: ChildStdin, output: ChildStdout, era: Era) -> Result<usize, String> {
    let (first, then) = era.messages();
    let mut lines = BufReader::new(output).lines();
    let gone = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::BrokenPipe => ENDED.to_owned(),
        _ => format!("the server ended: {error}"),
    };
    input.write_all(format!("{first}\n").as_bytes()).await.map_err(gone)?;
    let mut wanted = 1;
    loop {
        let line = lines.next_line().await.map_err(gone)?;
        let line = line.ok_or(ENDED)?;
        let message: Value = serde_json::from_str(&line).map_err(|_| {
            let line = stdx::untrusted::line(&line, 80);
            format!("the server wrote something other than MCP to its output: {line}")
        })?;
        if message["id"] != wanted {
            continue;
        }
        if let Some(error) = message.get("error") {
            return Err(format!("refused: {}", error["message"].as_str().unwrap_or("no reason")));
        }
        if wanted == 2 {
            let tools = message["result"]["tools"].as_array().map(Vec::len);
            return tools.ok_or_else(|| "the answer to tools/list has no tools".to_owned());
        }
        if !era.is_greeting(&message) {
            return Err(format!("the answer to {} names no protocol version", first["method"]));
        }
        wanted = 2;
        for message in &then {
            input.write_all(format!("{message}\n").as_bytes()).await.map_err(gone)?;
        }
    }
}
