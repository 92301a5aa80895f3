//! A machine from an image: fetched if it is missing, imported or put into the drive.

use estate::{GuestKind, NodeName, StorageName};
use pve_client::{
    qemu::{self, QemuCreateParams, QemuSettings},
    storage::{self, DownloadUrlParams},
};
use serde_json::json;

use super::{
    super::{
        cloudinit::{Address, Identity},
        image::{self, Found, Named, Sum, Use},
        place::{self, Rights, Site, free_memory, room},
    },
    Args, BRIDGE, GIB,
    finish::{self, Ready},
};
use crate::{
    address::quoted,
    error::ToolError,
    plan::{Plan, Step, Undo, Warning},
    report::{Cell, Table, bytes},
    tool::Cx,
    tools::power::object,
    view::Node,
};

const MIB: u64 = 1 << 20;

/// What a machine has where nothing is said.
const CORES: u32 = 2;
const MEMORY_MIB: u64 = 2048;
const IMAGE_DISK_GIB: u64 = 20;
const MEDIUM_DISK_GIB: u64 = 32;
const CPU: &str = "x86-64-v2-AES";

/// Where the machine goes, and where its image is.
struct Choice<'a> {
    node: &'a Node,
    disks: StorageName,
    disks_room: u64,
    /// The file, if it is there already.
    present: Option<&'a Found>,
    /// Where it is fetched to, if not.
    keep: Option<StorageName>,
    keep_room: u64,
}

/// What there is to make a machine from.
pub(super) async fn nothing_named(cx: &Cx, args: &Args) -> ToolError {
    let site = match Site::find(cx, args.cluster.as_deref(), args.node.as_deref()).await {
        Ok(site) => site,
        Err(error) => return error,
    };
    let nodes = match site.nodes() {
        Ok(nodes) => nodes,
        Err(error) => return error,
    };
    let (files, _) = image::list(&site, &nodes, &[Use::Import, Use::Medium]).await;
    let mut templates = Table::new("templates", &["guest", "name", "node"]);
    for guest in site.view.guests.iter().filter(|guest| guest.is_template()) {
        if guest.kind == GuestKind::Qemu {
            templates.push(vec![
                Cell::text(guest.at.to_string()),
                Cell::text(&*guest.name),
                Cell::text(guest.node.as_str()),
            ]);
        }
    }
    ToolError::new("a machine is made from an image or a template: none is named")
        .hint("image takes the URL of a cloud image as well: qcow2, img or raw")
        .choices(image::table(files.iter()))
        .choices(templates)
}

/// The plan of a machine whose disk is imported, or that is installed from a medium.
pub(super) async fn plan(
    cx: &Cx,
    args: &Args,
    text: &str,
    identity: &Identity,
) -> Result<Plan, ToolError> {
    let (named, what) = Named::parse(text)?;
    let sum = image::checksum(args.checksum.as_deref())?;
    if sum.is_some() && !matches!(named, Named::Url { .. }) {
        return Err(ToolError::new("a checksum is checked when a file is fetched by its URL")
            .hint("leave checksum out: the image is on a storage already"));
    }
    let site = Site::find(cx, args.cluster.as_deref(), args.node.as_deref()).await?;
    site.name_is_free(&args.name)?;
    site.pool(args.pool.as_deref())?;
    let nodes = site.nodes()?;
    let both = [Use::Import, Use::Medium];
    let kinds = what.as_ref().map_or(&both[..], std::slice::from_ref);
    let (files, silent) = image::list(&site, &nodes, kinds).await;
    let present = present(&site, &named, what, &files, &silent)?;
    let what = what.or_else(|| Some(present.first()?.good_for())).unwrap_or(Use::Import);
    if what == Use::Medium && !identity.is_empty() {
        return Err(ToolError::new("cloud-init does not reach what is installed from a medium")
            .hint("leave user, ssh_keys, password, ip, nameserver and searchdomain out, or use a cloud image"));
    }
    let choice = choose(&site, args, &nodes, &present, &named, what)?;
    let vmid = site.vmid(args.vmid).await?;
    let ready = Ready::of(&site, args, &choice.node.name, vmid, choice.disks.clone(), identity);
    let mut plan = Plan::new(format!("creation of {}", ready.label()));
    plan.notes.extend(silent);
    let volume = fetch_step(&site, &mut plan, &named, what, &choice, sum).await?;
    check_size(&mut plan, args, &choice)?;
    let bridge = args.bridge.as_deref().unwrap_or(BRIDGE);
    rights(args, &site, &ready, bridge, identity, choice_fetches(&plan, &choice))
        .check(&format!("the creation of {}", ready.label()), &site)?;
    let settings = settings(args, what, &volume, &choice, bridge, identity);
    let options =
        QemuCreateParams { settings, pool: args.pool.clone(), ..QemuCreateParams::default() };
    let create = qemu::create(&choice.node.name, vmid, options);
    plan = plan
        .step(
            Step::pve(&site.member, format!("make {}", ready.at), create)
                .task(&["qmcreate"], vmid.to_string()),
        )
        .target(ready.at.to_string(), [("state", "absent")])
        .target(format!("{}/{}", site.member.key, choice.node.name), [("status", "online")])
        .undo(Undo::Call("guest_delete", object(json!({"guest": ready.at.to_string()}))));
    if what == Use::Import {
        let (gib, asked) = (args.disk_gib.unwrap_or(IMAGE_DISK_GIB), args.disk_gib.is_some());
        plan = plan.step(finish::grow(&ready, "scsi0", gib, asked));
    }
    plan = ready.start_steps(plan, what == Use::Import);
    plan = told(plan, args, &site, &choice, &volume, what, identity);
    Ok(ready.settle(site.tell_plan(plan)))
}

