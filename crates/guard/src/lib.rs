//! Principals, modes and what a caller may do.
//!
//! A [`Principal`] says who asks, in a written form that goes into the audit log and that policy
//! matches on. [`risk`] says what every call of the API can do, and [`policy`] decides about a call
//! and what it touches, line by line. A [`Mode`] says what this server does for anybody: it is the operator's choice at
//! start, and no argument of a call can widen it.
//!
//! ```
//! use estate::Access;
//! use guard::{Mode, Principal};
//!
//! let caller: Principal = "local:1000".parse()?;
//! assert_eq!(caller, Principal::local(1000));
//!
//! assert!(Mode::Guarded.permits(Access::Read).is_ok());
//! let refusal = Mode::Guarded.permits(Access::Operate).unwrap_err();
//! assert!(refusal.to_string().contains("--mode trusted"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! *Invariant:* pure: no I/O, no clock, no transport, nothing of MCP.
//! *Invariant:* what is not expressly permitted is refused, and a refusal says what to do.

pub mod approval;
pub mod breaker;
pub mod budget;
pub mod freeze;
mod grant;
mod mode;
mod plan;
pub mod policy;
pub mod ports;
mod principal;
pub mod risk;
mod scope;

pub use grant::Grant;
pub use mode::{InvalidMode, Mode, Refusal, Verdict};
pub use plan::{PlanDigest, PlanForm, PlannedCall};
pub use principal::{InvalidPrincipal, Principal, PrincipalKind};
pub use scope::{InvalidScope, Scope};
