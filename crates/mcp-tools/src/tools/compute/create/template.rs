//! A machine from a template: cloned, told who it is, grown, started.

use std::sync::Arc;

use estate::{GuestKind, NodeName, StorageName};
use pve_client::{
    guest::Properties,
    qemu::{self, QemuCloneParams, QemuConfig, QemuConfigParams, QemuSettings},
};
use serde_json::json;

use super::{
    super::{
        cloudinit::Identity,
        place::{self, Rights, Site},
    },
    Args,
    finish::{self, Ready, boot_disk},
};
use crate::{
    address::Purpose,
    error::ToolError,
    plan::{Plan, Step, Undo},
    tool::Cx,
    tools::power::{named, object},
    view::Guest,
};

/// The plan of a machine that is cloned from a template.
pub(super) async fn plan(
    cx: &Cx,
    args: &Args,
    text: &str,
    identity: &Identity,
) -> Result<Plan, ToolError> {
    let address = match &args.cluster {
        Some(cluster) if !text.contains('/') => format!("{cluster}/{text}"),
        _ => text.to_owned(),
    };
    let found = cx.fleet.find_guest(&address, Purpose::Write).await?;
    let source = found.guest;
    is_template(&source)?;
    let mut site = Site::of(cx, Arc::clone(&found.member)).await?;
    site.notes = found.notes;
    if let Some(name) = args.node.as_deref().filter(|name| !name.is_empty()) {
        let name = name.rsplit('/').next().unwrap_or(name);
        let node = cx.fleet.find_node(Some(site.member.key.as_str()), name, Purpose::Write).await?;
        site.named = Some(node.node.name);
    }
    site.name_is_free(&args.name)?;
    site.pool(args.pool.as_deref())?;
    let config = site.member.client.call(qemu::config(&source.node, source.at.vmid)).await;
    let config = config
        .map_err(|error| ToolError::api(format!("read the template {}", named(&source)), &error))?;
    if let Some(lock) = &config.lock {
        return Err(ToolError::new(format!("{} is locked ({lock})", named(&source)))
            .hint("something is at work on it: try again when its task is done"));
    }
    let full = args.full || args.storage.is_some();
    let node = target(&site, &config, &source)?;
    let storage = storage(&site, args, &config, &node, &source)?;
    let vmid = site.vmid(args.vmid).await?;
    let ready = Ready::of(&site, args, &node, vmid, storage.clone(), identity);
    rights(args, &ready, &source, &config, identity, full)
        .check(&format!("the creation of {}", ready.label()), &site)?;
    let (request, told) = clone(args, &ready, &source, full);
    let mut plan = Plan::new(format!("creation of {} from {}", ready.label(), named(&source)))
        .step(
            Step::pve(&site.member, told, request)
                .task(&["qmclone"], source.at.vmid.to_string())
                .stoppable(),
        )
        .target(ready.at.to_string(), [("state", "absent")])
        .target(source.at.to_string(), [("digest", config.digest.clone().unwrap_or_default())])
        .undo(Undo::Call("guest_delete", object(json!({"guest": ready.at.to_string()}))));
    plan = plan.fact("image", source.at.to_string());
    if !full {
        plan = plan.effect(format!(
            "a linked clone reads from {}, which cannot be deleted as long as it exists",
            source.at
        ));
    }
    let has_drive = has_cloud_init(&config);
    if !has_drive && !identity.is_empty() {
        plan = plan.note("the template has no cloud-init drive: the new machine gets one");
    }
    if let Some(settings) = settings(args, &config, identity, has_drive, &storage) {
        let options = QemuConfigParams { settings, ..QemuConfigParams::default() };
        let request = qemu::set_config(&node, vmid, options);
        plan = plan.step(Step::pve(&site.member, format!("configure {}", ready.at), request));
    }
    if let Some(gib) = args.disk_gib {
        let disk = boot_disk(&config)
            .ok_or_else(|| ToolError::new(format!("{} has no disk to grow", named(&source))))?;
        plan = plan.step(finish::grow(&ready, &disk, gib, true));
    }
    let agent = config.agent_enabled();
    plan = ready.start_steps(plan, agent);
    if !agent && args.starts() {
        plan =
            plan.note("the template's guest agent is turned off (agent: 0), so no address is told");
    }
    if has_drive || !identity.is_empty() {
        let inherited = config.ssh_keys.is_some() || config.ci_password.is_some();
        plan = cloud_init_words(plan, identity, inherited);
    }
    if args.storage.is_some() && !args.full {
        plan = plan.note("a full clone: a linked one stays on the template's storage");
    }
    if site.named.is_none() && node != source.node {
        plan = plan.note(format!("chosen: node {node} (most free memory)"));
    }
    if args.tags.is_none() && !config.tags.is_empty() {
        plan = plan.note(format!("tags of the template go along: {}", config.tags.join(", ")));
    }
    Ok(ready.settle(site.tell_plan(plan)))
}

