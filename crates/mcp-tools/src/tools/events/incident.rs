//! `incident_get`: one incident with its reports and all that became of it.

use std::collections::BTreeMap;

use async_trait::async_trait;
use estate::Access;
use event_core::{
    Logged,
    desk::{IncidentStory, IncidentView, SaidBy},
};
use jiff::Timestamp;
use mcp_protocol::JsonObject;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Sight, desk, refused,
    shown::{about, about_incident, moment_in, named, said, short},
};
use crate::{
    address::quoted,
    error::ToolError,
    report::{Cell, Report, Table, age},
    schema::{Input, Output},
    tool::{Cx, Definition, EstateTool},
    tools::tally::counted,
};

const NAME: &str = "incident_get";

/// How many reports are shown where the caller does not say, and at most.
const REPORTS: u32 = 50;
const MOST: u32 = 500;

/// Shows one incident.
pub struct IncidentGet;

#[derive(Debug, Deserialize)]
struct Args {
    incident: String,
    limit: Option<u32>,
}

#[async_trait]
impl EstateTool for IncidentGet {
    fn definition(&self) -> Definition {
        Definition {
            name: NAME,
            title: "Show an incident",
            description: "One incident: what is wrong, its timeline with all reports, who was told, has \
                          it or ended it, and what holds messages back.",
            input: Input::new().text("incident", "").required("incident").count("limit").fields(),
            output: Output::new()
                .fact("incident", "string")
                .fact("status", "string")
                .fact("severity", "string")
                .fact("kind", "string")
                .fact("open", "boolean")
                .fact("reports", "integer")
                .table("problems")
                .table("sources")
                .table("held")
                .table("timeline"),
            access: Access::Read,
            idempotent: true,
        }
    }

    fn access(&self, _args: &JsonObject) -> Access {
        Access::Read
    }

    async fn call(&self, cx: &Cx, args: JsonObject) -> Result<Report, ToolError> {
        let args: Args = cx.args(args)?;
        let limit = args.limit.unwrap_or(REPORTS).clamp(1, MOST);
        let mut story = find(cx, &args.incident, limit).await?;
        let (sight, now) = (Sight::of(cx), cx.now());
        let heard = story.events.len();
        story.events.retain(|logged| sight.sees_event(logged));
        let others = heard - story.events.len();
        let incident = &story.incident;
        let mut report = head(incident, now)
            .table(problems(incident, &sight, now))
            .table(held(incident))
            .table(sources(&story.events))
            .table(timeline(&story, now));
        if let Some(told) = worst(&story.events) {
            let label = format!("message of event {}", told.seq);
            report = report.untrusted(label, told.event.message.as_str());
        }
        if others > 0 {
            report =
                report.note(format!("{} of other clusters left out", counted(others, "report")));
        }
        if incident.reports > heard as u64 {
            report = report.note(format!(
                "{heard} of {} reports: limit or events_search with incident has more",
                incident.reports
            ));
        }
        if incident.is_open && incident.acknowledged.is_none() {
            let args = json!({"incident": short(&incident.id)});
            report = report.next("incident_acknowledge", args);
        }
        Ok(sight.tell(report))
    }
}

/// The incident whose name begins so, if the caller sees it.
///
/// # Errors
/// There is none, there are several, or it cannot be asked for.
pub(super) async fn find(cx: &Cx, name: &str, reports: u32) -> Result<IncidentStory, ToolError> {
    let name = name.trim();
    let doing = format!("find incident {}", quoted(name));
    let story = desk(cx)?.incident(name, reports).await;
    let story =
        story.map_err(|error| refused(&doing, &error).next("incidents_list", JsonObject::new()))?;
    // What another may see does not exist for this one.
    if !Sight::of(cx).sees_incident(&story.incident) {
        let unknown = ToolError::not_found(format!("cannot {doing}: there is none of that name"));
        return Err(unknown.next("incidents_list", JsonObject::new()));
    }
    Ok(story)
}

