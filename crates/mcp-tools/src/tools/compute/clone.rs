//! `guest_clone`: a copy of a guest, linked where it is a template.

use std::{sync::Arc, time::Duration};

use api_core::Request;
use async_trait::async_trait;
use estate::{Access, GuestKind, GuestRef, NodeName, StorageName, Upid, VmId};
use mcp_protocol::JsonObject;
use pve_client::{
    lxc::{self, LxcCloneParams},
    qemu::{self, QemuCloneParams},
};
use serde::Deserialize;
use serde_json::json;

use super::{
    create::finish::Ready,
    parts::{Parts, Volume},
    place::{Rights, Site, check_name, room},
};
use crate::{
    address::Purpose,
    error::ToolError,
    plan::{ActionTool, Plan, Step, Undo},
    report::bytes,
    schema::Input,
    tool::{Cx, Definition},
    tools::power::{named, object},
    view::{Guest, GuestStatus},
};

/// Copies a guest.
pub(super) struct GuestClone;

#[derive(Debug, Deserialize)]
struct Args {
    guest: String,
    name: String,
    vmid: Option<u32>,
    node: Option<String>,
    storage: Option<String>,
    full: Option<bool>,
    snapshot: Option<String>,
    pool: Option<String>,
    description: Option<String>,
    #[serde(default)]
    start: bool,
}

#[async_trait]
impl ActionTool for GuestClone {
    fn definition(&self) -> Definition {
        Definition {
            name: "guest_clone",
            title: "Copy a guest",
            description: "Copies a VM or container; of a template a linked clone unless full. \
                guest_create makes a VM from a template with cloud-init.",
            input: Input::new()
                .guest()
                .text("name", "")
                .required("name")
                .integer("vmid", 100..=999_999_999, "")
                .node()
                .text("storage", "")
                .boolean("full", "")
                .text("snapshot", "to copy instead of now")
                .text("pool", "")
                .text("description", "")
                .boolean("start", ""),
            output: super::create::made_output(),
            access: Access::Operate,
            idempotent: true,
        }
    }

    fn access(&self, _args: &JsonObject) -> Access {
        Access::Operate
    }

    async fn plan(&self, cx: &Cx, args: JsonObject) -> Result<Plan, ToolError> {
        let args: Args = cx.args(args)?;
        check_name(&args.name)?;
        let found = cx.fleet.find_guest(&args.guest, Purpose::Write).await?;
        let source = found.guest;
        let mut site = Site::of(cx, Arc::clone(&found.member)).await?;
        site.notes = found.notes;
        if let Some(name) = args.node.as_deref().filter(|name| !name.is_empty()) {
            let name = name.rsplit('/').next().unwrap_or(name);
            let key = site.member.key.as_str();
            let node = cx.fleet.find_node(Some(key), name, Purpose::Write).await?;
            site.named = Some(node.node.name);
        }
        site.name_is_free(&args.name)?;
        site.pool(args.pool.as_deref())?;
        let parts = Parts::read(&site.member, &source).await?;
        parts.is_free(&source, "clone")?;
        let full = is_full(&args, &source)?;
        let node = target(&site, &args, &source, &parts)?;
        let vmid = site.vmid(args.vmid).await?;
        let at = GuestRef { cluster: site.member.key.clone(), vmid };
        let (storage, warning) = storage(&site, &args, &source, &parts, &node, full)?;
        let ready = Ready {
            member: Arc::clone(&site.member),
            at,
            kind: source.kind,
            name: args.name.clone(),
            node: node.clone(),
            storage,
            start: args.start,
            patience: Duration::ZERO,
            fixed: None,
            warnings: Vec::new(),
        };
        let what = format!("clone of {} as {}", named(&source), ready.label());
        rights(&args, &ready, &source, &parts, full).check(&what, &site)?;
        let mut plan = Plan::new(what)
            .step(
                Step::pve(
                    &site.member,
                    format!(
                        "make a {} clone of {}",
                        if full { "full" } else { "linked" },
                        source.at
                    ),
                    request(&args, &source, vmid, &ready, full),
                )
                .task(&["qmclone", "vzclone"], source.at.vmid.to_string())
                .stoppable(),
            )
            .target(ready.at.to_string(), [("state", "absent")])
            .target(source.at.to_string(), [("digest", parts.digest.clone())])
            .fact("image", source.at.to_string())
            .undo(Undo::Call("guest_delete", object(json!({"guest": ready.at.to_string()}))));
        if let Some(warning) = warning {
            plan = plan.warn("storage_tight", warning);
        }
        if let Some(address) = parts.fixed_address() {
            plan = plan.warn(
                "same_address",
                format!("the copy is configured for the same address as its source, {address}: change it before both run (guest_configure)"),
            );
        }
        if !full {
            plan = plan.effect(format!(
                "a linked clone reads from {}, which cannot be deleted as long as it exists",
                source.at
            ));
        } else if source.status.is_on() && args.snapshot.is_none() {
            plan = plan.note("the source runs: the copy is as after a power cut");
        }
        plan = ready.start_steps(plan, false);
        Ok(ready.settle(site.tell_plan(plan)))
    }
}

