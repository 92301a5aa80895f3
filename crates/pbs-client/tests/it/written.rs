//! Replies that no recording shows, written in the shape that servers give them.

use pbs_client::{access, datastores, groups, jobs, node, notifications, snapshots, traffic};
use secrecy::ExposeSecret;

use testkit::calls::{Written, written};

/// One of each type at least.
pub(crate) fn all() -> Vec<Written> {
    vec![
        written(
            r#"{"total": 1000, "used": 870, "avail": 130, "counts": {"vm": {"groups": 2, "snapshots": 9}, "ct": null, "host": null,
                "other": {"groups": 0, "snapshots": 0}}, "gc-status": {"upid": null, "disk-bytes": 10, "index-data-bytes": 40}}"#,
            |status: &datastores::DatastoreStatus| {
                let counts = status.counts.as_ref().expect("written above");
                assert_eq!(
                    (counts.vm.as_ref().expect("written above").snapshots, counts.ct.is_none()),
                    (9, true)
                );
                assert_eq!(status.gc.as_ref().expect("written above").dedup_factor(), Some(4.0));
            },
        ),
        written(
            r#"{"store": "usb", "error": "datastore is not mounted", "mount-status": "notmounted", "maintenance": "offline"}"#,
            |usage: &datastores::DatastoreUsage| {
                assert_eq!((usage.total_bytes, usage.error.is_some()), (None, true));
                assert_eq!(usage.mount_status, Some(datastores::MountStatus::NotMounted));
            },
        ),
        written(
            r#"{"removed-groups": 1, "removed-snapshots": 3, "protected-snapshots": 0}"#,
            |deleted: &groups::GroupsDeleted| assert_eq!(deleted.removed_snapshots, 3),
        ),
        written(
            r#"{"backup-type": "vm", "backup-id": "104", "backup-time": 1795369926, "owner": "mcp@pbs", "size": 12583405, "protected": true,
                "verification": {"upid": "UPID:vm:00000753:0004E502:0000000A:6B032CF7:verify:lab:lab@pbs!ci:", "state": "failed"},
                "fingerprint": "aa:bb", "files": [{"filename": "index.json.blob"}]}"#,
            |snapshot: &snapshots::Snapshot| {
                let verification = snapshot.verification.as_ref().expect("written above");
                assert_eq!(verification.state, snapshots::VerifyState::Failed);
                assert!(snapshot.protected && snapshot.files[0].size_bytes.is_none());
            },
        ),
        written(
            r#"{"id": "offsite", "store": "main", "ns": "lab", "remote": "other", "remote-store": "main", "sync-direction": "pull",
                "group-filter": ["type:vm", "exclude:regex:^(a,b)$"], "remove-vanished": false, "schedule": "hourly", "rate-in": "10 MB",
                "last-run-state": "connection refused", "last-run-endtime": 1795370308, "next-run": 1795373908,
                "last-run-upid": "UPID:vm:00000753:0004E502:0000000C:6B032D44:sync:lab2:lab@pbs!ci:"}"#,
            |job: &jobs::SyncJob| {
                assert_eq!(job.group_filter[1].0, "exclude:regex:^(a,b)$");
                assert_eq!(job.last_state.as_deref(), Some("connection refused"));
            },
        ),
        written(
            r#"{"id": "to-tape", "store": "main", "ns": "prod", "pool": "weekly", "drive": "lto9", "schedule": "sat 04:00",
                "comment": "off site", "max-depth": 3, "group-filter": ["type:vm"], "latest-only": true, "eject-media": true,
                "export-media-set": false, "worker-threads": 4, "notification-mode": "legacy-sendmail", "notify-user": "ann@pbs"}"#,
            |job: &jobs::TapeBackupJob| {
                assert_eq!((job.id.as_str(), job.pool.as_str()), ("to-tape", "weekly"));
                assert_eq!(job.notification_mode.as_deref(), Some("legacy-sendmail"));
                assert_eq!(job.notify_user.as_deref(), Some("ann@pbs"));
            },
        ),
        written(
            r#"{"service": "proxmox-backup-proxy", "name": "proxmox-backup-proxy", "desc": "API proxy", "state": "running", "unit-state": "enabled"}"#,
            |service: &node::Service| assert_eq!(service.state, "running"),
        ),
        written(
            r#"{"description": "rack 3", "http-proxy": "http://proxy:3128", "task-log-max-days": 90}"#,
            |config: &node::NodeConfig| {
                assert_eq!((config.task_log_days, config.rest.len()), (Some(90), 0));
            },
        ),
        written(
            r#"{"name": "sda", "devpath": "/dev/sda", "disk-type": "ssd", "size": 512110190592, "model": "Drive 1", "vendor": "ATA",
                "serial": "S1", "wwn": "0x0", "status": "passed", "wearout": 3.0, "rpm": null, "used": "zfs", "gpt": true, "partitions": []}"#,
            |disk: &node::Disk| {
                assert_eq!((disk.wearout, disk.status.as_deref()), (Some(3.0), Some("passed")));
            },
        ),
        written(
            r#"{"name": "tank", "health": "ONLINE", "size": 498216206336, "alloc": 120259084288, "free": 377957122048, "frag": 12, "dedup": 1.0}"#,
            |pool: &node::ZfsPool| assert_eq!(pool.health, "ONLINE"),
        ),
        written(
            r#"[{"Package": "proxmox-backup-server", "OldVersion": "4.2.1-1", "Version": "4.2.1-1", "Title": "x", "Description": "x", "Arch": "amd64",
                "Priority": "optional", "Section": "admin", "Origin": "Proxmox", "ExtraInfo": "running version: 4.2.1"}]"#,
            |versions: &Vec<node::AptVersion>| {
                assert_eq!(versions[0].extra.as_deref(), Some("running version: 4.2.1"));
            },
        ),
        written(
            r#"{"status": "passed", "wearout": 97.0, "attributes": [{"id": 5, "name": "Reallocated_Sector_Ct", "value": "8", "raw": "8",
                "normalized": 99.0, "worst": 99.0, "threshold": 10.0, "flags": "PO--CK"}, {"name": "percentage_used", "value": "3", "raw": "3"}]}"#,
            |smart: &node::Smart| {
                assert_eq!(
                    (smart.wearout, smart.attributes[1].raw.as_deref()),
                    (Some(97.0), Some("3"))
                );
                assert_eq!(
                    (smart.attributes[0].id, smart.attributes[0].threshold),
                    (Some(5), Some(10.0))
                );
            },
        ),
        written(
            r#"{"name": "tank", "state": "DEGRADED", "status": "One or more devices has been removed", "action": "Replace it", "scan": "none requested",
                "errors": "No known data errors", "leaf": false, "children": [{"name": "sda", "state": "REMOVED", "read": 0, "write": 0,
                "cksum": 3, "msg": "was /dev/sda1", "leaf": true}]}"#,
            |pool: &node::ZfsDevice| {
                assert_eq!(
                    (pool.state.as_deref(), pool.children[0].checksum_errors),
                    (Some("DEGRADED"), Some(3))
                );
            },
        ),
        written(
            r#"[{"userid": "a@pbs", "entries": [{"id": "t", "type": "totp", "enable": true, "created": 1795300000, "description": "phone"}],
                "totp-locked": false, "tfa-locked-until": 0}]"#,
            |users: &Vec<access::UserFactors>| assert_eq!(users[0].entries[0].kind, "totp"),
        ),
        written(
            r#"{"name": "ops", "url": "https://example.org/hook", "method": "post", "origin": "user-created",
                "header": ["name=Authorization,value=c2VjcmV0"]}"#,
            |endpoint: &notifications::Endpoint| {
                assert!(!format!("{endpoint:?}").contains("c2VjcmV0"));
            },
        ),
        written(
            r#"{"name": "office", "network": ["10.0.0.0/8"], "rate-out": "5 MB", "timeframe": ["mon..fri 8:00-19:00"], "users": ["a@pbs"]}"#,
            |rule: &traffic::TrafficRule| assert_eq!(rule.timeframes[0].0, "mon..fri 8:00-19:00"),
        ),
        written(
            r#"{"username": "root@pam", "ticket": "PBS:root@pam:6B033EDA::c2ln", "CSRFPreventionToken": "6B033EDA:c3Ny"}"#,
            |ticket: &access::Ticket| {
                assert!(ticket.csrf_token.is_some() && !format!("{ticket:?}").contains("c2ln"));
            },
        ),
        written(
            r#"{"tokenid": "mcp@pbs!agent", "value": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"}"#,
            |token: &access::NewToken| {
                assert!(token.secret.expose_secret().starts_with("aaaa"));
                assert!(!format!("{token:?}").contains("aaaa"));
            },
        ),
        written(
            r#"{"secret": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"}"#,
            |new: &access::NewSecret| {
                assert!(!format!("{new:?}").contains("aaaa"));
            },
        ),
        written(
            r#"{"filepath": "L2V0Yy9ob3N0bmFtZQ==", "text": "hostname", "type": "f", "leaf": true, "size": 8, "mtime": 1795369926}"#,
            |entry: &snapshots::CatalogEntry| {
                assert_eq!(
                    (entry.name.as_str(), entry.size_bytes, entry.leaf),
                    ("hostname", Some(8), true)
                );
            },
        ),
        // What a file's bytes or a job's own settings are read as says nothing about their shape.
        written("null", |(): &()| {}),
        written(
            r#"{"id": "daily", "store": "main", "keep-last": 3}"#,
            |job: &serde_json::Map<String, serde_json::Value>| assert_eq!(job["keep-last"], 3),
        ),
    ]
}
