//! What fuzzers feed and CI replays: bytes in, and nothing may panic.
//!
//! Not part of the API; `cargo xtask fuzz` runs these, and a test runs them over the kept corpus.

use futures::FutureExt as _;

use crate::adapter;
use crate::lines::{Line, Lines};

/// Small, so that the fuzzer reaches it.
const LIMIT: usize = 4096;

/// A stream of JSON-RPC lines: each is a message, is answered with a line of JSON, or is ignored.
pub fn rpc(data: &[u8]) {
    let reads = async {
        let mut lines = Lines::new(data, LIMIT);
        loop {
            match lines.next().await {
                Line::Text(line) => {
                    assert!(line.len() <= LIMIT && !line.contains(&b'\n'), "lines are bounded");
                    adapter::fuzz_line(&line);
                }
                Line::TooLong => {}
                Line::End => return,
            }
        }
    };
    // Reading from memory never waits.
    assert!(reads.now_or_never().is_some(), "the input ends");
}
