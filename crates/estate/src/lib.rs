//! Ids and nouns that every crate shares: clusters, nodes, guests, UPIDs, access tiers.
//!
//! Each name is a type of its own, parsed once at the edge and trusted afterwards: a [`NodeName`]
//! cannot leave its path segment, a [`Upid`] has been read by its product's grammar.
//!
//! ```
//! use estate::{GuestRef, Upid};
//!
//! let guest: GuestRef = "home/104".parse()?;
//! assert_eq!(guest.vmid.get(), 104);
//!
//! let task: Upid = "UPID:pve1:000002D6:000C8274:6B033EDA:qmcreate:300:root@pam!full:".parse()?;
//! assert_eq!(task.kind(), "qmcreate");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! *Invariant:* no I/O, no API, no settings: only what the words mean.

mod access;
mod guest;
mod names;
mod product;
mod upid;

pub use access::Access;
pub use guest::{GuestKind, GuestRef, VmId};
pub use names::{ClusterKey, DatastoreName, InvalidName, NodeName, StorageName};
pub use product::Product;
pub use upid::{InvalidUpid, TaskStatus, Upid, UpidGrammar};
