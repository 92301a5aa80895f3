//! The part of the tables that speaks of Ceph, HA rules and second factors.

use pve_client::{access, ceph, ha};

use testkit::calls::{Case, Written, case, checked, written};

use crate::calls::node;

/// The builders.
pub(crate) fn calls() -> Vec<Case> {
    let n = &node();
    let apart = ha::HaRuleParams {
        resources: ["vm:100", "vm:101"].into_iter().collect(),
        ..ha::HaRuleParams::default()
    };
    vec![
        case("/cluster/ceph/status", ceph::status()),
        case("/nodes/{node}/ceph/osd", ceph::osds(n)),
        case("/nodes/{node}/ceph/pool", ceph::pools(n)),
        case("/nodes/{node}/ceph/mon", ceph::monitors(n)),
        checked("/access/tfa", access::factors(), |users: &Vec<access::UserFactors>| {
            assert!(users.is_empty());
        }),
        case("/cluster/ha/rules", ha::create_rule("apart", "resource-affinity", apart.clone()))
            .takes(ha::HaRuleParams::NAMES),
        case(
            "/cluster/ha/rules/{rule}",
            ha::update_rule("apart", "resource-affinity", apart, Some("d")),
        )
        .takes(ha::HaRuleParams::NAMES),
        case("/cluster/ha/rules/{rule}", ha::delete_rule("apart")),
    ]
}

/// Replies that no recording shows.
pub(crate) fn replies() -> Vec<Written> {
    vec![
        written(
            r#"{"fsid": "0f3c2b1a", "quorum_names": ["pve1"], "monmap": {"mons": [{"name": "pve1"}, {"name": "pve2"}]},
                "health": {"status": "HEALTH_WARN", "checks": {"OSD_DOWN": {"severity": "HEALTH_WARN", "muted": false,
                    "summary": {"message": "1 osds down", "count": 1}, "detail": [{"message": "osd.3 (root=default,host=pve2) is down"}]}}},
                "osdmap": {"num_osds": 4, "num_up_osds": 3, "num_in_osds": 4},
                "mgrmap": {"available": true, "active_name": "pve1", "standbys": [{"name": "pve2"}]},
                "pgmap": {"num_pgs": 129, "num_pools": 2, "num_objects": 900, "bytes_used": 10, "bytes_avail": 20, "bytes_total": 30,
                    "degraded_objects": 12, "degraded_ratio": 0.013, "misplaced_objects": 1, "misplaced_ratio": 0.001, "read_bytes_sec": 5,
                    "write_bytes_sec": 6, "recovering_bytes_per_sec": 7, "pgs_by_state": [{"state_name": "active+clean", "count": 129}]}}"#,
            |status: &ceph::CephStatus| {
                let check = &status.health.checks["OSD_DOWN"];
                assert_eq!(check.summary.as_ref().and_then(|it| it.count), Some(1));
                assert_eq!(status.osds.as_ref().map(|osds| (osds.all, osds.up)), Some((4, 3)));
                let groups = status.groups.as_ref().expect("written above");
                assert_eq!((groups.states[0].count, groups.degraded_objects), (129, Some(12)));
            },
        ),
        written(
            r#"{"flags": "noout,sortbitwise", "root": {"children": [{"id": "-1", "name": "default", "type": "root", "children": [
                {"id": "-3", "name": "pve1", "type": "host", "children": [{"id": "0", "name": "osd.0", "type": "osd", "status": "up", "in": 1,
                    "host": "pve1", "device_class": "nvme", "percent_used": 52.1, "total_space": 960, "bytes_used": 500, "pgs": 43,
                    "apply_latency_ms": 0, "commit_latency_ms": 1, "ceph_version_short": "19.2.3", "reweight": 1}]}]}]}}"#,
            |tree: &ceph::CephOsdTree| {
                let daemons = tree.root.as_ref().expect("written above").daemons();
                assert_eq!((daemons.len(), daemons[0].member), (1, Some(true)));
                assert_eq!((daemons[0].id, daemons[0].used_percent), (Some(0), Some(52.1)));
            },
        ),
        written(
            r#"[{"pool": 2, "pool_name": "ceph-vm", "type": "replicated", "size": 3, "min_size": 2, "pg_num": 128, "pg_num_final": 256,
                "pg_autoscale_mode": "warn", "crush_rule_name": "replicated_rule", "bytes_used": 900, "percent_used": 0.52,
                "application_metadata": {"rbd": {}}}]"#,
            |pools: &Vec<ceph::CephPool>| {
                assert_eq!((pools[0].name.as_str(), pools[0].size), ("ceph-vm", 3));
                assert_eq!((pools[0].groups_wanted, pools[0].used_share), (Some(256), Some(0.52)));
            },
        ),
        written(
            r#"[{"name": "pve1", "host": "pve1", "addr": "10.0.0.1:6789/0", "quorum": 1, "state": "running",
                "ceph_version_short": "19.2.3"}]"#,
            |monitors: &Vec<ceph::CephMonitor>| assert_eq!(monitors[0].quorum, Some(true)),
        ),
        written(
            r#"[{"userid": "alice@pve", "totp-locked": 1, "tfa-locked-until": 1795370000,
                "entries": [{"id": "t1", "type": "totp", "enable": 0, "created": 1795300000, "description": "phone"}]}]"#,
            |users: &Vec<access::UserFactors>| {
                assert_eq!(
                    (users[0].user.as_str(), users[0].totp_locked),
                    ("alice@pve", Some(true))
                );
                assert_eq!(
                    (users[0].entries[0].kind.as_str(), users[0].entries[0].enabled),
                    ("totp", Some(false))
                );
            },
        ),
    ]
}
