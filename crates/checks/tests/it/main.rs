//! The tester against the simulator.

mod estate;
mod mcp;
mod support;
