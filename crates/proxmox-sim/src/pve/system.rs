//! The system below: services, logs, disks, updates, certificates.

use serde_json::{Value, json};

use crate::call::{Call, Handlers};
use crate::http::{Answer, Fault, Reply, data};
use crate::state::{Outcome, Plan};

pub(super) const HANDLERS: Handlers = &[
    ("GET", "/nodes/{node}/services", services),
    ("GET", "/nodes/{node}/services/{service}/state", service),
    ("GET", "/nodes/{node}/syslog", syslog),
    ("GET", "/nodes/{node}/journal", journal),
    ("GET", "/nodes/{node}/disks/list", disks),
    ("GET", "/nodes/{node}/disks/smart", smart),
    ("GET", "/nodes/{node}/disks/zfs", |_| data(json!([]))),
    ("GET", "/nodes/{node}/disks/lvm", lvm),
    ("GET", "/nodes/{node}/disks/lvmthin", lvmthin),
    ("GET", "/nodes/{node}/apt/update", updates),
    ("POST", "/nodes/{node}/apt/update", refresh),
    ("GET", "/nodes/{node}/apt/versions", versions),
    ("GET", "/nodes/{node}/certificates/info", certificates),
];

const SERVICES: &[(&str, &str)] = &[
    ("chrony", "chrony, an NTP client/server"),
    ("corosync", "Corosync Cluster Engine"),
    ("cron", "Regular background program processing daemon"),
    ("postfix", "Postfix Mail Transport Agent"),
    ("proxmox-firewall", "Proxmox nftables firewall"),
    ("pve-cluster", "The Proxmox VE cluster filesystem"),
    ("pve-firewall", "Proxmox VE firewall"),
    ("pve-ha-crm", "PVE Cluster HA Resource Manager Daemon"),
    ("pve-ha-lrm", "PVE Local HA Resource Manager Daemon"),
    ("pvedaemon", "PVE API Daemon"),
    ("pveproxy", "PVE API Proxy Server"),
    ("pvescheduler", "Proxmox VE scheduler"),
    ("pvestatd", "PVE Status Daemon"),
    ("sshd", "OpenBSD Secure Shell server"),
];

fn service_row(call: &Call<'_>, name: &str, text: &str) -> Value {
    // A standalone node has no cluster engine.
    let off = name == "corosync" && call.cluster().name.is_none();
    json!({
        "service": name, "name": name, "desc": text, "state": if off { "dead" } else { "running" },
        "active-state": if off { "inactive" } else { "active" }, "unit-state": "enabled",
    })
}

fn services(call: &mut Call<'_>) -> Answer {
    data(SERVICES.iter().map(|(name, text)| service_row(call, name, text)).collect::<Vec<Value>>())
}

fn service(call: &mut Call<'_>) -> Answer {
    let name = call.arg("service");
    let found = SERVICES.iter().find(|(known, _)| *known == name);
    let (name, text) = found.ok_or_else(|| {
        let all: Vec<&str> = SERVICES.iter().map(|(name, _)| *name).collect();
        let all = all.join(", ");
        Fault::param(
            "service",
            format!("value '{name}' does not have a value in the enumeration '{all}'"),
        )
    })?;
    data(service_row(call, name, text))
}