/// Whether every byte is copied.
fn is_full(args: &Args, source: &Guest) -> Result<bool, ToolError> {
    let name = named(source);
    match (source.is_template(), args.full) {
        (true, full) => {
            let full = full.unwrap_or(false);
            if !full && args.storage.is_some() {
                return Err(ToolError::new(format!(
                    "a linked clone of {name} stays on the template's storage"
                ))
                .hint("give full=true to copy it to another storage"));
            }
            Ok(full)
        }
        (false, Some(false)) => {
            Err(ToolError::new(format!("{name} is no template, and only those are cloned linked"))
                .hint("leave full out"))
        }
        (false, _) => {
            let running = source.kind == GuestKind::Lxc && source.status == GuestStatus::Running;
            if running && args.snapshot.is_none() {
                return Err(ToolError::new(format!(
                    "{name} runs, and a running container is copied from a snapshot only"
                ))
                .hint("name a snapshot (snapshot_create makes one), or shut it down first"));
            }
            Ok(true)
        }
    }
}

/// The node of the copy.
fn target(site: &Site, args: &Args, source: &Guest, parts: &Parts) -> Result<NodeName, ToolError> {
    let Some(node) = &site.named else { return Ok(source.node.clone()) };
    // It says what is wrong with a node that is away.
    site.nodes()?;
    if *node == source.node {
        return Ok(node.clone());
    }
    let is_shared = |name: &StorageName| {
        site.view.storages.iter().any(|storage| storage.name == *name && storage.shared)
    };
    let local = parts.disks().find(|volume| !is_shared(&volume.storage));
    match local {
        Some(volume) if args.storage.is_none() || !is_shared(&volume.storage) => {
            Err(ToolError::new(format!(
                "{} can be copied on {} only: {} is on {}, which {node} does not see",
                named(source),
                source.node,
                volume.key,
                volume.storage
            ))
            .hint("leave node out, and move the copy afterwards (guest_migrate)"))
        }
        _ => Ok(node.clone()),
    }
}

/// The storage of the copy, and what is tight about it.
fn storage(
    site: &Site,
    args: &Args,
    source: &Guest,
    parts: &Parts,
    node: &NodeName,
    full: bool,
) -> Result<(StorageName, Option<String>), ToolError> {
    let content = if source.kind == GuestKind::Qemu { "images" } else { "rootdir" };
    let own = parts.disks().next().map(|volume| volume.storage.clone());
    let Some(own) = own else {
        return Err(ToolError::new(format!("{} has no disk to copy", named(source))));
    };
    if !full {
        return Ok((own, None));
    }
    let wanted = args.storage.as_deref().unwrap_or(own.as_str());
    let found = site.storage(node, content, Some(wanted), 1)?;
    if *node != source.node && !found.shared {
        return Err(ToolError::new(format!(
            "a copy on another node needs a storage that all nodes see, and {wanted} is not one"
        )));
    }
    let size: u64 = parts.disks().map(|volume| volume.size).sum();
    let tight = (size > room(found)).then(|| {
        format!(
            "{} has {} left, and the disks are {}: it fits only as far as they are not filled",
            found.name,
            bytes(room(found)),
            bytes(size)
        )
    });
    Ok((found.name.clone(), tight))
}

fn rights(args: &Args, ready: &Ready, source: &Guest, parts: &Parts, full: bool) -> Rights {
    let mut rights = Rights::default();
    let pool = args.pool.as_deref();
    rights.on_guest(source.at.vmid, source.pool.as_deref(), "VM.Clone");
    rights.on_guest(ready.at.vmid, pool, "VM.Allocate");
    if ready.start {
        rights.on_guest(ready.at.vmid, pool, "VM.PowerMgmt");
    }
    if full {
        rights.on_storage(&ready.storage);
    } else {
        for volume in parts.disks() {
            rights.on_storage(&volume.storage);
        }
    }
    for (bridge, vlan) in &parts.bridges {
        rights.on_bridge(bridge, *vlan);
    }
    rights
}

fn request(args: &Args, source: &Guest, new: VmId, ready: &Ready, full: bool) -> Request<Upid> {
    let (node, vmid) = (&source.node, source.at.vmid);
    let target = (ready.node != source.node).then(|| ready.node.clone());
    let storage = args.storage.is_some().then(|| ready.storage.clone());
    match source.kind {
        GuestKind::Qemu => {
            let options = QemuCloneParams {
                name: Some(args.name.clone()),
                description: args.description.clone(),
                full: Some(full),
                storage,
                pool: args.pool.clone(),
                snapshot: args.snapshot.clone(),
                target,
                ..QemuCloneParams::default()
            };
            qemu::clone(node, vmid, new, options)
        }
        GuestKind::Lxc => {
            let options = LxcCloneParams {
                hostname: Some(args.name.clone()),
                description: args.description.clone(),
                full: Some(full),
                storage,
                pool: args.pool.clone(),
                snapshot: args.snapshot.clone(),
                target,
                ..LxcCloneParams::default()
            };
            lxc::clone(node, vmid, new, options)
        }
    }
}

/// A volume's size in words, for sentences.
pub(super) fn volume_words(volume: &Volume) -> String {
    format!("{} ({}, {})", volume.key, volume.id, bytes(volume.size))
}
