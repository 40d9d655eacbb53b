//! libFuzzer's program for [`corecast_fuzz::utf8`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| corecast_fuzz::utf8::check(data));
