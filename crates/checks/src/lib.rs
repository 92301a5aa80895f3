//! The checks behind the tester: endpoints, clusters, permissions and the MCP handshake.
//!
//! [`run`] takes what to check as data and returns findings, always in the same order; every check
//! has its own deadline and everything runs side by side. A finding that is not `pass` has a hint
//! that a person can act on.
//!
//! ```no_run
//! # async fn run(plan: checks::Plan) {
//! let findings = checks::run(plan, |progress| eprintln!("{}/{}", progress.done, progress.total)).await;
//! let ok = checks::Summary::of(&findings).is_ok();
//! # }
//! ```
//!
//! What is asked (`endpoint`, `table`, `mcp`) stands apart from what the answers mean (the `judge`
//! functions, without I/O).
//!
//! *Invariant:* does not print and does not exit; the caller does both.
//! *Invariant:* never tries credentials twice: a refused login costs three seconds and looks like
//! an attack. No credential is sent to a server whose certificate was not believed.

mod endpoint;
mod events;
mod finding;
mod mcp;
mod plan;
mod product;
mod progress;
pub mod report;
mod table;
mod topology;

pub use events::{Beat, Ways};
pub use finding::{Finding, Status, Summary};
pub use mcp::McpTarget;
pub use plan::{Plan, run};
pub use progress::Progress;
pub use topology::Topology;
