//! Pruning: which snapshots the keep rules hold, told or done.
//!
//! The rules are taken in order (last, hourly, … yearly). Each keeps the newest snapshot of as many
//! periods as it says, over periods that no earlier rule has kept anything of; what a rule passes
//! over in a period that it keeps is not looked at again. Protected snapshots stay and do not count.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::datastores::{need, store};
use super::snapshots::{fits, known_ns, ns};
use crate::call::{Call, Handlers};
use crate::http::{Answer, Fault, data};
use crate::state::vault::{Backup, Datastore};
use crate::state::{Outcome, Plan};

pub(super) const HANDLERS: Handlers = &[
    ("POST", "/admin/datastore/{store}/prune", prune_group),
    ("POST", "/admin/datastore/{store}/prune-datastore", prune_store),
];

/// The rules in the order in which they are taken, with the period that each keeps one of.
const RULES: &[(&str, &str)] = &[
    ("keep-last", "%s"),
    ("keep-hourly", "%Y/%m/%d/%H"),
    ("keep-daily", "%Y/%m/%d"),
    ("keep-weekly", "%G/%V"),
    ("keep-monthly", "%Y/%m"),
    ("keep-yearly", "%Y"),
];

/// What becomes of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    Keep,
    Protected,
    Remove,
}

impl Mark {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Protected => "protected",
            Self::Remove => "remove",
        }
    }
}

/// Decides for one group: `times` is newest first, each with whether it is protected. `count` says
/// how many a rule keeps, 0 if it is not set. Without any rule everything stays.
pub(crate) fn decide(times: &[(i64, bool)], count: impl Fn(&str) -> usize) -> Vec<Mark> {
    let none = RULES.iter().all(|(rule, _)| count(rule) == 0);
    let mut marks: Vec<Option<Mark>> =
        times.iter().map(|(_, protected)| protected.then_some(Mark::Protected)).collect();
    if none {
        return marks.into_iter().map(|mark| mark.unwrap_or(Mark::Keep)).collect();
    }
    for (rule, period) in RULES {
        let spans: Vec<String> =
            times.iter().map(|(time, _)| crate::clock::utc(*time, period)).collect();
        let had: BTreeSet<&String> = marks
            .iter()
            .zip(&spans)
            .filter(|(mark, _)| **mark == Some(Mark::Keep))
            .map(|(_, span)| span)
            .collect();
        let mut kept = BTreeSet::new();
        for (mark, span) in marks.iter_mut().zip(&spans) {
            if mark.is_some() || had.contains(span) {
                continue;
            }
            if kept.contains(span) {
                *mark = Some(Mark::Remove);
                continue;
            }
            if kept.len() >= count(rule) {
                break;
            }
            kept.insert(span);
            *mark = Some(Mark::Keep);
        }
    }
    marks.into_iter().map(|mark| mark.unwrap_or(Mark::Remove)).collect()
}

/// `keep-last` and the others, as the server repeats them in logs.
fn options(rules: &Map<String, Value>) -> String {
    let set = RULES.iter().filter_map(|(rule, _)| {
        let count = rules.get(*rule).and_then(Value::as_u64)?;
        Some(format!("--{rule} {count}"))
    });
    set.collect::<Vec<_>>().join(" ")
}

/// The fate of the snapshots that `chosen` says, by their group, each group oldest first.
pub(super) fn fates(
    store: &Datastore,
    rules: &Map<String, Value>,
    chosen: impl Fn(&Backup) -> bool,
) -> Vec<(Backup, Mark)> {
    let count = |rule: &str| rules.get(rule).and_then(Value::as_u64).unwrap_or(0) as usize;
    let mut groups: BTreeMap<(&str, &str, &str), Vec<&Backup>> = BTreeMap::new();
    for backup in store.snapshots.iter().filter(|backup| chosen(backup)) {
        groups.entry((&backup.ns, backup.kind, &backup.id)).or_default().push(backup);
    }
    let mut fates = Vec::new();
    for mut members in groups.into_values() {
        members.sort_by_key(|backup| std::cmp::Reverse(backup.time));
        let times: Vec<(i64, bool)> =
            members.iter().map(|backup| (backup.time, backup.protected)).collect();
        let marks = decide(&times, count);
        fates.extend(members.into_iter().cloned().zip(marks).rev());
    }
    fates
}

