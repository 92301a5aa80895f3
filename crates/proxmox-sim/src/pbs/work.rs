//! What runs as a task: verification, pruning, garbage collection, synchronisation.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::datastores::{need, store};
use super::snapshots::{fits, ns};
use crate::call::{Call, Handlers};
use crate::http::{Answer, Fault, data};
use crate::state::vault::Backup;
use crate::state::{Outcome, Plan};

pub(super) const HANDLERS: Handlers = &[
    ("POST", "/admin/datastore/{store}/gc", gc),
    ("POST", "/admin/datastore/{store}/verify", verify),
    ("POST", "/admin/datastore/{store}/prune", prune_group),
    ("POST", "/admin/datastore/{store}/prune-datastore", prune_store),
    ("POST", "/admin/verify/{id}/run", |call| run(call, "verify")),
    ("POST", "/admin/prune/{id}/run", |call| run(call, "prune")),
    ("POST", "/admin/sync/{id}/run", |call| run(call, "sync")),
];

fn start(call: &mut Call<'_>, plan: Plan) -> Answer {
    let (home, user) = (call.pbs(), call.who.to_string());
    data(call.estate.start_task(home, 0, &user, plan))
}

fn gc(call: &mut Call<'_>) -> Answer {
    store(call)?;
    need(call, "", "Datastore.Modify", "Datastore.Modify")?;
    let name = call.arg("store").to_owned();
    let (at, began) = (call.home, call.estate.seconds());
    let lines = vec![
        format!("starting garbage collection on store {name}"),
        "Access time update check successful, proceeding with GC.".to_owned(),
        "Start GC phase1 (mark used chunks)".to_owned(),
        "Start GC phase2 (sweep unused chunks)".to_owned(),
    ];
    let id = name.clone();
    let plan = Plan::new("garbage_collection", id, 6000.0, move |estate| {
        let now = estate.seconds();
        let mut lines = Vec::new();
        if let Some(store) = estate.vaults[at].store_mut(&name) {
            let removed = store.used / 500;
            store.used -= removed;
            store.gc.end = now;
            store.gc.duration = now - began;
            "OK".clone_into(&mut store.gc.state);
            store.gc.removed = removed;
            lines = vec![
                format!("Removed garbage: {:.3} GiB", removed as f64 / (1_u64 << 30) as f64),
                format!("Removed chunks: {}", removed / 2_400_000),
                format!("On-Disk chunks: {}", store.used / 2_400_000),
                "Deduplication factor: 14.21".to_owned(),
            ];
        }
        Outcome::with(lines)
    });
    let answer = start(call, plan.lines(lines))?;
    if let crate::http::Data::Value(upid) = &answer.data {
        let upid = upid.as_str().map(str::to_owned);
        let name = call.arg("store").to_owned();
        if let Some(store) = call.vault_mut().store_mut(&name) {
            store.gc.upid = upid;
        }
    }
    Ok(answer)
}

fn verify(call: &mut Call<'_>) -> Answer {
    let ns = ns(call);
    store(call)?;
    need(call, &ns, "Datastore.Verify", "Datastore.Backup")?;
    let name = call.arg("store").to_owned();
    let whole = call.text("backup-id").is_none();
    let kind = match (whole, call.int("backup-time")) {
        (true, _) => "verify",
        (false, None) => "verify_group",
        (false, Some(_)) => "verify_snapshot",
    };
    let mut id = name.clone();
    if !whole {
        id = format!(
            "{name}:{}/{}",
            call.text("backup-type").unwrap_or_default(),
            call.text("backup-id").unwrap_or_default()
        );
    }
    let skip = call.flag("ignore-verified") != Some(false);
    let chosen: Vec<usize> = store(call)?
        .snapshots
        .iter()
        .enumerate()
        .filter(|(_, backup)| fits(call, &ns, backup) || (whole && ns.is_empty()))
        .map(|(at, _)| at)
        .collect();
    let plan = check(call, kind, id, &name, chosen, skip);
    start(call, plan)
}

