//! What all ways to a new guest end with: the disk grown, the guest started, its address told.

use std::{net::IpAddr, sync::Arc, time::Duration};

use estate::{GuestKind, GuestRef, NodeName, StorageName, VmId};
use pve_client::{
    guest::Properties,
    lxc::{self, LxcConfig},
    qemu::{self, QemuConfig, QemuStartParams},
};
use serde_json::json;

use super::super::place::Site;
use super::{
    super::{
        cloudinit::{Address, Identity},
        wait,
    },
    Args, GIB,
};
use crate::{
    error::ToolError,
    fleet::Pve,
    follow::state::State,
    plan::{Done, Plan, Running, Step, StepOutcome, planned},
    report::{Report, bytes},
};

/// A guest that is being made.
#[derive(Clone)]
pub(in crate::tools::compute) struct Ready {
    pub(in crate::tools::compute) member: Arc<Pve>,
    pub(in crate::tools::compute) at: GuestRef,
    pub(in crate::tools::compute) kind: GuestKind,
    pub(in crate::tools::compute) name: String,
    pub(in crate::tools::compute) node: NodeName,
    pub(in crate::tools::compute) storage: StorageName,
    pub(in crate::tools::compute) start: bool,
    pub(in crate::tools::compute) patience: Duration,
    /// The address that it is told to take.
    pub(in crate::tools::compute) fixed: Option<IpAddr>,
    /// What the answer repeats of the plan's warnings: they hold for what was made.
    pub(in crate::tools::compute) warnings: Vec<String>,
}

// === impl Ready ===

impl Ready {
    pub(super) fn of(
        site: &Site,
        args: &Args,
        node: &NodeName,
        vmid: VmId,
        storage: StorageName,
        identity: &Identity,
    ) -> Self {
        Self {
            member: Arc::clone(&site.member),
            at: GuestRef { cluster: site.member.key.clone(), vmid },
            kind: GuestKind::Qemu,
            name: args.name.clone(),
            node: node.clone(),
            storage,
            start: args.starts(),
            patience: args.patience(),
            fixed: identity.fixed(),
            warnings: Vec::new(),
        }
    }

    /// `lab/144 web-04`.
    pub(in crate::tools::compute) fn label(&self) -> String {
        format!("{} {}", self.at, self.name)
    }

    /// Adds the start, and the wait for its address where something can tell it.
    pub(in crate::tools::compute) fn start_steps(&self, mut plan: Plan, tells: bool) -> Plan {
        plan = plan
            .fact("guest", self.at.to_string())
            .fact("name", self.name.as_str())
            .fact("node", self.node.as_str())
            .fact("storage", self.storage.as_str());
        if !self.start {
            return plan;
        }
        let vmid = self.at.vmid;
        let what = format!("start {}", self.at);
        let step = match self.kind {
            GuestKind::Qemu => Step::pve(
                &self.member,
                what,
                qemu::start(&self.node, vmid, QemuStartParams::default()),
            )
            .task(&["qmstart"], vmid.to_string()),
            GuestKind::Lxc => Step::pve(&self.member, what, lxc::start(&self.node, vmid))
                .task(&["vzstart"], vmid.to_string()),
        };
        plan = plan.step(step);
        if tells && !self.patience.is_zero() {
            plan = plan.step(wait::step(&self.member, self.kind, &self.node, vmid, self.patience));
        }
        plan
    }

    /// Reads the guest back when all is done, and makes the answer.
    pub(in crate::tools::compute) fn settle(mut self, plan: Plan) -> Plan {
        self.warnings = plan.warnings.iter().map(|warning| warning.text.clone()).collect();
        let ready = self.clone();
        plan.settle(move |_, done| settle(ready, done)).explain(move |error| explain(self, error))
    }
}

/// Says of a failure what is there of the guest.
async fn explain(ready: Ready, error: ToolError) -> ToolError {
    let state = State::read(&ready.member.client, ready.kind, &ready.node, ready.at.vmid).await;
    let guest = ready.at.to_string();
    match state {
        Ok(state) => error.map(|report| {
            let word = state.status.as_str();
            report
                .fact("state", word)
                .note(format!("{} is there, unfinished and {word}: finish it by hand, or remove it with guest_delete", ready.label()))
                .next("guest_get", json!({"guest": guest}))
        }),
        Err(gone) if gone.kind() == api_core::ErrorKind::NotFound => {
            error.map(|report| report.note(format!("nothing of {guest} was left behind")))
        }
        Err(_) => error,
    }
}

