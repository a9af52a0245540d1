#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| pki::fuzzing::event_log(input));
