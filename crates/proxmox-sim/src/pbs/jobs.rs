//! Jobs, remotes, traffic rules.

mod change;

pub(super) use change::{conflict, listed};

use serde_json::{Map, Value, json};

use crate::call::{Call, Handlers};
use crate::http::{Answer, Fault, Reply};

pub(super) const HANDLERS: Handlers = &[
    ("POST", "/config/verify", |call| change::create(call, "verify")),
    ("PUT", "/config/verify/{id}", |call| change::update(call, "verify")),
    ("DELETE", "/config/verify/{id}", |call| change::delete(call, "verify")),
    ("POST", "/config/sync", |call| change::create(call, "sync")),
    ("PUT", "/config/sync/{id}", |call| change::update(call, "sync")),
    ("DELETE", "/config/sync/{id}", |call| change::delete(call, "sync")),
    ("POST", "/config/prune", |call| change::create(call, "prune")),
    ("PUT", "/config/prune/{id}", |call| change::update(call, "prune")),
    ("DELETE", "/config/prune/{id}", |call| change::delete(call, "prune")),
    ("POST", "/config/tape-backup-job", |call| change::create(call, "tape-backup")),
    ("PUT", "/config/tape-backup-job/{id}", |call| change::update(call, "tape-backup")),
    ("DELETE", "/config/tape-backup-job/{id}", |call| change::delete(call, "tape-backup")),
    ("GET", "/admin/verify", |call| {
        status(call, "verificationjob", call.vault().verify_jobs.clone())
    }),
    ("GET", "/admin/sync", |call| status(call, "syncjob", call.vault().sync_jobs.clone())),
    ("GET", "/admin/prune", |call| status(call, "prunejob", call.vault().prune_jobs.clone())),
    ("GET", "/admin/traffic-control", traffic),
    ("GET", "/config/verify", |call| list(&call.vault().verify_jobs)),
    ("GET", "/config/sync", |call| list(&call.vault().sync_jobs)),
    ("GET", "/config/prune", |call| list(&call.vault().prune_jobs)),
    ("GET", "/config/tape-backup-job", tapes),
    ("GET", "/config/tape-backup-job/{id}", |call| {
        one(&call.vault().tape_jobs, "id", call.arg("id"), "tape-backup")
    }),
    ("GET", "/config/remote", |call| list(&call.vault().remotes)),
    ("GET", "/config/traffic-control", |call| list(&call.vault().traffic)),
    ("GET", "/config/verify/{id}", |call| {
        one(&call.vault().verify_jobs, "id", call.arg("id"), "verification")
    }),
    ("GET", "/config/sync/{id}", |call| one(&call.vault().sync_jobs, "id", call.arg("id"), "sync")),
    ("GET", "/config/prune/{id}", |call| {
        one(&call.vault().prune_jobs, "id", call.arg("id"), "prune")
    }),
    ("GET", "/config/remote/{name}", |call| {
        one(&call.vault().remotes, "name", call.arg("name"), "remote")
    }),
];

fn list(jobs: &[Map<String, Value>]) -> Answer {
    let digest = crate::state::digest64(&format!("{jobs:?}"));
    Ok(Reply::from(jobs.iter().cloned().map(Value::Object).collect::<Value>())
        .with("digest", digest))
}

/// The jobs that the caller may see; whoever may see none gets an empty list.
fn tapes(call: &mut Call<'_>) -> Answer {
    let jobs = &call.vault().tape_jobs;
    let digest = crate::state::digest64(&format!("{jobs:?}"));
    let may = |job: &Map<String, Value>| {
        let id = job["id"].as_str().unwrap_or_default();
        call.grants.may(&format!("/tape/job/{id}"), "Tape.Audit")
    };
    let seen = jobs.iter().filter(|job| may(job)).cloned().map(Value::Object);
    Ok(Reply::from(seen.collect::<Value>()).with("digest", digest))
}

fn one(jobs: &[Map<String, Value>], key: &str, name: &str, word: &str) -> Answer {
    let found = jobs.iter().find(|job| job[key] == name);
    let job = found.ok_or_else(|| Fault::bad(format!("no such {word} '{name}'")))?;
    Ok(Reply::from(Value::Object(job.clone()))
        .with("digest", crate::state::digest64(&format!("{jobs:?}"))))
}

/// When a schedule fires next, near enough: the coming night.
pub(super) fn next(call: &Call<'_>, schedule: &str) -> i64 {
    let days = if schedule.starts_with('s') || schedule == "weekly" { 4 } else { 1 };
    (call.estate.seconds() / 86_400 + days) * 86_400
}

fn status(call: &Call<'_>, kind: &str, jobs: Vec<Map<String, Value>>) -> Answer {
    let digest = crate::state::digest64(&format!("{jobs:?}"));
    let tasks = &call.vault().tasks.list;
    let rows = jobs.into_iter().map(|mut job| {
        let id = job["id"].as_str().unwrap_or_default().to_owned();
        let schedule = job.get("schedule").and_then(Value::as_str).unwrap_or_default().to_owned();
        job.insert("next-run".to_owned(), json!(next(call, &schedule)));
        let last = tasks.iter().rev().find(|task| task.kind == kind && task.id.ends_with(&id));
        if let Some(last) = last {
            job.insert("last-run-upid".to_owned(), json!(last.upid));
            if let Some(end) = last.end {
                job.insert("last-run-endtime".to_owned(), json!(end));
                job.insert("last-run-state".to_owned(), json!(last.status));
            }
        }
        Value::Object(job)
    });
    Ok(Reply::from(rows.collect::<Value>()).with("digest", digest))
}

fn traffic(call: &mut Call<'_>) -> Answer {
    let rules = &call.vault().traffic;
    let digest = crate::state::digest64(&format!("{rules:?}"));
    let rows = rules.iter().cloned().map(|mut rule| {
        rule.insert("cur-rate-in".to_owned(), json!(0));
        rule.insert("cur-rate-out".to_owned(), json!(0));
        Value::Object(rule)
    });
    Ok(Reply::from(rows.collect::<Value>()).with("digest", digest))
}
