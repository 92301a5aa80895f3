//! From events to what is told to whom.
//!
//! [`Rules`] are a [`event_core::Stage`]: each step takes an [`Input`] and the time, and gives
//! [`Decision`]s. An event goes through the lines of the settings ([`Rules::judge`]), belongs to an
//! incident ([`Incidents`]), and the incident is told, unless something keeps people from being told.
//!
//! ```
//! use std::sync::Arc;
//!
//! use event_core::{Event, Kind, Severity, Stage as _, Subject};
//! use jiff::{SignedDuration, Timestamp};
//! use rules::{Config, Decision, Input, Rules, State};
//!
//! let at: Timestamp = "2026-11-22T01:00:00Z".parse()?;
//! let subject = Subject { cluster: Some("home".parse()?), vmid: Some("104".parse()?), ..Subject::default() };
//! let report = |source: &str| {
//!     let builder = Event::builder(&source.parse().unwrap(), source, "1", Kind::BackupFailed, at);
//!     Arc::new(builder.severity(Severity::Error).subject(subject.clone()).build(at))
//! };
//! let rules = Rules::try_new(&Config::default().outputs(["ops"])).expect("nothing is said in them");
//! let mut state = State::default();
//! for source in ["syslog", "webhook", "email"] {
//!     rules.step(&mut state, at, Some(Input::Event(report(source))));
//! }
//! // All three are of one fact, so there is one message, after a moment in which more could come.
//! let (decisions, _) = rules.step(&mut state, at + SignedDuration::from_secs(10), None);
//! let told: Vec<_> = decisions.iter().filter_map(Decision::delivered).collect();
//! assert_eq!(told.len(), 1);
//! assert_eq!(told[0].message.events.len(), 3);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! For details, see: [`config`] for what settings can say, `docs/concepts/events.md` for why.
//!
//! *Invariant:* pure: no I/O and no clock; the time comes in with each call.
//! *Invariant:* the same inputs at the same times give the same decisions with the same keys, however
//! time is cut into steps. *Invariant:* knows no concrete input, output or store.

pub mod config;
mod correlate;
mod decision;
mod digest;
mod ears;
mod engine;
mod error;
mod facts;
mod incident;
mod lines;
mod message;
mod meter;
mod mute;
mod recovery;
mod replay;
mod target;
mod tell;
mod watch;

pub use config::{
    Config, Escalation, InhibitConfig, Limit, MuteConfig, MuteTime, OutputConfig, RuleConfig,
};
pub use correlate::{Incidents, Taken};
pub use decision::{Decision, Deliver, Holder, Input};
pub use engine::{Rules, State};
pub use error::RuleError;
pub use facts::SHAPE;
pub use incident::{FLAP_WINDOW, FLAPS, Incident, IncidentId, Place, Problem, Status, Word};
pub use lines::{Fit, Verdict};
pub use message::{ASKED_BY, PLAN, RUN};
pub use meter::{Measured, Room, Thresholds};
pub use recovery::{Recoveries, is_problem};
pub use replay::{Case, Fate, Happened, Mismatch, replay};
pub use target::{InvalidTarget, Places, Target};
pub use watch::{Estate, Job, Work};
