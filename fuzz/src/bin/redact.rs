//! The taking of secrets out of texts.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| stdx::fuzzing::redact(data));
