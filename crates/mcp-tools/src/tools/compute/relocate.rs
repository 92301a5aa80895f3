//! `disk_move`: moves a disk to another storage; the source stays unless it is said otherwise.

use std::sync::Arc;

use async_trait::async_trait;
use estate::{Access, GuestKind, StorageName};
use futures::future::join_all;
use mcp_protocol::JsonObject;
use pve_client::{
    guest::Properties,
    lxc::{self, LxcMoveVolumeParams},
    qemu::{self, QemuMoveDiskParams},
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    parts::{Parts, Volume},
    place::{Rights, Site, room},
    subject::{Subject, of_guest},
};
use crate::{
    error::ToolError,
    fleet::Pve,
    plan::{ActionTool, Done, Plan, Step, Undo},
    report::{Report, bytes},
    schema::{Input, Output},
    tool::{Cx, Definition},
    tools::power::{named, object},
    view::Guest,
};

/// The most snapshots whose configuration is read.
const SNAPSHOTS: usize = 30;

/// Moves a disk.
pub(super) struct DiskMove;

#[derive(Debug, Deserialize)]
struct Args {
    guest: String,
    disk: Option<String>,
    storage: String,
    format: Option<String>,
    #[serde(default)]
    delete_source: bool,
}

#[async_trait]
impl ActionTool for DiskMove {
    fn definition(&self) -> Definition {
        Definition {
            name: "disk_move",
            title: "Move a disk to another storage",
            description: "Copies a guest's disk to another storage and uses it from there. The \
                source stays as an unused disk unless delete_source. VMs may run; containers must \
                be off.",
            input: Input::new()
                .guest()
                .text("disk", "scsi0, rootfs, …; if there are several")
                .text("storage", "")
                .required("storage")
                .choice("format", &["raw", "qcow2", "vmdk"], "VMs, on storages of files")
                .boolean("delete_source", ""),
            output: Output::new()
                .fact("guest", "string")
                .fact("disk", "string")
                .fact("storage", "string")
                .fact("status", "string")
                .fact("upid", "string")
                .fact("cause", "string"),
            access: Access::Operate,
            idempotent: false,
        }
    }

    /// The source is deleted only once the copy is in use, so nothing is lost either way.
    fn access(&self, _args: &JsonObject) -> Access {
        Access::Operate
    }

    async fn plan(&self, cx: &Cx, args: JsonObject) -> Result<Plan, ToolError> {
        let args: Args = cx.args(args)?;
        let subject = Subject::read(cx, &args.guest).await?;
        let what = format!("move of a disk of {}", subject.name());
        let volume = subject.disk(&what, args.disk.as_deref())?;
        let what = format!("move of {} of {}", volume.key, subject.name());
        subject.parts.is_free(&subject.guest, "move of a disk")?;
        let guest = &subject.guest;
        if guest.is_template() {
            return Err(subject
                .refused(&what, "linked clones may read from a template's disks")
                .hint("make a full clone on the other storage: guest_clone"));
        }
        if guest.kind == GuestKind::Lxc && args.format.is_some() {
            return Err(subject
                .refused(&what, "a container's volumes have no format to choose")
                .hint("leave format out"));
        }
        if guest.kind == GuestKind::Lxc && subject.state.status.is_on() {
            return Err(subject
                .refused(&what, "volumes of a running container cannot be moved")
                .hint("shut it down first")
                .next(
                    "guest_power",
                    object(json!({"guest": guest.at.to_string(), "action": "shutdown"})),
                ));
        }
        if volume.key.starts_with("unused") && guest.kind == GuestKind::Qemu {
            return Err(subject
                .refused(&what, "it is not attached")
                .hint("attach it first: guest_configure"));
        }
        let site = Site::of(cx, Arc::clone(&subject.member)).await?;
        let content = if guest.kind == GuestKind::Qemu { "images" } else { "rootdir" };
        let to = site.storage(&guest.node, content, Some(&args.storage), 1)?;
        if to.name == volume.storage && args.format.is_none() {
            let lead = format!(
                "{} of {} is on {} already: nothing was done",
                volume.key,
                subject.name(),
                to.name
            );
            return Ok(subject.already(lead).fact("disk", volume.key.as_str()));
        }
        if args.delete_source {
            let users = snapshots_with(&subject, &volume.id).await?;
            if !users.is_empty() {
                return Err(subject.refused(&what, format!("snapshots need the source: {}", users.join(", ")))
                    .hint("leave delete_source out and keep it, or delete the snapshots first (snapshot_delete)"));
            }
        }
        let mut rights = Rights::default();
        rights.on_guest(guest.at.vmid, guest.pool.as_deref(), "VM.Config.Disk");
        rights.on_storage(&to.name);
        rights.check(&what, &site)?;
        let tight = (volume.size > room(to)).then(|| {
            format!(
                "{} has {} left, and the disk is {}: it fits only as far as it is not filled",
                to.name,
                bytes(room(to)),
                bytes(volume.size)
            )
        });
        let step = step(&subject, &args, volume, &to.name, &what);
        let undo = if args.delete_source {
            let back = json!({"guest": guest.at.to_string(), "disk": volume.key,
                "storage": volume.storage.as_str(), "delete_source": true});
            Undo::Call("disk_move", object(back))
        } else {
            Undo::By("the source stays as an unused disk: set the disk to it again (guest_configure), as it was when it was left".to_owned())
        };
        let mut plan = subject
            .plan(&what)
            .step(step)
            .change(volume.key.as_str(), volume.id.as_str(), format!("{}:…", to.name))
            .undo(undo)
            .fact("disk", volume.key.as_str())
            .fact("storage", to.name.as_str());
        plan = plan.effect(if args.delete_source {
            format!("{} is deleted once the copy is in use", volume.id)
        } else {
            format!(
                "{} stays as an unused disk, and takes its room on {}",
                volume.id, volume.storage
            )
        });
        if subject.state.status.is_on() {
            plan = plan.effect("the guest keeps running; the copy loads both storages");
        }
        if let Some(tight) = tight {
            plan = plan.warn("tight", tight);
        }
        let (member, guest) = (Arc::clone(&subject.member), guest.clone());
        let moved = (volume.key.clone(), volume.id.clone(), to.name.clone());
        Ok(site
            .tell_plan(plan)
            .settle(move |_, done| settle(member, guest, moved, args.delete_source, done)))
    }
}

