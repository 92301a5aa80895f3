//! Bodies of webhooks, as every format.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| inputs::fuzzing::webhook_body(data));