async fn settle(ready: Ready, done: Done) -> Result<Report, ToolError> {
    let Ready { member, kind, node, at, .. } = &ready;
    let state = State::read(&member.client, *kind, node, at.vmid).await;
    let state = match state {
        Ok(state) => state,
        Err(error) => {
            let lead =
                format!("{} is made, but cannot be read: {}", ready.label(), stdx::Chain(&error));
            return Ok(done.report(lead).next("guest_get", json!({"guest": at.to_string()})));
        }
    };
    let word = state.status.as_str();
    if ready.start && !state.status.is_on() {
        let lead = format!("{} was started and is {word}", ready.label());
        let report = done.report(lead).fact("state", word).fact("status", "failed");
        return Err(ToolError::from_report(
            report.next("guest_get", json!({"guest": at.to_string()})),
        ));
    }
    let reached = wait::outcome(&done);
    let address = reached.as_ref().and_then(|reached| reached.addresses.first().cloned());
    let made = made_of(&ready).await;
    let how = match (&address, ready.fixed, state.status.is_on()) {
        (Some(address), ..) => format!("runs at {address}"),
        (None, Some(fixed), true) => format!("runs and was told to take {fixed}"),
        (None, None, true) => "runs".to_owned(),
        (None, _, false) => "is made and is off".to_owned(),
    };
    let lead = format!("{} {how} ({made}; {})", ready.label(), done.span());
    let mut report = done.report(lead).fact("state", word).fact("address", address);
    for (_, step) in &done.steps {
        if let Some(said) = &step.said {
            report = report.note(said.as_str());
        }
    }
    if let Some(reached) = reached {
        report = report.fact("addresses", json!(reached.addresses));
        if let Some(why) = reached.why {
            let waited = ready.patience.as_secs();
            report = report.note(match kind {
                GuestKind::Qemu => format!(
                    "its address is not known: after {waited} s {why}. The agent has to be in the image: \
                     install qemu-guest-agent inside, and guest_get shows the address"
                ),
                GuestKind::Lxc => format!("its address is not known: after {waited} s {why}"),
            });
        }
    }
    for warning in &ready.warnings {
        report = report.note(format!("warning: {warning}"));
    }
    report = report.next("guest_get", json!({"guest": at.to_string()}));
    if !state.status.is_on() {
        report = report.next("guest_power", json!({"guest": at.to_string(), "action": "start"}));
    }
    Ok(report)
}

/// What it has, for the sentence: `2 cores, 2G, 20G on ceph-vm, birch`.
async fn made_of(ready: &Ready) -> String {
    let Ready { member, node, at, .. } = ready;
    let (cores, memory, disk) = match ready.kind {
        GuestKind::Qemu => match member.client.call(qemu::config(node, at.vmid)).await {
            Ok(config) => {
                let disk = boot_disk(&config).and_then(|key| drive(&config, &key));
                (config.cores, config.memory_mib(), disk)
            }
            Err(_) => return format!("on {node}"),
        },
        GuestKind::Lxc => match member.client.call(lxc::config(node, at.vmid)).await {
            Ok(config) => (config.cores, config.memory_mib, root(&config)),
            Err(_) => return format!("on {node}"),
        },
    };
    let mut parts = Vec::new();
    parts.extend(cores.map(|cores| format!("{cores} core{}", if cores == 1 { "" } else { "s" })));
    parts.extend(memory.map(|mib| bytes(mib << 20)));
    parts.extend(disk.map(|(storage, size)| format!("{} on {storage}", bytes(size))));
    parts.push(format!("node {node}"));
    parts.join(", ")
}

fn root(config: &LxcConfig) -> Option<(String, u64)> {
    let properties = Properties::parse(config.rootfs.as_deref()?);
    Some((properties.storage()?.to_string(), size_of(properties.size()?)?))
}

/// Storage and bytes of a drive.
fn drive(config: &QemuConfig, key: &str) -> Option<(String, u64)> {
    let (_, text) = config.disks().find(|(name, _)| *name == key)?;
    let properties = Properties::parse(text);
    Some((properties.storage()?.to_string(), size_of(properties.size()?)?))
}