fn is_template(source: &Guest) -> Result<(), ToolError> {
    let name = named(source);
    if source.kind == GuestKind::Lxc {
        return Err(ToolError::new(format!("{name} is a container"))
            .hint("guest_clone copies containers; container_create makes one from a file"));
    }
    if !source.is_template() {
        return Err(ToolError::new(format!("{name} is no template")).hint(
            "guest_clone copies any guest; guest_template turns one into a template for good",
        ));
    }
    Ok(())
}

/// The storages of the template's disks.
fn disk_storages(config: &QemuConfig) -> Vec<StorageName> {
    let mut all: Vec<StorageName> = config
        .disks()
        .map(|(_, text)| Properties::parse(text))
        .filter(|properties| properties.get("media") != Some("cdrom"))
        .filter_map(|properties| properties.storage())
        .collect();
    all.sort();
    all.dedup();
    all
}

/// The node for the clone: the template's own unless all nodes see its disks.
fn target(site: &Site, config: &QemuConfig, source: &Guest) -> Result<NodeName, ToolError> {
    let storages = disk_storages(config);
    let local = storages.iter().find(|name| {
        let rows = site.view.storages.iter().filter(|storage| storage.name == **name);
        !rows.clone().all(|storage| storage.shared) || rows.count() == 0
    });
    let nodes = site.nodes()?;
    if let Some(local) = local {
        return match &site.named {
            Some(node) if *node != source.node => Err(ToolError::new(format!(
                "{} can be cloned on {} only: its disk is on {local}, which no other node sees",
                named(source),
                source.node
            ))
            .hint("leave node out, and move the clone afterwards (guest_migrate)")),
            _ => Ok(source.node.clone()),
        };
    }
    let sees = |node: &NodeName| {
        storages.iter().all(|name| {
            site.view.storages.iter().any(|storage| storage.name == *name && storage.node == *node)
        })
    };
    match nodes.iter().find(|node| sees(&node.name)) {
        Some(node) => Ok(node.name.clone()),
        None => Ok(source.node.clone()),
    }
}

/// The storage of the clone's disks.
fn storage(
    site: &Site,
    args: &Args,
    config: &QemuConfig,
    node: &NodeName,
    source: &Guest,
) -> Result<StorageName, ToolError> {
    let Some(wanted) = args.storage.as_deref() else {
        return disk_storages(config)
            .into_iter()
            .next()
            .ok_or_else(|| ToolError::new(format!("{} has no disk", named(source))));
    };
    let found = site.storage(node, "images", Some(wanted), source.max_disk.min(1 << 30))?;
    if *node != source.node && !found.shared {
        return Err(ToolError::new(format!(
            "a clone on another node needs a storage that all nodes see, and {} is not one",
            found.name
        ))
        .hint(format!("give node={}, or another storage", source.node)));
    }
    Ok(found.name.clone())
}

fn clone(
    args: &Args,
    ready: &Ready,
    source: &Guest,
    full: bool,
) -> (api_core::Request<estate::Upid>, String) {
    let options = QemuCloneParams {
        name: Some(args.name.clone()),
        full: Some(full),
        storage: args.storage.is_some().then(|| ready.storage.clone()),
        pool: args.pool.clone(),
        target: (ready.node != source.node).then(|| ready.node.clone()),
        ..QemuCloneParams::default()
    };
    let word = if full { "full" } else { "linked" };
    let told = format!("make a {word} clone of {}", source.at);
    (qemu::clone(&source.node, source.at.vmid, ready.at.vmid, options), told)
}

