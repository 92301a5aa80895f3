//! Replies that no recording shows, written in the shape that servers give them.

use estate::VmId;
use pve_client::{
    access, agent,
    cluster::{backup, replication},
    console, disks, fetch, ha, lxc, nodes, notifications, rrd, storage,
};
use secrecy::ExposeSecret;

use testkit::calls::{Written, written};

/// One of each type at least.
pub(crate) fn all() -> Vec<Written> {
    [
        cluster_wide(),
        node_wide(),
        guests(),
        access_control(),
        crate::admin::replies(),
        crate::net::replies(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn cluster_wide() -> Vec<Written> {
    vec![
        written(
            r#"{"id": "backup-1", "type": "vzdump", "enabled": 1, "schedule": "02:30", "next-run": 1795400000,
                "storage": "nas", "vmid": "100,101", "mode": "snapshot", "compress": "zstd", "notes-template": "{{guestname}}",
                "prune-backups": {"keep-last": "3"}, "repeat-missed": 0, "fleecing": {"enabled": "0"}, "comment": "nightly"}"#,
            |job: &backup::BackupJob| {
                assert_eq!(job.vmids.iter().map(|id| id.get()).collect::<Vec<_>>(), [100, 101]);
                assert!(job.is_enabled() && !job.all);
                assert_eq!(job.prune_backups["keep-last"], "3");
            },
        ),
        written(
            r#"{"children": [{"id": 100, "name": "web", "type": "qemu", "children": [
                {"id": "scsi0", "name": "local:100/vm-100-disk-0.qcow2", "included": 1, "reason": "enabled"},
                {"id": "scsi1", "name": "local:100/vm-100-disk-1.qcow2", "included": 0, "reason": "disabled"}]}]}"#,
            |volumes: &backup::IncludedVolumes| {
                let by_guest = volumes.by_guest();
                let vmid: VmId = "100".parse().expect("written above");
                assert_eq!(by_guest[&vmid].len(), 1);
            },
        ),
        written(
            r#"{"id": "100-0", "guest": 100, "jobnum": 0, "source": "pve1", "target": "pve2", "type": "local",
                "schedule": "*/15", "rate": 10, "disable": 1, "comment": "to the other"}"#,
            |job: &replication::ReplicationJob| {
                assert_eq!(
                    (job.guest.get(), job.target.as_str(), job.disabled),
                    (100, "pve2", true)
                );
            },
        ),
        written(
            r#"{"id": "100-0", "guest": "100", "jobnum": "0", "source": "pve1", "target": "pve2", "type": "local", "vmtype": "qemu",
                "schedule": "*/15", "last_sync": 1795370000, "last_try": 1795371000, "next_sync": 1795372000, "duration": 3.25,
                "fail_count": 2, "error": "command 'set -o pipefail' failed: exit code 255"}"#,
            |status: &replication::ReplicationStatus| {
                assert_eq!((status.fail_count, status.duration_secs), (2, Some(3.25)));
                assert!(status.error.is_some() && status.last_sync < status.last_try);
            },
        ),
        written(
            r#"{"sid": "vm:104", "type": "vm", "state": "started", "max_restart": 1, "max_relocate": 1, "failback": 1,
                "digest": "9579bbdc6722b71a90abd0618bd64094b0bf3b4b"}"#,
            |resource: &ha::HaResource| {
                assert_eq!(
                    (resource.sid.as_str(), &resource.state),
                    ("vm:104", &Some(ha::HaWish::Started))
                );
            },
        ),
        written(
            r#"{"group": "fast", "type": "group", "nodes": "pve1:2,pve2", "restricted": 1, "nofailback": 0, "digest": "00"}"#,
            |group: &ha::HaGroup| {
                assert_eq!(
                    (group.nodes.len(), group.restricted, group.no_failback),
                    (2, true, false)
                );
            },
        ),
        written(
            r#"{"rule": "together", "type": "resource-affinity", "resources": "vm:100,vm:101", "affinity": "positive", "digest": "00"}"#,
            |rule: &ha::HaRule| assert_eq!(rule.resources, ["vm:100", "vm:101"]),
        ),
        written(
            r#"{"sid": "vm:104", "requested-node": "pve2", "comigrated-resources": ["vm:105"]}"#,
            |moved: &ha::HaMove| assert_eq!(moved.comigrated, ["vm:105"]),
        ),
        written(
            r#"{"manager_status": {"master_node": "pve1", "timestamp": 1795372683, "node_status": {"pve1": "online"},
                "service_status": {"vm:104": {"node": "pve1", "state": "error", "running": 0, "uid": "x"}}},
                "quorum": {"quorate": "1", "node": "pve1"},
                "lrm_status": {"pve1": {"mode": "active", "state": "wait_for_agent_lock", "timestamp": 1795372680}}}"#,
            |status: &ha::HaManagerStatus| {
                assert_eq!(status.manager.services["vm:104"].state, "error");
                assert_eq!(status.lrm["pve1"].mode.as_deref(), Some("active"));
            },
        ),
        written(
            r#"[{"id": "service:vm:117", "type": "service", "sid": "vm:117", "node": "pve2", "state": "error", "crm_state": "error",
                "request_state": "started", "status": "vm:117 (pve2, error)", "max_relocate": 1, "max_restart": 1},
                {"id": "lrm:pve2", "type": "lrm", "node": "pve2", "status": "pve2 (active, Sun Nov 22 18:38:03 2026)", "timestamp": 1795372683}]"#,
            |rows: &Vec<ha::HaStatus>| {
                assert_eq!(rows[0].request_state, Some(ha::HaWish::Started));
                assert_eq!(
                    (rows[0].state.as_deref(), &rows[1].kind),
                    (Some("error"), &ha::HaRowKind::Lrm)
                );
            },
        ),
        written(
            r#"{"name": "ops", "url": "https://example.org/hook", "method": "post", "body": "e30=", "origin": "user-created",
                "header": ["name=Authorization,value=c2VjcmV0"], "secret": ["name=token"], "disable": 1}"#,
            |endpoint: &notifications::Endpoint| {
                assert!(endpoint.disabled && !format!("{endpoint:?}").contains("c2VjcmV0"));
                assert_eq!(endpoint.secrets, ["name=token"]);
            },
        ),
        written(
            r#"{"name": "failures", "mode": "all", "match-field": ["regex:type=^(vzdump|fencing)$"], "match-severity": ["error,warning"],
                "match-calendar": ["mon..fri 8:00-17:00"], "target": ["ops"], "invert-match": 0, "origin": "user-created"}"#,
            |matcher: &notifications::Matcher| {
                assert_eq!(matcher.severities[0].0, "error,warning");
                assert_eq!(matcher.calendars[0].0, "mon..fri 8:00-17:00");
            },
        ),
    ]
}