/// The task that verifies the chosen snapshots of a datastore.
fn check(
    call: &Call<'_>,
    kind: &'static str,
    id: String,
    name: &str,
    chosen: Vec<usize>,
    skip: bool,
) -> Plan {
    let (at, name) = (call.home, name.to_owned());
    let lines =
        vec![format!("verify datastore {name}"), format!("found {} snapshots", chosen.len())];
    Plan::new(kind, id, 5000.0, move |estate| {
        let mut lines = Vec::new();
        let mut failed = Vec::new();
        let vault = &mut estate.vaults[at];
        let upid = vault
            .tasks
            .list
            .iter()
            .rev()
            .find(|task| task.kind == kind)
            .map(|task| task.upid.clone());
        let upid = upid.unwrap_or_default();
        if let Some(store) = vault.store_mut(&name) {
            for at in chosen {
                let Some(backup) = store.snapshots.get_mut(at) else { continue };
                let shown = format!("{name}:{}", backup.path());
                match &backup.verified {
                    Some((true, _)) if skip => {
                        lines.push(format!("SKIPPED: verify {shown} (recently verified)"));
                    }
                    Some((false, _)) => {
                        lines.push(format!("verify {shown}"));
                        lines.push(
                            "can't verify chunk, load failed - blob too small (0 bytes)."
                                .to_owned(),
                        );
                        failed.push(backup.path());
                        backup.verified = Some((false, upid.clone()));
                    }
                    _ => {
                        lines.push(format!("verify {shown}"));
                        backup.verified = Some((true, upid.clone()));
                    }
                }
            }
        }
        if failed.is_empty() {
            return Outcome::with(lines);
        }
        lines.push("Failed to verify the following snapshots/groups:".to_owned());
        lines.extend(failed.iter().map(|path| format!("\t{path}")));
        Outcome {
            lines,
            result: Err("verification failed - please check the log for details".to_owned()),
        }
    })
    .lines(lines)
}

/// Which of a group's snapshots the rules keep, newest first.
fn keeps(rules: &Map<String, Value>, backups: &[&Backup]) -> Vec<bool> {
    let count = |key: &str| rules.get(key).and_then(Value::as_u64).unwrap_or(0) as usize;
    let any = ["last", "hourly", "daily", "weekly", "monthly", "yearly"]
        .iter()
        .any(|key| rules.contains_key(&format!("keep-{key}")));
    let mut keep = vec![!any; backups.len()];
    for (at, slot) in keep.iter_mut().enumerate() {
        *slot |= at < count("keep-last") || backups[at].protected;
    }
    for (key, pattern) in [
        ("keep-hourly", "%Y%m%d%H"),
        ("keep-daily", "%Y%m%d"),
        ("keep-weekly", "%G%V"),
        ("keep-monthly", "%Y%m"),
        ("keep-yearly", "%Y"),
    ] {
        let mut seen: Vec<String> = Vec::new();
        for (at, backup) in backups.iter().enumerate() {
            let span = crate::clock::utc(backup.time, pattern);
            if !seen.contains(&span) && seen.len() < count(key) {
                seen.push(span);
                keep[at] = true;
            }
        }
    }
    keep
}

/// What pruning decides for each snapshot that fits, by index.
fn decide(call: &Call<'_>, ns: &str) -> Result<Vec<(usize, bool)>, Fault> {
    let store = store(call)?;
    let mut groups: BTreeMap<(&str, &str), Vec<usize>> = BTreeMap::new();
    for (at, backup) in store.snapshots.iter().enumerate() {
        if fits(call, ns, backup) {
            groups.entry((backup.kind, &backup.id)).or_default().push(at);
        }
    }
    let mut decided = Vec::new();
    for mut members in groups.into_values() {
        members.sort_by_key(|at| std::cmp::Reverse(store.snapshots[*at].time));
        let backups: Vec<&Backup> = members.iter().map(|at| &store.snapshots[*at]).collect();
        decided.extend(members.iter().copied().zip(keeps(&call.params, &backups)));
    }
    Ok(decided)
}

