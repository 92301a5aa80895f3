//! Names of log fields, so that one thing has one name in every crate.
//!
//! `tracing` takes a constant as a field name in braces: `info!({ field::CLUSTER } = %key, "…")`.

/// The settings key of a cluster or server.
pub const CLUSTER: &str = "cluster";
/// A node's name.
pub const NODE: &str = "node";
/// A guest's id.
pub const VMID: &str = "vmid";
/// `qemu` or `lxc`.
pub const GUEST_KIND: &str = "guest_kind";
/// A task's name.
pub const UPID: &str = "upid";
/// A PVE storage.
pub const STORAGE: &str = "storage";
/// A PBS datastore.
pub const DATASTORE: &str = "datastore";
/// An event source's id.
pub const SOURCE: &str = "source";
/// An event sink's id.
pub const SINK: &str = "sink";
/// A rule's name.
pub const RULE: &str = "rule";
/// An event's id.
pub const EVENT_ID: &str = "event_id";
/// An event's kind.
pub const EVENT_KIND: &str = "event_kind";
/// A tool's name.
pub const TOOL: &str = "tool";
/// A request's id.
pub const REQUEST_ID: &str = "request_id";
/// A session's id.
pub const SESSION: &str = "session";
/// Which try it is, from 1.
pub const ATTEMPT: &str = "attempt";
/// How long it took, in milliseconds.
pub const ELAPSED_MS: &str = "elapsed_ms";
/// An error, rendered with its causes.
pub const ERROR: &str = "error";
/// What sort of error it is.
pub const ERROR_KIND: &str = "error_kind";
/// Where a request goes: scheme, host and port.
pub const ENDPOINT: &str = "endpoint";