/// The drive that a machine boots from: the first of its boot order that is a disk, or its first.
pub(super) fn boot_disk(config: &QemuConfig) -> Option<String> {
    let disks: Vec<&str> = config
        .disks()
        .filter(|(_, text)| Properties::parse(text).get("media") != Some("cdrom"))
        .map(|(key, _)| key)
        .collect();
    let order = config.boot.as_deref().and_then(|boot| boot.strip_prefix("order="));
    let mut wanted = order.unwrap_or_default().split(';');
    let first = wanted.find(|key| disks.contains(key)).map(str::to_owned);
    let usual = || {
        ["scsi", "virtio", "sata", "ide"].iter().find_map(|bus| {
            disks.iter().find(|key| key.starts_with(bus)).map(|key| (*key).to_owned())
        })
    };
    first.or_else(|| config.boot_disk.clone()).or_else(usual)
}

/// Bytes of `32G`, as configurations write sizes.
pub(in crate::tools::compute) fn size_of(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: f64 = digits.parse().ok()?;
    let shift = match &text[digits.len()..] {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return None,
    };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "sizes are positive and far below the limit"
    )]
    let bytes = (number * (1_u64 << shift) as f64) as u64;
    Some(bytes)
}

/// A step that grows a disk to `gib`. One that is larger already is left alone, unless the size was
/// `asked` for: a disk cannot be made smaller.
pub(super) fn grow(ready: &Ready, disk: &str, gib: u64, asked: bool) -> Step {
    let (member, node, vmid) = (Arc::clone(&ready.member), ready.node.clone(), ready.at.vmid);
    let disk = disk.to_owned();
    let request = qemu::resize(&node, vmid, &disk, &format!("{gib}G"));
    let calls = vec![planned(member.key.as_str(), &request)];
    let what = format!("grow {disk} to {gib} GiB");
    let told = what.clone();
    Step::other(
        what,
        calls,
        Box::new(move |running: Running| {
            Box::pin(async move {
                let config = member.client.call(qemu::config(&node, vmid)).await;
                let config =
                    config.map_err(|error| ToolError::api("read the new machine", &error))?;
                let now = drive(&config, &disk).map_or(0, |(_, size)| size);
                if now > gib * GIB && asked {
                    return Err(ToolError::new(format!(
                        "the image's disk has {} already, and a disk cannot be made smaller",
                        bytes(now)
                    ))
                    .hint(format!("ask for at least {} GiB", now.div_ceil(GIB))));
                }
                let mut outcome = StepOutcome::default();
                if now >= gib * GIB {
                    outcome.said = Some(format!("{disk} has {} as it came", bytes(now)));
                    return Ok(outcome);
                }
                let sent = member.operator.call(request).await;
                match sent.map_err(|error| ToolError::api(&told, &error))? {
                    Some(upid) => running.follow_pve(&member, &told, &upid, false).await,
                    None => Ok(outcome),
                }
            })
        }),
    )
}

/// What people trip over with cloud-init, said where it matters.
pub(super) fn told_of_cloud_init(mut plan: Plan, identity: &Identity) -> Plan {
    if !identity.lets_in() {
        plan = plan.warn("no_login", "nobody can log in: neither ssh_keys nor password was given");
    }
    if identity.password.is_some() {
        plan = plan
            .warn("password", "a password is kept in the configuration as a hash; keys are better");
    }
    if identity.address.as_ref().is_some_and(Address::lacks_gateway) {
        plan =
            plan.warn("no_gateway", "a fixed address without gateway reaches its own network only");
    }
    plan.note(
        "cloud-init: later changes take effect when the guest is stopped and started, not at a reboot; \
         user-data of your own is a snippet file, which the API cannot upload",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_disk_to_grow_is_the_one_it_boots_from() {
        let config = |text: &str| serde_json::from_str::<QemuConfig>(text).unwrap();
        let several = config(
            r#"{"boot": "order=ide2;scsi1;net0", "ide2": "a:cloudinit,media=cdrom", "scsi0": "a:d0,size=8G", "scsi1": "a:d1,size=3584M"}"#,
        );
        assert_eq!(boot_disk(&several).as_deref(), Some("scsi1"));
        assert_eq!(drive(&several, "scsi1"), Some(("a".to_owned(), 3584 << 20)));
        let plain = config(r#"{"ide0": "a:d2,size=1T", "virtio0": "a:d0,size=8G"}"#);
        assert_eq!(boot_disk(&plain).as_deref(), Some("virtio0"));
        assert_eq!(boot_disk(&config("{}")), None);
        assert_eq!((size_of("2.5G"), size_of("x")), (Some(5 << 29), None));
    }
}
