//! The way around through `api_call` is never the easier one: what a tool asks consent for, the same
//! calls by hand ask at least as much for.

use std::collections::BTreeSet;

use estate::{Access, Product};
use guard::risk;
use mcp_tools::tools::TOOLSETS;
use serde_json::{Value, json};

use crate::{
    estate::{Estate, tool},
    fake_desk::{BACKUP, NODE},
};

/// For each tool that changes something, calls of each kind that it has.
pub(crate) fn calls() -> Vec<(&'static str, Value)> {
    let job = |cluster: &str, kind: &str, action: &str, job: &str, set: Value| {
        json!({"cluster": cluster, "kind": kind, "action": action, "job": job, "set": set,
            "allow_removal": true})
    };
    let image = "https://download.example/rocky/Rocky-10-GenericCloud-Base.latest.x86_64.qcow2";
    vec![
        ("guest_power", json!({"guest": "lab/100", "action": "stop"})),
        ("guest_power", json!({"guest": "lab/125", "action": "start"})),
        ("guest_power", json!({"guest": "lab/100", "action": "shutdown"})),
        ("guests_power", json!({"action": "shutdown", "guests": "lab/104,lab/105"})),
        ("execute_vm_command", json!({"vmid": 100, "command": "stop", "cluster": "lab"})),
        ("execute_lxc_command", json!({"vmid": 131, "command": "stop", "cluster": "lab"})),
        ("snapshot_create", json!({"guest": "lab/125", "name": "a1"})),
        ("snapshot_rollback", json!({"guest": "lab/109", "name": "pre-patch"})),
        ("snapshot_delete", json!({"guest": "lab/104", "name": "weekly-1"})),
        ("guest_create", json!({"name": "x1", "image": image, "cluster": "lab", "start": false})),
        (
            "guest_create",
            json!({"name": "x1", "template": "lab/9000", "cluster": "lab", "start": false}),
        ),
        ("container_create", json!({"name": "x1", "template": "alpine-3.23", "cluster": "lab"})),
        ("guest_clone", json!({"guest": "lab/9000", "name": "x1"})),
        ("guest_configure", json!({"guest": "lab/100", "set": {"cores": 3}})),
        ("guest_configure", json!({"guest": "lab/100", "delete": ["scsi0"]})),
        ("guest_template", json!({"guest": "lab/125"})),
        ("guest_delete", json!({"guest": "lab/125", "unreferenced_disks": true})),
        ("guest_migrate", json!({"guest": "lab/106", "target": "cedar"})),
        ("disk_resize", json!({"guest": "lab/100", "disk": "scsi0", "size": "48G"})),
        ("disk_move", json!({"guest": "lab/113", "storage": "ceph-vm", "delete_source": true})),
        ("guest_exec", json!({"guest": "lab/100", "command": ["cat"]})),
        ("guest_console", json!({"guest": "lab/131"})),
        ("backup_run", json!({"guests": ["lab/104"], "storage": "vault"})),
        ("backup_restore", json!({"guest": "lab/100", "from": "vault"})),
        ("backup_restore", json!({"guest": "lab/101", "from": "vault", "over": true})),
        ("restore_rehearsal", json!({"guest": "lab/104", "from": "vault"})),
        ("backup_verify", json!({"guest": "lab/106"})),
        ("backup_prune", json!({"guest": "lab/104", "keep_last": 1})),
        ("backup_prune", json!({"storage": "nas", "cluster": "lab", "keep_last": 1})),
        (
            "backup_annotate",
            json!({"guest": "lab/104", "from": "vault", "time": "latest", "protected": true}),
        ),
        ("datastore_gc", json!({"datastore": "main", "action": "run"})),
        ("datastore_maintenance", json!({"datastore": "main", "mode": "offline"})),
        ("namespace_change", json!({"datastore": "main", "namespace": "more", "action": "create"})),
        (
            "namespace_change",
            json!({"datastore": "archive", "namespace": "gone", "action": "delete"}),
        ),
        (
            "group_owner_change",
            json!({"group": "vm/104", "namespace": "lab", "owner": "operator@pbs!operator"}),
        ),
        ("sync_run", json!({"job": "main-to-archive", "allow_removal": true})),
        (
            "backup_job_change",
            job("vault", "prune", "update", "main-daily", json!({"keep-daily": 2})),
        ),
        (
            "backup_job_change",
            job(
                "vault",
                "prune",
                "add",
                "more",
                json!({"store": "main", "schedule": "daily", "keep-last": 1}),
            ),
        ),
        (
            "backup_job_change",
            job("vault", "sync", "update", "main-to-archive", json!({"remove-vanished": true})),
        ),
        (
            "backup_job_change",
            job(
                "lab",
                "backup",
                "update",
                "backup-production",
                json!({"prune-backups": "keep-last=1"}),
            ),
        ),
        ("backup_job_change", job("lab", "backup", "delete", "backup-production", json!({}))),
        ("backup_job_change", job("vault", "prune", "delete", "main-daily", json!({}))),
        (
            "storage_upload",
            json!({"storage": "lab/local", "node": "alder", "filename": "other.iso", "text": "hello"}),
        ),
        (
            "storage_download",
            json!({"url": "https://example.org/debian.iso", "storage": "lab/local", "node": "alder"}),
        ),
        ("volume_delete", json!({"volume": "lab/local:iso/seed.iso", "node": "alder"})),
        (
            "network_change",
            json!({"node": "lab/birch", "interface": "vmbr0", "action": "set", "mtu": 9000}),
        ),
        ("network_apply", json!({"node": "lab/birch"})),
        ("network_revert", json!({"node": "lab/birch"})),
        (
            "firewall_rule_change",
            json!({"guest": "lab/100", "action": "add", "direction": "in", "verdict": "DROP"}),
        ),
        (
            "firewall_rule_change",
            json!({"cluster": "lab", "action": "add", "direction": "in", "verdict": "DROP"}),
        ),
        (
            "firewall_rule_change",
            json!({"cluster": "lab", "action": "update", "pos": 0, "comment": "x"}),
        ),
        ("firewall_rule_change", json!({"cluster": "lab", "action": "move", "pos": 0, "to": 2})),
        ("firewall_rule_change", json!({"cluster": "lab", "action": "delete", "pos": 0})),
        (
            "firewall_rule_change",
            json!({"node": "lab/birch", "action": "add", "direction": "in", "verdict": "DROP"}),
        ),
        (
            "firewall_rule_change",
            json!({"cluster": "lab", "group": "web", "action": "add", "direction": "in", "verdict": "DROP"}),
        ),
        ("firewall_options_change", json!({"guest": "lab/100", "set": {"policy_in": "ACCEPT"}})),
        ("firewall_options_change", json!({"cluster": "lab", "set": {"enable": false}})),
        ("firewall_options_change", json!({"node": "lab/birch", "set": {"tcpflags": true}})),
        ("ha_change", json!({"guest": "lab/100", "action": "add"})),
        ("ha_change", json!({"guest": "lab/104", "action": "remove"})),
        ("replication_run", json!({"job": "lab/113-0"})),
        (
            "pool_change",
            json!({"cluster": "lab", "pool": "staging", "action": "add", "guests": ["104"]}),
        ),
        ("pool_change", json!({"cluster": "lab", "pool": "edge-of", "action": "delete"})),
        (
            "acl_change",
            json!({"cluster": "lab", "path": "/", "who": "developers", "role": "PVEAuditor"}),
        ),
        (
            "acl_change",
            json!({"cluster": "vault", "path": "/datastore/main", "who": "mcp@pbs!nothing", "role": "DatastoreAdmin"}),
        ),
        ("node_power", json!({"node": "birch", "action": "reboot"})),
        ("node_power", json!({"cluster": "vault", "action": "shutdown"})),
        ("service_restart", json!({"node": "birch", "service": "corosync"})),
        ("service_restart", json!({"node": "birch", "service": "pve-cluster", "action": "reload"})),
        ("service_restart", json!({"cluster": "vault", "service": "ssh", "action": "reload"})),
        ("updates_refresh", json!({"node": "cedar"})),
        ("incident_acknowledge", json!({"incident": BACKUP})),
        ("incident_acknowledge", json!({"incident": NODE})),
        ("incident_resolve", json!({"incident": BACKUP})),
        (
            "silence_set",
            json!({"silence": "gc", "reason": "x", "until": "1h", "cluster": "lab", "kinds": ["gc"]}),
        ),
        ("silence_end", json!({"silence": "disk_swap"})),
        ("notification_send", json!({"text": "hello"})),
        ("send_notification", json!({"message": "hello"})),
    ]
}

