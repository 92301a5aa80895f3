//! What is told, before a channel gives it its shape.

use std::fmt::Write as _;

use event_core::{ComponentId, Event, Kind, Message, Severity, Stand};
use jiff::Timestamp;

use crate::{Incident, Rules};

/// The label with the run that began a task, if this program did.
pub const RUN: &str = "run";

/// The label with the plan of that run.
pub const PLAN: &str = "plan";

/// The label with who asked for it.
pub const ASKED_BY: &str = "asked_by";

/// The most problems that a message lists.
const MOST_PROBLEMS: usize = 10;

/// The most reports that go with a message.
const MOST_REPORTS: usize = 20;

/// What is told of an incident.
pub(crate) fn of(rules: &Rules, incident: &Incident, stand: Stand, now: Timestamp) -> Message {
    let lead = incident.lead();
    let mut message = Message::new(
        stand,
        incident.id().short(),
        lead.kind.clone(),
        incident.severity(),
        title(incident),
        now,
    );
    message.subject = lead.subject.clone();
    message.began = incident.began();
    message.silent = stand.edits();
    message.text = text(rules, incident);
    message.fields = fields(rules, incident);
    let skipped = incident.reports().len().saturating_sub(MOST_REPORTS);
    message.events = incident.reports().skip(skipped).map(|event| Event::clone(event)).collect();
    message
}

/// A list of what went on.
pub(crate) fn digest(
    output: &ComponentId,
    severity: Severity,
    title: impl Into<String>,
    text: String,
    now: Timestamp,
) -> Message {
    let thread = format!("digest-{output}");
    let mut message =
        Message::new(Stand::Digest, thread, Kind::other("digest"), severity, title, now);
    message.text = text;
    message
}

/// A moment as the operator's clock shows it, with the offset.
pub(crate) fn time(rules: &Rules, time: Timestamp) -> String {
    time.to_zoned(rules.zone.clone()).strftime("%Y-%m-%d %H:%M:%S %:z").to_string()
}

fn title(incident: &Incident) -> String {
    let title = &incident.lead().title;
    let more = match incident.open_problems().filter(|it| !it.is_summary).count() {
        0 => incident.problems().iter().filter(|it| !it.is_summary).count(),
        open => open,
    };
    match more {
        0 | 1 => title.clone(),
        more => format!("{title} (and {} more)", more - 1),
    }
}

fn text(rules: &Rules, incident: &Incident) -> String {
    let mut text = incident.lead().message.clone();
    let parts = || incident.problems().iter().filter(|it| !it.is_summary);
    if parts().count() < 2 {
        return text;
    }
    if !text.is_empty() {
        text.push_str("\n\n");
    }
    for problem in parts().take(MOST_PROBLEMS) {
        let end =
            problem.over.as_ref().map(|over| format!(", over since {}", time(rules, over.time)));
        // Writing to a string cannot fail.
        let _ = writeln!(text, "- {}{}", problem.lead.title, end.unwrap_or_default());
    }
    if let Some(more @ 1..) = parts().count().checked_sub(MOST_PROBLEMS) {
        let _ = writeln!(text, "- and {more} more");
    }
    text
}

fn fields(rules: &Rules, incident: &Incident) -> Vec<(String, String)> {
    let mut fields = Vec::new();
    let mut put = |name: &str, value: String| fields.push((name.to_owned(), value));
    let label = incident.lead().subject.label();
    if !label.is_empty() {
        put("where", label);
    }
    put("began", time(rules, incident.began()));
    if let Some(ended) = incident.ended() {
        put("ended", time(rules, ended));
    }
    if incident.times() > 1 {
        put("times", incident.times().to_string());
    }
    // It was this program's own doing: whoever is told knows whom to ask.
    let own = |label| incident.reports().find_map(|event| event.labels.get(label));
    for (name, label) in [("asked by", ASKED_BY), ("plan", PLAN), ("run", RUN)] {
        if let Some(value) = own(label) {
            put(name, value.clone());
        }
    }
    let sources: std::collections::BTreeSet<&str> =
        incident.reports().map(|event| event.source.id.as_str()).collect();
    let sources: Vec<&str> = sources.into_iter().collect();
    put("reports", format!("{} ({})", incident.count(), sources.join(", ")));
    if let Some(word) = incident.acknowledged() {
        put("acknowledged", format!("{}, {}", word.by, time(rules, word.at)));
    }
    if let Some(word) = incident.closed() {
        put("closed", format!("{}, {}", word.by, time(rules, word.at)));
    }
    fields
}
