//! The manager: one process that owns a state folder, answers the control API and runs what was
//! approved.
//!
//! - [`lock`] elects the owner; the losers attach to it over the control socket.
//! - [`ControlSocket`] and [`serve()`] are its door: who calls is what the system says of the peer.
//! - [`Desk`] answers the control API, [`Deciding`] takes decisions, and [`approve`] is what proves
//!   whose they are.
//! - [`Engine`] runs what was approved, through a [`Worker`].
//! - [`events`] is the pipeline from what is heard to what is told.
//! - [`Supervisor`] keeps the parts running.
//!
//! ```no_run
//! # async fn example(desk: manager::Desk) -> Result<(), Box<dyn std::error::Error>> {
//! use manager::{ControlSocket, Lock};
//! use tokio_util::sync::CancellationToken;
//!
//! let state = std::path::Path::new("/var/lib/proxmox-mcp");
//! let lock = Lock::take(state)?;
//! let socket = ControlSocket::bind(&lock, &state.join(control_api::SOCKET), None)?;
//! manager::serve(socket, desk, CancellationToken::new()).await;
//! # Ok(())
//! # }
//! ```
//!
//! For details, see: `docs/guide/manager.md`.
//!
//! *Invariant:* knows no command line, no settings file and no HTTP route. *Invariant:* only the
//! holder of the lock binds the socket and runs approved work. *Invariant:* who calls is what the
//! system says, never what the caller says.

pub mod approve;
mod decide;
mod desk;
pub mod events;
pub mod lock;
mod peer;
mod serve;
mod socket;
mod supervise;
mod work;

pub use crate::decide::Deciding;
pub use crate::desk::{About, Apps, Books, Desk, shown_action};
pub use crate::lock::{Lock, LockError};
pub use crate::peer::{Accounts, Peer};
pub use crate::serve::serve;
pub use crate::socket::{ControlSocket, SocketError};
pub use crate::supervise::{Part, Run, State, Supervisor};
pub use crate::work::{Engine, LogChannel, Parts, Ran, Recovered, Worker};
