//! Lines of syslog, with and without headers.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| inputs::fuzzing::syslog_line(data));
