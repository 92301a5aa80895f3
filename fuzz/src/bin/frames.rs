//! Streams of syslog lines, cut into pieces anywhere.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| inputs::fuzzing::syslog_stream(data));
