//! The manager's own tests: its door, over real sockets.

mod door;
mod support;
