//! Tasks: what a UPID and an exit status say about kind, severity and subject of an event.

use estate::{DatastoreName, GuestKind, TaskStatus, Upid, UpidGrammar, VmId};
use event_core::{Kind, Severity, Subject};

/// How far a task is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stand {
    Started,
    Ended(TaskStatus),
}

/// What a task's event is.
pub(crate) fn kind(upid: &Upid, stand: &Stand) -> Kind {
    let status = match stand {
        Stand::Started => {
            return match upid.kind() {
                "vzdump" | "backup" => Kind::BackupStarted,
                _ => Kind::TaskStarted,
            };
        }
        Stand::Ended(status) => status,
    };
    let (well, badly) = match upid.kind() {
        "vzdump" | "backup" => (Kind::BackupFinished, Kind::BackupFailed),
        "verify" | "verify_group" | "verify_snapshot" | "verificationjob" => {
            (Kind::VerifyFinished, Kind::VerifyFailed)
        }
        "garbage_collection" => (Kind::GcFinished, Kind::GcFailed),
        "prune" | "prunejob" => (Kind::PruneFinished, Kind::PruneFailed),
        "sync" | "syncjob" => (Kind::SyncFinished, Kind::SyncFailed),
        "tape-backup" | "tape-backup-job" => (Kind::TapeFinished, Kind::TapeFailed),
        "qmstart" | "vzstart" => (Kind::GuestStarted, Kind::TaskFailed),
        "qmstop" | "qmshutdown" | "vzstop" | "vzshutdown" => (Kind::GuestStopped, Kind::TaskFailed),
        "qmigrate" | "vzmigrate" => (Kind::GuestMigrated, Kind::TaskFailed),
        _ => (Kind::TaskFinished, Kind::TaskFailed),
    };
    if status.is_success() { well } else { badly }
}

/// How bad it is.
pub(crate) fn severity(stand: &Stand) -> Severity {
    match stand {
        Stand::Started | Stand::Ended(TaskStatus::Ok) => Severity::Info,
        Stand::Ended(TaskStatus::Warnings(_)) => Severity::Warning,
        Stand::Ended(TaskStatus::Failed(_)) => Severity::Error,
    }
}

/// Puts into the subject what the task's name says. The node is left as it is where the way of the report has told it.
pub(crate) fn describe(upid: &Upid, subject: &mut Subject) {
    if subject.node.is_none() {
        subject.node = Some(upid.node().clone());
    }
    subject.user = Some(upid.user().to_owned());
    match upid.grammar() {
        UpidGrammar::Pve => {
            subject.guest_kind = guest_kind(upid.kind());
            if subject.guest_kind.is_some() || matches!(upid.kind(), "vzdump" | "hamigrate") {
                subject.vmid = upid.id().parse().ok();
            }
        }
        UpidGrammar::Pbs => describe_pbs(upid, subject),
    }
    subject.upid = Some(upid.clone());
}

/// The ids of a backup server's tasks begin with the datastore; those of backups and verifications go on with the group.
fn describe_pbs(upid: &Upid, subject: &mut Subject) {
    const OF_DATASTORES: [&str; 8] = [
        "backup",
        "reader",
        "garbage_collection",
        "prune",
        "sync",
        "verify",
        "verify_group",
        "verify_snapshot",
    ];
    let id = upid.display_id();
    // A job's own task ends with the job's name; what stands before it is its datastore, and for synchronizations the
    // remote, the remote's datastore, ours and our namespace.
    let at = match upid.kind() {
        "verificationjob" | "prunejob" => 0,
        "syncjob" => 2,
        kind if OF_DATASTORES.contains(&kind) => return describe_datastore(&id, subject),
        _ => return,
    };
    let parts: Vec<&str> = id.split(':').collect();
    if let (Some(datastore), Some(job)) = (parts.get(at), parts.get(at + 1..).and_then(<[_]>::last))
    {
        subject.datastore = DatastoreName::try_new(datastore).ok();
        subject.job = Some((*job).to_owned());
    }
}

