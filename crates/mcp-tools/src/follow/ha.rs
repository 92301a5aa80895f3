//! Follows what HA makes of a wish.
//!
//! For a guest that HA manages, start and stop only write down what is wanted (`hastart`,
//! `hastop`); a node's local manager does it some seconds later, in a task of its own that can
//! fail, be tried again, or move elsewhere. So the wish is followed through three things: the state
//! that HA gives the guest, the tasks that appear for it, and whether it runs.

use std::{collections::HashSet, sync::Arc, time::Duration};

use estate::{GuestKind, TaskStatus, Upid};
use futures::join;
use pve_client::{cluster::ClusterTask, ha::HaStatus};

use super::{Followed, Holder, Pace, Until, follow, state::State};
use crate::{
    fleet::Pve,
    plan::Running,
    view::{Guest, GuestStatus},
};

/// How long HA has to try again after a failure before the failure is told.
const SECOND_CHANCE: Duration = Duration::from_secs(8);

/// What HA made of the wish, as far as it was watched.
#[derive(Debug)]
pub(crate) enum Wish {
    /// The guest is as wished.
    Done {
        /// The guest's state.
        state: State,
        /// The task that did it, where it was seen.
        task: Option<Upid>,
        /// An attempt that failed before.
        failed: Option<Followed>,
    },
    /// HA tried, and it failed.
    Failed {
        /// The task that failed.
        task: Followed,
        /// What HA makes of the guest now.
        ha_state: Option<String>,
    },
    /// HA gave up without a task that could be seen.
    Stuck {
        /// What HA makes of the guest now.
        ha_state: String,
    },
    /// Not so yet.
    Open {
        /// What HA makes of the guest now.
        ha_state: Option<String>,
        /// The task that is at it.
        task: Option<Upid>,
    },
}

/// The guest's tasks anywhere in the cluster, so that HA's can be told from them.
pub(crate) async fn known_tasks(member: &Pve, guest: &Guest) -> Option<HashSet<Upid>> {
    let tasks = member.client.call(pve_client::cluster::tasks()).await.ok()?;
    let id = guest.at.vmid.to_string();
    let own = tasks.into_iter().filter(|task| task.upid.id() == id);
    Some(own.map(|task| task.upid).collect())
}

/// The types of the task that fulfills the wish: HA shuts down where it can.
pub(crate) fn kinds(kind: GuestKind, up: bool) -> &'static [&'static str] {
    match (kind, up) {
        (GuestKind::Qemu, true) => &["qmstart"],
        (GuestKind::Qemu, false) => &["qmshutdown", "qmstop"],
        (GuestKind::Lxc, true) => &["vzstart"],
        (GuestKind::Lxc, false) => &["vzshutdown", "vzstop"],
    }
}

/// Watches until the guest runs (`up`) or does not, HA has failed, `until` is over or nobody wants
/// it any more. `known` are the guest's tasks before the wish; `tell` is told how HA has the guest,
/// and which task is at it.
pub(crate) async fn watch(
    running: &Running,
    member: &Arc<Pve>,
    guest: &Guest,
    up: bool,
    known: Option<&HashSet<Upid>>,
    until: Until,
    tell: impl Fn(&str, Option<&Upid>),
) -> Wish {
    let kinds = kinds(guest.kind, up);
    let sid = sid(guest);
    let mut node = guest.node.clone();
    let mut pace = Pace::new();
    let mut failed: Option<(Followed, Until)> = None;
    loop {
        let (rows, tasks, state) = join!(
            member.client.call(pve_client::ha::current()),
            member.client.call(pve_client::cluster::tasks()),
            State::read(&member.client, guest.kind, &node, guest.at.vmid),
        );
        let service = rows.ok().and_then(|rows| service(rows, &sid));
        let ha_state = service.as_ref().and_then(|row| row.state.clone());
        let task = tasks.ok().and_then(|tasks| newest(tasks, guest, kinds, known));
        if let Some(task) = &task
            && let Some(TaskStatus::Failed(_)) = outcome(task)
            && failed.as_ref().is_none_or(|(old, _)| old.upid != task.upid)
        {
            let holder = Holder::Pve(Arc::clone(member), member.client.clone());
            if let Ok(followed) = follow(&running.cx, &holder, &task.upid, until).await {
                failed = Some((followed, until.at_most(SECOND_CHANCE)));
            }
        }
        let at_work = task.as_ref().filter(|task| outcome(task).is_none());
        if let Ok(state) = state
            && is_so(&state, up)
            // A start that is under way already counts as running; its task may still fail.
            && at_work.is_none()
        {
            let task = task.map(|task| task.upid);
            return Wish::Done { state, task, failed: failed.map(|(task, _)| task) };
        }
        let gave_up = match ha_state.as_deref() {
            Some("error" | "fence") => true,
            // Of a guest that is to be off, it is what was wished.
            Some("disabled") => up,
            _ => false,
        };
        if let Some((task, patience)) = &failed
            && at_work.is_none()
            && (gave_up || patience.is_over())
        {
            return Wish::Failed { task: task.clone(), ha_state };
        }
        if gave_up && failed.is_none() && at_work.is_none() && until.elapsed() > SECOND_CHANCE {
            return Wish::Stuck { ha_state: ha_state.unwrap_or_default() };
        }
        if until.is_over() || running.stop.is_cancelled() {
            return match failed {
                Some((task, _)) => Wish::Failed { task, ha_state },
                None => Wish::Open { ha_state, task: at_work.map(|task| task.upid.clone()) },
            };
        }
        let word = ha_state.as_deref().unwrap_or("unknown");
        tell(word, at_work.map(|task| &task.upid));
        if let Some(moved) = service.and_then(|row| row.node) {
            node = moved;
        }
        pace.wait(&until).await;
    }
}

/// How HA calls the guest.
pub(crate) fn sid(guest: &Guest) -> String {
    let kind = match guest.kind {
        GuestKind::Qemu => "vm",
        GuestKind::Lxc => "ct",
    };
    format!("{kind}:{}", guest.at.vmid)
}

fn service(rows: Vec<HaStatus>, sid: &str) -> Option<HaStatus> {
    rows.into_iter().find(|row| row.sid.as_deref() == Some(sid))
}

fn is_so(state: &State, up: bool) -> bool {
    if up { state.status == GuestStatus::Running } else { state.is_stopped() }
}

fn outcome(task: &ClusterTask) -> Option<TaskStatus> {
    task.status.as_deref().filter(|status| *status != "RUNNING").map(TaskStatus::parse)
}

/// The newest task of these types about the guest that was not there before. Without knowing what
/// was there, none: an older failure would be taken for this one.
fn newest(
    tasks: Vec<ClusterTask>,
    guest: &Guest,
    kinds: &[&str],
    known: Option<&HashSet<Upid>>,
) -> Option<ClusterTask> {
    let known = known?;
    let id = guest.at.vmid.to_string();
    let new = tasks.into_iter().filter(|task| {
        task.upid.id() == id && kinds.contains(&task.upid.kind()) && !known.contains(&task.upid)
    });
    // Several within one second: the one that still runs is the later one.
    new.max_by_key(|task| (task.upid.started(), task.ended.is_none(), task.ended))
}
