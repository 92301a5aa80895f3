//! What is wrong with a cluster or a backup server, and how wrong.

use estate::TaskStatus;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{ClusterFacts, DAY_HOURS, Quorum, ServerFacts, day_before, only, quorum};
use crate::{
    fleet::Traits,
    report::{age, bytes, percent},
    tools::tally::counted,
    view::GuestStatus,
};

/// From this share in use on, a storage is near full.
const NEAR_FULL: f64 = 0.85;
/// From this share in use on, it is as good as full.
const FULL: f64 = 0.95;

/// How serious a problem is, worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rank {
    Critical,
    Error,
    Warning,
    /// Worth a word, no problem.
    Notice,
}

/// Something that an operator wants to know.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    pub(crate) rank: Rank,
    pub(crate) what: String,
    pub(crate) text: String,
    pub(crate) next: Option<(&'static str, Value)>,
}

// === impl Rank ===

impl Rank {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Notice => "notice",
        }
    }
}

/// A member that says nothing: whatever is wrong there, nobody would hear of it here.
pub(super) fn of_silence(
    key: &str,
    product: &str,
    is_expected: bool,
    why: &str,
    out: &mut Vec<Problem>,
) {
    let (tool, whose) = match product {
        "pbs" => ("storage_list", "backups"),
        _ => ("cluster_status", "guests"),
    };
    let text = format!("not seen, its {whose} are unknown: {}", stdx::untrusted::line(why, 90));
    out.push(Problem {
        rank: if is_expected { Rank::Notice } else { Rank::Critical },
        what: key.to_owned(),
        text,
        next: Some((tool, Value::Object(only(key)))),
    });
}

/// A storage on a backup server is told as well as its datastore: that they are the same one is not
/// known for sure, and told twice is better than not at all.
pub(super) fn of_cluster(
    key: &str,
    traits: &Traits,
    facts: &ClusterFacts,
    now: Timestamp,
    out: &mut Vec<Problem>,
) {
    let mut add = |rank, what: String, text: String, next| {
        out.push(Problem { rank, what, text, next });
    };
    let view = &facts.view;
    if quorum(facts) == Quorum::Lost {
        let next = Some(("cluster_status", Value::Object(only(key))));
        add(Rank::Critical, key.to_owned(), "no quorum: nothing can be changed".to_owned(), next);
    }
    for node in view.offline_nodes() {
        let what = format!("{key}/{}", node.name);
        if traits.expects_off(node.name.as_str()) {
            add(Rank::Notice, what, format!("{}, as expected", node.status), None);
        } else {
            let guests = view
                .guests
                .iter()
                .filter(|guest| guest.node == node.name && !guest.is_template())
                .count();
            let verb = if guests == 1 { "is" } else { "are" };
            let guests = counted(guests, "guest");
            let text = format!("node {}; {guests} there {verb} unknown", node.status);
            let next = Some(("cluster_status", Value::Object(only(key))));
            add(Rank::Critical, what, text, next);
        }
    }
    for guest in &view.guests {
        let is_error = matches!(guest.ha_state.as_deref(), Some("error" | "fence" | "recovery"));
        let expected = traits.expects_off(&guest.at.vmid.to_string());
        if is_error && !expected && guest.status != GuestStatus::Template {
            let state = guest.ha_state.as_deref().unwrap_or_default();
            let text = format!("{}: HA state {state}", guest.name);
            let next = Some(("guest_get", json!({"guest": guest.at.to_string()})));
            add(Rank::Error, guest.at.to_string(), text, next);
        }
    }
    for storage in view.distinct_storages() {
        let what = if storage.shared {
            format!("{key}/{}", storage.name)
        } else {
            format!("{key}/{}/{}", storage.node, storage.name)
        };
        let next =
            Some(("storage_list", json!({"cluster": key, "storage": storage.name.as_str()})));
        let away = view.nodes.iter().any(|node| node.name == storage.node && !node.is_online());
        if !storage.is_available() && !away {
            add(Rank::Error, what, format!("storage {}", storage.status), next);
        } else if let Some((rank, text)) = fullness(storage.used, storage.size) {
            add(rank, what, text, next);
        }
    }
    if let Ok(tasks) = &facts.tasks {
        let ended = tasks.iter().filter_map(|task| {
            let ended = task.ended?;
            Some((
                ended,
                task.kind.as_str(),
                task.id.as_deref(),
                TaskStatus::parse(task.status.as_deref()?),
            ))
        });
        let running = tasks.iter().filter(|task| task.ended.is_none()).count();
        failures(key, ended, now, &mut add);
        if running > 0 {
            let text = format!("{} running", counted(running, "task"));
            let next = Some(("tasks_list", json!({"cluster": key, "state": "running"})));
            add(Rank::Notice, key.to_owned(), text, next);
        }
    }
}

