//! The websocket inputs: [`console`] watches what a guest or node shows, [`feed`] hears events that any service sends.
//!
//! Proxmox has no websocket of events; its websockets are consoles and migration tunnels.

pub mod console;
pub mod feed;

/// The kind of input that their events name.
pub const KIND: &str = "websocket";
