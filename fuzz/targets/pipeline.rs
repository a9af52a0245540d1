#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| sensor::fuzzing::pipeline(input));
