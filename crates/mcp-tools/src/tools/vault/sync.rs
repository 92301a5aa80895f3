//! `sync_run`: runs a configured sync job of a backup server now, and says what arrived.

use std::{collections::BTreeSet, sync::Arc};

use async_trait::async_trait;
use estate::Access;
use jiff::Timestamp;
use mcp_protocol::JsonObject;
use pbs_client::{
    jobs::{self, JobKind, SyncJob},
    snapshots::Snapshot,
};
use serde::Deserialize;
use serde_json::json;

use super::spot::{self, object};
use crate::{
    address::quoted,
    error::{Kind, ToolError},
    fleet::{GATHER_DEADLINE, Pbs},
    plan::{ActionTool, Done, Plan, Step, Undo},
    report::{Cell, Report, Table, age, bytes, rfc3339},
    schema::{Input, Output},
    tool::{Cx, Definition},
    tools::tally::counted,
};

/// The tool.
pub struct SyncRun;

#[derive(Deserialize)]
struct Args {
    cluster: Option<String>,
    job: String,
    #[serde(default)]
    allow_removal: bool,
}

/// What tells one snapshot from another within a datastore.
type Key = (String, String, String, Timestamp);

#[async_trait]
impl ActionTool for SyncRun {
    fn definition(&self) -> Definition {
        Definition {
            name: "sync_run",
            title: "Run a sync job now",
            description: "A PBS sync job (copies to or from another server), followed to its end; says what arrived.",
            input: Input::new()
                .text("cluster", "PBS key")
                .text("job", "")
                .required("job")
                .boolean("allow_removal", "for jobs that remove what vanished at the source"),
            output: Output::new()
                .fact("job", "string")
                .fact("status", "string")
                .fact("upid", "string")
                .fact("arrived", "integer")
                .fact("removed", "integer"),
            access: Access::Destroy,
            idempotent: false,
        }
    }

    fn access(&self, args: &JsonObject) -> Access {
        // A job that removes what vanished loses copies; one that only adds does not.
        match args.get("allow_removal") {
            Some(serde_json::Value::Bool(true)) => Access::Destroy,
            _ => Access::Operate,
        }
    }

    async fn plan(&self, cx: &Cx, args: JsonObject) -> Result<Plan, ToolError> {
        let args: Args = cx.args(args)?;
        let (server, job) = find(cx, args.cluster.as_deref(), &args.job).await?;
        let label = format!("{}/{}", server.key, job.id);
        let removes = job.remove_vanished == Some(true);
        if removes && !args.allow_removal {
            let mut again = json!({"cluster": server.key.as_str(), "job": job.id});
            again["allow_removal"] = true.into();
            let lead = format!(
                "sync job {label} was not run: it also removes copies whose original has vanished"
            );
            return Err(ToolError::from_report(Report::new(lead).fact("status", "refused"))
                .hint("allow_removal says that this is meant")
                .next("sync_run", object(again)));
        }
        let what = format!("sync job {label}");
        let (from, to) = ends(&server, &job);
        let mut plan = Plan::new(what.as_str())
            .fact("job", label.as_str())
            .effect(format!("copies new snapshots from {from} to {to}"))
            .effect("verification is not copied: a copy counts as never verified")
            .target(
                label.as_str(),
                [
                    ("remote", job.remote.clone().unwrap_or_else(|| "-".to_owned())),
                    ("removes", removes.to_string()),
                ],
            );
        plan = if removes {
            plan.effect("removes copies whose original has vanished, unless they are protected")
                .warn("removes", format!("what the job removes in {to} is gone"))
                .undo(Undo::Never("what vanished at the source is in no copy any more".to_owned()))
        } else {
            plan.undo(Undo::By("remove the copies that arrived".to_owned()))
        };
        // What arrives can only be told apart where the target is on this server.
        let pulls = job.direction.as_deref() != Some("push");
        let before = if pulls { Some(held(&server, &job).await?) } else { None };
        let path = format!("/datastore/{}", job.datastore);
        if let Some(text) = spot::lacks(cx, &server, &path, &["Datastore.Backup"]).await {
            plan = plan.warn("privilege", text);
        }
        let request = jobs::run(&JobKind::Sync, &job.id);
        let step = Step::pbs(&server, format!("run sync job {label}"), request).stoppable();
        Ok(plan.step(step).settle(move |cx, done| settle(cx, server, job, label, before, done)))
    }
}

