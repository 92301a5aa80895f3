//! Names of tasks, in both grammars.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| inputs::fuzzing::upid(data));
