//! What the fuzzer keeps, once more: no input that was ever of interest may fail.

use testkit::corpus::replay;

#[test]
fn lines() {
    replay("rpc", mcp_protocol::fuzzing::rpc);
}
