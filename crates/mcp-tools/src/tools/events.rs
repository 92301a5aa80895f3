//! What was heard and what is wrong: events, incidents, silences, and words to people.
//!
//! Everything here asks the pipeline through its port, [`EventDesk`]. What hides something or ends it
//! goes through the gate like any change: who could silence what tells of them could hide what they
//! did.
//!
//! For details, see: `docs/guide/incidents.md`.
//!
//! *Invariant:* without a pipeline each of them fails and says what is missing; an empty list is said
//! only by a pipeline.
//! *Invariant:* a caller that is kept to some clusters is told of theirs alone (`Sight`).

mod acknowledge;
mod incident;
mod incidents;
mod resolve;
mod search;
mod send;
mod shown;
mod sight;
mod silence;
mod silence_end;
mod silences;
mod stats;
mod step;
mod wait;

use std::sync::Arc;

use event_core::desk::{DeskError, DeskErrorKind, EventDesk};

use self::sight::Sight;
use crate::{
    error::{Kind, ToolError},
    tool::{Cx, EstateTool},
};

pub use self::{
    acknowledge::IncidentAcknowledge, incident::IncidentGet, incidents::IncidentsList,
    resolve::IncidentResolve, search::EventsSearch, send::NotificationSend, silence::SilenceSet,
    silence_end::SilenceEnd, silences::SilencesList, stats::EventsStats, wait::EventsWait,
};

/// What is said where there is no pipeline.
pub(crate) const NO_PIPELINE: &str =
    "no events are heard here: no manager runs, and this server has no pipeline of its own";

/// What to do about that.
pub(crate) const HOW: &str = "start `proxmox-manager`, or this server as \
     `proxmox-mcp serve --http --with-events`; fleet_overview shows the present state";

/// The words of `min_severity` and `severity`.
const SEVERITIES: &[&str] = &["debug", "info", "notice", "warning", "error", "critical"];

/// The tools, in the order of their list.
pub(crate) static TOOLS: &[&dyn EstateTool] = &[
    &EventsSearch,
    &EventsWait,
    &EventsStats,
    &IncidentsList,
    &IncidentGet,
    &IncidentAcknowledge,
    &IncidentResolve,
    &SilencesList,
    &SilenceSet,
    &SilenceEnd,
    &NotificationSend,
];

/// The pipeline.
///
/// # Errors
/// There is none, and what to do about that.
fn desk(cx: &Cx) -> Result<&Arc<dyn EventDesk>, ToolError> {
    let none = || ToolError::new(NO_PIPELINE).of_kind(Kind::Unavailable).hint(HOW);
    cx.events.as_ref().ok_or_else(none)
}

/// Why the pipeline could not do it.
fn refused(doing: &str, error: &DeskError) -> ToolError {
    let kind = match error.kind() {
        DeskErrorKind::NotFound => Kind::NotFound,
        DeskErrorKind::Unavailable => Kind::Unavailable,
        _ => Kind::Other,
    };
    let refused = ToolError::new(format!("cannot {doing}: {error}")).of_kind(kind);
    // A manager that does not run is the usual reason.
    if kind == Kind::Unavailable { refused.hint(HOW) } else { refused }
}
