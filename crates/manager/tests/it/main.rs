//! The manager's own tests: its door over real sockets, whose decisions count, and what runs.

mod decide;
mod door;
mod engine;
mod support;
