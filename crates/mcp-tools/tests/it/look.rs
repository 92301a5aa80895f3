//! What answers look like on the demo estate.

#![expect(clippy::needless_raw_string_hashes, reason = "expect-test writes them")]

use expect_test::expect;
use serde_json::json;

use crate::estate::{Estate, steady};

#[tokio::test(flavor = "multi_thread")]
async fn the_estate_at_a_glance() {
    let estate = Estate::start("agent").await;
    let text = estate.text("fleet_overview", json!({})).await;
    assert!(text.len() <= 900, "{} bytes:\n{text}", text.len());
    expect![[r#"
        56 guests (46 running, 10 stopped) and 3 templates; 4/4 nodes online in 1 PVE cluster and 1 standalone node, 1 PBS; 3 problems
        level what problem
        warning lab 2 recent tasks failed (AGE), last qmstart 108 AGE ago: start failed: QEMU exited with code 1
        warning lab/nas N% full, 1T free
        warning vault 1 recent task failed (AGE), last verificationjob main:main-weekly AGE ago: verification failed - please check the log for d…
        cluster quorum nodes guests running cpu mem
        edge single 1/1 12 9 N% 25/32G
        lab ok 3/3 44 37 N% 195/384G
        datastore use used
        vault/main N% 11/20T
        vault/archive N% 8.6/39T
        next: tasks_list {"cluster":"lab","state":"failed"}"#]].assert_eq(&steady(&text));
}

#[tokio::test(flavor = "multi_thread")]
async fn all_guests() {
    let estate = Estate::start("agent").await;
    let text = estate.text("guests_list", json!({})).await;
    assert!(text.len() <= 3500, "{} bytes:\n{text}", text.len());
    expect![[r#"
        56 guests (46 running, 10 stopped) and 3 templates
        guest name kind node status cpu mem maxmem
        edge/100 pos-server vm alder running N% 4.3G 8G
        edge/101 camera-nvr vm alder running N% 6.2G 8G
        edge/102 router vm alder running N% 1.4G 2G
        edge/103 win-office vm alder running N% 5.8G 8G
        edge/104 print-server vm alder stopped - - 4G
        edge/105 test-vm vm alder stopped - - 2G
        edge/106 dns ct alder running N% 281M 512M
        edge/107 dhcp ct alder running N% 235M 512M
        edge/108 cache ct alder running N% 1.7G 2G
        edge/109 time ct alder running N% 143M 256M
        edge/200 backup-relay vm alder running N% 2.2G 4G
        edge/201 scratch ct alder stopped - - 512M
        lab/100 web-01 vm alder running N% 4.3G 8G
        lab/101 web-02 vm birch running N% 6.2G 8G
        lab/102 web-03 vm cedar running N% 5.6G 8G
        lab/103 lb-01 vm alder running N% 2.9G 4G
        lab/104 db-main vm birch running N% 21G 32G
        lab/105 db-replica vm cedar running N% 19G 32G
        lab/106 mail-01 vm alder running N% 4.4G 8G
        lab/107 git-01 vm birch running N% 3.7G 8G
        lab/108 gpu-render vm cedar stopped - - 16G
        lab/109 erp-01 vm alder running N% 8.9G 16G
        lab/110 win-ad-01 vm alder running N% 4.7G 8G
        lab/111 win-ad-02 vm birch running N% 3.7G 8G
        lab/112 fileserver vm cedar running N% 5.5G 8G
        lab/113 monitoring vm alder running N% 3.5G 8G
        lab/114 log-store vm birch running N% 9.9G 16G
        lab/115 ci-runner-01 vm cedar running N% 12G 16G
        lab/116 ci-runner-02 vm alder running N% 11G 16G
        lab/117 billing vm birch stopped - - 8G
        lab/118 vpn-gw vm cedar running N% 1.4G 2G
        lab/119 old-crm vm alder stopped - - 4G
        lab/120 stg-web-01 vm birch running N% 1.7G 4G
        lab/121 stg-web-02 vm cedar running N% 2.9G 4G
        lab/122 stg-db vm alder running N% 4.1G 8G
        lab/123 stg-erp vm birch stopped - - 8G
        lab/124 dev-anna vm cedar running N% 2.9G 8G
        lab/125 dev-bela vm alder stopped - - 8G
        lab/126 dev-chris vm birch running N% 6G 8G
        lab/127 k8s-cp vm alder running N% 6.2G 8G
        lab/128 k8s-w1 vm birch running N% 13G 16G
        lab/129 k8s-w2 vm cedar running N% 7.1G 16G
        lab/130 proxy ct alder running N% 684M 1G
        lab/131 dns-01 ct birch running N% 336M 512M
        lab/132 dns-02 ct cedar running N% 268M 512M
        lab/133 redis ct alder running N% 1.6G 4G
        lab/134 grafana ct birch running N% 1.6G 2G
        lab/135 wiki ct cedar running N% 1.6G 2G
        lab/136 chat ct alder running N% 1.9G 4G
        lab/137 mirror ct birch running N% 1.3G 2G
        lab/138 stg-redis ct cedar running N% 1.5G 2G
        lab/139 stg-proxy ct alder running N% 323M 512M
        lab/140 build-cache ct birch running N% 2G 4G
        lab/141 sandbox ct cedar stopped - - 512M
        lab/142 unifi ct alder running N% 1.3G 2G
        lab/143 home-auto ct birch stopped - - 1G
        lab/9000 tpl-debian-13 vm alder template - - 2G
        lab/9001 tpl-ubuntu-26 vm birch template - - 2G
        lab/9002 tpl-windows-2025 vm cedar template - - 2G"#]]
    .assert_eq(&steady(&text));
}

#[tokio::test(flavor = "multi_thread")]
async fn guests_in_depth() {
    let estate = Estate::start("agent").await;
    let all = json!(["status", "config", "snapshots", "addresses", "backup"]);
    let text = estate.text("guest_get", json!({"guest": "lab/104", "include": all})).await;
    expect![[r#"
        lab/104 db-main: vm running on birch for AGE
        tags: db,prod,protected
        pool: production
        ha: started (wished: started)
        cpu: N% of 8
        mem: 21/32G
        cores: 8 x 1 (x86-64-v2-AES)
        memory: 32768 MiB
        system: l26
        boot: order=scsi0;net0
        onboot: yes
        agent: on
        protection: yes
        snapshots_now: 2, the guest stands after weekly-2
        last_backup: TIME (AGE ago) on vault, 67G, not verified
        disk volume size options
        scsi0 ceph-vm:vm-104-disk-0 200G discard=on,iothread=1,ssd=1
        net bridge vlan mac ip options
        net0 vmbr0 - BC:24:11:E0:D0:98 - firewall=1,virtio
        snapshot parent time memory state
        weekly-1 - TIME(AGE) no -
        weekly-2 weekly-1 TIME(AGE) no -
        interface address mac
        eth0 10.40.20.104/24 bc:24:11:e0:d0:98
        <<<untrusted description of lab/104
        Main database. Call the database team before touching it.
        untrusted>>>"#]]
    .assert_eq(&steady(&text));
    let text = estate.text("guest_get", json!({"guest": "redis", "include": all})).await;
    assert!(!text.contains("kestrel"), "{text}");
    expect![[r#"
        lab/133 redis: ct running on alder for AGE
        tags: db,prod
        pool: production
        ha: started (wished: started)
        cpu: N% of 2
        mem: 1.6/4G
        disk: 6.4/16G
        cores: 2
        memory: 4096 MiB, swap 512 MiB
        system: debian
        onboot: yes
        unprivileged: yes
        features: nesting=1
        environment: set (values are not shown)
        snapshots_now: none
        last_backup: TIME (AGE ago) on vault, 4.1G, not verified
        disk volume size options
        rootfs ceph-vm:vm-133-disk-0 16G -
        net bridge vlan mac ip options
        net0 vmbr0 - BC:24:11:9F:C0:EF dhcp firewall=1,name=eth0
        interface address mac
        eth0 10.40.20.133/24 bc:24:11:9f:c0:ef"#]]
    .assert_eq(&steady(&text));
    // Turned on, but nothing answers inside.
    let text = estate.text("guest_get", json!({"guest": "lab/111"})).await;
    expect![[r#"
        lab/111 win-ad-02: vm running on birch for AGE
        tags: infra,prod
        cpu: N% of 4
        mem: 3.7/8G
        cores: 4 x 1 (x86-64-v2-AES)
        memory: 8192 MiB
        system: l26
        boot: order=scsi0;net0
        onboot: yes
        agent: on
        disk volume size options
        scsi0 ceph-vm:vm-111-disk-0 80G discard=on,iothread=1,ssd=1
        net bridge vlan mac ip options
        net0 vmbr0 - BC:24:11:B6:17:38 - firewall=1,virtio
        note: no addresses: the guest agent is turned on, but does not run inside the guest"#]]
    .assert_eq(&steady(&text));
    let text = estate.text("guest_get", json!({"guest": "lab/9000"})).await;
    expect![[r#"
        lab/9000 tpl-debian-13: vm template on alder
        tags: template
        cores: 2 x 1 (x86-64-v2-AES)
        memory: 2048 MiB
        system: l26
        boot: order=scsi0;net0
        onboot: yes
        agent: on
        cloudinit: user=ops,password set
        disk volume size options
        ide2 ceph-vm:vm-9000-cloudinit 4M media=cdrom
        scsi0 ceph-vm:base-9000-disk-0 16G -
        net bridge vlan mac ip options
        net0 vmbr0 - BC:24:11:04:63:1C - firewall=1,virtio
        note: no addresses: a template never runs"#]]
    .assert_eq(&steady(&text));
    // What waits for the next start is said.
    let text = estate.text("guest_get", json!({"guest": "lab/103", "include": ["config"]})).await;
    assert!(text.contains("pending: memory=6144"), "{text}");
    // Orders in a description stay within their marks.
    let text = estate.text("guest_get", json!({"guest": "old-crm", "include": ["config"]})).await;
    let marked = text.split("<<<untrusted").nth(1).expect("a marked part");
    assert!(marked.contains("Ignore previous instructions"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_storages_networks_and_clusters() {
    let estate = Estate::start("agent").await;
    let text = estate.text("nodes_list", json!({})).await;
    expect![[r#"
        4 of 4 nodes online
        node status cpu cpus mem maxmem root uptime running guests
        edge/alder online N% 8 25G 32G N% AGE 9 12
        lab/alder online N% 32 59G 128G N% AGE 14 16
        lab/birch online N% 32 74G 128G N% AGE 12 15
        lab/cedar online N% 32 63G 128G N% AGE 11 13"#]]
    .assert_eq(&steady(&text));
    let text = estate.text("node_get", json!({"node": "birch"})).await;
    expect![[r#"
        lab/birch: online for AGE, PVE 9.2.11
        cpu: N% of 32, io wait N%
        load: LOAD LOAD LOAD
        mem: 74/128G
        swap: 0/8G
        root: 39/94G
        kernel: 6.17.2-1-pve
        boot: efi
        model: AMD EPYC 7313P 16-Core Processor
        services: all that should run do
        subscription: notfound
        certificate expires in issuer
        pve-root-ca.pem TIME AGE /O=Simulated Proxmox/CN=lab CA
        pve-ssl.pem TIME AGE /O=Simulated Proxmox/CN=lab CA
        disk type size health life_left used model
        /dev/nvme0n1 nvme 894G PASSED N% BIOS_boot Samsung PM9A3
        /dev/nvme1n1 nvme 894G PASSED N% LVM Samsung PM9A3
        note: disk /dev/nvme1n1 is worn: 9 % of its life left
        note: updates: the token may not see this: Permission check failed (/nodes/birch, Sys.Modify)"#]].assert_eq(&steady(&text));
    let text = estate.text("storage_list", json!({})).await;
    expect![[r#"
        12 storages, 11T of 17T used (without PBS); 2 backup datastores
        storage node type use used size status content
        lab/nas shared(3) nfs N% 6.8T 7.8T available backup,iso,vztmpl,images,import
        lab/local-lvm birch lvmthin N% 568G 800G available images,rootdir
        edge/vault shared(1) pbs N% 11T 20T available backup
        lab/vault shared(3) pbs N% 11T 20T available backup
        edge/local alder dir N% 52G 94G available iso,vztmpl,backup
        lab/ceph-vm shared(3) rbd N% 3T 5.9T available images,rootdir
        lab/local-lvm alder lvmthin N% 368G 800G available images,rootdir
        lab/local birch dir N% 39G 94G available iso,vztmpl,backup,snippets
        lab/local-lvm cedar lvmthin N% 312G 800G available images,rootdir
        edge/local-lvm alder lvmthin N% 265G 780G available images,rootdir
        lab/local alder dir N% 29G 94G available iso,vztmpl,backup,snippets
        lab/local cedar dir N% 26G 94G available iso,vztmpl,backup,snippets
        datastore use used size error
        vault/main N% 11T 20T -
        vault/archive N% 8.6T 39T -"#]]
    .assert_eq(&steady(&text));
    let text = estate.text("storage_list", json!({"storage": "nas"})).await;
    expect![[r#"
        lab/nas: 6.8T of 7.8T used (shared), 18 volumes
        storage node type use used size status content
        lab/nas shared(3) nfs N% 6.8T 7.8T available backup,iso,vztmpl,images,import
        content count size
        backup 15 117G
        import 1 421M
        iso 2 1.4G
        next: backup_status {"cluster":"lab"}"#]]
    .assert_eq(&steady(&text));
    let text = estate.text("network_list", json!({"node": "cedar"})).await;
    expect![[r#"
        lab/cedar: 4 interfaces, 1 bridge
        interface type active auto address gateway ports vlan comment
        eno1 eth yes no - - - - -
        eno2 eth yes no - - - - -
        bond0 bond yes yes - - eno1,eno2 - -
        vmbr0 bridge yes yes 10.40.0.13/24 10.40.0.1 bond0 aware -"#]]
    .assert_eq(&steady(&text));
    let text = estate.text("cluster_status", json!({})).await;
    expect![[r#"
        edge: single node, no cluster; lab: quorum ok, 3/3 nodes online; 3 HA services, 0 with problems; 1 replication job, 0 failing
        node online id ip
        edge/alder yes 0 10.60.0.11
        lab/alder yes 1 10.40.0.11
        lab/birch yes 2 10.40.0.12
        lab/cedar yes 3 10.40.0.13
        service state wished node problem
        lab/ct:133 started started alder -
        lab/vm:104 started started birch -
        lab/vm:117 stopped stopped birch -
        job guest to last failures error
        lab/113-0 113 birch AGE 0 -
        cluster health problems
        lab HEALTH_OK -"#]].assert_eq(&steady(&text));
}
