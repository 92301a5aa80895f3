//! A tiny HTTP/1.1 client that hides nothing: reason phrase, headers and body as they came.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use proxmox_sim::{Product, Sim, SimConfig, SimTarget};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// What came back.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) status: u16,
    pub(crate) reason: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
    /// Whether all of the announced body arrived.
    pub(crate) complete: bool,
}

impl Got {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub(crate) fn data(&self) -> Value {
        assert_eq!(self.status, 200, "{} {}", self.reason, self.text());
        self.json()["data"].clone()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn connection(&self) -> &str {
        self.headers.get("connection").map_or("", String::as_str)
    }

    /// Status and reason in one line, for tables of expectations.
    pub(crate) fn line(&self) -> String {
        format!("{} {}", self.status, self.reason)
    }
}

/// A connection that stays open.
pub(crate) struct Wire {
    stream: TlsStream<TcpStream>,
    buffer: Vec<u8>,
}

impl Wire {
    pub(crate) async fn open(target: &SimTarget, node: usize) -> std::io::Result<Self> {
        let mut roots = rustls::RootCertStore::empty();
        let ca = CertificateDer::from_pem_slice(target.ca_pem.as_bytes()).expect("a certificate");
        roots.add(ca).expect("a root");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let address = target.nodes[node].url.strip_prefix("https://").expect("https");
        let stream = TcpStream::connect(address).await?;
        let name = ServerName::try_from("127.0.0.1").expect("an address");
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        Ok(Self { stream, buffer: Vec::new() })
    }

    /// The encrypted stream itself, for other protocols.
    pub(crate) fn into_stream(self) -> TlsStream<TcpStream> {
        self.stream
    }

    pub(crate) fn fingerprint(&self) -> String {
        use sha2::Digest as _;
        let certificates = self.stream.get_ref().1.peer_certificates().expect("certificates");
        let digest = sha2::Sha256::digest(&certificates[0]);
        digest.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
    }

    pub(crate) async fn send(
        &mut self,
        verb: &str,
        path: &str,
        headers: &[(&str, String)],
        body: &str,
    ) -> std::io::Result<Got> {
        let mut text = format!("{verb} {path} HTTP/1.1\r\nHost: sim\r\n");
        for (name, value) in headers {
            let _ = write!(text, "{name}: {value}\r\n");
        }
        if !body.is_empty() {
            let _ = write!(text, "Content-Length: {}\r\n", body.len());
        }
        text.push_str("\r\n");
        text.push_str(body);
        self.stream.write_all(text.as_bytes()).await?;
        self.read(verb == "HEAD").await
    }

    async fn more(&mut self) -> std::io::Result<bool> {
        let mut chunk = vec![0; 16 << 10];
        let count = self.stream.read(&mut chunk).await?;
        self.buffer.extend_from_slice(&chunk[..count]);
        Ok(count > 0)
    }

    async fn read(&mut self, head_only: bool) -> std::io::Result<Got> {
        let end = loop {
            if let Some(at) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break at;
            }
            if !self.more().await? {
                return Err(std::io::Error::other("closed before a response"));
            }
        };
        let head = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
        self.buffer.drain(..end + 4);
        let mut lines = head.split("\r\n");
        let mut first = lines.next().expect("a status line").splitn(3, ' ').skip(1);
        let status = first.next().expect("a code").parse().expect("a number");
        let reason = first.next().unwrap_or_default().to_owned();
        let mut headers = BTreeMap::new();
        for line in lines {
            let (name, value) = line.split_once(':').expect("a header");
            headers.insert(name.to_lowercase(), value.trim().to_owned());
        }
        let length: usize =
            headers.get("content-length").map_or(0, |length| length.parse().expect("a length"));
        let length = if head_only { 0 } else { length };
        let mut complete = true;
        while self.buffer.len() < length {
            if !self.more().await.unwrap_or(false) {
                complete = false;
                break;
            }
        }
        let take = length.min(self.buffer.len());
        let body = self.buffer.drain(..take).collect();
        Ok(Got { status, reason, headers, body, complete })
    }
}

/// One caller of one target, a new connection for each request.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) target: SimTarget,
    pub(crate) node: usize,
    pub(crate) auth: Vec<(&'static str, String)>,
}

impl Caller {
    /// With one of the target's tokens, by its short name.
    pub(crate) fn token(sim: &Sim, key: &str, name: &str) -> Self {
        let target = sim.target(key).clone();
        let token = target.token(name);
        let value = match target.product {
            Product::Pve => format!("PVEAPIToken={}={}", token.id, token.secret),
            Product::Pbs => format!("PBSAPIToken={}:{}", token.id, token.secret),
        };
        Self { auth: vec![("Authorization", value)], target, node: 0 }
    }

