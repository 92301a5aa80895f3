//! Gathers, for one cluster, what is known of each guest's backups.
//!
//! Three sources, best first: the files on the cluster's storages and backup servers, the recent
//! backup tasks, and the list of guests that no job covers. Each can be closed to the token, or
//! late; then the others stand in and the answer says so.

use std::{collections::BTreeMap, sync::Arc};

use estate::{StorageName, Upid, VmId};
use jiff::Timestamp;
use pve_client::cluster::backup;

use super::{
    files,
    patience::{Lack, Patience},
    runs,
    vaults::Place,
};
use crate::{
    fleet::{Fleet, Pve},
    report::{Report, Unreachable},
    sight,
    view::{Guest, View},
};

/// What is known of one cluster's backups.
pub(crate) struct Evidence {
    pub(crate) member: Arc<Pve>,
    /// Guests that should have backups: all but templates.
    pub(crate) guests: Vec<Known>,
    /// The jobs; `None` if they cannot be seen.
    pub(crate) jobs: Option<Vec<backup::BackupJob>>,
    /// Templates, which have no backups of their own: address and name.
    pub(crate) templates: Vec<String>,
    /// Where its storages on backup servers point, as far as that is known.
    pub(crate) points: Vec<(StorageName, Result<Place, String>)>,
    /// What could not be seen, in sentences.
    pub(crate) notes: Vec<String>,
    /// Nodes, storages and servers that are away or late.
    pub(crate) unreachable: Vec<Unreachable>,
}

/// One guest and its backups.
pub(crate) struct Known {
    pub(crate) guest: Guest,
    /// The newest backup that was found.
    pub(crate) newest: Option<Backup>,
    /// Every copy that was found, in no order.
    pub(crate) copies: Vec<Backup>,
    /// The newest attempt that failed, if nothing newer succeeded.
    pub(crate) failure: Option<Failure>,
    /// Whether a job covers it; `None` if that cannot be seen.
    pub(crate) covered: Option<bool>,
    /// Whether every place was read that can hold a backup of it.
    pub(crate) is_all_seen: bool,
}

/// A backup that exists.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Backup {
    pub(crate) time: Timestamp,
    /// The storage, the namespace as `server:datastore/namespace`, or `task` where only the run's
    /// success is known.
    pub(crate) place: String,
    /// `ok`, `failed`, or nothing when it was never verified.
    pub(crate) verified: Option<String>,
    /// When that was, as far as it is known.
    pub(crate) verified_at: Option<Timestamp>,
    pub(crate) size: Option<u64>,
}

/// A run that failed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Failure {
    pub(crate) time: Timestamp,
    pub(crate) cause: String,
    pub(crate) upid: Upid,
}

/// Asks one cluster, and the backup servers behind it. No part is waited for so long that the
/// others could not be told within the fleet's deadline.
pub(crate) async fn collect(
    fleet: &Fleet,
    member: Arc<Pve>,
    now: Timestamp,
) -> Result<Evidence, api_core::Error> {
    let patience = Patience::new(fleet.deadline());
    let early = patience.until(40);
    let (view, held) =
        futures::join!(View::load(Arc::clone(&member)), early.wait(member.permissions(now)));
    let view = view?;
    let held = held.ok();
    let key = member.key.as_str();
    let mut notes = sight::tell(Report::default(), key, held.as_deref(), &["guests"]).notes;
    let mut unreachable: Vec<_> = view
        .offline_nodes()
        .map(|node| Unreachable {
            what: format!("{key}/{}", node.name),
            why: "node offline: its own storages and tasks are not shown".to_owned(),
        })
        .collect();
    let limit = patience.until(60);
    let (jobs, uncovered, files, runs) = futures::join!(
        limit.wait(member.client.call(backup::jobs())),
        limit.wait(member.client.call(backup::not_backed_up())),
        // What it holds while it waits is much: not on the caller's stack.
        Box::pin(files::read(fleet, &member, &view, held.as_deref(), now, patience)),
        runs::read(&member, &view, now, patience),
    );
    let mut missing = |lack: &Lack, part| {
        lack.tell(key.to_owned(), part, &mut notes, &mut unreachable);
    };
    let jobs = jobs.inspect_err(|lack| missing(lack, "backup jobs")).ok();
    let uncovered = uncovered.inspect_err(|lack| missing(lack, "guests that no job covers")).ok();
    let uncovered: Option<Vec<VmId>> =
        uncovered.map(|guests| guests.into_iter().map(|guest| guest.vmid).collect());
    let (mut newest, mut copies) = (files.newest, files.copies);
    let is_template = |guest: &&Guest| guest.is_template();
    let templates = view.guests.iter().filter(is_template);
    let templates = templates.map(|guest| format!("{} {}", guest.at, guest.name)).collect();
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
            best = Some(Backup {
                time,
                place: "task".to_owned(),
                verified: None,
                verified_at: None,
                size: None,
            });
        }
        let failure = runs.failed.get(&vmid).cloned();
        let failure = failure.filter(|failure| {
            done.is_none_or(|time| time < failure.time)
                && best.as_ref().is_none_or(|backup| backup.time < failure.time)
        });
        let covered = uncovered.as_ref().map(|uncovered| !uncovered.contains(&vmid));
        let is_all_seen = !files.unseen.contains(&vmid);
        let copies = copies.remove(&vmid).unwrap_or_default();
        Known { guest, newest: best, copies, failure, covered, is_all_seen }
    });
    let guests: Vec<_> = guests.collect();
    let unread = runs.unread_note(key, &guests);
    notes.extend(files.notes.into_iter().chain(runs.notes).chain(unread));
    unreachable.extend(files.unreachable.into_iter().chain(runs.unreachable));
    Ok(Evidence { member, guests, jobs, templates, points: files.points, notes, unreachable })
}

/// Keeps the newer backup of a guest.
pub(super) fn keep_newer(all: &mut BTreeMap<VmId, Backup>, vmid: VmId, backup: Backup) {
    let known = all.entry(vmid).or_insert_with(|| backup.clone());
    if known.time < backup.time {
        *known = backup;
    }
}
