//! The parser of the published schema.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| api_core::fuzzing::schema(data));
