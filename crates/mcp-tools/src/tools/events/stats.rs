//! `events_stats`: how much of what was heard, and how those who hear and tell are doing.

use std::collections::BTreeMap;

use async_trait::async_trait;
use estate::Access;
use event_core::{
    Severity,
    desk::{EventSort, EventsHealth},
};
use jiff::{SignedDuration, Timestamp};
use mcp_protocol::JsonObject;
use serde::Deserialize;

use super::{SEVERITIES, Sight, desk, refused, shown::Filter};
use crate::{
    error::ToolError,
    report::{Cell, Report, Table, age},
    schema::{Input, Output},
    tool::{Cx, Definition, EstateTool},
    tools::tally::counted,
};

/// The span where the caller does not say.
const SPAN: SignedDuration = SignedDuration::from_hours(24);

/// How many kinds are listed.
const KINDS: usize = 40;

/// Counts events.
pub struct EventsStats;

#[derive(Debug, Deserialize)]
struct Args {
    #[serde(flatten)]
    filter: Filter,
}

#[async_trait]
impl EstateTool for EventsStats {
    fn definition(&self) -> Definition {
        Definition {
            name: "events_stats",
            title: "Event statistics",
            description: "How many events of each kind, severity and source in a span (24 h), and how \
                          inputs and outputs are doing.",
            input: Input::new()
                .text("since", "RFC 3339, or age: 2h, 3d")
                .text("until", "")
                .cluster()
                .texts("kinds", "backup.failed, or a family: backup")
                .choice("min_severity", SEVERITIES, ""),
            output: Output::new()
                .fact("events", "integer")
                .fact("open_incidents", "integer")
                .table("kinds")
                .table("sources")
                .table("inputs")
                .table("outputs"),
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
        let mut query = args.filter.query(cx)?;
        query.cluster = sight.only(query.cluster.as_deref());
        let from = query.since.or_else(|| now.checked_sub(SPAN).ok());
        query.since = from;
        let counts = desk.count(query).await;
        let counts = counts.map_err(|error| refused("count events", &error))?;
        let seen: Vec<EventSort> =
            counts.sorts.into_iter().filter(|sort| sight.sees(sort.cluster.as_deref())).collect();
        let total =
            if sight.is_part() { seen.iter().map(|sort| sort.count).sum() } else { counts.total };
        let count = counted(usize::try_from(total).unwrap_or(usize::MAX), "event");
        let since = from.map_or_else(String::new, |from| format!(" since {} ago", age(from, now)));
        let mut report = Report::new(format!("{count}{since}{}", worst(&seen)))
            .fact("events", total)
            .table(kinds(&seen))
            .table(sources(&seen));
        if counts.is_cut {
            report = report.note("not all sorts of events are told apart: narrow the question");
        }
        if sight.is_part() {
            return Ok(sight
                .tell(report)
                .note("how inputs and outputs are doing is not told here"));
        }
        let health = desk.health().await;
        let health = health.map_err(|error| refused("ask how the pipeline is doing", &error))?;
        Ok(told(report, &health, now))
    }
}

/// `, 3 of them error or worse`.
fn worst(sorts: &[EventSort]) -> String {
    let is_bad = |sort: &&EventSort| {
        sort.severity.parse::<Severity>().is_ok_and(|severity| severity >= Severity::Error)
    };
    match sorts.iter().filter(is_bad).map(|sort| sort.count).sum::<u64>() {
        0 => String::new(),
        bad => format!(", {bad} of them error or worse"),
    }
}

fn kinds(sorts: &[EventSort]) -> Table {
    let mut counts: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for sort in sorts {
        *counts.entry((&sort.kind, &sort.severity)).or_default() += sort.count;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let mut table = Table::new("kinds", &["kind", "severity", "events"]);
    table.total = (counts.len() > KINDS).then_some(counts.len());
    for ((kind, severity), count) in counts.into_iter().take(KINDS) {
        table.push(vec![Cell::text(kind), Cell::text(severity), Cell::number(count)]);
    }
    table
}

fn sources(sorts: &[EventSort]) -> Table {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for sort in sorts {
        *counts.entry(&sort.source).or_default() += sort.count;
    }
    let mut table = Table::new("sources", &["source", "events"]);
    for (source, count) in counts {
        table.push(vec![Cell::text(source), Cell::number(count)]);
    }
    table
}

/// How those who hear and those who tell are doing.
fn told(mut report: Report, health: &EventsHealth, now: Timestamp) -> Report {
    if !health.runs {
        report = report.note("the pipeline does not run now: nothing is heard and nobody is told");
    }
    let moment = |time: Option<Timestamp>| time.map_or_else(Cell::none, |it| Cell::moment(it, now));
    let error = |error: Option<&String>| Cell::opt(error.map(|it| Cell::foreign(it.as_str())));
    let columns = ["input", "kind", "heard", "lost", "last", "alive", "error"];
    let mut inputs = Table::new("inputs", &columns);
    for input in &health.inputs {
        inputs.push(vec![
            Cell::text(input.name.as_str()),
            Cell::text(input.kind.as_str()),
            Cell::number(input.heard),
            Cell::number(input.lost),
            moment(input.last),
            moment(input.alive),
            error(input.error.as_ref()),
        ]);
    }
    let columns = ["output", "kind", "told", "pending", "oldest", "dead", "failing_since", "error"];
    let mut outputs = Table::new("outputs", &columns);
    for output in &health.outputs {
        outputs.push(vec![
            Cell::text(output.name.as_str()),
            Cell::text(output.kind.as_str()),
            Cell::number(output.told),
            Cell::number(output.pending),
            moment(output.oldest),
            Cell::number(output.dead),
            moment(output.failing_since),
            error(output.error.as_ref()),
        ]);
    }
    let lost: u64 = health.inputs.iter().map(|input| input.lost).sum();
    if lost > 0 {
        report = report.note(format!("{lost} reports were lost and cannot be brought back"));
    }
    if let Some(error) = &health.unknown {
        report = report.note(format!(
            "the store does not say how much is pending, dead and open: {}",
            stdx::untrusted::line(error, 200)
        ));
    }
    if let Some(spool) = &health.spool
        && let Some(since) = spool.away_since
    {
        let (waiting, refused) = (spool.waiting, spool.refused);
        report = report.note(format!(
            "the store takes no events since {since}: {waiting} reports wait beside it, {refused} \
             were refused to their senders"
        ));
    }
    let dead: u64 = health.outputs.iter().map(|output| output.dead).sum();
    if dead > 0 {
        report = report.note(format!(
            "{dead} messages could not be told: `proxmox-mcp events dead` lists them"
        ));
    }
    report.fact("open_incidents", health.open).table(inputs).table(outputs)
}