/// The files that are meant, of those that are there.
fn present<'a>(
    site: &Site,
    named: &Named,
    what: Option<Use>,
    files: &'a [Found],
    silent: &[String],
) -> Result<Vec<&'a Found>, ToolError> {
    let key = site.member.key.as_str();
    match named {
        Named::Url { file, .. } => Ok(files
            .iter()
            .filter(|found| found.file() == file && Some(found.good_for()) == what)
            .collect()),
        Named::Volume(volume) => {
            let found: Vec<&Found> = files.iter().filter(|found| found.volume == *volume).collect();
            if found.is_empty() {
                let error = ToolError::not_found(format!("{key} has no volume {}", quoted(volume)));
                let error = error.choices(image::table(files.iter()));
                return Err(silent.iter().fold(error, |error, why| error.hint(why.as_str())));
            }
            Ok(found)
        }
        Named::Text(text) => {
            let one = image::pick(files, text, key)?;
            Ok(files.iter().filter(|found| found.volume == one.volume).collect())
        }
    }
}

/// Node and storages: where the file is already if that can be, and there the node with the most
/// free memory.
fn choose<'a>(
    site: &Site,
    args: &Args,
    nodes: &[&'a Node],
    present: &[&'a Found],
    named: &Named,
    what: Use,
) -> Result<Choice<'a>, ToolError> {
    let mut first_error = None;
    for node in nodes {
        let here = present.iter().copied().find(|found| found.nodes.contains(&node.name));
        let Some(found) = here else { continue };
        match site.storage(&node.name, "images", args.storage.as_deref(), need(found.size, what)) {
            Ok(disks) => {
                return Ok(Choice {
                    node,
                    disks: disks.name.clone(),
                    disks_room: room(disks),
                    present: Some(found),
                    keep: None,
                    keep_room: 0,
                });
            }
            Err(error) => first_error = first_error.or(Some(error)),
        }
    }
    if matches!(named, Named::Url { .. }) {
        for node in nodes {
            let disks = site.storage(&node.name, "images", args.storage.as_deref(), need(0, what));
            let keep = site.storage(&node.name, what.content(), None, 0);
            match (disks, keep) {
                (Ok(disks), Ok(keep)) => {
                    return Ok(Choice {
                        node,
                        disks: disks.name.clone(),
                        disks_room: room(disks),
                        present: None,
                        keep: Some(keep.name.clone()),
                        keep_room: room(keep),
                    });
                }
                (Err(error), _) | (_, Err(error)) => first_error = first_error.or(Some(error)),
            }
        }
    }
    Err(first_error.unwrap_or_else(|| {
        let on: Vec<String> =
            present.iter().flat_map(|found| &found.nodes).map(ToString::to_string).collect();
        let at = nodes.first().map(|node| place::node_at(site, &node.name)).unwrap_or_default();
        ToolError::new(format!("{at} does not see the image"))
            .hint(format!("it is on {}", on.join(", ")))
    }))
}

/// What the storage of the disks must have room for, at least.
fn need(file: u64, what: Use) -> u64 {
    match what {
        // Most storages take only what is written, so the whole size is warned of, not asked.
        Use::Import => file.max(GIB),
        _ => GIB,
    }
}

/// Whether the plan begins with a download.
fn choice_fetches(plan: &Plan, choice: &Choice<'_>) -> Option<StorageName> {
    if plan.steps.is_empty() {
        return None;
    }
    choice.keep.clone().or_else(|| choice.present.map(|found| found.storage.clone()))
}

