//! `vault`: the backup server of `lab` and `edge`.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;

use super::{GIB, object, pbs_access};
use crate::notify::Notifying;
use crate::state::admin::{Host, Zpool};
use crate::state::levers::Faults;
use crate::state::vault::{Backup, Gc, Image};
use crate::state::{Cluster, Datastore, GuestKind, Tasks, Vault, noise};

/// The guest whose backups stopped weeks ago.
const STALE: u32 = 114;
/// The guest whose last verification failed.
const BROKEN: u32 = 106;

/// Builds the server with backups of the guests in `clusters`; without any if it is not to be `full`.
pub(super) fn vault(now: i64, clusters: &[Cluster], full: bool) -> Vault {
    let mut main = datastore("main", "everything that matters", 20_000, 0.58, now);
    main.namespaces = vec!["lab".to_owned(), "edge".to_owned()];
    let archive = datastore("archive", "yearly copies", 40_000, 0.22, now);
    let mut vault = Vault {
        key: "vault".to_owned(),
        node: "vault".to_owned(),
        booted: now - 51 * 86_400_000,
        online: true,
        fingerprint: String::new(),
        pem: String::new(),
        not_after: now / 1000 + 900 * 86_400,
        datastores: vec![main, archive],
        verify_jobs: Vec::new(),
        sync_jobs: Vec::new(),
        prune_jobs: Vec::new(),
        tape_jobs: Vec::new(),
        remotes: Vec::new(),
        traffic: Vec::new(),
        notifying: Notifying::default(),
        tasks: Tasks::new(true),
        access: pbs_access(),
        faults: Faults::default(),
        host: host(),
    };
    if !full {
        return vault;
    }
    vault.verify_jobs = vec![object(json!({
        "id": "main-weekly", "store": "main", "schedule": "weekly", "ignore-verified": true, "outdated-after": 30,
    }))];
    vault.prune_jobs = vec![object(json!({
        "id": "main-daily", "store": "main", "schedule": "daily", "keep-daily": 7, "keep-weekly": 4, "keep-last": 3,
    }))];
    vault.sync_jobs = vec![object(json!({
        "id": "main-to-archive", "store": "archive", "remote": "offsite", "remote-store": "main",
        "schedule": "sun 04:00", "owner": "root@pam",
    }))];
    vault.remotes = vec![object(json!({
        "name": "offsite", "host": "10.90.0.5", "auth-id": "sync@pbs!vault", "comment": "the other building",
        "fingerprint": "a1:b2:c3:d4:e5:f6:07:18:29:3a:4b:5c:6d:7e:8f:90:a1:b2:c3:d4:e5:f6:07:18:29:3a:4b:5c:6d:7e:8f:90",
    }))];
    vault.traffic = vec![object(json!({
        "name": "office-hours", "network": ["10.60.0.0/24"], "rate-in": "20 MB", "timeframe": ["mon..fri 8-18"],
    }))];
    for cluster in clusters {
        let night = (now / 86_400_000) * 86_400 + if cluster.key == "lab" { 3600 } else { 9000 };
        // The last run is over by now, whenever that is.
        let night = if (night + 3 * 3600) * 1000 > now { night - 86_400 } else { night };
        for guest in cluster.guests.values() {
            let covered = match cluster.key.as_str() {
                "lab" => guest.pool.as_deref() == Some("production"),
                _ => !matches!(guest.vmid, 105 | 201),
            };
            if !covered {
                continue;
            }
            // The newest is missing where the last run failed.
            let first = match (cluster.key.as_str(), guest.vmid) {
                ("lab", STALE) => 24,
                ("lab", 112) => 1,
                _ => 0,
            };
            let image = Arc::new(Image::of(guest));
            for day in first..first + 5 {
                let broken = cluster.key == "lab" && guest.vmid == BROKEN && day == 1;
                let time = night - 86_400 * day + i64::from(guest.vmid % 50) * 61;
                let size =
                    (guest.maxdisk() as f64 * (0.25 + 0.3 * noise(u64::from(guest.vmid)))) as u64;
                vault.datastores[0].snapshots.push(Backup {
                    ns: cluster.key.clone(),
                    kind: if guest.kind == GuestKind::Qemu { "vm" } else { "ct" },
                    id: guest.vmid.to_string(),
                    time,
                    size: size.max(GIB),
                    owner: format!("backup@pbs!{}", cluster.key),
                    protected: guest.vmid == 104 && day == 4,
                    comment: Some(guest.name()),
                    verified: (day > 0).then(|| (!broken, verification(time + 5 * 3600))),
                    corrupt: broken,
                    image: Some(Arc::clone(&image)),
                });
            }
        }
    }
    vault.datastores[1].snapshots.push(Backup {
        ns: String::new(),
        kind: "host",
        id: "old-nas".to_owned(),
        time: now / 1000 - 200 * 86_400,
        size: 900 * GIB,
        owner: "root@pam".to_owned(),
        protected: true,
        comment: Some("kept by law until 2031".to_owned()),
        verified: Some((true, String::new())),
        corrupt: false,
        image: None,
    });
    let notes = &mut vault.datastores[0].group_notes;
    notes.insert(("lab".to_owned(), "vm".to_owned(), "104".to_owned()), "main database".to_owned());
    vault
}

/// The task that verified something at `time`.
fn verification(time: i64) -> String {
    format!(
        "UPID:vault:000012AB:0034F1C2:00000011:{time:08X}:verificationjob:main\\x3amain\\x2dweekly:root@pam:"
    )
}

fn datastore(name: &str, comment: &str, total: u64, share: f64, now: i64) -> Datastore {
    Datastore {
        name: name.to_owned(),
        comment: Some(comment.to_owned()),
        path: format!("/mnt/datastore/{name}"),
        gc_schedule: Some("sat 02:00".to_owned()),
        maintenance: None,
        total: total * GIB,
        used: ((total * GIB) as f64 * share) as u64,
        notification: serde_json::Map::new(),
        namespaces: Vec::new(),
        snapshots: Vec::new(),
        group_notes: BTreeMap::new(),
        gc: Gc {
            upid: None,
            start: now / 1000 - 40_812,
            end: now / 1000 - 40_000,
            duration: 812,
            state: "OK".to_owned(),
            removed: 31 * GIB,
            pending: 3 * GIB,
        },
        // Pruned in the last nights: some was too young for the last collection.
        garbage: vec![(7 * GIB, now / 1000 - 3 * 86_400), (3 * GIB, now / 1000 - 60_000)],
    }
}

/// Four disks in one pool.
fn host() -> Host {
    let tank = Zpool {
        name: "tank",
        health: "ONLINE",
        size: 72_000 * GIB,
        used: 27_400 * GIB,
        group: "raidz1-0",
        devices: ["sda", "sdb", "sdc", "sdd"].map(|disk| (disk, "ONLINE")).to_vec(),
    };
    Host { pools: vec![tank], ..Host::default() }
}
