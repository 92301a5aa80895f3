//! `disk_resize`: grows a disk; nothing makes one smaller again.

use std::sync::Arc;

use async_trait::async_trait;
use estate::{Access, GuestKind};
use mcp_protocol::JsonObject;
use pve_client::{lxc, qemu};
use serde::Deserialize;

use super::{
    create::finish::size_of,
    parts::Parts,
    place::{Rights, Site, room},
    subject::{Subject, is_state, of_guest},
};
use crate::{
    address::quoted,
    error::ToolError,
    fleet::Pve,
    plan::{ActionTool, Done, Plan, Step, Undo},
    report::{Report, bytes},
    schema::{Input, Output},
    tool::{Cx, Definition},
    tools::power::named,
    view::Guest,
};

/// The largest disk that is asked for, in bytes: beyond it a size is a slip.
const LARGEST: u64 = 1 << 50;

/// Grows a disk.
pub(super) struct DiskResize;

#[derive(Debug, Deserialize)]
struct Args {
    guest: String,
    disk: Option<String>,
    size: String,
}

#[async_trait]
impl ActionTool for DiskResize {
    fn definition(&self) -> Definition {
        Definition {
            name: "disk_resize",
            title: "Grow a disk",
            description: "Grows a guest's disk; it cannot shrink again. In VMs the partition and \
                file system have to grow after it.",
            input: Input::new()
                .guest()
                .text("disk", "scsi0, rootfs, …; if there are several")
                .text("size", "64G, or +8G for more")
                .required("size"),
            output: Output::new()
                .fact("guest", "string")
                .fact("disk", "string")
                .fact("status", "string")
                .fact("bytes", "integer")
                .fact("upid", "string")
                .fact("cause", "string"),
            access: Access::Operate,
            idempotent: false,
        }
    }

    fn access(&self, _args: &JsonObject) -> Access {
        Access::Operate
    }

    async fn plan(&self, cx: &Cx, args: JsonObject) -> Result<Plan, ToolError> {
        let args: Args = cx.args(args)?;
        let (size, is_more) = size(&args.size)?;
        let subject = Subject::read(cx, &args.guest).await?;
        let what = format!("growth of a disk of {}", subject.name());
        let volume = subject.disk(&what, args.disk.as_deref())?;
        let what = format!("growth of {} of {}", volume.key, subject.name());
        if subject.guest.is_template() {
            return Err(subject
                .refused(&what, "a template never changes")
                .hint("clone it, and grow the clone's disk"));
        }
        subject.parts.is_free(&subject.guest, "growth of a disk")?;
        if is_state(volume) {
            return Err(subject.refused(&what, format!("{} has a size of its own", volume.key)));
        }
        if volume.key.starts_with("unused") {
            return Err(subject
                .refused(&what, "it is not attached")
                .hint("attach it first: guest_configure"));
        }
        if volume.size == 0 {
            return Err(subject.refused(&what, "the configuration does not say how large it is"));
        }
        let new = if is_more { volume.size.saturating_add(size) } else { size };
        if new > LARGEST {
            return Err(subject.refused(&what, format!("{} cannot be meant", bytes(new))));
        }
        if new < volume.size {
            return Err(subject
                .refused(&what, format!("it has {} already, and disks cannot shrink", bytes(volume.size)))
                .hint("for a smaller one make a new disk and copy inside the guest, or restore files into a new guest"));
        }
        let (key, old, storage) = (volume.key.clone(), volume.size, volume.storage.clone());
        if new == old {
            let lead =
                format!("{key} of {} has {} already: nothing was done", subject.name(), bytes(old));
            return Ok(subject.already(lead).fact("disk", key));
        }
        let site = Site::of(cx, Arc::clone(&subject.member)).await?;
        let mut rights = Rights::default();
        rights.on_guest(subject.guest.at.vmid, subject.guest.pool.as_deref(), "VM.Config.Disk");
        rights.check(&what, &site)?;
        let (node, vmid) = (&subject.guest.node, subject.guest.at.vmid);
        let request = match subject.guest.kind {
            GuestKind::Qemu => qemu::resize(node, vmid, &key, &written(new)),
            GuestKind::Lxc => lxc::resize(node, vmid, &key, &written(new)),
        };
        let digest = Some(&subject.parts.digest).filter(|digest| !digest.is_empty());
        let step = Step::pve(&subject.member, what.as_str(), request.opt("digest", digest))
            .task(&["resize"], vmid.to_string());
        let mut plan = subject
            .plan(&what)
            .step(step)
            .change(key.as_str(), bytes(old), bytes(new))
            .warn("no_shrink", "a disk cannot be made smaller again")
            .undo(Undo::Never("Proxmox cannot shrink disks".to_owned()))
            .fact("disk", key.as_str());
        let here = |one: &&crate::view::Storage| one.name == storage && one.node == *node;
        if let Some(place) = site.view.storages.iter().find(here)
            && new - old > room(place)
        {
            plan = plan.warn(
                "tight",
                format!(
                    "{storage} has {} left for {} more: the guest stops when it fills up",
                    bytes(room(place)),
                    bytes(new - old)
                ),
            );
        }
        let inside = inside(&subject);
        plan = plan.effect(inside);
        let (member, guest) = (Arc::clone(&subject.member), subject.guest.clone());
        Ok(site
            .tell_plan(plan)
            .settle(move |_, done| settle(member, guest, key, new, inside, done)))
    }
}

