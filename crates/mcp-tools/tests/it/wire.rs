//! A client of an app over lines, as a program that starts us has it, and what it hears by itself.

use std::{sync::Arc, time::Duration};

use api_core::{Body, Transport, TransportError};
use async_trait::async_trait;
use mcp_protocol::App;
use mcp_tools::{build_app, watch};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream, Lines, ReadHalf, WriteHalf},
    sync::Notify,
};
use tokio_util::sync::CancellationToken;

use crate::{estate::Estate, lost::lab, surface::options};

/// A client of the revision 2025-11-25, initialized.
pub(crate) struct Wire {
    write: WriteHalf<DuplexStream>,
    lines: Lines<BufReader<ReadHalf<DuplexStream>>>,
    last: u64,
    /// What was heard while an answer was waited for.
    heard: Vec<Value>,
}

impl Wire {
    pub(crate) async fn connect(app: App) -> Self {
        let (ours, theirs) = tokio::io::duplex(1 << 20);
        let (input, output) = tokio::io::split(theirs);
        tokio::spawn(mcp_protocol::serve_stdio(app, input, output, CancellationToken::new()));
        let (read, write) = tokio::io::split(ours);
        let lines = BufReader::new(read).lines();
        let mut wire = Self { write, lines, last: 0, heard: Vec::new() };
        let hello = json!({
            "protocolVersion": "2025-11-25", "capabilities": {},
            "clientInfo": {"name": "test", "version": "0"},
        });
        wire.ask("initialize", hello).await;
        wire.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await;
        wire
    }

    async fn send(&mut self, message: &Value) {
        self.write.write_all(format!("{message}\n").as_bytes()).await.unwrap();
    }

    async fn receive(&mut self) -> Value {
        let line = self.lines.next_line().await.unwrap().expect("a line before the end");
        serde_json::from_str(&line).unwrap()
    }

    pub(crate) async fn ask(&mut self, method: &str, params: Value) -> Value {
        self.last += 1;
        let id = self.last;
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})).await;
        loop {
            let message = self.receive().await;
            if message["id"] == id {
                return message["result"].clone();
            }
            self.heard.push(message);
        }
    }

    /// The next notification of that kind, now or earlier.
    pub(crate) async fn hear(&mut self, method: &str) -> Value {
        if let Some(at) = self.heard.iter().position(|message| message["method"] == method) {
            return self.heard.remove(at)["params"].clone();
        }
        loop {
            let message = self.receive().await;
            if message["method"] == method {
                return message["params"].clone();
            }
            self.heard.push(message);
        }
    }

    async fn tools(&mut self) -> Vec<String> {
        let list = self.ask("tools/list", json!({})).await;
        let tools = list["tools"].as_array().unwrap().iter();
        tools.map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watched_guest_that_starts_is_told() {
    let estate = Estate::start("agent").await;
    let app = build_app(Arc::clone(&estate.cx.fleet), &options("default")).unwrap();
    tokio::spawn(watch::watch(&app, Duration::from_millis(50), None));
    let mut client = Wire::connect(app).await;
    let guest = "proxmox://guest/lab/125";
    client.ask("resources/subscribe", json!({"uri": guest})).await;
    // A change before the first reading is none, so it is turned on and off until one is seen.
    let mut told = None;
    for action in ["start", "stop"].into_iter().cycle().take(20) {
        estate.text("guest_power", json!({"guest": "lab/125", "action": action})).await;
        let hears = client.hear("notifications/resources/updated");
        told = tokio::time::timeout(Duration::from_secs(2), hears).await.ok();
        if told.is_some() {
            break;
        }
    }
    assert_eq!(told.expect("it was told")["uri"], guest);
    let read = client.ask("resources/read", json!({"uri": guest})).await;
    assert!(read.to_string().contains("dev-bela"), "{read}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_watch_ends_with_the_app() {
    let estate = Estate::start("agent").await;
    let app = build_app(Arc::clone(&estate.cx.fleet), &options("default")).unwrap();
    let watching = tokio::spawn(watch::watch(&app, Duration::from_hours(1), None));
    let kept = app.clone();
    drop(app);
    assert!(!watching.is_finished());
    drop(kept);
    watching.await.unwrap();
}

/// Says what a token may do only once it is let.
struct Late {
    inner: Arc<dyn Transport>,
    authorization: String,
    open: Arc<Notify>,
}

#[async_trait]
impl Transport for Late {
    async fn send(
        &self,
        mut request: http::Request<Body>,
    ) -> Result<http::Response<Body>, TransportError> {
        if request.uri().path().ends_with("/access/permissions") {
            self.open.notified().await;
            // Whoever else waits goes on as well.
            self.open.notify_one();
        }
        let header = self.authorization.parse().expect("a header");
        request.headers_mut().insert(http::header::AUTHORIZATION, header);
        self.inner.send(request).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tools_are_listed_until_it_is_known_that_nobody_can_use_them() {
    let (estate, late) = lab(|sim, inner, _| {
        let token = sim.targets()[0].token("readonly");
        let authorization = format!("PVEAPIToken={}={}", token.id, token.secret);
        Late { inner, authorization, open: Arc::default() }
    })
    .await;
    let app = build_app(Arc::clone(&estate.cx.fleet), &options("default")).unwrap();
    let mut client = Wire::connect(app).await;
    let listed = client.tools().await;
    assert!(listed.contains(&"guest_power".to_owned()), "{listed:?}");
    // The answer that was too late for the list changes it.
    late.open.notify_one();
    client.hear("notifications/tools/list_changed").await;
    let listed = client.tools().await;
    assert!(!listed.contains(&"guest_power".to_owned()), "{listed:?}");
    assert!(listed.contains(&"guests_list".to_owned()), "{listed:?}");
    let read = client.ask("resources/read", json!({"uri": "proxmox://capabilities"})).await;
    let text = read["contents"][0]["text"].as_str().unwrap();
    let capabilities: Value = serde_json::from_str(text).unwrap();
    let why = &capabilities["tools_not_listed"]["guest_power"];
    assert_eq!(why, "lab lacks VM.PowerMgmt on /vms");
}
