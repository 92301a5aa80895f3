//! Incidents as they were last seen: for people who ask, and for who goes on with them.
//!
//! What an incident is, the rules know; here it is a row with what is searched, and a document.
//!
//! For details, see: [`crate::pipeline`], by which they are written.
//!
//! *Invariant:* an incident that became part of another one is found as that other one.

use event_core::{Logged, Seq, Severity};
use jiff::Timestamp;
use serde_json::Value;

use crate::{Error, ErrorKind};

/// The most incidents that an unclear name is told of.
pub(crate) const CANDIDATES: u32 = 6;

/// An incident.
#[derive(Clone, Debug, PartialEq)]
pub struct Incident {
    /// Its name.
    pub id: String,
    /// When we first heard of it.
    pub opened: Timestamp,
    /// When it last changed.
    pub updated: Timestamp,
    /// When it was over.
    pub ended: Option<Timestamp>,
    /// Whether anything is wrong: an open one is not forgotten.
    pub is_open: bool,
    /// Where it stands, in the rules' word.
    pub status: String,
    /// How bad it is.
    pub severity: Severity,
    /// The kind of the event that leads it.
    pub kind: String,
    /// One line. Data.
    pub title: String,
    /// The settings key of where it is.
    pub cluster: Option<String>,
    /// The node.
    pub node: Option<String>,
    /// The guest.
    pub vmid: Option<u32>,
    /// How many reports there were.
    pub reports: u64,
    /// Who has it.
    pub acknowledged: Option<Said>,
    /// Who said that it is over.
    pub closed: Option<Said>,
    /// Which incident it is part of. Set by a [`Merge`](crate::Merge) and never by this.
    pub merged_into: Option<String>,
    /// Whatever else the caller wants back.
    pub doc: Value,
}

/// What somebody said, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Who.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// Which incidents; what is left out lets everything through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IncidentFilter {
    /// Whether anything is wrong.
    pub is_open: Option<bool>,
    /// Changed then or later.
    pub since: Option<Timestamp>,
    /// As bad as that or worse.
    pub min_severity: Option<Severity>,
    /// Of the cluster, node or backup server with this settings key.
    pub cluster: Option<String>,
    /// On this node.
    pub node: Option<String>,
    /// About this guest.
    pub vmid: Option<u32>,
}

/// Where incidents are found.
#[async_trait::async_trait]
pub trait IncidentStore: Send + Sync + 'static {
    /// The incidents that the filter lets through and that are part of no other one: at most
    /// `limit`, the last that changed first.
    ///
    /// # Errors
    /// [`Unavailable`](crate::ErrorKind::Unavailable) or [`Corrupt`](crate::ErrorKind::Corrupt).
    async fn incidents(&self, filter: &IncidentFilter, limit: u32) -> Result<Vec<Incident>, Error>;

    /// The incident whose name begins so; of one that became part of another one, that other one.
    ///
    /// # Errors
    /// [`Conflict`](crate::ErrorKind::Conflict) when several do, and as [`incidents`](Self::incidents).
    async fn incident(&self, name: &str) -> Result<Option<Incident>, Error>;

    /// The events of an incident, those of what became part of it included: behind that place, at
    /// most `limit`, in the order in which they were heard.
    ///
    /// # Errors
    /// As [`incidents`](Self::incidents).
    async fn incident_events(&self, id: &str, after: Seq, limit: u32)
    -> Result<Vec<Logged>, Error>;
}

/// The only one of what was found by a name.
pub(crate) fn the_one(name: &str, mut found: Vec<Incident>) -> Result<Option<Incident>, Error> {
    if let Some(at) = found.iter().position(|it| it.id == name) {
        return Ok(Some(found.swap_remove(at)));
    }
    if found.len() > 1 {
        let ids: Vec<&str> = found.iter().map(|it| it.id.as_str()).collect();
        let message = format!(
            "find incident {name}: {} begin so; give more of the name of one",
            ids.join(", ")
        );
        return Err(Error::new(ErrorKind::Conflict, message));
    }
    Ok(found.pop())
}
