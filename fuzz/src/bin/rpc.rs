//! The framing and reading of JSON-RPC lines.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mcp_protocol::fuzzing::rpc(data));
