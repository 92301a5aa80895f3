//! `events_search`: what was heard, newest first; or one event whole.

use std::sync::Arc;

use async_trait::async_trait;
use estate::Access;
use event_core::{
    Logged,
    desk::{EventDesk, EventQuery},
    wire,
};
use mcp_protocol::JsonObject;
use serde::Deserialize;
use serde_json::Value;

use super::{
    Sight, desk, refused,
    shown::{self, Filter, MOST, PAGE, about, event_row, events_table},
};
use crate::{
    address::quoted,
    error::ToolError,
    report::{Cell, Report, age},
    schema::Output,
    tool::{Cx, Definition, EstateTool},
    tools::tally::counted,
};

const NAME: &str = "events_search";

/// How often a page is asked on for a caller who sees only some of what comes.
const PAGES: usize = 20;

/// How often a page is asked anew because its rows are longer than the answer.
const TRIES: usize = 4;

/// Finds events.
pub struct EventsSearch;

#[derive(Debug, Deserialize)]
struct Args {
    event: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
    #[serde(flatten)]
    filter: Filter,
}

/// A page of what the caller sees.
struct Page {
    events: Vec<Logged>,
    next: Option<String>,
}

#[async_trait]
impl EstateTool for EventsSearch {
    fn definition(&self) -> Definition {
        Definition {
            name: NAME,
            title: "Search events",
            description: "What nodes, backups and inputs reported, newest first; with event: that one \
                          whole, with its original.",
            input: Filter::input().text("until", "").text("incident", "").text("event", "").paged(),
            output: Output::new().table("events").fact("event", "object"),
            access: Access::Read,
            idempotent: true,
        }
    }

    fn access(&self, _args: &JsonObject) -> Access {
        Access::Read
    }

    async fn call(&self, cx: &Cx, args: JsonObject) -> Result<Report, ToolError> {
        let given = args.clone();
        let args: Args = cx.args(args)?;
        let desk = desk(cx)?;
        if let Some(name) = &args.event {
            return whole(cx, desk, name.trim()).await;
        }
        let query = EventQuery { cursor: args.cursor, ..args.filter.query(cx)? };
        list(cx, desk, query, args.limit.map_or(PAGE, |limit| limit.clamp(1, MOST)), given).await
    }
}

/// The events that are asked for.
async fn list(
    cx: &Cx,
    desk: &Arc<dyn EventDesk>,
    query: EventQuery,
    mut limit: usize,
    mut args: JsonObject,
) -> Result<Report, ToolError> {
    let (sight, now) = (Sight::of(cx), cx.now());
    let mut tries = 0;
    let (page, table) = loop {
        let page = page(desk, &sight, &query, limit).await?;
        let mut table = events_table();
        for logged in &page.events {
            table.push(event_row(logged, now));
        }
        // Where the answer has no room for the page, a shorter one is asked for: what goes on behind
        // it begins where the rows end.
        let fits = table.rows_within(cx.ceiling / 4 * 3).max(1);
        tries += 1;
        if fits >= page.events.len() || tries == TRIES {
            break (page, table);
        }
        limit = fits;
    };
    let count = counted(page.events.len(), "event");
    let lead = match (page.events.first(), page.events.last()) {
        (Some(newest), Some(oldest)) => format!(
            "{count}, newest first: {} to {} ago",
            age(newest.event.time, now),
            age(oldest.event.time, now)
        ),
        _ => "no event fits".to_owned(),
    };
    let mut report = sight.tell(Report::new(lead).table(table));
    if let Some(next) = page.next {
        args.insert("cursor".to_owned(), next.into());
        report = report.next(NAME, Value::Object(args));
    }
    Ok(report)
}

/// At most `limit` events that the caller sees.
async fn page(
    desk: &Arc<dyn EventDesk>,
    sight: &Sight,
    query: &EventQuery,
    limit: usize,
) -> Result<Page, ToolError> {
    let mut query = query.clone();
    query.cluster = sight.only(query.cluster.as_deref());
    let mut events = Vec::new();
    for _ in 0..PAGES {
        query.limit = u32::try_from(limit - events.len()).unwrap_or(u32::MAX);
        let found = desk.find(query.clone()).await;
        let found = found.map_err(|error| refused("search events", &error))?;
        events.extend(found.events.into_iter().filter(|it| sight.sees_event(it)));
        query.cursor = found.next;
        if query.cursor.is_none() || events.len() >= limit {
            break;
        }
    }
    Ok(Page { events, next: query.cursor })
}

/// One event with everything that is known of it.
async fn whole(cx: &Cx, desk: &Arc<dyn EventDesk>, name: &str) -> Result<Report, ToolError> {
    let (sight, now) = (Sight::of(cx), cx.now());
    let unknown = || ToolError::not_found(format!("there is no event {}", quoted(name)));
    let found = desk.event(name).await;
    let logged = found.map_err(|error| refused(&format!("read event {}", quoted(name)), &error))?;
    // What another may see does not exist for this one.
    if !sight.sees_event(&logged) {
        return Err(unknown());
    }
    let event = &logged.event;
    let source = &event.source;
    let by = if source.id.as_str() == &*source.kind {
        source.id.to_string()
    } else {
        format!("{} ({})", source.id, source.kind)
    };
    let lead = format!("event {}: {}, {}, heard by {by}", logged.seq, event.kind, event.severity);
    let mut report = Report::new(lead)
        .detail("title", Cell::foreign(event.title.as_str()))
        .detail("about", about(event))
        .detail("time", Cell::moment(event.time, now))
        .detail("heard", Cell::moment(event.received, now));
    if let Some(job) = &event.subject.job {
        report = report.detail("job", shown::named(job.as_str()));
    }
    if let Some(upid) = &event.subject.upid {
        report = report.detail("task", Cell::text(upid.as_str()));
    }
    if !event.labels.is_empty() {
        let labels = event.labels.iter().map(|(name, value)| format!("{name}={value}"));
        report = report.detail("labels", Cell::foreign(labels.collect::<Vec<_>>().join(", ")));
    }
    if !event.message.is_empty() {
        report = report.untrusted(format!("message of event {}", logged.seq), &event.message);
    }
    if let Some(raw) = &event.raw {
        let cut = if raw.is_cut() { format!(", cut of {} bytes", raw.size) } else { String::new() };
        report = report.untrusted(format!("original of event {}{cut}", logged.seq), &raw.text);
    }
    // Both stand beside it, marked.
    let mut object = wire::to_json(event);
    if let Some(fields) = object.as_object_mut() {
        fields.retain(|name, _| {
            !["message", "raw", "correlation", "source_key"].contains(&name.as_str())
        });
        fields.insert("seq".to_owned(), logged.seq.0.into());
    }
    Ok(report.fact("event", object))
}
