//! What the fuzzers keep, once more: no input that was ever of interest may fail.

use std::{fs, path::Path};

/// Gives everything that is kept of the fuzzer `target`, in `fuzz/corpus`, to what it runs.
///
/// # Panics
/// Where the corpus is missing or next to empty, and wherever `run` does.
pub fn replay(target: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let mut count = 0;
    for entry in fs::read_dir(&folder).expect("the corpus is kept") {
        run(&fs::read(entry.expect("an entry").path()).expect("a file"));
        count += 1;
    }
    assert!(count > 5, "{target} has {count} inputs");
}