/// The node's lines of the cluster log as a system log.
fn lines(call: &Call<'_>) -> Vec<(i64, String, String)> {
    let node = &call.cluster().nodes[call.node].name;
    let log = call.cluster().log.iter().filter(|line| line["node"] == node.as_str());
    let mut lines: Vec<(i64, String, String)> = log
        .map(|line| {
            let time = line["time"].as_i64().unwrap_or(0);
            let tag = line["tag"].as_str().unwrap_or_default();
            let user = line["user"].as_str().unwrap_or_default();
            let said = line["msg"].as_str().unwrap_or_default();
            let who = if user.is_empty() { String::new() } else { format!("<{user}> ") };
            let stamp = crate::clock::utc(time, "%b %d %H:%M:%S");
            (time, tag.to_owned(), format!("{stamp} {node} {tag}[{}]: {who}{said}", line["pid"]))
        })
        .collect();
    let now = call.estate.seconds();
    for at in 0..20 {
        let time = now - now % 60 - at * 3600;
        let stamp = crate::clock::utc(time, "%b %d %H:%M:%S");
        lines.push((time, "CRON".to_owned(), format!("{stamp} {node} CRON[{}]: pam_unix(cron:session): session opened for user root(uid=0) by root(uid=0)", 4000 + at)));
    }
    lines.sort_by_key(|(time, _, _)| *time);
    lines
}

fn syslog(call: &mut Call<'_>) -> Answer {
    let service = call.text("service");
    let all: Vec<String> = lines(call)
        .into_iter()
        .filter(|(_, tag, _)| service.is_none_or(|service| service == tag))
        .map(|(_, _, line)| line)
        .collect();
    let start = call.int("start").unwrap_or(0) as usize;
    let limit = call.int("limit").map_or(50, |limit| limit as usize);
    let rows: Vec<Value> = all
        .iter()
        .enumerate()
        .skip(start)
        .take(limit)
        .map(|(at, line)| json!({"n": at + 1, "t": line}))
        .collect();
    let reply = Reply::from(Value::Array(rows));
    Ok(if all.is_empty() { reply } else { reply.with("total", all.len()) })
}

fn journal(call: &mut Call<'_>) -> Answer {
    let since = call.int("since").unwrap_or(0);
    let until = call.int("until").unwrap_or(i64::MAX);
    let all: Vec<String> = lines(call)
        .into_iter()
        .filter(|(time, _, _)| (since..=until).contains(time))
        .map(|(_, _, line)| line)
        .collect();
    let keep = call.int("lastentries").map_or(all.len(), |keep| (keep as usize).min(all.len()));
    let last = &all[all.len() - keep..];
    // First and last element are cursors.
    let mut rows = vec![json!(format!("s=sim;i={:x}", all.len() - keep))];
    rows.extend(last.iter().map(|line| json!(line)));
    rows.push(json!(format!("s=sim;i={:x}", all.len())));
    data(rows)
}

fn disks(call: &mut Call<'_>) -> Answer {
    let disks = &call.cluster().nodes[call.node].disks;
    let rows = disks.iter().enumerate().map(|(at, (path, model, serial, size, health, left))| {
        json!({
            "devpath": path, "model": model, "serial": serial, "size": size, "health": health, "wearout": left,
            "type": if path.contains("nvme") { "nvme" } else { "ssd" }, "gpt": 1, "rpm": 0, "vendor": "unknown",
            "used": if at == 0 { "BIOS boot" } else { "LVM" }, "wwn": format!("eui.{serial}"), "osdid": -1,
            "osdid-list": null, "by_id_link": format!("/dev/disk/by-id/{serial}"),
        })
    });
    data(rows.collect::<Vec<Value>>())
}

fn smart(call: &mut Call<'_>) -> Answer {
    let wanted = call.text("disk").unwrap_or_default();
    let disks = &call.cluster().nodes[call.node].disks;
    let found = disks.iter().find(|disk| disk.0 == wanted);
    let disk = found.ok_or_else(|| Fault::internal(format!("disk '{wanted}' does not exist")))?;
    data(json!({
        "health": disk.4, "type": "text", "wearout": disk.5,
        "text": format!("\nSMART/Health Information (NVMe Log 0x02)\nCritical Warning: 0x00\nTemperature: 38 Celsius\nPercentage Used: {}%\n", 100 - disk.5),
    }))
}

