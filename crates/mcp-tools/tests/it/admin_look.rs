//! The cluster toolset's answers on the demo estate.

#![expect(clippy::needless_raw_string_hashes, reason = "expect-test writes them")]

use expect_test::expect;
use serde_json::json;

use crate::estate::{Estate, steady};

#[tokio::test(flavor = "multi_thread")]
async fn high_availability_replication_and_ceph() {
    let estate = Estate::start("agent").await;
    let text = estate.text("ha_list", json!({})).await;
    expect![[r#"
        edge: no HA services; lab: 3 HA services, 0 with problems, 1 rule, master alder
        service name state wished node rules problem
        lab/ct:133 redis started started alder - -
        lab/vm:104 db-main started started birch prefer-birch -
        lab/vm:117 billing stopped stopped birch - -
        rule type guests nodes options problem comment
        lab/prefer-birch node-affinity vm:104 birch:2,alder:1 - - -
        node role state
        lab/alder master active
        lab/birch local active
        lab/cedar local active"#]]
    .assert_eq(&steady(&text));
    let text = soon(&estate.text("replication_list", json!({})).await);
    expect![[r#"
        1 replication job, all well
        job name from to schedule state last_sync next failures error
        lab/113-0 monitoring alder birch */15 ok AGE in_AGE 0 -"#]]
    .assert_eq(&steady(&text));
    let text = estate.text("ceph_health", json!({})).await;
    expect![[r#"
        lab: HEALTH_OK, 6 OSDs (6 up, 6 in), 129 of 129 placement groups clean, N% of 18T used; no Ceph on edge
        pool type copies groups used use problem
        lab/.mgr replicated 3/2 1 2M N% -
        lab/ceph-vm replicated 3/2 128 9.1T N% -"#]].assert_eq(&steady(&text));
}

#[tokio::test(flavor = "multi_thread")]
async fn pools_tags_and_people() {
    let estate = Estate::start("agent").await;
    let text = estate.text("pools_list", json!({})).await;
    expect![[r#"
        3 pools, 3 guests in none
        pool guests running maxmem storages comment
        lab/lab 15 8 124G - -
        lab/production 23 22 196G - "what customers see"
        lab/staging 6 5 26G nas "the rehearsal"
        note: in no pool: lab/119, lab/137, lab/142"#]]
    .assert_eq(&steady(&text));
    let text = estate.text("pools_list", json!({"pool": "staging"})).await;
    expect![[r#"
        pool lab/staging: 6 guests (5 running), 1 storage
        comment: "the rehearsal"
        member kind status name
        lab/120 vm running stg-web-01
        lab/121 vm running stg-web-02
        lab/122 vm running stg-db
        lab/123 vm stopped stg-erp
        lab/138 ct running stg-redis
        lab/139 ct running stg-proxy
        lab/nas storage available -
        next: access_explain {"cluster":"lab","path":"/pool/staging"}"#]]
    .assert_eq(&steady(&text));
    let text = estate.text("tags_list", json!({})).await;
    expect![[r#"
        12 tags, 0 guests without any
        tag guests running clusters color registered
        db 5 5 lab - -
        dev 12 8 edge,lab 27ae60 -
        infra 16 16 edge,lab - -
        k8s 3 3 lab - -
        lab 2 0 lab - -
        legacy 1 0 lab - -
        office 2 1 edge - -
        prod 22 21 edge,lab c0392b:ffffff -
        protected 3 3 lab 8e44ad:ffffff yes
        staging 6 5 lab - -
        template 3 0 lab - -
        web 8 8 lab - -
        next: guests_list {"tag":"prod"}"#]]
    .assert_eq(&steady(&text));
    let text = estate.text("users_list", json!({})).await;
    expect![[r#"
        15 users (3 cannot log in), 12 API tokens, 2 groups
        user state expires groups tokens factors admin comment
        lab/chris@pve expired 40d_ago developers 0 - - "Chris, contractor until the summer"
        lab/olaf@pve locked - ops 0 totp - "Olaf, operations"
        lab/paula@pve disabled - - 0 - - "Paula, left the company"
        edge/mcp@pve enabled - - 3 - - "used by the MCP server"
        edge/operator@pve enabled - - 1 - yes -
        edge/root@pam enabled - - 0 - yes -
        edge/totp@pve enabled - - 0 totp - -
        lab/anna@pve enabled - developers 0 - - "Anna, web team"
        lab/mcp@pve enabled - - 3 - - "used by the MCP server"
        lab/operator@pve enabled - - 1 - yes -
        lab/root@pam enabled - - 0 - yes -
        lab/totp@pve enabled - - 0 totp - -
        vault/mcp@pbs enabled - - 3 - - "used by the MCP server"
        vault/operator@pbs enabled - - 1 - yes -
        vault/root@pam enabled - - 0 - yes -
        token rights expires problem comment
        edge/mcp@pve!agent own - - -
        edge/mcp@pve!nothing own - - -
        edge/mcp@pve!readonly own - - -
        edge/operator@pve!operator own - - -
        lab/mcp@pve!agent own - - -
        lab/mcp@pve!nothing own - - -
        lab/mcp@pve!readonly own - - -
        lab/operator@pve!operator own - - -
        vault/mcp@pbs!agent own - - -
        vault/mcp@pbs!nothing own - - -
        vault/mcp@pbs!readonly own - - -
        vault/operator@pbs!operator own - - -
        group members comment
        lab/developers 2 "who builds what runs"
        lab/ops 1 "who keeps it running"
        realm type factor
        edge/pam pam -
        edge/pve pve -
        lab/pam pam -
        lab/pve pve -
        vault/pbs pbs -
        vault/pam pam -
        note: edge: may change permissions and has no second factor: root@pam
        note: lab: may change permissions and has no second factor: root@pam
        note: vault: others' second factors are not shown to this token"#]]
    .assert_eq(&steady(&text));
}

#[tokio::test(flavor = "multi_thread")]
async fn access_is_explained() {
    let estate = Estate::start("agent").await;
    let ask = async |args| steady(&estate.text("access_explain", args).await);
    let text = ask(json!({"cluster": "lab", "path": "/vms/124"})).await;
    expect![[r#"
        9 users and tokens may do something on /vms/124 of lab
        who privileges powerful barred through
        anna@pve 23 VM.Allocate,VM.GuestAgent.Unrestricted - PVEVMAdmin on /pool/lab by group developers, lent by the pool
        mcp@pve 17 VM.GuestAgent.Unrestricted - McpAgent on /
        mcp@pve!agent 17 VM.GuestAgent.Unrestricted - McpAgent on / (at most what its user has)
        mcp@pve!readonly 7 - - McpReadonly on / (at most what its user has)
        olaf@pve 40 User.Modify,VM.Allocate,VM.GuestAgent.Unrestricted,+1 - PVEAdmin on / by group ops
        operator@pve 47 Permissions.Modify,Sys.Modify,Sys.PowerMgmt,+5 - Administrator on /
        operator@pve!operator 47 Permissions.Modify,Sys.Modify,Sys.PowerMgmt,+5 - Administrator on / (at most what its user has)
        root@pam 47 Permissions.Modify,Sys.Modify,Sys.PowerMgmt,+5 - root@pam may do everything
        totp@pve 7 - - PVEAuditor on /
        chris@pve 23 VM.Allocate,VM.GuestAgent.Unrestricted the_user_has_expired PVEVMAdmin on /pool/lab by group developers, lent by the pool
        note: 1 more would, but cannot log in: the last rows"#]].assert_eq(&text);
    let text =
        ask(json!({"cluster": "lab", "path": "/vms/124", "privilege": "VM.PowerMgmt"})).await;
    expect![[r#"
        VM.PowerMgmt: 7 users and tokens may do it on /vms/124 of lab
        who privileges powerful barred through
        anna@pve 23 VM.Allocate,VM.GuestAgent.Unrestricted - PVEVMAdmin on /pool/lab by group developers, lent by the pool
        mcp@pve 17 VM.GuestAgent.Unrestricted - McpAgent on /
        mcp@pve!agent 17 VM.GuestAgent.Unrestricted - McpAgent on / (at most what its user has)
        olaf@pve 40 User.Modify,VM.Allocate,VM.GuestAgent.Unrestricted,+1 - PVEAdmin on / by group ops
        operator@pve 47 Permissions.Modify,Sys.Modify,Sys.PowerMgmt,+5 - Administrator on /
        operator@pve!operator 47 Permissions.Modify,Sys.Modify,Sys.PowerMgmt,+5 - Administrator on / (at most what its user has)
        root@pam 47 Permissions.Modify,Sys.Modify,Sys.PowerMgmt,+5 - root@pam may do everything
        chris@pve 23 VM.Allocate,VM.GuestAgent.Unrestricted the_user_has_expired PVEVMAdmin on /pool/lab by group developers, lent by the pool
        note: 1 more would, but cannot log in: the last rows"#]].assert_eq(&text);
    let text = ask(json!({"cluster": "lab", "who": "anna@pve"})).await;
    expect![[r#"
        anna@pve has 25 privileges on 24 paths of lab
        path privileges powerful through
        /pool/lab 23 VM.Allocate,VM.GuestAgent.Unrestricted PVEVMAdmin on /pool/lab by group developers
        /pool/staging 7 - PVEVMUser on /pool/staging by group developers
        /storage/nas 9 - PVEDatastoreUser on /storage/nas by group developers; PVEVMUser on /pool/staging by group developers, lent by the pool
        /vms/120 0 - NoAccess on /vms/120
        /vms/108,/vms/115,/vms/116,/vms/124,/vms/125,/vms/126_and_9_more 23 VM.Allocate,VM.GuestAgent.Unrestricted PVEVMAdmin on /pool/lab by group developers, lent by the pool
        /vms/121,/vms/122,/vms/123,/vms/138,/vms/139 7 - PVEVMUser on /pool/staging by group developers, lent by the pool
        next: access_explain {"cluster":"lab","who":"anna@pve","path":"/"}"#]].assert_eq(&text);
    let text = ask(json!({"cluster": "lab", "who": "anna@pve", "path": "/vms/124"})).await;
    expect![[r#"
        anna@pve has 23 privileges on /vms/124 of lab, through PVEVMAdmin on /pool/lab by group developers, lent by the pool
        privileges: VM: Allocate, Audit, Backup, Clone, Config.CDROM, Config.CPU, Config.Cloudinit, Config.Disk, Config.HWType, Config.Memory, Config.Network, Config.Options, Console, GuestAgent.Audit, GuestAgent.FileRead, GuestAgent.FileSystemMgmt, GuestAgent.FileWrite, GuestAgent.Unrestricted, Migrate, PowerMgmt, Replicate, Snapshot, Snapshot.Rollback
        note: none of it reaches further down"#]].assert_eq(&text);
    let mut refusals = Vec::new();
    for (who, path, privilege) in [
        ("anna@pve", "/vms/120", "VM.Audit"),
        ("anna@pve", "/vms/122", "VM.Clone"),
        ("anna@pve", "/nodes/birch", "Sys.Audit"),
        ("olaf@pve", "/nodes/cedar", "Sys.Audit"),
        ("mcp@pve!readonly", "/vms/100", "VM.PowerMgmt"),
        ("mcp@pve!nothing", "/vms/100", "VM.Audit"),
        ("chris", "/pool/lab", "Pool.Audit"),
    ] {
        let args = json!({"cluster": "lab", "who": who, "path": path, "privilege": privilege});
        refusals.push(ask(args).await);
    }
    expect![[r#"
        no: anna@pve has no VM.Audit on /vms/120 of lab: NoAccess on /vms/120 does not bring it
        no: anna@pve has no VM.Clone on /vms/122 of lab: PVEVMUser on /pool/staging by group developers, lent by the pool does not bring it
        no: anna@pve has no Sys.Audit on /nodes/birch of lab: no line names it, its groups or anything above
        no: olaf@pve has no Sys.Audit on /nodes/cedar of lab: it has it on /nodes, but NoAccess on /nodes/cedar by group ops is deeper and replaces what comes from above
        no: mcp@pve!readonly has no VM.PowerMgmt on /vms/100 of lab: McpReadonly on / (at most what its user has) does not bring it
        no: mcp@pve!nothing has no VM.Audit on /vms/100 of lab: no line names it, its groups or anything above
        no: chris@pve has no Pool.Audit on /pool/lab of lab: PVEVMAdmin on /pool/lab by group developers does not bring it
        note: the user has expired, so none of it can be used now"#]].assert_eq(&refusals.join("\n"));
    let args =
        json!({"cluster": "lab", "who": "anna", "path": "/vms/124", "privilege": "VM.PowerMgmt"});
    let text = ask(args).await;
    expect!["yes: anna@pve has VM.PowerMgmt on /vms/124 of lab, through PVEVMAdmin on /pool/lab by group developers, lent by the pool"].assert_eq(&text);
    let text = ask(json!({"cluster": "lab", "who": "developers"})).await;
    expect![[r#"
        group developers of lab has 2 members and 3 lines
        members: anna@pve,chris@pve
        path role below privileges
        /pool/lab PVEVMAdmin yes 23
        /pool/staging PVEVMUser yes 7
        /storage/nas PVEDatastoreUser yes 2
        note: a line that names a user itself goes before those of its groups; ask with a user as who for what counts"#]].assert_eq(&text);
    let text = ask(json!({"cluster": "vault", "path": "/datastore/main"})).await;
    expect![[r#"
        3 users and tokens may do something on /datastore/main of vault
        who privileges powerful barred through
        operator@pbs 23 Permissions.Modify,Sys.Modify,Sys.PowerManagement,+4 - Admin on /
        operator@pbs!operator 23 Permissions.Modify,Sys.Modify,Sys.PowerManagement,+4 - Admin on / (at most what its user has)
        root@pam 23 Permissions.Modify,Sys.Modify,Sys.PowerManagement,+4 - root@pam may do everything"#]].assert_eq(&text);
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_and_what_they_run_on() {
    let estate = Estate::start("operator").await;
    let text = estate.text("certificates_list", json!({})).await;
    let text = fingerprints(&steady(&text));
    expect![[r#"
        7 certificates, the first to end is edge/alder pve-ssl.pem (in 730 d)
        host file expires in issuer key names fingerprint
        edge/alder pve-ssl.pem TIME AGE edge_CA ec-256 127.0.0.1,localhost,alder FINGERPRINT
        lab/alder pve-ssl.pem TIME AGE lab_CA ec-256 127.0.0.1,localhost,alder FINGERPRINT
        lab/birch pve-ssl.pem TIME AGE lab_CA ec-256 127.0.0.1,localhost,birch FINGERPRINT
        lab/cedar pve-ssl.pem TIME AGE lab_CA ec-256 127.0.0.1,localhost,cedar FINGERPRINT
        vault proxy.pem TIME AGE vault_CA ec-256 127.0.0.1,localhost,vault FINGERPRINT
        edge/alder pve-root-ca.pem TIME AGE itself ec-256 - FINGERPRINT
        lab/* pve-root-ca.pem TIME AGE itself ec-256 - FINGERPRINT
    "#]]
    .assert_eq(&text);
    let text = estate.text("updates_list", json!({})).await;
    expect![[r#"
        6 updates pending on 5 hosts, 3 of them likely for security
        host pending security? kernel reboot version
        edge/alder 0 0 6.17.2-1-pve - 9.2.11
        lab/alder 5 3 6.17.2-1-pve - 9.2.9
        lab/birch 3 2 6.17.2-1-pve - 9.2.9
        lab/cedar 0 0 6.17.2-1-pve - 9.2.11
        vault 1 0 - - 4.2.0-1
        package kind installed new hosts
        libssl3t64 security? 3.5.1-1 3.5.4-1~deb13u1 lab/alder,lab/birch
        openssl security? 3.5.1-1 3.5.4-1~deb13u1 lab/alder,lab/birch
        tzdata security? 2026c-0+deb13u1 2026f-0+deb13u1 lab/alder
        proxmox-backup-server proxmox 4.2.0-1 4.2.1-1 vault
        pve-manager proxmox 9.2.9 9.2.11 lab/alder,lab/birch
        qemu-server proxmox 9.1.2 9.1.4 lab/alder
        note: lab: pve-manager is apart: 9.2.11 on cedar, 9.2.9 on alder, birch
        note: lab: qemu-server is apart: 9.1.4 on birch, cedar, 9.1.2 on alder
        note: lists are as of each host's last refresh (updates_refresh); the API does not say which are for security, `security?` are Debian's stable updates"#]].assert_eq(&steady(&text));
    let text = estate.text("disks_list", json!({})).await;
    expect![[r#"
        11 disks on 5 hosts: 1 problem, 4 thin pools, 2 ZFS pools
        host pool use size metadata problem
        edge/alder pve/data N% 780G N% -
        lab/alder pve/data N% 800G N% -
        lab/birch pve/data N% 800G N% -
        lab/cedar pve/data N% 800G N% -
        host pool health use size fragmented problem
        edge/alder rpool ONLINE N% 120G N% -
        vault tank ONLINE N% 70T N% -
        host group size free disks
        edge/alder pve 880G 16G /dev/nvme1n1
        lab/alder pve 900G 16G /dev/nvme1n1
        lab/birch pve 900G 16G /dev/nvme1n1
        lab/cedar pve 900G 16G /dev/nvme1n1
        host disk type size health life_left used model serial problem
        lab/birch /dev/nvme1n1 nvme 894G PASSED N% LVM Samsung_PM9A3 S64GNE0U worn: plan to replace it
        edge/alder /dev/sda ssd 932G PASSED N% BIOS_boot CT1000MX500SSD1 2117E59A -
        lab/alder /dev/nvme0n1 nvme 894G PASSED N% BIOS_boot Samsung_PM9A3 S64GNE0T -
        lab/alder /dev/nvme1n1 nvme 894G PASSED N% LVM Samsung_PM9A3 S64GNE0U -
        lab/birch /dev/nvme0n1 nvme 894G PASSED N% BIOS_boot Samsung_PM9A3 S64GNE0T -
        lab/cedar /dev/nvme0n1 nvme 894G PASSED N% BIOS_boot Samsung_PM9A3 S64GNE0T -
        lab/cedar /dev/nvme1n1 nvme 894G PASSED N% LVM Samsung_PM9A3 S64GNE0U -
        vault /dev/sda hdd 18T passed - zfs TOSHIBA_MG10ACA20TE Z4A00 -
        vault /dev/sdb hdd 18T passed - zfs TOSHIBA_MG10ACA20TE Z4A01 -
        vault /dev/sdc hdd 18T passed - zfs TOSHIBA_MG10ACA20TE Z4A02 -
        vault /dev/sdd hdd 18T passed - zfs TOSHIBA_MG10ACA20TE Z4A03 -"#]].assert_eq(&steady(&text));
    let text = estate.text("disks_list", json!({"node": "birch", "disk": "/dev/nvme1n1"})).await;
    expect![[r#"
        /dev/nvme1n1 on lab/birch: PASSED
        life_left: 9 %
        <<<untrusted SMART values of /dev/nvme1n1 on lab/birch
        SMART/Health Information (NVMe Log 0x02)
        Critical Warning:                   0x00
        Temperature:                        38 Celsius
        Available Spare:                    N%
        Available Spare Threshold:          N%
        Percentage Used:                    N%
        Data Units Written:                 41,402,113 [21.1 TB]
        Power On Hours:                     12,071
        Unsafe Shutdowns:                   3
        Media and Data Integrity Errors:    0
        untrusted>>>"#]]
    .assert_eq(&steady(&text));
    let text = estate.text("disks_list", json!({"node": "edge/alder", "disk": "sda"})).await;
    expect![[r#"
        /dev/sda on edge/alder: PASSED
        life_left: 88 %
        id attribute value worst threshold raw problem
        5 Reallocated_Sector_Ct 100 100 10 0 -
        9 Power_On_Hours 97 97 0 12071 -
        197 Current_Pending_Sector 100 100 0 0 -
        199 UDMA_CRC_Error_Count 100 100 0 0 -
        202 Percent_Lifetime_Remain 88 88 1 12 -"#]]
    .assert_eq(&steady(&text));
    let text = estate.text("disks_list", json!({"cluster": "vault", "disk": "sda"})).await;
    expect![[r#"
        sda on vault: passed
        id attribute value worst threshold raw problem
        5 Reallocated_Sector_Ct 100 100 10 0 -"#]]
    .assert_eq(&steady(&text));
    let text = estate.text("services_list", json!({})).await;
    expect!["all that should run do: 60 services on 5 hosts"].assert_eq(&steady(&text));
    let text = estate.text("services_list", json!({"node": "vault", "all": true})).await;
    expect![[r#"
        all that should run do: 4 services on 1 host
        host service state problem description
        vault proxmox-backup running - "Proxmox Backup API Server"
        vault proxmox-backup-proxy running - "Proxmox Backup API Proxy Server"
        vault chrony running - "chrony, an NTP client/server"
        vault ssh running - "OpenBSD Secure Shell server""#]]
    .assert_eq(&steady(&text));
}

#[tokio::test(flavor = "multi_thread")]
async fn journals_by_range_unit_and_words() {
    let estate = Estate::start("agent").await;
    let ask = async |args| steady(&estate.text("node_journal", args).await);
    let text = ask(json!({"node": "birch", "since": "2d", "unit": "sshd"})).await;
    expect![[r#"
        2 lines of the journal of lab/birch, unit sshd, TIME to TIME
        <<<untrusted journal of lab/birch
        sshd: Failed password for root from 10.40.9.77 port 50512 ssh2
        sshd: Failed password for root from 10.40.9.77 port 50518 ssh2
        untrusted>>>"#]]
    .assert_eq(&stamps(&text));
    let text =
        ask(json!({"node": "birch", "since": "2 days ago", "trouble": true, "text": "nvme"})).await;
    expect![[r#"
        2 lines of the journal of lab/birch, TIME to TIME
        note: lines that sound like errors: the API gives no priorities
        <<<untrusted journal of lab/birch
        kernel: nvme nvme1: I/O tag 771 (4303) opcode 0x1 (I/O Cmd) QID 12 timeout, aborting
        kernel: nvme nvme1: Abort status: 0x0
        untrusted>>>"#]]
    .assert_eq(&stamps(&text));
    let text = ask(json!({"node": "birch", "limit": 2})).await;
    assert!(text.starts_with("2 lines of the journal of lab/birch\n"), "{text}");
    let text = ask(json!({"cluster": "vault", "limit": 3})).await;
    assert!(text.starts_with("3 lines of the journal of vault\n"), "{text}");
    let text = estate.failure("node_journal", json!({"node": "birch", "since": "soon"})).await;
    assert!(text.contains("yesterday 14:00"), "{text}");
}

/// Replaces how far away the next run is.
fn soon(text: &str) -> String {
    let words = text.split_inclusive([' ', '\n']);
    words.map(|word| if word.starts_with("in_") { "in_AGE " } else { word }).collect()
}

/// Replaces fingerprints, which differ in every run.
fn fingerprints(text: &str) -> String {
    let words = text.split_inclusive([' ', '\n']);
    let is_one = |word: &str| word.trim_end().len() == 95 && word.trim_end().contains(':');
    words.map(|word| if is_one(word) { "FINGERPRINT\n" } else { word }).collect()
}

/// Replaces the stamps and process ids of journal lines.
fn stamps(text: &str) -> String {
    let lines = text.lines().map(|line| match line.split_once("]: ") {
        Some((head, said)) => {
            let unit = head.split(' ').nth_back(0).unwrap_or_default();
            format!("{}: {said}", unit.split('[').next().unwrap_or_default())
        }
        None => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}
