//! The tester against the simulator.

#![expect(clippy::unwrap_used, reason = "a test whose estate cannot be set up has failed")]

mod estate;
mod events;
mod mcp;
mod support;
