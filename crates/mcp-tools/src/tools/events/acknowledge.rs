//! `incident_acknowledge`: somebody has it.

use async_trait::async_trait;
use estate::Access;
use mcp_protocol::JsonObject;
use serde::Deserialize;
use serde_json::json;

use super::{desk, incident::find, refused, shown::short, step};
use crate::{
    error::ToolError,
    plan::{ActionTool, Plan, Undo},
    report::{Report, age},
    schema::{Input, Output},
    tool::{Cx, Definition},
};

/// Says that somebody has an incident.
pub struct IncidentAcknowledge;

#[derive(Debug, Deserialize)]
struct Args {
    incident: String,
}

#[async_trait]
impl ActionTool for IncidentAcknowledge {
    fn definition(&self) -> Definition {
        Definition {
            name: "incident_acknowledge",
            title: "Acknowledge an incident",
            description: "Says that the caller has it: it is not repeated, and nobody else is told. It \
                          stays open.",
            input: Input::new().text("incident", "").required("incident"),
            output: Output::new().fact("incident", "string").fact("status", "string"),
            access: Access::Operate,
            idempotent: true,
        }
    }

    fn access(&self, _args: &JsonObject) -> Access {
        Access::Operate
    }

    async fn plan(&self, cx: &Cx, args: JsonObject) -> Result<Plan, ToolError> {
        let args: Args = cx.args(args)?;
        let incident = find(cx, &args.incident, 1).await?.incident;
        let id = incident.id.clone();
        let name = short(&id).to_owned();
        let known = |lead: String| {
            Plan::already(Report::new(lead).fact("incident", id.as_str()).fact("status", "ok"))
        };
        if let Some(said) = &incident.acknowledged {
            let since = age(said.at, cx.now());
            return Ok(known(format!("{} acknowledged incident {name} {since} ago", said.by)));
        }
        if !incident.is_open {
            return Ok(known(format!(
                "incident {name} is {}: nothing is to be done",
                incident.status
            )));
        }
        let desk = desk(cx)?.clone();
        let by = cx.principal.to_string();
        // To keep others from being told of the worst is more than to take it.
        let params = match incident.severity.as_str() {
            "critical" => vec![("critical", "1".to_owned())],
            _ => Vec::new(),
        };
        let path = format!("incidents/{id}/acknowledge");
        let told = name.clone();
        let plan = Plan::new(format!("acknowledgement of incident {name} ({})", incident.kind))
            .effect(format!("nobody else is told of incident {name} unless it becomes worse"))
            .undo(Undo::Never("it is open until it is over, and worse news is told".to_owned()))
            .step(step::step("acknowledge the incident", &path, params, async move |_| {
                let done = desk.acknowledge(&id, &by).await;
                let done = done.map_err(|error| refused("acknowledge the incident", &error))?;
                Ok(json!({"id": done.id, "reports": done.reports}))
            }))
            .settle(async move |_, done| {
                let lead =
                    format!("incident {told} is acknowledged; it stays open until it is over");
                let id = done.value("acknowledge the incident").map(|it| it["id"].clone());
                Ok(done.report(lead).fact("incident", id.unwrap_or_default()))
            });
        Ok(step::about(cx, plan, &incident))
    }
}