/// Removes what was decided to go.
pub(super) fn forget(store: &mut Datastore, fates: &[(Backup, Mark)]) {
    store.forget(|backup| {
        fates.iter().any(|(gone, mark)| {
            *mark == Mark::Remove
                && (&gone.ns, gone.kind, &gone.id, gone.time)
                    == (&backup.ns, backup.kind, &backup.id, backup.time)
        })
    });
}

/// What a pruning writes into its log.
pub(super) fn log(rules: &Map<String, Value>, fates: &[(Backup, Mark)], dry: bool) -> Vec<String> {
    let set = options(rules);
    let mut lines = vec![if set.is_empty() {
        "No prune selection - keeping all files.".to_owned()
    } else {
        format!("retention options: {set}")
    }];
    let mut group = String::new();
    for (backup, mark) in fates {
        let shown = format!("Pruning group {}:\"{}\"", backup.ns, backup.group());
        if shown != group {
            group.clone_from(&shown);
            lines.push(shown);
        }
        let would = if dry { "would " } else { "" };
        lines.push(format!("{would}{} {}", mark.word(), backup.path()));
    }
    lines
}

/// The task that prunes; the namespace and what is below it down to `depth`.
pub(super) fn task(
    call: &Call<'_>,
    kind: &'static str,
    id: String,
    name: &str,
    rules: &Map<String, Value>,
    fates: Vec<(Backup, Mark)>,
    head: String,
) -> Plan {
    let dry = rules.get("dry-run").and_then(Value::as_bool) == Some(true);
    let mut lines = vec![head];
    lines.extend(log(rules, &fates, dry));
    let (at, name) = (call.home, name.to_owned());
    Plan::new(kind, id, 2000.0, move |estate| {
        if !dry && let Some(store) = estate.vaults[at].store_mut(&name) {
            forget(store, &fates);
        }
        Outcome::ok()
    })
    .lines(lines)
}

/// Whether `ns` is `top` or at most `depth` levels below it.
pub(super) fn within(ns: &str, top: &str, depth: Option<i64>) -> bool {
    let rest = if top.is_empty() {
        Some(ns)
    } else if ns == top {
        Some("")
    } else {
        ns.strip_prefix(top).and_then(|rest| rest.strip_prefix('/'))
    };
    rest.is_some_and(|rest| {
        let levels = rest.split('/').filter(|level| !level.is_empty()).count() as i64;
        depth.is_none_or(|depth| levels <= depth)
    })
}

fn prune_group(call: &mut Call<'_>) -> Answer {
    let ns = ns(call);
    store(call)?;
    need(call, &ns, "Datastore.Modify", "Datastore.Prune")?;
    known_ns(call, &ns)?;
    let fates = fates(store(call)?, &call.params, |backup| fits(call, &ns, backup));
    let name = call.arg("store").to_owned();
    if call.flag("use-task") == Some(true) {
        let group = fates.first().map(|(backup, _)| backup.shown_group()).unwrap_or_default();
        let head = format!("Starting prune on {name}:{ns} group \"{group}\"");
        let rules = call.params.clone();
        let plan = task(call, "prune", format!("{name}:{group}"), &name, &rules, fates, head);
        let (home, user) = (call.pbs(), call.who.to_string());
        return data(call.estate.start_task(home, 0, &user, plan));
    }
    let rows: Vec<Value> = fates
        .iter()
        .map(|(backup, mark)| {
            json!({
                "backup-type": backup.kind, "backup-id": backup.id, "backup-time": backup.time,
                "keep": *mark != Mark::Remove, "protected": *mark == Mark::Protected,
            })
        })
        .collect();
    if call.flag("dry-run") != Some(true)
        && let Some(store) = call.vault_mut().store_mut(&name)
    {
        forget(store, &fates);
    }
    data(rows)
}

