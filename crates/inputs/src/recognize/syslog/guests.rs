//! Guests that start and end.

use event_core::{Kind, Severity};

use super::{Known, line::Line};
use crate::Origin;

/// What any program says of a guest.
pub(super) fn read(line: &Line<'_>, origin: &Origin<'_>) -> Option<Known> {
    let rest = line.message.strip_prefix("VM ")?;
    let (vmid, rest) = rest.split_once(' ')?;
    let mut known = Known::new(Kind::GuestStarted, Severity::Info, origin).guest(vmid);
    known.subject.guest_kind = Some(estate::GuestKind::Qemu);
    (rest.starts_with("started with PID ") && known.subject.vmid.is_some()).then_some(known)
}

/// What `qmeventd` says after a virtual machine ended. Why it ended it does not know.
pub(super) fn ended(line: &Line<'_>, origin: &Origin<'_>) -> Option<Known> {
    let known = |kind, severity, vmid| {
        let mut known = Known::new(kind, severity, origin).guest(vmid);
        known.subject.guest_kind = Some(estate::GuestKind::Qemu);
        known.subject.vmid.is_some().then_some(known)
    };
    let message = line.message;
    if let Some(vmid) = message.strip_prefix("Starting cleanup for ") {
        return known(Kind::GuestStopped, Severity::Notice, vmid);
    }
    if let Some(vmid) = message.strip_prefix("Finished cleanup for ") {
        return known(Kind::other("guest.cleaned_up"), Severity::Debug, vmid);
    }
    if let Some(vmid) = message.strip_prefix("Restarting VM ") {
        return known(Kind::other("guest.restarting"), Severity::Info, vmid);
    }
    message
        .starts_with("cleanup failed, terminating pid ")
        .then(|| Known::new(Kind::other("guest.cleanup_failed"), Severity::Warning, origin))
}