/// What has to be done inside.
fn inside(subject: &Subject) -> &'static str {
    match (subject.guest.kind, subject.state.status.is_on()) {
        (GuestKind::Lxc, _) => "the container's file system grows with it",
        (GuestKind::Qemu, true) => {
            "the guest sees the larger disk at once; its partition and file system must still be \
             grown inside (growpart and resize2fs or xfs_growfs; Windows: Disk Management)"
        }
        (GuestKind::Qemu, false) => {
            "the guest sees the larger disk at its next start; images with cloud-init grow their \
             file system then, others by hand (growpart, resize2fs, xfs_growfs)"
        }
    }
}

/// Bytes, and whether they come on top of what is there.
fn size(text: &str) -> Result<(u64, bool), ToolError> {
    let wrong = || {
        ToolError::new(format!("{} is no size", quoted(text)))
            .hint("give it with its unit: 64G, 512M, 2T, or +8G for more than there is")
    };
    let trimmed: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    let (bare, is_more) = match trimmed.strip_prefix('+') {
        Some(bare) => (bare.to_owned(), true),
        None => (trimmed, false),
    };
    let bare = bare.to_ascii_uppercase();
    let bare = bare.strip_suffix("IB").or_else(|| bare.strip_suffix('B')).unwrap_or(&bare);
    let has_unit = bare.ends_with(['K', 'M', 'G', 'T']);
    let digits = bare.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let is_plain = digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
        && digits.starts_with(|c: char| c.is_ascii_digit());
    if !has_unit || !is_plain || digits.len() > 12 {
        return Err(wrong());
    }
    let size = size_of(bare).filter(|size| *size > 0).ok_or_else(wrong)?;
    Ok((size, is_more))
}

/// Bytes as PVE takes them, without a rest.
fn written(size: u64) -> String {
    for (shift, unit) in [(30, "G"), (20, "M"), (10, "K")] {
        if size.is_multiple_of(1 << shift) {
            return format!("{}{unit}", size >> shift);
        }
    }
    size.to_string()
}

async fn settle(
    member: Arc<Pve>,
    guest: Guest,
    key: String,
    wanted: u64,
    inside: &'static str,
    done: Done,
) -> Result<Report, ToolError> {
    let name = named(&guest);
    let now = match Parts::read(&member, &guest).await {
        Ok(parts) => parts.disks().find(|volume| volume.key == key).map(|volume| volume.size),
        Err(error) => {
            return Ok(done
                .report(format!("{key} of {name} is grown"))
                .note(format!("it could not be read back: {}", error.message())));
        }
    };
    let size = now.unwrap_or_default();
    if size < wanted {
        let lead =
            format!("{key} of {name}: the call ended {}, but it has {}", done.ended(), bytes(size));
        return Err(ToolError::from_report(done.report(lead).fact("status", "failed")));
    }
    Ok(done
        .report(format!("{key} of {name} has {} now ({})", bytes(size), done.span()))
        .fact("bytes", size)
        .note(inside)
        .next("guest_get", of_guest(&guest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        let size = |text: &str| super::size(text).ok();
        assert_eq!(size("64G"), Some((64 << 30, false)));
        assert_eq!(size("+8 GiB"), Some((8 << 30, true)));
        assert_eq!(size("1.5t"), Some((3 << 39, false)));
        for wrong in ["64", "", "G", "-8G", "8X", "1e3G", "++8G", "0G", "8G;x"] {
            assert_eq!(size(wrong), None, "{wrong}");
        }
        assert_eq!(written(64 << 30), "64G");
        assert_eq!(written(1536 << 20), "1536M");
    }
}
