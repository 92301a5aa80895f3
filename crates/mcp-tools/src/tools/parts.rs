//! Parts of an answer that can be missing without taking the rest along.

use api_core::{Error, ErrorKind};
use estate::{GuestKind, GuestRef};
use jiff::Timestamp;
use pve_client::{storage, tasks};
use serde_json::json;

use crate::{
    fleet::{Place, Pve},
    report::{Cell, Report, Unreachable, age, bytes, rfc3339},
    tool::Cx,
    tools::backups,
    view::View,
};

/// Says that `part` is missing, and why.
pub(crate) fn missing(mut report: Report, part: &str, error: &Error) -> Report {
    report.notes.push(match error.kind() {
        // The refusal names path and privilege itself.
        ErrorKind::PermissionDenied if !error.message().is_empty() => {
            format!("{part}: the token may not see this: {}", error.message())
        }
        ErrorKind::PermissionDenied => format!("{part}: the token may not see this"),
        ErrorKind::NotImplemented => format!("{part}: this server's version does not have it"),
        _ => format!("{part}: {}", stdx::Chain(error)),
    });
    report
}

/// As [`missing`]; what did not answer at all is listed as unreachable.
pub(crate) fn missing_at(report: Report, what: &str, part: &str, error: &Error) -> Report {
    if error.is_unreachable() {
        let why = format!("{part}: {}", stdx::Chain(error));
        return report.unreachable(vec![Unreachable { what: what.to_owned(), why }]);
    }
    missing(report, part, error)
}

/// A guest's newest backup.
struct Backup {
    time: Timestamp,
    text: String,
    value: serde_json::Value,
}

/// Adds the guest's last backup: the newest file on the storages that hold backups, and how the
/// last backup task of the guest itself ended.
pub(crate) async fn backup(
    mut report: Report,
    cx: &Cx,
    member: &std::sync::Arc<Pve>,
    place: &Place,
    at: &GuestRef,
) -> Report {
    let Place { node, kind } = place;
    let view = match View::load(std::sync::Arc::clone(member)).await {
        Ok(view) => view,
        Err(error) => return missing(report, "backups", &error),
    };
    let storages = view.storages.iter().filter(|storage| {
        storage.node == *node && storage.content.iter().any(|content| content == "backup")
    });
    let storages: Vec<_> = storages.map(|storage| storage.name.clone()).collect();
    // One that is late is not waited for: the whole evidence is asked then.
    let patience = cx.fleet.deadline() / 2;
    let asked = storages.iter().map(|name| {
        let kind = storage::ContentKind::Backup;
        let call = storage::content(node, name, Some(&kind), Some(at.vmid));
        tokio::time::timeout(patience, member.client.call(call))
    });
    let options = tasks::TaskListParams {
        vmid: Some(at.vmid),
        kind: Some("vzdump".to_owned()),
        limit: Some(1),
        ..tasks::TaskListParams::default()
    };
    let last_task = tokio::time::timeout(patience, member.client.call(tasks::list(node, options)));
    let (answers, last_task) = futures::join!(futures::future::join_all(asked), last_task);
    let mut newest: Option<Backup> = None;
    let mut is_partial = storages.is_empty();
    for (name, answer) in storages.iter().zip(answers) {
        let Ok(Ok(volumes)) = answer else {
            is_partial = true;
            continue;
        };
        for volume in volumes.into_iter().filter(|volume| volume.vmid == Some(at.vmid)) {
            // Ids of the other kind belong to a guest that is gone.
            if volume.guest_kind.is_some_and(|other: GuestKind| other != *kind) {
                continue;
            }
            let Some(time) = volume.created else { continue };
            if newest.as_ref().is_some_and(|newest| newest.time >= time) {
                continue;
            }
            let verified = volume.verification.as_ref().map(|check| check.state.clone());
            let check = verified.as_deref().unwrap_or("not verified");
            let (size, old) = (bytes(volume.size_bytes), age(time, cx.now()));
            newest = Some(Backup {
                time,
                text: format!("{} ({old} ago) on {name}, {size}, {check}", rfc3339(time)),
                value: json!({
                    "time": rfc3339(time), "storage": name.as_str(), "volume": volume.id,
                    "size": volume.size_bytes, "verified": verified,
                }),
            });
        }
    }
    report = match newest {
        Some(newest) if !is_partial => {
            report.detail("last_backup", Cell::with(newest.value, newest.text))
        }
        newest => told_by_all(report, cx, member, at, newest).await,
    };
    if let Ok(Ok(last_task)) = last_task
        && let Some(task) = last_task.first()
        && let (Some(outcome), Some(time)) = (task.outcome(), task.ended.or(task.started))
        && !outcome.is_success()
    {
        let old = age(time, cx.now());
        report = report
            .note(format!("its last backup task failed {old} ago: {outcome}"))
            .next("task_get", json!({"upid": task.upid.as_str(), "cluster": member.key.as_str()}));
    }
    report
}

/// No file is to be seen, or not all of them: the cluster's backup servers and its runs may know.
async fn told_by_all(
    mut report: Report,
    cx: &Cx,
    member: &std::sync::Arc<Pve>,
    at: &GuestRef,
    seen: Option<Backup>,
) -> Report {
    let member = std::sync::Arc::clone(member);
    let evidence = match backups::collect(&cx.fleet, member, cx.now()).await {
        Ok(evidence) => evidence,
        Err(error) => return missing(report, "backups", &error),
    };
    let known = evidence.guests.into_iter().find(|known| known.guest.at == *at);
    let is_all_seen = known.as_ref().is_some_and(|known| known.is_all_seen);
    let found = known.and_then(|known| known.newest).map(|newest| {
        let old = age(newest.time, cx.now());
        let source = match newest.place.as_str() {
            "task" => "as its task says".to_owned(),
            place => {
                let check = newest.verified.as_deref().unwrap_or("not verified");
                format!("on {place}, {check}")
            }
        };
        Backup {
            time: newest.time,
            text: format!("{} ({old} ago), {source}", rfc3339(newest.time)),
            value: json!({
                "time": rfc3339(newest.time), "storage": newest.place, "size": newest.size,
                "verified": newest.verified,
            }),
        }
    });
    let newest = seen.into_iter().chain(found).max_by_key(|backup| backup.time);
    report = match newest {
        Some(newest) => report.detail("last_backup", Cell::with(newest.value, newest.text)),
        None if is_all_seen => report.note("there is no backup of this guest"),
        None => report.note(
            "no backup of this guest is to be seen, but not every place that could hold one was read",
        ),
    };
    report.notes.extend(evidence.notes);
    report.unreachable(evidence.unreachable)
}