fn node_wide() -> Vec<Written> {
    vec![
        written(
            r#"{"port": "5900", "ticket": "PVEVNC:6B033EDA::abc=", "user": "root@pam!full",
                "upid": "UPID:pve1:00000580:00093421:6B033663:vncshell::root@pam!full:"}"#,
            |ticket: &console::TermTicket| {
                assert_eq!((ticket.port, ticket.user.as_str()), (5900, "root@pam!full"));
                assert_eq!(ticket.ticket.expose_secret(), "PVEVNC:6B033EDA::abc=");
            },
        ),
        written(
            r#"{"Package": "proxmox-ve", "Title": "Proxmox VE", "Version": "9.2.0", "OldVersion": "9.2.0", "CurrentState": "Installed",
                "RunningKernel": "6.14.0-1-pve", "Origin": "Proxmox", "Section": "admin", "Priority": "optional", "Arch": "all",
                "Description": "the whole"}"#,
            |package: &nodes::AptVersion| {
                assert_eq!(package.running_kernel.as_deref(), Some("6.14.0-1-pve"));
            },
        ),
        written(
            r#"{"description": "rack 3", "wakeonlan": "00:11:22:33:44:55", "startall-onboot-delay": "10", "digest": "00"}"#,
            |config: &nodes::NodeConfig| assert_eq!(config.startall_delay_secs, Some(10)),
        ),
        written(
            r#"{"path": "/mnt/pve/usb", "device": "/dev/disk/by-uuid/0", "type": "ext4", "options": "defaults",
                "unitfile": "/etc/systemd/system/mnt-pve-usb.mount"}"#,
            |mount: &disks::DirectoryMount| assert_eq!(mount.kind.as_deref(), Some("ext4")),
        ),
        written(
            r#"[{"devpath": "/dev/nvme0n1", "size": 512110190592, "model": "Drive 1", "vendor": "unknown", "serial": "S1", "wwn": "eui.00",
                "type": "nvme", "health": "PASSED", "wearout": 97, "rpm": 0, "used": "ZFS", "gpt": 1, "by_id_link": "/dev/disk/by-id/nvme-1",
                "osdid": -1, "osdid-list": null},
                {"devpath": "/dev/sda", "size": "8001563222016", "type": "hdd", "health": "UNKNOWN", "wearout": "N/A", "rpm": 5400, "gpt": 0}]"#,
            |disks: &Vec<disks::Disk>| {
                assert_eq!((disks[0].wearout, disks[0].osd_id), (Some(97), Some(-1)));
                assert_eq!(
                    (disks[1].wearout, disks[1].size_bytes),
                    (None, Some(8_001_563_222_016))
                );
            },
        ),
        written(
            r#"{"lv": "data", "vg": "pve", "lv_size": 365011402752, "used": 120000000000, "metadata_size": 3724541952, "metadata_used": 99000000}"#,
            |pool: &disks::ThinPool| assert_eq!(pool.metadata_used_bytes, 99_000_000),
        ),
        written(
            r#"{"health": "PASSED", "type": "ata", "attributes": [{"id": "  5", "name": "Reallocated_Sector_Ct", "value": 100, "worst": 100,
                "threshold": 10, "raw": "0", "flags": "PO--CK", "fail": "-", "normalized": 100}]}"#,
            |smart: &disks::Smart| {
                assert_eq!(
                    (smart.attributes[0].id, smart.attributes[0].raw.as_deref()),
                    (Some(5), Some("0"))
                );
            },
        ),
        written(
            r#"{"name": "rpool", "health": "DEGRADED", "size": 498216206336, "alloc": 120259084288, "free": 377957122048, "frag": 12, "dedup": 1}"#,
            |pool: &disks::ZfsPool| {
                assert_eq!((pool.health.as_str(), pool.free_bytes), ("DEGRADED", 377_957_122_048));
            },
        ),
        written(
            r#"{"name": "rpool", "state": "DEGRADED", "status": "One or more devices is offline", "action": "Online the device",
                "scan": "scrub repaired 0B", "errors": "No known data errors", "children": [{"name": "mirror-0", "state": "DEGRADED",
                "read": 0, "write": 0, "cksum": 0, "msg": "", "leaf": 0, "children": [{"name": "sda3", "state": "FAULTED", "read": 3,
                "write": 0, "cksum": 0, "msg": "too many errors", "leaf": 1}]}]}"#,
            |pool: &disks::ZfsPoolStatus| {
                let disk = &pool.children[0].children[0];
                assert_eq!(
                    (disk.read_errors, disk.message.as_deref()),
                    (Some(3), Some("too many errors"))
                );
            },
        ),
        written(
            r#"{"leaf": 0, "children": [{"name": "pve", "size": 511000000000, "free": 17000000000, "leaf": 0, "lvcount": 3,
                "children": [{"name": "/dev/sda3", "size": 511000000000, "free": 17000000000, "leaf": 1}]}]}"#,
            |tree: &disks::LvmTree| assert_eq!(tree.children[0].children[0].name, "/dev/sda3"),
        ),
        written(
            r#"{"volid": "nas:backup/vzdump-qemu-100-2026_11_22-02_30_00.vma.zst", "ctime": 1795370000, "mark": "remove", "type": "qemu", "vmid": 100}"#,
            |mark: &storage::PruneMark| {
                assert_eq!((mark.mark.as_str(), mark.vmid.map(VmId::get)), ("remove", Some(100)));
            },
        ),
        written(
            r#"{"volid": "vault:backup/vm/100/2026-11-22T17:52:09Z", "content": "backup", "format": "pbs-vm", "subtype": "qemu", "size": 12583405,
                "ctime": 1795369929, "vmid": 100, "notes": "web", "protected": 1, "encrypted": "1",
                "verification": {"state": "failed", "upid": "UPID:vm:00000753:0004E502:0000000A:6B032CF7:verify:lab:lab@pbs!ci:"}}"#,
            |volume: &storage::Volume| {
                assert_eq!(volume.verification.as_ref().expect("written above").state, "failed");
                assert!(volume.protected && volume.encrypted.is_some());
            },
        ),
        written(
            r#"[{"time": 1795369140, "cpu": 0.5, "maxcpu": 2, "mem": 1000.5, "maxmem": 2000, "diskread": 3.5, "netin": 1, "pressureiofull": 0.25}]"#,
            |points: &Vec<rrd::GuestPoint>| {
                assert_eq!(
                    (points[0].disk_read_bytes_per_sec, points[0].pressure_io_full),
                    (Some(3.5), Some(0.25))
                );
            },
        ),
        written(
            r#"[{"template": "debian-13-standard_13.1-2_amd64.tar.zst", "package": "debian-13-standard", "version": "13.1-2", "os": "debian-13",
                "section": "system", "type": "lxc", "headline": "Debian 13 (standard)", "architecture": "amd64", "sha512sum": "00ff",
                "location": "http://download.proxmox.com/images/system/debian-13-standard_13.1-2_amd64.tar.zst", "source": "x"}]"#,
            |templates: &Vec<fetch::Appliance>| {
                assert_eq!(templates[0].package, "debian-13-standard");
                assert_eq!(templates[0].section.as_deref(), Some("system"));
            },
        ),
        written(
            r#"{"filename": "debian-13-genericcloud-amd64.qcow2", "size": 441450496, "mimetype": "application/octet-stream"}"#,
            |file: &fetch::UrlMetadata| assert_eq!(file.size_bytes, Some(441_450_496)),
        ),
        written(
            r#"[{"time": 1795369140, "used": 10.5, "total": 20}]"#,
            |points: &Vec<rrd::StoragePoint>| {
                assert_eq!(points[0].used_bytes, Some(10.5));
            },
        ),
        written(
            r#"[{"time": 1795369140, "cpu": 0.05, "maxcpu": 2, "memused": 2594234368.5, "memtotal": 25276502016, "loadavg": 0.14, "iowait": 0.001,
                "rootused": 1, "roottotal": 2, "netin": 10.5, "netout": 3, "pressurecpusome": 0}, {"time": 1795369200}]"#,
            |points: &Vec<rrd::NodePoint>| {
                assert_eq!((points[0].max_cpu, points[1].cpu), (Some(2.0), None));
            },
        ),
    ]
}