/// Adds the download, if the file is not there or has to be checked; the volume's id either way.
async fn fetch_step(
    site: &Site,
    plan: &mut Plan,
    named: &Named,
    what: Use,
    choice: &Choice<'_>,
    sum: Option<Sum>,
) -> Result<String, ToolError> {
    let Named::Url { url, file, renamed } = named else {
        return Ok(choice.present.map(|found| found.volume.clone()).unwrap_or_default());
    };
    let node: &NodeName = &choice.node.name;
    let storage = match (choice.present, &choice.keep) {
        (Some(found), _) if sum.is_none() => {
            let note = format!(
                "{} is there already and was not fetched again (give a checksum to have it checked)",
                found.volume
            );
            plan.notes.push(note);
            return Ok(found.volume.clone());
        }
        (Some(found), _) => found.storage.clone(),
        (None, Some(keep)) => keep.clone(),
        (None, None) => return Err(ToolError::new("there is no place to keep the image")),
    };
    if choice.present.is_none() {
        match image::ask_server(site, node, url).await? {
            Ok(size) if size > choice.keep_room => {
                return Err(ToolError::new(format!(
                    "storage {storage} on {} has no room for the image: {} are needed and {} are left",
                    place::node_at(site, node),
                    bytes(size),
                    bytes(choice.keep_room)
                ))
                .hint("make room there, or upload the image to another storage"));
            }
            Ok(size) => plan.effects.push(format!(
                "{file}{} is fetched to {storage}, and stays there for the next",
                image::weight(size)
            )),
            Err(why) => {
                plan.effects
                    .push(format!("{file} is fetched to {storage}, and stays there for the next"));
                warn(
                    plan,
                    "image_unseen",
                    format!("the server of the image could not be asked beforehand: {why}"),
                );
            }
        }
    }
    if *renamed {
        plan.notes.push(format!(
            "kept as {file}: Proxmox tells an image's format by its ending, and does not import .img"
        ));
    }
    if sum.is_none() {
        plan.notes.push("the image was not checked: no checksum was given".to_owned());
    }
    let request = storage::download_url(
        node,
        &storage,
        DownloadUrlParams {
            url: url.clone(),
            content: Some(what.kind()),
            filename: file.clone(),
            checksum: sum.as_ref().map(|sum| sum.value.clone()),
            checksum_algorithm: sum.map(|sum| sum.algorithm.to_owned()),
            ..DownloadUrlParams::default()
        },
    );
    let step = Step::pve(&site.member, format!("fetch {file}"), request)
        .task(&["download"], file.as_str())
        .stoppable();
    plan.steps.push(step);
    Ok(format!("{storage}:{}/{file}", what.content()))
}

fn warn(plan: &mut Plan, code: &'static str, text: String) {
    plan.warnings.push(Warning { code, text });
}

/// Compares what is asked for with what the node and the storage have.
fn check_size(plan: &mut Plan, args: &Args, choice: &Choice<'_>) -> Result<(), ToolError> {
    let node = choice.node;
    let cores = args.cores.unwrap_or(CORES);
    if node.cpus >= 1.0 && f64::from(cores) > node.cpus {
        return Err(ToolError::new(format!(
            "{} has {} CPUs, and a machine cannot have {cores}",
            node.name, node.cpus
        )));
    }
    let memory = args.memory_mib.unwrap_or(MEMORY_MIB) * MIB;
    if node.max_mem > 0 && memory > node.max_mem {
        return Err(ToolError::new(format!(
            "{} has {} of memory, and a machine cannot have {}",
            node.name,
            bytes(node.max_mem),
            bytes(memory)
        )));
    }
    if node.max_mem > 0 && memory > free_memory(node) {
        let text = format!("{} has only {} of memory free", node.name, bytes(free_memory(node)));
        warn(plan, "memory_tight", text);
    }
    let disk = args.disk_gib.unwrap_or(0) * GIB;
    if disk > choice.disks_room {
        let text = format!(
            "{} has {} left: a disk of {} fits only as long as little is written",
            choice.disks,
            bytes(choice.disks_room),
            bytes(disk)
        );
        warn(plan, "storage_tight", text);
    }
    Ok(())
}

