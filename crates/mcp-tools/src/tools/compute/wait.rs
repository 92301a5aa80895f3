//! Waits until a guest that was started tells where it is reached.

use std::{net::IpAddr, sync::Arc, time::Duration};

use estate::{GuestKind, NodeName, VmId};
use pve_client::{agent, lxc};
use serde_json::{Value, json};

use crate::{
    fleet::Pve,
    follow::{Pace, Until},
    plan::{Done, Running, Step, StepOutcome},
};

/// How long it is waited for where nothing is said, in seconds.
pub(super) const PATIENCE_SECS: u64 = 60;

/// The step's words, by which its outcome is found again.
pub(super) const WHAT: &str = "wait for its address";

/// What came of the wait.
#[derive(Clone, Debug, Default)]
pub(super) struct Reached {
    /// The addresses, the first to be used.
    pub(super) addresses: Vec<String>,
    /// Why there are none.
    pub(super) why: Option<String>,
}

/// A step that waits; that nothing is heard is no failure.
pub(super) fn step(
    member: &Arc<Pve>,
    kind: GuestKind,
    node: &NodeName,
    vmid: VmId,
    patience: Duration,
) -> Step {
    let (member, node) = (Arc::clone(member), node.clone());
    Step::wait(
        WHAT,
        Box::new(move |running: Running| {
            Box::pin(async move {
                let reached = until_reached(&running, &member, kind, &node, vmid, patience).await;
                let mut outcome = StepOutcome::default();
                outcome.value = json!({"addresses": reached.addresses, "why": reached.why});
                Ok(outcome)
            })
        }),
    )
}

/// What the step found, when it was one of the plan's.
pub(super) fn outcome(done: &Done) -> Option<Reached> {
    let value = done.value(WHAT)?;
    let addresses = value["addresses"].as_array().into_iter().flatten();
    Some(Reached {
        addresses: addresses.filter_map(Value::as_str).map(str::to_owned).collect(),
        why: value["why"].as_str().map(str::to_owned),
    })
}

async fn until_reached(
    running: &Running,
    member: &Pve,
    kind: GuestKind,
    node: &NodeName,
    vmid: VmId,
    patience: Duration,
) -> Reached {
    let until = Until::patient().at_most(patience);
    let mut pace = Pace::new();
    running.tell("waiting for the guest to tell its address");
    loop {
        let asked = match kind {
            GuestKind::Qemu => machine(member, node, vmid).await,
            GuestKind::Lxc => container(member, node, vmid).await,
        };
        let why = match asked {
            Ok(addresses) if !addresses.is_empty() => return Reached { addresses, why: None },
            Ok(_) => "it reports no address but its own loopback".to_owned(),
            Err(error) if error.kind() == api_core::ErrorKind::PermissionDenied => {
                let why = format!("the token may not ask: {}", error.message());
                return Reached { why: Some(why), ..Reached::default() };
            }
            Err(error) => stdx::untrusted::line(error.message(), 200).into_owned(),
        };
        if until.is_over() || running.stop.is_cancelled() {
            return Reached { why: Some(why), ..Reached::default() };
        }
        tokio::select! {
            () = pace.wait(&until) => {}
            () = running.stop.cancelled() => {}
        }
    }
}

async fn machine(
    member: &Pve,
    node: &NodeName,
    vmid: VmId,
) -> Result<Vec<String>, api_core::Error> {
    let answer = member.client.call(agent::interfaces(node, vmid)).await?;
    let all = answer.interfaces.into_iter().flat_map(|interface| interface.addresses);
    Ok(useful(all.map(|one| one.address)))
}

async fn container(
    member: &Pve,
    node: &NodeName,
    vmid: VmId,
) -> Result<Vec<String>, api_core::Error> {
    let answer = member.client.call(lxc::interfaces(node, vmid)).await?;
    let all = answer.into_iter().flatten().flat_map(|interface| {
        let lxc::LxcInterface { inet, inet6, addresses, .. } = interface;
        let listed = addresses.into_iter().map(|one| one.address);
        listed.chain(inet).chain(inet6).collect::<Vec<_>>()
    });
    Ok(useful(all))
}

/// The addresses by which others reach the guest, IPv4 first. What is no address is left out: a
/// guest can say anything.
fn useful(all: impl Iterator<Item = String>) -> Vec<String> {
    let bare = all.filter_map(|text| text.split('/').next()?.parse::<IpAddr>().ok());
    let mut found: Vec<IpAddr> = Vec::new();
    for address in bare {
        let is_local = match address {
            IpAddr::V4(v4) => v4.is_loopback() || v4.is_link_local() || v4.is_unspecified(),
            IpAddr::V6(v6) => v6.is_loopback() || v6.is_unicast_link_local() || v6.is_unspecified(),
        };
        if !is_local && !found.contains(&address) {
            found.push(address);
        }
    }
    found.sort_by_key(IpAddr::is_ipv6);
    found.into_iter().map(|address| address.to_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_others_can_reach_is_an_address() {
        let all = [
            "127.0.0.1/8",
            "fe80::1",
            "2001:db8::5/64",
            "10.40.7.9/24",
            "10.40.7.9",
            "rm -rf",
            "::1",
        ];
        let found = useful(all.into_iter().map(str::to_owned));
        assert_eq!(found, ["10.40.7.9", "2001:db8::5"]);
    }
}
