//! Tests of the typed client of the Proxmox Backup Server API.

mod calls;
mod connected;
mod recorded;
mod simulated;
mod written;
