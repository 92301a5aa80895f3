//! What the fuzzers keep, once more: no input that was ever of interest may fail.

use testkit::corpus::replay;

#[test]
fn secrets() {
    replay("redact", stdx::fuzzing::redact);
}

#[test]
fn shown_text() {
    replay("shown", stdx::fuzzing::shown);
}
