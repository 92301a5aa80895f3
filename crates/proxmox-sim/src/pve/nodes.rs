//! Nodes: list, status, network, storage figures over time.

use serde_json::{Value, json};

use super::cluster::{node_figures, node_row};
use crate::call::{Call, Handlers};
use crate::http::{Answer, data, index};
use crate::state::noise;

pub(super) const HANDLERS: Handlers = &[
    ("GET", "/nodes", list),
    ("GET", "/nodes/{node}", |_| {
        index(
            "name",
            &[
                "apt",
                "certificates",
                "config",
                "disks",
                "dns",
                "hosts",
                "journal",
                "lxc",
                "network",
                "qemu",
                "replication",
                "rrddata",
                "services",
                "status",
                "storage",
                "subscription",
                "syslog",
                "tasks",
                "termproxy",
                "time",
                "version",
                "vzdump",
            ],
        )
    }),
    ("GET", "/nodes/{node}/status", status),
    ("POST", "/nodes/{node}/status", command),
    ("GET", "/nodes/{node}/config", |_| data(json!({}))),
    ("GET", "/nodes/{node}/time", time),
    ("GET", "/nodes/{node}/dns", |_| {
        data(json!({"dns1": "10.40.0.2", "dns2": "10.40.0.3", "search": "example.internal"}))
    }),
    ("GET", "/nodes/{node}/hosts", hosts),
    ("GET", "/nodes/{node}/subscription", |_| {
        data(json!({
            "status": "notfound", "message": "There is no subscription key",
            "serverid": "5E1F9A2B7C3D4E6F8091A2B3C4D5E6F7", "url": "https://www.proxmox.com/en/proxmox-virtual-environment/pricing",
        }))
    }),
    ("GET", "/nodes/{node}/rrddata", rrd),
    ("GET", "/nodes/{node}/netstat", netstat),
];

/// How long a node takes to boot, in milliseconds at demo pace.
const BOOT: f64 = 40_000.0;

fn list(call: &mut Call<'_>) -> Answer {
    let call = &*call;
    let rows = (0..call.cluster().nodes.len()).map(|at| {
        let mut row = node_row(call, at, "nodes");
        let name = &call.cluster().nodes[at].name;
        if !call.may(&format!("/nodes/{name}"), "Sys.Audit")
            && let Some(map) = row.as_object_mut()
        {
            // Without the privilege only the names and states are left.
            for key in ["cpu", "maxcpu", "mem", "maxmem", "disk", "maxdisk", "uptime", "level"] {
                map.shift_remove(key);
            }
        }
        row
    });
    data(rows.collect::<Vec<Value>>())
}

fn status(call: &mut Call<'_>) -> Answer {
    let (cpu, mem, disk, maxdisk) = node_figures(call, call.node);
    let node = &call.cluster().nodes[call.node];
    let (_, version) = call.estate.release.version();
    let load = cpu * node.cpus as f64;
    let kernel = if call.estate.release.is_9() { "6.17.2-1-pve" } else { "6.8.12-16-pve" };
    data(json!({
        "cpu": cpu, "wait": 0.0012, "idle": 0, "uptime": (call.estate.now - node.booted) / 1000,
        "loadavg": [format!("{load:.2}"), format!("{:.2}", load * 0.9), format!("{:.2}", load * 0.8)],
        "cpuinfo": {
            "model": "AMD EPYC 7313P 16-Core Processor", "sockets": 1, "cores": node.cpus / 2, "cpus": node.cpus,
            "mhz": "2994.375", "hvm": "1", "user_hz": 100, "flags": "fpu vme svm sse2 avx2 aes",
        },
        "memory": {"total": node.memory, "used": mem, "free": node.memory - mem, "available": node.memory - mem},
        "swap": {"total": 8_589_930_496_u64, "used": 0, "free": 8_589_930_496_u64},
        "rootfs": {"total": maxdisk, "used": disk, "free": maxdisk - disk, "avail": maxdisk - disk},
        "ksm": {"shared": 0},
        "boot-info": {"mode": "efi", "secureboot": 0},
        "kversion": format!("Linux {kernel} #1 SMP PREEMPT_DYNAMIC"),
        "current-kernel": {"sysname": "Linux", "release": kernel, "machine": "x86_64", "version": "#1 SMP PREEMPT_DYNAMIC"},
        "pveversion": format!("pve-manager/{version}/5a1e0d9c3b7f2468"),
    }))
}

/// The node goes, with its guests; after a reboot it comes back and starts those that should be on.
fn command(call: &mut Call<'_>) -> Answer {
    let at = call.home;
    let node = call.node;
    let comes_back = call.text("command") == Some("reboot");
    call.estate.after(3000.0, move |estate| {
        for guest in estate.clusters[at].guests.values_mut() {
            if guest.node == node && guest.running() {
                guest.stops();
            }
        }
        estate.clusters[at].nodes[node].online = false;
        if comes_back {
            estate.after(BOOT, move |estate| {
                let now = estate.now;
                let cluster = &mut estate.clusters[at];
                for guest in cluster.guests.values_mut() {
                    if guest.node == node && guest.flag("onboot") && !guest.template() {
                        guest.starts(now);
                    }
                }
                cluster.nodes[node].online = true;
                cluster.nodes[node].booted = now;
            });
        }
    });
    data(Value::Null)
}

fn time(call: &mut Call<'_>) -> Answer {
    let now = call.estate.seconds();
    data(json!({"time": now, "localtime": now, "timezone": "Etc/UTC"}))
}

fn hosts(call: &mut Call<'_>) -> Answer {
    use std::fmt::Write as _;
    let mut text = "127.0.0.1 localhost\n".to_owned();
    for node in &call.cluster().nodes {
        let _ = writeln!(text, "{0} {1}.example.internal {1}", node.address, node.name);
    }
    data(json!({"digest": crate::state::digest40(&text), "data": text}))
}

fn rrd(call: &mut Call<'_>) -> Answer {
    let (step, count) = super::guests::frame(call);
    let now = call.estate.seconds();
    let (cpu, mem, disk, maxdisk) = node_figures(call, call.node);
    let node = &call.cluster().nodes[call.node];
    let first = now / step * step - step * count;
    let rows = (0..count).map(|at| {
        let time = first + at * step;
        let wave = 0.8 + 0.4 * noise(time as u64);
        json!({
            "time": time, "cpu": cpu * wave, "maxcpu": node.cpus, "iowait": 0.002 * wave,
            "loadavg": cpu * wave * node.cpus as f64, "memused": mem as f64 * (0.95 + 0.1 * (wave - 0.8)),
            "memtotal": node.memory, "swapused": 0, "swaptotal": 8_589_930_496_u64,
            "rootused": disk as f64, "roottotal": maxdisk, "netin": 4.1e6 * wave, "netout": 3.2e6 * wave,
        })
    });
    data(rows.collect::<Vec<Value>>())
}

fn netstat(call: &mut Call<'_>) -> Answer {
    let guests = call.cluster().guests.values();
    let rows = guests.filter(|guest| guest.node == call.node && guest.running()).map(|guest| {
        json!({
            "vmid": guest.vmid.to_string(), "dev": "net0",
            "in": guest.counter(call.estate.now, 1).to_string(), "out": guest.counter(call.estate.now, 2).to_string(),
        })
    });
    data(rows.collect::<Vec<Value>>())
}
