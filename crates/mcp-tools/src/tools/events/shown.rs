//! Events and incidents as rows, and the arguments by which both are looked for.

use event_core::{
    Event, Logged, Subject,
    desk::{EventQuery, IncidentView, SaidBy},
};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::{SEVERITIES, sight};
use crate::{
    error::ToolError,
    report::{Cell, Table, age},
    schema::Input,
    tool::Cx,
    tools::since::since,
};

/// How many rows a list has where the caller does not say.
pub(super) const PAGE: usize = 30;

/// The most rows of a list.
pub(super) const MOST: usize = 200;

/// How much of an incident's name is shown.
const SHORT: usize = 8;

/// Which events, as the caller says it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Filter {
    pub(super) text: Option<String>,
    pub(super) kinds: Vec<String>,
    pub(super) min_severity: Option<String>,
    pub(super) cluster: Option<String>,
    pub(super) node: Option<String>,
    pub(super) guest: Option<String>,
    pub(super) job: Option<String>,
    pub(super) source: Option<String>,
    pub(super) incident: Option<String>,
    pub(super) since: Option<String>,
    pub(super) until: Option<String>,
}

// === impl Filter ===

impl Filter {
    /// Its arguments.
    pub(super) fn input() -> Input {
        Input::new()
            .text("text", "words")
            .texts("kinds", "backup.failed, or a family: backup")
            .choice("min_severity", SEVERITIES, "")
            .cluster()
            .node()
            .text("guest", "cluster/vmid or vmid")
            .text("job", "")
            .text("source", "input that heard it")
            .text("since", "RFC 3339, or age: 2h, 3d")
    }

    /// As the pipeline takes it.
    ///
    /// # Errors
    /// It cannot be meant.
    pub(super) fn query(&self, cx: &Cx) -> Result<EventQuery, ToolError> {
        let time =
            |text: &Option<String>| text.as_deref().map(|text| since(text, cx.now())).transpose();
        let guest = self.guest.as_deref().map(sight::guest).transpose()?;
        let of_guest = guest.and_then(|(cluster, _)| cluster);
        let cluster = sight::cluster(cx, self.cluster.as_deref().or(of_guest))?;
        Ok(EventQuery {
            since: time(&self.since)?,
            until: time(&self.until)?,
            kinds: self.kinds.clone(),
            min_severity: self.min_severity.clone(),
            cluster: cluster.map(str::to_owned),
            node: self.node.as_deref().map(bare_node).map(str::to_owned),
            vmid: guest.map(|(_, vmid)| vmid),
            job: self.job.clone(),
            source: self.source.clone(),
            incident: self.incident.clone(),
            text: self.text.clone(),
            ..EventQuery::default()
        })
    }
}

/// `lab/alder` is `alder`.
pub(super) fn bare_node(node: &str) -> &str {
    node.rsplit('/').next().unwrap_or(node)
}

/// An empty table of events.
pub(super) fn events_table() -> Table {
    Table::new("events", &["event", "time", "severity", "kind", "about", "source", "title"])
}

/// One event, for that table.
pub(super) fn event_row(logged: &Logged, now: Timestamp) -> Vec<Cell> {
    let event = &logged.event;
    vec![
        Cell::number(logged.seq.0),
        Cell::moment(event.time, now),
        Cell::text(event.severity.as_str()),
        Cell::text(event.kind.as_str()),
        about(event),
        Cell::text(event.source.id.as_str()),
        Cell::foreign(event.title.as_str()),
    ]
}

/// What an event is about, without the guest's name, which the guest's owner gives.
pub(super) fn about(event: &Event) -> Cell {
    let subject = Subject { guest_name: None, ..event.subject.clone() };
    named(subject.label())
}

/// What an incident is about.
pub(super) fn about_incident(incident: &IncidentView) -> Cell {
    let part = incident.vmid.map(|id| id.to_string()).or_else(|| incident.node.clone());
    let parts = [incident.cluster.clone(), part];
    named(parts.into_iter().flatten().collect::<Vec<_>>().join("/"))
}

/// A name as a word, where it is one; in quotes where somebody has written a sentence into it.
pub(super) fn named(name: impl Into<String>) -> Cell {
    let name = name.into();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/' | ':');
    match name.is_empty() {
        true => Cell::none(),
        false if name.chars().all(plain) => Cell::text(name),
        false => Cell::foreign(name),
    }
}

/// What people type of an incident's name.
pub(super) fn short(id: &str) -> &str {
    id.get(..SHORT).unwrap_or(id)
}

/// Who said something, and when.
pub(super) fn said(word: Option<&SaidBy>, now: Timestamp) -> Cell {
    let Some(word) = word else { return Cell::none() };
    let by = named(word.by.as_str());
    if by.is_foreign() {
        return by;
    }
    Cell::with(word.by.as_str(), format!("{}({})", word.by, age(word.at, now)))
}

/// A moment of a document, as [`IncidentView::problems`] has them.
pub(super) fn moment_in(value: &Value, now: Timestamp) -> Cell {
    let time = value.as_str().and_then(|text| text.parse::<Timestamp>().ok());
    time.map_or_else(Cell::none, |time| Cell::moment(time, now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_is_no_name() {
        assert_eq!(named("lab/104"), Cell::text("lab/104"));
        assert_eq!(named(""), Cell::none());
        assert!(named("lab/obey me").is_foreign());
        assert_eq!((short("0f1e2d3c4b5a"), short("0f")), ("0f1e2d3c", "0f"));
    }
}
