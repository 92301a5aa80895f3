//! From settings to what a program runs: what `proxmox-mcp` and `proxmox-manager` have in common.
//!
//! [`Estate`] is the clients, the store, the guard and the catalogue over them; [`web`] is the same
//! behind the gateway; [`tester`] says whether it would work. The programs parse their arguments, say what is [`Wanted`], and run it.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use assembly::{Estate, Wanted};
//!
//! let estate = Estate::prepare(Wanted::default()).await?;
//! println!("{} tools", estate.app()?.tool_specs().len());
//! # Ok(())
//! # }
//! ```
//!
//! *Invariant:* no command line, and nothing is printed: programs speak, this assembles.

mod copies;
mod counts;
mod daemon;
mod drama;
mod estate;
mod events;
mod idle;
mod journal;
mod kept;
mod memory;
mod places;
mod protecting;
mod quiet;
mod scopes;
mod tenancy;
pub mod tester;
mod times;
mod told;
pub mod web;

pub use crate::daemon::{Core, Daemon};
pub use crate::drama::Show;
pub use crate::estate::{
    DemoWanted, Estate, Wanted, change_log, load, local_principal, local_uid, start_log,
};
pub use crate::events::{DemoEvents, EventPlan, demo_events, event_ways};
pub use crate::idle::let_go_when_idle;
pub use crate::journal::AuditJournal;
pub use crate::kept::{Audit, store_url};
pub use crate::memory::{Holds, Memory};
pub use crate::protecting::tell_own_guest;
pub use crate::scopes::{check as check_scope, errors as scope_errors};
pub use crate::tenancy::{Wait, take_store};
pub use crate::times::keep_times;
pub use crate::told::{tell_of_consent, tell_of_manager, warn_of_trust};
