//! `updates_refresh`: lets nodes and backup servers look for updates.

use std::sync::Arc;

use async_trait::async_trait;
use estate::Access;
use mcp_protocol::JsonObject;
use serde::Deserialize;
use serde_json::json;

use super::ask::{Where, everywhere, few};
use crate::{
    error::ToolError,
    plan::{ActionTool, Plan, Step, Undo},
    report::Report,
    schema::{Input, Output},
    tool::{Cx, Definition},
};

/// Refreshes package lists.
pub struct UpdatesRefresh;

#[derive(Debug, Deserialize)]
struct Args {
    cluster: Option<String>,
    node: Option<String>,
}

#[async_trait]
impl ActionTool for UpdatesRefresh {
    fn definition(&self) -> Definition {
        Definition {
            name: "updates_refresh",
            title: "Refresh package lists",
            description: "Looks for updates on a node, all nodes of a cluster, or a backup server; installs nothing.",
            input: Input::new().cluster().node(),
            output: Output::new().fact("hosts", "array").fact("status", "string"),
            access: Access::Operate,
            idempotent: true,
        }
    }

    fn access(&self, _args: &JsonObject) -> Access {
        Access::Operate
    }

    async fn plan(&self, cx: &Cx, args: JsonObject) -> Result<Plan, ToolError> {
        let args: Args = cx.args(args)?;
        let place = Where { cluster: args.cluster.as_deref(), node: args.node.as_deref() };
        // Who is there is all that is asked: nobody has to tell more.
        let asked = everywhere(
            cx,
            place,
            |_, _| async { Ok(()) },
            |member| async move { member.client.call(pbs_client::node::time()).await.map(drop) },
        )
        .await?;
        let mut plan = Plan::new("refresh of package lists")
            .undo(Undo::By("nothing to undo: nothing is installed".to_owned()));
        let mut hosts = Vec::new();
        for (member, nodes) in &asked.pve.answers {
            for (node, _) in &nodes.answers {
                let at = format!("{}/{node}", member.key);
                let request = pve_client::nodes::refresh_updates(node, Some(false));
                let step = Step::pve(member, format!("refresh on {at}"), request);
                plan = plan.step(step.task(&["aptupdate"], "").judged());
                hosts.push(at);
            }
        }
        for (member, _) in &asked.pbs.answers {
            let at = member.key.to_string();
            let request = pbs_client::node::refresh_updates();
            let step = Step::pbs(&Arc::clone(member), format!("refresh on {at}"), request);
            plan = plan.step(step.judged());
            hosts.push(at);
        }
        if hosts.is_empty() {
            return Err(ToolError::new("nobody is there whose lists could be refreshed")
                .map(|report| asked.tell(report)));
        }
        let told = asked.tell(Report::default());
        let silent: Vec<String> = told.unreachable.iter().map(|part| part.what.clone()).collect();
        if !silent.is_empty() {
            plan = plan.warn("left_out", format!("not asked, because silent: {}", few(&silent)));
        }
        plan.notes.extend(told.notes);
        plan.what = format!("refresh of the package lists of {}", few(&hosts));
        plan = plan.fact("hosts", hosts.clone());
        let next = match (args.cluster, args.node) {
            (Some(cluster), None) => json!({"cluster": cluster}),
            (None, None) => json!({}),
            (cluster, Some(node)) => match cluster {
                Some(cluster) => json!({"cluster": cluster, "node": node}),
                None => json!({"node": node}),
            },
        };
        Ok(plan.settle(move |_, done| async move {
            // One mirror that is away stops nobody else.
            let failed = done.steps.iter().filter_map(|(what, step)| {
                Some(format!("{what} failed: {}", step.failed.as_deref()?))
            });
            let failed: Vec<String> = failed.collect();
            if failed.is_empty() {
                let lead = format!("package lists of {} are fresh ({})", few(&hosts), done.span());
                return Ok(done.report(lead).next("updates_list", next));
            }
            let fresh = hosts.len() - failed.len();
            let lead = format!("{fresh} of {} hosts have fresh package lists", hosts.len());
            let report = done.report(lead).fact("status", "failed").next("updates_list", next);
            Err(ToolError::from_report(failed.into_iter().fold(report, Report::note)))
        }))
    }
}
