//! Frames of Discord's gateway, and messages of its lists.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| inputs::fuzzing::discord_frames(data));
