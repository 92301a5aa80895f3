//! One cluster of any size, for measurements.

use serde_json::json;

use super::{Spec, add, new_cluster, storage};
use crate::state::{Cluster, GuestKind, Node};

/// Builds `nodes` nodes with `guests` guests spread over them.
pub(super) fn cluster(nodes: u32, guests: u32, now: i64) -> Cluster {
    let nodes = nodes.max(1) as usize;
    let mut lab = new_cluster("lab", Some("scale"));
    for at in 0..nodes {
        let address = format!("10.80.{}.{}", at / 200, 1 + at % 200);
        lab.nodes.push(Node::new(&format!("node{:03}", at + 1), &address, now, 64, 512));
    }
    let used = vec![0.4; nodes];
    lab.storages = vec![
        storage(
            "local",
            "dir",
            "iso,vztmpl,backup",
            false,
            94,
            &used,
            json!({"path": "/var/lib/vz"}),
        ),
        storage(
            "local-lvm",
            "lvmthin",
            "images,rootdir",
            false,
            4000,
            &used,
            json!({"thinpool": "data", "vgname": "pve"}),
        ),
        storage(
            "ceph-vm",
            "rbd",
            "images,rootdir",
            true,
            200_000,
            &[0.5],
            json!({"pool": "ceph-vm"}),
        ),
    ];
    lab.pools.insert("production".to_owned(), None);
    for at in 0..guests {
        let kind = if at % 4 == 3 { GuestKind::Lxc } else { GuestKind::Qemu };
        // The names live as long as the program; a measurement makes one such estate.
        let name: &'static str = Box::leak(format!("guest-{at:05}").into_boxed_str());
        let spec = Spec {
            vmid: 1000 + at,
            kind,
            name,
            node: at as usize % nodes,
            cores: 2,
            memory: 2048,
            disk: 32,
            storage: "ceph-vm",
            tags: if at % 3 == 0 { "prod;web" } else { "dev" },
            pool: if at % 3 == 0 { "production" } else { "" },
            on: at % 10 != 0,
            agent: kind == GuestKind::Qemu && at % 2 == 0,
        };
        add(&mut lab, &spec, now);
    }
    lab
}
