//! The server itself.

use serde_json::{Value, json};

use crate::call::{Call, Handlers};
use crate::http::{Answer, Fault, data, index};
use crate::pve::{journal_range, pool_row, pool_tree, syslog_page};
use crate::state::admin::Line;
use crate::state::{Outcome, Plan, noise};

pub(super) const HANDLERS: Handlers = &[
    ("GET", "/", |_| {
        index("subdir", &["access", "admin", "config", "nodes", "ping", "status", "version"])
    }),
    ("GET", "/ping", |_| data(json!({"pong": true}))),
    ("GET", "/version", |_| data(json!({"version": "4.2", "release": "1", "repoid": "7c31e90ab"}))),
    ("GET", "/admin", |_| {
        index("subdir", &["datastore", "gc", "prune", "sync", "traffic-control", "verify"])
    }),
    ("GET", "/nodes", |_| Err(Fault::new(403, "permission check failed"))),
    ("GET", "/nodes/{node}", |_| {
        index(
            "subdir",
            &[
                "apt",
                "certificates",
                "disks",
                "dns",
                "journal",
                "network",
                "rrd",
                "services",
                "status",
                "subscription",
                "syslog",
                "tasks",
                "time",
            ],
        )
    }),
    ("GET", "/nodes/{node}/status", status),
    ("GET", "/nodes/{node}/time", |call| {
        let now = call.estate.seconds();
        data(json!({"time": now, "localtime": now, "timezone": "Etc/UTC"}))
    }),
    ("GET", "/nodes/{node}/dns", |_| {
        data(json!({"dns1": "10.40.0.2", "digest": crate::state::digest64("dns")}))
    }),
    ("GET", "/nodes/{node}/network", network),
    ("GET", "/nodes/{node}/services", services),
    ("GET", "/nodes/{node}/services/{service}/state", service),
    ("POST", "/nodes/{node}/services/{service}/start", |call| command(call, "start")),
    ("POST", "/nodes/{node}/services/{service}/stop", |call| command(call, "stop")),
    ("POST", "/nodes/{node}/services/{service}/restart", |call| command(call, "restart")),
    ("POST", "/nodes/{node}/services/{service}/reload", |call| command(call, "reload")),
    ("POST", "/nodes/{node}/status", |call| {
        let at = call.home;
        if call.text("command") == Some("reboot") {
            call.estate.after(40_000.0, move |estate| {
                let now = estate.now;
                estate.vaults[at].booted = now;
            });
        }
        data(Value::Null)
    }),
    ("POST", "/nodes/{node}/apt/update", |call| {
        let (home, user) = (call.pbs(), call.who.to_string());
        let plan = Plan::new("aptupdate", "", 4000.0, |_| Outcome::ok());
        data(call.estate.start_task(home, 0, &user, plan))
    }),
    ("GET", "/nodes/{node}/subscription", |_| {
        data(json!({
            "status": "notfound", "message": "There is no subscription key", "serverid": "9A8B7C6D5E4F30214365870912AB34CD",
            "url": "https://www.proxmox.com/en/proxmox-backup-server/pricing",
        }))
    }),
    ("GET", "/nodes/{node}/apt/update", |_| {
        data(
            json!([{"Package": "proxmox-backup-server", "OldVersion": "4.2.0-1", "Version": "4.2.1-1", "Title": "Proxmox Backup Server daemon",
            "Description": "Proxmox Backup Server daemon", "Arch": "amd64", "Priority": "optional", "Section": "admin", "Origin": "Proxmox"}]),
        )
    }),
    ("GET", "/nodes/{node}/apt/versions", |_| {
        data(
            json!([{"Package": "proxmox-backup-server", "OldVersion": "4.2.0-1", "Version": "4.2.0-1", "Title": "Proxmox Backup Server daemon",
            "Description": "Proxmox Backup Server daemon", "Arch": "amd64", "Priority": "optional", "Section": "admin", "Origin": "Proxmox",
            "ExtraInfo": "running version: 4.2.1"}]),
        )
    }),
    ("GET", "/nodes/{node}/certificates/info", certificates),
    ("GET", "/nodes/{node}/syslog", syslog),
    ("GET", "/nodes/{node}/journal", journal),
    ("GET", "/nodes/{node}/disks/list", disks),
    ("GET", "/nodes/{node}/disks/smart", smart),
    ("GET", "/nodes/{node}/disks/zfs", |call| {
        data(call.vault().host.pools.iter().map(pool_row).collect::<Vec<Value>>())
    }),
    ("GET", "/nodes/{node}/disks/zfs/{name}", |call| {
        let name = call.arg("name");
        let pool = call.vault().host.pools.iter().find(|pool| pool.name == name);
        let pool = pool.ok_or_else(|| Fault::bad(format!("cannot open '{name}': no such pool")))?;
        data(pool_tree(pool, Value::Bool))
    }),
    ("GET", "/nodes/{node}/rrd", rrd),
];

