//! The building of paths from what a model writes.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| api_core::fuzzing::path(data));
