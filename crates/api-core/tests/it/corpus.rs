//! What the fuzzers keep, once more: no input that was ever of interest may fail.

use testkit::corpus::replay;

#[test]
fn schemas() {
    replay("schema", api_core::fuzzing::schema);
}

#[test]
fn paths() {
    replay("path", api_core::fuzzing::path);
}
