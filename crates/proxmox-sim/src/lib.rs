//! A stateful simulator of Proxmox VE and Proxmox Backup Server, over real TLS on loopback.
//!
//! Tests, the demo and the benchmark run against it. It answers as the real servers do, down to
//! reason phrases, empty bodies and delays, and [`Levers`] make it misbehave on purpose.
//!
//! ```no_run
//! # async fn run() -> Result<(), proxmox_sim::SimError> {
//! use proxmox_sim::{Sim, SimConfig};
//! let sim = Sim::start(SimConfig::fast()).await?;
//! let lab = sim.target("lab");
//! println!("{} as {}", lab.nodes[0].url, lab.token("agent").id);
//! sim.levers().node_offline("lab", "cedar", true)?;
//! # Ok(())
//! # }
//! ```
//!
//! *Invariant:* depends on none of our other crates, so that it cannot share their mistakes.
//! *Invariant:* binds loopback unless told otherwise, and keeps nothing on disk.

#![expect(clippy::unnecessary_wraps, reason = "handlers share one signature, and some cannot fail")]
#![expect(
    clippy::cast_possible_wrap,
    reason = "sizes and counts here are far below the limits, and wrong figures hurt nobody"
)]

mod auth;
mod call;
mod clock;
mod config;
mod console;
mod control;
mod error;
mod estate;
mod holds;
mod http;
mod levers;
mod notify;
mod pbs;
mod plants;
mod pve;
mod schema;
mod server;
mod sim;
mod state;
mod tls;

pub use config::{EstateKind, PveRelease, SimConfig};
pub use control::serve_control;
pub use error::SimError;
pub use holds::Moment;
pub use levers::{Levers, TaskSpec};
pub use plants::{Place, PlaceKind, Planted};
pub use sim::{Product, Sim, SimNode, SimTarget, SimToken};
