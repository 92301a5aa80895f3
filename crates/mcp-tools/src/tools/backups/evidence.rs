//! Gathers, for one cluster, what is known of each guest's backups.
//!
//! Three sources, best first: the files on the cluster's storages (which show a backup server's
//! verification as well), the recent backup tasks, and the list of guests that no job covers. Each
//! can be closed to the token; then the others stand in and the answer says so.

use std::{collections::BTreeMap, sync::Arc};

use estate::{NodeName, StorageName, TaskStatus, Upid, VmId};
use futures::future::join_all;
use jiff::Timestamp;
use pve_client::{cluster::backup, storage, tasks};

use super::log;
use crate::{
    fleet::{Member, Pve},
    needs,
    view::{Guest, View},
};

/// How far back failed runs are looked for.
const TASK_DAYS: i64 = 8;
/// How many runs' logs are read for the guests that failed in them.
const LOGS: usize = 6;

/// What is known of one cluster's backups.
pub(crate) struct Evidence {
    pub(crate) member: Arc<Pve>,
    /// Guests that should have backups: all but templates.
    pub(crate) guests: Vec<Known>,
    /// The jobs; `None` if the token may not see them.
    pub(crate) jobs: Option<Vec<backup::BackupJob>>,
    /// What could not be seen, in sentences.
    pub(crate) notes: Vec<String>,
    /// Nodes that are away.
    pub(crate) offline: Vec<NodeName>,
}

/// One guest and its backups.
pub(crate) struct Known {
    pub(crate) guest: Guest,
    /// The newest backup that was found.
    pub(crate) newest: Option<Backup>,
    /// The newest attempt that failed, if nothing newer succeeded.
    pub(crate) failure: Option<Failure>,
    /// Whether a job covers it; `None` if that cannot be seen.
    pub(crate) covered: Option<bool>,
}

/// A backup that exists.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Backup {
    pub(crate) time: Timestamp,
    /// The storage, or `task` where only the run's success is known.
    pub(crate) place: String,
    /// `ok`, `failed`, or nothing when it was never verified.
    pub(crate) verified: Option<String>,
    pub(crate) size: Option<u64>,
}

/// A run that failed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Failure {
    pub(crate) time: Timestamp,
    pub(crate) cause: String,
    pub(crate) upid: Upid,
}

/// Asks one cluster.
pub(crate) async fn collect(member: Arc<Pve>, now: Timestamp) -> Result<Evidence, api_core::Error> {
    let view = View::load(Arc::clone(&member)).await?;
    let mut notes = Vec::new();
    let (jobs, uncovered, files, runs) = futures::join!(
        member.client.call(backup::jobs()),
        member.client.call(backup::not_backed_up()),
        files(&member, &view),
        runs(&member, &view, now),
    );
    let jobs = match jobs {
        Ok(jobs) => Some(jobs),
        Err(error) => {
            notes.push(format!("{}: backup jobs are not shown: {error}", member.key));
            None
        }
    };
    let uncovered: Option<Vec<VmId>> = match uncovered {
        Ok(guests) => Some(guests.into_iter().map(|guest| guest.vmid).collect()),
        Err(error) => {
            notes.push(format!("{}: which guests no job covers is not known: {error}", member.key));
            None
        }
    };
    notes.extend(files.notes);
    notes.extend(runs.notes);
    if let Ok(held) = member.permissions(now).await {
        // Without these the lists of files are cut silently, so tasks are all there is.
        let ids = ["backup_volumes_storage", "backup_volumes_guest"];
        let unmet = ids.iter().filter_map(|id| needs::need(id)).filter(|need| !need.is_met(&held));
        let unmet: Vec<_> = unmet.map(|need| need.privileges[0]).collect();
        if !unmet.is_empty() {
            notes.push(format!(
                "{}: the token lacks {}, so backup files may be hidden; tasks of the last {TASK_DAYS} days stand in (place `task`)",
                member.key,
                unmet.join(" and ")
            ));
        }
    }
    let offline = view.offline_nodes().map(|node| node.name.clone()).collect();
    let mut newest = files.newest;
    let guests = view.guests.into_iter().filter(|guest| !guest.is_template()).map(|guest| {
        let vmid = guest.at.vmid;
        let mut best = newest.remove(&vmid);
        let done = runs.done.get(&vmid).copied();
        if let Some(time) = done
            && best
                .as_ref()
                .is_none_or(|backup| backup.time.as_second() + 86_400 < time.as_second())
        {
            // A run says that it made one, but no file shows: hidden, pruned, or elsewhere.
            best = Some(Backup { time, place: "task".to_owned(), verified: None, size: None });
        }
        let failure = runs.failed.get(&vmid).cloned();
        let failure = failure.filter(|failure| {
            done.is_none_or(|time| time < failure.time)
                && best.as_ref().is_none_or(|backup| backup.time < failure.time)
        });
        let covered = uncovered.as_ref().map(|uncovered| !uncovered.contains(&vmid));
        Known { guest, newest: best, failure, covered }
    });
    Ok(Evidence { guests: guests.collect(), jobs, notes, offline, member })
}