fn step(subject: &Subject, args: &Args, volume: &Volume, to: &StorageName, what: &str) -> Step {
    let (node, vmid) = (&subject.guest.node, subject.guest.at.vmid);
    let delete = args.delete_source.then_some(true);
    let digest = Some(subject.parts.digest.clone()).filter(|digest| !digest.is_empty());
    let storage = Some(to.clone());
    let step = match subject.guest.kind {
        GuestKind::Qemu => {
            let format = args.format.clone();
            let options = QemuMoveDiskParams {
                storage,
                format,
                delete,
                digest,
                ..QemuMoveDiskParams::default()
            };
            Step::pve(&subject.member, what, qemu::move_disk(node, vmid, &volume.key, options))
        }
        GuestKind::Lxc => {
            let options =
                LxcMoveVolumeParams { storage, delete, digest, ..LxcMoveVolumeParams::default() };
            Step::pve(&subject.member, what, lxc::move_volume(node, vmid, &volume.key, options))
        }
    };
    // A copy that is broken off is removed, and the guest never used it.
    step.task(&["qmmove", "move_volume"], vmid.to_string()).stoppable()
}

/// The snapshots whose configuration names a volume.
async fn snapshots_with(subject: &Subject, volume: &str) -> Result<Vec<String>, ToolError> {
    let (member, guest) = (&subject.member, &subject.guest);
    let (node, vmid) = (&guest.node, guest.at.vmid);
    let all = match guest.kind {
        GuestKind::Qemu => member.client.call(qemu::snapshots(node, vmid)).await,
        GuestKind::Lxc => member.client.call(lxc::snapshots(node, vmid)).await,
    };
    let all = all.map_err(|error| {
        ToolError::api(format!("list the snapshots of {}", subject.name()), &error)
    })?;
    let asked = all.iter().filter(|one| !one.is_current()).take(SNAPSHOTS).map(|one| async move {
        let request = match guest.kind {
            GuestKind::Qemu => {
                qemu::snapshot_config(node, vmid, &one.name).cast::<Map<String, Value>>()
            }
            GuestKind::Lxc => lxc::snapshot_config(node, vmid, &one.name).cast(),
        };
        let names = match member.client.call(request).await {
            Ok(config) => config.values().filter_map(Value::as_str).any(|text| {
                let properties = Properties::parse(text);
                properties.head.or_else(|| properties.get("volume")) == Some(volume)
            }),
            // The server looks, too.
            Err(_) => false,
        };
        names.then(|| one.name.clone())
    });
    Ok(join_all(asked).await.into_iter().flatten().collect())
}

async fn settle(
    member: Arc<Pve>,
    guest: Guest,
    (key, source, to): (String, String, StorageName),
    deleted: bool,
    done: Done,
) -> Result<Report, ToolError> {
    let name = named(&guest);
    let parts = match Parts::read(&member, &guest).await {
        Ok(parts) => parts,
        Err(error) => {
            return Ok(done
                .report(format!("move of {key} of {name}: the task ended {}", done.ended()))
                .note(format!("it could not be read back: {}", error.message())));
        }
    };
    let now = parts.disks().find(|volume| volume.key == key);
    let Some(now) = now.filter(|volume| volume.storage == to && volume.id != source) else {
        let lead = format!(
            "{key} of {name}: the task ended {}, but the disk is not on {to}",
            done.ended()
        );
        return Err(ToolError::from_report(done.report(lead).fact("status", "failed")));
    };
    let left = parts.disks().find(|volume| volume.id == source);
    let report =
        done.report(format!("{key} of {name} is on {to} now: {} ({})", now.id, done.span()));
    Ok(match left {
        Some(left) => {
            let note = if deleted {
                format!("the source could not be deleted, and stays as {} ({source})", left.key)
            } else {
                format!(
                    "the source stays as {} ({source}): delete it when the copy has proved itself",
                    left.key
                )
            };
            let gone = json!({"guest": guest.at.to_string(), "delete": [left.key], "plan": true});
            report.note(note).next("guest_configure", gone)
        }
        None => report.next("guest_get", of_guest(&guest)),
    })
}
