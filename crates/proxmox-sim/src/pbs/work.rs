//! Garbage collection, and configured jobs run now.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::datastores::{need, store};
use super::prune::within;
use super::{prune, verify};
use crate::call::{Call, Handlers};
use crate::http::{Answer, Fault, data};
use crate::state::vault::{Backup, CUTOFF_SECS, Datastore};
use crate::state::{Outcome, Plan};

pub(super) const HANDLERS: Handlers = &[
    ("POST", "/admin/datastore/{store}/gc", gc),
    ("POST", "/admin/verify/{id}/run", |call| run(call, "verify")),
    ("POST", "/admin/prune/{id}/run", |call| run(call, "prune")),
    ("POST", "/admin/sync/{id}/run", |call| run(call, "sync")),
];

/// The size of a chunk on disk, on average.
const CHUNK: u64 = 2_400_000;

fn start(call: &mut Call<'_>, plan: Plan) -> Answer {
    let (home, user) = (call.pbs(), call.who.to_string());
    data(call.estate.start_task(home, 0, &user, plan))
}

fn gc(call: &mut Call<'_>) -> Answer {
    let files = store(call)?.snapshots.len() * 2;
    need(call, "", "Datastore.Modify", "Datastore.Modify")?;
    let name = call.arg("store").to_owned();
    let (at, began) = (call.home, call.estate.seconds());
    let oldest = crate::clock::utc(began - CUTOFF_SECS, "%Y-%m-%dT%H:%M:%SZ");
    let mut lines = vec![
        format!("starting garbage collection on store {name}"),
        "Access time update check successful, proceeding with GC.".to_owned(),
        format!("Using access time cutoff 1d 5m, minimum access time is {oldest}"),
        "Start GC phase1 (mark used chunks)".to_owned(),
    ];
    for part in 1..=4 {
        let done = files * part / 4;
        lines.push(format!("marked {}% ({done} of {files} index files)", part * 25));
    }
    lines.push("Start GC phase2 (sweep unused chunks)".to_owned());
    let id = name.clone();
    let plan = Plan::new("garbage_collection", id, 6000.0, move |estate| {
        let now = estate.seconds();
        let mut lines = Vec::new();
        if let Some(store) = estate.vaults[at].store_mut(&name) {
            let removed = store.sweep(began);
            store.gc.end = now;
            store.gc.duration = now - began;
            "OK".clone_into(&mut store.gc.state);
            lines = swept(store, removed);
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

/// The lines with which a collection ends.
fn swept(store: &Datastore, removed: u64) -> Vec<String> {
    let index = store.index_bytes();
    let chunks = |bytes: u64| bytes / CHUNK;
    let mut lines = vec![
        format!("processed 100% ({} chunks)", chunks(store.used)),
        "Chunk cache: hits 1204331, misses 88120 (hit ratio 93.18%)".to_owned(),
        format!("Removed garbage: {}", shown(removed)),
        format!("Removed chunks: {}", chunks(removed)),
    ];
    if store.gc.pending > 0 {
        let pending = store.gc.pending;
        lines.push(format!("Pending removals: {} (in {} chunks)", shown(pending), chunks(pending)));
    }
    let factor = index as f64 / store.used.max(1) as f64;
    lines.extend([
        format!("Original data usage: {}", shown(index)),
        format!("On-Disk usage: {} ({:.2}%)", shown(store.used), 100.0 / factor.max(0.01)),
        format!("On-Disk chunks: {}", chunks(store.used)),
        format!("Deduplication factor: {factor:.2}"),
        format!("Average chunk size: {}", shown(CHUNK)),
    ]);
    lines
}

/// `40.399 MiB`, as the server writes sizes.
fn shown(bytes: u64) -> String {
    for (shift, unit) in [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")] {
        if bytes >= 1 << shift {
            let text = format!("{:.3}", bytes as f64 / (1_u64 << shift) as f64);
            return format!("{} {unit}", text.trim_end_matches('0').trim_end_matches('.'));
        }
    }
    format!("{bytes} B")
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
        "verify" => verify::job(call, &id, &job)?,
        "prune" => prune::job(call, &id, &job)?,
        _ => sync(call, &id, &job),
    };
    start(call, plan)
}

/// A synchronization. The remote is taken to hold what this server's own datastore of that name
/// holds; what is not in the target yet arrives, without its verification, which belongs to the copy.
fn sync(call: &Call<'_>, id: &str, job: &Map<String, Value>) -> Plan {
    let text = |key: &str| job.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (name, ns) = (text("store"), text("ns"));
    let (source, source_ns) = (text("remote-store"), text("remote-ns"));
    let owner = Some(text("owner")).filter(|owner| !owner.is_empty());
    let owner = owner.unwrap_or_else(|| "root@pam".to_owned());
    let remote = job.get("remote").and_then(Value::as_str).unwrap_or("-").to_owned();
    let depth = job.get("max-depth").and_then(Value::as_i64);
    let vanish = job.get("remove-vanished").and_then(Value::as_bool) == Some(true);
    let last = job.get("transfer-last").and_then(Value::as_u64).map(|last| last as usize);
    let worker = format!("{remote}:{source}:{name}:{ns}:{id}");
    let lines = vec![
        format!("Starting datastore sync job '{worker}'"),
        format!("sync datastore '{name}' from '{remote}/{source}'"),
    ];
    let at = call.home;
    Plan::new("syncjob", worker, 8000.0, move |estate| {
        let vault = &mut estate.vaults[at];
        let Some(from) = vault.store(&source) else {
            return Outcome::fail(format!("no such datastore '{source}'"));
        };
        let mut lines = Vec::new();
        let mut arriving: Vec<Backup> = from
            .snapshots
            .iter()
            .filter(|backup| within(&backup.ns, &source_ns, depth))
            .cloned()
            .map(|mut backup| {
                let rest = backup.ns.strip_prefix(&source_ns).unwrap_or_default();
                let rest = rest.trim_start_matches('/').to_owned();
                backup.ns = match (ns.as_str(), rest.as_str()) {
                    (top, "") => top.to_owned(),
                    ("", rest) => rest.to_owned(),
                    (top, rest) => format!("{top}/{rest}"),
                };
                backup.owner.clone_from(&owner);
                (backup.verified, backup.protected) = (None, false);
                backup
            })
            .collect();
        arriving.sort_by_key(|backup| std::cmp::Reverse(backup.time));
        let Some(target) = vault.store_mut(&name) else {
            return Outcome::fail(format!("no such datastore '{name}'"));
        };
        let key =
            |backup: &Backup| (backup.ns.clone(), backup.kind, backup.id.clone(), backup.time);
        let remote_keys: BTreeSet<_> = arriving.iter().map(key).collect();
        let had: BTreeSet<_> = target.snapshots.iter().map(key).collect();
        let mut groups = std::collections::BTreeMap::<_, usize>::new();
        let (mut pulled, mut skipped, mut bytes) = (0, 0, 0);
        for backup in arriving {
            let seen =
                groups.entry((backup.ns.clone(), backup.kind, backup.id.clone())).or_default();
            *seen += 1;
            if had.contains(&key(&backup)) || last.is_some_and(|last| *seen > last) {
                skipped += 1;
                continue;
            }
            if target.used + backup.own_bytes() > target.total {
                return Outcome { lines, result: Err("sync failed with some errors.".to_owned()) };
            }
            if !target.has_namespace(&backup.ns) {
                target.namespaces.push(backup.ns.clone());
            }
            lines.push(format!("sync snapshot {}", backup.path()));
            pulled += 1;
            bytes += backup.own_bytes();
            target.store(backup);
        }
        let mut vanished = 0;
        if vanish {
            vanished = target.forget(|backup| {
                within(&backup.ns, &ns, None)
                    && !backup.protected
                    && !remote_keys.contains(&key(backup))
            });
        }
        lines.push(format!(
            "Finished syncing namespace {ns}, current progress: {} groups, {pulled} snapshots",
            groups.len()
        ));
        lines.push(format!(
            "Summary: sync pulled {} in {pulled} snapshots, skipped {skipped}, removed {vanished}",
            shown(bytes)
        ));
        Outcome::with(lines)
    })
    .lines(lines)
}
