//! `incidents_list`: what is wrong, and what was.

use std::sync::Arc;

use async_trait::async_trait;
use estate::Access;
use event_core::{
    Severity,
    desk::{EventDesk, IncidentQuery, IncidentView},
};
use jiff::Timestamp;
use mcp_protocol::JsonObject;
use serde::Deserialize;
use serde_json::json;

use super::{
    SEVERITIES, Sight, desk, refused,
    shown::{MOST, PAGE, about_incident, bare_node, said, short},
    sight,
};
use crate::{
    error::ToolError,
    report::{Cell, Report, Table},
    schema::{Input, Output},
    tool::{Cx, Definition, EstateTool},
    tools::{since::since, tally::counted},
};

/// Lists incidents.
pub struct IncidentsList;

#[derive(Debug, Deserialize)]
struct Args {
    state: Option<String>,
    min_severity: Option<String>,
    cluster: Option<String>,
    node: Option<String>,
    guest: Option<String>,
    since: Option<String>,
    limit: Option<usize>,
}

#[async_trait]
impl EstateTool for IncidentsList {
    fn definition(&self) -> Definition {
        Definition {
            name: "incidents_list",
            title: "List incidents",
            description: "What is wrong now (or was), worst first: many reports of one fact are one \
                          incident.",
            input: Input::new()
                .choice("state", &["open", "over", "all"], "open if not given")
                .choice("min_severity", SEVERITIES, "")
                .cluster()
                .node()
                .text("guest", "cluster/vmid or vmid")
                .text("since", "changed since: RFC 3339, or age")
                .count("limit")
                .fields(),
            output: Output::new().table("incidents").fact("open", "integer"),
            access: Access::Read,
            idempotent: true,
        }
    }

    fn access(&self, _args: &JsonObject) -> Access {
        Access::Read
    }

    async fn call(&self, cx: &Cx, args: JsonObject) -> Result<Report, ToolError> {
        let args: Args = cx.args(args)?;
        let desk = desk(cx)?;
        let (sight, now) = (Sight::of(cx), cx.now());
        let limit = args.limit.map_or(PAGE, |limit| limit.clamp(1, MOST));
        let query = query(cx, &args, limit)?;
        let mut found = find(desk, &sight, query).await?;
        let more = found.len() > limit;
        found.truncate(limit);
        let open = found.iter().filter(|incident| incident.is_open).count();
        found.sort_by_key(|it| (!it.is_open, std::cmp::Reverse(severity(it))));
        let mut table = Table::new(
            "incidents",
            &[
                "incident",
                "status",
                "severity",
                "kind",
                "about",
                "opened",
                "updated",
                "reports",
                "acknowledged",
                "title",
            ],
        );
        for incident in &found {
            table.push(row(incident, now));
        }
        let state = args.state.as_deref().unwrap_or("open");
        let lead = match (found.len(), state) {
            (0, "open") => "no incident is open".to_owned(),
            (0, _) => "no incident fits".to_owned(),
            (count, "open") => counted(count, "open incident"),
            (count, _) => format!("{}, {open} of them open", counted(count, "incident")),
        };
        let mut report = Report::new(lead).fact("open", open).table(table);
        if more {
            report = report.note(format!("the last {limit} that changed: limit or since has more"));
        }
        if let Some(first) = found.first() {
            report = report.next("incident_get", json!({"incident": short(&first.id)}));
        }
        Ok(sight.tell(report))
    }
}

fn query(cx: &Cx, args: &Args, limit: usize) -> Result<IncidentQuery, ToolError> {
    let guest = args.guest.as_deref().map(sight::guest).transpose()?;
    let of_guest = guest.and_then(|(cluster, _)| cluster);
    let cluster = sight::cluster(cx, args.cluster.as_deref().or(of_guest))?;
    Ok(IncidentQuery {
        open: match args.state.as_deref() {
            None | Some("open") => Some(true),
            Some("over") => Some(false),
            Some(_) => None,
        },
        since: args.since.as_deref().map(|text| since(text, cx.now())).transpose()?,
        min_severity: args.min_severity.clone(),
        cluster: cluster.map(str::to_owned),
        node: args.node.as_deref().map(bare_node).map(str::to_owned),
        vmid: guest.map(|(_, vmid)| vmid),
        // One more tells whether there are more.
        limit: u32::try_from(limit + 1).unwrap_or(u32::MAX),
    })
}

/// The incidents that the caller sees, the last that changed first: cluster by cluster where it sees
/// only some, so that those of others do not take their place.
async fn find(
    desk: &Arc<dyn EventDesk>,
    sight: &Sight,
    query: IncidentQuery,
) -> Result<Vec<IncidentView>, ToolError> {
    let mut found = Vec::new();
    for cluster in sight.clusters(query.cluster.as_deref()) {
        let part = desk.incidents(IncidentQuery { cluster, ..query.clone() }).await;
        found.extend(part.map_err(|error| refused("list incidents", &error))?);
    }
    found.retain(|incident| sight.sees_incident(incident));
    found.sort_by_key(|incident| std::cmp::Reverse(incident.updated));
    Ok(found)
}

fn severity(incident: &IncidentView) -> Option<Severity> {
    incident.severity.parse().ok()
}

fn row(incident: &IncidentView, now: Timestamp) -> Vec<Cell> {
    vec![
        Cell::text(short(&incident.id)),
        Cell::text(incident.status.as_str()),
        Cell::text(incident.severity.as_str()),
        Cell::text(incident.kind.as_str()),
        about_incident(incident),
        Cell::moment(incident.opened, now),
        Cell::moment(incident.updated, now),
        Cell::number(incident.reports),
        said(incident.acknowledged.as_ref(), now),
        Cell::foreign(incident.title.as_str()),
    ]
}