/// Tools whose plans are those of other tools: they are judged there, or by the table itself.
const OF_OTHERS: &[&str] = &["api_call", "undo"];

/// What makes the estate such that every one of them has something to do.
pub(crate) async fn prepare(estate: &Estate) {
    let file =
        json!({"storage": "lab/local", "node": "alder", "filename": "seed.iso", "text": "x"});
    estate.text("storage_upload", file).await;
    let pool = json!({"cluster": "lab", "pool": "edge-of", "action": "create"});
    estate.text("pool_change", pool).await;
    estate.text("guest_power", json!({"guest": "lab/101", "action": "stop"})).await;
    let space = json!({"datastore": "archive", "namespace": "gone", "action": "create"});
    estate.text("namespace_change", space).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_tool_is_stricter_than_its_calls_made_by_hand() {
    let estate = Estate::start("operator").await;
    prepare(&estate).await;
    let mut planned = BTreeSet::new();
    let mut wrong = Vec::new();
    for (name, args) in calls() {
        if name == "network_apply" {
            let wait =
                json!({"node": "lab/birch", "interface": "vmbr0", "action": "set", "mtu": 9000});
            estate.text("network_change", wait).await;
        }
        let action = tool(name).as_action().unwrap_or_else(|| panic!("{name} changes nothing"));
        let object = args.as_object().cloned().unwrap_or_default();
        let access = action.access(&object);
        let mut cx = estate.cx.clone();
        cx.exec_allow = ["cat".to_owned()].into();
        let plan = match action.plan(&cx, object).await {
            Ok(plan) => plan,
            Err(error) => {
                wrong.push(format!("{name} {args}: {}", error.into_report().render(4096).text));
                continue;
            }
        };
        let calls: Vec<_> = plan.steps.iter().flat_map(mcp_tools::plan::Step::calls).collect();
        if calls.is_empty() {
            wrong.push(format!("{name} {args}: nothing is called"));
        }
        // Refused altogether is stricter than anything.
        let rated = calls.iter().map(|call| {
            let product = if call.member == "vault" { Product::Pbs } else { Product::Pve };
            let given = |is: &dyn Fn(&str) -> bool| {
                call.params.iter().any(|(name, value)| value != "0" && is(name))
            };
            risk::rate_call(product, &call.method, &call.path, given).access
        });
        let strictest = rated.map(|access| access.map_or((1, None), |it| (0, Some(it)))).max();
        if strictest < Some((0, Some(access))) {
            let calls: Vec<_> =
                calls.iter().map(|call| format!("{} {}", call.method, call.path)).collect();
            wrong.push(format!("{name} {args} is {access}; by hand it is less: {calls:?}"));
        }
        planned.insert(name);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));

    // A tool that joins later has to be looked at too.
    let all = TOOLSETS.iter().flat_map(|toolset| toolset.tools);
    for tool in all.filter(|tool| tool.as_action().is_some()) {
        let name = tool.definition().name;
        assert!(
            planned.contains(name) || OF_OTHERS.contains(&name),
            "no call of {name} is looked at"
        );
    }
}

#[test]
fn the_grave_services_are_grave_by_hand_too() {
    for verb in ["restart", "reload", "stop"] {
        for service in [
            "corosync",
            "pve-cluster",
            "pve-ha-lrm",
            "pve-ha-crm",
            "lxcfs",
            "sshd",
            "pveproxy",
            "pvedaemon",
            "corosync.service",
        ] {
            let path = format!("/nodes/alder/services/{service}/{verb}");
            assert_eq!(risk::tier(Product::Pve, "POST", &path), Some(Access::Destroy), "{path}");
        }
        let path = format!("/nodes/localhost/services/proxmox-backup-proxy/{verb}");
        assert_eq!(risk::tier(Product::Pbs, "POST", &path), Some(Access::Destroy), "{path}");
    }
}
