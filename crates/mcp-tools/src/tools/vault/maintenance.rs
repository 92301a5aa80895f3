//! `datastore_maintenance`: closes a datastore for writing or altogether, or opens it again.

use std::sync::Arc;

use async_trait::async_trait;
use estate::{Access, DatastoreName};
use mcp_protocol::JsonObject;
use pbs_client::{
    datastores::{self, DatastoreParams},
    jobs,
};
use pve_client::{cluster::backup, storage};
use serde::Deserialize;
use serde_json::json;

use super::{
    overdue::few,
    spot::{self, Asked, object},
};
use crate::{
    error::ToolError,
    fleet::{GATHER_DEADLINE, Pbs, Pve},
    plan::{ActionTool, Plan, Step, Undo},
    report::Report,
    schema::{Input, Output},
    tool::{Cx, Definition},
    tools::backups::Place,
};

const NAME: &str = "datastore_maintenance";

/// The tool.
pub struct DatastoreMaintenance;

#[derive(Deserialize)]
struct Args {
    cluster: Option<String>,
    datastore: String,
    mode: String,
    message: Option<String>,
}

#[async_trait]
impl ActionTool for DatastoreMaintenance {
    fn definition(&self) -> Definition {
        Definition {
            name: NAME,
            title: "Maintenance mode of a datastore",
            description: "read-only: nothing is written; offline: nothing is read either; off. The plan names the jobs and storages that are hit.",
            input: Input::new()
                .text("cluster", "PBS key")
                .text("datastore", "")
                .required("datastore")
                .choice("mode", &["read-only", "offline", "off"], "")
                .required("mode")
                .text("message", "why"),
            output: Output::new().fact("datastore", "string").fact("status", "string"),
            access: Access::Operate,
            idempotent: true,
        }
    }

    fn access(&self, _args: &JsonObject) -> Access {
        Access::Operate
    }

    async fn plan(&self, cx: &Cx, args: JsonObject) -> Result<Plan, ToolError> {
        let args: Args = cx.args(args)?;
        let wanted = wanted(&args)?;
        let asked = Asked {
            cluster: args.cluster.as_deref(),
            datastore: Some(&args.datastore),
            namespace: None,
        };
        let (server, store) = spot::datastore(cx, asked).await?;
        let label = format!("{}:{store}", server.key);
        let (before, digest) = read(&server, &store).await?;
        if before == wanted {
            let how = wanted.as_deref().unwrap_or("open");
            let report = Report::new(format!("{label} is {how} already: nothing was done"));
            return Ok(Plan::already(report.fact("datastore", label).fact("status", "unchanged")));
        }
        let shown = |mode: &Option<String>| mode.clone().unwrap_or_else(|| "off".to_owned());
        let mut plan = Plan::new(format!("change of the maintenance mode of {label}"))
            .fact("datastore", label.as_str())
            .target(label.as_str(), [("maintenance", shown(&before))])
            .change("maintenance", shown(&before), shown(&wanted));
        plan = match args.mode.as_str() {
            "off" => plan.effect("jobs and storages can use it again"),
            mode => {
                let plan = plan.effect(if mode == "offline" {
                    "nothing can be written to it or read from it, restores included"
                } else {
                    "backups, copies into it, pruning and garbage collection fail; restores work"
                });
                hit(cx, &server, &store, plan).await
            }
        };
        let path = format!("/datastore/{store}");
        if let Some(text) = spot::lacks(cx, &server, &path, &["Datastore.Modify"]).await {
            plan = plan.warn("privilege", text);
        }
        plan = plan.undo(undo(&server, &store, before.as_deref()));
        let delete =
            if wanted.is_none() { vec!["maintenance-mode".to_owned()] } else { Vec::new() };
        let options = DatastoreParams {
            maintenance_mode: wanted.clone(),
            delete,
            digest,
            ..DatastoreParams::default()
        };
        let step = Step::pbs(
            &server,
            format!("maintenance mode of {label}"),
            datastores::update_config(&store, options),
        );
        Ok(plan.step(step).settle(move |_, done| async move {
            let (now, _) = read(&server, &store).await?;
            if mode_of(now.as_deref()) != mode_of(wanted.as_deref()) {
                let lead = format!("{label}: the server took the change, but it reads otherwise");
                return Err(ToolError::from_report(done.report(lead).fact("status", "failed")));
            }
            let how = match mode_of(now.as_deref()) {
                "off" => "open again",
                mode => mode,
            };
            Ok(done.report(format!("{label} is {how}")))
        }))
    }
}