fn status(call: &mut Call<'_>) -> Answer {
    let vault = call.vault();
    let wave = noise(call.estate.now as u64 / 10_000);
    let total = 68_719_476_736_u64;
    data(json!({
        "cpu": 0.05 + 0.1 * wave, "wait": 0.004, "uptime": (call.estate.now - vault.booted) / 1000,
        "loadavg": [0.41 + wave, 0.52, 0.48],
        "cpuinfo": {"model": "AMD EPYC 4364P 8-Core Processor", "sockets": 1, "cpus": 16},
        "memory": {"total": total, "used": total / 5, "free": total / 5 * 4},
        "swap": {"total": 0, "used": 0, "free": 0},
        "root": {"total": 100_861_726_720_u64, "used": 9_120_000_000_u64, "avail": 91_741_726_720_u64},
        "boot-info": {"mode": "efi", "secureboot": false},
        "kversion": "Linux 6.17.2-1-pve #1 SMP PREEMPT_DYNAMIC",
        "current-kernel": {"sysname": "Linux", "release": "6.17.2-1-pve", "machine": "x86_64", "version": "#1 SMP PREEMPT_DYNAMIC"},
        "info": {"fingerprint": vault.fingerprint.to_lowercase()},
    }))
}

fn network(_call: &mut Call<'_>) -> Answer {
    let digest = crate::state::digest64("network");
    let rows = json!([
        {"iface": "eno1", "name": "eno1", "type": "eth", "method": "manual", "active": true, "autostart": false, "digest": digest},
        {"iface": "vmbr0", "name": "vmbr0", "type": "bridge", "method": "static", "active": true, "autostart": true,
         "cidr": "10.40.0.50/24", "gateway": "10.40.0.1", "bridge_ports": ["eno1"], "digest": digest},
    ]);
    data(rows)
}

const SERVICES: &[(&str, &str)] = &[
    ("proxmox-backup", "Proxmox Backup API Server"),
    ("proxmox-backup-proxy", "Proxmox Backup API Proxy Server"),
    ("chrony", "chrony, an NTP client/server"),
    ("ssh", "OpenBSD Secure Shell server"),
];

fn service_row(call: &Call<'_>, name: &str, text: &str) -> Value {
    let state = call.vault().host.services.get(name).copied().unwrap_or("running");
    json!({"service": name, "name": name, "desc": text, "state": state, "unit-state": "enabled"})
}

fn services(call: &mut Call<'_>) -> Answer {
    data(SERVICES.iter().map(|(name, text)| service_row(call, name, text)).collect::<Vec<Value>>())
}

fn known_service(call: &Call<'_>) -> Result<(&'static str, &'static str), Fault> {
    let name = call.arg("service");
    let found = SERVICES.iter().find(|(known, _)| *known == name).copied();
    found.ok_or_else(|| Fault::bad(format!("unknown service name '{name}'")))
}

fn service(call: &mut Call<'_>) -> Answer {
    let (name, text) = known_service(call)?;
    data(service_row(call, name, text))
}