    /// Logged in as the administrator.
    pub(crate) async fn admin(sim: &Sim, key: &str) -> Self {
        let target = sim.target(key).clone();
        let nobody = Self { target, node: 0, auth: Vec::new() };
        let (user, password) = nobody.target.admin.clone();
        let got =
            nobody.post("/access/ticket", &[("username", &user), ("password", &password)]).await;
        let data = got.data();
        let cookie = match nobody.target.product {
            Product::Pve => "PVEAuthCookie",
            Product::Pbs => "PBSAuthCookie",
        };
        let ticket = escape(data["ticket"].as_str().expect("a ticket"));
        let csrf = data["CSRFPreventionToken"].as_str().expect("a token").to_owned();
        Self {
            auth: vec![("Cookie", format!("{cookie}={ticket}")), ("CSRFPreventionToken", csrf)],
            ..nobody
        }
    }

    pub(crate) fn nobody(sim: &Sim, key: &str) -> Self {
        Self { target: sim.target(key).clone(), node: 0, auth: Vec::new() }
    }

    pub(crate) fn on(&self, node: usize) -> Self {
        Self { node, ..self.clone() }
    }

    pub(crate) async fn try_send(
        &self,
        verb: &str,
        path: &str,
        headers: &[(&'static str, String)],
        body: &str,
    ) -> std::io::Result<Got> {
        let mut wire = Wire::open(&self.target, self.node).await?;
        let mut all = self.auth.clone();
        all.extend(headers.iter().cloned());
        wire.send(verb, path, &all, body).await
    }

    pub(crate) async fn get(&self, path: &str) -> Got {
        self.try_send("GET", &format!("/api2/json{path}"), &[], "").await.expect("a response")
    }

    pub(crate) async fn delete(&self, path: &str) -> Got {
        self.try_send("DELETE", &format!("/api2/json{path}"), &[], "").await.expect("a response")
    }

    pub(crate) async fn post(&self, path: &str, params: &[(&str, &str)]) -> Got {
        self.form("POST", path, params).await
    }

    pub(crate) async fn put(&self, path: &str, params: &[(&str, &str)]) -> Got {
        self.form("PUT", path, params).await
    }

    pub(crate) async fn form(&self, verb: &str, path: &str, params: &[(&str, &str)]) -> Got {
        let pairs: Vec<String> =
            params.iter().map(|(key, value)| format!("{key}={}", escape(value))).collect();
        let kind = [("Content-Type", "application/x-www-form-urlencoded".to_owned())];
        self.try_send(verb, &format!("/api2/json{path}"), &kind, &pairs.join("&"))
            .await
            .expect("a response")
    }

    pub(crate) async fn json(&self, verb: &str, path: &str, body: &Value) -> Got {
        let kind = [("Content-Type", "application/json".to_owned())];
        self.try_send(verb, &format!("/api2/json{path}"), &kind, &body.to_string())
            .await
            .expect("a response")
    }

    /// Waits for a task and returns its status and its log.
    pub(crate) async fn finish(&self, upid: &str) -> (String, Vec<String>) {
        let node = match self.target.product {
            Product::Pve => upid.split(':').nth(1).expect("a node").to_owned(),
            Product::Pbs => "localhost".to_owned(),
        };
        let base = format!("/nodes/{node}/tasks/{}", escape(upid));
        let status =
            self.until(&format!("{base}/status"), |data| data["status"] == "stopped").await;
        let log = self.get(&format!("{base}/log?limit=0")).await.data();
        let lines = log.as_array().expect("lines").iter();
        let lines = lines.map(|line| line["t"].as_str().expect("text").to_owned()).collect();
        (status["exitstatus"].as_str().expect("an exit status").to_owned(), lines)
    }

    /// Starts something that must be a task, and waits for it.
    pub(crate) async fn run(&self, got: Got) -> (String, Vec<String>) {
        let upid = got.data();
        self.finish(upid.as_str().expect("a UPID")).await
    }

    /// Asks again until the data satisfies.
    pub(crate) async fn until(&self, path: &str, good: impl Fn(&Value) -> bool) -> Value {
        for _ in 0..2000 {
            let data = self.get(path).await.data();
            if good(&data) {
                return data;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        panic!("{path} never became what was expected");
    }
}

/// Escapes everything that is not plainly safe.
pub(crate) fn escape(text: &str) -> String {
    text.bytes()
        .map(|byte| {
            if byte.is_ascii_alphanumeric() || b"-_.".contains(&byte) {
                (byte as char).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

/// The demo estate at a pace for tests.
pub(crate) async fn demo() -> Sim {
    Sim::start(SimConfig::fast()).await.expect("a simulator")
}
