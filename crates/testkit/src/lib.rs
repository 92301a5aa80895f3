//! What tests share: fixtures, services, contract suites, waiting without sleeping.
//!
//! ```no_run
//! # async fn test() {
//! use std::time::Duration;
//! use testkit::{Progress, fixtures, wait_for};
//!
//! let Some(recorded) = fixtures::json("recorded/pve-9.2-get.json") else { return };
//! assert!(recorded.is_object());
//!
//! let mut polls = 0;
//! let port: u16 = wait_for("a port to be announced", Duration::from_secs(5), async || {
//!     polls += 1;
//!     if polls > 3 { Progress::Ready(8006) } else { Progress::Pending(format!("{polls} polls")) }
//! })
//! .await;
//! # let _ = port;
//! # }
//! ```
//!
//! *Invariant:* a dev-dependency only; nothing that ships names this crate.
//! *Invariant:* what a test needs and does not find is printed and counted, never silently passed
//! over, and is a failure where the environment says that it must be there.

mod alone;
#[cfg(feature = "calls")]
pub mod calls;
pub mod contract;
pub mod corpus;
#[cfg(feature = "fakes")]
pub mod fake;
pub mod fixtures;
pub mod hostile;
#[cfg(feature = "event-core")]
pub mod outbox;
pub mod peers;
#[cfg(feature = "ports")]
pub mod ports;
pub mod services;
mod skip;
mod wait;

pub use alone::alone;
pub use skip::{skip_aloud, skipped};
pub use wait::{Progress, wait_for};