fn command(call: &mut Call<'_>, word: &'static str) -> Answer {
    let (name, text) = known_service(call)?;
    let kind = match word {
        "start" => "srvstart",
        "stop" => "srvstop",
        "restart" => "srvrestart",
        _ => "srvreload",
    };
    let (home, at, user) = (call.pbs(), call.home, call.who.to_string());
    let plan = Plan::new(kind, name, 900.0, move |estate| {
        let time = estate.seconds();
        let host = &mut estate.vaults[at].host;
        let said = if word == "stop" {
            host.services.insert(name.to_owned(), "dead");
            format!("Stopped {name}.service - {text}.")
        } else {
            host.services.remove(name);
            format!("Started {name}.service - {text}.")
        };
        host.journal.push(Line { time, unit: "systemd".to_owned(), text: said });
        Outcome::ok()
    });
    data(call.estate.start_task(home, 0, &user, plan))
}

fn certificates(call: &mut Call<'_>) -> Answer {
    let vault = call.vault();
    data(json!([{
        "filename": "proxy.pem", "fingerprint": vault.fingerprint.to_lowercase(), "pem": vault.pem,
        "issuer": format!("O = Simulated Proxmox, CN = {} CA", vault.key), "subject": format!("O = Simulated Proxmox, CN = {}", vault.node),
        "san": ["127.0.0.1", "localhost", vault.node], "notbefore": vault.not_after - 900 * 86_400, "notafter": vault.not_after,
        "public-key-type": "id-ecPublicKey", "public-key-bits": 256,
    }]))
}

fn lines(call: &Call<'_>) -> Vec<Line> {
    let vault = call.vault();
    let mut lines = vault.host.journal.clone();
    lines.extend(vault.tasks.list.iter().filter_map(|task| {
        let status = task.status.as_deref().unwrap_or_default();
        Some(Line {
            time: task.end?,
            unit: "proxmox-backup-proxy".to_owned(),
            text: format!("TASK {status}: {}", task.upid),
        })
    }));
    lines.sort_by_key(|line| line.time);
    lines
}

fn syslog(call: &mut Call<'_>) -> Answer {
    let node = call.vault().node.clone();
    syslog_page(call, lines(call), &node)
}

fn journal(call: &mut Call<'_>) -> Answer {
    let node = call.vault().node.clone();
    journal_range(call, &lines(call), &node)
}

fn disks(_call: &mut Call<'_>) -> Answer {
    let rows = (0..4).map(|at| {
        json!({
            "name": format!("sd{}", (b'a' + at) as char), "devpath": format!("/dev/sd{}", (b'a' + at) as char), "disk-type": "hdd",
            "model": "TOSHIBA MG10ACA20TE", "serial": format!("Z4A0{at}"), "size": 20_000_588_955_648_u64, "status": "passed",
            "used": "zfs", "gpt": true, "rpm": 7200, "vendor": "ATA", "wwn": format!("0x5000039a{at}"), "wearout": null,
        })
    });
    data(rows.collect::<Vec<Value>>())
}

fn smart(call: &mut Call<'_>) -> Answer {
    let name = call.text("disk").unwrap_or_default();
    if !matches!(name, "sda" | "sdb" | "sdc" | "sdd") {
        return Err(Fault::bad(format!("no such disk '{name}'")));
    }
    data(json!({"status": "passed", "wearout": null, "attributes": [
        {"id": 5, "name": "Reallocated_Sector_Ct", "value": "100", "worst": "100", "threshold": 10.0, "raw": "0", "normalized": 100.0, "flags": "PO--CK", "fail": "-"},
    ]}))
}

fn rrd(call: &mut Call<'_>) -> Answer {
    let now = call.estate.seconds() / 60 * 60;
    let rows = (0..60).map(|at| {
        let time = now - (60 - at) * 60;
        let wave = noise(time as u64);
        json!({"time": time, "cpu": 0.05 + 0.1 * wave, "iowait": 0.004, "loadavg": 0.4 + wave, "memtotal": 68_719_476_736.0,
            "memused": 13_743_895_347.0, "netin": 2e6 * wave, "netout": 1e5 * wave, "roottotal": 100_861_726_720.0, "rootused": 9_120_000_000.0})
    });
    data(rows.collect::<Vec<Value>>())
}