fn prune_store(call: &mut Call<'_>) -> Answer {
    let ns = ns(call);
    store(call)?;
    need(call, &ns, "Datastore.Modify", "Datastore.Prune")?;
    known_ns(call, &ns)?;
    let depth = call.int("max-depth");
    let fates = fates(store(call)?, &call.params, |backup| within(&backup.ns, &ns, depth));
    let name = call.arg("store").to_owned();
    let rules = call.params.clone();
    let head = head(&name, &ns, depth);
    let plan = task(call, "prune", name.clone(), &name, &rules, fates, head);
    let (home, user) = (call.pbs(), call.who.to_string());
    data(call.estate.start_task(home, 0, &user, plan))
}

/// How a pruning of a namespace begins its log.
pub(super) fn head(store: &str, ns: &str, depth: Option<i64>) -> String {
    let depth = depth.map_or("full".to_owned(), |depth| depth.to_string());
    format!(
        "Starting datastore prune on datastore '{store}' namespace '{ns}', down to {depth} depth"
    )
}

/// A pruning of a configured job.
pub(super) fn job(call: &Call<'_>, id: &str, job: &Map<String, Value>) -> Result<Plan, Fault> {
    let name = job["store"].as_str().unwrap_or_default();
    let ns = job.get("ns").and_then(Value::as_str).unwrap_or_default();
    let depth = job.get("max-depth").and_then(Value::as_i64);
    let store = call
        .vault()
        .store(name)
        .ok_or_else(|| Fault::bad(format!("no such datastore '{name}'")))?;
    let fates = fates(store, job, |backup| within(&backup.ns, ns, depth));
    let head = head(name, ns, depth);
    Ok(task(call, "prunejob", format!("{name}:{id}"), name, job, fates, head))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keep(rules: &[(&str, usize)], times: &[&str], protected: &[&str]) -> Vec<&'static str> {
        let times: Vec<(i64, bool)> = times
            .iter()
            .map(|time| {
                let at: jiff::Timestamp = time.parse().unwrap();
                (at.as_second(), protected.contains(time))
            })
            .collect();
        let count =
            |rule: &str| rules.iter().find(|(name, _)| *name == rule).map_or(0, |(_, n)| *n);
        decide(&times, count).into_iter().map(Mark::word).collect()
    }

    #[test]
    fn a_period_that_an_earlier_rule_kept_one_of_is_not_counted_again() {
        let times = [
            "2026-03-05T20:00:00Z",
            "2026-03-05T08:00:00Z",
            "2026-03-04T08:00:00Z",
            "2026-03-03T08:00:00Z",
            "2026-03-03T07:00:00Z",
            "2026-02-27T08:00:00Z",
        ];
        // The fifth has a keeper already, so two days before it count.
        assert_eq!(
            keep(&[("keep-last", 1), ("keep-daily", 2)], &times, &[]),
            ["keep", "remove", "keep", "keep", "remove", "remove"]
        );
        // What a rule passes over is not picked up by a later one.
        assert_eq!(
            keep(&[("keep-daily", 1), ("keep-monthly", 2)], &times, &[]),
            ["keep", "remove", "remove", "remove", "remove", "keep"]
        );
        // Protected ones stay and use up nothing.
        assert_eq!(
            keep(&[("keep-last", 2)], &times, &[times[0]]),
            ["protected", "keep", "keep", "remove", "remove", "remove"]
        );
        assert_eq!(keep(&[], &times[..2], &[]), ["keep", "keep"]);
    }

    #[test]
    fn namespaces_are_within_by_level() {
        assert!(within("a/b", "a", Some(1)) && within("a", "a", Some(0)) && within("x", "", None));
        assert!(!within("a/b", "a", Some(0)) && !within("ab", "a", None));
    }
}
