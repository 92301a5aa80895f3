//! `incident_resolve`: somebody says that it is over.

use async_trait::async_trait;
use estate::Access;
use mcp_protocol::JsonObject;
use serde::Deserialize;
use serde_json::json;

use super::{desk, incident::find, refused, shown::short, step};
use crate::{
    error::ToolError,
    plan::{ActionTool, Plan, Undo},
    report::Report,
    schema::{Input, Output},
    tool::{Cx, Definition},
};

/// Says that an incident is over.
pub struct IncidentResolve;

#[derive(Debug, Deserialize)]
struct Args {
    incident: String,
}

#[async_trait]
impl ActionTool for IncidentResolve {
    fn definition(&self) -> Definition {
        Definition {
            name: "incident_resolve",
            title: "Close an incident",
            description: "Says that an incident is over although no success of the same thing was heard; \
                          the next report opens one anew.",
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
        if !incident.is_open {
            let lead = format!("incident {name} is {} already", incident.status);
            let report = Report::new(lead).fact("incident", id.as_str()).fact("status", "ok");
            return Ok(Plan::already(report));
        }
        let desk = desk(cx)?.clone();
        let by = cx.principal.to_string();
        let path = format!("incidents/{id}/resolve");
        let told = name.clone();
        let plan = Plan::new(format!("end of incident {name} ({})", incident.kind))
            .change(format!("incident {name}"), incident.status.as_str(), "resolved")
            .effect(format!(
                "people are told that incident {name} is over, and nobody is told of it again"
            ))
            .undo(Undo::By("by itself: the next report of the same opens an incident".to_owned()))
            .step(step::step("close the incident", &path, Vec::new(), async move |_| {
                let done = desk.resolve(&id, &by).await;
                let done = done.map_err(|error| refused("close the incident", &error))?;
                Ok(json!({"id": done.id, "status": done.status}))
            }))
            .settle(async move |_, done| {
                let id = done.value("close the incident").map(|it| it["id"].clone());
                let report = done.report(format!("incident {told} is closed"));
                Ok(report.fact("incident", id.unwrap_or_default()))
            });
        Ok(step::about(cx, plan, &incident))
    }
}
