//! What calls touch, and what a hand-written cluster says of it.

use std::fmt::Write as _;

use estate::Product;
use expect_test::expect;
use guard::PlannedCall;
use serde_json::{Value, json};

use super::*;
use crate::{
    fleet::Traits,
    testing::{Scripted, key},
};

fn product_of(key: &str) -> Option<Product> {
    match key {
        "lab" => Some(Product::Pve),
        "vault" => Some(Product::Pbs),
        _ => None,
    }
}

fn call(text: &str) -> PlannedCall {
    let mut words = text.split(' ');
    let mut next = || words.next().unwrap().to_owned();
    let (member, method, path) = (next(), next(), next());
    let params = words.map(|word| {
        let (name, value) = word.split_once('=').unwrap();
        (name.to_owned(), value.to_owned())
    });
    PlannedCall { member, method, path, params: params.collect() }
}

fn form(calls: &[&str], targets: &[&str]) -> PlanForm {
    PlanForm {
        calls: calls.iter().map(|text| call(text)).collect(),
        targets: targets.iter().map(|at| ((*at).to_owned(), BTreeMap::new())).collect(),
        ..PlanForm::default()
    }
}

#[test]
fn calls_tell_what_they_touch() {
    let mut table = String::new();
    for text in [
        "lab POST /nodes/alder/qemu/104/status/start",
        "lab DELETE /nodes/alder/lxc/131",
        "lab POST /nodes/alder/qemu/9000/clone newid=120 pool=web",
        "lab POST /nodes/alder/qemu vmid=104 force=1",
        "lab POST /nodes/alder/vzdump vmid=104,105 storage=vault",
        "lab POST /nodes/alder/vzdump all=1",
        "lab DELETE /nodes/alder/storage/nas/content/nas%3Abackup%2Fvzdump-qemu-104-2026_11_29-01_00_00.vma.zst",
        "lab DELETE /nodes/alder/storage/ceph/content/ceph:vm-104-disk-0",
        "lab DELETE /nodes/alder/storage/ceph/content/ceph:base-900-disk-0/vm-104-disk-0",
        "lab DELETE /nodes/alder/storage/vault/content/vault:backup/ct/131/2026-11-29T01:00:00Z",
        "lab DELETE /nodes/alder/storage/nas/prunebackups vmid=104",
        "lab DELETE /nodes/alder/storage/nas/content/nas:iso/debian-13.iso",
        "lab POST /nodes/alder/status command=reboot",
        "lab PUT /cluster/ha/resources/vm:104 state=started",
        "lab POST /cluster/ha/resources sid=vm:104",
        "lab DELETE /cluster/replication/104-0",
        "lab PUT /pools/web vms=104,105",
        "lab POST /cluster/bulk-action/guest/shutdown vms=104,105",
        "lab PUT /access/acl path=/vms/104",
        "vault POST /admin/datastore/main/gc",
        "vault POST /nodes/localhost/status command=reboot",
        "vault POST /config/sync store=main",
        "elsewhere POST /nodes/alder/qemu/104/status/start",
        "lab POST /nodes/alder/qemu/%31%30%34/status/start",
    ] {
        let targets: Vec<_> = touched(&form(&[text], &[]), product_of)
            .iter()
            .map(|one| {
                let target = one.bare();
                let pool = target.pool.map(|pool| format!(" in {pool}")).unwrap_or_default();
                format!("{} {}{pool}", target.kind.as_str(), target.address)
            })
            .collect();
        let said = if targets.is_empty() { "nothing".to_owned() } else { targets.join(", ") };
        writeln!(table, "{text}\n    {said}").unwrap();
    }
    expect![[r#"
        lab POST /nodes/alder/qemu/104/status/start
            guest lab/104
        lab DELETE /nodes/alder/lxc/131
            guest lab/131
        lab POST /nodes/alder/qemu/9000/clone newid=120 pool=web
            guest lab/120 in web, guest lab/9000
        lab POST /nodes/alder/qemu vmid=104 force=1
            guest lab/104
        lab POST /nodes/alder/vzdump vmid=104,105 storage=vault
            guest lab/104, guest lab/105
        lab POST /nodes/alder/vzdump all=1
            node lab/alder
        lab DELETE /nodes/alder/storage/nas/content/nas%3Abackup%2Fvzdump-qemu-104-2026_11_29-01_00_00.vma.zst
            guest lab/104, storage lab/nas
        lab DELETE /nodes/alder/storage/ceph/content/ceph:vm-104-disk-0
            guest lab/104, storage lab/ceph
        lab DELETE /nodes/alder/storage/ceph/content/ceph:base-900-disk-0/vm-104-disk-0
            guest lab/104, storage lab/ceph
        lab DELETE /nodes/alder/storage/vault/content/vault:backup/ct/131/2026-11-29T01:00:00Z
            guest lab/131, storage lab/vault
        lab DELETE /nodes/alder/storage/nas/prunebackups vmid=104
            guest lab/104, storage lab/nas
        lab DELETE /nodes/alder/storage/nas/content/nas:iso/debian-13.iso
            storage lab/nas
        lab POST /nodes/alder/status command=reboot
            node lab/alder
        lab PUT /cluster/ha/resources/vm:104 state=started
            guest lab/104
        lab POST /cluster/ha/resources sid=vm:104
            guest lab/104
        lab DELETE /cluster/replication/104-0
            guest lab/104
        lab PUT /pools/web vms=104,105
            guest lab/104, guest lab/105
        lab POST /cluster/bulk-action/guest/shutdown vms=104,105
            guest lab/104, guest lab/105
        lab PUT /access/acl path=/vms/104
            cluster lab
        vault POST /admin/datastore/main/gc
            datastore vault/main
        vault POST /nodes/localhost/status command=reboot
            node vault/localhost
        vault POST /config/sync store=main
            datastore vault/main
        elsewhere POST /nodes/alder/qemu/104/status/start
            nothing
        lab POST /nodes/alder/qemu/%31%30%34/status/start
            guest lab/104
    "#]].assert_eq(&table);
}

#[expect(clippy::needless_pass_by_value, reason = "as `json!` gives it")]
fn config(value: Value) -> Value {
    let mut config = json!({"digest": "d", "net0": "virtio=BC:24:11:00:00:01,bridge=vmbr0"});
    let fields = value.as_object().unwrap().clone();
    config.as_object_mut().unwrap().extend(fields);
    json!({"data": config})
}

fn lab() -> Scripted {
    let guest = |vmid: u32, kind: &str, node: &str, tags: &str| {
        json!({"type": kind, "id": format!("{kind}/{vmid}"), "vmid": vmid, "name": format!("g{vmid}"),
            "node": node, "status": "running", "tags": tags, "pool": "web"})
    };
    let node = |name: &str| json!({"type": "node", "id": format!("node/{name}"), "node": name, "status": "online"});
    Scripted::new(&[
        (
            "/api2/json/cluster/resources",
            json!({"data": [
                node("alder"), node("birch"),
                guest(104, "qemu", "alder", "prod"), guest(105, "qemu", "birch", "prod;protected"),
                guest(106, "qemu", "birch", ""), guest(131, "lxc", "birch", ""),
            ]}),
        ),
        ("/api2/json/nodes/alder/qemu/104/config", config(json!({"protection": 0}))),
        ("/api2/json/nodes/birch/qemu/105/config", config(json!({"protection": 0}))),
        (
            "/api2/json/nodes/birch/qemu/106/config",
            config(
                json!({"protection": 1, "smbios1": "uuid=0a3b6cfd-6e0a-4b3c-9d42-000000000106,base64=1"}),
            ),
        ),
        (
            "/api2/json/nodes/birch/lxc/131/config",
            config(json!({"net0": "name=eth0,bridge=vmbr0,hwaddr=BC:24:11:00:01:31,type=veth"})),
        ),
    ])
}

fn fleet(script: &Scripted, own: Own) -> Fleet {
    let protecting = Protecting { own, ..Protecting::default() };
    let fleet = Fleet::new(stdx::SystemClock::shared()).with_protecting(protecting);
    fleet.with_pve(key("lab"), &script.client(), Traits::default())
}

async fn said(fleet: &Fleet, addresses: &[&str]) -> String {
    let addresses: Vec<String> = addresses.iter().map(|at| (*at).to_owned()).collect();
    let mut table = String::new();
    match targets(fleet, &addresses).await {
        Ok(targets) => {
            for target in targets {
                let Target { address, node, pool, tags, protection, .. } = target;
                writeln!(table, "{address}: {node:?} {pool:?} {tags:?} {protection:?}").unwrap();
            }
        }
        Err(error) => writeln!(table, "error: {}", error.message()).unwrap(),
    }
    table
}

#[tokio::test]
async fn a_cluster_tells_pool_tags_and_protection() {
    let script = lab();
    let by_mac = Own::found_by(Identity::new([], ["bc:24:11:00:01:31", "00:00:00:00:00:00"]));
    let fleet = fleet(&script, by_mac);
    let all = ["lab/104", "lab/105", "lab/106", "lab/131", "lab/120", "lab"];
    expect![[r#"
        lab/104: Some("alder") Some("web") ["prod"] None
        lab/105: Some("birch") Some("web") ["prod", "protected"] Some(Tag)
        lab/106: Some("birch") Some("web") [] Some(Flag)
        lab/120: None None [] None
        lab/131: Some("birch") Some("web") [] Some(ThisServer)
    "#]]
    .assert_eq(&said(&fleet, &all).await);
    let node = |name: &str| form(&[&format!("lab POST /nodes/{name}/status command=reboot")], &[]);
    let own = of_plan(&fleet, &node("birch")).await.unwrap();
    assert_eq!(own.targets[0].protection, Some(Protection::ThisServersNode));
    let other = of_plan(&fleet, &node("alder")).await.unwrap();
    assert_eq!(other.targets[0].protection, None);
    // Found once: the configurations of all guests are not read again.
    script.take_calls();
    said(&fleet, &["lab/104"]).await;
    expect![[r#"
        GET /api2/json/cluster/resources
        GET /api2/json/nodes/alder/qemu/104/config"#]]
    .assert_eq(&script.take_calls().join("\n"));
}

#[tokio::test]
async fn the_own_guest_is_known_by_uuid_or_by_what_the_operator_says() {
    let script = lab();
    let uuid = Identity::new(["0A3B6CFD-6E0A-4B3C-9D42-000000000106\n"], []);
    assert_eq!(
        Own::found_by(uuid).look(&fleet(&script, Own::none())).await,
        OwnGuest::Found("lab/106".parse().unwrap())
    );
    let set = Own::set("lab/104".parse().unwrap());
    let fleet = fleet(&script, set);
    assert!(said(&fleet, &["lab/104"]).await.contains("ThisServer"));
    let stranger = Identity::new(["0a3b6cfd6e0a4b3c9d42000000000999"], ["02:42:ac:11:00:02"]);
    assert_eq!(Own::found_by(stranger).look(&fleet).await, OwnGuest::None);
    assert!(Identity::new(["no uuid"], ["aa:bb"]).is_empty());
}

#[tokio::test]
async fn what_cannot_be_read_refuses() {
    let script = lab();
    let fleet = fleet(&script, Own::none());
    script.replace(&[]);
    expect![[r#"
        error: cannot read what the call touches in lab: GET /cluster/resources: /api2/json/cluster/resources does not exist (status 500)
    "#]].assert_eq(&said(&fleet, &["lab/104"]).await);
}

#[tokio::test]
async fn a_narrower_fleet_does_not_hide_the_own_guest_from_a_wider_one() {
    let script = lab();
    let own = Own::found_by(Identity::new([], ["bc:24:11:00:01:31"]));
    let wide = fleet(&script, own.clone());
    let narrow = wide.only(|key| key != "lab");
    assert_eq!(own.look(&narrow).await, OwnGuest::None);
    assert_eq!(own.look(&wide).await, OwnGuest::Found("lab/131".parse().unwrap()));
}