struct Files {
    newest: BTreeMap<VmId, Backup>,
    notes: Vec<String>,
}

/// The newest backup file of each guest, over all storages that hold backups.
async fn files(member: &Arc<Pve>, view: &View) -> Files {
    let holds_backups = |content: &Vec<String>| content.iter().any(|word| word == "backup");
    let online = |node: &NodeName| view.nodes.iter().any(|n| n.name == *node && n.is_online());
    // A shared storage is asked once, through any node that is up; a local one through its own.
    let mut places: BTreeMap<(StorageName, Option<NodeName>), NodeName> = BTreeMap::new();
    for row in view.storages.iter().filter(|row| holds_backups(&row.content)) {
        let local = (!row.shared).then(|| row.node.clone());
        if online(&row.node) {
            places.entry((row.name.clone(), local)).or_insert_with(|| row.node.clone());
        }
    }
    let asked = places.into_iter().map(|((name, _), node)| async move {
        let kind = Some(&storage::ContentKind::Backup);
        let answer = member.client.call(storage::content(&node, &name, kind, None)).await;
        (name, node, answer)
    });
    let mut out = Files { newest: BTreeMap::new(), notes: Vec::new() };
    for (name, node, answer) in join_all(asked).await {
        let volumes = match answer {
            Ok(volumes) => volumes,
            Err(error) => {
                let key = member.key();
                out.notes.push(format!("{key}: backups on {name} ({node}) are not shown: {error}"));
                continue;
            }
        };
        for volume in volumes {
            let (Some(vmid), Some(time)) = (volume.vmid, volume.created) else { continue };
            // An id that now names a guest of the other kind belonged to one that is gone.
            let kind = view.guests.iter().find(|guest| guest.at.vmid == vmid).map(|g| g.kind);
            if kind.is_some() && volume.guest_kind.is_some() && kind != volume.guest_kind {
                continue;
            }
            let backup = Backup {
                time,
                place: name.to_string(),
                verified: volume.verification.map(|check| check.state),
                size: Some(volume.size_bytes),
            };
            let known = out.newest.entry(vmid).or_insert_with(|| backup.clone());
            if known.time < backup.time {
                *known = backup;
            }
        }
    }
    out
}

#[derive(Default)]
struct Runs {
    done: BTreeMap<VmId, Timestamp>,
    failed: BTreeMap<VmId, Failure>,
    notes: Vec<String>,
}

/// What the backup tasks of the last days did with each guest.
async fn runs(member: &Arc<Pve>, view: &View, now: Timestamp) -> Runs {
    let since = Timestamp::from_second(now.as_second() - TASK_DAYS * 86_400).unwrap_or(now);
    let nodes = view.nodes.iter().filter(|node| node.is_online());
    let asked = nodes.map(|node| async move {
        let options = tasks::TaskListParams {
            kind: Some("vzdump".to_owned()),
            since: Some(since),
            limit: Some(200),
            ..tasks::TaskListParams::default()
        };
        (node.name.clone(), member.client.call(tasks::list(&node.name, options)).await)
    });
    let mut out = Runs::default();
    let mut all = Vec::new();
    for (node, answer) in join_all(asked).await {
        match answer {
            // A server that does not know the filter sends tasks of every type.
            Ok(tasks) => all.extend(tasks.into_iter().filter(|task| task.kind == "vzdump")),
            Err(error) => {
                out.notes
                    .push(format!("{}/{node}: backup tasks are not shown: {error}", member.key));
            }
        }
    }
    all.sort_by_key(|task| std::cmp::Reverse(task.started));
    let mut logs = Vec::new();
    for task in &all {
        let (Some(outcome), Some(time)) = (task.outcome(), task.ended.or(task.started)) else {
            continue;
        };
        let one = task.id.as_deref().and_then(|id| id.parse::<VmId>().ok());
        match (one, outcome) {
            (Some(vmid), TaskStatus::Failed(cause)) => {
                out.fail(vmid, Failure { time, cause, upid: task.upid.clone() });
            }
            (Some(vmid), _) => out.succeed(vmid, time),
            // A run over several guests: its log says which.
            (None, _) => logs.push((task.upid.clone(), time)),
        }
    }
    let read = logs.iter().take(LOGS).map(|(upid, time)| async move {
        (upid, *time, member.client.call(tasks::log(upid, 0, Some(0))).await)
    });
    for (upid, time, answer) in join_all(read).await {
        let Ok(lines) = answer else { continue };
        for (vmid, result) in log::read(lines.iter().map(|line| line.text.as_str())) {
            match result {
                log::Result::Done => out.succeed(vmid, time),
                log::Result::Failed(cause) => {
                    out.fail(vmid, Failure { time, cause, upid: upid.clone() });
                }
            }
        }
    }
    out
}

// === impl Runs ===

impl Runs {
    fn succeed(&mut self, vmid: VmId, time: Timestamp) {
        let known = self.done.entry(vmid).or_insert(time);
        *known = (*known).max(time);
    }

    fn fail(&mut self, vmid: VmId, failure: Failure) {
        let known = self.failed.entry(vmid).or_insert_with(|| failure.clone());
        if known.time < failure.time {
            *known = failure;
        }
    }
}