/// What it is, and who said what of it.
fn head(incident: &IncidentView, now: Timestamp) -> Report {
    let lead = format!(
        "incident {}: {}, {} {}, {}, for {}",
        short(&incident.id),
        incident.status,
        incident.severity,
        incident.kind,
        counted(usize::try_from(incident.reports).unwrap_or(usize::MAX), "report"),
        age(incident.opened, incident.ended.unwrap_or(now)),
    );
    let moment = |time: Option<Timestamp>| time.map_or_else(Cell::none, |it| Cell::moment(it, now));
    let told = if incident.is_open && incident.told.is_none() {
        Cell::text("nobody yet")
    } else {
        moment(incident.told)
    };
    Report::new(lead)
        .fact("incident", incident.id.as_str())
        .fact("status", incident.status.as_str())
        .fact("severity", incident.severity.as_str())
        .fact("kind", incident.kind.as_str())
        .fact("open", incident.is_open)
        .fact("reports", incident.reports)
        .detail("title", Cell::foreign(incident.title.as_str()))
        .detail("about", about_incident(incident))
        .detail("opened", Cell::moment(incident.opened, now))
        .detail("updated", Cell::moment(incident.updated, now))
        .detail("told", told)
        .detail("acknowledged", said(incident.acknowledged.as_ref(), now))
        .detail("closed_by", said(incident.closed.as_ref(), now))
        .detail("ended", moment(incident.ended))
}

/// What is or was wrong, as far as the caller sees it.
fn problems(incident: &IncidentView, sight: &Sight, now: Timestamp) -> Table {
    let columns = ["severity", "kind", "about", "began", "last", "times", "over", "title"];
    let mut table = Table::new("problems", &columns);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    for problem in &incident.problems {
        let place = text(&problem["where"]);
        // The guest's name is behind a blank; the cluster is before the first slash.
        let place = place.split(' ').next().unwrap_or_default();
        let cluster = place.split('/').next().filter(|key| !key.is_empty());
        if !sight.sees(cluster) {
            continue;
        }
        table.push(vec![
            named(text(&problem["severity"])),
            named(text(&problem["kind"])),
            named(place),
            moment_in(&problem["began"], now),
            moment_in(&problem["last"], now),
            Cell::opt(problem["times"].as_u64()),
            moment_in(&problem["over"], now),
            Cell::foreign(text(&problem["title"])),
        ]);
    }
    table
}

/// What keeps outputs from being told.
fn held(incident: &IncidentView) -> Table {
    let mut table = Table::new("held", &["output", "held_by"]);
    for (output, by) in incident.held.as_object().into_iter().flatten() {
        let by = by.as_str().map_or_else(|| by.to_string(), str::to_owned);
        // The name of a silence and its author stand in it.
        table.push(vec![named(output.as_str()), Cell::foreign(by)]);
    }
    table
}

fn sources(events: &[Logged]) -> Table {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for logged in events {
        *counts.entry(logged.event.source.id.as_str()).or_default() += 1;
    }
    let mut table = Table::new("sources", &["source", "reports"]);
    for (source, count) in counts {
        table.push(vec![Cell::text(source), Cell::number(count)]);
    }
    table
}

/// Everything in the order in which it came.
fn timeline(story: &IncidentStory, now: Timestamp) -> Table {
    let incident = &story.incident;
    let mut rows: Vec<(Timestamp, u8, Vec<Cell>)> = Vec::new();
    let mut put = |at: Timestamp, rank: u8, cells: [Cell; 6]| {
        let mut row = vec![Cell::moment(at, now)];
        row.extend(cells);
        rows.push((at, rank, row));
    };
    let none = Cell::none;
    let word = |what: &str, by: Cell| [Cell::text(what), by, none(), none(), none(), none()];
    put(incident.opened, 0, word("opened", none()));
    for logged in &story.events {
        let event = &logged.event;
        put(
            event.received,
            1,
            [
                Cell::text("report"),
                Cell::text(event.source.id.as_str()),
                Cell::number(logged.seq.0),
                Cell::text(format!("{}:{}", event.severity, event.kind)),
                about(event),
                Cell::foreign(event.title.as_str()),
            ],
        );
    }
    let by = |said: &SaidBy| named(said.by.as_str());
    if let Some(told) = incident.told {
        put(told, 2, word("told", none()));
    }
    if let Some(acknowledged) = &incident.acknowledged {
        put(acknowledged.at, 3, word("acknowledged", by(acknowledged)));
    }
    if let Some(closed) = &incident.closed {
        put(closed.at, 4, word("closed", by(closed)));
    }
    if let Some(ended) = incident.ended {
        put(ended, 5, word("resolved", none()));
    }
    rows.sort_by_key(|(at, rank, _)| (*at, *rank));
    let columns = ["at", "what", "by", "event", "kind", "about", "title"];
    let mut table = Table::new("timeline", &columns);
    for (_, _, row) in rows {
        table.push(row);
    }
    table
}

/// The report that says most: the last of the worst that has more than a title.
fn worst(events: &[Logged]) -> Option<&Logged> {
    let said = events.iter().filter(|logged| !logged.event.message.trim().is_empty());
    said.max_by_key(|logged| (logged.event.severity, logged.seq))
}
