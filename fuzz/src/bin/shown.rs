//! The showing of text that others wrote.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| stdx::fuzzing::shown(data));
