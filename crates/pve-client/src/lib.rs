//! Typed client of the Proxmox VE API.
//!
//! Each module holds the calls of one part of the API: functions that build a
//! [`Request`](api_core::Request) without I/O, and the replies. Where a call belongs to a node, the
//! request says so; where it runs in the node's few privileged workers, too.
//!
//! ```
//! use pve_client::{cluster, tasks};
//!
//! let guests = cluster::resources(Some(&cluster::ResourceFilter::Guests));
//! assert_eq!(guests.uri(), "/cluster/resources?type=vm");
//! ```
//!
//! *Invariant:* knows nothing of MCP, and nothing of the backup server's API.

pub mod access;
pub mod agent;
mod auth;
pub mod ceph;
mod client;
pub mod cluster;
pub mod config;
pub mod console;
pub mod disks;
mod error;
pub mod fetch;
pub mod firewall;
pub mod guest;
pub mod ha;
pub mod lxc;
pub mod network;
pub mod nodes;
pub mod notifications;
pub mod pools;
pub mod qemu;
pub mod rrd;
pub mod sdn;
pub mod storage;
pub mod tasks;
pub mod version;
pub mod vzdump;

pub use client::{Client, ConnectError};
pub use config::{Config, ConnectOptions};
pub use error::classify;