pub(super) fn of_server(key: &str, facts: &ServerFacts, now: Timestamp, out: &mut Vec<Problem>) {
    let mut add = |rank, what: String, text: String, next| {
        out.push(Problem { rank, what, text, next });
    };
    for store in &facts.datastores {
        let what = format!("{key}/{}", store.name);
        if let Some(error) = &store.error {
            add(Rank::Error, what, error.clone(), None);
            continue;
        }
        let (used, total) = datastore_figures(store);
        if let Some((rank, text)) = fullness(used, total) {
            add(rank, what, text, None);
        }
    }
    if let Ok(tasks) = &facts.tasks {
        let ended = tasks.iter().filter_map(|task| {
            let ended = task.ended?;
            Some((
                ended,
                task.kind.as_str(),
                task.id.as_deref(),
                TaskStatus::parse(task.status.as_deref()?),
            ))
        });
        failures(key, ended, now, &mut add);
    }
}

/// Used and all bytes of a datastore; zeros where it does not say.
pub(super) fn datastore_figures(store: &pbs_client::datastores::DatastoreUsage) -> (u64, u64) {
    (store.used_bytes.unwrap_or_default(), store.total_bytes.unwrap_or_default())
}

fn fullness(used: u64, size: u64) -> Option<(Rank, String)> {
    if size == 0 {
        return None;
    }
    let share = used as f64 / size as f64;
    let rank = match share {
        share if share >= FULL => Rank::Critical,
        share if share >= NEAR_FULL => Rank::Warning,
        _ => return None,
    };
    let free = bytes(size.saturating_sub(used));
    Some((rank, format!("{} full, {free} free", percent(share))))
}

/// One line for all failed tasks of the last day, with the newest as the example.
fn failures<'a>(
    key: &str,
    ended: impl Iterator<Item = (Timestamp, &'a str, Option<&'a str>, TaskStatus)>,
    now: Timestamp,
    add: &mut impl FnMut(Rank, String, String, Option<(&'static str, Value)>),
) {
    let since = day_before(now);
    let failed = ended.filter(|(time, _, _, status)| *time >= since && !status.is_success());
    let mut failed: Vec<_> = failed.collect();
    failed.sort_by_key(|(time, ..)| std::cmp::Reverse(*time));
    let Some((time, kind, id, status)) = failed.first() else { return };
    let count = counted(failed.len(), "recent task");
    let id = id.filter(|id| !id.is_empty()).map(|id| format!(" {id}")).unwrap_or_default();
    let cause = status.to_string();
    let cause = stdx::untrusted::line(&cause, 48);
    // Clusters keep only so many tasks at hand, so this is a lower bound where much goes on.
    let text =
        format!("{count} failed ({DAY_HOURS}h), last {kind}{id} {} ago: {cause}", age(*time, now));
    let next = Some(("tasks_list", json!({"cluster": key, "state": "failed"})));
    add(Rank::Warning, key.to_owned(), text, next);
}
