#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| pki::fuzzing::tpm(input));
