#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| posts_fuzz::patch::holds(data));
