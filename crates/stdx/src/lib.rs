//! What every crate shares and none of which knows Proxmox: clock, hours of the week, error chains,
//! log field names, backoff, redaction, sealing, key files, syslog messages, TLS and HTTP clients.
//!
//! ```
//! use stdx::redact::Redactor;
//!
//! let redactor = Redactor::new(["webhook_url"]);
//! assert_eq!(redactor.text("login with password=hunter2 failed"), "login with password=[redacted] failed");
//! ```
//!
//! *Invariant:* nothing here knows a product, a protocol above HTTP, or a settings file.
//! *Invariant:* TLS configurations and HTTP clients are made here and nowhere else, and time is
//! read here and nowhere else.

pub mod backoff;
mod chain;
pub mod clock;
pub mod field;
#[doc(hidden)]
pub mod fuzzing;
mod hours;
pub mod http;
pub mod keyfile;
pub mod redact;
pub mod seal;
pub mod syslog;
pub mod tls;
pub mod untrusted;

pub use backoff::Backoff;
pub use chain::Chain;
pub use clock::{Clock, ManualClock, SystemClock};
pub use hours::{Hours, InvalidHours};