fn prune_group(call: &mut Call<'_>) -> Answer {
    let ns = ns(call);
    store(call)?;
    need(call, &ns, "Datastore.Modify", "Datastore.Prune")?;
    let mut decided = decide(call, &ns)?;
    let store = store(call)?;
    decided.sort_by_key(|(at, _)| store.snapshots[*at].time);
    let rows: Vec<Value> = decided
        .iter()
        .map(|(at, keep)| {
            let backup = &store.snapshots[*at];
            json!({
                "backup-type": backup.kind, "backup-id": backup.id, "backup-time": backup.time, "keep": keep,
                "protected": backup.protected,
            })
        })
        .collect();
    if call.flag("dry-run") != Some(true) {
        let gone: Vec<usize> =
            decided.into_iter().filter(|(_, keep)| !keep).map(|(at, _)| at).collect();
        let name = call.arg("store").to_owned();
        if let Some(store) = call.vault_mut().store_mut(&name) {
            forget(&mut store.snapshots, &gone);
        }
    }
    data(rows)
}

fn forget(backups: &mut Vec<Backup>, gone: &[usize]) {
    let mut at = 0;
    backups.retain(|_| {
        at += 1;
        !gone.contains(&(at - 1))
    });
}

fn prune_store(call: &mut Call<'_>) -> Answer {
    let ns = ns(call);
    store(call)?;
    need(call, &ns, "Datastore.Modify", "Datastore.Prune")?;
    let name = call.arg("store").to_owned();
    let dry = call.flag("dry-run") == Some(true);
    let decided = decide(call, &ns)?;
    let lines = decided
        .iter()
        .map(|(at, keep)| {
            let word = if *keep { "keep" } else { "remove" };
            store(call)
                .map(|store| format!("{} {word}", store.snapshots[*at].path()))
                .unwrap_or_default()
        })
        .collect();
    let gone: Vec<usize> =
        decided.into_iter().filter(|(_, keep)| !keep).map(|(at, _)| at).collect();
    let (at, id) = (call.home, name.clone());
    let plan = Plan::new("prune", id, 2000.0, move |estate| {
        if !dry && let Some(store) = estate.vaults[at].store_mut(&name) {
            forget(&mut store.snapshots, &gone);
        }
        Outcome::ok()
    });
    start(call, plan.lines(lines))
}

/// Runs a configured job now.
fn run(call: &mut Call<'_>, kind: &str) -> Answer {
    let id = call.arg("id").to_owned();
    let vault = call.vault();
    let (jobs, word) = match kind {
        "verify" => (&vault.verify_jobs, "verification"),
        "prune" => (&vault.prune_jobs, "prune"),
        _ => (&vault.sync_jobs, "sync"),
    };
    let job = jobs.iter().find(|job| job["id"] == id.as_str()).cloned();
    let job = job.ok_or_else(|| Fault::bad(format!("no such {word} '{id}'")))?;
    let name = job["store"].as_str().unwrap_or_default().to_owned();
    let path = format!("/datastore/{name}");
    let privilege = match kind {
        "verify" => "Datastore.Verify",
        "prune" => "Datastore.Modify",
        _ => "Datastore.Backup",
    };
    if !call.grants.may(&path, privilege) {
        return Err(Fault::new(
            403,
            format!("permission check failed - missing {privilege} on {path}"),
        ));
    }
    let plan = match kind {
        "verify" => {
            let chosen = vault.store(&name).map_or(0, |store| store.snapshots.len());
            check(
                call,
                "verificationjob",
                format!("{name}:{id}"),
                &name,
                (0..chosen).collect(),
                true,
            )
        }
        "prune" => Plan::new("prunejob", format!("{name}:{id}"), 1500.0, |_| Outcome::ok()).lines(
            vec![format!(
                "Starting datastore prune on datastore '{name}' namespace '', down to full depth"
            )],
        ),
        _ => {
            let remote = job["remote"].as_str().unwrap_or("local").to_owned();
            let source = job["remote-store"].as_str().unwrap_or_default().to_owned();
            Plan::new("syncjob", format!("{remote}:{source}:{name}::{id}"), 8000.0, move |_| {
                Outcome::with(vec![
                    "Finished syncing namespace , current progress: 0 groups, 0 snapshots"
                        .to_owned(),
                ])
            })
            .lines(vec![format!("Starting datastore sync job '{remote}:{source}:{name}::{id}'")])
        }
    };
    start(call, plan)
}
