//! Endpoints and tables, good and bad.

use std::sync::{Arc, Mutex};

use checks::{Status, Summary, Topology, run};
use expect_test::expect;
use guard::Mode;
use proxmox_sim::{PveRelease, Sim, SimConfig};
use stdx::{Clock, ManualClock, SystemClock};

use crate::support::{pbs, pins, plan, pve, sim, table, told};

#[tokio::test]
async fn the_whole_estate_is_green_and_in_order() {
    let sim = sim().await;
    let mut plan = plan(Mode::Trusted);
    plan.pve = vec![
        pve("lab", table(sim.target("lab"), "agent")),
        pve("edge", table(sim.target("edge"), "agent")),
    ];
    plan.pbs = vec![pbs("vault", table(sim.target("vault"), "agent"))];
    plan.topology = Some(Topology::Mixed);
    let seen = Mutex::new(Vec::new());
    let findings = run(plan, |progress| {
        seen.lock().unwrap().push((progress.done, progress.total));
    })
    .await;
    expect![[r#"
        Pass lab https://lab0.alder reach: connected
        Pass lab https://lab0.alder tls: the pinned certificate; good until DATE
        Pass lab https://lab0.alder auth: as mcp@pve!agent
        Pass lab https://lab0.alder clock: in step
        Pass lab https://lab0.alder version: Proxmox VE 9.2.11
        Pass lab https://lab0.birch reach: connected
        Pass lab https://lab0.birch tls: the pinned certificate; good until DATE
        Pass lab https://lab0.birch auth: as mcp@pve!agent
        Pass lab https://lab0.birch clock: in step
        Pass lab https://lab0.birch version: Proxmox VE 9.2.11
        Pass lab https://lab0.cedar reach: connected
        Pass lab https://lab0.cedar tls: the pinned certificate; good until DATE
        Pass lab https://lab0.cedar auth: as mcp@pve!agent
        Pass lab https://lab0.cedar clock: in step
        Pass lab https://lab0.cedar version: Proxmox VE 9.2.11
        Pass lab cluster: cluster lab (alder, birch, cedar), the same at 3 endpoints
        Pass lab members: 3 nodes
        Fail lab permissions: mcp@pve!agent lacks Sys.Console on /, VM.Replicate on /vms, Pool.Allocate on /pool, Sys.Modify on /nodes, Sys.PowerMgmt on /nodes, Sys.Modify on /nodes, VM.Allocate on /vms, VM.Clone on /vms, SDN.Use on /sdn/zones, Datastore.AllocateTemplate on /storage, Sys.AccessNetwork on /nodes, VM.Config.Options on /vms, VM.Config.Disk on /vms, VM.Migrate on /vms, VM.Console on /vms, VM.Allocate on /vms, Datastore.Allocate on /storage
             - for changes of high availability: pveum role add McpSysConsole --privs Sys.Console; pveum acl modify / --users 'mcp@pve' --tokens 'mcp@pve!agent' --roles McpSysConsole
             - for running replication jobs: pveum role add McpVMReplicate --privs VM.Replicate; pveum acl modify / --users 'mcp@pve' --tokens 'mcp@pve!agent' --roles McpVMReplicate
             - for changes of pools: pveum acl modify / --users 'mcp@pve' --tokens 'mcp@pve!agent' --roles PVEPoolAdmin
             - for restarting services, refreshing package lists: pveum role add McpSysModify --privs Sys.Modify; pveum acl modify / --users 'mcp@pve' --tokens 'mcp@pve!agent' --roles McpSysModify
             - for rebooting and shutting down nodes: pveum role add McpSysPowerMgmt --privs Sys.PowerMgmt; pveum acl modify / --users 'mcp@pve' --tokens 'mcp@pve!agent' --roles McpSysPowerMgmt
             - for changing the network of nodes: pveum role add McpSysModify --privs Sys.Modify; pveum acl modify / --users 'mcp@pve' --tokens 'mcp@pve!agent' --roles McpSysModify
             - for making guests, deleting them and turning them into templates: pveum role add McpVMAllocate --privs VM.Allocate; pveum acl modify / --users 'mcp@pve' --tokens 'mcp@pve!agent' --roles McpVMAllocate
             - for copying guests and making them from templates: pveum role add McpVMClone --privs VM.Clone; pveum acl modify / --users 'mcp@pve' --tokens 'mcp@pve!agent' --roles McpVMClone
             - for giving guests a network: pveum role add McpSDNUse --privs SDN.Use; pveum acl modify / --users 'mcp@pve' --tokens 'mcp@pve!agent' --roles McpSDNUse
             - for fetching images and templates: pveum role add McpDatastoreAllocateTemplate --privs Datastore.AllocateTemplate; pveum acl modify / --users 'mcp@pve' --tokens 'mcp@pve!agent' --roles McpDatastoreAllocateTemplate
             - for fetching images by their URL: pveum role add McpSysAccessNetwork --privs Sys.AccessNetwork; pveum acl modify / --users 'mcp@pve' --tokens 'mcp@pve!agent' --roles McpSysAccessNetwork
             - for changing options of guests: pveum role add McpVMConfigOptions --privs VM.Config.Options; pveum acl modify / --users 'mcp@pve' --tokens 'mcp@pve!agent' --roles McpVMConfigOptions
             - for growing and moving disks of guests: pveum role add McpVMConfigDisk --privs VM.Config.Disk; pveum acl modify / --users 'mcp@pve' --tokens 'mcp@pve!agent' --roles McpVMConfigDisk
             - for moving guests to other nodes: pveum role add McpVMMigrate --privs VM.Migrate; pveum acl modify / --users 'mcp@pve' --tokens 'mcp@pve!agent' --roles McpVMMigrate
             - for looking at consoles of guests: pveum role add McpVMConsole --privs VM.Console; pveum acl modify / --users 'mcp@pve' --tokens 'mcp@pve!agent' --roles McpVMConsole
             - for restoring backups to new guests: pveum role add McpVMAllocate --privs VM.Allocate; pveum acl modify / --users 'mcp@pve' --tokens 'mcp@pve!agent' --roles McpVMAllocate
             - for deleting volumes, and pruning a storage for all guests at once (backups of one guest need less): pveum role add McpDatastoreAllocate --privs Datastore.Allocate; pveum acl modify / --users 'mcp@pve' --tokens 'mcp@pve!agent' --roles McpDatastoreAllocate
             - optional: for pending package updates (a wide privilege: leave it out unless you need them here): pveum role add McpSysModify --privs Sys.Modify; pveum acl modify / --users 'mcp@pve' --tokens 'mcp@pve!agent' --roles McpSysModify
             - optional: for changes of who may do what (whoever has it can have everything: leave it out unless you need it here): pveum role add McpPermissionsModify --privs Permissions.Modify; pveum acl modify / --users 'mcp@pve' --tokens 'mcp@pve!agent' --roles McpPermissionsModify
        Pass edge https://edge1.alder reach: connected
        Pass edge https://edge1.alder tls: the pinned certificate; good until DATE
        Pass edge https://edge1.alder auth: as mcp@pve!agent
        Pass edge https://edge1.alder clock: in step
        Pass edge https://edge1.alder version: Proxmox VE 9.2.11
        Pass edge cluster: standalone node alder
        Pass edge members: 1 node
        Fail edge permissions: mcp@pve!agent lacks Sys.Console on /, VM.Replicate on /vms, Pool.Allocate on /pool, Sys.Modify on /nodes, Sys.PowerMgmt on /nodes, Sys.Modify on /nodes, VM.Allocate on /vms, VM.Clone on /vms, SDN.Use on /sdn/zones, Datastore.AllocateTemplate on /storage, Sys.AccessNetwork on /nodes, VM.Config.Options on /vms, VM.Config.Disk on /vms, VM.Migrate on /vms, VM.Console on /vms, VM.Allocate on /vms, Datastore.Allocate on /storage
             - for changes of high availability: pveum role add McpSysConsole --privs Sys.Console; pveum acl modify / --users 'mcp@pve' --tokens 'mcp@pve!agent' --roles McpSysConsole
             - for running replication jobs: pveum role add McpVMReplicate --privs VM.Replicate; pveum acl modify / --users 'mcp@pve' --tokens 'mcp@pve!agent' --roles McpVMReplicate
             - for changes of pools: pveum acl modify / --users 'mcp@pve' --tokens 'mcp@pve!agent' --roles PVEPoolAdmin
             - for restarting services, refreshing package lists: pveum role add McpSysModify --privs Sys.Modify; pveum acl modify / --users 'mcp@pve' --tokens 'mcp@pve!agent' --roles McpSysModify
             - for rebooting and shutting down nodes: pveum role add McpSysPowerMgmt --privs Sys.PowerMgmt; pveum acl modify / --users 'mcp@pve' --tokens 'mcp@pve!agent' --roles McpSysPowerMgmt
             - for changing the network of nodes: pveum role add McpSysModify --privs Sys.Modify; pveum acl modify / --users 'mcp@pve' --tokens 'mcp@pve!agent' --roles McpSysModify
             - for making guests, deleting them and turning them into templates: pveum role add McpVMAllocate --privs VM.Allocate; pveum acl modify / --users 'mcp@pve' --tokens 'mcp@pve!agent' --roles McpVMAllocate
             - for copying guests and making them from templates: pveum role add McpVMClone --privs VM.Clone; pveum acl modify / --users 'mcp@pve' --tokens 'mcp@pve!agent' --roles McpVMClone
             - for giving guests a network: pveum role add McpSDNUse --privs SDN.Use; pveum acl modify / --users 'mcp@pve' --tokens 'mcp@pve!agent' --roles McpSDNUse
             - for fetching images and templates: pveum role add McpDatastoreAllocateTemplate --privs Datastore.AllocateTemplate; pveum acl modify / --users 'mcp@pve' --tokens 'mcp@pve!agent' --roles McpDatastoreAllocateTemplate
             - for fetching images by their URL: pveum role add McpSysAccessNetwork --privs Sys.AccessNetwork; pveum acl modify / --users 'mcp@pve' --tokens 'mcp@pve!agent' --roles McpSysAccessNetwork
             - for changing options of guests: pveum role add McpVMConfigOptions --privs VM.Config.Options; pveum acl modify / --users 'mcp@pve' --tokens 'mcp@pve!agent' --roles McpVMConfigOptions
             - for growing and moving disks of guests: pveum role add McpVMConfigDisk --privs VM.Config.Disk; pveum acl modify / --users 'mcp@pve' --tokens 'mcp@pve!agent' --roles McpVMConfigDisk
             - for moving guests to other nodes: pveum role add McpVMMigrate --privs VM.Migrate; pveum acl modify / --users 'mcp@pve' --tokens 'mcp@pve!agent' --roles McpVMMigrate
             - for looking at consoles of guests: pveum role add McpVMConsole --privs VM.Console; pveum acl modify / --users 'mcp@pve' --tokens 'mcp@pve!agent' --roles McpVMConsole
             - for restoring backups to new guests: pveum role add McpVMAllocate --privs VM.Allocate; pveum acl modify / --users 'mcp@pve' --tokens 'mcp@pve!agent' --roles McpVMAllocate
             - for deleting volumes, and pruning a storage for all guests at once (backups of one guest need less): pveum role add McpDatastoreAllocate --privs Datastore.Allocate; pveum acl modify / --users 'mcp@pve' --tokens 'mcp@pve!agent' --roles McpDatastoreAllocate
             - optional: for pending package updates (a wide privilege: leave it out unless you need them here): pveum role add McpSysModify --privs Sys.Modify; pveum acl modify / --users 'mcp@pve' --tokens 'mcp@pve!agent' --roles McpSysModify
             - optional: for changes of who may do what (whoever has it can have everything: leave it out unless you need it here): pveum role add McpPermissionsModify --privs Permissions.Modify; pveum acl modify / --users 'mcp@pve' --tokens 'mcp@pve!agent' --roles McpPermissionsModify
        Pass vault https://vault2.vault reach: connected
        Pass vault https://vault2.vault tls: the pinned certificate; good until DATE
        Pass vault https://vault2.vault auth: as mcp@pbs!agent
        Pass vault https://vault2.vault clock: in step
        Pass vault https://vault2.vault version: Proxmox Backup Server 4.2.1
        Pass vault server: a backup server with datastores archive, main
        Fail vault permissions: mcp@pbs!agent lacks Datastore.Modify on /datastore, Datastore.Prune on /datastore, Datastore.Modify on /datastore, Remote.Read on /remote, Sys.Modify on /system, Sys.PowerManagement on /system
             - for maintenance mode, prune jobs and owners of others' groups: proxmox-backup-manager acl update / DatastoreAdmin --auth-id 'mcp@pbs' && proxmox-backup-manager acl update / DatastoreAdmin --auth-id 'mcp@pbs!agent'
             - for pruning on backup servers: a line above does
             - for collecting garbage: a line above does
             - for sync jobs that copy from or to a remote: proxmox-backup-manager acl update / RemoteSyncOperator --auth-id 'mcp@pbs' && proxmox-backup-manager acl update / RemoteSyncOperator --auth-id 'mcp@pbs!agent'
             - for restarting services, refreshing package lists: proxmox-backup-manager acl update / Admin --auth-id 'mcp@pbs' && proxmox-backup-manager acl update / Admin --auth-id 'mcp@pbs!agent'
             - for rebooting and shutting down the server: proxmox-backup-manager acl update / Admin --auth-id 'mcp@pbs' && proxmox-backup-manager acl update / Admin --auth-id 'mcp@pbs!agent'
             - optional: for the server's certificates (a wide privilege: leave it out unless you need them here): proxmox-backup-manager acl update / Admin --auth-id 'mcp@pbs' && proxmox-backup-manager acl update / Admin --auth-id 'mcp@pbs!agent'
             - optional: for changes of who may do what (whoever has it can have everything: leave it out unless you need it here): proxmox-backup-manager acl update / Admin --auth-id 'mcp@pbs' && proxmox-backup-manager acl update / Admin --auth-id 'mcp@pbs!agent'
        Pass estate topology: MIXED as declared: lab is a cluster; edge is a standalone node
    "#]].assert_eq(&told(&findings, &[&sim]));

    // Every check is counted once, and the last one is the end.
    let mut seen = seen.into_inner().unwrap();
    seen.sort_unstable();
    let total = findings.len();
    assert_eq!(seen, (1..=total).map(|done| (done, total)).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_is_wrong_says_what_to_do() {
    let sim = sim().await;
    let (lab, edge, vault) = (sim.target("lab"), sim.target("edge"), sim.target("vault"));

    let mut wrong_pin = table(edge, "agent");
    wrong_pin.fingerprints = pins(vault);
    let mut bad_token = table(edge, "agent");
    bad_token.token = Some("00000000-0000-0000-0000-000000000000".into());
    let mut no_roots = table(vault, "agent");
    no_roots.fingerprints.clear();
    let folder = tempfile::tempdir().unwrap();
    let other_ca = folder.path().join("other-ca.pem");
    std::fs::write(&other_ca, &lab.ca_pem).unwrap();
    no_roots.ca_file = Some(other_ca);
    let mut bad_pbs_token = table(vault, "agent");
    bad_pbs_token.token = Some("00000000-0000-0000-0000-000000000000".into());
    let mut insecure = table(edge, "readonly");
    insecure.fingerprints.clear();
    insecure.insecure = true;

    let mut plan = plan(Mode::Guarded);
    plan.pve = vec![
        pve("wrong_pin", wrong_pin),
        pve("bad_token", bad_token),
        pve("no_rights", table(edge, "nothing")),
        pve("reader", insecure),
    ];
    plan.pbs = vec![
        pbs("other_root", no_roots),
        pbs("bad_secret", bad_pbs_token),
        pbs("no_rights_pbs", table(vault, "nothing")),
    ];
    let findings = run(plan, |_| ()).await;
    assert!(!Summary::of(&findings).is_ok());
    expect![[r#"
        Pass wrong_pin https://edge1.alder reach: connected
        Fail wrong_pin https://edge1.alder tls: another certificate than the pinned one: FP:alder:1
             - on the server's own shell `pvenode cert info` must print FP:alder:1…
             - if it does, in [pve.wrong_pin]: fingerprint = "FP:alder:1"
             - if it differs there too, somebody stands between: send no credential this way
        Skip wrong_pin https://edge1.alder auth: tls failed
        Skip wrong_pin https://edge1.alder clock: tls failed
        Skip wrong_pin https://edge1.alder version: tls failed
        Skip wrong_pin cluster: no endpoint let us in
        Skip wrong_pin members: no endpoint let us in
        Skip wrong_pin permissions: no endpoint let us in
        Pass bad_token https://edge1.alder reach: connected
        Pass bad_token https://edge1.alder tls: the pinned certificate; good until DATE
        Fail bad_token https://edge1.alder auth: mcp@pve!agent was refused: Authentication failed! (401)
             - a token's id is user@realm!name, such as mcp@pve!agent; its secret, shown once when it was made, stands alone in the file
             - token or user may be disabled, expired, removed or made anew since: `pveum user token list 'mcp@pve'`; a new one: `pveum user token remove 'mcp@pve' agent && pveum user token add 'mcp@pve' agent` (then grant again what the permissions check asks for)
        Pass bad_token https://edge1.alder clock: in step
        Skip bad_token https://edge1.alder version: auth failed
        Skip bad_token cluster: no endpoint let us in
        Skip bad_token members: no endpoint let us in
        Skip bad_token permissions: no endpoint let us in
        Pass no_rights https://edge1.alder reach: connected
        Pass no_rights https://edge1.alder tls: the pinned certificate; good until DATE
        Pass no_rights https://edge1.alder auth: as mcp@pve!nothing
        Pass no_rights https://edge1.alder clock: in step
        Pass no_rights https://edge1.alder version: Proxmox VE 9.2.11
        Pass no_rights cluster: node alder
        Pass no_rights members: 1 node
        Fail no_rights permissions: mcp@pve!nothing has no privileges at all
             - a token needs a grant of its own and one for its user; on the server's shell:
             - pveum acl modify / --users 'mcp@pve' --tokens 'mcp@pve!nothing' --roles PVEAuditor
        Pass reader https://edge1.alder reach: connected
        Warn reader https://edge1.alder tls: any certificate is believed (insecure = true)
             - whoever is on the way can read the credential: remove insecure from [pve.reader] and pin the certificate
             - on the server's own shell `pvenode cert info` must print FP:alder:1…
             - if it does, in [pve.reader]: fingerprint = "FP:alder:1"
        Pass reader https://edge1.alder auth: as mcp@pve!readonly
        Pass reader https://edge1.alder clock: in step
        Pass reader https://edge1.alder version: Proxmox VE 9.2.11
        Pass reader cluster: standalone node alder
        Pass reader members: 1 node
        Warn reader permissions: mcp@pve!readonly lacks Datastore.AllocateSpace on /storage, VM.Backup on /vms, Sys.Syslog on /
             - for backup files on PVE storages (tasks and backup servers are used instead): pveum role add McpDatastoreAllocateSpace --privs Datastore.AllocateSpace; pveum acl modify / --users 'mcp@pve' --tokens 'mcp@pve!readonly' --roles McpDatastoreAllocateSpace; pveum role add McpVMBackup --privs VM.Backup; pveum acl modify / --users 'mcp@pve' --tokens 'mcp@pve!readonly' --roles McpVMBackup
             - for node logs, and cluster log entries of others: pveum role add McpSysSyslog --privs Sys.Syslog; pveum acl modify / --users 'mcp@pve' --tokens 'mcp@pve!readonly' --roles McpSysSyslog
             - optional: for pending package updates (a wide privilege: leave it out unless you need them here): pveum role add McpSysModify --privs Sys.Modify; pveum acl modify / --users 'mcp@pve' --tokens 'mcp@pve!readonly' --roles McpSysModify
        Pass other_root https://vault2.vault reach: connected
        Fail other_root https://vault2.vault tls: the certificate is not signed by ca_file (invalid peer certificate: UnknownIssuer)
             - a backup server has no authority of its own, so pin its certificate: on the server's own shell `proxmox-backup-manager cert info` must print FP:vault:2…
             - if it does, in [pbs.other_root]: fingerprint = "FP:vault:2"
        Skip other_root https://vault2.vault auth: tls failed
        Skip other_root https://vault2.vault clock: tls failed
        Skip other_root https://vault2.vault version: tls failed
        Skip other_root server: no endpoint let us in
        Skip other_root permissions: no endpoint let us in
        Pass bad_secret https://vault2.vault reach: connected
        Pass bad_secret https://vault2.vault tls: the pinned certificate; good until DATE
        Fail bad_secret https://vault2.vault auth: mcp@pbs!agent was refused: authentication failed (401)
             - a token's id is user@realm!name, such as mcp@pbs!agent; its secret, shown once when it was made, stands alone in the file
             - token or user may be disabled, expired, removed or made anew since: `proxmox-backup-manager user list-tokens 'mcp@pbs'`; a new one: `proxmox-backup-manager user generate-token 'mcp@pbs' agent` (then grant again what the permissions check asks for)
        Pass bad_secret https://vault2.vault clock: in step
        Skip bad_secret https://vault2.vault version: auth failed
        Skip bad_secret server: no endpoint let us in
        Skip bad_secret permissions: no endpoint let us in
        Pass no_rights_pbs https://vault2.vault reach: connected
        Pass no_rights_pbs https://vault2.vault tls: the pinned certificate; good until DATE
        Pass no_rights_pbs https://vault2.vault auth: as mcp@pbs!nothing
        Pass no_rights_pbs https://vault2.vault clock: in step
        Pass no_rights_pbs https://vault2.vault version: Proxmox Backup Server 4.2.1
        Pass no_rights_pbs server: a backup server with datastores none to see
        Fail no_rights_pbs permissions: mcp@pbs!nothing has no privileges at all
             - a token needs a grant of its own and one for its user; on the server's shell:
             - proxmox-backup-manager acl update /datastore DatastoreAudit --auth-id 'mcp@pbs' && proxmox-backup-manager acl update /datastore DatastoreAudit --auth-id 'mcp@pbs!nothing'
             - proxmox-backup-manager acl update /system Audit --auth-id 'mcp@pbs' && proxmox-backup-manager acl update /system Audit --auth-id 'mcp@pbs!nothing'
             - proxmox-backup-manager acl update /access Audit --auth-id 'mcp@pbs' && proxmox-backup-manager acl update /access Audit --auth-id 'mcp@pbs!nothing'
             - proxmox-backup-manager acl update / Audit --auth-id 'mcp@pbs' && proxmox-backup-manager acl update / Audit --auth-id 'mcp@pbs!nothing'
             - proxmox-backup-manager acl update /remote RemoteAudit --auth-id 'mcp@pbs' && proxmox-backup-manager acl update /remote RemoteAudit --auth-id 'mcp@pbs!nothing'
        Warn estate topology: no_rights and reader are the same: node alder
             - its guests would be listed twice: put the endpoints of [pve.reader] into [pve.no_rights] and remove [pve.reader]
    "#]].assert_eq(&told(&findings, &[&sim]));
}

#[tokio::test]
async fn an_endpoint_that_is_away_does_not_hide_the_others() {
    let sim = sim().await;
    sim.levers().node_offline("lab", "cedar", true).unwrap();
    // A port that was free a moment ago.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let at = |url: String| {
        let mut config = table(sim.target("vault"), "agent");
        config.endpoints = vec![url];
        pbs_client::Config(config)
    };
    let mut plan = plan(Mode::Guarded);
    plan.pve = vec![pve("lab", table(sim.target("lab"), "agent"))];
    plan.pbs = vec![
        pbs("closed", at(format!("https://{closed}")).0),
        // A name that no server of the world may have.
        pbs("nameless", at("https://pbs.invalid:8007".to_owned()).0),
    ];
    let findings = run(plan, |_| ()).await;
    let mut of_lab: Vec<_> =
        findings.iter().filter(|one| one.subject.starts_with("lab")).cloned().collect();
    // How a dead node behaves differs from system to system.
    assert_eq!((of_lab[10].check, of_lab[10].status), ("reach", Status::Fail));
    of_lab.remove(10);
    of_lab.drain(..10);
    expect![[r#"
        Skip lab https://lab0.cedar tls: not reached
        Skip lab https://lab0.cedar auth: not reached
        Skip lab https://lab0.cedar clock: not reached
        Skip lab https://lab0.cedar version: not reached
        Pass lab cluster: cluster lab (alder, birch, cedar), the same at 2 endpoints
        Warn lab members: off: cedar; 3 nodes
             - turn it on, or say that it is meant to be off: expected_off = ["cedar"] in [pve.lab]
        Pass lab permissions: mcp@pve!agent has what the tools need
             - optional: for pending package updates (a wide privilege: leave it out unless you need them here): pveum role add McpSysModify --privs Sys.Modify; pveum acl modify / --users 'mcp@pve' --tokens 'mcp@pve!agent' --roles McpSysModify
    "#]].assert_eq(&told(&of_lab, &[&sim]));
    let away: Vec<_> = findings
        .iter()
        .filter(|one| one.check == "reach" && one.subject.contains(&closed.to_string()))
        .cloned()
        .collect();
    let port = closed.port().to_string();
    expect![[r#"
        Fail closed https://127.0.0.1:PORT reach: nothing listens on port PORT of 127.0.0.1
             - on the server: `systemctl status proxmox-backup-proxy`
             - Proxmox Backup Server listens on port 8007 unless told otherwise
    "#]]
    .assert_eq(&told(&away, &[]).replace(&port, "PORT"));
    let nameless = findings.iter().find(|one| one.subject.starts_with("nameless")).unwrap();
    assert!(
        nameless.detail.starts_with("pbs.invalid has no address here: "),
        "{}",
        nameless.detail
    );
    assert!(nameless.hints[0].contains("getent hosts pbs.invalid"), "{:?}", nameless.hints);
}

#[tokio::test]
async fn a_one_time_code_is_used_once() {
    let sim = sim().await;
    let lab = sim.target("lab");
    let (username, password, secret) = lab.totp.clone().unwrap();
    let mut config = table(lab, "agent");
    (config.token_id, config.token) = (None, None);
    (config.username, config.password) = (Some(username), Some(password.into()));
    config.totp_secret = Some(secret.into());
    let mut plan = plan(Mode::Guarded);
    plan.pve = vec![pve("lab", config)];
    let findings = run(plan, |_| ()).await;
    let logins: Vec<_> =
        findings.into_iter().filter(|one| matches!(one.check, "auth" | "cluster")).collect();
    expect![[r#"
        Pass lab https://lab0.alder auth: as totp@pve
        Skip lab https://lab0.birch auth: a one-time code is good for one login: see the other endpoints
        Skip lab https://lab0.cedar auth: a one-time code is good for one login: see the other endpoints
        Pass lab cluster: cluster lab (alder, birch, cedar)
    "#]].assert_eq(&told(&logins, &[&sim]));
}

#[tokio::test]
async fn endpoints_of_two_clusters_are_both_named() {
    let (one, other) = (sim().await, sim().await);
    let with = |config: &mut api_core::endpoint::EndpointConfig, sim: &Sim, key: &str| {
        config.endpoints.push(sim.target(key).nodes[0].url.clone());
        config.fingerprints.extend(pins(sim.target(key)));
    };
    // The tokens of two simulators differ, so the login is that of an administrator.
    let base = |sim: &Sim, key: &str| {
        let (username, password) = sim.target(key).admin.clone();
        let mut config = table(sim.target(key), "agent");
        (config.token_id, config.token) = (None, None);
        (config.username, config.password) = (Some(username), Some(password.into()));
        config.endpoints.truncate(1);
        config
    };
    let mut mixed = base(&one, "lab");
    with(&mut mixed, &one, "edge");
    let mut namesakes = base(&one, "edge");
    with(&mut namesakes, &other, "edge");
    let mut vaults = base(&one, "vault");
    with(&mut vaults, &other, "vault");
    let mut plan = plan(Mode::Guarded);
    plan.pve = vec![pve("mixed", mixed), pve("namesakes", namesakes)];
    plan.pbs = vec![pbs("vaults", vaults)];
    let findings = run(plan, |_| ()).await;
    let findings: Vec<_> = findings
        .into_iter()
        .filter(|finding| matches!(finding.check, "cluster" | "server" | "topology"))
        .collect();
    expect![[r#"
        Fail mixed cluster: https://lab0.alder is cluster lab (alder, birch, cedar), https://edge1.alder is standalone node alder: their clusters have different names
             - the endpoints of one table must be nodes of one cluster; give each its own table: [pve.mixed] with https://lab0.alder, [pve.mixed_2] with https://edge1.alder
        Fail namesakes cluster: https://edge1.alder is standalone node alder, https://edge4.alder is standalone node alder: their nodes have the same names and different certificates
             - the endpoints of one table must be nodes of one cluster; give each its own table: [pve.namesakes] with https://edge1.alder, [pve.namesakes_2] with https://edge4.alder
        Fail vaults server: https://vault2.vault is a backup server with datastores archive, main, https://vault5.vault is a backup server with datastores archive, main: they have different certificates
             - the endpoints of one table must be one server: backup servers form no clusters; give each its own table: [pbs.vaults] with https://vault2.vault, [pbs.vaults_2] with https://vault5.vault
        Pass estate topology: mixed is a cluster; namesakes is a standalone node
    "#]].assert_eq(&told(&findings, &[&one, &other]));
}

#[tokio::test]
async fn a_clock_that_is_off_is_told_in_seconds() {
    let sim = sim().await;
    let clock = ManualClock::at(SystemClock.now());
    clock.advance(std::time::Duration::from_hours(1));
    let mut plan = plan(Mode::Guarded);
    plan.pve = vec![pve("edge", table(sim.target("edge"), "agent"))];
    plan.clock = Arc::new(clock);
    let findings = run(plan, |_| ()).await;
    let finding = findings.iter().find(|finding| finding.check == "clock").unwrap();
    assert_eq!(finding.status, Status::Fail, "{}", finding.detail);
    let seconds = finding.detail.split(' ').next().unwrap().parse::<i64>().unwrap();
    assert!((3500..=3600).contains(&seconds), "{}", finding.detail);
}

#[tokio::test]
async fn an_operate_token_is_checked_apart() {
    let sim = Sim::start(SimConfig::fast().with_pve_release(PveRelease::V8_4)).await.unwrap();
    let edge = sim.target("edge");
    let with = |operate: &str, secret: Option<&str>| {
        let token = edge.token(operate);
        let mut config = table(edge, "readonly");
        config.operate_token_id = Some(token.id.clone());
        config.operate_token = Some(secret.unwrap_or(&token.secret).into());
        config
    };
    let mut plan = plan(Mode::Trusted);
    plan.pve = vec![
        pve("good", with("agent", None)),
        pve("weak", with("nothing", None)),
        pve("bad", with("agent", Some("00000000-0000-0000-0000-000000000000"))),
    ];
    let findings = run(plan, |_| ()).await;
    let findings: Vec<_> = findings
        .into_iter()
        .filter(|finding| matches!(finding.check, "operate" | "version"))
        .collect();
    expect![[r#"
        Pass good https://edge1.alder version: Proxmox VE 8.4.14
        Fail good operate: mcp@pve!agent lacks Sys.Console on /, VM.Replicate on /vms, Pool.Allocate on /pool, Sys.Modify on /nodes, Sys.PowerMgmt on /nodes, Sys.Modify on /nodes, VM.Allocate on /vms, VM.Clone on /vms, SDN.Use on /sdn/zones, Datastore.AllocateTemplate on /storage, Sys.AccessNetwork on /nodes, VM.Config.Options on /vms, VM.Config.Disk on /vms, VM.Migrate on /vms, VM.Console on /vms, VM.Allocate on /vms, Datastore.Allocate on /storage
             - for changes of high availability: pveum role add McpSysConsole --privs Sys.Console; pveum acl modify / --users 'mcp@pve' --tokens 'mcp@pve!agent' --roles McpSysConsole
             - for running replication jobs: pveum role add McpVMReplicate --privs VM.Replicate; pveum acl modify / --users 'mcp@pve' --tokens 'mcp@pve!agent' --roles McpVMReplicate
             - for changes of pools: pveum acl modify / --users 'mcp@pve' --tokens 'mcp@pve!agent' --roles PVEPoolAdmin
             - for restarting services, refreshing package lists: pveum role add McpSysModify --privs Sys.Modify; pveum acl modify / --users 'mcp@pve' --tokens 'mcp@pve!agent' --roles McpSysModify
             - for rebooting and shutting down nodes: pveum role add McpSysPowerMgmt --privs Sys.PowerMgmt; pveum acl modify / --users 'mcp@pve' --tokens 'mcp@pve!agent' --roles McpSysPowerMgmt
             - for changing the network of nodes: pveum role add McpSysModify --privs Sys.Modify; pveum acl modify / --users 'mcp@pve' --tokens 'mcp@pve!agent' --roles McpSysModify
             - for making guests, deleting them and turning them into templates: pveum role add McpVMAllocate --privs VM.Allocate; pveum acl modify / --users 'mcp@pve' --tokens 'mcp@pve!agent' --roles McpVMAllocate
             - for copying guests and making them from templates: pveum role add McpVMClone --privs VM.Clone; pveum acl modify / --users 'mcp@pve' --tokens 'mcp@pve!agent' --roles McpVMClone
             - for giving guests a network: pveum role add McpSDNUse --privs SDN.Use; pveum acl modify / --users 'mcp@pve' --tokens 'mcp@pve!agent' --roles McpSDNUse
             - for fetching images and templates: pveum role add McpDatastoreAllocateTemplate --privs Datastore.AllocateTemplate; pveum acl modify / --users 'mcp@pve' --tokens 'mcp@pve!agent' --roles McpDatastoreAllocateTemplate
             - for fetching images by their URL: pveum role add McpSysAccessNetwork --privs Sys.AccessNetwork; pveum acl modify / --users 'mcp@pve' --tokens 'mcp@pve!agent' --roles McpSysAccessNetwork
             - for changing options of guests: pveum role add McpVMConfigOptions --privs VM.Config.Options; pveum acl modify / --users 'mcp@pve' --tokens 'mcp@pve!agent' --roles McpVMConfigOptions
             - for growing and moving disks of guests: pveum role add McpVMConfigDisk --privs VM.Config.Disk; pveum acl modify / --users 'mcp@pve' --tokens 'mcp@pve!agent' --roles McpVMConfigDisk
             - for moving guests to other nodes: pveum role add McpVMMigrate --privs VM.Migrate; pveum acl modify / --users 'mcp@pve' --tokens 'mcp@pve!agent' --roles McpVMMigrate
             - for looking at consoles of guests: pveum role add McpVMConsole --privs VM.Console; pveum acl modify / --users 'mcp@pve' --tokens 'mcp@pve!agent' --roles McpVMConsole
             - for restoring backups to new guests: pveum role add McpVMAllocate --privs VM.Allocate; pveum acl modify / --users 'mcp@pve' --tokens 'mcp@pve!agent' --roles McpVMAllocate
             - for deleting volumes, and pruning a storage for all guests at once (backups of one guest need less): pveum role add McpDatastoreAllocate --privs Datastore.Allocate; pveum acl modify / --users 'mcp@pve' --tokens 'mcp@pve!agent' --roles McpDatastoreAllocate
             - optional: for changes of who may do what (whoever has it can have everything: leave it out unless you need it here): pveum role add McpPermissionsModify --privs Permissions.Modify; pveum acl modify / --users 'mcp@pve' --tokens 'mcp@pve!agent' --roles McpPermissionsModify
        Pass weak https://edge1.alder version: Proxmox VE 8.4.14
        Fail weak operate: mcp@pve!nothing may not change any guest
             - pveum role add McpVMPowerMgmt --privs VM.PowerMgmt; pveum acl modify /vms --users 'mcp@pve' --tokens 'mcp@pve!nothing' --roles McpVMPowerMgmt
        Pass bad https://edge1.alder version: Proxmox VE 8.4.14
        Fail bad operate: mcp@pve!agent was refused: Authentication failed! (401)
             - a token's id is user@realm!name, such as mcp@pve!agent; its secret, shown once when it was made, stands alone in the file
             - token or user may be disabled, expired, removed or made anew since: `pveum user token list 'mcp@pve'`; a new one: `pveum user token remove 'mcp@pve' agent && pveum user token add 'mcp@pve' agent` (then grant again what the permissions check asks for)
    "#]].assert_eq(&told(&findings, &[&sim]));
}
