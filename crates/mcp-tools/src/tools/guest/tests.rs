//! What a look at one guest costs.

use serde_json::json;

use super::*;
use crate::testing::{self, Scripted};

fn resources(node: &str) -> serde_json::Value {
    json!({"data": [
        {"type": "node", "id": "node/alder", "node": "alder", "status": "online"},
        {"type": "node", "id": "node/birch", "node": "birch", "status": "online"},
        {"type": "qemu", "id": "qemu/100", "vmid": 100, "name": "www", "node": node,
            "status": "running"},
    ]})
}

fn status() -> serde_json::Value {
    json!({"data": {"vmid": 100, "name": "www", "status": "running", "qmpstatus": "running",
        "cpus": 2, "cpu": 0.1, "mem": 1, "maxmem": 2, "uptime": 7200, "agent": 1}})
}

#[tokio::test]
async fn a_known_guest_costs_one_call_and_a_moved_one_is_found_again() {
    let wire = Scripted::new(&[
        ("/api2/json/cluster/resources", resources("alder")),
        ("/api2/json/nodes/alder/qemu/100/status/current", status()),
    ]);
    let cx = testing::cx("home", &wire.client());
    let ask = async || {
        let args = json!({"guest": "home/100", "include": ["status"]});
        let args = args.as_object().cloned().unwrap();
        GuestGet.call(&cx, args).await.unwrap().render(4096).text
    };
    assert!(ask().await.starts_with("home/100 www: vm running on alder for 2h"));
    assert_eq!(wire.take_calls().len(), 2);
    ask().await;
    assert_eq!(wire.take_calls(), ["GET /api2/json/nodes/alder/qemu/100/status/current"]);

    wire.replace(&[
        ("/api2/json/cluster/resources", resources("birch")),
        ("/api2/json/nodes/birch/qemu/100/status/current", status()),
    ]);
    assert!(ask().await.starts_with("home/100 www: vm running on birch"));
    assert_eq!(wire.take_calls().len(), 3);
    ask().await;
    assert_eq!(wire.take_calls(), ["GET /api2/json/nodes/birch/qemu/100/status/current"]);

    wire.replace(&[("/api2/json/cluster/resources", json!({"data": []}))]);
    let args = json!({"guest": "home/100"}).as_object().cloned().unwrap();
    let error = GuestGet.call(&cx, args).await.unwrap_err();
    assert!(error.message().contains("no guest `home/100`"), "{error}");
}
