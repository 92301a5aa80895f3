//! Services of a node.

use serde_json::{Value, json};

use crate::call::{Call, Handlers};
use crate::http::{Answer, Fault, data};
use crate::state::admin::Line;
use crate::state::{Outcome, Plan};

pub(super) const HANDLERS: Handlers = &[
    ("GET", "/nodes/{node}/services", list),
    ("GET", "/nodes/{node}/services/{service}/state", read),
    ("POST", "/nodes/{node}/services/{service}/start", |call| command(call, "start")),
    ("POST", "/nodes/{node}/services/{service}/stop", |call| command(call, "stop")),
    ("POST", "/nodes/{node}/services/{service}/restart", |call| command(call, "restart")),
    ("POST", "/nodes/{node}/services/{service}/reload", |call| command(call, "reload")),
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

fn row(call: &Call<'_>, name: &str, text: &str) -> Value {
    // A standalone node has no cluster engine.
    let off = name == "corosync" && call.cluster().name.is_none();
    let bad = call.cluster().nodes[call.node].host.services.get(name).copied();
    let (state, active) = match bad {
        _ if off => ("dead", "inactive"),
        None => ("running", "active"),
        Some("failed") => ("failed", "failed"),
        Some(_) => ("dead", "inactive"),
    };
    json!({
        "service": name, "name": name, "desc": text, "state": state, "active-state": active,
        "unit-state": "enabled",
    })
}

fn list(call: &mut Call<'_>) -> Answer {
    data(SERVICES.iter().map(|(name, text)| row(call, name, text)).collect::<Vec<Value>>())
}

fn find(call: &Call<'_>) -> Result<(&'static str, &'static str), Fault> {
    let name = call.arg("service");
    SERVICES.iter().find(|(known, _)| *known == name).copied().ok_or_else(|| {
        let all: Vec<&str> = SERVICES.iter().map(|(name, _)| *name).collect();
        let all = all.join(", ");
        Fault::param(
            "service",
            format!("value '{name}' does not have a value in the enumeration '{all}'"),
        )
    })
}

fn read(call: &mut Call<'_>) -> Answer {
    let (name, text) = find(call)?;
    data(row(call, name, text))
}

fn command(call: &mut Call<'_>, word: &'static str) -> Answer {
    let (name, text) = find(call)?;
    let kind = match word {
        "start" => "srvstart",
        "stop" => "srvstop",
        "restart" => "srvrestart",
        _ => "srvreload",
    };
    let (home, at, node, user) = (call.pve(), call.home, call.node, call.who.to_string());
    let plan = Plan::new(kind, name, 900.0, move |estate| {
        let time = estate.seconds();
        let host = &mut estate.clusters[at].nodes[node].host;
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
    data(call.estate.start_task(home, node, &user, plan))
}
