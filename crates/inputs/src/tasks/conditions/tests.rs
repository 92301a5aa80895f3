//! What counts as wrong in the replies of the servers.

use super::*;
use expect_test::{Expect, expect};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

fn reply<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn node() -> NodeName {
    "alder".parse().unwrap()
}

fn check(wrong: &Wrong, expected: &Expect) {
    let lines: Vec<String> = wrong
        .values()
        .map(|it| {
            let well = it.well().map_or_else(|| "nothing".to_owned(), |kind| kind.to_string());
            format!("{} {} at {}: {} (ended by {well})\n", it.kind, it.severity, it.place, it.title)
        })
        .collect();
    expected.assert_eq(&lines.concat());
}

fn resources() -> Vec<Resource> {
    let row = |kind: &str, node: &str, status: &str| json!({"type": kind, "id": "x", "node": node, "status": status});
    let mut nas = row("storage", "alder", "unknown");
    nas["storage"] = json!("nas");
    let mut far = row("storage", "cedar", "unknown");
    far["storage"] = json!("nas");
    reply(json!([
        row("node", "alder", "online"),
        row("node", "birch", "offline"),
        row("node", "cedar", "offline"),
        nas,
        far,
    ]))
}

#[test]
fn of_nodes_and_storages() {
    let ha: HaManagerStatus =
        reply(json!({"manager_status": {"node_status": {"birch": "maintenance"}}}));
    check(
        &nodes(&resources(), Some(&ha)),
        &expect![[r#"
            node.offline info at ?/node/birch: node birch does not answer; it is in maintenance (ended by node.online)
            node.offline error at ?/node/cedar: node cedar does not answer (ended by node.online)
        "#]],
    );
    // Of a node that is away nobody knows.
    check(
        &storages(&resources()),
        &expect![[r#"
            storage.error error at ?/node/alder/storage/nas: storage nas does not answer on alder: unknown (ended by storage.freed)
        "#]],
    );
}

#[test]
fn of_the_cluster() {
    let status = reply::<Vec<ClusterStatus>>(json!([
        {"type": "cluster", "id": "cluster", "name": "lab", "quorate": 0},
        {"type": "node", "id": "node/alder", "name": "alder", "online": 1},
    ]));
    check(
        &quorum(&status),
        &expect![[r#"
            quorum.lost critical at ?: cluster lab has no quorum (ended by quorum.regained)
        "#]],
    );
    let status: HaManagerStatus = reply(json!({"manager_status": {
        "node_status": {"birch": "fence", "alder": "online"},
        "service_status": {
            "vm:104": {"node": "alder", "state": "error"}, "ct:130": {"node": "alder", "state": "started"},
        },
    }}));
    check(
        &ha(&status),
        &expect![[r#"
            ha.error error at ?/guest/104: HA cannot keep vm:104 as it should be: its state is error (ended by ha.started)
            node.fenced critical at ?/node/birch: HA fences node birch (ended by nothing)
        "#]],
    );
    let jobs = reply::<Vec<ReplicationStatus>>(json!([
        {"id": "104-0", "guest": 104, "jobnum": 0, "target": "birch", "fail_count": 3, "error": "no route"},
        {"id": "105-0", "guest": 105, "jobnum": 0, "target": "birch", "fail_count": 0},
    ]));
    check(
        &replication(&node(), &jobs),
        &expect![[r#"
            replication.failed error at ?/guest/104: replication 104-0 of guest 104 to birch fails (ended by replication.finished)
        "#]],
    );
}

#[test]
fn of_pools_and_disks() {
    let pools = reply::<Vec<ZfsPool>>(json!([
        {"name": "rpool", "health": "ONLINE", "size": 1, "alloc": 1, "free": 0},
        {"name": "tank", "health": "DEGRADED", "size": 1, "alloc": 1, "free": 0},
    ]));
    check(
        &zfs(&node(), &pools),
        &expect![[r#"
            pool.degraded critical at ?/node/alder: ZFS pool tank on alder is DEGRADED (ended by pool.restored)
        "#]],
    );
    let status: CephStatus = reply(json!({"health": {"status": "HEALTH_ERR", "checks": {
        "OSD_DOWN": {"severity": "HEALTH_WARN", "summary": {"message": "1 osds down"}, "detail": [{"message": "osd.3 is down"}]},
        "PG_DAMAGED": {"severity": "HEALTH_ERR", "summary": {"message": "1 pg inconsistent"}},
        "POOL_NO_REDUNDANCY": {"severity": "HEALTH_WARN", "muted": true},
    }}}));
    check(
        &ceph(&status),
        &expect![[r#"
            ceph.error error at ?: Ceph PG_DAMAGED: 1 pg inconsistent (ended by ceph.ok)
            ceph.warning warning at ?: Ceph OSD_DOWN: 1 osds down (ended by ceph.ok)
        "#]],
    );
    let list = reply::<Vec<Disk>>(json!([
        {"devpath": "/dev/sda", "serial": "S1", "model": "M", "health": "FAILED", "wearout": "N/A"},
        {"devpath": "/dev/sdb", "serial": "S2", "model": "M", "health": "PASSED", "wearout": 4},
        {"devpath": "/dev/sdc", "health": "UNKNOWN", "wearout": 90},
    ]));
    check(
        &disks(&node(), &list),
        &expect![[r#"
            disk.failing error at ?/node/alder: disk /dev/sda (M S1) of alder says FAILED (ended by nothing)
            disk.worn warning at ?/node/alder: disk /dev/sdb (M S2) of alder has 4 % of its life left (ended by nothing)
        "#]],
    );
}

#[test]
fn of_what_ends_and_what_is_new() {
    let now: Timestamp = "2026-11-22T00:00:00Z".parse().unwrap();
    let ends = |text: &str| text.parse::<Timestamp>().ok();
    let list = [
        ("old.pem", ends("2026-11-21T00:00:00Z")),
        ("soon.pem", ends("2026-12-01T00:00:00Z")),
        ("fine.pem", ends("2027-12-01T00:00:00Z")),
        ("odd.pem", None),
    ];
    check(
        &certificates(&node(), list, now),
        &expect![[r#"
            certificate.expiring error at ?/node/alder: certificate old.pem of alder ends at 2026-11-21T00:00:00Z (ended by certificate.renewed)
            certificate.expiring warning at ?/node/alder: certificate soon.pem of alder ends at 2026-12-01T00:00:00Z (ended by certificate.renewed)
        "#]],
    );
    assert!(updates(&node(), &[]).is_empty());
    check(
        &updates(&node(), &["openssl", "tzdata"]),
        &expect![[r#"
            updates.available info at ?/node/alder: 2 newer packages for alder (ended by nothing)
        "#]],
    );
    let usages = reply::<Vec<DatastoreUsage>>(json!([
        {"store": "main", "total": 100, "used": 1, "avail": 99},
        {"store": "away", "error": "No such device"},
        {"store": "off", "error": "maintenance", "maintenance": "offline"},
    ]));
    check(
        &datastores(&usages),
        &expect![[r#"
            storage.error error at ?/datastore/away: datastore away cannot be read: No such device (ended by storage.freed)
        "#]],
    );
}
