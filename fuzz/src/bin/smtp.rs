//! What clients say to the SMTP listener.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| inputs::fuzzing::smtp_commands(data));
