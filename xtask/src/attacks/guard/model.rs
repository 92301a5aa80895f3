//! The hostile model: a client that says yes to whatever it is asked, and whose arguments are its own.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use crate::attacks::raw::{Answer, Ask};

/// Longer than any answer takes.
const PATIENCE: Duration = Duration::from_mins(1);

/// Whatever calls tools.
pub(super) trait Caller {
    /// Calls one, and says what came back.
    fn call(&mut self, tool: &str, args: Value) -> Result<Reply>;
}

/// An MCP client on standard input and output.
pub(super) struct Model {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    next: u64,
    /// How often it was asked for consent, and gave it.
    pub(super) consented: usize,
}

/// The same over HTTP, one request each.
pub(super) struct Web {
    pub(super) address: String,
    /// Without one it is the demo's client, which can be asked.
    pub(super) token: Option<String>,
}

/// What came back.
#[derive(Debug)]
pub(super) struct Reply {
    /// Whether it is an error of the protocol or of the tool.
    pub(super) failed: bool,
    pub(super) text: String,
    pub(super) object: Value,
}

// === impl Model ===

impl Model {
    /// Starts `command` and shakes hands, as a client that can be asked.
    pub(super) fn start(command: Command) -> Result<Self> {
        Self::with(command, &json!({"elicitation": {}}))
    }

    /// The same with these capabilities.
    pub(super) fn with(mut command: Command, capabilities: &Value) -> Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().context("start the model's server")?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().context("its output was not piped")?;
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let mut model = Self { child, stdin, lines, next: 0, consented: 0 };
        let hello = json!({
            "protocolVersion": "2025-06-18", "capabilities": capabilities,
            "clientInfo": {"name": "hostile", "version": "1"},
        });
        model.ask("initialize", &hello)?;
        model.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}))?;
        Ok(model)
    }

    fn send(&mut self, message: &Value) -> Result<()> {
        let stdin = self.stdin.as_mut().context("the server's input is closed")?;
        writeln!(stdin, "{message}").context("speak to the server")
    }

    /// Sends a request without waiting for its answer.
    pub(super) fn begin(&mut self, method: &str, params: &Value) -> Result<u64> {
        self.next += 1;
        let id = self.next;
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}))?;
        Ok(id)
    }

    /// The next answer to any request; questions are answered with yes on the way.
    pub(super) fn next_answer(&mut self) -> Result<(u64, Value)> {
        loop {
            let line = match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => line,
                Err(RecvTimeoutError::Timeout) => bail!("the server does not answer"),
                Err(RecvTimeoutError::Disconnected) => bail!("the server is gone"),
            };
            let message: Value = serde_json::from_str(&line).context("read the server's line")?;
            match (message["method"].as_str(), message["id"].as_u64()) {
                (Some("elicitation/create"), _) => {
                    self.consented += 1;
                    let yes = json!({"action": "accept", "content": {"approve": true}});
                    let id = message["id"].clone();
                    self.send(&json!({"jsonrpc": "2.0", "id": id, "result": yes}))?;
                }
                (Some(_), _) | (None, None) => {}
                (None, Some(id)) => return Ok((id, message)),
            }
        }
    }

    pub(super) fn ask(&mut self, method: &str, params: &Value) -> Result<Value> {
        let id = self.begin(method, params)?;
        loop {
            let (answered, message) = self.next_answer()?;
            if answered == id {
                return Ok(message);
            }
        }
    }

    /// The tools that it is offered.
    pub(super) fn tools(&mut self) -> Result<Vec<String>> {
        let answer = self.ask("tools/list", &json!({}))?;
        let tools = answer["result"]["tools"].as_array().context("a list of tools")?;
        Ok(tools.iter().filter_map(|tool| tool["name"].as_str().map(str::to_owned)).collect())
    }
}

impl Caller for Model {
    fn call(&mut self, tool: &str, args: Value) -> Result<Reply> {
        let message = self.ask("tools/call", &json!({"name": tool, "arguments": args}))?;
        Ok(Reply::of(&message))
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        // The end of its input ends it.
        drop(self.stdin.take());
        let _ = self.child.wait();
    }
}

// === impl Web ===

impl Web {
    /// A stateless call, with whatever else its parameters are to hold.
    pub(super) fn send(&self, tool: &str, args: &Value, more: &Value) -> Result<Answer> {
        let can =
            if self.token.is_none() { json!({"elicitation": {"form": {}}}) } else { json!({}) };
        let mut params = json!({
            "name": tool, "arguments": args,
            "_meta": {
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientCapabilities": can,
            },
        });
        if let (Value::Object(params), Value::Object(more)) = (&mut params, more) {
            params.extend(more.clone());
        }
        let message = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
        let mut ask = Ask::mcp(&message).header("mcp-protocol-version", "2026-07-28");
        ask = ask.header("mcp-method", "tools/call").header("mcp-name", tool);
        // What some frameworks take for the method that is meant.
        for name in ["x-http-method-override", "x-http-method", "x-method-override"] {
            ask = ask.header(name, "DELETE");
        }
        if let Some(token) = &self.token {
            ask = ask.bearer(token);
        }
        ask.send(&self.address)
    }

    pub(super) fn with(&self, tool: &str, args: &Value, more: &Value) -> Result<Reply> {
        let answer = self.send(tool, args, more)?;
        match answer.json() {
            Some(message) => Ok(Reply::of(&message)),
            None => Ok(Reply { failed: true, text: answer.summary(), object: Value::Null }),
        }
    }
}

impl Caller for Web {
    fn call(&mut self, tool: &str, args: Value) -> Result<Reply> {
        self.with(tool, &args, &json!({}))
    }
}

// === impl Reply ===

impl Reply {
    fn of(message: &Value) -> Self {
        if let Some(said) = message.pointer("/error/message").and_then(Value::as_str) {
            let text = said.to_owned();
            return Self { failed: true, text, object: message["error"].clone() };
        }
        let result = &message["result"];
        let text = result.pointer("/content/0/text").and_then(Value::as_str).unwrap_or_default();
        let object = if result["requestState"].is_string() {
            result.clone()
        } else {
            result["structuredContent"].clone()
        };
        Self { failed: result["isError"] == true, text: text.to_owned(), object }
    }

    /// Its first line, cut.
    pub(super) fn line(&self) -> String {
        let line = self.text.lines().next().unwrap_or_default();
        let line = if line.is_empty() { self.object["resultType"].as_str() } else { Some(line) };
        short(line.unwrap_or("an empty answer"))
    }

    /// A text of its object.
    pub(super) fn fact(&self, name: &str) -> &str {
        self.object[name].as_str().unwrap_or_default()
    }

    /// Whether people were asked, and nothing was done.
    pub(super) fn waits(&self) -> bool {
        !self.failed && self.fact("status") == "pending" && !self.fact("approval_id").is_empty()
    }
}

/// At most so much of a line as fits beside its case.
pub(super) fn short(line: &str) -> String {
    const MOST: usize = 150;
    match line.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}
