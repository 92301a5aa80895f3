//! Tests of the typed client of the Proxmox VE API.

mod admin;
mod calls;
mod connected;
mod net;
mod recorded;
mod simulated;
mod written;