fn lvm(call: &mut Call<'_>) -> Answer {
    let pool = call.cluster().storage("local-lvm");
    let size = pool.map_or(0, |pool| pool.total);
    data(json!({"leaf": 0, "children": [
        {"name": "pve", "size": size + (100_u64 << 30), "free": 16_u64 << 30, "lvcount": 3, "leaf": 0,
         "children": [{"name": "/dev/nvme1n1", "size": size, "free": 16_u64 << 30, "leaf": 1}]},
    ]}))
}

fn lvmthin(call: &mut Call<'_>) -> Answer {
    let pool = call.cluster().storage("local-lvm");
    let (size, used) = pool.map_or((0, 0), |pool| (pool.total, pool.used_on(call.node)));
    data(
        json!([{"lv": "data", "vg": "pve", "lv_size": size, "used": used, "metadata_size": 8_589_934_592_u64,
        "metadata_used": (8_589_934_592.0 * used as f64 / size.max(1) as f64 * 0.2) as u64}]),
    )
}

fn updates(call: &mut Call<'_>) -> Answer {
    let rows = call.cluster().nodes[call.node].updates.iter().map(|(name, old, new)| {
        let ours = name.starts_with("pve") || *name == "qemu-server";
        json!({
            "Package": name, "OldVersion": old, "Version": new, "Title": format!("{name} package"),
            "Description": format!("The package {name}."), "Arch": "amd64", "Priority": "optional",
            "Section": if ours { "admin" } else { "libs" }, "Origin": if ours { "Proxmox" } else { "Debian" },
        })
    });
    data(rows.collect::<Vec<Value>>())
}

fn refresh(call: &mut Call<'_>) -> Answer {
    let (home, node, user) = (call.pve(), call.node, call.who.to_string());
    let lines = vec!["starting apt-get update".to_owned(), "Reading package lists...".to_owned()];
    let plan = Plan::new("aptupdate", "", 4000.0, |_| Outcome::ok()).lines(lines);
    data(call.estate.start_task(home, node, &user, plan))
}

fn versions(call: &mut Call<'_>) -> Answer {
    let (_, version) = call.estate.release.version();
    let kernel = if call.estate.release.is_9() { "6.17.2-1-pve" } else { "6.8.12-16-pve" };
    let rows = [
        ("proxmox-ve", "9.1.0"),
        ("pve-manager", version),
        ("qemu-server", "9.1.2"),
        ("lxc-pve", "6.0.5-3"),
    ];
    let rows = rows.iter().map(|(name, version)| {
        let mut row = json!({
            "Package": name, "Version": version, "OldVersion": version, "CurrentState": "Installed", "Arch": "all",
            "Origin": "Proxmox", "Priority": "optional", "Section": "admin", "Title": name, "Description": name,
        });
        if *name == "proxmox-ve" {
            row["RunningKernel"] = json!(kernel);
        }
        if *name == "pve-manager" {
            row["ManagerVersion"] = json!(version);
        }
        row
    });
    data(rows.collect::<Vec<Value>>())
}

fn certificates(call: &mut Call<'_>) -> Answer {
    let cluster = call.cluster();
    let node = &cluster.nodes[call.node];
    let issuer = format!("/O=Simulated Proxmox/CN={} CA", cluster.key);
    data(json!([
        {"filename": "pve-root-ca.pem", "fingerprint": cluster.ca.0, "issuer": issuer, "subject": issuer,
         "san": [], "notbefore": node.not_after - 730 * 86_400, "notafter": node.not_after + 2_900 * 86_400,
         "pem": cluster.ca.1, "public-key-type": "id-ecPublicKey", "public-key-bits": 256},
        {"filename": "pve-ssl.pem", "fingerprint": node.fingerprint, "issuer": issuer,
         "subject": format!("/O=Simulated Proxmox/CN={}", node.name), "san": ["127.0.0.1", "localhost", node.name],
         "notbefore": node.not_after - 730 * 86_400, "notafter": node.not_after, "pem": node.pem,
         "public-key-type": "id-ecPublicKey", "public-key-bits": 256},
    ]))
}