/// The job of that name; several servers can have one.
async fn find(
    cx: &Cx,
    cluster: Option<&str>,
    name: &str,
) -> Result<(Arc<Pbs>, SyncJob), ToolError> {
    let members = cx.fleet.pbs(cluster)?;
    let ask = |member: Arc<Pbs>| async move { member.client.call(jobs::sync_jobs(None)).await };
    let gathered = cx.fleet.gather(members, GATHER_DEADLINE, ask).await;
    let mut found = Vec::new();
    let mut table = Table::new("jobs", &["cluster", "job", "datastore", "remote", "last", "state"]);
    for (member, all) in &gathered.answers {
        for job in all {
            table.push(vec![
                Cell::text(member.key.as_str()),
                Cell::text(&*job.id),
                Cell::text(job.datastore.as_str()),
                Cell::opt(job.remote.clone()),
                Cell::opt(job.last_end.map(|end| age(end, cx.now()))),
                Cell::opt(job.last_state.clone()),
            ]);
            if job.id == name.trim() {
                found.push((Arc::clone(member), job.clone()));
            }
        }
    }
    if cluster.is_none() && gathered.is_partial() && found.len() == 1 {
        let lead = format!("a server is silent and could have a sync job {} as well", quoted(name));
        return Err(ToolError::new(lead)
            .of_kind(Kind::Unavailable)
            .hint(format!("give cluster={}", found[0].0.key))
            .with_silence(&gathered));
    }
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => {
            let lead = format!("no sync job is called {}, as far as the token sees", quoted(name));
            Err(ToolError::not_found(lead).choices(table).with_silence(&gathered))
        }
        count => Err(ToolError::new(format!("{} is a job of {count} servers", quoted(name)))
            .of_kind(Kind::Ambiguous)
            .hint("give cluster")
            .choices(table)),
    }
}

/// Where a job copies from and to.
fn ends(server: &Pbs, job: &SyncJob) -> (String, String) {
    let place = |server: &str, store: &str, namespace: Option<&str>| match namespace {
        Some(name) if !name.is_empty() => format!("{server}:{store}/{name}"),
        _ => format!("{server}:{store}"),
    };
    let here = place(server.key.as_str(), job.datastore.as_str(), job.namespace.as_deref());
    let store = job.remote_datastore.as_ref().map(ToString::to_string).unwrap_or_default();
    let remote = job.remote.as_deref().unwrap_or(server.key.as_str());
    let there = place(remote, &store, job.remote_namespace.as_deref());
    if job.direction.as_deref() == Some("push") { (here, there) } else { (there, here) }
}

/// What the target holds: every snapshot below the job's namespace.
async fn held(server: &Arc<Pbs>, job: &SyncJob) -> Result<Vec<(Key, Snapshot)>, ToolError> {
    let (all, _) = spot::walk(server, &job.datastore, None).await?;
    let top = job.namespace.as_deref().unwrap_or_default();
    let below = |name: &str| {
        top.is_empty() || name == top || name.strip_prefix(top).is_some_and(|r| r.starts_with('/'))
    };
    let rows = all.into_iter().filter(|(name, _)| below(name)).map(|(name, one)| {
        ((name, one.backup_type.to_string(), one.backup_id.clone(), one.time), one)
    });
    Ok(rows.collect())
}

async fn settle(
    cx: Cx,
    server: Arc<Pbs>,
    job: SyncJob,
    label: String,
    before: Option<Vec<(Key, Snapshot)>>,
    done: Done,
) -> Result<Report, ToolError> {
    let (_, to) = ends(&server, &job);
    let ended = done.ended();
    let Some(before) = before else {
        let lead = format!("sync job {label} ended {ended} ({})", done.span());
        return Ok(done.report(lead).note("it pushes: what arrived is on the other server"));
    };
    let after = match held(&server, &job).await {
        Ok(after) => after,
        Err(error) => {
            let lead = format!("sync job {label} ended {ended}");
            return Ok(done.report(lead).note(error.message().to_owned()));
        }
    };
    let keys = |rows: &[(Key, Snapshot)]| -> BTreeSet<Key> {
        rows.iter().map(|(key, _)| key.clone()).collect()
    };
    let (old, new) = (keys(&before), keys(&after));
    let arrived: Vec<&Snapshot> =
        after.iter().filter(|(key, _)| !old.contains(key)).map(|(_, one)| one).collect();
    let removed = old.difference(&new).count();
    let size: u64 = arrived.iter().filter_map(|one| one.size_bytes).sum();
    let mut lead = format!(
        "sync job {label} ended {ended} ({}): {} arrived in {to} ({} before deduplication)",
        done.span(),
        counted(arrived.len(), "snapshot"),
        bytes(size)
    );
    if removed > 0 {
        lead = format!("{lead}, {removed} removed");
    }
    let newest = after.iter().map(|(_, one)| one.time).max();
    let mut report = done.report(lead).fact("arrived", arrived.len()).fact("removed", removed);
    if let Some(newest) = newest {
        let old = age(newest, cx.now());
        report = report.note(format!("the newest copy there: {} ({old} old)", rfc3339(newest)));
    }
    if arrived.is_empty() {
        return Ok(report);
    }
    Ok(report.next(
        "backup_verify",
        json!({"cluster": server.key.as_str(), "datastore": job.datastore.as_str()}),
    ))
}
