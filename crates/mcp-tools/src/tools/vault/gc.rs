//! `datastore_gc`: what garbage collection did, will do and can do, and running one.

use std::sync::Arc;

use async_trait::async_trait;
use estate::{Access, DatastoreName};
use mcp_protocol::JsonObject;
use pbs_client::{
    datastores::{self, DatastoreConfig, DatastoreStatus, GcStatus},
    tasks,
};
use serde::Deserialize;
use serde_json::json;

use super::{
    space,
    spot::{self, Asked},
};
use crate::{
    error::ToolError,
    fleet::Pbs,
    plan::{ActionTool, Done, Plan, Step, Undo},
    report::{Cell, Report, age, bytes, rfc3339, used_of},
    schema::{Input, Output},
    tool::{Cx, Definition},
};

/// The tool.
pub struct DatastoreGc;

#[derive(Deserialize)]
struct Args {
    cluster: Option<String>,
    datastore: Option<String>,
    action: Action,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Action {
    Status,
    Run,
}

/// A datastore's collection as the server tells it.
struct Known {
    gc: GcStatus,
    status: Option<DatastoreStatus>,
    /// How long a chunk is left alone, in minutes.
    cutoff: i64,
}

#[async_trait]
impl ActionTool for DatastoreGc {
    fn definition(&self) -> Definition {
        Definition {
            name: "datastore_gc",
            title: "Garbage collection on PBS",
            description: "status: the last and next run, what is pending and when its space comes back. run: collects now.",
            input: Input::new()
                .text("cluster", "PBS key")
                .text("datastore", "")
                .choice("action", &["status", "run"], "")
                .required("action"),
            output: Output::new()
                .fact("datastore", "string")
                .fact("status", "string")
                .fact("upid", "string")
                .fact("removed_bytes", "integer")
                .fact("pending_bytes", "integer")
                .fact("used_bytes", "integer"),
            access: Access::Operate,
            // What it removes, nobody can reach any more.
            idempotent: true,
        }
    }

    fn access(&self, args: &JsonObject) -> Access {
        match args.get("action").and_then(serde_json::Value::as_str) {
            Some("status") => Access::Read,
            _ => Access::Operate,
        }
    }

    async fn plan(&self, cx: &Cx, args: JsonObject) -> Result<Plan, ToolError> {
        let args: Args = cx.args(args)?;
        let asked = Asked {
            cluster: args.cluster.as_deref(),
            datastore: args.datastore.as_deref(),
            namespace: None,
        };
        let (server, store) = spot::datastore(cx, asked).await?;
        let known = Known::read(&server, &store).await?;
        let label = format!("{}:{store}", server.key);
        if args.action == Action::Status {
            return Ok(Plan::already(known.report(cx, &label, &server, &store)));
        }
        refuse_running(&server, &store, &label).await?;
        let what = format!("garbage collection of {label}");
        let mut plan = Plan::new(what.as_str())
            .fact("datastore", label.as_str())
            .effect(
                "chunks that no snapshot uses are removed from the disks; backups are not touched",
            )
            .effect(format!(
                "chunks that something touched in the last {} stay until a later run",
                space::cutoff_text(known.cutoff)
            ))
            .effect("every index is read and every chunk looked at, which loads the disks")
            .undo(Undo::Never("what it removes is in no backup any more".to_owned()))
            .target(label.as_str(), [("last", known.last())]);
        if let Some(pending) = space::pending(&known.gc, known.cutoff, cx.now()) {
            plan = plan.effect(pending);
        }
        let took = known.gc.duration_secs.filter(|secs| *secs > 0);
        plan = plan.expect(took.map(std::time::Duration::from_secs));
        let path = format!("/datastore/{store}");
        if let Some(text) = spot::lacks(cx, &server, &path, &["Datastore.Modify"]).await {
            plan = plan.warn("privilege", text);
        }
        // One that is stopped has only not finished its work.
        let step =
            Step::pbs(&server, format!("collect garbage of {label}"), datastores::start_gc(&store));
        let step = step.stoppable();
        let before = known.status.as_ref().map(|status| status.used_bytes);
        Ok(plan.step(step).settle(move |cx, done| settle(cx, server, store, label, before, done)))
    }
}

/// A second collection would only fail, after it has waited for the lock.
async fn refuse_running(server: &Pbs, store: &DatastoreName, label: &str) -> Result<(), ToolError> {
    let options = tasks::TaskListParams { running: Some(true), ..tasks::TaskListParams::default() };
    let Ok(running) = server.client.call(tasks::list(options)).await else { return Ok(()) };
    let is_same = |upid: &estate::Upid| {
        upid.kind() == "garbage_collection" && upid.display_id() == store.as_str()
    };
    let Some(task) = running.iter().find(|task| is_same(&task.upid)) else { return Ok(()) };
    let lead = format!("garbage collection of {label} was not tried: one is running");
    let report = Report::new(lead)
        .fact("status", "refused")
        .fact("upid", task.upid.as_str())
        .next("task_wait", json!({"upid": task.upid.as_str(), "cluster": server.key.as_str()}));
    Err(ToolError::from_report(report))
}

// === impl Known ===

impl Known {
    async fn read(server: &Pbs, store: &DatastoreName) -> Result<Self, ToolError> {
        let client = &server.client;
        let (gc, status, config) = futures::join!(
            client.call(datastores::gc_status(store)),
            client.call(datastores::status(store, false)),
            client.call(datastores::config(store)),
        );
        let gc = gc.map_err(|error| {
            ToolError::api(format!("read the garbage collection of {}:{store}", server.key), &error)
        })?;
        let config: Option<DatastoreConfig> = config.ok();
        Ok(Self { gc, status: status.ok(), cutoff: space::cutoff_mins(config.as_ref()) })
    }

