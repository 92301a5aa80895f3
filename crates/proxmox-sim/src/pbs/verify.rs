//! Verification: reads snapshots again, and finds those that cannot be read.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::datastores::{need, store};
use super::prune::within;
use super::snapshots::{fits, known_ns, ns};
use crate::call::{Call, Handlers};
use crate::http::{Answer, Fault, data};
use crate::state::vault::{Backup, Datastore, Vault};
use crate::state::{Outcome, Plan};

pub(super) const HANDLERS: Handlers = &[("POST", "/admin/datastore/{store}/verify", verify)];

/// Where a snapshot is, so that it is found again when the task ends.
type Place = (String, &'static str, String, i64);

/// What to verify, and what to pass over.
struct Job {
    kind: &'static str,
    id: String,
    name: String,
    /// By namespace and group, newest first.
    chosen: Vec<Place>,
    /// Leave out what was verified, whatever came out, …
    skip: bool,
    /// … unless that is so many days ago.
    outdated: Option<i64>,
}

fn place(backup: &Backup) -> Place {
    (backup.ns.clone(), backup.kind, backup.id.clone(), backup.time)
}

fn choose(store: &Datastore, wanted: impl Fn(&Backup) -> bool) -> Vec<Place> {
    let mut chosen: Vec<Place> =
        store.snapshots.iter().filter(|backup| wanted(backup)).map(place).collect();
    chosen.sort_by(|a, b| (&a.0, a.1, &a.2, -a.3).cmp(&(&b.0, b.1, &b.2, -b.3)));
    chosen
}

fn verify(call: &mut Call<'_>) -> Answer {
    let ns = ns(call);
    store(call)?;
    need(call, &ns, "Datastore.Verify", "Datastore.Backup")?;
    known_ns(call, &ns)?;
    let name = call.arg("store").to_owned();
    let depth = call.int("max-depth");
    let given = (call.text("backup-type"), call.text("backup-id"), call.int("backup-time"));
    let (kind, id) = match given {
        (None, None, None) if ns.is_empty() => ("verify", name.clone()),
        (None, None, None) => ("verify", format!("{name}:{ns}")),
        (Some(kind), Some(id), None) => ("verify_group", format!("{name}:{ns}/{kind}/{id}")),
        (Some(kind), Some(id), Some(time)) => {
            ("verify_snapshot", format!("{name}:{ns}/{kind}/{id}/{time:08X}"))
        }
        _ => return Err(Fault::bad("parameters do not specify a backup group or snapshot")),
    };
    let whole = kind == "verify";
    let chosen = choose(store(call)?, |backup| {
        if whole { within(&backup.ns, &ns, depth) } else { fits(call, &ns, backup) }
    });
    if !whole && chosen.is_empty() {
        return Err(super::snapshots::absent(call));
    }
    let job = Job {
        kind,
        id,
        name,
        chosen,
        skip: call.flag("ignore-verified") != Some(false),
        outdated: call.int("outdated-after"),
    };
    let plan = task(call, job);
    let (home, user) = (call.pbs(), call.who.to_string());
    data(call.estate.start_task(home, 0, &user, plan))
}

/// A verification of a configured job.
pub(super) fn job(call: &Call<'_>, id: &str, job: &Map<String, Value>) -> Result<Plan, Fault> {
    let name = job["store"].as_str().unwrap_or_default().to_owned();
    let ns = job.get("ns").and_then(Value::as_str).unwrap_or_default();
    let depth = job.get("max-depth").and_then(Value::as_i64);
    let store = call
        .vault()
        .store(&name)
        .ok_or_else(|| Fault::bad(format!("no such datastore '{name}'")))?;
    let chosen = choose(store, |backup| within(&backup.ns, ns, depth));
    Ok(task(
        call,
        Job {
            kind: "verificationjob",
            id: format!("{name}:{id}"),
            name,
            chosen,
            skip: job.get("ignore-verified").and_then(Value::as_bool) != Some(false),
            outdated: job.get("outdated-after").and_then(Value::as_i64),
        },
    ))
}

fn task(call: &Call<'_>, job: Job) -> Plan {
    let at = call.home;
    let mut groups: BTreeMap<String, usize> = BTreeMap::new();
    for (ns, kind, id, _) in &job.chosen {
        *groups.entry(format!("{ns}:{kind}/{id}")).or_default() += 1;
    }
    let lines = if job.kind == "verify_snapshot" {
        Vec::new()
    } else {
        vec![
            format!("verify datastore {}", job.name),
            format!("found {} groups", groups.len()),
            "using 1 read and 4 verify thread(s)".to_owned(),
        ]
    };
    let (kind, id) = (job.kind, job.id.clone());
    Plan::new(kind, id, 5000.0, move |estate| {
        let now = estate.seconds();
        read(&mut estate.vaults[at], now, &job, &groups)
    })
    .lines(lines)
}

/// Reads what is chosen and writes down what came of it.
fn read(vault: &mut Vault, now: i64, job: &Job, groups: &BTreeMap<String, usize>) -> Outcome {
    let newest = vault.tasks.list.iter().rev().find(|task| task.kind == job.kind);
    let upid = newest.map(|task| task.upid.clone()).unwrap_or_default();
    let started: BTreeMap<String, i64> =
        vault.tasks.list.iter().map(|task| (task.upid.clone(), task.start)).collect();
    let (mut lines, mut failed) = (Vec::new(), Vec::new());
    let Some(store) = vault.store_mut(&job.name) else {
        return Outcome::fail(format!("no such datastore '{}'", job.name));
    };
    let (mut group, mut done) = (String::new(), 0);
    for (ns, kind, id, time) in &job.chosen {
        let shown = format!("{ns}:{kind}/{id}");
        if shown != group && job.kind != "verify_snapshot" {
            group.clone_from(&shown);
            let count = groups.get(&shown).copied().unwrap_or(0);
            let in_ns = if ns.is_empty() { String::new() } else { format!("{ns}/") };
            lines.push(format!("verify group {}:{in_ns}{kind}/{id} ({count} snapshots)", job.name));
        }
        let found = store.snapshots.iter_mut().find(|backup| {
            (&backup.ns, backup.kind, &backup.id, backup.time) == (ns, *kind, id, *time)
        });
        // One that was removed meanwhile is passed over.
        let Some(backup) = found else { continue };
        let path = format!("{}:{}", job.name, backup.path());
        let age = backup.verified.as_ref().map(|(_, upid)| now - started.get(upid).unwrap_or(&0));
        let fresh = age.is_some_and(|age| job.outdated.is_none_or(|days| age / 86_400 <= days));
        if job.skip && fresh {
            lines.push(format!("SKIPPED: verify {path} (recently verified)"));
        } else {
            lines.push(format!("verify {path}"));
            for (file, size) in backup.files().iter().filter(|(file, _)| file.ends_with("idx")) {
                let mib = *size as f64 / f64::from(1 << 20);
                let errors = u8::from(backup.corrupt);
                lines.push(format!("  check {file}"));
                if backup.corrupt {
                    lines.push(
                        "can't verify chunk, load failed - blob too small (0 bytes).".to_owned(),
                    );
                }
                lines.push(format!(
                    "  verified {:.2}/{mib:.2} MiB in 1.00 seconds, speed {:.2}/{mib:.2} MiB/s ({errors} errors)",
                    mib * 0.6,
                    mib * 0.6
                ));
            }
            backup.verified = Some((!backup.corrupt, upid.clone()));
            if backup.corrupt {
                lines.push(format!("verify {path} failed: chunks could not be verified"));
                failed.push(format!(
                    "{}{}",
                    if ns.is_empty() { String::new() } else { format!("ns/{ns}/") },
                    backup.path()
                ));
            }
        }
        done += 1;
        let share = f64::from(done) * 100.0 / job.chosen.len().max(1) as f64;
        lines.push(format!("percentage done: {share:.2}% ({done}/{} snapshots)", job.chosen.len()));
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
}
