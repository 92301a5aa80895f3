//! The manager's own tests: its door over real sockets, whose decisions count, and what runs.

#![expect(clippy::unwrap_used, reason = "a test whose door does not open has failed")]

mod decide;
mod door;
mod engine;
mod events;
mod support;
