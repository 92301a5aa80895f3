//! Where a guest can be reached: a machine's agent or a container's interfaces know.

use estate::GuestKind;
use pve_client::{agent, lxc};

use super::{Spot, status::Now};
use crate::{
    fleet::Place,
    report::{Cell, Report, Table},
    tools::parts,
};

/// An address on an interface.
struct Address {
    interface: String,
    text: String,
    mac: Option<String>,
}

/// Adds the addresses, or why there are none.
pub(super) async fn tell(report: Report, spot: &Spot, now: &Now, agent: bool) -> Report {
    if !now.status.is_on() {
        return report.note(match now.status.as_str() {
            "template" => "no addresses: a template never runs".to_owned(),
            status => format!("no addresses: the guest is {status}"),
        });
    }
    let Spot { member, vmid, place: Place { node, kind }, .. } = spot;
    let found = match kind {
        GuestKind::Qemu if !agent => {
            return report.note(
                "no addresses: the guest agent is not turned on in the configuration (agent: 1)",
            );
        }
        GuestKind::Qemu => {
            let asked = member.client.call(agent::interfaces(node, *vmid)).await;
            asked.map(|answer| answer.interfaces.into_iter().flat_map(of_machine).collect())
        }
        GuestKind::Lxc => {
            let asked = member.client.call(lxc::interfaces(node, *vmid)).await;
            asked.map(|all| all.into_iter().flatten().flat_map(of_container).collect())
        }
    };
    let found: Vec<Address> = match found {
        Ok(found) => found,
        Err(error) if error.message().contains("agent is not running") => {
            return report.note(
                "no addresses: the guest agent is turned on, but does not run inside the guest",
            );
        }
        Err(error) if error.message().contains("No QEMU guest agent configured") => {
            return report
                .note("no addresses: the running machine was started without the guest agent");
        }
        Err(error) => return parts::missing(report, "the addresses", &error),
    };
    let mut table = Table::new("addresses", &["interface", "address", "mac"]);
    for one in found {
        let useful = one.interface != "lo" && !one.text.to_ascii_lowercase().starts_with("fe80:");
        if useful {
            table.push(vec![Cell::text(one.interface), Cell::text(one.text), Cell::opt(one.mac)]);
        }
    }
    if table.rows.is_empty() {
        return report.note("no addresses: the guest reports none but its own loopback");
    }
    report.table(table)
}

fn of_machine(interface: agent::AgentInterface) -> Vec<Address> {
    let agent::AgentInterface { name, hardware_address, addresses, .. } = interface;
    addresses
        .into_iter()
        .map(|one| Address {
            interface: name.clone(),
            text: with_prefix(one.address, one.prefix),
            mac: hardware_address.clone(),
        })
        .collect()
}

fn of_container(interface: lxc::LxcInterface) -> Vec<Address> {
    let lxc::LxcInterface { name, hardware_address, inet, inet6, addresses, .. } = interface;
    let mut found: Vec<String> =
        addresses.into_iter().map(|one| with_prefix(one.address, one.prefix)).collect();
    if found.is_empty() {
        found.extend(inet.into_iter().chain(inet6));
    }
    found
        .into_iter()
        .map(|text| Address { interface: name.clone(), text, mac: hardware_address.clone() })
        .collect()
}

fn with_prefix(address: String, prefix: Option<u8>) -> String {
    match prefix {
        Some(prefix) if !address.contains('/') => format!("{address}/{prefix}"),
        _ => address,
    }
}
