//! The cluster toolset's actions: what they plan, what they do, and what they refuse.

#![expect(clippy::needless_raw_string_hashes, reason = "expect-test writes them")]

use expect_test::expect;
use mcp_protocol::{CallContext, JsonObject, Outcome};
use proxmox_sim::{PveRelease, SimConfig};
use serde_json::{Value, json};

use crate::estate::{Estate, steady};

/// The answer to `plan: true`, through the catalogue.
async fn planned(estate: &Estate, tool: &str, args: Value) -> String {
    let mut args = mcp_protocol::schema_object(args);
    args.insert("plan".to_owned(), true.into());
    served(estate, tool, args).await
}

async fn served(estate: &Estate, tool: &str, args: JsonObject) -> String {
    let fleet = std::sync::Arc::clone(&estate.cx.fleet);
    let app = mcp_tools::build_app(fleet, &crate::surface::options("cluster"));
    let app = app.expect("the catalogue is consistent");
    let cx = CallContext::detached(app.caller().clone());
    let outcome = app.call_tool(&cx, tool, args).await.expect("a known tool");
    match outcome {
        Outcome::Done(answer) | Outcome::Failed(answer) => answer.plain_text(),
        other => panic!("{other:?}"),
    }
}

/// Everything that the actions could change, as the servers tell it.
async fn snapshot(estate: &Estate) -> String {
    let mut all = Vec::new();
    for (tool, args) in [
        ("ha_list", json!({})),
        ("pools_list", json!({})),
        ("pools_list", json!({"pool": "lab/staging"})),
        ("access_explain", json!({"cluster": "lab", "who": "anna@pve"})),
        ("access_explain", json!({"cluster": "vault", "path": "/datastore/main"})),
        ("services_list", json!({"all": true})),
        ("nodes_list", json!({})),
        ("tasks_list", json!({"limit": 1})),
    ] {
        all.push(steady(&estate.text(tool, args).await));
    }
    all.join("\n")
}

