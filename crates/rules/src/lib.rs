//! From events to what is told to whom.
//!
//! [`Incidents`] puts the reports of one fact together, in whatever order they come.
//!
//! ```
//! use std::sync::Arc;
//!
//! use event_core::{Event, Kind, Severity, Subject};
//! use rules::{Incidents, Status};
//!
//! let at = "2026-11-22T01:00:00Z".parse()?;
//! let subject = Subject { cluster: Some("home".parse()?), vmid: Some("104".parse()?), ..Subject::default() };
//! let report = |source: &str, kind, severity| {
//!     let builder = Event::builder(&source.parse().unwrap(), source, "1", kind, at);
//!     Arc::new(builder.severity(severity).subject(subject.clone()).build(at))
//! };
//! let mut incidents = Incidents::default();
//! let first = incidents.take(&report("syslog", Kind::BackupFailed, Severity::Error));
//! let second = incidents.take(&report("webhook", Kind::BackupFailed, Severity::Error));
//! assert_eq!(first.incident, second.incident);
//! assert_eq!(incidents.get(first.incident).map(|it| it.status(at)), Some(Status::Open));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! *Invariant:* pure: no I/O and no clock; the time comes in with each call.
//! *Invariant:* knows no concrete input, output or store.

mod correlate;
mod incident;
mod recovery;

pub use correlate::{Incidents, Taken};
pub use incident::{FLAP_WINDOW, FLAPS, Incident, IncidentId, Place, Problem, Status, Word};
pub use recovery::{Recoveries, is_problem};
