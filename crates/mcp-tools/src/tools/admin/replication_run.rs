//! `replication_run`: runs a replication job now, and follows it to its end.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use estate::Access;
use jiff::Timestamp;
use mcp_protocol::JsonObject;
use pve_client::cluster::replication::{self, ReplicationStatus};
use serde::Deserialize;
use serde_json::json;

use super::{
    act::{given, watch},
    replication::{find, load},
};
use crate::{
    error::{Kind, ToolError},
    fleet::Pve,
    plan::{ActionTool, Done, Plan, Step, Undo},
    report::{Report, age, rfc3339},
    schema::{Input, Output},
    tool::{Cx, Definition},
};

/// The scheduler looks once a minute, and a first copy takes long.
const PATIENCE: Duration = Duration::from_hours(2);

/// Runs replication jobs.
pub struct ReplicationRun;

#[derive(Debug, Deserialize)]
struct Args {
    cluster: Option<String>,
    job: String,
}

#[async_trait]
impl ActionTool for ReplicationRun {
    fn definition(&self) -> Definition {
        Definition {
            name: "replication_run",
            title: "Run a replication job",
            description: "Runs a storage replication job now and follows it to its end.",
            input: Input::new().text("job", "113-0").required("job").cluster(),
            output: Output::new()
                .fact("job", "string")
                .fact("status", "string")
                .fact("last_sync", "string"),
            access: Access::Operate,
            idempotent: true,
        }
    }

    fn access(&self, _args: &JsonObject) -> Access {
        Access::Operate
    }

    async fn plan(&self, cx: &Cx, args: JsonObject) -> Result<Plan, ToolError> {
        let args: Args = cx.args(args)?;
        let job = args.job.trim();
        let gathered = load(cx, given(args.cluster.as_ref())).await?;
        if args.cluster.is_none() && !job.contains('/') && gathered.is_partial() {
            return Err(ToolError::new("nothing is run by the bare job while a cluster is silent")
                .of_kind(Kind::Unavailable)
                .hint("name it as cluster/job")
                .with_silence(&gathered));
        }
        let (member, facts, job) = find(&gathered, job)?;
        let at = format!("{}/{}", member.key, job.id);
        if job.disabled {
            return Err(ToolError::new(format!("{at} is disabled, so nothing would run it"))
                .hint("enable it first (api_call PUT /cluster/replication/{id} disable=0)"));
        }
        let Some((node, before)) = facts.states.get(&job.id) else {
            return Err(ToolError::new(format!("the node of {at} does not say how the job goes"))
                .of_kind(Kind::Unavailable)
                .with_silence(&gathered));
        };
        if before.pid.is_some() {
            return Err(ToolError::new(format!("{at} is running already"))
                .next("replication_list", super::act::object(json!({"job": at}))));
        }
        let request = replication::schedule_now(node, &job.id);
        let last = before.last_try;
        let (id, guest) = (job.id.clone(), job.guest);
        let (watched, source, name) = (Arc::clone(member), node.clone(), at.clone());
        let wait = watch(
            format!("the run of {at}"),
            PATIENCE,
            format!("{at} has not ended within two hours"),
            move |running| {
                let (member, node) = (Arc::clone(&watched), source.clone());
                let (id, name) = (id.clone(), name.clone());
                async move {
                    let told = member.client.call(replication::status(&node, Some(guest))).await;
                    let Ok(all) = told else { return Ok(None) };
                    let Some(now) = all.into_iter().find(|it| it.id == id) else { return Ok(None) };
                    if now.pid.is_some() {
                        running.tell("copying");
                        return Ok(None);
                    }
                    if now.last_try == last {
                        return Ok(None);
                    }
                    ended(&member, &name, &now).await.map(Some)
                }
            },
        );
        let mut plan = Plan::new(format!("run of replication job {at}"))
            .fact("job", at.as_str())
            .target(at.as_str(), [("node", node.as_str()), ("target", job.target.as_str())])
            .effect(format!(
                "what changed of guest {guest} is copied from {node} to {}",
                job.target
            ))
            .undo(Undo::By("nothing to undo: a copy is brought up to date".to_owned()))
            .expect(before.duration_secs.map(|secs| Duration::from_secs_f64(secs.max(0.0))))
            .step(Step::pve(member, format!("asking for the run of {at}"), request))
            .step(wait);
        if before.fail_count > 0 {
            let why = before.error.as_deref().unwrap_or("no cause is told");
            plan = plan.warn(
                "failed_before",
                format!(
                    "its last {} runs failed: {}",
                    before.fail_count,
                    stdx::untrusted::line(why, 160)
                ),
            );
        }
        let (member, node, id) = (Arc::clone(member), node.clone(), job.id.clone());
        Ok(plan.settle(move |cx, done| async move {
            let told = member.client.call(replication::status(&node, Some(guest))).await;
            let state = told.ok().and_then(|all| all.into_iter().find(|it| it.id == id));
            Ok(report(&at, state.as_ref(), &done, cx.now()))
        }))
    }
}

/// How the run ended: what there is to say, or why it failed.
async fn ended(member: &Arc<Pve>, at: &str, now: &ReplicationStatus) -> Result<String, ToolError> {
    if now.fail_count == 0 && now.error.is_none() {
        return Ok("it is done".to_owned());
    }
    let why = now.error.as_deref().unwrap_or("no cause is told");
    let why = stdx::untrusted::line(why, 300);
    let mut report = Report::new(format!("replication job {at} failed: {why}"))
        .fact("status", "failed")
        .fact("failures", now.fail_count)
        .next("replication_list", json!({"cluster": member.key.as_str(), "job": now.id}));
    let node = now.source.as_ref();
    if let Some(node) = node
        && let Ok(lines) = member.client.call(replication::log(node, &now.id, Some(100))).await
    {
        let lines: Vec<String> = lines.into_iter().map(|line| line.text).collect();
        report = report.untrusted(format!("log of {at}"), lines.join("\n"));
    }
    Err(ToolError::from_report(report))
}

fn report(at: &str, state: Option<&ReplicationStatus>, done: &Done, now: Timestamp) -> Report {
    let Some(sync) = state.and_then(|state| state.last_sync) else {
        return done.report(format!("replication job {at} ran ({})", done.span()));
    };
    let took = state
        .and_then(|it| it.duration_secs)
        .map_or_else(String::new, |secs| format!(", copied in {secs:.1} s"));
    done.report(format!("replication job {at} ran: in sync since {} ago{took}", age(sync, now)))
        .fact("last_sync", rfc3339(sync))
}