/// The plan without its digest, which differs in every run.
fn undigested(text: &str) -> String {
    let lines = steady(text);
    let lines = lines.lines().filter(|line| !line.starts_with("digest: "));
    lines.collect::<Vec<_>>().join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn plans_say_all_and_change_nothing() {
    let estate = Estate::start("operator").await;
    let before = snapshot(&estate).await;
    let plan = async |tool: &str, args| undigested(&planned(&estate, tool, args).await);
    let text = plan("acl_change", json!({
        "cluster": "lab", "path": "/vms/120", "who": "anna@pve", "role": "NoAccess", "remove": true,
    }))
    .await;
    expect![[r#"
        plan of the removal of NoAccess for anna@pve on /vms/120 on lab: 1 call; nothing was done
        access: destroy
        undo: acl_change {"cluster":"lab","path":"/vms/120","who":"anna@pve","role":"NoAccess","propagate":true}
        decision: ask (destroy): line `destroy` asks any approver: tier destroy, target lab
        member call parameters
        lab PUT_/access/acl path=/vms/120 roles=NoAccess users=anna@pve delete=1
        what before after
        anna@pve_on_/vms/120 NoAccess -
        note: effect: anna@pve gains 7 privileges (VM.Audit, VM.Backup, VM.Config.CDROM, VM.Config.Cloudinit, VM.Console, VM.GuestAgent.Audit and 1 more) on /vms/120
        note: warning not_reverted: it can cut you off, and nothing puts it back by itself: this server remembers nothing: it has no store"#]].assert_eq(&text);
    let text = plan(
        "acl_change",
        json!({
            "cluster": "lab", "path": "/", "who": "developers", "role": "Administrator",
        }),
    )
    .await;
    expect![[r#"
        plan of the addition of Administrator for group developers on / on lab: 1 call; nothing was done
        access: destroy
        undo: acl_change {"cluster":"lab","path":"/","who":"developers","role":"Administrator","remove":true}
        decision: ask (destroy): line `destroy` asks any approver: tier destroy, target lab
        member call parameters
        lab PUT_/access/acl path=/ roles=Administrator groups=developers propagate=1
        what before after
        developers_on_/ - Administrator
        note: effect: anna@pve gains 24 privileges (Datastore.Allocate, Datastore.AllocateSpace, Datastore.AllocateTemplate, Datastore.Audit, Group.Allocate, Mapping.Audit and 18 more) on /vms/108, /vms/115, /vms/116, /vms/124, /vms/125, /vms/126 and 9 more
        note: effect: anna@pve gains 47 privileges (Datastore.Allocate, Datastore.AllocateSpace, Datastore.AllocateTemplate, Datastore.Audit, Group.Allocate, Mapping.Audit and 41 more) on /, /access, /nodes, /nodes/cedar, /pool, /storage and 24 more
        note: effect: anna@pve gains 40 privileges (Datastore.Allocate, Datastore.AllocateSpace, Datastore.AllocateTemplate, Datastore.Audit, Group.Allocate, Mapping.Audit and 34 more) on /vms/121, /vms/122, /vms/123, /vms/138, /vms/139
        note: effect: chris@pve gains 24 privileges (Datastore.Allocate, Datastore.AllocateSpace, Datastore.AllocateTemplate, Datastore.Audit, Group.Allocate, Mapping.Audit and 18 more) on /vms/108, /vms/115, /vms/116, /vms/124, /vms/125, /vms/126 and 9 more
        note: effect: chris@pve gains 47 privileges (Datastore.Allocate, Datastore.AllocateSpace, Datastore.AllocateTemplate, Datastore.Audit, Group.Allocate, Mapping.Audit and 41 more) on /, /access, /nodes, /nodes/cedar, /pool, /storage and 24 more
        note: effect: chris@pve gains 40 privileges (Datastore.Allocate, Datastore.AllocateSpace, Datastore.AllocateTemplate, Datastore.Audit, Group.Allocate, Mapping.Audit and 34 more) on /vms/120, /vms/121, /vms/122, /vms/123, /vms/138, /vms/139
        note: warning escalates: Permissions.Modify lets its holder give itself everything below this path
        note: warning not_reverted: it can cut you off, and nothing puts it back by itself: this server remembers nothing: it has no store"#]].assert_eq(&text);
    let text = plan("acl_change", json!({
        "cluster": "vault", "path": "/datastore/main", "who": "mcp@pbs!nothing", "role": "DatastoreAdmin",
    }))
    .await;
    expect![[r#"
        plan of the addition of DatastoreAdmin for mcp@pbs!nothing on /datastore/main on vault: 1 call; nothing was done
        access: destroy
        undo: acl_change {"cluster":"vault","path":"/datastore/main","who":"mcp@pbs!nothing","role":"DatastoreAdmin","remove":true}
        decision: ask (destroy): line `destroy` asks any approver: tier destroy, target vault
        member call parameters
        vault PUT_/access/acl path=/datastore/main role=DatastoreAdmin auth-id=mcp@pbs!nothing propagate=1
        what before after
        mcp@pbs!nothing_on_/datastore/main - DatastoreAdmin
        note: effect: nobody's rights change by it now
        note: warning capped: the token's user lacks Datastore.Allocate, Datastore.Audit, Datastore.Backup, Datastore.Modify, Datastore.Prune, Datastore.Read and 1 more there, so the token gets nothing of that
        note: warning not_reverted: it can cut you off, and nothing puts it back by itself: this server remembers nothing: it has no store"#]].assert_eq(&text);
    let text = plan(
        "pool_change",
        json!({
            "cluster": "lab", "pool": "staging", "action": "add", "guests": ["104", "grafana"],
        }),
    )
    .await;
    expect![[r#"
        plan of the move of 2 guests into pool lab/staging: 1 call; nothing was done
        access: operate
        undo: pool_change {"pool":"lab/production","action":"add","guests":["104","134"]}
        decision: allow (db_main): line `db_main` allows it: tier operate, cluster lab, guest 104, target lab/104
        member call parameters
        lab PUT_/pools poolid=staging vms=104,134 allow-move=1
        what before after
        lab/104 production staging
        lab/134 production staging
        note: effect: anna@pve gains 7 privileges (VM.Audit, VM.Backup, VM.Config.CDROM, VM.Config.Cloudinit, VM.Console, VM.GuestAgent.Audit and 1 more) on /vms/104, /vms/134
        note: effect: chris@pve gains 7 privileges (VM.Audit, VM.Backup, VM.Config.CDROM, VM.Config.Cloudinit, VM.Console, VM.GuestAgent.Audit and 1 more) on /vms/104, /vms/134
        note: warning backup_lost: backup-production goes by pool production: it no longer backs them up"#]].assert_eq(&text);
    let text = plan("ha_change", json!({"guest": "lab/100", "action": "add"})).await;
    expect![[r#"
        plan of the management of lab/100 web-01 by HA: 1 call; nothing was done
        access: operate
        undo: ha_change {"action":"remove","guest":"lab/100"}
        decision: allow (operate): line `operate` allows it: tier operate, target lab/100
        member call parameters
        lab POST_/cluster/ha/resources sid=vm:100 state=started
        what before after
        ha not_managed started
        note: effect: if its node is lost, it is started on another one"#]]
    .assert_eq(&text);
    let text = plan("ha_change", json!({"guest": "lab/134", "action": "add"})).await;
    let local = "warning local_disks: disks on storages of this node only (rootfs on local-lvm)";
    assert!(text.contains(local), "{text}");
    let text = plan("ha_change", json!({"guest": "lab/104", "action": "remove"})).await;
    expect![[r#"
        plan of the removal of lab/104 db-main from HA: 1 call; nothing was done
        access: operate
        undo: ha_change action add state started, then make rule prefer-birch again (nodes birch:2,alder:1)
        decision: allow (db_main): line `db_main` allows it: tier operate, cluster lab, guest 104, target lab/104
        member call parameters
        lab DELETE_/cluster/ha/resources/vm:104 -
        what before after
        ha started not managed
        note: effect: the guest stays as it is; if its node is lost, it is lost with it
        note: effect: rule prefer-birch is deleted: it is about this guest only"#]]
    .assert_eq(&text);
    let text = plan("node_power", json!({"node": "birch", "action": "reboot"})).await;
    expect![[r#"
        plan of the reboot of lab/birch: 1 call; nothing was done
        access: destroy
        undo: nothing to undo once it is back; guests with onboot start with it
        decision: ask (destroy): line `destroy` asks any approver: tier destroy, target lab/birch
        member call parameters
        lab POST_/nodes/birch/status command=reboot
        note: effect: HA manages 2 of its guests (lab/104, lab/117): by the datacenter's shutdown policy they wait for it or are started elsewhere
        note: effect: the cluster keeps its quorum: 2 of 3 nodes stay
        note: warning guests_stop: 12 running guests shut down with it: lab/101 web-02, lab/104 db-main, lab/107 git-01, lab/111 win-ad-02, lab/114 log-store, lab/120 stg-web-01 and 6 more
        note: warning ceph_degraded: 2 OSDs of Ceph go with it: data has fewer copies meanwhile (set noout before a short absence)"#]].assert_eq(&text);
    let text = plan("node_power", json!({"node": "edge/alder", "action": "shutdown"})).await;
    assert!(text.contains("warning only_node"), "{text}");
    let text = plan("node_power", json!({"cluster": "vault", "action": "shutdown"})).await;
    expect![[r#"
        plan of the shutdown of vault: 1 call; nothing was done
        access: destroy
        undo: not possible: what is off is started by hand at the host, or by wake-on-LAN
        decision: ask (destroy): line `destroy` asks any approver: tier destroy, target vault/localhost
        member call parameters
        vault POST_/nodes/localhost/status command=shutdown
        note: effect: no backup, restore, verification or sync runs on it meanwhile; jobs that are due then are missed"#]].assert_eq(&text);
    let text = plan("service_restart", json!({"node": "birch", "service": "corosync"})).await;
    expect![[r#"
        plan of the restart of corosync on lab/birch: 1 call; nothing was done
        access: destroy
        undo: nothing to undo: it runs as before
        decision: ask (destroy): line `destroy` asks any approver: tier destroy, target lab/birch
        member call parameters
        lab POST_/nodes/birch/services/corosync/restart -
        note: warning quorum: the node leaves the cluster for a moment: where it is needed for quorum nothing can be changed, and with HA armed a node that stays away is fenced (its guests are cut off)"#]].assert_eq(&text);
    let text = plan("updates_refresh", json!({"cluster": "lab"})).await;
    expect![[r#"
        plan of the refresh of the package lists of lab/alder, lab/birch, lab/cedar: 3 calls; nothing was done
        access: operate
        undo: nothing to undo: nothing is installed
        decision: allow (operate): line `operate` allows it: tier operate, target lab/alder
        member call parameters
        lab POST_/nodes/alder/apt/update notify=0
        lab POST_/nodes/birch/apt/update notify=0
        lab POST_/nodes/cedar/apt/update notify=0"#]].assert_eq(&text);
    let text = plan("replication_run", json!({"job": "113-0"})).await;
    expect![[r#"
        plan of the run of replication job lab/113-0: 1 call; nothing was done
        access: operate
        undo: nothing to undo: a copy is brought up to date
        expected: AGE (as the last one took)
        decision: allow (operate): line `operate` allows it: tier operate, target lab/alder
        member call parameters
        lab POST_/nodes/alder/replication/113-0/schedule_now -
        note: effect: what changed of guest 113 is copied from alder to birch"#]]
    .assert_eq(&text);
    assert_eq!(snapshot(&estate).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn access_is_given_and_taken() {
    let estate = Estate::start("operator").await;
    let asks =
        json!({"cluster": "lab", "who": "anna@pve", "path": "/vms/100", "privilege": "VM.Audit"});
    assert_eq!(estate.ask("access_explain", asks.clone()).await.object["allowed"], false);
    let args =
        json!({"cluster": "lab", "path": "/vms/100", "who": "anna@pve", "role": "PVEVMUser"});
    let text = estate.text("acl_change", args.clone()).await;
    assert!(text.starts_with("PVEVMUser for anna@pve on /vms/100 on lab holds"), "{text}");
    assert_eq!(estate.ask("access_explain", asks.clone()).await.object["allowed"], true);
    let text = estate.text("acl_change", args.clone()).await;
    assert!(text.contains("is there already: nothing was done"), "{text}");
    let mut args = args;
    args["remove"] = true.into();
    estate.text("acl_change", args).await;
    assert_eq!(estate.ask("access_explain", asks).await.object["allowed"], false);
    // A backup server's list works the same.
    let args = json!({"cluster": "vault", "path": "/datastore/main", "who": "mcp@pbs", "role": "DatastoreReader"});
    let text = estate.text("acl_change", args).await;
    assert!(
        text.starts_with("DatastoreReader for mcp@pbs on /datastore/main on vault holds"),
        "{text}"
    );
    for (args, words) in [
        (
            json!({"cluster": "lab", "path": "/vms/100", "who": "anna@pve", "role": "Nope"}),
            "PVEVMUser",
        ),
        (
            json!({"cluster": "lab", "path": "/vms/100", "who": "nobody@pve", "role": "PVEVMUser"}),
            "@developers",
        ),
        (
            json!({"cluster": "lab", "path": "/nonsense", "who": "anna@pve", "role": "PVEVMUser"}),
            "invalid ACL path",
        ),
    ] {
        let text = estate.failure("acl_change", args).await;
        assert!(text.contains(words), "{text}");
    }
    // What cannot be told is not done.
    let blind = Estate::start("nothing").await;
    let args =
        json!({"cluster": "lab", "path": "/vms/100", "who": "anna@pve", "role": "PVEVMUser"});
    blind.failure("acl_change", args).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn guests_come_under_ha_and_its_rules() {
    let estate = Estate::start("operator").await;
    let answer = estate.ask("ha_change", json!({"guest": "lab/100", "action": "add"})).await;
    assert!(!answer.failed, "{}", answer.text);
    assert!(
        answer.text.starts_with("HA has lab/100 web-01 in state started (wished: started)"),
        "{}",
        answer.text
    );
    let text = estate.text("ha_change", json!({"guest": "lab/100", "action": "add"})).await;
    assert!(text.contains("already: nothing was done"), "{text}");
    let args = json!({"guest": "lab/100", "action": "assign", "rule": "prefer-birch"});
    let text = estate.text("ha_change", args).await;
    assert!(text.contains("under prefer-birch"), "{text}");
    let text = estate
        .text("ha_change", json!({"guest": "lab/100", "action": "set", "state": "stopped"}))
        .await;
    assert!(text.starts_with("HA has lab/100 web-01 in state stopped (wished: stopped)"), "{text}");
    let text = estate
        .text("ha_change", json!({"guest": "lab/100", "action": "set", "max_restart": 3}))
        .await;
    assert!(text.contains("state stopped"), "{text}");
    let text = estate.text("ha_change", json!({"guest": "lab/100", "action": "remove"})).await;
    assert!(text.starts_with("HA does not manage lab/100 web-01 now"), "{text}");
    let text = estate.text("ha_list", json!({"cluster": "lab"})).await;
    assert!(text.contains("lab/prefer-birch node-affinity vm:104 birch:2,alder:1"), "{text}");
    // One whose start fails ends in error, and that is said.
    let text = estate
        .failure("ha_change", json!({"guest": "lab/117", "action": "set", "state": "started"}))
        .await;
    assert!(
        text.contains("HA could not bring lab/117 billing to started: it is in error"),
        "{text}"
    );
    let text = estate
        .failure("ha_change", json!({"guest": "lab/104", "action": "assign", "rule": "nope"}))
        .await;
    assert!(text.contains("prefer-birch node-affinity"), "{text}");
    let text = estate.failure("ha_change", json!({"guest": "lab/9000", "action": "add"})).await;
    assert!(text.contains("template"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn before_9_guests_come_into_groups() {
    let config = SimConfig::fast().with_pve_release(PveRelease::V8_4);
    let estate = Estate::of(config, "operator", 16 * 1024).await;
    let text = estate.text("ha_list", json!({"cluster": "lab"})).await;
    assert!(text.contains("1 group") && text.contains("birch-first"), "{text}");
    let text = estate
        .text("ha_change", json!({"guest": "lab/104", "action": "unassign", "rule": "birch-first"}))
        .await;
    assert!(
        text.starts_with("HA has lab/104 db-main in state started (wished: started)\n"),
        "{text}"
    );
    estate
        .text("ha_change", json!({"guest": "lab/104", "action": "assign", "rule": "birch-first"}))
        .await;
    let answer = estate.ask("ha_list", json!({"cluster": "lab"})).await;
    let rows = answer.object["services"]["rows"].as_array().expect("rows");
    let row = rows.iter().find(|row| row[0] == "lab/vm:104").expect("it is managed");
    assert_eq!(row[5], json!(["birch-first"]), "{}", answer.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn pools_are_made_filled_and_deleted() {
    let estate = Estate::start("operator").await;
    let args = json!({"cluster": "lab", "pool": "edge-of", "action": "create", "guests": ["119"], "comment": "old things"});
    let text = estate.text("pool_change", args).await;
    assert!(text.starts_with("pool lab/edge-of: create is done, 1 guest in it"), "{text}");
    let args =
        json!({"pool": "lab/edge-of", "action": "add", "guests": ["123"], "storages": ["nas"]});
    let text = estate.text("pool_change", args).await;
    assert!(text.contains("2 guests in it"), "{text}");
    let text = estate.text("pools_list", json!({"pool": "lab/edge-of"})).await;
    assert!(text.contains("lab/123") && text.contains("lab/nas storage"), "{text}");
    let text =
        estate.failure("pool_change", json!({"pool": "lab/edge-of", "action": "delete"})).await;
    assert!(text.contains("is not empty: lab/119, lab/123"), "{text}");
    let args = json!({"pool": "lab/edge-of", "action": "remove", "guests": ["119", "123"], "storages": ["nas"]});
    estate.text("pool_change", args).await;
    let text = estate.text("pool_change", json!({"pool": "lab/edge-of", "action": "delete"})).await;
    assert!(text.starts_with("pool lab/edge-of is gone"), "{text}");
    let text = estate.failure("pool_change", json!({"pool": "staging", "action": "delete"})).await;
    assert!(text.contains("give cluster: edge, lab"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_are_refreshed_restarted_and_rebooted() {
    let estate = Estate::start("operator").await;
    let text = estate.text("updates_refresh", json!({"node": "cedar"})).await;
    assert!(text.starts_with("package lists of lab/cedar are fresh"), "{text}");
    let text = estate.text("updates_list", json!({"node": "cedar"})).await;
    assert!(text.contains("sudo security?"), "{text}");
    estate.text("updates_refresh", json!({"cluster": "vault"})).await;

    let levers = estate.sim.levers();
    levers
        .fail_next_task("lab", Some("aptupdate"), "command 'apt-get update' failed: exit code 100")
        .unwrap();
    let text = estate.failure("updates_refresh", json!({"cluster": "lab"})).await;
    assert!(text.starts_with("2 of 3 hosts have fresh package lists"), "{text}");
    assert!(
        text.contains("note: refresh on lab/alder failed: command 'apt-get update' failed"),
        "{text}"
    );
    levers.service_state("lab", "birch", "pvestatd", "failed").unwrap();
    let text =
        estate.text("service_restart", json!({"node": "birch", "service": "pvestatd"})).await;
    assert!(text.starts_with("pvestatd on lab/birch runs after the restart"), "{text}");
    assert!(
        text.contains(
            r#"next: node_journal {"cluster":"lab","node":"birch","unit":"pvestatd","since":"10m"}"#
        ),
        "{text}"
    );
    let text = estate
        .text("service_restart", json!({"cluster": "vault", "service": "ssh", "action": "reload"}))
        .await;
    assert!(text.starts_with("ssh on vault runs after the reload"), "{text}");
    let text = estate.failure("service_restart", json!({"node": "birch", "service": "nope"})).await;
    assert!(text.contains("pvedaemon running"), "{text}");
    levers
        .fail_next_task(
            "lab",
            Some("srvrestart"),
            "command 'systemctl restart cron' failed: exit code 1",
        )
        .unwrap();
    let text = estate.failure("service_restart", json!({"node": "birch", "service": "cron"})).await;
    assert!(text.contains("exit code 1"), "{text}");

    let text = estate.text("node_power", json!({"node": "birch", "action": "reboot"})).await;
    assert!(text.starts_with("lab/birch is back after the reboot"), "{text}");
    let text = estate.text("node_power", json!({"node": "cedar", "action": "shutdown"})).await;
    assert!(text.starts_with("lab/cedar is off"), "{text}");
    let text = estate.text("node_power", json!({"node": "cedar", "action": "shutdown"})).await;
    assert!(text.contains("nothing was done"), "{text}");
    let text = estate.text("node_power", json!({"cluster": "vault", "action": "reboot"})).await;
    assert!(text.starts_with("vault is online after the reboot"), "{text}");
    let text = estate.failure("node_power", json!({"node": "alder", "action": "reboot"})).await;
    assert!(text.contains("lab/alder") && text.contains("edge/alder"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replication_job_is_run_to_its_end() {
    let estate = Estate::start("operator").await;
    let answer = estate.ask("replication_run", json!({"job": "lab/113-0"})).await;
    assert!(!answer.failed, "{}", answer.text);
    assert!(
        answer.text.starts_with("replication job lab/113-0 ran: in sync since "),
        "{}",
        answer.text
    );
    let levers = estate.sim.levers();
    levers.replication_fails("lab", "113-0", Some("no space left on device")).unwrap();
    let text = estate.failure("replication_run", json!({"job": "113-0"})).await;
    assert!(text.contains("replication job lab/113-0 failed: no space left on device"), "{text}");
    assert!(text.contains("<<<untrusted log of lab/113-0"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stops_guests_asks_and_the_rest_runs() {
    // Through the catalogue in trusted mode: what may lose something is asked about, and a client
    // that cannot ask is told so.
    let estate = Estate::start("operator").await;
    for (tool, args) in [
        (
            "acl_change",
            json!({"cluster": "lab", "path": "/vms/100", "who": "anna@pve", "role": "PVEVMUser"}),
        ),
        ("node_power", json!({"node": "birch", "action": "reboot"})),
        ("service_restart", json!({"node": "birch", "service": "pve-cluster"})),
        ("pool_change", json!({"cluster": "lab", "pool": "lab", "action": "delete"})),
    ] {
        let text = served(&estate, tool, mcp_protocol::schema_object(args)).await;
        let is_refused = text.contains("a person") || text.contains("is not empty");
        assert!(is_refused, "{tool}: {text}");
    }
    let args = json!({"node": "birch", "service": "cron", "action": "restart"});
    let text = served(&estate, "service_restart", mcp_protocol::schema_object(args)).await;
    assert!(text.starts_with("cron on lab/birch runs"), "{text}");
}
