//! `edge`: a standalone node with the same node name, storage names and guest ids as `lab`.

use serde_json::json;

use super::{GIB, Spec, add, iso, new_cluster, object, storage};
use crate::state::admin::Zpool;
use crate::state::{Cluster, GuestKind, Node};

/// Id, kind, name, cores, memory MiB, disk GiB, tags, running, agent answers.
type Row = (u32, char, &'static str, u64, u64, u64, &'static str, bool, bool);

/// Builds the node; without guests and jobs if it is not to be `full`.
pub(super) fn cluster(now: i64, full: bool) -> Cluster {
    let mut edge = new_cluster("edge", None);
    let mut node = Node::new("alder", "10.60.0.11", now, 8, 32);
    node.disks = vec![("/dev/sda", "CT1000MX500SSD1", "2117E59A", 1_000_204_886_016, "PASSED", 88)];
    node.host.pools.push(Zpool {
        name: "rpool",
        health: "ONLINE",
        size: 120 * GIB,
        used: 31 * GIB,
        group: "mirror-0",
        devices: vec![("sda3", "ONLINE"), ("sdb3", "ONLINE")],
    });
    edge.nodes.push(node);
    edge.storages = vec![
        storage(
            "local",
            "dir",
            "iso,vztmpl,backup",
            false,
            94,
            &[0.55],
            json!({"path": "/var/lib/vz", "prune-backups": "keep-last=2"}),
        ),
        storage(
            "local-lvm",
            "lvmthin",
            "images,rootdir",
            false,
            780,
            &[0.34],
            json!({"thinpool": "data", "vgname": "pve"}),
        ),
        storage(
            "vault",
            "pbs",
            "backup",
            true,
            20_000,
            &[0.58],
            json!({"server": "10.40.0.50", "datastore": "main", "namespace": "edge", "username": "backup@pbs!edge"}),
        ),
    ];
    iso(
        &mut edge.storages[0],
        Some(0),
        "debian-13-standard_13.1-2_amd64.tar.zst",
        130_000_000,
        now,
    );
    if !full {
        return edge;
    }
    let rows: &[Row] = &[
        (100, 'q', "pos-server", 4, 8192, 80, "prod", true, true),
        (101, 'q', "camera-nvr", 4, 8192, 300, "prod", true, false),
        (102, 'q', "router", 2, 2048, 8, "infra", true, true),
        (103, 'q', "win-office", 4, 8192, 100, "office", true, true),
        (104, 'q', "print-server", 2, 4096, 40, "office", false, true),
        (105, 'q', "test-vm", 2, 2048, 20, "dev", false, false),
        (106, 'c', "dns", 1, 512, 4, "infra", true, false),
        (107, 'c', "dhcp", 1, 512, 4, "infra", true, false),
        (108, 'c', "cache", 2, 2048, 60, "infra", true, false),
        (109, 'c', "time", 1, 256, 4, "infra", true, false),
        (200, 'q', "backup-relay", 2, 4096, 40, "infra", true, true),
        (201, 'c', "scratch", 1, 512, 8, "dev", false, false),
    ];
    for (vmid, kind, name, cores, memory, disk, tags, on, agent) in rows.iter().copied() {
        let kind = if kind == 'q' { GuestKind::Qemu } else { GuestKind::Lxc };
        let spec = Spec {
            vmid,
            kind,
            name,
            node: 0,
            cores,
            memory,
            disk,
            storage: "local-lvm",
            tags,
            pool: "",
            on,
            agent,
        };
        add(&mut edge, &spec, now);
    }
    let night = (now / 86_400_000 + 1) * 86_400;
    edge.backup_jobs = vec![object(json!({
        "id": "backup-edge", "type": "vzdump", "enabled": 1, "schedule": "02:30", "all": 1, "exclude": "105,201",
        "storage": "vault", "mode": "snapshot", "next-run": night + 9000,
    }))];
    edge
}
