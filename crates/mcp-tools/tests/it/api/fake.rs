//! Servers that tell their version and publish a schema, and count everything else.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use api_core::{Body, Transport, TransportError};
use async_trait::async_trait;
use http::{Request, Response, StatusCode};
use mcp_protocol::{CallContext, Caller};
use mcp_tools::{
    fleet::{Fleet, Traits},
    tool::Cx,
    tools::api::Library,
};
use serde_json::{Value, json};

/// One such server.
pub(super) struct Server {
    version: Mutex<String>,
    /// The nodes whose version is another.
    nodes: Mutex<BTreeMap<String, String>>,
    published: Mutex<Option<String>>,
    /// Whether it gives what it publishes; otherwise it is as if it had none.
    pub(super) publishes: AtomicBool,
    /// Whether it answers at all.
    pub(super) is_up: AtomicBool,
    /// How often its schema was fetched.
    pub(super) fetched: Mutex<usize>,
    /// What else was asked: method, path and query, body.
    pub(super) asked: Mutex<Vec<String>>,
    /// What everything else is answered with.
    reply: Mutex<Value>,
}

impl Server {
    pub(super) fn new(version: &str, published: &str) -> Arc<Self> {
        Arc::new(Self {
            version: Mutex::new(version.to_owned()),
            nodes: Mutex::default(),
            published: Mutex::new(Some(published.to_owned())),
            publishes: AtomicBool::new(true),
            is_up: AtomicBool::new(true),
            fetched: Mutex::default(),
            asked: Mutex::default(),
            reply: Mutex::default(),
        })
    }

    /// Answers whatever comes next with this.
    pub(super) fn replies_with(&self, data: Value) {
        *self.reply.lock().unwrap() = data;
    }

    pub(super) fn becomes(&self, version: &str) {
        version.clone_into(&mut self.version.lock().unwrap());
    }

    pub(super) fn has_node(&self, node: &str, version: &str) {
        self.nodes.lock().unwrap().insert(node.to_owned(), version.to_owned());
    }

    pub(super) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

#[async_trait]
impl Transport for Server {
    async fn send(&self, request: Request<Body>) -> Result<Response<Body>, TransportError> {
        if !self.is_up.load(Ordering::Relaxed) {
            let kind = api_core::TransportErrorKind::Connect;
            return Err(TransportError::new(kind, api_core::Sent::No, "fake"));
        }
        let uri = request.uri().to_string();
        let answer = |text: String| Ok(Response::new(Body::from(text)));
        let of_node = uri
            .strip_prefix("/api2/json/nodes/")
            .and_then(|rest| rest.strip_suffix("/version"))
            .filter(|node| !node.contains('/'));
        if let Some(node) = of_node {
            let known = self.nodes.lock().unwrap().get(node).cloned();
            let version = known.unwrap_or_else(|| self.version.lock().unwrap().clone());
            return answer(
                json!({"data": {"version": version, "release": "", "repoid": "x"}}).to_string(),
            );
        }
        match uri.as_str() {
            "/api2/json/version" => {
                let version = self.version.lock().unwrap().clone();
                let (pbs, release) = version.rsplit_once('.').unwrap_or((&version, ""));
                // Both products' answer in one: PVE's version is the whole, PBS's is in two parts.
                let is_pbs = self
                    .published
                    .lock()
                    .unwrap()
                    .as_ref()
                    .is_some_and(|text| text.contains("/admin/datastore"));
                let data = if is_pbs {
                    json!({"version": pbs, "release": release, "repoid": "x"})
                } else {
                    json!({"version": version, "release": pbs, "repoid": "x"})
                };
                answer(json!({"data": data}).to_string())
            }
            "/pve-docs/api-viewer/apidoc.js" | "/docs/api-viewer/apidoc.js" => {
                *self.fetched.lock().unwrap() += 1;
                match self.published.lock().unwrap().clone() {
                    Some(text) if self.publishes.load(Ordering::Relaxed) => {
                        answer(format!("const apiSchema = {text}\n;\nExt.onReady(() => []);"))
                    }
                    _ => {
                        let mut response = Response::new(Body::from("no such file".to_owned()));
                        *response.status_mut() = StatusCode::NOT_FOUND;
                        Ok(response)
                    }
                }
            }
            _ => {
                let method = request.method().clone();
                let body = request.into_body().collect(1 << 20).await?;
                let body = String::from_utf8_lossy(&body).into_owned();
                self.asked
                    .lock()
                    .unwrap()
                    .push(format!("{method} {uri} {body}").trim_end().to_owned());
                let data = self.reply.lock().unwrap().clone();
                answer(json!({"data": data}).to_string())
            }
        }
    }
}

/// A fleet of these servers: `lab` and `vault`.
pub(super) fn cx(pve: &Arc<Server>, pbs: Option<&Arc<Server>>, library: Library) -> Cx {
    let clock = stdx::SystemClock::shared();
    let client = pve_client::Client::new(Arc::clone(pve) as Arc<dyn Transport>);
    let mut fleet = Fleet::new(clock).with_library(library).with_pve(
        "lab".parse().unwrap(),
        &client,
        Traits::default(),
    );
    if let Some(pbs) = pbs {
        let client = pbs_client::Client::new(Arc::clone(pbs) as Arc<dyn Transport>);
        fleet = fleet.with_pbs("vault".parse().unwrap(), &client, Traits::default());
    }
    let mut cx = Cx::new(Arc::new(fleet), CallContext::detached(Caller::new("local:0")));
    cx.mode = guard::Mode::Trusted;
    cx
}

/// Both products as they are published, if the fixtures are there.
pub(super) fn published() -> Option<(Arc<Server>, Arc<Server>)> {
    let pve = Server::new("9.2.3", &testkit::fixtures::text("api/pve-9.2.json")?);
    let pbs = Server::new("4.2.1", &testkit::fixtures::text("api/pbs-4.2.json")?);
    Some((pve, pbs))
}