fn guests() -> Vec<Written> {
    vec![
        written(
            r#"[{"name": "lo", "hwaddr": "00:00:00:00:00:00", "inet": "127.0.0.1/8", "inet6": "::1/128"},
                {"name": "eth0", "hardware-address": "bc:24:11:99:73:16", "inet": "10.99.0.50/24",
                "ip-addresses": [{"ip-address": "10.99.0.50", "ip-address-type": "inet", "prefix": "24"}]}]"#,
            |interfaces: &Vec<lxc::LxcInterface>| {
                assert_eq!(interfaces[1].addresses[0].prefix, Some(24));
                assert_eq!(interfaces[0].hardware_address.as_deref(), Some("00:00:00:00:00:00"));
            },
        ),
        written(
            r#"{"exited": 1, "exitcode": 2, "out-data": "x\n", "err-data": "no\n", "out-truncated": 1}"#,
            |status: &agent::AgentExecStatus| {
                assert!(status.exited && status.output_truncated && !status.error_output_truncated);
                assert_eq!(
                    (status.exit_code, status.error_output.as_deref()),
                    (Some(2), Some("no\n"))
                );
            },
        ),
        written(r#"{"pid": 812}"#, |process: &agent::AgentProcess| assert_eq!(process.pid, 812)),
        written(
            r#"{"result": [{"name": "sda1", "mountpoint": "/", "type": "ext4", "total-bytes": 10000, "used-bytes": 5000,
                "total-bytes-privileged": 11000, "disk": [{"dev": "/dev/sda1"}]}]}"#,
            |answer: &agent::AgentFileSystems| {
                assert_eq!(answer.file_systems[0].used_bytes, Some(5000));
            },
        ),
        written(r#"{"result": {"host-name": "web01"}}"#, |answer: &agent::AgentHostName| {
            assert_eq!(answer.result.as_ref().expect("written above").host_name, "web01");
        }),
        written(
            r#"{"result": {"id": "debian", "name": "Debian GNU/Linux", "pretty-name": "Debian GNU/Linux 13 (trixie)", "version": "13 (trixie)",
                "version-id": "13", "machine": "x86_64", "kernel-release": "6.12", "kernel-version": "1 SMP"}}"#,
            |answer: &agent::AgentOs| {
                assert_eq!(
                    answer.os.as_ref().expect("written above").version_id.as_deref(),
                    Some("13")
                );
            },
        ),
        written(
            r#"{"result": [{"name": "eth0", "hardware-address": "bc:24:11:00:00:01",
                "ip-addresses": [{"ip-address": "10.99.0.60", "ip-address-type": "ipv4", "prefix": 24}],
                "statistics": {"rx-bytes": 10, "rx-packets": 1, "rx-errs": 0, "rx-dropped": 0, "tx-bytes": 20, "tx-packets": 2, "tx-errs": 0, "tx-dropped": 0}},
                {"name": "docker0"}]}"#,
            |answer: &agent::AgentInterfaces| {
                assert_eq!(answer.interfaces[0].addresses[0].address, "10.99.0.60");
                assert!(answer.interfaces[1].addresses.is_empty());
            },
        ),
    ]
}