fn rights(
    args: &Args,
    ready: &Ready,
    source: &Guest,
    config: &QemuConfig,
    identity: &Identity,
    full: bool,
) -> Rights {
    let mut rights = Rights::default();
    let (vmid, pool) = (ready.at.vmid, args.pool.as_deref());
    rights.on_guest(source.at.vmid, source.pool.as_deref(), "VM.Clone");
    rights.on_guest(vmid, pool, "VM.Allocate");
    let storages = disk_storages(config);
    for storage in if full { vec![ready.storage.clone()] } else { storages } {
        rights.on_storage(&storage);
    }
    let bridge = bridge_of(config);
    let bridge = args.bridge.as_deref().or(bridge.as_deref());
    if let Some(bridge) = bridge {
        rights.on_bridge(bridge, args.vlan);
    }
    for (is_asked, privilege) in [
        (args.cores.is_some() || args.cpu.is_some(), "VM.Config.CPU"),
        (args.memory_mib.is_some(), "VM.Config.Memory"),
        (args.disk_gib.is_some(), "VM.Config.Disk"),
        (args.bridge.is_some() || args.vlan.is_some(), "VM.Config.Network"),
        (args.tags.is_some() || args.on_boot.is_some(), "VM.Config.Options"),
        (!identity.is_empty(), "VM.Config.Cloudinit"),
        (args.starts(), "VM.PowerMgmt"),
    ] {
        if is_asked {
            rights.on_guest(vmid, pool, privilege);
        }
    }
    rights
}

fn bridge_of(config: &QemuConfig) -> Option<String> {
    let (_, net) = config.nets().find(|(key, _)| *key == "net0")?;
    Properties::parse(net).get("bridge").map(str::to_owned)
}

fn has_cloud_init(config: &QemuConfig) -> bool {
    config.disks().any(|(_, text)| {
        let head = Properties::parse(text).head.unwrap_or_default();
        head.contains("cloudinit")
    })
}

/// What is changed of the clone; nothing if it is to be as the template is.
fn settings(
    args: &Args,
    config: &QemuConfig,
    identity: &Identity,
    has_drive: bool,
    storage: &StorageName,
) -> Option<QemuSettings> {
    let mut extra = Vec::new();
    if args.bridge.is_some() || args.vlan.is_some() {
        let bridge = args.bridge.clone().or_else(|| bridge_of(config));
        let bridge = bridge.unwrap_or_else(|| super::BRIDGE.to_owned());
        extra.push(("net0".to_owned(), args.net(&bridge)));
    }
    if !identity.is_empty() && !has_drive {
        let free = ["ide2", "ide0", "ide1", "ide3"]
            .into_iter()
            .find(|key| config.disks().all(|(taken, _)| taken != *key));
        extra.push((free.unwrap_or("ide2").to_owned(), format!("{storage}:cloudinit")));
    }
    if let Some(address) = &identity.address {
        extra.push(("ipconfig0".to_owned(), address.of_machine()));
    }
    let is_plain = args.cores.is_none()
        && args.memory_mib.is_none()
        && args.cpu.is_none()
        && args.tags.is_none()
        && args.on_boot.is_none()
        && identity.is_empty()
        && extra.is_empty();
    if is_plain {
        return None;
    }
    Some(QemuSettings {
        tags: place::tags(args.tags.as_deref()).ok().flatten(),
        memory_mib: args.memory_mib,
        cores: args.cores,
        cpu: args.cpu.clone(),
        on_boot: args.on_boot,
        name_server: identity.nameserver.clone(),
        search_domain: identity.searchdomain.clone(),
        ci_user: identity.user.clone(),
        ci_password: identity.password.clone(),
        ssh_keys: identity.escaped_keys(),
        extra: extra.into_iter().collect(),
        ..QemuSettings::default()
    })
}

/// As for an image, but for what the template brings along.
fn cloud_init_words(plan: Plan, identity: &Identity, inherited: bool) -> Plan {
    let mut plan = finish::told_of_cloud_init(plan, identity);
    if inherited && !identity.lets_in() {
        plan.warnings.retain(|warning| warning.code != "no_login");
        plan = plan.note("keys and password are those of the template");
    }
    plan
}
