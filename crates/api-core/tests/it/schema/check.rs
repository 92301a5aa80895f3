//! Calls are checked before they are sent, and what is sent is exactly what was meant.

use std::fmt::Write as _;

use api_core::schema::{ProblemKind, Schema};
use expect_test::{Expect, expect};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::published;

/// What would be sent, or what is wrong.
fn said(schema: &Schema, method: &str, path: &str, params: &Value) -> String {
    match schema.check(method, path, params.as_object().unwrap()) {
        Ok(call) => {
            let body = if call.request.takes_body() {
                call.request.parameters().encode()
            } else {
                String::new()
            };
            let meta = call.request.meta();
            let node = meta.node.as_ref().map(|node| format!(" on {node}")).unwrap_or_default();
            let protected = if meta.protected { " protected" } else { "" };
            let line =
                format!("{} {} {body}{node}{protected}", call.request.method(), call.request.uri());
            format!("{}\n", line.trim_end())
        }
        // What the server itself says about a parameter is not ours to keep.
        Err(problems) => problems
            .iter()
            .map(|problem| format!("{:?} {problem}", problem.kind))
            .map(|said| match said.find("needed: ") {
                Some(at) if said.starts_with("Missing") => format!("{}…\n", &said[..at + 8]),
                _ => format!("{said}\n"),
            })
            .collect(),
    }
}

fn check(calls: &[(&str, &str, Value)], pbs: bool, expected: &Expect) {
    let Some(published) = published() else { return };
    let schema = if pbs { &published.pbs } else { &published.pve };
    let mut out = String::new();
    for (method, path, params) in calls {
        writeln!(out, "> {method} {path} {params}").unwrap();
        out.push_str(&said(schema, method, path, params));
    }
    expected.assert_eq(&out);
}

