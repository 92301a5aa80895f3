//! What the backup tasks of the last days did with each guest.

use std::{collections::BTreeMap, sync::Arc};

use estate::{TaskStatus, Upid, VmId};
use futures::future::join_all;
use jiff::Timestamp;
use pve_client::tasks;

use super::{
    evidence::{Failure, Known},
    log,
    patience::{Limit, Patience},
};
use crate::{
    fleet::Pve,
    report::{Unreachable, rfc3339},
    tools::tally::counted,
    view::View,
};

/// How far back runs are looked for.
pub(super) const TASK_DAYS: i64 = 8;
/// How many runs are asked for per node.
const RUNS: u64 = 200;
/// How many runs' logs are read for the guests that were in them.
const LOGS: usize = 24;
/// How many logs are read at a time.
const BATCH: usize = 8;

/// What the tasks say.
#[derive(Default)]
pub(super) struct Runs {
    pub(super) done: BTreeMap<VmId, Timestamp>,
    pub(super) failed: BTreeMap<VmId, Failure>,
    pub(super) notes: Vec<String>,
    pub(super) unreachable: Vec<Unreachable>,
    /// How many logs were not read, and when the newest of these runs was.
    unread: Option<(usize, Timestamp)>,
}

/// Reads the tasks, newest first, until every guest's last run is known or there are too many.
pub(super) async fn read(
    member: &Arc<Pve>,
    view: &View,
    now: Timestamp,
    patience: Patience,
) -> Runs {
    let mut out = Runs::default();
    let mut logs = out.list(member, view, now, patience.until(50)).await;
    logs.sort_by_key(|(_, time)| std::cmp::Reverse(*time));
    let limit = patience.until(90);
    let mut unreadable = Vec::new();
    let mut read = 0;
    while let Some((_, newest)) = logs.get(read) {
        let guests = || view.guests.iter().filter(|guest| !guest.is_template());
        if guests().all(|guest| out.is_settled(guest.at.vmid, *newest)) {
            break;
        }
        if read >= LOGS || limit.is_over() {
            out.unread = Some((logs.len() - read, *newest));
            break;
        }
        let batch = &logs[read..logs.len().min(read + BATCH).min(LOGS)];
        let asked = batch.iter().map(|(upid, time)| async move {
            (upid, *time, limit.wait(member.client.call(tasks::log(upid, 0, Some(0)))).await)
        });
        for (upid, time, answer) in join_all(asked).await {
            match answer {
                Ok(lines) => out.take_log(upid, time, lines.iter().map(|line| line.text.as_str())),
                Err(lack) => unreadable.push(format!("{upid}: {lack}")),
            }
        }
        read += batch.len();
    }
    if let Some(first) = unreadable.first() {
        let (key, logs) = (&member.key, counted(unreadable.len(), "backup log"));
        out.notes.push(format!(
            "{key}: {logs} could not be read, so failures in them are not known ({first})"
        ));
    }
    out
}

// === impl Runs ===

impl Runs {
    /// Takes what the lists of tasks tell, and returns the runs whose logs tell the rest.
    async fn list(
        &mut self,
        member: &Arc<Pve>,
        view: &View,
        now: Timestamp,
        limit: Limit,
    ) -> Vec<(Upid, Timestamp)> {
        let since = Timestamp::from_second(now.as_second() - TASK_DAYS * 86_400).unwrap_or(now);
        let nodes = view.nodes.iter().filter(|node| node.is_online());
        let asked = nodes.map(|node| async move {
            let options = tasks::TaskListParams {
                kind: Some("vzdump".to_owned()),
                since: Some(since),
                limit: Some(RUNS),
                ..tasks::TaskListParams::default()
            };
            (&node.name, limit.wait(member.client.call(tasks::list(&node.name, options))).await)
        });
        let mut logs = Vec::new();
        for (node, answer) in join_all(asked).await {
            let what = format!("{}/{node}", member.key);
            let tasks = match answer {
                Ok(tasks) => tasks,
                Err(lack) => {
                    lack.tell(what, "backup tasks", &mut self.notes, &mut self.unreachable);
                    continue;
                }
            };
            if tasks.len() as u64 >= RUNS {
                self.notes.push(format!("{what}: only the newest {RUNS} backup tasks were read"));
            }
            // A server that does not know the filter sends tasks of every type.
            for task in tasks.into_iter().filter(|task| task.kind == "vzdump") {
                let (Some(outcome), Some(time)) = (task.outcome(), task.ended.or(task.started))
                else {
                    continue;
                };
                let one = task.id.as_deref().and_then(|id| id.parse::<VmId>().ok());
                match (one, outcome) {
                    (Some(vmid), TaskStatus::Failed(cause)) => {
                        self.fail(vmid, Failure { time, cause, upid: task.upid });
                    }
                    (Some(vmid), _) => self.succeed(vmid, time),
                    // A run over several guests: its log says which.
                    (None, _) => logs.push((task.upid, time)),
                }
            }
        }
        logs
    }

    fn take_log<'a>(
        &mut self,
        upid: &Upid,
        time: Timestamp,
        lines: impl IntoIterator<Item = &'a str>,
    ) {
        for (vmid, result) in log::read(lines) {
            match result {
                log::Result::Done => self.succeed(vmid, time),
                log::Result::Failed(cause) => {
                    self.fail(vmid, Failure { time, cause, upid: upid.clone() });
                }
            }
        }
    }

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

    /// Whether the guest's last run is known, if those up to `time` are not.
    fn is_settled(&self, vmid: VmId, time: Timestamp) -> bool {
        self.done.get(&vmid).is_some_and(|done| *done >= time)
            || self.failed.get(&vmid).is_some_and(|failure| failure.time >= time)
    }

    /// What was not read, where that matters to a guest: those with a newer backup are known.
    pub(super) fn unread_note(&self, key: &str, guests: &[Known]) -> Option<String> {
        let (logs, newest) = self.unread?;
        let open = guests.iter().filter(|known| {
            !self.is_settled(known.guest.at.vmid, newest)
                && known.newest.as_ref().is_none_or(|backup| backup.time < newest)
        });
        let open = open.count();
        (open > 0).then(|| {
            format!(
                "{key}: {} up to {} not read, so the last attempt for {} may be missed",
                counted(logs, "backup log"),
                rfc3339(newest),
                counted(open, "guest")
            )
        })
    }
}
