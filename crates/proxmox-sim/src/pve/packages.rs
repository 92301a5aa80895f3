//! Packages: what could be updated, what is installed.

use serde_json::{Value, json};

use crate::call::{Call, Handlers};
use crate::http::{Answer, data};
use crate::state::{Outcome, Plan};

pub(super) const HANDLERS: Handlers = &[
    ("GET", "/nodes/{node}/apt/update", updates),
    ("POST", "/nodes/{node}/apt/update", refresh),
    ("GET", "/nodes/{node}/apt/versions", versions),
];

fn updates(call: &mut Call<'_>) -> Answer {
    let rows = call.cluster().nodes[call.node].updates.iter().map(|(name, old, new)| {
        let ours = name.starts_with("pve") || name.starts_with("proxmox") || *name == "qemu-server";
        json!({
            "Package": name, "OldVersion": old, "Version": new, "Title": format!("{name} package"),
            "Description": format!("The package {name}."), "Arch": "amd64", "Priority": "optional",
            "Section": if ours { "admin" } else { "libs" }, "Origin": if ours { "Proxmox" } else { "Debian" },
        })
    });
    data(rows.collect::<Vec<Value>>())
}

fn refresh(call: &mut Call<'_>) -> Answer {
    let (home, at, node, user) = (call.pve(), call.home, call.node, call.who.to_string());
    let lines = vec!["starting apt-get update".to_owned(), "Reading package lists...".to_owned()];
    let plan = Plan::new("aptupdate", "", 4000.0, move |estate| {
        // The mirrors have news once.
        let updates = &mut estate.clusters[at].nodes[node].updates;
        if !updates.iter().any(|(name, _, _)| *name == "sudo") {
            updates.push(("sudo", "1.9.16p2-3", "1.9.16p2-3+deb13u1"));
        }
        Outcome::ok()
    });
    data(call.estate.start_task(home, node, &user, plan.lines(lines)))
}

fn versions(call: &mut Call<'_>) -> Answer {
    let (_, version) = call.estate.release.version();
    let nine = call.estate.release.is_9();
    let running = if nine { "6.17.2-1-pve" } else { "6.8.12-16-pve" };
    let node = &call.cluster().nodes[call.node];
    let base = |name: &str| match name {
        "proxmox-ve" => "9.1.0",
        "pve-manager" => version,
        "qemu-server" => "9.1.4",
        "corosync" => "3.1.9-pve2",
        _ => "6.0.5-3",
    };
    let kernel = |release: &str| format!("proxmox-kernel-{release}-signed");
    let mut packages: Vec<(String, String)> =
        ["proxmox-ve", "pve-manager", "qemu-server", "corosync", "lxc-pve"]
            .into_iter()
            .map(|name| {
                // What has an update pending is installed in its old version.
                let old = node.updates.iter().find(|(package, _, _)| *package == name);
                (name.to_owned(), old.map_or_else(|| base(name), |(_, old, _)| old).to_owned())
            })
            .collect();
    packages.push((kernel(running), running.trim_end_matches("-pve").to_owned()));
    if let Some(new) = node.host.new_kernel {
        packages.push((kernel(new), new.trim_end_matches("-pve").to_owned()));
    }
    let rows = packages.iter().map(|(name, version)| {
        let mut row = json!({
            "Package": name, "Version": version, "OldVersion": version, "CurrentState": "Installed", "Arch": "all",
            "Origin": "Proxmox", "Priority": "optional", "Section": "admin", "Title": name, "Description": name,
        });
        if name == "proxmox-ve" {
            row["RunningKernel"] = json!(running);
        }
        if name == "pve-manager" {
            row["ManagerVersion"] = json!(version);
        }
        row
    });
    data(rows.collect::<Vec<Value>>())
}