/// The setting that is asked for.
fn wanted(args: &Args) -> Result<Option<String>, ToolError> {
    let message = args.message.as_deref().map(str::trim).filter(|text| !text.is_empty());
    match (args.mode.as_str(), message) {
        ("off", None) => Ok(None),
        ("off", Some(_)) => Err(ToolError::new("a datastore that is open has no message")),
        (mode, None) => Ok(Some(mode.to_owned())),
        (mode, Some(text)) => {
            let fits = |c: char| !c.is_control() && !matches!(c, '"' | '\\');
            if text.chars().count() > 64 || !text.chars().all(fits) {
                return Err(ToolError::new(
                    "the message has at most 64 characters, none of them a quote or a backslash",
                ));
            }
            Ok(Some(format!("{mode},message=\"{text}\"")))
        }
    }
}

/// `read-only`, `offline`, another word of the server, or `off`.
fn mode_of(setting: Option<&str>) -> &str {
    let first = setting.map_or("off", |setting| setting.split(',').next().unwrap_or_default());
    first.strip_prefix("type=").unwrap_or(first)
}

fn undo(server: &Pbs, store: &DatastoreName, before: Option<&str>) -> Undo {
    let mut args = json!({
        "cluster": server.key.as_str(), "datastore": store.as_str(), "mode": mode_of(before),
    });
    let message = before.and_then(|setting| setting.split_once("message="));
    if let Some((_, message)) = message {
        args["message"] = message.trim_matches('"').into();
    }
    Undo::Call(NAME, object(args))
}

async fn read(
    server: &Pbs,
    store: &DatastoreName,
) -> Result<(Option<String>, Option<String>), ToolError> {
    let page = server.client.call_page(datastores::config(store)).await;
    let page = page.map_err(|error| {
        ToolError::api(format!("read the settings of {}:{store}", server.key), &error)
    })?;
    Ok((page.data.maintenance_mode, page.digest))
}

/// What uses the datastore: running work, jobs of its server, storages and backup jobs of clusters.
async fn hit(cx: &Cx, server: &Arc<Pbs>, store: &DatastoreName, mut plan: Plan) -> Plan {
    let client = &server.client;
    let (active, sync, verify, prune, gc) = futures::join!(
        client.call(datastores::active_operations(store)),
        client.call(jobs::sync_jobs(None)),
        client.call(jobs::verify_jobs(Some(store))),
        client.call(jobs::prune_jobs(Some(store))),
        client.call(datastores::gc_status(store)),
    );
    if let Ok(active) = active
        && active.read + active.write > 0
    {
        plan = plan.warn(
            "busy",
            format!(
                "{} reads and {} writes are going on: they finish first",
                active.read, active.write
            ),
        );
    }
    let mut hit = Vec::new();
    for job in sync.unwrap_or_default() {
        let reads = job.remote.is_none()
            && job.remote_datastore.as_ref().is_some_and(|name| name.as_str() == store.as_str());
        if job.datastore == *store || reads {
            hit.push(format!("sync {}", job.id));
        }
    }
    hit.extend(
        verify
            .unwrap_or_default()
            .iter()
            .filter(|job| job.datastore == *store)
            .map(|job| format!("verify {}", job.id)),
    );
    hit.extend(
        prune
            .unwrap_or_default()
            .iter()
            .filter(|job| job.datastore == *store && !job.disabled)
            .map(|job| format!("prune {}", job.id)),
    );
    if let Some(schedule) = gc.ok().and_then(|gc| gc.schedule) {
        hit.push(format!("gc ({schedule})"));
    }
    if !hit.is_empty() {
        plan = plan.effect(format!("jobs of {}: {}", server.key, few(&hit)));
    }
    let ask = |member: Arc<Pve>| async move {
        let (entries, jobs) = futures::join!(
            member.client.call(storage::configs(Some("pbs"))),
            member.client.call(backup::jobs()),
        );
        Ok((entries?, jobs.ok()))
    };
    let gathered =
        cx.fleet.gather(cx.fleet.pve(None).unwrap_or_default(), GATHER_DEADLINE, ask).await;
    for (member, (entries, jobs)) in &gathered.answers {
        for entry in entries.iter().filter(|entry| entry.kind == "pbs") {
            let is_there = Place::of(&cx.fleet, entry)
                .is_ok_and(|at| at.server.key == server.key && at.store == *store);
            if !is_there {
                continue;
            }
            let of_storage =
                jobs.iter().flatten().filter(|job| job.storage.as_ref() == Some(&entry.storage));
            let names: Vec<String> =
                of_storage.filter(|job| job.is_enabled()).map(|job| job.id.clone()).collect();
            let names = if names.is_empty() {
                String::new()
            } else {
                format!(", backup jobs {}", few(&names))
            };
            plan = plan.effect(format!("storage {}/{}{names}", member.key, entry.storage));
        }
    }
    for part in &gathered.unreachable {
        plan =
            plan.note(format!("{} is silent: whether its storages use it is not known", part.what));
    }
    plan
}
