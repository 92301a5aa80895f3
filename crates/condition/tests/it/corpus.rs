//! What the fuzzer keeps, once more: no input that was ever of interest may fail.

use testkit::corpus::replay;

#[test]
fn conditions() {
    replay("condition", condition::fuzzing::condition);
}
