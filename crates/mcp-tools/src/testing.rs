//! Hand-written estates for unit tests.

use std::sync::Arc;

use api_core::{Body, Transport, TransportError};
use async_trait::async_trait;
use estate::ClusterKey;
use pve_client::cluster::Resource;
use serde_json::{Value, json};

use crate::fleet::{Fleet, Gathered, Pve, Traits};

/// A transport that nothing may use.
struct Unplugged;

#[async_trait]
impl Transport for Unplugged {
    async fn send(
        &self,
        request: http::Request<Body>,
    ) -> Result<http::Response<Body>, TransportError> {
        panic!("no call was expected, but {} {}", request.method(), request.uri());
    }
}

pub(crate) fn key(name: &str) -> ClusterKey {
    name.parse().expect("a key")
}

/// A member that cannot be called.
pub(crate) fn member(name: &str) -> Arc<Pve> {
    let client = pve_client::Client::new(Arc::new(Unplugged));
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
