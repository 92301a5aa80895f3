//! How long a plan is likely to take: as long as its tasks took before.
//!
//! One call tells, however large the estate is: the finished tasks of the node that would begin the
//! plan's. What took place for the same guest counts first, then what was of the same type.
//!
//! *Invariant:* an expectation is said beside a plan and is no part of its digest.

use std::{collections::BTreeSet, fmt, sync::Arc, time::Duration};

use estate::NodeName;
use pve_client::tasks::{Task, TaskListParams};
use tokio::time::timeout;
use tracing::debug;

use super::{Doing, Plan, Step};
use crate::{fleet::Pve, report::span};

/// From how many earlier ones an expectation is made.
const FEW: usize = 3;

/// How many finished tasks of a node are looked through.
const LOOKED_AT: u64 = 200;

/// How long they are waited for: a plan is worth more than its expectation.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long something is likely to take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// So long.
    pub duration: Duration,
    /// By which experience, in words.
    pub why: String,
}

/// A step that follows a task.
struct Followed {
    member: Arc<Pve>,
    node: NodeName,
    kinds: Vec<&'static str>,
    id: String,
}

/// What earlier tasks a median is of, the better one first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Basis {
    Same,
    Kind,
}

// === impl Expected ===

impl Expected {
    /// As the last one took.
    pub(super) fn last(duration: Duration) -> Self {
        Self { duration, why: "as the last one took".to_owned() }
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.duration.as_secs() {
            0 => write!(f, "under 1s ({})", self.why),
            secs => write!(f, "{} ({})", span(secs), self.why),
        }
    }
}

// === impl Plan ===

impl Plan {
    /// Says how long it is likely to take, if its tool has not, and if each of its tasks has been
    /// done a few times on the same node. Not being able to tell is no error.
    pub(crate) async fn foresee(&mut self) {
        if self.expected.is_none() {
            let followed = self.steps.iter().filter_map(Step::followed).collect();
            self.expected = expected(followed).await;
        }
    }
}

async fn expected(followed: Vec<Followed>) -> Option<Expected> {
    let first = followed.first()?;
    // One call asks one node.
    let is_here = |it: &Followed| it.member.key == first.member.key && it.node == first.node;
    if !followed.iter().all(is_here) {
        return None;
    }
    let kinds: BTreeSet<&str> = followed.iter().flat_map(|it| it.kinds.iter().copied()).collect();
    let only = if kinds.len() == 1 { kinds.first().map(|kind| (*kind).to_owned()) } else { None };
    let options = TaskListParams {
        limit: Some(LOOKED_AT),
        kind: only,
        status: Some("ok,warning".to_owned()),
        ..TaskListParams::default()
    };
    let asked = first.member.client.call(pve_client::tasks::list(&first.node, options));
    let tasks = match timeout(PATIENCE, asked).await {
        Ok(Ok(tasks)) => tasks,
        Ok(Err(error)) => {
            debug!(node = %first.node, error = %stdx::Chain(&error), "no history of tasks");
            return None;
        }
        Err(_) => return None,
    };
    let mut whole = Duration::ZERO;
    let mut worst = (Basis::Same, usize::MAX);
    for step in &followed {
        let (took, basis, count) = median_of(&tasks, &step.kinds, &step.id)?;
        whole += took;
        worst = (worst.0.max(basis), worst.1.min(count));
    }
    let (basis, count) = worst;
    let why = match basis {
        Basis::Same => format!("median of the last {count} of the same"),
        Basis::Kind => format!("median of the last {count} of its kind on {}", first.node),
    };
    Some(Expected { duration: whole, why })
}

/// The median of what succeeded: of the same guest or other thing if that was a few times, else of
/// the same type.
fn median_of(tasks: &[Task], kinds: &[&str], id: &str) -> Option<(Duration, Basis, usize)> {
    // A backup run names no guest where it is about several, and those are never the same ones.
    if id.is_empty() && kinds.contains(&"vzdump") {
        return None;
    }
    let like = |is_same: bool| {
        let fits = tasks.iter().filter(|task| {
            let its = task.id.as_deref().unwrap_or_default();
            // A run over many things, which names none, is not like one about a single thing.
            let is_one = !id.is_empty() && !its.is_empty();
            kinds.contains(&task.kind.as_str())
                && if is_same { its == id } else { is_one }
                && task.outcome().is_some_and(|outcome| outcome.is_success())
        });
        let mut spans: Vec<u64> = fits
            .filter_map(|task| {
                let secs = task.ended?.as_second() - task.started?.as_second();
                u64::try_from(secs).ok()
            })
            .collect();
        spans.sort_unstable();
        (spans.len() >= FEW).then(|| (Duration::from_secs(spans[spans.len() / 2]), spans.len()))
    };
    let same = like(true).map(|(span, count)| (span, Basis::Same, count));
    same.or_else(|| like(false).map(|(span, count)| (span, Basis::Kind, count)))
}

// === impl Step ===

impl Step {
    fn followed(&self) -> Option<Followed> {
        let (Doing::Pve(member, request), Some(trace), Some(node)) =
            (&self.doing, &self.trace, self.node())
        else {
            return None;
        };
        // Steps name the types of both kinds of guests; the path says which it is.
        let path = request.path().to_string();
        let is_other = |kind: &str| {
            (path.contains("/qemu") && kind.starts_with("vz"))
                || (path.contains("/lxc") && kind.starts_with("qm"))
        };
        let kinds = trace.kinds.iter().copied().filter(|kind| !is_other(kind)).collect();
        let (member, node, id) = (Arc::clone(member), node.clone(), trace.id.clone());
        Some(Followed { member, node, kinds, id })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn task(kind: &str, id: &str, secs: i64, status: &str) -> Task {
        let upid = format!("UPID:alder:00000001:00000001:67000000:{kind}:{id}:mcp@pve!agent:");
        serde_json::from_value(json!({
            "upid": upid, "node": "alder", "type": kind, "id": id, "user": "mcp@pve",
            "starttime": 1_728_053_248, "endtime": 1_728_053_248 + secs, "status": status,
        }))
        .unwrap()
    }

    #[test]
    fn the_same_guest_counts_first_and_then_the_same_type() {
        let mut tasks: Vec<Task> = [10, 90, 20]
            .into_iter()
            .map(|secs| task("vzdump", "104", secs, "OK"))
            .chain([task("vzdump", "105", 400, "WARNINGS: 1"), task("vzdump", "", 9000, "OK")])
            .chain([task("vzdump", "104", 1, "job errors"), task("qmstart", "104", 2, "OK")])
            .collect();
        let of = |tasks: &[Task], kind: &str, id: &str| median_of(tasks, &[kind], id);
        let secs = Duration::from_secs;
        assert_eq!(of(&tasks, "vzdump", "104"), Some((secs(20), Basis::Same, 3)));
        assert_eq!(of(&tasks, "vzdump", "105"), Some((secs(90), Basis::Kind, 4)));
        // Once is not a few times, and a run over all guests is not like a backup of one.
        assert_eq!(of(&tasks, "qmstart", "104"), None);
        assert_eq!(of(&tasks, "vzdump", ""), None);
        tasks.retain(|task| task.id.as_deref() != Some("104"));
        assert_eq!(of(&tasks, "vzdump", "105"), None);
    }

    #[test]
    fn it_is_said_with_its_reason() {
        let expected = Expected::last(Duration::from_secs(0));
        assert_eq!(expected.to_string(), "under 1s (as the last one took)");
        let expected = Expected::last(Duration::from_mins(4));
        assert_eq!(expected.to_string(), "4m (as the last one took)");
    }
}
