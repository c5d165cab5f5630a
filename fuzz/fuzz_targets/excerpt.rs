#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| posts_fuzz::excerpt::holds(data));
