//! Everything that tells: one module per channel, and the loop that delivers.
//!
//! Every channel is an [`EventSink`](event_core::EventSink): it gives a [`Message`](event_core::Message) the shape of
//! its service, says what the service made of it, and sorts failures by whether trying again can help.
//!
//! *Invariant:* text of others is escaped for the channel that shows it, and alerts nobody by itself. *Invariant:* what
//! is too long for one message is several, and nothing is left out. *Invariant:* the outputs do not know each other, nor
//! any store, rule or input. *Invariant:* no secret stands in an error, a log line or `Debug`.

pub mod deliver;
pub mod discord;
pub mod email;
mod error;
mod escape;
pub mod gotify;
pub mod heartbeat;
mod http;
mod kit;
mod line;
pub mod ntfy;
pub mod slack;
mod split;
pub mod stdout;
pub mod syslog;
mod template;
pub mod webhook;

pub use deliver::{Courier, Pace, Standing, Word};
pub use error::InvalidConfig;
pub use kit::{Kit, MARKER_HEADER};
pub use template::Wording;
