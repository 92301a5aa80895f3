//! The manager's control API: one trait that the daemon serves and terminals and `serve` call.
//!
//! It is JSON-RPC over HTTP and WebSocket on a Unix socket (ADR 0002). The trait is [`ControlServer`]
//! for the daemon; everybody else uses [`Client`], which says hello first and refuses a manager of
//! another version. Who calls is not said by the caller: the daemon asks the system for the account
//! at the other end of the socket.
//!
//! ```no_run
//! # async fn example() -> Result<(), control_api::Error> {
//! use control_api::{ApprovalFilter, Client};
//!
//! let client = Client::connect("/run/proxmox-mcp/control.sock".as_ref(), "0.1.0").await?;
//! for approval in client.approvals(ApprovalFilter::pending()).await? {
//!     println!("{} asks for {}", approval.requested_by, approval.summary);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! For details, see: `docs/guide/manager.md`, and [`types`] for what goes over the wire.
//!
//! *Invariant:* knows nothing of the manager's insides, of the estate or of MCP: texts, numbers and
//! JSON only. *Invariant:* no secret but a one-time code goes over the wire: passphrases stay where
//! they are typed, and what travels is a signature.

mod api;
mod at;
mod client;
mod error;
mod events;
pub mod types;

pub use crate::api::ControlServer;
pub use crate::client::{Approvals, Client, ToolCall};
pub use crate::error::{Error, ErrorKind};
pub use crate::events::{EventsControlServer, OnBehalfOf};
pub use crate::types::*;

/// The revision of this interface. It changes with every change of the trait or its types.
pub const REVISION: u32 = 4;

/// The file name of the socket in the state folder.
pub const SOCKET: &str = "control.sock";
