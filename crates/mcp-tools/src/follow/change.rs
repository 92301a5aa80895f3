//! Sends a change, and finds its task again where the answer is lost.
//!
//! *Invariant:* nothing is ever sent twice.

use std::{collections::HashSet, sync::Arc, time::Duration};

use api_core::{Error, Request};
use estate::{NodeName, Upid, VmId};
use jiff::Timestamp;
use pve_client::tasks::{TaskListParams, TaskSource};
use serde_json::json;
use tracing::warn;

use super::{Followed, Holder, Pace, Until, follow};
use crate::{error::ToolError, fleet::Pve, report::Report, tool::Cx};

/// How much a node's clock may differ from ours when its tasks are told apart by time alone.
const SKEW_SECS: i64 = 120;

/// A change that is about to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Change<'a> {
    /// For sentences: `start of lab/108 gpu-render`.
    pub(crate) what: String,
    /// `lab/108`.
    pub(crate) guest: String,
    /// The node that is asked.
    pub(crate) node: &'a NodeName,
    /// The guest's id.
    pub(crate) vmid: VmId,
    /// The types that the task may have.
    pub(crate) kinds: &'a [&'a str],
    /// The guest's tasks before the change, if they could be read.
    pub(crate) known: Option<HashSet<Upid>>,
}

/// The guest's tasks on its node, so that a new one can be told from them.
pub(crate) async fn known_tasks(
    client: &pve_client::Client,
    node: &NodeName,
    vmid: VmId,
) -> Option<HashSet<Upid>> {
    let tasks = client.call(pve_client::tasks::list(node, of_guest(vmid))).await;
    let tasks = tasks.inspect_err(|error| {
        warn!(%node, %vmid, error = %stdx::Chain(error), "cannot list the guest's tasks");
    });
    Some(tasks.ok()?.into_iter().map(|task| task.upid).collect())
}

fn of_guest(vmid: VmId) -> TaskListParams {
    TaskListParams {
        source: Some(TaskSource::All),
        vmid: Some(vmid),
        limit: Some(50),
        ..TaskListParams::default()
    }
}

/// Sends a change and follows the task that it begins.
///
/// # Errors
/// The change was refused, or its outcome is unknown: then the error says what to look at.
pub(crate) async fn run(
    cx: &Cx,
    member: &Arc<Pve>,
    change: &Change<'_>,
    request: Request<Upid>,
    until: Until,
) -> Result<Followed, ToolError> {
    let sent = cx.now();
    let (upid, was_lost) = match member.operator.call(request).await {
        Ok(upid) => (upid, false),
        Err(error) if error.may_have_run() => {
            let error_text = stdx::Chain(&error).to_string();
            warn!(
                what = change.what,
                error = error_text,
                "the answer is lost; looking for the task"
            );
            match find(member, change, sent, until).await {
                Some(upid) => (upid, true),
                None => return Err(unknown_outcome(member, change, &error)),
            }
        }
        Err(error) => return Err(ToolError::api(format!("ask for the {}", change.what), &error)),
    };
    let holder = Holder::Pve(Arc::clone(member), member.operator.clone());
    let followed = follow(cx, &holder, &upid, until).await;
    followed.map(|followed| Followed { was_lost, ..followed }).map_err(|error| {
        let report = ToolError::api(format!("follow the {}", change.what), &error).into_report();
        ToolError::from_report(
            report
                .fact("upid", upid.as_str())
                .fact("status", "unknown")
                .note("the task was begun and goes on without us")
                .next("task_wait", json!({"upid": upid.as_str(), "cluster": member.key.as_str()})),
        )
    })
}

/// Looks for the task of a change whose answer was lost.
async fn find(
    member: &Arc<Pve>,
    change: &Change<'_>,
    sent: Timestamp,
    until: Until,
) -> Option<Upid> {
    // A call that timed out can still be on its way to the worker, so one look is not enough.
    let until = until.at_most(Duration::from_secs(8)).or_at_least(Duration::from_secs(2));
    let mut pace = Pace::new();
    loop {
        let list = pve_client::tasks::list(change.node, of_guest(change.vmid));
        if let Ok(tasks) = member.operator.call(list).await {
            let tasks = tasks.into_iter().map(|task| task.upid);
            if let Some(upid) = newest_match(tasks, change, sent) {
                return Some(upid);
            }
        }
        if until.is_over() {
            return None;
        }
        pace.wait(&until).await;
    }
}

/// The task that the change began: of its types, about its guest, and not there before.
fn newest_match(
    tasks: impl Iterator<Item = Upid>,
    change: &Change<'_>,
    sent: Timestamp,
) -> Option<Upid> {
    let id = change.vmid.to_string();
    let fits = tasks.filter(|upid| {
        let is_new = match &change.known {
            Some(known) => !known.contains(upid),
            // The node's clock and ours may differ.
            None => upid.started().as_second() >= sent.as_second() - SKEW_SECS,
        };
        is_new && upid.id() == id && change.kinds.contains(&upid.kind())
    });
    fits.max_by_key(Upid::started)
}

fn unknown_outcome(member: &Pve, change: &Change<'_>, error: &Error) -> ToolError {
    let report = Report::new(format!(
        "outcome of the {} is unknown: the answer was lost ({}) and no task of it is found",
        change.what,
        stdx::Chain(error)
    ));
    ToolError::from_report(
        report
            .fact("status", "unknown")
            .fact("guest", change.guest.as_str())
            .note("it was not sent again: look at the guest and at its tasks first")
            .next("guest_get", json!({"guest": change.guest}))
            .next("tasks_list", json!({"cluster": member.key.as_str(), "guest": change.guest})),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upid(start: u32, kind: &str, id: &str) -> Upid {
        format!("UPID:alder:00000001:00000001:{start:08X}:{kind}:{id}:mcp@pve!agent:")
            .parse()
            .unwrap()
    }

    #[test]
    fn a_lost_task_is_told_from_older_and_other_ones() {
        let node = "alder".parse().unwrap();
        let sent = Timestamp::from_second(10_000).unwrap();
        let mut change = Change {
            what: "start of lab/100".into(),
            guest: "lab/100".into(),
            node: &node,
            vmid: "100".parse().unwrap(),
            kinds: &["qmstart", "hastart"],
            known: Some([upid(9_990, "qmstart", "100")].into()),
        };
        let tasks = || {
            [
                upid(10_001, "qmstart", "101"),
                upid(10_001, "qmstop", "100"),
                upid(9_990, "qmstart", "100"),
                upid(9_995, "qmstart", "100"),
                upid(5_000, "qmstart", "100"),
            ]
            .into_iter()
        };
        // What was there before is not it, even if a clock is off; 5000 was beyond the list's end.
        assert_eq!(newest_match(tasks(), &change, sent), Some(upid(9_995, "qmstart", "100")));
        change.known = Some(tasks().collect());
        assert_eq!(newest_match(tasks(), &change, sent), None);
        change.known = None;
        change.kinds = &["qmstop"];
        assert_eq!(newest_match(tasks(), &change, sent), Some(upid(10_001, "qmstop", "100")));
        let later = Timestamp::from_second(20_000).unwrap();
        assert_eq!(newest_match(tasks(), &change, later), None);
    }
}
