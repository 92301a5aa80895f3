//! Conditions as operators write them, over values of every type.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| condition::fuzzing::condition(data));
