//! Streams of ntfy.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| inputs::fuzzing::ntfy_stream(data));
