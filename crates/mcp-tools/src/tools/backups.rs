//! Backups: what exists, what is covered, what failed, and where each statement comes from.
//!
//! A backup is attributed to a guest through the storage entry of the guest's own cluster, never by
//! its id alone: two clusters that share a backup server have the same ids in it.

mod evidence;
mod files;
pub(crate) mod log;
mod patience;
mod runs;
mod snapshots;
mod status;
mod vaults;

pub use snapshots::BackupSnapshots;
pub use status::BackupStatus;

pub(crate) use evidence::{Backup, Evidence, Known, collect};
pub(crate) use vaults::Place;
