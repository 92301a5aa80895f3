//! HTTP written byte by byte: what is sent here, no proper client would send.

use std::fmt::Write as _;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;

/// Longer than any deadline of the server.
const PATIENCE: Duration = Duration::from_mins(1);

/// A request in the making.
#[derive(Clone)]
pub(crate) struct Ask {
    method: String,
    path: String,
    host: Option<String>,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

/// What came back, as far as it came.
pub(crate) struct Answer {
    /// 0 where the connection was closed without an answer.
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

// === impl Ask ===

impl Ask {
    pub(crate) fn new(method: &str, path: &str) -> Self {
        Self {
            method: method.to_owned(),
            path: path.to_owned(),
            host: None,
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    /// A message for the endpoint of MCP.
    pub(crate) fn mcp(message: &Value) -> Self {
        let ask = Self::new("POST", "/mcp").json(message);
        ask.header("accept", "application/json, text/event-stream")
    }

    /// A call by REST.
    pub(crate) fn tool(name: &str, args: &Value) -> Self {
        Self::new("POST", &format!("/api/v1/tools/{name}")).json(args)
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn bearer(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    /// By this name instead of the server's address; by none at all if it is empty.
    pub(crate) fn host(mut self, host: &str) -> Self {
        self.host = Some(host.to_owned());
        self
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.header("content-type", "application/json").body(body.to_string())
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// The head, with the length of the body unless the headers say something of it themselves.
    pub(crate) fn head(&self, address: &str) -> String {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.path);
        let host = self.host.as_deref().unwrap_or(address);
        if !host.is_empty() {
            let _ = write!(head, "host: {host}\r\n");
        }
        for (name, value) in &self.headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        let framed = ["content-length", "transfer-encoding"];
        if !self.headers.iter().any(|(name, _)| framed.contains(&name.as_str())) {
            let _ = write!(head, "content-length: {}\r\n", self.body.len());
        }
        head + "\r\n"
    }

    /// Sends it on a connection of its own and reads until that ends.
    pub(crate) fn send(self, address: &str) -> Result<Answer> {
        let ask = self.header("connection", "close");
        let mut stream = connect(address)?;
        // The server may answer, and leave, before it has heard everything.
        let mut sending = stream.try_clone()?;
        let bytes = [ask.head(address).into_bytes(), ask.body].concat();
        let sender = std::thread::spawn(move || sending.write_all(&bytes).is_ok());
        let answer = Answer::read(&mut stream);
        let _ = stream.shutdown(std::net::Shutdown::Both);
        let _ = sender.join();
        answer
    }
}

// === impl Answer ===

impl Answer {
    /// Reads until the connection ends, however it does.
    pub(crate) fn read(stream: &mut TcpStream) -> Result<Self> {
        let mut bytes = Vec::new();
        let mut piece = [0; 16 * 1024];
        loop {
            match stream.read(&mut piece) {
                Ok(0) => break,
                Ok(count) => bytes.extend_from_slice(&piece[..count]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
                Err(error) => return Err(error).context("wait for the server's answer"),
            }
        }
        Self::parse(&String::from_utf8_lossy(&bytes))
    }

    /// Reads until `done`, and leaves the connection open.
    pub(crate) fn read_head(stream: &mut TcpStream) -> Result<Self> {
        let mut bytes = Vec::new();
        let mut byte = [0];
        while !bytes.ends_with(b"\r\n\r\n") && stream.read(&mut byte)? == 1 {
            bytes.push(byte[0]);
        }
        Self::parse(&String::from_utf8_lossy(&bytes))
    }

    fn parse(text: &str) -> Result<Self> {
        if text.is_empty() {
            return Ok(Self { status: 0, head: String::new(), body: String::new() });
        }
        let (head, body) =
            text.split_once("\r\n\r\n").context("the answer has no end of its head")?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
        Ok(Self {
            status: status.with_context(|| format!("no status in {head:?}"))?,
            head: head.to_owned(),
            body: if chunked { unchunk(body) } else { body.to_owned() },
        })
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        headers.find(|(given, _)| given.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The body, or the message in a stream of events.
    pub(crate) fn json(&self) -> Option<Value> {
        let data = self.body.lines().filter_map(|line| line.strip_prefix("data: "));
        let mut texts = std::iter::once(self.body.as_str()).chain(data);
        texts.find_map(|text| serde_json::from_str(text).ok())
    }

    /// In one line: status, challenge, and the problem or error if it is one.
    pub(crate) fn summary(&self) -> String {
        if self.status == 0 {
            return "closed without an answer".to_owned();
        }
        let mut line = self.status.to_string();
        for name in ["www-authenticate", "retry-after", "allow"] {
            if let Some(value) = self.header(name) {
                let _ = write!(line, "; {name}: {value}");
            }
        }
        let json = self.json().unwrap_or_default();
        let text = |pointer: &str| json.pointer(pointer).and_then(Value::as_str);
        if let Some(kind) = text("/type").and_then(|kind| kind.strip_prefix("urn:proxmox-mcp:")) {
            let _ = write!(line, "; {kind}: {}", text("/detail").unwrap_or_default());
        } else if let Some(message) = text("/error/message") {
            let _ = write!(line, "; JSON-RPC {}: {message}", json["error"]["code"]);
        } else if let Some(said) = text("/text").or_else(|| text("/result/content/0/text")) {
            let _ = write!(line, "; {}", said.lines().next().unwrap_or_default());
        }
        line
    }
}

/// A connection, on which nothing takes longer than a minute.
pub(crate) fn connect(address: &str) -> Result<TcpStream> {
    let stream = TcpStream::connect(address).with_context(|| format!("connect to {address}"))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// A body in chunks, as one piece of it each.
pub(crate) fn chunked<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut body = Vec::new();
    for piece in pieces {
        body.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        body.extend_from_slice(piece);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"0\r\n\r\n");
    body
}

fn unchunk(mut rest: &str) -> String {
    let mut body = String::new();
    while let Some((size, after)) = rest.split_once("\r\n") {
        let Ok(size) = usize::from_str_radix(size, 16) else { break };
        let Some(piece) = after.get(..size) else { break };
        body.push_str(piece);
        rest = after.get(size + 2..).unwrap_or_default();
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_in_one_line() {
        let problem = "HTTP/1.1 403 Forbidden\r\nWWW-Authenticate: Bearer scope=\"a b\"\r\n\r\n\
                       {\"type\":\"urn:proxmox-mcp:problem:forbidden\",\"detail\":\"no\"}";
        let error = br#"{"error":{"code":-32700,"message":"not JSON"}}"#;
        let rpc = "HTTP/1.1 400 Bad Request\r\ntransfer-encoding: chunked\r\n\r\n".to_owned()
            + std::str::from_utf8(&chunked([&error[..]])).unwrap();
        for (text, line) in [
            ("", "closed without an answer"),
            (problem, "403; www-authenticate: Bearer scope=\"a b\"; problem:forbidden: no"),
            (&rpc, "400; JSON-RPC -32700: not JSON"),
            ("HTTP/1.1 400 Bad Request\r\n\r\n", "400"),
        ] {
            assert_eq!(Answer::parse(text).unwrap().summary(), line);
        }
    }

    #[test]
    fn chunks_come_together_again() {
        let body = chunked([&b"one"[..], b" and two"]);
        assert_eq!(body, b"3\r\none\r\n8\r\n and two\r\n0\r\n\r\n");
        assert_eq!(unchunk(std::str::from_utf8(&body).unwrap()), "one and two");
    }
}
