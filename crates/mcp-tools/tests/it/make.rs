//! Guests that are made: from images, templates and copies; and what is said where that fails.

use std::sync::Arc;

use expect_test::expect;
use mcp_protocol::CallContext;
use proxmox_sim::{PveRelease, SimConfig};
use serde_json::{Value, json};

use crate::estate::{Answer, Estate, steady};

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBxk3uXyyT ops@example";
const ROCKY: &str = "https://download.example/rocky/Rocky-10-GenericCloud-Base.latest.x86_64.qcow2";
const NOBLE: &str = "https://download.example/noble/noble-server-cloudimg-amd64.img";

/// The plan of a call, through the app as a client gets it.
pub(crate) async fn plan(estate: &Estate, tool: &str, mut args: Value) -> Answer {
    args["plan"] = true.into();
    let options = crate::surface::options("all");
    let app = mcp_tools::build_app(Arc::clone(&estate.cx.fleet), &options).unwrap();
    let cx = CallContext::detached(app.caller().clone());
    let outcome = app.call_tool(&cx, tool, mcp_protocol::schema_object(args)).await.unwrap();
    let failed = matches!(outcome, mcp_protocol::Outcome::Failed(_));
    let answer = outcome.answer().expect("an answer");
    let object = answer.structured.clone().unwrap_or_default();
    Answer { failed, text: answer.plain_text(), object }
}

/// What the estate has, to be compared before and after.
async fn census(estate: &Estate) -> Vec<String> {
    let mut all = Vec::new();
    for tool in ["guests_list", "tasks_list"] {
        all.push(
            estate.text(tool, json!({"cluster": "lab"})).await.lines().next().unwrap().to_owned(),
        );
    }
    all.push(estate.text("storage_list", json!({"cluster": "lab", "storage": "nas"})).await);
    all
}