fn access_control() -> Vec<Written> {
    vec![
        written(
            r#"{"username": "root@pam", "ticket": "PVE:!tfa!%7B%22totp%22%3Atrue%7D:6B033EDA::c2ln", "CSRFPreventionToken": "6B033EDA:c3Ny",
                "cap": {"vms": {"VM.Audit": 1}}, "clustername": "lab", "NeedTFA": 1}"#,
            |ticket: &access::Ticket| {
                assert!(ticket.needs_tfa && !format!("{ticket:?}").contains("c2ln"));
                assert!(ticket.csrf_token.is_some());
            },
        ),
        written(
            r#"{"full-tokenid": "mcp@pve!agent", "value": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee", "info": {"privsep": "1", "comment": "x", "expire": 0}}"#,
            |token: &access::NewToken| {
                assert!(token.info.as_ref().expect("written above").separate);
                assert!(token.secret.expose_secret().starts_with("aaaa"));
                assert!(!format!("{token:?}").contains("aaaa"));
            },
        ),
        written(
            r#"[{"userid": "mcp@pve", "enable": 1, "expire": 0, "realm-type": "pve", "groups": "ops,admins", "totp-locked": 0,
                "tokens": [{"tokenid": "agent", "privsep": 1, "expire": 1827000000}], "firstname": "M", "lastname": "P", "comment": "bot"}]"#,
            |users: &Vec<access::User>| {
                assert_eq!(
                    (users[0].groups.len(), users[0].tokens[0].expires.is_some()),
                    (2, true)
                );
            },
        ),
        written(
            r#"{"filepath": "L2V0Yy9ob3N0bmFtZQ==", "text": "hostname", "type": "f", "leaf": 1, "size": 8, "mtime": 1795369926}"#,
            |entry: &pve_client::storage::BackupEntry| {
                assert_eq!((entry.name.as_str(), entry.size_bytes), ("hostname", Some(8)));
            },
        ),
        // A file's bytes are no reply.
        written("null", |(): &()| {}),
    ]
}
