//! Guests as they are: lists, status, configuration, figures.

use serde_json::{Map, Value, json};

use crate::call::{Call, Handlers};
use crate::http::{Answer, Fault, data, index};
use crate::state::{Guest, GuestKind, Power, noise};

use GuestKind::{Lxc, Qemu};

pub(super) const HANDLERS: Handlers = &[
    ("GET", "/nodes/{node}/qemu", |call| list(call, Qemu)),
    ("GET", "/nodes/{node}/lxc", |call| list(call, Lxc)),
    ("GET", "/nodes/{node}/qemu/{vmid}", |call| children(call, Qemu)),
    ("GET", "/nodes/{node}/lxc/{vmid}", |call| children(call, Lxc)),
    ("GET", "/nodes/{node}/qemu/{vmid}/status", |_| {
        index("subdir", &["current", "start", "stop", "reset", "shutdown", "suspend", "reboot"])
    }),
    ("GET", "/nodes/{node}/lxc/{vmid}/status", |_| {
        index("subdir", &["current", "start", "stop", "shutdown", "reboot", "migrate"])
    }),
    ("GET", "/nodes/{node}/qemu/{vmid}/status/current", |call| current(call, Qemu)),
    ("GET", "/nodes/{node}/lxc/{vmid}/status/current", |call| current(call, Lxc)),
    ("GET", "/nodes/{node}/qemu/{vmid}/config", |call| config(call, Qemu)),
    ("GET", "/nodes/{node}/lxc/{vmid}/config", |call| config(call, Lxc)),
    ("GET", "/nodes/{node}/qemu/{vmid}/pending", |call| pending(call, Qemu)),
    ("GET", "/nodes/{node}/lxc/{vmid}/pending", |call| pending(call, Lxc)),
    ("GET", "/nodes/{node}/qemu/{vmid}/rrddata", |call| rrd(call, Qemu)),
    ("GET", "/nodes/{node}/lxc/{vmid}/rrddata", |call| rrd(call, Lxc)),
    ("GET", "/nodes/{node}/lxc/{vmid}/interfaces", interfaces),
    ("GET", "/nodes/{node}/qemu/{vmid}/cloudinit/dump", cloudinit),
];

fn list(call: &mut Call<'_>, kind: GuestKind) -> Answer {
    let call = &*call;
    let guests = call.cluster().guests.values();
    let rows: Vec<Value> = guests
        .filter(|guest| guest.node == call.node && guest.kind == kind)
        .filter(|guest| call.may(&format!("/vms/{}", guest.vmid), "VM.Audit"))
        .map(|guest| Value::Object(figures(call, guest)))
        .collect();
    data(rows)
}

/// What lists and `status/current` have in common.
fn figures(call: &Call<'_>, guest: &Guest) -> Map<String, Value> {
    let now = call.estate.now;
    let lxc = guest.kind == Lxc;
    let mut row = Map::new();
    let mut put = |key: &str, value: Value| row.insert(key.to_owned(), value);
    put("vmid", json!(guest.vmid));
    put("name", json!(guest.name()));
    put("status", json!(guest.status()));
    put("uptime", json!(guest.uptime(now)));
    put("cpus", json!(guest.cpus()));
    put("cpu", if guest.running() { json!(guest.cpu(now)) } else { json!(0) });
    put("mem", json!(guest.mem()));
    put("maxmem", json!(guest.maxmem()));
    put("disk", json!(if lxc && guest.running() { guest.disk_used } else { 0 }));
    put("maxdisk", json!(guest.maxdisk()));
    put("netin", json!(guest.counter(now, 1)));
    put("netout", json!(guest.counter(now, 2)));
    if lxc {
        put("type", json!("lxc"));
        put("swap", json!(0));
        put("maxswap", json!(guest.number("swap").unwrap_or(0) << 20));
    } else if call.estate.release.is_9() {
        put("memhost", json!(guest.mem() / 16 * 17));
    }
    if lxc || guest.running() {
        put("diskread", json!(guest.counter(now, 3)));
        put("diskwrite", json!(guest.counter(now, 4)));
    }
    if let Some(tags) = guest.tags() {
        put("tags", json!(tags));
    }
    if let Some(lock) = guest.lock() {
        put("lock", json!(lock));
    }
    if guest.template() {
        put("template", json!(1));
    }
    if guest.running() {
        put("pid", json!(guest.pid));
        if call.estate.release.is_9() {
            for key in ["cpusome", "cpufull", "iosome", "iofull", "memorysome", "memoryfull"] {
                // Containers report these as text, virtual machines as numbers.
                put(&format!("pressure{key}"), if lxc { json!("0.00") } else { json!(0) });
            }
        }
    }
    row
}

fn children(call: &mut Call<'_>, kind: GuestKind) -> Answer {
    call.kind(kind)?;
    index(
        "subdir",
        &[
            "config",
            "pending",
            "status",
            "vncproxy",
            "termproxy",
            "vncwebsocket",
            "migrate",
            "clone",
            "rrddata",
            "firewall",
            "snapshot",
        ],
    )
}

fn current(call: &mut Call<'_>, kind: GuestKind) -> Answer {
    let vmid = call.kind(kind)?;
    let call = &*call;
    let cluster = call.cluster();
    let guest = &cluster.guests[&vmid];
    let mut row = figures(call, guest);
    let mut put = |key: &str, value: Value| row.insert(key.to_owned(), value);
    let sid = crate::state::cluster::sid(guest);
    put(
        "ha",
        match cluster.ha.resources.get(&sid) {
            None => json!({"managed": 0}),
            Some(resource) => json!({
                "managed": 1, "state": resource.wish, "max_restart": resource.max_restart,
                "max_relocate": resource.max_relocate,
            }),
        },
    );
    if kind == Qemu {
        put(
            "qmpstatus",
            json!(match guest.power {
                Power::Stopped => "stopped",
                Power::Running => "running",
                Power::Paused => "paused",
            }),
        );
        if guest.flag("agent") {
            put("agent", json!(1));
        }
        if guest.running() {
            put("running-machine", json!("pc-i440fx-10.0+pve1"));
            put("running-qemu", json!("10.0.2"));
            let now = call.estate.now;
            put(
                "nics",
                json!({format!("tap{vmid}i0"): {"netin": guest.counter(now, 1), "netout": guest.counter(now, 2)}}),
            );
        }
    }
    data(Value::Object(row))
}

