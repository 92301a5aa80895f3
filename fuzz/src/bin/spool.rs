//! Files in which events wait while the store is away.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| inputs::fuzzing::spool_file(data));
