//! What waits to be applied stands beside the list and must not be lost.

#![expect(clippy::needless_raw_string_hashes, reason = "expect-test writes them")]

use serde_json::json;

use super::*;
use crate::testing::{self, Scripted};

#[tokio::test]
async fn pending_changes_are_told_and_marked() {
    let list = json!([{"iface": "vmbr0", "type": "bridge", "active": 0, "autostart": 1,
        "bridge_ports": "eno1", "cidr": "192.0.2.1/24"}]);
    let wire = Scripted::new(&[
        (
            "/api2/json/cluster/resources",
            json!({"data": [
                {"type": "node", "id": "node/alder", "node": "alder", "status": "online"},
            ]}),
        ),
        ("/api2/json/nodes/alder/network", json!({"data": list, "changes": "--- a\n+++ b\n"})),
    ]);
    let cx = testing::cx("home", &wire.client());
    let args = json!({"node": "alder"}).as_object().cloned().unwrap();
    let text = NetworkList.call(&cx, args).await.unwrap().render(4096).text;
    expect_test::expect![[r#"
        home/alder: 1 interface, 1 bridge; down although they should start: vmbr0
        interface type active auto address gateway ports vlan comment
        vmbr0 bridge no yes 192.0.2.1/24 - eno1 - -
        note: changes wait to be applied: the rows show them, the running network does not
        <<<untrusted pending changes of home/alder
        --- a
        +++ b
        untrusted>>>"#]]
    .assert_eq(&text);
}