fn config(call: &mut Call<'_>, kind: GuestKind) -> Answer {
    let vmid = call.kind(kind)?;
    let guest = &call.cluster().guests[&vmid];
    let mut config = guest.config.clone();
    if call.flag("current") != Some(true) {
        for (key, value) in &guest.pending {
            if value.is_null() {
                config.shift_remove(key);
            } else {
                config.insert(key.clone(), value.clone());
            }
        }
    }
    if let Some(name) = call.text("snapshot") {
        let found = guest.snapshots.iter().find(|snapshot| snapshot.name == name);
        let found =
            found.ok_or_else(|| Fault::internal(format!("snapshot '{name}' does not exist")))?;
        config.clone_from(&found.config);
    }
    config.insert("digest".to_owned(), json!(guest.digest()));
    data(Value::Object(config))
}

fn pending(call: &mut Call<'_>, kind: GuestKind) -> Answer {
    let vmid = call.kind(kind)?;
    let guest = &call.cluster().guests[&vmid];
    let mut rows = Vec::new();
    for (key, value) in &guest.config {
        let mut row = json!({"key": key, "value": value});
        match guest.pending.get(key) {
            None => {}
            Some(Value::Null) => row["delete"] = json!(1),
            Some(next) => row["pending"] = next.clone(),
        }
        rows.push(row);
    }
    for (key, value) in &guest.pending {
        if !guest.config.contains_key(key) && !value.is_null() {
            rows.push(json!({"key": key, "pending": value}));
        }
    }
    rows.push(json!({"key": "digest", "value": guest.digest()}));
    data(rows)
}

/// Step and count of a time frame, as the databases of figures have them.
pub(super) fn frame(call: &Call<'_>) -> (i64, i64) {
    match call.text("timeframe") {
        Some("day") => (if call.estate.release.is_9() { 60 } else { 1800 }, 48),
        Some("week" | "month") => (1800, 70),
        Some("year" | "decade") => (86_400, 52),
        _ => (60, 70),
    }
}

fn rrd(call: &mut Call<'_>, kind: GuestKind) -> Answer {
    let vmid = call.kind(kind)?;
    let (step, count) = frame(call);
    let now = call.estate.seconds();
    let guest = &call.cluster().guests[&vmid];
    let first = now / step * step - step * count;
    let mut rows = Vec::new();
    for at in 0..count {
        let time = first + at * step;
        let mut row = json!({"time": time});
        if guest.running() && time * 1000 > guest.started {
            let cpu = guest.cpu(time * 1000);
            row["cpu"] = json!(cpu);
            row["maxcpu"] = json!(guest.cpus());
            row["mem"] = json!(guest.mem() as f64);
            row["maxmem"] = json!(guest.maxmem());
            row["disk"] = json!(guest.disk_used as f64);
            row["maxdisk"] = json!(guest.maxdisk());
            for (n, key) in ["netin", "netout", "diskread", "diskwrite"].into_iter().enumerate() {
                row[key] = json!(cpu * 1e5 * (1.0 + noise(time as u64 + n as u64)));
            }
        }
        rows.push(row);
    }
    data(rows)
}

fn interfaces(call: &mut Call<'_>) -> Answer {
    let vmid = call.kind(Lxc)?;
    let guest = &call.cluster().guests[&vmid];
    if !guest.running() {
        return data(Value::Null);
    }
    let mac = guest.text("net0").and_then(|net| net.split("hwaddr=").nth(1)).unwrap_or_default();
    let mac = mac.split(',').next().unwrap_or_default().to_lowercase();
    let address = guest.addresses.first().cloned().unwrap_or_default();
    let row = |name: &str, mac: &str, v4: &str, v6: &str| {
        let cut = |text: &str| text.split('/').next().unwrap_or_default().to_owned();
        let prefix = |text: &str| text.split('/').nth(1).unwrap_or_default().to_owned();
        json!({
            "name": name, "hwaddr": mac, "hardware-address": mac, "inet": v4, "inet6": v6,
            "ip-addresses": [
                {"ip-address": cut(v4), "prefix": prefix(v4), "ip-address-type": "inet"},
                {"ip-address": cut(v6), "prefix": prefix(v6), "ip-address-type": "inet6"},
            ],
        })
    };
    data(json!([
        row("lo", "00:00:00:00:00:00", "127.0.0.1/8", "::1/128"),
        row("eth0", &mac, &format!("{address}/24"), "fe80::be24:11ff:fe00:1/64"),
    ]))
}

fn cloudinit(call: &mut Call<'_>) -> Answer {
    let vmid = call.kind(Qemu)?;
    let guest = &call.cluster().guests[&vmid];
    let name = guest.name();
    let mut text =
        format!("#cloud-config\nhostname: {name}\nmanage_etc_hosts: true\nfqdn: {name}\n");
    if guest.text("ciuser").is_some() {
        text.push_str("user: ops\npassword: $5$kestrel$Zq0aQwertz\n");
    }
    text.push_str("chpasswd:\n  expire: False\nusers:\n  - default\npackage_upgrade: true\n");
    data(text)
}