#[test]
fn what_fits_is_sent_as_the_api_takes_it() {
    check(
        &[
            ("get", "/nodes/pve1/qemu/100/status/current", json!({})),
            ("GET", "api2/json/cluster/resources/", json!({"type": "vm"})),
            ("PUT", "/nodes/pve1/qemu/100/resize", json!({"disk": "scsi0", "size": "+10G"})),
            (
                "PUT",
                "/nodes/pve1/qemu/100/config",
                json!({"memory": 4096, "onboot": true, "net3": "virtio,bridge=vmbr0", "scsi1": "local-lvm:8,discard=on", "protection": null}),
            ),
            (
                "PUT",
                "/nodes/pve1/qemu/100/config",
                json!({"net0": {"model": "virtio", "bridge": "vmbr1", "firewall": true}}),
            ),
            ("DELETE", "/nodes/pve1/storage/local/content/local:iso/debian 13.iso", json!({})),
            ("DELETE", "/cluster/firewall/ipset/office/10.0.0.0/24", json!({})),
            ("DELETE", "/cluster/firewall/ipset/office/10.0.0.0%2F24", json!({})),
            ("DELETE", "/access/users/joe%40pve/token/x", json!({})),
            (
                "POST",
                "/cluster/backup",
                json!({"all": "yes", "starttime": "03:00", "dow": "sat", "storage": "nas", "exclude-path": ["/tmp/*", "/a b"]}),
            ),
        ],
        false,
        &expect![[r#"
            > get /nodes/pve1/qemu/100/status/current {}
            GET /nodes/pve1/qemu/100/status/current  on pve1 protected
            > GET api2/json/cluster/resources/ {"type":"vm"}
            GET /cluster/resources?type=vm
            > PUT /nodes/pve1/qemu/100/resize {"disk":"scsi0","size":"+10G"}
            PUT /nodes/pve1/qemu/100/resize disk=scsi0&size=%2B10G on pve1 protected
            > PUT /nodes/pve1/qemu/100/config {"memory":4096,"onboot":true,"net3":"virtio,bridge=vmbr0","scsi1":"local-lvm:8,discard=on","protection":null}
            PUT /nodes/pve1/qemu/100/config memory=4096&onboot=1&net3=virtio%2Cbridge%3Dvmbr0&scsi1=local-lvm%3A8%2Cdiscard%3Don on pve1 protected
            > PUT /nodes/pve1/qemu/100/config {"net0":{"model":"virtio","bridge":"vmbr1","firewall":true}}
            PUT /nodes/pve1/qemu/100/config net0=model%3Dvirtio%2Cbridge%3Dvmbr1%2Cfirewall%3D1 on pve1 protected
            > DELETE /nodes/pve1/storage/local/content/local:iso/debian 13.iso {}
            DELETE /nodes/pve1/storage/local/content/local:iso%2Fdebian%2013.iso  on pve1 protected
            > DELETE /cluster/firewall/ipset/office/10.0.0.0/24 {}
            DELETE /cluster/firewall/ipset/office/10.0.0.0%2F24  protected
            > DELETE /cluster/firewall/ipset/office/10.0.0.0%2F24 {}
            DELETE /cluster/firewall/ipset/office/10.0.0.0%2F24  protected
            > DELETE /access/users/joe%40pve/token/x {}
            Pattern tokenid: it must match (?^:[A-Za-z][A-Za-z0-9\.\-_]+)
            > POST /cluster/backup {"all":"yes","starttime":"03:00","dow":"sat","storage":"nas","exclude-path":["/tmp/*","/a b"]}
            POST /cluster/backup all=1&starttime=03%3A00&dow=sat&storage=nas&exclude-path=%2Ftmp%2F%2A&exclude-path=%2Fa%20b protected
        "#]],
    );
    check(
        &[
            ("GET", "/admin/datastore/main/snapshots", json!({"ns": "a/b", "backup-type": "vm"})),
            ("PUT", "/config/datastore/main", json!({"delete": ["comment", "gc-schedule"]})),
            (
                "GET",
                "/nodes/localhost/tasks/UPID:lab:000002D6:000C8274:00000001:6B033EDA:verify:main\\x3ahost:root@pam:/status",
                json!({}),
            ),
            (
                "PUT",
                "/config/datastore/main",
                json!({"notify": "gc=always,verify=error", "maintenance-mode": "type=read-only,message=x"}),
            ),
        ],
        true,
        &expect![[r#"
            > GET /admin/datastore/main/snapshots {"ns":"a/b","backup-type":"vm"}
            GET /admin/datastore/main/snapshots?ns=a%2Fb&backup-type=vm
            > PUT /config/datastore/main {"delete":["comment","gc-schedule"]}
            PUT /config/datastore/main delete=comment&delete=gc-schedule
            > GET /nodes/localhost/tasks/UPID:lab:000002D6:000C8274:00000001:6B033EDA:verify:main\x3ahost:root@pam:/status {}
            GET /nodes/localhost/tasks/UPID:lab:000002D6:000C8274:00000001:6B033EDA:verify:main%5Cx3ahost:root%40pam:/status  on localhost
            > PUT /config/datastore/main {"notify":"gc=always,verify=error","maintenance-mode":"type=read-only,message=x"}
            PUT /config/datastore/main notify=gc%3Dalways%2Cverify%3Derror&maintenance-mode=type%3Dread-only%2Cmessage%3Dx
        "#]],
    );
}

#[test]
fn what_does_not_fit_is_named_with_what_would() {
    check(
        &[
            ("PATCH", "/version", json!({})),
            ("POST", "/version", json!({})),
            ("GET", "/nodes/pve1/qemu/100/statos", json!({})),
            ("GET", "/nodez", json!({})),
            ("GET", "/nodes/{node}/qemu/100/config", json!({})),
            ("GET", "/nodes/pve_1/qemu/100/config", json!({})),
            ("GET", "/nodes/pve1/qemu/abc/config", json!({})),
            ("GET", "/nodes/pve1/qemu/99/config", json!({})),
            ("GET", "/nodes/pve1/qemu/100%2Fstatus/current", json!({})),
            ("PUT", "/nodes/pve1/qemu/100/resize", json!({"disc": "scsi0", "size": "huge"})),
            (
                "PUT",
                "/nodes/pve1/qemu/100/resize",
                json!({"disk": "scsi99", "size": "1G", "vmid": 100}),
            ),
            (
                "PUT",
                "/nodes/pve1/qemu/100/config",
                json!({"cores": 0, "onboot": "maybe", "ostype": "linux", "memory": "much", "net0": "virtio,brigde=vmbr0", "net99x": 1, "name": ["a"]}),
            ),
            (
                "PUT",
                "/nodes/pve1/qemu/100/config",
                json!({"net0": "bridge=vmbr0", "scsi0": "a:1,ssd=7"}),
            ),
            ("POST", "/nodes/pve1/qemu/100/snapshot", json!({"snapname": "1st"})),
            ("POST", "/cluster/backup", json!({"dow": "sat"})),
            ("GET", "/nodes/pve1/tasks", json!({"limit": -1, "source": "archives"})),
        ],
        false,
        &expect![[r#"
            > PATCH /version {}
            Method method: choose from GET, POST, PUT, DELETE
            > POST /version {}
            Method method: /version has GET
            > GET /nodes/pve1/qemu/100/statos {}
            Path path: there is no such path; did you mean status?; below /nodes/{node}/qemu/{vmid} there is agent, clone, cloudinit, config, dbus-vmstate, feature, firewall, migrate, monitor, move_disk, mtunnel, mtunnelwebsocket, pending, remote_migrate, resize, rrd, rrddata, sendkey, snapshot, spiceproxy, status, template, termproxy, unlink, vncproxy, vncwebsocket
            > GET /nodez {}
            Path path: there is no such path; did you mean nodes?; below / there is access, cluster, nodes, pools, storage, version
            > GET /nodes/{node}/qemu/100/config {}
            Missing node: put a value in its place in the path
            > GET /nodes/pve_1/qemu/100/config {}
            Pattern node: give a node's name: letters, digits, - and . only
            > GET /nodes/pve1/qemu/abc/config {}
            Type vmid: give a whole number from 100 to 999999999
            > GET /nodes/pve1/qemu/99/config {}
            Range vmid: give a whole number from 100 to 999999999
            > GET /nodes/pve1/qemu/100%2Fstatus/current {}
            Path path: there is no such path; below /nodes/{node}/qemu there is {vmid}
            > PUT /nodes/pve1/qemu/100/resize {"disc":"scsi0","size":"huge"}
            Unknown disc: there is no such parameter; did you mean disk?
            Pattern size: it must match \+?\d+(\.\d+)?[KMGT]?
            Missing disk: it is needed: …
            > PUT /nodes/pve1/qemu/100/resize {"disk":"scsi99","size":"1G","vmid":100}
            Choice disk: choose from ide0, ide1, ide2, ide3, scsi0, scsi1, scsi2, scsi3, scsi4, scsi5, scsi6, scsi7, scsi8, scsi9, scsi10, scsi11, scsi12, scsi13, scsi14, scsi15, scsi16, scsi17, scsi18, scsi19, scsi20, scsi21, scsi22, scsi23, scsi24, scsi25, scsi26, scsi27, scsi28, scsi29, scsi30, virtio0, virtio1, virtio2, virtio3, virtio4 and 19 more; did you mean scsi19?
            Unknown vmid: it stands in the path and is not given again
            > PUT /nodes/pve1/qemu/100/config {"cores":0,"onboot":"maybe","ostype":"linux","memory":"much","net0":"virtio,brigde=vmbr0","net99x":1,"name":["a"]}
            Range cores: give a whole number of at least 1
            Type onboot: give true or false
            Choice ostype: choose from other, wxp, w2k, w2k3, w2k8, wvista, win7, win8, win10, win11, l24, l26, solaris
            Type memory.current: give a whole number of at least 16
            Unknown net0.brigde: there is no such key: there are bridge, firewall, link_down, macaddr, model, mtu, queues, rate, tag, trunks; did you mean bridge?
            Unknown net99x: there is no such parameter: there are acpi, affinity, agent, allow-ksm, amd-sev, arch, args, audio0, autostart, balloon, bios, boot, bootdisk, cdrom, cicustom, cipassword, citype, ciupgrade, ciuser, cores, cpu, cpulimit, cpuunits, delete, description, digest, efidisk0, force, freeze, hookscript, hostpci[n], hotplug, hugepages, ide[n], intel-tdx, ipconfig[n], ivshmem, keephugepages, keyboard, kvm and 46 more
            Type name: give a text
            > PUT /nodes/pve1/qemu/100/config {"net0":"bridge=vmbr0","scsi0":"a:1,ssd=7"}
            Type scsi0.ssd: give true or false
            > POST /nodes/pve1/qemu/100/snapshot {"snapname":"1st"}
            Pattern snapname: give an id: a letter first, then at least one letter, digit, _ or -
            > POST /cluster/backup {"dow":"sat"}
            Requires dow: it needs starttime beside it
            > GET /nodes/pve1/tasks {"limit":-1,"source":"archives"}
            Range limit: give a whole number of at least 0
            Choice source: choose from archive, active, all; did you mean archive?
        "#]],
    );
    check(
        &[
            (
                "PUT",
                "/config/datastore/main",
                json!({"notify": "gcc=always,verify=sometimes", "comment": "a\nb"}),
            ),
            (
                "GET",
                "/admin/datastore/main/snapshots",
                json!({"backup-time": "yesterday", "ns": 5.5}),
            ),
            ("POST", "/config/prune", json!({"id": "x", "keep-last": 0})),
        ],
        true,
        &expect![[r#"
            > PUT /config/datastore/main {"notify":"gcc=always,verify=sometimes","comment":"a\nb"}
            Unknown notify.gcc: there is no such key: there are gc, prune, sync, verify; did you mean gc?
            Choice notify.verify: choose from never, always, error
            Pattern comment: it must match /^[[:^cntrl:]]*$/
            > GET /admin/datastore/main/snapshots {"backup-time":"yesterday","ns":5.5}
            Unknown backup-time: there is no such parameter; did you mean backup-type?
            > POST /config/prune {"id":"x","keep-last":0}
            Length id: give 3 to 32 characters
            Range keep-last: give a whole number of at least 1
            Missing schedule: it is needed: …
            Missing store: it is needed: …
        "#]],
    );
}

#[test]
fn secrets_are_not_repeated() {
    let Some(published) = published() else { return };
    let params = json!({"cipassword": {"a": "hunter2"}, "cores": "hunter2", "ostype": "hunter2", "net0": "hunter2=hunter2"});
    let told = said(&published.pve, "PUT", "/nodes/pve1/qemu/100/config", &params);
    // The name of a key is no secret; its value is.
    assert_eq!(told.matches("hunter2").count(), 1, "{told}");
}

#[test]
fn what_a_bundled_schema_does_not_know_goes_out_escaped() {
    let schema = Schema::parse_lines("GET /nodes/{node}/tasks | tasks | limit:integer?").unwrap();
    expect![[r#"
        GET /nodes/pve1/tasks?limit=3&novel=1&novel=b  on pve1
    "#]]
    .assert_eq(&said(&schema, "GET", "/nodes/pve1/tasks", &json!({"limit": 3, "novel": [1, "b"]})));
    expect![[r#"
        Type limit: give a whole number
        Type novel: give a text, a number, true or false, or a list of them
    "#]]
    .assert_eq(&said(&schema, "GET", "/nodes/pve1/tasks", &json!({"limit": "x", "novel": {}})));
    expect![[r#"
        Path path: give parameters as arguments: a path has no `?` and no `#` (in a name they are %3F and %23)
    "#]].assert_eq(&said(&schema, "POST", "/some/thing?x", &json!({})));
    expect![[r#"
        POST /some/th%20ing a%20b=c%26d
    "#]]
    .assert_eq(&said(&schema, "POST", "/some/th ing", &json!({"a b": "c&d"})));
    expect![[r#"
        Missing x: put a value in its place in the path
        Path path: a name in a path that is not known here has no slash
    "#]]
    .assert_eq(&said(&schema, "POST", "/some/th%2Fing/{x}", &json!({})));
}

proptest! {
    /// Whatever stands in a path or a parameter, the request keeps to the endpoint that was checked.
    #[test]
    fn nothing_leaves_its_place(
        tail in "(/|%2[eEfF]|\\.\\.|\\\\|%|[a-z0-9{}:@?#&=; ]|\\PC){0,24}",
        value in "\\PC{0,20}",
    ) {
        let Some(published) = published() else { return Ok(()) };
        for path in [format!("/nodes/pve1/qemu/100/snapshot/{tail}"), format!("/access/users/{tail}"), format!("/nodes/pve1/storage/local/content/{tail}"), tail.clone()] {
            let params = json!({"comment": value, "description": value, "notes": value});
            for method in ["GET", "PUT", "DELETE"] {
                for params in [json!({}), params.clone()] {
                    let Ok(call) = published.pve.check(method, &path, params.as_object().unwrap()) else { continue };
                    let sent = call.request.path().as_str().to_owned();
                    let endpoint = call.endpoint.unwrap();
                    prop_assert_eq!(sent.split('/').count(), if endpoint.path() == "/" { 2 } else { endpoint.path().split('/').count() });
                    prop_assert!(!sent.contains(['?', '#', '\\', ' ']));
                    prop_assert!(sent.split('/').all(|segment| segment != ".." && segment != "."));
                    for (part, segment) in endpoint.path().split('/').zip(sent.split('/')) {
                        let fits = part.starts_with('{') || part == segment;
                        prop_assert!(fits);
                    }
                }
            }
        }
    }

    #[test]
    fn problems_never_panic(name in "[a-z0-9\\[\\]]{0,12}", value in "\\PC{0,30}") {
        let Some(published) = published() else { return Ok(()) };
        for (method, path) in [("PUT", "/nodes/pve1/qemu/100/config"), ("POST", "/nodes/pve1/lxc"), ("PUT", "/cluster/options")] {
            let params = json!({(name.clone()): value, "net0": value, "scsi1": value, "bwlimit": value, "description": value});
            if let Err(problems) = published.pve.check(method, path, params.as_object().unwrap()) {
                prop_assert!(problems.iter().all(|problem| !problem.text.is_empty() && problem.kind != ProblemKind::Path));
            }
        }
    }
}
