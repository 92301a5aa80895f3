//! The event: what happened, where, and how bad it is; and the traits of whatever hears, keeps,
//! decides and tells.
//!
//! Every channel (syslog, mail, webhook, Gotify, Discord, task lists) is an [`EventSource`] and makes
//! the same [`Event`]s. [`dispatch`] hands them to an [`EventLog`] and acknowledges them to their
//! source only when they are kept. [`Stage`]s turn events into decisions without doing anything
//! themselves, and [`EventSink`]s tell people.
//!
//! ```
//! use event_core::{ComponentId, Event, Kind, Severity, Subject};
//!
//! let source: ComponentId = "syslog".parse()?;
//! let time = "2026-11-22T01:00:00Z".parse()?;
//! let event = Event::builder(&source, "syslog", "pve1/4711/1", Kind::BackupFailed, time)
//!     .severity(Severity::Error)
//!     .subject(Subject { cluster: Some("home".parse()?), vmid: Some("104".parse()?), ..Subject::default() })
//!     .title("backup of 104 failed")
//!     .build(time);
//! assert_eq!(event.kind.as_str(), "backup.failed");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! For details, see: [`wire`] for the form that is kept and sent, [`correlation`] for what makes two
//! reports one incident.
//!
//! *Invariant:* knows no concrete input, output, store or rule. *Invariant:* nothing here reads a
//! clock or does I/O; `dispatch` waits, and is told the time.

pub mod correlation;
pub mod desk;
pub mod dispatch;
mod event;
mod ids;
mod kind;
pub mod live;
mod log;
mod outbox;
mod severity;
mod sink;
mod source;
mod stage;
mod subject;
pub mod wire;

pub use correlation::Key;
pub use event::{
    Builder, Event, MAX_LABELS, MAX_MESSAGE, MAX_RAW, MAX_TITLE, Raw, Source, SourceKey,
};
pub use ids::{ComponentId, Cursor, EventId, Fingerprint, InvalidId, Seq};
pub use kind::{InvalidKind, Kind};
pub use log::{Appended, EventLog, LogError, LogErrorKind, Logged};
pub use outbox::{Outbox, Queued};
pub use severity::{InvalidSeverity, Severity};
pub use sink::{Delivery, DeliveryKey, EventSink, Message, Receipt, Retry, SinkError, Stand};
pub use source::{
    Ack, AckReceiver, EventSource, Ruling, RunContext, Signal, SourceError, SourceErrorKind,
};
pub use stage::Stage;
pub use subject::Subject;
