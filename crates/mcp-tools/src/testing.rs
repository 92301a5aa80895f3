//! Hand-written estates for unit tests.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use api_core::{Body, Transport, TransportError};
use async_trait::async_trait;
use estate::ClusterKey;
use mcp_protocol::{CallContext, Caller};
use pve_client::cluster::Resource;
use serde_json::{Value, json};

use crate::{
    fleet::{Fleet, Gathered, Pve, Traits},
    tool::Cx,
};

/// A server that knows some answers by path; anything else does not exist.
#[derive(Clone, Default)]
pub(crate) struct Scripted(Arc<Mutex<Script>>);

#[derive(Default)]
struct Script {
    answers: BTreeMap<String, Value>,
    calls: Vec<String>,
}

impl Scripted {
    pub(crate) fn new(answers: &[(&str, Value)]) -> Self {
        let script = Self::default();
        script.replace(answers);
        script
    }

    /// From now on it answers so.
    pub(crate) fn replace(&self, answers: &[(&str, Value)]) {
        let answers = answers.iter().map(|(path, answer)| ((*path).to_owned(), answer.clone()));
        self.0.lock().expect("a lock").answers = answers.collect();
    }

    /// The calls since the last look, but for permissions, which are read once a minute.
    pub(crate) fn take_calls(&self) -> Vec<String> {
        let mut calls = std::mem::take(&mut self.0.lock().expect("a lock").calls);
        calls.retain(|call| !call.contains("/access/permissions"));
        calls
    }

    pub(crate) fn client(&self) -> pve_client::Client {
        pve_client::Client::new(Arc::new(self.clone()))
    }
}

#[async_trait]
impl Transport for Scripted {
    async fn send(
        &self,
        request: http::Request<Body>,
    ) -> Result<http::Response<Body>, TransportError> {
        let path = request.uri().path();
        let mut script = self.0.lock().expect("a lock");
        script.calls.push(format!("{} {path}", request.method()));
        let answer = script.answers.get(path).cloned();
        let (status, answer) = match answer {
            Some(answer) => (200, answer),
            None => (500, json!({"data": null, "message": format!("{path} does not exist\n")})),
        };
        let response = http::Response::builder().status(status);
        Ok(response.body(answer.to_string().into()).expect("a response"))
    }
}

/// What a tool has at hand with one cluster.
pub(crate) fn cx(name: &str, client: &pve_client::Client) -> Cx {
    let fleet = Fleet::new(stdx::SystemClock::shared());
    let fleet = Arc::new(fleet.with_pve(key(name), client, Traits::default()));
    let mut cx = Cx::new(fleet, CallContext::detached(Caller::new("local:0")));
    cx.mode = guard::Mode::ReadOnly;
    cx
}

pub(crate) fn key(name: &str) -> ClusterKey {
    name.parse().expect("a key")
}

/// A member that knows no answer.
pub(crate) fn member(name: &str) -> Arc<Pve> {
    let client = Scripted::default().client();
    let fleet = Fleet::new(stdx::SystemClock::shared());
    let fleet = fleet.with_pve(key(name), &client, Traits::default());
    fleet.pve(Some(name)).expect("the member").remove(0)
}

/// Answers of all members.
pub(crate) fn gathered<T>(answers: Vec<(&str, T)>) -> Gathered<Pve, T> {
    Gathered {
        answers: answers.into_iter().map(|(name, answer)| (member(name), answer)).collect(),
        unreachable: Vec::new(),
        refused: Vec::new(),
    }
}

pub(crate) fn resource(value: Value) -> Resource {
    serde_json::from_value(value).expect("a resource")
}

/// A running machine.
pub(crate) fn guest(vmid: u32, name: &str, node: &str) -> Resource {
    resource(json!({
        "type": "qemu", "id": format!("qemu/{vmid}"), "vmid": vmid, "name": name, "node": node,
        "status": "running", "template": 0, "cpu": 0.034, "maxcpu": 4, "mem": 3_221_225_472_u64,
        "maxmem": 8_589_934_592_u64, "disk": 0, "maxdisk": 34_359_738_368_u64, "uptime": 90_000,
    }))
}

/// A small cluster: two nodes, one of them away, and a guest of each sort.
pub(crate) fn rows() -> Vec<Resource> {
    let node = |name: &str, status: &str| {
        resource(json!({
            "type": "node", "id": format!("node/{name}"), "node": name, "status": status,
            "cpu": 0.25, "maxcpu": 8, "mem": 17_179_869_184_u64, "maxmem": 34_359_738_368_u64,
            "disk": 10_737_418_240_u64, "maxdisk": 107_374_182_400_u64, "uptime": 1_000_000,
        }))
    };
    let storage = |name: &str, node: &str, shared: u8, disk: u64| {
        resource(json!({
            "type": "storage", "id": format!("storage/{node}/{name}"), "storage": name,
            "node": node, "status": "available", "shared": shared, "plugintype": "nfs",
            "content": "images,backup", "disk": disk << 30, "maxdisk": 100_u64 << 30,
        }))
    };
    vec![
        node("alder", "online"),
        node("birch", "offline"),
        storage("nas", "alder", 1, 97),
        storage("nas", "birch", 1, 97),
        storage("local", "alder", 0, 20),
        resource(json!({"type": "pool", "id": "/pool/web", "pool": "web"})),
        resource(json!({
            "type": "qemu", "id": "qemu/100", "vmid": 100, "name": "www", "node": "alder",
            "status": "running", "template": 0, "cpu": 0.5, "maxcpu": 2, "mem": 2_147_483_648_u64,
            "maxmem": 4_294_967_296_u64, "maxdisk": 34_359_738_368_u64, "uptime": 90_000,
            "tags": "prod;web", "pool": "web", "lock": "backup",
        })),
        resource(json!({
            "type": "lxc", "id": "lxc/101", "vmid": 101, "name": "dns", "node": "alder",
            "status": "stopped", "maxcpu": 1, "maxmem": 536_870_912, "tags": "prod",
            "hastate": "error",
        })),
        resource(json!({
            "type": "qemu", "id": "qemu/102", "vmid": 102, "name": "far", "node": "birch",
            "status": "running", "maxcpu": 2, "maxmem": 1_073_741_824, "uptime": 500,
        })),
        resource(json!({
            "type": "qemu", "id": "qemu/900", "vmid": 900, "name": "tpl", "node": "alder",
            "status": "stopped", "template": 1, "maxcpu": 1, "maxmem": 1_073_741_824,
        })),
    ]
}