fn rights(
    args: &Args,
    site: &Site,
    ready: &Ready,
    bridge: &str,
    identity: &Identity,
    fetched_to: Option<StorageName>,
) -> Rights {
    let mut rights = Rights::default();
    let pool = args.pool.as_deref();
    for privilege in [
        "VM.Allocate",
        "VM.Config.CPU",
        "VM.Config.HWType",
        "VM.Config.Memory",
        "VM.Config.Network",
        "VM.Config.Options",
    ] {
        rights.on_guest(ready.at.vmid, pool, privilege);
    }
    if !identity.is_empty() {
        rights.on_guest(ready.at.vmid, pool, "VM.Config.Cloudinit");
    }
    if args.starts() {
        rights.on_guest(ready.at.vmid, pool, "VM.PowerMgmt");
    }
    rights.on_storage(&ready.storage);
    rights.on_bridge(bridge, args.vlan);
    if let Some(storage) = fetched_to {
        rights.need([format!("/storage/{storage}")], "Datastore.AllocateTemplate");
        let is_wide = site
            .held
            .as_ref()
            .is_some_and(|held| held.has("/", "Sys.Audit") && held.has("/", "Sys.Modify"));
        if !is_wide {
            rights.need([format!("/nodes/{}", ready.node)], "Sys.AccessNetwork");
        }
    }
    rights
}

fn settings(
    args: &Args,
    what: Use,
    volume: &str,
    choice: &Choice<'_>,
    bridge: &str,
    identity: &Identity,
) -> QemuSettings {
    let disks = &choice.disks;
    let mut extra = vec![("net0".to_owned(), args.net(bridge))];
    match what {
        Use::Import => {
            extra.push((
                "scsi0".to_owned(),
                format!("{disks}:0,import-from={volume},discard=on,iothread=1"),
            ));
            extra.push(("ide2".to_owned(), format!("{disks}:cloudinit")));
            // Cloud images talk on the serial console, too.
            extra.push(("serial0".to_owned(), "socket".to_owned()));
            let address =
                identity.address.as_ref().map_or_else(|| "ip=dhcp".to_owned(), Address::of_machine);
            extra.push(("ipconfig0".to_owned(), address));
        }
        Use::Medium | Use::Template => {
            let gib = args.disk_gib.unwrap_or(MEDIUM_DISK_GIB);
            extra.push(("scsi0".to_owned(), format!("{disks}:{gib},discard=on,iothread=1")));
            extra.push(("ide2".to_owned(), format!("{volume},media=cdrom")));
        }
    }
    QemuSettings {
        name: Some(args.name.clone()),
        tags: place::tags(args.tags.as_deref()).ok().flatten(),
        memory_mib: Some(args.memory_mib.unwrap_or(MEMORY_MIB)),
        cores: Some(args.cores.unwrap_or(CORES)),
        cpu: Some(args.cpu.clone().unwrap_or_else(|| cpu_for(volume).to_owned())),
        os_type: Some("l26".to_owned()),
        scsi_controller: Some("virtio-scsi-single".to_owned()),
        agent: Some("1".to_owned()),
        on_boot: args.on_boot,
        name_server: identity.nameserver.clone(),
        search_domain: identity.searchdomain.clone(),
        ci_user: identity.user.clone(),
        ci_password: identity.password.clone(),
        ssh_keys: identity.escaped_keys(),
        extra: extra.into_iter().collect(),
        ..QemuSettings::default()
    }
}

/// Systems of the tenth generation of Red Hat's family do not run on anything older than v3.
fn cpu_for(volume: &str) -> &'static str {
    let file = volume.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    let family = ["rocky", "almalinux", "centos", "rhel", "oracle"];
    let is_tenth = ["-10-", "-10.", "-10_", "stream-10"].iter().any(|part| file.contains(part));
    if is_tenth && family.iter().any(|name| file.starts_with(name)) { "x86-64-v3" } else { CPU }
}

/// What the plan and the answer say beside.
fn told(
    mut plan: Plan,
    args: &Args,
    site: &Site,
    choice: &Choice<'_>,
    volume: &str,
    what: Use,
    identity: &Identity,
) -> Plan {
    plan = plan.fact("image", volume);
    let mut chosen = Vec::new();
    if site.named.is_none() && site.view.nodes.len() > 1 {
        chosen.push(format!(
            "node {} (most free memory where the image and the storage are)",
            choice.node.name
        ));
    }
    if args.storage.is_none() {
        chosen.push(format!("storage {} (most room)", choice.disks));
    }
    if args.cpu.is_none() && cpu_for(volume) != CPU {
        chosen.push(format!("CPU type {} (this system does not start on less)", cpu_for(volume)));
    }
    if !chosen.is_empty() {
        plan = plan.note(format!("chosen: {}", chosen.join("; ")));
    }
    if what == Use::Medium {
        return plan.note("it boots the installer: go on in its console in the web interface, and take the medium out afterwards (guest_configure)");
    }
    finish::told_of_cloud_init(plan, identity)
}
