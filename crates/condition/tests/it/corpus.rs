//! What the fuzzer keeps, once more: no input that was ever of interest may fail.

use std::{fs, path::Path};

#[test]
fn conditions() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/condition");
    let mut count = 0;
    for entry in fs::read_dir(&folder).expect("the corpus is kept") {
        condition::fuzzing::condition(&fs::read(entry.expect("an entry").path()).expect("a file"));
        count += 1;
    }
    assert!(count > 5, "there are {count} inputs");
}
