//! Tests of the typed client of the Proxmox Backup Server API.

mod calls;
mod connected;
mod recorded;
mod simulated;
// One file for both clients: what holds a table of calls against schema and recordings.
#[path = "../../../pve-client/tests/it/support.rs"]
mod support;
mod written;
