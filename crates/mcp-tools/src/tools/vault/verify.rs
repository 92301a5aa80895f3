//! `backup_verify`: lets a backup server read snapshots again, and says which cannot be read.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use estate::{Access, DatastoreName, Upid};
use jiff::Timestamp;
use mcp_protocol::JsonObject;
use pbs_client::{
    datastores::{self, VerifyParams},
    snapshots::{Snapshot, VerifyState},
};
use serde::Deserialize;
use serde_json::json;

use super::spot::{self, Asked, Spot, object};
use crate::{
    address::Purpose,
    error::ToolError,
    fleet::Pbs,
    plan::{ActionTool, Done, Plan, Step, Undo},
    report::{Cell, Report, Table, age, bytes, rfc3339},
    schema::{Input, Output},
    tool::{Cx, Definition},
    tools::tally::counted,
};

/// The tool.
pub struct BackupVerify;

#[derive(Deserialize)]
struct Args {
    cluster: Option<String>,
    datastore: Option<String>,
    namespace: Option<String>,
    group: Option<String>,
    guest: Option<String>,
    time: Option<String>,
    again: Option<bool>,
    outdated_days: Option<u32>,
}

/// What is verified.
#[derive(Clone)]
struct Scope {
    server: Arc<Pbs>,
    store: DatastoreName,
    /// One namespace; all without.
    namespace: Option<String>,
    spot: Option<Spot>,
    time: Option<Timestamp>,
}

type Listed = Vec<(String, Snapshot)>;

#[async_trait]
impl ActionTool for BackupVerify {
    fn definition(&self) -> Definition {
        Definition {
            name: "backup_verify",
            title: "Verify backups on PBS",
            description: "One snapshot, a group, a namespace or a datastore; names what cannot be read. \
                What was verified before is passed over unless again or outdated_days.",
            input: Input::new()
                .text("cluster", "PBS key")
                .text("datastore", "")
                .text("namespace", "")
                .text("group", "such as vm/104")
                .text("guest", "instead of group: cluster/vmid")
                .text("time", "one snapshot: RFC 3339, or latest")
                .boolean("again", "")
                .integer("outdated_days", 0..=3650, ""),
            output: Output::new()
                .fact("place", "string")
                .fact("tally", "object")
                .fact("status", "string")
                .fact("upid", "string")
                .table("failed"),
            access: Access::Operate,
            // It reads, and writes down what it found.
            idempotent: true,
        }
    }

    fn access(&self, _args: &JsonObject) -> Access {
        Access::Operate
    }

    async fn plan(&self, cx: &Cx, args: JsonObject) -> Result<Plan, ToolError> {
        let args: Args = cx.args(args)?;
        let (scope, notes) = scope(cx, &args).await?;
        let now = cx.now();
        let (all, unseen) = scope.list().await?;
        // A snapshot that is named is meant to be read, whatever was found before.
        let again = args.again.unwrap_or(scope.time.is_some()) && args.outdated_days.is_none();
        let is_due = |one: &Snapshot| is_due(one, again, args.outdated_days, now);
        let due: Vec<&Snapshot> =
            all.iter().map(|(_, one)| one).filter(|one| is_due(one)).collect();
        let label = scope.label();
        if all.is_empty() {
            let lead = format!("{label} has no snapshots, as far as the token sees");
            return Err(unseen.into_iter().fold(ToolError::not_found(lead), ToolError::hint));
        }
        if due.is_empty() {
            let failed = all.iter().filter(|(_, one)| is_failed(one)).count();
            return Ok(Plan::already(nothing(&label, all.len(), failed, &scope)));
        }
        let size: u64 = due.iter().filter_map(|one| one.size_bytes).sum();
        let passed = all.len() - due.len();
        let what = format!("verification of {label}");
        let mut plan = Plan::new(what.as_str())
            .fact("place", label.as_str())
            .effect(format!(
                "{} of {} are read in full ({} before deduplication), which loads the server's disks",
                counted(due.len(), "snapshot"),
                all.len(),
                bytes(size)
            ))
            .undo(Undo::By("nothing to undo: it only writes down what it found".to_owned()))
            .target(label.as_str(), [("snapshots", all.len().to_string())]);
        plan.notes.extend(notes.into_iter().chain(unseen));
        let bad = all.iter().filter(|(_, one)| is_failed(one) && !is_due(one)).count();
        if bad > 0 {
            let text = format!(
                "{} that failed before are passed over as well: again=true reads them",
                counted(bad, "snapshot")
            );
            plan = plan.warn("failed_are_passed_over", text);
        }
        let path = scope.path();
        let needed = ["Datastore.Verify", "Datastore.Backup"];
        if let Some(text) = spot::lacks(cx, &scope.server, &path, &needed).await {
            plan = plan.warn("privilege", text);
        }
        let request = datastores::verify(&scope.store, scope.params(again, args.outdated_days));
        let step =
            Step::pbs(&scope.server, format!("verify {label}"), request).judged().stoppable();
        Ok(plan.step(step).settle(move |cx, done| settle(cx, scope, passed, done)))
    }
}

