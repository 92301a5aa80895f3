//! `events_wait`: waits until something is heard.
//!
//! *Invariant:* whoever goes on behind an answer's cursor is told of every event that fits: the place
//! is taken before the looking, and the place of an answer that was cut is that of its last event.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use estate::Access;
use event_core::{
    Event, Logged,
    desk::{EventDesk, EventQuery},
};
use futures::poll;
use mcp_protocol::JsonObject;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::sleep;

use super::{
    Sight, desk, refused,
    shown::{Filter, event_row, events_table},
};
use crate::{
    error::ToolError,
    follow::Until,
    report::Report,
    schema::Output,
    tool::{Cx, Definition, EstateTool},
    tools::tally::counted,
};

const NAME: &str = "events_wait";

/// How many events an answer has at most.
const ROWS: usize = 30;

/// The longest that it waits, in seconds; its schema says so, too.
const LONGEST: u64 = 45;

/// Looks by itself so often: who tells of changes may have missed one.
const LOOK: u64 = 5;

/// The least pause between two looks, however much is heard.
const PAUSE: Duration = Duration::from_millis(250);

/// How many events one page of a look has, and how many pages there are at most.
const PAGE: u32 = 100;
const PAGES: usize = 20;

/// Waits for an event.
pub struct EventsWait;

#[derive(Debug, Deserialize)]
struct Args {
    cursor: Option<String>,
    timeout_s: Option<u64>,
    #[serde(flatten)]
    filter: Filter,
}

/// What one look has found.
struct Look {
    /// The oldest first.
    events: Vec<Logged>,
    /// Everything up to there was looked at.
    head: u64,
    /// Whether there was more than is looked through.
    is_cut: bool,
}

#[async_trait]
impl EstateTool for EventsWait {
    fn definition(&self) -> Definition {
        Definition {
            name: NAME,
            title: "Wait for an event",
            description: "Waits until an event is heard that fits, at most 45 s a call. next goes on and \
                          misses none between two calls.",
            input: Filter::input().text("cursor", "").integer("timeout_s", 1..=45, ""),
            output: Output::new().table("events").fact("cursor", "string"),
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
        let sight = Sight::of(cx);
        let mut query = args.filter.query(cx)?;
        // Words become findable, and reports belong to an incident, only some time after they are
        // heard: by then their place may be behind the cursor.
        let words = query.text.take().map_or_else(Vec::new, |text| words(&text).collect());
        query.incident = None;
        query.cluster = sight.only(query.cluster.as_deref());
        let until = Until::within(cx, Some(args.timeout_s.unwrap_or(LONGEST).min(LONGEST)));
        let mut after = match (&args.cursor, query.since) {
            (Some(cursor), _) => {
                query.since = None;
                place(cursor)?
            }
            // What happened since then counts, whenever it was heard.
            (None, Some(_)) => 0,
            (None, None) => head(desk).await?,
        };
        loop {
            // Listened for before the looking: what comes meanwhile ends the wait at once.
            let mut changed = desk.changed(LOOK.min(until.left().as_secs().max(1)));
            let is_changed = poll!(changed.as_mut()).is_ready();
            let look = look(desk, (&sight, &words), &query, after).await?;
            if !look.events.is_empty() || until.is_over() {
                return Ok(sight.tell(told(cx, &look, given)));
            }
            after = look.head;
            sleep(PAUSE.min(until.left())).await;
            if !is_changed {
                tokio::select! {
                    // Why nothing can be told of changes is said by the next look.
                    told = changed => if told.is_err() {
                        sleep(Duration::from_secs(LOOK).min(until.left())).await;
                    },
                    () = sleep(until.left()) => {}
                }
            }
        }
    }
}

/// What is answered, and where it goes on.
fn told(cx: &Cx, look: &Look, mut args: JsonObject) -> Report {
    let now = cx.now();
    let found = look.events.len();
    let mut table = events_table();
    for logged in look.events.iter().take(ROWS) {
        table.push(event_row(logged, now));
    }
    let fits = table.rows_within(cx.ceiling / 4 * 3).max(1).min(table.rows.len());
    table.rows.truncate(fits);
    let place = match look.events.get(fits.wrapping_sub(1)) {
        Some(last) if fits < found => last.seq.0,
        _ => look.head,
    };
    let lead = match found {
        0 => "nothing was heard yet that fits".to_owned(),
        count => format!("{} that fits, oldest first", counted(count, "event")),
    };
    let mut report = Report::new(lead).fact("cursor", place.to_string()).table(table);
    if fits < found {
        report = report.note(format!("{} more: next has them", found - fits));
    }
    if look.is_cut {
        report = report.note(
            "more was heard at once than is looked through here: events_search has all of it",
        );
    }
    // What was asked for since some time goes on behind what was told.
    args.shift_remove("since");
    args.insert("cursor".to_owned(), place.to_string().into());
    report.next(NAME, Value::Object(args))
}

/// Everything that fits and was heard behind that place.
async fn look(
    desk: &Arc<dyn EventDesk>,
    (sight, words): (&Sight, &[String]),
    query: &EventQuery,
    after: u64,
) -> Result<Look, ToolError> {
    let mut query = EventQuery { after: Some(after), limit: PAGE, ..query.clone() };
    let mut look = Look { events: Vec::new(), head: after, is_cut: false };
    for page in 0..PAGES {
        let found = desk.find(query.clone()).await;
        let found = found.map_err(|error| refused("look for events", &error))?;
        if page == 0 {
            look.head = look.head.max(found.head);
        }
        let new: Vec<_> = found.events.into_iter().filter(|it| it.seq.0 > after).collect();
        let is_old = new.is_empty();
        let fits = |it: &Logged| sight.sees_event(it) && holds(&it.event, words);
        look.events.extend(new.into_iter().filter(fits));
        query.cursor = found.next;
        if query.cursor.is_none() || is_old {
            break;
        }
        look.is_cut = page + 1 == PAGES;
    }
    look.events.sort_by_key(|logged| logged.seq);
    let last = look.events.last().map_or(0, |logged| logged.seq.0);
    look.head = look.head.max(last);
    Ok(look)
}

/// The words of a text, in small letters.
fn words(text: &str) -> impl Iterator<Item = String> {
    let runs = text.split(|c: char| !c.is_alphanumeric()).filter(|run| !run.is_empty());
    runs.map(str::to_lowercase)
}

/// Whether title, message or original hold a word that begins so, for each of these.
fn holds(event: &Event, wanted: &[String]) -> bool {
    if wanted.is_empty() {
        return true;
    }
    let raw = event.raw.as_ref().map_or("", |raw| raw.text.as_str());
    let known: Vec<String> =
        [event.title.as_str(), &event.message, raw].into_iter().flat_map(words).collect();
    wanted.iter().all(|wanted| known.iter().any(|word| word.starts_with(wanted)))
}

/// The place of the newest event.
async fn head(desk: &Arc<dyn EventDesk>) -> Result<u64, ToolError> {
    let query = EventQuery { limit: 1, ..EventQuery::default() };
    let found = desk.find(query).await;
    let found = found.map_err(|error| refused("look for events", &error))?;
    let newest = found.events.iter().map(|logged| logged.seq.0).max();
    Ok(found.head.max(newest.unwrap_or_default()))
}

/// The place that a cursor says.
fn place(cursor: &str) -> Result<u64, ToolError> {
    cursor.trim().parse().map_err(|_| {
        ToolError::new("the cursor is not from events_wait").hint("call it again without a cursor")
    })
}
