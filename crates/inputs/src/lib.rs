//! Everything that hears: one module per channel, and the readers of what arrives there.
//!
//! [`recognize`] is pure: bytes in, [`Event`](event_core::Event)s with their correlation keys out. It never refuses
//! anything: what it does not know becomes an event that says so, with the original in it. [`Syslog`](syslog::Syslog),
//! [`Webhook`](webhook::Webhook), [`Gotify`](gotify::Gotify), [`Ntfy`](ntfy::Ntfy), [`Discord`](discord::Discord),
//! [`Imap`](email::imap::Imap) and [`Smtp`](email::smtp::Smtp) are the sources that use it; [`Tasks`](tasks::Tasks) asks the servers themselves.
//!
//! ```
//! use inputs::{Identity, Origin, recognize::syslog};
//!
//! let source = "syslog".parse()?;
//! let identity = Identity { cluster: Some("home".parse()?), ..Identity::default() };
//! let origin = Origin::new(&source, "syslog", &identity, "2026-11-22T17:55:06Z".parse()?);
//! let line = b"<27>Nov 22 17:55:05 pve1 vzdump[4711]: ERROR: Backup of VM 104 failed - no space left";
//! let event = syslog::recognize(line, &origin, "10.0.0.11/1");
//! assert_eq!((event.kind.as_str(), event.subject.label().as_str()), ("backup.failed", "home/104"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! *Invariant:* which cluster a report is of comes from the settings of the way that it took ([`Identity`]), never from
//! what it says. *Invariant:* a reader neither panics nor loses the original, whatever it is given. *Invariant:* the
//! inputs do not know each other, nor any store, rule or output. *Invariant:* whoever waits for an answer gets it after
//! the log has the event on disk.

mod channel;
pub mod discord;
mod echo;
pub mod email;
#[doc(hidden)]
pub mod fuzzing;
pub mod gotify;
pub mod ntfy;
mod origin;
mod pem;
pub mod recognize;
mod remote;
pub mod syslog;
pub mod tasks;
pub mod webhook;
pub mod websocket;

pub use echo::{Echo, MARKER, Ours};
pub use origin::{Identity, Origin};
pub use pem::TlsPem;