/// Whether the server will read a snapshot.
fn is_due(one: &Snapshot, again: bool, outdated: Option<u32>, now: Timestamp) -> bool {
    let Some(check) = &one.verification else { return true };
    let Some(days) = outdated else { return again };
    let verified = check.upid.as_ref().map(Upid::started);
    verified.is_none_or(|at| (now.as_second() - at.as_second()) / 86_400 > i64::from(days))
}

fn is_failed(one: &Snapshot) -> bool {
    one.verification.as_ref().is_some_and(|check| check.state == VerifyState::Failed)
}

/// The answer where everything was verified before.
fn nothing(label: &str, count: usize, failed: usize, scope: &Scope) -> Report {
    let lead = match failed {
        0 => format!("{label}: all {} are verified already", counted(count, "snapshot")),
        failed => format!(
            "{label}: all {} were verified already, and {failed} of them failed",
            counted(count, "snapshot")
        ),
    };
    let mut args = scope.args();
    args["again"] = true.into();
    Report::new(lead)
        .fact("place", label)
        .fact("status", "unchanged")
        .fact("tally", json!({"snapshots": count, "failed": failed, "read": 0}))
        .next("backup_verify", args)
}

async fn scope(cx: &Cx, args: &Args) -> Result<(Scope, Vec<String>), ToolError> {
    let asked = Asked {
        cluster: args.cluster.as_deref(),
        datastore: args.datastore.as_deref(),
        namespace: args.namespace.as_deref(),
    };
    let (spot, notes) = match (&args.group, &args.guest) {
        (Some(_), Some(_)) => {
            return Err(ToolError::new("group and guest both say what is meant: give one"));
        }
        (Some(group), None) => (Some(spot::group(cx, asked, group).await?), Vec::new()),
        (None, Some(guest)) => {
            let found = cx.fleet.find_guest(guest, Purpose::Write).await?;
            let spot = spot::of_guest(cx, &found, asked).await?;
            (Some(spot), found.notes)
        }
        (None, None) => (None, Vec::new()),
    };
    let Some(spot) = spot else {
        if args.time.is_some() {
            return Err(ToolError::new("time names a snapshot of a group: give group or guest"));
        }
        let (server, store, namespace) = spot::namespace(cx, asked).await?;
        return Ok((Scope { server, store, namespace, spot: None, time: None }, notes));
    };
    let time = match &args.time {
        Some(text) => {
            let all = spot.snapshots().await?;
            Some(spot::pick(&spot, &all, text, cx.now())?.time)
        }
        None => None,
    };
    let place = spot.place.clone();
    let namespace = Some(place.namespace.clone());
    let scope =
        Scope { server: place.server, store: place.store, namespace, spot: Some(spot), time };
    Ok((scope, notes))
}

// === impl Scope ===

impl Scope {
    fn label(&self) -> String {
        match (&self.spot, self.time) {
            (Some(spot), Some(time)) => format!("{}/{}", spot.label(), rfc3339(time)),
            (Some(spot), None) => spot.label(),
            (None, _) => {
                let namespace = self.namespace.as_deref().unwrap_or_default();
                let slash = if namespace.is_empty() { "" } else { "/" };
                format!("{}:{}{slash}{namespace}", self.server.key, self.store)
            }
        }
    }

    fn path(&self) -> String {
        let namespace = self.namespace.as_deref().unwrap_or_default();
        let slash = if namespace.is_empty() { "" } else { "/" };
        format!("/datastore/{}{slash}{namespace}", self.store)
    }

