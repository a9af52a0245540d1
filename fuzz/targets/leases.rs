#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| inventory::leases::fuzzing::leases(input));
