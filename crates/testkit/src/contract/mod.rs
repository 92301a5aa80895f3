//! Contract suites: one per trait that has several implementations, run by each of them.
//!
//! A suite is a plain async function over a fresh implementation; it panics where the contract is
//! broken. The feature of the same name brings it in, so that other crates' tests do not build
//! the crate that the trait stands in.

#[cfg(feature = "event-core")]
pub mod event_log;
#[cfg(all(feature = "event-core", feature = "store"))]
pub mod events;
#[cfg(all(feature = "event-core", feature = "store"))]
pub mod lease;
#[cfg(feature = "mcp-protocol")]
pub mod mcp_protocol;
#[cfg(feature = "event-core")]
pub mod outbox;
#[cfg(all(feature = "event-core", feature = "store"))]
pub mod outbox_store;
#[cfg(feature = "ports")]
pub mod ports;
#[cfg(feature = "ports")]
pub mod races;
#[cfg(feature = "event-core")]
pub mod sink;
#[cfg(feature = "event-core")]
pub mod source;
#[cfg(feature = "event-core")]
pub mod stage;
#[cfg(feature = "store")]
pub mod store;
