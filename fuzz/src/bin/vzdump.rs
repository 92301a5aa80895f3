//! Texts of backup runs, with their tables and logs.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| inputs::fuzzing::vzdump_text(data));