    /// The last run, as a fingerprint.
    fn last(&self) -> String {
        self.gc.upid.as_ref().map_or_else(|| "never".to_owned(), ToString::to_string)
    }

    fn report(&self, cx: &Cx, label: &str, server: &Arc<Pbs>, store: &DatastoreName) -> Report {
        let (gc, now) = (&self.gc, cx.now());
        let lead = match (&gc.last_state, gc.last_end) {
            (Some(state), Some(end)) => format!(
                "{label}: the last collection ended {state} {} ago and removed {}; {} pending",
                age(end, now),
                bytes(gc.removed_bytes),
                bytes(gc.pending_bytes)
            ),
            _ => format!("{label}: no collection has run"),
        };
        let mut report = self.facts(Report::new(lead)).fact("datastore", label);
        report = report.fact("status", "ok");
        if let Some(status) = &self.status {
            let used = used_of(status.used_bytes, status.total_bytes);
            report = report.detail("used", Cell::with(status.used_bytes, used));
        }
        if let Some(factor) = gc.dedup_factor() {
            report = report.detail("dedup", Cell::with(factor, format!("{factor:.1}")));
        }
        let schedule = gc.schedule.as_deref().unwrap_or("none");
        report = report.detail("schedule", Cell::text(schedule));
        if let Some(next) = gc.next_run {
            report = report.detail("next_run", Cell::moment(next, now));
        }
        if let Some(took) = gc.duration_secs {
            report = report.detail("took", Cell::span(took));
        }
        if gc.still_bad > 0 {
            report = report.note(format!(
                "{} chunks are known to be bad and still in use: verify, and back up again",
                gc.still_bad
            ));
        }
        if let Some(pending) = space::pending(gc, self.cutoff, now) {
            report = report.note(pending);
        }
        report = report.note(format!(
            "of backups removed now: {}",
            space::sentence(gc, None, self.cutoff, now)
        ));
        let key = server.key.as_str();
        report.next(
            "datastore_gc",
            json!({"cluster": key, "datastore": store.as_str(), "action": "run"}),
        )
    }

    fn facts(&self, report: Report) -> Report {
        let report = report
            .fact("removed_bytes", self.gc.removed_bytes)
            .fact("pending_bytes", self.gc.pending_bytes);
        match &self.status {
            Some(status) => report.fact("used_bytes", status.used_bytes),
            None => report,
        }
    }
}

async fn settle(
    cx: Cx,
    server: Arc<Pbs>,
    store: DatastoreName,
    label: String,
    before: Option<u64>,
    done: Done,
) -> Result<Report, ToolError> {
    let known = match Known::read(&server, &store).await {
        Ok(known) => known,
        Err(error) => {
            let lead = format!("{label}: the collection ended {}", done.ended());
            return Ok(done.report(lead).note(error.message().to_owned()));
        }
    };
    let used = known.status.as_ref().map(|status| status.used_bytes);
    let freed = match (before, used) {
        (Some(before), Some(used)) => {
            format!(", {} in use (before: {})", bytes(used), bytes(before))
        }
        _ => String::new(),
    };
    let lead = format!(
        "{label}: {} removed in {}{freed}; {} pending",
        bytes(known.gc.removed_bytes),
        done.span(),
        bytes(known.gc.pending_bytes)
    );
    let mut report = known.facts(done.report(lead));
    if let Some(pending) = space::pending(&known.gc, known.cutoff, cx.now()) {
        report = report.note(pending);
    }
    if let Some(next) = known.gc.next_run {
        report = report.note(format!("the next scheduled run: {}", rfc3339(next)));
    }
    Ok(report)
}