    fn args(&self) -> serde_json::Value {
        let mut args = match &self.spot {
            Some(spot) => spot.args(),
            None => json!({"cluster": self.server.key.as_str(), "datastore": self.store.as_str()}),
        };
        if let (None, Some(namespace)) = (&self.spot, &self.namespace) {
            args["namespace"] = namespace.as_str().into();
        }
        if let Some(time) = self.time {
            args["time"] = rfc3339(time).into();
        }
        args
    }

    fn params(&self, again: bool, outdated_after_days: Option<u32>) -> VerifyParams {
        let group = self.spot.as_ref().map(|spot| &spot.group);
        let named = self.namespace.clone().filter(|name| !name.is_empty());
        VerifyParams {
            // One namespace that is named is meant without those below it.
            max_depth: (group.is_none() && self.namespace.is_some()).then_some(0),
            namespace: named,
            backup_type: group.map(|group| group.backup_type.to_string()),
            backup_id: group.map(|group| group.backup_id.clone()),
            backup_time: self.time,
            ignore_verified: Some(!again),
            outdated_after_days,
        }
    }

    async fn list(&self) -> Result<(Listed, Vec<String>), ToolError> {
        let Some(spot) = &self.spot else {
            return spot::walk(&self.server, &self.store, self.namespace.as_deref()).await;
        };
        let all = spot.snapshots().await?.into_iter();
        let of_time = all.filter(|one| self.time.is_none_or(|time| one.time == time));
        let namespace = &spot.place.namespace;
        Ok((of_time.map(|one| (namespace.clone(), one)).collect(), Vec::new()))
    }
}

/// What the task wrote down about each snapshot.
async fn settle(cx: Cx, scope: Scope, passed: usize, done: Done) -> Result<Report, ToolError> {
    let label = scope.label();
    let outcome = done.steps.last().map(|(_, outcome)| outcome.clone()).unwrap_or_default();
    let (all, notes) = scope.list().await?;
    let by_task = |one: &Snapshot| {
        let check = one.verification.as_ref();
        check.is_some_and(|check| check.upid.is_some() && check.upid == outcome.upid)
    };
    let mut tally: BTreeMap<&str, usize> = BTreeMap::new();
    let mut table = Table::new("failed", &["namespace", "group", "time", "age"]);
    for (namespace, one) in all.iter().filter(|(_, one)| by_task(one)) {
        if !is_failed(one) {
            *tally.entry("ok").or_default() += 1;
            continue;
        }
        *tally.entry("failed").or_default() += 1;
        let shown = if namespace.is_empty() { "(root)" } else { namespace.as_str() };
        table.push(vec![
            Cell::with(namespace.as_str(), shown),
            Cell::text(format!("{}/{}", one.backup_type, one.backup_id)),
            Cell::text(rfc3339(one.time)),
            Cell::text(age(one.time, cx.now())),
        ]);
    }
    let count = |word: &str| tally.get(word).copied().unwrap_or_default();
    let (good, bad) = (count("ok"), count("failed"));
    let facts = json!({"read": good + bad, "ok": good, "failed": bad, "passed_over": passed});
    let passed = match passed {
        0 => String::new(),
        passed => format!(", {passed} passed over (verified before)"),
    };
    let complete = |mut report: Report| {
        report.notes.extend(notes.iter().cloned());
        report.fact("tally", facts.clone())
    };
    match (&outcome.failed, bad) {
        (None, _) => {
            let lead = format!(
                "{label}: {} verified in {}, all can be read{passed}",
                counted(good + bad, "snapshot"),
                done.span()
            );
            Ok(complete(done.report(lead)))
        }
        // The task failed, but not for what it read.
        (Some(cause), 0) => {
            let lead = format!("verification of {label} failed: {cause}");
            Err(ToolError::from_report(complete(done.report(lead)).fact("status", "failed")))
        }
        (Some(_), bad) => {
            let lead = format!(
                "{label}: {bad} of {} cannot be read in full{passed}",
                counted(good + bad, "verified snapshot")
            );
            let report = complete(done.report(lead)).fact("status", "failed").table(table);
            Err(ToolError::from_report(report)
                .hint("they cannot be restored in full; other snapshots of the same guest can share the damage")
                .hint("the next backup writes chunks that were found bad again: run one, then verify it")
                .next("backup_snapshots", object(json!({
                    "cluster": scope.server.key.as_str(), "datastore": scope.store.as_str(), "verified": "failed",
                }))))
        }
    }
}
