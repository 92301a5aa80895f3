//! Frames of Gotify's stream.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| inputs::fuzzing::gotify_frame(data));