fn quiet(text: &str) -> String {
    let text = steady(text);
    let lines = text.lines().map(|line| match line.split_once("digest: sha256:") {
        Some((before, _)) => format!("{before}digest: DIGEST"),
        None => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_is_made_from_a_url_in_one_call() {
    let estate = Estate::start("operator").await;
    let args = json!({
        "name": "web-04", "image": ROCKY, "checksum": format!("sha256:{}", "ab".repeat(32)), "cluster": "lab",
        "cores": 4, "memory_mib": 4096, "disk_gib": 30, "user": "ops", "ssh_keys": KEY, "ip": "10.40.7.9/24",
        "gateway": "10.40.7.1", "nameserver": "10.40.0.2", "vlan": 7, "tags": "web, prod", "pool": "production",
    });
    let before = census(&estate).await;
    let planned = plan(&estate, "guest_create", args.clone()).await;
    assert!(!planned.failed, "{}", planned.text);
    expect![[r#"
        plan of the creation of lab/144 web-04: 4 calls; nothing was done
        access: operate
        undo: guest_delete {"guest":"lab/144"}
        digest: DIGEST
        decision: allow (operate): line `operate` allows it: tier operate, target lab/144
        member call parameters
        lab POST_/nodes/alder/storage/nas/download-url url=https://download.example/rocky/Rocky-10-GenericCloud-Base.latest.x86_64.qcow2 content=import filename=Rocky-10-GenericCloud-Base.latest.x86_64.qcow2 checksum=abababababababababababababababababababababababababababababababab checksum-algorithm=sha256
        lab POST_/nodes/alder/qemu vmid=144 name=web-04 tags=web;prod memory=4096 cores=4 cpu=x86-64-v3 ostype=l26 scsihw=virtio-scsi-single agent=1 nameserver=10.40.0.2 ciuser=ops sshkeys=ssh-ed25519%20AAAAC3NzaC1lZDI1NTE5AAAAIBxk3uXyyT%20ops%40example ide2=ceph-vm:cloudinit ipconfig0=ip=10.40.7.9/24,gw=10.40.7.1 net0=virtio,bridge=vmbr0,tag=7 scsi0=ceph-vm:0,import-from=nas:import/Rocky-10-GenericCloud-Base.latest.x86_64.qcow2,di…
        lab PUT_/nodes/alder/qemu/144/resize disk=scsi0 size=30G
        lab POST_/nodes/alder/qemu/144/status/start -
        note: effect: Rocky-10-GenericCloud-Base.latest.x86_64.qcow2, 420M is fetched to nas, and stays there for the next
        note: chosen: node alder (most free memory where the image and the storage are); storage ceph-vm (most room); CPU type x86-64-v3 (this system does not start on less)
        note: cloud-init: later changes take effect when the guest is stopped and started, not at a reboot; user-data of your own is a snippet file, which the API cannot upload"#]].assert_eq(&quiet(&planned.text));
    assert_eq!(census(&estate).await, before);

    let answer = estate.ask("guest_create", args.clone()).await;
    assert!(!answer.failed, "{}", answer.text);
    expect![[r#"
        lab/144 web-04 runs at 10.40.7.9 (4 cores, 4G, 30G on ceph-vm, node alder; 0 s)
        note: chosen: node alder (most free memory where the image and the storage are); storage ceph-vm (most room); CPU type x86-64-v3 (this system does not start on less)
        note: cloud-init: later changes take effect when the guest is stopped and started, not at a reboot; user-data of your own is a snippet file, which the API cannot upload
        next: guest_get {"guest":"lab/144"}"#]].assert_eq(&quiet(&answer.text));
    assert_eq!(answer.object["address"], "10.40.7.9");
    assert_eq!(answer.object["state"], "running");
    let text = estate
        .text("guest_get", json!({"guest": "web-04", "include": ["status", "config", "addresses"]}))
        .await;
    expect![[r#"
        lab/144 web-04: vm running on alder for AGE
        tags: web,prod
        pool: production
        cpu: N% of 4
        mem: 2.5/4G
        cores: 4 x 1 (x86-64-v3)
        memory: 4096 MiB
        system: l26
        boot: order=scsi0;net0
        agent: on
        cloudinit: user=ops,ssh keys set,ipconfig0:ip=10.40.7.9/24 gw=10.40.7.1
        disk volume size options
        ide2 ceph-vm:vm-144-cloudinit 4M media=cdrom
        scsi0 ceph-vm:vm-144-disk-0 30G discard=on,iothread=1
        net bridge vlan mac ip options
        net0 vmbr0 7 MAC ip=10.40.7.9/24,gw=10.40.7.1 virtio
        device what
        serial0 socket
        interface address mac
        eth0 10.40.7.9/24 MAC"#]]
    .assert_eq(&hide_macs(&quiet(&text)));

    // A second one finds the image, and takes the next id.
    let args = json!({"name": "web-05", "image": ROCKY, "cluster": "lab", "start": false});
    let answer = estate.ask("guest_create", args).await;
    assert!(!answer.failed, "{}", answer.text);
    expect![[r#"
        lab/145 web-05 is made and is off (2 cores, 2G, 20G on ceph-vm, node alder; 0 s)
        note: warning: nobody can log in: neither ssh_keys nor password was given
        note: nas:import/Rocky-10-GenericCloud-Base.latest.x86_64.qcow2 is there already and was not fetched again (give a checksum to have it checked)
        note: chosen: node alder (most free memory where the image and the storage are); storage ceph-vm (most room); CPU type x86-64-v3 (this system does not start on less)
        note: cloud-init: later changes take effect when the guest is stopped and started, not at a reboot; user-data of your own is a snippet file, which the API cannot upload
        next: guest_get {"guest":"lab/145"}
        next: guest_power {"guest":"lab/145","action":"start"}"#]].assert_eq(&quiet(&answer.text));
}

fn hide_macs(text: &str) -> String {
    let hide = |word: &str| {
        let is_mac = word.len() == 17 && word.matches(':').count() == 5;
        if is_mac { "MAC".to_owned() } else { word.to_owned() }
    };
    let lines = text.lines().map(|line| line.split(' ').map(hide).collect::<Vec<_>>().join(" "));
    lines.collect::<Vec<_>>().join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_without_agent_says_how_its_address_is_learned() {
    let estate = Estate::start("operator").await;
    let args = json!({"name": "plain", "image": "debian-13", "cluster": "lab", "wait_s": 1});
    let answer = estate.ask("guest_create", args).await;
    assert!(!answer.failed, "{}", answer.text);
    expect![[r#"
        lab/144 plain runs (2 cores, 2G, 20G on ceph-vm, node alder; 1 s)
        note: its address is not known: after 1 s QEMU guest agent is not running. The agent has to be in the image: install qemu-guest-agent inside, and guest_get shows the address
        note: warning: nobody can log in: neither ssh_keys nor password was given
        note: chosen: node alder (most free memory where the image and the storage are); storage ceph-vm (most room)
        note: cloud-init: later changes take effect when the guest is stopped and started, not at a reboot; user-data of your own is a snippet file, which the API cannot upload
        next: guest_get {"guest":"lab/144"}"#]].assert_eq(&quiet(&answer.text));
    // The ending is what Proxmox goes by, and a disk never shrinks.
    let args = json!({
        "name": "noble", "image": NOBLE, "node": "lab/birch", "wait_s": 0, "disk_gib": 1, "ssh_keys": KEY,
    });
    let text = estate.failure("guest_create", args).await;
    expect![[r#"
        creation of lab/145 noble failed at step 3 of 4: the image's disk has 3G already, and a disk cannot be made smaller
        note: ask for at least 3 GiB
        note: done before grow scsi0 to 1 GiB: fetch noble-server-cloudimg-amd64.qcow2; make lab/145
        note: kept as noble-server-cloudimg-amd64.qcow2: Proxmox tells an image's format by its ending, and does not import .img
        note: the image was not checked: no checksum was given
        note: chosen: storage ceph-vm (most room)
        note: cloud-init: later changes take effect when the guest is stopped and started, not at a reboot; user-data of your own is a snippet file, which the API cannot upload
        note: lab/145 noble is there, unfinished and stopped: finish it by hand, or remove it with guest_delete
        next: guest_get {"guest":"lab/145"}"#]].assert_eq(&quiet(&text));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_medium_installs_and_a_template_is_told_who_it_is() {
    let estate = Estate::start("operator").await;
    let args = json!({"name": "by-hand", "image": "nas:iso/debian-13.1.0-amd64-netinst.iso", "storage": "local-lvm", "node": "lab/cedar"});
    let text = estate.text("guest_create", args).await;
    expect![[r#"
        lab/144 by-hand runs (2 cores, 2G, 32G on local-lvm, node cedar; 0 s)
        note: it boots the installer: go on in its console in the web interface, and take the medium out afterwards (guest_configure)
        next: guest_get {"guest":"lab/144"}"#]].assert_eq(&quiet(&text));
    let args = json!({
        "name": "from-template", "template": "lab/9000", "node": "birch", "cores": 3, "disk_gib": 40, "user": "anna",
        "ip": "dhcp", "ssh_keys": KEY, "tags": "web",
    });
    let planned = plan(&estate, "guest_create", args.clone()).await;
    expect![[r#"
        plan of the creation of lab/145 from-template from lab/9000 tpl-debian-13: 4 calls; nothing was done
        access: operate
        undo: guest_delete {"guest":"lab/145"}
        digest: DIGEST
        decision: allow (operate): line `operate` allows it: tier operate, target lab/145
        member call parameters
        lab POST_/nodes/alder/qemu/9000/clone newid=145 name=from-template full=0 target=birch
        lab PUT_/nodes/birch/qemu/145/config tags=web cores=3 ciuser=anna sshkeys=ssh-ed25519%20AAAAC3NzaC1lZDI1NTE5AAAAIBxk3uXyyT%20ops%40example ipconfig0=ip=dhcp
        lab PUT_/nodes/birch/qemu/145/resize disk=scsi0 size=40G
        lab POST_/nodes/birch/qemu/145/status/start -
        note: effect: a linked clone reads from lab/9000, which cannot be deleted as long as it exists
        note: cloud-init: later changes take effect when the guest is stopped and started, not at a reboot; user-data of your own is a snippet file, which the API cannot upload"#]].assert_eq(&quiet(&planned.text));
    let answer = estate.ask("guest_create", args).await;
    assert!(!answer.failed, "{}", answer.text);
    expect![[r#"
        lab/145 from-template runs at 10.40.98.145 (3 cores, 2G, 40G on ceph-vm, node birch; 0 s)
        note: cloud-init: later changes take effect when the guest is stopped and started, not at a reboot; user-data of your own is a snippet file, which the API cannot upload
        next: guest_get {"guest":"lab/145"}"#]].assert_eq(&quiet(&answer.text));
    let text =
        estate.text("guest_get", json!({"guest": "from-template", "include": ["config"]})).await;
    assert!(
        text.contains("cores: 3") && text.contains("40G") && text.contains("user=anna"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_made_is_refused_before_anything_is_sent() {
    let estate = Estate::start("operator").await;
    estate.sim.levers().node_offline("lab", "cedar", true).unwrap();
    estate.sim.levers().set_storage_usage("lab", "ceph-vm", 1.0).unwrap();
    let before = census(&estate).await;
    let mut answers = String::new();
    for args in [
        json!({"name": "db_main", "image": "debian-13", "cluster": "lab"}),
        json!({"name": "x1", "image": "debian-13"}),
        json!({"name": "x1", "cluster": "lab"}),
        json!({"name": "x1", "image": "debian-13", "template": "9000"}),
        json!({"name": "db-main", "image": "debian-13", "cluster": "lab"}),
        json!({"name": "x1", "image": "debian-13", "cluster": "lab", "vmid": 104}),
        json!({"name": "x1", "image": "windows", "cluster": "lab"}),
        json!({"name": "x1", "image": "nas:import/none.qcow2", "cluster": "lab"}),
        json!({"name": "x1", "image": "nas:iso/virtio-win-0.1.271.iso", "cluster": "lab", "user": "ops"}),
        json!({"name": "x1", "image": "https://download.example/missing.qcow2", "cluster": "lab"}),
        json!({"name": "x1", "image": "https://nowhere.invalid/a.qcow2", "cluster": "lab"}),
        json!({"name": "x1", "image": "https://download.example/a.ova", "cluster": "lab"}),
        json!({"name": "x1", "image": ROCKY, "cluster": "edge"}),
        json!({"name": "x1", "image": "debian-13", "cluster": "lab", "ssh_keys": "-----BEGIN OPENSSH PRIVATE KEY-----"}),
        json!({"name": "x1", "image": "debian-13", "cluster": "lab", "ip": "10.0.0.5"}),
        json!({"name": "x1", "image": "debian-13", "cluster": "lab", "storage": "local"}),
        json!({"name": "x1", "image": "debian-13", "cluster": "lab", "storage": "ceph-vm"}),
        json!({"name": "x1", "image": "debian-13", "cluster": "lab", "pool": "nope"}),
        json!({"name": "x1", "image": "debian-13", "node": "lab/cedar"}),
        json!({"name": "x1", "image": "debian-13", "cluster": "lab", "memory_mib": 1_000_000}),
        json!({"name": "x1", "image": "debian-13", "cluster": "lab", "checksum": "ab"}),
        json!({"name": "x1", "template": "lab/100"}),
        json!({"name": "x1", "template": "lab/130"}),
    ] {
        answers.push_str(&quiet(&estate.failure("guest_create", args).await));
        answers.push_str("\n\n");
    }
    expect![[r#"
        `db_main` cannot name a guest
        note: use letters, digits and hyphens, with dots between labels: web-04

        2 clusters could have it
        cluster
        edge
        lab
        note: give cluster=edge or cluster=lab

        a machine is made from an image or a template: none is named
        volume size nodes
        nas:import/debian-13-genericcloud-amd64.qcow2 421M alder,birch,cedar
        nas:iso/debian-13.1.0-amd64-netinst.iso 783M alder,birch,cedar
        nas:iso/virtio-win-0.1.271.iso 668M alder,birch,cedar
        guest name node
        lab/9000 tpl-debian-13 alder
        lab/9001 tpl-ubuntu-26 birch
        lab/9002 - cedar
        note: image takes the URL of a cloud image as well: qcow2, img or raw

        image and template are both given
        note: a machine is made from one of them

        lab/104 is called `db-main` already
        note: choose another name: two guests of one name cannot be told apart by it
        next: guest_get {"guest":"lab/104"}

        id 104 is in use: lab/104 db-main
        note: leave vmid out: the lowest free one is taken then

        lab has no image `windows`
        volume size nodes
        nas:import/debian-13-genericcloud-amd64.qcow2 421M alder,birch,cedar
        nas:iso/debian-13.1.0-amd64-netinst.iso 783M alder,birch,cedar
        nas:iso/virtio-win-0.1.271.iso 668M alder,birch,cedar
        note: give the URL of a cloud image to fetch one

        lab has no volume `nas:import/none.qcow2`
        volume size nodes
        nas:import/debian-13-genericcloud-amd64.qcow2 421M alder,birch,cedar

        cloud-init does not reach what is installed from a medium
        note: leave user, ssh_keys, password, ip, nameserver and searchdomain out, or use a cloud image

        lab/alder cannot fetch `https://download.example/missing.qcow2`: invalid server response: '404 Not Found'
        note: check the URL; the node itself fetches it, so it needs the way out and a name server

        lab/alder cannot fetch `https://nowhere.invalid/a.qcow2`: invalid server response: '500 Can't connect (Name or service not known)'
        note: check the URL; the node itself fetches it, so it needs the way out and a name server

        `a.ova` cannot be imported: it is a whole machine, not a disk
        note: import it in the web interface: its disks and its configuration belong together

        no storage on edge/alder holds images to import (content import)
        note: an administrator turns it on for a storage of files: Datacenter > Storage > Edit > Content, or `pvesm set STORAGE --content …,import`; import needs Proxmox VE 8.4 or newer

        that is a private key: it was not sent
        note: give the public one, the file that ends in .pub; and replace the pair, since the private key has been shown

        `10.0.0.5` is no address
        note: give ip as dhcp, or with its prefix length: 192.0.2.10/24

        storage local on lab/alder does not hold disks of virtual machines (content images): it holds iso, vztmpl, backup, snippets
        storage type free content
        ceph-vm rbd 0B images,rootdir
        local-lvm lvmthin 432G images,rootdir
        nas nfs 1T backup,iso,vztmpl,images,import

        storage ceph-vm on lab/alder has no room: 1G are needed and 0B are left
        storage type free content
        local-lvm lvmthin 432G images,rootdir
        nas nfs 1T backup,iso,vztmpl,images,import
        note: name another storage, or make room first

        lab has no pool `nope`
        note: its pools: lab, production, staging

        node lab/cedar does not answer: nothing can be made there
        next: nodes_list {"cluster":"lab"}

        alder has 128G of memory, and a machine cannot have 977G

        `ab` is no checksum
        note: give the hexadecimal digits, with the algorithm before them if you like: sha256:…

        lab/100 web-01 is no template
        note: guest_clone copies any guest; guest_template turns one into a template for good

        lab/130 proxy is a container
        note: guest_clone copies containers; container_create makes one from a file

    "#]].assert_eq(&answers);
    assert_eq!(census(&estate).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_fails_says_what_was_done_and_what_is_left() {
    let estate = Estate::start("operator").await;
    let levers = estate.sim.levers();
    let args = json!({"name": "web-04", "image": ROCKY, "cluster": "lab", "checksum": "0".repeat(64), "ssh_keys": KEY});
    let answer = estate.ask("guest_create", args).await;
    assert!(answer.failed, "{}", answer.text);
    expect![[r#"
        creation of lab/144 web-04 failed at step 1 of 5: fetch Rocky-10-GenericCloud-Base.latest.x86_64.qcow2 failed: checksum mismatch: got 'abe7e0fae6c7c94ec7a7db0c3158409334e3241427f47497da72eb0da4165ae6' != expect '0000000000000000000000000000000000000000000000000000000000000000'
        note: chosen: node alder (most free memory where the image and the storage are); storage ceph-vm (most room); CPU type x86-64-v3 (this system does not start on less)
        note: cloud-init: later changes take effect when the guest is stopped and started, not at a reboot; user-data of your own is a snippet file, which the API cannot upload
        note: nothing of lab/144 was left behind
        <<<untrusted end of the log of UPID
        downloading https://download.example/rocky/Rocky-10-GenericCloud-Base.latest.x86_64.qcow2 to /mnt/sim/nas/import/Rocky-10-GenericCloud-Base.latest.x86_64.qcow2
        N% done
        TASK ERROR: checksum mismatch: got 'abe7e0fae6c7c94ec7a7db0c3158409334e3241427f47497da72eb0da4165ae6' != expect '0000000000000000000000000000000000000000000000000000000000000000'
        untrusted>>>"#]].assert_eq(&no_upid(&answer));
    let args = json!({"name": "web-04", "image": "debian-13", "cluster": "lab", "ssh_keys": KEY, "wait_s": 0});
    levers
        .fail_next_task(
            "lab",
            Some("qmcreate"),
            "unable to create VM 144 - rbd error: No space left on device",
        )
        .unwrap();
    let answer = estate.ask("guest_create", args.clone()).await;
    assert!(answer.failed, "{}", answer.text);
    expect![[r#"
        creation of lab/144 web-04 failed at step 1 of 3: make lab/144 failed: unable to create VM 144 - rbd error: No space left on device
        note: chosen: node alder (most free memory where the image and the storage are); storage ceph-vm (most room)
        note: cloud-init: later changes take effect when the guest is stopped and started, not at a reboot; user-data of your own is a snippet file, which the API cannot upload
        note: nothing of lab/144 was left behind
        <<<untrusted end of the log of UPID
        TASK ERROR: unable to create VM 144 - rbd error: No space left on device
        untrusted>>>"#]].assert_eq(&no_upid(&answer));
    levers.fail_next_task("lab", Some("qmstart"), "start failed: QEMU exited with code 1").unwrap();
    let answer = estate.ask("guest_create", args).await;
    assert!(answer.failed, "{}", answer.text);
    expect![[r#"
        creation of lab/144 web-04 failed at step 3 of 3: start lab/144 failed: start failed: QEMU exited with code 1
        note: done before start lab/144: make lab/144; grow scsi0 to 20 GiB
        note: chosen: node alder (most free memory where the image and the storage are); storage ceph-vm (most room)
        note: cloud-init: later changes take effect when the guest is stopped and started, not at a reboot; user-data of your own is a snippet file, which the API cannot upload
        note: lab/144 web-04 is there, unfinished and stopped: finish it by hand, or remove it with guest_delete
        <<<untrusted end of the log of UPID
        TASK ERROR: start failed: QEMU exited with code 1
        untrusted>>>
        next: guest_get {"guest":"lab/144"}"#]].assert_eq(&no_upid(&answer));
    assert_eq!(answer.object["next"][0]["args"]["guest"], "lab/144");
}

fn no_upid(answer: &Answer) -> String {
    let upid = answer.object.get("upid").and_then(Value::as_str).unwrap_or("no upid at all");
    quiet(&answer.text.replace(upid, "UPID"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_without_the_rights_is_told_all_of_them() {
    let estate = Estate::start("agent").await;
    let mut answers = String::new();
    for (tool, args) in [
        ("guest_create", json!({"name": "x1", "image": ROCKY, "cluster": "lab", "ssh_keys": KEY})),
        ("container_create", json!({"name": "x1", "template": "alpine-3.23", "cluster": "lab"})),
        ("guest_clone", json!({"guest": "lab/9000", "name": "x1"})),
        ("guest_template", json!({"guest": "lab/125"})),
        ("guest_delete", json!({"guest": "lab/125"})),
    ] {
        answers.push_str(&estate.failure(tool, args).await);
        answers.push('\n');
    }
    expect![[r#"
        the creation of lab/144 x1 was not tried: the token of lab lacks VM.Allocate on /vms/144, VM.Config.CPU on /vms/144, VM.Config.HWType on /vms/144, VM.Config.Memory on /vms/144, VM.Config.Network on /vms/144, VM.Config.Options on /vms/144, VM.Config.Cloudinit on /vms/144, SDN.Use on /sdn/zones/localnet/vmbr0, Datastore.AllocateTemplate on /storage/nas, Sys.AccessNetwork on /nodes/alder
        note: grant them to the token and, if its privileges are separated, to its user: docs/guide/guests.md has a role to paste
        creation of container lab/144 x1 was not tried: the token of lab lacks VM.Allocate on /vms/144, VM.Config.CPU on /vms/144, VM.Config.Disk on /vms/144, VM.Config.Memory on /vms/144, VM.Config.Network on /vms/144, VM.Config.Options on /vms/144, SDN.Use on /sdn/zones/localnet/vmbr0, Datastore.AllocateTemplate on /storage/nas
        note: grant them to the token and, if its privileges are separated, to its user: docs/guide/guests.md has a role to paste
        clone of lab/9000 tpl-debian-13 as lab/144 x1 was not tried: the token of lab lacks VM.Clone on /vms/9000 or /pool/lab, VM.Allocate on /vms/144, SDN.Use on /sdn/zones/localnet/vmbr0
        note: grant them to the token and, if its privileges are separated, to its user: docs/guide/guests.md has a role to paste
        conversion of lab/125 dev-bela into a template was not tried: the token of lab lacks VM.Allocate on /vms/125 or /pool/lab
        note: grant them to the token and, if its privileges are separated, to its user: docs/guide/guests.md has a role to paste
        deletion of lab/125 dev-bela was not tried: the token of lab lacks VM.Allocate on /vms/125 or /pool/lab
        note: grant them to the token and, if its privileges are separated, to its user: docs/guide/guests.md has a role to paste
    "#]].assert_eq(&answers);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_is_made_from_a_template_that_is_fetched() {
    let estate = Estate::start("operator").await;
    let args = json!({"name": "cache-01", "template": "alpine-3.23", "cluster": "lab", "ssh_keys": KEY, "ip": "10.40.7.8/24"});
    let planned = plan(&estate, "container_create", args.clone()).await;
    expect![[r#"
        plan of the creation of container lab/144 cache-01: 3 calls; nothing was done
        access: operate
        undo: guest_delete {"guest":"lab/144"}
        digest: DIGEST
        decision: allow (operate): line `operate` allows it: tier operate, target lab/144
        member call parameters
        lab POST_/nodes/alder/aplinfo storage=nas template=alpine-3.23-default_20260116_amd64.tar.xz
        lab POST_/nodes/alder/lxc vmid=144 ostemplate=nas:vztmpl/alpine-3.23-default_20260116_amd64.tar.xz hostname=cache-01 memory=512 swap=512 cores=1 rootfs=ceph-vm:8 unprivileged=1 features=nesting=1 net0=name=eth0,bridge=vmbr0,ip=10.40.7.8/24 ssh-public-keys=ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBxk3uXyyT ops@example
        lab POST_/nodes/alder/lxc/144/status/start -
        note: effect: alpine-3.23-default_20260116_amd64.tar.xz is fetched to nas, and stays there for the next
        note: warning no_gateway: a fixed address without gateway reaches its own network only
        note: chosen: node alder (most free memory where template and storage are); storage ceph-vm (most room)"#]].assert_eq(&quiet(&planned.text));
    let answer = estate.ask("container_create", args).await;
    assert!(!answer.failed, "{}", answer.text);
    expect![[r#"
        lab/144 cache-01 runs at 10.40.7.8 (1 core, 512M, 8G on ceph-vm, node alder; 0 s)
        note: warning: a fixed address without gateway reaches its own network only
        note: chosen: node alder (most free memory where template and storage are); storage ceph-vm (most room)
        next: guest_get {"guest":"lab/144"}"#]].assert_eq(&quiet(&answer.text));
    let text = estate.text("guest_get", json!({"guest": "cache-01", "include": ["config"]})).await;
    assert!(text.contains("unprivileged"), "{text}");
    // What is there already is taken as it is, the newest of its kind.
    let args = json!({"name": "dns-03", "template": "debian-13", "node": "edge/alder", "wait_s": 0, "start": false});
    let text = estate.text("container_create", args).await;
    expect![[r#"
        edge/110 dns-03 is made and is off (1 core, 512M, 8G on local-lvm, node alder; 0 s)
        note: warning: only `pct enter` on alder gets in: neither ssh_keys nor password was given
        note: chosen: storage local-lvm (most room)
        next: guest_get {"guest":"edge/110"}
        next: guest_power {"guest":"edge/110","action":"start"}"#]]
    .assert_eq(&quiet(&text));
    let mut answers = String::new();
    for args in [
        json!({"name": "x1", "cluster": "edge"}),
        json!({"name": "x1", "template": "alpine", "cluster": "edge"}),
        json!({"name": "x1", "template": "slackware", "cluster": "edge"}),
        json!({"name": "x1", "template": "local:vztmpl/none.tar.zst", "cluster": "edge"}),
        json!({"name": "x1", "template": "debian-13", "cluster": "edge", "password": "1234"}),
    ] {
        answers.push_str(&estate.failure("container_create", args).await);
        answers.push_str("\n\n");
    }
    expect![[r#"
        a container is made from a template: none is named
        volume size nodes
        local:vztmpl/debian-13-standard_13.1-2_amd64.tar.zst 124M alder
        template os section
        almalinux-10-default almalinux-10 system
        alpine-3.22-default alpine-3.22 system
        alpine-3.23-default alpine-3.23 system
        archlinux-base archlinux system
        debian-12-standard debian-12 system
        debian-13-standard debian-13 system
        fedora-43-default fedora-43 system
        ubuntu-24.04-standard ubuntu-24.04 system
        proxmox-mail-gateway-9.0-standard debian-13 mail
        debian-13-turnkey-wordpress debian-13 turnkeylinux

        `alpine` fits 2 templates
        template os section
        alpine-3.22-default alpine-3.22 system
        alpine-3.23-default alpine-3.23 system

        edge has no template `slackware`, and cannot fetch one of that name
        volume size nodes
        local:vztmpl/debian-13-standard_13.1-2_amd64.tar.zst 124M alder
        template os section
        almalinux-10-default almalinux-10 system
        alpine-3.22-default alpine-3.22 system
        alpine-3.23-default alpine-3.23 system
        archlinux-base archlinux system
        debian-12-standard debian-12 system
        debian-13-standard debian-13 system
        fedora-43-default fedora-43 system
        ubuntu-24.04-standard ubuntu-24.04 system
        proxmox-mail-gateway-9.0-standard debian-13 mail
        debian-13-turnkey-wordpress debian-13 turnkeylinux

        edge has no template `local:vztmpl/none.tar.zst`
        volume size nodes
        local:vztmpl/debian-13-standard_13.1-2_amd64.tar.zst 124M alder

        a container's password has at least five characters

    "#]]
    .assert_eq(&answers);
    estate
        .sim
        .levers()
        .fail_next_task("edge", Some("vzcreate"), "unable to create CT 110 - no space")
        .unwrap();
    let answer = estate
        .ask("container_create", json!({"name": "x1", "template": "debian-13", "cluster": "edge"}))
        .await;
    assert!(answer.failed && answer.text.contains("nothing of edge/"), "{}", answer.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_are_full_or_linked_and_never_started_unasked() {
    let estate = Estate::start("operator").await;
    let mut answers = String::new();
    for args in [
        json!({"guest": "lab/9000", "name": "linked-1", "node": "birch"}),
        json!({"guest": "lab/100", "name": "web-copy", "storage": "ceph-vm", "description": "a rehearsal"}),
        json!({"guest": "lab/141", "name": "sandbox-2", "start": true}),
    ] {
        let answer = estate.ask("guest_clone", args).await;
        assert!(!answer.failed, "{}", answer.text);
        answers.push_str(&quiet(&answer.text));
        answers.push_str("\n\n");
    }
    for args in [
        json!({"guest": "lab/9000", "name": "x1", "storage": "local-lvm"}),
        json!({"guest": "lab/100", "name": "x1", "full": false}),
        json!({"guest": "lab/130", "name": "x1"}),
        json!({"guest": "lab/113", "name": "x1", "node": "birch"}),
        json!({"guest": "104", "name": "x1"}),
        json!({"guest": "lab/100", "name": "web-01"}),
        json!({"guest": "lab/100", "name": "x1", "storage": "nowhere"}),
    ] {
        answers.push_str(&quiet(&estate.failure("guest_clone", args).await));
        answers.push_str("\n\n");
    }
    expect![[r#"
        lab/144 linked-1 is made and is off (2 cores, 2G, 16G on ceph-vm, node birch; 0 s)
        next: guest_get {"guest":"lab/144"}
        next: guest_power {"guest":"lab/144","action":"start"}

        lab/145 web-copy is made and is off (4 cores, 8G, 40G on ceph-vm, node alder; 0 s)
        note: the source runs: the copy is as after a power cut
        next: guest_get {"guest":"lab/145"}
        next: guest_power {"guest":"lab/145","action":"start"}

        lab/146 sandbox-2 runs (1 core, 512M, 8G on local-lvm, node cedar; 0 s)
        next: guest_get {"guest":"lab/146"}

        a linked clone of lab/9000 tpl-debian-13 stays on the template's storage
        note: give full=true to copy it to another storage

        lab/100 web-01 is no template, and only those are cloned linked
        note: leave full out

        lab/130 proxy runs, and a running container is copied from a snapshot only
        note: name a snapshot (snapshot_create makes one), or shut it down first

        lab/113 monitoring can be copied on alder only: scsi0 is on local-lvm, which birch does not see
        note: leave node out, and move the copy afterwards (guest_migrate)

        `104` fits 2 guests
        guest name status
        edge/104 print-server stopped
        lab/104 db-main running
        note: name one as cluster/vmid

        lab/100 is called `web-01` already
        note: choose another name: two guests of one name cannot be told apart by it
        next: guest_get {"guest":"lab/100"}

        lab/alder has no storage `nowhere`
        storage type free content
        ceph-vm rbd 2.8T images,rootdir
        local dir 65G iso,vztmpl,backup,snippets
        local-lvm lvmthin 432G images,rootdir
        nas nfs 1T backup,iso,vztmpl,images,import
        vault pbs 8.2T backup

    "#]].assert_eq(&answers);
    estate.sim.levers().fail_next_task("lab", Some("qmclone"), "clone failed: rbd error").unwrap();
    let answer = estate.ask("guest_clone", json!({"guest": "lab/9000", "name": "x1"})).await;
    assert!(answer.failed, "{}", answer.text);
    expect![[r#"
        make a linked clone of lab/9000 failed: clone failed: rbd error
        note: nothing of lab/147 was left behind
        <<<untrusted end of the log of UPID
        creating a clone of VM 9000 with ID 147
        create linked clone of drive scsi0 (ceph-vm:base-9000-disk-0)
        TASK ERROR: clone failed: rbd error
        untrusted>>>"#]]
    .assert_eq(&no_upid(&answer));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_is_made_once_and_for_good() {
    let estate = Estate::start("operator").await;
    let planned = plan(&estate, "guest_template", json!({"guest": "lab/125"})).await;
    expect![[r#"
        plan of the conversion of lab/125 dev-bela into a template: 1 call; nothing was done
        access: destroy
        undo: not possible: a full clone of the template is a guest again, under another id
        digest: DIGEST
        decision: ask (destroy): line `destroy` asks any approver: tier destroy, target lab/125
        member call parameters
        lab POST_/nodes/alder/qemu/125/template -
        what before after
        template no yes
        note: effect: lab/125 dev-bela never starts again; linked clones read from its disks
        note: warning identity: what makes a system unique goes into every clone: machine id, SSH host keys, DHCP identity. Clean it inside first (cloud-init clean --machine-id)"#]].assert_eq(&quiet(&planned.text));
    let mut answers = String::new();
    for guest in ["lab/125", "lab/125", "lab/143"] {
        answers.push_str(&quiet(&estate.text("guest_template", json!({"guest": guest})).await));
        answers.push('\n');
    }
    for guest in ["lab/100", "lab/117"] {
        answers.push_str(&estate.failure("guest_template", json!({"guest": guest})).await);
        answers.push('\n');
    }
    expect![[r#"
        lab/125 dev-bela is a template now (OK)
        next: guest_get {"guest":"lab/125"}
        lab/125 dev-bela is a template already: nothing was done
        lab/143 home-auto is a template now (OK)
        next: guest_get {"guest":"lab/143"}
        conversion of lab/100 web-01 into a template was not tried: it is running
        note: shut it down first
        next: guest_power {"guest":"lab/100","action":"shutdown"}
        conversion of lab/117 billing into a template was not tried: HA manages it, and would try to start it
        note: take it out of HA first
    "#]].assert_eq(&answers);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_one_that_is_meant_is_deleted() {
    let estate = Estate::start("operator").await;
    let mut answers = String::new();
    for args in [
        json!({"guest": "104"}),
        json!({"guest": "lab/100"}),
        json!({"guest": "lab/104"}),
        json!({"guest": "lab/117"}),
        json!({"guest": "lab/555"}),
    ] {
        answers.push_str(&quiet(&estate.failure("guest_delete", args).await));
        answers.push_str("\n\n");
    }
    expect![[r#"
        `104` fits 2 guests
        guest name status
        edge/104 print-server stopped
        lab/104 db-main running
        note: name one as cluster/vmid

        deletion of lab/100 web-01 was not tried: it is running
        note: shut it down first
        next: guest_power {"guest":"lab/100","action":"shutdown"}

        deletion of lab/104 db-main was not tried: it is protected
        note: its protection was turned on by somebody: ask them, then turn it off (guest_configure)

        deletion of lab/117 billing was not tried: HA manages it
        note: purge=true takes it out of there as well
        next: guest_delete {"guest":"lab/117","purge":true,"plan":true}

        no guest `lab/555` in lab, as far as the token sees
        next: guests_list {}

    "#]]
    .assert_eq(&answers);
    let planned = plan(&estate, "guest_delete", json!({"guest": "lab/117", "purge": true})).await;
    expect![[r#"
        plan of the deletion of lab/117 billing: 2 calls; nothing was done
        access: destroy
        undo: backup_restore {"guest":"lab/117","from":"${step1.volume}","vmid":117,"node":"birch","pool":"production"}
        digest: DIGEST
        decision: ask (destroy): line `destroy` asks any approver: tier destroy, target lab/117
        member call parameters
        lab POST_/nodes/birch/vzdump vmid=117 storage=vault mode=snapshot notes-template={{guestname}}, kept by proxmox-mcp before a loss remove=0
        lab DELETE_/nodes/birch/qemu/117 purge=1
        note: effect: step 1 keeps its configuration and disks in a backup on vault; no older backup is removed
        note: effect: disks that are destroyed, 60G in all: scsi0 (ceph-vm:vm-117-disk-0, 60G)
        note: effect: its permissions and firewall rules go, too
        note: effect: 5 backups stay, the newest vault:backup/vm/117/2026-11-22T01:17:17Z (AGE ago), the newest that is verified vault:backup/vm/117/2026-11-21T01:17:17Z (AGE ago)
        note: effect: it is taken out of HA
        note: effect: undo restores that backup; snapshots, permissions, HA, replication and jobs are not in it"#]]
    .assert_eq(&quiet(&planned.text));
    estate.text("guest_get", json!({"guest": "lab/117"})).await;
    let planned =
        plan(&estate, "guest_delete", json!({"guest": "lab/125", "unreferenced_disks": true}))
            .await;
    expect![[r#"
        plan of the deletion of lab/125 dev-bela: 2 calls; nothing was done
        access: destroy
        undo: backup_restore {"guest":"lab/125","from":"${step1.volume}","vmid":125,"node":"alder","pool":"lab"}
        digest: DIGEST
        decision: ask (destroy): line `destroy` asks any approver: tier destroy, target lab/125
        member call parameters
        lab POST_/nodes/alder/vzdump vmid=125 storage=vault mode=snapshot notes-template={{guestname}}, kept by proxmox-mcp before a loss remove=0
        lab DELETE_/nodes/alder/qemu/125 destroy-unreferenced-disks=1
        note: effect: step 1 keeps its configuration and disks in a backup on vault; no older backup is removed
        note: effect: disks that are destroyed, 60G in all: scsi0 (local-lvm:vm-125-disk-0, 60G)
        note: effect: its permissions and firewall rules go, too
        note: effect: it stays named in backup jobs: backup-dev
        note: effect: undo restores that backup; snapshots, permissions, HA, replication and jobs are not in it
        note: warning unreferenced_disks: every disk that bears its id on any storage goes, even one that another guest's configuration names; what its own does not name is in no backup"#]].assert_eq(&quiet(&planned.text));
    let planned = plan(&estate, "guest_delete", json!({"guest": "edge/105"})).await;
    expect![[r#"
        plan of the deletion of edge/105 test-vm: 2 calls; nothing was done
        access: destroy
        undo: backup_restore {"guest":"edge/105","from":"${step1.volume}","vmid":105,"node":"alder"}
        digest: DIGEST
        decision: ask (destroy): line `destroy` asks any approver: tier destroy, target edge/105
        member call parameters
        edge POST_/nodes/alder/vzdump vmid=105 storage=vault mode=snapshot notes-template={{guestname}}, kept by proxmox-mcp before a loss remove=0
        edge DELETE_/nodes/alder/qemu/105 -
        note: effect: step 1 keeps its configuration and disks in a backup on vault; no older backup is removed
        note: effect: disks that are destroyed, 20G in all: scsi0 (local-lvm:vm-105-disk-0, 20G)
        note: effect: its permissions and firewall rules go, too
        note: effect: undo restores that backup; snapshots, permissions, HA, replication and jobs are not in it"#]]
    .assert_eq(&quiet(&planned.text));
    let answer = estate.ask("guest_delete", json!({"guest": "edge/105"})).await;
    assert!(!answer.failed, "{}", answer.text);
    let kept = answer.object["kept"].as_str().unwrap().to_owned();
    assert!(kept.starts_with("vault:backup/vm/105/"), "{kept}");
    assert_eq!(
        quiet(&answer.text.replace(&kept, "VOLUME")),
        "edge/105 test-vm is deleted with 1 disk of 20G (0 s)\n\
         note: kept first: backup VOLUME of edge/105 test-vm"
    );
    estate.failure("guest_get", json!({"guest": "edge/105"})).await;
    // The one of the same id elsewhere, and every other guest, are as they were.
    let text = estate.text("guest_get", json!({"guest": "lab/105", "include": ["status"]})).await;
    assert!(text.starts_with("lab/105 db-replica"), "{text}");
    let answer = estate.ask("guests_list", json!({"cluster": "edge"})).await;
    assert_eq!(answer.object["count"], 11);
    // A template that others hang on stays.
    estate.text("guest_clone", json!({"guest": "lab/9000", "name": "linked-1"})).await;
    let text = estate.failure("guest_delete", json!({"guest": "lab/9000"})).await;
    assert!(text.contains("linked clones read from it: lab/144"), "{text}");
    estate
        .sim
        .levers()
        .fail_next_task("lab", Some("qmdestroy"), "rbd error: image is in use")
        .unwrap();
    let answer = estate.ask("guest_delete", json!({"guest": "lab/144"})).await;
    assert!(answer.failed && answer.text.contains("rbd error: image is in use"), "{}", answer.text);
    estate.text("guest_get", json!({"guest": "lab/144"})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn long_work_goes_on_without_its_caller() {
    let estate = Estate::of(SimConfig::fast().with_task_speed(2.0), "operator", 16 * 1024).await;
    let mut estate = estate;
    estate.cx.task_wait = std::time::Duration::from_millis(300);
    let answer = estate.ask("guest_clone", json!({"guest": "lab/100", "name": "web-copy"})).await;
    assert!(!answer.failed, "{}", answer.text);
    assert_eq!(answer.object["status"], "running");
    assert_eq!(answer.object["guest"], "lab/144");
    assert_eq!(answer.object["next"][0]["tool"], "task_wait");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_older_release_does_the_same() {
    let config = SimConfig::fast().with_pve_release(PveRelease::V8_4);
    let estate = Estate::of(config, "operator", 16 * 1024).await;
    for (tool, args) in [
        ("guest_create", json!({"name": "web-04", "image": ROCKY, "cluster": "lab"})),
        ("guest_create", json!({"name": "web-05", "template": "lab/9000", "disk_gib": 20})),
        ("container_create", json!({"name": "dns-03", "template": "debian-13", "cluster": "lab"})),
    ] {
        let answer = estate.ask(tool, args).await;
        assert!(!answer.failed, "{}", answer.text);
        assert!(answer.object["address"].is_string(), "{}", answer.text);
    }
    estate.text("guests_power", json!({"action": "stop", "guests": "web-04,web-05"})).await;
    for guest in ["lab/144", "lab/145"] {
        estate.text("guest_delete", json!({"guest": guest})).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_made_or_removed_where_nobody_answers() {
    let estate = Estate::start("operator").await;
    estate.sim.levers().node_offline("edge", "alder", true).unwrap();
    let mut answers = String::new();
    for (tool, args) in [
        ("guest_create", json!({"name": "x1", "image": "debian-13", "cluster": "edge"})),
        ("guest_clone", json!({"guest": "9000", "name": "x1"})),
        ("guest_delete", json!({"guest": "125"})),
        ("guest_delete", json!({"guest": "edge/105"})),
    ] {
        let answer = estate.ask(tool, args).await;
        assert!(answer.failed, "{}", answer.text);
        assert_eq!(answer.object["error"], "unreachable", "{}", answer.text);
        answers.push_str(answer.text.split(['(', ':']).next().unwrap().trim());
        answers.push('\n');
    }
    expect![[r#"
        cannot read what edge has
        nothing is changed by the bare name `9000` while edge cannot be asked
        nothing is changed by the bare name `125` while edge cannot be asked
        guest `edge/105` cannot be looked for
    "#]]
    .assert_eq(&answers);
}