fn describe_datastore(id: &str, subject: &mut Subject) {
    let (datastore, group) = id.split_once(':').unwrap_or((id, ""));
    subject.datastore = DatastoreName::try_new(datastore).ok();
    // What stands before a group is its namespace, which may hold slashes itself.
    let parts: Vec<&str> = group.split('/').collect();
    let guest = parts.windows(2).find_map(|pair| {
        let kind: GuestKind = pair[0].parse().ok()?;
        let vmid: VmId = pair[1].parse().ok()?;
        Some((kind, vmid))
    });
    if let Some((kind, vmid)) = guest {
        (subject.guest_kind, subject.vmid) = (Some(kind), Some(vmid));
    }
}

fn guest_kind(task: &str) -> Option<GuestKind> {
    match task {
        task if task.starts_with("qm") => Some(GuestKind::Qemu),
        "vzdump" => None,
        task if task.starts_with("vz") => Some(GuestKind::Lxc),
        _ => None,
    }
}

/// The UPID in a text, and what stands before and behind it.
pub(crate) fn find(text: &str) -> Option<(&str, Upid, &str)> {
    let at = text.find("UPID:")?;
    let end = text[at..].find(|c: char| c.is_whitespace()).map_or(text.len(), |length| at + length);
    let upid = text[at..end].parse().ok()?;
    Some((&text[..at], upid, &text[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(upid: &str, status: &str) -> String {
        let upid: Upid = upid.parse().unwrap();
        let stand = Stand::Ended(TaskStatus::parse(status));
        let mut subject = Subject::default();
        describe(&upid, &mut subject);
        format!("{} {} {}", kind(&upid, &stand), severity(&stand), subject.address())
    }

    #[test]
    fn a_task_tells_what_it_was_about() {
        let pve = |kind: &str, id: &str| {
            format!("UPID:alder:0000AA01:0001BB02:6B033EDA:{kind}:{id}:root@pam:")
        };
        let pbs = |kind: &str, id: &str| {
            format!("UPID:vault:0000AA01:0001BB02:00000003:6B033EDA:{kind}:{id}:root@pam:")
        };
        for (upid, status, expected) in [
            (pve("qmstart", "104"), "OK", "guest.started info ?/guest/104"),
            (pve("vzstop", "200"), "OK", "guest.stopped info ?/guest/200"),
            (pve("qmstart", "104"), "timeout", "task.failed error ?/guest/104"),
            (pve("vzdump", ""), "job errors", "backup.failed error ?/node/alder"),
            (pve("vzdump", "104"), "WARNINGS: 1", "backup.finished warning ?/guest/104"),
            (pve("srvrestart", "pveproxy"), "OK", "task.finished info ?/node/alder"),
            (pbs("garbage_collection", "main"), "OK", "gc.finished info ?/datastore/main"),
            (pbs("backup", "main\\x3avm-104"), "OK", "backup.finished info ?/guest/104"),
            (
                pbs("backup", "main\\x3aoffice-vm-104"),
                "connection lost",
                "backup.failed error ?/guest/104",
            ),
            (
                pbs("verificationjob", "main\\x3av\\x2ddaily"),
                "OK",
                "verify.finished info ?/datastore/main/job/v-daily",
            ),
            (
                pbs("syncjob", "far\\x3apool\\x3amain\\x3a\\x3as\\x2d1"),
                "OK",
                "sync.finished info ?/datastore/main/job/s-1",
            ),
            (pbs("prunejob", "main"), "OK", "prune.finished info ?/node/vault"),
            (pbs("logrotate", ""), "OK", "task.finished info ?/node/vault"),
        ] {
            assert_eq!(read(&upid, status), expected, "{upid}");
        }
    }

    #[test]
    fn a_task_is_found_in_its_line() {
        let line =
            "<root@pam> end task UPID:alder:0000AA01:0001BB02:6B033EDA:qmstart:104:root@pam: OK";
        let (before, upid, after) = find(line).unwrap();
        assert_eq!((before, upid.id(), after), ("<root@pam> end task ", "104", " OK"));
        assert!(find("UPID:broken").is_none() && find("").is_none());
    }
}
