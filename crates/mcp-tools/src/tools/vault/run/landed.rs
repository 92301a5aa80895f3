//! What backup runs left behind: of each guest whether it worked, and where its backup is.

use std::collections::BTreeMap;

use estate::{Upid, VmId};
use jiff::Timestamp;
use pve_client::{
    storage::{self, ContentKind, Volume},
    tasks,
};
use serde_json::json;

use super::{Run, label};
use crate::{
    error::ToolError,
    fleet::Pve,
    follow::clean_cause,
    plan::{Done, StepOutcome},
    report::{Cell, Report, Table, bytes, rfc3339},
    tools::{backups::log, power::named, tally::counted},
    view::Guest,
};

/// How much earlier than its task a backup can seem to have begun: both are whole seconds of the
/// node's own clock.
const SLACK_SECS: i64 = 2;

/// The most lines of a run's log that are read for its causes.
const LOG_LINES: u64 = 5000;

/// What a run left of one guest.
struct Landed {
    guest: Guest,
    label: String,
    volume: Option<Volume>,
    cause: Option<String>,
}

/// What the runs left: each guest's own outcome, and where its backup is.
pub(super) async fn settle(runs: Vec<Run>, done: Done) -> Result<Report, ToolError> {
    let mut results = Vec::new();
    let mut notes = Vec::new();
    for run in runs {
        let outcome = done.steps.iter().find(|(what, _)| *what == run.what);
        let outcome = outcome.map(|(_, outcome)| outcome.clone()).unwrap_or_default();
        results.extend(outcome_of(run, &outcome, &mut notes).await);
    }
    let failed: Vec<&Landed> = results.iter().filter(|result| result.cause.is_some()).collect();
    let lead = lead_of(&results, &failed, &done);
    let mut table = Table::new("backups", &["guest", "state", "size", "where", "volume", "cause"]);
    for result in &results {
        let size = result.volume.as_ref().map(|volume| volume.size_bytes);
        table.push(vec![
            Cell::text(result.guest.at.to_string()),
            Cell::text(if result.cause.is_some() { "failed" } else { "ok" }),
            Cell::opt(size.map(|size| Cell::with(size, bytes(size)))),
            Cell::text(&*result.label),
            Cell::opt(result.volume.as_ref().map(|volume| volume.id.clone())),
            Cell::opt(result.cause.clone()),
        ]);
    }
    let tally = json!({"guests": results.len(), "failed": failed.len()});
    let mut report = done.report(lead).fact("tally", tally);
    report.notes.extend(notes);
    for result in results.iter().filter(|result| result.cause.is_none()).take(1) {
        if let Some((tool, args)) = next_of(result) {
            report = report.next(tool, args);
        }
    }
    // One guest that worked is told in the sentence.
    match (results.as_slice(), failed.is_empty()) {
        ([one], true) => {
            report = report.fact("guest", one.guest.at.to_string()).fact("place", &*one.label);
            if let Some(volume) = &one.volume {
                report = report.fact("volume", &*volume.id).fact("size_bytes", volume.size_bytes);
            }
        }
        _ => report = report.table(table),
    }
    if failed.is_empty() {
        return Ok(report);
    }
    let report = report.fact("status", "failed");
    Err(ToolError::from_report(report))
}

fn lead_of(results: &[Landed], failed: &[&Landed], done: &Done) -> String {
    match (results, failed) {
        ([one], []) => {
            let what = match &one.volume {
                Some(volume) => {
                    let made = volume.created.map(rfc3339).unwrap_or_default();
                    format!("{}, {made}", bytes(volume.size_bytes))
                }
                None => "the backup itself is not shown to the token".to_owned(),
            };
            format!(
                "{} is backed up to {}: {what} ({}, {})",
                named(&one.guest),
                one.label,
                done.ended(),
                done.span()
            )
        }
        ([one], [_]) => {
            let cause = one.cause.as_deref().unwrap_or("unknown");
            format!("backup of {} failed: {cause}", named(&one.guest))
        }
        (all, []) => {
            let size: u64 =
                all.iter().filter_map(|one| Some(one.volume.as_ref()?.size_bytes)).sum();
            format!(
                "{} are backed up: {} in {}",
                counted(all.len(), "guest"),
                bytes(size),
                done.span()
            )
        }
        (all, failed) => {
            let who: Vec<String> = failed
                .iter()
                .map(|one| {
                    format!("{}: {}", named(&one.guest), one.cause.as_deref().unwrap_or("?"))
                })
                .collect();
            format!(
                "{} of {} are backed up; failed: {}",
                all.len() - failed.len(),
                counted(all.len(), "guest"),
                who.join("; ")
            )
        }
    }
}

/// The call that checks a new backup.
fn next_of(result: &Landed) -> Option<(&'static str, serde_json::Value)> {
    result.label.contains(':').then_some(())?;
    let time = result.volume.as_ref()?.created.map(rfc3339)?;
    Some(("backup_verify", json!({"guest": result.guest.at.to_string(), "time": time})))
}

/// What a run left of each of its guests.
async fn outcome_of(run: Run, outcome: &StepOutcome, notes: &mut Vec<String>) -> Vec<Landed> {
    let started = outcome.upid.as_ref().map(Upid::started);
    let said = match (&outcome.failed, &outcome.upid) {
        (Some(_), Some(upid)) => causes(&run.member, upid).await,
        _ => BTreeMap::new(),
    };
    let kind = Some(&ContentKind::Backup);
    let listed =
        run.member.operator.call(storage::content(&run.node, &run.storage, kind, None)).await;
    let volumes = listed.unwrap_or_else(|error| {
        let why = stdx::Chain(&error);
        notes.push(format!("the backups on {} cannot be read back: {why}", run.storage));
        Vec::new()
    });
    let label = label(run.place.as_ref(), &run.storage);
    let mut results = Vec::new();
    for (guest, later) in run.guests.into_iter().zip(run.volumes) {
        let vmid = guest.at.vmid;
        let is_new = |volume: &&Volume| {
            let made = volume.created.map(Timestamp::as_second);
            volume.vmid == Some(vmid)
                && made.zip(started).is_some_and(|(made, at)| made >= at.as_second() - SLACK_SECS)
        };
        let volume = volumes.iter().filter(is_new).max_by_key(|one| one.created).cloned();
        let cause = match (&outcome.failed, said.get(&vmid)) {
            (None, _) | (Some(_), Some(log::Result::Done)) => None,
            // Without its own word it was not reached, or the log cannot be read.
            (Some(_), Some(log::Result::Failed(cause))) | (Some(cause), None) => {
                Some(clean_cause(cause))
            }
        };
        let volume = volume.filter(|_| cause.is_none());
        if let Some(volume) = &volume {
            later.comes(&*volume.id);
        }
        results.push(Landed { guest, label: label.clone(), volume, cause });
    }
    results
}

/// What the log of a run says of each guest.
async fn causes(member: &Pve, upid: &Upid) -> BTreeMap<VmId, log::Result> {
    let request = tasks::log(upid, 0, Some(LOG_LINES));
    let lines = member.operator.call(request).await.unwrap_or_default();
    log::read(lines.iter().map(|line| line.text.as_str()))
}
