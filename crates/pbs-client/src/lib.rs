//! Typed client of the Proxmox Backup Server API.
//!
//! Each module holds the calls of one part of the API: functions that build a
//! [`Request`](api_core::Request) without I/O, and the replies.
//!
//! ```
//! use pbs_client::snapshots;
//!
//! let store = "main".parse()?;
//! assert_eq!(snapshots::list(&store, Some("lab")).uri(), "/admin/datastore/main/snapshots?ns=lab");
//! # Ok::<(), estate::InvalidName>(())
//! ```
//!
//! *Invariant:* knows nothing of MCP, and nothing of the virtualization server's API.

pub mod access;
mod auth;
mod client;
pub mod config;
pub mod datastores;
mod error;
pub mod groups;
pub mod jobs;
pub mod namespaces;
pub mod node;
pub mod notifications;
pub mod remotes;
pub mod snapshots;
pub mod tasks;
pub mod traffic;
pub mod version;

pub use client::{Client, ConnectError};
pub use config::{Config, ConnectOptions};
pub use error::classify;
